/** COSE_Sign1 by a key in the TPM: RFC 9052, section 4.2 and 4.4; algorithms of RFC 9053 and RFC 8812; CBOR of RFC 8949. */
import { concat } from './bytes.js';
import type { TpmObject } from './object.js';
import { TpmError } from './response-code.js';
import { signatureToRaw } from './signature.js';
import { type SignOptions, signWith, tpmSigner } from './signer.js';
import type { Tpm } from './tpm.js';

/** What goes along with the payload of a COSE_Sign1. */
export interface CoseOptions extends SignOptions {
  /** The key's identifier, in the unprotected header. */
  readonly keyId?: Uint8Array;
  /** Data that are signed too but not carried. */
  readonly externalAad?: Uint8Array;
  /** Leave the payload out: the verifier has it. */
  readonly detached?: boolean;
}

/**
 * Signs a COSE_Sign1 message (tag 18), with the key's own algorithm in the protected header: ES256, ES384, ES512, RS256 to RS512 or PS256
 * to PS512, the latter only where the TPM salts by the digest's length. Throws `TpmError` `usage` for a key that has none of these.
 */
export async function signCose(
  tpm: Tpm,
  key: TpmObject,
  payload: Uint8Array,
  options: CoseOptions = {},
): Promise<Uint8Array> {
  const algorithm = ALGORITHMS[tpmSigner(tpm, key, options).algorithm.replace(/-(2048|3072|4096)-/, '-')];
  if (algorithm === undefined) {
    throw new TpmError(
      'usage',
      'sign COSE: expected a key with an algorithm of COSE, got another combination of curve and hash',
    );
  }
  const { keyId, externalAad = new Uint8Array(0), detached = false } = options;
  const header = cbor(MAP, 1, cbor(UNSIGNED, 1), cbor(NEGATIVE, -1 - algorithm));
  const context = new TextEncoder().encode('Signature1');
  const structure = cbor(ARRAY, 4, cbor(TEXT, context.length, context), ...[header, externalAad, payload].map(octets));
  const signature = signatureToRaw(key.public, await signWith(tpm, key, structure, options));
  const unprotected = keyId === undefined ? cbor(MAP, 0) : cbor(MAP, 1, cbor(UNSIGNED, 4), octets(keyId));
  const content = detached ? Uint8Array.of(NIL) : octets(payload);
  return cbor(TAG, 18, cbor(ARRAY, 4, octets(header), unprotected, content, octets(signature)));
}

function octets(bytes: Uint8Array): Uint8Array {
  return cbor(BYTES, bytes.length, bytes);
}

/** A data item: its major type, its argument in the shortest form, and what it holds. */
function cbor(major: number, argument: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const type = major << 5;
  if (argument < 24) return concat(Uint8Array.of(type | argument), ...contents);
  if (argument < 0x100) return concat(Uint8Array.of(type | 24, argument), ...contents);
  if (argument < 0x10000) return concat(Uint8Array.of(type | 25, argument >>> 8, argument), ...contents);
  return concat(Uint8Array.of(type | 26, argument >>> 24, argument >>> 16, argument >>> 8, argument), ...contents);
}

// Major types, and the simple value of nothing.
const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const TAG = 6;
const NIL = 0xf6;

const ALGORITHMS: Readonly<Record<string, number>> = {
  'ecdsa-p256-sha256': -7,
  'ecdsa-p384-sha384': -35,
  'ecdsa-p521-sha512': -36,
  'rsassa-sha256': -257,
  'rsassa-sha384': -258,
  'rsassa-sha512': -259,
  'rsapss-sha256': -37,
  'rsapss-sha384': -38,
  'rsapss-sha512': -39,
};
