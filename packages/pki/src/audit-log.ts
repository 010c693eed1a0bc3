/**
 * An append-only audit log whose Merkle root is signed: what an authority did, so that nothing can be taken back unseen
 * (tree and proofs of RFC 9162 section 2.1, signed tree heads as C2SP checkpoints).
 *
 * An entry is one line of JSON in UTF-8 without its line feed, at most 64 KiB: an object whose first members are `time` (ISO 8601,
 * UTC, milliseconds) and `event` (a word), then whatever the event says. Leaf `i` of the tree is the hash of the exact bytes of
 * entry `i`, so nothing needs to be encoded a second time to be checked. The words of this package: `generate`, `issue`, `renew`,
 * `revoke`, `crl`, `enrol`, `refuse`, `sign`, `ceremony`, `mend`; callers may add their own.
 *
 * A store keeps the entries in order and the newest checkpoint; {@link AuditStore} is all that it has to do. Where several
 * processes share one (a database), an append that comes second is refused with `exists`, and the log reads on and tries again.
 */
import { equalBytes } from './bytes.js';
import {
  assertOrigin,
  type Checkpoint,
  parseCheckpoint,
  signCheckpoint,
  type TreeHead,
  verifyCheckpoint,
} from './checkpoint.js';
import { malformed, PkiError } from './error.js';
import type { Signer } from './key.js';
import { createMerkleTree, leafHash, type MerkleTree } from './merkle-tree.js';

/** JSON inside an entry. */
export type AuditValue =
  | string
  | number
  | boolean
  | null
  | readonly AuditValue[]
  | { readonly [name: string]: AuditValue };

/** What happened. */
export interface AuditEvent {
  /** A word in lower case: `issue`, `revoke`. */
  readonly event: string;
  /** What the event says: the serial number as hexadecimal text, the authority, who asked. No secrets. */
  readonly [field: string]: AuditValue;
}

/** An entry as it was read. */
export interface AuditEntry {
  /** When it was appended. */
  readonly time: Date;
  /** The event's word. */
  readonly event: string;
  /** All other members. */
  readonly fields: Readonly<Record<string, AuditValue>>;
}

/** Where the entries of a log are read from. */
export interface AuditSource {
  /** The bytes of every entry from place `from` on, in order. */
  read(from: number): AsyncIterable<Uint8Array>;
  /** The newest checkpoint; `undefined` before the first. */
  readCheckpoint(): Promise<string | undefined>;
}

/** Where a log lives: a file, a table. */
export interface AuditStore extends AuditSource {
  /**
   * Appends entries so that the first stands at place `index`, all of them or none, durable when the promise resolves.
   * Throws {@link PkiError} `exists` where the log has more than `index` entries already.
   */
  append(index: number, entries: readonly Uint8Array[]): Promise<void>;
  /** Replaces the checkpoint, atomically and durably; never by one of fewer entries. */
  writeCheckpoint(text: string): Promise<void>;
  /** Gives up what the store holds. */
  close?(): Promise<void>;
}

/** Options of {@link openAuditLog}. */
export interface AuditLogOptions {
  /** The entries. */
  readonly store: AuditStore;
  /** The name of the log, without white space: `maker.example/pki`. It is part of what is signed. */
  readonly origin: string;
  /** Signs checkpoints; without it {@link AuditLog.sign} refuses. */
  readonly signer?: Signer;
  /** The key (SubjectPublicKeyInfo DER) that signed the stored checkpoint; the signer's without it. */
  readonly publicKey?: Uint8Array;
  /** The clock; the system's without it. */
  readonly now?: () => Date;
}

/** An open log. Appends may be called at any time and from everywhere; those that wait are written together. */
export interface AuditLog extends AsyncDisposable {
  /** The name of the log. */
  readonly origin: string;
  /** The length and root of what is durable. */
  readonly head: TreeHead;
  /**
   * Appends an event; resolves to its place when it is durable.
   * Throws {@link PkiError} `bad-input` for an event that is none, and what the store throws; then it was not appended.
   */
  append(event: AuditEvent): Promise<number>;
  /** Reads what other processes appended since, and gives the new head. Throws {@link PkiError} `malformed`. */
  refresh(): Promise<TreeHead>;
  /**
   * Signs the head as it is when all earlier appends are durable, stores the checkpoint and gives its text.
   * Throws {@link PkiError} `bad-input` without a signer.
   */
  sign(): Promise<string>;
  /** The hashes that prove entry `index` in the tree of `size` entries, see `verifyInclusion`. Throws `bad-input`. */
  inclusionProof(index: number, size?: number): readonly Uint8Array[];
  /** The hashes that prove `from` entries to be the beginning of `to`, see `verifyConsistency`. Throws `bad-input`. */
  consistencyProof(from: number, to?: number): readonly Uint8Array[];
  /** Waits for appends under way and closes the store. */
  close(): Promise<void>;
}

