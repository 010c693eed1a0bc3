/**
 * Interface types of handles: which handles a field may hold. TPM 2.0 Part 2, clauses 9.2 to 9.26. `…OrNull` is the
 * type with its conditional value (`+`).
 */
import { type Codec, checked, type Infer, mapped, oneOf, u8, u32, within } from '@casemate/wire';
import { TPM_HC, TPM_RH, TPM_RS } from '../constants/handles.js';

type Range = readonly [first: number, last: number];

const TRANSIENT: Range = [TPM_HC.TRANSIENT_FIRST, TPM_HC.TRANSIENT_LAST];
const PERSISTENT: Range = [TPM_HC.PERSISTENT_FIRST, TPM_HC.PERSISTENT_LAST];
const HMAC_SESSION: Range = [TPM_HC.HMAC_SESSION_FIRST, TPM_HC.HMAC_SESSION_LAST];
const POLICY_SESSION: Range = [TPM_HC.POLICY_SESSION_FIRST, TPM_HC.POLICY_SESSION_LAST];
const NV_INDEX: Range = [TPM_HC.NV_INDEX_FIRST, TPM_HC.NV_INDEX_LAST];
const PCR: Range = [TPM_HC.PCR_FIRST, TPM_HC.PCR_LAST];
const AC: Range = [TPM_HC.AC_FIRST, TPM_HC.AC_LAST];
const ACT: Range = [TPM_RH.ACT_0, TPM_RH.ACT_F];
const VENDOR_AUTH: Range = [TPM_RH.AUTH_00, TPM_RH.AUTH_FF];
const OWNER: Range = [TPM_RH.OWNER, TPM_RH.OWNER];
const PLATFORM: Range = [TPM_RH.PLATFORM, TPM_RH.PLATFORM];
const ENDORSEMENT: Range = [TPM_RH.ENDORSEMENT, TPM_RH.ENDORSEMENT];
const LOCKOUT: Range = [TPM_RH.LOCKOUT, TPM_RH.LOCKOUT];
const NULL: Range = [TPM_RH.NULL, TPM_RH.NULL];
const PASSWORD: Range = [TPM_RS.PW, TPM_RS.PW];
const SAVED_OBJECT: Range = [TPM_HC.TRANSIENT_FIRST, TPM_HC.TRANSIENT_FIRST + 2];

/** One octet that is 0 or 1, as a boolean. TPM 2.0 Part 2, table 41. */
export const TpmiYesNo: Codec<boolean> = checked(
  'TPMI_YES_NO',
  mapped(
    'TPMI_YES_NO',
    oneOf('TPMI_YES_NO', u8, [0, 1]),
    (value) => value === 1,
    (value) => (value ? 1 : 0),
  ),
  // A value that was forgotten must not become a "no": that is what disables a hierarchy.
  (value) => (typeof value === 'boolean' ? undefined : `expected a boolean, got ${typeof value}`),
);
/** The value type of {@link TpmiYesNo}. */
export type TpmiYesNo = Infer<typeof TpmiYesNo>;

/** A loaded object, transient or persistent. TPM 2.0 Part 2, table 42. */
export const TpmiDhObject = handle('TPMI_DH_OBJECT', [TRANSIENT, PERSISTENT]);
/** The value type of {@link TpmiDhObject}. */
export type TpmiDhObject = Infer<typeof TpmiDhObject>;

/** A loaded object, or TPM_RH_NULL. TPM 2.0 Part 2, table 42. */
export const TpmiDhObjectOrNull = handle('TPMI_DH_OBJECT+', [TRANSIENT, PERSISTENT, NULL]);
/** The value type of {@link TpmiDhObjectOrNull}. */
export type TpmiDhObjectOrNull = Infer<typeof TpmiDhObjectOrNull>;

const HIERARCHIES = [TPM_RH.OWNER, TPM_RH.PLATFORM, TPM_RH.ENDORSEMENT] as const;

