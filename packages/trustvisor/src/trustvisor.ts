/** The application's side: opening an isolate, registering PALs in it, and calling them. */
import type { Duplex } from 'node:stream';
import type { PalParameter } from '@casemate/pal-linker';
import { identityEvent, type PalCertificate, type PalCertificateClaims } from './certificate.js';
import { Channel, type Outgoing } from './channel.js';
import { TrustvisorError } from './error.js';
import { type IsolateProcess, startIsolate } from './isolate-process.js';
import { encodeValues, type PalValue, splitOutput } from './marshal.js';
import type {
  InvokeOptions,
  InvokeResult,
  InvokeWithResult,
  LastRequest,
  PalQuote,
  RegisterOptions,
  TrustvisorOptions,
} from './options.js';
import { PalCalls } from './pal-calls.js';
import {
  type Body,
  ENGINE,
  MAX_BLOB,
  MAX_DATA,
  MESSAGE,
  type Message,
  NO_PCR,
  OPEN_FLAGS,
  PROTOCOL_VERSION,
  REGISTER_FLAGS,
} from './protocol.js';
import { openArenaFile, type SharedMemory, SharedPool } from './shared-memory.js';
import { assertBlobName } from './store.js';

/** A registered PAL. */
export interface Pal extends AsyncDisposable {
  /** The name in its image. */
  readonly name: string;
  /** The version in its image. */
  readonly version: string;
  /** SHA-256 of its image. */
  readonly measurement: Uint8Array;
  /**
   * TPMT_PUBLIC of the key that signs its quotes: restricted, the same at every registration on this TPM, and its own unless it was
   * registered with `sharedIdentity`.
   */
  readonly identity: Uint8Array;
  /** What the TrustVisor key says of `identity`: whose it is. */
  readonly certificate: PalCertificate;
  /** Who signed its image (SHA-256 of SubjectPublicKeyInfo), and its security version; `undefined` where nobody did. */
  readonly signed: PalCertificateClaims['signed'];
  /** For a replay-protected PAL: the last request in its history before this registration. */
  readonly lastRequest: LastRequest | undefined;
  /**
   * Calls the entry. `input` is the content behind the 16-byte header of the PAL's input buffer
   * (tzi_encode_buffer_t: u32 return value 0, size = capacity, offset 0, size used = input length; little-endian), which
   * the isolate writes; `output` is what the PAL put behind the header of its output buffer, as many bytes as that
   * header's offset says (the encoder's position). Calls of one PAL run one after another, those of several side by side.
   *
   * Throws {@link TrustvisorError}: `fault`, `timeout`, `aborted`, `memory`, `input`, `closed`, `busy`. After a fault, a
   * timeout or an abort the PAL goes on as if it were newly registered: fresh memory, fresh uPCRs.
   *
   * A replay-protected PAL also throws `replay`, `sealed-state`, `store` and `tpm`. Once its history holds the request, it
   * is carried out whatever happens: after a `timeout`, an `aborted`, a `store` or a `tpm` error that may be at the next
   * call or registration, whose `lastRequest` tells.
   */
  invoke(command: number, input: Uint8Array, options?: InvokeOptions): Promise<InvokeResult>;
  /** The parameters of its entry, where they are its own (`parameters` of the linkers); undefined where it takes buffers. */
  readonly parameters: readonly PalParameter[] | undefined;
  /**
   * Calls an entry with parameters of its own: one value for each. An integer of 4 or 8 bytes may be signed or unsigned. For a pointer
   * `values` holds at most as many bytes as it has, or `null` for the null pointer; the PAL finds a copy of them, with zeros behind, and
   * what goes out comes back as a copy. Throws like {@link Pal.invoke}, and `input` where a value does not fit its parameter.
   */
  invokeWith(values: readonly PalValue[], options?: InvokeOptions): Promise<InvokeWithResult>;
  /** A TPM2_Quote over uPCRs (uPCR 0 unless given) with `nonce` (at most 64 bytes) as qualifying data. */
  quote(nonce: Uint8Array, options?: { readonly pcrs?: readonly number[] }): Promise<PalQuote>;
  /** Wipes the PAL's memory and keys in the isolate and forgets it. A call under way ends with `aborted`. */
  unregister(): Promise<void>;
}

