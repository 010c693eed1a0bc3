/**
 * The same as `micro` where nothing but what OpenSSL does is wanted: a program that bundles this one has no @noble in it, whose tables
 * take memory and time in every thread. No entry of the package: trustvisor's isolates are built with it.
 */
import type { MicroCrypto } from './micro/crypto.js';
import { type MicroUtpm, type MicroUtpmOptions, openMicro } from './micro/micro-tpm.js';
import { aesCfbDecrypt, aesCfbEncrypt, digest, mac, multiplyGenerator, random, signMessage } from './openssl.js';

/** It makes keys and signs messages; a command that needs more of a curve (a salted session, a signature over a digest) makes the TPM fail. */
export const microCrypto: MicroCrypto = {
  random,
  hash: (alg, ...parts) => digest(alg, parts) ?? lacking('a hash'),
  hmac: (alg, key, ...parts) => mac(alg, key, parts) ?? lacking('an HMAC'),
  aesCfbEncrypt,
  aesCfbDecrypt,
  eccMultiply: (curve, scalar, point) =>
    point === undefined ? multiplyGenerator(curve, scalar) : lacking('a multiple of a point'),
  ecdsaSign: (key, input) => signMessage(key, input) ?? lacking('a signature over a digest'),
  ecdsaVerify: () => lacking('the verification of a signature over a digest'),
};

/** As in `micro`. */
export function openMicroUtpm(options: MicroUtpmOptions = {}): Promise<MicroUtpm> {
  return openMicro({ crypto: microCrypto, ...options });
}

function lacking(what: string): never {
  throw new Error(`use OpenSSL alone: it does not offer ${what}`);
}
