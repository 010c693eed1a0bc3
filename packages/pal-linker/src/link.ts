/** Linking: a finished WebAssembly module in, a measured PAL image out. */
import { Reader, Writer } from '@casemate/wire';
import { PalLinkerError, type PalLinkerErrorCode } from './error.js';
import { buildPalImage, PAL_FLAGS, PAL_KIND, PAL_PARAMETER, PAL_SECTION, WASM_PAGE } from './image.js';
import { type Instruction, isFloatingPoint } from './instructions.js';
import { varu32, writeVars32 } from './leb128.js';
import {
  eachInstruction,
  type FunctionImport,
  type FunctionType,
  parseModule,
  type Span,
  typeOfFunction,
  type WasmModule,
} from './module.js';
import { section, vector, writeSized } from './module-section.js';
import {
  integerWithin,
  limitFlags,
  type PalLimitOptions,
  type PalLimits,
  palParameters,
  parameterBytes,
  readLimits,
} from './parameters.js';
import { isPalService, PAL_SERVICE_MODULE, PAL_SERVICES } from './services.js';

/** What {@link linkPal} makes an image from. */
export interface LinkPalOptions extends PalLimitOptions {
  /** A finished module in the binary format, from AssemblyScript, clang or Rust. */
  readonly module: Uint8Array;
  /** Letters, digits and `._+-`, at most 64 bytes. */
  readonly name: string;
  /** Letters, digits and `._+-`, at most 64 bytes. */
  readonly version: string;
  /** The exported function that becomes the entry; `pal` unless given. */
  readonly entry?: string;
  /** How far the PAL's memory may grow, in pages of 64 KiB; unless given, what the module declares, or 256 above its minimum. */
  readonly memoryPages?: number;
  /** `refuse` is the rule for a replay-protected PAL, `allow` for others. */
  readonly floatingPoint?: 'allow' | 'refuse';
}

/**
 * Links a finished module into a PAL image. The image's module exports the entry and `memory` alone and imports PAL
 * services alone; custom sections are gone; memory is allocated once, and `memory.grow` is an addition that fails only
 * at the limit, so that it does the same on every machine. The same options give the same bytes.
 *
 * Throws {@link PalLinkerError}.
 */
export function linkPal(options: LinkPalOptions): Uint8Array {
  const limits = readLimits(options);
  const module = parseModule(options.module);
  const plan = planModule(module, options, limits);
  const code = writeModule(module, plan);
  return buildPalImage({
    kind: PAL_KIND.WASM,
    flags: limitFlags(limits) | (plan.floatingPoint ? PAL_FLAGS.floatingPoint : 0),
    name: options.name,
    version: options.version,
    entry: 'pal',
    entryAddress: BigInt(plan.entry),
    parameters: palParameters(limits),
    memory: { initialBytes: plan.minimum * WASM_PAGE, maximumBytes: plan.maximum * WASM_PAGE },
    sections: [
      { type: PAL_SECTION.CODE, address: 0n, memorySize: 0, content: code },
      {
        type: PAL_SECTION.PARAM,
        address: BigInt(plan.maximum * WASM_PAGE),
        memorySize: plan.parameterPages * WASM_PAGE,
        content: new Uint8Array(0),
      },
    ],
  });
}

/** What the linker adds and where; everything is appended, so that no index of the module changes. */
interface Plan {
  readonly minimum: number;
  readonly maximum: number;
  readonly parameterPages: number;
  readonly floatingPoint: boolean;
  /** Function index of the entry that is exported. */
  readonly entry: number;
  /** Function index of the module's own entry. */
  readonly inner: number;
  /** Functions to run before the first call: the start function, and `_initialize` of a WASI reactor. */
  readonly initialisers: readonly number[];
  readonly growType: number;
  readonly entryType: number;
  readonly entryParameters: number;
  readonly types: readonly FunctionType[];
  readonly growFunction: number;
  readonly pagesGlobal: number;
  readonly startedGlobal: number;
  /** For each body what is written anew in it. */
  readonly edits: readonly (readonly Instruction[])[];
  /** Functions that code refers to and that only their export declared. */
  readonly declared: readonly number[];
}

