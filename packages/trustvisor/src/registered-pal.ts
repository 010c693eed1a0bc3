/** One PAL in the isolate: its engine, its micro-TPM, its history, and its calls one after another. */
import { randomBytes } from 'node:crypto';
import { PAL_FLAGS, PAL_KIND, type PalImage } from '@casemate/pal-linker';
import { sha256 } from './digest.js';
import { type EngineHost, type EnginePal, faultError, type Run, type RunOutcome } from './engine.js';
import { TrustvisorError } from './error.js';
import { History, type HistoryHost, type HistoryRegistry } from './history.js';
import { type HostContext, performHostCall } from './host-services.js';
import { identityKeyCommand } from './identity-key.js';
import { KvmPal } from './kvm-engine.js';
import type { Lanes, SocketPairs } from './lanes.js';
import { isMarshalled, planMarshalling } from './marshal.js';
import { microSeeds } from './micro-tpm.js';
import type { NvTable } from './nv.js';
import type { LastRequest, PalQuote } from './options.js';
import { handOver, type ServicesStart } from './pal-services.js';
import type { ThreadStock } from './pal-thread.js';
import { RsaKeys, rsaIdentity } from './rsa-key.js';
import { deriveKey } from './seal.js';
import type { Sealer } from './sealing.js';
import { Stop } from './stop.js';
import type { BlobStore } from './store.js';
import { WasmPal } from './wasm-engine.js';

/** Where the engines find their programs. */
export interface Engines {
  /** What PALs' threads are taken from. */
  readonly threads: ThreadStock;
  /** The monitor of the engine kvm, where it may be used. */
  readonly kvmMonitor: string | undefined;
  /** The file that holds the application's shared memory, where there is one. */
  readonly arena: number | undefined;
  /** The lanes by which the application calls PALs. */
  readonly lanes: Lanes;
  /** For the services of PALs in machines. */
  readonly pairs: SocketPairs;
}

/** What every PAL of an isolate is made with. */
export interface PalHost {
  readonly master: Uint8Array;
  readonly engines: Engines;
  /** Absent where there is no TPM: then no PAL can be protected against replay. */
  readonly histories: { readonly host: HistoryHost; readonly registry: HistoryRegistry } | undefined;
  /** Counters of all PALs; absent where there is no TPM. */
  readonly nv: NvTable | undefined;
  /** Where sealed keys are kept; absent where nothing outlives the isolate. */
  readonly store: BlobStore | undefined;
  readonly print: (text: string) => void;
  readonly lane: EngineHost['lane'];
}

/** What is registered, and how. */
export interface PalSource {
  readonly image: PalImage;
  /** SHA-256 of the image. */
  readonly measurement: Uint8Array;
  /** SHA-1 of the image. */
  readonly classicMeasurement: Uint8Array;
  readonly signed: Sealer['signed'];
  readonly identityKey: 'ecc-p256' | 'rsa-2048';
  readonly sharedIdentity: boolean;
  /** With a number of milliseconds its history has checkpoints. */
  readonly checkpointAfter: number | undefined;
}

/** A request to the entry, with its limits. */
export type Call = Omit<Run, 'state' | 'signal'> & { readonly signal: Stop };

/** What it gave. */
export type CallResult = Pick<Extract<RunOutcome, { readonly kind: 'returned' }>, 'returnCode' | 'output' | 'written'>;

const MAX_WAITING = 64;

