/** Changes to real bytes, of the kinds that find what a parser forgot. */
import type { Random } from '../../../scripts/fuzz-loop.mjs';

/** One to four changes; now and then none, so that the way for good bytes is walked too. */
export function mutate(original: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = original.slice();
  if (random.oneIn(32)) return bytes;
  for (let changes = 1 + random.below(4); changes > 0; changes--) bytes = random.pick(CHANGES)(bytes, random);
  if (!random.oneIn(4)) setSize(bytes); // a wrong size stops a decoder at once, so it is mostly right
  return bytes;
}

type Change = (bytes: Uint8Array, random: Random) => Uint8Array;

const CHANGES: readonly Change[] = [
  (bytes, random) => edit(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => edit(bytes, random, () => random.u32() & 0xff),
  (bytes, random) => edit(bytes, random, () => random.pick(EDGES)),
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
  (bytes, random) => word(bytes, random, 2),
  (bytes, random) => word(bytes, random, 4),
  (bytes, random) => {
    const from = random.below(bytes.length + 1);
    return joined(bytes, bytes.subarray(from, from + random.below(64)));
  },
  (bytes, random) => {
    const copy = bytes.slice();
    const from = random.below(bytes.length + 1);
    copy.copyWithin(random.below(bytes.length + 1), from, from + random.below(32));
    return copy;
  },
];

function edit(bytes: Uint8Array, random: Random, change: (byte: number) => number): Uint8Array {
  const at = random.below(bytes.length);
  return bytes.map((byte, i) => (i === at ? change(byte) : byte));
}

/** Puts an extreme number where a size, a count or a constant may stand. */
function word(bytes: Uint8Array, random: Random, size: 2 | 4): Uint8Array {
  if (bytes.length < size) return bytes;
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const at = random.below(bytes.length - size + 1);
  if (size === 2) view.setUint16(at, random.pick(WORDS) & 0xffff);
  else view.setUint32(at, random.pick(WORDS));
  return copy;
}

function setSize(bytes: Uint8Array): void {
  if (bytes.length >= 6) new DataView(bytes.buffer, bytes.byteOffset).setUint32(2, bytes.length);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const EDGES = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
const WORDS = [0, 1, 2, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
