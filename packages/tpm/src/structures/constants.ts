/**
 * The types of constants. TPM 2.0 Part 2, clauses 6 and 7. Types that later TPMs may extend take any number; the rest
 * are closed.
 */
import { type Codec, constant, type Infer, oneOf, u8, u16, u32, uint16, uint32 } from '@casemate/wire';
import { TPM_CAP } from '../constants/capabilities.js';
import { TPM_CLOCK_ADJUST, TPM_EO, TPM_SE, TPM_SU } from '../constants/sessions.js';
import { TPM_GENERATED_VALUE } from '../constants/specification.js';
import { Int8 } from './base.js';

/** Any algorithm, a member of `TPM_ALG` or one that came later. TPM 2.0 Part 2, table 9. */
export const TpmAlgId: Codec<number> = uint16('TPM_ALG_ID');
/** The value type of {@link TpmAlgId}. */
export type TpmAlgId = Infer<typeof TpmAlgId>;

/** Any curve, a member of `TPM_ECC_CURVE` or one that came later. TPM 2.0 Part 2, table 10. */
export const TpmEccCurve: Codec<number> = uint16('TPM_ECC_CURVE');
/** The value type of {@link TpmEccCurve}. */
export type TpmEccCurve = Infer<typeof TpmEccCurve>;

/** Any command code, a member of `TPM_CC`, later or a vendor's. TPM 2.0 Part 2, table 12. */
export const TpmCc: Codec<number> = uint32('TPM_CC');
/** The value type of {@link TpmCc}. */
export type TpmCc = Infer<typeof TpmCc>;

/** Any response code. TPM 2.0 Part 2, table 16. */
export const TpmRc: Codec<number> = uint32('TPM_RC');
/** The value type of {@link TpmRc}. */
export type TpmRc = Infer<typeof TpmRc>;

/** The magic number of attestations. TPM 2.0 Part 2, table 7. */
export const TpmGenerated = constant('TPM_GENERATED', u32, TPM_GENERATED_VALUE);
/** The value type of {@link TpmGenerated}. */
export type TpmGenerated = Infer<typeof TpmGenerated>;

/** A step of the clock rate. TPM 2.0 Part 2, table 17. */
export const TpmClockAdjust = oneOf('TPM_CLOCK_ADJUST', Int8, Object.values(TPM_CLOCK_ADJUST));
/** The value type of {@link TpmClockAdjust}. */
export type TpmClockAdjust = Infer<typeof TpmClockAdjust>;

/** A comparison. TPM 2.0 Part 2, table 18. */
export const TpmEo = oneOf('TPM_EO', u16, Object.values(TPM_EO));
/** The value type of {@link TpmEo}. */
export type TpmEo = Infer<typeof TpmEo>;

/** Any structure tag. TPM 2.0 Part 2, table 19. */
export const TpmSt: Codec<number> = uint16('TPM_ST');
/** The value type of {@link TpmSt}. */
export type TpmSt = Infer<typeof TpmSt>;

/** A kind of start-up or shutdown. TPM 2.0 Part 2, table 20. */
export const TpmSu = oneOf('TPM_SU', u16, Object.values(TPM_SU));
/** The value type of {@link TpmSu}. */
export type TpmSu = Infer<typeof TpmSu>;

/** A kind of session. TPM 2.0 Part 2, table 21. */
export const TpmSe = oneOf('TPM_SE', u8, Object.values(TPM_SE));
/** The value type of {@link TpmSe}. */
export type TpmSe = Infer<typeof TpmSe>;

/** A group of capabilities. TPM 2.0 Part 2, table 22. */
export const TpmCap = oneOf('TPM_CAP', u32, Object.values(TPM_CAP));
/** The value type of {@link TpmCap}. */
export type TpmCap = Infer<typeof TpmCap>;

/** Any TPM property. TPM 2.0 Part 2, table 23. */
export const TpmPt: Codec<number> = uint32('TPM_PT');
/** The value type of {@link TpmPt}. */
export type TpmPt = Infer<typeof TpmPt>;

/** Any PCR property. TPM 2.0 Part 2, table 24. */
export const TpmPtPcr: Codec<number> = uint32('TPM_PT_PCR');
/** The value type of {@link TpmPtPcr}. */
export type TpmPtPcr = Infer<typeof TpmPtPcr>;

/** Any platform class. TPM 2.0 Part 2, table 25. */
export const TpmPs: Codec<number> = uint32('TPM_PS');
/** The value type of {@link TpmPs}. */
export type TpmPs = Infer<typeof TpmPs>;

/** Any handle. TPM 2.0 Part 2, table 26. */
export const TpmHandle: Codec<number> = uint32('TPM_HANDLE');
/** The value type of {@link TpmHandle}. */
export type TpmHandle = Infer<typeof TpmHandle>;

/** Any NV index handle, unchecked. TPM 2.0 Part 2, table 212. */
export const TpmNvIndex: Codec<number> = uint32('TPM_NV_INDEX');
/** The value type of {@link TpmNvIndex}. */
export type TpmNvIndex = Infer<typeof TpmNvIndex>;

/** Any tag of attached component data. TPM 2.0 Part 2, table 225. */
export const TpmAt: Codec<number> = uint32('TPM_AT');
/** The value type of {@link TpmAt}. */
export type TpmAt = Infer<typeof TpmAt>;

/** Any error of an attached component. TPM 2.0 Part 2, table 226. */
export const TpmAe: Codec<number> = uint32('TPM_AE');
/** The value type of {@link TpmAe}. */
export type TpmAe = Infer<typeof TpmAe>;
