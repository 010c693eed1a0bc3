/** Identities and the messages between a TPM and a privacy CA. TPM 1.2 Main Part 2, clause 12. */
import { constant, type Infer, rest, sized, struct, u16, u32 } from '@casemate/wire';
import { TPM_EK_TYPE, TPM_TAG } from '../constants.js';
import { TPM_ORD } from '../ordinals.js';
import { TpmDigest, TpmStructVer } from './base.js';
import { TpmKeyParms, TpmPubkey, TpmSymmetricKey } from './key.js';
import { TpmPcrInfoShort } from './pcr.js';

/** What a new identity key signs of itself. TPM 1.2 Part 2, clause 12.5. */
export const TpmIdentityContents = struct('TPM_IDENTITY_CONTENTS', {
  ver: TpmStructVer,
  ordinal: constant('TPM_COMMAND_CODE', u32, TPM_ORD.MakeIdentity),
  labelPrivCADigest: TpmDigest,
  identityPubKey: TpmPubkey,
});
/** The value type of {@link TpmIdentityContents}. */
export type TpmIdentityContents = Infer<typeof TpmIdentityContents>;

/** What a CA encrypts to the endorsement key: a session key for one identity. TPM 1.2 Part 2, clause 12.8. */
export const TpmAsymCaContents = struct('TPM_ASYM_CA_CONTENTS', { sessionKey: TpmSymmetricKey, idDigest: TpmDigest });
/** The value type of {@link TpmAsymCaContents}. */
export type TpmAsymCaContents = Infer<typeof TpmAsymCaContents>;

/** The credential of an identity, encrypted by the session key. TPM 1.2 Part 2, clause 12.9. */
export const TpmSymCaAttestation = struct('TPM_SYM_CA_ATTESTATION', {
  credSize: u32,
  algorithm: TpmKeyParms,
  credential: rest('TPM_SYM_CA_ATTESTATION', 65_536),
});
/** The value type of {@link TpmSymCaAttestation}. */
export type TpmSymCaAttestation = Infer<typeof TpmSymCaAttestation>;

/** The content of {@link TpmEkBlob} for an activation; PCRs and locality may be asked for. TPM 1.2 Part 2, clause 12.2. */
export const TpmEkBlobActivate = struct('TPM_EK_BLOB_ACTIVATE', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.EK_BLOB_ACTIVATE),
  sessionKey: TpmSymmetricKey,
  idDigest: TpmDigest,
  pcrInfo: TpmPcrInfoShort,
});
/** The value type of {@link TpmEkBlobActivate}. */
export type TpmEkBlobActivate = Infer<typeof TpmEkBlobActivate>;

/** What a CA encrypts to the endorsement key in the form of TPM 1.2. TPM 1.2 Part 2, clause 12.1. */
export const TpmEkBlob = struct('TPM_EK_BLOB', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.EK_BLOB),
  ekType: constant('TPM_EK_TYPE', u16, TPM_EK_TYPE.ACTIVATE),
  blob: sized('TPM_EK_BLOB_ACTIVATE', u32, TpmEkBlobActivate),
});
/** The value type of {@link TpmEkBlob}. */
export type TpmEkBlob = Infer<typeof TpmEkBlob>;
