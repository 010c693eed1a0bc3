/** Hashes and HMACs that are put aside as bytes and taken up again. OpenSSL is the judge. */
import { createHash, createHmac } from 'node:crypto';
import { TPM_ALG } from '@casemate/tpm';
import { describe, expect, it } from 'vitest';
import { type Running, resumedHmac, runningHash, runningHmac } from '../src/running-hash.js';

const HASHES = [
  { name: 'sha1', alg: TPM_ALG.SHA1, block: 64 },
  { name: 'sha256', alg: TPM_ALG.SHA256, block: 64 },
  { name: 'sha384', alg: TPM_ALG.SHA384, block: 128 },
  { name: 'sha512', alg: TPM_ALG.SHA512, block: 128 },
] as const;
const KEY = Uint8Array.from({ length: 20 }, (_, i) => 7 * i);

/** Bytes that do not repeat within a block. */
function message(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 255);
}

/** The digest of `data` when the state is saved after `offset` bytes and `resume` goes on with it. */
function interrupted(
  start: Running,
  resume: (saved: Uint8Array) => Running,
  data: Uint8Array,
  offset: number,
): Uint8Array {
  start.update(data.subarray(0, offset));
  const saved = start.save();
  // The first one goes on, so that a state that shares memory with it would be found out.
  start.update(message(300));
  const resumed = resume(saved);
  resumed.update(data.subarray(offset));
  return resumed.digest();
}

describe.each(HASHES)('a running $name', ({ name, alg, block }) => {
  const data = message(3 * block + 5);
  const offsets = Array.from({ length: 2 * block + 2 }, (_, offset) => offset);

  it('goes on from every offset of its first two blocks to the digest of the whole', () => {
    const expected = new Uint8Array(createHash(name).update(data).digest());
    for (const offset of offsets) {
      const digest = interrupted(runningHash(alg), (saved) => runningHash(alg, saved), data, offset);
      expect({ offset, digest }).toEqual({ offset, digest: expected });
    }
  });

  it('goes on as an HMAC from every offset to the HMAC of the whole', () => {
    const expected = new Uint8Array(createHmac(name, KEY).update(data).digest());
    for (const offset of offsets) {
      const digest = interrupted(runningHmac(alg, KEY), (saved) => resumedHmac(alg, saved), data, offset);
      expect({ offset, digest }).toEqual({ offset, digest: expected });
    }
  });

  it('refuses a state that is a byte too short or too long', () => {
    const saved = runningHash(alg).save();
    expect(() => runningHash(alg, saved.subarray(1))).toThrow(RangeError);
    expect(() => runningHash(alg, Uint8Array.from([...saved, 0]))).toThrow(RangeError);
  });
});

describe('a running hash', () => {
  it('is refused for an algorithm that this TPM does not have', () => {
    expect(() => runningHash(TPM_ALG.SM3_256)).toThrow(RangeError);
  });
});
