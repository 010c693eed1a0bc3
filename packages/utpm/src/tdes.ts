/** Keys of TDES: parity, and the keys that are too weak to be used. SP 800-67, 3.3, and FIPS 74. */

/** Each byte of `key` with its lowest bit set so that it has an odd number of ones. */
export function withOddParity(key: Uint8Array): Uint8Array {
  return key.map((byte) => {
    let ones = byte >> 1;
    ones ^= ones >> 4;
    ones ^= ones >> 2;
    ones ^= ones >> 1;
    return (byte & 0xfe) | ((ones & 1) ^ 1);
  });
}

// The halves of weak and semi-weak keys come from these bytes alone: the first four bytes of a key from the left column, the others
// from the right one. SP 800-67 names the keys that are made of two of them, or of four that cancel out, 64 in all.
const HALVES: readonly (readonly [number, number])[] = [
  [0x01, 0x01],
  [0x1f, 0x0e],
  [0xe0, 0xf1],
  [0xfe, 0xfe],
];

/** May the parts of the key, eight bytes each, be used together: none is weak and no neighbours are equal? */
export function isTdesKey(key: Uint8Array): boolean {
  if (key.length !== 16 && key.length !== 24) return false;
  const parts: string[] = [];
  for (let at = 0; at < key.length; at += 8) {
    const part = withOddParity(key.subarray(at, at + 8));
    if (isWeak(part)) return false;
    parts.push(part.join());
  }
  return parts.every((part, i) => i === 0 || part !== parts[i - 1]);
}

// Which column's row each byte is of: the four of each half must be the same, and their combination xors to nothing.
function isWeak(part: Uint8Array): boolean {
  const rows = Array.from(part, (byte, i) => HALVES.findIndex((row) => row[i < 4 ? 0 : 1] === byte));
  const [a = -1, b = -1, c = -1, d = -1, ...others] = rows;
  const isRepeated = others.every((row, i) => row === rows[i]);
  return isRepeated && rows.every((row) => row >= 0) && (a ^ b ^ c ^ d) === 0;
}
