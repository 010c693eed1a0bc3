/** Public areas to create keys from: EK, SRK, AK and signing keys (TCG EK Credential Profile 2.5, annex B; TCG TPM v2.0 Provisioning Guidance 1.0, section 7.5). */
import { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
import { TPMA_OBJECT } from './constants/attributes.js';
import { curveSize } from './public-key.js';
import { TpmError } from './response-code.js';
import type { TpmtPublic } from './structures/public.js';

/** A kind and size of asymmetric key. */
export type KeyKind = 'rsa-2048' | 'rsa-3072' | 'rsa-4096' | 'ecc-p256' | 'ecc-p384' | 'ecc-p521';

/** An endorsement key: low range (annex B.3, L-1 and L-2), or high range (annex B.4, H-1 to H-7). */
export type EkKind = 'rsa-2048' | 'ecc-p256' | `${KeyKind}-high` | 'sm2-high';

/** The template of an endorsement key. The policy of a low range key is PolicySecret of the endorsement hierarchy. */
export function ekTemplate(kind: EkKind): TpmtPublic {
  if (kind === 'rsa-2048' || kind === 'ecc-p256') {
    const shape = KINDS[kind];
    return storage(shape, { attributes: EK, authPolicy: bytesOf(POLICY_A_SHA256), zeroUnique: true });
  }
  if (kind === 'sm2-high') return sm2Ek();
  const shape = KINDS[kind.slice(0, -'-high'.length) as KeyKind]; // the other members of EkKind are KeyKind with that suffix
  const authPolicy = bytesOf(POLICY_B[shape.hash] ?? POLICY_B_SHA256);
  return storage(shape, { attributes: EK | TPMA_OBJECT.userWithAuth, authPolicy, zeroUnique: false });
}

/** The template of an endorsement key with the nonce that its manufacturer put beside it (EK Credential Profile 2.5, section 2.2.1.3). */
export function withEkNonce(template: TpmtPublic, nonce: Uint8Array): TpmtPublic {
  if (template.type === TPM_ALG.RSA) return { ...template, unique: padEnd(nonce, template.parameters.keyBits / 8) };
  if (template.type !== TPM_ALG.ECC) throw new TpmError('usage', 'insert EK nonce: expected an RSA or ECC template');
  const size = curveSize(template.parameters.curveID);
  return { ...template, unique: { x: padEnd(nonce, size), y: new Uint8Array(size) } };
}

/** The template of the storage root key, the usual parent of other keys. */
export function srkTemplate(kind: KeyKind): TpmtPublic {
  const attributes = GENERATED | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.noDA | RESTRICTED_DECRYPT;
  return storage(KINDS[kind], { attributes, authPolicy: NO_POLICY, zeroUnique: true });
}

/** The template of an attestation key: restricted, so that it signs only what the TPM itself made. ECDSA or RSASSA. */
export function akTemplate(kind: KeyKind): TpmtPublic {
  return signing(KINDS[kind], GENERATED | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.restricted | TPMA_OBJECT.sign);
}

/** The template of a key that signs anything, fixed to this TPM. ECDSA or RSASSA. */
export function signingKeyTemplate(kind: KeyKind): TpmtPublic {
  return signing(KINDS[kind], GENERATED | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign);
}

/** The template of a sealed object. Under a policy, only the policy opens it; else its authorization value does. */
export function sealedTemplate(options: { readonly policy?: Uint8Array; readonly noDA?: boolean } = {}): TpmtPublic {
  const { policy, noDA = false } = options;
  const fixed = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | (noDA ? TPMA_OBJECT.noDA : 0);
  return {
    type: TPM_ALG.KEYEDHASH,
    nameAlg: TPM_ALG.SHA256,
    objectAttributes: fixed | (policy ? TPMA_OBJECT.adminWithPolicy : TPMA_OBJECT.userWithAuth),
    authPolicy: policy ?? NO_POLICY,
    parameters: { scheme: { scheme: TPM_ALG.NULL } },
    unique: new Uint8Array(0),
  };
}

type Shape = {
  readonly hash: typeof TPM_ALG.SHA256 | typeof TPM_ALG.SHA384 | typeof TPM_ALG.SHA512;
  readonly aes: 128 | 256;
} & (
  | { readonly rsaBits: 2048 | 3072 | 4096 }
  | {
      readonly curve: typeof TPM_ECC_CURVE.NIST_P256 | typeof TPM_ECC_CURVE.NIST_P384 | typeof TPM_ECC_CURVE.NIST_P521;
      readonly size: number;
    }
);

function storage(
  shape: Shape,
  options: { readonly attributes: number; readonly authPolicy: Uint8Array; readonly zeroUnique: boolean },
): TpmtPublic {
  const { attributes: objectAttributes, authPolicy, zeroUnique } = options;
  const symmetric = { algorithm: TPM_ALG.AES, keyBits: shape.aes, mode: TPM_ALG.CFB } as const;
  const common = { nameAlg: shape.hash, objectAttributes, authPolicy };
  const none = { scheme: TPM_ALG.NULL } as const;
  if ('rsaBits' in shape) {
    const parameters = { symmetric, scheme: none, keyBits: shape.rsaBits, exponent: 0 };
    return { ...common, type: TPM_ALG.RSA, parameters, unique: new Uint8Array(zeroUnique ? shape.rsaBits / 8 : 0) };
  }
  const parameters = { symmetric, scheme: none, curveID: shape.curve, kdf: none };
  const size = zeroUnique ? shape.size : 0;
  return { ...common, type: TPM_ALG.ECC, parameters, unique: { x: new Uint8Array(size), y: new Uint8Array(size) } };
}

/** H-5: the only one whose hash and cipher are not of NIST. */
function sm2Ek(): TpmtPublic {
  const none = { scheme: TPM_ALG.NULL } as const;
  const symmetric = { algorithm: TPM_ALG.SM4, keyBits: 128, mode: TPM_ALG.CFB } as const;
  return {
    type: TPM_ALG.ECC,
    nameAlg: TPM_ALG.SM3_256,
    objectAttributes: EK | TPMA_OBJECT.userWithAuth,
    authPolicy: bytesOf(POLICY_B_SM3),
    parameters: { symmetric, scheme: none, curveID: TPM_ECC_CURVE.SM2_P256, kdf: none },
    unique: { x: new Uint8Array(0), y: new Uint8Array(0) },
  };
}

function padEnd(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length > size) {
    throw new TpmError('usage', `insert EK nonce: expected at most ${size} bytes, got ${bytes.length}`);
  }
  const padded = new Uint8Array(size);
  padded.set(bytes);
  return padded;
}

