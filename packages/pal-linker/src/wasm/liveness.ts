/** What a PAL of WebAssembly objects needs: the functions and data that its entry reaches, and what each relocation refers to. */
import { PalLinkerError, type PalLinkerPlace } from '../error.js';
import type { FunctionType } from '../module.js';
import { PAL_SERVICE_MODULE } from '../services.js';
import { UndefinedNames } from '../undefined-names.js';
import { RELOCATION, SEGMENT, SYMBOL_FLAG, SYMBOL_KIND } from './constants.js';
import type { RelocatedBytes, WasmRelocation, WasmSymbol } from './object.js';
import {
  definitionKey,
  isDiscarded,
  type LinkedWasm,
  type SharedName,
  sharedName,
  type WasmLinkage,
} from './symbols.js';

/** What a symbol stands for. */
export type Target =
  | { readonly kind: 'function'; readonly from: LinkedWasm; readonly index: number }
  | { readonly kind: 'data'; readonly from: LinkedWasm; readonly segment: number; readonly offset: number }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'global'; readonly from: LinkedWasm; readonly index: number }
  | { readonly kind: 'table' }
  /** A service, by its import. */
  | { readonly kind: 'service'; readonly name: string; readonly type: FunctionType }
  /** Weak, and nobody defines it. */
  | { readonly kind: 'absent'; readonly type: FunctionType | undefined }
  /** The linker makes it. */
  | { readonly kind: 'made'; readonly name: string };

/** A function, segment or global that is kept. */
export interface Kept {
  /** Whose. */
  readonly from: LinkedWasm;
  /** Its number among the object's own. */
  readonly index: number;
}

/** What is kept, in the order of the inputs. */
export interface WasmLive {
  /** Functions with code. */
  readonly functions: readonly Kept[];
  /** Data. */
  readonly segments: readonly Kept[];
  /** Globals with a value. */
  readonly globals: readonly Kept[];
  /** By name. */
  readonly services: ReadonlyMap<string, FunctionType>;
  /** Names that the linker has to make. */
  readonly made: ReadonlySet<string>;
  /** Constructors in the order of their calls. */
  readonly constructors: readonly Target[];
  /** What a relocation refers to. */
  readonly targetOf: (from: LinkedWasm, relocation: WasmRelocation) => Target;
}

/** Globals that the linker makes. */
export const MADE_GLOBALS: ReadonlySet<string> = new Set(['__stack_pointer', '__memory_base', '__table_base']);
/** Addresses that it makes. */
const MADE_DATA: ReadonlySet<string> = new Set([
  '__heap_base',
  '__heap_end',
  '__data_end',
  '__global_base',
  '__stack_low',
  '__stack_high',
  '__dso_handle',
]);
/** The function that calls all constructors. */
export const CALL_CONSTRUCTORS = '__wasm_call_ctors';
const BOUND = /^__(?:start|stop)_([A-Za-z_]\w*)$/;

/**
 * Follows relocations from the entry and the constructors. Throws {@link PalLinkerError}: `undefined-symbol` with all who want it,
 * `function-type` where a function is called with another type than it has, `thread-local`, `feature`, `relocation`.
 */
export function findWasmLive(linkage: WasmLinkage, roots: readonly string[]): WasmLive {
  return new Marking(linkage, roots).finish();
}

/** Whether other sections of the same name are kept with it, and lie beside it, because C code can ask for their bounds. */
export function isNamedPiece(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name);
}

/** One walk over everything that is reachable. */
class Marking {
  readonly #linkage: WasmLinkage;
  readonly #live = new Map<LinkedWasm, Set<string>>();
  readonly #waiting: [LinkedWasm, RelocatedBytes, string][] = [];
  readonly #services = new Map<string, FunctionType>();
  readonly #made = new Set<string>();
  readonly #undefined = new UndefinedNames();
  readonly #constructors: Target[];
  /** Segments by their name, for those whose bounds somebody asks for. */
  #named: ReadonlyMap<string, readonly Kept[]> | undefined;

