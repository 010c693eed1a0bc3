/** NV storage. TPM 1.2 Main Part 3, clause 20. */
import { u32 } from '@casemate/wire';
import { type AuthField, command12, optional, ownerAuth } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData, TpmEncauth } from '../structures/base.js';
import { TpmNvDataPublic } from '../structures/nv.js';

/** Defines an index, or removes it where `dataSize` is 0. TPM 1.2 Part 3, clause 20.1. */
export const NvDefineSpace = command12({
  name: 'TPM_NV_DefineSpace',
  ordinal: TPM_ORD.NV_DefineSpace,
  parameters: { pubInfo: TpmNvDataPublic, encAuth: TpmEncauth },
  auths: [optional(ownerAuth('ownerAuth', 'osap'))],
  secrets: { auth: 'ownerAuth', even: 'encAuth' },
});

/** Writes to an index as the owner, or without authorisation. TPM 1.2 Part 3, clause 20.2. */
export const NvWriteValue = command12({
  name: 'TPM_NV_WriteValue',
  ordinal: TPM_ORD.NV_WriteValue,
  parameters: { nvIndex: u32, offset: u32, data: sizedData('data') },
  auths: [optional(ownerAuth('ownerAuth'))],
});

/** Writes to an index by the index's own secret. TPM 1.2 Part 3, clause 20.3. */
export const NvWriteValueAuth = command12({
  name: 'TPM_NV_WriteValueAuth',
  ordinal: TPM_ORD.NV_WriteValueAuth,
  parameters: { nvIndex: u32, offset: u32, data: sizedData('data') },
  auths: [indexAuth('authValue')],
});

/** Reads from an index as the owner, or without authorisation. TPM 1.2 Part 3, clause 20.4. */
export const NvReadValue = command12({
  name: 'TPM_NV_ReadValue',
  ordinal: TPM_ORD.NV_ReadValue,
  parameters: { nvIndex: u32, offset: u32, dataSize: u32 },
  auths: [optional(ownerAuth('ownerAuth'))],
  response: { data: sizedData('data') },
});

/** Reads from an index by the index's own secret. TPM 1.2 Part 3, clause 20.5. */
export const NvReadValueAuth = command12({
  name: 'TPM_NV_ReadValueAuth',
  ordinal: TPM_ORD.NV_ReadValueAuth,
  parameters: { nvIndex: u32, offset: u32, dataSize: u32 },
  auths: [indexAuth('authHmac')],
  response: { data: sizedData('data') },
});

/* @__NO_SIDE_EFFECTS__ */
function indexAuth<const N extends string>(name: N): AuthField<N, false> {
  return { name, optional: false, protocol: 'any', entity: { kind: 'nv', parameter: 'nvIndex' } };
}
