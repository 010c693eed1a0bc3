import { encode, WireError } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bankById,
  bankByName,
  EV,
  type EventLog,
  encodeEventLog,
  eventTypeName,
  FirmwareError,
  initialPcrValue,
  type LogEvent,
  parseEventLog,
  replayEventLog,
  StartupLocalityEvent,
  specIdEvent,
  startupLocalityEvent,
} from '../src/index.js';
import { hex } from './hex.js';

const SHA256 = 0x000b;
const SHA1 = 0x0004;

function digestOf(alg: number, data: Uint8Array): { alg: number; digest: Uint8Array } {
  const bank = bankById(alg);
  if (!bank) throw new Error('no such bank');
  return { alg, digest: bank.hash(data) };
}

function measured(pcrIndex: number, data: string, algs: readonly number[] = [SHA1, SHA256]): LogEvent {
  const event = new TextEncoder().encode(data);
  return { pcrIndex, eventType: EV.EV_IPL, digests: algs.map((alg) => digestOf(alg, event)), event };
}

const specId = specIdEvent([
  { algorithmId: SHA1, digestSize: 20 },
  { algorithmId: SHA256, digestSize: 32 },
]);
const locality = (value: 0 | 3 | 4): LogEvent => ({
  pcrIndex: 0,
  eventType: EV.EV_NO_ACTION,
  digests: [
    { alg: SHA1, digest: new Uint8Array(20) },
    { alg: SHA256, digest: new Uint8Array(32) },
  ],
  event: encode(StartupLocalityEvent, startupLocalityEvent(value)),
});

