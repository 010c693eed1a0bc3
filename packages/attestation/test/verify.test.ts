import { existsSync, readFileSync } from 'node:fs';
import { bankByName, encodeEventLog, parseEventLog, specIdEvent } from '@casemate/firmware';
import { createCertificate, PROFILES, signDocument } from '@casemate/pki';
import { publicKeySpki, TPM_ST, TPMA_OBJECT, TpmtPublic, TpmtSignature } from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { decode, encode } from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes } from '@noble/hashes/utils.js';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Anchors,
  CHECK_NAMES,
  type Evidence,
  encodeEvidence,
  type GuestOsStatement,
  type PalStatement,
  type Policy,
  parseEvidence,
  type Statement,
  validateEvidence,
  verdict,
  verifyEvidence,
} from '../src/index.js';
import { emptyLog, measurementEvent } from '../src/measurements.js';
import { fromBase64 } from '../src/octets.js';
import {
  AK_ATTRIBUTES,
  type ForgedEvidence,
  type ForgedKey,
  forgeCertificate,
  forgeEvidence,
  forgeKey,
  forgePal,
} from './forge.js';
import {
  acceptingPolicy,
  buildConfiguration,
  certify,
  createPki,
  IMAGE_DIGEST,
  NONCE,
  NOW,
  PAL_MEASUREMENT,
  type Pki,
  readConfiguration,
  signConfiguration,
} from './platform.js';

const vector = (name: string) => readFileSync(new URL(`vectors/${name}`, import.meta.url), 'utf8');
const recorded: { readonly [K in 'ecc' | 'rsa']: Evidence } = {
  ecc: parseEvidence(vector('evidence-ecc.json')),
  rsa: parseEvidence(vector('evidence-rsa.json')),
};
const roots: Record<string, string> = JSON.parse(vector('anchors.json'));
const anchor = (name: string) => fromBase64(roots[name] ?? '') ?? new Uint8Array(0);
const recordedAnchors: Anchors = {
  attestation: [anchor('general-root')],
  device: [anchor('general-root')],
  software: [anchor('software-signing-root')],
};

interface Given {
  readonly anchors?: Anchors;
  readonly time?: Date;
  readonly nonce?: Uint8Array;
  readonly policy?: Policy;
  readonly crls?: readonly Uint8Array[];
}

async function judge(evidence: Evidence, given: Given = {}) {
  const { policy = acceptingPolicy(), anchors = recordedAnchors, time = NOW, nonce = NONCE, ...rest } = given;
  const { checks, claims } = await verifyEvidence(evidence, { anchors, time, nonce, readConfiguration, ...rest });
  const all = [...checks, ...validateEvidence(claims, policy)];
  return { all, claims, ...verdict(all) };
}

/** The failed names, comma-separated, and the details of the failed checks that were made. */
async function failedChecks(evidence: Evidence, given: Given = {}) {
  const { failed, all, trusted } = await judge(evidence, given);
  expect(trusted).toBe(failed.length === 0);
  const details = all.filter(({ ok, because }) => !ok && !because).map(({ detail }) => detail);
  return { failed: failed.join(', '), details: details.join(' | ') };
}

/** The sha256 value of a PCR into which one statement was measured. */
const pcrAfter = (statement: Statement) =>
  sha256(concatBytes(new Uint8Array(32), measurementEvent(['sha256'], statement).digests[0]?.digest ?? NONCE));

const flip = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

let pki: Pki;
beforeAll(async () => {
  pki = await createPki();
});

