import { readFileSync } from 'node:fs';
import { decode, encode } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  EFI_CERT_TYPE,
  EV,
  encodeEventLog,
  encodeSignatureLists,
  encodeVariableEvent,
  eventTypeName,
  parseEventLog,
  parseSignatureLists,
  parseVariableEvent,
  replayEventLog,
  SpecIdEvent,
} from '../src/index.js';
import { hex } from './hex.js';

const vector = (name: string) => readFileSync(new URL(`vectors/${name}`, import.meta.url));
const bytes = new Uint8Array(vector('eventlog.bin'));
const recorded: Record<string, Record<string, string>> = JSON.parse(vector('pcrs.json').toString());
interface YamlEvent {
  readonly PCRIndex: number;
  readonly EventType: string;
  readonly EventSize: number;
  readonly Digests?: readonly { readonly AlgorithmId: string; readonly Digest: string }[];
}
const reading: { readonly events: readonly YamlEvent[]; readonly pcrs: Record<string, Record<string, bigint>> } = parse(
  vector('eventlog.yaml').toString(),
  { intAsBigInt: false },
);
const ALG_NAMES: Record<number, string> = { 4: 'sha1', 11: 'sha256', 12: 'sha384' };

describe('the event log of a measured boot', () => {
  const log = parseEventLog(bytes);

  it('has the banks that its Spec ID event lists', () => {
    expect(log.specId?.digestSizes).toEqual([
      { algorithmId: 4, digestSize: 20 },
      { algorithmId: 11, digestSize: 32 },
      { algorithmId: 12, digestSize: 48 },
    ]);
  });

  it('reads event by event as tpm2_eventlog reads it', () => {
    const theirs = reading.events.slice(1).map((event) => ({
      pcr: event.PCRIndex,
      type: event.EventType,
      size: event.EventSize,
      digests: event.Digests?.map((d) => [d.AlgorithmId, d.Digest]),
    }));
    const ours = log.events.map((event) => ({
      pcr: event.pcrIndex,
      type: eventTypeName(event.eventType),
      size: event.event.length,
      digests: event.digests.map((d) => [ALG_NAMES[d.alg], hex(d.digest)]),
    }));
    expect(ours).toHaveLength(35);
    expect(ours).toEqual(theirs);
  });

  it('replays to the values that the TPM had, in every bank, for PCRs 0 to 9 and 11', () => {
    const replayed = replayEventLog(log);
    expect(Object.keys(replayed).sort()).toEqual(['sha1', 'sha256', 'sha384']);
    for (const bank of ['sha1', 'sha256', 'sha384'] as const) {
      for (const index of [0, 1, 2, 3, 4, 5, 6, 7, 9, 11]) {
        expect(`${bank}:${index} ${hex(replayed[bank]?.[index])}`).toBe(`${bank}:${index} ${recorded[bank]?.[index]}`);
      }
      expect(replayed[bank]?.[8]).toBeUndefined();
      expect(recorded[bank]?.[8]).toMatch(/^0+$/);
    }
  });

  it('encodes to the very bytes it was parsed from', () => {
    expect(hex(encodeEventLog(log))).toBe(hex(bytes));
  });

  it('holds the enrolled signature databases in its variable events', () => {
    const variables = log.events
      .filter((event) => event.eventType === EV.EV_EFI_VARIABLE_DRIVER_CONFIG)
      .map((event) => parseVariableEvent(event.event));
    expect(variables.map((v) => v.unicodeName)).toEqual(['SecureBoot', 'PK', 'KEK', 'db', 'dbx']);
    const db = variables.find((v) => v.unicodeName === 'db');
    expect(hex(db?.variableData)).toBe(hex(vector('db.esl')));
  });

  it('binds every variable event to its digests', () => {
    for (const event of log.events.filter((e) => e.eventType === EV.EV_EFI_VARIABLE_DRIVER_CONFIG)) {
      expect(hex(encodeVariableEvent(parseVariableEvent(event.event)))).toBe(hex(event.event));
    }
  });

  it('has a Spec ID event that round-trips', () => {
    if (!log.specId) throw new Error('no Spec ID event');
    expect(decode(SpecIdEvent, encode(SpecIdEvent, log.specId))).toEqual(log.specId);
  });
});

describe('the signature lists that were enrolled', () => {
  it.each(['PK.esl', 'KEK.esl', 'db.esl'])('%s holds one X.509 certificate and encodes to itself', (name) => {
    const esl = new Uint8Array(vector(name));
    const lists = parseSignatureLists(esl);
    expect(lists).toHaveLength(1);
    expect(lists[0]?.signatureType).toBe(EFI_CERT_TYPE.X509);
    expect(lists[0]?.signatures.map((s) => s.owner)).toEqual(['11111111-2222-3333-4444-123456789abc']);
    expect(hex(encodeSignatureLists(lists))).toBe(hex(esl));
  });
});
