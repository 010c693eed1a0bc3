/** Writing tar archives: ustar, with a pax header only where a field does not fit. The same entries give the same bytes. */
import { BLOCK, encodeHeader, MAX_OCTAL_ID, MAX_OCTAL_SIZE, TAR_TYPE, type TarFields } from './tar-header.js';
import { encodePax } from './tar-pax.js';

/** What an image may hold. */
type ImageEntryType = 'file' | 'directory' | 'symlink' | 'hard-link';

/** One entry of an image. */
export interface ImageEntry {
  /** Relative path without `.`, `..` or empty components. */
  readonly path: string;
  /** What it is. */
  readonly type: ImageEntryType;
  /** Permissions and the set-id and sticky bits. */
  readonly mode: number;
  /** Owner. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Bytes of data; 0 unless it is a file. */
  readonly size: number;
  /** Target of a symbolic link as it is; path of the entry that a hard link stands for; empty for anything else. */
  readonly linkPath: string;
}

/** The blocks in front of an entry's data. */
export function encodeEntryHeader(entry: ImageEntry): readonly Uint8Array[] {
  const records = paxRecords(entry);
  const fields: TarFields = {
    name: records.has('path') ? '' : entry.path,
    mode: entry.mode,
    uid: records.has('uid') ? 0 : entry.uid,
    gid: records.has('gid') ? 0 : entry.gid,
    size: records.has('size') ? 0 : entry.size,
    mtime: entry.mtime,
    type: TYPE_BYTES[entry.type],
    linkName: records.has('linkpath') ? '' : entry.linkPath,
  };
  return records.size === 0 ? [encodeHeader(fields)] : [...encodeExtension(records), encodeHeader(fields)];
}

/** Zeros that fill the last block of `size` bytes of data. */
export function padding(size: number): Uint8Array {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

/** The end of an archive: two blocks of zeros. */
export const END_OF_ARCHIVE = new Uint8Array(2 * BLOCK);

function encodeExtension(records: ReadonlyMap<string, string>): readonly Uint8Array[] {
  const data = encodePax(records);
  const fields = { name: 'PaxHeader', mode: 0o644, uid: 0, gid: 0, mtime: 0, linkName: '' };
  return [encodeHeader({ ...fields, size: data.length, type: TAR_TYPE.pax }), data, padding(data.length)];
}

function paxRecords(entry: ImageEntry): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  if (!fitsName(entry.path)) records.set('path', entry.path);
  if (!fitsName(entry.linkPath)) records.set('linkpath', entry.linkPath);
  if (entry.size > MAX_OCTAL_SIZE) records.set('size', String(entry.size));
  if (entry.uid > MAX_OCTAL_ID) records.set('uid', String(entry.uid));
  if (entry.gid > MAX_OCTAL_ID) records.set('gid', String(entry.gid));
  return records;
}

function fitsName(path: string): boolean {
  return new TextEncoder().encode(path).length <= 100;
}

const TYPE_BYTES: Readonly<Record<ImageEntryType, number>> = {
  file: TAR_TYPE.file,
  directory: TAR_TYPE.directory,
  symlink: TAR_TYPE.symlink,
  'hard-link': TAR_TYPE.hardLink,
};
