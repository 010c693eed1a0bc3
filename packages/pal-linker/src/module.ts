/** A WebAssembly module taken apart as far as the linker needs (WebAssembly Core Specification, section 5.5). */
import { Reader, WireError } from '@casemate/wire';
import { PalLinkerError, type PalLinkerErrorCode } from './error.js';
import { MAX_SECTION_BYTES, WASM_PAGE } from './image.js';
import { type Instruction, type Refuse, readInstruction } from './instructions.js';
import { varu32 } from './leb128.js';
import { SECTION_NAMES, VALUE_TYPES } from './module-section.js';

/** A function type; value types are their bytes (0x7f i32, 0x7e i64 …). */
export interface FunctionType {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
}

/** An imported function. */
export interface FunctionImport {
  readonly module: string;
  readonly name: string;
  readonly type: number;
  readonly offset: number;
}

/** An exported item; `kind` 0 function, 1 table, 2 memory, 3 global. */
interface ModuleExport {
  readonly name: string;
  readonly kind: number;
  readonly index: number;
}

/** A stretch of the module's bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A module; spans point into `bytes`. */
export interface WasmModule {
  readonly bytes: Uint8Array;
  readonly types: readonly FunctionType[];
  readonly imports: readonly FunctionImport[];
  readonly functionTypes: readonly number[];
  readonly memory: { readonly minimum: number; readonly maximum: number | undefined } | undefined;
  readonly globals: { readonly count: number; readonly definitions: Span };
  readonly exports: readonly ModuleExport[];
  readonly start: number | undefined;
  readonly bodies: readonly Span[];
  /** The sections that are copied as they are, by id: table, element, data count, data. */
  readonly copied: ReadonlyMap<number, Span>;
}

/** The function type behind a function index, imports first; `undefined` where there is none. */
export function typeOfFunction(module: WasmModule, index: number): FunctionType | undefined {
  const imported = module.imports[index];
  const type = imported?.type ?? module.functionTypes[index - module.imports.length];
  return type === undefined ? undefined : module.types[type];
}

/**
 * Calls `visit` for each instruction of one body, after its locals; offsets count from the body's start. They are not collected: a
 * module may have millions.
 */
export function eachInstruction(module: WasmModule, body: Span, visit: (instruction: Instruction) => void): void {
  const reader = new Reader(module.bytes.subarray(body.start, body.end), { shared: true });
  const refused = (start: number, what: string) => refuse('feature', 'code', body.start + start, `use ${what}`);
  guarded('code', body.start, () => {
    skipLocals(reader, refused);
    while (reader.remaining > 0) visit(readInstruction(reader, refused));
  });
}

/** Parses a finished module. Throws {@link PalLinkerError} with code `malformed`, `limit`, `feature`, `import` or `memory`. */
export function parseModule(bytes: Uint8Array): WasmModule {
  if (bytes.length > MAX_SECTION_BYTES) {
    throw new PalLinkerError('limit', `parse module: expected at most ${MAX_SECTION_BYTES} bytes, got ${bytes.length}`);
  }
  const parser = new ModuleParser(bytes);
  guarded('header', 0, () => parser.header());
  while (parser.more()) parser.section();
  return parser.finish();
}

// Data count (12) stands between element and code.
const SECTION_ORDER = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10];
const MAX_TABLE = 65536;
const MAX_PAGES = 65536;
const END = 0x0b;

