/** Do the logs explain the PCR values that a quote covers. */
import {
  BANK_ALGORITHMS,
  FirmwareError,
  initialPcrValue,
  type PcrBanks,
  parseEventLog,
  replayEventLog,
} from '@casemate/firmware';
import { AttestationError } from './error.js';
import type { Evidence } from './evidence.js';
import { type Measurement, parseMeasurements } from './measurements.js';
import { equalBytes } from './octets.js';

/** The measurements, or the first thing that was wrong with the logs. */
export type LogResult =
  | { readonly ok: true; readonly measurements: readonly Measurement[]; readonly pcrs: number }
  | { readonly ok: false; readonly problem: string };

/**
 * Replays the firmware's log and then ours, and compares every quoted PCR. A PCR without any event must have its initial value, so
 * that nothing was extended behind the logs.
 */
export function verifyLogs(evidence: Pick<Evidence, 'eventLog' | 'firmwareLog' | 'quote'>): LogResult {
  try {
    const from = evidence.firmwareLog ? replayEventLog(parseEventLog(evidence.firmwareLog)) : {};
    const { log, measurements } = parseMeasurements(evidence.eventLog);
    return compare(evidence.quote.pcrs, replayEventLog(log, { from }), measurements);
  } catch (error) {
    if (error instanceof AttestationError || error instanceof FirmwareError)
      return { ok: false, problem: error.message };
    throw error;
  }
}

function compare(quoted: PcrBanks, replayed: PcrBanks, measurements: readonly Measurement[]): LogResult {
  let pcrs = 0;
  for (const { name } of BANK_ALGORITHMS) {
    for (const [index, value] of Object.entries(quoted[name] ?? {})) {
      const expected = replayed[name]?.[Number(index)];
      if (!equalBytes(value, expected ?? initialPcrValue(name, Number(index)))) {
        const found = expected ? 'the log replays to another value' : 'no event explains its value';
        return { ok: false, problem: `PCR ${index} of ${name}: ${found}` };
      }
      pcrs++;
    }
  }
  return { ok: true, measurements, pcrs };
}
