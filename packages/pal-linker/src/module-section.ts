/** Sections of a WebAssembly module: their names, the types of values, and how they are written (WebAssembly 2.0, section 5.5). */
import { Writer } from '@casemate/wire';
import { varu32 } from './leb128.js';

/** By section number. */
export const SECTION_NAMES = [
  'custom',
  'type',
  'import',
  'function',
  'table',
  'memory',
  'global',
  'export',
  'start',
  'element',
  'code',
  'data',
  'data count',
] as const;

/** Every value type: numbers, vectors and references. */
export const VALUE_TYPES: ReadonlySet<number> = new Set([0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f]);

/** Writes a section with its number and size. */
export function section(w: Writer, id: number, content: (w: Writer) => void): void {
  const inner = new Writer();
  content(inner);
  w.u8(id, 'section id');
  writeSized(w, inner.finish());
}

/** Writes bytes behind their count. */
export function writeSized(w: Writer, content: Uint8Array): void {
  varu32.write(w, content.length);
  w.put(content, 'content');
}

/** Writes values behind their count. */
export function vector<T>(w: Writer, values: readonly T[], write: (w: Writer, value: T) => void): void {
  varu32.write(w, values.length);
  for (const value of values) write(w, value);
}
