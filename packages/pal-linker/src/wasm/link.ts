/** Linking WebAssembly objects: relocatable objects and archives in, a finished module, and from it a PAL image, out. */
import { Writer } from '@casemate/wire';
import type { MapEntry } from '../elf/map.js';
import type { ObjectFile } from '../elf/symbols.js';
import { PalLinkerError } from '../error.js';
import { varu32, writeVars32 } from '../leb128.js';
import { type LinkPalOptions, linkPal } from '../link.js';
import type { FunctionType } from '../module.js';
import { section, vector, writeSized } from '../module-section.js';
import { integerWithin } from '../parameters.js';
import { PAL_SERVICE_MODULE } from '../services.js';
import { RELOCATION } from './constants.js';
import { planWasmLayout, type WasmLayout } from './layout.js';
import {
  CALL_CONSTRUCTORS,
  findWasmLive,
  functionName,
  functionType,
  type Kept,
  MADE_GLOBALS,
  type Target,
  typeKey,
  type WasmLive,
} from './liveness.js';
import type { RelocatedBytes, WasmRelocation } from './object.js';
import { type LinkedWasm, openWasmLinkage } from './symbols.js';

/** What {@link linkWasmObjects} makes a module from. */
export interface LinkWasmObjectsOptions {
  /** Relocatable objects and archives of clang (`--target=wasm32`) or rustc. Members of archives are taken as they are needed. */
  readonly objects: readonly ObjectFile[];
  /** The service's function, `void pal(uint32_t command, in *, out *, rv *)`; `pal` unless given. */
  readonly entry?: string;
  /** Bytes of the stack; 65,536 unless given. It lies at the beginning of the memory, so that an overflow traps. */
  readonly stackBytes?: number;
  /** Bytes between `__heap_base` and `__heap_end` at the start, at least; 0 unless given. `memory.grow` gets more. */
  readonly heapBytes?: number;
}

/** A finished module and how it came about. */
export interface LinkedWasmModule {
  /** The module: exports the entry and `memory`, imports services alone. */
  readonly module: Uint8Array;
  /** What was kept: functions by their number (`CODE`), data by its address (`RODATA`, `DATA`, `BSS`). */
  readonly map: readonly MapEntry[];
}

/** What {@link linkWasmPal} makes an image from. */
export type LinkWasmPalOptions = LinkWasmObjectsOptions & Omit<LinkPalOptions, 'module'>;

/** An image and how it came about. */
export interface LinkedWasmPal {
  /** The image. */
  readonly image: Uint8Array;
  /** What was kept, as {@link LinkedWasmModule} has it. */
  readonly map: readonly MapEntry[];
}

/**
 * Links relocatable objects into a PAL image: {@link linkWasmObjects}, and then `linkPal`. Throws `PalLinkerError`.
 */
export function linkWasmPal(options: LinkWasmPalOptions): LinkedWasmPal {
  const { module, map } = linkWasmObjects(options);
  const { objects: _objects, stackBytes: _stackBytes, heapBytes: _heapBytes, ...rest } = options;
  return { image: linkPal({ ...rest, module }), map };
}

const MAX_REGION = 256 * 1024 * 1024;
const ENTRY_TYPE: FunctionType = { parameters: [0x7f, 0x7f, 0x7f, 0x7f], results: [] };

/**
 * Links relocatable objects into a finished module. Resolves names over all objects (strong before weak, groups once), takes members
 * from archives on demand, drops functions and data that neither the entry nor a constructor reaches, merges texts, and lays out memory:
 * the stack, constants, data, zeros, the heap. Constructors run once, before the first call of the entry, in the order of their
 * priorities; where objects call `__wasm_call_ctors` themselves, it is left to them. The same inputs give the same bytes.
 *
 * Throws `PalLinkerError`; it names object, section and symbol.
 */
