import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import {
  bankById,
  EV,
  type EventLog,
  encodeEventLog,
  type LogEvent,
  type PcrBanks,
  parseEventLog,
  replayEventLog,
  specIdEvent,
  TaggedEvent,
} from '../src/index.js';
import { hex } from './hex.js';

const missing = spawnSync('tpm2_eventlog', ['--version']).error !== undefined;
if (missing && process.env.MUST_RUN === '1')
  throw new Error('MUST_RUN=1, but tpm2_eventlog (tpm2-tools) is not installed');

/** The PCR values that tpm2_eventlog computes for a log, as `bank:index value` lines. */
function judge(log: Uint8Array): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'casemate-eventlog-'));
  try {
    const file = join(dir, 'log');
    writeFileSync(file, log);
    const printed = execFileSync('tpm2_eventlog', [file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    let bank = '';
    return printed
      .slice(printed.indexOf('\npcrs:'))
      .split('\n')
      .flatMap((line) => {
        const value = /^ {4}(\d+) +: 0x([0-9a-f]+)$/.exec(line);
        if (value) return [`${bank}:${value[1]} ${value[2]}`];
        bank = /^ {2}(\w+):$/.exec(line)?.[1] ?? bank;
        return [];
      })
      .sort();
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function ours(banks: PcrBanks): string[] {
  return Object.entries(banks)
    .flatMap(([bank, pcrs]) => Object.entries(pcrs ?? {}).map(([index, value]) => `${bank}:${index} ${hex(value)}`))
    .sort();
}

function measured(pcrIndex: number, eventType: number, event: Uint8Array, algs: readonly number[]): LogEvent {
  const digests = algs.map((alg) => ({ alg, digest: bankById(alg)?.hash(event) ?? new Uint8Array(0) }));
  return { pcrIndex, eventType, digests, event };
}

describe.skipIf(missing)('tpm2_eventlog (skipped where tpm2-tools is not installed)', () => {
  const recorded = parseEventLog(new Uint8Array(readFileSync(new URL('vectors/eventlog.bin', import.meta.url))));

  it('computes our values for a crypto-agile log that we wrote', () => {
    const algs = [0x04, 0x0b, 0x0c, 0x0d];
    const log: EventLog = {
      specId: specIdEvent(algs.map((id) => ({ algorithmId: id, digestSize: bankById(id)?.size ?? 0 }))),
      events: [
        measured(4, EV.EV_IPL, new TextEncoder().encode('kernel'), algs),
        measured(7, EV.EV_SEPARATOR, new Uint8Array(4), algs),
        measured(
          11,
          EV.EV_EVENT_TAG,
          encode(TaggedEvent, { taggedEventID: 7, taggedEventData: new Uint8Array(9) }),
          algs,
        ),
        measured(
          11,
          EV.EV_EVENT_TAG,
          encode(TaggedEvent, { taggedEventID: 8, taggedEventData: new Uint8Array(0) }),
          algs,
        ),
        measured(23, EV.EV_ACTION, new TextEncoder().encode('go'), algs),
      ],
    };
    const values = judge(encodeEventLog(log));
    expect(values).toHaveLength(16);
    expect(values).toEqual(ours(replayEventLog(log)));
  });

  it('computes our values for the recorded log in the old form, as we wrote it', () => {
    const old: EventLog = {
      specId: undefined,
      events: recorded.events.map((e) => ({ ...e, digests: e.digests.filter(({ alg }) => alg === 0x04) })),
    };
    const bytes = encodeEventLog(old);
    expect(parseEventLog(bytes)).toEqual(old);
    const values = judge(bytes);
    expect(values).toHaveLength(10);
    expect(values).toEqual(ours(replayEventLog(old)));
  });
});
