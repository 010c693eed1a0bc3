/** The classic way of TrustVisor's TEE-SDK: a PAL as one relocatable object with private names, and the linker script that puts it on pages of its own in an application. */
import { PalLinkerError } from '../error.js';
import { integerWithin } from '../parameters.js';
import { SHF, SHN, STT, UNPLACED } from './constants.js';
import { isProvidedName, keptSections, type Layout, MAX_REGION, type MergedSection, planLayout } from './layout.js';
import { findLive } from './liveness.js';
import { type MapEntry, mapOf } from './map.js';
import { planMerges } from './merges.js';
import { type ElfMachine, eachRelocation } from './object.js';
import { encodeRelocatable, type OutputRelocation, type OutputSection, type OutputSymbol } from './relocatable.js';
import {
  addressOf,
  baseSection,
  homeOf,
  planGot,
  RelocationWriter,
  type SlotRule,
  slotRuleOf,
  targetOf,
} from './relocate.js';
import { needsMovableGotX86, refersToSlotX86 } from './relocate-x86-64.js';
import { retargetOf } from './retarget.js';
import {
  type LinkedObject,
  machineOf,
  type ObjectFile,
  openLinkage,
  type SharedSymbol,
  sharedSymbol,
} from './symbols.js';

/** What {@link linkClassic} makes an object from. */
export interface LinkClassicOptions {
  /** Relocatable objects and archives, ELF64, little-endian. Members of archives are taken as they are needed. */
  readonly objects: readonly ObjectFile[];
  /** The PAL's name: letters, digits and `._+-`, beginning with a letter, at most 64 bytes. */
  readonly name: string;
  /** The PAL's function; `pal` unless given. */
  readonly entry?: string;
  /** The name that the application calls it by; that of the function unless given. Two PALs of one program need two. */
  readonly symbol?: string;
  /** Bytes between `__pal_heap_start` and `__pal_heap_end`; 0 unless given. */
  readonly heapBytes?: number;
  /** Whether debuggers see the names of the PAL's own functions and objects, as local symbols; false unless given. */
  readonly keepLocalSymbols?: boolean;
}

/** A PAL for an application's own ELF. */
export interface ClassicPal {
  /** Its name. */
  readonly name: string;
  /** What it is for. */
  readonly machine: ElfMachine;
  /** The name that the application calls. */
  readonly symbol: string;
  /** The relocatable object, for the application's linker. */
  readonly object: Uint8Array;
  /** The linker script for a program with this PAL alone; {@link classicScript} makes one for several. */
  readonly script: string;
  /** What went where; addresses count from the beginning of the section. */
  readonly map: readonly MapEntry[];
}

/** Merged sections lie this far apart in the plan, so that an address tells its section, even one just behind it. */
const GAP = 1 << 16;
const BASE = 1 << 20;
const NAME = /^[A-Za-z][A-Za-z0-9._+-]{0,63}$/;
const SYMBOL = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Links objects for x86-64 or AArch64 into one relocatable object, of which the application's linker (GNU ld, lld) sees a single
 * name, so that the PAL's C library and the application's do not meet. Resolves names over all objects, takes members from archives
 * on demand, drops what the entry does not reach, allocates common symbols, and gives the PAL a table of addresses of its own, because
 * the application's would lie outside of the PAL's pages. TEE-SDK: `pal.mk`, `onepal.mk` and `pal-template.ld`.
 *
 * Throws {@link PalLinkerError}; it names object, section and symbol.
 */
