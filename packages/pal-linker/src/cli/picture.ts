/** The memory of a PAL as a picture for a terminal: what lies where, how large it is, and who may do what there. */
import { counted, type Style } from '@casemate/command-line';
import { WASM_PAGE } from '../image.js';
import type { PalDescription } from '../inspect.js';

/** A region of the picture. */
interface Region {
  readonly start: bigint;
  readonly size: bigint;
  readonly label: string;
  readonly rights: string;
  /** Bytes of it that come from the image. */
  readonly filled: number;
}

const WIDTH = 34;

/** Draws it, lowest address first, each region a row; the bar is as long as the logarithm of the size. */
export function drawMemory(pal: PalDescription, style: Style): string {
  const regions = withGaps(regionsOf(pal));
  const largest = Math.max(...regions.map(({ size }) => Math.log2(Number(size) + 1)));
  const lines = regions.flatMap((region, i) => {
    const isGap = region.rights === '';
    const bar = barFor(region, largest);
    const inner = ` ${region.label.padEnd(9)}${region.rights.padEnd(5)}${sizeText(region.size).padStart(WIDTH - 17)} `;
    const edge = i === 0 ? '┬' : '┼';
    const side = isGap ? '╎' : '│';
    return [
      `${style.faint(address(region.start))} ${edge}${'─'.repeat(WIDTH - 1)}${edge === '┬' ? '┬' : '┤'}`,
      `${' '.repeat(11)} ${side}${isGap ? style.faint(inner) : inner}${side} ${isGap ? '' : colourOf(region, style)(bar)}`,
    ];
  });
  const last = regions.at(-1);
  const end = last ? last.start + last.size : 0n;
  const foot = `${style.faint(address(end))} ┴${'─'.repeat(WIDTH - 1)}┘`;
  const legend = style.faint(
    `${' '.repeat(12)}█ from the image  ░ zeros at the start  (as long as the logarithm of the size)`,
  );
  return [...lines, foot, legend].map((line) => line.trimEnd()).join('\n');
}

function regionsOf(pal: PalDescription): readonly Region[] {
  return pal.kind === 'wasm' ? regionsOfWasm(pal) : regionsOfElf(pal);
}

/** The linear memory; its code lies nowhere in it. */
function regionsOfWasm({ memory, sections }: PalDescription): readonly Region[] {
  const { initialBytes, maximumBytes } = memory;
  const growth = maximumBytes - initialBytes;
  const parameters = sections.find(({ type }) => type === 'PARAM');
  return [
    ...(initialBytes > 0 ? [region(0n, initialBytes, 'memory', 'rw-')] : []),
    ...(growth > 0 ? [region(BigInt(initialBytes), growth, 'growth', 'rw-')] : []),
    ...(parameters ? [region(BigInt(parameters.address), parameters.memorySize, 'PARAM', 'rw-')] : []),
  ];
}

function regionsOfElf({ sections }: PalDescription): readonly Region[] {
  return sections
    .filter(({ memorySize }) => memorySize > 0)
    .map(({ type, address: at, memorySize, contentSize }) =>
      region(BigInt(at), memorySize, type, RIGHTS[type] ?? 'rw-', contentSize),
    )
    .sort((a, b) => Number(a.start - b.start));
}

function region(start: bigint, size: number, label: string, rights: string, filled = 0): Region {
  return { start, size: BigInt(size), label, rights, filled };
}

const RIGHTS: Readonly<Record<string, string>> = { CODE: 'r-x', RODATA: 'r--' };

/** Unmapped space in between; what lies in front of the first is not a gap but the null pointer's. */
function withGaps(regions: readonly Region[]): readonly Region[] {
  return regions.flatMap((each, i) => {
    const before = regions[i - 1];
    const end = before ? before.start + before.size : each.start;
    return each.start > end
      ? [{ ...each, start: end, size: each.start - end, label: 'unmapped', rights: '' }, each]
      : [each];
  });
}

function barFor({ size, filled }: Region, largest: number): string {
  const length = (bytes: number) => Math.max(1, Math.round((Math.log2(bytes + 1) / largest) * 24));
  const whole = length(Number(size));
  const solid = filled === 0 ? 0 : Math.min(whole, length(filled));
  return '█'.repeat(solid) + '░'.repeat(whole - solid);
}

function colourOf({ rights }: Region, style: Style): (text: string) => string {
  return rights.endsWith('x') ? style.warn : rights.includes('w') ? style.good : style.bold;
}

function address(value: bigint): string {
  return `0x${value.toString(16).padStart(9, '0')}`;
}

/** A size in the largest unit that leaves no fraction, or two digits of one. */
export function sizeText(bytes: bigint | number): string {
  const value = Number(bytes);
  const [unit, name] = value >= 1 << 20 ? [1 << 20, 'MiB'] : value >= 1024 ? [1024, 'KiB'] : [1, 'bytes'];
  const amount = value / unit;
  return `${Number.isInteger(amount) ? amount : amount.toFixed(1)} ${name}`;
}

/** Pages of WebAssembly, for people. */
export function pagesText(bytes: number): string {
  return counted(bytes / WASM_PAGE, 'page');
}