const MAX_MEMORY_PAGES = 16384;
const WASM_MAX_PAGES = 65536;
const DEFAULT_GROWTH = 256;
const I32 = 0x7f;
const I64 = 0x7e;
const GROW: FunctionType = { parameters: [I32], results: [I32] };

function planModule(module: WasmModule, options: LinkPalOptions, limits: PalLimits): Plan {
  for (const imported of module.imports) assertImport(module, imported);
  const memory = planMemory(module, options);
  const inner = findEntry(module, options.entry ?? 'pal', limits);
  const initialisers = findInitialisers(module);
  const survey = surveyCode(module);
  const defined = module.imports.length + module.functionTypes.length;
  const { types, growType, entryType } = planTypes(module, inner);
  return {
    ...memory,
    parameterPages: Math.ceil(parameterBytes(limits) / WASM_PAGE),
    floatingPoint: checkFloatingPoint(survey, allowsFloatingPoint(options, limits)),
    inner,
    initialisers,
    entry: initialisers.length === 0 ? inner : defined + 1,
    types,
    growType,
    entryType,
    entryParameters: entryTypes(limits)[0].parameters.length,
    growFunction: defined,
    pagesGlobal: module.globals.count,
    startedGlobal: module.globals.count + 1,
    edits: survey.edits,
    declared: exportedAmong(module, survey.references),
  };
}

/** What of the code matters to the linker. */
interface CodeSurvey {
  readonly edits: readonly (readonly Instruction[])[];
  /** Where the first instruction with floating-point numbers is. */
  readonly floatingPoint: number | undefined;
  /** Functions that `ref.func` names. */
  readonly references: ReadonlySet<number>;
}

function surveyCode(module: WasmModule): CodeSurvey {
  let floatingPoint: number | undefined;
  const references = new Set<number>();
  const edits = module.bodies.map((body) => {
    const found: Instruction[] = [];
    eachInstruction(module, body, (instruction) => {
      const { opcode, start, end } = instruction;
      if (opcode === OP.memorySize || opcode === OP.memoryGrow) found.push(instruction);
      if (isFloatingPoint(instruction)) floatingPoint ??= body.start + start;
      if (opcode === OP.functionReference)
        references.add(varu32.read(new Reader(module.bytes.subarray(body.start + start + 1, body.start + end))));
    });
    return found;
  });
  return { edits, floatingPoint, references };
}

/** The exports are gone afterwards, and `ref.func` wants each function to be declared somewhere. */
function exportedAmong(module: WasmModule, references: ReadonlySet<number>): readonly number[] {
  const exported = new Set(module.exports.filter(({ kind }) => kind === 0).map(({ index }) => index));
  return [...references].filter((index) => exported.has(index)).sort((a, b) => a - b);
}

function assertImport(module: WasmModule, imported: FunctionImport): void {
  const place = { section: 'import', offset: imported.offset };
  const what = `import ${imported.module}.${imported.name}`;
  if (imported.module !== PAL_SERVICE_MODULE || !isPalService(imported.name)) {
    throw new PalLinkerError(
      'import',
      `link PAL: ${what}: expected a PAL service of module ${PAL_SERVICE_MODULE}`,
      place,
    );
  }
  const expected = { parameters: new Array<number>(PAL_SERVICES[imported.name]).fill(I32), results: [I32] };
  const type = module.types[imported.type];
  if (type !== undefined && sameType(type, expected)) return;
  const got = type === undefined ? 'no type' : describeType(type);
  throw new PalLinkerError('import', `link PAL: ${what}: expected ${describeType(expected)}, got ${got}`, place);
}

