/** Tickets: a TPM's proof to itself that it has done something before. TPM 2.0 Part 2, clause 10.7. */
import { constant, type Infer, oneOf, struct, u16 } from '@casemate/wire';
import { TPM_ST } from '../constants/sessions.js';
import { Tpm2bDigest } from './digests.js';
import { TpmiRhHierarchyOrNull } from './handles.js';

/** Proof that this TPM created an object. TPM 2.0 Part 2, table 97. */
export const TpmtTkCreation = struct('TPMT_TK_CREATION', {
  tag: constant('TPM_ST_CREATION', u16, TPM_ST.CREATION),
  hierarchy: TpmiRhHierarchyOrNull,
  digest: Tpm2bDigest,
});
/** The value type of {@link TpmtTkCreation}. */
export type TpmtTkCreation = Infer<typeof TpmtTkCreation>;

/** Proof that this TPM checked a signature. TPM 2.0 Part 2, table 98. */
export const TpmtTkVerified = struct('TPMT_TK_VERIFIED', {
  tag: constant('TPM_ST_VERIFIED', u16, TPM_ST.VERIFIED),
  hierarchy: TpmiRhHierarchyOrNull,
  digest: Tpm2bDigest,
});
/** The value type of {@link TpmtTkVerified}. */
export type TpmtTkVerified = Infer<typeof TpmtTkVerified>;

/** Proof of an authorisation by signature or secret that lasts. TPM 2.0 Part 2, table 99. */
export const TpmtTkAuth = struct('TPMT_TK_AUTH', {
  tag: oneOf('TPM_ST_AUTH', u16, [TPM_ST.AUTH_SIGNED, TPM_ST.AUTH_SECRET]),
  hierarchy: TpmiRhHierarchyOrNull,
  digest: Tpm2bDigest,
});
/** The value type of {@link TpmtTkAuth}. */
export type TpmtTkAuth = Infer<typeof TpmtTkAuth>;

/**
 * Proof that this TPM computed a digest, and of no data that look like its own attestation. TPM 2.0 Part 2, table 100.
 */
export const TpmtTkHashcheck = struct('TPMT_TK_HASHCHECK', {
  tag: constant('TPM_ST_HASHCHECK', u16, TPM_ST.HASHCHECK),
  hierarchy: TpmiRhHierarchyOrNull,
  digest: Tpm2bDigest,
});
/** The value type of {@link TpmtTkHashcheck}. */
export type TpmtTkHashcheck = Infer<typeof TpmtTkHashcheck>;
