/** Saved contexts. TPM 2.0 Part 2, clause 14. */
import { type Infer, sizedBytes, struct, u16, u64 } from '@casemate/wire';
import { Tpm2bDigest } from './digests.js';
import { TpmiDhSaved, TpmiRhHierarchyOrNull } from './handles.js';
import { LIMITS } from './limits.js';

/** The encrypted part of a context. TPM 2.0 Part 2, table 218. */
export const Tpm2bContextSensitive = sizedBytes('TPM2B_CONTEXT_SENSITIVE', u16, { max: LIMITS.MAX_CONTEXT_SIZE });
/** The value type of {@link Tpm2bContextSensitive}. */
export type Tpm2bContextSensitive = Infer<typeof Tpm2bContextSensitive>;

/** What a context blob holds if a TPM follows the specification's own form; it need not. TPM 2.0 Part 2, table 219. */
export const TpmsContextData = struct('TPMS_CONTEXT_DATA', {
  integrity: Tpm2bDigest,
  encrypted: Tpm2bContextSensitive,
});
/** The value type of {@link TpmsContextData}. */
export type TpmsContextData = Infer<typeof TpmsContextData>;

/** A context blob, left as bytes: only its TPM can read it. TPM 2.0 Part 2, table 220. */
export const Tpm2bContextData = sizedBytes('TPM2B_CONTEXT_DATA', u16, {
  max: 4 + LIMITS.MAX_DIGEST_BYTES + LIMITS.MAX_CONTEXT_SIZE,
});
/** The value type of {@link Tpm2bContextData}. */
export type Tpm2bContextData = Infer<typeof Tpm2bContextData>;

/** A saved context. TPM 2.0 Part 2, table 221. */
export const TpmsContext = struct('TPMS_CONTEXT', {
  sequence: u64,
  savedHandle: TpmiDhSaved,
  hierarchy: TpmiRhHierarchyOrNull,
  contextBlob: Tpm2bContextData,
});
/** The value type of {@link TpmsContext}. */
export type TpmsContext = Infer<typeof TpmsContext>;
