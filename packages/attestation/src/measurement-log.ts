/**
 * The durable log of our own measurements, and how it and the TPM stay in step across a crash.
 *
 * A measurement takes three steps: the log with the new event is written to the store (write ahead), the PCR is extended, the event
 * counts. Events are measured one at a time, so after a crash the stored log differs from the PCRs by its last event at most, and
 * {@link openMeasurementLog} decides by replay which of the two happened.
 */
import { type BankName, type EventLog, encodeEventLog, type PcrBanks } from '@casemate/firmware';
import { extendPcr, pcrBanks, readPcrs, type Tpm, TpmError } from '@casemate/tpm';
import { AttestationError } from './error.js';
import {
  type BankDigests,
  banksOf,
  digestsByBank,
  emptyLog,
  type Measurement,
  measurementEvent,
} from './measurements.js';
import { isExplained, type LogRecovery, recoverLog } from './recovery.js';
import { GUESTOS_PCR, PAL_PCR, pcrOf, type Statement } from './statement.js';

/** Where a log survives the program. One program at a time may use a store; locking is the caller's. */
export interface LogStore {
  /** The bytes last written, or `undefined` where there are none yet. */
  read(): Promise<Uint8Array | undefined>;
  /** Replaces the bytes, atomically and durably: after a crash either the old or the new ones are there. */
  write(bytes: Uint8Array): Promise<void>;
}

/** The measurements of one platform since its TPM was reset. Made by {@link openMeasurementLog}. */
export class MeasurementLog {
  /** What was found on opening. */
  readonly recovery: LogRecovery;
  /** The PCR banks of the TPM; every event has a digest for each. */
  readonly banks: readonly BankName[];
  readonly #store: LogStore | undefined;
  #log: EventLog;
  #measurements: readonly Measurement[];
  #settled = true;
  #last: Promise<unknown> = Promise.resolve();

  /** Used by {@link openMeasurementLog} after it has compared log and TPM. */
  constructor(state: {
    readonly log: EventLog;
    readonly measurements: readonly Measurement[];
    readonly banks: readonly BankName[];
    readonly recovery: LogRecovery;
    readonly store?: LogStore | undefined;
  }) {
    this.#log = state.log;
    this.#measurements = state.measurements;
    this.#store = state.store;
    this.banks = state.banks;
    this.recovery = state.recovery;
  }

  /** What was measured, in order. */
  get measurements(): readonly Measurement[] {
    return this.#measurements;
  }