/** An isolate with its PALs. */
export interface Trustvisor extends AsyncDisposable {
  /** The engine that runs PALs. */
  readonly engine: 'wasm' | 'kvm';
  /** Whether the master secret is gone at the end: nothing sealed outlives this Trustvisor. */
  readonly ephemeral: boolean;
  /** TPMT_PUBLIC of the TrustVisor key, which certifies the PALs' identity keys: P-256, restricted, the same as long as the master secret. */
  readonly identity: Uint8Array;
  /**
   * The event that was extended into `identityPcr` (EV_EVENT_TAG, digests over all of its bytes): for the platform's event log. A
   * verifier takes the key from it by `parseIdentityEvent`. `undefined` without `identityPcr`.
   */
  readonly identityEvent: { readonly pcr: number; readonly event: Uint8Array } | undefined;
  /** The isolate's process, where it was started here. */
  readonly pid: number | undefined;
  /**
   * Whether the isolate was started so that no other process of its user can trace it or read its memory (Linux): only one with
   * CAP_SYS_PTRACE can.
   */
  readonly isHidden: boolean;
  /**
   * Registers an image: verifies its signature if it has one, measures it into uPCR 0 of a new micro-TPM and gets it ready to run.
   *
   * Throws {@link TrustvisorError} with code `refused` where it does not load or is not signed as it must be, `memory` where it asks for too much, and
   * for a replay-protected one `replay` or `sealed-state` where its state is not the latest, or not authentic.
   */
  register(image: Uint8Array, options?: RegisterOptions): Promise<Pal>;
  /**
   * Allocates memory that can be lent to PALs: `size` bytes, zeroed, on pages of their own; at most 256 MiB in all. Throws
   * {@link TrustvisorError} with code `input` or `memory`.
   */
  allocateShared(size: number): Promise<SharedMemory>;
  /** Unregisters all PALs and ends the isolate. */
  close(): Promise<void>;
}

/**
 * Starts an isolate and gets its master secret from the platform TPM. Throws {@link TrustvisorError} with code `refused`
 * where there is no TPM, the PCRs do not match, or the index is gone although there is sealed state.
 */
export async function openTrustvisor(options: TrustvisorOptions): Promise<Trustvisor> {
  const request = openRequest(options);
  const arena = options.isolate ? undefined : openArenaFile();
  const shared = new SharedPool(arena);
  const isolate = options.isolate ? undefined : startIsolate(options.engine ?? 'wasm', arena);
  const client = new Client(options, shared, options.isolate ?? isolate?.stream, isolate);
  try {
    await client.open(request);
    return client;
  } catch (error) {
    await client.end();
    throw error;
  }
}

const DEFAULT_PCRS = [7];
const DEFAULT_NV_BASE = 0x0180c000;
const DEFAULT_MEMORY = 256 * 1024 * 1024;
const DEFAULT_CALL_TIME = 10_000;
const DEFAULT_LOAD_TIME = 30_000;
const DEFAULT_CHECKPOINT_TIME = 1_000;
const ACCEPTS: ReadonlySet<Message['type']> = new Set([16, 17, 18, 19, 20, 21]);
const CLOSING_PATIENCE = 2_000;
/** How long an isolate that is to close may ask for nothing. */
const CLOSING_SILENCE = 10_000;

function openRequest(options: TrustvisorOptions): Outgoing {
  const { tpm, insecureAllowEphemeral, insecureAllowAnyPlatformState } = options;
  const { nvBase = DEFAULT_NV_BASE, memoryLimit = DEFAULT_MEMORY, pcrs = DEFAULT_PCRS } = options;
  if (!Number.isInteger(nvBase) || nvBase < 0x01000000 || nvBase > 0x01ffff00) {
    throw new TrustvisorError('input', `open Trustvisor: expected an NV index as nvBase, got ${nvBase}`);
  }
  return {
    type: MESSAGE.OPEN,
    body: {
      protocol: PROTOCOL_VERSION,
      flags:
        (tpm ? OPEN_FLAGS.tpm : 0) |
        (insecureAllowEphemeral ? OPEN_FLAGS.allowEphemeral : 0) |
        (insecureAllowAnyPlatformState ? OPEN_FLAGS.allowAnyPlatformState : 0),
      engine: ENGINE[options.engine ?? 'wasm'],
      pcrs,
      identityPcr: pcrOf(options),
      nvBase,
      memoryLimit,
      ownerAuth: options.ownerAuth ?? new Uint8Array(0),
      storageKeyName: options.storageKeyName ?? new Uint8Array(0),
    },
  };
}

function pcrOf({ identityPcr, tpm }: TrustvisorOptions): number {
  if (identityPcr === undefined) return NO_PCR;
  if (Number.isInteger(identityPcr) && identityPcr >= 0 && identityPcr < 24 && tpm) return identityPcr;
  throw new TrustvisorError('input', `open Trustvisor: expected a TPM and a PCR from 0 to 23, got PCR ${identityPcr}`);
}