/** A parent: a loaded object or a hierarchy. TPM 2.0 Part 2, table 43. */
export const TpmiDhParent = handle('TPMI_DH_PARENT', [TRANSIENT, PERSISTENT, OWNER, PLATFORM, ENDORSEMENT]);
/** The value type of {@link TpmiDhParent}. */
export type TpmiDhParent = Infer<typeof TpmiDhParent>;

/** A parent, or TPM_RH_NULL for the null hierarchy. TPM 2.0 Part 2, table 43. */
export const TpmiDhParentOrNull = handle('TPMI_DH_PARENT+', [
  TRANSIENT,
  PERSISTENT,
  OWNER,
  PLATFORM,
  ENDORSEMENT,
  NULL,
]);
/** The value type of {@link TpmiDhParentOrNull}. */
export type TpmiDhParentOrNull = Infer<typeof TpmiDhParentOrNull>;

/** A persistent object. TPM 2.0 Part 2, table 44. */
export const TpmiDhPersistent = handle('TPMI_DH_PERSISTENT', [PERSISTENT]);
/** The value type of {@link TpmiDhPersistent}. */
export type TpmiDhPersistent = Infer<typeof TpmiDhPersistent>;

const ENTITIES = [TRANSIENT, PERSISTENT, NV_INDEX, PCR, VENDOR_AUTH, OWNER, PLATFORM, ENDORSEMENT, LOCKOUT] as const;

/** Anything that has an authorisation value. TPM 2.0 Part 2, table 45. */
export const TpmiDhEntity = handle('TPMI_DH_ENTITY', ENTITIES);
/** The value type of {@link TpmiDhEntity}. */
export type TpmiDhEntity = Infer<typeof TpmiDhEntity>;

/** Anything that has an authorisation value, or TPM_RH_NULL. TPM 2.0 Part 2, table 45. */
export const TpmiDhEntityOrNull = handle('TPMI_DH_ENTITY+', [...ENTITIES, NULL]);
/** The value type of {@link TpmiDhEntityOrNull}. */
export type TpmiDhEntityOrNull = Infer<typeof TpmiDhEntityOrNull>;

/** A PCR. TPM 2.0 Part 2, table 46. */
export const TpmiDhPcr = handle('TPMI_DH_PCR', [PCR]);
/** The value type of {@link TpmiDhPcr}. */
export type TpmiDhPcr = Infer<typeof TpmiDhPcr>;

/** A PCR, or TPM_RH_NULL. TPM 2.0 Part 2, table 46. */
export const TpmiDhPcrOrNull = handle('TPMI_DH_PCR+', [PCR, NULL]);
/** The value type of {@link TpmiDhPcrOrNull}. */
export type TpmiDhPcrOrNull = Infer<typeof TpmiDhPcrOrNull>;

/** An HMAC or policy session. TPM 2.0 Part 2, table 47. */
export const TpmiShAuthSession = handle('TPMI_SH_AUTH_SESSION', [HMAC_SESSION, POLICY_SESSION]);
/** The value type of {@link TpmiShAuthSession}. */
export type TpmiShAuthSession = Infer<typeof TpmiShAuthSession>;

/** An HMAC or policy session, or TPM_RS_PW for a password. TPM 2.0 Part 2, table 47. */
export const TpmiShAuthSessionOrPassword = handle('TPMI_SH_AUTH_SESSION+', [HMAC_SESSION, POLICY_SESSION, PASSWORD]);
/** The value type of {@link TpmiShAuthSessionOrPassword}. */
export type TpmiShAuthSessionOrPassword = Infer<typeof TpmiShAuthSessionOrPassword>;

/** An HMAC session. TPM 2.0 Part 2, table 48. */
export const TpmiShHmac = handle('TPMI_SH_HMAC', [HMAC_SESSION]);
/** The value type of {@link TpmiShHmac}. */
export type TpmiShHmac = Infer<typeof TpmiShHmac>;

/** A policy session. TPM 2.0 Part 2, table 49. */
export const TpmiShPolicy = handle('TPMI_SH_POLICY', [POLICY_SESSION]);
/** The value type of {@link TpmiShPolicy}. */
export type TpmiShPolicy = Infer<typeof TpmiShPolicy>;

