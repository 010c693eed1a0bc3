/** Merging of texts and constants: whatever was somewhere is found in the table, once. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isDivisible, PieceTable } from '../src/pieces.js';

const form = (unit: number, isText: boolean, alignment = unit) => ({ unit, isText, alignment });
const ascii = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

describe('merged pieces', () => {
  it('hold equal texts once, and a text that ends another inside of it', () => {
    const table = new PieceTable(form(1, true));
    const first = table.add(ascii('the text\0text\0'));
    const second = table.add(ascii('ext\0the text\0other\0'));
    for (const offset of [0, 9]) first.mark(offset);
    for (const offset of [0, 4]) second.mark(offset);
    expect(table.finish()).toEqual(ascii('the text\0'));
    expect([0, 3, 9, 10].map((offset) => first.offsetOf(offset))).toEqual([0, 3, 4, 5]);
    expect([0, 2, 4, 8].map((offset) => second.offsetOf(offset))).toEqual([5, 7, 0, 4]);
  });

  it('hold what was marked by any place in it, and nothing else', () => {
    const table = new PieceTable(form(8, false));
    const pieces = table.add(Uint8Array.from({ length: 32 }, (_, i) => i >> 3));
    pieces.mark(13);
    expect(table.finish()).toEqual(new Uint8Array(8).fill(1));
    expect(pieces.offsetOf(13)).toBe(5);
    expect(new PieceTable(form(4, false)).finish()).toEqual(new Uint8Array(0));
  });

  it('are not made of what does not divide into them', () => {
    expect(isDivisible(ascii('text'), form(1, true))).toBe(false);
    expect(isDivisible(ascii('abc\0\0\0'), form(2, true))).toBe(true);
    expect(isDivisible(ascii('abcd\0'), form(2, true))).toBe(false);
    expect(isDivisible(new Uint8Array(12), form(8, false))).toBe(false);
    expect(isDivisible(new Uint8Array(12), form(4, false, 8))).toBe(false);
    expect(isDivisible(new Uint8Array(0), form(1, true))).toBe(false);
  });

  it('have all their bytes where they are said to be, aligned, whatever the sections hold', () => {
    const unit = fc.constantFrom(1, 2, 4);
    const sections = fc.array(fc.array(fc.nat(2), { maxLength: 24 }), { minLength: 1, maxLength: 6 });
    const marks = fc.array(fc.nat(), { maxLength: 20 });
    fc.assert(
      fc.property(
        unit,
        fc.boolean(),
        fc.constantFrom(0, 1, 2),
        sections,
        marks,
        (size, isText, shift, units, marked) => {
          const alignment = isText ? size << shift : size;
          const contents = units.map((values) => contentOf([...values, 0], size));
          const table = new PieceTable({ unit: size, isText, alignment });
          const maps = contents.map((content) => table.add(content));
          const kept = marked.map((mark, i) => {
            const content = contents[i % contents.length] ?? new Uint8Array(0);
            const start = startOf(content, mark % content.length, size, isText);
            maps[i % contents.length]?.mark(mark % content.length);
            return { i: i % contents.length, start, end: endOf(content, start, size, isText), content };
          });
          const merged = table.finish();
          for (const { i, start, end, content } of kept) {
            const at = maps[i]?.offsetOf(start) ?? -1;
            expect(at % alignment).toBe(0);
            expect(merged.subarray(at, at + end - start)).toEqual(content.subarray(start, end));
            expect(maps[i]?.offsetOf(end - 1)).toBe(at + end - 1 - start);
          }
          if (kept.length === 0) expect(merged).toHaveLength(0);
        },
      ),
    );
  });
});

/** Each value in `size` bytes. */
function contentOf(values: readonly number[], size: number): Uint8Array {
  const content = new Uint8Array(values.length * size);
  for (const [i, value] of values.entries()) content[i * size] = value;
  return content;
}

function isEnd(content: Uint8Array, at: number, size: number): boolean {
  return content.subarray(at, at + size).every((byte) => byte === 0);
}

function startOf(content: Uint8Array, offset: number, size: number, isText: boolean): number {
  let start = offset - (offset % size);
  while (isText && start > 0 && !isEnd(content, start - size, size)) start -= size;
  return start;
}

function endOf(content: Uint8Array, start: number, size: number, isText: boolean): number {
  let end = start;
  while (isText && !isEnd(content, end, size)) end += size;
  return end + size;
}
