/** Keys: creating, loading, signing and binding. TPM 1.2 Main Part 2, clause 10; Part 3, clauses 10 and 13. */
import { encode } from '@casemate/wire';
import { u32Bytes } from '../bytes.js';
import type { RsaPublicKey } from '../crypto.js';
import { derBitString, derInteger, derObject, derSequence } from '../der.js';
import { TpmError } from '../response-code.js';
import type { ExecuteOptions12, Tpm12 } from './client.js';
import { FlushSpecific } from './commands/session.js';
import { CreateWrapKey, GetPubKey, LoadKey2, Sign, UnBind } from './commands/storage.js';
import {
  TPM_ALG,
  TPM_AUTH_DATA_USAGE,
  TPM_ES,
  TPM_ET,
  TPM_KEY_FLAGS,
  TPM_KEY_USAGE,
  TPM_KH,
  TPM_PT,
  TPM_RT,
  TPM_SS,
  TPM_TAG,
} from './constants.js';
import { nobleCrypto12, oaepTcpa, type Tpm12Crypto, verifySha1 } from './crypto.js';
import { type ChangeSecretOptions12, changeEntitySecret } from './entity-secret.js';
import { type Binding12, pcrInfo } from './pcr.js';
import { wellKnownSecret } from './secret.js';
import { VERSION_1_1 } from './structures/base.js';
import type { TpmAnyKey, TpmKeyParms, TpmPubkey } from './structures/key.js';
import { TpmBoundData } from './structures/storage.js';

/** A key in the TPM, with the secret that its use needs; without one it is used without authorisation. */
export interface KeyHandle12 {
  /** The TPM's number for it. */
  readonly handle: number;
  /** The secret of its use, 20 bytes. */
  readonly secret?: Uint8Array | undefined;
}

