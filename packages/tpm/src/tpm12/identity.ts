/** Identity keys and their activation by a CA. TPM 1.2 Main Part 1, clause 11; Part 2, clause 12; Part 3, clause 15. */
import { decode, encode, WireError } from '@casemate/wire';
import { TpmError } from '../response-code.js';
import type { Authorization12, ExecuteOptions12, Tpm12 } from './client.js';
import { ActivateIdentity, MakeIdentity } from './commands/identity.js';
import { TPM_ALG, TPM_AUTH_DATA_USAGE, TPM_ES, TPM_KEY_USAGE, TPM_SS } from './constants.js';
import { nobleCrypto12, oaepTcpa, sha1, type Tpm12Crypto, verifySha1 } from './crypto.js';
import { type KeyHandle12, rsaKeyParms, rsaPublicKey } from './key.js';
import { TPM_ORD } from './ordinals.js';
import { wellKnownSecret } from './secret.js';
import { VERSION_1_1 } from './structures/base.js';
import { TpmAsymCaContents, TpmIdentityContents, TpmSymCaAttestation } from './structures/identity.js';
import { type TpmAnyKey, type TpmKeyParms, TpmPubkey, type TpmSymmetricKey } from './structures/key.js';

/** A new identity key, wrapped, with its signature of itself. */
export interface Identity12 {
  /** The key; `loadKey12` loads it under the storage root key. */
  readonly key: TpmAnyKey;
  /** The key's signature over its own public part, the label and the CA: see {@link verifyIdentity}. */
  readonly binding: Uint8Array;
}

/** What identity to make. */
export interface MakeIdentityOptions extends ExecuteOptions12 {
  /** The owner's authorisation: a secret, or an OSAP session for the owner. */
  readonly owner: Authorization12;
  /** The secret of the storage root key. Default: the well-known one. */
  readonly srkSecret?: Uint8Array;
  /** The secret of its use, 20 bytes. Default: the well-known one. */
  readonly secret?: Uint8Array;
  /** The name of the identity. */
  readonly label: string;
  /** The public key of the CA that the identity is for; left out where it is for none. */
  readonly privacyCa?: TpmPubkey;
}

/** What a CA gives to the TPM that an identity belongs to, and to no other. */
export interface Activation12 {
  /** An encoded TPM_ASYM_CA_CONTENTS, encrypted to the endorsement key. */
  readonly asymBlob: Uint8Array;
  /** An encoded TPM_SYM_CA_ATTESTATION: the credential, encrypted by the session key in `asymBlob`. */
  readonly symBlob: Uint8Array;
}

/** Creates an identity key (AIK), RSA-2048: it signs quotes and certificates of keys of this TPM, and nothing from outside. */
export async function makeIdentity(tpm: Tpm12, options: MakeIdentityOptions): Promise<Identity12> {
  const request = {
    identityAuth: options.secret ?? wellKnownSecret(),
    labelPrivCADigest: chosenIdHash(options.label, options.privacyCa, tpm.crypto),
    idKeyParams: IDENTITY_TEMPLATE,
    srkAuth: options.srkSecret ?? wellKnownSecret(),
    ownerAuth: options.owner,
  };
  const { idKey, identityBinding } = await tpm.execute(MakeIdentity, request, options);
  return { key: idKey, binding: identityBinding };
}

/** The digest that ties an identity to its name and its CA. TPM 1.2 Part 2, clause 5.4.1. */
export function chosenIdHash(
  label: string,
  privacyCa: TpmPubkey | undefined,
  crypto: Pick<Tpm12Crypto, 'hash'> = nobleCrypto12,
): Uint8Array {
  const ca = privacyCa === undefined ? new Uint8Array(0) : encode(TpmPubkey, privacyCa);
  return sha1(crypto, new TextEncoder().encode(label), ca);
}

/** Whether the key with this public part said that it is the identity of this name for this CA. For the CA; needs no TPM. */
export function verifyIdentity(
  identity: {
    /** The public part of the identity key. */
    readonly publicKey: TpmPubkey;
    /** See {@link Identity12.binding}. */
    readonly binding: Uint8Array;
    /** See {@link MakeIdentityOptions.label}. */
    readonly label: string;
    /** See {@link MakeIdentityOptions.privacyCa}. */
    readonly privacyCa?: TpmPubkey;
  },
  crypto: Tpm12Crypto = nobleCrypto12,
): boolean {
  const contents = encode(TpmIdentityContents, {
    ver: VERSION_1_1,
    ordinal: TPM_ORD.MakeIdentity,
    labelPrivCADigest: chosenIdHash(identity.label, identity.privacyCa, crypto),
    identityPubKey: identity.publicKey,
  });
  return verifySha1(crypto, rsaPublicKey(identity.publicKey), identity.binding, contents);
}

/** The digest of a public key that names an identity in an activation. TPM 1.2 Part 2, clause 12.8. */
export function identityDigest(publicKey: TpmPubkey, crypto: Pick<Tpm12Crypto, 'hash'> = nobleCrypto12): Uint8Array {
  return sha1(crypto, encode(TpmPubkey, publicKey));
}