describe.each(['ecc', 'rsa'] as const)('evidence recorded from swtpm with %s keys', (kind) => {
  const evidence = recorded[kind];

  it('is trusted, with every check made', async () => {
    const { all, claims, ...outcome } = await judge(evidence);
    expect(all.filter(({ ok }) => !ok)).toEqual([]);
    expect(outcome).toEqual({ trusted: true, failed: [] });
    expect(new Set(all.map(({ name }) => name))).toEqual(new Set(CHECK_NAMES));
    expect(claims.device?.subject).toBe('CN=edge 1,O=Maker,C=DE');
    expect(claims.guestOses?.map(({ name, version }) => `${name} ${version}`)).toEqual(['edge 3']);
    expect(claims.guestOses?.[0]?.signer.subject).toBe('CN=Software Signing,O=Maker,C=DE');
    expect(claims.pals?.map(({ name, output }) => [name, new TextDecoder().decode(output)])).toEqual([
      ['counter', 'counter=2'],
    ]);
    expect(claims.quote?.safe).toBe(true);
    expect(claims.report?.runRecord).toBe('[{"exit":0}]');
  });

  it('is trusted with OpenSSL as the verifier of quotes, too', async () => {
    const options = { anchors: recordedAnchors, time: NOW, nonce: NONCE, readConfiguration, crypto: nodeCrypto };
    const { checks } = await verifyEvidence(evidence, options);
    expect(verdict(checks)).toEqual({ trusted: true, failed: [] });
  });

  it('is not trusted with any bit changed of what is signed, measured or quoted', async () => {
    const parts: Record<string, (change: (bytes: Uint8Array) => Uint8Array) => Evidence> = {
      nonce: (change) => ({ ...evidence, nonce: change(evidence.nonce) }),
      quoted: (change) => ({ ...evidence, quote: { ...evidence.quote, quoted: change(evidence.quote.quoted) } }),
      signature: (change) => ({
        ...evidence,
        quote: { ...evidence.quote, signature: change(evidence.quote.signature) },
      }),
      eventLog: (change) => ({ ...evidence, eventLog: change(evidence.eventLog) }),
      ...Object.fromEntries(
        (['identityKey', 'quoted', 'signature', 'output'] as const).map((member) => [
          `pal ${member}`,
          (change: (bytes: Uint8Array) => Uint8Array) => ({
            ...evidence,
            pals: evidence.pals.map((pal) => ({ ...pal, [member]: change(pal[member]) })),
          }),
        ]),
      ),
      configuration: (change) => ({
        ...evidence,
        guestOses: evidence.guestOses.map((each) => ({ ...each, configuration: change(each.configuration) })),
      }),
    };
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.keys(parts)), fc.nat(), fc.nat(7), async (part, position, bit) => {
        const changed = parts[part]?.((bytes) =>
          bytes.map((byte, i) => (i === position % bytes.length ? byte ^ (1 << bit) : byte)),
        );
        if (!changed) throw new Error('unreachable');
        expect((await judge(changed)).trusted, part).toBe(false);
      }),
      { numRuns: 80 },
    );
  });
});

describe('certificate', () => {
  const evidence = recorded.ecc;
  const spki = publicKeySpki(decode(TpmtPublic, evidence.attestationKey));
  const only = async (changed: Evidence, problem: string, given: Given = {}) => {
    const { failed, details } = await failedChecks(changed, given);
    expect(details).toContain(problem);
    expect(failed).toBe('certificate');
  };

  it('fails where the attestation key is certified by a CA that is not an anchor, however well it is made', async () => {
    await only({ ...evidence, akCertificates: await certify(pki, 'ak', spki) }, 'the attestation key: ');
  });

  it('fails where the root comes with the evidence', async () => {
    const chain = [...(await certify(pki, 'ak', spki)), pki.hierarchy.get('general-root').certificate];
    await only({ ...evidence, akCertificates: chain }, 'the attestation key: ');
  });

  it('fails where the certificate is for another key than the one that quoted', async () => {
    const { key } = await forgeKey();
    const anchors = { ...recordedAnchors, attestation: pki.anchors.attestation };
    const changed = { ...evidence, akCertificates: await certify(pki, 'ak', key.publicKey) };
    await only(changed, 'the certificate is for another key than the one that quoted', { anchors });
  });

  it('fails where a device certificate stands for an attestation key', async () => {
    const anchors = { ...recordedAnchors, attestation: pki.anchors.attestation };
    const changed = { ...evidence, akCertificates: await certify(pki, 'device', spki) };
    await only(changed, 'expected the extended key usage 2.23.133.8.3', { anchors });
  });

  it('fails where the certificate would also let the attestation key issue certificates', async () => {
    const anchors = { ...recordedAnchors, attestation: pki.anchors.attestation };
    const authority = pki.hierarchy.get('attestation-ca');
    const own = await createCertificate({
      profile: { ...PROFILES.attestationCa, keyUsage: ['keyCertSign', 'digitalSignature'] },
      subject: { countryName: 'DE', organizationName: 'Maker', commonName: 'attestation CA of someone' },
      publicKey: spki,
      issuer: {
        signer: pki.hierarchy.get('general-root').signer,
        certificate: pki.hierarchy.get('general-root').certificate,
      },
      notBefore: NOW,
    });
    await only({ ...evidence, akCertificates: [own, ...authority.chain] }, 'the certificate is that of a CA', {
      anchors,
    });
  });

  it('fails where the attestation key is certified for another device', async () => {
    const anchors = { ...recordedAnchors, attestation: pki.anchors.attestation };
    const other = 'urn:uuid:00000000-0000-4000-8000-000000000000';
    const changed = { ...evidence, akCertificates: await certify(pki, 'ak', spki, other) };
    await only(changed, `the attestation key is certified for ${other}`, { anchors });
  });

  it('fails without an intermediate, and without any certificate', async () => {
    await only({ ...evidence, akCertificates: evidence.akCertificates.slice(0, 1) }, 'the attestation key: ');
    await only({ ...evidence, akCertificates: [] }, 'the attestation key: no certificate is given');
  });

  it('fails for a certificate that cannot be read', async () => {
    await only({ ...evidence, akCertificates: [Uint8Array.of(0x30, 0x80)] }, 'the attestation key: ');
  });

  it('fails where the device is certified by someone else', async () => {
    const anchors = { ...recordedAnchors, device: pki.anchors.device };
    await only(evidence, 'the device: ', { anchors });
  });

  it('fails where the holder of another certified key signed for the device', async () => {
    const { key } = await forgeKey();
    const chain = await certify(pki, 'device', key.publicKey);
    const anchors = { ...recordedAnchors, device: [...recordedAnchors.device, ...pki.anchors.device] };
    const proof = await signDocument(new Uint8Array(32), { signer: key, chain, time: NOW });
    await only({ ...evidence, deviceProof: proof }, 'the device: ', { anchors });
  });

  it("fails, as the quote does, where the device certificate is swapped for another device's", async () => {
    const { key } = await forgeKey();
    const changed = { ...evidence, deviceCertificates: await certify(pki, 'device', key.publicKey) };
    expect((await failedChecks(changed)).failed).toBe('certificate, quote');
  });

  it('fails when the certificates have expired', async () => {
    const { failed } = await failedChecks(evidence, { time: new Date('2036-01-01') });
    expect(failed).toBe('certificate, signature, replay');
  });
});