  constructor(linkage: WasmLinkage, roots: readonly string[]) {
    this.#linkage = linkage;
    for (const name of roots) this.#mark(this.#shared(sharedName(linkage, name), undefined, {}), {});
    this.#constructors = this.#findConstructors();
    this.#markRetained();
    for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop()) this.#follow(...next);
  }

  finish(): WasmLive {
    this.#undefined.assertNone();
    return {
      functions: this.#kept(SYMBOL_KIND.FUNCTION),
      segments: this.#kept(SYMBOL_KIND.DATA),
      globals: this.#kept(SYMBOL_KIND.GLOBAL),
      services: new Map([...this.#services].sort(([a], [b]) => (a < b ? -1 : 1))),
      made: this.#made,
      constructors: this.#constructors,
      targetOf: (from, relocation) => this.#target(from, relocation, {}),
    };
  }

  #kept(kind: number): readonly Kept[] {
    return this.#linkage.objects.flatMap((from) => {
      const live = this.#live.get(from);
      const { functions, segments, globals } = from.wasm;
      const count = { [SYMBOL_KIND.FUNCTION]: functions, [SYMBOL_KIND.DATA]: segments }[kind]?.length ?? globals.length;
      return Array.from({ length: live === undefined ? 0 : count }, (_, index) => ({ from, index })).filter(
        ({ index }) => live?.has(definitionKey(kind, index)),
      );
    });
  }

  /** All objects' constructors, by their priority and then in the order of the inputs. */
  #findConstructors(): Target[] {
    const found = this.#linkage.objects.flatMap((from) =>
      from.wasm.initFunctions.flatMap(({ priority, symbol }) => {
        const known = from.wasm.symbols[symbol];
        return known === undefined || isDiscarded(from, known) ? [] : [{ from, priority, symbol }];
      }),
    );
    found.sort((a, b) => a.priority - b.priority);
    return found.flatMap(({ from, symbol }) => {
      const place = { object: from.wasm.name, symbol: from.wasm.symbols[symbol]?.name };
      const target = this.#symbol(from, symbol, place);
      if (target.kind === 'absent') return [];
      const own = target.kind === 'function' ? functionType(target.from, target.index) : undefined;
      const type = target.kind === 'service' ? target.type : own;
      if (type && type.parameters.length > 0) throw otherType('constructor', NO_PARAMETERS, type, place);
      this.#mark(target, place);
      return target;
    });
  }

  /** Data that is kept though nothing refers to it. */
  #markRetained(): void {
    for (const from of this.#linkage.objects)
      for (const [index, { flags }] of from.wasm.segments.entries())
        if ((flags & SEGMENT.RETAIN) !== 0 && !from.discarded.has(definitionKey(SYMBOL_KIND.DATA, index)))
          this.#keep(from, SYMBOL_KIND.DATA, index);
  }

  #keep(from: LinkedWasm, kind: number, index: number): void {
    const live = this.#live.get(from) ?? new Set<string>();
    this.#live.set(from, live);
    const key = definitionKey(kind, index);
    if (live.has(key)) return;
    live.add(key);
    const { functions, segments, name } = from.wasm;
    const segment = kind === SYMBOL_KIND.DATA ? segments[index] : undefined;
    if (segment && (segment.flags & SEGMENT.TLS) !== 0)
      throw new PalLinkerError('thread-local', 'link PAL: expected no thread-local storage, got some', {
        object: name,
        section: segment.name,
      });
    const content = kind === SYMBOL_KIND.FUNCTION ? functions[index] : segment;
    if (content) this.#waiting.push([from, content, segment?.name ?? functionName(from, index)]);
  }

  #follow(from: LinkedWasm, { relocations }: RelocatedBytes, section: string): void {
    for (const relocation of relocations) {
      if (relocation.type === RELOCATION.TYPE_INDEX_LEB) continue;
      const { index, offset } = relocation;
      const place = { object: from.wasm.name, section, symbol: from.wasm.symbols[index]?.name, offset };
      const target = this.#target(from, relocation, place);
      assertFitting(relocation, target, place);
      if (relocation.type === RELOCATION.FUNCTION_INDEX_LEB) this.#assertType(from, index, target, place);
      this.#mark(target, place);
    }
  }

  #mark(target: Target, place: PalLinkerPlace): void {
    switch (target.kind) {
      case 'function':
        this.#keep(target.from, SYMBOL_KIND.FUNCTION, target.index);
        break;
      case 'data':
        this.#keep(target.from, SYMBOL_KIND.DATA, target.segment);
        break;
      case 'global':
        this.#keep(target.from, SYMBOL_KIND.GLOBAL, target.index);
        break;
      case 'service':
        this.#serve(target, place);
        break;
      case 'made':
        this.#make(target.name);
        break;
      default:
    }
  }

  #serve({ name, type }: { readonly name: string; readonly type: FunctionType }, place: PalLinkerPlace): void {
    const known = this.#services.get(name);
    if (known !== undefined && !isSameType(known, type)) throw otherType(name, known, type, place);
    this.#services.set(name, type);
  }

  #make(name: string): void {
    if (this.#made.has(name)) return;
    this.#made.add(name);
    const bound = BOUND.exec(name)?.[1];
    if (bound === undefined) return;
    this.#named ??= namedSegments(this.#linkage);
    for (const { from, index } of this.#named.get(bound) ?? []) this.#keep(from, SYMBOL_KIND.DATA, index);
  }

  #target(from: LinkedWasm, { index }: WasmRelocation, place: PalLinkerPlace): Target {
    return this.#symbol(from, index, place);
  }

  #symbol(from: LinkedWasm, index: number, place: PalLinkerPlace): Target {
    const symbol = from.wasm.symbols[index];
    const shared = from.shared[index];
    if (symbol === undefined) return { kind: 'number', value: 0 };
    if (shared) return this.#shared(shared, { from, symbol }, place);
    if (isDiscarded(from, symbol)) {
      const problem = 'link PAL: refer to a part of a group that another object gave';
      throw new PalLinkerError('relocation', problem, place);
    }
    return definitionOf(from, symbol);
  }

  #shared(shared: SharedName, reference: Reference | undefined, place: PalLinkerPlace): Target {
    const { definition, name } = shared;
    if (definition) return definitionOf(definition.from, definition.symbol);
    const { symbol } = reference ?? {};
    if (symbol?.kind === SYMBOL_KIND.TABLE && name === '__indirect_function_table') return { kind: 'table' };
    if (isMade(name, symbol?.kind)) return { kind: 'made', name };
    const type = reference && importedType(reference);
    const imported = reference && reference.symbol.kind === SYMBOL_KIND.FUNCTION ? importOf(reference) : undefined;
    if (imported?.module === PAL_SERVICE_MODULE && type) return { kind: 'service', name: imported.field, type };
    if (symbol !== undefined && (symbol.flags & SYMBOL_FLAG.WEAK) !== 0) return { kind: 'absent', type };
    this.#undefined.add(name, place);
    return { kind: 'absent', type };
  }

  /** A call takes and gives what the function does, or it would trap. */
  #assertType(from: LinkedWasm, index: number, target: Target, place: PalLinkerPlace): void {
    const symbol = from.wasm.symbols[index];
    if (symbol === undefined || target.kind !== 'function') return;
    const isImported = (symbol.flags & SYMBOL_FLAG.UNDEFINED) !== 0;
    // A weak definition of its own may have given way to another.
    const wanted = isImported
      ? importedType({ from, symbol })
      : functionType(from, symbol.index - from.wasm.functionImports.length);
    const got = functionType(target.from, target.index);
    if (wanted === undefined || got === undefined || isSameType(wanted, got)) return;
    throw otherType(`${symbol.name} in ${target.from.wasm.name}`, got, wanted, place);
  }
}

