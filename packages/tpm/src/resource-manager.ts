/** Many callers on one TPM, each with objects and sessions of its own, as many as it likes (Part 1, section 30; TCG TAB and RM specification). */
import { type Codec, decode, encode, WireError, type WireErrorCode } from '@casemate/wire';
import { GetCapability } from './commands/capability.js';
import { ContextLoad, ContextSave, FlushContext } from './commands/context.js';
import { TPMA_SESSION } from './constants/attributes.js';
import { TPM_CAP } from './constants/capabilities.js';
import { TPM_CC } from './constants/commands.js';
import { TPM_HC } from './constants/handles.js';
import { TPM_RC } from './constants/responses.js';
import {
  type CommandAttributes,
  ContextSwap,
  FIRST_PARAMETER,
  isSession,
  isTransient,
  type ManagedSession,
  type Need,
  type Owner,
  refusal,
} from './context-swap.js';
import {
  type CommandFrame,
  decodeCommand,
  decodeResponse,
  encodeCommand,
  encodeResponse,
  type ResponseFrame,
} from './framing.js';
import { Lock, orAborted } from './lock.js';
import { TpmError } from './response-code.js';
import type { TpmTransport } from './transport.js';

/** A TPM that many callers share, however few objects and sessions it has room for. Made by {@link shareTpm}. */
export interface SharedTpm {
  /**
   * A way to the TPM for one caller, who has objects and sessions of its own: nobody else can use, list or flush them.
   * `close` flushes what the caller left. Sends nothing yet.
   */
  connect(): TpmTransport;
  /** Closes every connection, flushing what they left, and then the transport beneath. */
  close(): Promise<void>;
  /** The same as {@link SharedTpm.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Shares the TPM behind `transport`, which nobody else may use from then on: a resource manager, as the Linux kernel has
 * behind /dev/tpmrm0, for a TPM that has none, such as /dev/tpm0, swtpm or `@casemate/utpm`.
 *
 * Objects and sessions that do not fit into the TPM are swapped out and in by TPM2_ContextSave and TPM2_ContextLoad, the
 * least recently used first. Transient handles are virtual: every caller's are different, and a caller who uses another's
 * gets TPM_RC_REFERENCE_H0 or …S0 of layer 11. A context that a caller saves itself can be loaded by any other. What is in
 * the TPM at the first command stays there, out of reach. The TPM still limits how many sessions there are at all (often 64).
 */
export function shareTpm(transport: TpmTransport): SharedTpm {
  const manager = new ResourceManager(transport);
  return {
    connect: () => manager.connect(),
    close: () => manager.close(),
    [Symbol.asyncDispose]: () => manager.close(),
  };
}

class ResourceManager {
  readonly #transport: TpmTransport;
  readonly #swap: ContextSwap;
  readonly #lock = new Lock();
  readonly #connections = new Set<TpmTransport>();

  constructor(transport: TpmTransport) {
    this.#transport = transport;
    this.#swap = new ContextSwap(transport);
  }

  connect(): TpmTransport {
    const connection: TpmTransport = {
      send: (command, { signal } = {}) => {
        const answer = this.#lock.run(() => this.#answer(connection, command, signal), signal);
        return signal ? orAborted(answer, signal) : answer;
      },
      close: () => this.#lock.run(() => this.#leave(connection)),
    };
    this.#connections.add(connection);
    return connection;
  }

  close(): Promise<void> {
    return this.#lock.run(async () => {
      for (const connection of [...this.#connections]) await this.#leave(connection);
      await this.#transport.close();
    });
  }

  /** What this caller left is flushed as far as the TPM still answers; a released session stays for whoever has its context. */
  async #leave(connection: TpmTransport): Promise<void> {
    if (!this.#connections.delete(connection)) return;
    const left = this.#swap.listOf(connection).filter((entry) => entry.kind === 'object' || !entry.released);
    for (const entry of left) {
      try {
        await this.#swap.flush(entry, undefined);
      } catch {
        // Nobody's entry any more: it is flushed when the tables are compared with the TPM.
        this.#swap.drop(entry);
        this.#swap.doubt();
      }
    }
  }

  /** A refusal, the TPM's or our own, is an answer; only a broken way to the TPM is an error. */
  async #answer(owner: TpmTransport, command: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    if (!this.#connections.has(owner)) throw new TpmError('closed', 'send command: the connection was closed');
    signal?.throwIfAborted();
    try {
      return await this.#perform(owner, command, signal);
    } catch (error) {
      if (error instanceof TpmError && error.response) return refused(error.response.code);
      this.#swap.doubt();
      throw error;
    }
  }

  async #perform(owner: Owner, command: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    if (isBare(command)) return this.#passOn(command, signal);
    await this.#swap.ready(signal);
    const frame = decodeCommand(command, (code) => this.#swap.attributesOf(code));
    return (await this.#special(owner, frame, signal)) ?? (await this.#general(owner, frame, signal));
  }

  /** A command without handles and sessions, which is also possible before the TPM is started or when it has failed. */
  async #passOn(command: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const response = await this.#transport.send(command, optional(signal));
    // A start may follow a reset, after which the TPM has lost whatever was loaded.
    if (codeOf(command) === TPM_CC.Startup) this.#swap.doubt();
    return response;
  }

