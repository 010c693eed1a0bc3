/** Relocatable object files: sections, symbols, relocations and groups. System V ABI (gABI), chapters 4 and 5. */
import { PalLinkerError } from '../error.js';
import { EM, SHF, SHN, SHT, STB, STT, UNPLACED } from './constants.js';
import { ElfBytes, ElfNames } from './reading.js';

/** The machine of an object. */
export type ElfMachine = 'x86-64' | 'aarch64';

/** A section of an object. */
export interface ElfSection {
  /** Its number in the section header table. */
  readonly index: number;
  /** Such as `.text.main`. */
  readonly name: string;
  /** SHT_*. */
  readonly type: number;
  /** SHF_*. */
  readonly flags: number;
  /** Bytes in memory. */
  readonly size: number;
  /** A power of two, 1 to 4096. */
  readonly alignment: number;
  /** Bytes of an entry, where it is a table of such. */
  readonly entrySize: number;
  /** Its bytes; none for SHT_NOBITS. */
  readonly content: Uint8Array;
  /** The table of its relocations, `undefined` where there are none. */
  readonly relocations: ElfBytes | undefined;
}

/** A symbol of an object. */
export interface ElfSymbol {
  /** Its name; empty for sections. */
  readonly name: string;
  /** STB_*. */
  readonly binding: number;
  /** STT_*. */
  readonly type: number;
  /** The number of the section that holds it, or SHN_UNDEF, UNPLACED.ABS, UNPLACED.COMMON. */
  readonly section: number;
  /** Its offset in the section; of what is common its alignment. */
  readonly value: number;
  /** Bytes. */
  readonly size: number;
}

/** Sections of which, over all objects, one set with the same signature is kept. gABI, "Section Groups". */
interface ElfGroup {
  /** The name of the symbol that tells which groups are the same. */
  readonly signature: string;
  /** The numbers of its sections. */
  readonly sections: readonly number[];
}

/** A relocatable object. */
export interface ElfObject {
  /** What errors call it: `counter.o`, or `libc.a(memcpy.o)`. */
  readonly name: string;
  /** What it is for. */
  readonly machine: ElfMachine;
  /** By number; the first is the null section. */
  readonly sections: readonly ElfSection[];
  /** By number; the first is the null symbol. */
  readonly symbols: readonly ElfSymbol[];
  /** Those that have the flag GRP_COMDAT. */
  readonly groups: readonly ElfGroup[];
}

/** One relocation, as {@link eachRelocation} hands it out. */
export type RelocationVisitor = (type: number, offset: number, symbol: number, addend: number) => void;

/** Bytes of an entry: Elf64_Ehdr, Elf64_Shdr, Elf64_Sym, Elf64_Rela. */
const ENTRY = { HEADER: 64, SECTION: 64, SYMBOL: 24, RELOCATION: 24 } as const;
const MACHINES: Readonly<Record<number, ElfMachine>> = { [EM.X86_64]: 'x86-64', [EM.AARCH64]: 'aarch64' };
const MAX_ALIGNMENT = 4096;
const MAX_SECTIONS = 1 << 20;

/** Whether the bytes begin as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/**
 * Reads a relocatable object, ELF64, little-endian, for x86-64 or AArch64. Throws {@link PalLinkerError} with code
 * `object`, and `feature` for what such a file may have and a PAL may not: compressed sections that are loaded.
 */
export function parseElfObject(bytes: Uint8Array, name: string): ElfObject {
  const elf = new ElfBytes(bytes, name);
  const machine = readHeader(elf, bytes);
  const headers = readSectionHeaders(elf);
  const symbols = readSymbols(elf, headers);
  const relocations = relocationTables(elf, headers);
  const names = headers.length === 0 ? undefined : namesIn(elf, headers, sectionNames(elf, headers));
  const sections = headers.map((header, index) => readSection(elf, header, { index, relocations, name, names }));
  return { name, machine, sections, symbols, groups: readGroups(elf, headers, { symbols, sections }) };
}