function namedSegments({ objects }: WasmLinkage): ReadonlyMap<string, readonly Kept[]> {
  const named = new Map<string, Kept[]>();
  for (const from of objects) {
    for (const [index, { name }] of from.wasm.segments.entries()) {
      if (!isNamedPiece(name) || from.discarded.has(definitionKey(SYMBOL_KIND.DATA, index))) continue;
      const known = named.get(name);
      if (known) known.push({ from, index });
      else named.set(name, [{ from, index }]);
    }
  }
  return named;
}

interface Reference {
  readonly from: LinkedWasm;
  readonly symbol: WasmSymbol;
}

function isMade(name: string, kind: number | undefined): boolean {
  if (kind === SYMBOL_KIND.GLOBAL) return MADE_GLOBALS.has(name);
  if (kind === SYMBOL_KIND.FUNCTION) return name === CALL_CONSTRUCTORS;
  return kind === SYMBOL_KIND.DATA && (MADE_DATA.has(name) || BOUND.test(name));
}

function definitionOf(from: LinkedWasm, { kind, index, offset, flags }: WasmSymbol): Target {
  const { functionImports, globalImports } = from.wasm;
  if (kind === SYMBOL_KIND.FUNCTION) return { kind: 'function', from, index: index - functionImports.length };
  if (kind === SYMBOL_KIND.GLOBAL) return { kind: 'global', from, index: index - globalImports.length };
  if (kind === SYMBOL_KIND.DATA && (flags & SYMBOL_FLAG.ABSOLUTE) !== 0) return { kind: 'number', value: offset };
  if (kind === SYMBOL_KIND.DATA) return { kind: 'data', from, segment: index, offset };
  return { kind: 'number', value: 0 };
}

function importOf({ from, symbol }: Reference) {
  return from.wasm.functionImports[symbol.index];
}

