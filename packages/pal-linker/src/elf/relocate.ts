/** Filling in addresses: what each relocation refers to, and the checks that are the same for all machines. */
import { PalLinkerError, type PalLinkerPlace } from '../error.js';
import { STT, UNPLACED } from './constants.js';
import type { Layout, MergedSection, PlacedSection } from './layout.js';
import { type ElfMachine, type ElfSymbol, eachRelocation } from './object.js';
import { needsGotArm, relocateArm } from './relocate-aarch64.js';
import { needsGotX86, relocateX86 } from './relocate-x86-64.js';
import type { LinkedObject, SharedSymbol } from './symbols.js';

/** One relocation to be applied. */
export interface Relocation {
  /** R_*, of the machine. */
  readonly type: number;
  /** The address that is relocated: P in the specifications. */
  readonly place: number;
  /** What it refers to. */
  readonly target: RelocationTarget;
  /** Writes the result. */
  readonly put: RelocationWriter;
  /** The bytes of the input section; instructions may be changed in them. */
  readonly content: Uint8Array;
  /** Where in `content`. */
  readonly offset: number;
}

/** What a relocation refers to. */
interface RelocationTarget {
  /** The symbol's address: S. */
  readonly symbol: number;
  /** An address in the section that the symbol belongs to: it may lie far in front of the symbol. */
  readonly home: () => number;
  /** A. */
  readonly addend: number;
  /** Z. */
  readonly size: number;
  /** The address of the symbol's slot in the global offset table: G + GOT. */
  readonly got: () => number;
  /** The address of the global offset table: GOT. */
  readonly gotBase: number;
}

/** The slots of the global offset table, filled in the order in which relocations ask for them. */
export class GlobalOffsetTable {
  readonly #slots = new Map<SharedSymbol | ElfSymbol, number>();
  readonly #owners: (readonly [LinkedObject, number])[] = [];

  /** For each slot an object and the number of the symbol there. */
  get owners(): readonly (readonly [LinkedObject, number])[] {
    return this.#owners;
  }

