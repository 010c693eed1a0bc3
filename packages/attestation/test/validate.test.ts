import { describe, expect, it } from 'vitest';
import {
  AttestationError,
  type Claims,
  encodePolicy,
  type Policy,
  parsePolicy,
  validateEvidence,
  verdict,
} from '../src/index.js';

const measurement = new Uint8Array(32).fill(3);
const identityKey = Uint8Array.of(1);
const key = { certificate: new Uint8Array(0), subject: 'CN=x', uris: [] };
const claims: Claims = {
  verifiedAt: 1_000_000,
  attestationKey: key,
  device: key,
  quote: {
    pcrs: { sha256: { 7: new Uint8Array(32).fill(7), 11: new Uint8Array(32), 12: new Uint8Array(32) } },
    qualifiedSigner: new Uint8Array(34),
    clock: 5n,
    resetCount: 1,
    restartCount: 0,
    safe: true,
    firmwareVersion: 1n,
  },
  report: { collectedAt: 990_000, runRecord: '', failures: [], passed: ['sealed-state', 'replay'] },
  measurements: [{ pcr: 12, statement: { type: 'pal', name: 'counter', version: '1', measurement, identityKey } }],
  guestOses: [
    {
      name: 'edge',
      version: 3,
      configDigest: new Uint8Array(32),
      imageDigest: new Uint8Array(32),
      signer: { ...key, extendedKeyUsage: ['1.3.6.1.5.5.7.3.3'] },
    },
  ],
  pals: [
    {
      name: 'counter',
      version: '1',
      measurement,
      identityKey,
      output: new Uint8Array(0),
      outputBy: 'platform',
      certified: undefined,
    },
  ],
  trustvisorKey: undefined,
};
const policy: Policy = {
  version: 1,
  requiredPcrs: { sha256: [7, 11, 12] },
  pcrValues: { sha256: { 7: ['00'.repeat(32), '07'.repeat(32)] } },
  guestOses: [{ name: 'edge', minimumVersion: 3, signerUsage: '1.3.6.1.5.5.7.3.3' }],
  guestOsRequired: true,
  pals: [{ name: 'counter', measurements: ['03'.repeat(32)], required: true }],
  requiredSelfChecks: ['sealed-state', 'replay'],
  maximumAgeSeconds: 60,
  clockToleranceSeconds: 5,
  safeClockRequired: true,
};

const failures = (given: Claims, rules: Policy) =>
  validateEvidence(given, rules)
    .filter(({ ok }) => !ok)
    .map(({ name, detail }) => `${name}: ${detail}`);

