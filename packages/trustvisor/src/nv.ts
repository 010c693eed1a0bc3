/** A counter and 32 bytes for each PAL that cannot be rolled back: one table with a history of its own, summed up in the platform TPM. */
import { array, bytes, encode, type Infer, struct, u16, u64 } from '@casemate/wire';
import { equal, sha256 } from './digest.js';
import { TrustvisorError } from './error.js';
import { History, type HistoryHost, type HistoryRegistry } from './history.js';
import { EMPTY_AREA, NV_SIZE, type NvAccess, type NvArea } from './nv-area.js';
import { parseBlob } from './seal.js';

const MAX_OWNERS = 1024;
const COMMAND = { SET: 1 } as const;

const Row = struct('NV_ROW', { owner: bytes('OWNER', 32), counter: u64, data: bytes('NV_DATA', NV_SIZE) });
type Row = Infer<typeof Row>;
const Table = array('NV_TABLE', u16, Row, { max: MAX_OWNERS });

/** What the table is kept with; `exclusive` keeps others from the registry of histories. */
export interface NvHost {
  readonly host: HistoryHost;
  readonly registry: HistoryRegistry;
  readonly exclusive: <T>(run: () => Promise<T>) => Promise<T>;
}

/**
 * The areas of all PALs of this platform. A change is a request in the table's history: it is stored, then the TPM's summary is
 * extended by it, then the new table is stored. Reading asks the TPM whether the table is the latest, for another isolate may have
 * changed it. Which PAL it is follows from the measurement: the isolate gives a PAL its own row alone.
 */
export class NvTable {
  readonly #host: NvHost;
  #history: History | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  /** Nothing is asked of TPM or store before the first use. */
  constructor(host: NvHost) {
    this.#host = host;
  }

  /** The area of the PAL with this measurement. */
  of(owner: Uint8Array): NvAccess {
    return {
      read: () => this.#inTurn(async () => areaOf(rowsOf(await this.#latest()), owner)),
      write: (change) => this.#inTurn(() => this.#write(owner, change)),
    };
  }

  /** Waits for what is under way, which may be for a PAL that is gone, and overwrites the secrets in memory. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#queue;
    this.#history?.wipe();
  }

  async #write(owner: Uint8Array, change: (area: NvArea) => NvArea): Promise<NvArea> {
    const history = await this.#latest();
    const area = change(areaOf(rowsOf(history), owner));
    const row = { owner, ...area };
    assertRoom(rowsOf(history), owner);
    await history.accept(COMMAND.SET, encode(Row, row));
    await this.#carryOut(history, row, false);
    return area;
  }

  async #carryOut(history: History, row: Row, rolledForward: boolean): Promise<void> {
    const rows = [...rowsOf(history).filter(({ owner }) => !equal(owner, row.owner)), row];
    const state = encode(Table, rows);
    await history.commit({ kind: 'returned', returnCode: 0, output: new Uint8Array(0), state }, rolledForward);
  }

  /** The history as TPM and store have it now; a change that a crash cut off is carried out first. */
  async #latest(): Promise<History> {
    this.#history ??= await this.#host.exclusive(() => History.open(this.#host.host, this.#host.registry, TABLE));
    await this.#history.refresh();
    const { pending } = this.#history;
    if (pending) await this.#carryOut(this.#history, parseBlob(Row, pending.input), true);
    return this.#history;
  }

  async #inTurn<T>(task: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new TrustvisorError('closed', 'use NV: the isolate is being closed');
    const turn = this.#queue.then(task);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

/** No PAL has this measurement. */
const TABLE = { name: 'counters', measurement: sha256(new TextEncoder().encode('casemate trustvisor counters')) };

function rowsOf(history: History): readonly Row[] {
  return history.state.length === 0 ? [] : parseBlob(Table, history.state);
}

function areaOf(rows: readonly Row[], owner: Uint8Array): NvArea {
  const { counter, data } = rows.find((row) => equal(row.owner, owner)) ?? EMPTY_AREA;
  return { counter, data };
}

function assertRoom(rows: readonly Row[], owner: Uint8Array): void {
  if (rows.length < MAX_OWNERS || rows.some((row) => equal(row.owner, owner))) return;
  throw new TrustvisorError('refused', `write NV: expected at most ${MAX_OWNERS} PALs with counters`);
}
