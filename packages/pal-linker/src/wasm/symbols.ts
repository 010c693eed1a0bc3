/** Which definition each name has over all WebAssembly objects, and which members of archives are needed. Linking.md, "Symbol resolution". */
import { type Archive, isArchive, parseArchive } from '../elf/archive.js';
import type { ObjectFile } from '../elf/symbols.js';
import { PalLinkerError } from '../error.js';
import { SYMBOL_FLAG, SYMBOL_KIND } from './constants.js';
import { isWasm, parseWasmObject, type WasmObject, type WasmSymbol } from './object.js';

/** A name that objects share. */
export interface SharedName {
  /** The name. */
  readonly name: string;
  /** Who defines it, if somebody does. */
  definition: { readonly from: LinkedWasm; readonly symbol: WasmSymbol } | undefined;
}

/** An object that takes part. */
export interface LinkedWasm {
  /** Its content. */
  readonly wasm: WasmObject;
  /** The shared name behind each of its symbols, by number; none for local ones. */
  readonly shared: readonly (SharedName | undefined)[];
  /** Functions and segments of groups that another object gave first, as {@link definitionKey} writes them. */
  readonly discarded: ReadonlySet<string>;
  /** Where it came from, so that the order of output does not depend on the order of discovery. */
  readonly order: readonly [input: number, offset: number];
}

/** All that takes part so far. */
export interface WasmLinkage {
  /** In the order in which they came in. */
  readonly objects: LinkedWasm[];
  /** By name. */
  readonly names: Map<string, SharedName>;
}

interface Opening extends WasmLinkage {
  readonly groups: Set<string>;
  /** Who could define a name: the first archive that has it. */
  readonly lazy: Map<string, OpenArchive>;
  /** Names that somebody refers to, and not weakly. */
  readonly wanted: Set<string>;
}

interface OpenArchive {
  readonly archive: Archive;
  readonly input: number;
  readonly taken: Set<number>;
}

/** Names one function or segment of an object. */
export function definitionKey(kind: number, index: number): string {
  return `${kind} ${index}`;
}

/**
 * Brings in all objects, and members of archives as soon as something refers to a name that they define: in the order in which wasm-ld
 * does, since the first of several weak definitions counts. The order of files matters in nothing else.
 */
export function openWasmLinkage(files: readonly ObjectFile[], roots: readonly string[]): WasmLinkage {
  const opening: Opening = { objects: [], names: new Map(), groups: new Set(), lazy: new Map(), wanted: new Set() };
  for (const [input, { name, content }] of files.entries()) {
    if (isArchive(content)) openArchive(opening, withIndex(parseArchive(content, name)), input);
    else addObject(opening, readObject(content, name), [input, 0]);
  }
  for (const name of roots) want(opening, sharedName(opening, name));
  opening.objects.sort((a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1]);
  return opening;
}

function openArchive(opening: Opening, archive: Archive, input: number): void {
  const open = { archive, input, taken: new Set<number>() };
  for (const name of archive.index.keys()) {
    if (!opening.lazy.has(name)) opening.lazy.set(name, open);
    if (opening.wanted.has(name)) want(opening, sharedName(opening, name));
  }
}

/** Sees to it that a name is defined, if an archive has it. */
function want(opening: Opening, shared: SharedName): void {
  opening.wanted.add(shared.name);
  const member = shared.definition === undefined ? takeMember(opening, shared.name) : undefined;
  if (member) addObject(opening, member.wasm, member.order);
}

/** The shared name, made where it is new. */
export function sharedName({ names }: Pick<WasmLinkage, 'names'>, name: string): SharedName {
  const known = names.get(name);
  if (known) return known;
  const made: SharedName = { name, definition: undefined };
  names.set(name, made);
  return made;
}

function readObject(content: Uint8Array, name: string): WasmObject {
  if (content[0] === 0x42 && content[1] === 0x43) {
    const problem = 'read object: expected WebAssembly code, got bitcode of LLVM (compile without -flto)';
    throw new PalLinkerError('object', problem, { object: name });
  }
  return parseWasmObject(content, name);
}

interface Member {
  readonly wasm: WasmObject;
  readonly order: LinkedWasm['order'];
}

