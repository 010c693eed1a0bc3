import { describe, expect, it } from 'vitest';
import { Reader } from '../src/index.js';

describe('a reader', () => {
  it('takes a copy out of a Buffer too, as a plain Uint8Array', () => {
    const input = Buffer.from([1, 2, 3]);
    const taken = new Reader(input).take(2, 'bytes');
    input.fill(9);
    expect(taken).toEqual(Uint8Array.of(1, 2));
    expect(Buffer.isBuffer(taken)).toBe(false);
  });
});
