/** ML-DSA keys (FIPS 204) in certificates, requests and documents (RFC 9881, RFC 9882), through @noble/post-quantum. */
import { shake256 } from '@noble/hashes/sha3.js';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { ALGORITHM_OF_ML_DSA } from './algorithm.js';
import { equalBytes, randomBytes } from './bytes.js';
import { bitString, integer, octetString, oid, openDer, primitive, sequence, TAG, tlv } from './der.js';
import { malformed } from './error.js';
import type { SoftwareKey } from './key.js';
import { type MlDsaSet, provideMlDsa } from './post-quantum.js';

export type { MlDsaSet } from './post-quantum.js';

const SETS = { 44: ml_dsa44, 65: ml_dsa65, 87: ml_dsa87 } as const;
const SEED = 32;

/**
 * Lets every function of this package generate, open, use and verify keys of the algorithms `ml-dsa-44`, `ml-dsa-65` and
 * `ml-dsa-87`. Call it once; without it they are refused as `unsupported`. A profile must name the kind among its `keys`.
 */
export function enableMlDsa(): void {
  provideMlDsa({
    generate: (set) => keyOfSeed(set, randomBytes(SEED)),
    importKey,
    verify: (set, publicKey, data, signature) => SETS[set].verify(signature, data, publicKey),
  });
}

/** RFC 9881 section 6: the seed, the expanded key, or both, which then must belong together. */
function importKey(set: MlDsaSet, pkcs8: Uint8Array): SoftwareKey {
  const what = 'ML-DSA-PrivateKey';
  const outer = openDer(pkcs8, TAG.SEQUENCE, what);
  outer.take(TAG.INTEGER, 'version');
  outer.take(TAG.SEQUENCE, 'privateKeyAlgorithm');
  const reader = outer.enter(TAG.OCTET_STRING, 'privateKey');
  const seed = reader.optional(primitive(0), 'seed')?.content;
  if (seed !== undefined) {
    reader.finish();
    return keyOfSeed(set, assertLength(seed, SEED));
  }
  const both = reader.tag === TAG.SEQUENCE ? reader.enter(TAG.SEQUENCE, 'both') : undefined;
  const { content } = (both ?? reader).take(TAG.OCTET_STRING, both === undefined ? 'expandedKey' : 'seed');
  reader.finish();
  if (both === undefined) return keyOfExpanded(set, assertLength(content, SETS[set].lengths.secretKey ?? 0));
  const expanded = both.take(TAG.OCTET_STRING, 'expandedKey').content;
  both.finish();
  const { secretKey } = SETS[set].keygen(assertLength(content, SEED));
  if (!equalBytes(secretKey, expanded)) throw malformed(what, 'expected the expanded key of the seed, got another');
  return keyOfSeed(set, content);
}

function assertLength(content: Uint8Array, length: number): Uint8Array {
  if (content.length === length) return content;
  throw malformed('ML-DSA-PrivateKey', `expected ${length} bytes, got ${content.length}`);
}

function keyOfSeed(set: MlDsaSet, given: Uint8Array): SoftwareKey {
  const seed = given.slice();
  const { publicKey, secretKey } = SETS[set].keygen(seed);
  return softwareKey(set, publicKey, secretKey, tlv(primitive(0), seed));
}

function keyOfExpanded(set: MlDsaSet, given: Uint8Array): SoftwareKey {
  const secretKey = given.slice();
  const publicKey = publicKeyOf(set, secretKey);
  // The expanded key holds a hash of the public key (FIPS 204 algorithm 24: rho, K, tr): a key that was tampered with is told by it.
  if (equalBytes(shake256(publicKey, { dkLen: 64 }), secretKey.subarray(64, 128))) {
    return softwareKey(set, publicKey, secretKey, octetString(secretKey));
  }
  throw malformed('ML-DSA-PrivateKey', 'expected an expanded key that belongs to its public key, got another');
}

function publicKeyOf(set: MlDsaSet, secretKey: Uint8Array): Uint8Array {
  try {
    return SETS[set].getPublicKey(secretKey);
  } catch (cause) {
    throw malformed('ML-DSA-PrivateKey', 'expected coefficients within their bounds, got others', cause);
  }
}

function softwareKey(set: MlDsaSet, raw: Uint8Array, secretKey: Uint8Array, privateKey: Uint8Array): SoftwareKey {
  const identifier = sequence(oid(ALGORITHM_OF_ML_DSA[set]));
  return {
    algorithm: `ml-dsa-${set}`,
    publicKey: sequence(identifier, bitString(raw)),
    sign: async (data) => SETS[set].sign(data, secretKey),
    unsafeExportKey: async () => sequence(integer(0), identifier, octetString(privateKey)),
  };
}