export function linkClassic(options: LinkClassicOptions): ClassicPal {
  const { name, entry = 'pal', symbol = entry } = options;
  assertName('name', name, NAME);
  assertName('symbol', symbol, SYMBOL);
  const heapBytes = integerWithin('heapBytes', options.heapBytes ?? 0, MAX_REGION);
  const linkage = openLinkage(options.objects, { roots: [entry], isProvided });
  const machine = machineOf(linkage);
  if (machine === undefined) throw new PalLinkerError('input', 'link PAL: expected an object, got none');
  const merges = planMerges(findLive(linkage, { roots: [entry], isProvided }), machine);
  const got = planGot(keptSections(merges.live), classicSlots(machine));
  const sizes = { base: BASE, gap: GAP, gotSlots: got.owners.length, heapBytes, stackBytes: 0, parameterBytes: 0 };
  const layout = withBase(planLayout(merges, sizes), machine);
  const start = sharedSymbol(linkage, entry);
  const sections = layout.merged.map((section) => outputSection(section, { name, layout, got, machine }));
  const globals = [entrySymbol(start, layout, symbol)];
  const locals = options.keepLocalSymbols === true ? localSymbols(layout) : [];
  const object = encodeRelocatable({ machine, sections, locals, globals });
  const map = mapOf(layout).map((item) => ({ ...item, address: item.address - startOf(layout, item.section) }));
  return { name, machine, symbol, object, script: classicScript([{ name, machine }]), map };
}

/**
 * The linker script for a program with these PALs: `.SCODE` with the code of all, `.SDATA` with their data, each PAL on pages of its
 * own between `__scode_NAME_start` and `__scode_NAME_end`, `__sdata_NAME_start` and `__sdata_NAME_end` (other characters than letters
 * and digits of a name become `_`); with a single PAL also `__scode_start` and so on. It adds to the linker's own script:
 * `cc … app.o counter.pal.o -T pals.ld`. Throws {@link PalLinkerError} with code `input` where two would have the same names.
 */
export function classicScript(pals: readonly Pick<ClassicPal, 'name' | 'machine'>[]): string {
  for (const { name } of pals) assertName('name', name, NAME);
  const words = pals.map(({ name }) => identifier(name));
  const twin = words.find((word, i) => words.indexOf(word) !== i);
  if (pals.length === 0 || twin !== undefined)
    throw new PalLinkerError('input', `write linker script: expected PALs of different names, got ${twin ?? 'none'}`);
  const filler = pals[0]?.machine === 'x86-64' ? '0xcccccccc' : '0';
  return [
    `/* PALs: ${pals.map(({ name }) => name).join(', ')}. Give the linker their objects, and this file as -T. */`,
    ...output('.SCODE', 'scode', ['.scode'], { pals, filler, after: '.text' }),
    ...output('.SDATA', 'sdata', ['.srodata', '.sdata', '.sbss'], { pals, filler: '0', after: '.data' }),
    '',
  ].join('\n');
}

interface ScriptPlan {
  readonly pals: readonly Pick<ClassicPal, 'name'>[];
  readonly filler: string;
  readonly after: string;
}

function output(
  section: string,
  word: string,
  inputs: readonly string[],
  { pals, filler, after }: ScriptPlan,
): string[] {
  const isSingle = pals.length === 1;
  const bound = (name: string, side: string) => [
    ...(isSingle ? [`    __${word}_${side} = .;`] : []),
    `    __${word}_${identifier(name)}_${side} = .;`,
  ];
  const body = pals.flatMap(({ name }) => [
    ...bound(name, 'start'),
    ...inputs.map((input) => `    KEEP(*(${input}.${name}))`),
    '    . = ALIGN(0x1000);',
    ...bound(name, 'end'),
  ]);
  return [
    'SECTIONS',
    '{',
    `  ${section} : ALIGN(0x1000)`,
    '  {',
    ...body,
    `  } =${filler}`,
    '}',
    `INSERT AFTER ${after};`,
  ];
}

function identifier(name: string): string {
  return name.replace(/[^A-Za-z0-9]/g, '_');
}

function assertName(option: string, value: string, pattern: RegExp): void {
  if (pattern.test(value)) return;
  throw new PalLinkerError('input', `link PAL: ${option}: expected ${pattern.source}, got ${JSON.stringify(value)}`);
}

