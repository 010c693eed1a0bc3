/** Archives in memory (ar, System V): so that what is in them is linked only where it is needed. */
import { SHN, STB } from '../elf/constants.js';
import { isElf, parseElfObject } from '../elf/object.js';
import type { ObjectFile } from '../elf/symbols.js';
import { SYMBOL_FLAG } from '../wasm/constants.js';
import { parseWasmObject } from '../wasm/object.js';

const MAGIC = '!<arch>\n';
const HEADER = 60;

/** Puts objects into an archive, with the index of what they define. */
export function archiveOf(name: string, objects: readonly ObjectFile[]): ObjectFile {
  const symbols = objects.map((object) => definedIn(object));
  const names = Buffer.from(objects.map((object) => `${object.name}/\n`).join(''));
  const indexSize = 4 + symbols.flat().reduce((sum, symbol) => sum + 4 + Buffer.byteLength(symbol) + 1, 0);
  const offsets: number[] = [];
  let at = MAGIC.length + HEADER + even(indexSize) + HEADER + even(names.length);
  for (const { content } of objects) {
    offsets.push(at);
    at += HEADER + even(content.length);
  }
  const members = objects.flatMap(({ content }, i) => member(`/${nameOffset(objects, i)}`, content));
  const parts = [Buffer.from(MAGIC), ...member('/', indexOf(symbols, offsets)), ...member('//', names), ...members];
  return { name, content: new Uint8Array(Buffer.concat(parts)) };
}

function definedIn({ name, content }: ObjectFile): readonly string[] {
  if (isElf(content)) {
    const { symbols } = parseElfObject(content, name);
    const global = symbols.filter(({ binding, section }) => binding !== STB.LOCAL && section !== SHN.UNDEF);
    return global.map((symbol) => symbol.name);
  }
  // clang writes no table of symbols for a source that is empty for this target.
  if (!Buffer.from(content).includes('linking') || content.length < 100) return [];
  const hidden = SYMBOL_FLAG.UNDEFINED | SYMBOL_FLAG.LOCAL;
  return parseWasmObject(content, name).symbols.flatMap((symbol) =>
    (symbol.flags & hidden) === 0 ? [symbol.name] : [],
  );
}

/** How many symbols, the member of each, their names. */
function indexOf(symbols: readonly (readonly string[])[], offsets: readonly number[]): Uint8Array {
  const all = symbols.flatMap((names, i) => names.map((name) => ({ name, offset: offsets[i] ?? 0 })));
  const numbers = Buffer.alloc(4 + 4 * all.length);
  numbers.writeUInt32BE(all.length, 0);
  for (const [i, { offset }] of all.entries()) numbers.writeUInt32BE(offset, 4 + 4 * i);
  return Buffer.concat([numbers, Buffer.from(all.map(({ name }) => `${name}\0`).join(''))]);
}

function nameOffset(objects: readonly ObjectFile[], index: number): number {
  return objects.slice(0, index).reduce((sum, { name }) => sum + Buffer.byteLength(name) + 2, 0);
}

/** Name, date, owner, group, mode, size: fields of fixed width; then the content, to an even length. */
function member(name: string, content: Uint8Array): readonly Uint8Array[] {
  const date = '0'.padEnd(12);
  const owner = '0'.padEnd(6);
  const fields = [name.padEnd(16), date, owner, owner, '644'.padEnd(8), String(content.length).padEnd(10)];
  const rest = content.length % 2 === 0 ? [] : [Buffer.from('\n')];
  return [Buffer.from(`${fields.join('')}\`\n`), content, ...rest];
}

function even(size: number): number {
  return size + (size & 1);
}
