/** What ties a command of `@casemate/tpm` to the code that runs it. */
import type { AnyCommand, CommandRequest, CommandResponse } from '@casemate/tpm';
import type { Authorization } from './authorization.js';
import type { Tpm } from './tpm.js';

/** What a handler may know about the command besides its request. */
export interface Invocation {
  /** The locality that the command came from. */
  readonly locality: number;
  /** The sessions that came with it, in order. */
  readonly authorizations: readonly Authorization[];
  /** cpHash of the command under a hash algorithm, for commands that note what they were called with. */
  cpHash(alg: number): Uint8Array;
}

/** What can be said of a handler. */
interface HandlerOptions {
  /** Has it let go of the bytes of its request when it returns? Then they need not be copied out of the command. */
  readonly keepsNothing?: boolean;
}

/** A command with its handler, the types forgotten. */
export interface Handler extends HandlerOptions {
  /** The command's description. */
  readonly command: AnyCommand;
  /** Runs it; refuses by throwing `Refusal` before it has changed anything. */
  run(tpm: Tpm, request: Readonly<Record<string, unknown>>, invocation: Invocation): Readonly<Record<string, unknown>>;
}

/** Ties `command` to `run`, with the types of its request and response. */
/* @__NO_SIDE_EFFECTS__ */
export function handler<C extends AnyCommand>(
  command: C,
  run: (tpm: Tpm, request: CommandRequest<C>, invocation: Invocation) => CommandResponse<C>,
  options?: HandlerOptions,
): Handler {
  return {
    ...options,
    command,
    // The dispatcher makes requests with the codecs of this same command, so they have its type.
    run: (tpm, request, invocation) => run(tpm, request as CommandRequest<C>, invocation) as Record<string, unknown>,
  };
}
