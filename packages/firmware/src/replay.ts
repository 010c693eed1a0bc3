/** PCR values computed from an event log. PC Client Platform Firmware Profile 1.06, section 10.3; TPM 2.0 Part 1, section 17.2. */
import { decode } from '@casemate/wire';
import { FirmwareError, refusing } from './error.js';
import type { EventLog, LogEvent } from './event-log.js';
import { EV } from './event-types.js';
import { type BankAlgorithm, type BankName, bankById, bankByName } from './hash-algorithms.js';
import { isStartupLocality, StartupLocalityEvent } from './startup-locality.js';

/** PCR values by bank and index: `banks.sha256?.[7]`. Only PCRs that something is known about are present. */
export type PcrBanks = { readonly [Bank in BankName]?: { readonly [index: number]: Uint8Array } };

type Working = Map<BankAlgorithm, Map<number, Uint8Array>>;

/** What a replay starts from. */
export interface ReplayOptions {
  /** Values left by an earlier log of the same boot; PCRs that are missing here start at their reset value. */
  readonly from?: PcrBanks;
}

/**
 * Replays `log`: the value of every PCR that it extends, in each bank whose hash is known ({@link BANK_ALGORITHMS}). EV_NO_ACTION
 * extends nothing; a StartupLocality event gives PCR 0 its first value. A PCR without events is absent from the result. PCRs 17 to
 * 22 start from zero, because events there follow the reset by a dynamic launch.
 *
 * Throws {@link FirmwareError} `malformed` for a broken StartupLocality event, `inconsistent` where it is repeated, or follows an
 * event of PCR 0, which no TPM can do.
 */
export function replayEventLog(log: EventLog, options: ReplayOptions = {}): PcrBanks {
  const working = startFrom(options.from ?? {});
  let started: 'not' | 'by-locality' | 'by-measurement' = options.from ? 'by-measurement' : 'not';
  for (const event of log.events) {
    if (event.eventType === EV.EV_NO_ACTION) {
      if (event.pcrIndex !== 0 || !isStartupLocality(event.event)) continue;
      if (started !== 'not') throw lateLocality(started);
      setLocality(working, log, event);
      started = 'by-locality';
      continue;
    }
    if (event.pcrIndex === 0) started = 'by-measurement';
    extend(working, event);
  }
  return toBanks(working);
}

/**
 * The value that a PCR of the bank `bank` has after TPM2_Startup(CLEAR) from locality 0 and before its first extend: zeros, or ones
 * for the PCRs 17 to 22 of a dynamic launch. PC Client Platform TPM Profile 1.05, section 4.6.2.
 */
export function initialPcrValue(bank: BankName, pcrIndex: number): Uint8Array {
  const size = bankByName(bank)?.size ?? 0;
  return new Uint8Array(size).fill(pcrIndex >= 17 && pcrIndex <= 22 ? 0xff : 0);
}

function startFrom(from: PcrBanks): Working {
  const working: Working = new Map();
  for (const [name, pcrs] of Object.entries(from)) {
    const bank = bankByName(name);
    if (bank && pcrs) working.set(bank, new Map(Object.entries(pcrs).map(([index, value]) => [Number(index), value])));
  }
  return working;
}

function setLocality(working: Working, log: EventLog, event: LogEvent): void {
  const { startupLocality } = refusing('malformed', 'replay event log', () =>
    decode(StartupLocalityEvent, event.event),
  );
  const algorithms = log.specId?.digestSizes.map((a) => a.algorithmId) ?? event.digests.map((d) => d.alg);
  for (const id of algorithms) {
    const bank = bankById(id);
    if (!bank) continue;
    const first = new Uint8Array(bank.size);
    first[bank.size - 1] = startupLocality;
    pcrsOf(working, bank).set(0, first);
  }
}

function lateLocality(started: 'by-locality' | 'by-measurement'): FirmwareError {
  const before = started === 'by-locality' ? 'another one' : 'a measurement into PCR 0';
  return new FirmwareError('inconsistent', `replay event log: a StartupLocality event follows ${before}`);
}

function extend(working: Working, event: LogEvent): void {
  for (const { alg, digest } of event.digests) {
    const bank = bankById(alg);
    if (!bank) continue;
    const pcrs = pcrsOf(working, bank);
    const before = pcrs.get(event.pcrIndex) ?? new Uint8Array(bank.size);
    pcrs.set(event.pcrIndex, bank.hash(before, digest));
  }
}

function pcrsOf(working: Working, bank: BankAlgorithm): Map<number, Uint8Array> {
  const known = working.get(bank);
  if (known) return known;
  const fresh = new Map<number, Uint8Array>();
  working.set(bank, fresh);
  return fresh;
}

function toBanks(working: Working): PcrBanks {
  return Object.fromEntries([...working].map(([bank, pcrs]) => [bank.name, Object.fromEntries(pcrs)]));
}
