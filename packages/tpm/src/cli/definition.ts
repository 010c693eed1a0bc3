/** What a command of the program is. */
import type { BaseContext, CommandDefinition as CommandOf } from '@casemate/command-line';
import type { Tpm } from '../tpm.js';

/** What a command gets. */
export interface Context extends BaseContext {
  /** Connects to the TPM, works, and closes. */
  readonly withTpm: <T>(work: (tpm: Tpm) => Promise<T>) => Promise<T>;
}

/** A command of the program. */
export type CommandDefinition = CommandOf<Context>;