describe('quote', () => {
  const evidence = recorded.ecc;
  const withQuote = (change: Partial<Evidence['quote']>): Evidence => ({
    ...evidence,
    quote: { ...evidence.quote, ...change },
  });

  it('fails with another signature', async () => {
    const { signature } = evidence.quote;
    const changed = withQuote({ signature: flip(signature, signature.length - 1) });
    expect(await failedChecks(changed)).toEqual({ failed: 'quote', details: 'the signature does not verify' });
  });

  it('fails with another attestation', async () => {
    const { quoted } = evidence.quote;
    expect((await failedChecks(withQuote({ quoted: flip(quoted, quoted.length - 1) }))).failed).toBe('quote');
    expect((await failedChecks(withQuote({ quoted: quoted.slice(1) }))).failed).toBe('quote');
  });

  it('fails where the report of the device was changed on the way', async () => {
    for (const change of [{ runRecord: '[]' }, { passed: [] }, { collectedAt: evidence.collectedAt + 1 }]) {
      expect((await failedChecks({ ...evidence, ...change })).details).toContain('expected it to be made for');
    }
  });

  it('fails, as the log does, with other PCR values', async () => {
    const pcrs = { ...evidence.quote.pcrs, sha256: { ...evidence.quote.pcrs.sha256, 11: new Uint8Array(32) } };
    const { failed, details } = await failedChecks(withQuote({ pcrs }));
    expect(details).toContain('the PCR values are not those that were signed');
    expect(failed).toBe('quote, event-log');
  });

  it('fails with a value too many or too few', async () => {
    const { sha256: values = {}, ...rest } = evidence.quote.pcrs;
    const { 7: _, ...fewer } = values;
    expect((await failedChecks(withQuote({ pcrs: { ...rest, sha256: fewer } }))).details).toContain(
      'PCR 7 of sha256 was quoted',
    );
    const more = { ...values, 8: new Uint8Array(32) };
    expect((await failedChecks(withQuote({ pcrs: { ...rest, sha256: more } }))).details).toContain(
      'expected the values of 5 PCRs, got 6',
    );
  });
});