/**
 * Encrypts a credential so that only the TPM with the endorsement key opens it, and only where it holds the identity key.
 * For the CA; needs no TPM. The CA must know from a certificate that the endorsement key is of a genuine TPM.
 */
export function buildActivation(
  request: {
    /** The public endorsement key, as its certificate has it. */
    readonly endorsementKey: TpmPubkey;
    /** The public part of the identity key. */
    readonly identityKey: TpmPubkey;
    /** What to hand over: most often a certificate. */
    readonly credential: Uint8Array;
    /** How it is encrypted. Default `aes-128-cbc`. */
    readonly cipher?: 'aes-128-cbc' | 'aes-128-ctr';
  },
  crypto: Tpm12Crypto = nobleCrypto12,
): Activation12 {
  const key = crypto.random(16);
  const iv = crypto.random(16);
  try {
    const isCbc = (request.cipher ?? 'aes-128-cbc') === 'aes-128-cbc';
    const encScheme = isCbc ? TPM_ES.SYM_CBC_PKCS5PAD : TPM_ES.SYM_CTR;
    const encrypt = isCbc ? crypto.aesCbcEncrypt : crypto.aesCtr;
    const sessionKey = { algId: TPM_ALG.AES128, encScheme, data: key };
    const idDigest = identityDigest(request.identityKey, crypto);
    const contents = encode(TpmAsymCaContents, { sessionKey, idDigest });
    const credential = encrypt(key, iv, request.credential);
    const parms = { keyLength: 128, blockSize: 128, IV: iv };
    const algorithm: TpmKeyParms = { algorithmID: TPM_ALG.AES128, encScheme, sigScheme: TPM_SS.NONE, parms };
    return {
      asymBlob: oaepTcpa(crypto, rsaPublicKey(request.endorsementKey), contents),
      symBlob: encode(TpmSymCaAttestation, { credSize: credential.length, algorithm, credential }),
    };
  } finally {
    key.fill(0);
  }
}

/**
 * Opens what {@link buildActivation} made for this TPM and this loaded identity key. Throws `TpmError`: `response` where
 * it is for another TPM (TPM_DECRYPT_ERROR) or another identity (TPM_BAD_PARAMETER), `decode` and `usage` for a malformed one.
 */
export async function activateIdentity(
  tpm: Tpm12,
  identityKey: KeyHandle12,
  activation: Activation12,
  options: ExecuteOptions12 & { readonly owner: Authorization12 },
): Promise<Uint8Array> {
  const attestation = parseAttestation(activation.symBlob);
  const request = {
    idKeyHandle: identityKey.handle,
    blob: activation.asymBlob,
    idKeyAuth: identityKey.secret,
    ownerAuth: options.owner,
  };
  const { symmetricKey } = await tpm.execute(ActivateIdentity, request, options);
  try {
    return decryptCredential(tpm.crypto, symmetricKey, attestation);
  } finally {
    symmetricKey.data.fill(0);
  }
}

function parseAttestation(bytes: Uint8Array): TpmSymCaAttestation {
  try {
    const attestation = decode(TpmSymCaAttestation, bytes);
    if (attestation.credSize === attestation.credential.length) return attestation;
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new TpmError('decode', `activate identity: ${cause.message}`, { cause });
  }
  throw new TpmError('decode', 'activate identity: credSize is not the size of the credential');
}

function decryptCredential(
  crypto: Tpm12Crypto,
  key: TpmSymmetricKey,
  { algorithm, credential }: TpmSymCaAttestation,
): Uint8Array {
  if (algorithm.algorithmID !== TPM_ALG.AES128 || key.data.length !== 16) {
    throw new TpmError('usage', `activate identity: expected AES-128, got algorithm ${algorithm.algorithmID}`);
  }
  const iv = algorithm.parms?.IV;
  if (iv?.length !== 16) throw new TpmError('decode', 'activate identity: expected an initial vector of 16 bytes');
  switch (algorithm.encScheme) {
    case TPM_ES.SYM_CBC_PKCS5PAD:
      return crypto.aesCbcDecrypt(key.data, iv, credential);
    case TPM_ES.SYM_CTR:
      return crypto.aesCtr(key.data, iv, credential);
    default:
      throw new TpmError('usage', `activate identity: expected CBC or CTR, got TPM_ES ${algorithm.encScheme}`);
  }
}

const IDENTITY_TEMPLATE: TpmAnyKey = {
  ver: VERSION_1_1,
  keyUsage: TPM_KEY_USAGE.IDENTITY,
  keyFlags: 0,
  authDataUsage: TPM_AUTH_DATA_USAGE.ALWAYS,
  algorithmParms: rsaKeyParms(2048, TPM_ES.NONE, TPM_SS.RSASSAPKCS1v15_SHA1),
  pcrInfo: undefined,
  pubKey: new Uint8Array(0),
  encData: new Uint8Array(0),
};