/** The application gives stacks when it registers the PAL. */
function isProvided(name: string): boolean {
  return isProvidedName(name) && !name.startsWith('__pal_stack_');
}

/** An instruction can compute an address instead of loading it, but a number it has to load. */
function classicSlots(machine: ElfMachine): SlotRule {
  if (machine === 'aarch64') return slotRuleOf(machine);
  return (type, content, offset, object, symbol) =>
    needsMovableGotX86(type, content, offset) || (refersToSlotX86(type) && isNumber(object, symbol));
}

/** Whether a symbol is a number: absolute, or weak and without a definition. */
function isNumber(object: LinkedObject, index: number): boolean {
  const shared = object.shared[index];
  if (shared?.common) return false;
  const symbol = shared === undefined ? object.elf.symbols[index] : shared.definition?.symbol;
  if (symbol === undefined) return shared === undefined || !isBound(shared.name);
  return symbol.section === UNPLACED.ABS || symbol.section === SHN.UNDEF;
}

function isBound(name: string): boolean {
  return isProvided(name) || /^__(?:start|stop)_[A-Za-z_]\w*$/.test(name);
}

/**
 * On x86-64 distances from the table's base are added in code, so that the base is best where the code begins. Bounds of sections
 * that are not there become places too: both the same.
 */
function withBase(layout: Layout, machine: ElfMachine): Layout {
  const code = startOf(layout, 'CODE');
  const provided = [...layout.provided].map(([name, address]): [string, number] => {
    return [name, address === 0 || (machine === 'x86-64' && name === GOT_NAME) ? code : address];
  });
  return { ...layout, provided: new Map(provided) };
}

const GOT_NAME = '_GLOBAL_OFFSET_TABLE_';
const PREFIXES = { CODE: '.scode', RODATA: '.srodata', DATA: '.sdata', BSS: '.sbss' } as const;

interface Output {
  readonly name: string;
  readonly layout: Layout;
  readonly got: ReturnType<typeof planGot>;
  readonly machine: ElfMachine;
}

function outputSection(section: MergedSection, plan: Output): OutputSection {
  const { size, name } = section;
  const isZeroed = name === 'BSS';
  const { content, relocations } = isZeroed ? { content: undefined, relocations: [] } : retarget(section, plan);
  // All data is writable: the application's pages must have the rights that the PAL is to have.
  const flags = SHF.ALLOC | (name === 'CODE' ? SHF.EXECINSTR : SHF.WRITE);
  return {
    name: `${PREFIXES[name]}.${plan.name}`,
    flags,
    content,
    size,
    alignment: alignmentOf(section, plan),
    relocations,
  };
}

/** A page for code and, where distances in a page were counted on, for the table of addresses. */
function alignmentOf({ name, inputs }: MergedSection, { layout, machine }: Output): number {
  if (name === 'CODE' || (name === 'RODATA' && layout.got.slots > 0 && machine === 'aarch64')) return 4096;
  // One by one: there may be more of them than a call may have arguments.
  const all = [...inputs.map(({ section }) => section.alignment), ...commonAlignments(name, layout)];
  return all.reduce((largest, alignment) => Math.max(largest, alignment), 16);
}

function commonAlignments(name: MergedSection['name'], { commons }: Layout): readonly number[] {
  return name === 'BSS' ? [...commons.keys()].map(({ common }) => common?.alignment ?? 1) : [];
}