describe('attestations that a certified key signed, but no honest platform makes', () => {
  let ak: ForgedKey;
  let palKey: ForgedKey;
  let base: Omit<ForgedEvidence, 'ak' | 'akCertificates'>;
  let given: Given;
  let guestOs: GuestOsStatement;
  let pal: PalStatement;

  const forge = async (change: Partial<ForgedEvidence> = {}, by: ForgedKey = ak) =>
    forgeEvidence({ ...base, ak: by, akCertificates: await certify(pki, 'ak', by.key.publicKey), ...change });

  beforeAll(async () => {
    ak = await forgeKey();
    palKey = await forgeKey();
    const { key } = await forgeKey();
    const configuration = buildConfiguration('edge', 3, IMAGE_DIGEST);
    guestOs = {
      type: 'guestos',
      name: 'edge',
      version: 3,
      configDigest: sha256(configuration),
      imageDigest: IMAGE_DIGEST,
    };
    pal = { type: 'pal', name: 'counter', version: '1', measurement: PAL_MEASUREMENT, identityKey: palKey.public };
    base = {
      device: { certificates: await certify(pki, 'device', key.publicKey), signer: key },
      statements: [guestOs, pal],
      guestOses: [await signConfiguration(pki, configuration)],
      pals: [await forgePal(palKey, PAL_MEASUREMENT)],
    };
    given = { anchors: pki.anchors };
  });

  it('are believed as far as they are consistent, for the CA vouched for the key', async () => {
    expect(await failedChecks(await forge(), given)).toEqual({ failed: '', details: '' });
  });

  describe('with a TrustVisor key in the log and a certificate with the PAL', () => {
    let trustvisor: ForgedKey;
    let certified: Awaited<ReturnType<typeof forgePal>>;
    const keyOf = ({ public: identityKey }: ForgedKey) => ({ type: 'trustvisor', identityKey }) as const;
    const outcome = async (change: Partial<ForgedEvidence>) =>
      failedChecks(await forge({ statements: [guestOs, keyOf(trustvisor)], pals: [certified], ...change }), given);
    const refused = (details: string) => ({ failed: 'pal', details: expect.stringContaining(details) });

    beforeAll(async () => {
      trustvisor = await forgeKey();
      const certificate = await forgeCertificate(trustvisor, palKey, PAL_MEASUREMENT);
      certified = { ...(await forgePal(palKey, PAL_MEASUREMENT)), certificate };
    });

    it('are believed, and say what was certified; so they are where the TrustVisor was started twice', async () => {
      const evidence = await forge({ statements: [guestOs, keyOf(trustvisor)], pals: [certified] });
      expect(parseEvidence(encodeEvidence(evidence))).toEqual(evidence);
      const { trusted, claims } = await judge(evidence, given);
      expect([trusted, claims.trustvisorKey]).toEqual([true, trustvisor.public]);
      expect(claims.pals?.[0]).toMatchObject({ name: 'counter', certified: { identity: palKey.public } });
      const twice = [keyOf(trustvisor), guestOs, keyOf(trustvisor)];
      expect(await outcome({ statements: twice })).toEqual({ failed: '', details: '' });
    });

    it('are refused by pal: without the event, with another key in it, or with two different keys', async () => {
      const other = keyOf(await forgeKey());
      expect(await outcome({ statements: [guestOs, pal] })).toEqual(refused('no TrustVisor key was measured'));
      expect(await outcome({ statements: [guestOs, other] })).toEqual(refused('the signature does not verify'));
      const two = refused('two different TrustVisor keys were measured');
      expect(await outcome({ statements: [guestOs, keyOf(trustvisor), other] })).toEqual(two);
      expect(await outcome({ statements: [guestOs, keyOf(trustvisor), other], pals: [] })).toEqual(two);
    });

    it('are refused by pal: of a key that was put into the log behind the TrustVisor key, which did not certify it', async () => {
      const thief = await forgeKey();
      const stolen = { ...pal, identityKey: thief.public };
      const pals = [await forgePal(thief, PAL_MEASUREMENT)];
      const before = [guestOs, stolen, keyOf(trustvisor)];
      expect(await outcome({ statements: before, pals })).toEqual({ failed: '', details: '' });
      for (const statements of [
        [guestOs, keyOf(trustvisor), stolen],
        [guestOs, keyOf(trustvisor), stolen, keyOf(trustvisor)],
      ])
        expect(await outcome({ statements, pals })).toEqual(refused('the TrustVisor key did not certify it'));
    });

    it('are refused by event-log: where the key was extended and the event left out, or the other way round', async () => {
      const honest = await forge({ statements: [guestOs, keyOf(trustvisor)], pals: [certified] });
      const without = await forge({ statements: [guestOs], pals: [certified] });
      expect((await failedChecks({ ...honest, eventLog: without.eventLog }, given)).failed).toBe('event-log');
      expect((await failedChecks({ ...without, eventLog: honest.eventLog }, given)).failed).toBe('event-log');
    });

    it('are refused by event-log: where the event stands in another PCR', async () => {
      const honest = await forge({ statements: [guestOs, keyOf(trustvisor)], pals: [certified] });
      const log = parseEventLog(honest.eventLog);
      const events = log.events.map((event, i) => (i === 1 ? { ...event, pcrIndex: 11 } : event));
      const { failed, details } = await failedChecks(
        { ...honest, eventLog: encodeEventLog({ ...log, events }) },
        given,
      );
      expect(failed).toBe('event-log');
      expect(details).toContain('expected a trustvisor statement in PCR 12, got PCR 11');
    });

    it('are refused by pal: with a certificate that another key signed, that says something else, or for another key', async () => {
      const thief = await forgeKey();
      const withCertificate = async (...made: Parameters<typeof forgeCertificate>) =>
        outcome({ pals: [{ ...certified, certificate: await forgeCertificate(...made) }] });
      const unsigned = 'the certificate of a PAL: the signature does not verify';
      expect(await withCertificate(thief, palKey, PAL_MEASUREMENT)).toEqual(refused(unsigned));
      const { certificate } = certified;
      if (!certificate) throw new Error('unreachable');
      const { statement } = await forgeCertificate(thief, palKey, IMAGE_DIGEST);
      const changed = [{ ...certified, certificate: { ...certificate, statement } }];
      expect(await outcome({ pals: changed })).toEqual(refused('expected it to be made for'));
      expect(await withCertificate(trustvisor, thief, PAL_MEASUREMENT)).toEqual(refused('for another identity key'));
      expect(await withCertificate(trustvisor, palKey, IMAGE_DIGEST)).toEqual(refused('not those that were signed'));
      // A PAL's own key, in its own micro-TPM, signs what a PAL wants; PCR 0 tells it from the TrustVisor key.
      expect(await withCertificate(trustvisor, palKey, PAL_MEASUREMENT, PAL_MEASUREMENT)).toEqual(
        refused('the certificate of a PAL: the PCR values are not those that were signed'),
      );
    });

    it('are refused by pal: where the policy does not accept the code that was certified', async () => {
      const certificate = await forgeCertificate(trustvisor, palKey, IMAGE_DIGEST);
      const pals = [{ ...(await forgePal(palKey, IMAGE_DIGEST)), certificate }];
      expect(await outcome({ pals })).toEqual(refused('the policy does not accept counter with the measurement'));
    });
  });

  it('are refused by quote: from a key that is not restricted, so that it may sign anything', async () => {
    const unrestricted = await forgeKey(AK_ATTRIBUTES & ~TPMA_OBJECT.restricted);
    const outcome = await failedChecks(await forge({}, unrestricted), given);
    expect(outcome).toEqual({ failed: 'quote', details: 'the key lacks restricted' });
  });

  it('are refused by quote: from a key that may leave its TPM', async () => {
    const movable = await forgeKey(AK_ATTRIBUTES & ~TPMA_OBJECT.fixedTPM);
    expect((await failedChecks(await forge({}, movable), given)).details).toBe('the key lacks fixedTPM');
  });

  it('are refused by quote: another kind of attestation', async () => {
    const time = {
      type: TPM_ST.ATTEST_TIME,
      attested: {
        time: { time: 1n, clockInfo: { clock: 1n, resetCount: 0, restartCount: 0, safe: true } },
        firmwareVersion: 0n,
      },
    } as const;
    const { failed, details } = await failedChecks(
      await forge({ change: (attest) => ({ ...attest, ...time }) as typeof attest }),
      given,
    );
    expect(failed).toBe('quote');
    expect(details).toContain('it is another attestation, not a quote');
  });

  it('are refused by quote: made for another challenge', async () => {
    const { details } = await failedChecks(
      await forge({ change: (attest) => ({ ...attest, extraData: NONCE }) }),
      given,
    );
    expect(details).toContain('expected it to be made for');
  });

  it('are refused by quote: that leaves out PCR 12', async () => {
    const { failed, details } = await failedChecks(await forge({ indexes: [0, 7, 11] }), given);
    expect(failed).toBe('quote');
    expect(details).toContain('it does not cover PCR 12 of sha256');
  });

  it('are refused by quote: that selects a PCR twice, which would leave room for a value that it does not cover', async () => {
    const evidence = await forge({
      indexes: [11, 12],
      change: (attest) => {
        if (attest.type !== TPM_ST.ATTEST_QUOTE) return attest;
        const { pcrSelect } = attest.attested;
        const values = [guestOs, pal].map(pcrAfter);
        const pcrDigest = sha256(concatBytes(...values, ...values));
        return { ...attest, attested: { pcrSelect: [...pcrSelect, ...pcrSelect], pcrDigest } };
      },
    });
    const pcrs = { sha256: { ...evidence.quote.pcrs.sha256, 0: new Uint8Array(32), 7: new Uint8Array(32) } };
    const { failed, details } = await failedChecks({ ...evidence, quote: { ...evidence.quote, pcrs } }, given);
    expect(failed).toBe('quote');
    expect(details).toContain('PCR 11 of sha256 was quoted twice');
  });

  it('are refused by quote: where the values are cut apart at another place than the digest was made of', async () => {
    const evidence = await forge({ indexes: [0, 7, 11, 12] });
    const { 0: first = NONCE, 7: second = NONCE, ...others } = evidence.quote.pcrs.sha256 ?? {};
    const both = concatBytes(first, second);
    const pcrs = { sha256: { 0: both.slice(0, 31), 7: both.slice(31), ...others } };
    const { failed, details } = await failedChecks({ ...evidence, quote: { ...evidence.quote, pcrs } }, given);
    expect(failed).toBe('quote, event-log');
    expect(details).toContain('PCR 0 of sha256: expected a value of 32 bytes, got 31');
  });

  it('are refused by event-log: whose log names only a bank that the quote does not cover', async () => {
    const nothing = await forge({ statements: [] });
    const events = [guestOs, pal].map((statement) => measurementEvent(['sha1'], statement));
    const eventLog = encodeEventLog({ ...emptyLog(['sha1']), events });
    const { failed, details } = await failedChecks({ ...nothing, eventLog }, given);
    expect(failed).toBe('event-log');
    expect(details).toContain('our log has no digests for the quoted bank sha256');
  });

  it('are refused by event-log: a PCR that was extended without an event', async () => {
    const { failed, details } = await failedChecks(await forge({ values: { 7: new Uint8Array(32).fill(1) } }), given);
    expect(failed).toBe('event-log');
    expect(details).toContain('PCR 7 of sha256: no event explains its value');
  });

  it('are accepted where a firmware log explains what our log does not', async () => {
    const digest = sha256(new Uint8Array(4));
    const event = { pcrIndex: 7, eventType: 4, digests: [{ alg: 11, digest }], event: new Uint8Array(4) };
    const specId = specIdEvent([{ algorithmId: 11, digestSize: 32 }]);
    const values = { 7: bankByName('sha256')?.hash(new Uint8Array(32), digest) ?? digest };
    const evidence = await forge({ values });
    expect((await failedChecks(evidence, given)).failed).toBe('event-log');
    const firmwareLog = encodeEventLog({ specId, events: [event] });
    expect((await failedChecks({ ...evidence, firmwareLog }, given)).failed).toBe('');
  });

  it('are refused by image: another image was measured than the configuration names', async () => {
    const evil = { ...guestOs, imageDigest: new Uint8Array(32) };
    const { failed, details } = await failedChecks(await forge({ statements: [evil, pal] }), given);
    expect(failed).toBe('image');
    expect(details).toContain('another was measured');
  });

  it('are refused by image: the configuration was started again with another image', async () => {
    const evil = { ...guestOs, imageDigest: new Uint8Array(32) };
    expect((await failedChecks(await forge({ statements: [guestOs, pal, evil] }), given)).failed).toBe('image');
  });

  it('are refused by config: measured under another name or version', async () => {
    for (const change of [{ name: 'other' }, { version: 4 }]) {
      const { failed, details } = await failedChecks(
        await forge({ statements: [{ ...guestOs, ...change }, pal] }),
        given,
      );
      expect(failed).toBe('config');
      expect(details).toContain('was measured under another name or version');
    }
  });

  it('are refused by config: a signed configuration that cannot be read', async () => {
    const configuration = new TextEncoder().encode('{');
    const statement = { ...guestOs, configDigest: sha256(configuration) };
    const change = { statements: [statement, pal], guestOses: [await signConfiguration(pki, configuration)] };
    const { failed, details } = await failedChecks(await forge(change), given);
    expect(failed).toBe('config');
    expect(details).toContain('the configuration cannot be read');
  });

  it('are refused by pal: whose code is not the measured one', async () => {
    const pals = [await forgePal(palKey, new Uint8Array(32))];
    const { failed, details } = await failedChecks(await forge({ pals }), given);
    expect(failed).toBe('pal');
    expect(details).toContain('counter: the PCR values are not those that were signed');
  });

  it('are refused by pal: whose identity key was never measured', async () => {
    const pals = [await forgePal(await forgeKey(), PAL_MEASUREMENT)];
    expect((await failedChecks(await forge({ pals }), given)).details).toContain(
      'no measured PAL has the identity key',
    );
  });

  it('are refused by pal: whose identity key stands for two codes', async () => {
    const second = { ...pal, measurement: new Uint8Array(32) };
    const { failed, details } = await failedChecks(await forge({ statements: [guestOs, second, pal] }), given);
    expect(failed).toBe('pal');
    expect(details).toContain('measured with two different codes');
  });

  it('are refused by pal: whose identity key is not restricted', async () => {
    const loose = await forgeKey(AK_ATTRIBUTES & ~TPMA_OBJECT.restricted);
    const statements = [guestOs, { ...pal, identityKey: loose.public }];
    const { failed, details } = await failedChecks(
      await forge({ statements, pals: [await forgePal(loose, PAL_MEASUREMENT)] }),
      given,
    );
    expect(failed).toBe('pal');
    expect(details).toContain('counter: the key lacks restricted');
  });

  it('are refused by pal: quoted for an earlier challenge', async () => {
    const pals = [await forgePal(palKey, PAL_MEASUREMENT, NONCE.slice(1))];
    expect((await failedChecks(await forge({ pals }), given)).failed).toBe('pal');
  });

  it('are accepted with the same PAL registered twice', async () => {
    expect((await failedChecks(await forge({ statements: [guestOs, pal, pal] }), given)).failed).toBe('');
  });

  it('are refused by signature: a configuration that a device key signed', async () => {
    const configuration = buildConfiguration('edge', 3, IMAGE_DIGEST);
    const { signer, certificates } = base.device;
    const signature = await signDocument(configuration, { signer, chain: certificates, time: NOW });
    const anchors = { ...pki.anchors, software: [...pki.anchors.software, ...pki.anchors.device] };
    const { failed, details } = await failedChecks(await forge({ guestOses: [{ configuration, signature }] }), {
      anchors,
    });
    expect(failed).toBe('signature');
    expect(details).toContain('1.3.6.1.5.5.7.3.3');
  });
});

