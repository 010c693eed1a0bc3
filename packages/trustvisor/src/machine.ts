/** The machine of one PAL: the native monitor's process, and the thread that performs the PAL's services. They end together. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Duplex } from 'node:stream';
import type { EngineHost } from './engine.js';
import { TrustvisorError } from './error.js';
import { hiddenCommand } from './hidden-start.js';
import {
  decodeAnswer,
  decodeServiceFrame,
  encodeLaneEnd,
  encodeReply,
  encodeWake,
  type MonitorAnswer,
  type MonitorFault,
  MonitorFrames,
} from './kvm-protocol.js';
import { encodeLaneFailure } from './lane.js';
import { closeLane, type Lanes, type SocketPair, type SocketPairs, type TakenLane } from './lanes.js';
import type { PalQuote } from './options.js';
import type { Randomness } from './pal-services.js';
import { PalThread, type ThreadStock } from './pal-thread.js';
import type { ServiceCall, ServiceReply } from './service-plan.js';

/** Where the programs are, the file that holds what the application can lend, and the sockets. */
export interface MachinePrograms {
  readonly monitor: string;
  readonly threads: ThreadStock;
  readonly arena: number | undefined;
  readonly lanes: Lanes;
  readonly pairs: SocketPairs;
}

/** What a machine asks of its PAL. */
export interface MachineHost extends EngineHost {
  /** Answers a service beside the machine; only where the machine was made without a socket pair. */
  readonly local: (call: ServiceCall) => ServiceReply | undefined;
  /** Says what happened to a call that came by the lane. */
  readonly describe: (fault: MonitorFault) => TrustvisorError;
}

/** What kind of PAL it is for: one that the application may call by a lane; one with state, whose services have to pass through here. */
export interface MachineKind {
  readonly hasLane: boolean;
  readonly hasState: boolean;
}

type Answer = Exclude<MonitorAnswer, { readonly type: 'lane-fault' }>;

const CONTROL = 3;
const SERVICES = 6;

/** One machine, with one question at a time. */
export class Machine {
  /** What was taken for it. */
  readonly lane: TakenLane | undefined;
  readonly #thread: PalThread;
  readonly #process: ChildProcess;
  readonly #control: Duplex;
  readonly #host: MachineHost;
  readonly #pair: SocketPair | undefined;
  readonly #gone: Promise<void>;
  #waiting: { resolve(answer: Answer): void; reject(error: unknown): void } | undefined;
  #error: TrustvisorError | undefined;
  #ending: Promise<void> | undefined;

  /** Starts both. */
  constructor(programs: MachinePrograms, { hasLane, hasState }: MachineKind, host: MachineHost) {
    this.#host = host;
    this.lane = hasLane ? programs.lanes.take() : undefined;
    this.#pair = hasState ? undefined : programs.pairs.take();
    this.#process = startMonitor(programs, this.lane?.fd, this.#pair?.theirs);
    this.#process.on('error', ignored); // where there is no stream either
    this.#control = this.#listen(CONTROL, (body) => this.#deliver(decodeAnswer(body)));
    const start = { services: host.services(), program: undefined };
    this.#thread = new PalThread(programs.threads, start, host, (error) => void this.end(error));
    this.#gone = this.#watch();
    this.#startServices();
    if (this.lane !== undefined) closeLane(this.lane); // it is the monitor's now, and ends with it
  }

  /** Why it ended, if it has. */
  get error(): TrustvisorError | undefined {
    return this.#error;
  }

  /** TPMT_PUBLIC of the PAL's identity. Throws as {@link PalThread.ready}. */
  identity(): Promise<Uint8Array> {
    return this.#thread.ready();
  }