/** A registered PAL; closing it wipes what it held. */
export class RegisteredPal {
  /** The parsed image. */
  readonly image: PalImage;
  /** SHA-256 of the image. */
  readonly measurement: Uint8Array;
  readonly #engine: EnginePal;
  readonly #history: History | undefined;
  /** The calls that run or wait: they end when the PAL is closed. */
  readonly #active = new Set<Stop>();
  #identity: Uint8Array = new Uint8Array(0);
  #isClosed = false;
  readonly #checkpointAfter: number | undefined;
  #checkpoint: NodeJS.Timeout | undefined;
  #waiting = 0;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor({ image, measurement, checkpointAfter }: PalSource, engine: EnginePal, history?: History) {
    this.image = image;
    this.measurement = measurement;
    this.#engine = engine;
    this.#history = history;
    this.#checkpointAfter = checkpointAfter;
  }

  /** Loads and measures; a request that a crash cut off is carried out first. */
  static async register(source: PalSource, host: PalHost, timeLimit: number): Promise<RegisteredPal> {
    const { image, measurement, checkpointAfter } = source;
    const isProtected = (image.flags & PAL_FLAGS.replayProtected) !== 0;
    const context = await openHostContext(source, host);
    const { epoch, started } = { epoch: new Uint8Array(randomBytes(8)), started: process.hrtime.bigint() };
    const engine = openEngine(image, host.engines, {
      services: () => ({ ...servicesFor(source, host.master), rsaIdentity: context.rsa?.public, epoch, started }),
      service: (call) => performHostCall(call, context),
      print: host.print,
      lane: host.lane,
    });
    const history = isProtected ? await openHistory(image, measurement, host, checkpointAfter) : undefined;
    const pal = new RegisteredPal(source, engine, history);
    try {
      pal.#identity = await engine.load(timeLimit);
      await pal.#rollForward({ timeLimit, signal: new Stop() });
      return pal;
    } catch (error) {
      await pal.close();
      throw error;
    }
  }

  /** TPMT_PUBLIC of the identity key. */
  get identity(): Uint8Array {
    return this.#identity;
  }

  /** The last request in the PAL's history. */
  get lastRequest(): LastRequest | undefined {
    return this.#history?.last;
  }

  /** Calls the entry, after the calls before it. */
  invoke(call: Call): Promise<CallResult> {
    if (this.#history !== undefined && call.lent.length > 0) {
      const problem = 'it is protected against replay: what it is lent could not be given to it again';
      throw new TrustvisorError('input', `lend memory to PAL ${this.image.name}: ${problem}`);
    }
    if (call.input.length > this.#engine.inputCapacity) {
      const problem = `expected an input of at most ${this.#engine.inputCapacity} bytes, got ${call.input.length}`;
      throw new TrustvisorError('input', `call PAL ${this.image.name}: ${problem}`);
    }
    // A request that cannot be carried out must not become part of the history.
    if (isMarshalled(this.image)) planMarshalling(this.image).prepare(call.input);
    return this.#stoppable(call.signal, () => this.#inTurn(() => this.#call(call)));
  }

  /** A quote by the PAL's identity, between calls. */
  quote(nonce: Uint8Array, mask: number): Promise<PalQuote> {
    return this.#inTurn(() => this.#quote(nonce, mask));
  }

  /** A call by the lane that had to be stopped took the services with it: then the PAL is as newly registered, and so is quoted. */
  async #quote(nonce: Uint8Array, mask: number): Promise<PalQuote> {
    try {
      return await this.#engine.quote(nonce, mask);
    } catch (error) {
      const isStopped = error instanceof TrustvisorError && (error.code === 'aborted' || error.code === 'closed');
      if (!isStopped || this.#isClosed) throw error;
      return this.#engine.quote(nonce, mask);
    }
  }

  /**
   * Ends a call that came by the lane; resolves when the PAL is as if newly registered. Throws why it ended by itself, where it did.
   */
  async stop(): Promise<void> {
    const error = this.#engine.stop();
    await this.#inTurn(async () => undefined);
    if (error !== undefined) throw error;
  }

  /** Stops what runs, waits for it, and wipes. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stop of this.#active) stop.abort();
    clearTimeout(this.#checkpoint);
    await this.#queue;
    // Where the application is gone, so is its TPM: the history is then closed by the next one that opens it.
    await this.#history?.close().catch(() => undefined);
    await this.#engine.close();
    this.#history?.wipe();
  }

  async #stoppable<T>(stop: Stop, task: () => Promise<T>): Promise<T> {
    this.#active.add(stop);
    try {
      return await task();
    } finally {
      this.#active.delete(stop);
    }
  }

  async #inTurn<T>(task: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new TrustvisorError('closed', `call PAL ${this.image.name}: it is unregistered`);
    if (this.#waiting >= MAX_WAITING) {
      throw new TrustvisorError(
        'busy',
        `call PAL ${this.image.name}: expected fewer than ${MAX_WAITING} calls to wait`,
      );
    }
    this.#waiting++;
    const turn = this.#queue.then(task);
    this.#queue = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting--;
    }
  }

  async #call(call: Call): Promise<CallResult> {
    if (call.signal.aborted) throw new TrustvisorError('aborted', `run PAL ${this.image.name}: the caller gave it up`);
    const outcome = this.#history
      ? await this.#protectedRun(this.#history, call)
      : await this.#engine.run({ ...call, state: NOTHING });
    if (outcome.kind === 'returned') return outcome;
    throw faultError(this.image.name, outcome);
  }

  async #protectedRun(history: History, call: Call): Promise<RunOutcome> {
    await history.settle();
    await this.#rollForward(call);
    await history.accept(call.command, call.input);
    const outcome = await this.#carryOut(history, call, false);
    this.#scheduleCheckpoint(history);
    return outcome;
  }

  /** Closes the history when no request came for a while; one that cannot be closed stays open, and is closed at the end. */
  #scheduleCheckpoint(history: History): void {
    clearTimeout(this.#checkpoint);
    if (this.#checkpointAfter === undefined) return;
    const close = () => void this.#inTurn(() => history.close()).catch(() => undefined);
    this.#checkpoint = setTimeout(close, this.#checkpointAfter);
  }

  async #rollForward(limits: Pick<Call, 'timeLimit' | 'signal'>): Promise<void> {
    const pending = this.#history?.pending;
    if (this.#history === undefined || pending === undefined) return;
    await this.#carryOut(this.#history, { ...limits, ...pending, lent: [] }, true);
  }

  /**
   * Runs the pending request from the state before it. Only an end that comes every time in the same way may become part
   * of the history: a run that was stopped, or that ran out of stack or memory, leaves the request pending.
   */
  async #carryOut(history: History, call: Call, rolledForward: boolean): Promise<RunOutcome> {
    const { state, randomness } = history;
    const outcome = await this.#engine.run({ ...call, state, randomness });
    if (outcome.kind === 'fault' && !REPEATABLE.has(outcome.fault)) return outcome;
    await history.commit(outcome, rolledForward);
    return outcome;
  }
}

