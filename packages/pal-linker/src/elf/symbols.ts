/** Which definition each name has over all objects, and which members of archives are needed. gABI, "Symbol Table". */
import { PalLinkerError } from '../error.js';
import { type Archive, isArchive, parseArchive } from './archive.js';
import { SHN, STB, STT, UNPLACED } from './constants.js';
import { type ElfMachine, type ElfObject, type ElfSymbol, isElf, isShared, parseElfObject } from './object.js';

/** A name that objects share. */
export interface SharedSymbol {
  /** The name. */
  readonly name: string;
  /** Who defines it, if somebody does. */
  definition: Definition | undefined;
  /** Common: memory that nobody initialises, as much as the largest of all objects that declare it. */
  common: { size: number; alignment: number; readonly from: LinkedObject } | undefined;
}

/** A definition in a section, or of a number. */
interface Definition {
  /** Where. */
  readonly from: LinkedObject;
  /** What. */
  readonly symbol: ElfSymbol;
}

/** An object that takes part. */
export interface LinkedObject {
  /** Its content. */
  readonly elf: ElfObject;
  /** The shared symbol behind each of its symbols, by number; none for local ones. */
  readonly shared: readonly (SharedSymbol | undefined)[];
  /** Sections of groups that another object gave first. */
  readonly discarded: ReadonlySet<number>;
  /** Where it came from, so that the order of output does not depend on the order of discovery. */
  readonly order: readonly [input: number, offset: number];
}

/** A file for the linker. */
export interface ObjectFile {
  /** What errors call it: its path or name. */
  readonly name: string;
  /** A relocatable object or an archive of such. */
  readonly content: Uint8Array;
}

/** All that takes part so far. */
export interface Linkage {
  /** In the order in which they came in. */
  readonly objects: LinkedObject[];
  /** By name. */
  readonly symbols: Map<string, SharedSymbol>;
  /** Those that members can be taken from. */
  readonly archives: readonly OpenArchive[];
  /** The signatures of groups that were taken. */
  readonly signatures: Set<string>;
  /** Names that objects refer to and may lack, or that are common; what is weak asks for nothing. */
  readonly wanted: SharedSymbol[];
}

interface OpenArchive {
  readonly archive: Archive;
  readonly input: number;
  readonly taken: Set<number>;
}

/** What {@link openLinkage} needs to know beside the files. */
export interface LinkageOptions {
  /** Names that must be there: the entry above all. */
  readonly roots: readonly string[];
  /** Whether the linker itself defines a name where no object does; where that begins with `_`, no archive is asked for it. */
  readonly isProvided: (name: string) => boolean;
}

/**
 * Brings in all objects, and then members of archives until no archive has a definition for a name that is wanted: as GNU
 * ld does, but for the order of the files, which does not matter. Throws {@link PalLinkerError}.
 */
export function openLinkage(files: readonly ObjectFile[], { roots, isProvided }: LinkageOptions): Linkage {
  const archives: OpenArchive[] = [];
  const linkage: Linkage = { objects: [], symbols: new Map(), archives, signatures: new Set(), wanted: [] };
  let expected: ElfMachine | undefined;
  for (const [input, { name, content }] of files.entries()) {
    if (isArchive(content)) {
      archives.push({ archive: withIndex(parseArchive(content, name)), input, taken: new Set() });
      continue;
    }
    const elf = parseElfObject(content, name);
    expected ??= elf.machine;
    assertMachine(elf, expected);
    addObject(linkage, elf, [input, 0]);
  }
  for (const name of roots) linkage.wanted.push(sharedSymbol(linkage, name));
  for (let next = linkage.wanted.pop(); next !== undefined; next = linkage.wanted.pop()) {
    // An index may name a member whose group is discarded: then the next one is asked.
    // Of what the linker provides, `end` and its like are names that a program may have too.
    const isAsked = !isProvided(next.name) || !next.name.startsWith('_');
    while (isAsked && !isDefined(next)) if (!pullMember(linkage, next.name)) break;
    if (next.definition === undefined && next.common !== undefined) pullMember(linkage, next.name, definesData);
  }
  return linkage;
}

/** The machine of all objects; `undefined` where there is none yet. */
export function machineOf({ objects }: Linkage): ElfMachine | undefined {
  return objects[0]?.elf.machine;
}

/** The shared symbol of a name, made where it is new. */
export function sharedSymbol({ symbols }: Pick<Linkage, 'symbols'>, name: string): SharedSymbol {
  const known = symbols.get(name);
  if (known) return known;
  const symbol: SharedSymbol = { name, definition: undefined, common: undefined };
  symbols.set(name, symbol);
  return symbol;
}

