/** NV indexes: defining, reading, writing, removing. TPM 1.2 Main Part 2, clause 19; Part 3, clause 20. */
import { concat } from '../bytes.js';
import { readNvPublic } from './capability.js';
import type { Authorization12, ExecuteOptions12, Tpm12 } from './client.js';
import { NvDefineSpace, NvReadValue, NvReadValueAuth, NvWriteValue, NvWriteValueAuth } from './commands/nv.js';
import { TPM_NV_INDEX, TPM_TAG } from './constants.js';
import { type Binding12, pcrInfoShort } from './pcr.js';
import { wellKnownSecret } from './secret.js';
import type { TpmNvDataPublic } from './structures/nv.js';
import type { TpmPcrInfoShort } from './structures/pcr.js';

/** What index to define. */
export interface NvDefineOptions12 extends ExecuteOptions12 {
  /** Its number. */
  readonly index: number;
  /** Its size in bytes. */
  readonly size: number;
  /** Who may read and write, bits of `TPM_NV_PER`. With none of them set, `read` and `write` alone protect it. */
  readonly permission: number;
  /** PCRs and localities that reading is bound to. Default: none, and all. */
  readonly read?: Binding12;
  /** PCRs and localities that writing is bound to. Default: none, and all. */
  readonly write?: Binding12;
  /** Its own secret, for AUTHREAD and AUTHWRITE. Default: the well-known one. */
  readonly secret?: Uint8Array;
  /** The owner's authorisation: a secret, or an OSAP session for the owner. None while the TPM has no owner. */
  readonly owner?: Authorization12 | undefined;
}

/** How an index is read or written: by the owner, by its own secret, or by nobody in particular. */
export interface NvAccess12 extends ExecuteOptions12 {
  /** The owner's authorisation, for OWNERREAD and OWNERWRITE. */
  readonly owner?: Authorization12;
  /** The index's own secret, for AUTHREAD and AUTHWRITE. */
  readonly secret?: Authorization12;
}

/** Defines an index, and gives its public area. An index that is there already is not replaced but refused by the TPM's owner check. */
export async function nvDefine12(tpm: Tpm12, options: NvDefineOptions12): Promise<TpmNvDataPublic> {
  const pcrInfoRead = await pcrInfoShort(tpm, options.read ?? {}, options);
  const pcrInfoWrite = await pcrInfoShort(tpm, options.write ?? {}, options);
  const pubInfo = publicArea(options.index, options.size, options.permission, pcrInfoRead, pcrInfoWrite);
  const encAuth = options.secret ?? wellKnownSecret();
  await tpm.execute(NvDefineSpace, { pubInfo, encAuth, ownerAuth: options.owner }, options);
  return pubInfo;
}

/** Removes an index and what is in it. */
export async function nvRelease12(
  tpm: Tpm12,
  index: number,
  options: ExecuteOptions12 & { readonly owner?: Authorization12 } = {},
): Promise<void> {
  const { permission, pcrInfoRead, pcrInfoWrite } = await readNvPublic(tpm, index, options);
  const pubInfo = publicArea(index, 0, permission.attributes, pcrInfoRead, pcrInfoWrite);
  await tpm.execute(NvDefineSpace, { pubInfo, encAuth: wellKnownSecret(), ownerAuth: options.owner }, options);
}

/** Ends the time in which NV needs no authorisation, as manufacturers do. There is no way back. */
export async function nvLock12(tpm: Tpm12, options: ExecuteOptions12 = {}): Promise<void> {
  const everybody = await pcrInfoShort(tpm, {}, options);
  const pubInfo = publicArea(TPM_NV_INDEX.LOCK, 0, 0, everybody, everybody);
  await tpm.execute(NvDefineSpace, { pubInfo, encAuth: wellKnownSecret() }, options);
}

/** Reads from an index: `size` bytes from `offset`, or the rest of it. */
export async function nvRead12(
  tpm: Tpm12,
  index: number,
  options: NvAccess12 & { readonly offset?: number; readonly size?: number } = {},
): Promise<Uint8Array> {
  const { offset = 0 } = options;
  const size = options.size ?? (await readNvPublic(tpm, index, options)).dataSize - offset;
  const parts: Uint8Array[] = [];
  for (let done = 0; done < size; done += CHUNK) {
    const part = { nvIndex: index, offset: offset + done, dataSize: Math.min(CHUNK, size - done) };
    parts.push(await readPart(tpm, part, options));
  }
  return concat(...parts);
}

/** Writes to an index from `offset` on. Nothing at all locks it where its permissions say so. */
export async function nvWrite12(
  tpm: Tpm12,
  index: number,
  data: Uint8Array,
  options: NvAccess12 & { readonly offset?: number } = {},
): Promise<void> {
  const { offset = 0 } = options;
  for (let done = 0; done === 0 || done < data.length; done += CHUNK) {
    const part = { nvIndex: index, offset: offset + done, data: data.subarray(done, done + CHUNK) };
    await writePart(tpm, part, options);
  }
}

/** Bytes that every TPM takes and gives at once. */
const CHUNK = 512;

async function readPart(
  tpm: Tpm12,
  part: { readonly nvIndex: number; readonly offset: number; readonly dataSize: number },
  options: NvAccess12,
): Promise<Uint8Array> {
  if (options.secret === undefined) {
    return (await tpm.execute(NvReadValue, { ...part, ownerAuth: options.owner }, options)).data;
  }
  return (await tpm.execute(NvReadValueAuth, { ...part, authHmac: options.secret }, options)).data;
}

async function writePart(
  tpm: Tpm12,
  part: { readonly nvIndex: number; readonly offset: number; readonly data: Uint8Array },
  options: NvAccess12,
): Promise<void> {
  if (options.secret === undefined) {
    await tpm.execute(NvWriteValue, { ...part, ownerAuth: options.owner }, options);
    return;
  }
  await tpm.execute(NvWriteValueAuth, { ...part, authValue: options.secret }, options);
}

function publicArea(
  nvIndex: number,
  dataSize: number,
  attributes: number,
  pcrInfoRead: TpmPcrInfoShort,
  pcrInfoWrite: TpmPcrInfoShort,
): TpmNvDataPublic {
  return {
    tag: TPM_TAG.NV_DATA_PUBLIC,
    nvIndex,
    pcrInfoRead,
    pcrInfoWrite,
    permission: { tag: TPM_TAG.NV_ATTRIBUTES, attributes },
    bReadSTClear: false,
    bWriteSTClear: false,
    bWriteDefine: false,
    dataSize,
  };
}
