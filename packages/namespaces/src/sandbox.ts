/** A running sandbox: its streams, its end, its signals. */
import type { Duplex, Readable, Writable } from 'node:stream';

/** Where a standard stream of the command goes: a stream of {@link Sandbox}, nowhere, the caller's own, or a descriptor. */
export type StdioTarget = 'pipe' | 'ignore' | 'inherit' | number;

/** Where the three standard streams go; each is a `pipe` unless it is said here. */
export interface StdioTargets {
  /** Standard input. */
  readonly stdin?: StdioTarget;
  /** Standard output. */
  readonly stdout?: StdioTarget;
  /** Standard error. */
  readonly stderr?: StdioTarget;
}

/** The size of a terminal in characters, each 1 … 65535. */
export interface TerminalSize {
  /** Characters in a line. */
  readonly columns: number;
  /** Lines. */
  readonly rows: number;
}

/** All three standard streams are a terminal, which controls the session of the command: see {@link SandboxProcess.pty}. */
export interface StdioTerminal {
  /** Its size at the start. */
  readonly pty: TerminalSize;
}

/** The terminal of a command: what is written is typed, what is read was shown. */
export interface SandboxTerminal extends Duplex {
  /** Changes the size; the command gets SIGWINCH. Throws `bad-spec` for a size that is none. */
  resize(size: TerminalSize): void;
}

/** A process to be started in a running sandbox; what is not said is as for its first command. */
export interface ExecSpec {
  /** The command and its arguments. The first is an absolute path inside. */
  readonly command: readonly [string, ...string[]];
  /** The whole environment. Default: that of the first command. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory inside. */
  readonly cwd?: string;
  /** Who it is, in ids of the inside. */
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups?: readonly number[] };
}

/** Options of `startSandbox` and of {@link Sandbox.exec}. */
export interface StartOptions {
  /** Standard streams. Default: each a `pipe`. */
  readonly stdio?: StdioTargets | StdioTerminal;
  /** Ends the sandbox when it is aborted; a start that is still under way then rejects with the reason. */
  readonly signal?: AbortSignal;
}

/** How the command ended: with an exit code, or by a signal. */
export type SandboxExit =
  | { readonly code: number; readonly signal: null }
  | { readonly code: null; readonly signal: NodeJS.Signals };

/** A started sandbox. It ends with the command, with {@link Sandbox.stop}, or with the program that started it. */
export interface Sandbox extends SandboxProcess {
  /**
   * Starts another process in the sandbox, in the same namespaces and cgroups and with the same confinement; resolves once it
   * executes. It ends with the sandbox if not before. Throws like `startSandbox`, and `operation-failed` with `ESRCH` where the
   * sandbox has ended.
   */
  exec(spec: ExecSpec, options?: StartOptions): Promise<SandboxProcess>;
}

/** A process in a sandbox: its first one, or one that {@link Sandbox.exec} has started. */
export interface SandboxProcess extends AsyncDisposable {
  /** The process id, as the caller's pid namespace numbers it. */
  readonly pid: number;
  /** Standard input of the command, or null where it is no pipe. */
  readonly stdin: Writable | null;
  /** Standard output of the command, or null where it is no pipe. */
  readonly stdout: Readable | null;
  /** Standard error of the command, or null where it is no pipe. */
  readonly stderr: Readable | null;
  /** The terminal of the command, or null where it has none. */
  readonly pty: SandboxTerminal | null;
  /** Resolves when the command has ended; for the first one of a sandbox, when no process is left. May be called many times. */
  wait(): Promise<SandboxExit>;
  /** Sends a signal to the process. A command that is pid 1 gets only signals that it handles. Throws `ended`, and `bad-spec` for no signal. */
  signal(signal: NodeJS.Signals): void;
  /**
   * Ends the process: SIGTERM, and if it has not ended after `grace` milliseconds (default 2000; 0 is at once) SIGKILL. With the
   * first one of a sandbox every process of it ends. Resolves when that is so; calling it after the end does nothing.
   */
  stop(options?: { readonly grace?: number }): Promise<SandboxExit>;
}
