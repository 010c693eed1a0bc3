/** Keys in the TPM behind the interface of WebCrypto (W3C Web Cryptography API, section 14), and as signers of JWS (RFC 7515). */
import { concat, equalBytes } from './bytes.js';
import { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
import { TPMA_OBJECT } from './constants/attributes.js';
import { ecdhWith, hmacWith, rsaDecryptWith } from './key-use.js';
import { createKey, loadKey, type TpmObject } from './object.js';
import { toBase64Url } from './pem.js';
import { publicKeySpki } from './public-key.js';
import { TpmError } from './response-code.js';
import { signatureToRaw } from './signature.js';
import { type SignerHash, signWith, tpmSigner } from './signer.js';
import type { TpmtPublic } from './structures/public.js';
import { signingKeyTemplate } from './templates.js';
import type { Tpm } from './tpm.js';

export { type CoseOptions, signCose } from './cose.js';

/** An algorithm by its name in WebCrypto, with its parameters. */
export interface KeyAlgorithmInput {
  /** Such as `ECDSA` or `RSA-PSS`. */
  readonly name: string;
  /** Such as `SHA-256`. */
  readonly hash?: string | { readonly name: string };
  /** Such as `P-256`. */
  readonly namedCurve?: string;
  /** Bits of an RSA modulus. */
  readonly modulusLength?: number;
  /** The other side's public key of a key exchange: a `CryptoKey` of the platform. */
  readonly public?: unknown;
  /** Label of RSA-OAEP. */
  readonly label?: Uint8Array | ArrayBuffer;
  /** Salt length in bytes of RSA-PSS, which a TPM chooses itself. */
  readonly saltLength?: number;
}

/** A private or secret key that stays in the TPM, in the shape of a `CryptoKey`. */
export interface TpmCryptoKey {
  /** What kind of key. */
  readonly type: 'private' | 'secret';
  /** Never. */
  readonly extractable: false;
  /** Its algorithm, as WebCrypto describes it. */
  readonly algorithm: { readonly name: string; readonly [parameter: string]: unknown };
  /** What it may be used for. */
  readonly usages: readonly string[];
}

/** A key in the TPM and its public half. */
export interface TpmCryptoKeyPair {
  /** Usable with {@link TpmSubtle} alone. */
  readonly privateKey: TpmCryptoKey;
  /** A `CryptoKey` of the platform. */
  readonly publicKey: PlatformKey;
}

/** A `CryptoKey` of the platform, of whichever type declarations the application uses. */
export type PlatformKey = Awaited<ReturnType<typeof globalThis.crypto.subtle.importKey>>;

/** Bytes as WebCrypto takes them. */
export type BufferInput = ArrayBuffer | ArrayBufferView;

/**
 * A `SubtleCrypto` that does with keys of the TPM what it can, and hands everything else to the platform's. Libraries that
 * take a crypto engine, such as pkijs and @peculiar/x509, sign with it; what asks for a `CryptoKey` of the platform and
 * uses the global `crypto` cannot.
 */
export interface TpmSubtle {
  /** ECDSA, RSASSA-PKCS1-v1_5, RSA-PSS or HMAC. Throws a `TpmError` `usage` where the key does not do that. */
  sign(algorithm: string | KeyAlgorithmInput, key: TpmCryptoKey | PlatformKey, data: BufferInput): Promise<ArrayBuffer>;
  /** HMAC by a key of the TPM; public keys are the platform's. */
  verify(
    algorithm: string | KeyAlgorithmInput,
    key: TpmCryptoKey | PlatformKey,
    signature: BufferInput,
    data: BufferInput,
  ): Promise<boolean>;
  /** RSA-OAEP. */
  decrypt(
    algorithm: string | KeyAlgorithmInput,
    key: TpmCryptoKey | PlatformKey,
    data: BufferInput,
  ): Promise<ArrayBuffer>;
  /** The platform's: public keys encrypt anywhere. */
  encrypt(algorithm: KeyAlgorithmInput, key: PlatformKey, data: BufferInput): Promise<ArrayBuffer>;
  /** ECDH with `algorithm.public`; `length` in bits, `null` for all. */
  deriveBits(
    algorithm: KeyAlgorithmInput,
    key: TpmCryptoKey | PlatformKey,
    length: number | null,
  ): Promise<ArrayBuffer>;
  /** The platform's key from {@link TpmSubtle.deriveBits}. */
  deriveKey(
    algorithm: KeyAlgorithmInput,
    key: TpmCryptoKey | PlatformKey,
    derived: KeyAlgorithmInput & { readonly length?: number },
    extractable: boolean,
    usages: readonly string[],
  ): Promise<PlatformKey>;
  /**
   * With a parent in the options: makes a key in the TPM that cannot leave it (ECDSA, RSASSA-PKCS1-v1_5, RSA-PSS, ECDH,
   * RSA-OAEP). Without one, and for what is extractable, the platform's.
   */
  generateKey(
    algorithm: KeyAlgorithmInput,
    extractable: boolean,
    usages: readonly string[],
  ): Promise<TpmCryptoKeyPair | PlatformKey | { readonly privateKey: PlatformKey; readonly publicKey: PlatformKey }>;
  /** The platform's. Throws a `TpmError` `usage` for keys of the TPM. */
  exportKey(format: 'spki' | 'raw' | 'jwk' | 'pkcs8', key: TpmCryptoKey | PlatformKey): Promise<ArrayBuffer | object>;
  /** The platform's: a key that comes from outside does not come into the TPM this way; see `wrapForImport`. */
  importKey(
    format: 'spki' | 'raw' | 'jwk' | 'pkcs8',
    data: BufferInput | object,
    algorithm: string | KeyAlgorithmInput,
    extractable: boolean,
    usages: readonly string[],
  ): Promise<PlatformKey>;
  /** The platform's. */
  digest(algorithm: string | { readonly name: string }, data: BufferInput): Promise<ArrayBuffer>;
}

/**
 * A loaded key of the TPM as a pair of WebCrypto keys; it is used while it is loaded. `algorithm` chooses among what the
 * key can do: by default ECDSA, RSASSA-PKCS1-v1_5 with SHA-256, or what the key is bound to. Throws `TpmError` `usage` for
 * a key without a public half.
 */
export async function tpmKeyPair(
  key: TpmObject,
  algorithm: Partial<KeyAlgorithmInput> = {},
): Promise<TpmCryptoKeyPair> {
  const chosen = algorithmOf(key.public, algorithm);
  const { privateUses, publicUses } = USES[chosen.name] ?? { privateUses: [], publicUses: [] };
  const spki = publicKeySpki(key.public);
  const publicKey = await platform().importKey('spki', buffer(spki), asPlatform(chosen), true, [
    ...publicUses,
  ] as never[]);
  return { privateKey: register(key, 'private', chosen, privateUses), publicKey };
}

/** A loaded HMAC key of the TPM as a WebCrypto key. Throws `TpmError` `usage` for another object. */
export function tpmHmacKey(
  key: TpmObject,
  hash: 'SHA-1' | 'SHA-256' | 'SHA-384' | 'SHA-512' = 'SHA-256',
): TpmCryptoKey {
  if (key.public.type !== TPM_ALG.KEYEDHASH) throw refuse('expected an HMAC key, got another object');
  return register(key, 'secret', { name: 'HMAC', hash: { name: hash } }, ['sign', 'verify']);
}

/** The engine over a TPM. With `parent`, it makes keys there. */
export function tpmSubtle(tpm: Tpm, options: { readonly parent?: TpmObject } = {}): TpmSubtle {
  return {
    async sign(algorithm, key, data) {
      const own = ownKey(key);
      if (!own) return await platform().sign(asPlatform(algorithm), key as PlatformKey, view(data)); // not of the TPM
      return buffer(await signOwn(tpm, own, named(algorithm), bytesOf(data)));
    },
    async verify(algorithm, key, signature, data) {
      const own = ownKey(key);
      if (!own) return await platform().verify(asPlatform(algorithm), key as PlatformKey, view(signature), view(data)); // not of the TPM
      return equalBytes(await signOwn(tpm, own, named(algorithm), bytesOf(data)), bytesOf(signature));
    },
    async decrypt(algorithm, key, data) {
      const own = ownKey(key);
      if (!own) return await platform().decrypt(asPlatform(algorithm), key as PlatformKey, view(data)); // not of the TPM
      return buffer(await decryptOwn(tpm, own, named(algorithm), bytesOf(data)));
    },
    encrypt: (algorithm, key, data) => platform().encrypt(asPlatform(algorithm), key, view(data)),
    deriveBits: (algorithm, key, length) => deriveBits(tpm, algorithm, key, length),
    async deriveKey(algorithm, key, derived, extractable, usages) {
      const bits = await deriveBits(tpm, algorithm, key, derived.length ?? null);
      return await platform().importKey('raw', bits, asPlatform(derived), extractable, [...usages] as never[]);
    },
    async generateKey(algorithm, extractable, usages) {
      if (!options.parent || extractable) {
        return await platform().generateKey(asPlatform(algorithm), extractable, [...usages] as never[]);
      }
      const created = await createKey(tpm, options.parent, { template: templateFor(algorithm) });
      return await tpmKeyPair(await loadKey(tpm, options.parent, created), algorithm);
    },
    async exportKey(format, key) {
      if (ownKey(key)) throw refuse('a key of the TPM does not leave it');
      return await platform().exportKey(format as 'spki', key as PlatformKey); // not of the TPM, and the platform checks the format
    },
    importKey: (format, data, algorithm, extractable, usages) =>
      platform().importKey(format as 'spki', data as ArrayBuffer, asPlatform(algorithm), extractable, [
        ...usages,
      ] as never[]), // the platform checks format, data and usages
    digest: (algorithm, data) => platform().digest(algorithm, view(data)),
  };
}

/**
 * Signs a JWS in its compact form by a key in the TPM. `alg` in the header is the key's own: ES256, ES384, ES512, RS256 to
 * RS512 or PS256 to PS512, the latter only where the TPM salts by the digest's length, as swtpm does. Throws `TpmError`
 * `usage` for a key that has none of these, such as P-256 with SHA-384.
 */
export async function signJws(
  tpm: Tpm,
  key: TpmObject,
  payload: Uint8Array,
  options: {
    readonly header?: Readonly<Record<string, unknown>>;
    readonly scheme?: 'rsassa' | 'rsapss';
    readonly hash?: SignerHash;
  } = {},
): Promise<string> {
  const alg = JWS_ALGORITHMS[tpmSigner(tpm, key, options).algorithm.replace(/-(2048|3072|4096)-/, '-')];
  if (!alg) throw refuse('expected a key with an algorithm of JWS, got another combination of curve and hash');
  const header = new TextEncoder().encode(JSON.stringify({ ...options.header, alg }));
  const input = `${toBase64Url(header)}.${toBase64Url(payload)}`;
  const signature = await signWith(tpm, key, new TextEncoder().encode(input), options);
  return `${input}.${toBase64Url(signatureToRaw(key.public, signature))}`;
}

interface OwnKey {
  readonly object: TpmObject;
  readonly algorithm: Algorithm;
  readonly usages: readonly string[];
}

interface Algorithm {
  readonly name: string;
  readonly hash?: { readonly name: string };
  readonly namedCurve?: string;
  readonly modulusLength?: number;
  readonly [parameter: string]: unknown;
}

function register(object: TpmObject, type: 'private' | 'secret', algorithm: Algorithm, usages: readonly string[]) {
  const key: TpmCryptoKey = Object.freeze({ type, extractable: false, algorithm, usages: [...usages] });
  OWN.set(key, { object, algorithm, usages });
  return key;
}

function ownKey(key: unknown): OwnKey | undefined {
  return typeof key === 'object' && key !== null ? OWN.get(key) : undefined;
}

async function signOwn(tpm: Tpm, key: OwnKey, algorithm: KeyAlgorithmInput, data: Uint8Array): Promise<Uint8Array> {
  assertUse(key, algorithm, 'sign');
  const hash = signerHash(key.algorithm.hash ?? algorithm.hash);
  if (key.algorithm.name === 'HMAC') return await hmacWith(tpm, key.object, data, { hash });
  if (key.algorithm.name === 'ECDSA') {
    return signatureToRaw(key.object.public, await signWith(tpm, key.object, data, { hash }));
  }
  const scheme = key.algorithm.name === 'RSA-PSS' ? 'rsapss' : 'rsassa';
  const signature = signatureToRaw(key.object.public, await signWith(tpm, key.object, data, { hash, scheme }));
  if (scheme === 'rsapss') await assertSalt(key, algorithm, signature, data);
  return signature;
}

/** A TPM chooses the salt's length itself, and whoever verifies must know it. */
async function assertSalt(key: OwnKey, algorithm: KeyAlgorithmInput, signature: Uint8Array, data: Uint8Array) {
  const { saltLength } = algorithm;
  if (saltLength === undefined) return;
  const imported = asPlatform({ name: 'RSA-PSS', ...(key.algorithm.hash && { hash: key.algorithm.hash }) });
  const spki = buffer(publicKeySpki(key.object.public));
  const publicKey = await platform().importKey('spki', spki, imported, true, ['verify']);
  const parameters = asPlatform({ name: 'RSA-PSS', saltLength });
  if (await platform().verify(parameters, publicKey, view(signature), view(data))) return;
  throw refuse(`the TPM salts RSA-PSS with another number of bytes than ${saltLength}`);
}

async function decryptOwn(tpm: Tpm, key: OwnKey, algorithm: KeyAlgorithmInput, data: Uint8Array): Promise<Uint8Array> {
  assertUse(key, algorithm, 'decrypt');
  const hash = signerHash(key.algorithm.hash);
  const label = algorithm.label === undefined ? new Uint8Array(0) : bytesOf(algorithm.label);
  return await rsaDecryptWith(tpm, key.object, data, { scheme: 'oaep', hash, label });
}

async function deriveBits(
  tpm: Tpm,
  algorithm: KeyAlgorithmInput,
  key: TpmCryptoKey | PlatformKey,
  length: number | null,
): Promise<ArrayBuffer> {
  const own = ownKey(key);
  // Not of the TPM; the platform's declarations want a number where its code takes null too.
  if (!own) return await platform().deriveBits(asPlatform(algorithm), key as PlatformKey, length as number);
  assertUse(own, algorithm, 'deriveBits');
  const point = new Uint8Array(await platform().exportKey('raw', algorithm.public as PlatformKey)); // which checks it
  const size = (point.length - 1) / 2;
  const shared = await ecdhWith(tpm, own.object, { x: point.slice(1, 1 + size), y: point.slice(1 + size) });
  if (length === null) return buffer(shared);
  if (length % 8 !== 0 || length > shared.length * 8)
    throw refuse(`expected at most ${shared.length * 8} bits, got ${length}`);
  return buffer(shared.slice(0, length / 8));
}

function assertUse(key: OwnKey, algorithm: KeyAlgorithmInput, use: string): void {
  if (key.algorithm.name !== algorithm.name) {
    throw refuse(`expected algorithm ${key.algorithm.name}, got ${algorithm.name}`);
  }
  if (!key.usages.includes(use)) throw refuse(`the key is not for ${use}`);
}

function algorithmOf(area: TpmtPublic, wanted: Partial<KeyAlgorithmInput>): Algorithm {
  const signs = (area.objectAttributes & TPMA_OBJECT.sign) !== 0;
  if (area.type === TPM_ALG.ECC) {
    const namedCurve = Object.keys(CURVES).find((name) => CURVES[name] === area.parameters.curveID);
    if (!namedCurve) throw refuse('expected a curve of WebCrypto, got another one');
    return { name: wanted.name ?? (signs ? 'ECDSA' : 'ECDH'), namedCurve };
  }
  if (area.type !== TPM_ALG.RSA) throw refuse('expected an RSA or ECC key, got another object');
  const { scheme } = area.parameters;
  const bound = scheme.scheme === TPM_ALG.RSAPSS ? 'RSA-PSS' : signs ? 'RSASSA-PKCS1-v1_5' : 'RSA-OAEP';
  const own = scheme.details && 'hashAlg' in scheme.details ? HASH_NAMES[scheme.details.hashAlg] : undefined;
  const hash = { name: hashName(wanted.hash) ?? own ?? 'SHA-256' };
  const publicExponent = Uint8Array.of(1, 0, 1);
  return { name: wanted.name ?? bound, hash, modulusLength: area.parameters.keyBits, publicExponent };
}

/** A template for a key that WebCrypto describes: no scheme of its own, so that the caller's counts. */
function templateFor(algorithm: KeyAlgorithmInput): TpmtPublic {
  const kind = KINDS[algorithm.namedCurve ?? String(algorithm.modulusLength)];
  const use = ATTRIBUTES[algorithm.name];
  if (!kind || use === undefined) throw refuse(`the TPM makes no key for ${algorithm.name}`);
  const template = signingKeyTemplate(kind);
  const objectAttributes = (template.objectAttributes & ~TPMA_OBJECT.sign) | use;
  const parameters = { ...template.parameters, scheme: { scheme: TPM_ALG.NULL } };
  return { ...template, objectAttributes, parameters } as TpmtPublic; // only the scheme differs
}

function signerHash(hash: KeyAlgorithmInput['hash']): SignerHash {
  switch (hashName(hash)) {
    case 'SHA-1':
      return 'sha1';
    case 'SHA-384':
      return 'sha384';
    case 'SHA-512':
      return 'sha512';
    case 'SHA-256':
      return 'sha256';
    default:
      throw refuse('expected hash SHA-1, SHA-256, SHA-384 or SHA-512');
  }
}

function hashName(hash: KeyAlgorithmInput['hash']): string | undefined {
  return typeof hash === 'string' ? hash : hash?.name;
}

function named(algorithm: string | KeyAlgorithmInput): KeyAlgorithmInput {
  return typeof algorithm === 'string' ? { name: algorithm } : algorithm;
}

function platform() {
  return globalThis.crypto.subtle;
}

/** The platform checks algorithms itself, and its declarations differ between Node and browsers. */
function asPlatform(algorithm: string | KeyAlgorithmInput): never {
  return algorithm as never;
}

function bytesOf(data: BufferInput): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
}