/** A key that was loaded. */
export interface LoadedKey12 extends KeyHandle12 {
  /** The key as it was loaded. */
  readonly key: TpmAnyKey;
  /** Frees its place in the TPM; does nothing the second time. */
  flush(): Promise<void>;
  /** The same as `flush`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a key is for. */
export type KeyKind12 = 'storage' | 'signing' | 'binding' | 'legacy';

/** What a new key is to be. */
export interface CreateKeyOptions12 extends ExecuteOptions12 {
  /** What it is for. Default `signing`. */
  readonly kind?: KeyKind12;
  /** The size of its modulus. Default 2048. */
  readonly bits?: number;
  /** The secret of its use, 20 bytes; without one anybody who can load it can use it. */
  readonly secret?: Uint8Array;
  /** Makes it a migratable key with this secret, 20 bytes. Default: it stays with this TPM. */
  readonly migrationSecret?: Uint8Array;
  /** PCRs and localities that its use is bound to. */
  readonly binding?: Binding12;
  /** For signing keys: `sha1` signs a digest of 20 bytes, `der` a whole DigestInfo or anything else. Default `sha1`. */
  readonly scheme?: SignatureScheme12;
}

/** How a key signs. TPM 1.2 Part 1, clause 31.2. */
export type SignatureScheme12 = 'sha1' | 'der';

const SCHEMES = {
  sha1: TPM_SS.RSASSAPKCS1v15_SHA1,
  der: TPM_SS.RSASSAPKCS1v15_DER,
} as const;

const USAGES = {
  storage: TPM_KEY_USAGE.STORAGE,
  signing: TPM_KEY_USAGE.SIGNING,
  binding: TPM_KEY_USAGE.BIND,
  legacy: TPM_KEY_USAGE.LEGACY,
} as const;

/** The storage root key; its secret is the one that was given when ownership was taken, most often the well-known one. */
export function srk(secret: Uint8Array = wellKnownSecret()): KeyHandle12 {
  return { handle: TPM_KH.SRK, secret };
}

/** The parameters of an RSA key with exponent 65537 and two primes. */
export function rsaKeyParms(bits: number, encScheme: number, sigScheme: number): TpmKeyParms {
  const parms = { keyLength: bits, numPrimes: 2, exponent: new Uint8Array(0) };
  // Members of the tables: the codec refuses others.
  const schemes = { encScheme, sigScheme } as Pick<TpmKeyParms, 'encScheme' | 'sigScheme'>;
  return { algorithmID: TPM_ALG.RSA, ...schemes, parms };
}

/** Creates a key under a parent and gives it wrapped; {@link loadKey12} loads it. */
export async function createKey12(
  tpm: Tpm12,
  parent: KeyHandle12,
  options: CreateKeyOptions12 = {},
): Promise<TpmAnyKey> {
  const keyInfo = await keyTemplate(tpm, options);
  const request = {
    parentHandle: parent.handle,
    dataUsageAuth: options.secret ?? wellKnownSecret(),
    dataMigrationAuth: options.migrationSecret ?? wellKnownSecret(),
    keyInfo,
    pubAuth: parent.secret ?? wellKnownSecret(),
  };
  return (await tpm.execute(CreateWrapKey, request, options)).wrappedKey;
}

/** Loads a wrapped key under its parent. `secret` is the secret of its use; leave it out for a key that needs none. */
export async function loadKey12(
  tpm: Tpm12,
  parent: KeyHandle12,
  key: TpmAnyKey,
  options: ExecuteOptions12 & { readonly secret?: Uint8Array } = {},
): Promise<LoadedKey12> {
  const request = { parentHandle: parent.handle, inKey: key, parentAuth: parent.secret };
  const { inkeyHandle: handle } = await tpm.execute(LoadKey2, request, options);
  const needsSecret = key.authDataUsage !== TPM_AUTH_DATA_USAGE.NEVER;
  const secret = options.secret ?? (needsSecret ? wellKnownSecret() : undefined);
  let flushed = false;
  const flush = async (): Promise<void> => {
    if (flushed) return;
    flushed = true;
    await tpm.execute(FlushSpecific, { handle, resourceType: TPM_RT.KEY });
  };
  return { handle, secret, key, flush, [Symbol.asyncDispose]: flush };
}

/** The public part of a key. */
export function pubkeyOf(key: TpmAnyKey): TpmPubkey {
  return { algorithmParms: key.algorithmParms, pubKey: key.pubKey };
}

/** Reads the public part of a loaded key from the TPM. */
export async function readPubkey(tpm: Tpm12, key: KeyHandle12, options: ExecuteOptions12 = {}): Promise<TpmPubkey> {
  return (await tpm.execute(GetPubKey, { keyHandle: key.handle, keyAuth: key.secret }, options)).pubKey;
}

/** A public key as modulus and exponent. Throws `TpmError` `usage` where it is no RSA key. */
export function rsaPublicKey(pubkey: TpmPubkey): RsaPublicKey {
  const { algorithmParms } = pubkey;
  if (algorithmParms.algorithmID !== TPM_ALG.RSA) {
    throw new TpmError('usage', `use key: expected an RSA key, got algorithm ${algorithmParms.algorithmID}`);
  }
  const digits = algorithmParms.parms.exponent;
  const exponent = digits.length === 0 ? 65537 : digits.reduce((value, digit) => value * 256 + digit, 0);
  return { type: 'rsa', modulus: pubkey.pubKey, exponent };
}

/** A public key as DER SubjectPublicKeyInfo (RFC 3279), for OpenSSL, WebCrypto and certificates. */
export function pubkeySpki(pubkey: TpmPubkey): Uint8Array {
  const { modulus, exponent } = rsaPublicKey(pubkey);
  const algorithm = derSequence(derObject(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1), Uint8Array.of(5, 0));
  return derSequence(algorithm, derBitString(derSequence(derInteger(modulus), derInteger(u32Bytes(exponent)))));
}

/**
 * Signs with a loaded key in the key's own scheme: `sha1` keys take a digest of 20 bytes, `der` keys what is to be padded.
 */
export async function sign12(
  tpm: Tpm12,
  key: KeyHandle12,
  areaToSign: Uint8Array,
  options: ExecuteOptions12 = {},
): Promise<Uint8Array> {
  const request = { keyHandle: key.handle, areaToSign, privAuth: key.secret };
  return (await tpm.execute(Sign, request, options)).sig;
}

/** Whether `signature` is the key's RSASSA-PKCS1-v1_5 signature of `message` with SHA-1, as `sha1` keys sign a digest of it. */
export function verifySignature12(
  pubkey: TpmPubkey,
  message: Uint8Array,
  signature: Uint8Array,
  crypto: Pick<Tpm12Crypto, 'verify'> = nobleCrypto12,
): boolean {
  return verifySha1(crypto, rsaPublicKey(pubkey), signature, message);
}

/** Encrypts data to a binding key, offline; a 2048-bit key takes up to 209 bytes. Only the TPM with the key decrypts them. */
export function bind12(
  pubkey: TpmPubkey,
  data: Uint8Array,
  crypto: Pick<Tpm12Crypto, 'rsaOaepEncrypt'> = nobleCrypto12,
): Uint8Array {
  const { encScheme } = pubkey.algorithmParms;
  if (encScheme !== TPM_ES.RSAESOAEP_SHA1_MGF1) {
    throw new TpmError('usage', `bind data: expected a key with the scheme OAEP, got TPM_ES ${encScheme}`);
  }
  const bound = encode(TpmBoundData, { ver: VERSION_1_1, payload: TPM_PT.BIND, payloadData: data });
  try {
    return oaepTcpa(crypto, rsaPublicKey(pubkey), bound);
  } finally {
    bound.fill(0);
  }
}

/** Decrypts what {@link bind12} encrypted. */
export async function unbind12(
  tpm: Tpm12,
  key: KeyHandle12,
  bound: Uint8Array,
  options: ExecuteOptions12 = {},
): Promise<Uint8Array> {
  const request = { keyHandle: key.handle, inData: bound, privAuth: key.secret };
  return (await tpm.execute(UnBind, request, options)).outData;
}

/** Gives a wrapped key another secret; the old wrapped form keeps the old one. */
export async function changeKeySecret(
  tpm: Tpm12,
  parent: KeyHandle12,
  key: TpmAnyKey,
  options: ChangeSecretOptions12,
): Promise<TpmAnyKey> {
  return {
    ...key,
    encData: await changeEntitySecret(tpm, parent, { type: TPM_ET.KEY, encData: key.encData }, options),
  };
}

async function keyTemplate(tpm: Tpm12, options: CreateKeyOptions12): Promise<TpmAnyKey> {
  const { kind = 'signing', bits = 2048 } = options;
  const isSigning = kind === 'signing' || kind === 'legacy';
  const encScheme = kind === 'signing' ? TPM_ES.NONE : TPM_ES.RSAESOAEP_SHA1_MGF1;
  const sigScheme = isSigning ? SCHEMES[options.scheme ?? 'sha1'] : TPM_SS.NONE;
  const common = {
    keyUsage: USAGES[kind],
    keyFlags: options.migrationSecret ? TPM_KEY_FLAGS.MIGRATABLE : 0,
    authDataUsage: options.secret ? TPM_AUTH_DATA_USAGE.ALWAYS : TPM_AUTH_DATA_USAGE.NEVER,
    algorithmParms: rsaKeyParms(bits, encScheme, sigScheme),
    pubKey: new Uint8Array(0),
    encData: new Uint8Array(0),
  };
  const info = await pcrInfo(tpm, options.binding ?? {}, options);
  if (info === undefined || !('tag' in info)) return { ver: VERSION_1_1, ...common, pcrInfo: info };
  return { tag: TPM_TAG.KEY12, fill: 0, ...common, pcrInfo: info };
}
