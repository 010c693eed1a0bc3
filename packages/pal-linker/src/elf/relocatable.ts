/** Writing a relocatable object file. System V ABI (gABI), chapters 4 and 5. */
import { EM, SHF, SHN, SHT, STB, STT } from './constants.js';
import type { ElfMachine } from './object.js';

/** A section that is written. */
export interface OutputSection {
  /** Such as `.scode.counter`. */
  readonly name: string;
  /** SHF_*. */
  readonly flags: number;
  /** Its bytes; `undefined` for zeroed memory. */
  readonly content: Uint8Array | undefined;
  /** Bytes in memory. */
  readonly size: number;
  /** A power of two. */
  readonly alignment: number;
  /** What the next linker fills in, in the order of places. */
  readonly relocations: readonly OutputRelocation[];
}

/** A relocation that is written. */
export interface OutputRelocation {
  /** From the start of the section. */
  readonly offset: number;
  /** R_*. */
  readonly type: number;
  /** The number of the section it refers to, in the order of {@link OutputObject.sections}; or a number of its own. */
  readonly base: number | { readonly fixed: number };
  /** What is added. */
  readonly addend: number;
}

/** A name that is written. */
export interface OutputSymbol {
  /** ASCII. */
  readonly name: string;
  /** STT_*. */
  readonly type: number;
  /** The section, in the order of {@link OutputObject.sections}. */
  readonly section: number;
  /** From the start of the section. */
  readonly value: number;
  /** Bytes. */
  readonly size: number;
}

/** An object that is written. */
export interface OutputObject {
  /** What it is for. */
  readonly machine: ElfMachine;
  /** In their order. */
  readonly sections: readonly OutputSection[];
  /** Names that only debuggers see. */
  readonly locals: readonly OutputSymbol[];
  /** Names that the next linker sees. */
  readonly globals: readonly OutputSymbol[];
}

/** The bytes of the object: the header, sections, relocations, symbols and names, then the table of sections. */
export function encodeRelocatable(object: OutputObject): Uint8Array {
  const { sections, machine } = object;
  const symbols = new SymbolTable(object);
  const relocated = sections.flatMap(({ relocations }, i) => (relocations.length > 0 ? [i] : []));
  const symbolTable = 1 + sections.length + relocated.length + 1;
  const tables = relocated.map((i): Entry => {
    const { name, relocations } = sections[i] ?? NO_SECTION;
    const content = encodeRelocations(relocations, symbols);
    return {
      ...ENTRY,
      name: `.rela${name}`,
      type: SHT.RELA,
      flags: SHF.INFO_LINK,
      content,
      link: symbolTable,
      info: i + 1,
      alignment: 8,
      entrySize: 24,
    };
  });
  const entries: readonly Entry[] = [
    { ...ENTRY, type: SHT.NULL, alignment: 0 },
    ...sections.map(loaded),
    ...tables,
    { ...ENTRY, name: '.note.GNU-stack' },
    {
      ...ENTRY,
      name: '.symtab',
      type: SHT.SYMTAB,
      content: symbols.encode(),
      link: symbolTable + 1,
      info: symbols.firstGlobal,
      alignment: 8,
      entrySize: 24,
    },
    { ...ENTRY, name: '.strtab', type: SHT.STRTAB, content: symbols.names.encode() },
  ];
  return encodeFile(entries, machine);
}

interface Entry {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly content: Uint8Array | undefined;
  readonly size?: number;
  readonly link: number;
  readonly info: number;
  readonly alignment: number;
  readonly entrySize: number;
}

const NOTHING = new Uint8Array(0);
const ENTRY: Entry = {
  name: '',
  type: SHT.PROGBITS,
  flags: 0,
  content: NOTHING,
  link: 0,
  info: 0,
  alignment: 1,
  entrySize: 0,
};
const NO_SECTION: OutputSection = { name: '', flags: 0, content: NOTHING, size: 0, alignment: 1, relocations: [] };

function loaded({ name, flags, content, size, alignment }: OutputSection): Entry {
  return { ...ENTRY, name, flags, content, size, alignment, type: content ? SHT.PROGBITS : SHT.NOBITS };
}

function encodeRelocations(relocations: readonly OutputRelocation[], symbols: SymbolTable): Uint8Array {
  const table = fields(24 * relocations.length);
  for (const [i, { offset, type, base, addend }] of relocations.entries()) {
    table.setBigUint64(24 * i, BigInt(offset), true);
    table.setUint32(24 * i + 8, type, true);
    table.setUint32(24 * i + 12, symbols.indexOf(base), true);
    table.setBigInt64(24 * i + 16, BigInt(addend), true);
  }
  return bytesOf(table);
}

/** The null symbol, one for each section, numbers, local names, and then what is global. */
class SymbolTable {
  readonly names = new NameTable();
  readonly #object: OutputObject;
  /** Numbers that relocations refer to, each with its place among them. */
  readonly #fixed: ReadonlyMap<number, number>;

