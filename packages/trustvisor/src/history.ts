/**
 * Replay protection after Memoir (Parno et al., S&P 2011): a history summary in the TPM, snapshots outside.
 *
 * With `every-request` the summary is in an NV index, which each request extends. With `checkpoints` (the paper's section on
 * writing NVRAM rarely) each request extends an index in the TPM's memory, and the NV index, called the journal here, only says
 * whether such requests may be under way: it is extended when a history is opened, and by the summary when it is closed. Memoir
 * takes a PCR for the former. An orderly extend index of TPM 2.0 behaves like one (a TPM Reset leaves it unwritten), but is ours
 * alone: a PCR can be extended by everybody, and there is one for all PALs. After a reset the TPM's memory is gone; then the
 * journal must end in the closing with exactly the summary of the stored state, or else it is not known what came after, and the
 * history is refused for good. Nobody can put an old closing there later, for the journal is a chain: whoever opens makes a new
 * link, and a closing is worth something only as the link after one's own opening.
 */
import { randomBytes } from 'node:crypto';
import { array, bytes, encode, type Infer, oneOf, sizedBytes, struct, u8, u32, u64 } from '@casemate/wire';
import { equal, sha256 } from './digest.js';
import { TrustvisorError } from './error.js';
import { NV_AREA_SIZE } from './nv-area.js';
import type { LastRequest } from './options.js';
import { type ExtendIndex, type PlatformTpm, SLOTS } from './platform-tpm.js';
import { MAX_DATA } from './protocol.js';
import { deriveKey, openBlob, parseBlob, STATE_KIND, STATE_MAGIC, StateBlob, sealBlob } from './seal.js';
import type { BlobStore } from './store.js';

const ZEROS = new Uint8Array(32);

const Digest = bytes('DIGEST', 32);
const Data = sizedBytes('DATA', u32, { max: MAX_DATA });

const Last = struct('LAST', {
  command: u32,
  inputDigest: Digest,
  outcome: oneOf('OUTCOME', u8, [0, 1]),
  returnCode: u32,
  output: Data,
});

/**
 * A PAL's state after `sequence` requests, whose history has this summary. `seed` is the source of its randomness. With checkpoints
 * `journal` is what the journal held since its last opening, and `tip` the summary of the TPM after the pending request, where a
 * reset made that another than what follows from the request.
 */
const Snapshot = struct('SNAPSHOT', {
  sequence: u64,
  summary: Digest,
  journal: array('JOURNAL', u8, Digest, { max: 1 }),
  tip: array('TIP', u8, Digest, { max: 1 }),
  seed: Digest,
  state: sizedBytes('STATE', u32, { max: MAX_DATA + NV_AREA_SIZE }),
  last: array('LASTS', u8, Last, { max: 1 }),
});
type Snapshot = Infer<typeof Snapshot>;

/** A request that was accepted in the history that ends with `previous`. */
const Request = struct('REQUEST', { previous: Digest, command: u32, input: Data });
type Request = Infer<typeof Request>;

const RegistryEntry = struct('REGISTRY_ENTRY', { slot: u8, measurement: Digest });
type RegistryEntry = Infer<typeof RegistryEntry>;
const Registry = array('REGISTRY', u8, RegistryEntry, { max: SLOTS.histories });

/** What the histories of one Trustvisor share. */
export interface HistoryHost {
  readonly platform: PlatformTpm;
  readonly store: BlobStore;
  readonly master: Uint8Array;
}

/** How a request ended: what the PAL returned, or that it trapped and its state stays as it was. */
export type RequestOutcome =
  | { readonly kind: 'returned'; readonly returnCode: number; readonly output: Uint8Array; readonly state: Uint8Array }
  | { readonly kind: 'fault' };

/**
 * Which PALs have a history, and where. Its own summary is in the TPM too: whoever undefines an index cannot make a PAL
 * start again, because the list still names it.
 */
export class HistoryRegistry {
  readonly #host: HistoryHost;
  readonly #index: ExtendIndex;
  readonly #genesis: Uint8Array;
  #entries: readonly RegistryEntry[] = [];

  /** Call {@link HistoryRegistry.create} or {@link HistoryRegistry.open} before anything else. */
  constructor(host: HistoryHost) {
    this.#host = host;
    this.#genesis = deriveKey(host.master, 'registry', sha256(new TextEncoder().encode('genesis')));
    const auth = deriveKey(host.master, 'registry authorization', ZEROS);
    this.#index = { slot: SLOTS.registry, auth, tag: tagOf('registry', ZEROS) };
  }