/** Takes the member of an archive that defines `name`, unless it was taken before. */
function takeMember({ lazy }: Opening, name: string): Member | undefined {
  const open = lazy.get(name);
  const offset = open?.archive.index.get(name);
  if (open === undefined || offset === undefined || open.taken.has(offset)) return undefined;
  open.taken.add(offset);
  const member = open.archive.members.get(offset);
  if (member === undefined) return undefined;
  return { wasm: readObject(member.content, `${open.archive.name}(${member.name})`), order: [open.input, offset] };
}

/** Adds an object and, in the midst of its symbols, the members that they want; a stack of its own, because chains may be long. */
function addObject(opening: Opening, wasm: WasmObject, order: LinkedWasm['order']): void {
  const stack = [{ object: link(opening, { wasm, order }), next: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const member = top.next < top.object.wasm.symbols.length ? addSymbol(opening, top.object, top.next++) : stack.pop();
    if (member && 'wasm' in member) stack.push({ object: link(opening, member), next: 0 });
  }
}

function link(opening: Opening, { wasm, order }: Member): LinkedWasm {
  const discarded = new Set<string>();
  for (const { name, functions, segments } of wasm.comdats) {
    if (opening.groups.has(name)) {
      for (const index of functions) discarded.add(definitionKey(SYMBOL_KIND.FUNCTION, index));
      for (const index of segments) discarded.add(definitionKey(SYMBOL_KIND.DATA, index));
    }
    opening.groups.add(name);
  }
  const shared = wasm.symbols.map((symbol) => (isShared(symbol) ? sharedName(opening, symbol.name) : undefined));
  const object: LinkedWasm = { wasm, shared, discarded, order };
  opening.objects.push(object);
  return object;
}

/** Defines one symbol, or gives the member of an archive that has to define it. */
function addSymbol(opening: Opening, object: LinkedWasm, index: number): Member | undefined {
  const symbol = object.wasm.symbols[index];
  const target = object.shared[index];
  if (symbol === undefined || target === undefined) return undefined;
  if (isDefinition(symbol) && !isDiscarded(object, symbol)) {
    define(target, object, symbol);
    return undefined;
  }
  if ((symbol.flags & SYMBOL_FLAG.WEAK) !== 0) return undefined;
  opening.wanted.add(target.name);
  return target.definition === undefined ? takeMember(opening, target.name) : undefined;
}

/** Whether other objects can see it. */
function isShared({ kind, flags }: WasmSymbol): boolean {
  return kind !== SYMBOL_KIND.SECTION && (flags & SYMBOL_FLAG.LOCAL) === 0;
}

function isDefinition({ flags }: WasmSymbol): boolean {
  return (flags & SYMBOL_FLAG.UNDEFINED) === 0;
}

/** Whether it stands in a group that another object gave. */
export function isDiscarded({ discarded }: LinkedWasm, { kind, index, flags }: WasmSymbol): boolean {
  return discarded.size > 0 && (flags & SYMBOL_FLAG.ABSOLUTE) === 0 && discarded.has(definitionKey(kind, index));
}

function define(target: SharedName, from: LinkedWasm, symbol: WasmSymbol): void {
  const { definition: known } = target;
  const isWeak = (symbol.flags & SYMBOL_FLAG.WEAK) !== 0;
  if (known !== undefined && known.symbol.kind !== symbol.kind) throw duplicate(target, from, 'of the same kind');
  if (known !== undefined && isWeak) return;
  if (known !== undefined && (known.symbol.flags & SYMBOL_FLAG.WEAK) === 0) throw duplicate(target, from, 'alone');
  target.definition = { from, symbol };
}

function duplicate({ name, definition }: SharedName, from: LinkedWasm, expected: string): PalLinkerError {
  const problem = `link PAL: expected one definition of ${name} ${expected}, got a second beside that in ${definition?.from.wasm.name}`;
  return new PalLinkerError('duplicate-symbol', problem, { object: from.wasm.name, symbol: name });
}

/** An archive whose maker knew nothing of WebAssembly (GNU ar) gets its index from its members' symbols. */
function withIndex(archive: Archive): Archive {
  if (archive.index.size > 0) return archive;
  const index = new Map<string, number>();
  for (const { content, name, offset } of archive.members.values()) {
    if (!isWasm(content)) continue;
    for (const symbol of parseWasmObject(content, `${archive.name}(${name})`).symbols)
      if (isShared(symbol) && isDefinition(symbol) && !index.has(symbol.name)) index.set(symbol.name, offset);
  }
  return { ...archive, index };
}
