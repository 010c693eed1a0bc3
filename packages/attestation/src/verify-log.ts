/** Do the logs explain the PCR values that a quote covers. */
import {
  BANK_ALGORITHMS,
  EV,
  FirmwareError,
  initialPcrValue,
  type PcrBanks,
  parseEventLog,
  replayEventLog,
} from '@casemate/firmware';
import { AttestationError } from './error.js';
import type { Evidence } from './evidence.js';
import { banksOf, type Measurement, parseMeasurements } from './measurements.js';
import { equalBytes } from './octets.js';
import { GUESTOS_PCR, PAL_PCR, QUOTED_BANK } from './statement.js';

const OURS: ReadonlySet<number> = new Set([GUESTOS_PCR, PAL_PCR]);

/** The measurements, or the first thing that was wrong with the logs. */
export type LogResult =
  | { readonly ok: true; readonly measurements: readonly Measurement[]; readonly pcrs: number }
  | { readonly ok: false; readonly problem: string };

/**
 * Replays the firmware's log and then ours, and compares every quoted PCR. A PCR without any event must have its initial value, so
 * that nothing was extended behind the logs. The firmware's log may not touch our PCRs: nothing binds its events to what they say,
 * so a measurement of ours could be passed off as one of the firmware's there.
 */
export function verifyLogs(evidence: Pick<Evidence, 'eventLog' | 'firmwareLog' | 'quote'>): LogResult {
  try {
    const firmware = evidence.firmwareLog ? parseEventLog(evidence.firmwareLog) : undefined;
    const foreign = firmware?.events.find(
      ({ pcrIndex, eventType }) => OURS.has(pcrIndex) && eventType !== EV.EV_NO_ACTION,
    );
    if (foreign)
      return { ok: false, problem: `the firmware's log has an event in PCR ${foreign.pcrIndex}, which is ours` };
    const from = firmware ? replayEventLog(firmware) : {};
    const { log, measurements } = parseMeasurements(evidence.eventLog);
    // A log of other banks would replay to PCRs that the quote does not cover, and could then say anything.
    if (!banksOf(log).includes(QUOTED_BANK))
      return { ok: false, problem: `our log has no digests for the quoted bank ${QUOTED_BANK}` };
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