function view(data: BufferInput): Uint8Array<ArrayBuffer> {
  return new Uint8Array(concat(bytesOf(data)));
}

function buffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function refuse(problem: string): TpmError {
  return new TpmError('usage', `use WebCrypto key: ${problem}`);
}

/** Which objects of ours stand for which keys of the TPM; nothing about the TPM can be read from the objects. */
const OWN = new WeakMap<object, OwnKey>();
const CURVES: Readonly<Record<string, number>> = {
  'P-256': TPM_ECC_CURVE.NIST_P256,
  'P-384': TPM_ECC_CURVE.NIST_P384,
  'P-521': TPM_ECC_CURVE.NIST_P521,
};
const KINDS: Readonly<Record<string, 'ecc-p256' | 'ecc-p384' | 'ecc-p521' | 'rsa-2048' | 'rsa-3072' | 'rsa-4096'>> = {
  'P-256': 'ecc-p256',
  'P-384': 'ecc-p384',
  'P-521': 'ecc-p521',
  2048: 'rsa-2048',
  3072: 'rsa-3072',
  4096: 'rsa-4096',
};
const ATTRIBUTES: Readonly<Record<string, number>> = {
  ECDSA: TPMA_OBJECT.sign,
  'RSASSA-PKCS1-v1_5': TPMA_OBJECT.sign,
  'RSA-PSS': TPMA_OBJECT.sign,
  ECDH: TPMA_OBJECT.decrypt,
  'RSA-OAEP': TPMA_OBJECT.decrypt,
};
const SIGNING = { privateUses: ['sign'], publicUses: ['verify'] } as const;
const USES: Readonly<
  Record<string, { readonly privateUses: readonly string[]; readonly publicUses: readonly string[] }>
> = {
  ECDSA: SIGNING,
  'RSASSA-PKCS1-v1_5': SIGNING,
  'RSA-PSS': SIGNING,
  ECDH: { privateUses: ['deriveBits', 'deriveKey'], publicUses: [] },
  'RSA-OAEP': { privateUses: ['decrypt'], publicUses: ['encrypt'] },
};
const HASH_NAMES: Readonly<Record<number, string>> = {
  [TPM_ALG.SHA1]: 'SHA-1',
  [TPM_ALG.SHA256]: 'SHA-256',
  [TPM_ALG.SHA384]: 'SHA-384',
  [TPM_ALG.SHA512]: 'SHA-512',
};
const JWS_ALGORITHMS: Readonly<Record<string, string>> = {
  'ecdsa-p256-sha256': 'ES256',
  'ecdsa-p384-sha384': 'ES384',
  'ecdsa-p521-sha512': 'ES512',
  'rsassa-sha256': 'RS256',
  'rsassa-sha384': 'RS384',
  'rsassa-sha512': 'RS512',
  'rsapss-sha256': 'PS256',
  'rsapss-sha384': 'PS384',
  'rsapss-sha512': 'PS512',
};
