/** The engine `wasm`: one worker thread of the isolate for each PAL, stopped when its time is up. */
import { PAL_FLAGS, PAL_KIND, PAL_PARAMETER, PAL_SECTION, type PalImage, WASM_PAGE } from '@casemate/pal-linker';
import {
  type EngineHost,
  type EnginePal,
  parameterSection,
  planLayout,
  QUOTE_TIME,
  type Run,
  type RunOutcome,
} from './engine.js';
import { TrustvisorError } from './error.js';
import { closeLane, type Lanes } from './lanes.js';
import { isMarshalled, type MarshalPlan, type PreparedCall, planMarshalling } from './marshal.js';
import type { PalQuote } from './options.js';
import { PalThread, type ThreadStock } from './pal-thread.js';
import { MAX_ARENA, MAX_DATA } from './protocol.js';
import type { Engines } from './registered-pal.js';
import { boundMemory } from './wasm-memory.js';
import type { WasmProgram } from './worker-messages.js';

const NOTHING = new Uint8Array(0);

const MAX_PAGES = 65536;
/** What is lent lies above the parameters: all of the shared memory, each range from an address that is a multiple of 16 on. */
const LENT_PAGES = MAX_ARENA / WASM_PAGE + 1;

/** A PAL in a worker thread. The thread is started at the first need, and anew after it had to be stopped. */
export class WasmPal implements EnginePal {
  readonly inputCapacity: number;
  readonly #name: string;
  readonly #threads: ThreadStock;
  readonly #program: Omit<WasmProgram, 'lane'>;
  readonly #lanes: Lanes | undefined;
  readonly #host: EngineHost;
  /** Where the entry takes parameters of its own, and how many bytes each has in WebAssembly. */
  readonly #plan: MarshalPlan | undefined;
  readonly #sizes: readonly number[];
  #thread: PalThread | undefined;

  /** Throws {@link TrustvisorError} with code `unsupported-engine` or `refused`. */
  constructor(
    image: PalImage,
    { threads, arena, lanes }: Pick<Engines, 'threads' | 'arena' | 'lanes'>,
    host: EngineHost,
  ) {
    if (image.kind !== PAL_KIND.WASM) {
      throw new TrustvisorError(
        'unsupported-engine',
        `load PAL ${image.name}: the engine wasm runs no image of kind ${image.kind}`,
      );
    }
    const code = image.sections.find(({ type }) => type === PAL_SECTION.CODE)?.content ?? new Uint8Array(0);
    const layout = isMarshalled(image) ? undefined : planLayout(image);
    this.#plan = isMarshalled(image) ? planMarshalling(image) : undefined;
    this.#sizes = image.parameters.map(({ type, size }) => (type === PAL_PARAMETER.INTEGER ? size : 4));
    this.#name = image.name;
    this.inputCapacity = layout?.inputCapacity ?? MAX_DATA;
    this.#threads = threads;
    const section = parameterSection(image);
    const least = Math.ceil(section.end / WASM_PAGE);
    const bounded = boundMemory(code, { least, most: Math.min(least + LENT_PAGES, MAX_PAGES) });
    const stateful = (image.flags & PAL_FLAGS.replayProtected) !== 0;
    this.#program = { code: bounded, layout, section, arena, stateful };
    this.#lanes = layout === undefined || stateful ? undefined : lanes;
    this.#host = host;
  }

  async load(timeLimit: number): Promise<Uint8Array> {
    if (this.#thread?.ended) this.#thread = undefined;
    if (this.#thread !== undefined) return this.#thread.ready();
    const lane = this.#lanes?.take();
    const start = { services: this.#host.services(), program: { ...this.#program, lane: lane?.fd } };
    const thread = new PalThread(this.#threads, start, this.#host);
    this.#thread = thread;
    const ready = thread.ready().catch((error) => {
      // One that refuses has not opened it; with one that was ended it is not known, and it ends with the thread.
      if (lane !== undefined && thread.ended === undefined) closeLane(lane);
      throw error;
    });
    const identity = await this.#limited(thread, { timeLimit }, ready);
    if (lane !== undefined) this.#host.lane(lane.number, this.inputCapacity);
    return identity;
  }

  async run(run: Run): Promise<RunOutcome> {
    if (run.signal?.aborted) throw this.#aborted();
    const prepared = this.#plan?.prepare(run.input);
    const thread = await this.#loaded(run.timeLimit);
    if (run.signal?.aborted) throw this.#aborted();
    const { command, input, state, randomness, lent } = run;
    const call = prepared && { arguments: this.#numbers(prepared), area: prepared.area };
    const message = { kind: 'run', command, input: call ? NOTHING : input, state, randomness, lent, call } as const;
    const end = await this.#limited(thread, run, thread.ask(message, 'returned', 'fault'));
    return prepared && end.kind === 'returned' ? { ...end, output: prepared.output(end.output) } : end;
  }

  async quote(nonce: Uint8Array, mask: number): Promise<PalQuote> {
    return (await this.#loaded(QUOTE_TIME)).quote(nonce, mask);
  }

  async #loaded(timeLimit: number): Promise<PalThread> {
    await this.load(timeLimit);
    if (this.#thread === undefined) throw new TrustvisorError('closed', `run PAL ${this.#name}: it was closed`);
    return this.#thread;
  }

  stop(): TrustvisorError | undefined {
    const thread = this.#thread;
    const error = thread?.ended;
    if (thread !== undefined) this.#drop(thread, this.#aborted());
    return error;
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    if (thread !== undefined) await thread.wipeAndEnd();
  }

  /** As JavaScript gives them to WebAssembly: signed, and the long ones as bigint. */
  #numbers(call: PreparedCall): readonly (number | bigint)[] {
    return call.arguments.map((value, i) =>
      this.#sizes[i] === 8 ? BigInt.asIntN(64, value) : Number(BigInt.asIntN(32, value)),
    );
  }

  /** Waits for `end`, but stops the thread when time is up or the caller gives up. */
  async #limited<T>(
    thread: PalThread,
    { timeLimit, signal }: Pick<Run, 'timeLimit' | 'signal'>,
    end: Promise<T>,
  ): Promise<T> {
    const stop = (error: TrustvisorError) => {
      this.#drop(thread, error);
    };
    const late = () =>
      stop(new TrustvisorError('timeout', `run PAL ${this.#name}: expected an end within ${timeLimit} ms`));
    const given = () => stop(this.#aborted());
    const timer = setTimeout(late, timeLimit);
    signal?.addEventListener('abort', given, { once: true });
    try {
      return await end;
    } catch (error) {
      this.#drop(thread);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', given);
    }
  }

  #aborted(): TrustvisorError {
    return new TrustvisorError('aborted', `run PAL ${this.#name}: the caller gave it up`);
  }

  #drop(thread: PalThread, error?: TrustvisorError): void {
    if (this.#thread === thread) {
      this.#thread = undefined;
      // The end of its lane comes when the thread has stopped: the application must know it before the next call.
      this.#host.lane(undefined, 0);
    }
    thread.end(error);
  }
}