function retarget(
  merged: MergedSection,
  plan: Output,
): { content: Uint8Array; relocations: readonly OutputRelocation[] } {
  const { layout, got, machine } = plan;
  const content = baseSection(merged, machine);
  const relocations = merged.name === 'RODATA' ? fillSlots(merged, content, plan) : [];
  const apply = retargetOf(machine);
  const gotBase = machine === 'x86-64' ? startOf(layout, 'CODE') : layout.got.address;
  const isNear = (address: number) => sectionAt(layout, address) === merged;
  for (const { object, section, address } of merged.inputs) {
    const start = address - merged.address;
    const bytes = content.subarray(start, start + section.size);
    const put = new RelocationWriter(bytes, { object: object.elf.name, section: section.name });
    eachRelocation(object.elf, section, (type, offset, index, addend) => {
      const target = targetOf({ layout, got, put, gotBase }, object, { type, offset, index, addend });
      const isFixed = isNumber(object, index);
      const open = { type, place: address + offset, target, put, content: bytes, offset, isFixed, isNear };
      const kept = apply(open);
      if (kept === undefined) return;
      const place = start + offset + kept.shift;
      relocations.push({ offset: place, type: kept.type, ...baseOf(layout, kept) });
    });
  }
  return { content, relocations: relocations.sort((a, b) => a.offset - b.offset) };
}

/** The table of addresses: numbers as they are, everything else filled in by the application's linker. */
function fillSlots(merged: MergedSection, content: Uint8Array, { layout, got, machine }: Output): OutputRelocation[] {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  return got.owners.flatMap(([object, index], slot) => {
    const target = addressOf(layout, object, index);
    const offset = layout.got.address - merged.address + 8 * slot;
    const home = homeOf(layout, object, index);
    const type = machine === 'x86-64' ? 1 : 257;
    if (!isNumber(object, index))
      return [{ offset, type, ...baseOf(layout, { target, home, addend: 0, isFixed: false }) }];
    view.setBigUint64(offset, BigInt(target), true);
    return [];
  });
}

interface Destination {
  readonly target: number;
  readonly home: number;
  readonly addend: number;
  readonly isFixed: boolean;
}

function baseOf(
  layout: Layout,
  { target, home, addend, isFixed }: Destination,
): Pick<OutputRelocation, 'base' | 'addend'> {
  if (isFixed) return { base: { fixed: target }, addend };
  const section = sectionAt(layout, home);
  return { base: layout.merged.indexOf(section), addend: addend + target - section.address };
}

/** The section an address belongs to; the gaps belong to the section before them. */
function sectionAt({ merged }: Layout, address: number): MergedSection {
  const found = merged.findLast((section) => section.address <= address) ?? merged[0];
  if (found === undefined) throw new PalLinkerError('entry', 'link PAL: expected code, got nothing');
  return found;
}

function startOf({ merged }: Layout, name: string): number {
  return merged.find((section) => section.name === name)?.address ?? 0;
}

function entrySymbol(shared: SharedSymbol, layout: Layout, name: string): OutputSymbol {
  const { definition } = shared;
  const address = definition && layout.addresses.get(definition.from)?.get(definition.symbol.section);
  const code = layout.merged.find((section) => section.name === 'CODE');
  if (definition === undefined || address === undefined || code === undefined || sectionAt(layout, address) !== code)
    throw new PalLinkerError('entry', `link PAL: expected a function, got ${shared.name} outside of the code`, {
      symbol: shared.name,
    });
  const { value, size } = definition.symbol;
  return { name, type: STT.FUNC, section: layout.merged.indexOf(code), value: address + value - code.address, size };
}

const PRINTABLE = /^[!-~]+$/;

function localSymbols(layout: Layout): readonly OutputSymbol[] {
  const places = new Map<LinkedObject, Map<number, { readonly section: number; readonly start: number }>>();
  for (const [section, merged] of layout.merged.entries()) {
    for (const { object, section: input, address } of merged.inputs) {
      const known = places.get(object) ?? new Map();
      places.set(object, known.set(input.index, { section, start: address - merged.address }));
    }
  }
  return [...places].flatMap(([object, sections]) =>
    object.elf.symbols.flatMap(({ name, type, value, size, section }) => {
      const place = isNamed(name, type) ? sections.get(section) : undefined;
      return place ? [{ name, type, section: place.section, value: place.start + value, size }] : [];
    }),
  );
}

function isNamed(name: string, type: number): boolean {
  return (type === STT.FUNC || type === STT.OBJECT) && PRINTABLE.test(name);
}
