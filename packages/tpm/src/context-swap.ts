/** Objects and sessions in and out of a TPM's few slots by saving and loading their contexts (Part 1, section 30). */
import { encode, type Infer } from '@casemate/wire';
import { equalBytes } from './bytes.js';
import type { AnyCommand, RequestParameters } from './command.js';
import { GetCapability } from './commands/capability.js';
import { ContextLoad, ContextSave, FlushContext } from './commands/context.js';
import { TPMA_CC } from './constants/attributes.js';
import { TPM_CAP, TPM_PT } from './constants/capabilities.js';
import { TPM_HC } from './constants/handles.js';
import { TPM_RC } from './constants/responses.js';
import { type AnswerFrame, decodeAnswer, encodeRequest } from './framing.js';
import { TpmError } from './response-code.js';
import { TpmsContext } from './structures/context.js';
import type { TpmTransport } from './transport.js';

/** Whoever objects and sessions belong to; compared by identity. */
export type Owner = object;

/** A transient object. Its callers know it by `handle`; the TPM by `physical`, while it is loaded. */
export interface ManagedObject {
  readonly kind: 'object';
  readonly handle: number;
  readonly owner: Owner;
  physical: number | undefined;
  /** Its saved context: an object does not change, so it is saved once; but a sequence does. */
  context: TpmsContext | undefined;
  used: number;
}

/** A session. Its handle stays the same wherever it is. */
export interface ManagedSession {
  readonly kind: 'session';
  readonly handle: number;
  owner: Owner;
  loaded: boolean;
  context: TpmsContext | undefined;
  /** The context that its owner took with TPM2_ContextSave; until somebody loads that, nobody may use the session. */
  released: Uint8Array | undefined;
  /** When it was saved, counted in saved sessions. */
  savedAt: number;
  used: number;
}

/** What a command needs in the TPM. */
export type Managed = ManagedObject | ManagedSession;

/** An entry that a command names, and what the TPM would answer were it not there. */
export interface Need {
  readonly entry: Managed;
  readonly missing: number;
}

/** What the TPM says of one of its commands (Part 2, table 37). */
export interface CommandAttributes {
  readonly handles: { readonly length: number };
  readonly responseHandles: { readonly length: number };
  readonly flushed: boolean;
  readonly extensive: boolean;
}

/** The code of a refusal that this resource manager makes in the TPM's stead (layer 11 of the TSS response codes). */
function managed(responseCode: number): number {
  return RESOURCE_MANAGER_LAYER | responseCode;
}

/** Refuses in the TPM's stead; {@link managed}. */
export function refusal(responseCode: number): TpmError {
  return TpmError.fromResponse('share TPM', managed(responseCode));
}

/**
 * The tables of what is where. They change only when the TPM has confirmed a step; after a step with an unknown outcome
 * {@link ContextSwap.doubt} is called, and the next command first compares the tables with what the TPM holds.
 */
export class ContextSwap {
  readonly #transport: TpmTransport;
  readonly #objects = new Map<number, ManagedObject>();
  /** By {@link indexOf}, because a TPM counts sessions of both kinds together. */
  readonly #sessions = new Map<number, ManagedSession>();
  #attributes: ReadonlyMap<number, CommandAttributes> = new Map();
  /** What was in the TPM before; it is left alone. */
  readonly #foreign = new Set<number>();
  #gap = SMALLEST_GAP;
  #state: 'new' | 'sure' | 'unsure' = 'new';
  #clock = 0;
  #saves = 0;
  #lastHandle = FIRST_VIRTUAL - 1;
  #refreshing = false;

  constructor(transport: TpmTransport) {
    this.#transport = transport;
  }