/** The most bytes in an entry. */
const MAX_ENTRY = 65_536;
/** The most entries that are written together. */
const MAX_BATCH = 1024;
/** How often an append gives way to other processes. */
const MAX_CONFLICTS = 100;

/**
 * Opens a log: reads its entries and checks them against the stored checkpoint.
 * Throws {@link PkiError}: `bad-signature` where entries that were signed for are missing or others, or the checkpoint is another
 * key's; `malformed` for entries that are none; `bad-input` for a name that cannot be one.
 */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  assertOrigin(options.origin);
  const tree = createMerkleTree();
  const stored = await options.store.readCheckpoint();
  await readInto(tree, options.store);
  if (stored !== undefined) await assertCheckpoint(stored, tree, options);
  return openLog(tree, options);
}

async function readInto(tree: MerkleTree, source: AuditSource): Promise<void> {
  for await (const entry of source.read(tree.size)) {
    assertLength(entry);
    tree.append(leafHash(entry));
  }
}

function assertLength(entry: Uint8Array): void {
  if (entry.length > MAX_ENTRY)
    throw malformed('audit entry', `expected at most ${MAX_ENTRY} bytes, got ${entry.length}`);
}

async function assertCheckpoint(text: string, tree: MerkleTree, options: AuditLogOptions): Promise<void> {
  const checkpoint = parseCheckpoint(text);
  const publicKey = options.publicKey ?? options.signer?.publicKey;
  if (publicKey !== undefined && !(await verifyCheckpoint(checkpoint, { origin: options.origin, publicKey }))) {
    throw new PkiError('bad-signature', 'open audit log: expected a checkpoint of this log and key, got another');
  }
  const problem = headProblem(tree, checkpoint);
  if (problem !== undefined) throw new PkiError('bad-signature', `open audit log: ${problem}`);
}

/** Why the entries are not those that a head was made over. */
function headProblem(tree: MerkleTree, head: TreeHead): string | undefined {
  if (tree.size < head.size) return `expected the ${head.size} entries that were signed, got ${tree.size}`;
  if (equalBytes(tree.root(head.size), head.root)) return undefined;
  return `expected the ${head.size} entries that were signed, got changed ones`;
}

interface Waiting {
  readonly entry: Uint8Array;
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
}

function openLog(tree: MerkleTree, options: AuditLogOptions): AuditLog {
  const { store, origin, signer, now = () => new Date() } = options;
  const waiting: Waiting[] = [];
  // Every step that reads or writes the store follows the one before it.
  let last: Promise<unknown> = Promise.resolve();
  const next = <T>(step: () => Promise<T>): Promise<T> => {
    const result = last.then(step);
    last = result.catch(() => undefined);
    return result;
  };
  const head = (): TreeHead => ({ size: tree.size, root: tree.root() });
  const close = async () => {
    await last;
    await store.close?.();
  };
  return {
    origin,
    get head() {
      return head();
    },
    append(event) {
      return new Promise((resolve, reject) => {
        waiting.push({ entry: encodeAuditEntry(event, now()), resolve, reject });
        if (waiting.length === 1) void next(() => flush(tree, store, waiting));
      });
    },
    refresh: () =>
      next(async () => {
        await readInto(tree, store);
        return head();
      }),
    sign: () =>
      next(async () => {
        if (signer === undefined) throw new PkiError('bad-input', 'sign audit log: expected a signer, got none');
        const text = await signCheckpoint({ ...head(), origin, time: now() }, signer);
        await store.writeCheckpoint(text);
        return text;
      }),
    inclusionProof: (index, size) => tree.inclusionProof(index, size),
    consistencyProof: (from, to) => tree.consistencyProof(from, to),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Writes everything that waits. What comes meanwhile is written by the next round. */
async function flush(tree: MerkleTree, store: AuditStore, waiting: Waiting[]): Promise<void> {
  while (waiting.length > 0) {
    const batch = waiting.slice(0, MAX_BATCH);
    try {
      const first = await appendBatch(
        tree,
        store,
        batch.map(({ entry }) => entry),
      );
      for (const [i, { resolve }] of batch.entries()) resolve(first + i);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    waiting.splice(0, batch.length);
  }
}

async function appendBatch(tree: MerkleTree, store: AuditStore, entries: readonly Uint8Array[]): Promise<number> {
  for (let conflicts = 0; ; conflicts++) {
    const first = tree.size;
    try {
      await store.append(first, entries);
      for (const entry of entries) tree.append(leafHash(entry));
      return first;
    } catch (error) {
      const isConflict = error instanceof PkiError && error.code === 'exists';
      if (!isConflict || conflicts === MAX_CONFLICTS) throw error;
      await readInto(tree, store);
    }
  }
}

/**
 * The bytes of an entry. Throws {@link PkiError} `bad-input` where `event` is no word, or the entry is too long.
 * A store that appends within a transaction of its own uses this and lets {@link AuditLog.refresh} find the entry.
 */
export function encodeAuditEntry(event: AuditEvent, time: Date): Uint8Array {
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(event.event)) {
    throw new PkiError('bad-input', `append to audit log: expected a word as event, got "${event.event}"`);
  }
  const { event: word, time: _, ...fields } = event;
  const entry = new TextEncoder().encode(JSON.stringify({ time: time.toISOString(), event: word, ...fields }));
  if (entry.length <= MAX_ENTRY) return entry;
  throw new PkiError('bad-input', `append to audit log: expected at most ${MAX_ENTRY} bytes, got ${entry.length}`);
}

/** Reads an entry; its bytes are anybody's until a root says otherwise. Throws {@link PkiError} `malformed`. */
export function parseAuditEntry(entry: Uint8Array): AuditEntry {
  assertLength(entry);
  const value = parseJson(entry);
  const { time, event, ...fields } = value;
  if (typeof time !== 'string' || typeof event !== 'string')
    throw malformed('audit entry', 'expected time and event, got none');
  const date = new Date(time);
  if (Number.isNaN(date.getTime()) || date.toISOString() !== time) {
    throw malformed('audit entry', `expected a time in UTC, got "${time}"`);
  }
  return { time: date, event, fields };
}

function parseJson(entry: Uint8Array): Readonly<Record<string, AuditValue>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(entry));
    // JSON.parse makes nothing but AuditValues.
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, AuditValue>;
  } catch (cause) {
    throw malformed('audit entry', 'expected JSON in UTF-8, got something else', cause);
  }
  throw malformed('audit entry', 'expected an object, got another value');
}

