/** NV storage. TPM 1.2 Main Part 2, clause 19. */
import { type Codec, constant, flags, type Infer, struct, u16, u32 } from '@casemate/wire';
import { TPM_TAG } from '../constants.js';
import { TpmBool } from './base.js';
import { TpmPcrInfoShort } from './pcr.js';

/** The permissions of an index, bits of `TPM_NV_PER`. TPM 1.2 Part 2, clause 19.2. */
export const TpmNvPermission: Codec<number> = flags('TPM_NV_ATTRIBUTES', u32, 0x8007f007);
/** The value type of {@link TpmNvPermission}. */
export type TpmNvPermission = Infer<typeof TpmNvPermission>;

/** {@link TpmNvPermission} behind its tag. TPM 1.2 Part 2, clause 19.2. */
export const TpmNvAttributes = struct('TPM_NV_ATTRIBUTES', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.NV_ATTRIBUTES),
  attributes: TpmNvPermission,
});
/** The value type of {@link TpmNvAttributes}. */
export type TpmNvAttributes = Infer<typeof TpmNvAttributes>;

/** The public area of an index; `dataSize` in bytes. TPM 1.2 Part 2, clause 19.3. */
export const TpmNvDataPublic = struct('TPM_NV_DATA_PUBLIC', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.NV_DATA_PUBLIC),
  nvIndex: u32,
  pcrInfoRead: TpmPcrInfoShort,
  pcrInfoWrite: TpmPcrInfoShort,
  permission: TpmNvAttributes,
  bReadSTClear: TpmBool,
  bWriteSTClear: TpmBool,
  bWriteDefine: TpmBool,
  dataSize: u32,
});
/** The value type of {@link TpmNvDataPublic}. */
export type TpmNvDataPublic = Infer<typeof TpmNvDataPublic>;
