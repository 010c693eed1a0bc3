/** What became of the last event of a stored log when the program ended at an unknown moment: decided by replay. */
import { type BankName, type EventLog, initialPcrValue, type PcrBanks, replayEventLog } from '@casemate/firmware';
import { AttestationError } from './error.js';
import { banksOf, type Measurement, parseMeasurements } from './measurements.js';
import { equalBytes } from './octets.js';

/**
 * What was found on opening.
 *
 * - `none`: the stored log, if there was one, fits the TPM
 * - `event-dropped`: its last event had been written but never extended, and was taken back
 * - `tpm-reset`: the TPM was reset since, so a new log was begun
 */
export type LogRecovery = 'none' | 'event-dropped' | 'tpm-reset';

/** What a log is compared with. */
export interface PcrState {
  /** A log without events, with the banks of the TPM. */
  readonly fresh: EventLog;
  /** The same banks by name. */
  readonly banks: readonly BankName[];
  /** The PCR values that the TPM has now. */
  readonly actual: PcrBanks;
}

/** Decides by replay what became of the last event of a stored log. Pure; {@link openMeasurementLog} acts on it. */
export function recoverLog(
  stored: Uint8Array | undefined,
  state: PcrState,
): { readonly log: EventLog; readonly measurements: readonly Measurement[]; readonly recovery: LogRecovery } {
  const empty = { log: state.fresh, measurements: [] };
  if (stored === undefined) {
    if (fits(state.fresh, state)) return { ...empty, recovery: 'none' };
    throw mismatch('no log is stored, but something was measured');
  }
  const { log, measurements } = parseMeasurements(stored);
  const sameBanks = banksOf(log).join() === state.banks.join();
  if (sameBanks && fits(log, state)) return { log, measurements, recovery: 'none' };
  const shorter = { ...log, events: log.events.slice(0, -1) };
  if (sameBanks && fits(shorter, state)) {
    return { log: shorter, measurements: measurements.slice(0, -1), recovery: 'event-dropped' };
  }
  if (fits(state.fresh, state)) return { ...empty, recovery: 'tpm-reset' };
  throw mismatch(`${log.events.length} events do not replay to them`);
}

function fits(log: EventLog, { banks, actual }: PcrState): boolean {
  const replayed = replayEventLog(log);
  return banks.every((bank) =>
    Object.entries(actual[bank] ?? {}).every(([index, value]) =>
      equalBytes(value, replayed[bank]?.[Number(index)] ?? initialPcrValue(bank, Number(index))),
    ),
  );
}

function mismatch(problem: string): AttestationError {
  return new AttestationError(
    'log-mismatch',
    `open measurement log: expected it to explain the PCRs of the TPM, but ${problem}`,
  );
}
