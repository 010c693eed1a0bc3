/** Relocatable WebAssembly objects. WebAssembly tool conventions, Linking.md, version 2. */
import { Reader, WireError } from '@casemate/wire';
import { PalLinkerError, type PalLinkerErrorCode } from '../error.js';
import { MAX_SECTION_BYTES } from '../image.js';
import { readInstruction } from '../instructions.js';
import { readVars32, varu32 } from '../leb128.js';
import type { FunctionType, Span } from '../module.js';
import { SECTION_NAMES, VALUE_TYPES } from '../module-section.js';
import { EXTERNAL, RELOCATION, SUBSECTION, SYMBOL_FLAG, SYMBOL_KIND } from './constants.js';

/** What an object wants from elsewhere. */
interface ObjectImport {
  /** The module, `env` where the source said nothing. */
  readonly module: string;
  /** The field. */
  readonly field: string;
  /** Of a function, its type's number; of a global, its value type. */
  readonly type: number;
}

/** A function with its code, or a segment of data. */
export interface RelocatedBytes {
  /** Its bytes. */
  readonly content: Uint8Array;
  /** By place, counted from the start of `content`. */
  readonly relocations: readonly WasmRelocation[];
}

/** A function of an object. */
interface ObjectFunction extends RelocatedBytes {
  /** The number of its type. */
  readonly type: number;
}

/** A segment of data. */
export interface ObjectSegment extends RelocatedBytes {
  /** Such as `.rodata.message`. */
  readonly name: string;
  /** Bytes, a power of two. */
  readonly alignment: number;
  /** WASM_SEGMENT_FLAG_*. */
  readonly flags: number;
}

/** A global variable of an object. */
interface ObjectGlobal {
  /** Its value type. */
  readonly type: number;
  /** Whether code may change it. */
  readonly isMutable: boolean;
  /** Its value: a constant expression with its end. */
  readonly expression: Uint8Array;
}

/** One relocation. */
export interface WasmRelocation {
  /** R_WASM_*. */
  readonly type: number;
  /** Its place. */
  readonly offset: number;
  /** The number of a symbol, or of a type. */
  readonly index: number;
  /** What is added to an address. */
  readonly addend: number;
}

/** A symbol of an object. */
export interface WasmSymbol {
  /** SYMTAB_*. */
  readonly kind: number;
  /** Its name; empty for sections. */
  readonly name: string;
  /** WASM_SYM_*. */
  readonly flags: number;
  /** The number of the function, global, table or segment. */
  readonly index: number;
  /** Of data, where in the segment. */
  readonly offset: number;
  /** Of data, bytes. */
  readonly size: number;
}

/** Something to call before everything else. */
interface InitFunction {
  /** The lowest comes first. */
  readonly priority: number;
  /** The number of its symbol. */
  readonly symbol: number;
}

/** Definitions of which, over all objects, one set of the same name is kept. */
interface Comdat {
  /** Its name. */
  readonly name: string;
  /** Numbers of functions, as symbols count them. */
  readonly functions: readonly number[];
  /** Numbers of segments. */
  readonly segments: readonly number[];
}

/** A relocatable object. */
export interface WasmObject {
  /** What errors call it: `counter.o`, or `libc.a(memcpy.o)`. */
  readonly name: string;
  /** Its function types. */
  readonly types: readonly FunctionType[];
  /** Functions from elsewhere; they have the first numbers. */
  readonly functionImports: readonly ObjectImport[];
  /** Its own functions. */
  readonly functions: readonly ObjectFunction[];
  /** Globals from elsewhere; they have the first numbers. */
  readonly globalImports: readonly ObjectImport[];
  /** Its own globals. */
  readonly globals: readonly ObjectGlobal[];
  /** Its data. */
  readonly segments: readonly ObjectSegment[];
  /** By number. */
  readonly symbols: readonly WasmSymbol[];
  /** Constructors. */
  readonly initFunctions: readonly InitFunction[];
  /** Groups. */
  readonly comdats: readonly Comdat[];
}

/** Whether the bytes begin as a WebAssembly module does. */
export function isWasm(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;
}

/**
 * Reads a relocatable object. Throws {@link PalLinkerError} with code `object`, `feature` for what such a file may have and a PAL may
 * not (threads, 64-bit memory, exceptions, several tables), `thread-local`, or `limit`.
 */
export function parseWasmObject(bytes: Uint8Array, name: string): WasmObject {
  if (bytes.length > MAX_SECTION_BYTES) {
    const problem = `read object: expected at most ${MAX_SECTION_BYTES} bytes, got ${bytes.length}`;
    throw new PalLinkerError('limit', problem, { object: name });
  }
  return new ObjectParser(bytes, name).parse();
}