export function linkWasmObjects(options: LinkWasmObjectsOptions): LinkedWasmModule {
  const entry = options.entry ?? 'pal';
  const sizes = {
    stackBytes: integerWithin('stackBytes', options.stackBytes ?? 65536, MAX_REGION, 1024),
    heapBytes: integerWithin('heapBytes', options.heapBytes ?? 0, MAX_REGION),
  };
  if (entry === 'memory') throw new PalLinkerError('input', 'link PAL: entry: expected a name that is not memory');
  const linkage = openWasmLinkage(options.objects, [entry]);
  if (linkage.objects.length === 0) throw new PalLinkerError('input', 'link PAL: expected an object, got none');
  const live = findWasmLive(linkage, [entry]);
  const layout = planWasmLayout(live, sizes);
  const numbers = assignNumbers(live);
  const main = linkage.names.get(entry)?.definition;
  const target: Target | undefined = main && {
    kind: 'function',
    from: main.from,
    index: main.symbol.index - main.from.wasm.functionImports.length,
  };
  const index = main?.symbol.kind === 0 && target ? numbers.functionOf(target) : undefined;
  if (index === undefined)
    throw new PalLinkerError('entry', `link PAL: expected a function, got data named ${entry}`, { symbol: entry });
  const module = writeModule({ live, layout, numbers }, { name: entry, index });
  return { module, map: mapOf(live, layout, numbers) };
}

/** The numbers that everything has in the module. */
interface Numbers {
  readonly types: TypeTable;
  /** Of a function, a service, a function that the linker makes. */
  readonly functionOf: (target: Target) => number;
  /** Of an entry of the table of functions; 0 for what is absent. */
  readonly tableOf: (target: Target) => number;
  /** Of a global; for a function or datum that of a global with its address. */
  readonly globalOf: (target: Target) => number;
  /** Functions in the table, from 1 on. */
  readonly table: readonly Target[];
  /** Functions that stand for weak ones which nobody defines: they trap. */
  readonly stubs: readonly FunctionType[];
  /** Globals with an address, after all others. */
  readonly addresses: readonly Target[];
  /** Whether there is a call through the table. */
  readonly hasTable: boolean;
  /** The function that calls the constructors, if there are any. */
  readonly constructors: number | undefined;
}

class TypeTable {
  readonly list: FunctionType[] = [];
  readonly #known = new Map<string, number>();

  indexOf(type: FunctionType): number {
    const key = typeKey(type);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, this.list.length);
    return this.list.push(type) - 1;
  }
}

const TABLE_TYPES: readonly number[] = [
  RELOCATION.TABLE_INDEX_SLEB,
  RELOCATION.TABLE_INDEX_I32,
  RELOCATION.TABLE_INDEX_REL_SLEB,
];
const NO_TYPE: FunctionType = { parameters: [], results: [] };

function assignNumbers(live: WasmLive): Numbers {
  const types = new TypeTable();
  types.indexOf(ENTRY_TYPE);
  const services = [...live.services.keys()];
  const functions = new Map<string, number>();
  const idOf = identifier();
  for (const [i, name] of services.entries()) functions.set(`service ${name}`, i);
  for (const [i, { from, index }] of live.functions.entries())
    functions.set(idOf({ kind: 'function', from, index }), services.length + i);
  const own = services.length + live.functions.length;
  const stubs: FunctionType[] = [];
  const globals = new Map<string, number>();
  const names = [...live.made].filter((name) => MADE_GLOBALS.has(name)).sort();
  for (const [i, name] of names.entries()) globals.set(`made ${name}`, i);
  for (const [i, { from, index }] of live.globals.entries())
    globals.set(idOf({ kind: 'global', from, index }), names.length + i);
  const addresses: Target[] = [];
  const entries = new Map<string, number>();
  const table: Target[] = [];
  let hasTable = false;
  const enter = (target: Target) => {
    if (target.kind === 'absent' || entries.has(idOf(target))) return;
    entries.set(idOf(target), table.push(target));
  };
  eachRelocation(live, (from, relocation) => {
    if (relocation.type === RELOCATION.TYPE_INDEX_LEB) {
      hasTable = true;
      types.indexOf(from.wasm.types[relocation.index] ?? NO_TYPE);
      return;
    }
    const target = live.targetOf(from, relocation);
    if (TABLE_TYPES.includes(relocation.type)) enter(target);
    if (
      target.kind === 'absent' &&
      (relocation.type === RELOCATION.FUNCTION_INDEX_LEB || relocation.type === RELOCATION.FUNCTION_INDEX_I32)
    ) {
      const key = `absent ${typeKey(target.type ?? NO_TYPE)}`;
      if (!functions.has(key)) functions.set(key, own + stubs.push(target.type ?? NO_TYPE) - 1);
    }
    if (relocation.type !== RELOCATION.GLOBAL_INDEX_LEB || target.kind === 'global' || globals.has(idOf(target)))
      return;
    if (target.kind === 'function' || target.kind === 'service') enter(target);
    globals.set(idOf(target), names.length + live.globals.length + addresses.push(target) - 1);
  });
  const hasConstructors = live.constructors.length > 0 || live.made.has(CALL_CONSTRUCTORS);
  const constructors = hasConstructors ? own + stubs.length : undefined;
  if (constructors !== undefined) functions.set(`made ${CALL_CONSTRUCTORS}`, constructors);
  return {
    types,
    functionOf: (target) =>
      functions.get(target.kind === 'absent' ? `absent ${typeKey(target.type ?? NO_TYPE)}` : idOf(target)) ?? 0,
    tableOf: (target) => entries.get(idOf(target)) ?? 0,
    globalOf: (target) => globals.get(idOf(target)) ?? 0,
    table,
    stubs,
    addresses,
    hasTable: hasTable || table.length > 0,
    constructors,
  };
}

