/** Tickets: HMACs by which the TPM recognises its own statements. Part 1, clause 11.4.6.3; Part 2, 10.7. */
import {
  TPM_RH,
  TPM_ST,
  type TpmtTkAuth,
  type TpmtTkCreation,
  type TpmtTkHashcheck,
  type TpmtTkVerified,
} from '@casemate/tpm';
import { EMPTY, u16Bytes, u64Bytes } from './bytes.js';
import { IMPLEMENTATION } from './implementation.js';
import { hierarchySecrets, type Tpm } from './tpm.js';

type Hierarchy = TpmtTkCreation['hierarchy'];

function seal(tpm: Tpm, hierarchy: number, tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const { proof } = hierarchySecrets(tpm, hierarchy);
  return tpm.crypto.hmac(IMPLEMENTATION.CONTEXT_HASH, proof, u16Bytes(tag), ...parts);
}

/** The hierarchy as a ticket names it; anything else than the three is the null hierarchy. */
function asHierarchy(hierarchy: number): Hierarchy {
  const known = [TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM] as const;
  return known.find((handle) => handle === hierarchy) ?? TPM_RH.NULL;
}

/** The ticket that says: this TPM made the object with this creation data. */
export function creationTicket(
  tpm: Tpm,
  hierarchy: number,
  name: Uint8Array,
  creationHash: Uint8Array,
): TpmtTkCreation {
  const digest = seal(tpm, hierarchy, TPM_ST.CREATION, name, creationHash);
  return { tag: TPM_ST.CREATION, hierarchy: asHierarchy(hierarchy), digest };
}

/** The ticket that says: this TPM verified a signature over the digest by the key. Empty in the null hierarchy. */
export function verifiedTicket(tpm: Tpm, hierarchy: number, digest: Uint8Array, keyName: Uint8Array): TpmtTkVerified {
  const isNull = asHierarchy(hierarchy) === TPM_RH.NULL;
  const hmac = isNull ? EMPTY : seal(tpm, hierarchy, TPM_ST.VERIFIED, digest, keyName);
  return { tag: TPM_ST.VERIFIED, hierarchy: asHierarchy(hierarchy), digest: hmac };
}

/** The ticket that says: this TPM made the digest, and the data did not look like one of its own structures. */
export function hashcheckTicket(tpm: Tpm, hierarchy: number, hash: number, digest: Uint8Array): TpmtTkHashcheck {
  const isNull = asHierarchy(hierarchy) === TPM_RH.NULL;
  const hmac = isNull ? EMPTY : seal(tpm, hierarchy, TPM_ST.HASHCHECK, u16Bytes(hash), digest);
  return { tag: TPM_ST.HASHCHECK, hierarchy: asHierarchy(hierarchy), digest: hmac };
}

/** A ticket without a statement. */
export function nullTicket(): TpmtTkHashcheck {
  return { tag: TPM_ST.HASHCHECK, hierarchy: TPM_RH.NULL, digest: EMPTY };
}

/** What an authorization ticket (TPM2_PolicySigned, TPM2_PolicySecret) vouches for. */
export interface AuthClaim {
  readonly tag: typeof TPM_ST.AUTH_SIGNED | typeof TPM_ST.AUTH_SECRET;
  readonly hierarchy: number;
  /** When it expires, in milliseconds of Time. */
  readonly timeout: bigint;
  /** Must the TPM not have been restarted since? */
  readonly expiresOnReset: boolean;
  readonly cpHash: Uint8Array;
  readonly policyRef: Uint8Array;
  readonly authName: Uint8Array;
}

/** The ticket for a claim; empty in the null hierarchy. */
export function authTicket(tpm: Tpm, claim: AuthClaim): TpmtTkAuth {
  const hierarchy = asHierarchy(claim.hierarchy);
  return { tag: claim.tag, hierarchy, digest: authDigest(tpm, claim) };
}

function authDigest(tpm: Tpm, claim: AuthClaim): Uint8Array {
  const { timeout, cpHash, policyRef, authName } = claim;
  const epoch = claim.expiresOnReset ? u64Bytes(BigInt(tpm.permanent.totalResetCount)) : EMPTY;
  const parts = [cpHash, policyRef, authName].flatMap((part) => [u16Bytes(part.length), part]);
  return seal(tpm, claim.hierarchy, claim.tag, u64Bytes(timeout), u64Bytes(tpm.volatile.timeEpoch), epoch, ...parts);
}
