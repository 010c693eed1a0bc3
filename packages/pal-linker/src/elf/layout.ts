/** Where everything lies: the kept sections of all objects, merged into the sections of a PAL, each on pages of its own. */
import { PalLinkerError } from '../error.js';
import { MAX_SECTION_BYTES } from '../image.js';
import { SHF, SHT } from './constants.js';
import type { Live } from './liveness.js';
import type { Merges } from './merges.js';
import type { ElfSection } from './object.js';
import type { LinkedObject, SharedSymbol } from './symbols.js';

/** Bytes of a page. */
export const PAGE = 4096;

/** The sections that are made of the objects' sections, in their order in memory. */
type MergedName = 'CODE' | 'RODATA' | 'DATA' | 'BSS';

/** A section of the PAL. */
export interface MergedSection {
  /** Its kind. */
  readonly name: MergedName;
  /** Where it begins, on a page. */
  readonly address: number;
  /** Bytes from there to the end of what is placed in it. */
  readonly size: number;
  /** The input sections in their order. */
  readonly inputs: readonly PlacedSection[];
}

/** An input section and its place. */
export interface PlacedSection {
  /** Where it comes from. */
  readonly object: LinkedObject;
  /** What. */
  readonly section: ElfSection;
  /** Its place in memory. */
  readonly address: number;
}

/** The memory of a PAL. Between the stack and its neighbours, and in front of the parameters, a page stays unmapped. */
export interface Layout {
  /** In their order; those without content are left out. */
  readonly merged: readonly MergedSection[];
  /** The address of each kept section, by object and number. */
  readonly addresses: ReadonlyMap<LinkedObject, ReadonlyMap<number, number>>;
  /** The address of what lies at an offset of a section that was merged with others; `undefined` where it was not. */
  readonly pieceAddress: (object: LinkedObject, section: number, offset: number) => number | undefined;
  /** The addresses of common symbols. */
  readonly commons: ReadonlyMap<SharedSymbol, number>;
  /** The global offset table, in RODATA: everything is at its place before the PAL runs. */
  readonly got: { readonly address: number; readonly slots: number };
  /** Addresses for the names that the linker defines. */
  readonly provided: ReadonlyMap<string, number>;
  /** The stack, growing down from its end. */
  readonly stack: Region;
  /** Where the caller's parameters are put. */
  readonly parameters: Region;
}

/** A stretch of memory, in bytes; both are multiples of a page. */
interface Region {
  /** Where it begins. */
  readonly address: number;
  /** Its length. */
  readonly size: number;
}

/** The largest stretch of memory that takes no bytes in the image: zeroed data with the heap, and the stack. */
export const MAX_REGION = 256 * 1024 * 1024;

/** The sizes that are not in the objects. */
export interface LayoutSizes {
  /** Where the first page lies. */
  readonly base: number;
  /** Bytes that stay free between the merged sections; 0 unless given. */
  readonly gap?: number;
  /** Slots of the global offset table. */
  readonly gotSlots: number;
  /** Bytes for `__pal_heap_start` to `__pal_heap_end`. */
  readonly heapBytes: number;
  /** Bytes of the stack. */
  readonly stackBytes: number;
  /** Bytes of the parameters. */
  readonly parameterBytes: number;
}

/** Names that {@link planLayout} gives an address to where no object defines them. */
const PROVIDED =
  /^(?:__(?:preinit|init|fini)_array_(?:start|end)|__bss_start|_?_?end|_?edata|_?etext|__executable_start|__pal_(?:heap|stack)_(?:start|end)|_GLOBAL_OFFSET_TABLE_|__dso_handle)$/;

/** Whether the linker defines `name` where no object does. */
export function isProvidedName(name: string): boolean {
  return PROVIDED.test(name);
}

