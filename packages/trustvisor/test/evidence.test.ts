/** From the anchors of a verifier down to what a PAL gave out, by `verifyEvidence` alone: the isolate put its key into the log's PCR. */
import { createHash } from 'node:crypto';
import {
  adoptMeasurement,
  type CollectOptions,
  collectEvidence,
  type Evidence,
  encodeEvidence,
  openMeasurementLog,
  PAL_PCR,
  parseEvidence,
  type Statement,
  verdict,
  verifyEvidence,
} from '@casemate/attestation';
import { encodeStatementEvent } from '@casemate/attestation/statements';
import { createCertificate, createHierarchy, deviceMakerTemplate, generateKey, PROFILES } from '@casemate/pki';
import { akTemplate, createPrimary, extendPcr, publicKeySpki, Tpm } from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Trustvisor } from '../src/index.js';
import { SERVICE, services } from './pals.js';

const NOW = new Date('2026-11-22T12:00:00Z');
const nonce = new Uint8Array(32).fill(9);
const owner = { countryName: 'DE', organizationName: 'Maker' };

async function createPlatform() {
  const transport = await openUtpm({ startup: true });
  const tpm = new Tpm(transport);
  const hierarchy = await createHierarchy(deviceMakerTemplate(owner), { notBefore: new Date(NOW.getTime() - 60_000) });
  const certify = async (kind: 'attestation-ca' | 'device-ca', publicKey: Uint8Array) => {
    const { issuer, chain } = hierarchy.get(kind);
    const profile = kind === 'device-ca' ? PROFILES.device : PROFILES.attestationKey;
    const subject = { ...owner, commonName: kind };
    const subjectAltName = { uri: ['urn:uuid:6ba7b810-9dad-41d1-80b4-00c04fd430c8'] };
    return [await createCertificate({ profile, subject, publicKey, issuer, subjectAltName, notBefore: NOW }), ...chain];
  };
  const attestationKey = await createPrimary(tpm, { template: akTemplate('ecc-p256') });
  const signer = await generateKey('ecdsa-p256-sha256');
  const options: Omit<CollectOptions, 'log'> = {
    nonce,
    attestationKey,
    akCertificates: await certify('attestation-ca', publicKeySpki(attestationKey.public)),
    device: { certificates: await certify('device-ca', signer.publicKey), signer },
    time: NOW,
  };
  const root = [hierarchy.get('general-root').certificate];
  const judge = async (evidence: Evidence) => {
    const anchors = { attestation: root, device: root, software: root };
    const readConfiguration = () => {
      throw new Error('there is no GuestOS');
    };
    const { checks, claims } = await verifyEvidence(evidence, { anchors, nonce, time: NOW, readConfiguration });
    return { failed: verdict(checks).failed, claims };
  };
  return { tpm, transport, options, judge, [Symbol.asyncDispose]: () => transport.close() };
}

it('a verifier goes from its anchors to a PAL by one call, and is stopped at each link', {
  timeout: 120_000,
}, async () => {
  await using platform = await createPlatform();
  const { tpm, options, judge } = platform;
  const store = memoryStore();
  const open = async () => {
    const trustvisor = await openTrustvisor({ tpm: platform.transport, store, identityPcr: PAL_PCR });
    return { value: trustvisor, statement: statementOf(trustvisor) };
  };
  let stored: Uint8Array | undefined;
  const logStore = {
    read: async () => stored,
    write: async (bytes: Uint8Array) => {
      stored = bytes;
    },
  };
  const log = await openMeasurementLog(tpm, { store: logStore });
  await using trustvisor = await adoptMeasurement(tpm, log, open);
  const pal = await trustvisor.register(services());
  const { output } = await pal.invoke(SERVICE.identity, new Uint8Array(0));
  const pals = [{ pal, output, certificate: pal.certificate }];
  const evidence = parseEvidence(encodeEvidence(await collectEvidence(tpm, { ...options, log, pals })));
  const { failed, claims } = await judge(evidence);
  expect(failed).toEqual([]);
  expect(claims.trustvisorKey).toEqual(trustvisor.identity);
  expect(claims.pals).toMatchObject([
    { measurement: pal.measurement, output: pal.identity, certified: { name: 'test' } },
  ]);

  await using elsewhere = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
  const foreign = await elsewhere.register(services());
  const withPal = (change: object) => ({ ...evidence, pals: evidence.pals.map((each) => ({ ...each, ...change })) });
  expect((await judge(withPal({ certificate: foreign.certificate }))).failed).toEqual(['pal']);
  expect((await judge(withPal({ identityKey: foreign.identity, certificate: foreign.certificate }))).failed).toEqual([
    'pal',
  ]);
  expect((await judge(withPal(await foreign.quote(nonce)))).failed).toEqual(['pal']);
  expect((await judge({ ...evidence, nonce: new Uint8Array(32) })).failed).toContain('quote');

  // A program that ended before it could count what its isolate had extended.
  await trustvisor.close();
  const again = await open();
  await again.value.close();
  await expect(openMeasurementLog(tpm, { store: logStore })).rejects.toMatchObject({ code: 'log-mismatch' });
  const recovered = await openMeasurementLog(tpm, { store: logStore, foreign: [again.statement] });
  expect([recovered.recovery, recovered.measurements.length]).toEqual(['event-added', 2]);

  // Another key in the same PCR speaks for nobody, and takes the first one's word away.
  await adoptMeasurement(tpm, recovered, async () => {
    const statement = statementOf(elsewhere);
    const hashes = Object.fromEntries(
      recovered.banks.map((bank) => [bank, digest(bank, encodeStatementEvent(statement))]),
    );
    await extendPcr(tpm, PAL_PCR, hashes);
    return { value: undefined, statement };
  });
  const two = await collectEvidence(tpm, { ...options, log: recovered, pals: [] });
  expect((await judge(two)).failed).toEqual(['pal']);
});

it('a log counts nothing that was not extended', async () => {
  await using platform = await createPlatform();
  const { tpm } = platform;
  const log = await openMeasurementLog(tpm);
  const statement: Statement = { type: 'trustvisor', identityKey: Uint8Array.of(1) };
  await expect(adoptMeasurement(tpm, log, () => Promise.reject(new Error('no TPM')))).rejects.toThrow('no TPM');
  await expect(adoptMeasurement(tpm, log, async () => ({ statement, value: 0 }))).rejects.toMatchObject({
    code: 'log-mismatch',
  });
  await expect(adoptMeasurement(tpm, log, async () => ({ statement, value: 0 }))).rejects.toMatchObject({
    code: 'unsettled',
  });
  expect(log.measurements).toEqual([]);
});

const digest = (bank: string, event: Uint8Array) => new Uint8Array(createHash(bank).update(event).digest());

function statementOf({ identity }: Trustvisor): Statement {
  return { type: 'trustvisor', identityKey: identity };
}
