/** Starting a sandbox: plan, hand the plan to the launcher server, follow its events. */
import { constants as files, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { type Caller, readCallerFor } from './caller.js';
import { errnoName } from './errno.js';
import { bad, NamespaceError } from './error.js';
import { checkTerminalSize, planExec, withTerminal } from './exec-plan.js';
import { type Served, type ServerProcess, serverProcess, startPrivateServer } from './launcher.js';
import { type Plan, planSandbox } from './plan.js';
import { EVENT, type LauncherEvent, type StreamName } from './protocol.js';
import { remedyFor } from './remedies.js';
import type {
  ExecSpec,
  Sandbox,
  SandboxExit,
  SandboxProcess,
  SandboxTerminal,
  StartOptions,
  StdioTarget,
  TerminalSize,
} from './sandbox.js';
import type { SandboxSpec } from './spec.js';
import { Supervisor } from './supervisor.js';
import { TerminalStream } from './terminal.js';

/**
 * Starts the sandbox that `spec` describes; resolves once its command executes. If a protection that it asks for cannot be given,
 * nothing runs. When this program ends, by whatever cause, so does the sandbox.
 *
 * Throws {@link NamespaceError}: `bad-spec`, `launcher-missing`, `launcher-failed`, and `operation-failed` with the operation, the
 * error number and what usually mends it.
 */
export async function startSandbox(spec: SandboxSpec, options: StartOptions = {}): Promise<Sandbox> {
  options.signal?.throwIfAborted();
  const plan = startable(spec, await readCallerFor(spec.ids));
  return endWhenAborted(await launch(withStdio(plan, options), targetsOf(options)), options);
}

// The signal may have fired while the sandbox was being made, and it may live on for thousands of sandboxes.
async function endWhenAborted<P extends LaunchedProcess>(process: P, { signal }: StartOptions): Promise<P> {
  if (!signal) return process;
  const stop = (): void => void process.stop({ grace: 0 }).catch(() => undefined);
  if (signal.aborted) {
    await process.stop({ grace: 0 }).catch(() => undefined);
    signal.throwIfAborted();
  }
  signal.addEventListener('abort', stop, { once: true });
  void process.gone.then(() => signal.removeEventListener('abort', stop));
  return process;
}

type Targets = readonly [Target, Target, Target];
type Target = StdioTarget | 'terminal';

function targetsOf({ stdio = {} }: StartOptions): Targets {
  if ('pty' in stdio) return ['terminal', 'terminal', 'ignore'];
  const { stdin = 'pipe', stdout = 'pipe', stderr = 'pipe' } = stdio;
  return [stdin, stdout, stderr];
}

function withStdio(plan: StartablePlan, { stdio = {} }: StartOptions): StartablePlan {
  return 'pty' in stdio ? { ...plan, ...withTerminal(plan, stdio.pty) } : plan;
}

/** A plan, and who answers the system calls that wait. */
interface StartablePlan extends Plan {
  readonly seccomp: SandboxSpec['seccomp'];
}

function startable(spec: SandboxSpec, caller: Caller): StartablePlan {
  return { ...planSandbox(spec, caller), seccomp: spec.seccomp };
}

async function launch(plan: StartablePlan, targets: Targets): Promise<LaunchedProcess> {
  if (targets.some((target) => typeof target === 'number')) return launchPrivately(plan, targets);
  const sandbox = new LaunchedProcess(await serverProcess(), plan, targets.map(streamName));
  try {
    await sandbox.running;
    return sandbox;
  } catch (error) {
    // The server may have died before it read the request; nothing of the sandbox is left, so it can be asked for again.
    if (sandbox.wasHeard || !(error instanceof NamespaceError) || error.code !== 'launcher-failed') throw error;
  }
  const second = new LaunchedProcess(await serverProcess(), plan, targets.map(streamName));
  await second.running;
  return second;
}

/** Descriptors of this program cannot be sent to a server that runs already; a new one inherits them. */
async function launchPrivately(plan: StartablePlan, [stdin, stdout, stderr]: Targets): Promise<LaunchedProcess> {
  const own = (target: Target): 'inherit' | number => (typeof target === 'number' ? target : 'inherit');
  const server = await startPrivateServer([own(stdin), own(stdout), own(stderr)]);
  try {
    const sandbox = new LaunchedProcess(server, plan, [stdin, stdout, stderr].map(streamName));
    void sandbox.gone.then(() => server.close());
    await sandbox.running;
    return sandbox;
  } catch (error) {
    await server.close();
    throw error;
  }
}

function streamName(target: Target): StreamName {
  return typeof target === 'number' ? 'inherit' : target;
}

/** The first process of a sandbox, or another one in it: the launcher treats them alike. */
class LaunchedProcess implements Sandbox {
  /** Whether the launcher has said anything about it. */
  wasHeard = false;
  readonly running: Promise<void>;
  readonly gone: Promise<void>;
  readonly #exit = withResolvers<SandboxExit>();
  readonly #running = withResolvers<void>();
  readonly #gone = withResolvers<void>();
  readonly #plan: StartablePlan;
  readonly #server: ServerProcess;
  readonly #served: Served;
  readonly #supervisor: Supervisor | undefined;
  #streams: readonly [Socket | null, Socket | null, Socket | null] = [null, null, null];
  #terminal: TerminalStream | null = null;
  #pid = 0;
  #ended = false;
  #failure: NamespaceError | undefined;
  #streamFailure: NamespaceError | undefined;

  constructor(server: ServerProcess, plan: StartablePlan, streams: readonly StreamName[], target = 0) {
    this.#supervisor = supervisorFor(plan, (command, ticket, body) => this.#served.tell(command, ticket, body));
    this.#plan = plan;
    this.#server = server;
    this.running = this.#running.promise;
    this.gone = this.#gone.promise;
    this.#exit.promise.catch(() => undefined); // whoever calls wait() hears of it
    this.#served = server.request(
      { verb: 'start', target, streams, operations: plan.operations },
      { event: (event) => this.#take(event), gone: (how) => this.#leave(how) },
    );
  }

  get pid(): number {
    return this.#pid;
  }

  get stdin(): Writable | null {
    return this.#streams[0];
  }

  get stdout(): Readable | null {
    return this.#streams[1];
  }

  get stderr(): Readable | null {
    return this.#streams[2];
  }

  get pty(): SandboxTerminal | null {
    return this.#terminal;
  }

  async exec(spec: ExecSpec, options: StartOptions = {}): Promise<SandboxProcess> {
    options.signal?.throwIfAborted();
    const targets = targetsOf(options);
    if (targets.some((target) => typeof target === 'number')) throw bad('expected pipes for exec, got a descriptor');
    const plan = withStdio({ ...this.#plan, ...planExec(this.#plan, spec) }, options);
    const beside = new LaunchedProcess(this.#server, plan, targets.map(streamName), this.#served.id);
    await beside.running;
    return endWhenAborted(beside, options);
  }

  wait(): Promise<SandboxExit> {
    return this.#exit.promise;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended)
      throw new NamespaceError('ended', `send ${signal}: expected a running sandbox, got one that has ended`);
    this.#send(signal);
  }

  async stop({ grace = 2000 }: { readonly grace?: number } = {}): Promise<SandboxExit> {
    if (!this.#ended && grace > 0) {
      this.#send('SIGTERM');
      await within(grace, this.#exit.promise);
    }
    if (!this.#ended) this.#send('SIGKILL');
    return this.#exit.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ grace: 0 }).catch(() => undefined);
  }

  #take(event: LauncherEvent): void {
    this.wasHeard = true;
    switch (event.type) {
      case EVENT.streams:
        this.#openStreams(event.text);
        break;
      case EVENT.failed:
        this.#failure ??= operationFailed(this.#plan, event); // once everything is gone it is told
        break;
      case EVENT.running:
        this.#pid = event.a;
        this.#running.resolve();
        break;
      case EVENT.call:
        this.#supervisor?.call(event);
        break;
      case EVENT.done:
        this.#supervisor?.done(event);
        break;
      case EVENT.exited:
        this.#ended = true;
        this.#supervisor?.close();
        this.#exit.resolve(exitOf(event));
        this.#gone.resolve();
        break;
    }
  }

  #leave(how: LauncherEvent | NamespaceError): void {
    this.#supervisor?.close();
    this.#gone.resolve();
    if (this.#ended) return;
    const error = this.#failure ?? this.#streamFailure ?? (how instanceof NamespaceError ? how : watcherFailed(how));
    for (const stream of this.#streams) stream?.destroy();
    this.#terminal?.destroy();
    this.#ended = true;
    this.#running.reject(error);
    this.#exit.reject(error);
  }

  #openStreams(paths: string): void {
    try {
      const [stdin = '-', stdout = '-', stderr = '-'] = paths.split(' ');
      this.#streams = [openPipe(stdin, 'write'), openPipe(stdout, 'read'), openPipe(stderr, 'read')];
      if (this.#plan.operations.some(({ op }) => op === 'terminal')) this.#joinTerminal();
      this.#served.tell('streams-taken', 0);
    } catch (cause) {
      // Often only because the watcher has ended already, and then it has told why.
      const message = `open streams: expected to open ${paths.trim()}, got an error`;
      this.#streamFailure = new NamespaceError('launcher-failed', message, { cause });
      this.#send('SIGKILL');
    }
  }

  #joinTerminal(): void {
    const [typed, shown] = this.#streams;
    if (!typed || !shown) return;
    const resize = (size: TerminalSize): void => {
      const { columns, rows } = checkTerminalSize(size);
      this.#served.tell('resize', columns + rows * 0x1_0000);
    };
    this.#terminal = new TerminalStream(typed, shown, resize);
    this.#streams = [null, null, null];
  }

  #send(signal: NodeJS.Signals): void {
    const number = constants.signals[signal];
    if (number === undefined) throw bad(`expected the name of a signal, got ${JSON.stringify(signal)}`);
    this.#served.tell('signal', number);
  }
}

function supervisorFor(
  { seccomp }: StartablePlan,
  tell: ConstructorParameters<typeof Supervisor>[2],
): Supervisor | undefined {
  if (typeof seccomp !== 'object' || !seccomp.notify) return undefined;
  return new Supervisor(seccomp.notify, seccomp.notifyTimeLimit ?? 10_000, tell);
}

/** Opens the launcher's end of a pipe as a stream of ours; it keeps its own until we say that we have it. */
function openPipe(path: string, direction: 'read' | 'write'): Socket | null {
  if (path === '-') return null;
  const access = direction === 'read' ? files.O_RDONLY : files.O_WRONLY;
  const fd = openSync(path, access | files.O_NONBLOCK);
  const stream = new Socket({ fd, readable: direction === 'read', writable: direction === 'write' });
  if (direction === 'write') stream.on('error', () => undefined); // EPIPE: the command has closed its input
  return stream;
}

function operationFailed(plan: Plan, { a: index, b: number, text }: LauncherEvent): NamespaceError {
  const name = plan.operations[index]?.op ?? 'start'; // what belongs to no operation has no index
  const errno = errnoName(number);
  const operation = { index, name, detail: text };
  const what = name === 'start' ? `the launcher (${text})` : `operation ${index} (${name}, ${text})`;
  const message = `start sandbox: expected ${what} to succeed, got ${errno}`;
  return new NamespaceError('operation-failed', message, { operation, errno, remedy: remedyFor(name, errno) });
}

function watcherFailed({ a: signaled, b: number }: LauncherEvent): NamespaceError {
  const how = signaled ? `signal ${number}` : `exit status ${number}`;
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
