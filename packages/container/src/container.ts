/** Containers: a GuestOS that is verified, measured and then run, with trust|me's states. */
import type { Readable, Writable } from 'node:stream';
import type { Cgroup, CgroupStats } from '@casemate/cgroups';
import type { Sandbox, SandboxExit } from '@casemate/namespaces';
import { ContainerError, messageOf } from './error.js';
import type { RunLog } from './run-log.js';
import type { VerifiedConfiguration } from './verify.js';

/**
 * The states of a container, by trust|me's names. `ZOMBIE`: it has ended, but something of it could not be removed.
 * BOOTING, SETUP and REBOOTING belong to abilities that are not there yet.
 */
export type ContainerState = 'STARTING' | 'RUNNING' | 'FREEZING' | 'FROZEN' | 'SHUTTING_DOWN' | 'STOPPED' | 'ZOMBIE';

/** What a started container stands on; made by `startContainer`. */
export interface ContainerParts {
  /** What was verified. */
  readonly verified: VerifiedConfiguration;
  /** The running sandbox. */
  readonly sandbox: Sandbox;
  /** Its cgroup. */
  readonly cgroup: Cgroup;
  /** Its record. */
  readonly runLog: RunLog;
  /** Told of each change of state. */
  readonly onState: ((state: ContainerState) => void) | undefined;
  /** Removes everything that was made for it. */
  cleanUp(): Promise<void>;
}

/** A started container. It ends with its first process, with {@link Container.stop}, or with this program. */
export class Container implements AsyncDisposable {
  readonly #parts: ContainerParts;
  readonly #end: Promise<SandboxExit>;
  #state: ContainerState = 'STARTING';

  /** Made by `startContainer`. */
  constructor(parts: ContainerParts) {
    this.#parts = parts;
    this.#enter('RUNNING');
    this.#end = this.#follow();
    this.#end.catch(() => undefined); // whoever waits hears of it
  }

  /** The state now. */
  get state(): ContainerState {
    return this.#state;
  }

  /** What was verified and measured before it was started. */
  get guestOs(): VerifiedConfiguration {
    return this.#parts.verified;
  }

  /** Its record. */
  get runLog(): RunLog {
    return this.#parts.runLog;
  }

  /** Process id of its first process, as this program's pid namespace numbers it. */
  get pid(): number {
    return this.#parts.sandbox.pid;
  }

  /** Standard input of its first process, or null where it is no pipe. */
  get stdin(): Writable | null {
    return this.#parts.sandbox.stdin;
  }

  /** Standard output of its first process, or null where it is no pipe. */
  get stdout(): Readable | null {
    return this.#parts.sandbox.stdout;
  }

  /** Standard error of its first process, or null where it is no pipe. */
  get stderr(): Readable | null {
    return this.#parts.sandbox.stderr;
  }

  /** Resolves when no process of it is left and everything that was made for it is removed. Throws {@link ContainerError} `io`. */
  wait(): Promise<SandboxExit> {
    return this.#end;
  }

  /** What it uses now. */
  stats(): Promise<CgroupStats> {
    return this.#parts.cgroup.stats();
  }

  /** Stops every process of it where it stands. Throws {@link ContainerError} `state` unless it is RUNNING, `CgroupError` where it cannot be done. */
  async freeze(): Promise<void> {
    this.#assertState('freeze', 'RUNNING');
    this.#enter('FREEZING');
    try {
      await this.#parts.cgroup.freeze();
      this.#enterFrom('FREEZING', 'FROZEN');
    } catch (error) {
      this.#enterFrom('FREEZING', 'RUNNING');
      throw error;
    }
  }

  /** Lets its processes run on. Throws {@link ContainerError} `state` unless it is FROZEN. */
  async unfreeze(): Promise<void> {
    this.#assertState('unfreeze', 'FROZEN');
    await this.#parts.cgroup.thaw();
    this.#enterFrom('FROZEN', 'RUNNING');
  }

  /**
   * Ends it: SIGTERM to its first process and, after `grace` milliseconds (2000 unless given), SIGKILL to every process of it.
   * Resolves like {@link Container.wait}; does nothing where it has ended.
   */
  async stop(options: { readonly grace?: number } = {}): Promise<SandboxExit> {
    if (this.#state !== 'STOPPED' && this.#state !== 'ZOMBIE') {
      const wasFrozen = this.#state === 'FROZEN' || this.#state === 'FREEZING';
      this.#enter('SHUTTING_DOWN');
      // What is frozen takes no signal; under cgroup v1 not even SIGKILL.
      if (wasFrozen) await this.#parts.cgroup.thaw().catch(() => undefined);
      await this.#parts.sandbox.stop(options);
    }
    return this.#end;
  }

  /** Stops it at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ grace: 0 }).catch(() => undefined);
  }

  async #follow(): Promise<SandboxExit> {
    const exit = await this.#parts.sandbox.wait().catch((error: unknown) => error as Error);
    if (!(exit instanceof Error)) this.#parts.runLog.append({ event: 'exited', ...exit });
    try {
      await this.#parts.cleanUp();
    } catch (error) {
      this.#enter('ZOMBIE');
      throw new ContainerError('io', `clean up after container: ${messageOf(error)}`, { cause: error });
    }
    this.#enter('STOPPED');
    if (exit instanceof Error) throw new ContainerError('start', `follow container: ${exit.message}`, { cause: exit });
    return exit;
  }

  #assertState(verb: string, expected: ContainerState): void {
    if (this.#state === expected) return;
    throw new ContainerError('state', `${verb} container: expected state ${expected}, got ${this.#state}`);
  }

  #enterFrom(from: ContainerState, to: ContainerState): void {
    if (this.#state === from) this.#enter(to);
  }

  #enter(state: ContainerState): void {
    this.#state = state;
    this.#parts.runLog.append({ event: 'state', state });
    this.#parts.onState?.(state);
  }
}
