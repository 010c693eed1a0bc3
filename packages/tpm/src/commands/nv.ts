/** Non-volatile storage. TPM 2.0 Part 3, clause 31. */
import { u16, u64 } from '@casemate/wire';
import { admin, plain, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmtSigSchemeOrNull } from '../structures/asymmetric.js';
import { Tpm2bAttest } from '../structures/attestation.js';
import { Tpm2bAuth, Tpm2bData, Tpm2bMaxNvBuffer, Tpm2bName } from '../structures/digests.js';
import {
  TpmiDhObjectOrNull,
  TpmiRhNvAuth,
  TpmiRhNvIndex,
  TpmiRhPlatform,
  TpmiRhProvision,
} from '../structures/handles.js';
import { Tpm2bNvPublic } from '../structures/nv.js';
import { TpmtSignatureOrNull } from '../structures/signatures.js';

/** Makes an NV index. TPM 2.0 Part 3, tables 212 and 213. */
export const NvDefineSpace = specified('TPM2_NV_DefineSpace', TPM_CC.NV_DefineSpace, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhProvision)],
  parameters: { auth: Tpm2bAuth, publicInfo: Tpm2bNvPublic },
}));

/** Removes an NV index. TPM 2.0 Part 3, tables 214 and 215. */
export const NvUndefineSpace = specified('TPM2_NV_UndefineSpace', TPM_CC.NV_UndefineSpace, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhProvision), plain('nvIndex', TpmiRhNvIndex)],
}));

/** Removes an NV index that only its policy can remove. TPM 2.0 Part 3, tables 216 and 217. */
export const NvUndefineSpaceSpecial = specified('TPM2_NV_UndefineSpaceSpecial', TPM_CC.NV_UndefineSpaceSpecial, () => ({
  effects: { nv: true },
  handles: [admin('nvIndex', TpmiRhNvIndex), user('platform', TpmiRhPlatform)],
}));

/** Reads the public area and name of an NV index. TPM 2.0 Part 3, tables 218 and 219. */
export const NvReadPublic = specified('TPM2_NV_ReadPublic', TPM_CC.NV_ReadPublic, () => ({
  handles: [plain('nvIndex', TpmiRhNvIndex)],
  response: { nvPublic: Tpm2bNvPublic, nvName: Tpm2bName },
}));

/** Writes to an NV index. TPM 2.0 Part 3, tables 220 and 221. */
export const NvWrite = specified('TPM2_NV_Write', TPM_CC.NV_Write, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
  parameters: { data: Tpm2bMaxNvBuffer, offset: u16 },
}));

/** Increments a counter index. TPM 2.0 Part 3, tables 222 and 223. */
export const NvIncrement = specified('TPM2_NV_Increment', TPM_CC.NV_Increment, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
}));

/** Extends an index as a PCR is extended. TPM 2.0 Part 3, tables 224 and 225. */
export const NvExtend = specified('TPM2_NV_Extend', TPM_CC.NV_Extend, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
  parameters: { data: Tpm2bMaxNvBuffer },
}));

/** Sets bits in a bit field index. TPM 2.0 Part 3, tables 226 and 227. */
export const NvSetBits = specified('TPM2_NV_SetBits', TPM_CC.NV_SetBits, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
  parameters: { bits: u64 },
}));

/** Locks an NV index against writing. TPM 2.0 Part 3, tables 228 and 229. */
export const NvWriteLock = specified('TPM2_NV_WriteLock', TPM_CC.NV_WriteLock, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
}));

/** Locks all NV indexes that ask for it against writing. TPM 2.0 Part 3, tables 230 and 231. */
export const NvGlobalWriteLock = specified('TPM2_NV_GlobalWriteLock', TPM_CC.NV_GlobalWriteLock, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhProvision)],
}));

/** Reads from an NV index. TPM 2.0 Part 3, tables 232 and 233. */
export const NvRead = specified('TPM2_NV_Read', TPM_CC.NV_Read, () => ({
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
  parameters: { size: u16, offset: u16 },
  response: { data: Tpm2bMaxNvBuffer },
}));

/** Locks an NV index against reading until the next reset. TPM 2.0 Part 3, tables 234 and 235. */
export const NvReadLock = specified('TPM2_NV_ReadLock', TPM_CC.NV_ReadLock, () => ({
  effects: { nv: true },
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
}));

/** Gives an NV index another authorisation value. TPM 2.0 Part 3, tables 236 and 237. */
export const NvChangeAuth = specified('TPM2_NV_ChangeAuth', TPM_CC.NV_ChangeAuth, () => ({
  effects: { nv: true },
  handles: [admin('nvIndex', TpmiRhNvIndex)],
  parameters: { newAuth: Tpm2bAuth },
}));

/** Attests contents of an NV index, or their digest where size and offset are 0. TPM 2.0 Part 3, tables 238 and 239. */
export const NvCertify = specified('TPM2_NV_Certify', TPM_CC.NV_Certify, () => ({
  handles: [user('signHandle', TpmiDhObjectOrNull), user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex)],
  parameters: { qualifyingData: Tpm2bData, inScheme: TpmtSigSchemeOrNull, size: u16, offset: u16 },
  response: { certifyInfo: Tpm2bAttest, signature: TpmtSignatureOrNull },
}));