class Client implements Trustvisor {
  readonly engine: 'wasm' | 'kvm';
  readonly pid: number | undefined;
  readonly isHidden: boolean;
  ephemeral = false;
  identity: Uint8Array = new Uint8Array(0);
  readonly #options: TrustvisorOptions;
  readonly #isolate: IsolateProcess | undefined;
  readonly #channel: Channel;
  readonly #shared: SharedPool;
  readonly #names = new Map<number, { readonly name: string; readonly version: string }>();
  /** By the PAL's number; a lane may be there before its PAL. */
  readonly #calls = new Map<number, PalCalls>();
  #closing: Promise<void> | undefined;
  /** Requests of the isolate that are under way, and how many there have been. */
  #serving = 0;
  #served = 0;

  constructor(
    options: TrustvisorOptions,
    shared: SharedPool,
    stream: Duplex | undefined,
    isolate: IsolateProcess | undefined,
  ) {
    if (stream === undefined) throw new TrustvisorError('refused', 'open Trustvisor: expected a stream to an isolate');
    this.#options = options;
    this.#shared = shared;
    this.engine = options.engine ?? 'wasm';
    this.#isolate = isolate;
    this.pid = isolate?.pid;
    this.isHidden = isolate?.isHidden ?? false;
    this.#channel = new Channel(stream, {
      accepts: ACCEPTS,
      handle: (message) => this.#serveCounted(message),
      closed: () => this.#isolateEnded(),
    });
  }

  async open(request: Outgoing): Promise<void> {
    const opened = await this.#ask(request, MESSAGE.OPENED);
    this.ephemeral = opened.body.ephemeral === 1;
    this.identity = opened.body.identity;
  }

  get identityEvent(): Trustvisor['identityEvent'] {
    const { identityPcr } = this.#options;
    return identityPcr === undefined ? undefined : { pcr: identityPcr, event: identityEvent(this.identity) };
  }

  async register(image: Uint8Array, options: RegisterOptions = {}): Promise<Pal> {
    const { body } = await this.#ask(registerRequest(image, options), MESSAGE.REGISTERED);
    this.#names.set(body.pal, { name: body.name, version: body.version });
    return this.#palOf(body);
  }

  async allocateShared(size: number): Promise<SharedMemory> {
    return this.#shared.allocate(size);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends the isolate without a word to it. */
  async end(): Promise<void> {
    this.#channel.close();
    for (const calls of this.#calls.values()) calls.close();
    for (const lane of this.#isolate?.lanes ?? []) lane.destroy();
    const { ended, kill } = this.#isolate ?? NOTHING;
    const patience = setTimeout(kill, CLOSING_PATIENCE);
    await ended;
    clearTimeout(patience);
    this.#shared.close();
  }

  async #close(): Promise<void> {
    try {
      await this.#whileAtWork(this.#channel.request({ type: MESSAGE.CLOSE, body: undefined }, MESSAGE.DONE));
    } catch (error) {
      if (!(error instanceof TrustvisorError && error.code === 'closed')) throw error;
    } finally {
      await this.end();
    }
  }

  /** An isolate that closes has much to tell to a slow TPM; one that stands still is not waited for. */
  async #whileAtWork(reply: Promise<unknown>): Promise<void> {
    let isDone = false;
    const done = reply.finally(() => {
      isDone = true;
    });
    for (let served = -1; !isDone && (this.#serving > 0 || this.#served !== served); ) {
      served = this.#served;
      let timer: NodeJS.Timeout | undefined;
      const silence = new Promise((resolve) => {
        timer = setTimeout(resolve, CLOSING_SILENCE);
      });
      await Promise.race([done, silence]).finally(() => clearTimeout(timer));
    }
    if (!isDone) done.catch(() => undefined); // it ends with the stream
  }

  #isolateEnded(): void {
    for (const calls of this.#calls.values()) calls.isolateEnded();
  }

  async #serveCounted(message: Message): Promise<Outgoing | undefined> {
    this.#served++;
    this.#serving++;
    try {
      return await this.#serve(message);
    } finally {
      this.#serving--;
    }
  }

  #palOf(body: Body<33>): Pal {
    const { pal, name, version, measurement, identity, certificate } = body;
    const [signed] = body.signed;
    const parameters = body.isMarshalled === 1 ? body.parameters : undefined;
    const [last] = body.last;
    const unregister = () => this.#unregister(pal);
    return {
      name,
      version,
      measurement,
      identity,
      certificate,
      signed,
      lastRequest: last && lastRequestOf(last),
      parameters,
      invoke: async (command, input, options) => {
        if (parameters !== undefined)
          throw new TrustvisorError('input', `call PAL ${name}: expected values, got an input`);
        return this.#invoke(pal, command, input, options);
      },
      invokeWith: async (values, options) => {
        if (parameters === undefined)
          throw new TrustvisorError('input', `call PAL ${name}: expected an input, got values`);
        const { returnCode, output } = await this.#invoke(pal, 0, encodeValues(parameters, values), options);
        return { returnCode, values: splitOutput(parameters, values, output) };
      },
      quote: (nonce, options) => this.#quote(pal, nonce, options?.pcrs ?? [0]),
      unregister,
      [Symbol.asyncDispose]: unregister,
    };
  }

  async #invoke(pal: number, command: number, input: Uint8Array, options: InvokeOptions = {}): Promise<InvokeResult> {
    const timeLimit = wholeNumber('timeLimit', options.timeLimit ?? DEFAULT_CALL_TIME);
    const plain = {
      pal,
      command: wholeNumber('command', command),
      timeLimit,
      input: bytesOf('input', input, MAX_DATA),
    };
    const { signal, lend } = options;
    if (signal?.aborted) throw new TrustvisorError('aborted', 'call PAL: the caller gave it up');
    if (lend === undefined || lend.length === 0)
      return resultOf(await this.#callsOf(pal).invoke({ ...plain, lent: [] }, signal));
    const loan = this.#shared.lend(lend);
    let written: readonly Uint8Array[] | undefined;
    try {
      const body = await this.#callsOf(pal).invoke({ ...plain, lent: loan.ranges }, signal);
      written = body.written;
      return resultOf(body);
    } finally {
      loan.end(written);
    }
  }

  #callsOf(pal: number): PalCalls {
    const known = this.#calls.get(pal);
    if (known !== undefined) return known;
    const nameOf = () => this.#names.get(pal)?.name ?? `${pal}`;
    const calls = new PalCalls({
      get name() {
        return nameOf();
      },
      call: (body, signal) => this.#call(body, signal),
      stop: async () => void (await this.#ask({ type: MESSAGE.STOP, body: { pal } }, MESSAGE.DONE)),
    });
    this.#calls.set(pal, calls);
    return calls;
  }

  async #call(body: Body<3>, signal: AbortSignal | undefined): Promise<Body<34>> {
    const { id, reply } = this.#channel.start({ type: MESSAGE.INVOKE, body }, MESSAGE.INVOKED);
    const abort = () => this.#channel.notify({ type: MESSAGE.ABORT, body: { request: id } });
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return (await this.#explain(reply)).body;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  async #quote(pal: number, nonce: Uint8Array, pcrs: readonly number[]): Promise<PalQuote> {
    if (pcrs.length === 0 || pcrs.some((pcr) => !Number.isInteger(pcr) || pcr < 0 || pcr > 7)) {
      throw new TrustvisorError('input', `quote PAL: expected uPCRs from 0 to 7, got ${pcrs.join(', ') || 'none'}`);
    }
    const mask = pcrs.reduce((bits, pcr) => bits | (1 << pcr), 0);
    const body = { pal, mask, nonce: bytesOf('nonce', nonce, 64) };
    return (await this.#ask({ type: MESSAGE.QUOTE, body }, MESSAGE.QUOTED)).body;
  }

  async #unregister(pal: number): Promise<void> {
    if (!this.#names.delete(pal)) return;
    this.#calls.get(pal)?.close();
    this.#calls.delete(pal);
    await this.#ask({ type: MESSAGE.UNREGISTER, body: { pal } }, MESSAGE.DONE);
  }

  #ask<T extends Message['type']>(message: Outgoing, expected: T) {
    return this.#explain(this.#channel.request(message, expected));
  }

  /** An isolate that ended by itself said why on its standard error. */
  async #explain<T>(reply: Promise<T>): Promise<T> {
    try {
      return await reply;
    } catch (error) {
      const ended = error instanceof TrustvisorError && error.code === 'closed' && this.#channel.isEnded;
      if (!ended || this.#closing !== undefined || this.#isolate === undefined) throw error;
      const complaint = (await this.#isolate.ended).trim();
      throw complaint === ''
        ? error
        : new TrustvisorError('closed', `${error.message}: ${complaint}`, { cause: error });
    }
  }

  /** Requests of the isolate: it is trusted more than this side, but its messages are bounded all the same. */
  async #serve(message: Message): Promise<Outgoing | undefined> {
    const { store, tpm } = this.#options;
    switch (message.type) {
      case MESSAGE.TPM:
        return content(await guarded('tpm', () => tpm?.send(message.body.command)));
      case MESSAGE.STORE_GET:
        return content(await guarded('store', async () => storedOf(await store.get(checked(message.body.name)))));
      case MESSAGE.STORE_PUT:
        await guarded('store', () => store.put(checked(message.body.name), message.body.content));
        return { type: MESSAGE.DONE, body: undefined };
      case MESSAGE.STORE_DELETE:
        await guarded('store', () => store.delete(checked(message.body.name)));
        return { type: MESSAGE.DONE, body: undefined };
      case MESSAGE.PRINT: {
        const pal = this.#names.get(message.body.pal);
        try {
          if (pal) this.#options.onPrint?.(pal, message.body.text);
        } finally {
          this.#calls.get(message.body.pal)?.countPrint();
        }
        return undefined;
      }
      case MESSAGE.LANE: {
        const { pal, lane, inputCapacity } = message.body;
        const stream = this.#isolate?.lanes[lane];
        if (stream) this.#callsOf(pal).useLane(stream, inputCapacity);
        else this.#calls.get(pal)?.dropLane();
        return undefined;
      }
      default:
        throw new TrustvisorError('protocol', `answer message: type ${message.type} does not go this way`);
    }
  }
}

