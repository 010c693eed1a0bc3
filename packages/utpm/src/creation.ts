/** Making objects: Part 1, clause 27, and primary objects out of seeds, clause 14.3. */
import {
  TPM_ALG,
  TPM_RC,
  TPMA_OBJECT,
  TpmsCreationData,
  TpmtPublicOrNull,
  TpmtSensitive,
  type TpmtTkCreation,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { EMPTY, label, trimAuth } from './bytes.js';
import type { UtpmCrypto } from './crypto.js';
import { curveOf } from './curve.js';
import { openDrbg } from './drbg.js';
import { digestSize } from './implementation.js';
import { toBytes } from './integer.js';
import { handleName, has, isStorageParent, nameOfPublic, symmetricUnique, type TpmObject } from './object.js';
import { type PcrSelection, pcrDigest } from './pcr.js';
import type { ByteSource } from './prime.js';
import { hashBlockSize, maxKeyedHashData } from './public-area.js';
import { refuse, refuseParameter } from './refusal.js';
import { generateRsaKey } from './rsa.js';
import { scalarFrom } from './scalar.js';
import { isTdesKey, withOddParity } from './tdes.js';
import { creationTicket } from './ticket.js';
import type { Tpm } from './tpm.js';

/** A new object's areas. */
export interface NewObject {
  readonly public: TpmtPublicOrNull;
  readonly sensitive: TpmtSensitive;
  readonly name: Uint8Array;
}

/** What a caller gives for the sensitive area. */
export interface SensitiveInput {
  readonly userAuth: Uint8Array;
  readonly data: Uint8Array;
}

/** Makes the object that a template asks for, with its secret values out of `source`. The template has been checked. */
export function generateObject(
  crypto: UtpmCrypto,
  template: TpmtPublicOrNull,
  input: SensitiveInput,
  source: ByteSource,
): NewObject {
  const size = digestSize(template.nameAlg);
  const authValue = trimAuth(input.userAuth);
  // The sensitive input is the first parameter of every creation command.
  if (authValue.length > size) refuseParameter(TPM_RC.SIZE, 1);
  const made = generateKey(crypto, template, { authValue, data: input.data }, source);
  return { ...made, name: nameOfPublic(crypto, made.public) };
}

type Made = Omit<NewObject, 'name'>;

interface Secret {
  readonly authValue: Uint8Array;
  readonly data: Uint8Array;
}

function generateKey(crypto: UtpmCrypto, template: TpmtPublicOrNull, secret: Secret, source: ByteSource): Made {
  switch (template.type) {
    case TPM_ALG.RSA:
      return generateRsa(crypto, template, secret, source);
    case TPM_ALG.ECC:
      return generateEcc(crypto, template, secret, source);
    default:
      return generateSymmetric(crypto, template, secret, source);
  }
}

type Area<T extends number> = Extract<TpmtPublicOrNull, { readonly type: T }>;

function generateRsa(crypto: UtpmCrypto, template: Area<typeof TPM_ALG.RSA>, secret: Secret, source: ByteSource): Made {
  const { keyBits, exponent } = template.parameters;
  // Any other exponent must be a prime above 2^16 (Part 2, 12.2.3.5); the one that the world uses is taken.
  if (exponent !== 0 && exponent !== 65537) refuse(TPM_RC.RANGE);
  const e = BigInt(exponent === 0 ? 65537 : exponent);
  const key = generateRsaKey(keyBits, e, source, crypto.isProbablePrime);
  return {
    public: { ...template, unique: toBytes(key.n, keyBits / 8) },
    sensitive: {
      sensitiveType: TPM_ALG.RSA,
      authValue: secret.authValue,
      seedValue: parentSeed(template, source),
      sensitive: toBytes(key.p, keyBits / 16),
    },
  };
}

function generateEcc(crypto: UtpmCrypto, template: Area<typeof TPM_ALG.ECC>, secret: Secret, source: ByteSource): Made {
  const curve = curveOf(template.parameters.curveID) ?? refuse(TPM_RC.CURVE);
  const d = scalarFrom(source, curve);
  const unique = crypto.eccMultiply(curve.id, d) ?? refuse(TPM_RC.NO_RESULT);
  return {
    public: { ...template, unique },
    sensitive: {
      sensitiveType: TPM_ALG.ECC,
      authValue: secret.authValue,
      seedValue: parentSeed(template, source),
      sensitive: d,
    },
  };
}

// Only a parent needs a seed; other asymmetric keys have none.
function parentSeed(template: TpmtPublicOrNull, source: ByteSource): Uint8Array {
  return isStorageParent(template) ? source(digestSize(template.nameAlg)) : EMPTY;
}

function generateSymmetric(
  crypto: UtpmCrypto,
  template: Area<typeof TPM_ALG.KEYEDHASH | typeof TPM_ALG.SYMCIPHER>,
  secret: Secret,
  source: ByteSource,
): Made {
  const isGiven = !has(template, TPMA_OBJECT.sensitiveDataOrigin) && secret.data.length > 0;
  const sensitive = isGiven ? secret.data.slice() : generateSecret(template, source);
  assertSymmetricSize(template, sensitive);
  const seedValue = source(digestSize(template.nameAlg));
  return {
    public: { ...template, unique: symmetricUnique(crypto, template, seedValue, sensitive) },
    sensitive: { sensitiveType: template.type, authValue: secret.authValue, seedValue, sensitive },
  };
}

// A key of TDES is drawn until it is one that may be used.
function generateSecret(
  template: Area<typeof TPM_ALG.KEYEDHASH | typeof TPM_ALG.SYMCIPHER>,
  source: ByteSource,
): Uint8Array {
  const size = symmetricSize(template);
  if (!isTdes(template)) return source(size);
  for (;;) {
    const key = withOddParity(source(size));
    if (isTdesKey(key)) return key;
  }
}

function isTdes(template: TpmtPublicOrNull): boolean {
  return template.type === TPM_ALG.SYMCIPHER && template.parameters.sym.algorithm === TPM_ALG.TDES;
}

function symmetricSize(template: Area<typeof TPM_ALG.KEYEDHASH | typeof TPM_ALG.SYMCIPHER>): number {
  if (template.type === TPM_ALG.SYMCIPHER) return template.parameters.sym.keyBits / 8;
  const { scheme } = template.parameters;
  return digestSize(scheme.scheme === TPM_ALG.NULL ? template.nameAlg : scheme.details.hashAlg);
}

function assertSymmetricSize(
  template: Area<typeof TPM_ALG.KEYEDHASH | typeof TPM_ALG.SYMCIPHER>,
  secret: Uint8Array,
): void {
  if (template.type === TPM_ALG.SYMCIPHER) {
    if (secret.length !== symmetricSize(template)) refuse(TPM_RC.KEY_SIZE);
    if (isTdes(template) && !isTdesKey(secret)) refuse(TPM_RC.KEY);
  } else if (secret.length > maxCreatedData(template)) refuse(TPM_RC.SIZE);
}

// Where the template names no hash, that of the name limits a key that is given.
function maxCreatedData(template: Area<typeof TPM_ALG.KEYEDHASH>): number {
  const isKey = has(template, TPMA_OBJECT.sign) || has(template, TPMA_OBJECT.decrypt);
  const isOpen = template.parameters.scheme.scheme === TPM_ALG.NULL;
  return isKey && isOpen ? hashBlockSize(template.nameAlg) : maxKeyedHashData(template);
}

/** The random stream of a primary object: the same for the same seed, template and sensitive data. */
export function primarySource(
  crypto: UtpmCrypto,
  seed: Uint8Array,
  template: Uint8Array,
  data: Uint8Array,
): ByteSource {
  const hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array =>
    crypto.hmac(TPM_ALG.SHA256, key, ...parts);
  const digest = crypto.hash(TPM_ALG.SHA256, template);
  return openDrbg(hmac, 32, seed, label('Primary Object Creation'), digest, data).generate;
}

/** What a creation command answers besides the object. */
export interface CreationProof {
  readonly creationData: TpmsCreationData;
  readonly creationHash: Uint8Array;
  readonly creationTicket: TpmtTkCreation;
}

/** Where an object was made: under a parent or, for a primary object, in a hierarchy. */
export type Origin =
  | { readonly kind: 'primary'; readonly hierarchy: number }
  | { readonly kind: 'child'; readonly parent: TpmObject; readonly hierarchy: number };

/** Creation data, their hash and the ticket (Part 2, 15). */
export function proveCreation(
  tpm: Tpm,
  object: NewObject,
  origin: Origin,
  circumstances: {
    readonly outsideInfo: Uint8Array;
    readonly pcrs: readonly PcrSelection[];
    readonly locality: number;
  },
): CreationProof {
  const { nameAlg } = object.public;
  const { pcrs, digest } = pcrDigest(tpm, nameAlg, circumstances.pcrs);
  const creationData: TpmsCreationData = {
    pcrSelect: pcrs,
    pcrDigest: digest,
    locality: circumstances.locality < 5 ? 1 << circumstances.locality : circumstances.locality,
    ...parentNames(origin),
    outsideInfo: circumstances.outsideInfo,
  };
  const creationHash = tpm.crypto.hash(nameAlg, encode(TpmsCreationData, creationData));
  return {
    creationData,
    creationHash,
    creationTicket: creationTicket(tpm, origin.hierarchy, object.name, creationHash),
  };
}

function parentNames(origin: Origin): Pick<TpmsCreationData, 'parentNameAlg' | 'parentName' | 'parentQualifiedName'> {
  if (origin.kind === 'primary') {
    const name = handleName(origin.hierarchy);
    return { parentNameAlg: TPM_ALG.NULL, parentName: name, parentQualifiedName: name };
  }
  const { parent } = origin;
  return { parentNameAlg: parent.public.nameAlg, parentName: parent.name, parentQualifiedName: parent.qualifiedName };
}

/** The sensitive area as it is wrapped: with an authorization value that does not tell its length. */
export function encodeSensitive(sensitive: TpmtSensitive, nameAlg: number): Uint8Array {
  const size = digestSize(nameAlg);
  const padded = new Uint8Array(Math.max(size, sensitive.authValue.length));
  padded.set(sensitive.authValue);
  return encode(TpmtSensitive, { ...sensitive, authValue: padded });
}

/** The encoded template, whose digest a primary object's random stream starts from. */
export function encodeTemplate(template: TpmtPublicOrNull): Uint8Array {
  return encode(TpmtPublicOrNull, template);
}
