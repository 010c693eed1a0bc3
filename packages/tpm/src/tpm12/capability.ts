/** What a TPM 1.2 is and has, as typed values. TPM 1.2 Main Part 2, clause 21; Part 3, clause 7.1. */
import { type Codec, decode, u32, WireError } from '@casemate/wire';
import { u32Bytes } from '../bytes.js';
import { TpmError } from '../response-code.js';
import type { ExecuteOptions12, Tpm12 } from './client.js';
import { GetCapability } from './commands/capability.js';
import { TPM_CAP, TPM_CAP_FLAG, TPM_CAP_PROP, TPM_TAG } from './constants.js';
import { TpmBool } from './structures/base.js';
import {
  TpmCapVersionInfo,
  TpmDaInfo,
  TpmDaInfoLimited,
  TpmKeyHandleList,
  TpmNvIndexList,
  TpmPermanentFlags,
  TpmStclearFlags,
} from './structures/capability.js';
import { eitherVersion } from './structures/either.js';
import { TpmNvDataPublic } from './structures/nv.js';

/** Version, level and vendor. */
export function readVersion(tpm: Tpm12, options?: ExecuteOptions12): Promise<TpmCapVersionInfo> {
  return capability(tpm, TPM_CAP.VERSION_VAL, undefined, TpmCapVersionInfo, options);
}

/** A property that is a number: a member of `TPM_CAP_PROP` other than the lists and flags among them. */
export function readProperty(tpm: Tpm12, property: number, options?: ExecuteOptions12): Promise<number> {
  return capability(tpm, TPM_CAP.PROPERTY, property, u32, options);
}

/** Whether the TPM has an owner. */
export function hasOwner(tpm: Tpm12, options?: ExecuteOptions12): Promise<boolean> {
  return capability(tpm, TPM_CAP.PROPERTY, TPM_CAP_PROP.OWNER, TpmBool, options);
}

/** Whether the TPM knows a command, by its ordinal. */
export function isOrdinalSupported(tpm: Tpm12, ordinal: number, options?: ExecuteOptions12): Promise<boolean> {
  return capability(tpm, TPM_CAP.ORD, ordinal, TpmBool, options);
}

/** The flags that outlast a start. */
export function readPermanentFlags(tpm: Tpm12, options?: ExecuteOptions12): Promise<TpmPermanentFlags> {
  return capability(tpm, TPM_CAP.FLAG, TPM_CAP_FLAG.PERMANENT, TpmPermanentFlags, options);
}

/** The flags that a start resets. */
export function readStclearFlags(tpm: Tpm12, options?: ExecuteOptions12): Promise<TpmStclearFlags> {
  return capability(tpm, TPM_CAP.FLAG, TPM_CAP_FLAG.VOLATILE, TpmStclearFlags, options);
}

/** The handles of loaded keys, sessions and other resources of a kind of `TPM_RT`. */
export function readHandles(tpm: Tpm12, resourceType: number, options?: ExecuteOptions12): Promise<readonly number[]> {
  return capability(tpm, TPM_CAP.HANDLE, resourceType, TpmKeyHandleList, options);
}

/** The NV indexes that are defined. */
export function readNvIndexes(tpm: Tpm12, options?: ExecuteOptions12): Promise<readonly number[]> {
  return capability(tpm, TPM_CAP.NV_LIST, undefined, TpmNvIndexList, options);
}

/** The public area of an NV index. Throws `TpmError` `response` TPM_BADINDEX where there is none. */
export function readNvPublic(tpm: Tpm12, index: number, options?: ExecuteOptions12): Promise<TpmNvDataPublic> {
  return capability(tpm, TPM_CAP.NV_INDEX, index, TpmNvDataPublic, options);
}

/** How the TPM defends an entity of a kind of `TPM_ET` against guessing; in short where its owner wants it so. */
export function readDaInfo(
  tpm: Tpm12,
  entityType: number,
  options?: ExecuteOptions12,
): Promise<TpmDaInfo | TpmDaInfoLimited> {
  const either = eitherVersion('TPM_DA_INFO', TpmDaInfo, TPM_TAG.DA_INFO_LIMITED, TpmDaInfoLimited);
  const subCap = Uint8Array.of(entityType >>> 8, entityType & 0xff);
  return answer(tpm, TPM_CAP.DA_LOGIC, subCap, either, options);
}

function capability<T>(
  tpm: Tpm12,
  capArea: number,
  subCap: number | undefined,
  codec: Codec<T>,
  options: ExecuteOptions12 | undefined,
): Promise<T> {
  return answer(tpm, capArea, subCap === undefined ? new Uint8Array(0) : u32Bytes(subCap), codec, options);
}

async function answer<T>(
  tpm: Tpm12,
  capArea: number,
  subCap: Uint8Array,
  codec: Codec<T>,
  options: ExecuteOptions12 = {},
): Promise<T> {
  const { resp } = await tpm.execute(GetCapability, { capArea, subCap }, options);
  try {
    return decode(codec, resp);
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new TpmError('decode', `decode response to TPM_GetCapability: ${cause.message}`, { cause });
  }
}
