/** Hashes that run over several commands and can be put aside as bytes in between: Part 1, clause 32 (sequences), and 30.3.2. */
import { TPM_ALG } from '@casemate/tpm';
import { hmac } from '@noble/hashes/hmac.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { concat, u64Bytes } from './bytes.js';

/** A digest or MAC over data that come in parts. */
export interface Running {
  /** The TPM_ALG_ID of the hash, or TPM_ALG_CMAC. */
  readonly alg: number;
  /** Adds data. */
  update(data: Uint8Array): void;
  /** Ends it; nothing else may be called afterwards. */
  digest(): Uint8Array;
  /** All that it needs to go on later. A secret, where it is a MAC. */
  save(): Uint8Array;
}

const FUNCTIONS = {
  [TPM_ALG.SHA1]: sha1,
  [TPM_ALG.SHA256]: sha256,
  [TPM_ALG.SHA384]: sha384,
  [TPM_ALG.SHA512]: sha512,
} as const;

type HashFunction = typeof sha1 | typeof sha256 | typeof sha512;
type Hasher = ReturnType<HashFunction['create']>;

function functionOf(alg: number): HashFunction {
  const found = Object.entries(FUNCTIONS).find(([id]) => Number(id) === alg);
  if (found === undefined)
    throw new RangeError(`start a hash: expected one that the TPM has, got 0x${alg.toString(16)}`);
  return found[1];
}

/** Starts a hash, or goes on with what `save` gave. Throws `RangeError` for another algorithm or a state that is not one. */
export function runningHash(alg: number, saved?: Uint8Array): Running {
  const hasher = functionOf(alg).create();
  if (saved !== undefined) restore(hasher, saved);
  return {
    alg,
    update: (data) => void hasher.update(data),
    digest: () => hasher.digest(),
    save: () => inner(hasher),
  };
}

/** Starts an HMAC. */
export function runningHmac(alg: number, key: Uint8Array): Running {
  const mac = hmac.create(functionOf(alg), key);
  return runningPair(alg, mac.iHash as Hasher, mac.oHash as Hasher); // the same functions, as their creator was given
}

/** Goes on with an HMAC from what `save` gave. */
export function resumedHmac(alg: number, saved: Uint8Array): Running {
  const [inside, outside] = [functionOf(alg).create(), functionOf(alg).create()];
  restore(inside, saved.subarray(0, saved.length / 2));
  restore(outside, saved.subarray(saved.length / 2));
  return runningPair(alg, inside, outside);
}

// RFC 2104: the two hashes have already taken the key.
function runningPair(alg: number, inside: Hasher, outside: Hasher): Running {
  return {
    alg,
    update: (data) => void inside.update(data),
    digest: () => outside.update(inside.digest()).digest(),
    save: () => concat(inner(inside), inner(outside)),
  };
}

// @noble/hashes keeps the chaining value behind `get` and `set`, the open block in `buffer`, and its length in `pos`. They are not part of
// its public types, which is why the package pins its exact version and a test resumes every hash at every offset of a block.
interface Internals {
  readonly buffer: Uint8Array;
  length: number;
  pos: number;
  get(): number[];
  set(...words: number[]): void;
}

function internals(hasher: Hasher): Internals {
  const candidate = hasher as unknown as Partial<Internals>;
  const { buffer, length, pos, get, set } = candidate;
  const isKnown = buffer instanceof Uint8Array && typeof length === 'number' && typeof pos === 'number';
  if (!isKnown || typeof get !== 'function' || typeof set !== 'function') {
    throw new TypeError('save a hash: expected the state of @noble/hashes 2.4.0');
  }
  return candidate as Internals;
}

function inner(hasher: Hasher): Uint8Array {
  const { buffer, length, pos } = internals(hasher);
  const words = internals(hasher).get();
  const chain = new Uint8Array(4 * words.length);
  words.forEach((word, i) => {
    new DataView(chain.buffer).setInt32(4 * i, word);
  });
  const block = buffer.slice();
  block.fill(0, pos);
  return concat(u64Bytes(BigInt(length)), chain, block);
}

function restore(hasher: Hasher, saved: Uint8Array): void {
  const state = internals(hasher);
  const count = state.get().length;
  if (saved.length !== 8 + 4 * count + state.buffer.length)
    throw new RangeError('resume a hash: its state has another length');
  const view = new DataView(saved.buffer, saved.byteOffset, saved.byteLength);
  state.set(...Array.from({ length: count }, (_, i) => view.getInt32(8 + 4 * i)));
  state.length = Number(view.getBigUint64(0));
  state.pos = state.length % state.buffer.length;
  state.buffer.set(saved.subarray(8 + 4 * count));
}
