/** The one error of this package: which PAL or module was refused, why, and where in its bytes. */

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
 */
export type PalLinkerErrorCode = 'input' | 'malformed' | 'limit' | 'feature' | 'import' | 'entry' | 'memory' | 'image';

/** Thrown by every function of this package; switch on `code`. */
export class PalLinkerError extends Error {
  /** Always `PalLinkerError`. */
  override readonly name = 'PalLinkerError';
  /** Why it was refused. */
  readonly code: PalLinkerErrorCode;
  /** The section of the WebAssembly module that was being read, where there is one: `import`, `code` … */
  readonly section: string | undefined;
  /** Where in the module or image, in bytes from its start, where there is a place. */
  readonly offset: number | undefined;

  /** `problem` says what was expected and what was found; section and offset are added to the message. */
  constructor(
    code: PalLinkerErrorCode,
    problem: string,
    place: { readonly section?: string | undefined; readonly offset?: number | undefined } = {},
    options?: ErrorOptions,
  ) {
    super(`${problem}${describe(place)}`, options);
    this.code = code;
    this.section = place.section;
    this.offset = place.offset;
  }
}

function describe(place: { readonly section?: string | undefined; readonly offset?: number | undefined }): string {
  const section = place.section === undefined ? [] : [`section ${place.section}`];
  const offset = place.offset === undefined ? [] : [`offset 0x${place.offset.toString(16)}`];
  const parts = [...section, ...offset];
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}
