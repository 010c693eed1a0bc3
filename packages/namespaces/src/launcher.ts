/** The launcher server: one small native process, started once, that makes every sandbox of this program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import type { Duplex } from 'node:stream';
import { WireError } from '@casemate/wire';
import { NamespaceError } from './error.js';
import { type CommandName, EVENT, EventReader, encodeRequest, type LauncherEvent, type Request } from './protocol.js';

/** Who hears of one request: its events, and its end with the error if it is not an orderly one. */
export interface Listener {
  /** Called for every event but {@link EVENT.gone}. A sandbox's last one is {@link EVENT.exited} where all is in order. */
  readonly event: (event: LauncherEvent) => void;
  /** Called once, unless it has exited: the process that served the request is gone, and with it everything that it watched. */
  readonly gone: (how: LauncherEvent | NamespaceError) => void;
}

/** One request that is being served. */
export interface Served {
  /** Its number, by which other requests may name it. */
  readonly id: number;
  /** Sends a command about it; moot once it has ended. */
  readonly tell: (command: CommandName, argument: number, body?: Uint8Array) => void;
}

/** What the server has as descriptors 0, 1 and 2, and can hand on. */
type Streams = readonly ['inherit' | number, 'inherit' | number, 'inherit' | number];

/** A running launcher server: see {@link startLauncherServer}. */
export interface LauncherServer extends AsyncDisposable {
  /** Its process id. */
  readonly pid: number;
  /** Ends the server and every sandbox that it made; resolves when none is left. The next sandbox starts a new one. */
  close(): Promise<void>;
}

/**
 * The server's process, and the socket to it. Starting it costs one fork of this Node process, which takes longer the more memory Node uses;
 * every sandbox after that costs the server a fork that takes microseconds. It ends with this program, by whatever cause.
 */
export class ServerProcess implements LauncherServer {
  readonly #process: ChildProcess;
  readonly #control: Duplex & { ref(): void; unref(): void };
  readonly #listeners = new Map<number, Listener>();
  readonly #closed: Promise<void>;
  #next = 1;
  #isAlive = true;

  private constructor(child: ChildProcess) {
    this.#process = child;
    this.#control = child.stdio[3] as Duplex & { ref(): void; unref(): void }; // 'pipe' makes a net.Socket
    this.#closed = this.#follow();
    child.once('exit', () => {
      this.#isAlive = false;
    });
    child.unref();
    this.#control.unref();
  }