function planMemory(module: WasmModule, options: LinkPalOptions): { minimum: number; maximum: number } {
  const memory = module.memory;
  if (memory === undefined) return refuse('memory', 'expected a memory of the module itself, got none', 'memory');
  const declared = Math.min(memory.maximum ?? memory.minimum + DEFAULT_GROWTH, MAX_MEMORY_PAGES);
  const maximum = integerWithin('memoryPages', options.memoryPages ?? declared, MAX_MEMORY_PAGES);
  if (memory.minimum <= maximum) return { minimum: memory.minimum, maximum };
  return refuse('memory', `expected at most ${maximum} pages at the start, got ${memory.minimum}`, 'memory');
}

function allowsFloatingPoint({ floatingPoint }: LinkPalOptions, { replayProtected }: PalLimits): boolean {
  return (floatingPoint ?? (replayProtected ? 'refuse' : 'allow')) === 'allow';
}

function findEntry(module: WasmModule, name: string, limits: PalLimits): number {
  const found = module.exports.find((item) => item.name === name && item.kind === 0);
  if (found === undefined) {
    const functions = module.exports.filter((item) => item.kind === 0).map((item) => item.name);
    return refuse('entry', `expected the export ${name}, got ${functions.join(', ') || 'no function'}`, 'export');
  }
  const type = typeOfFunction(module, found.index);
  const [expected, ...others] = entryTypes(limits);
  if (type !== undefined && [expected, ...others].some((each) => sameType(type, each))) return found.index;
  const got = type === undefined ? 'no function' : describeType(type);
  return refuse('entry', `entry ${name}: expected ${describeType(expected)}, got ${got}`, 'export');
}

/** What the entry's type may be. One with parameters of its own may return a number. */
function entryTypes({ parameters }: PalLimits): readonly [FunctionType, ...FunctionType[]] {
  if (parameters.length === 0) return [{ parameters: [I32, I32, I32, I32], results: [] }];
  const types = parameters.map(({ type, size }) => (type === PAL_PARAMETER.INTEGER && size === 8 ? I64 : I32));
  return [
    { parameters: types, results: [I32] },
    { parameters: types, results: [] },
  ];
}

function findInitialisers(module: WasmModule): readonly number[] {
  const reactor = module.exports.find((item) => item.name === '_initialize' && item.kind === 0);
  const found = [
    ...(module.start === undefined ? [] : [module.start]),
    ...(reactor === undefined ? [] : [reactor.index]),
  ];
  for (const index of found) {
    const type = typeOfFunction(module, index);
    if (type?.parameters.length === 0 && type.results.length === 0) continue;
    refuse(
      'entry',
      `start function ${index}: expected () -> (), got ${type ? describeType(type) : 'no function'}`,
      'start',
    );
  }
  return found;
}

function planTypes(
  module: WasmModule,
  inner: number,
): { types: readonly FunctionType[]; growType: number; entryType: number } {
  const existing = module.types.findIndex((type) => sameType(type, GROW));
  const types = existing < 0 ? [...module.types, GROW] : module.types;
  const imported = module.imports[inner];
  const entryType = imported?.type ?? module.functionTypes[inner - module.imports.length] ?? 0;
  return { types, growType: existing < 0 ? module.types.length : existing, entryType };
}

function checkFloatingPoint({ floatingPoint: offset }: CodeSurvey, allowed: boolean): boolean {
  if (offset === undefined || allowed) return offset !== undefined;
  const problem = 'link PAL: compute with floating-point numbers in a replay-protected PAL';
  throw new PalLinkerError('feature', problem, { section: 'code', offset });
}

function sameType(a: FunctionType, b: FunctionType): boolean {
  return describeType(a) === describeType(b);
}

function describeType({ parameters, results }: FunctionType): string {
  const list = (types: readonly number[]) =>
    types.map((type) => VALUE_NAMES[type] ?? `0x${type.toString(16)}`).join(', ');
  return `(${list(parameters)}) -> (${list(results)})`;
}