function importedType(reference: Reference): FunctionType | undefined {
  if (reference.symbol.kind !== SYMBOL_KIND.FUNCTION) return undefined;
  return reference.from.wasm.types[importOf(reference)?.type ?? -1];
}

/** The type of an object's own function. */
export function functionType(from: LinkedWasm, index: number): FunctionType | undefined {
  return from.wasm.types[from.wasm.functions[index]?.type ?? -1];
}

/** The name of an object's own function, as its symbols have it. */
export function functionName(from: LinkedWasm, index: number): string {
  const known = functionNames.get(from) ?? nameFunctions(from);
  return known[index] ?? `function ${index}`;
}

const functionNames = new WeakMap<LinkedWasm, readonly (string | undefined)[]>();

function nameFunctions(from: LinkedWasm): readonly (string | undefined)[] {
  const { functions, functionImports, symbols } = from.wasm;
  const names = new Array<string | undefined>(functions.length);
  for (const { kind, flags, index, name } of symbols)
    if (kind === SYMBOL_KIND.FUNCTION && (flags & SYMBOL_FLAG.UNDEFINED) === 0)
      names[index - functionImports.length] ??= name;
  functionNames.set(from, names);
  return names;
}

/** One text for one type. */
export function typeKey({ parameters, results }: FunctionType): string {
  return `${parameters.join(' ')}:${results.join(' ')}`;
}

function isSameType(a: FunctionType, b: FunctionType): boolean {
  return typeKey(a) === typeKey(b);
}

const NO_PARAMETERS: FunctionType = { parameters: [], results: [] };
const VALUE_NAMES: Readonly<Record<number, string>> = { 127: 'i32', 126: 'i64', 125: 'f32', 124: 'f64', 123: 'v128' };

function describeType({ parameters, results }: FunctionType): string {
  const list = (types: readonly number[]) => types.map((type) => VALUE_NAMES[type] ?? 'reference').join(', ');
  return `(${list(parameters)}) -> (${list(results)})`;
}

function otherType(name: string, expected: FunctionType, got: FunctionType, place: PalLinkerPlace): PalLinkerError {
  const problem = `link PAL: ${name}: expected a call with ${describeType(expected)}, got ${describeType(got)}`;
  return new PalLinkerError('function-type', problem, place);
}

const FUNCTION_KINDS: readonly Target['kind'][] = ['function', 'service', 'absent', 'made'];
const ADDRESS_KINDS: readonly Target['kind'][] = ['data', 'number', 'absent', 'made'];
const KINDS: Readonly<Record<number, readonly Target['kind'][]>> = {
  [RELOCATION.FUNCTION_INDEX_LEB]: FUNCTION_KINDS,
  [RELOCATION.FUNCTION_INDEX_I32]: FUNCTION_KINDS,
  [RELOCATION.TABLE_INDEX_SLEB]: FUNCTION_KINDS,
  [RELOCATION.TABLE_INDEX_I32]: FUNCTION_KINDS,
  [RELOCATION.TABLE_INDEX_REL_SLEB]: FUNCTION_KINDS,
  [RELOCATION.MEMORY_ADDR_LEB]: ADDRESS_KINDS,
  [RELOCATION.MEMORY_ADDR_SLEB]: ADDRESS_KINDS,
  [RELOCATION.MEMORY_ADDR_I32]: ADDRESS_KINDS,
  [RELOCATION.MEMORY_ADDR_REL_SLEB]: ADDRESS_KINDS,
  [RELOCATION.MEMORY_ADDR_LOCREL_I32]: ADDRESS_KINDS,
  [RELOCATION.GLOBAL_INDEX_LEB]: ['global', 'made', 'data', 'number', 'function', 'service', 'absent'],
  [RELOCATION.GLOBAL_INDEX_I32]: ['global', 'made'],
  [RELOCATION.TABLE_NUMBER_LEB]: ['table'],
};

/** Each type of relocation refers to a function, an address, a global or the table. */
function assertFitting({ type }: WasmRelocation, { kind }: Target, place: PalLinkerPlace): void {
  if (type === RELOCATION.MEMORY_ADDR_TLS_SLEB)
    throw new PalLinkerError('thread-local', 'link PAL: expected no thread-local storage, got a reference', place);
  const kinds = KINDS[type];
  if (kinds === undefined) {
    const problem = `link PAL: expected a relocation that a static image can have, got type ${type}`;
    throw new PalLinkerError('relocation', problem, place);
  }
  if (kinds.includes(kind)) return;
  throw new PalLinkerError(
    'relocation',
    `link PAL: expected ${kinds[0]} for relocation type ${type}, got ${kind}`,
    place,
  );
}