  /** Starts a server. Throws {@link NamespaceError} `launcher-missing`. */
  static async start(path: string, streams: Streams = ['inherit', 'inherit', 'inherit']): Promise<ServerProcess> {
    const child = spawn(path, [], {
      argv0: 'casemate-launcher',
      cwd: '/',
      env: {},
      stdio: [...streams, 'pipe'],
      shell: false,
    });
    if (child.pid !== undefined) return new ServerProcess(child);
    const cause = await new Promise<Error>((resolve) => child.once('error', resolve));
    throw missing(`expected ${path} to be executable, got ${cause.message}`, cause);
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Whether it takes requests. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Sends a request; what comes of it goes to `listener`. Throws {@link NamespaceError} `bad-spec` for one that cannot be written. */
  request(request: Exclude<Request, { readonly verb: 'command' }>, listener: Listener): Served {
    const id = this.#next++;
    const bytes = requestBytes(id, request); // before anybody waits for what comes of it
    this.#listeners.set(id, listener);
    if (this.#listeners.size === 1) this.#control.ref();
    this.#write(bytes);
    return {
      id,
      tell: (command, argument, body) =>
        this.#write(encodeRequest(id, { verb: 'command', command, argument, ...(body && { body }) })),
    };
  }

  /** Whether it is to make the namespaces of the next sandbox before that is asked for, as it does if nobody says otherwise. */
  keepSpare(isWanted: boolean): void {
    this.#write(encodeRequest(0, { verb: 'spare', isWanted }));
  }

  /** {@inheritDoc LauncherServer.close} */
  async close(): Promise<void> {
    this.#isAlive = false;
    this.#process.ref(); // whoever waits for the end keeps the program alive for that long
    this.#control.ref();
    this.#control.end();
    await this.#closed;
  }

  /** Same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #write(bytes: Uint8Array): void {
    if (!this.#control.writableEnded && !this.#control.destroyed) this.#control.write(bytes);
  }

  // The socket closes when the last process that holds its other end is gone: the server and all of its watchers.
  async #follow(): Promise<void> {
    const left = new Promise<void>((resolve) => this.#process.once('exit', () => resolve()));
    await this.#followEvents();
    await left;
  }

  #followEvents(): Promise<void> {
    const reader = new EventReader();
    this.#control.on('data', (chunk: Uint8Array) => {
      try {
        for (const event of reader.push(chunk)) this.#take(event);
      } catch (cause) {
        this.#control.destroy(failed('expected events, got other bytes', cause));
      }
    });
    return new Promise((resolve) => {
      let error: NamespaceError | undefined;
      this.#control.on('error', (cause) => {
        error = cause instanceof NamespaceError ? cause : undefined; // EPIPE says no more than the end that follows
      });
      this.#control.once('close', () => {
        this.#isAlive = false;
        this.#abandon(error ?? failed(`expected it to run, got ${endOf(this.#process)}`));
        resolve();
      });
    });
  }

  #take(event: LauncherEvent): void {
    const listener = this.#listeners.get(event.id);
    if (event.type === EVENT.gone || event.type === EVENT.exited) this.#forget(event.id);
    if (event.type === EVENT.gone) listener?.gone(event);
    else listener?.event(event);
  }

  #forget(id: number): void {
    this.#listeners.delete(id);
    if (this.#listeners.size === 0) this.#control.unref();
  }

  #abandon(error: NamespaceError): void {
    const left = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const listener of left) listener.gone(error);
  }
}

/** Options of {@link startLauncherServer}. */
export interface LauncherServerOptions {
  /**
   * Whether the server keeps a spare: two small processes, of which one waits in fresh namespaces for the next sandbox. A start whose
   * kinds of namespaces are those of the start before then takes a third less time. Default: true, or as it was said before.
   */
  readonly spare?: boolean;
}

let keepsSpare = true;
let shared: { readonly path: string; readonly starting: Promise<ServerProcess>; server?: ServerProcess } | undefined;

/**
 * Starts the launcher server now, so that not the first sandbox pays for it; best before the program has allocated much. It is
 * started by itself otherwise, and again should it have died. Throws {@link NamespaceError} `launcher-missing`.
 */
export async function startLauncherServer({ spare }: LauncherServerOptions = {}): Promise<LauncherServer> {
  keepsSpare = spare ?? keepsSpare;
  const server = await serverProcess();
  server.keepSpare(keepsSpare);
  return server;
}

/** The server of this program, started if it does not run. Throws {@link NamespaceError} `launcher-missing`. */
export function serverProcess(): Promise<ServerProcess> {
  const path = launcherPath();
  if (shared?.path === path && shared.server?.isAlive !== false) return shared.starting;
  const mine: NonNullable<typeof shared> = { path, starting: ServerProcess.start(path) };
  shared = mine;
  mine.starting.then(
    (server) => {
      mine.server = server;
      if (!keepsSpare) server.keepSpare(false); // one that has died is followed by one that is the same
    },
    () => {
      if (shared === mine) shared = undefined;
    },
  );
  return mine.starting;
}

/** A server of its own for a sandbox that takes over descriptors of this program. Throws {@link NamespaceError} `launcher-missing`. */
export async function startPrivateServer(streams: Streams): Promise<ServerProcess> {
  const server = await ServerProcess.start(launcherPath(), streams);
  server.keepSpare(false); // it makes one sandbox only
  return server;
}

let packaged: string | undefined;

/** The absolute path of the launcher. Throws {@link NamespaceError} `launcher-missing`. */
function launcherPath(): string {
  const chosen = process.env.CASEMATE_LAUNCHER;
  if (chosen?.startsWith('/')) return chosen;
  try {
    packaged ??= createRequire(import.meta.url).resolve(`#launcher/${process.platform}-${process.arch}`);
    return packaged;
  } catch (cause) {
    throw missing(`expected it beside the package for ${process.platform}-${process.arch}, got none`, cause);
  }
}

function requestBytes(id: number, request: Request): Uint8Array {
  try {
    return encodeRequest(id, request);
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new NamespaceError('bad-spec', `send request: ${cause.message}`, { cause });
  }
}

function endOf(child: ChildProcess): string {
  return child.signalCode ?? `exit status ${child.exitCode}`;
}

function failed(problem: string, cause?: unknown): NamespaceError {
  return new NamespaceError('launcher-failed', `follow launcher: ${problem}`, { cause });
}

function missing(problem: string, cause: unknown): NamespaceError {
  return new NamespaceError('launcher-missing', `run launcher: ${problem}`, {
    remedy: 'build the package (its build needs musl-gcc or gcc), or install it on linux-x64 or linux-arm64',
    cause,
  });
}