  /** The log as a crypto-agile TCG event log, the form that evidence carries. */
  bytes(): Uint8Array {
    return encodeEventLog(this.#log);
  }

  /**
   * Writes `statement` ahead, runs `extend` with its digests, and counts it. Calls run one after another. Throws
   * {@link AttestationError} `unsettled` after an extend whose outcome is unknown; open the log again then.
   */
  append(statement: Statement, extend: (pcr: number, digests: BankDigests) => Promise<void>): Promise<Measurement> {
    return this.exclusive(() => this.#append(statement, extend));
  }

  /** Runs `run`, in which somebody else extends a statement, and counts that. See {@link adoptMeasurement}. */
  adopt<T>(tpm: Tpm, run: () => Promise<Extended<T>>): Promise<T> {
    return this.exclusive(() => this.#adopt(tpm, run));
  }

  /** Runs `run` while no measurement is under way: for reading PCRs and log together. `run` must not measure. */
  exclusive<T>(run: () => Promise<T>): Promise<T> {
    const step = this.#last.then(run);
    this.#last = step.catch(() => undefined);
    return step;
  }

  async #append(
    statement: Statement,
    extend: (pcr: number, digests: BankDigests) => Promise<void>,
  ): Promise<Measurement> {
    if (!this.#settled) throw unsettled();
    const event = measurementEvent(this.banks, statement);
    const next = { ...this.#log, events: [...this.#log.events, event] };
    const measurement = { pcr: pcrOf(statement), statement };
    await this.#store?.write(encodeEventLog(next));
    try {
      await extend(measurement.pcr, digestsByBank(event));
    } catch (cause) {
      await this.#takeBack(cause);
      throw cause;
    }
    this.#log = next;
    this.#measurements = [...this.#measurements, measurement];
    return measurement;
  }

  async #adopt<T>(tpm: Tpm, run: () => Promise<Extended<T>>): Promise<T> {
    if (!this.#settled) throw unsettled();
    this.#settled = false;
    let adopted: Extended<T>;
    try {
      adopted = await run();
    } catch (cause) {
      this.#settled = isExplained(this.#log, await watchedPcrs(tpm, this.banks));
      throw cause;
    }
    const { statement, value } = adopted;
    const next = { ...this.#log, events: [...this.#log.events, measurementEvent(this.banks, statement)] };
    if (!isExplained(next, await watchedPcrs(tpm, this.banks))) throw notExtended(statement);
    await this.#store?.write(encodeEventLog(next));
    this.#log = next;
    this.#measurements = [...this.#measurements, { pcr: pcrOf(statement), statement }];
    this.#settled = true;
    return value;
  }

  /** Only where the TPM itself refused is it sure that nothing was extended. */
  async #takeBack(cause: unknown): Promise<void> {
    this.#settled = false;
    if (!(cause instanceof TpmError && cause.code === 'response')) return;
    await this.#store?.write(encodeEventLog(this.#log));
    this.#settled = true;
  }
}

/** What became of an extend by somebody else. */
export interface Extended<T> {
  /** What was extended, once, in all allocated banks. */
  readonly statement: Statement;
  /** What else there is to tell. */
  readonly value: T;
}

/** Options of {@link openMeasurementLog}. */
export interface OpenLogOptions {
  /** Where the log is kept. Without one it lives in memory, which fits only a TPM that is reset when the program ends. */
  readonly store?: LogStore;
  /**
   * Statements that somebody else extends, see {@link adoptMeasurement}: one of them may be what the TPM has and the log, for a crash in
   * between, has not. It is then added.
   */
  readonly foreign?: readonly Statement[];
}

/**
 * Opens the log for `tpm`: reads the store, compares its replay with the PCRs, and recovers from a crash between write and extend or
 * from a reset of the TPM. Throws {@link AttestationError} `log-mismatch` where the PCRs hold something that the log does not
 * explain (a boot loader that uses PCR 11 or 12 itself does that too), `malformed` for stored bytes that are no log, `unsupported` for a bank without a known hash; `TpmError` from the TPM.
 */
export async function openMeasurementLog(tpm: Tpm, options: OpenLogOptions = {}): Promise<MeasurementLog> {
  const stored = await options.store?.read();
  const fresh = emptyLog(await pcrBanks(tpm));
  const banks = banksOf(fresh);
  const actual = await watchedPcrs(tpm, banks);
  const recovered = recoverLog(stored, { fresh, banks, actual, foreign: options.foreign ?? [] });
  return new MeasurementLog({ ...recovered, banks, store: options.store });
}

/**
 * Measures `statement`: writes the log ahead, extends the PCR of its kind in all allocated banks, and counts it. Only when this has
 * resolved may the measured thing run. Throws what {@link MeasurementLog.append} throws, and `TpmError`.
 */
export function measure(
  tpm: Tpm,
  log: MeasurementLog,
  { statement }: { readonly statement: Statement },
): Promise<Measurement> {
  return log.append(statement, (pcr, digests) => extendPcr(tpm, pcr, digests));
}

/**
 * Runs `run`, in which somebody else extends a statement, such as the isolate of a Trustvisor its key (`identityPcr`); then compares log
 * and statement with the PCRs, and counts the statement. No other measurement happens meanwhile. Throws what `run` throws;
 * {@link AttestationError} `log-mismatch` where the PCRs hold something else, after which the log is `unsettled`; `TpmError`.
 */
export function adoptMeasurement<T>(tpm: Tpm, log: MeasurementLog, run: () => Promise<Extended<T>>): Promise<T> {
  return log.adopt(tpm, run);
}

function watchedPcrs(tpm: Tpm, banks: readonly BankName[]): Promise<PcrBanks> {
  return readPcrs(tpm, Object.fromEntries(banks.map((bank) => [bank, [GUESTOS_PCR, PAL_PCR]])));
}

function notExtended({ type }: Statement): AttestationError {
  return new AttestationError(
    'log-mismatch',
    `adopt measurement: expected the PCRs to hold the ${type} statement, they do not`,
  );
}

function unsettled(): AttestationError {
  return new AttestationError('unsettled', 'measure: an earlier extend failed half way; open the log again');
}