const VALUE_NAMES: Readonly<Record<number, string>> = {
  127: 'i32',
  126: 'i64',
  125: 'f32',
  124: 'f64',
  123: 'v128',
  112: 'funcref',
  111: 'externref',
};

function refuse(code: PalLinkerErrorCode, problem: string, section?: string): never {
  throw new PalLinkerError(code, `link PAL: ${problem}`, { section });
}

// Writing: each section is written from the plan; nothing is decided here.

function writeModule(module: WasmModule, plan: Plan): Uint8Array {
  const w = new Writer(module.bytes.length + 1024);
  w.u32(0x0061736d, 'magic');
  w.u32(1, 'version', true);
  section(w, 1, (s) => vector(s, plan.types, writeType));
  if (module.imports.length > 0) section(w, 2, (s) => vector(s, module.imports, writeImport));
  section(w, 3, (s) => vector(s, definedTypes(module, plan), (x, type) => varu32.write(x, type)));
  copySection(w, module, 4);
  section(w, 5, (s) => writeMemory(s, plan.maximum + plan.parameterPages));
  section(w, 6, (s) => writeGlobals(s, module, plan));
  section(w, 7, (s) => writeExports(s, plan));
  writeElements(w, module, plan);
  copySection(w, module, 12);
  section(w, 10, (s) => writeCode(s, module, plan));
  copySection(w, module, 11);
  return w.finish();
}

function writeType(w: Writer, type: FunctionType): void {
  w.u8(0x60, 'type form');
  vector(w, type.parameters, (x, value) => x.u8(value, 'value type'));
  vector(w, type.results, (x, value) => x.u8(value, 'value type'));
}

function writeImport(w: Writer, imported: WasmModule['imports'][number]): void {
  writeSized(w, new TextEncoder().encode(imported.module));
  writeSized(w, new TextEncoder().encode(imported.name));
  w.u8(0, 'import kind');
  varu32.write(w, imported.type);
}

function definedTypes(module: WasmModule, plan: Plan): readonly number[] {
  const wrapper = plan.initialisers.length === 0 ? [] : [plan.entryType];
  return [...module.functionTypes, plan.growType, ...wrapper];
}

function copySection(w: Writer, module: WasmModule, id: number): void {
  const span = module.copied.get(id);
  if (span === undefined) return;
  w.u8(id, 'section id');
  writeSized(w, slice(module, span));
}

/** The segments as they are, and behind them one that only declares functions. */
function writeElements(w: Writer, module: WasmModule, { declared }: Plan): void {
  const span = module.copied.get(9);
  if (declared.length === 0) {
    copySection(w, module, 9);
    return;
  }
  section(w, 9, (s) => {
    const reader = new Reader(span === undefined ? Uint8Array.of(0) : slice(module, span));
    varu32.write(s, varu32.read(reader) + 1);
    s.put(reader.take(reader.remaining, 'segments'), 'segments');
    s.put(Uint8Array.of(3, 0), 'declarative segment of functions');
    vector(s, declared, (x, index) => varu32.write(x, index));
  });
}

function slice(module: WasmModule, span: Span): Uint8Array {
  return module.bytes.subarray(span.start, span.end);
}

/** The limit is WebAssembly's own: above the parameters the isolate may put what the caller lends. The PAL itself cannot grow it. */
function writeMemory(w: Writer, pages: number): void {
  varu32.write(w, 1);
  w.u8(1, 'limits');
  varu32.write(w, pages);
  varu32.write(w, WASM_MAX_PAGES);
}

function writeGlobals(w: Writer, module: WasmModule, plan: Plan): void {
  const own = plan.initialisers.length === 0 ? [plan.minimum] : [plan.minimum, 0];
  varu32.write(w, module.globals.count + own.length);
  w.put(slice(module, module.globals.definitions), 'globals');
  for (const value of own) {
    w.u8(I32, 'value type');
    w.u8(1, 'mutability');
    constant(w, value);
    w.u8(OP.end, 'end');
  }
}