  /** Makes a slot for a symbol that has none. */
  add(object: LinkedObject, index: number): void {
    const key = object.shared[index] ?? object.elf.symbols[index];
    if (key === undefined || this.#slots.has(key)) return;
    this.#slots.set(key, this.#owners.length);
    this.#owners.push([object, index]);
  }

  /** The slot of a symbol; `undefined` where none was made. */
  slotOf(object: LinkedObject, index: number): number | undefined {
    const key = object.shared[index] ?? object.elf.symbols[index];
    return key && this.#slots.get(key);
  }
}

/** Whether a relocation needs a slot in the global offset table. */
export type SlotRule = (
  type: number,
  content: Uint8Array,
  offset: number,
  object: LinkedObject,
  symbol: number,
) => boolean;

/** The rule for a machine where every address is known. */
export function slotRuleOf(machine: ElfMachine): SlotRule {
  return machine === 'x86-64' ? needsGotX86 : needsGotArm;
}

/** Finds the slots that the kept sections need. Sections in the order of their objects, so that slots have an order too. */
export function planGot(inputs: Iterable<Omit<PlacedSection, 'address'>>, needsSlot: SlotRule): GlobalOffsetTable {
  const got = new GlobalOffsetTable();
  for (const { object, section } of inputs) {
    eachRelocation(object.elf, section, (type, offset, symbol) => {
      if (needsSlot(type, section.content, offset, object, symbol)) got.add(object, symbol);
    });
  }
  return got;
}

/** The address of a symbol; 0 for one that is weak and that nobody defines. */
export function addressOf(layout: Layout, object: LinkedObject, index: number): number {
  const shared = object.shared[index];
  if (shared) return sharedAddress(layout, shared);
  const symbol = object.elf.symbols[index];
  return symbol === undefined ? 0 : definedAddress(layout, object, symbol);
}

/** An address in the section that a symbol belongs to: where that begins, unless it was merged with others. */
export function homeOf(layout: Layout, object: LinkedObject, index: number): number {
  const { from = object, symbol } = object.shared[index]?.definition ?? { symbol: object.elf.symbols[index] };
  const isOwn = symbol !== undefined && object.shared[index]?.common === undefined;
  const section = isOwn ? layout.addresses.get(from)?.get(symbol.section) : undefined;
  return section ?? addressOf(layout, object, index);
}

/** The address of a shared symbol; 0 for one that is weak and that nobody defines. */
export function sharedAddress(layout: Layout, shared: SharedSymbol): number {
  if (shared.definition) return definedAddress(layout, shared.definition.from, shared.definition.symbol);
  return layout.commons.get(shared) ?? layout.provided.get(shared.name) ?? 0;
}

function definedAddress(layout: Layout, object: LinkedObject, symbol: ElfSymbol): number {
  if (symbol.section === UNPLACED.ABS) return symbol.value;
  const section = layout.addresses.get(object)?.get(symbol.section);
  if (section !== undefined) return section + symbol.value;
  return layout.pieceAddress(object, symbol.section, symbol.value) ?? 0;
}

/** The bytes of a merged section with everything at its place. Throws {@link PalLinkerError} with code `relocation`. */
export function fillSection(
  section: MergedSection,
  layout: Layout,
  got: GlobalOffsetTable,
  machine: ElfMachine,
): Uint8Array<ArrayBuffer> {
  const bytes = baseSection(section, machine);
  if (section.name === 'RODATA') fillGot(bytes, section.address, layout, got);
  const apply = machine === 'x86-64' ? relocateX86 : relocateArm;
  for (const input of section.inputs) {
    const start = input.address - section.address;
    relocateSection(input, { content: bytes.subarray(start, start + input.section.size), layout, got, apply });
  }
  return bytes;
}

/** The bytes of a merged section as the objects have them. */
export function baseSection(
  { name, size, address, inputs }: MergedSection,
  machine: ElfMachine,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  if (name === 'CODE' && machine === 'x86-64') bytes.fill(INT3);
  for (const { section, address: start } of inputs) {
    // Of what is not in the file, zeros.
    if (section.content.length < section.size) bytes.fill(0, start - address, start - address + section.size);
    bytes.set(section.content, start - address);
  }
  return bytes;
}

/** Between functions: whoever jumps there is stopped. On AArch64 zeros are an undefined instruction anyhow. */
const INT3 = 0xcc;

interface Filling {
  readonly content: Uint8Array;
  readonly layout: Layout;
  readonly got: GlobalOffsetTable;
  readonly apply: (relocation: Relocation) => void;
}

function relocateSection({ object, section, address }: PlacedSection, { content, layout, got, apply }: Filling): void {
  const put = new RelocationWriter(content, { object: object.elf.name, section: section.name });
  const context = { layout, got, put, gotBase: layout.got.address };
  eachRelocation(object.elf, section, (type, offset, index, addend) => {
    const target = targetOf(context, object, { type, offset, index, addend });
    apply({ type, place: address + offset, target, put, content, offset });
  });
}

/** What {@link targetOf} looks things up in. */
export interface TargetContext {
  /** Where everything lies. */
  readonly layout: Layout;
  /** The slots. */
  readonly got: GlobalOffsetTable;
  /** Of the section that is relocated. */
  readonly put: RelocationWriter;
  /** The base that distances are counted from. */
  readonly gotBase: number;
}

/** An entry of a table of relocations. */
export interface RelocationEntry {
  /** R_*. */
  readonly type: number;
  /** From the start of the section. */
  readonly offset: number;
  /** The number of the symbol. */
  readonly index: number;
  /** A. */
  readonly addend: number;
}

/** What a relocation refers to; turns `put` to it. */
export function targetOf(
  { layout, got, put, gotBase }: TargetContext,
  object: LinkedObject,
  entry: RelocationEntry,
): RelocationTarget {
  const { type, offset, index, addend } = entry;
  const symbol = object.shared[index]?.definition?.symbol ?? object.elf.symbols[index];
  put.at(type, offset, symbol?.name);
  if (symbol?.type === STT.GNU_IFUNC)
    throw put.refuse('expected a symbol with a fixed address, got an indirect function');
  // The number of a section and an addend together name a piece of it.
  const piece =
    symbol?.type === STT.SECTION ? layout.pieceAddress(object, symbol.section, symbol.value + addend) : undefined;
  return {
    symbol: piece ?? addressOf(layout, object, index),
    home: () => piece ?? homeOf(layout, object, index),
    addend: piece === undefined ? addend : 0,
    size: object.shared[index]?.common?.size ?? symbol?.size ?? 0,
    got: () => {
      const slot = got.slotOf(object, index);
      // Relocations that overlap can make another instruction of the one that the slots were planned for.
      if (slot === undefined) throw put.refuse('expected an instruction that no other relocation changes');
      return layout.got.address + 8 * slot;
    },
    gotBase,
  };
}

function fillGot(bytes: Uint8Array, start: number, layout: Layout, got: GlobalOffsetTable): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [slot, [object, index]] of got.owners.entries())
    view.setBigUint64(layout.got.address - start + 8 * slot, BigInt(addressOf(layout, object, index)), true);
}