/** Whether somebody defines it. */
function isDefined({ definition, common }: SharedSymbol): boolean {
  return definition !== undefined || common !== undefined;
}

/** Takes the first member of an archive that defines `name`, as `isWanted` wants it; tells whether there is one. */
function pullMember(
  linkage: Linkage,
  name: string,
  isWanted: (elf: ElfObject, name: string) => boolean = () => true,
): boolean {
  for (const { archive, input, taken } of linkage.archives) {
    const offset = archive.index.get(name);
    if (offset === undefined || taken.has(offset)) continue;
    const member = archive.members.get(offset);
    if (member === undefined) continue;
    const elf = parseElfObject(member.content, `${archive.name}(${member.name})`);
    if (!isWanted(elf, name)) continue;
    taken.add(offset);
    assertMachine(elf, machineOf(linkage) ?? elf.machine);
    addObject(linkage, elf, [input, offset]);
    return true;
  }
  return false;
}

/** GNU ld looks in archives for the data that common memory stands for, but not for functions and what is weak. */
function definesData({ symbols }: ElfObject, name: string): boolean {
  const isData = ({ binding, type, section }: ElfSymbol) =>
    (binding === STB.GLOBAL || binding === STB.GNU_UNIQUE) &&
    type !== STT.FUNC &&
    section !== SHN.UNDEF &&
    section !== UNPLACED.COMMON;
  return symbols.some((symbol) => symbol.name === name && isData(symbol));
}

function addObject(linkage: Linkage, elf: ElfObject, order: LinkedObject['order']): void {
  const discarded = new Set<number>();
  for (const { signature, sections } of elf.groups) {
    if (linkage.signatures.has(signature)) for (const section of sections) discarded.add(section);
    linkage.signatures.add(signature);
  }
  const shared = elf.symbols.map((symbol) => (isShared(symbol) ? sharedSymbol(linkage, symbol.name) : undefined));
  const object: LinkedObject = { elf, shared, discarded, order };
  linkage.objects.push(object);
  for (const [i, symbol] of elf.symbols.entries()) {
    const target = shared[i];
    if (target === undefined) continue;
    if (symbol.section === UNPLACED.COMMON) declareCommon(linkage, target, symbol, object);
    else if (symbol.section !== SHN.UNDEF && !discarded.has(symbol.section)) define(target, { from: object, symbol });
    else if (symbol.binding !== STB.WEAK) linkage.wanted.push(target);
  }
}

/** Common memory gives way to a definition, and takes the place of a weak one. */
function declareCommon({ wanted }: Linkage, target: SharedSymbol, symbol: ElfSymbol, from: LinkedObject): void {
  if (target.definition !== undefined && !isWeak(target.definition)) return;
  wanted.push(target);
  target.definition = undefined;
  const { size, alignment } = target.common ?? { size: 0, alignment: 1 };
  target.common = {
    size: Math.max(size, symbol.size),
    alignment: Math.max(alignment, symbol.value),
    from: target.common?.from ?? from,
  };
}

function define(target: SharedSymbol, definition: Definition): void {
  const { definition: existing } = target;
  if (isWeak(definition)) {
    if (!isDefined(target)) target.definition = definition;
    return;
  }
  if (existing !== undefined && !isWeak(existing)) throw duplicate(target.name, existing, definition);
  target.definition = definition;
  target.common = undefined;
}

function isWeak({ symbol }: Definition): boolean {
  return symbol.binding === STB.WEAK;
}

function duplicate(name: string, first: Definition, second: Definition): PalLinkerError {
  const { elf } = first.from;
  const section = elf.sections[first.symbol.section]?.name;
  const problem = `link PAL: expected one definition of ${name}, got a second beside that in ${elf.name}, section ${section}`;
  const place = { object: second.from.elf.name, section: second.from.elf.sections[second.symbol.section]?.name };
  return new PalLinkerError('duplicate-symbol', problem, { ...place, symbol: name });
}

function assertMachine(elf: ElfObject, expected: ElfMachine): void {
  if (elf.machine === expected) return;
  const problem = `link PAL: expected an object for ${expected}, got one for ${elf.machine}`;
  throw new PalLinkerError('object', problem, { object: elf.name });
}

/** An archive that `ar` made without an index gets one from its members' symbols. */
function withIndex(archive: Archive): Archive {
  if (archive.index.size > 0) return archive;
  const index = new Map<string, number>();
  for (const { content, name, offset } of archive.members.values()) {
    if (!isElf(content)) continue;
    for (const symbol of parseElfObject(content, `${archive.name}(${name})`).symbols)
      if (isShared(symbol) && symbol.section !== SHN.UNDEF && !index.has(symbol.name)) index.set(symbol.name, offset);
  }
  return { ...archive, index };
}