  constructor(object: OutputObject) {
    this.#object = object;
    const used = object.sections.flatMap(({ relocations }) => relocations.map(({ base }) => base));
    const fixed = new Set(used.flatMap((base) => (typeof base === 'number' ? [] : [base.fixed])));
    this.#fixed = new Map([...fixed].map((value, i) => [value, i]));
  }

  get firstGlobal(): number {
    return 1 + this.#object.sections.length + this.#fixed.size + this.#object.locals.length;
  }

  indexOf(base: OutputRelocation['base']): number {
    if (typeof base === 'number') return 1 + base;
    return 1 + this.#object.sections.length + (this.#fixed.get(base.fixed) ?? 0);
  }

  encode(): Uint8Array {
    const { sections, locals, globals } = this.#object;
    const rows: readonly (readonly [string, number, number, number, number])[] = [
      ['', 0, SHN.UNDEF, 0, 0],
      ...sections.map((_, i) => ['', STT.SECTION, 1 + i, 0, 0] as const),
      ...[...this.#fixed.keys()].map((value) => ['', STT.NOTYPE, SHN.ABS, value, 0] as const),
      ...locals.map((s) => [s.name, s.type, 1 + s.section, s.value, s.size] as const),
      ...globals.map((s) => [s.name, (STB.GLOBAL << 4) | s.type, 1 + s.section, s.value, s.size] as const),
    ];
    const table = fields(24 * rows.length);
    for (const [i, [name, info, section, value, size]] of rows.entries()) {
      table.setUint32(24 * i, this.names.offsetOf(name), true);
      table.setUint8(24 * i + 4, info);
      table.setUint16(24 * i + 6, section, true);
      table.setBigUint64(24 * i + 8, BigInt(value), true);
      table.setBigUint64(24 * i + 16, BigInt(size), true);
    }
    return bytesOf(table);
  }
}

/** A string table; the empty name stands first. */
class NameTable {
  readonly #offsets = new Map([['', 0]]);
  #text = '\0';

  offsetOf(name: string): number {
    const known = this.#offsets.get(name);
    if (known !== undefined) return known;
    const offset = this.#text.length;
    this.#offsets.set(name, offset);
    this.#text += `${name}\0`;
    return offset;
  }

  encode(): Uint8Array {
    return new TextEncoder().encode(this.#text);
  }
}

const MACHINES: Readonly<Record<ElfMachine, number>> = { 'x86-64': EM.X86_64, aarch64: EM.AARCH64 };

function encodeFile(entries: readonly Entry[], machine: ElfMachine): Uint8Array {
  const names = new NameTable();
  const all = [...entries, { ...ENTRY, name: '.shstrtab', type: SHT.STRTAB }];
  for (const { name } of all) names.offsetOf(name);
  const filled = all.map((entry, i) => (i === entries.length ? { ...entry, content: names.encode() } : entry));
  let end = 64;
  const offsets = filled.map(({ content, alignment }) => {
    // Page alignment is a matter of memory, not of the file.
    const start = alignUp(end, Math.min(Math.max(alignment, 1), 16));
    end = start + (content?.length ?? 0);
    return start;
  });
  const table = alignUp(end, 8);
  const file = fields(table + 64 * filled.length);
  const bytes = bytesOf(file);
  encodeHeader(file, machine, table, filled.length);
  for (const [i, entry] of filled.entries()) {
    const offset = entry.type === SHT.NULL ? 0 : (offsets[i] ?? 0);
    if (entry.content) bytes.set(entry.content, offset);
    encodeSectionHeader(file, table + 64 * i, entry, { name: names.offsetOf(entry.name), offset });
  }
  return bytes;
}

function encodeHeader(file: DataView, machine: ElfMachine, table: number, count: number): void {
  file.setUint32(0, 0x7f454c46);
  file.setUint8(4, 2); // ELFCLASS64
  file.setUint8(5, 1); // ELFDATA2LSB
  file.setUint8(6, 1); // EV_CURRENT
  file.setUint16(16, 1, true); // ET_REL
  file.setUint16(18, MACHINES[machine], true);
  file.setUint32(20, 1, true);
  file.setBigUint64(40, BigInt(table), true);
  file.setUint16(52, 64, true);
  file.setUint16(58, 64, true);
  file.setUint16(60, count, true);
  file.setUint16(62, count - 1, true);
}

function encodeSectionHeader(file: DataView, at: number, entry: Entry, place: { name: number; offset: number }): void {
  const { type, flags, content, size = content?.length ?? 0, link, info, alignment, entrySize } = entry;
  file.setUint32(at, place.name, true);
  file.setUint32(at + 4, type, true);
  file.setBigUint64(at + 8, BigInt(flags), true);
  file.setBigUint64(at + 24, BigInt(place.offset), true);
  file.setBigUint64(at + 32, BigInt(size), true);
  file.setUint32(at + 40, link, true);
  file.setUint32(at + 44, info, true);
  file.setBigUint64(at + 48, BigInt(alignment), true);
  file.setBigUint64(at + 56, BigInt(entrySize), true);
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

function fields(size: number): DataView<ArrayBuffer> {
  return new DataView(new ArrayBuffer(size));
}

function bytesOf(view: DataView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer);
}