describe('event-log', () => {
  const evidence = recorded.ecc;
  const log = parseEventLog(evidence.eventLog);
  const withLog = (events: typeof log.events): Evidence => ({
    ...evidence,
    eventLog: encodeEventLog({ ...log, events }),
  });

  it('fails without an event, with events in another order, and with an event too many', async () => {
    const [first, second] = log.events;
    if (!first || !second) throw new Error('the recorded log is empty');
    for (const events of [[first], [second], [], [first, first, second], [first, second, second]]) {
      const { failed, details } = await failedChecks(withLog(events));
      expect(failed).toBe('event-log');
      expect(details).toContain('PCR 1');
    }
  });

  it('fails where an event says something else than what was extended', async () => {
    const { failed, details } = await failedChecks({
      ...evidence,
      eventLog: flip(evidence.eventLog, evidence.eventLog.length - 1),
    });
    expect(failed).toBe('event-log');
    expect(details).toContain('digest is not the hash of its data');
  });

  it('fails for bytes that are no log', async () => {
    for (const eventLog of [new Uint8Array(0), new Uint8Array(100)]) {
      expect((await failedChecks({ ...evidence, eventLog })).failed).toBe('event-log');
    }
  });

  it('fails where a measurement of ours is passed off as one of the firmware', async () => {
    const [first, ...others] = log.events;
    if (!first) throw new Error('the recorded log is empty');
    const firmwareLog = encodeEventLog({ ...log, events: [{ ...first, eventType: 13, event: new Uint8Array(1) }] });
    const hidden = { ...withLog(others), firmwareLog, guestOses: [] };
    const { failed, details } = await failedChecks(hidden, {
      policy: { ...acceptingPolicy(), guestOsRequired: false },
    });
    expect(failed).toBe('event-log');
    expect(details).toContain("the firmware's log has an event in PCR 11, which is ours");
  });

  it('fails with a firmware log that the PCRs do not show, or that is none', async () => {
    const event = {
      pcrIndex: 7,
      eventType: 4,
      digests: [{ alg: 11, digest: new Uint8Array(32) }],
      event: new Uint8Array(4),
    };
    const firmwareLog = encodeEventLog({
      specId: specIdEvent([{ algorithmId: 11, digestSize: bankByName('sha256')?.size ?? 0 }]),
      events: [event],
    });
    expect((await failedChecks({ ...evidence, firmwareLog })).failed).toBe('event-log');
    expect((await failedChecks({ ...evidence, firmwareLog: new Uint8Array(3) })).failed).toBe('event-log');
  });
});