const MAX_ALIGNMENT_BITS = 12;
const END = 0x0b;

interface SegmentInfo {
  readonly name: string;
  readonly alignment: number;
  readonly flags: number;
}

class ObjectParser {
  readonly #reader: Reader;
  readonly #bytes: Uint8Array;
  readonly #name: string;
  #section = 'header';
  #types: readonly FunctionType[] = [];
  readonly #functionImports: ObjectImport[] = [];
  readonly #globalImports: ObjectImport[] = [];
  #tableImports = 0;
  #tagImports = 0;
  #functionTypes: readonly number[] = [];
  #globals: readonly ObjectGlobal[] = [];
  #bodies: readonly Span[] = [];
  #data: readonly Span[] = [];
  #segmentInfo: readonly SegmentInfo[] = [];
  #symbols: readonly WasmSymbol[] | undefined;
  #initFunctions: readonly InitFunction[] = [];
  #comdats: readonly Comdat[] = [];
  /** Where the content of each section begins, and its number. */
  readonly #contents: { readonly id: number; readonly start: number; readonly end: number }[] = [];
  readonly #relocations = new Map<number, readonly WasmRelocation[]>();

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#name = name;
    this.#reader = new Reader(bytes, { shared: true });
  }

  parse(): WasmObject {
    try {
      this.#header();
      while (this.#reader.remaining > 0) this.#readSection();
      return this.#finish();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const place = { object: this.#name, section: this.#section, offset: error.offset };
      throw new PalLinkerError('object', `read object: ${error.message}`, place, { cause: error });
    }
  }

  #refuse(problem: string, offset = this.#reader.offset, code: PalLinkerErrorCode = 'object'): never {
    throw new PalLinkerError(code, `read object: ${problem}`, { object: this.#name, section: this.#section, offset });
  }

  #header(): void {
    if (!isWasm(this.#bytes)) this.#refuse('expected a WebAssembly object, got something else', 0);
    this.#reader.u32('magic');
    const version = this.#reader.u32('version', true);
    if (version !== 1) this.#refuse(`expected version 1, got ${version}`, 4);
  }

  #readSection(): void {
    const id = this.#reader.u8('section id');
    this.#section = SECTION_NAMES[id] ?? this.#refuse(`use the section ${id}`, this.#reader.offset - 1, 'feature');
    const size = varu32.read(this.#reader);
    const start = this.#reader.offset;
    this.#contents.push({ id, start, end: start + size });
    this.#reader.bounded(size, this.#section, () => this.#content(id, start + size));
  }

  #content(id: number, end: number): void {
    switch (id) {
      case 0:
        this.#custom(end);
        return;
      case 1:
        this.#types = this.#vector(() => this.#functionType());
        return;
      case 2:
        this.#vector(() => this.#import());
        return;
      case 3:
        this.#functionTypes = this.#vector(() => this.#typeIndex());
        return;
      case 4:
        this.#refuse('have a table of its own', undefined, 'feature');
        break;
      case 5:
        this.#refuse('expected a relocatable object, got a finished module: one with a memory of its own');
        break;
      case 6:
        this.#globals = this.#vector(() => this.#global());
        return;
      case 8:
        this.#refuse('expected constructors as init functions, got a start function');
        break;
      case 10:
        this.#bodies = this.#vector(() => this.#sized('function body'));
        return;
      case 11:
        this.#data = this.#vector(() => this.#segment());
        return;
      default:
        // Exports and elements follow from the symbols and relocations.
        this.#skipTo(end);
    }
  }

  #skipTo(end: number): void {
    this.#reader.take(end - this.#reader.offset, 'section');
  }

  #vector<T>(element: () => T): readonly T[] {
    const values: T[] = [];
    for (let left = varu32.read(this.#reader); left > 0; left--) values.push(element());
    return values;
  }

  #text(): string {
    const at = this.#reader.offset;
    const raw = this.#reader.take(varu32.read(this.#reader), 'name');
    // An object has thousands of short names in ASCII, and a decoder takes longer to call than to read them.
    if (raw.length < SHORT && raw.every((byte) => byte < 0x80)) return String.fromCharCode(...raw);
    try {
      return utf8.decode(raw);
    } catch {
      throw new WireError('bad-value', 'decode name', 'expected UTF-8, got other bytes', at);
    }
  }

  #valueType(): number {
    const type = this.#reader.u8('value type');
    if (!VALUE_TYPES.has(type)) this.#refuse(`use the value type 0x${type.toString(16)}`, undefined, 'feature');
    return type;
  }

  #functionType(): FunctionType {
    const form = this.#reader.u8('type form');
    if (form !== 0x60) this.#refuse(`use a type of form 0x${form.toString(16)}`, undefined, 'feature');
    return { parameters: this.#vector(() => this.#valueType()), results: this.#vector(() => this.#valueType()) };
  }

  #typeIndex(): number {
    const index = varu32.read(this.#reader);
    if (index >= this.#types.length) this.#refuse(`expected one of ${this.#types.length} types, got ${index}`);
    return index;
  }

  #import(): void {
    const module = this.#text();
    const field = this.#text();
    const kind = this.#reader.u8('import kind');
    switch (kind) {
      case EXTERNAL.FUNCTION:
        this.#functionImports.push({ module, field, type: this.#typeIndex() });
        return;
      case EXTERNAL.TABLE:
        this.#valueType();
        this.#limits();
        this.#tableImports++;
        return;
      case EXTERNAL.MEMORY:
        this.#limits();
        return;
      case EXTERNAL.GLOBAL:
        this.#globalImports.push({ module, field, type: this.#valueType() });
        this.#reader.u8('mutability');
        return;
      default:
        this.#tagImports++;
        this.#refuse('handle exceptions', undefined, 'feature');
    }
  }

  #limits(): void {
    const flags = this.#reader.u8('limits');
    if ((flags & 2) !== 0) this.#refuse('share memory between threads', undefined, 'feature');
    if (flags > 1) this.#refuse('use 64-bit memory', undefined, 'feature');
    varu32.read(this.#reader);
    if (flags === 1) varu32.read(this.#reader);
  }

  #global(): ObjectGlobal {
    const type = this.#valueType();
    const isMutable = this.#reader.u8('mutability') === 1;
    return { type, isMutable, expression: this.#slice(this.#expression()) };
  }

  #expression(): Span {
    const start = this.#reader.offset;
    const refused = (at: number, what: string) => this.#refuse(`use ${what}`, at, 'feature');
    for (;;) {
      const { opcode } = readInstruction(this.#reader, refused);
      if (opcode === END) return { start, end: this.#reader.offset };
      if (opcode === GLOBAL_GET) this.#refuse('begin with the value of another global', start, 'feature');
    }
  }

  #sized(what: string): Span {
    const size = varu32.read(this.#reader);
    const start = this.#reader.offset;
    this.#reader.take(size, what);
    return { start, end: start + size };
  }

  #segment(): Span {
    const flags = varu32.read(this.#reader);
    if (flags > 1) this.#refuse('have data in a second memory', undefined, 'feature');
    if (flags === 0) this.#expression();
    return this.#sized('data');
  }

  #slice({ start, end }: Span): Uint8Array {
    return this.#bytes.subarray(start, end);
  }

  #custom(end: number): void {
    const name = this.#text();
    this.#section = name;
    if (name === 'linking') this.#linking(end);
    else if (name.startsWith('reloc.')) this.#relocationSection();
    else this.#skipTo(end);
  }

  #linking(end: number): void {
    const version = varu32.read(this.#reader);
    if (version !== 2) this.#refuse(`expected version 2 of the linking section, got ${version}`);
    while (this.#reader.offset < end) {
      const kind = this.#reader.u8('subsection');
      const size = varu32.read(this.#reader);
      const subsectionEnd = this.#reader.offset + size;
      this.#reader.bounded(size, 'subsection', () => this.#subsection(kind, subsectionEnd));
    }
  }

  #subsection(kind: number, end: number): void {
    switch (kind) {
      case SUBSECTION.SEGMENT_INFO:
        this.#segmentInfo = this.#vector(() => this.#segmentInformation());
        return;
      case SUBSECTION.INIT_FUNCS:
        this.#initFunctions = this.#vector(() => {
          return { priority: varu32.read(this.#reader), symbol: varu32.read(this.#reader) };
        });
        return;
      case SUBSECTION.COMDAT_INFO:
        this.#comdats = this.#vector(() => this.#comdat());
        return;
      case SUBSECTION.SYMBOL_TABLE:
        this.#symbols = this.#vector(() => this.#symbol());
        return;
      default:
        this.#skipTo(end);
    }
  }

  #segmentInformation(): SegmentInfo {
    const name = this.#text();
    const bits = varu32.read(this.#reader);
    if (bits > MAX_ALIGNMENT_BITS) this.#refuse(`expected an alignment of at most 4096, got 2^${bits}`);
    return { name, alignment: 2 ** bits, flags: varu32.read(this.#reader) };
  }

  #comdat(): Comdat {
    const name = this.#text();
    const flags = varu32.read(this.#reader);
    if (flags !== 0) this.#refuse(`expected no flags of a group, got ${flags}`);
    const functions: number[] = [];
    const segments: number[] = [];
    this.#vector(() => {
      const kind = varu32.read(this.#reader);
      const index = varu32.read(this.#reader);
      if (kind === COMDAT_DATA) segments.push(index);
      else if (kind === COMDAT_FUNCTION) functions.push(index);
      else if (kind !== COMDAT_SECTION) this.#refuse(`expected functions and data in a group, got kind ${kind}`);
    });
    return { name, functions, segments };
  }

  #symbol(): WasmSymbol {
    const kind = this.#reader.u8('symbol kind');
    const flags = varu32.read(this.#reader);
    const isUndefined = (flags & SYMBOL_FLAG.UNDEFINED) !== 0;
    const none = { kind, flags, index: 0, offset: 0, size: 0 };
    if (kind === SYMBOL_KIND.DATA) {
      const name = this.#text();
      if (isUndefined) return { ...none, name };
      const [index, offset, size] = [varu32.read(this.#reader), varu32.read(this.#reader), varu32.read(this.#reader)];
      return { ...none, name, index, offset, size };
    }
    const index = varu32.read(this.#reader);
    if (kind === SYMBOL_KIND.SECTION) return { ...none, name: '', index };
    if (kind > SYMBOL_KIND.TABLE) this.#refuse(`expected a kind of symbol up to ${SYMBOL_KIND.TABLE}, got ${kind}`);
    const isNamed = !isUndefined || (flags & SYMBOL_FLAG.EXPLICIT_NAME) !== 0;
    return { ...none, index, name: isNamed ? this.#text() : this.#importedName(kind, index) };
  }

  #importedName(kind: number, index: number): string {
    if (kind === SYMBOL_KIND.TABLE) return TABLE_NAME;
    const imports = kind === SYMBOL_KIND.FUNCTION ? this.#functionImports : this.#globalImports;
    const found = imports[index];
    return found === undefined ? this.#refuse(`expected one of ${imports.length} imports, got ${index}`) : found.field;
  }

  #relocationSection(): void {
    const section = varu32.read(this.#reader);
    this.#relocations.set(
      section,
      this.#vector(() => this.#relocation()),
    );
  }

  #relocation(): WasmRelocation {
    const type = this.#reader.u8('relocation type');
    const offset = varu32.read(this.#reader);
    const index = varu32.read(this.#reader);
    const isWide = WIDE.has(type);
    if (isWide) this.#refuse('use 64-bit memory', undefined, 'feature');
    return { type, offset, index, addend: WITH_ADDEND.has(type) ? readVars32(this.#reader) : 0 };
  }

  #finish(): WasmObject {
    this.#section = 'linking';
    const symbols =
      this.#symbols ?? this.#refuse('expected a relocatable object, got a finished module: one without symbols', 0);
    if (this.#bodies.length !== this.#functionTypes.length)
      this.#refuse(`expected ${this.#functionTypes.length} function bodies, got ${this.#bodies.length}`, 0);
    const code = this.#relocationsOf(CODE, this.#bodies);
    const data = this.#relocationsOf(DATA, this.#data);
    const object: WasmObject = {
      name: this.#name,
      types: this.#types,
      functionImports: this.#functionImports,
      functions: this.#bodies.map((body, i) => ({
        type: this.#functionTypes[i] ?? 0,
        content: this.#slice(body),
        relocations: code[i] ?? [],
      })),
      globalImports: this.#globalImports,
      globals: this.#globals,
      segments: this.#data.map((span, i) => ({
        name: this.#segmentInfo[i]?.name ?? '.data',
        alignment: this.#segmentInfo[i]?.alignment ?? 1,
        flags: this.#segmentInfo[i]?.flags ?? 0,
        content: this.#slice(span),
        relocations: data[i] ?? [],
      })),
      symbols,
      initFunctions: this.#initFunctions,
      comdats: this.#comdats,
    };
    this.#assertIndexes(object);
    return object;
  }

  /** Gives each function or segment its relocations; a place between two of them is refused. */
  #relocationsOf(id: number, spans: readonly Span[]): readonly (readonly WasmRelocation[])[] {
    const at = this.#contents.findIndex((section) => section.id === id);
    const base = this.#contents[at]?.start ?? 0;
    const width = id === CODE ? 5 : 4;
    const result = spans.map((): WasmRelocation[] => []);
    let i = 0;
    let last = -1;
    for (const relocation of this.#relocations.get(at) ?? []) {
      const place = base + relocation.offset;
      if (WORDS.has(relocation.type) !== (width === 4))
        this.#refuse(`expected a relocation of a number of ${width} bytes, got type ${relocation.type}`, place);
      if (place < last) this.#refuse('expected relocations in the order of their places', place);
      last = place + width;
      while (i < spans.length && place >= (spans[i]?.end ?? 0)) i++;
      const span = spans[i];
      if (span === undefined || place < span.start || place + width > span.end)
        return this.#refuse('expected the place of a relocation in a function or segment', place);
      result[i]?.push({ ...relocation, offset: place - span.start });
    }
    return result;
  }

  #assertIndexes(object: WasmObject): void {
    const { functions, functionImports, globals, globalImports, segments, symbols, initFunctions, comdats, types } =
      object;
    const bounds: Readonly<Record<number, readonly [number, number]>> = {
      [SYMBOL_KIND.FUNCTION]: [functionImports.length, functions.length],
      [SYMBOL_KIND.DATA]: [0, segments.length],
      [SYMBOL_KIND.GLOBAL]: [globalImports.length, globals.length],
      [SYMBOL_KIND.SECTION]: [0, this.#contents.length],
      [SYMBOL_KIND.TAG]: [this.#tagImports, 0],
      [SYMBOL_KIND.TABLE]: [this.#tableImports, 0],
    };
    for (const { kind, flags, index, offset, name } of symbols) {
      const [imported, own] = bounds[kind] ?? [0, 0];
      const isUndefined = (flags & SYMBOL_FLAG.UNDEFINED) !== 0;
      if (kind === SYMBOL_KIND.DATA && (isUndefined || (flags & SYMBOL_FLAG.ABSOLUTE) !== 0)) continue;
      const isWithin = isUndefined ? index < imported : index >= imported && index < imported + own;
      const length = segments[index]?.content.length ?? 0;
      if (!isWithin || (kind === SYMBOL_KIND.DATA && offset > length))
        this.#refuse(`expected a symbol within what the object has, got ${JSON.stringify(name)} at ${index}`, 0);
    }
    for (const { symbol } of initFunctions)
      if (symbols[symbol]?.kind !== SYMBOL_KIND.FUNCTION)
        this.#refuse(`expected a function to call first, got ${symbol}`, 0);
    for (const comdat of comdats) {
      const isKnown = comdat.functions.every(
        (i) => i >= functionImports.length && i < functionImports.length + functions.length,
      );
      if (!isKnown || !comdat.segments.every((i) => i < segments.length))
        this.#refuse(`expected a group of what the object has, got ${JSON.stringify(comdat.name)}`, 0);
    }
    for (const { relocations } of [...functions, ...segments]) {
      for (const { type, index } of relocations) {
        const count = type === RELOCATION.TYPE_INDEX_LEB ? types.length : symbols.length;
        if (index >= count) this.#refuse(`expected one of ${count} symbols or types, got ${index}`, 0);
      }
    }
  }
}

const CODE = 10;
const DATA = 11;
const SHORT = 256;
const GLOBAL_GET = 0x23;
const COMDAT_DATA = 0;
const COMDAT_FUNCTION = 1;
const COMDAT_SECTION = 5;
const TABLE_NAME = '__indirect_function_table';
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const WITH_ADDEND: ReadonlySet<number> = new Set([
  RELOCATION.MEMORY_ADDR_LEB,
  RELOCATION.MEMORY_ADDR_SLEB,
  RELOCATION.MEMORY_ADDR_I32,
  RELOCATION.FUNCTION_OFFSET_I32,
  RELOCATION.SECTION_OFFSET_I32,
  RELOCATION.MEMORY_ADDR_REL_SLEB,
  RELOCATION.MEMORY_ADDR_TLS_SLEB,
  RELOCATION.MEMORY_ADDR_LOCREL_I32,
]);
/** Those of 64-bit memory. */
const WIDE: ReadonlySet<number> = new Set([14, 15, 16, 17, 18, 19, 22, 24, 25]);
/** Those of four bytes; all others are LEB128 integers in five. */
const WORDS: ReadonlySet<number> = new Set([
  RELOCATION.TABLE_INDEX_I32,
  RELOCATION.MEMORY_ADDR_I32,
  RELOCATION.FUNCTION_OFFSET_I32,
  RELOCATION.SECTION_OFFSET_I32,
  RELOCATION.GLOBAL_INDEX_I32,
  RELOCATION.MEMORY_ADDR_LOCREL_I32,
  RELOCATION.FUNCTION_INDEX_I32,
]);
