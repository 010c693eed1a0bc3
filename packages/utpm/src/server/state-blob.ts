/** State blobs of the control channel: swtpm's header (`blobheader` of its `swtpm_nvstore.c`), and our own state behind it. */
import { bytes, decode, encode, rest, struct, u8, u16, u32, WireError } from '@casemate/wire';
import { UtpmError } from '../error.js';
import type { StateKey } from './state-key.js';

/** PTM_BLOB_TYPE. */
export const BLOB = { PERMANENT: 1, VOLATILE: 2, SAVESTATE: 3 } as const;

// TPM 1.2 result codes, which swtpm answers with.
const BAD_PARAMETER = 0x03;
const FAIL = 0x09;
const KEY_NOT_FOUND = 0x0d;
const DECRYPT_ERROR = 0x21;
const BAD_DATA_SIZE = 0x2b;
const BAD_VERSION = 0x2e;

const VERSION = 2;
const FLAG = { ENCRYPTED: 0x1, MIGRATION_ENCRYPTED: 0x2, MIGRATION_DATA: 0x4 } as const;
const MAX_BLOB = 512 * 1024;
const MAGIC = new TextEncoder().encode('CASEMATE');

const Header = struct('header', { version: u8, minVersion: u8, headerSize: u16, flags: u16, totalLength: u32 });
const HEADER_SIZE = 10;
const Body = struct('body', { magic: bytes('magic', MAGIC.length), data: rest('data', MAX_BLOB) });

/** The keys of a server: `file` encrypts what it stores, `migration` what it hands out. */
export interface BlobKeys {
  /** The key of the state files. */
  readonly file?: StateKey;
  /** The key of what GET_STATEBLOB gives and SET_STATEBLOB takes. */
  readonly migration?: StateKey;
}

/** A state as GET_STATEBLOB gives it: with a file key it stays encrypted unless `isDecrypted`. */
export function buildBlob(
  state: Uint8Array,
  keys: BlobKeys,
  isDecrypted: boolean,
): { readonly blob: Uint8Array; readonly isEncrypted: boolean } {
  const isEncrypted = keys.file !== undefined && !isDecrypted;
  const inner = isEncrypted && keys.file ? keys.file.seal(state) : state;
  const outer = keys.migration ? keys.migration.seal(inner) : inner;
  const flags =
    FLAG.MIGRATION_DATA |
    (isEncrypted ? FLAG.ENCRYPTED : 0) |
    (keys.migration === undefined ? 0 : FLAG.MIGRATION_ENCRYPTED);
  const totalLength = HEADER_SIZE + MAGIC.length + outer.length;
  const header = encode(Header, { version: VERSION, minVersion: VERSION, headerSize: HEADER_SIZE, flags, totalLength });
  const blob = new Uint8Array(totalLength);
  blob.set(header);
  blob.set(encode(Body, { magic: MAGIC, data: outer }), HEADER_SIZE);
  return { blob, isEncrypted };
}

/** What SET_STATEBLOB was given: a state, nothing (which takes back an earlier one), or the result code of a refusal. */
export type OpenedBlob =
  | { readonly kind: 'state'; readonly state: Uint8Array }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'refused'; readonly code: number };

/** Reads a blob, with swtpm's result code for each way in which it may be wrong. The client controls every byte. */
export function openBlob(blob: Uint8Array, keys: BlobKeys, isSaidEncrypted: boolean): OpenedBlob {
  if (blob.length === 0) return { kind: 'nothing' };
  if (blob.length < HEADER_SIZE) return refused(BAD_PARAMETER);
  const header = decode(Header, blob.subarray(0, HEADER_SIZE));
  if (header.totalLength !== blob.length) return refused(BAD_PARAMETER);
  if (header.minVersion > VERSION) return refused(BAD_VERSION);
  if (header.headerSize !== HEADER_SIZE) return refused(BAD_DATA_SIZE);
  if (blob.length === HEADER_SIZE) return { kind: 'nothing' };
  const data = bodyOf(blob.subarray(HEADER_SIZE));
  if (data === undefined) return refused(FAIL);
  const inner = (header.flags & FLAG.MIGRATION_ENCRYPTED) !== 0 ? unlock(data, keys.migration) : state(data);
  if (inner.kind !== 'state') return inner;
  const isEncrypted = isSaidEncrypted || (header.flags & FLAG.ENCRYPTED) !== 0;
  return isEncrypted ? unlock(inner.state, keys.file) : inner;
}

function bodyOf(body: Uint8Array): Uint8Array | undefined {
  try {
    const { magic, data } = decode(Body, body);
    return magic.every((byte, i) => byte === MAGIC[i]) ? data : undefined;
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

function unlock(data: Uint8Array, key: StateKey | undefined): OpenedBlob {
  if (key === undefined) return refused(KEY_NOT_FOUND);
  try {
    return state(key.open(data));
  } catch (error) {
    if (error instanceof UtpmError) return refused(DECRYPT_ERROR);
    throw error;
  }
}

function state(bytes: Uint8Array): OpenedBlob {
  return { kind: 'state', state: bytes };
}

function refused(code: number): OpenedBlob {
  return { kind: 'refused', code };
}
