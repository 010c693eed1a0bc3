/** Starting a sandbox: plan, hand the plan to the launcher, follow its events. */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import type { Duplex, Readable, Writable } from 'node:stream';
import { readCaller } from './caller.js';
import { errnoName } from './errno.js';
import { NamespaceError } from './error.js';
import { type Launcher, readEvents, runLauncher } from './launcher.js';
import { type Plan, planSandbox } from './plan.js';
import { EVENT, encodePlan, encodeSignal, type LauncherEvent } from './protocol.js';
import { remedyFor } from './remedies.js';
import type { Sandbox, SandboxExit, StartOptions } from './sandbox.js';
import type { SandboxSpec } from './spec.js';

/**
 * Starts the sandbox that `spec` describes; resolves once its command executes. If a protection that it asks for cannot be given,
 * nothing runs. When this program ends, by whatever cause, so does the sandbox.
 *
 * Throws {@link NamespaceError}: `bad-spec`, `launcher-missing`, `launcher-failed`, and `operation-failed` with the operation, the
 * error number and what usually mends it.
 */
export async function startSandbox(spec: SandboxSpec, options: StartOptions = {}): Promise<Sandbox> {
  options.signal?.throwIfAborted();
  const plan = planSandbox(spec, await readCaller());
  const { stdin = 'pipe', stdout = 'pipe', stderr = 'pipe' } = options.stdio ?? {};
  const launcher = await runLauncher(encodePlan(plan.operations), [stdin, stdout, stderr]);
  const sandbox = new LaunchedSandbox(launcher, plan);
  await sandbox.running;
  options.signal?.addEventListener('abort', () => void sandbox.stop({ grace: 0 }), { once: true });
  return sandbox;
}

class LaunchedSandbox implements Sandbox {
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  readonly running: Promise<void>;
  readonly #exit: Promise<SandboxExit>;
  readonly #plan: Plan;
  readonly #control: Duplex;
  #pid = 0;
  #ended: SandboxExit | undefined;
  #isRunning = false;
  #failure: NamespaceError | undefined;

  constructor({ process: child, control }: Launcher, plan: Plan) {
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    this.#plan = plan;
    this.#control = control;
    const running = withResolvers<void>();
    this.running = running.promise;
    this.#exit = this.#follow(child, running);
    this.#exit.catch(() => undefined); // whoever calls wait() hears of it
    this.stdin?.on('error', () => undefined); // EPIPE: the command has closed its input
  }

  get pid(): number {
    return this.#pid;
  }

  wait(): Promise<SandboxExit> {
    return this.#exit;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended)
      throw new NamespaceError('ended', `send ${signal}: expected a running sandbox, got one that has ended`);
    this.#send(signal);
  }

  async stop({ grace = 2000 }: { readonly grace?: number } = {}): Promise<SandboxExit> {
    if (!this.#ended && grace > 0) {
      this.#send('SIGTERM');
      await within(grace, this.#exit);
    }
    if (!this.#ended) this.#send('SIGKILL');
    return this.#exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ grace: 0 }).catch(() => undefined);
  }

  async #follow(child: ChildProcess, running: Resolvers<void>): Promise<SandboxExit> {
    const left = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    try {
      await readEvents(this.#control, (event) => this.#take(event, running));
      await left;
      if (this.#ended) return this.#ended;
      throw this.#failure ?? launcherFailed(child);
    } catch (error) {
      running.reject(error);
      throw error;
    }
  }

  #take(event: LauncherEvent, running: Resolvers<void>): void {
    if (event.type === EVENT.started) this.#pid = event.a;
    if (event.type === EVENT.failed) this.#failure = operationFailed(this.#plan, event);
    if (event.type === EVENT.exited) this.#ended ??= exitOf(event);
    // After a failure the end of the launcher says that nothing is left.
    if (event.type !== EVENT.running || this.#failure || this.#isRunning) return;
    this.#isRunning = true;
    running.resolve();
  }

  #send(signal: NodeJS.Signals): void {
    if (!this.#control.destroyed) this.#control.write(encodeSignal(constants.signals[signal]));
  }
}

function operationFailed(plan: Plan, { a: index, b: number, text }: LauncherEvent): NamespaceError {
  const name = plan.operations[index]?.op ?? 'start';
  const errno = errnoName(number);
  const operation = { index, name, detail: text };
  const message = `start sandbox: expected operation ${index} (${name}, ${text}) to succeed, got ${errno}`;
  return new NamespaceError('operation-failed', message, { operation, errno, remedy: remedyFor(name, errno) });
}

function launcherFailed(child: ChildProcess): NamespaceError {
  const how = child.signalCode ?? `exit status ${child.exitCode}`;
  return new NamespaceError('launcher-failed', `follow sandbox: expected the launcher to report its end, got ${how}`);
}

function exitOf({ a: signaled, b: number }: LauncherEvent): SandboxExit {
  if (signaled === 0) return { code: number, signal: null };
  const names = Object.keys(constants.signals) as NodeJS.Signals[]; // the keys of this table are the names
  const signal = names.find((name) => constants.signals[name] === number);
  return signal ? { code: null, signal } : { code: 128 + number, signal: null }; // a real-time signal has no name
}

async function within(milliseconds: number, end: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([end.catch(() => undefined), late]);
  clearTimeout(timer);
}

interface Resolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

function withResolvers<T>(): Resolvers<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
