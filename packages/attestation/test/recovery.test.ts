import {
  EV,
  type EventLog,
  encodeEventLog,
  initialPcrValue,
  type LogEvent,
  type PcrBanks,
  replayEventLog,
} from '@casemate/firmware';
import { describe, expect, it } from 'vitest';
import { AttestationError, parseMeasurements, type Statement } from '../src/index.js';
import { emptyLog, measurementEvent } from '../src/measurements.js';
import { recoverLog } from '../src/recovery.js';
import { versionOf } from './platform.js';

const banks = ['sha1', 'sha256'] as const;
const fresh = emptyLog(banks);
const statement = (version: number): Statement => ({
  type: 'guestos',
  name: 'edge',
  version,
  configDigest: new Uint8Array(32).fill(version),
  imageDigest: new Uint8Array(32),
});
const pal: Statement = {
  type: 'pal',
  name: 'counter',
  version: '1',
  measurement: new Uint8Array(32),
  identityKey: new Uint8Array(9),
};
const events = [statement(1), pal, statement(2)].map((each) => measurementEvent(banks, each));
const logOf = (count: number): EventLog => ({ ...fresh, events: events.slice(0, count) });

/** What a TPM would hold after `count` of the events. */
function tpmAfter(count: number): PcrBanks {
  const replayed = replayEventLog(logOf(count));
  return Object.fromEntries(
    banks.map((bank) => [
      bank,
      Object.fromEntries([11, 12].map((pcr) => [pcr, replayed[bank]?.[pcr] ?? initialPcrValue(bank, pcr)])),
    ]),
  );
}

function recover(stored: number | undefined, extended: number) {
  const bytes = stored === undefined ? undefined : encodeEventLog(logOf(stored));
  const { log, measurements, recovery } = recoverLog(bytes, { fresh, banks, actual: tpmAfter(extended), foreign: [] });
  expect(measurements).toHaveLength(log.events.length);
  return `${recovery}, ${log.events.length} events`;
}

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof AttestationError ? error.code : `another error: ${error}`;
  }
  return 'none';
}

describe('recoverLog', () => {
  it('begins a log on a TPM without measurements', () => {
    expect(recover(undefined, 0)).toBe('none, 0 events');
  });

  it('takes a log that replays to the PCRs as it is', () => {
    for (const count of [0, 1, 2, 3]) expect(recover(count, count)).toBe(`none, ${count} events`);
  });

  it('takes back an event that was written but never extended', () => {
    expect(recover(1, 0)).toBe('event-dropped, 0 events');
    expect(recover(2, 1)).toBe('event-dropped, 1 events');
    expect(recover(3, 2)).toBe('event-dropped, 2 events');
  });

  it('adds what somebody else extended, where that was to be expected', () => {
    const added = (stored: number | undefined, extended: number, foreign: readonly Statement[]) => {
      const bytes = stored === undefined ? undefined : encodeEventLog(logOf(stored));
      const found = recoverLog(bytes, { fresh, banks, actual: tpmAfter(extended), foreign });
      expect(found.log.events).toHaveLength(found.measurements.length);
      return `${found.recovery}, ${found.measurements.map(({ statement: { type } }) => type).join(' ')}`;
    };
    expect(added(1, 2, [statement(2), pal])).toBe('event-added, guestos pal');
    expect(added(undefined, 1, [statement(1)])).toBe('event-added, guestos');
    expect(added(3, 1, [statement(1)])).toBe('event-added, guestos');
    expect(added(2, 2, [statement(2)])).toBe('none, guestos pal');
    expect(code(() => added(1, 3, [statement(2), pal]))).toBe('log-mismatch');
    expect(code(() => added(1, 2, [statement(3)]))).toBe('log-mismatch');
  });

  it('begins anew where the TPM was reset', () => {
    expect(recover(2, 0)).toBe('tpm-reset, 0 events');
    expect(recover(3, 0)).toBe('tpm-reset, 0 events');
  });

  it('refuses a TPM that was extended by someone else, or a log that lost more than its last event', () => {
    expect(code(() => recover(3, 1))).toBe('log-mismatch');
    expect(code(() => recover(1, 3))).toBe('log-mismatch');
    expect(code(() => recover(undefined, 1))).toBe('log-mismatch');
  });

  it('refuses a log whose events were put in another order', () => {
    const bytes = encodeEventLog({ ...fresh, events: [events[2], events[1], events[0]] as LogEvent[] });
    expect(code(() => recoverLog(bytes, { fresh, banks, actual: tpmAfter(3), foreign: [] }))).toBe('log-mismatch');
  });

  it('does not take over a log with other banks than the TPM has', () => {
    const other = encodeEventLog(emptyLog(['sha256']));
    expect(recoverLog(other, { fresh, banks, actual: tpmAfter(0), foreign: [] }).recovery).toBe('tpm-reset');
    const withEvent = encodeEventLog({ ...emptyLog(['sha256']), events: [measurementEvent(['sha256'], statement(1))] });
    expect(code(() => recoverLog(withEvent, { fresh, banks, actual: tpmAfter(1), foreign: [] }))).toBe('log-mismatch');
  });
});

describe('parseMeasurements', () => {
  const bytes = encodeEventLog(logOf(3));

  it('reads the statements in order with their PCRs', () => {
    const { measurements } = parseMeasurements(bytes);
    expect(measurements.map(({ pcr, statement }) => [pcr, statement.type, versionOf(statement)])).toEqual([
      [11, 'guestos', 1],
      [12, 'pal', '1'],
      [11, 'guestos', 2],
    ]);
  });

  it('refuses any changed byte of an event: digests bind the data, and the data binds the rest', () => {
    const header = encodeEventLog(logOf(0)).length;
    for (let at = header; at < bytes.length; at++) {
      const wrong = bytes.slice();
      wrong[at] = (wrong[at] ?? 0) ^ 1;
      expect(
        code(() => parseMeasurements(wrong)),
        `byte ${at}`,
      ).toBe('malformed');
    }
  });

  it('refuses any changed byte of the header, which no PCR covers', () => {
    const header = encodeEventLog(logOf(0)).length;
    for (let at = 0; at < header; at++) {
      const wrong = bytes.slice();
      wrong[at] = (wrong[at] ?? 0) ^ 1;
      expect(
        code(() => parseMeasurements(wrong)),
        `byte ${at}`,
      ).toBe('malformed');
    }
  });

  it('refuses an event that is not ours', () => {
    const [event] = events;
    if (!event) throw new Error('no event');
    for (const wrong of [
      { ...event, eventType: EV.EV_IPL },
      { ...event, eventType: EV.EV_NO_ACTION },
      { ...event, pcrIndex: 12 },
      { ...event, digests: event.digests.slice(1) },
    ]) {
      expect(code(() => parseMeasurements(encodeEventLog({ ...fresh, events: [wrong] })))).toBe('malformed');
    }
  });

  it('refuses a log in the old form, one with an unknown bank, and no log at all', () => {
    expect(code(() => parseMeasurements(new Uint8Array(0)))).toBe('malformed');
    expect(code(() => parseMeasurements(new Uint8Array(40)))).toBe('malformed');
    const sm3 = {
      specId: { ...(fresh.specId ?? fail()), digestSizes: [{ algorithmId: 0x12, digestSize: 32 }] },
      events: [],
    };
    expect(code(() => parseMeasurements(encodeEventLog(sm3)))).toBe('malformed');
  });
});

function fail(): never {
  throw new Error('no Spec ID event');
}