/** One text for each thing that is not the same. */
function identifier(): (target: Target) => string {
  const objects = new Map<LinkedWasm, number>();
  const objectNumber = (from: LinkedWasm) => {
    const known = objects.get(from);
    if (known !== undefined) return known;
    objects.set(from, objects.size);
    return objects.size - 1;
  };
  return (target) => {
    switch (target.kind) {
      case 'function':
      case 'global':
        return `${target.kind} ${objectNumber(target.from)} ${target.index}`;
      case 'data':
        return `data ${objectNumber(target.from)} ${target.segment} ${target.offset}`;
      case 'service':
      case 'made':
        return `${target.kind} ${target.name}`;
      case 'number':
        return `number ${target.value}`;
      default:
        return target.kind;
    }
  };
}

function eachRelocation(live: WasmLive, visit: (from: LinkedWasm, relocation: WasmRelocation) => void): void {
  for (const { from, index } of live.functions)
    for (const relocation of from.wasm.functions[index]?.relocations ?? []) visit(from, relocation);
  for (const { from, index } of live.segments)
    for (const relocation of from.wasm.segments[index]?.relocations ?? []) visit(from, relocation);
}

// Writing: everything is decided; each section is written from the plan.

interface ModulePlan {
  readonly live: WasmLive;
  readonly layout: WasmLayout;
  readonly numbers: Numbers;
}

function writeModule(plan: ModulePlan, entry: { readonly name: string; readonly index: number }): Uint8Array {
  const { live, layout, numbers } = plan;
  const bodies = live.functions.map(({ from, index }) => {
    const code = from.wasm.functions[index] ?? NO_CODE;
    return writeBody(code, (relocation) => numberOf(plan, from, relocation, 0));
  });
  const constructors = numbers.constructors === undefined ? [] : [NO_TYPE];
  const functionTypes = [
    ...live.functions.map(({ from, index }) => functionType(from, index) ?? NO_TYPE),
    ...numbers.stubs,
    ...constructors,
  ];
  const types = functionTypes.map((type) => numbers.types.indexOf(type));
  const imports = [...live.services].map(([name, type]) => ({ name, type: numbers.types.indexOf(type) }));
  const w = new Writer();
  w.u32(0x0061736d, 'magic');
  w.u32(1, 'version', true);
  section(w, 1, (s) => vector(s, numbers.types.list, writeType));
  if (imports.length > 0) section(w, 2, (s) => vector(s, imports, writeImport));
  section(w, 3, (s) => vector(s, types, (x, type) => varu32.write(x, type)));
  if (numbers.hasTable) section(w, 4, (s) => writeTable(s, numbers.table.length + 1));
  section(w, 5, (s) => {
    s.put(Uint8Array.of(1, 0), 'limits');
    varu32.write(s, layout.pages);
  });
  const globals = planGlobals(plan);
  if (globals.length > 0) section(w, 6, (s) => vector(s, globals, (x, bytes) => x.put(bytes, 'global')));
  section(w, 7, (s) => writeExports(s, entry));
  if (numbers.constructors !== undefined && !live.made.has(CALL_CONSTRUCTORS))
    section(w, 8, (s) => varu32.write(s, numbers.constructors ?? 0));
  if (numbers.table.length > 0) section(w, 9, (s) => writeElements(s, numbers));
  const all = [...bodies, ...numbers.stubs.map(() => TRAP), ...constructors.map(() => constructorsBody(plan))];
  section(w, 10, (s) => vector(s, all, writeSized));
  if (layout.content.end > layout.content.start) section(w, 11, (s) => writeData(s, plan));
  return w.finish();
}

