/** The one error of this package: which object, module or image was refused, why, and where in its bytes. */

/**
 * Why a module or an image was refused.
 *
 * - `input`: an option of {@link linkPal} has the wrong type or range
 * - `malformed`: the module is not WebAssembly 1.0 in the binary format
 * - `limit`: the module is well-formed but larger than a PAL may be
 * - `feature`: it uses something that a PAL may not use (threads, several memories, relaxed SIMD, exceptions …)
 * - `import`: it imports something other than a PAL service, or a service with another type
 * - `entry`: the entry function is missing, or its type is not `(i32, i32, i32, i32) -> ()`
 * - `memory`: it has no memory of its own, or asks for more than it may have
 * - `image`: the bytes are not a PAL image, or a section does not match its digest
 * - `object`: the bytes are not a relocatable ELF object or an archive of such, or not of the expected machine
 * - `undefined-symbol`: code that is kept refers to a symbol that nobody defines
 * - `duplicate-symbol`: two objects define it
 * - `function-type`: an object calls a function with other parameters or results than the one that defines it says
 * - `relocation`: of a type that a PAL cannot have, or the value does not fit
 * - `thread-local`: code that is kept uses thread-local storage
 * - `constructor`: there are constructors, and the options refuse them
 * - `tool`: a compiler or another program that is needed is missing or does not work (only when building)
 * - `compile`: a compiler refused a source; `diagnostics` has what it said (only when building)
 * - `signature`: the image's signature block is missing, malformed, for another image, or not authentic
 */
export type PalLinkerErrorCode =
  | 'input'
  | 'malformed'
  | 'limit'
  | 'feature'
  | 'import'
  | 'entry'
  | 'memory'
  | 'image'
  | 'object'
  | 'undefined-symbol'
  | 'duplicate-symbol'
  | 'function-type'
  | 'relocation'
  | 'thread-local'
  | 'constructor'
  | 'signature'
  | 'tool'
  | 'compile';

/** Where something was refused; what does not apply is left out. */
export interface PalLinkerPlace {
  /** The object file, `libc.a(memcpy.o)` for a member of an archive. */
  readonly object?: string | undefined;
  /** The section of the object or module. */
  readonly section?: string | undefined;
  /** The symbol. */
  readonly symbol?: string | undefined;
  /** Bytes from the start of the module, image or object; for relocations, from the start of the section. */
  readonly offset?: number | undefined;
}

/** One message of a compiler. */
export interface PalDiagnostic {
  /** `error` or `warning`. */
  readonly severity: 'error' | 'warning';
  /** What it says, without place. */
  readonly message: string;
  /** The file, as the compiler names it: relative to the base directory. */
  readonly file: string;
  /** The line, from 1. */
  readonly line: number;
  /** The column, from 1; 1 where the compiler names none. */
  readonly column: number;
}

/** Thrown by every function of this package; switch on `code`. */
export class PalLinkerError extends Error {
  /** Always `PalLinkerError`. */
  override readonly name = 'PalLinkerError';
  /** Why it was refused. */
  readonly code: PalLinkerErrorCode;
  /** The object file, where there is one; `libc.a(memcpy.o)` for a member of an archive. */
  readonly object: string | undefined;
  /** The section of the module or object that was being read, where there is one: `import`, `.text.main` … */
  readonly section: string | undefined;
  /** The symbol, where it is about one. */
  readonly symbol: string | undefined;
  /** Where in the module, image, object or section, in bytes from its start, where there is a place. */
  readonly offset: number | undefined;
  /** What a compiler said, where `code` is `compile`; else empty. */
  readonly diagnostics: readonly PalDiagnostic[];

  /** `problem` says what was expected and what was found; the place is added to the message. */
  constructor(
    code: PalLinkerErrorCode,
    problem: string,
    place: PalLinkerPlace = {},
    options: ErrorOptions & { readonly diagnostics?: readonly PalDiagnostic[] } = {},
  ) {
    super(`${problem}${describe(place)}`, options);
    this.code = code;
    this.object = place.object;
    this.section = place.section;
    this.symbol = place.symbol;
    this.offset = place.offset;
    this.diagnostics = options.diagnostics ?? [];
  }
}

function describe({ object, section, symbol, offset }: PalLinkerPlace): string {
  const parts = [
    ...(object === undefined ? [] : [object]),
    ...(section === undefined ? [] : [`section ${section}`]),
    ...(symbol === undefined ? [] : [`symbol ${symbol}`]),
    ...(offset === undefined ? [] : [`offset 0x${offset.toString(16)}`]),
  ];
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}
