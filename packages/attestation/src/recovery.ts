/** What became of the last event of a stored log when the program ended at an unknown moment: decided by replay. */
import { type BankName, type EventLog, initialPcrValue, type PcrBanks, replayEventLog } from '@casemate/firmware';
import { AttestationError } from './error.js';
import { banksOf, type Measurement, measurementEvent, parseMeasurements } from './measurements.js';
import { equalBytes } from './octets.js';
import { pcrOf, type Statement } from './statement.js';

/**
 * What was found on opening.
 *
 * - `none`: the stored log, if there was one, fits the TPM
 * - `event-dropped`: its last event had been written but never extended, and was taken back
 * - `event-added`: the TPM had one of the `foreign` statements more, and it was added
 * - `tpm-reset`: the TPM was reset since, so a new log was begun
 */
export type LogRecovery = 'none' | 'event-dropped' | 'event-added' | 'tpm-reset';

/** What a log is compared with. */
export interface PcrState {
  /** A log without events, with the banks of the TPM. */
  readonly fresh: EventLog;
  /** The same banks by name. */
  readonly banks: readonly BankName[];
  /** The PCR values that the TPM has now. */
  readonly actual: PcrBanks;
  /** What others may have extended after the last event. */
  readonly foreign: readonly Statement[];
}

interface Known {
  readonly log: EventLog;
  readonly measurements: readonly Measurement[];
}

interface Recovered extends Known {
  readonly recovery: LogRecovery;
}

/** Decides by replay what became of the last event of a stored log. Pure; {@link openMeasurementLog} acts on it. */
export function recoverLog(stored: Uint8Array | undefined, state: PcrState): Recovered {
  const empty = { log: state.fresh, measurements: [] };
  if (stored === undefined) {
    if (isExplained(state.fresh, state.actual)) return { ...empty, recovery: 'none' };
    const first = withForeign(empty, state);
    if (first) return first;
    throw mismatch('no log is stored, but something was measured');
  }
  const { log, measurements } = parseMeasurements(stored);
  const sameBanks = banksOf(log).join() === state.banks.join();
  if (sameBanks && isExplained(log, state.actual)) return { log, measurements, recovery: 'none' };
  const shorter = { ...log, events: log.events.slice(0, -1) };
  if (sameBanks && isExplained(shorter, state.actual)) {
    return { log: shorter, measurements: measurements.slice(0, -1), recovery: 'event-dropped' };
  }
  const longer = sameBanks ? withForeign({ log, measurements }, state) : undefined;
  if (longer) return longer;
  if (isExplained(state.fresh, state.actual)) return { ...empty, recovery: 'tpm-reset' };
  const anew = withForeign(empty, state);
  if (anew) return anew;
  throw mismatch(`${log.events.length} events do not replay to them`);
}

/** Whether the events of `log` replay to `actual`. */
export function isExplained(log: EventLog, actual: PcrBanks): boolean {
  const replayed = replayEventLog(log);
  return banksOf(log).every((bank) =>
    Object.entries(actual[bank] ?? {}).every(([index, value]) =>
      equalBytes(value, replayed[bank]?.[Number(index)] ?? initialPcrValue(bank, Number(index))),
    ),
  );
}

/** The log with the one foreign statement that makes it fit. */
function withForeign(known: Known, { banks, actual, foreign }: PcrState): Recovered | undefined {
  for (const statement of foreign) {
    const log = { ...known.log, events: [...known.log.events, measurementEvent(banks, statement)] };
    const measurements = [...known.measurements, { pcr: pcrOf(statement), statement }];
    if (isExplained(log, actual)) return { log, measurements, recovery: 'event-added' };
  }
  return undefined;
}

function mismatch(problem: string): AttestationError {
  return new AttestationError(
    'log-mismatch',
    `open measurement log: expected it to explain the PCRs of the TPM, but ${problem}`,
  );
}