describe('config, image and signature', () => {
  const evidence = recorded.ecc;
  const [guestOs] = evidence.guestOses;
  if (!guestOs) throw new Error('nothing was recorded');

  it('config and signature fail for a changed configuration', async () => {
    const changed = new TextEncoder().encode(
      new TextDecoder().decode(guestOs.configuration).replace('"version":3', '"version":4'),
    );
    expect(changed).not.toEqual(guestOs.configuration);
    const outcome = await failedChecks({ ...evidence, guestOses: [{ ...guestOs, configuration: changed }] });
    expect(outcome.failed).toBe('config, signature');
  });

  it('config alone fails for a well-signed configuration that was not measured', async () => {
    const other = await signConfiguration(pki, buildConfiguration('edge', 4, IMAGE_DIGEST));
    const anchors = { ...recordedAnchors, software: [...recordedAnchors.software, ...pki.anchors.software] };
    const { failed, details } = await failedChecks({ ...evidence, guestOses: [guestOs, other] }, { anchors });
    expect(failed).toBe('config');
    expect(details).toContain('was not measured');
  });

  it('config fails where the configuration is kept back', async () => {
    const { failed, details } = await failedChecks({ ...evidence, guestOses: [] });
    expect(failed).toBe('config');
    expect(details).toContain('edge version 3 was measured, its configuration is not given');
  });

  it('signature fails for a signer whom no anchor vouches for', async () => {
    const signed = await signConfiguration(pki, guestOs.configuration);
    expect((await failedChecks({ ...evidence, guestOses: [signed] })).failed).toBe('signature');
  });

  it('signature fails for something that is no signature', async () => {
    const changed = { ...evidence, guestOses: [{ ...guestOs, signature: Uint8Array.of(0x30, 0) }] };
    expect((await failedChecks(changed)).failed).toBe('signature');
  });
});