function writeExports(w: Writer, plan: Plan): void {
  const exports = [
    { name: 'pal', kind: 0, index: plan.entry },
    { name: 'memory', kind: 2, index: 0 },
  ];
  vector(w, exports, (x, item) => {
    writeSized(x, new TextEncoder().encode(item.name));
    x.u8(item.kind, 'export kind');
    varu32.write(x, item.index);
  });
}

function writeCode(w: Writer, module: WasmModule, plan: Plan): void {
  const bodies = module.bodies.map((body, i) => rewriteBody(slice(module, body), plan.edits[i] ?? [], plan));
  const wrapper = plan.initialisers.length === 0 ? [] : [entryBody(plan)];
  vector(w, [...bodies, growBody(plan), ...wrapper], writeSized);
}

/** Turns `memory.size` into a read of the page count and `memory.grow` into a call of the function that keeps it. */
function rewriteBody(body: Uint8Array, edits: readonly Instruction[], plan: Plan): Uint8Array {
  const w = new Writer(body.length + 16);
  let copied = 0;
  for (const { opcode, start, end } of edits) {
    w.put(body.subarray(copied, start), 'code');
    if (opcode === OP.memorySize) withIndex(w, OP.globalGet, plan.pagesGlobal);
    else withIndex(w, OP.call, plan.growFunction);
    copied = end;
  }
  w.put(body.subarray(copied), 'code');
  return w.finish();
}

/** `grow(delta)`: the old page count, or -1 where the new one would exceed the limit. */
function growBody(plan: Plan): Uint8Array {
  const w = new Writer(32);
  w.u8(0, 'locals');
  withIndex(w, OP.localGet, 0);
  constant(w, plan.maximum);
  withIndex(w, OP.globalGet, plan.pagesGlobal);
  w.u8(OP.sub, 'i32.sub');
  w.u8(OP.greaterUnsigned, 'i32.gt_u');
  withIndex(w, OP.if, I32);
  constant(w, -1);
  w.u8(OP.else, 'else');
  withIndex(w, OP.globalGet, plan.pagesGlobal);
  withIndex(w, OP.globalGet, plan.pagesGlobal);
  withIndex(w, OP.localGet, 0);
  w.u8(OP.add, 'i32.add');
  withIndex(w, OP.globalSet, plan.pagesGlobal);
  w.u8(OP.end, 'end');
  w.u8(OP.end, 'end');
  return w.finish();
}

/** The entry of a module with initialisers: runs them once, then the module's own entry. */
function entryBody(plan: Plan): Uint8Array {
  const w = new Writer(48);
  w.u8(0, 'locals');
  withIndex(w, OP.globalGet, plan.startedGlobal);
  w.u8(OP.equalZero, 'i32.eqz');
  withIndex(w, OP.if, 0x40);
  constant(w, 1);
  withIndex(w, OP.globalSet, plan.startedGlobal);
  for (const index of plan.initialisers) withIndex(w, OP.call, index);
  w.u8(OP.end, 'end');
  for (let parameter = 0; parameter < plan.entryParameters; parameter++) withIndex(w, OP.localGet, parameter);
  withIndex(w, OP.call, plan.inner);
  w.u8(OP.end, 'end');
  return w.finish();
}

function withIndex(w: Writer, opcode: number, index: number): void {
  w.u8(opcode, 'opcode');
  varu32.write(w, index);
}

function constant(w: Writer, value: number): void {
  w.u8(OP.constant, 'i32.const');
  writeVars32(w, value);
}

const OP = {
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  call: 0x10,
  localGet: 0x20,
  globalGet: 0x23,
  globalSet: 0x24,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  functionReference: 0xd2,
  constant: 0x41,
  equalZero: 0x45,
  greaterUnsigned: 0x4b,
  add: 0x6a,
  sub: 0x6b,
} as const;
