/** Under which circumstances an object was made. TPM 2.0 Part 2, clause 15. */
import { type Infer, sized, struct, u16 } from '@casemate/wire';
import { TpmaLocality } from './attributes.js';
import { TpmAlgId } from './constants.js';
import { Tpm2bData, Tpm2bDigest, Tpm2bName } from './digests.js';
import { TpmlPcrSelection } from './lists.js';

/** PCRs, locality and parent at the creation of an object, and the caller's own data. TPM 2.0 Part 2, table 223. */
export const TpmsCreationData = struct('TPMS_CREATION_DATA', {
  pcrSelect: TpmlPcrSelection,
  pcrDigest: Tpm2bDigest,
  locality: TpmaLocality,
  parentNameAlg: TpmAlgId,
  parentName: Tpm2bName,
  parentQualifiedName: Tpm2bName,
  outsideInfo: Tpm2bData,
});
/** The value type of {@link TpmsCreationData}. */
export type TpmsCreationData = Infer<typeof TpmsCreationData>;

/** {@link TpmsCreationData} behind its size. TPM 2.0 Part 2, table 224. */
export const Tpm2bCreationData = sized('TPM2B_CREATION_DATA', u16, TpmsCreationData);
/** The value type of {@link Tpm2bCreationData}. */
export type Tpm2bCreationData = Infer<typeof Tpm2bCreationData>;