  /** The commands that are about handles themselves. */
  async #special(owner: Owner, frame: CommandFrame, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    switch (frame.code) {
      case TPM_CC.FlushContext:
        return this.#flush(owner, frame, signal);
      case TPM_CC.ContextSave:
        return this.#save(owner, frame, signal);
      case TPM_CC.ContextLoad:
        return this.#reclaim(owner, frame);
      case TPM_CC.GetCapability:
        return this.#list(owner, frame);
      default:
        return undefined;
    }
  }

  async #general(owner: Owner, frame: CommandFrame, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const needs = this.#needsOf(owner, frame);
    await this.#swap.load(needs, signal);
    const command = encodeCommand(this.#physical(owner, frame));
    const pinned = needs.map(({ entry }) => entry);
    const { bytes, response } = await this.#swap.withRoom(pinned, signal, () => this.#exchange(frame, command, signal));
    if (!response) return bytes;
    return this.#noteResponse(owner, frame, needs, response) ? encodeResponse(this.#virtual(owner, response)) : bytes;
  }

  async #exchange(frame: CommandFrame, command: Uint8Array, signal: AbortSignal | undefined): Promise<Exchanged> {
    const bytes = await this.#transport.send(command, optional(signal));
    const response = this.#understand(frame, bytes);
    // What cannot be understood is the caller's to refuse; what it did in the TPM is seen by comparison.
    if (!response) this.#swap.doubt();
    return { bytes, response, responseCode: response?.responseCode ?? TPM_RC.SUCCESS };
  }

  #understand(frame: CommandFrame, bytes: Uint8Array): ResponseFrame | undefined {
    try {
      const { responseHandles } = this.#attributesOf(frame);
      return decodeResponse({ name: 'shared command', responseHandles }, bytes);
    } catch (error) {
      if (error instanceof TpmError) return undefined;
      throw error;
    }
  }

  /** What a command did to objects and sessions. Whether the response holds a handle of theirs. */
  #noteResponse(owner: Owner, frame: CommandFrame, needs: readonly Need[], response: ResponseFrame): boolean {
    if (response.responseCode !== TPM_RC.SUCCESS) {
      if (isReferenceLost(response.responseCode)) this.#swap.doubt();
      return false;
    }
    const { flushed, extensive } = this.#attributesOf(frame);
    if (flushed) for (const { entry } of needs) if (entry.kind === 'object') this.#swap.drop(entry);
    if (extensive) this.#swap.doubt();
    frame.auths.forEach(({ sessionHandle }, i) => {
      const entry = this.#swap.find(owner, sessionHandle);
      const attributes = response.auths[i]?.sessionAttributes ?? 0;
      if (entry && (attributes & TPMA_SESSION.continueSession) === 0) this.#swap.drop(entry);
    });
    return response.handles.some((handle) => isTransient(handle) || isSession(handle));
  }

  /** The objects and sessions that a command names; a refusal where one is not this caller's. */
  #needsOf(owner: Owner, frame: CommandFrame): readonly Need[] {
    const named = [
      ...frame.handles.map((handle, i) => ({ handle, missing: TPM_RC.REFERENCE_H0 + i })),
      ...frame.auths.map(({ sessionHandle: handle }, i) => ({ handle, missing: TPM_RC.REFERENCE_S0 + i })),
    ];
    return named
      .filter(({ handle }) => isTransient(handle) || isSession(handle))
      .map(({ handle, missing }) => ({ entry: this.#usable(owner, handle, missing), missing }));
  }

  #usable(owner: Owner, handle: number, missing: number): Need['entry'] {
    const entry = this.#swap.find(owner, handle);
    if (!entry || (entry.kind === 'session' && entry.released)) throw refusal(missing);
    return entry;
  }

  #physical(owner: Owner, frame: CommandFrame): CommandFrame {
    const handles = frame.handles.map((handle) => {
      const entry = this.#swap.find(owner, handle);
      return entry?.kind === 'object' ? (entry.physical ?? handle) : handle;
    });
    return { ...frame, handles };
  }

  #virtual(owner: Owner, response: ResponseFrame): ResponseFrame {
    const handles = response.handles.map((handle) =>
      isTransient(handle) || isSession(handle) ? this.#swap.adopt(owner, handle) : handle,
    );
    return { ...response, handles };
  }

  #attributesOf(frame: CommandFrame): CommandAttributes {
    const attributes = this.#swap.attributesOf(frame.code);
    if (!attributes) throw refusal(TPM_RC.COMMAND_CODE);
    return attributes;
  }

  /** The handle is a parameter here. A session that its owner saved can still be flushed by its owner. */
  async #flush(owner: Owner, frame: CommandFrame, signal: AbortSignal | undefined): Promise<Uint8Array> {
    if (frame.auths.length > 0) throw refusal(TPM_RC.AUTH_CONTEXT);
    const { flushHandle } = parametersOf(FlushContext, frame);
    const entry = this.#swap.find(owner, flushHandle);
    if (!entry) throw refusal(TPM_RC.HANDLE | FIRST_PARAMETER);
    await this.#swap.flush(entry, signal);
    return accepted();
  }

  async #save(owner: Owner, frame: CommandFrame, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    const [handle = 0] = frame.handles;
    if (!isSession(handle) || frame.auths.length > 0) return undefined;
    const entry = this.#usable(owner, handle, TPM_RC.REFERENCE_H0) as ManagedSession; // by its handle's type
    const context = await this.#swap.release(entry, signal);
    return accepted(encode(ContextSave.response, { context }));
  }

  #reclaim(owner: Owner, frame: CommandFrame): Uint8Array | undefined {
    if (frame.auths.length > 0) return undefined;
    const entry = this.#swap.reclaim(owner, parametersOf(ContextLoad, frame).context);
    return entry && accepted(new Uint8Array(0), [entry.handle]);
  }

  /** A list of this caller's handles. In an audit session the TPM's own list goes out: its HMAC covers the response. */
  #list(owner: Owner, frame: CommandFrame): Uint8Array | undefined {
    const { capability, property, propertyCount } = parametersOf(GetCapability, frame);
    if (capability !== TPM_CAP.HANDLES || frame.auths.length > 0) return undefined;
    const kind = LISTED.get((property & TPM_HC.HR_RANGE_MASK) >>> 0);
    if (!kind) return undefined;
    const mine = this.#swap.listOf(owner).filter((entry) => kind === kindOf(entry));
    const from = mine.map(({ handle }) => handle).filter((handle) => indexed(handle) >= indexed(property));
    const data = from.slice(0, Math.min(propertyCount, MAX_LISTED));
    const capabilityData = { capability, data };
    return accepted(encode(GetCapability.response, { moreData: data.length < from.length, capabilityData }));
  }
}

