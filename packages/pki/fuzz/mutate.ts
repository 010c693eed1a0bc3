/** Changes to real DER, of the kinds that find what a parser forgot. */
import type { Random } from '../../../scripts/fuzz-loop.mjs';

/** One to four changes; now and then none, so that the way for good bytes is walked too. */
export function mutate(original: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = original.slice();
  if (random.oneIn(32)) return bytes;
  for (let changes = 1 + random.below(4); changes > 0; changes--) bytes = random.pick(CHANGES)(bytes, random);
  return bytes;
}

type Change = (bytes: Uint8Array, random: Random) => Uint8Array;

/** Tags and lengths that mean something. */
const OCTETS = [0, 1, 2, 3, 4, 5, 6, 0x0c, 0x24, 0x30, 0x31, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xa0, 0xa1, 0xff];

const CHANGES: readonly Change[] = [
  (bytes, random) => edit(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => edit(bytes, random, () => random.u32() & 0xff),
  (bytes, random) => edit(bytes, random, () => random.pick(OCTETS)),
  (bytes, random) => bytes.slice(0, random.below(bytes.length + 1)),
  (bytes, random) => joined(bytes, random.bytes(1 + random.below(16))),
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return joined(bytes.subarray(0, at), random.bytes(1 + random.below(8)), bytes.subarray(at));
  },
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(8)));
  },
  (bytes, random) => {
    const from = random.below(bytes.length + 1);
    const copy = bytes.slice();
    copy.copyWithin(random.below(bytes.length + 1), from, from + random.below(64));
    return copy;
  },
];

function edit(bytes: Uint8Array, random: Random, change: (byte: number) => number): Uint8Array {
  if (bytes.length === 0) return bytes;
  const at = random.below(bytes.length);
  return bytes.map((byte, i) => (i === at ? change(byte) : byte));
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