/** What a log must be good for. */
export interface AuditExpectation {
  /** The name of the log. */
  readonly origin: string;
  /** The key (SubjectPublicKeyInfo DER) that signs its checkpoints. */
  readonly publicKey: Uint8Array;
  /** A checkpoint that the verifier kept from an earlier time; the log must still begin with it. */
  readonly since?: string;
}

/**
 * Why a log is not accepted.
 *
 * - `malformed`: an entry or a checkpoint is none
 * - `no-checkpoint`: nothing was ever signed
 * - `signature`: a checkpoint is not this log's, or does not verify
 * - `entries`: entries that were signed for are missing or others
 * - `history`: the log does not begin with what the earlier checkpoint says
 */
export type AuditProblemCode = 'malformed' | 'no-checkpoint' | 'signature' | 'entries' | 'history';

/** The answer about a log. */
export type AuditResult =
  | {
      readonly ok: true;
      /** What was signed last. */
      readonly checkpoint: Checkpoint;
      /** How many entries there are; those beyond the checkpoint's size are not signed yet. */
      readonly size: number;
    }
  | { readonly ok: false; readonly problem: { readonly code: AuditProblemCode; readonly message: string } };

/**
 * Verifies a whole log: every entry is read, the root is computed anew and compared with the signed one. A log that is not
 * acceptable is an answer, not an exception. Throws {@link PkiError} where the store or the key is unusable.
 */
export async function verifyAuditLog(source: AuditSource, expected: AuditExpectation): Promise<AuditResult> {
  const text = await source.readCheckpoint();
  if (text === undefined) return refusal('no-checkpoint', 'expected a signed checkpoint, got none');
  try {
    return await verifyAgainst(source, text, expected);
  } catch (error) {
    if (!(error instanceof PkiError) || error.code !== 'malformed') throw error;
    return refusal('malformed', error.message);
  }
}

async function verifyAgainst(source: AuditSource, text: string, expected: AuditExpectation): Promise<AuditResult> {
  const checkpoint = parseCheckpoint(text);
  const earlier = expected.since === undefined ? undefined : parseCheckpoint(expected.since);
  for (const each of [checkpoint, ...(earlier === undefined ? [] : [earlier])]) {
    if (!(await verifyCheckpoint(each, expected))) {
      return refusal('signature', `expected a checkpoint of ${expected.origin} that verifies, got one that does not`);
    }
  }
  const tree = createMerkleTree();
  for await (const entry of source.read(0)) {
    parseAuditEntry(entry);
    tree.append(leafHash(entry));
  }
  const problem = headProblem(tree, checkpoint);
  if (problem !== undefined) return refusal('entries', problem);
  const lost = earlier === undefined ? undefined : headProblem(tree, earlier);
  if (lost !== undefined) return refusal('history', lost);
  return { ok: true, checkpoint, size: tree.size };
}

function refusal(code: AuditProblemCode, message: string): AuditResult {
  return { ok: false, problem: { code, message: `verify audit log: ${message}` } };
}

/** A store in memory, for tests and for logs that live in another place. */
export function memoryAuditStore(): AuditStore {
  const kept: Uint8Array[] = [];
  let checkpoint: string | undefined;
  return {
    async *read(from) {
      yield* kept.slice(from);
    },
    async append(index, entries) {
      if (index !== kept.length)
        throw new PkiError('exists', `append to audit log: expected place ${kept.length}, got ${index}`);
      kept.push(...entries);
    },
    readCheckpoint: async () => checkpoint,
    async writeCheckpoint(text) {
      checkpoint = text;
    },
  };
}
