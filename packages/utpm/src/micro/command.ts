/** What a command of the micro-TPM is: its shape for the dispatcher, and what runs it. */
import { concat } from '../bytes.js';
import type { Input } from './octets.js';
import type { Micro } from './state.js';

/** A command whose handles have been found and whose authorizations have been checked. */
export interface Call {
  readonly handles: readonly number[];
  /** The parameters; a handler reads them all before it changes anything. */
  readonly input: Input;
  readonly locality: number;
}

/** What a handler answers. */
export interface Answer {
  /** The handle that the response begins with. */
  readonly handle?: number;
  readonly parameters: Uint8Array;
}

/** A command. */
export interface Command {
  readonly code: number;
  /** The types of handles that each place takes (TPM_HT). */
  readonly handles: readonly (readonly number[])[];
  /** The roles of the handles that need an authorization; those come first. */
  readonly roles: readonly ('user' | 'admin')[];
  /** Does the response begin with a handle? */
  readonly makesHandle?: true;
  /** Can the first parameter of the command, or of the response, be encrypted? */
  readonly canDecrypt?: true;
  readonly canEncrypt?: true;
  /** Does it take no sessions at all? */
  readonly isBare?: true;
  /** Does it leave a TPM that was shut down as it is? */
  readonly isHarmless?: true;
  readonly run: (tpm: Micro, call: Call) => Answer;
}

/** Response parameters out of their parts. */
export function answer(...parts: readonly Uint8Array[]): Answer {
  return { parameters: concat(...parts) };
}
