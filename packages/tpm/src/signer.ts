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
import type { TpmObject } from './object.js';
import { publicKeySpki } from './public-key.js';
import { TpmError } from './response-code.js';
import { encodeSignature, signatureToDer } from './signature.js';
import type { TpmtPublic } from './structures/public.js';
import type { TpmtTkHashcheck } from './structures/tickets.js';
import type { Tpm } from './tpm.js';

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

/**
 * A signer over a loaded signing key. A restricted key signs too: the TPM then hashes the data itself, and refuses data
 * of less than four bytes and data that look like its own statements. Throws `TpmError` `usage` for a key that does not sign.
 */
export function tpmSigner(tpm: Tpm, key: TpmObject): TpmSigner {
  const plan = planSigning(key.public);
  const publicKey = publicKeySpki(key.public);
  return {
    algorithm: plan.algorithm,
    publicKey,
    sign: async (data) => signatureToDer(await signData(tpm, key, plan, data)),
  };
}

/** Signs `data` and gives a TPMT_SIGNATURE; otherwise as {@link tpmSigner}. */
export async function signWith(tpm: Tpm, key: TpmObject, data: Uint8Array): Promise<Uint8Array> {
  return await signData(tpm, key, planSigning(key.public), data);
}

interface SigningPlan {
  readonly algorithm: SignerAlgorithm;
  readonly scheme: typeof TPM_ALG.ECDSA | typeof TPM_ALG.RSASSA | typeof TPM_ALG.RSAPSS;
  readonly hash: (typeof HASHES)[SignerHash];
  readonly restricted: boolean;
}

async function signData(tpm: Tpm, key: TpmObject, plan: SigningPlan, data: Uint8Array): Promise<Uint8Array> {
  const { digest, validation } = plan.restricted
    ? await hashInTpm(tpm, plan.hash, data)
    : { digest: (tpm.crypto ?? defaultHashes).hash(plan.hash, data), validation: NO_TICKET };
  const inScheme = { scheme: plan.scheme, details: { hashAlg: plan.hash } };
  const { signature } = await tpm.execute(Sign, { keyHandle: key, digest, inScheme, validation });
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

function planSigning(area: TpmtPublic): SigningPlan {
  if ((area.objectAttributes & TPMA_OBJECT.sign) === 0) throw unusable('an encryption key');
  const restricted = (area.objectAttributes & TPMA_OBJECT.restricted) !== 0;
  if (area.type === TPM_ALG.ECC) return { ...planEcc(area), restricted };
  if (area.type === TPM_ALG.RSA) return { ...planRsa(area), restricted };
  throw unusable('a symmetric key');
}

function planEcc(area: Extract<TpmtPublic, { type: typeof TPM_ALG.ECC }>): Omit<SigningPlan, 'restricted'> {
  const { curveID, scheme } = area.parameters;
  const curve = CURVES[curveID];
  if (!curve) throw unusable(`curve 0x${curveID.toString(16)}`);
  if (scheme.scheme !== TPM_ALG.ECDSA && scheme.scheme !== TPM_ALG.NULL) throw unusable('a scheme other than ECDSA');
  const hash = scheme.scheme === TPM_ALG.ECDSA ? hashNameOf(scheme.details.hashAlg) : curve.hash;
  return { algorithm: `ecdsa-${curve.name}-${hash}`, scheme: TPM_ALG.ECDSA, hash: HASHES[hash] };
}

function planRsa(area: Extract<TpmtPublic, { type: typeof TPM_ALG.RSA }>): Omit<SigningPlan, 'restricted'> {
  const { keyBits, scheme } = area.parameters;
  if (keyBits !== 2048 && keyBits !== 3072 && keyBits !== 4096) throw unusable(`a key of ${keyBits} bits`);
  switch (scheme.scheme) {
    case TPM_ALG.NULL:
      return { algorithm: `rsassa-${keyBits}-sha256`, scheme: TPM_ALG.RSASSA, hash: TPM_ALG.SHA256 };
    case TPM_ALG.RSASSA: {
      const hash = hashNameOf(scheme.details.hashAlg);
      return { algorithm: `rsassa-${keyBits}-${hash}`, scheme: TPM_ALG.RSASSA, hash: HASHES[hash] };
    }
    case TPM_ALG.RSAPSS: {
      const hash = hashNameOf(scheme.details.hashAlg);
      return { algorithm: `rsapss-${keyBits}-${hash}`, scheme: TPM_ALG.RSAPSS, hash: HASHES[hash] };
    }
    default:
      throw unusable('a scheme other than RSASSA and RSAPSS');
  }
}

function hashNameOf(algorithm: number): SignerHash {
  switch (algorithm) {
    case TPM_ALG.SHA1:
      return 'sha1';
    case TPM_ALG.SHA256:
      return 'sha256';
    case TPM_ALG.SHA384:
      return 'sha384';
    case TPM_ALG.SHA512:
      return 'sha512';
    default:
      throw unusable(`hash 0x${algorithm.toString(16)}`);
  }
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