  /** Brings the tables in line with the TPM, where they may not be. Throws the TPM's refusal where it is not started. */
  async ready(signal: AbortSignal | undefined): Promise<void> {
    if (this.#state === 'sure') return;
    if (this.#state === 'new') {
      this.#attributes = await this.#readAttributes(signal);
      this.#gap = await this.#readGap(signal);
      for (const key of (await this.#inventory(signal)).all.keys()) this.#foreign.add(key);
    } else {
      await this.#compare(signal);
    }
    this.#state = 'sure';
  }

  /** Notes that the tables may be wrong. */
  doubt(): void {
    if (this.#state === 'sure') this.#state = 'unsure';
  }

  /** What the TPM says of a command; `undefined` where it has no such command. */
  attributesOf(code: number): CommandAttributes | undefined {
    return this.#attributes.get(code);
  }

  /** The entry behind a handle of this owner's. */
  find(owner: Owner, handle: number): Managed | undefined {
    const entry = isTransient(handle) ? this.#objects.get(handle) : this.#sessions.get(indexOf(handle));
    return entry?.owner === owner && entry.handle === handle ? entry : undefined;
  }

  /** All of this owner's, in the order of their handles. */
  listOf(owner: Owner): readonly Managed[] {
    const all: readonly Managed[] = [...this.#objects.values(), ...this.#sessions.values()];
    return all.filter((entry) => entry.owner === owner).sort((a, b) => a.handle - b.handle);
  }

  /** Loads whatever a command needs that is not loaded. Throws `TpmError` `response`: the refusal that answers the command. */
  async load(needs: readonly Need[], signal: AbortSignal | undefined): Promise<void> {
    const pinned = needs.map(({ entry }) => entry);
    for (const { entry, missing } of needs) {
      if (!isLoaded(entry)) await this.#bringIn(entry, pinned, missing, signal);
      this.#touch(entry);
    }
  }

  /** Repeats `attempt`, which needs `pinned`, as long as the TPM lacks room for it and something else can make way. */
  async withRoom<T extends { readonly responseCode: number }>(
    pinned: readonly Managed[],
    signal: AbortSignal | undefined,
    attempt: () => Promise<T>,
  ): Promise<T> {
    for (let attempts = 0; ; attempts++) {
      const answer = await attempt();
      if (attempts === MAX_EVICTIONS) return answer;
      if (!(await this.#makeRoom(answer.responseCode, pinned, signal))) return answer;
    }
  }

  /** Takes up an object or a session that a command made; gives the handle that its owner is to know it by. */
  adopt(owner: Owner, handle: number): number {
    this.#foreign.delete(keyOf(handle));
    if (isTransient(handle)) return this.#adoptObject(owner, handle);
    const used = ++this.#clock;
    const entry: ManagedSession = {
      kind: 'session',
      ...{ handle, owner, used, loaded: true, context: undefined, released: undefined, savedAt: 0 },
    };
    this.#sessions.set(indexOf(handle), entry);
    return handle;
  }

  /** Forgets an entry that the TPM has flushed. */
  drop(entry: Managed): void {
    if (entry.kind === 'object') this.#objects.delete(entry.handle);
    else this.#sessions.delete(indexOf(entry.handle));
  }

  /** Flushes an entry, from the TPM or from memory. */
  async flush(entry: Managed, signal: AbortSignal | undefined): Promise<void> {
    const flushHandle = entry.kind === 'object' ? entry.physical : entry.handle;
    const answer = flushHandle !== undefined && (await this.#run(FlushContext, [], { flushHandle }, signal));
    const responseCode = answer ? answer.responseCode : TPM_RC.SUCCESS;
    if (responseCode === TPM_RC.SUCCESS || isAboutHandle(responseCode)) this.drop(entry);
    if (responseCode === TPM_RC.SUCCESS) return;
    this.doubt();
    throw TpmError.fromResponse(FlushContext.name, responseCode);
  }

  /** Saves a session for its owner to keep. Throws the TPM's refusal. */
  async release(entry: ManagedSession, signal: AbortSignal | undefined): Promise<TpmsContext> {
    if (entry.loaded) await this.#saveSession(entry, signal);
    const { context } = entry;
    if (!context) throw refusal(TPM_RC.REFERENCE_H0);
    entry.released = encode(TpmsContext, context);
    return context;
  }

  /**
   * Hands a released session to whoever has its context. `undefined` for a session that is not managed here; throws a
   * refusal for one that is in use, whose context is thereby out of date.
   */
  reclaim(owner: Owner, context: TpmsContext): ManagedSession | undefined {
    if (isTransient(context.savedHandle)) return undefined;
    const entry = this.#sessions.get(indexOf(context.savedHandle));
    if (!entry) return undefined;
    if (!entry.released || !equalBytes(entry.released, encode(TpmsContext, context))) {
      throw refusal(TPM_RC.HANDLE | FIRST_PARAMETER);
    }
    entry.owner = owner;
    entry.released = undefined;
    return entry;
  }

  #adoptObject(owner: Owner, physical: number): number {
    // The TPM gives a slot anew only when it is free, so whatever was thought to be in it is not there any more.
    for (const entry of this.#objects.values()) if (entry.physical === physical) this.#lose(entry);
    const handle = this.#nextHandle();
    const used = ++this.#clock;
    this.#objects.set(handle, { kind: 'object', handle, owner, physical, context: undefined, used });
    return handle;
  }

  /** A handle that no other object has or had of late, whoever its owner: one caller's handle is no other's by chance. */
  #nextHandle(): number {
    do {
      this.#lastHandle = this.#lastHandle >= TPM_HC.TRANSIENT_LAST ? TPM_HC.TRANSIENT_FIRST : this.#lastHandle + 1;
    } while (this.#objects.has(this.#lastHandle));
    return this.#lastHandle;
  }

  #touch(entry: Managed): void {
    entry.used = ++this.#clock;
    // A command may change a sequence, and its context is out of date then.
    if (entry.kind === 'object' && entry.context?.savedHandle === SAVED_SEQUENCE) entry.context = undefined;
  }

  /** An object that is no longer in the TPM: it lives on in its context, if it has one. */
  #lose(entry: Managed): void {
    if (entry.kind === 'object') entry.physical = undefined;
    else entry.loaded = false;
    if (!entry.context) this.drop(entry);
  }

  async #bringIn(
    entry: Managed,
    pinned: readonly Managed[],
    missing: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { context } = entry;
    if (!context) throw refusal(missing);
    const answer = await this.withRoom(pinned, signal, () => this.#run(ContextLoad, [], { context }, signal));
    const { responseCode, handles } = answer;
    if (responseCode === TPM_RC.SUCCESS) return this.#noteLoaded(entry, handles[0] ?? 0);
    if (!isAboutHandle(responseCode)) throw TpmError.fromResponse(ContextLoad.name, responseCode);
    this.drop(entry);
    throw refusal(missing);
  }

  #noteLoaded(entry: Managed, handle: number): void {
    if (entry.kind === 'object') {
      entry.physical = handle;
      return;
    }
    entry.loaded = true;
    entry.context = undefined; // a session's context is good for one load
  }

  async #makeRoom(rc: number, pinned: readonly Managed[], signal: AbortSignal | undefined): Promise<boolean> {
    switch (rc) {
      case TPM_RC.OBJECT_MEMORY:
      case TPM_RC.OBJECT_HANDLES:
        return this.#evictObject(pinned, signal);
      case TPM_RC.SESSION_MEMORY:
        return this.#evictSession(pinned, signal);
      case TPM_RC.CONTEXT_GAP:
        return this.#refreshOldest(pinned, signal);
      default:
        return false;
    }
  }

  async #evictObject(pinned: readonly Managed[], signal: AbortSignal | undefined): Promise<boolean> {
    const victim = leastRecent(
      [...this.#objects.values()].filter((entry) => isLoaded(entry) && !pinned.includes(entry)),
    );
    if (victim?.physical === undefined) return false;
    const { physical } = victim;
    victim.context ??= (await this.#must(ContextSave, [physical], {}, signal)).context;
    await this.#must(FlushContext, [], { flushHandle: physical }, signal);
    victim.physical = undefined;
    return true;
  }

  async #evictSession(pinned: readonly Managed[], signal: AbortSignal | undefined): Promise<boolean> {
    const victim = leastRecent(
      [...this.#sessions.values()].filter((entry) => isLoaded(entry) && !pinned.includes(entry)),
    );
    if (!victim) return false;
    await this.#saveSession(victim, signal);
    return true;
  }

  async #saveSession(entry: ManagedSession, signal: AbortSignal | undefined): Promise<void> {
    entry.context = (await this.#must(ContextSave, [entry.handle], {}, signal)).context;
    entry.loaded = false;
    entry.savedAt = ++this.#saves;
    // Long before a TPM refuses to save for the distance to the oldest context, while there is room to load that one.
    const oldest = this.#oldestSaved();
    if (oldest && this.#saves - oldest.savedAt >= this.#gap / 2) await this.#refreshEarly(signal);
  }

  /** It is nobody's command yet, so a refusal fails nobody: a session that cannot be loaded has been dropped. */
  async #refreshEarly(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#refreshOldest([], signal);
    } catch (error) {
      if (!(error instanceof TpmError) || !error.response) throw error;
    }
  }

  /** Loads the session that was saved longest ago and saves it again: its context is the newest then (Part 1, section 30.5). */
  async #refreshOldest(pinned: readonly Managed[], signal: AbortSignal | undefined): Promise<boolean> {
    const oldest = this.#oldestSaved();
    if (!oldest || this.#refreshing) return false;
    this.#refreshing = true;
    try {
      await this.#bringIn(oldest, [...pinned, oldest], TPM_RC.REFERENCE_S0, signal);
      await this.#saveSession(oldest, signal);
      return true;
    } finally {
      this.#refreshing = false;
    }
  }

  #oldestSaved(): ManagedSession | undefined {
    const saved = [...this.#sessions.values()].filter(({ loaded, context }) => !loaded && context);
    return saved.reduce<ManagedSession | undefined>((a, b) => (a && a.savedAt <= b.savedAt ? a : b), undefined);
  }

  /** After a reset, a lost response or a command that flushes: what is gone is dropped, and what nobody owns is flushed. */
  async #compare(signal: AbortSignal | undefined): Promise<void> {
    const { transient, loaded, all } = await this.#inventory(signal);
    for (const key of this.#foreign) if (!all.has(key)) this.#foreign.delete(key);
    for (const entry of this.#objects.values()) {
      if (entry.physical !== undefined && !transient.has(entry.physical)) this.#lose(entry);
    }
    for (const entry of this.#sessions.values()) {
      entry.loaded = loaded.has(indexOf(entry.handle));
      if (entry.loaded) entry.context = undefined;
      else if (!entry.context) this.drop(entry);
    }
    for (const [key, flushHandle] of all) {
      if (!this.#isKnown(key)) await this.#run(FlushContext, [], { flushHandle }, signal);
    }
  }

  #isKnown(key: number): boolean {
    if (this.#foreign.has(key)) return true;
    if (!isTransient(key)) return this.#sessions.has(indexOf(key));
    return [...this.#objects.values()].some(({ physical }) => physical === key);
  }

  async #inventory(signal: AbortSignal | undefined): Promise<Inventory> {
    const transient = await this.#handlesFrom(TPM_HC.TRANSIENT_FIRST, signal);
    const loaded = await this.#handlesFrom(TPM_HC.LOADED_SESSION_FIRST, signal);
    const saved = await this.#handlesFrom(TPM_HC.ACTIVE_SESSION_FIRST, signal);
    const all = new Map([...transient, ...saved, ...loaded].map((handle) => [keyOf(handle), handle]));
    return { transient: new Set(transient), loaded: new Set(loaded.map(indexOf)), all };
  }

  #handlesFrom(first: number, signal: AbortSignal | undefined): Promise<readonly number[]> {
    return this.#readAll(TPM_CAP.HANDLES, first, (last) => last + 1, signal);
  }

  async #readAttributes(signal: AbortSignal | undefined): Promise<ReadonlyMap<number, CommandAttributes>> {
    const lists = await this.#readAll(TPM_CAP.COMMANDS, 0, (last) => commandCode(last) + 1, signal);
    return new Map(lists.map((bits) => [commandCode(bits), attributesFrom(bits)]));
  }

  /** Answers may come in pieces; the next piece starts behind the last element. */
  async #readAll(
    capability: typeof TPM_CAP.HANDLES | typeof TPM_CAP.COMMANDS,
    first: number,
    after: (last: number) => number,
    signal: AbortSignal | undefined,
  ): Promise<readonly number[]> {
    const found: number[] = [];
    for (let property = first, more = true; more; ) {
      const request = { capability, property, propertyCount: 254 };
      const { moreData, capabilityData } = await this.#must(GetCapability, [], request, signal);
      if (capabilityData.capability !== capability) break;
      found.push(...capabilityData.data);
      const last = capabilityData.data.at(-1);
      // A TPM that promises more without going on would be asked for ever.
      more = moreData && last !== undefined && after(last) > property;
      if (more && last !== undefined) property = after(last);
    }
    return found;
  }

  async #readGap(signal: AbortSignal | undefined): Promise<number> {
    const request = { capability: TPM_CAP.TPM_PROPERTIES, property: TPM_PT.CONTEXT_GAP_MAX, propertyCount: 1 };
    const { capabilityData } = await this.#must(GetCapability, [], request, signal);
    if (capabilityData.capability !== TPM_CAP.TPM_PROPERTIES) return SMALLEST_GAP;
    const found = capabilityData.data.find(({ property }) => property === TPM_PT.CONTEXT_GAP_MAX);
    return found && found.value > SMALLEST_GAP ? found.value : SMALLEST_GAP;
  }

  /** {@link ContextSwap.#run}, throwing the TPM's refusal. */
  async #must<C extends AnyCommand>(
    command: C,
    handles: readonly number[],
    parameters: RequestParameters<C>,
    signal: AbortSignal | undefined,
  ): Promise<Infer<C['response']>> {
    const answer = await this.#run(command, handles, parameters, signal);
    if (answer.responseCode !== TPM_RC.SUCCESS || answer.parameters === undefined) {
      throw TpmError.fromResponse(command.name, answer.responseCode);
    }
    return answer.parameters;
  }