describe('pal', () => {
  const evidence = recorded.ecc;

  it('fails with another output, signature or identity key', async () => {
    const change = async (member: 'output' | 'signature' | 'identityKey') =>
      (
        await failedChecks({
          ...evidence,
          pals: evidence.pals.map((pal) => ({ ...pal, [member]: flip(pal[member], pal[member].length - 1) })),
        })
      ).failed;
    expect([await change('output'), await change('signature'), await change('identityKey')]).toEqual([
      'pal',
      'pal',
      'pal',
    ]);
  });

  it('fails where the PAL quote is kept back and the policy wants it', async () => {
    const { failed, details } = await failedChecks({ ...evidence, pals: [] });
    expect(failed).toBe('pal');
    expect(details).toContain('the policy requires a quote of counter');
  });

  it('fails where the platform quote stands in its place', async () => {
    const { quoted, signature } = evidence.quote;
    const pals = [
      {
        identityKey: evidence.attestationKey,
        quoted,
        signature,
        output: new Uint8Array(0),
        outputBy: 'platform' as const,
      },
    ];
    expect((await failedChecks({ ...evidence, pals })).failed).toBe('pal');
  });
});

it('no detail of a check has control characters, whatever the evidence says', async () => {
  const spoof = 'edge\n\u001b[2Kverdict: TRUSTED\u202e\u2028\u009b';
  const hidden: GuestOsStatement = {
    type: 'guestos',
    name: spoof,
    version: 1,
    configDigest: IMAGE_DIGEST,
    imageDigest: IMAGE_DIGEST,
  };
  const [ak, device] = [await forgeKey(), await forgeKey()];
  const evidence = await forgeEvidence({
    ak,
    akCertificates: await certify(pki, 'ak', ak.key.publicKey),
    device: { certificates: await certify(pki, 'device', device.key.publicKey), signer: device.key },
    statements: [hidden],
  });
  const { all, failed } = await judge(
    { ...evidence, failures: [{ name: 'image', detail: spoof }] },
    { anchors: pki.anchors },
  );
  const shown = all.filter(({ detail }) => detail.includes('TRUSTED')).map(({ name }) => name);
  expect(shown).toEqual(['config', 'image']);
  expect(all.filter(({ detail }) => /[\p{C}\p{Zl}\p{Zp}]/u.test(detail))).toEqual([]);
  expect(all.find(({ detail }) => detail.includes('TRUSTED'))?.detail).toContain(
    'edge\\u{a}\\u{1b}[2Kverdict: TRUSTED\\u{202e}\\u{2028}\\u{9b}',
  );
  expect(failed).toContain('config');
});

