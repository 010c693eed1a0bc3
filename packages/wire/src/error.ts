/** The one error of this package: what was being coded, where in the value, and where in the bytes. */

/**
 * Why bytes or a value were refused.
 *
 * - `truncated`: the bytes end before the value does
 * - `trailing`: the value ends before the bytes do
 * - `too-long`, `too-short`: a length or count is outside its bounds
 * - `bad-value`: a number, tag or selector that the format does not allow
 * - `reserved-bits`: a bit that the format reserves is set
 * - `bad-input`: the value given for encoding has the wrong type or range
 */
export type WireErrorCode =
  | 'truncated'
  | 'trailing'
  | 'too-long'
  | 'too-short'
  | 'bad-value'
  | 'reserved-bits'
  | 'bad-input';

/** Thrown by every codec. `path` names the field from the outermost structure inwards, `offset` counts bytes from the start. */
export class WireError extends Error {
  /** Always `WireError`. */
  override readonly name = 'WireError';
  /** Why; switch on this, never on the text. */
  readonly code: WireErrorCode;
  /** Where, in bytes from the start. */
  readonly offset: number;
  readonly #problem: string;
  #subject: string;
  #path: string[] = [];

  /** `subject` is the codec that refused (`decode TPM2B_DIGEST`), `problem` what was expected and what was found. */
  constructor(code: WireErrorCode, subject: string, problem: string, offset: number) {
    super();
    this.code = code;
    this.offset = offset;
    this.#problem = problem;
    this.#subject = subject;
    this.#render();
  }

  /** What was being done to which format, such as `decode TPM2B_DIGEST`: the innermost codec that refused. */
  get subject(): string {
    return this.#subject;
  }

  /** The field that was being coded, outermost first, joined by `/`; empty at the top. */
  get path(): string {
    return this.#path.join('/');
  }

  /** Adds the enclosing field in front of the path; called by composite codecs while the error passes through them. */
  within(field: string | number): this {
    this.#path.unshift(String(field));
    this.#render();
    return this;
  }

  #render(): void {
    const at = this.#path.length > 0 ? `${this.path}, ` : '';
    this.message = `${this.#subject}: ${this.#problem} (at ${at}offset 0x${this.offset.toString(16)})`;
  }
}