/** Calls `visit` for each relocation of a section, in the order of the table. */
export function eachRelocation(object: ElfObject, section: ElfSection, visit: RelocationVisitor): void {
  const table = section.relocations;
  if (table === undefined) return;
  const { length } = table.bytes;
  for (let at = 0; at < length; at += ENTRY.RELOCATION) {
    const symbol = table.u32(at + 12);
    if (symbol >= object.symbols.length) throw table.refuse(`expected a symbol's number, got ${symbol}`, at);
    visit(table.u32(at + 8), table.size(at), symbol, table.signed(at + 16));
  }
}

interface SectionHeader {
  readonly name: number;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly alignment: number;
  readonly entrySize: number;
}

function readHeader(elf: ElfBytes, bytes: Uint8Array): ElfMachine {
  if (!isElf(bytes)) throw elf.refuse('expected an ELF file, got something else', 0);
  if (elf.u8(4) !== 2 || elf.u8(5) !== 1) throw elf.refuse('expected ELFCLASS64, little-endian, got another form', 4);
  if (elf.u16(16) !== 1) throw elf.refuse(`expected a relocatable file (ET_REL 1), got type ${elf.u16(16)}`, 16);
  const machine = MACHINES[elf.u16(18)];
  if (machine === undefined) throw elf.refuse(`expected x86-64 (62) or AArch64 (183), got ${elf.u16(18)}`, 18);
  return machine;
}

function readSectionHeaders(elf: ElfBytes): readonly SectionHeader[] {
  const table = elf.size(40);
  if (elf.u16(58) !== ENTRY.SECTION) throw elf.refuse(`expected section headers of 64 bytes, got ${elf.u16(58)}`, 58);
  if (table === 0) return [];
  const first = readSectionHeader(elf, table);
  const count = elf.u16(60) === 0 ? first.size : elf.u16(60); // gABI: the first header holds what does not fit
  if (count > MAX_SECTIONS) throw elf.refuse(`expected at most ${MAX_SECTIONS} sections, got ${count}`, 60);
  return Array.from({ length: count }, (_, i) => readSectionHeader(elf, table + i * ENTRY.SECTION));
}

function readSectionHeader(elf: ElfBytes, at: number): SectionHeader {
  return {
    name: elf.u32(at),
    type: elf.u32(at + 4),
    flags: elf.size(at + 8),
    offset: elf.size(at + 24),
    size: elf.size(at + 32),
    link: elf.u32(at + 40),
    info: elf.u32(at + 44),
    alignment: elf.size(at + 48),
    entrySize: elf.size(at + 56),
  };
}

interface SectionContext {
  readonly index: number;
  readonly relocations: ReadonlyMap<number, ElfBytes>;
  /** Of the object. */
  readonly name: string;
  /** Of the sections. */
  readonly names: ElfNames | undefined;
}

function readSection(
  elf: ElfBytes,
  header: SectionHeader,
  { index, relocations, name: object, names }: SectionContext,
): ElfSection {
  const { type, flags, size, entrySize } = header;
  const name = names?.at(header.name) ?? '';
  const alignment = Math.max(header.alignment, 1);
  if (alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) !== 0) {
    const problem = `read object: expected an alignment of 1 to ${MAX_ALIGNMENT}, a power of two, got ${alignment}`;
    throw new PalLinkerError('object', problem, { object, section: name });
  }
  if ((flags & SHF.ALLOC) !== 0 && (flags & SHF.COMPRESSED) !== 0)
    throw new PalLinkerError('feature', 'read object: load a compressed section', { object, section: name });
  const hasContent = type !== SHT.NOBITS && type !== SHT.NULL;
  const content = hasContent ? elf.slice(header.offset, size) : NOTHING;
  return { index, name, type, flags, size, alignment, entrySize, content, relocations: relocations.get(index) };
}

const NOTHING = new Uint8Array(0);

function sectionNames(elf: ElfBytes, headers: readonly SectionHeader[]): number {
  const index = elf.u16(62);
  return index === SHN.XINDEX ? (headers[0]?.link ?? 0) : index;
}

