/** Replay protection after Memoir (Parno et al., S&P 2011): a history summary in the TPM, snapshots outside. */
import { randomBytes } from 'node:crypto';
import { array, bytes, encode, type Infer, oneOf, sizedBytes, struct, u8, u32, u64 } from '@casemate/wire';
import { TrustvisorError } from './error.js';
import { NV_AREA_SIZE } from './nv-area.js';
import type { LastRequest } from './options.js';
import { type ExtendIndex, equal, type PlatformTpm, SLOTS, sha256 } from './platform-tpm.js';
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

/** A PAL's state after `sequence` requests, whose history has this summary. `seed` is the source of its randomness. */
const Snapshot = struct('SNAPSHOT', {
  sequence: u64,
  summary: Digest,
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

  /** Stores an empty list, so that a master secret that vanishes later is missed. */
  async mark(): Promise<void> {
    if (this.#entries.length === 0) await this.#put([]);
  }

  /** The index of a PAL's history, or `undefined` where it has none. */
  find(measurement: Uint8Array): ExtendIndex | undefined {
    const entry = this.#entries.find((each) => equal(each.measurement, measurement));
    return entry && this.#indexOf(measurement, entry.slot);
  }

  /**
   * Defines a new index for the PAL at a free slot and extends it by `genesis`; it counts only once
   * {@link HistoryRegistry.add} was called.
   */
  async allocate(measurement: Uint8Array, genesis: Uint8Array): Promise<ExtendIndex> {
    const { platform } = this.#host;
    const taken = new Set(this.#entries.map(({ slot }) => slot));
    for (let slot = SLOTS.firstHistory; slot < SLOTS.firstHistory + SLOTS.histories; slot++) {
      if (taken.has(slot)) continue;
      const index = this.#indexOf(measurement, slot);
      const state = await platform.extendState(index);
      if (state === 'foreign') continue;
      if (state !== 'absent') await platform.remove(slot);
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
    if (summary === undefined || !equal(summary, this.#summaryOf(entries))) {
      throw new TrustvisorError('replay', 'write the registry: somebody else wrote it at the same time');
    }
    this.#entries = entries;
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

/**
 * The history of one PAL. A request is accepted in this order: {request} stored, then the TPM's summary extended by it,
 * then the PAL runs, then the new snapshot is stored. A crash at any point leaves either the old snapshot with a summary
 * that knows nothing of the request, or a summary that names exactly the stored request, which is then carried out again.
 */
export class History {
  readonly #host: HistoryHost;
  readonly #registry: HistoryRegistry;
  readonly #measurement: Uint8Array;
  readonly #name: string;
  #index: ExtendIndex;
  #snapshot: Snapshot;
  #pending: Request | undefined;
  #uncertain = false;
  #rolledForward = false;

  private constructor(open: OpenHistory) {
    this.#host = open.host;
    this.#registry = open.registry;
    this.#measurement = open.measurement;
    this.#name = open.name;
    this.#index = open.index;
    this.#snapshot = open.snapshot;
    this.#pending = open.pending;
  }

  /**
   * Opens the PAL's history, or begins it. Throws `replay` where the stored state is missing, not the latest, of another
   * history or of another PAL; `sealed-state` where it is damaged.
   */
  static async open(
    host: HistoryHost,
    registry: HistoryRegistry,
    pal: { readonly name: string; readonly measurement: Uint8Array },
  ): Promise<History> {
    await registry.open();
    const index = registry.find(pal.measurement);
    const place = { host, registry, ...pal };
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

  /** After a failure between two steps: finds out from TPM and store how far it came. */
  async settle(): Promise<void> {
    if (!this.#uncertain) return;
    const place = { host: this.#host, registry: this.#registry, measurement: this.#measurement, name: this.#name };
    const { snapshot, pending } = await recover({ ...place, index: this.#index });
    this.#snapshot = snapshot;
    this.#pending = pending;
    this.#uncertain = false;
  }

  /** Finds out from TPM and store whether another isolate has gone on with the history, and follows it. */
  async refresh(): Promise<void> {
    const summary = await this.#host.platform.readExtend(this.#index);
    const known = this.#pending ? nextSummary(this.#pending) : this.#snapshot.summary;
    if (!equal(summary, known)) this.#uncertain = true;
    await this.settle();
  }

  /** Makes the request part of the history. */
  async accept(command: number, input: Uint8Array): Promise<void> {
    const request = { previous: this.#snapshot.summary, command, input };
    this.#uncertain = true;
    // Stored only where the summary is the one it follows, so that an isolate that is behind spoils nothing.
    const store = () => putBlob(this.#host, this.#measurement, STATE_KIND.REQUEST, encode(Request, request));
    const { platform } = this.#host;
    const summary = await platform.extend(this.#index, request.previous, digestOfRequest(request), store);
    if (summary === undefined || !equal(summary, nextSummary(request))) {
      throw new TrustvisorError('replay', `call PAL ${this.#name}: its history has gone on elsewhere`);
    }
    this.#pending = request;
    this.#uncertain = false;
  }

  /** Stores the state after the pending request; only then may its result leave the isolate. */
  async commit(outcome: RequestOutcome, rolledForward: boolean): Promise<void> {
    const request = this.#pending;
    if (request === undefined) throw new TrustvisorError('replay', `call PAL ${this.#name}: no request is pending`);
    const next = snapshotAfter(this.#snapshot, request, outcome);
    this.#uncertain = true;
    await putBlob(this.#host, this.#measurement, STATE_KIND.SNAPSHOT, encode(Snapshot, next));
    await this.#host.store.delete(blobName(this.#measurement, STATE_KIND.REQUEST));
    this.#snapshot = next;
    this.#pending = undefined;
    this.#rolledForward = rolledForward;
    this.#uncertain = false;
  }

  /** Overwrites the secrets in memory. */
  wipe(): void {
    this.#snapshot.seed.fill(0);
    this.#snapshot.state.fill(0);
    this.#index.auth.fill(0);
  }
}

interface Place {
  readonly host: HistoryHost;
  readonly registry: HistoryRegistry;
  readonly name: string;
  readonly measurement: Uint8Array;
}

interface OpenHistory extends Place {
  readonly index: ExtendIndex;
  readonly snapshot: Snapshot;
  readonly pending: Request | undefined;
}

/** The first snapshot's seed goes into the summary, so that two beginnings at the same time cannot both go on. */
async function begin(place: Place): Promise<OpenHistory> {
  const { host, registry, measurement } = place;
  const seed = salt();
  const genesis = sha256(new TextEncoder().encode('casemate history'), seed, measurement);
  const index = await registry.allocate(measurement, genesis);
  const snapshot: Snapshot = {
    sequence: 0n,
    summary: sha256(ZEROS, genesis),
    seed,
    state: new Uint8Array(0),
    last: [],
  };
  await putBlob(host, measurement, STATE_KIND.SNAPSHOT, encode(Snapshot, snapshot));
  await host.store.delete(blobName(measurement, STATE_KIND.REQUEST));
  await registry.add(measurement, index);
  return { ...place, index, snapshot, pending: undefined };
}

async function recover(place: Place & { readonly index: ExtendIndex }): Promise<OpenHistory> {
  const { host, index } = place;
  if ((await host.platform.extendState(index)) !== 'written') {
    throw replay(place, 'the NV index of its history is gone');
  }
  const summary = await host.platform.readExtend(index);
  const snapshot = await loadSnapshot(place);
  if (equal(snapshot.summary, summary)) return { ...place, snapshot, pending: undefined };
  const request = await loadRequest(place);
  if (request && equal(request.previous, snapshot.summary) && equal(nextSummary(request), summary)) {
    return { ...place, snapshot, pending: request };
  }
  throw replay(place, 'its stored state is not the latest');
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
    summary: nextSummary(request),
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
