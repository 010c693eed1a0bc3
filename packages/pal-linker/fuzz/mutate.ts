/** Changes to real files, of the kinds that find what a parser forgot. */
import type { Random } from '../../../scripts/fuzz-loop.mjs';

/** One to six changes; now and then none, so that the way for good bytes is walked too. */
export function mutate(original: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = original.slice();
  if (random.oneIn(64)) return bytes;
  for (let changes = 1 + random.below(6); changes > 0; changes--) bytes = random.pick(CHANGES)(bytes, random);
  return bytes;
}

type Change = (bytes: Uint8Array, random: Random) => Uint8Array;

const CHANGES: readonly Change[] = [
  (bytes, random) => edit(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => edit(bytes, random, () => random.below(256)),
  (bytes, random) => edit(bytes, random, () => random.pick(EDGES)),
  (bytes, random) => edit(bytes, random, (byte) => byte + 1),
  (bytes, random) => edit(bytes, random, (byte) => byte - 1),
  (bytes, random) => word(bytes, random, 2),
  (bytes, random) => word(bytes, random, 4),
  (bytes, random) => word(bytes, random, 8),
  // A piece of the file in another place: symbols, relocations and sections of the right form with wrong neighbours.
  (bytes, random) => {
    const from = random.below(bytes.length + 1);
    return bytes.copyWithin(random.below(bytes.length + 1), from, from + random.pick([1, 4, 8, 24, 64]));
  },
  (bytes, random) => (random.oneIn(8) ? bytes.slice(0, random.below(bytes.length + 1)) : bytes),
  (bytes, random) => {
    if (!random.oneIn(8)) return bytes;
    const at = random.below(bytes.length + 1);
    return new Uint8Array(
      Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(8)), bytes.subarray(at)]),
    );
  },
];

function edit(bytes: Uint8Array, random: Random, change: (byte: number) => number): Uint8Array {
  const at = random.below(bytes.length);
  const byte = bytes[at];
  if (byte !== undefined) bytes[at] = change(byte);
  return bytes;
}

/** Puts an extreme number where a size, an offset or a count may stand. */
function word(bytes: Uint8Array, random: Random, size: 2 | 4 | 8): Uint8Array {
  if (bytes.length < size) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = random.below(bytes.length - size + 1);
  const value = random.pick(WORDS);
  if (size === 2) view.setUint16(at, value & 0xffff, true);
  else if (size === 4) view.setUint32(at, value >>> 0, true);
  else view.setBigUint64(at, BigInt(value), true);
  return bytes;
}

const EDGES = [0, 1, 5, 0x7f, 0x80, 0xfe, 0xff] as const;
const WORDS = [
  0, 1, 2, 24, 64, 4095, 4096, 0x7fff, 0x8000, 0xff00, 0xfff1, 0xfff2, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
  0xfffffffe, 0xffffffff, 0x100000000, 0xffffffffffff, 0x1fffffffffffff,
] as const;