/** How a number is written: its bits, and whether it has a sign; `either` stands for "with or without". */
export type NumberForm = 'bits64' | `${'signed' | 'either'}${32 | 16 | 8}` | 'unsigned32';

const FORMS: Readonly<Record<NumberForm, { readonly bits: number; readonly least: number; readonly bound: number }>> = {
  bits64: { bits: 64, least: -(2 ** 63), bound: 2 ** 63 },
  signed32: { bits: 32, least: -(2 ** 31), bound: 2 ** 31 },
  unsigned32: { bits: 32, least: 0, bound: 2 ** 32 },
  either32: { bits: 32, least: -(2 ** 31), bound: 2 ** 32 },
  signed16: { bits: 16, least: -(2 ** 15), bound: 2 ** 15 },
  either16: { bits: 16, least: -(2 ** 15), bound: 2 ** 16 },
  signed8: { bits: 8, least: -(2 ** 7), bound: 2 ** 7 },
  either8: { bits: 8, least: -(2 ** 7), bound: 2 ** 8 },
};

/** Writes the results of relocations into one input section, and checks that they fit. */
export class RelocationWriter {
  readonly #view: DataView;
  readonly #length: number;
  readonly #place: PalLinkerPlace;
  #type = 0;
  #offset = 0;
  #symbol: string | undefined;

  /** For the bytes of one section; `place` names it in errors. */
  constructor(content: Uint8Array, place: PalLinkerPlace) {
    this.#view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    this.#length = content.byteLength;
    this.#place = place;
  }

  /** Turns to the next relocation. */
  at(type: number, offset: number, symbol: string | undefined): void {
    this.#type = type;
    this.#offset = offset;
    this.#symbol = symbol;
  }

  /** A number in one of the forms; `shift` moves the place. */
  number(form: NumberForm, value: number, shift = 0): void {
    const { bits, least, bound } = FORMS[form];
    if (!Number.isSafeInteger(value)) throw this.overflow('a number within 2^53, where sums are exact,', value);
    if (value < least || value >= bound) throw this.overflow(form, value);
    const at = this.#within(shift, bits / 8);
    if (bits === 64) this.#view.setBigInt64(at, BigInt(value), true);
    else if (bits === 32) this.#view.setInt32(at, value, true);
    else if (bits === 16) this.#view.setInt16(at, value, true);
    else this.#view.setInt8(at, value);
  }

  /** The bits of `mask` in the instruction of 32 bits. */
  instruction(mask: number, bits: number): void {
    const at = this.#within(0, 4);
    this.#view.setUint32(at, (this.#view.getUint32(at, true) & ~mask) | bits, true);
  }

  /** An error for a value that does not fit. */
  overflow(expected: string, value: number): PalLinkerError {
    return this.refuse(`expected ${expected} for relocation type ${this.#type}, got ${value}`);
  }

  /** An error for a type that is not known here. */
  unsupported(): PalLinkerError {
    return this.refuse(`expected a relocation that a static image can have, got type ${this.#type}`);
  }

  /** An error at the relocation. */
  refuse(problem: string): PalLinkerError {
    const place = { ...this.#place, symbol: this.#symbol || undefined, offset: this.#offset };
    return new PalLinkerError('relocation', `link PAL: ${problem}`, place);
  }

  #within(shift: number, bytes: number): number {
    const at = this.#offset + shift;
    if (at >= 0 && at + bytes <= this.#length) return at;
    throw this.refuse(`expected a place within ${this.#length} bytes`);
  }
}