/** What has a context: sessions and transient objects. TPM 2.0 Part 2, table 50. */
export const TpmiDhContext = handle('TPMI_DH_CONTEXT', [HMAC_SESSION, POLICY_SESSION, TRANSIENT]);
/** The value type of {@link TpmiDhContext}. */
export type TpmiDhContext = Infer<typeof TpmiDhContext>;

/**
 * What a saved context holds: a session's handle, or 0x80000000 for an object, …1 for a sequence, …2 for an object with
 * stClear. TPM 2.0 Part 2, table 51.
 */
export const TpmiDhSaved = handle('TPMI_DH_SAVED', [HMAC_SESSION, POLICY_SESSION, SAVED_OBJECT]);
/** The value type of {@link TpmiDhSaved}. */
export type TpmiDhSaved = Infer<typeof TpmiDhSaved>;

/** A hierarchy. TPM 2.0 Part 2, table 52. */
export const TpmiRhHierarchy = oneOf('TPMI_RH_HIERARCHY', u32, HIERARCHIES);

/** A hierarchy, or the null hierarchy. TPM 2.0 Part 2, table 52. */
export const TpmiRhHierarchyOrNull = oneOf('TPMI_RH_HIERARCHY+', u32, [...HIERARCHIES, TPM_RH.NULL]);

/** What can be enabled and disabled. TPM 2.0 Part 2, table 53. */
export const TpmiRhEnables = oneOf('TPMI_RH_ENABLES', u32, [...HIERARCHIES, TPM_RH.PLATFORM_NV]);
/** The value type of {@link TpmiRhEnables}. */
export type TpmiRhEnables = Infer<typeof TpmiRhEnables>;

/** What can be enabled and disabled, or TPM_RH_NULL. TPM 2.0 Part 2, table 53. */
export const TpmiRhEnablesOrNull = oneOf('TPMI_RH_ENABLES+', u32, [...HIERARCHIES, TPM_RH.PLATFORM_NV, TPM_RH.NULL]);
/** The value type of {@link TpmiRhEnablesOrNull}. */
export type TpmiRhEnablesOrNull = Infer<typeof TpmiRhEnablesOrNull>;

/** A hierarchy or the lockout, as having an authorisation value. TPM 2.0 Part 2, table 54. */
export const TpmiRhHierarchyAuth = oneOf('TPMI_RH_HIERARCHY_AUTH', u32, [...HIERARCHIES, TPM_RH.LOCKOUT]);
/** The value type of {@link TpmiRhHierarchyAuth}. */
export type TpmiRhHierarchyAuth = Infer<typeof TpmiRhHierarchyAuth>;

/** A hierarchy, the lockout or a countdown timer, as having a policy. TPM 2.0 Part 2, table 55. */
export const TpmiRhHierarchyPolicy = handle('TPMI_RH_HIERARCHY_POLICY', [ACT, OWNER, PLATFORM, ENDORSEMENT, LOCKOUT]);
/** The value type of {@link TpmiRhHierarchyPolicy}. */
export type TpmiRhHierarchyPolicy = Infer<typeof TpmiRhHierarchyPolicy>;

/** The platform hierarchy. TPM 2.0 Part 2, table 56. */
export const TpmiRhPlatform = oneOf('TPMI_RH_PLATFORM', u32, [TPM_RH.PLATFORM]);
/** The value type of {@link TpmiRhPlatform}. */
export type TpmiRhPlatform = Infer<typeof TpmiRhPlatform>;

/** The owner hierarchy. TPM 2.0 Part 2, table 57. */
export const TpmiRhOwner = oneOf('TPMI_RH_OWNER', u32, [TPM_RH.OWNER]);
/** The value type of {@link TpmiRhOwner}. */
export type TpmiRhOwner = Infer<typeof TpmiRhOwner>;

