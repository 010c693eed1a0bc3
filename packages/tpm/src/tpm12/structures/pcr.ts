/** PCR structures. TPM 1.2 Main Part 2, clause 8. */
import { array, constant, type Infer, mapped, sizedBytes, struct, u8, u16, u32, within } from '@casemate/wire';
import { TPM_TAG } from '../constants.js';
import { TpmDigest } from './base.js';

/**
 * A set of PCRs as a bit map: bit `i % 8` of byte `i / 8` stands for PCR `i`. `pcrSelection12` and `selectedPcrs12`
 * convert. At most four bytes: of six, nobody could tell TPM_PCR_INFO from TPM_PCR_INFO_LONG. TPM 1.2 Part 2, clause 8.1.
 */
export const TpmPcrSelection = sizedBytes('TPM_PCR_SELECTION', u16, { max: 4 });
/** The value type of {@link TpmPcrSelection}. */
export type TpmPcrSelection = Infer<typeof TpmPcrSelection>;

/** PCRs and their values, in ascending order. TPM 1.2 Part 2, clause 8.2. */
export const TpmPcrComposite = struct('TPM_PCR_COMPOSITE', {
  select: TpmPcrSelection,
  pcrValue: array('TPM_PCRVALUE', countOfDigests(), TpmDigest, { max: 32 }),
});
/** The value type of {@link TpmPcrComposite}. */
export type TpmPcrComposite = Infer<typeof TpmPcrComposite>;

/** Localities as bits of `TPM_LOC`; at least one. TPM 1.2 Part 2, clause 8.6. */
export const TpmLocalitySelection = within('TPM_LOCALITY_SELECTION', u8, [[1, 0x1f]]);
/** The value type of {@link TpmLocalitySelection}. */
export type TpmLocalitySelection = Infer<typeof TpmLocalitySelection>;

/** PCRs that data or a key are bound to. TPM 1.2 Part 2, clause 8.3. */
export const TpmPcrInfo = struct('TPM_PCR_INFO', {
  pcrSelection: TpmPcrSelection,
  digestAtRelease: TpmDigest,
  digestAtCreation: TpmDigest,
});
/** The value type of {@link TpmPcrInfo}. */
export type TpmPcrInfo = Infer<typeof TpmPcrInfo>;

/** PCRs and localities that data or a key are bound to. TPM 1.2 Part 2, clause 8.4. */
export const TpmPcrInfoLong = struct('TPM_PCR_INFO_LONG', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.PCR_INFO_LONG),
  localityAtCreation: TpmLocalitySelection,
  localityAtRelease: TpmLocalitySelection,
  creationPCRSelection: TpmPcrSelection,
  releasePCRSelection: TpmPcrSelection,
  digestAtCreation: TpmDigest,
  digestAtRelease: TpmDigest,
});
/** The value type of {@link TpmPcrInfoLong}. */
export type TpmPcrInfoLong = Infer<typeof TpmPcrInfoLong>;

/** PCRs and localities at one moment. TPM 1.2 Part 2, clause 8.5. */
export const TpmPcrInfoShort = struct('TPM_PCR_INFO_SHORT', {
  pcrSelection: TpmPcrSelection,
  localityAtRelease: TpmLocalitySelection,
  digestAtRelease: TpmDigest,
});
/** The value type of {@link TpmPcrInfoShort}. */
export type TpmPcrInfoShort = Infer<typeof TpmPcrInfoShort>;

/** The wire has the length in bytes, always a multiple of 20. */
function countOfDigests() {
  const length = within(
    'TPM_PCRVALUE',
    u32,
    Array.from({ length: 33 }, (_, i) => [20 * i, 20 * i] as const),
  );
  return mapped(
    'TPM_PCRVALUE',
    length,
    (bytes) => bytes / 20,
    (count) => count * 20,
  );
}