  /** One command of the manager's own, sent until the TPM does more than put it off. */
  async #run<C extends AnyCommand>(
    command: C,
    handles: readonly number[],
    parameters: RequestParameters<C>,
    signal: AbortSignal | undefined,
  ): Promise<AnswerFrame<C>> {
    // RequestParameters is what the parameter codec of the same command takes.
    const bytes = encodeRequest(command, { handles, auths: [], parameters: parameters as Infer<C['parameters']> });
    for (let attempt = 0; ; attempt++) {
      const response = await this.#transport.send(bytes, signal ? { signal } : {});
      const answer = decodeAnswer(command, response);
      if (attempt === MAX_RETRIES || !RETRYABLE.has(answer.responseCode)) return answer;
      await new Promise((resolve) => setTimeout(resolve, 2 ** attempt));
    }
  }
}

interface Inventory {
  readonly transient: ReadonlySet<number>;
  /** Indexes of the loaded sessions. */
  readonly loaded: ReadonlySet<number>;
  /** Everything that could be flushed, by {@link keyOf}. */
  readonly all: ReadonlyMap<number, number>;
}

/** Whether a handle is that of a transient object. */
export function isTransient(handle: number): boolean {
  return (handle & TPM_HC.HR_RANGE_MASK) >>> 0 === TPM_HC.HR_TRANSIENT;
}