function signing(shape: Shape, objectAttributes: number): TpmtPublic {
  const symmetric = { algorithm: TPM_ALG.NULL } as const;
  const details = { hashAlg: shape.hash };
  const common = { nameAlg: shape.hash, objectAttributes, authPolicy: NO_POLICY };
  if ('rsaBits' in shape) {
    const scheme = { scheme: TPM_ALG.RSASSA, details } as const;
    const parameters = { symmetric, scheme, keyBits: shape.rsaBits, exponent: 0 };
    return { ...common, type: TPM_ALG.RSA, parameters, unique: new Uint8Array(0) };
  }
  const scheme = { scheme: TPM_ALG.ECDSA, details } as const;
  const parameters = { symmetric, scheme, curveID: shape.curve, kdf: { scheme: TPM_ALG.NULL } } as const;
  return { ...common, type: TPM_ALG.ECC, parameters, unique: { x: new Uint8Array(0), y: new Uint8Array(0) } };
}

function bytesOf(digits: string): Uint8Array {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

const KINDS: Readonly<Record<KeyKind, Shape>> = {
  'rsa-2048': { hash: TPM_ALG.SHA256, aes: 128, rsaBits: 2048 },
  'rsa-3072': { hash: TPM_ALG.SHA384, aes: 256, rsaBits: 3072 },
  'rsa-4096': { hash: TPM_ALG.SHA384, aes: 256, rsaBits: 4096 },
  'ecc-p256': { hash: TPM_ALG.SHA256, aes: 128, curve: TPM_ECC_CURVE.NIST_P256, size: 32 },
  'ecc-p384': { hash: TPM_ALG.SHA384, aes: 256, curve: TPM_ECC_CURVE.NIST_P384, size: 48 },
  'ecc-p521': { hash: TPM_ALG.SHA512, aes: 256, curve: TPM_ECC_CURVE.NIST_P521, size: 66 },
};

const GENERATED = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.sensitiveDataOrigin;
const RESTRICTED_DECRYPT = TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt;
const EK = GENERATED | TPMA_OBJECT.adminWithPolicy | RESTRICTED_DECRYPT;
const NO_POLICY = new Uint8Array(0);
// Digests as hexadecimal digits.
const POLICY_A_SHA256 = '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa';
const POLICY_B_SHA256 = 'ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0';
const POLICY_B_SM3 = '167860a35f2c5c3567f9c927ac56c032f3b3a6462f8d037998e7a10f77fa454a';
const POLICY_B: Readonly<Record<number, string>> = {
  [TPM_ALG.SHA256]: POLICY_B_SHA256,
  [TPM_ALG.SHA384]: 'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12',
  [TPM_ALG.SHA512]:
    'b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea',
};
