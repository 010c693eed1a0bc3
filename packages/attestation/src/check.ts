/** What a verifier reports: named checks, and the verdict over all of them. */

/**
 * The names of the checks, each the word for one piece of evidence.
 *
 * - `certificate`: the chains of the attestation key and of the device, and the proof that the device holds its key
 * - `quote`: the TPM's signature, and everything inside what it signed
 * - `event-log`: the logs replay to the PCR values that the quote covers
 * - `config`: each configuration is the one that was measured
 * - `image`: the image that a configuration names is the one that was measured
 * - `signature`: each configuration is signed by someone whom the software anchors vouch for
 * - `pal`: each PAL's quote is made by the key and over the code that the platform measured
 * - `sealed-state`: the device found the sealed state of its PALs intact
 * - `replay`: the evidence answers this challenge, now, and no old state was given to a PAL
 */
export const CHECK_NAMES = [
  'certificate',
  'quote',
  'event-log',
  'config',
  'image',
  'signature',
  'pal',
  'sealed-state',
  'replay',
] as const;

/** The name of a check, one of {@link CHECK_NAMES}. */
export type CheckName = (typeof CHECK_NAMES)[number];

/** One check that was made. */
export interface Check {
  /** Which evidence was checked. */
  readonly name: CheckName;
  /** Whether it held. */
  readonly ok: boolean;
  /** What was checked and found, for a reader, without control characters; not a text to switch on. */
  readonly detail: string;
  /** The checks that this one needs, of which one failed, so that it was not made; there only where `ok` is false. */
  readonly because?: readonly CheckName[];
}

/** The outcome of all checks. */
export interface Verdict {
  /** Whether every name of {@link CHECK_NAMES} was checked and every check held. */
  readonly trusted: boolean;
  /**
   * The names that failed or were never checked, in the order of {@link CHECK_NAMES}. A check that could not be made because another
   * one failed is represented by that other one.
   */
  readonly failed: readonly CheckName[];
}

/**
 * The verdict over the checks of `verifyEvidence` and `validateEvidence` together. A name that was never checked counts as failed,
 * so that forgetting a step can't turn into trust.
 */
export function verdict(checks: readonly Check[]): Verdict {
  const broken = new Set(checks.filter((check) => !check.ok && check.because === undefined).map(({ name }) => name));
  const failed = CHECK_NAMES.filter((name) => {
    const own = checks.filter((check) => check.name === name);
    return own.length === 0 || own.some((check) => !check.ok && !check.because?.some((cause) => broken.has(cause)));
  });
  return { trusted: failed.length === 0 && checks.every((check) => check.ok), failed };
}

/** A check that held. */
export function passed(name: CheckName, detail: string): Check {
  return { name, ok: true, detail: printable(detail) };
}

/** A check that did not hold. */
export function failed(name: CheckName, detail: string): Check {
  return { name, ok: false, detail: printable(detail) };
}

/** A check that could not be made, because one of the checks `because` failed. */
export function notMade(name: CheckName, because: readonly CheckName[], detail: string): Check {
  return { name, ok: false, detail: printable(detail), because };
}

/** Details hold names that the prover chose. On a terminal or in a log they must not begin a line, nor hide what stands before them. */
function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