function registerRequest(image: Uint8Array, options: RegisterOptions): Outgoing {
  const { identityKey = 'ecc-p256', sharedIdentity = false, signers } = options;
  const timeLimit = wholeNumber('timeLimit', options.timeLimit ?? DEFAULT_LOAD_TIME);
  if (identityKey !== 'ecc-p256' && identityKey !== 'rsa-2048') {
    throw new TrustvisorError('input', `register PAL: expected ecc-p256 or rsa-2048, got ${identityKey}`);
  }
  if (signers?.some((signer) => signer.length !== 32) || (signers?.length ?? 0) > 64) {
    throw new TrustvisorError('input', 'register PAL: expected at most 64 signers of 32 bytes each');
  }
  const flags =
    (identityKey === 'rsa-2048' ? REGISTER_FLAGS.rsaIdentity : 0) |
    (sharedIdentity ? REGISTER_FLAGS.sharedIdentity : 0) |
    (signers === undefined ? 0 : REGISTER_FLAGS.mustBeSigned) |
    (options.replay === 'checkpoints' ? REGISTER_FLAGS.checkpoints : 0);
  const checkpointAfter = wholeNumber('checkpointAfter', options.checkpointAfter ?? DEFAULT_CHECKPOINT_TIME);
  return { type: MESSAGE.REGISTER, body: { image, timeLimit, flags, checkpointAfter, signers: signers ?? [] } };
}

