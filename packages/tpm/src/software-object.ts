/** Objects made outside a TPM, public and sensitive area, to import or to load (Part 1, sections 23.3 and 27; Part 2, sections 12.2 and 12.3). */

import { authBytes } from './authorization.js';
import { padTo, trimAuth } from './bytes.js';
import { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
import { TPMA_OBJECT } from './constants/attributes.js';
import type { TpmCrypto } from './crypto.js';
import { defaultCrypto } from './default-crypto.js';
import { hashSize } from './hashes.js';
import { PCR_BANKS, type PcrBank } from './pcr.js';
import { curveSize } from './public-key.js';
import { TpmError } from './response-code.js';
import type { EccPrivateKey, RsaPrivateKey } from './secret.js';
import type { TpmtSensitive } from './structures/private.js';
import type { TpmtPublic } from './structures/public.js';

/** An object with its secret in the clear. */
export interface SoftwareObject {
  /** The public area. */
  readonly public: TpmtPublic;
  /** The sensitive area: a secret. */
  readonly sensitive: TpmtSensitive;
}

/** How an object made in software may be used. */
export interface SoftwareObjectOptions {
  /** Its authorization value. Default empty. */
  readonly auth?: Uint8Array | string;
  /** Digest of its policy. Given one, only the policy authorises unless `attributes` says otherwise. */
  readonly policy?: Uint8Array;
  /** Hash of its Name and policy. Default `sha256`. */
  readonly nameAlg?: PcrBank;
  /** Bits of `TPMA_OBJECT` in place of the usual ones. Objects from outside are never `fixedTPM` or `sensitiveDataOrigin`. */
  readonly attributes?: number;
  /** Draws the value that hides a symmetric key in its public area. Default {@link defaultCrypto}. */
  readonly crypto?: TpmCrypto;
}

/** What an asymmetric key is for: signing, decryption or key exchange, both, or being a parent of other keys. */
export type SoftwareKeyUse = 'sign' | 'decrypt' | 'sign-decrypt' | 'storage';

/** An RSA or ECC private key as an object; its scheme is chosen at each use. Throws `TpmError` `usage` for sizes that TPMs lack. */
export function softwareKey(
  key: RsaPrivateKey | EccPrivateKey,
  options: SoftwareObjectOptions & { readonly use?: SoftwareKeyUse } = {},
): SoftwareObject {
  const use = options.use ?? 'sign-decrypt';
  const common = commonArea(options, USES[use]);
  const symmetric = use === 'storage' ? AES_128_CFB : NONE_SYMMETRIC;
  const seedValue = use === 'storage' ? randomSeed(options) : EMPTY;
  const areas = key.type === 'rsa' ? rsaAreas(key, symmetric) : eccAreas(key, symmetric);
  return {
    public: { ...common, ...areas.public },
    sensitive: { authValue: authValue(options), seedValue, ...areas.sensitive },
  };
}

/** An AES key of 16, 24 or 32 bytes for CFB as an object that encrypts and decrypts. */
export function softwareAesKey(key: Uint8Array, options: SoftwareObjectOptions = {}): SoftwareObject {
  const keyBits = key.length * 8;
  if (keyBits !== 128 && keyBits !== 192 && keyBits !== 256) {
    throw new TpmError('usage', `make AES object: expected a key of 16, 24 or 32 bytes, got ${key.length}`);
  }
  const seedValue = randomSeed(options);
  const sym = { algorithm: TPM_ALG.AES, keyBits, mode: TPM_ALG.CFB } as const;
  const common = commonArea(options, TPMA_OBJECT.sign | TPMA_OBJECT.decrypt);
  const unique = hiddenUnique(options, seedValue, key);
  return {
    public: { ...common, type: TPM_ALG.SYMCIPHER, parameters: { sym }, unique },
    sensitive: { sensitiveType: TPM_ALG.SYMCIPHER, authValue: authValue(options), seedValue, sensitive: key },
  };
}

/** An HMAC key of 1 to 128 bytes as an object; `hash` is that of the HMAC. */
export function softwareHmacKey(
  key: Uint8Array,
  options: SoftwareObjectOptions & { readonly hash?: PcrBank } = {},
): SoftwareObject {
  const details = { hashAlg: PCR_BANKS[options.hash ?? 'sha256'] };
  return keyedHash(key, options, TPMA_OBJECT.sign, { scheme: TPM_ALG.HMAC, details });
}

/** Data of 1 to 128 bytes as a sealed object, which a TPM unseals once it is imported. */
export function softwareSealed(data: Uint8Array, options: SoftwareObjectOptions = {}): SoftwareObject {
  return keyedHash(data, options, 0, { scheme: TPM_ALG.NULL });
}

/**
 * The private key in an object, for {@link unwrapDuplicate} and for other software. Throws `TpmError` `usage` for objects
 * that are no RSA or ECC keys.
 */
export function privateKeyOf({ public: area, sensitive }: SoftwareObject): RsaPrivateKey | EccPrivateKey {
  if (area.type === TPM_ALG.RSA && sensitive.sensitiveType === TPM_ALG.RSA) {
    const exponent = area.parameters.exponent === 0 ? 65537 : area.parameters.exponent;
    return { type: 'rsa', modulus: area.unique, exponent, prime: sensitive.sensitive };
  }
  if (area.type === TPM_ALG.ECC && sensitive.sensitiveType === TPM_ALG.ECC) {
    return { type: 'ecc', curve: area.parameters.curveID, ...area.unique, d: sensitive.sensitive };
  }
  throw new TpmError('usage', 'read private key: expected an RSA or ECC object with its sensitive area');
}

function keyedHash(
  data: Uint8Array,
  options: SoftwareObjectOptions,
  use: number,
  scheme: Extract<TpmtPublic, { type: typeof TPM_ALG.KEYEDHASH }>['parameters']['scheme'],
): SoftwareObject {
  if (data.length === 0 || data.length > 128) {
    throw new TpmError('usage', `make keyed-hash object: expected 1 to 128 bytes, got ${data.length}`);
  }
  const seedValue = randomSeed(options);
  const unique = hiddenUnique(options, seedValue, data);
  return {
    public: { ...commonArea(options, use), type: TPM_ALG.KEYEDHASH, parameters: { scheme }, unique },
    sensitive: { sensitiveType: TPM_ALG.KEYEDHASH, authValue: authValue(options), seedValue, sensitive: data },
  };
}

function commonArea(options: SoftwareObjectOptions, use: number) {
  const byAuth = options.policy === undefined ? TPMA_OBJECT.userWithAuth : TPMA_OBJECT.adminWithPolicy;
  const noDA = options.auth === undefined ? TPMA_OBJECT.noDA : 0;
  return {
    nameAlg: PCR_BANKS[options.nameAlg ?? 'sha256'],
    objectAttributes: options.attributes ?? byAuth | noDA | use,
    authPolicy: options.policy ?? EMPTY,
  };
}

function rsaAreas(key: RsaPrivateKey, symmetric: Symmetric) {
  const keyBits = key.modulus.length * 8;
  if (keyBits !== 1024 && keyBits !== 2048 && keyBits !== 3072 && keyBits !== 4096) {
    throw new TpmError('usage', `make RSA object: expected a key of 1024, 2048, 3072 or 4096 bits, got ${keyBits}`);
  }
  const exponent = key.exponent === 65537 ? 0 : key.exponent;
  const parameters = { symmetric, scheme: NONE, keyBits, exponent } as const;
  return {
    public: { type: TPM_ALG.RSA, parameters, unique: key.modulus },
    sensitive: { sensitiveType: TPM_ALG.RSA, sensitive: key.prime },
  } as const;
}

function eccAreas(key: EccPrivateKey, symmetric: Symmetric) {
  const curveID = NIST_CURVES.find((curve) => curve === key.curve);
  const size = curveSize(key.curve);
  const [x, y, d] = [padTo(key.x, size), padTo(key.y, size), padTo(key.d, size)];
  if (curveID === undefined || !x || !y || !d) {
    throw new TpmError('usage', `make ECC object: expected numbers of at most ${size} bytes`);
  }
  const parameters = { symmetric, scheme: NONE, curveID, kdf: NONE };
  return {
    public: { type: TPM_ALG.ECC, parameters, unique: { x, y } },
    sensitive: { sensitiveType: TPM_ALG.ECC, sensitive: d },
  } as const;
}

/** The public area of a symmetric object commits to its key without showing it (Part 1, section 27.5.3.4). */
function hiddenUnique(options: SoftwareObjectOptions, seedValue: Uint8Array, key: Uint8Array): Uint8Array {
  return (options.crypto ?? defaultCrypto).hash(PCR_BANKS[options.nameAlg ?? 'sha256'], seedValue, key);
}

function randomSeed(options: SoftwareObjectOptions): Uint8Array {
  return (options.crypto ?? defaultCrypto).random(hashSize(PCR_BANKS[options.nameAlg ?? 'sha256']));
}

function authValue(options: SoftwareObjectOptions): Uint8Array {
  const value = trimAuth(authBytes(options.auth));
  const max = hashSize(PCR_BANKS[options.nameAlg ?? 'sha256']);
  if (value.length <= max) return value;
  throw new TpmError(
    'usage',
    `make object: expected an authorization value of at most ${max} bytes, got ${value.length}`,
  );
}

type Symmetric = typeof AES_128_CFB | typeof NONE_SYMMETRIC;

const NONE = { scheme: TPM_ALG.NULL } as const;
const NONE_SYMMETRIC = { algorithm: TPM_ALG.NULL } as const;
const AES_128_CFB = { algorithm: TPM_ALG.AES, keyBits: 128, mode: TPM_ALG.CFB } as const;
const NIST_CURVES = [TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P384, TPM_ECC_CURVE.NIST_P521] as const;
const USES: Readonly<Record<SoftwareKeyUse, number>> = {
  sign: TPMA_OBJECT.sign,
  decrypt: TPMA_OBJECT.decrypt,
  'sign-decrypt': TPMA_OBJECT.sign | TPMA_OBJECT.decrypt,
  storage: TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt,
};
const EMPTY = new Uint8Array(0);
