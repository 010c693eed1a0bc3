/** Archives of objects (`.a`), in the form of GNU ar (members, long names, the index of symbols) and in that of BSD. */
import { PalLinkerError } from '../error.js';

/** An archive; members are read when a symbol of theirs is wanted. */
export interface Archive {
  /** What errors call it. */
  readonly name: string;
  /** The offset of the member that defines a symbol, by its name; from the archive's own index. */
  readonly index: ReadonlyMap<string, number>;
  /** All members that are objects, by their offset. */
  readonly members: ReadonlyMap<number, ArchiveMember>;
}

/** One file in an archive. */
interface ArchiveMember {
  /** Such as `memcpy.o`. */
  readonly name: string;
  /** Where its header lies in the archive. */
  readonly offset: number;
  /** Its bytes. */
  readonly content: Uint8Array;
}

const MAGIC = '!<arch>\n';
const THIN = '!<thin>\n';
const HEADER = 60;

/** Whether the bytes begin as an archive does. */
export function isArchive(bytes: Uint8Array): boolean {
  const start = text(bytes.subarray(0, 8));
  return start === MAGIC || start === THIN;
}

/** Reads an archive's members and index. Throws {@link PalLinkerError} with code `object`; a thin archive is refused. */
export function parseArchive(bytes: Uint8Array, name: string): Archive {
  const refuse = (problem: string, offset: number) =>
    new PalLinkerError('object', `read archive: ${problem}`, { object: name, offset });
  if (text(bytes.subarray(0, 8)) === THIN) throw refuse('expected members inside, got a thin archive', 0);
  if (!isArchive(bytes)) throw refuse('expected an archive, got something else', 0);
  const members = new Map<number, ArchiveMember>();
  let longNames: Uint8Array = new Uint8Array(0);
  let index: ReadonlyMap<string, number> = new Map();
  for (let at = 8; at < bytes.length; ) {
    const { rawName, content } = readMember(bytes, at, refuse);
    if (rawName === '//') longNames = content;
    else if (rawName === '/') index = readIndex(content, 4);
    else if (rawName === '/SYM64/') index = readIndex(content, 8);
    else if (rawName.startsWith('#1/')) addBsdMember(members, rawName, content, at, refuse);
    else members.set(at, new NamedMember(rawName, longNames, at, content));
    at += HEADER + content.length + (content.length & 1);
  }
  for (const offset of index.values())
    if (!members.has(offset)) throw refuse(`expected an index of members, got one that names offset ${offset}`, offset);
  return { name, index, members };
}

function readMember(
  bytes: Uint8Array,
  at: number,
  refuse: (problem: string, offset: number) => PalLinkerError,
): { rawName: string; content: Uint8Array } {
  const header = bytes.subarray(at, at + HEADER);
  if (header.length < HEADER || header[58] !== 0x60 || header[59] !== 0x0a)
    throw refuse('expected the header of a member', at);
  const size = text(header.subarray(48, 58)).trimEnd();
  if (!/^\d+$/.test(size)) throw refuse(`expected a size in decimal digits, got ${JSON.stringify(size)}`, at + 48);
  const end = at + HEADER + Number(size);
  if (end > bytes.length) throw refuse(`expected ${size} bytes of a member, got ${bytes.length - at - HEADER}`, at);
  return { rawName: text(header.subarray(0, 16)).trimEnd(), content: bytes.subarray(at + HEADER, end) };
}

/** Errors have no more of a name. */
const MAX_NAME = 1024;

/** A member whose name is made when somebody asks for it: many may stand at one place in the table of long names. */
class NamedMember implements ArchiveMember {
  readonly offset: number;
  readonly content: Uint8Array;
  readonly #raw: string;
  readonly #longNames: Uint8Array;

  constructor(raw: string, longNames: Uint8Array, offset: number, content: Uint8Array) {
    this.offset = offset;
    this.content = content;
    this.#raw = raw;
    this.#longNames = longNames;
  }

  /** `name/`, or `/123` for one that stands at 123 in the table of long names. */
  get name(): string {
    const raw = this.#raw;
    if (!/^\/\d+$/.test(raw)) return raw.endsWith('/') ? raw.slice(0, -1) : raw;
    const from = Number(raw.slice(1));
    const whole = this.#longNames.subarray(from, from + MAX_NAME);
    const end = whole.indexOf(0x0a);
    return text(end < 0 ? whole : whole.subarray(0, end)).replace(/\/$/, '');
  }
}

/** BSD and macOS put a long name in front of the content; their index, `__.SYMDEF`, is made anew from the members. */
function addBsdMember(
  members: Map<number, ArchiveMember>,
  rawName: string,
  content: Uint8Array,
  offset: number,
  refuse: (problem: string, offset: number) => PalLinkerError,
): void {
  const length = /^#1\/\d+$/.test(rawName) ? Number(rawName.slice(3)) : Number.NaN;
  if (!(length <= content.length))
    throw refuse(`expected the length of a name, got ${JSON.stringify(rawName)}`, offset);
  const name = text(content.subarray(0, Math.min(length, MAX_NAME))).replace(/\0+$/, '');
  if (!name.startsWith('__.SYMDEF')) members.set(offset, { name, offset, content: content.subarray(length) });
}

/** The count and that many offsets, big-endian, then as many names that end in zero bytes. */
function readIndex(content: Uint8Array, width: 4 | 8): ReadonlyMap<string, number> {
  const index = new Map<string, number>();
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const number = (at: number) => (width === 4 ? view.getUint32(at) : Number(view.getBigUint64(at)));
  const count = content.length < width ? 0 : Math.min(number(0), Math.floor(content.length / width) - 1);
  const names = text(content.subarray(width * (count + 1))).split('\0');
  for (let i = 0; i < count; i++) {
    const name = names[i];
    if (name !== undefined && !index.has(name)) index.set(name, number(width * (i + 1)));
  }
  return index;
}

function text(bytes: Uint8Array): string {
  return latin1.decode(bytes);
}

const latin1 = new TextDecoder('latin1');
