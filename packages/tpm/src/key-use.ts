/** What keys in the TPM do besides signing: HMAC, key exchange, RSA decryption (Part 3, chapters 14 and 15). */
import type { Entity } from './authorization.js';
import { padTo } from './bytes.js';
import { EcdhZGen, RsaDecrypt, RsaEncrypt } from './commands/asymmetric.js';
import { FlushContext } from './commands/context.js';
import { HmacStart, SequenceComplete, SequenceUpdate } from './commands/sequence.js';
import { Hmac } from './commands/symmetric.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_RH } from './constants/handles.js';
import type { TpmObject } from './object.js';
import { PCR_BANKS, type PcrBank } from './pcr.js';
import { curveSize } from './public-key.js';
import { TpmError } from './response-code.js';
import type { TpmtRsaDecryptOrNull } from './structures/asymmetric.js';
import type { TpmtPublic } from './structures/public.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/**
 * The HMAC of `data` by a keyed-hash key, of any length. A key without a scheme takes `hash`, by default `sha256`.
 * Throws what {@link Tpm.execute} throws.
 */
export async function hmacWith(
  tpm: Tpm,
  key: TpmObject,
  data: Uint8Array,
  options: ExecuteOptions & { readonly hash?: PcrBank } = {},
): Promise<Uint8Array> {
  const hashAlg = isBoundHmac(key.public) ? TPM_ALG.NULL : PCR_BANKS[options.hash ?? 'sha256'];
  if (data.length <= CHUNK) {
    return (await tpm.execute(Hmac, { handle: key, buffer: data, hashAlg }, options)).outHMAC;
  }
  const start = { handle: key, auth: NONE, hashAlg };
  const { sequenceHandle } = await tpm.execute(HmacStart, start, options);
  return await completeSequence(tpm, sequenceHandle, data, options);
}

/**
 * The x coordinate of the point that an ECC key shares with `peer`, padded to the curve's size: put it through a key
 * derivation function before use. Throws what {@link Tpm.execute} throws; a TPM refuses points that are not on the curve.
 */
export async function ecdhWith(
  tpm: Tpm,
  key: TpmObject,
  peer: { readonly x: Uint8Array; readonly y: Uint8Array },
  options: ExecuteOptions = {},
): Promise<Uint8Array> {
  if (key.public.type !== TPM_ALG.ECC) throw new TpmError('usage', 'exchange keys: expected an ECC key');
  const inPoint = { x: peer.x, y: peer.y };
  const { outPoint } = await tpm.execute(EcdhZGen, { keyHandle: key, inPoint }, options);
  const x = padTo(outPoint.x, curveSize(key.public.parameters.curveID));
  if (x) return x;
  throw new TpmError('integrity', 'exchange keys: the TPM gave a coordinate that is longer than its curve allows');
}

/** An RSA encryption scheme; `label` is used as given, and TPMs want a NUL at its end where it is not empty. */
export type RsaEncryption =
  | { readonly scheme: 'oaep'; readonly hash?: PcrBank; readonly label?: Uint8Array }
  | { readonly scheme: 'pkcs1' }
  | { readonly scheme: 'none' };

/** Decrypts with an RSA key. Default: OAEP with SHA-256. Throws what {@link Tpm.execute} throws. */
export async function rsaDecryptWith(
  tpm: Tpm,
  key: Entity,
  ciphertext: Uint8Array,
  encryption: RsaEncryption = { scheme: 'oaep' },
  options: ExecuteOptions = {},
): Promise<Uint8Array> {
  const request = {
    keyHandle: key,
    cipherText: ciphertext,
    inScheme: schemeOf(encryption),
    label: labelOf(encryption),
  };
  return (await tpm.execute(RsaDecrypt, request, options)).message;
}

/** Encrypts with an RSA key in the TPM; the public half does the same anywhere. Throws what {@link Tpm.execute} throws. */
export async function rsaEncryptWith(
  tpm: Tpm,
  key: Entity,
  message: Uint8Array,
  encryption: RsaEncryption = { scheme: 'oaep' },
  options: ExecuteOptions = {},
): Promise<Uint8Array> {
  const request = { keyHandle: key, message, inScheme: schemeOf(encryption), label: labelOf(encryption) };
  return (await tpm.execute(RsaEncrypt, request, options)).outData;
}

function schemeOf(encryption: RsaEncryption): TpmtRsaDecryptOrNull {
  switch (encryption.scheme) {
    case 'oaep':
      return { scheme: TPM_ALG.OAEP, details: { hashAlg: PCR_BANKS[encryption.hash ?? 'sha256'] } };
    case 'pkcs1':
      return { scheme: TPM_ALG.RSAES };
    case 'none':
      return { scheme: TPM_ALG.NULL };
  }
}

function labelOf(encryption: RsaEncryption): Uint8Array {
  return encryption.scheme === 'oaep' ? (encryption.label ?? NONE) : NONE;
}

async function completeSequence(tpm: Tpm, sequenceHandle: number, data: Uint8Array, options: ExecuteOptions) {
  try {
    let rest = data;
    for (; rest.length > CHUNK; rest = rest.subarray(CHUNK)) {
      await tpm.execute(SequenceUpdate, { sequenceHandle, buffer: rest.slice(0, CHUNK) }, options);
    }
    const end = { buffer: rest.slice(), hierarchy: TPM_RH.NULL };
    return (await tpm.execute(SequenceComplete, { sequenceHandle, ...end }, options)).result;
  } catch (error) {
    // The sequence takes one of the TPM's few places; the first error is the one that matters.
    await tpm.execute(FlushContext, { flushHandle: sequenceHandle }).catch(() => undefined);
    throw error;
  }
}

function isBoundHmac(area: TpmtPublic): boolean {
  if (area.type !== TPM_ALG.KEYEDHASH) throw new TpmError('usage', 'compute HMAC: expected a keyed-hash key');
  return area.parameters.scheme.scheme === TPM_ALG.HMAC;
}

/** Every TPM takes this many bytes at a time. */
const CHUNK = 1024;
const NONE = new Uint8Array(0);