interface Exchanged {
  readonly bytes: Uint8Array;
  readonly response: ResponseFrame | undefined;
  readonly responseCode: number;
}

/** To its owner a session is loaded, wherever it is, until the owner has saved it. */
function kindOf(entry: Need['entry']): string {
  if (entry.kind === 'object') return 'object';
  return entry.released ? 'saved session' : 'loaded session';
}

function indexed(handle: number): number {
  return handle & TPM_HC.HR_HANDLE_MASK;
}

/** Commands without handles that a TPM takes in any state, sent without a session. */
function isBare(command: Uint8Array): boolean {
  return command.length >= 10 && command[0] === 0x80 && command[1] === 0x01 && BARE.has(codeOf(command));
}

function codeOf(command: Uint8Array): number {
  return new DataView(command.buffer, command.byteOffset).getUint32(6);
}

/** A loaded entry that the TPM does not know, or a TPM that is not started: it was reset. */
function isReferenceLost(responseCode: number): boolean {
  return (
    responseCode === TPM_RC.INITIALIZE || (responseCode >= TPM_RC.REFERENCE_H0 && responseCode <= TPM_RC.REFERENCE_S6)
  );
}

/** The caller controls these bytes; what is wrong with them is answered as a TPM answers it. */
function parametersOf<P>(command: { readonly parameters: Codec<P> }, frame: CommandFrame): P {
  try {
    return decode(command.parameters, frame.parameters);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw refusal((REFUSALS[error.code] ?? TPM_RC.VALUE) | FIRST_PARAMETER);
  }
}

function accepted(parameters: Uint8Array = new Uint8Array(0), handles: readonly number[] = []): Uint8Array {
  return encodeResponse({ responseCode: TPM_RC.SUCCESS, handles, parameters, auths: [] });
}

function refused(responseCode: number): Uint8Array {
  return encodeResponse({ responseCode, handles: [], parameters: new Uint8Array(0), auths: [] });
}

function optional(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal ? { signal } : {};
}

const REFUSALS: Partial<Record<WireErrorCode, number>> = { truncated: TPM_RC.INSUFFICIENT, trailing: TPM_RC.SIZE };
const BARE: ReadonlySet<number> = new Set([
  TPM_CC.Startup,
  TPM_CC.Shutdown,
  TPM_CC.SelfTest,
  TPM_CC.IncrementalSelfTest,
  TPM_CC.GetTestResult,
]);
const LISTED: ReadonlyMap<number, string> = new Map([
  [TPM_HC.HR_TRANSIENT, 'object'],
  [TPM_HC.HR_HMAC_SESSION, 'loaded session'],
  [TPM_HC.HR_POLICY_SESSION, 'saved session'],
]);
/** As many handles as fit into the smallest buffer that TPMs answer with. */
const MAX_LISTED = 254;
