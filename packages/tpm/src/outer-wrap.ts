/** The outer wrapping of sensitive areas and credentials: encryption and integrity under a shared seed (Part 1, sections 22.4, 23.3 and 24). */
import { decode, encode } from '@casemate/wire';
import { concat, equalBytes } from './bytes.js';
import { TPM_ALG } from './constants/algorithms.js';
import type { TpmCrypto } from './crypto.js';
import { hashSize } from './hashes.js';
import { kdfA } from './kdf.js';
import { TpmError } from './response-code.js';
import { Tpm2bDigest } from './structures/digests.js';
import type { TpmtPublic } from './structures/public.js';

/** Under which key's algorithms, under which seed and for which object something is wrapped. */
export interface OuterWrap {
  /** The storage key whose name algorithm and symmetric algorithm are used. */
  readonly parent: TpmtPublic;
  /** The seed that the parent's TPM recovers. */
  readonly seed: Uint8Array;
  /** The Name of the object that is wrapped, or that a credential is for. */
  readonly name: Uint8Array;
}

/** The integrity value and the encrypted data. Throws `TpmError` `usage` for a parent that is no AES storage key. */
export function wrapOuter(
  wrap: OuterWrap,
  data: Uint8Array,
  crypto: TpmCrypto,
): { readonly integrity: Uint8Array; readonly encrypted: Uint8Array } {
  const key = symmetricKey(wrap, crypto);
  const encrypted = crypto.aesCfbEncrypt(key, new Uint8Array(16), data);
  key.fill(0);
  return { integrity: integrityOf(wrap, encrypted, crypto), encrypted };
}

/** The data again. Throws `TpmError` `integrity` where seed, Name or bytes are not those of {@link wrapOuter}. */
export function unwrapOuter(wrap: OuterWrap, integrity: Uint8Array, encrypted: Uint8Array, crypto: TpmCrypto) {
  if (!equalBytes(integrity, integrityOf(wrap, encrypted, crypto))) {
    throw new TpmError('integrity', 'unwrap: the outer integrity value is not that of this parent, seed and object');
  }
  const key = symmetricKey(wrap, crypto);
  const data = crypto.aesCfbDecrypt(key, new Uint8Array(16), encrypted);
  key.fill(0);
  return data;
}

/** A TPM2B_DIGEST and what follows it. Whoever made the bytes controls its size. */
export function splitDigest(bytes: Uint8Array): { readonly digest: Uint8Array; readonly rest: Uint8Array } {
  const size = 2 + (((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0));
  return { digest: decode(Tpm2bDigest, bytes.slice(0, size)), rest: bytes.slice(size) };
}

/** A TPM2B_DIGEST followed by other bytes. */
export function joinDigest(digest: Uint8Array, rest: Uint8Array): Uint8Array {
  return concat(encode(Tpm2bDigest, digest), rest);
}

function symmetricKey({ parent, seed, name }: OuterWrap, crypto: TpmCrypto): Uint8Array {
  const bits = aesBitsOf(parent);
  return kdfA({ hash: parent.nameAlg, key: seed, label: 'STORAGE', contextU: name, bits }, crypto);
}

function integrityOf({ parent, seed, name }: OuterWrap, encrypted: Uint8Array, crypto: TpmCrypto): Uint8Array {
  const hash = parent.nameAlg;
  const key = kdfA({ hash, key: seed, label: 'INTEGRITY', bits: hashSize(hash) * 8 }, crypto);
  const integrity = crypto.hmac(hash, key, encrypted, name);
  key.fill(0);
  return integrity;
}

function aesBitsOf(parent: TpmtPublic): 128 | 192 | 256 {
  if (parent.type === TPM_ALG.RSA || parent.type === TPM_ALG.ECC) {
    const { symmetric } = parent.parameters;
    if (symmetric.algorithm === TPM_ALG.AES && symmetric.mode === TPM_ALG.CFB) return symmetric.keyBits;
  }
  throw new TpmError('usage', 'wrap: expected an RSA or ECC storage key with AES in CFB mode');
}