const NO_CODE: RelocatedBytes = { content: new Uint8Array(0), relocations: [] };
/** A function without locals that is `unreachable`. */
const TRAP = Uint8Array.of(0, 0, 0x0b);

/** What a relocation puts at its place; `place` is the address of it. */
function numberOf(
  { live, layout, numbers }: ModulePlan,
  from: LinkedWasm,
  relocation: WasmRelocation,
  place: number,
): number {
  const { type, index, addend } = relocation;
  if (type === RELOCATION.TYPE_INDEX_LEB) return numbers.types.indexOf(from.wasm.types[index] ?? NO_TYPE);
  const target = live.targetOf(from, relocation);
  switch (type) {
    case RELOCATION.FUNCTION_INDEX_LEB:
    case RELOCATION.FUNCTION_INDEX_I32:
      return numbers.functionOf(target);
    case RELOCATION.TABLE_INDEX_SLEB:
    case RELOCATION.TABLE_INDEX_I32:
    case RELOCATION.TABLE_INDEX_REL_SLEB:
      return numbers.tableOf(target);
    case RELOCATION.GLOBAL_INDEX_LEB:
    case RELOCATION.GLOBAL_INDEX_I32:
      return numbers.globalOf(target);
    case RELOCATION.TABLE_NUMBER_LEB:
      return 0;
    default:
      return target.kind === 'absent'
        ? 0
        : addressOf(layout, target) + addend - (type === RELOCATION.MEMORY_ADDR_LOCREL_I32 ? place : 0);
  }
}

/** The address of data; what is absent lies at 0. */
function addressOf(layout: WasmLayout, target: Target): number {
  switch (target.kind) {
    case 'data':
      return layout.addressOf(target.from, target.segment, target.offset);
    case 'number':
      return target.value;
    case 'made':
      return layout.made.get(target.name) ?? 0;
    default:
      return 0;
  }
}

const SIGNED: readonly number[] = [
  RELOCATION.TABLE_INDEX_SLEB,
  RELOCATION.MEMORY_ADDR_SLEB,
  RELOCATION.MEMORY_ADDR_REL_SLEB,
  RELOCATION.TABLE_INDEX_REL_SLEB,
];
/** The room that an object leaves for a number of any size. */
const PADDED = 5;

/** A body with its relocations applied, each in as many bytes as it needs. */
function writeBody(
  { content, relocations }: RelocatedBytes,
  value: (relocation: WasmRelocation) => number,
): Uint8Array {
  if (relocations.length === 0) return content;
  const w = new Writer(content.length);
  let copied = 0;
  for (const relocation of relocations) {
    w.put(content.subarray(copied, relocation.offset), 'code');
    copied = relocation.offset + PADDED;
    if (SIGNED.includes(relocation.type)) writeVars32(w, value(relocation));
    else varu32.write(w, value(relocation) >>> 0);
  }
  w.put(content.subarray(copied), 'code');
  return w.finish();
}

function writeType(w: Writer, { parameters, results }: FunctionType): void {
  w.u8(0x60, 'type form');
  vector(w, parameters, (x, value) => x.u8(value, 'value type'));
  vector(w, results, (x, value) => x.u8(value, 'value type'));
}

function writeImport(w: Writer, { name, type }: { readonly name: string; readonly type: number }): void {
  writeSized(w, utf8.encode(PAL_SERVICE_MODULE));
  writeSized(w, utf8.encode(name));
  w.u8(0, 'import kind');
  varu32.write(w, type);
}