/** Places everything. The order depends on the inputs alone: their order, and in archives that of the members. */
export function planLayout({ live, find }: Merges, sizes: LayoutSizes): Layout {
  const cursor = { address: sizes.base };
  const addresses = new Map<LinkedObject, Map<number, number>>();
  const inputs = sortInputs(live);
  const merged: MergedSection[] = [];
  let got = { address: 0, slots: 0 };
  const commons = new Map<SharedSymbol, number>();
  let heap = 0;
  for (const name of ['CODE', 'RODATA', 'DATA', 'BSS'] as const) {
    const start = cursor.address;
    const placed = inputs[name].map((input) => place(input, cursor, addresses));
    if (name === 'RODATA') got = placeGot(cursor, sizes.gotSlots);
    if (name === 'BSS') {
      for (const symbol of live.commons) commons.set(symbol, placeCommon(symbol, cursor));
      heap = alignUp(cursor.address, 16);
      if (sizes.heapBytes > 0) cursor.address = heap + sizes.heapBytes;
    }
    assertFits(name, cursor.address - start);
    if (cursor.address > start) merged.push({ name, address: start, size: cursor.address - start, inputs: placed });
    cursor.address = alignUp(cursor.address, PAGE) + (sizes.gap ?? 0);
  }
  const stack = placeRegion(cursor, sizes.stackBytes);
  const parameters = placeRegion(cursor, sizes.parameterBytes);
  const pieceAddress: Layout['pieceAddress'] = (object, section, offset) => {
    const piece = find(object, section, offset);
    return piece && (addresses.get(piece.object)?.get(piece.section) ?? 0) + piece.offset;
  };
  const plan = { merged, addresses, pieceAddress, commons, got, stack, parameters };
  return { ...plan, provided: provide(live, plan, { start: heap, end: heap + sizes.heapBytes }, sizes.base) };
}

/** The next multiple of `alignment`, a power of two. */
function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/** Zeroed memory may be larger than what the image has to carry. */
function assertFits(section: MergedName, size: number): void {
  const maximum = section === 'BSS' ? MAX_REGION : MAX_SECTION_BYTES;
  if (size <= maximum) return;
  throw new PalLinkerError('limit', `link PAL: expected at most ${maximum} bytes, got ${size}`, { section });
}

interface Cursor {
  address: number;
}

function place(
  { object, section }: Omit<PlacedSection, 'address'>,
  cursor: Cursor,
  addresses: Map<LinkedObject, Map<number, number>>,
): PlacedSection {
  const address = alignUp(cursor.address, section.alignment);
  cursor.address = address + section.size;
  const known = addresses.get(object);
  if (known) known.set(section.index, address);
  else addresses.set(object, new Map([[section.index, address]]));
  return { object, section, address };
}

function placeGot(cursor: Cursor, slots: number): Layout['got'] {
  const address = alignUp(cursor.address, 8);
  if (slots > 0) cursor.address = address + 8 * slots;
  return { address, slots };
}

function placeCommon({ common, name }: SharedSymbol, cursor: Cursor): number {
  const { size, alignment } = common ?? { size: 0, alignment: 1 };
  if (!Number.isInteger(Math.log2(alignment)) || alignment > PAGE)
    throw new PalLinkerError('object', `link PAL: expected an alignment of 1 to ${PAGE}, got ${alignment}`, {
      symbol: name,
    });
  const address = alignUp(cursor.address, alignment);
  cursor.address = address + size;
  return address;
}

/** A page stays free in front of it. */
function placeRegion(cursor: Cursor, bytes: number): Region {
  const region = { address: alignUp(cursor.address, PAGE) + PAGE, size: alignUp(bytes, PAGE) };
  cursor.address = region.address + region.size;
  return region;
}

/** The objects of which something is kept, in the order of the inputs, and in archives that of the members. */
function objectsInOrder({ sections }: Live): readonly LinkedObject[] {
  return [...sections.keys()].sort((a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1]);
}

/** The sections that are kept, in the order of their objects. */
export function* keptSections(live: Live) {
  for (const object of objectsInOrder(live)) yield* sectionsOf(object, live.sections.get(object) ?? new Set());
}

function* sectionsOf(object: LinkedObject, kept: ReadonlySet<number>) {
  for (const section of object.elf.sections) if (kept.has(section.index)) yield { object, section };
}

type Inputs = Record<MergedName, Omit<PlacedSection, 'address'>[]>;

function sortInputs(live: Live): Inputs {
  const inputs: Inputs = { CODE: [], RODATA: [], DATA: [], BSS: [] };
  const mixed = mixedNames(live);
  for (const object of objectsInOrder(live)) {
    const kept = [...(live.sections.get(object) ?? [])].sort((a, b) => a - b);
    for (const index of kept) {
      const section = object.elf.sections[index];
      if (section === undefined) continue;
      const kind = kindOf(section);
      inputs[kind !== 'CODE' && mixed.has(section.name) ? 'DATA' : kind].push({ object, section });
    }
  }
  // Tables of functions and sections whose bounds somebody takes must be in one piece; all others keep their order.
  for (const list of Object.values(inputs)) list.sort((a, b) => compareText(pieceOf(a.section), pieceOf(b.section)));
  return inputs;
}

/** W^X: what is executed, what is only read, what is written. Tables of functions are only read once they are relocated. */
function kindOf({ flags, type, name }: ElfSection): MergedName {
  if ((flags & SHF.EXECINSTR) !== 0) return 'CODE';
  if ((flags & SHF.WRITE) === 0 || isTable(type) || /^\.(?:data\.rel\.ro|got)(?:\.|$)/.test(name)) return 'RODATA';
  return type === SHT.NOBITS ? 'BSS' : 'DATA';
}

