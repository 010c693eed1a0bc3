/**
 * How far a module's memory may grow: the linker leaves it at WebAssembly's own limit, for what is lent, and no `memory.grow` in the code;
 * but an image may come from elsewhere. WebAssembly Core Specification, 5.5.8: the memory section, `vec(memtype)`.
 */
import { TrustvisorError } from './error.js';

const HEADER = 8;
const MEMORY_SECTION = 5;

interface Section {
  readonly id: number;
  readonly start: number;
  readonly content: number;
  readonly end: number;
}

/**
 * The module with a memory that begins with at most `least` pages of 64 KiB and grows to `most`. Throws {@link TrustvisorError} with code
 * `memory` where it asks for more at the start, and `refused` where it has not exactly one memory of 32 bits.
 */
export function boundMemory(
  module: Uint8Array,
  { least, most }: { readonly least: number; readonly most: number },
): Uint8Array {
  const memories = sectionsOf(module).filter(({ id }) => id === MEMORY_SECTION);
  const [memory] = memories;
  if (memory === undefined || memories.length > 1) throw refused('expected one section of memories');
  const cursor = { at: memory.content };
  const [count, flags] = [readU32(module, cursor), readU32(module, cursor)];
  if (count !== 1 || flags > 1) throw refused('expected one memory that is neither shared nor of 64 bits');
  const start = readU32(module, cursor);
  if (start > least) {
    throw new TrustvisorError('memory', `load WebAssembly: expected at most ${least} pages at the start, got ${start}`);
  }
  const content = [1, 1, ...u32(start), ...u32(most)];
  const section = [MEMORY_SECTION, ...u32(content.length), ...content];
  return join(module.subarray(0, memory.start), Uint8Array.from(section), module.subarray(memory.end));
}

function sectionsOf(module: Uint8Array): readonly Section[] {
  const sections: Section[] = [];
  for (const cursor = { at: HEADER }; cursor.at < module.length; ) {
    const start = cursor.at;
    const id = module[cursor.at++] ?? 0;
    const size = readU32(module, cursor);
    const end = cursor.at + size;
    if (end > module.length) throw refused('a section is cut off');
    sections.push({ id, start, content: cursor.at, end });
    cursor.at = end;
  }
  return sections;
}

/** LEB128, at most 32 bits in at most five bytes (5.2.2). */
function readU32(bytes: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = bytes[cursor.at++];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return value;
  }
  throw refused('expected a number of at most five bytes');
}

function u32(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...u32(value >>> 7)];
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function refused(problem: string): TrustvisorError {
  return new TrustvisorError('refused', `load WebAssembly: ${problem}`);
}