describe('validateEvidence', () => {
  it('finds nothing wrong with claims that the policy accepts', () => {
    expect(failures(claims, policy)).toEqual([]);
    expect(validateEvidence(claims, policy).length).toBeGreaterThan(8);
  });

  const { quote, report } = claims;
  if (!quote || !report) throw new Error('unreachable');
  it.each<[string, Partial<Claims>, Partial<Policy>, string]>([
    [
      'a required PCR is not quoted',
      {},
      { requiredPcrs: { sha256: [0, 11], sha384: [11] } },
      'quote: it does not cover sha256:0, sha384:11',
    ],
    [
      'a PCR has a value that is not accepted',
      {},
      { pcrValues: { sha256: { 7: ['00'.repeat(32)] } } },
      'event-log: the policy does not accept the value 0707',
    ],
    [
      'a PCR whose value matters is not quoted',
      {},
      { pcrValues: { sha384: { 7: ['00'.repeat(48)] } } },
      'quote: it does not cover sha384:7',
    ],
    ['the TPM clock is not safe', { quote: { ...quote, safe: false } }, {}, 'quote: the clock of the TPM is not safe'],
    [
      'the evidence is too old',
      { report: { ...report, collectedAt: 939_000 } },
      {},
      'replay: expected evidence at most 60 s old',
    ],
    [
      'the evidence is from the future',
      { report: { ...report, collectedAt: 1_006_000 } },
      {},
      'replay: expected evidence at most 60 s old and 5 s ahead',
    ],
    ['a self-check is missing', { report: { ...report, passed: ['replay'] } }, {}, 'sealed-state: the policy requires'],
    [
      'the GuestOS has another name',
      {},
      { guestOses: [{ name: 'other', minimumVersion: 0 }] },
      'config: the policy accepts no GuestOS named edge',
    ],
    [
      'the GuestOS is too old',
      {},
      { guestOses: [{ name: 'edge', minimumVersion: 4 }] },
      'config: edge version 3: the policy accepts version 4',
    ],
    [
      'the signer may not sign this',
      {},
      { guestOses: [{ name: 'edge', minimumVersion: 0, signerUsage: '1.2.3' }] },
      'signature: edge version 3: its signer CN=x lacks',
    ],
    ['no GuestOS was measured', { guestOses: [] }, {}, 'config: the policy requires a GuestOS'],
    [
      'a PAL has another measurement',
      {},
      { pals: [{ name: 'counter', measurements: ['04'.repeat(32)], required: false }] },
      'pal: the policy does not accept counter',
    ],
    [
      'a PAL has another name',
      {},
      { pals: [{ name: 'other', measurements: ['03'.repeat(32)], required: false }] },
      'pal: the policy does not accept counter',
    ],
    ['a required PAL did not quote itself', { pals: [] }, {}, 'pal: the policy requires a quote of counter'],
  ])('says so when %s', (_, given, rules, problem) => {
    const found = failures({ ...claims, ...given }, { ...policy, ...rules });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
  });

  it('accepts a platform without GuestOS and PAL where the policy does not require them', () => {
    const rules = { ...policy, guestOsRequired: false, pals: [] };
    expect(failures({ ...claims, guestOses: [], pals: [], measurements: [] }, rules)).toEqual([]);
  });

  it('blames what the device itself found wrong for what it could not do after that, and trusts nothing', () => {
    const found = { ...report, failures: [{ name: 'replay' as const, detail: 'old state' }], passed: [] };
    const checks = validateEvidence({ ...claims, report: found, guestOses: [], pals: [] }, policy);
    const wrong = checks.filter(({ ok }) => !ok);
    expect(wrong.map(({ name, because }) => [name, because])).toEqual([
      ['sealed-state', ['replay']],
      ['replay', undefined],
      ['config', ['replay']],
      ['pal', ['replay']],
    ]);
    expect(verdict(checks).trusted).toBe(false);
  });

  it('passes no rule whose claims are missing, and blames what they rest on', () => {
    const bare = {
      ...claims,
      quote: undefined,
      report: undefined,
      measurements: undefined,
      trustvisorKey: undefined,
      guestOses: undefined,
      pals: undefined,
    };
    const checks = validateEvidence(bare, policy);
    expect(checks.map(({ name, ok }) => [name, ok])).toEqual([
      ['quote', false],
      ['replay', false],
      ['config', false],
      ['pal', false],
    ]);
    expect(checks.every(({ because }) => because && because.length > 0)).toBe(true);
  });
});

describe('parsePolicy', () => {
  const json = encodePolicy(policy);

  function code(text: string): string {
    try {
      parsePolicy(text);
    } catch (error) {
      return error instanceof AttestationError ? `${error.code}: ${error.message}` : `another error: ${error}`;
    }
    return 'none';
  }

  it('reads what encodePolicy wrote', () => {
    expect(parsePolicy(json)).toEqual(policy);
    const { pcrValues: _, ...without } = policy;
    expect(parsePolicy(encodePolicy(without))).toEqual(without);
  });

  it.each([
    ['an unknown member', json.replace('{"version"', '{"insecure":true,"version"'), 'unknown member "insecure"'],
    ['a missing member', json.replace('"guestOsRequired":true,', ''), 'policy.guestOsRequired: expected true or false'],
    ['a measurement in capitals', json.replace('03'.repeat(32), 'AB'.repeat(32)), 'expected text like'],
    ['a usage that is no identifier', json.replace('1.3.6.1.5.5.7.3.3', 'codeSigning'), 'expected text like'],
    ['a PCR beyond 31', json.replace('[7,11,12]', '[32]'), 'expected a whole number from 0 to 31'],
    ['a version of text', json.replace('"minimumVersion":3', '"minimumVersion":"3"'), 'expected a whole number'],
    ['another format version', json.replace('"version":1', '"version":2'), 'expected one of 1'],
  ])('refuses %s', (_, text, problem) => {
    expect(text).not.toBe(json);
    expect(code(text)).toContain(problem);
  });
});