const utf8 = new TextEncoder();

function writeTable(w: Writer, entries: number): void {
  w.put(Uint8Array.of(1, 0x70, 1), 'table');
  varu32.write(w, entries);
  varu32.write(w, entries);
}

function writeExports(w: Writer, entry: { readonly name: string; readonly index: number }): void {
  varu32.write(w, 2);
  writeSized(w, utf8.encode(entry.name));
  w.u8(0, 'export kind');
  varu32.write(w, entry.index);
  writeSized(w, utf8.encode('memory'));
  w.u8(2, 'export kind');
  varu32.write(w, 0);
}

function writeElements(w: Writer, { table, functionOf }: Numbers): void {
  w.put(Uint8Array.of(1, 0, 0x41, 1, 0x0b), 'element segment');
  vector(w, table, (x, target) => varu32.write(x, functionOf(target)));
}

/** Each global with its type and value. */
function planGlobals({ live, layout, numbers }: ModulePlan): readonly Uint8Array[] {
  const made = [...live.made].filter((name) => MADE_GLOBALS.has(name)).sort();
  return [
    ...made.map((name) => globalOf(name === '__stack_pointer' ? layout.stackTop : 0, name === '__stack_pointer')),
    ...live.globals.map(definedGlobal),
    ...numbers.addresses.map((target) => {
      const isFunction = target.kind === 'function' || target.kind === 'service';
      return globalOf(isFunction ? numbers.tableOf(target) : addressOf(layout, target), false);
    }),
  ];
}

function definedGlobal({ from, index }: Kept): Uint8Array {
  const { type = I32, isMutable = false, expression = new Uint8Array(0) } = from.wasm.globals[index] ?? {};
  const bytes = new Uint8Array(2 + expression.length);
  bytes.set([type, isMutable ? 1 : 0]);
  bytes.set(expression, 2);
  return bytes;
}

const I32 = 0x7f;

function globalOf(value: number, isMutable: boolean): Uint8Array {
  const w = new Writer(16);
  w.put(Uint8Array.of(I32, isMutable ? 1 : 0, 0x41), 'global');
  writeVars32(w, value);
  w.u8(0x0b, 'end');
  return w.finish();
}

function constructorsBody({ live, numbers }: ModulePlan): Uint8Array {
  const w = new Writer(64);
  w.u8(0, 'locals');
  for (const target of live.constructors) {
    w.u8(0x10, 'call');
    varu32.write(w, numbers.functionOf(target));
    const results = target.kind === 'function' ? (functionType(target.from, target.index)?.results.length ?? 0) : 0;
    for (let i = 0; i < results; i++) w.u8(0x1a, 'drop');
  }
  w.u8(0x0b, 'end');
  return w.finish();
}

/** One segment for all that is not zero. */
function writeData(w: Writer, plan: ModulePlan): void {
  const { start, end } = plan.layout.content;
  const memory = new Uint8Array(end - start);
  const view = new DataView(memory.buffer);
  for (const { from, address, content, relocations } of plan.layout.segments) {
    if (content === undefined) continue;
    memory.set(content, address - start);
    for (const relocation of from === undefined ? [] : relocations) {
      const place = address + relocation.offset;
      if (from) view.setInt32(place - start, numberOf(plan, from, relocation, place) | 0, true);
    }
  }
  w.put(Uint8Array.of(1, 0, 0x41), 'data segment');
  writeVars32(w, start);
  w.u8(0x0b, 'end');
  writeSized(w, memory);
}

function mapOf(live: WasmLive, layout: WasmLayout, numbers: Numbers): readonly MapEntry[] {
  const code = live.functions.map(({ from, index }) => ({
    section: 'CODE',
    address: numbers.functionOf({ kind: 'function', from, index }),
    size: from.wasm.functions[index]?.content.length ?? 0,
    object: from.wasm.name,
    input: functionName(from, index),
  }));
  const data = layout.segments.map(({ from, name, address, size, content }) => ({
    section: content === undefined ? 'BSS' : name.startsWith('.rodata') ? 'RODATA' : 'DATA',
    address,
    size,
    object: from?.wasm.name ?? '(merged)',
    input: name,
  }));
  return [...code, ...data];
}