function namesIn(elf: ElfBytes, headers: readonly SectionHeader[], table: number): ElfNames {
  const strings = headers[table];
  if (strings?.type !== SHT.STRTAB) throw elf.refuse(`expected a string table in section ${table}, got none`, 62);
  const { offset, size } = strings;
  return new ElfNames(elf.slice(offset, size), (problem) => elf.refuse(problem, offset));
}

function readSymbols(elf: ElfBytes, headers: readonly SectionHeader[]): readonly ElfSymbol[] {
  const index = headers.findIndex(({ type }) => type === SHT.SYMTAB);
  const table = headers[index];
  if (table === undefined) return [];
  if (table.size % ENTRY.SYMBOL !== 0)
    throw elf.refuse(`expected symbols of 24 bytes, got ${table.size} in all`, table.offset);
  elf.slice(table.offset, table.size);
  const extended = headers.find(({ type, link }) => type === SHT.SYMTAB_SHNDX && link === index);
  const count = table.size / ENTRY.SYMBOL;
  const names = namesIn(elf, headers, table.link);
  return Array.from({ length: count }, (_, i) => {
    const at = table.offset + i * ENTRY.SYMBOL;
    const given = elf.u16(at + 6);
    const isExtended = given === SHN.XINDEX && extended !== undefined;
    const section = isExtended ? elf.u32(extended.offset + 4 * i) : (SPECIAL.get(given) ?? given);
    if (section >= headers.length || (section >= SHN.LORESERVE && !isExtended))
      throw elf.refuse(`expected a section below ${headers.length}, got ${section}`, at + 6);
    return {
      name: names.at(elf.u32(at)),
      binding: elf.u8(at + 4) >> 4,
      type: elf.u8(at + 4) & 15,
      section,
      value: elf.size(at + 8),
      size: elf.size(at + 16),
    };
  });
}

const SPECIAL: ReadonlyMap<number, number> = new Map([
  [SHN.ABS, UNPLACED.ABS],
  [SHN.COMMON, UNPLACED.COMMON],
]);

function relocationTables(elf: ElfBytes, headers: readonly SectionHeader[]): ReadonlyMap<number, ElfBytes> {
  const tables = new Map<number, ElfBytes>();
  for (const { type, info, offset, size } of headers) {
    const isLoaded = ((headers[info]?.flags ?? 0) & SHF.ALLOC) !== 0;
    if (type === SHT.REL && isLoaded) throw elf.refuse('expected relocations with addends (RELA), got REL', offset);
    if (type !== SHT.RELA || !isLoaded) continue;
    if (size % ENTRY.RELOCATION !== 0) throw elf.refuse(`expected relocations of 24 bytes, got ${size} in all`, offset);
    if (tables.has(info)) throw elf.refuse(`expected one table of relocations for section ${info}, got two`, offset);
    tables.set(info, new ElfBytes(elf.slice(offset, size), 'relocations'));
  }
  return tables;
}

const GRP_COMDAT = 1;

function readGroups(
  elf: ElfBytes,
  headers: readonly SectionHeader[],
  { symbols, sections }: Pick<ElfObject, 'symbols' | 'sections'>,
): readonly ElfGroup[] {
  const groups: ElfGroup[] = [];
  for (const { type, offset, size, info } of headers) {
    if (type !== SHT.GROUP || size < 4 || elf.u32(offset) !== GRP_COMDAT) continue;
    const symbol = symbols[info];
    if (symbol === undefined) throw elf.refuse(`expected a signature symbol, got number ${info}`, offset);
    const signature = symbol.type === STT.SECTION ? (sections[symbol.section]?.name ?? '') : symbol.name;
    const members = Array.from({ length: Math.floor(size / 4) - 1 }, (_, i) => elf.u32(offset + 4 + 4 * i));
    groups.push({ signature, sections: members });
  }
  return groups;
}

/** Whether other objects can see the symbol. */
export function isShared({ binding }: ElfSymbol): boolean {
  return binding === STB.GLOBAL || binding === STB.WEAK || binding === STB.GNU_UNIQUE;
}
