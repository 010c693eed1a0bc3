/** A running sandbox: its streams, its end, its signals. */
import type { Readable, Writable } from 'node:stream';

/** Where a standard stream of the command goes: a stream of {@link Sandbox}, nowhere, the caller's own, or a descriptor. */
export type StdioTarget = 'pipe' | 'ignore' | 'inherit' | number;

/** Options of `startSandbox`. */
export interface StartOptions {
  /** Standard streams. Default: each a `pipe`. */
  readonly stdio?: { readonly stdin?: StdioTarget; readonly stdout?: StdioTarget; readonly stderr?: StdioTarget };
  /** Ends the sandbox when it is aborted. */
  readonly signal?: AbortSignal;
}

/** How the command ended: with an exit code, or by a signal. */
export type SandboxExit =
  | { readonly code: number; readonly signal: null }
  | { readonly code: null; readonly signal: NodeJS.Signals };

/** A started sandbox. It ends with the command, with {@link Sandbox.stop}, or with the program that started it. */
export interface Sandbox extends AsyncDisposable {
  /** The process id of the first process of the sandbox, as the caller's pid namespace numbers it. */
  readonly pid: number;
  /** Standard input of the command, or null where it is no pipe. */
  readonly stdin: Writable | null;
  /** Standard output of the command, or null where it is no pipe. */
  readonly stdout: Readable | null;
  /** Standard error of the command, or null where it is no pipe. */
  readonly stderr: Readable | null;
  /** Resolves when the command has ended and no process of the sandbox is left. May be called many times. */
  wait(): Promise<SandboxExit>;
  /** Sends a signal to the first process. A command that is pid 1 gets only signals that it handles. Throws `ended`. */
  signal(signal: NodeJS.Signals): void;
  /**
   * Ends the sandbox: SIGTERM, and if it has not ended after `grace` milliseconds (default 2000; 0 is at once) SIGKILL to every
   * process of it. Resolves when none is left; calling it after the end does nothing.
   */
  stop(options?: { readonly grace?: number }): Promise<SandboxExit>;
}