class ModuleParser {
  readonly #reader: Reader;
  readonly #bytes: Uint8Array;
  #position = 0;
  #types: readonly FunctionType[] = [];
  #imports: readonly FunctionImport[] = [];
  #functionTypes: readonly number[] = [];
  #memory: WasmModule['memory'];
  #globals: WasmModule['globals'] = { count: 0, definitions: { start: 0, end: 0 } };
  #exports: readonly ModuleExport[] = [];
  #start: number | undefined;
  #bodies: readonly Span[] = [];
  readonly #copied = new Map<number, Span>();

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#reader = new Reader(bytes);
  }

  header(): void {
    const magic = this.#reader.u32('magic');
    if (magic !== 0x0061736d) refuse('malformed', 'header', 0, 'expected the magic \\0asm');
    const version = this.#reader.u32('version', true);
    if (version !== 1) refuse('malformed', 'header', 4, `expected version 1, got ${version}`);
  }

  more(): boolean {
    return this.#reader.remaining > 0;
  }

  section(): void {
    const at = this.#reader.offset;
    const id = this.#reader.u8('section id');
    const name = SECTION_NAMES[id] ?? refuse('feature', 'unknown', at, `section id ${id} is not of WebAssembly 1.0`);
    guarded(name, 0, () => {
      const size = varu32.read(this.#reader);
      if (id === 0) this.#skip(size);
      else this.#ordered(id, name, at, size);
    });
  }

  finish(): WasmModule {
    if (this.#bodies.length !== this.#functionTypes.length) {
      const problem = `expected ${this.#functionTypes.length} bodies, got ${this.#bodies.length}`;
      refuse('malformed', 'code', this.#bytes.length, problem);
    }
    return {
      bytes: this.#bytes,
      types: this.#types,
      imports: this.#imports,
      functionTypes: this.#functionTypes,
      memory: this.#memory,
      globals: this.#globals,
      exports: this.#exports,
      start: this.#start,
      bodies: this.#bodies,
      copied: this.#copied,
    };
  }

  #skip(size: number): void {
    this.#reader.take(size, 'custom section');
  }

  #ordered(id: number, name: string, at: number, size: number): void {
    const position = SECTION_ORDER[id] ?? 0;
    if (position <= this.#position) refuse('malformed', name, at, 'expected each section once and in order');
    this.#position = position;
    this.#reader.bounded(size, name, () => this.#content(id, at));
  }

  #content(id: number, at: number): void {
    switch (id) {
      case 1:
        this.#types = this.#vector(() => this.#functionType());
        return;
      case 2:
        this.#imports = this.#vector(() => this.#import());
        return;
      case 3:
        this.#functionTypes = this.#vector(() => this.#typeIndex('function'));
        return;
      case 5:
        this.#memories(at);
        return;
      case 6:
        this.#globalDefinitions();
        return;
      case 7:
        this.#exports = this.#vector(() => this.#export());
        return;
      case 8:
        this.#start = varu32.read(this.#reader);
        return;
      case 10:
        this.#bodies = this.#vector(() => this.#body());
        return;
      default:
        this.#copy(id);
    }
  }

  #vector<T>(element: () => T): readonly T[] {
    const values: T[] = [];
    for (let left = varu32.read(this.#reader); left > 0; left--) values.push(element());
    return values;
  }

  #functionType(): FunctionType {
    const at = this.#reader.offset;
    const form = this.#reader.u8('type form');
    if (form !== 0x60) refuse('feature', 'type', at, `use a type of form 0x${form.toString(16)}`);
    return {
      parameters: this.#vector(() => this.#valueType('type')),
      results: this.#vector(() => this.#valueType('type')),
    };
  }

  #valueType(section: string): number {
    const at = this.#reader.offset;
    const type = this.#reader.u8('value type');
    if (!VALUE_TYPES.has(type)) refuse('feature', section, at, `use the value type 0x${type.toString(16)}`);
    return type;
  }

  #typeIndex(section: string): number {
    const at = this.#reader.offset;
    const index = varu32.read(this.#reader);
    if (index >= this.#types.length) refuse('malformed', section, at, `there is no type ${index}`);
    return index;
  }

  #name(): string {
    const at = this.#reader.offset;
    const raw = this.#reader.take(varu32.read(this.#reader), 'name');
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
    } catch {
      throw new WireError('bad-value', 'decode name', 'expected UTF-8, got other bytes', at);
    }
  }

  #import(): FunctionImport {
    const offset = this.#reader.offset;
    const module = this.#name();
    const name = this.#name();
    const kind = this.#reader.u8('import kind');
    if (kind === 0) return { module, name, type: this.#typeIndex('import'), offset };
    if (name === '__linear_memory') {
      const problem = 'expected a finished module, got a relocatable object: link it with linkWasmObjects';
      refuse('import', 'import', offset, problem);
    }
    const what = ['function', 'table', 'memory', 'global'][kind] ?? 'item';
    return refuse('import', 'import', offset, `import the ${what} ${module}.${name}: only functions may be imported`);
  }

  #limits(section: string): { minimum: number; maximum: number | undefined } {
    const at = this.#reader.offset;
    const flag = this.#reader.u8('limits');
    if (flag === 2 || flag === 3) refuse('feature', section, at, 'share memory between threads');
    if (flag > 1) refuse('feature', section, at, 'use 64-bit memory');
    const minimum = varu32.read(this.#reader);
    return { minimum, maximum: flag === 1 ? varu32.read(this.#reader) : undefined };
  }

  #memories(at: number): void {
    const memories = this.#vector(() => this.#limits('memory'));
    if (memories.length > 1) refuse('feature', 'memory', at, `have ${memories.length} memories`);
    this.#memory = memories[0];
    const largest = Math.max(this.#memory?.minimum ?? 0, this.#memory?.maximum ?? 0);
    if (largest > MAX_PAGES) {
      refuse('malformed', 'memory', at, `expected at most ${MAX_PAGES} pages of ${WASM_PAGE} bytes, got ${largest}`);
    }
  }

  #globalDefinitions(): void {
    const count = varu32.read(this.#reader);
    const start = this.#reader.offset;
    for (let left = count; left > 0; left--) {
      this.#valueType('global');
      this.#reader.u8('mutability');
      this.#constantExpression();
    }
    this.#globals = { count, definitions: { start, end: this.#reader.offset } };
  }

  #constantExpression(): void {
    const refused = (start: number, what: string) => refuse('feature', 'global', start, `use ${what}`);
    while (readInstruction(this.#reader, refused).opcode !== END);
  }

  #export(): ModuleExport {
    const name = this.#name();
    const kind = this.#reader.u8('export kind');
    return { name, kind, index: varu32.read(this.#reader) };
  }

  #body(): Span {
    const size = varu32.read(this.#reader);
    const start = this.#reader.offset;
    this.#reader.bounded(size, 'function body', () => {
      this.#reader.take(size, 'function body');
    });
    return { start, end: start + size };
  }

  #copy(id: number): void {
    const start = this.#reader.offset;
    if (id === 9) varu32.read(this.#reader); // how many: the linker may add one
    if (id === 4) this.#tables();
    else this.#reader.take(this.#reader.remaining, 'section');
    this.#copied.set(id, { start, end: this.#reader.offset });
  }

  #tables(): void {
    const entries = this.#vector(() => this.#table()).reduce((sum, { minimum }) => sum + minimum, 0);
    if (entries > MAX_TABLE)
      refuse('limit', 'table', this.#reader.offset, `expected at most ${MAX_TABLE} entries, got ${entries}`);
  }

  #table(): { minimum: number; maximum: number | undefined } {
    this.#valueType('table');
    return this.#limits('table');
  }
}

function skipLocals(reader: Reader, refused: Refuse): void {
  for (let left = varu32.read(reader); left > 0; left--) {
    varu32.read(reader);
    const at = reader.offset;
    const type = reader.u8('value type');
    // Other types have more bytes: what follows would be read as other instructions than an engine reads.
    if (!VALUE_TYPES.has(type)) refused(at, `the value type 0x${type.toString(16)}`);
  }
}

function refuse(code: PalLinkerErrorCode, section: string, offset: number, problem: string): never {
  throw new PalLinkerError(code, `parse module: ${problem}`, { section, offset });
}

/** Runs a step of the parser and turns what the reader throws into this package's error. */
function guarded<T>(section: string, base: number, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    const place = { section, offset: base + error.offset };
    throw new PalLinkerError('malformed', `parse module: ${error.message}`, place, { cause: error });
  }
}
