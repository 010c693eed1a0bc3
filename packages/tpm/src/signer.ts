/** Signing with a key in the TPM, in the forms that X.509 and CMS take (Part 3, section 20.2). */

import { FlushContext } from './commands/context.js';
import { HashSequenceStart, SequenceComplete, SequenceUpdate } from './commands/sequence.js';
import { Sign } from './commands/signing.js';
import { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
import { TPMA_OBJECT } from './constants/attributes.js';
import { TPM_RH } from './constants/handles.js';
import { TPM_ST } from './constants/sessions.js';
import { TPM_GENERATED_VALUE } from './constants/specification.js';
import { defaultHashes } from './default-crypto.js';
import { hashName } from './hash-name.js';
import { hashSize } from './hashes.js';
import type { TpmObject } from './object.js';
import { publicKeySpki } from './public-key.js';
import { TpmError } from './response-code.js';
import { encodeSignature, signatureToDer } from './signature.js';
import type { TpmtPublic } from './structures/public.js';
import type { TpmtTkHashcheck } from './structures/tickets.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** A key's algorithm: scheme, curve or size, hash. */
export type SignerAlgorithm =
  | `ecdsa-${'p256' | 'p384' | 'p521'}-${SignerHash}`
  | `${'rsassa' | 'rsapss'}-${2048 | 3072 | 4096}-${SignerHash}`;

/** The hash that a key signs with. */
export type SignerHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** A key that signs where it is, for certificates, CMS and the like. */
export interface TpmSigner {
  /** What it signs with, such as `ecdsa-p256-sha256`. */
  readonly algorithm: SignerAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** Hashes and signs `data`: DER ECDSA-Sig-Value, or a raw RSA signature. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** What to sign with, where the key itself leaves it open. A key that is bound to another scheme or hash is refused. */
export interface SignOptions extends ExecuteOptions {
  /** RSA scheme. Default `rsassa`. */
  readonly scheme?: 'rsassa' | 'rsapss';
  /** Hash. Default: the one as long as the curve, and `sha256` for RSA. */
  readonly hash?: SignerHash;
}

/**
 * A signer over a loaded signing key. A restricted key signs too: the TPM then hashes the data itself, and refuses data
 * of less than four bytes and data that look like its own statements. Throws `TpmError` `usage` for a key that does not sign.
 */
export function tpmSigner(tpm: Tpm, key: TpmObject, options: SignOptions = {}): TpmSigner {
  const plan = planSigning(key.public, options);
  const publicKey = publicKeySpki(key.public);
  return {
    algorithm: plan.algorithm,
    publicKey,
    sign: async (data) => signatureToDer(await signData(tpm, key, plan, data, options)),
  };
}

/** Signs `data` and gives a TPMT_SIGNATURE; otherwise as {@link tpmSigner}. */
export async function signWith(
  tpm: Tpm,
  key: TpmObject,
  data: Uint8Array,
  options: SignOptions = {},
): Promise<Uint8Array> {
  return await signData(tpm, key, planSigning(key.public, options), data, options);
}

/**
 * Signs a digest that the caller has made, as protocols want it that hash themselves, and gives a TPMT_SIGNATURE.
 * Throws `TpmError` `usage` for a restricted key, which signs only what its TPM has hashed, and for another length.
 */
export async function signDigest(
  tpm: Tpm,
  key: TpmObject,
  digest: Uint8Array,
  options: SignOptions = {},
): Promise<Uint8Array> {
  const plan = planSigning(key.public, options);
  if (plan.restricted) throw unusable('a restricted key, which signs no digest from outside');
  if (digest.length !== hashSize(plan.hash)) {
    throw new TpmError('usage', `sign: expected a digest of ${hashSize(plan.hash)} bytes, got ${digest.length}`);
  }
  return await sign(tpm, key, plan, { digest, validation: NO_TICKET }, options);
}

interface SigningPlan {
  readonly algorithm: SignerAlgorithm;
  readonly scheme: typeof TPM_ALG.ECDSA | typeof TPM_ALG.RSASSA | typeof TPM_ALG.RSAPSS;
  readonly hash: (typeof HASHES)[SignerHash];
  readonly restricted: boolean;
}

interface Hashed {
  readonly digest: Uint8Array;
  readonly validation: TpmtTkHashcheck;
}

async function signData(tpm: Tpm, key: TpmObject, plan: SigningPlan, data: Uint8Array, options: ExecuteOptions) {
  const hashed = plan.restricted
    ? await hashInTpm(tpm, plan.hash, data)
    : { digest: (tpm.crypto ?? defaultHashes).hash(plan.hash, data), validation: NO_TICKET };
  return await sign(tpm, key, plan, hashed, options);
}

async function sign(tpm: Tpm, key: TpmObject, plan: SigningPlan, hashed: Hashed, options: ExecuteOptions) {
  const inScheme = { scheme: plan.scheme, details: { hashAlg: plan.hash } };
  const { signature } = await tpm.execute(Sign, { keyHandle: key, ...hashed, inScheme }, options);
  return encodeSignature(signature);
}

/** A hash by the TPM, with the ticket that says that the data were not a forged statement of the TPM. */
async function hashInTpm(tpm: Tpm, hashAlg: SigningPlan['hash'], data: Uint8Array) {
  if (looksLikeAttestation(data)) {
    throw new TpmError(
      'usage',
      'sign: expected at least 4 bytes for a restricted key, and not the start of a statement of the TPM',
    );
  }
  const { sequenceHandle } = await tpm.execute(HashSequenceStart, { auth: NONE, hashAlg });
  try {
    let rest = data;
    for (; rest.length > CHUNK; rest = rest.subarray(CHUNK)) {
      await tpm.execute(SequenceUpdate, { sequenceHandle, buffer: rest.slice(0, CHUNK) });
    }
    const end = { buffer: rest.slice(), hierarchy: TPM_RH.OWNER };
    const { result: digest, validation } = await tpm.execute(SequenceComplete, { sequenceHandle, ...end });
    return { digest, validation };
  } catch (error) {
    // The sequence takes one of the TPM's few places; the first error is the one that matters.
    await tpm.execute(FlushContext, { flushHandle: sequenceHandle }).catch(() => undefined);
    throw error;
  }
}

/** TPMs give no ticket either for data too short to tell (Part 3, section 15.4). */
function looksLikeAttestation(data: Uint8Array): boolean {
  return data.length < 4 || new DataView(data.buffer, data.byteOffset).getUint32(0) === TPM_GENERATED_VALUE;
}

/** Scheme and hash for a signature; throws `TpmError` `usage` where key and caller disagree. */
export function planSigning(area: TpmtPublic, options: SignOptions): SigningPlan {
  if ((area.objectAttributes & TPMA_OBJECT.sign) === 0) throw unusable('an encryption key');
  const restricted = (area.objectAttributes & TPMA_OBJECT.restricted) !== 0;
  if (area.type === TPM_ALG.ECC) return { ...planEcc(area, options), restricted };
  if (area.type === TPM_ALG.RSA) return { ...planRsa(area, options), restricted };
  throw unusable('a symmetric key');
}

function planEcc(
  area: Extract<TpmtPublic, { type: typeof TPM_ALG.ECC }>,
  options: SignOptions,
): Omit<SigningPlan, 'restricted'> {
  const { curveID, scheme } = area.parameters;
  const curve = CURVES[curveID];
  if (!curve) throw unusable(`curve 0x${curveID.toString(16)}`);
  if (scheme.scheme !== TPM_ALG.ECDSA && scheme.scheme !== TPM_ALG.NULL) throw unusable('a scheme other than ECDSA');
  const own = scheme.scheme === TPM_ALG.ECDSA ? hashName(scheme.details.hashAlg) : undefined;
  const hash = agreed(own, options.hash) ?? curve.hash;
  return { algorithm: `ecdsa-${curve.name}-${hash}`, scheme: TPM_ALG.ECDSA, hash: HASHES[hash] };
}

function planRsa(
  area: Extract<TpmtPublic, { type: typeof TPM_ALG.RSA }>,
  options: SignOptions,
): Omit<SigningPlan, 'restricted'> {
  const { keyBits, scheme: bound } = area.parameters;
  if (keyBits !== 2048 && keyBits !== 3072 && keyBits !== 4096) throw unusable(`a key of ${keyBits} bits`);
  const own = rsaSchemeOf(bound);
  const scheme = agreed(own?.scheme, options.scheme) ?? 'rsassa';
  const hash = agreed(own?.hash, options.hash) ?? 'sha256';
  const identifier = scheme === 'rsassa' ? TPM_ALG.RSASSA : TPM_ALG.RSAPSS;
  return { algorithm: `${scheme}-${keyBits}-${hash}`, scheme: identifier, hash: HASHES[hash] };
}

function rsaSchemeOf(scheme: Extract<TpmtPublic, { type: typeof TPM_ALG.RSA }>['parameters']['scheme']) {
  switch (scheme.scheme) {
    case TPM_ALG.NULL:
      return undefined;
    case TPM_ALG.RSASSA:
      return { scheme: 'rsassa', hash: hashName(scheme.details.hashAlg) } as const;
    case TPM_ALG.RSAPSS:
      return { scheme: 'rsapss', hash: hashName(scheme.details.hashAlg) } as const;
    default:
      throw unusable('a scheme other than RSASSA and RSAPSS');
  }
}

/** The key's own word, the caller's, or neither; throws where they differ. */
function agreed<T extends string>(own: T | undefined, wanted: T | undefined): T | undefined {
  if (own === undefined || wanted === undefined || own === wanted) return own ?? wanted;
  throw unusable(`a key that is bound to ${own} and not ${wanted}`);
}

function unusable(got: string): TpmError {
  return new TpmError('usage', `make signer: expected an ECDSA or RSA signing key, got ${got}`);
}

/** Every TPM takes this many bytes at a time. */
const CHUNK = 1024;
const NONE = new Uint8Array(0);
const NO_TICKET: TpmtTkHashcheck = { tag: TPM_ST.HASHCHECK, hierarchy: TPM_RH.NULL, digest: NONE };
const HASHES = {
  sha1: TPM_ALG.SHA1,
  sha256: TPM_ALG.SHA256,
  sha384: TPM_ALG.SHA384,
  sha512: TPM_ALG.SHA512,
} as const;
const CURVES: Readonly<Record<number, { readonly name: 'p256' | 'p384' | 'p521'; readonly hash: SignerHash }>> = {
  [TPM_ECC_CURVE.NIST_P256]: { name: 'p256', hash: 'sha256' },
  [TPM_ECC_CURVE.NIST_P384]: { name: 'p384', hash: 'sha384' },
  [TPM_ECC_CURVE.NIST_P521]: { name: 'p521', hash: 'sha512' },
};