function failure(run: () => unknown): FirmwareError {
  try {
    run();
  } catch (error) {
    if (error instanceof FirmwareError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

describe('parseEventLog', () => {
  const bytes = encodeEventLog({ specId, events: [measured(4, 'kernel'), measured(5, 'arguments')] });

  it('takes no bytes as an empty log of the old form', () => {
    expect(parseEventLog(new Uint8Array(0))).toEqual({ specId: undefined, events: [] });
  });

  it('refuses a log cut anywhere but between two events', () => {
    const ends = new Set([0, 69, 69 + 78, bytes.length]);
    for (let length = 1; length < bytes.length; length++) {
      if (ends.has(length)) expect(() => parseEventLog(bytes.subarray(0, length))).not.toThrow();
      else expect(failure(() => parseEventLog(bytes.subarray(0, length))).code).toBe('malformed');
    }
  });

  it('refuses an event length that reaches past the end', () => {
    const wrong = bytes.slice();
    wrong.fill(0xff, wrong.length - 13, wrong.length - 9);
    const refused = failure(() => parseEventLog(wrong));
    expect(refused.code).toBe('malformed');
    expect(refused.cause).toBeInstanceOf(WireError);
    expect(refused.message).toContain('at 1/event');
  });

  it('refuses a digest count above the number of banks', () => {
    const wrong = bytes.slice();
    wrong[69 + 8] = 3;
    expect(failure(() => parseEventLog(wrong)).message).toContain('expected at most 2 elements, got 3');
  });

  it('refuses a digest of a bank that the log does not have', () => {
    const wrong = bytes.slice();
    wrong[69 + 12] = 0x0c;
    expect(failure(() => parseEventLog(wrong)).message).toContain('no bank 0xc');
  });

  it('refuses two digests of one bank in one event', () => {
    const twice = specIdEvent([
      { algorithmId: SHA256, digestSize: 32 },
      { algorithmId: 0x27, digestSize: 32 },
    ]);
    const event = {
      ...measured(4, 'x', [SHA256]),
      digests: [digestOf(SHA256, new Uint8Array(1)), digestOf(0x27, new Uint8Array(1))],
    };
    const good = encodeEventLog({ specId: twice, events: [event] });
    const at = good.length - 1 - 4 - 32 - 2;
    expect(good[at]).toBe(0x27);
    const wrong = good.slice();
    wrong[at] = SHA256;
    expect(failure(() => parseEventLog(wrong)).message).toContain('two digests');
  });

  it.each([
    [
      'twice the same bank',
      [
        { algorithmId: SHA256, digestSize: 32 },
        { algorithmId: SHA256, digestSize: 32 },
      ],
    ],
    ['no bank', []],
    ['a digest of 65 bytes', [{ algorithmId: SHA256, digestSize: 65 }]],
    ['a digest of no byte', [{ algorithmId: SHA256, digestSize: 0 }]],
    ['17 banks', Array.from({ length: 17 }, (_, i) => ({ algorithmId: i + 1, digestSize: 20 }))],
  ])('refuses a Spec ID event with %s', (_, digestSizes) => {
    expect(failure(() => encodeEventLog({ specId: specIdEvent(digestSizes), events: [] })).code).toBe('bad-input');
  });

  it('refuses a Spec ID event with a digest that is not zero', () => {
    const wrong = bytes.slice();
    wrong[8] = 1;
    expect(failure(() => parseEventLog(wrong)).message).toContain('a digest of zeros');
  });

  it('refuses a measurement into a PCR that no TPM has', () => {
    const wrong = bytes.slice();
    wrong[69] = 32;
    expect(failure(() => parseEventLog(wrong)).message).toContain('expected a PCR from 0 to 31, got 32');
  });

  it('refuses more than 16 MiB', () => {
    expect(failure(() => parseEventLog(new Uint8Array(16 * 1024 * 1024 + 1))).code).toBe('malformed');
  });
});

describe('encodeEventLog', () => {
  it('refuses, in the old form, an event without its one SHA-1 digest', () => {
    const log: EventLog = { specId: undefined, events: [measured(4, 'x', [SHA256])] };
    expect(failure(() => encodeEventLog(log)).code).toBe('bad-input');
  });

  it('refuses a digest of the wrong length', () => {
    const event = { ...measured(4, 'x'), digests: [{ alg: SHA256, digest: new Uint8Array(20) }] };
    expect(failure(() => encodeEventLog({ specId, events: [event] })).code).toBe('bad-input');
  });
});

describe('replayEventLog', () => {
  const sha256 = bankByName('sha256');
  if (!sha256) throw new Error('no sha256');

  it('extends: new value = hash of old value and digest', () => {
    const replayed = replayEventLog({ specId, events: [measured(4, 'a'), measured(4, 'b')] });
    const a = sha256.hash(new TextEncoder().encode('a'));
    const b = sha256.hash(new TextEncoder().encode('b'));
    expect(hex(replayed.sha256?.[4])).toBe(hex(sha256.hash(sha256.hash(new Uint8Array(32), a), b)));
    expect(Object.keys(replayed.sha256 ?? {})).toEqual(['4']);
  });

  it('starts PCR 0 from the startup locality', () => {
    const first = new Uint8Array(32);
    first[31] = 3;
    expect(replayEventLog({ specId, events: [locality(3)] }).sha256?.[0]).toEqual(first);
    const then = replayEventLog({ specId, events: [locality(3), measured(0, 'crtm')] });
    expect(hex(then.sha256?.[0])).toBe(hex(sha256.hash(first, sha256.hash(new TextEncoder().encode('crtm')))));
  });

  it('refuses a startup locality after a measurement, or a second one', () => {
    expect(failure(() => replayEventLog({ specId, events: [measured(0, 'a'), locality(3)] })).code).toBe(
      'inconsistent',
    );
    expect(failure(() => replayEventLog({ specId, events: [locality(3), locality(4)] })).code).toBe('inconsistent');
  });

  it('refuses a startup locality that no platform has', () => {
    const event = locality(0);
    const wrong = { ...event, event: Uint8Array.from(event.event, (byte, i) => (i === 16 ? 2 : byte)) };
    expect(failure(() => replayEventLog({ specId, events: [wrong] })).code).toBe('malformed');
  });

  it('ignores other events without action, whatever they say', () => {
    const noise: LogEvent = { ...measured(0, 'anything'), eventType: EV.EV_NO_ACTION, pcrIndex: 0xffffffff };
    expect(replayEventLog({ specId, events: [noise] })).toEqual({});
  });

  it('goes on from the values of an earlier log', () => {
    const whole = replayEventLog({ specId, events: [measured(4, 'a'), measured(11, 'b'), measured(11, 'c')] });
    const before = replayEventLog({ specId, events: [measured(4, 'a'), measured(11, 'b')] });
    expect(replayEventLog({ specId, events: [measured(11, 'c')] }, { from: before })).toEqual(whole);
  });

  it('leaves out a bank whose hash it cannot compute', () => {
    const sm3 = specIdEvent([{ algorithmId: 0x12, digestSize: 32 }]);
    const event = { ...measured(4, 'x', []), digests: [{ alg: 0x12, digest: new Uint8Array(32) }] };
    expect(replayEventLog(parseEventLog(encodeEventLog({ specId: sm3, events: [event] })))).toEqual({});
  });

  it('knows the values after a start: zeros, and ones for a dynamic launch', () => {
    expect(initialPcrValue('sha256', 16)).toEqual(new Uint8Array(32));
    expect(initialPcrValue('sha1', 17)).toEqual(new Uint8Array(20).fill(0xff));
    expect(initialPcrValue('sha384', 22)).toEqual(new Uint8Array(48).fill(0xff));
    expect(initialPcrValue('sha512', 23)).toEqual(new Uint8Array(64));
  });
});

describe('eventTypeName', () => {
  it('names what the specification names and shows the number of the rest', () => {
    expect(eventTypeName(6)).toBe('EV_EVENT_TAG');
    expect(eventTypeName(0x800000e0)).toBe('EV_EFI_VARIABLE_AUTHORITY');
    expect(eventTypeName(0x1234)).toBe('0x00001234');
  });
});

describe('properties', () => {
  const banks = fc.constantFrom([SHA1], [SHA256], [SHA1, SHA256], [SHA256, 0x0c, 0x0d, 0x27]);
  const logs = banks.chain((algs) =>
    fc.record({
      specId: fc.constant(specIdEvent(algs.map((id) => ({ algorithmId: id, digestSize: bankById(id)?.size ?? 0 })))),
      events: fc.array(
        fc.record({
          pcrIndex: fc.nat(31),
          eventType: fc.nat(0xffffffff),
          digests: fc.tuple(
            ...algs.map((alg) => {
              const size = bankById(alg)?.size ?? 0;
              return fc.record({ alg: fc.constant(alg), digest: fc.uint8Array({ minLength: size, maxLength: size }) });
            }),
          ),
          event: fc.uint8Array({ maxLength: 40 }),
        }),
        { maxLength: 8 },
      ),
    }),
  );

  it('every log survives encoding and parsing', () => {
    fc.assert(
      fc.property(logs, (log) => {
        expect(parseEventLog(encodeEventLog(log))).toEqual(log);
      }),
    );
  });

  it('every cut of every log is parsed to a prefix or refused as malformed', () => {
    fc.assert(
      fc.property(logs, (log) => {
        const bytes = encodeEventLog(log);
        for (let length = 0; length < bytes.length; length++) {
          try {
            const cut = parseEventLog(bytes.subarray(0, length));
            expect(log.events.slice(0, cut.events.length)).toEqual(cut.events);
          } catch (error) {
            expect(error).toMatchObject({ name: 'FirmwareError', code: 'malformed' });
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it('no bytes crash the parser or the replay in any other way than a FirmwareError', () => {
    const prefix = encodeEventLog({ specId, events: [] });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, agile) => {
        try {
          replayEventLog(parseEventLog(agile ? Uint8Array.from([...prefix, ...noise]) : noise));
        } catch (error) {
          expect(error).toBeInstanceOf(FirmwareError);
        }
      }),
    );
  });
});
