/** Start-up: Part 3, clause 9; Part 1, clause 12. */
import { Shutdown, Startup, TPM_NT, TPM_RC, TPM_SU, TPMA_NV } from '@casemate/tpm';
import { EMPTY } from '../bytes.js';
import { clockOf, storeClock } from '../clock.js';
import { startLockout } from '../dictionary-attack.js';
import { nvKind } from '../entity.js';
import { handler } from '../handler.js';
import { digestSize, IMPLEMENTATION } from '../implementation.js';
import { unwrittenData } from '../nv-space.js';
import { PCR_ATTRIBUTES } from '../pcr-bank.js';
import { ORDERLY, type SavedState } from '../permanent.js';
import { refuse, refuseParameter } from '../refusal.js';
import { markDirty, NO_POLICY, resetBanks, type Tpm } from '../tpm.js';

type Kind = 'reset' | 'restart' | 'resume';

/** TPM2_Startup (9.3). */
export const startup = /* @__PURE__ */ handler(Startup, (tpm, { startupType }, { locality }) => {
  if (locality !== 0 && locality !== 3) refuse(TPM_RC.LOCALITY);
  const saved = tpm.permanent.orderly === ORDERLY.STATE ? tpm.permanent.saved : undefined;
  if (startupType === TPM_SU.STATE && saved === undefined) refuseParameter(TPM_RC.VALUE, 1);
  const kind = kindOf(startupType, saved);
  const from = startLocality(tpm, locality);
  if (kind === 'resume') assertSameStart(saved, from);
  startLockout(tpm, kind === 'reset');
  startPcrs(tpm, kind, saved, from);
  startHierarchies(tpm, kind, saved);
  startCounters(tpm, kind, saved);
  if (kind !== 'resume') clearNvLocks(tpm, kind);
  const { orderly } = tpm.permanent;
  tpm.volatile.wasOrderly = orderly === ORDERLY.CLEAR || orderly === ORDERLY.STATE;
  tpm.permanent.saved = undefined;
  tpm.permanent.orderly = ORDERLY.NONE;
  tpm.volatile.isStarted = true;
  markDirty(tpm);
  return {};
});

function kindOf(startupType: number, saved: SavedState | undefined): Kind {
  if (saved === undefined) return 'reset';
  return startupType === TPM_SU.STATE ? 'resume' : 'restart';
}

// The locality that PCR 0 tells (Part 1, 34.3).
function startLocality({ volatile: { hcrtm } }: Tpm, locality: number): number {
  return hcrtm === undefined ? locality : AFTER_HCRTM;
}

const AFTER_HCRTM = 4;

// PCR 0 is kept over a resumption, and must not tell another start than this one.
function assertSameStart(saved: SavedState | undefined, from: number): void {
  const before = saved?.extras.startLocality;
  if ((from === AFTER_HCRTM) !== (before === AFTER_HCRTM)) refuseParameter(TPM_RC.VALUE, 1);
  if (from !== before) refuse(TPM_RC.LOCALITY);
}

function startPcrs(tpm: Tpm, kind: Kind, saved: SavedState | undefined, from: number): void {
  const { hcrtm } = tpm.volatile;
  tpm.volatile.startLocality = from;
  tpm.volatile.banks = resetBanks(tpm.permanent, from, digestSize);
  tpm.volatile.pcrCounter = pcrCounterAfter(kind, saved);
  if (hcrtm !== undefined) measureHcrtm(tpm, hcrtm);
  if (kind === 'resume') restorePcrs(tpm, saved);
  tpm.volatile.hcrtm = undefined;
}

// The start itself changes registers, and each counts that is not kept (Part 1, 17.9). The count goes on over all but a TPM Reset, because
// saved sessions do: one that had seen other values must not find the same count again.
function pcrCounterAfter(kind: Kind, saved: SavedState | undefined): number {
  const isKept = kind === 'resume';
  const changed = PCR_ATTRIBUTES.filter(({ noIncrement, stateSaved }) => !noIncrement && !(isKept && stateSaved));
  return ((saved?.pcrCounter ?? 0) + changed.length) >>> 0;
}

function restorePcrs(tpm: Tpm, saved: SavedState | undefined): void {
  for (const bank of tpm.volatile.banks) {
    const values = saved?.banks.find(({ alg }) => alg === bank.alg)?.values ?? [];
    PCR_ATTRIBUTES.forEach(({ stateSaved }, index) => {
      const value = values[index];
      if (stateSaved && value !== undefined) bank.values[index] = value;
    });
  }
}

// An H-CRTM event before TPM2_Startup lands in PCR 0 (Part 1, 34.3).
function measureHcrtm(tpm: Tpm, data: Uint8Array): void {
  for (const bank of tpm.volatile.banks) {
    const first = bank.values[0];
    if (first) bank.values[0] = tpm.crypto.hash(bank.alg, first, tpm.crypto.hash(bank.alg, data));
  }
}

