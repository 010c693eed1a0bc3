/**
 * Context files of tpm2-tools (`tpm2_createprimary -c key.ctx`): the saved context of an object (Part 2, section 14) with its public area,
 * in the form that the tools have had since version 4. The enclosed form is that of the ESYS layer of tpm2-tss.
 */
import { decode, encode, oneOf, sized, struct, u16, u32, u64 } from '@casemate/wire';
import { ContextLoad, ContextSave } from './commands/context.js';
import { defaultHashes } from './default-crypto.js';
import { assertName, nameOf } from './name.js';
import { openTransient, type TpmObject } from './object.js';
import { TpmError } from './response-code.js';
import { Tpm2bContextData, type TpmsContext } from './structures/context.js';
import { Tpm2bName } from './structures/digests.js';
import { TpmiDhSaved, TpmiRhHierarchyOrNull } from './structures/handles.js';
import { Tpm2bPublic, type TpmtPublic } from './structures/public.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** What a context file holds. Only the TPM that saved it can load it, and only until that is reset or cleared. */
export interface ContextFile {
  /** The object's context as TPM2_ContextSave gives it. */
  readonly context: TpmsContext;
  /** Its public area. */
  readonly public: TpmtPublic;
}

/**
 * Reads a context file of an object. Throws `TpmError` `decode` for a file of another kind, and `integrity` for one whose Name is
 * not that of its public area; `WireError` for one that is not whole, or of a session.
 */
export function parseContextFile(bytes: Uint8Array): ContextFile {
  const { magic, version } = decode(Start, bytes.slice(0, 8));
  if (magic !== MAGIC || version !== VERSION) throw refused(`expected the header 0xbadcc0de of version ${VERSION}`);
  const { hierarchy, savedHandle, sequence, contextBlob } = decode(File, bytes);
  const { tpmContext, name, public: area } = contextBlob;
  assertName('parse context file', nameOf(area, defaultHashes), name);
  return { context: { sequence, savedHandle, hierarchy, contextBlob: tpmContext }, public: area };
}

/** A context file as tpm2-tools read it. */
export function encodeContextFile({ context, public: area }: ContextFile): Uint8Array {
  const { hierarchy, savedHandle, sequence, contextBlob: tpmContext } = context;
  const object = { handle: savedHandle, name: nameOf(area, defaultHashes), kind: KEY, public: area } as const;
  const contextBlob = { reserved: 0, tpmContext, size: 0, ...object } as const;
  return encode(File, { magic: MAGIC, version: VERSION, hierarchy, savedHandle, sequence, contextBlob });
}

/** Saves a loaded object as a context file, with which `tpm2_sign -c` and the other tools use it; it stays loaded. */
export async function saveContextFile(tpm: Tpm, object: TpmObject, options: ExecuteOptions = {}): Promise<Uint8Array> {
  const { context } = await tpm.execute(ContextSave, { saveHandle: object.handle }, options);
  return encodeContextFile({ context, public: object.public });
}

/**
 * Loads an object from a context file; `auth` is its authorization value, for its later use. Throws as {@link parseContextFile}; `TpmError`
 * `integrity` where the TPM has loaded another object than the file names, and what {@link Tpm.execute} throws where it refuses the file.
 */
export async function loadContextFile(
  tpm: Tpm,
  file: Uint8Array,
  options: ExecuteOptions & { readonly auth?: Uint8Array | string } = {},
): Promise<TpmObject> {
  const { context, public: area } = parseContextFile(file);
  const { loadedHandle } = await tpm.execute(ContextLoad, { context }, options);
  return await openTransient(tpm, 'load context file', loadedHandle, area, options);
}

function refused(problem: string): TpmError {
  return new TpmError('decode', `parse context file: ${problem}`);
}

const MAGIC = 0xbadcc0de;
const VERSION = 1;
/** What ESYS calls a resource that has a public area. */
const KEY = 1;

const Start = struct('header', { magic: u32, version: u32 });
const EsysContext = struct('IESYS_CONTEXT_DATA', {
  reserved: oneOf('reserved', u32, [0]),
  tpmContext: Tpm2bContextData,
  // ESYS neither fills it in nor looks at it.
  size: u16,
  handle: u32,
  name: Tpm2bName,
  kind: oneOf('resource type', u32, [KEY]),
  public: Tpm2bPublic,
});
const File = struct('context file', {
  magic: u32,
  version: u32,
  hierarchy: TpmiRhHierarchyOrNull,
  savedHandle: TpmiDhSaved,
  sequence: u64,
  contextBlob: sized('contextBlob', u16, EsysContext),
});