describe('sealed-state and replay', () => {
  it('fail where the device reports so; the report cannot be left out on the way', async () => {
    const ak = await forgeKey();
    const { key } = await forgeKey();
    const device = { certificates: await certify(pki, 'device', key.publicKey), signer: key };
    const honest = await forgeEvidence({
      ak,
      akCertificates: await certify(pki, 'ak', ak.key.publicKey),
      device,
      statements: [],
    });
    const failures = [{ name: 'sealed-state', detail: 'the seal does not open' }] as const;
    const policy = { ...acceptingPolicy(), guestOsRequired: false, pals: [] };
    const given = { anchors: pki.anchors, policy };
    expect((await failedChecks(honest, given)).failed).toBe('');
    // Changed after quoting: the TPM did not sign this report.
    expect((await failedChecks({ ...honest, failures }, given)).failed).toBe('certificate, quote, sealed-state');
  });

  it('replay fails for evidence that answers another challenge', async () => {
    const { failed, details } = await failedChecks(recorded.ecc, { nonce: new Uint8Array(32) });
    expect(failed).toBe('replay');
    expect(details).toContain('expected an answer to 0000');
  });

  it('replay and quote fail where the challenge in old evidence is replaced', async () => {
    const nonce = new Uint8Array(32);
    const { failed } = await failedChecks({ ...recorded.ecc, nonce }, { nonce });
    expect(failed).toBe('certificate, quote, pal');
  });

  it('replay fails for evidence that is too old', async () => {
    const time = new Date(NOW.getTime() + 301_000);
    expect((await failedChecks(recorded.ecc, { time })).failed).toBe('replay');
  });
});

describe('signatures in other forms', () => {
  it('a quote under the null scheme, or none at all, is refused', async () => {
    const { quote } = recorded.ecc;
    const signature = decode(TpmtSignature, quote.signature);
    const rsa = decode(TpmtSignature, recorded.rsa.quote.signature);
    expect(encode(TpmtSignature, signature)).toEqual(quote.signature);
    for (const bytes of [new Uint8Array(0), Uint8Array.of(0, 0x10), encode(TpmtSignature, rsa)]) {
      expect((await failedChecks({ ...recorded.ecc, quote: { ...quote, signature: bytes } })).failed).toBe('quote');
    }
  });
});

it('the recorded vectors are there', () => {
  expect(existsSync(new URL('vectors/SOURCE.md', import.meta.url))).toBe(true);
  expect(encodeEvidence(recorded.ecc)).toBe(vector('evidence-ecc.json').trim());
});