/** Names that C code can write, of sections that are written in one object and not in another: for their bounds they go together. */
function mixedNames(live: Live): ReadonlySet<string> {
  const kinds = new Map<string, MergedName>();
  const mixed = new Set<string>();
  for (const { section } of keptSections(live)) {
    const kind = kindOf(section);
    if (kind === 'CODE' || !isNamed(section)) continue;
    if ((kinds.get(section.name) ?? kind) !== kind) mixed.add(section.name);
    kinds.set(section.name, kind);
  }
  return mixed;
}

function isNamed({ name }: ElfSection): boolean {
  return /^[A-Za-z_]\w*$/.test(name);
}

function isTable(type: number): boolean {
  return type === SHT.INIT_ARRAY || type === SHT.FINI_ARRAY || type === SHT.PREINIT_ARRAY;
}

/** `.init_array.00101` comes before `.init_array`; the empty text comes first. */
function pieceOf(section: ElfSection): string {
  const { type, name } = section;
  if (isTable(type)) return `${type}${/\.(\d+)$/.exec(name)?.[1]?.padStart(6, '0') ?? '999999'}`;
  return isNamed(section) ? `named ${name}` : '';
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function provide(
  live: Live,
  plan: Omit<Layout, 'provided'>,
  heap: { readonly start: number; readonly end: number },
  base: number,
): ReadonlyMap<string, number> {
  const endOf = (names: readonly MergedName[], otherwise: number) =>
    Math.max(otherwise, ...plan.merged.filter(({ name }) => names.includes(name)).map((m) => m.address + m.size));
  const code = endOf(['CODE'], base);
  const data = endOf(['CODE', 'RODATA', 'DATA'], base);
  const fixed: Readonly<Record<string, number>> = {
    __executable_start: base,
    etext: code,
    edata: data,
    __bss_start: plan.merged.find(({ name }) => name === 'BSS')?.address ?? alignUp(data, PAGE),
    end: heap.start,
    __pal_heap_start: heap.start,
    __pal_heap_end: heap.end,
    __pal_stack_start: plan.stack.address,
    __pal_stack_end: plan.stack.address + plan.stack.size,
    _GLOBAL_OFFSET_TABLE_: plan.got.address,
    __dso_handle: base,
  };
  const bounds: ReadonlyMap<string | number, Bounds> = live.provided.size > 0 ? boundsOf(plan.merged) : new Map();
  const addressOf = (name: string) => fixed[name] ?? fixed[name.replace(/^_{1,2}/, '')] ?? boundOf(name, bounds);
  return new Map([...live.provided].map((name) => [name, addressOf(name)]));
}

interface Bounds {
  readonly start: number;
  readonly end: number;
  readonly in: MergedName;
  /** Whether nothing else lies in between. */
  readonly isWhole: boolean;
}

/** The first and the last address of the sections of each name, and of each type of table. */
function boundsOf(merged: readonly MergedSection[]): ReadonlyMap<string | number, Bounds> {
  const bounds = new Map<string | number, Bounds>();
  for (const { name, inputs } of merged) {
    for (const { section, address } of inputs) {
      const end = address + section.size;
      for (const key of isTable(section.type) ? [section.name, section.type] : [section.name]) {
        const known = bounds.get(key);
        const isWhole = (known?.isWhole ?? true) && (known?.in ?? name) === name;
        bounds.set(key, { start: known?.start ?? address, end: Math.max(known?.end ?? 0, end), in: name, isWhole });
      }
    }
  }
  return bounds;
}

const TABLES: Readonly<Record<string, number>> = {
  preinit: SHT.PREINIT_ARRAY,
  init: SHT.INIT_ARRAY,
  fini: SHT.FINI_ARRAY,
};

/** `__init_array_start`, `__stop_name` and such: the first or last address of those sections; 0 where there are none. */
function boundOf(symbol: string, bounds: ReadonlyMap<string | number, Bounds>): number {
  const [, table, tableSide] = /^__(preinit|init|fini)_array_(start|end)$/.exec(symbol) ?? [];
  const [, side = tableSide, name = ''] = /^__(start|stop)_(.*)$/.exec(symbol) ?? [];
  const found = bounds.get(table === undefined ? name : (TABLES[table] ?? 0));
  if (found?.isWhole === false)
    throw new PalLinkerError('object', `link PAL: expected sections ${name} of code or of data, got both`, { symbol });
  return (side === 'start' ? found?.start : found?.end) ?? 0;
}