/** The owner hierarchy, or TPM_RH_NULL. TPM 2.0 Part 2, table 57. */
export const TpmiRhOwnerOrNull = oneOf('TPMI_RH_OWNER+', u32, [TPM_RH.OWNER, TPM_RH.NULL]);
/** The value type of {@link TpmiRhOwnerOrNull}. */
export type TpmiRhOwnerOrNull = Infer<typeof TpmiRhOwnerOrNull>;

/** The endorsement hierarchy. TPM 2.0 Part 2, table 58. */
export const TpmiRhEndorsement = oneOf('TPMI_RH_ENDORSEMENT', u32, [TPM_RH.ENDORSEMENT]);
/** The value type of {@link TpmiRhEndorsement}. */
export type TpmiRhEndorsement = Infer<typeof TpmiRhEndorsement>;

/** The endorsement hierarchy, or TPM_RH_NULL. TPM 2.0 Part 2, table 58. */
export const TpmiRhEndorsementOrNull = oneOf('TPMI_RH_ENDORSEMENT+', u32, [TPM_RH.ENDORSEMENT, TPM_RH.NULL]);
/** The value type of {@link TpmiRhEndorsementOrNull}. */
export type TpmiRhEndorsementOrNull = Infer<typeof TpmiRhEndorsementOrNull>;

/** Who may provision: owner or platform. TPM 2.0 Part 2, table 59. */
export const TpmiRhProvision = oneOf('TPMI_RH_PROVISION', u32, [TPM_RH.OWNER, TPM_RH.PLATFORM]);
/** The value type of {@link TpmiRhProvision}. */
export type TpmiRhProvision = Infer<typeof TpmiRhProvision>;

/** Who may clear: lockout or platform. TPM 2.0 Part 2, table 60. */
export const TpmiRhClear = oneOf('TPMI_RH_CLEAR', u32, [TPM_RH.LOCKOUT, TPM_RH.PLATFORM]);
/** The value type of {@link TpmiRhClear}. */
export type TpmiRhClear = Infer<typeof TpmiRhClear>;

/** Who may authorise access to an NV index: platform, owner or the index itself. TPM 2.0 Part 2, table 61. */
export const TpmiRhNvAuth = handle('TPMI_RH_NV_AUTH', [NV_INDEX, PLATFORM, OWNER]);
/** The value type of {@link TpmiRhNvAuth}. */
export type TpmiRhNvAuth = Infer<typeof TpmiRhNvAuth>;

/** The lockout. TPM 2.0 Part 2, table 62. */
export const TpmiRhLockout = oneOf('TPMI_RH_LOCKOUT', u32, [TPM_RH.LOCKOUT]);
/** The value type of {@link TpmiRhLockout}. */
export type TpmiRhLockout = Infer<typeof TpmiRhLockout>;

/** An NV index. TPM 2.0 Part 2, table 63. */
export const TpmiRhNvIndex = handle('TPMI_RH_NV_INDEX', [NV_INDEX]);
/** The value type of {@link TpmiRhNvIndex}. */
export type TpmiRhNvIndex = Infer<typeof TpmiRhNvIndex>;

/** An attached component. TPM 2.0 Part 2, table 64. */
export const TpmiRhAc = handle('TPMI_RH_AC', [AC]);
/** The value type of {@link TpmiRhAc}. */
export type TpmiRhAc = Infer<typeof TpmiRhAc>;

/** An authenticated countdown timer. TPM 2.0 Part 2, table 65. */
export const TpmiRhAct = handle('TPMI_RH_ACT', [ACT]);
/** The value type of {@link TpmiRhAct}. */
export type TpmiRhAct = Infer<typeof TpmiRhAct>;

/** The value type of {@link TpmiRhHierarchyOrNull}. */
export type TpmiRhHierarchyOrNull = Infer<typeof TpmiRhHierarchyOrNull>;

/** The value type of {@link TpmiRhHierarchy}. */
export type TpmiRhHierarchy = Infer<typeof TpmiRhHierarchy>;

/* @__NO_SIDE_EFFECTS__ */
function handle(name: string, ranges: readonly Range[]): Codec<number> {
  return within(name, u32, ranges);
}