  /** Sends a frame; gives the answer. */
  ask(frame: Uint8Array): Promise<Answer> {
    if (this.#error) return Promise.reject(this.#error);
    this.#control.write(frame);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Puts the services back to their beginning, before the next one. */
  reset(randomness: Randomness | undefined): void {
    this.#thread.send({ kind: 'reset', randomness });
  }

  /** A quote by the PAL's identity, when no call runs. */
  quote(nonce: Uint8Array, mask: number): Promise<PalQuote> {
    const quoted = this.#thread.quote(nonce, mask);
    if (this.#pair !== undefined && this.#error === undefined) this.#control.write(encodeWake());
    return quoted;
  }

  /** Ends both; what the first call gives is why. The kernel gives the memory to nobody before it has zeroed it. */
  end(error = new TrustvisorError('closed', 'run PAL: its machine was ended')): Promise<void> {
    this.#ending ??= this.#end(error, async () => this.#thread.end(error));
    return this.#ending;
  }

  /** Ends both, and has the thread overwrite what it holds. */
  wipeAndEnd(): Promise<void> {
    const error = new TrustvisorError('closed', 'run PAL: its machine was ended');
    this.#ending ??= this.#end(error, () => this.#thread.wipeAndEnd());
    return this.#ending;
  }

  /** The monitor goes first: the thread may wait for it, and its end of the pair may be closed only after the thread. */
  async #end(error: TrustvisorError, endThread: () => Promise<void>): Promise<void> {
    this.#fail(error);
    this.#process.kill('SIGKILL');
    await this.#gone;
    await endThread();
    await this.#thread.exited;
    if (this.#pair !== undefined) closeSync(this.#pair.ours);
  }

  #watch(): Promise<void> {
    return new Promise((resolve) => {
      const gone = (error: TrustvisorError) => {
        resolve();
        void this.end(error);
      };
      this.#process.once('error', (error) => {
        gone(new TrustvisorError('unsupported-engine', `start the monitor: ${error.message}`, { cause: error }));
      });
      this.#process.once('exit', (code, signal) => {
        gone(new TrustvisorError('closed', `run PAL: its monitor ended (${signal ?? `exit ${code}`})`));
      });
    });
  }

  /** The monitor's stream at this descriptor of its own; one that breaks the frames ends. */
  #listen(fd: number, deliver: (body: Uint8Array) => void): Duplex {
    const stream: unknown = this.#process.stdio?.[fd]; // there are none where the system has no files left
    if (!(stream instanceof Duplex)) throw new TrustvisorError('refused', 'start the monitor: expected a stream to it');
    const frames = new MonitorFrames();
    stream.on('data', (chunk: Uint8Array) => {
      try {
        frames.push(chunk, deliver);
      } catch (error) {
        const broken = new TrustvisorError('protocol', `read the monitor: ${error}`);
        void this.end(error instanceof TrustvisorError ? error : broken);
      }
    });
    stream.on('error', () => undefined); // the exit tells
    return stream;
  }

  /** With a pair the thread waits for calls itself; else they come here first. */
  #startServices(): void {
    if (this.#pair !== undefined) {
      closeSync(this.#pair.theirs); // the monitor's alone now: its end is seen at ours
      this.#thread.send({ kind: 'serve', fd: this.#pair.ours });
      return;
    }
    const stream = this.#listen(SERVICES, (body) => {
      const call = decodeServiceFrame(body);
      if (call !== undefined) this.#serve(call).then((reply) => void stream.write(encodeReply(reply)), ignored);
    });
  }

  async #serve(call: ServiceCall): Promise<ServiceReply> {
    return this.#host.local(call) ?? (await this.#thread.ask({ kind: 'service', call }, 'served')).reply;
  }

  #deliver(answer: MonitorAnswer): void {
    if (answer.type !== 'lane-fault') {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(answer);
      return;
    }
    this.reset(undefined);
    this.#control.write(encodeLaneEnd(encodeLaneFailure(this.#host.describe(answer.fault))));
  }

  #fail(error: TrustvisorError): void {
    this.#error ??= error;
    this.#waiting?.reject(this.#error);
    this.#waiting = undefined;
  }
}

/** Whose end is told otherwise. */
function ignored(): void {}

function startMonitor(
  { monitor, arena }: MachinePrograms,
  lane: number | undefined,
  services: number | undefined,
): ChildProcess {
  const [command = monitor, ...rest] = hiddenCommand([monitor], join(dirname(monitor), '..', '..'));
  const own = [arena ?? 'ignore', lane ?? 'ignore', services ?? 'pipe'] as const;
  return spawn(command, rest, { env: {}, cwd: '/', stdio: ['ignore', 'ignore', 'ignore', 'pipe', ...own] });
}
