import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AttestationError,
  CHECK_NAMES,
  type Evidence,
  encodeEvidence,
  evidenceNonce,
  palNonce,
  parseEvidence,
  verdict,
} from '../src/index.js';
import { fromBase64, hex, toBase64 } from '../src/octets.js';

const evidence: Evidence = {
  version: 1,
  nonce: new Uint8Array(20).fill(1),
  collectedAt: 1_790_000_000_000,
  deviceCertificates: [Uint8Array.of(1), Uint8Array.of(2, 3)],
  runRecord: '{"exit":0}',
  failures: [{ name: 'sealed-state', detail: 'the seal does not open' }],
  passed: ['replay'],
  akCertificates: [Uint8Array.of(4)],
  attestationKey: Uint8Array.of(4, 4),
  deviceProof: Uint8Array.of(5),
  quote: { quoted: Uint8Array.of(6), signature: Uint8Array.of(7), pcrs: { sha256: { 11: new Uint8Array(32) } } },
  eventLog: Uint8Array.of(8),
  firmwareLog: Uint8Array.of(9),
  guestOses: [{ configuration: Uint8Array.of(10), signature: Uint8Array.of(11) }],
  pals: [
    {
      identityKey: Uint8Array.of(12),
      quoted: Uint8Array.of(13),
      signature: Uint8Array.of(14),
      output: new Uint8Array(0),
      outputBy: 'platform',
    },
  ],
};
const json = encodeEvidence(evidence);

function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof AttestationError ? `${error.code}: ${error.message}` : `another error: ${error}`;
  }
  return 'none';
}

function withMember(path: readonly (string | number)[], value: unknown): string {
  const root = JSON.parse(json);
  const last = path.at(-1) ?? '';
  const parent = path.slice(0, -1).reduce((at, key) => at[key], root);
  if (value === undefined) delete parent[last];
  else parent[last] = value;
  return JSON.stringify(root);
}

describe('evidence as JSON', () => {
  it('is parsed to what was encoded', () => {
    expect(parseEvidence(json)).toEqual(evidence);
    const { firmwareLog: _, ...without } = evidence;
    expect(parseEvidence(encodeEvidence(without))).toEqual(without);
  });

  it('may be laid out in any way and still has one encoding', () => {
    expect(encodeEvidence(parseEvidence(JSON.stringify(JSON.parse(json), null, 2)))).toBe(json);
  });

  it.each<[string, readonly (string | number)[], unknown, string]>([
    ['an unknown member', ['trusted'], true, 'unknown member "trusted"'],
    ['an unknown member deep inside', ['quote', 'extra'], 1, 'parse evidence.quote: unknown member'],
    ['a prototype for a member', ['quote', '__proto__x'], {}, 'unknown member'],
    ['a missing member', ['nonce'], undefined, 'parse evidence.nonce: expected base64 text'],
    ['another version', ['version'], 2, 'expected one of 1'],
    ['a short nonce', ['nonce'], toBase64(new Uint8Array(15)), 'expected 16 to 64 bytes, got 15'],
    ['a long nonce', ['nonce'], toBase64(new Uint8Array(67)), 'expected at most 64 bytes'],
    ['base64 without padding', ['eventLog'], 'CA', 'expected canonical base64'],
    ['base64 with stray bits', ['eventLog'], 'CB==', 'expected canonical base64'],
    ['base64 with white space', ['eventLog'], 'CA= ', 'expected canonical base64'],
    ['the URL-safe alphabet', ['eventLog'], '_w==', 'expected canonical base64'],
    ['a number for a text', ['runRecord'], 1, 'expected text'],
    ['an unknown bank', ['quote', 'pcrs', 'md5'], {}, 'unknown member "md5"'],
    ['a PCR beyond 31', ['quote', 'pcrs', 'sha256', '32'], toBase64(new Uint8Array(32)), 'unknown member "32"'],
    [
      'a PCR with a leading zero',
      ['quote', 'pcrs', 'sha256', '01'],
      toBase64(new Uint8Array(32)),
      'unknown member "01"',
    ],
    ['an array for an object', ['quote'], [], 'expected an object'],
    ['an object for an array', ['pals'], {}, 'expected an array'],
    ['too many certificates', ['akCertificates'], Array(9).fill('AA=='), 'expected at most 8 elements, got 9'],
    ['an unknown check', ['passed'], ['everything'], 'expected one of certificate'],
    ['a time that is no whole number', ['collectedAt'], 1.5, 'expected a whole number'],
    ['a time below zero', ['collectedAt'], -1, 'expected a whole number'],
  ])('is refused with %s', (_, path, value, problem) => {
    const refused = code(() => parseEvidence(withMember(path, value)));
    expect(refused).toMatch(/^malformed: /);
    expect(refused).toContain(problem);
  });

  it.each(['', 'null', '[]', '"evidence"', '{', json.slice(0, -1), `${json}x`])('is refused as %.20s', (text) => {
    expect(code(() => parseEvidence(text))).toMatch(/^malformed: /);
  });

  it('is refused before it is made into objects where it is deeper, or of more values, than any evidence', () => {
    const limits = { levels: 'expected at most 8 levels', values: 'expected at most 524288 values' };
    const outcome = (text: string) => code(() => parseEvidence(text));
    expect(outcome('['.repeat(100_000) + ']'.repeat(100_000))).toBe(`malformed: parse evidence: ${limits.levels}`);
    expect(outcome(`${'{"a":'.repeat(9)}0${'}'.repeat(9)}`)).toContain(limits.levels);
    expect(outcome(`${'{"a":'.repeat(8)}0${'}'.repeat(8)}`)).toContain('expected one of 1');
    expect(outcome(`[${'[],'.repeat(600_000)}[]]`)).toContain(limits.values);
    // In a text they count for nothing, however it ends.
    const texts = fc.array(fc.constantFrom('"', '\\', '[', '{', ',', '}', 'a', '\u2028'), { maxLength: 40 });
    fc.assert(
      fc.property(texts, (parts) => {
        const runRecord = `${'[{,'.repeat(9)}${parts.join('')}`;
        expect(parseEvidence(encodeEvidence({ ...evidence, runRecord })).runRecord).toBe(runRecord);
      }),
    );
    expect(outcome('"[[[[[[[[[[')).toContain('expected JSON');
  });

  it('does not take a member named __proto__ for inherited ones', () => {
    const text = json.replace(/^\{"version":1,/, '{"__proto__":{"version":1},');
    expect(text).not.toBe(json);
    expect(code(() => parseEvidence(text))).toMatch(/^malformed: /);
  });

  it('never fails in another way, whatever the JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(JSON.parse(json))), (value, member) => {
        const outcome = code(() => parseEvidence(withMember([member], value)));
        expect(outcome).toMatch(/^(malformed: |none)/);
      }),
    );
  });
});