const NOTHING = { ended: Promise.resolve(''), kill: () => undefined };

function resultOf({ returnCode, output }: Body<34>): InvokeResult {
  return { returnCode, output };
}

function content(found: Uint8Array | undefined): Outgoing {
  return { type: MESSAGE.CONTENT, body: { content: found === undefined ? [] : [found] } };
}

async function guarded<T>(code: 'store' | 'tpm', run: () => Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new TrustvisorError(code, `use ${code === 'tpm' ? 'platform TPM' : 'store'}: ${problem}`, { cause: error });
  }
}

/** The store is not trusted: what nobody could have put is not sent. */
function storedOf(found: Uint8Array | undefined): Uint8Array | undefined {
  if (found === undefined || (found instanceof Uint8Array && found.length <= MAX_BLOB)) return found;
  const got = found instanceof Uint8Array ? `${found.length} bytes` : typeof found;
  throw new Error(`expected a blob of at most ${MAX_BLOB} bytes, got ${got}`);
}

function checked(name: string): string {
  assertBlobName(name);
  return name;
}

function wholeNumber(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw new TrustvisorError('input', `call PAL: expected ${name} to be a u32, got ${value}`);
}

function bytesOf(name: string, value: Uint8Array, max: number): Uint8Array {
  if (value instanceof Uint8Array && value.length <= max) return value;
  const got = value instanceof Uint8Array ? `${value.length} bytes` : typeof value;
  throw new TrustvisorError('input', `call PAL: expected ${name} of at most ${max} bytes, got ${got}`);
}

function lastRequestOf(last: Body<33>['last'][number]): LastRequest {
  return { ...last, outcome: last.outcome === 0 ? 'returned' : 'fault', rolledForward: last.rolledForward === 1 };
}