  /** Makes the registry of a new master secret; one that an earlier attempt left is replaced. */
  async create(): Promise<void> {
    const { platform } = this.#host;
    const state = await platform.extendState(this.#index);
    if (state === 'foreign') throw new TrustvisorError('refused', 'create the registry: its NV index is taken');
    if (state !== 'absent') await platform.remove(this.#index.slot);
    await platform.createExtend(this.#index, this.#genesis);
  }

  /** Reads the registry. Throws `replay` where it is not the latest, `refused` where its index is gone. */
  async open(): Promise<void> {
    const { platform, store } = this.#host;
    if ((await platform.extendState(this.#index)) !== 'written') {
      throw new TrustvisorError('refused', 'open the registry: its NV index is gone, so old state could pass for new');
    }
    const summary = await platform.readExtend(this.#index);
    const entries = await this.#load(store);
    const committed = [entries, entries.slice(0, -1)].find((list) => equal(this.#summaryOf(list), summary));
    if (committed === undefined) {
      throw new TrustvisorError('replay', 'open the registry: the stored list of histories is not the latest');
    }
    this.#entries = committed;
  }

  /** Whether there is a list in the store at all: sealed state of an earlier master secret, or of this one. */
  static async isThere(store: BlobStore): Promise<boolean> {
    return (await store.get(REGISTRY_BLOB)) !== undefined;
  }

  /** Stores an empty list where there is none, so that a master secret that vanishes later is missed. */
  async mark(): Promise<void> {
    // One that is there may be more than the TPM knows of yet: another isolate is about to tell it.
    if (!(await HistoryRegistry.isThere(this.#host.store))) await this.#put(this.#entries);
  }

  /** The index of a PAL's history, or `undefined` where it has none. */
  find(measurement: Uint8Array): ExtendIndex | undefined {
    const entry = this.#entries.find((each) => equal(each.measurement, measurement));
    return entry && this.#indexOf(measurement, entry.slot);
  }

  /**
   * Defines a new index for the PAL at a free slot and extends it by `genesis`; it counts only once
   * {@link HistoryRegistry.add} was called. With checkpoints there is one in the TPM's memory too.
   */
  async allocate(measurement: Uint8Array, genesis: Uint8Array, withVolatile = false): Promise<ExtendIndex> {
    const { platform } = this.#host;
    const taken = new Set(this.#entries.map(({ slot }) => slot));
    for (let slot = SLOTS.firstHistory; slot < SLOTS.firstHistory + SLOTS.histories; slot++) {
      if (taken.has(slot)) continue;
      const index = this.#indexOf(measurement, slot);
      const state = await platform.extendState(index);
      if (state === 'foreign') continue;
      if (state !== 'absent') await platform.remove(slot);
      if (withVolatile && !(await this.#defineVolatile(index))) continue;
      await platform.createExtend(index, genesis);
      return index;
    }
    throw new TrustvisorError(
      'refused',
      `create a history: expected a free one of ${SLOTS.histories} NV indexes, got none`,
    );
  }

  /** From here on the PAL has a history. The list is stored before the TPM is told, so that a crash between loses nothing. */
  async add(measurement: Uint8Array, { slot }: ExtendIndex): Promise<void> {
    const entries = [...this.#entries, { slot, measurement }];
    const before = this.#summaryOf(this.#entries);
    const put = () => this.#put(entries);
    const summary = await this.#host.platform.extend(this.#index, before, digestOf({ slot, measurement }), put);
    this.#entries = summary === undefined ? this.#raced() : await this.#settled(entries, summary);
  }

  /**
   * What the list is now. Another isolate that adds to it at the same time puts its list over ours, or extends the summary around us: then
   * the stored list is made whole again, or nobody could open it. Only what the TPM's summary confirms counts.
   */
  async #settled(mine: readonly RegistryEntry[], summary: Uint8Array): Promise<readonly RegistryEntry[]> {
    const stored = await this.#load(this.#host.store);
    const theirs = stored.slice(mine.length - 1);
    const lists = [mine, stored, [...mine, ...theirs], [...stored, ...mine.slice(-1)]];
    const latest = lists.find((list) => equal(this.#summaryOf(list), summary)) ?? this.#raced();
    const isStored = [stored, stored.slice(0, -1)].some((list) => equal(this.#summaryOf(list), summary));
    // What the other has put and not told the TPM yet stays behind it.
    if (!isStored) await this.#put(latest === mine ? [...mine, ...theirs.slice(0, 1)] : latest);
    return latest;
  }

  #raced(): never {
    throw new TrustvisorError('replay', 'write the registry: somebody else wrote it at the same time');
  }

  async #defineVolatile(journal: ExtendIndex): Promise<boolean> {
    const { platform } = this.#host;
    const index = volatileOf(journal);
    const state = await platform.extendState(index);
    if (state === 'foreign') return false;
    if (state !== 'absent') await platform.remove(index.slot);
    await platform.defineExtend(index);
    return true;
  }

  async #load(store: BlobStore): Promise<readonly RegistryEntry[]> {
    const content = await store.get(REGISTRY_BLOB);
    if (content === undefined) return [];
    const blob = parseBlob(StateBlob, content);
    return parseBlob(Registry, openBlob(StateBlob, this.#key(), blob));
  }

  async #put(entries: readonly RegistryEntry[]): Promise<void> {
    const header = { magic: STATE_MAGIC, kind: STATE_KIND.REGISTRY, owner: ZEROS, salt: salt() } as const;
    await this.#host.store.put(REGISTRY_BLOB, sealBlob(StateBlob, this.#key(), header, encode(Registry, entries)));
  }

  #key(): Uint8Array {
    return deriveKey(this.#host.master, 'registry', ZEROS);
  }

  #summaryOf(entries: readonly RegistryEntry[]): Uint8Array {
    return entries.reduce((summary, entry) => sha256(summary, digestOf(entry)), sha256(ZEROS, this.#genesis));
  }

  #indexOf(measurement: Uint8Array, slot: number): ExtendIndex {
    const auth = deriveKey(this.#host.master, 'history authorization', measurement);
    return { slot, auth, tag: tagOf('history', measurement) };
  }
}

/** When the NV index of a history is written: at every request, or only when it is opened and closed. */
type ReplayMode = 'every-request' | 'checkpoints';

/**
 * The history of one PAL. A request is accepted in this order: {request} stored, then the TPM's summary extended by it,
 * then the PAL runs, then the new snapshot is stored. A crash at any point leaves either the old snapshot with a summary
 * that knows nothing of the request, or a summary that names exactly the stored request, which is then carried out again.
 */
export class History {
  readonly #place: Place & { readonly index: ExtendIndex };
  #snapshot: Snapshot;
  #pending: Request | undefined;
  #uncertain = false;
  #isClosed = false;
  #rolledForward = false;

  private constructor({ snapshot, pending, ...place }: OpenHistory) {
    this.#place = place;
    this.#snapshot = snapshot;
    this.#pending = pending;
  }

  /**
   * Opens the PAL's history, or begins it. Throws `replay` where the stored state is missing, not the latest, of another
   * history or of another PAL; `sealed-state` where it is damaged.
   */
  static async open(
    host: HistoryHost,
    registry: HistoryRegistry,
    pal: { readonly name: string; readonly measurement: Uint8Array; readonly mode?: ReplayMode },
  ): Promise<History> {
    await registry.open();
    const index = registry.find(pal.measurement);
    const place = { mode: 'every-request' as const, host, registry, ...pal };
    return new History(index === undefined ? await begin(place) : await recover({ ...place, index }));
  }

  /** A request that the TPM knows of and that has not been carried out. It must be, before any other. */
  get pending(): { readonly command: number; readonly input: Uint8Array } | undefined {
    return this.#pending;
  }

  /** The PAL's state before the pending request. */
  get state(): Uint8Array {
    return this.#snapshot.state;
  }

  /** The last request that was carried out. */
  get last(): LastRequest | undefined {
    const [last] = this.#snapshot.last;
    if (last === undefined) return undefined;
    const outcome = last.outcome === 0 ? 'returned' : 'fault';
    return { ...last, outcome, sequence: this.#snapshot.sequence, rolledForward: this.#rolledForward };
  }

  /** What fixes all randomness of the pending request. */
  get randomness(): { readonly key: Uint8Array; readonly context: Uint8Array } {
    return { key: this.#snapshot.seed, context: this.#pending ? nextSummary(this.#pending) : this.#snapshot.summary };
  }

  /** After a failure between two steps, or a closing: finds out from TPM and store how far it came. */
  async settle(): Promise<void> {
    if (!this.#uncertain && !this.#isClosed) return;
    const { snapshot, pending } = await recover(this.#place);
    this.#snapshot = snapshot;
    this.#pending = pending;
    this.#uncertain = false;
    this.#isClosed = false;
  }

  /** Finds out from TPM and store whether another isolate has gone on with the history, and follows it. */
  async refresh(): Promise<void> {
    const summary = await this.#place.host.platform.readExtend(summaryIndex(this.#place));
    const known = this.#pending ? tipOf(this.#snapshot, this.#pending) : this.#snapshot.summary;
    if (!equal(summary, known)) this.#uncertain = true;
    await this.settle();
  }

  /** Makes the request part of the history. */
  async accept(command: number, input: Uint8Array): Promise<void> {
    const { host, index, measurement, name } = this.#place;
    const request = { previous: this.#snapshot.summary, command, input };
    this.#uncertain = true;
    // Stored only where the summary is the one it follows, so that an isolate that is behind spoils nothing.
    const store = () => putBlob(host, measurement, STATE_KIND.REQUEST, encode(Request, request));
    const [value] = this.#snapshot.journal;
    // With checkpoints somebody may have opened or closed the history meanwhile: that shows in the journal.
    const witness = value && { index, value };
    const at = summaryIndex(this.#place);
    const summary = await host.platform.extend(at, request.previous, digestOfRequest(request), store, witness);
    if (summary === undefined || !equal(summary, nextSummary(request))) {
      throw new TrustvisorError('replay', `call PAL ${name}: its history has gone on elsewhere`);
    }
    this.#pending = request;
    this.#uncertain = false;
  }

  /** Stores the state after the pending request; only then may its result leave the isolate. */
  async commit(outcome: RequestOutcome, rolledForward: boolean): Promise<void> {
    const { host, measurement, name } = this.#place;
    const request = this.#pending;
    if (request === undefined) throw new TrustvisorError('replay', `call PAL ${name}: no request is pending`);
    const next = snapshotAfter(this.#snapshot, request, outcome);
    this.#uncertain = true;
    await putBlob(host, measurement, STATE_KIND.SNAPSHOT, encode(Snapshot, next));
    await host.store.delete(blobName(measurement, STATE_KIND.REQUEST));
    this.#snapshot = next;
    this.#pending = undefined;
    this.#rolledForward = rolledForward;
    this.#uncertain = false;
  }

  /**
   * With checkpoints: writes the summary into the journal, so that a reset or a loss of power from here to the next request
   * costs nothing. Where it cannot, the history stays as it is.
   */
  async close(): Promise<void> {
    const [journal] = this.#snapshot.journal;
    if (journal === undefined || this.#isClosed || this.#uncertain) return;
    const { host, index, name } = this.#place;
    this.#uncertain = true;
    const tip = this.#pending ? tipOf(this.#snapshot, this.#pending) : this.#snapshot.summary;
    const closed = await host.platform.extend(index, journal, closing(tip));
    if (closed === undefined || !equal(closed, sha256(journal, closing(tip)))) {
      throw new TrustvisorError('replay', `close the history of PAL ${name}: it has gone on elsewhere`);
    }
    this.#isClosed = true;
    this.#uncertain = false;
  }

  /** Overwrites the secrets in memory. */
  wipe(): void {
    this.#snapshot.seed.fill(0);
    this.#snapshot.state.fill(0);
    this.#place.index.auth.fill(0);
  }
}

interface Place {
  readonly host: HistoryHost;
  readonly registry: HistoryRegistry;
  readonly name: string;
  readonly measurement: Uint8Array;
  readonly mode: ReplayMode;
}

interface OpenHistory extends Place {
  readonly index: ExtendIndex;
  readonly snapshot: Snapshot;
  readonly pending: Request | undefined;
}

/** The first snapshot's seed goes into the summary, so that two beginnings at the same time cannot both go on. */
async function begin(place: Place): Promise<OpenHistory> {
  const { host, registry, measurement, mode } = place;
  const seed = salt();
  const genesis = sha256(new TextEncoder().encode('casemate history'), seed, measurement);
  const summary = sha256(ZEROS, genesis);
  const isChecked = mode === 'checkpoints';
  // With checkpoints it begins as one that has just been closed.
  const index = await registry.allocate(measurement, isChecked ? closing(summary) : genesis, isChecked);
  const journal = isChecked ? [ZEROS] : [];
  const snapshot: Snapshot = { sequence: 0n, summary, journal, tip: [], seed, state: new Uint8Array(0), last: [] };
  await putBlob(host, measurement, STATE_KIND.SNAPSHOT, encode(Snapshot, snapshot));
  await host.store.delete(blobName(measurement, STATE_KIND.REQUEST));
  await registry.add(measurement, index);
  return isChecked ? recover({ ...place, index }) : { ...place, index, snapshot, pending: undefined };
}

async function recover(place: Place & { readonly index: ExtendIndex }): Promise<OpenHistory> {
  const { host, index } = place;
  if ((await host.platform.extendState(index)) !== 'written') {
    throw replay(place, 'the NV index of its history is gone');
  }
  const snapshot = await loadSnapshot(place);
  const isChecked = snapshot.journal.length === 1;
  if (isChecked !== (place.mode === 'checkpoints')) {
    const begun = isChecked ? 'checkpoints' : 'every-request';
    throw new TrustvisorError('refused', `open the state of PAL ${place.name}: expected the replay mode ${begun}`);
  }
  const request = await loadRequest(place);
  const pending = request && equal(request.previous, snapshot.summary) ? request : undefined;
  if (isChecked) return reopen(place, snapshot, pending);
  const summary = await host.platform.readExtend(index);
  if (equal(snapshot.summary, summary)) return { ...place, snapshot, pending: undefined };
  if (pending && equal(nextSummary(pending), summary)) return { ...place, snapshot, pending };
  throw replay(place, NOT_LATEST);
}

const NOT_LATEST = 'its stored state is not the latest';

/**
 * Opens a history with checkpoints: makes a new link in the journal, and what the TPM's memory holds after that counts. It is looked
 * at before too: a state that is not the latest must not move the journal on, or the latest one could not be opened after a reset.
 */
async function reopen(
  place: Place & { readonly index: ExtendIndex },
  snapshot: Snapshot,
  pending: Request | undefined,
): Promise<OpenHistory> {
  const { host, index, measurement } = place;
  const { platform } = host;
  const tips = [snapshot.summary, ...(pending ? [nextSummary(pending), tipOf(snapshot, pending)] : [])];
  const before = await platform.readExtend(index);
  await beginVolatile(place, { snapshot, tips, journal: before });
  await latestTip(place, tips);
  const opened = await platform.extend(index, before, OPENING);
  if (opened === undefined || !equal(opened, sha256(before, OPENING))) {
    throw replay(place, 'somebody else opened its history at the same time');
  }
  const { summary, tip } = await latestTip(place, tips);
  const isPending = pending !== undefined && !equal(tip, snapshot.summary);
  const next: Snapshot = isPending
    ? { ...snapshot, journal: [opened], tip: [summary] }
    : { ...snapshot, journal: [opened], tip: [], summary };
  await putBlob(host, measurement, STATE_KIND.SNAPSHOT, encode(Snapshot, next));
  return { ...place, snapshot: next, pending: isPending ? pending : undefined };
}

/** What the TPM's memory holds, and which of the summaries that the stored state can have it is. */
async function latestTip(place: Place & { readonly index: ExtendIndex }, tips: readonly Uint8Array[]) {
  const summary = await place.host.platform.readExtend(volatileOf(place.index));
  const tip = tips.find((each) => equal(summary, each) || equal(summary, afterReset(each)));
  if (tip === undefined) throw replay(place, NOT_LATEST);
  return { summary, tip };
}

/** After a reset of the TPM its memory begins anew, from the summary with which the journal was closed. */
async function beginVolatile(
  place: Place & { readonly index: ExtendIndex },
  known: { readonly snapshot: Snapshot; readonly tips: readonly Uint8Array[]; readonly journal: Uint8Array },
): Promise<void> {
  const index = volatileOf(place.index);
  const state = await place.host.platform.extendState(index);
  if (state === 'written') return;
  if (state !== 'defined') throw replay(place, 'the NV index of its history is gone');
  const [from = ZEROS] = known.snapshot.journal;
  const closed = known.tips.find((tip) => equal(known.journal, sha256(from, closing(tip))));
  if (closed === undefined) {
    const problem =
      'its stored state is not the one it was closed with: it is old, or the TPM was reset before it was closed';
    throw replay(place, problem);
  }
  await place.host.platform.beginExtend(index, opensWith(closed));
}

/** The index that each request extends. */
function summaryIndex({ mode, index }: Place & { readonly index: ExtendIndex }): ExtendIndex {
  return mode === 'checkpoints' ? volatileOf(index) : index;
}

function volatileOf({ slot, auth, tag }: ExtendIndex): ExtendIndex {
  return { slot: slot - SLOTS.firstHistory + SLOTS.firstVolatile, auth, tag, isVolatile: true };
}

const OPENING = sha256(new TextEncoder().encode('casemate history: opened'));

/** What is extended into the journal when a history is closed with this summary. */
function closing(summary: Uint8Array): Uint8Array {
  return sha256(new TextEncoder().encode('casemate history: closed'), summary);
}

/** What the TPM's memory is begun with after a reset. */
function opensWith(summary: Uint8Array): Uint8Array {
  return sha256(new TextEncoder().encode('casemate history: after a reset'), summary);
}

function afterReset(summary: Uint8Array): Uint8Array {
  return sha256(ZEROS, opensWith(summary));
}

/** What the TPM holds once it knows of the pending request. */
function tipOf(snapshot: Snapshot, request: Request): Uint8Array {
  return snapshot.tip[0] ?? nextSummary(request);
}

async function loadSnapshot(place: Place): Promise<Snapshot> {
  const content = await getBlob(place, STATE_KIND.SNAPSHOT);
  if (content === undefined) throw replay(place, 'its stored state is gone');
  return parseBlob(Snapshot, content);
}

/** A request that cannot be read cannot be the one that the TPM names; without it the state is merely old. */
async function loadRequest(place: Place): Promise<Request | undefined> {
  try {
    const content = await getBlob(place, STATE_KIND.REQUEST);
    return content && parseBlob(Request, content);
  } catch (error) {
    if (error instanceof TrustvisorError && error.code !== 'store') return undefined;
    throw error;
  }
}

async function getBlob(place: Place, kind: 1 | 2): Promise<Uint8Array | undefined> {
  const content = await place.host.store.get(blobName(place.measurement, kind));
  if (content === undefined) return undefined;
  const blob = parseBlob(StateBlob, content);
  if (!equal(blob.owner, place.measurement)) throw replay(place, 'the stored state is that of another PAL');
  if (blob.kind !== kind) throw replay(place, `the stored state is of kind ${blob.kind}, not ${kind}`);
  return openBlob(StateBlob, deriveKey(place.host.master, 'state', place.measurement), blob);
}

async function putBlob(host: HistoryHost, measurement: Uint8Array, kind: 1 | 2, content: Uint8Array): Promise<void> {
  const header = { magic: STATE_MAGIC, kind, owner: measurement, salt: salt() } as const;
  const key = deriveKey(host.master, 'state', measurement);
  await host.store.put(blobName(measurement, kind), sealBlob(StateBlob, key, header, content));
}

function snapshotAfter(before: Snapshot, request: Request, outcome: RequestOutcome): Snapshot {
  const { command, input } = request;
  const returned = outcome.kind === 'returned' ? outcome : undefined;
  const last = {
    command,
    inputDigest: sha256(input),
    outcome: returned ? (0 as const) : (1 as const),
    returnCode: returned?.returnCode ?? 0,
    output: returned?.output ?? new Uint8Array(0),
  };
  return {
    sequence: before.sequence + 1n,
    summary: tipOf(before, request),
    journal: before.journal,
    tip: [],
    seed: before.seed,
    state: returned?.state ?? before.state,
    last: [last],
  };
}

/** What TPM2_NV_Extend makes of the summary: SHA-256(summary || SHA-256(request)). */
function nextSummary(request: Request): Uint8Array {
  return sha256(request.previous, digestOfRequest(request));
}

function digestOfRequest(request: Request): Uint8Array {
  return sha256(encode(Request, request));
}

function digestOf(entry: RegistryEntry): Uint8Array {
  return sha256(encode(RegistryEntry, entry));
}

function tagOf(kind: 'registry' | 'history', measurement: Uint8Array): Uint8Array {
  return sha256(new TextEncoder().encode(`casemate trustvisor ${kind}`), measurement);
}

function blobName(measurement: Uint8Array, kind: 1 | 2): string {
  const hex = [...measurement].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hex}.${kind === STATE_KIND.SNAPSHOT ? 'snapshot' : 'request'}`;
}

function salt(): Uint8Array {
  return new Uint8Array(randomBytes(32));
}

function replay({ name }: Place, problem: string): TrustvisorError {
  return new TrustvisorError('replay', `open the state of PAL ${name}: ${problem}`);
}

const REGISTRY_BLOB = 'registry';