function startHierarchies(tpm: Tpm, kind: Kind, saved: SavedState | undefined): void {
  const { volatile } = tpm;
  const enables = kind === 'resume' ? (saved?.enables ?? 0xf) : 0xf;
  volatile.enables = {
    owner: (enables & 1) !== 0,
    endorsement: (enables & 2) !== 0,
    platform: true,
    platformNv: (enables & 8) !== 0,
  };
  volatile.platformAuth = kind === 'resume' ? (saved?.platformAuth ?? EMPTY) : EMPTY;
  volatile.platformPolicy = kind === 'resume' ? (saved?.platformPolicy ?? NO_POLICY) : NO_POLICY;
  volatile.nullSeed = saved?.nullSeed ?? tpm.crypto.random(IMPLEMENTATION.SEED_SIZE);
  volatile.nullProof = saved?.nullProof ?? tpm.crypto.random(IMPLEMENTATION.SEED_SIZE);
}

function startCounters(tpm: Tpm, kind: Kind, saved: SavedState | undefined): void {
  const { permanent, volatile } = tpm;
  volatile.restartCount = kind === 'reset' ? 0 : ((saved?.restartCount ?? 0) + 1) >>> 0;
  volatile.clearCount = kind === 'reset' ? 0 : ((saved?.clearCount ?? 0) + Number(kind === 'restart')) >>> 0;
  volatile.contextCounter = saved?.contextCounter ?? 0n;
  volatile.objectContextId = saved?.objectContextId ?? 0n;
  volatile.auditDigest = saved?.auditDigest ?? EMPTY;
  volatile.commits = saved?.extras.commits;
  volatile.pcrAuth = kind === 'resume' ? saved?.extras.pcrAuth : undefined;
  for (const { handle, counter } of saved?.sessions ?? []) volatile.savedSessions.set(handle, { counter });
  if (kind !== 'reset') return;
  permanent.resetCount = (permanent.resetCount + 1) >>> 0;
  permanent.totalResetCount += 1n;
}

// Locks and contents that last until the next start that is not a resumption, and contents that a TPM Reset takes (Part 2, 13.4). A counter
// keeps its value in memory too, because each step of it is stored.
function clearNvLocks(tpm: Tpm, kind: Kind): void {
  for (const [handle, index] of tpm.permanent.nv) {
    let { attributes } = index;
    attributes &= ~TPMA_NV.READLOCKED;
    if ((attributes & TPMA_NV.WRITEDEFINE) === 0 || (attributes & TPMA_NV.WRITTEN) === 0)
      attributes &= ~TPMA_NV.WRITELOCKED;
    const isInMemory = (attributes & TPMA_NV.ORDERLY) !== 0 && nvKind(attributes) !== TPM_NT.COUNTER;
    const isLost = (kind === 'reset' && isInMemory) || (attributes & TPMA_NV.CLEAR_STCLEAR) !== 0;
    if (isLost) attributes &= ~TPMA_NV.WRITTEN;
    // What is lost must not show again behind a partial write.
    const data = isLost ? unwrittenData(attributes, index.dataSize) : index.data;
    tpm.permanent.nv.set(handle, { ...index, attributes: attributes >>> 0, data });
  }
}

/** TPM2_Shutdown (9.4). */
export const shutdown = /* @__PURE__ */ handler(Shutdown, (tpm, { shutdownType }) => {
  if (tpm.volatile.isReallocated === true && shutdownType === TPM_SU.STATE) refuseParameter(TPM_RC.TYPE, 1);
  shutDown(tpm, shutdownType);
  return {};
});

/** What TPM2_Shutdown does; a later command that changes anything undoes it. */
export function shutDown(tpm: Tpm, type: number): void {
  tpm.permanent.saved = type === TPM_SU.STATE ? saveState(tpm) : undefined;
  tpm.permanent.orderly = type === TPM_SU.STATE ? ORDERLY.STATE : ORDERLY.CLEAR;
  storeClock(tpm, clockOf(tpm));
}

function saveState(tpm: Tpm): SavedState {
  const { volatile } = tpm;
  const { enables } = volatile;
  // Sessions that are loaded now are gone after the start, those that are saved can be loaded again.
  const sessions = [...volatile.savedSessions].map(([handle, { counter }]) => ({ handle, counter }));
  return {
    restartCount: volatile.restartCount,
    clearCount: volatile.clearCount,
    nullSeed: volatile.nullSeed,
    nullProof: volatile.nullProof,
    platformAuth: volatile.platformAuth,
    platformPolicy: volatile.platformPolicy,
    enables: Number(enables.owner) | (Number(enables.endorsement) << 1) | (Number(enables.platformNv) << 3),
    pcrCounter: volatile.pcrCounter,
    banks: volatile.banks.map(({ alg, values }) => ({ alg, values: [...values] })),
    contextCounter: volatile.contextCounter,
    objectContextId: volatile.objectContextId,
    sessions,
    auditDigest: volatile.auditDigest,
    extras: {
      commits: volatile.commits ?? { nonce: EMPTY, counter: 0n, open: new Uint8Array(16) },
      pcrAuth: volatile.pcrAuth ?? EMPTY,
      startLocality: volatile.startLocality,
    },
  };
}