describe('base64', () => {
  it('is what other implementations read and write', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
        expect(fromBase64(Buffer.from(bytes).toString('base64'))).toEqual(bytes);
      }),
    );
  });

  it('takes long values', () => {
    const long = new Uint8Array(100_000).map((_, i) => i);
    expect(fromBase64(toBase64(long))).toEqual(long);
  });
});

describe('the qualifyingData of a quote', () => {
  it('changes with the nonce and with each part of the report', () => {
    const { nonce } = evidence;
    const variants: Evidence[] = [
      evidence,
      { ...evidence, collectedAt: evidence.collectedAt + 1 },
      { ...evidence, runRecord: '' },
      { ...evidence, failures: [] },
      { ...evidence, passed: [] },
      { ...evidence, deviceCertificates: [] },
    ];
    const values = variants.map((each) => hex(evidenceNonce(nonce, each)));
    values.push(
      hex(
        evidenceNonce(
          nonce.map(() => 2),
          evidence,
        ),
      ),
    );
    expect(new Set(values).size).toBe(7);
  });

  it('does not confuse nonce and output, or a platform with a PAL', () => {
    const all = [
      palNonce(Uint8Array.of(1), Uint8Array.of(2)),
      palNonce(Uint8Array.of(1, 2), new Uint8Array(0)),
      palNonce(new Uint8Array(0), Uint8Array.of(1, 2)),
    ].map(hex);
    expect(new Set(all).size).toBe(3);
  });
});

describe('verdict', () => {
  const all = CHECK_NAMES.map((name) => ({ name, ok: true, detail: '' }));

  it('trusts when every check was made and held', () => {
    expect(verdict(all)).toEqual({ trusted: true, failed: [] });
  });

  it('names what failed, once each, in a fixed order', () => {
    const checks = [
      ...all,
      { name: 'replay', ok: false, detail: '' },
      { name: 'config', ok: false, detail: '' },
    ] as const;
    expect(verdict([...checks, ...checks])).toEqual({ trusted: false, failed: ['config', 'replay'] });
  });

  it('takes a check that was never made for one that failed', () => {
    expect(verdict([])).toEqual({ trusted: false, failed: CHECK_NAMES });
    expect(verdict(all.filter(({ name }) => name !== 'quote'))).toEqual({ trusted: false, failed: ['quote'] });
  });

  it('does not name a check that could only not be made because another failed, yet does not trust', () => {
    const checks = [
      ...all.filter(({ name }) => name !== 'config' && name !== 'event-log'),
      { name: 'event-log', ok: false, detail: '' },
      { name: 'config', ok: false, detail: '', because: ['quote', 'event-log'] },
    ] as const;
    expect(verdict(checks)).toEqual({ trusted: false, failed: ['event-log'] });
    const alone = [...all, { name: 'config', ok: false, detail: '', because: ['quote', 'event-log'] }] as const;
    expect(verdict(alone)).toEqual({ trusted: false, failed: ['config'] });
  });
});
