/** How a handler refuses: Part 1, clause 39, and Part 2, 6.6. */
import { encodeResponseCode } from '@casemate/tpm';

/** Thrown inside the TPM where a command is refused; the dispatcher turns it into a response. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  /** The response code with the handle, session or parameter that is to blame. */
  readonly responseCode: number;

  /** `responseCode` is complete: see `atParameter` and its neighbours. */
  constructor(responseCode: number) {
    super(`TPM_RC 0x${responseCode.toString(16)}`);
    this.responseCode = responseCode;
  }
}

/** Refuses with a code that blames nothing in particular. */
export function refuse(code: number): never {
  throw new Refusal(code);
}

/** Refuses and blames parameter `index`, counted from 1; a code of format zero stands for itself. */
export function refuseParameter(code: number, index: number): never {
  throw new Refusal(atParameter(code, index));
}

/** Refuses and blames handle `index`, counted from 1. */
export function refuseHandle(code: number, index: number): never {
  throw new Refusal(atHandle(code, index));
}

/** Refuses and blames session `index`, counted from 1. */
export function refuseSession(code: number, index: number): never {
  throw new Refusal(encodeResponseCode(code, { kind: 'session', index }));
}

/** `code` with parameter `index` to blame, unless it blames something already. */
export function atParameter(code: number, index: number): number {
  return isBlaming(code) ? code : encodeResponseCode(code, { kind: 'parameter', index });
}

/** `code` with handle `index` to blame, unless it blames something already. */
export function atHandle(code: number, index: number): number {
  return isBlaming(code) ? code : encodeResponseCode(code, { kind: 'handle', index });
}

/** Runs `check` and blames parameter `index` for a refusal of it that blames nothing yet. */
export function blameParameter<T>(index: number, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(atParameter(error.responseCode, index));
    throw error;
  }
}

function isBlaming(code: number): boolean {
  return (code & 0x80) !== 0 && (code & 0xf40) !== 0;
}
