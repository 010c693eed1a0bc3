/** Integrity collection (PCR): Part 3, clause 22. */
import {
  PcrAllocate,
  PcrEvent,
  PcrExtend,
  PcrRead,
  PcrReset,
  PcrSetAuthPolicy,
  PcrSetAuthValue,
  TPM_ALG,
  TPM_RC,
  TPM_RH,
  type TpmlDigestValues,
} from '@casemate/tpm';
import { trimAuth } from '../bytes.js';
import { handler } from '../handler.js';
import { digestSize, HASHES, isHash } from '../implementation.js';
import {
  allocateBanks,
  assertExtendable,
  assertResettable,
  assertSelections,
  extendPcr,
  readPcrs,
  resetPcr,
} from '../pcr.js';
import { isAuthorizedPcr, PCR_ATTRIBUTES, PCR_COUNT } from '../pcr-bank.js';
import { refuse, refuseParameter } from '../refusal.js';
import { markDirty, type Tpm } from '../tpm.js';

const MAX_READ = 8;

/** TPM2_PCR_Extend (22.2). */
export const pcrExtend = /* @__PURE__ */ handler(PcrExtend, (tpm, { pcrHandle, digests }, { locality }) => {
  if (digests.length > HASHES.length) refuseParameter(TPM_RC.SIZE, 1);
  for (const { hashAlg } of digests) if (!isHash(hashAlg)) refuseParameter(TPM_RC.HASH, 1);
  if (pcrHandle === TPM_RH.NULL) return {};
  assertExtendable(pcrHandle, locality);
  for (const { hashAlg, digest } of digests) extendPcr(tpm, pcrHandle, hashAlg, digest);
  return {};
});

/** TPM2_PCR_Event (22.3). */
export const pcrEvent = /* @__PURE__ */ handler(PcrEvent, (tpm, { pcrHandle, eventData }, { locality }) => {
  if (pcrHandle !== TPM_RH.NULL) assertExtendable(pcrHandle, locality);
  const digests = tpm.permanent.pcrBanks.map((alg) => ({ hashAlg: alg, digest: tpm.crypto.hash(alg, eventData) }));
  if (pcrHandle !== TPM_RH.NULL) for (const { hashAlg, digest } of digests) extendPcr(tpm, pcrHandle, hashAlg, digest);
  // The banks are hash algorithms that the type lists.
  return { digests: digests as unknown as TpmlDigestValues };
});

/** TPM2_PCR_Read (22.4). */
export const pcrRead = /* @__PURE__ */ handler(PcrRead, (tpm, { pcrSelectionIn }) => {
  assertSelections(pcrSelectionIn, 1);
  const { selections, values } = readPcrs(tpm, pcrSelectionIn, MAX_READ);
  return { pcrUpdateCounter: tpm.volatile.pcrCounter, pcrSelectionOut: selections, pcrValues: values };
});

/** TPM2_PCR_Allocate (22.5). */
export const pcrAllocate = /* @__PURE__ */ handler(PcrAllocate, (tpm, { pcrAllocation }) => {
  assertSelections(pcrAllocation, 1);
  const sizeNeeded = sizeOf(allocateBanks(tpm, pcrAllocation));
  tpm.volatile.isReallocated = true;
  return { allocationSuccess: true, maxPCR: PCR_COUNT, sizeNeeded, sizeAvailable: sizeOf(HASHES) };
});

function sizeOf(banks: readonly number[]): number {
  return banks.reduce((sum, alg) => sum + PCR_COUNT * digestSize(alg), 0);
}

/** TPM2_PCR_Reset (22.8). */
export const pcrReset = /* @__PURE__ */ handler(PcrReset, (tpm, { pcrHandle }, { locality }) => {
  assertResettable(pcrHandle, locality);
  resetPcr(tpm, pcrHandle);
  return {};
});

const DRTM_PCR = 17;

/**
 * `_TPM_Hash_Start` to `_TPM_Hash_End` (22.9 to 22.11): a dynamic launch resets its registers and measures into PCR 17. Before
 * TPM2_Startup it is the measurement of an H-CRTM, which TPM2_Startup puts into PCR 0.
 */
export function measureLaunch(tpm: Tpm, data: Uint8Array): void {
  tpm.volatile.isEstablished = true;
  if (!tpm.volatile.isStarted) {
    tpm.volatile.hcrtm = data.slice();
    return;
  }
  for (const bank of tpm.volatile.banks) {
    PCR_ATTRIBUTES.forEach(({ drtm }, index) => {
      if (drtm) bank.values[index] = new Uint8Array(digestSize(bank.alg));
    });
    extendPcr(tpm, DRTM_PCR, bank.alg, tpm.crypto.hash(bank.alg, data));
  }
}

/** TPM2_PCR_SetAuthPolicy (22.6). */
export const pcrSetAuthPolicy = /* @__PURE__ */ handler(PcrSetAuthPolicy, (tpm, { authPolicy, hashAlg, pcrNum }) => {
  if (hashAlg !== TPM_ALG.NULL && !isHash(hashAlg)) refuseParameter(TPM_RC.HASH, 2);
  if (pcrNum >= PCR_COUNT) refuseParameter(TPM_RC.VALUE, 3);
  if (authPolicy.length !== digestSize(hashAlg)) refuseParameter(TPM_RC.SIZE, 1);
  if (!isAuthorizedPcr(pcrNum)) refuseParameter(TPM_RC.VALUE, 3);
  tpm.permanent.pcrPolicy = { alg: hashAlg, digest: authPolicy };
  markDirty(tpm);
  return {};
});

/** TPM2_PCR_SetAuthValue (22.7). */
export const pcrSetAuthValue = /* @__PURE__ */ handler(PcrSetAuthValue, (tpm, { pcrHandle, auth }) => {
  if (!isAuthorizedPcr(pcrHandle)) refuse(TPM_RC.VALUE);
  tpm.volatile.pcrAuth = trimAuth(auth);
  return {};
});
