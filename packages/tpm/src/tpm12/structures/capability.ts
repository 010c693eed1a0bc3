/** What a TPM says of itself. TPM 1.2 Main Part 2, clauses 5, 7, 15, 19 and 21. */
import { array, bytes, constant, type Infer, mapped, repeated, struct, u8, u16, u32 } from '@casemate/wire';
import { TPM_TAG } from '../constants.js';
import { shortSizedData, sizedData, TpmBool, TpmNonce, TpmVersion } from './base.js';

/** The answer to `TPM_CAP.VERSION_VAL`. TPM 1.2 Part 2, clause 21.6. */
export const TpmCapVersionInfo = struct('TPM_CAP_VERSION_INFO', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.CAP_VERSION_INFO),
  version: TpmVersion,
  specLevel: u16,
  errataRev: u8,
  tpmVendorID: bytes('TPM_CAP_VERSION_INFO', 4),
  vendorSpecific: shortSizedData('TPM_CAP_VERSION_INFO', 1024),
});
/** The value type of {@link TpmCapVersionInfo}. */
export type TpmCapVersionInfo = Infer<typeof TpmCapVersionInfo>;

/** Handles of loaded resources. TPM 1.2 Part 2, clause 5.7. */
export const TpmKeyHandleList = array('TPM_KEY_HANDLE_LIST', u16, u32, { max: 1024 });
/** The value type of {@link TpmKeyHandleList}. */
export type TpmKeyHandleList = Infer<typeof TpmKeyHandleList>;

/** The answer to `TPM_CAP.NV_LIST`: the indexes that are defined. TPM 1.2 Part 2, clause 21.1. */
export const TpmNvIndexList = repeated('TPM_NV_INDEX', u32, { max: 1024 });
/** The value type of {@link TpmNvIndexList}. */
export type TpmNvIndexList = Infer<typeof TpmNvIndexList>;

/** Flags that only the owner or physical presence change. Later revisions have one flag more. TPM 1.2 Part 2, clause 7.1. */
export const TpmPermanentFlags = struct('TPM_PERMANENT_FLAGS', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.PERMANENT_FLAGS),
  disable: TpmBool,
  ownership: TpmBool,
  deactivated: TpmBool,
  readPubek: TpmBool,
  disableOwnerClear: TpmBool,
  allowMaintenance: TpmBool,
  physicalPresenceLifetimeLock: TpmBool,
  physicalPresenceHWEnable: TpmBool,
  physicalPresenceCMDEnable: TpmBool,
  CEKPUsed: TpmBool,
  TPMpost: TpmBool,
  TPMpostLock: TpmBool,
  FIPS: TpmBool,
  operator: TpmBool,
  enableRevokeEK: TpmBool,
  nvLocked: TpmBool,
  readSRKPub: TpmBool,
  tpmEstablished: TpmBool,
  maintenanceDone: TpmBool,
  disableFullDALogicInfo: mapped(
    'TPM_BOOL',
    repeated('TPM_BOOL', TpmBool, { max: 1 }),
    ([flag]) => flag,
    (flag) => (flag === undefined ? [] : [flag]),
  ),
});
/** The value type of {@link TpmPermanentFlags}. */
export type TpmPermanentFlags = Infer<typeof TpmPermanentFlags>;

/** Flags that a start-up resets. TPM 1.2 Part 2, clause 7.2. */
export const TpmStclearFlags = struct('TPM_STCLEAR_FLAGS', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.STCLEAR_FLAGS),
  deactivated: TpmBool,
  disableForceClear: TpmBool,
  physicalPresence: TpmBool,
  physicalPresenceLock: TpmBool,
  bGlobalLock: TpmBool,
});
/** The value type of {@link TpmStclearFlags}. */
export type TpmStclearFlags = Infer<typeof TpmStclearFlags>;

/** How a TPM defends itself against guessing, in short. TPM 1.2 Part 2, clause 21.8. */
export const TpmDaInfoLimited = struct('TPM_DA_INFO_LIMITED', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.DA_INFO_LIMITED),
  state: u8,
  actions: daActions(),
  vendorData: sizedData('vendorData', 1024),
});
/** The value type of {@link TpmDaInfoLimited}. */
export type TpmDaInfoLimited = Infer<typeof TpmDaInfoLimited>;

/** How a TPM defends itself against guessing: wrong guesses and the limit. TPM 1.2 Part 2, clause 21.7. */
export const TpmDaInfo = struct('TPM_DA_INFO', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.DA_INFO),
  state: u8,
  currentCount: u16,
  thresholdCount: u16,
  actionAtThreshold: daActions(),
  actionDependValue: u32,
  vendorData: sizedData('vendorData', 1024),
});
/** The value type of {@link TpmDaInfo}. */
export type TpmDaInfo = Infer<typeof TpmDaInfo>;

/** How long the TPM has run, and since when. TPM 1.2 Part 2, clause 15.1. */
export const TpmCurrentTicks = struct('TPM_CURRENT_TICKS', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.CURRENT_TICKS),
  currentTicksHigh: u32,
  currentTicksLow: u32,
  tickRate: u16,
  tickNonce: TpmNonce,
});
/** The value type of {@link TpmCurrentTicks}. */
export type TpmCurrentTicks = Infer<typeof TpmCurrentTicks>;

/** A monotonic counter. TPM 1.2 Part 2, clause 5.13. */
export const TpmCounterValue = struct('TPM_COUNTER_VALUE', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.COUNTER_VALUE),
  label: bytes('TPM_COUNTER_VALUE', 4),
  counter: u32,
});
/** The value type of {@link TpmCounterValue}. */
export type TpmCounterValue = Infer<typeof TpmCounterValue>;

/* @__NO_SIDE_EFFECTS__ */
function daActions() {
  return struct('TPM_DA_ACTION_TYPE', {
    tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.DA_ACTION_TYPE),
    actions: u32,
  });
}