/** Whether a handle is that of a session. */
export function isSession(handle: number): boolean {
  const range = (handle & TPM_HC.HR_RANGE_MASK) >>> 0;
  return range === TPM_HC.HR_HMAC_SESSION || range === TPM_HC.HR_POLICY_SESSION;
}

function isLoaded(entry: Managed): boolean {
  return entry.kind === 'object' ? entry.physical !== undefined : entry.loaded;
}

/** A warning, or an error of the whole TPM, passes; an error of format one is about what was named, which is of no more use. */
function isAboutHandle(responseCode: number): boolean {
  return (responseCode & FORMAT_ONE) !== 0;
}

function leastRecent<T extends Managed>(entries: readonly T[]): T | undefined {
  return entries.reduce<T | undefined>((a, b) => (a && a.used <= b.used ? a : b), undefined);
}

function indexOf(session: number): number {
  return session & TPM_HC.HR_HANDLE_MASK;
}

/** A TPM lists saved sessions of both kinds in one range; one key for each keeps them comparable. */
function keyOf(handle: number): number {
  return isTransient(handle) ? handle : TPM_HC.HR_HMAC_SESSION | indexOf(handle);
}

function commandCode(bits: number): number {
  return (bits & (TPMA_CC.commandIndex | TPMA_CC.V)) >>> 0;
}

function attributesFrom(bits: number): CommandAttributes {
  return {
    handles: { length: (bits & TPMA_CC.cHandles) >>> 25 },
    responseHandles: { length: (bits & TPMA_CC.rHandle) === 0 ? 0 : 1 },
    flushed: (bits & TPMA_CC.flushed) !== 0,
    extensive: (bits & TPMA_CC.extensive) !== 0,
  };
}

/** Far from where TPMs count their own handles, so that neither is mistaken for the other. */
const FIRST_VIRTUAL = 0x80800000;
const RESOURCE_MANAGER_LAYER = 11 << 16;
/** The first parameter is blamed (Part 2, section 6.6.2). */
export const FIRST_PARAMETER = 0x140;
const FORMAT_ONE = 0x080;
/** `savedHandle` of a sequence object's context (Part 2, table 51). */
const SAVED_SEQUENCE = 0x80000001;
/** The least that a TPM may have: contexts counted in one octet. */
const SMALLEST_GAP = 255;
/** More than any TPM has slots; it bounds what a TPM that never has room can make us do. */
const MAX_EVICTIONS = 256;
const MAX_RETRIES = 10;
const RETRYABLE: ReadonlySet<number> = new Set([TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING, TPM_RC.NV_RATE]);