const NOTHING = new Uint8Array(0);

/** An image for the processor runs in a virtual machine, where that is asked for; everything else is WebAssembly. */
function openEngine(image: PalImage, engines: Engines, host: EngineHost): EnginePal {
  const { kvmMonitor, ...others } = engines;
  if (image.kind === PAL_KIND.WASM || kvmMonitor === undefined) return new WasmPal(image, engines, host);
  return new KvmPal(image, { monitor: kvmMonitor, ...others }, host);
}

/** What PALs with a shared identity have in place of a measurement. */
const SHARED_IDENTITY = sha256(new TextEncoder().encode('casemate trustvisor shared identity'));

/** Where the PAL's identity key comes from. */
function identityOf({ measurement, sharedIdentity }: PalSource): Uint8Array {
  return sharedIdentity ? SHARED_IDENTITY : measurement;
}

/** What a thread of the PAL starts with, each with secrets of its own. */
function servicesFor(source: PalSource, master: Uint8Array): Omit<ServicesStart, 'rsaIdentity' | 'epoch' | 'started'> {
  const { image, measurement, classicMeasurement, signed } = source;
  const sealing = deriveKey(master, 'sealed data', new Uint8Array(32));
  const secrets = handOver({ sealing, ...microSeeds(master, measurement, identityOf(source)) });
  return { secrets, identityKey: identityKeyCommand(), name: image.name, measurement, classicMeasurement, signed };
}

async function openHostContext(source: PalSource, { master, store, nv }: PalHost): Promise<HostContext> {
  const { measurement, identityKey, sharedIdentity } = source;
  const random = (length: number) => new Uint8Array(randomBytes(length));
  const rsaKeys = new RsaKeys({ master, store, owner: measurement, random });
  const context = { rsaKeys, nv: nv?.of(measurement), rsa: undefined };
  if (identityKey === 'ecc-p256') return context;
  const keys = sharedIdentity ? new RsaKeys({ master, store, owner: SHARED_IDENTITY, random }) : rsaKeys;
  return { ...context, rsa: rsaIdentity(await keys.get('identity')) };
}

const REPEATABLE: ReadonlySet<string> = new Set([
  'unreachable',
  'out-of-bounds',
  'division',
  'indirect-call',
  'conversion',
  'malformed-output',
  'privileged',
]);

async function openHistory(
  image: PalImage,
  measurement: Uint8Array,
  host: PalHost,
  checkpointAfter: number | undefined,
): Promise<History> {
  if (host.histories === undefined) {
    const problem = 'expected a platform TPM for its protection against replay, got none';
    throw new TrustvisorError('refused', `register PAL ${image.name}: ${problem}`);
  }
  const { host: historyHost, registry } = host.histories;
  const mode = checkpointAfter === undefined ? 'every-request' : 'checkpoints';
  return History.open(historyHost, registry, { name: image.name, measurement, mode });
}
