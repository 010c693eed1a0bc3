import {
  akTemplate,
  certify,
  createKey,
  createPrimary,
  ekTemplate,
  loadKey,
  publicKeySpki,
  readEkCertificate,
  signingKeyTemplate,
  srkTemplate,
  Tpm,
  type TpmObject,
  tpmSigner,
} from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyAuditLog } from '../src/audit.js';
import {
  csrDigest,
  decodeMessage,
  EnrolmentAnswer,
  EnrolmentChallenge,
  EnrolmentRequest,
  EnrolmentState,
  encodeMessage,
} from '../src/enrolment-message.js';
import {
  answerChallenge,
  buildCsr,
  buildEnrolmentRequest,
  createCertificate,
  ekDigest,
  generateKey,
  PROFILES,
  parseCertificate,
  type SoftwareKey,
  validatePath,
} from '../src/index.js';
import { enrolDevice, openTpmEnrolment, serialText, type TpmEnrolment, tpmRoute } from '../src/service.js';
import { AUDIT_ORIGIN, EK_PROFILE, type Fixture, openFixture } from './service-fixture.js';
import { type Manufacturer, openManufacturer, type RunningTpm, swtpmMissing } from './swtpm.js';

interface Device {
  readonly tpm: Tpm;
  readonly ek: TpmObject;
  readonly ak: TpmObject;
  readonly deviceKey: TpmObject;
  readonly ekCertificate: Uint8Array | undefined;
}

let serial = 0;
/** Names that no other device of these tests has. */
function names(): {
  subject: { countryName: string; commonName: string; serialNumber: string };
  subjectAltName: { uri: string[] };
} {
  serial += 1;
  const number = String(serial).padStart(12, '0');
  return {
    subject: { countryName: 'DE', commonName: `edge ${serial}`, serialNumber: number },
    subjectAltName: { uri: [`urn:uuid:00000000-0000-4000-8000-${number}`] },
  };
}

async function keysOf(tpm: Tpm, ekKind: 'rsa-2048' | 'ecc-p256'): Promise<Omit<Device, 'ekCertificate'>> {
  const srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
  const ak = await loadKey(tpm, srk, await createKey(tpm, srk, { template: akTemplate('ecc-p256') }));
  const deviceKey = await loadKey(tpm, srk, await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256') }));
  await srk.flush();
  const ek = await createPrimary(tpm, { hierarchy: 'endorsement', template: ekTemplate(ekKind) });
  return { tpm, ek, ak, deviceKey };
}

const missing = swtpmMissing();
const makers: readonly ['uTPM' | 'swtpm', string | undefined][] = [
  ['uTPM', undefined],
  ['swtpm', missing],
];

describe.each(makers)('TPM enrolment over HTTPS with %s', (kind, skipped) => {
  let fixture: Fixture;
  let enrolment: TpmEnrolment;
  let url: string;
  let manufacturer: Manufacturer | undefined;
  const running: RunningTpm[] = [];
  let makerKey: SoftwareKey;
  let makerRoot: Uint8Array;
  let device: Device;
  let other: Device;

  beforeAll(async () => {
    if (skipped !== undefined) return;
    fixture = await openFixture();
    if (kind === 'swtpm') {
      manufacturer = openManufacturer();
    } else {
      makerKey = await generateKey('ecdsa-p256-sha256');
      const profile = { ...PROFILES.rootCa, ca: { pathLength: 0 } };
      const subject = { commonName: 'Maker of TPMs' };
      makerRoot = await createCertificate({
        profile,
        subject,
        publicKey: makerKey.publicKey,
        issuer: { signer: makerKey },
      });
    }
    device = await openDevice();
    other = await openDevice();
    const trust =
      manufacturer === undefined
        ? { anchors: [makerRoot], manufacturers: ['id:55544d00'] }
        : { anchors: [manufacturer.root], intermediates: [manufacturer.intermediate] };
    enrolment = openTpmEnrolment({
      authority: fixture.authority,
      trust,
      attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
      device: { authority: 'device-ca', profile: 'device' },
    });
    ({ url } = await fixture.serve([tpmRoute(enrolment)]));
  }, 120_000);
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    for (const each of running) await each[Symbol.asyncDispose]();
    manufacturer?.[Symbol.dispose]();
  });

  async function openDevice(): Promise<Device> {
    if (manufacturer !== undefined) {
      const started = await manufacturer.startTpm();
      running.push(started);
      const keys = await keysOf(started.tpm, 'rsa-2048');
      return { ...keys, ekCertificate: await readEkCertificate(started.tpm, 'rsa-2048') };
    }
    const keys = await keysOf(new Tpm(await openUtpm({ startup: true })), 'ecc-p256');
    return { ...keys, ekCertificate: await ekCertificateFor(keys.ek) };
  }

  function ekCertificateFor(ek: TpmObject, tpm = 'id:55544D00/utpm/id:00010000'): Promise<Uint8Array> {
    const issuer = { certificate: makerRoot, signer: makerKey };
    const publicKey = publicKeySpki(ek.public);
    return createCertificate({ profile: EK_PROFILE, subject: {}, subjectAltName: { tpm: [tpm] }, publicKey, issuer });
  }

  const enrol = (options: Parameters<typeof enrolDevice>[1] extends infer T ? Omit<T & Device, 'post'> : never) =>
    enrolDevice(options.tpm, { ...options, post: fixture.postTo(url) });

  it.skipIf(skipped)(
    'gives the right device its certificates, which validate and are in the store and in the audit log',
    async () => {
      const own = names();
      const got = await enrol({ ...device, ...own });
      const { root } = fixture.hierarchy.get('device-ca');
      const time = new Date();
      const forDevice = { purpose: 'client-auth', time, name: { uri: own.subjectAltName.uri[0] ?? '' } } as const;
      expect(await validatePath(got.deviceCertificate, got.deviceChain, [root], forDevice)).toMatchObject({ ok: true });
      expect(await validatePath(got.akCertificate, got.akChain, [root], { purpose: 'tpm-ak', time })).toMatchObject({
        ok: true,
      });
      const kept = await fixture.store.certificate(
        'device-ca',
        serialText(parseCertificate(got.deviceCertificate).serialNumber),
      );
      expect(kept).toMatchObject({ der: got.deviceCertificate, owner: `ek:${ekDigest(device.ek.public)}` });
      await fixture.authority.maintain();
      const log = { origin: AUDIT_ORIGIN, publicKey: fixture.auditKey.publicKey };
      expect(await verifyAuditLog(fixture.store.audit, log)).toMatchObject({ ok: true });
      expect(await enrolment.endorsementKey(ekDigest(device.ek.public))).toMatchObject({
        status: 'active',
        enrolments: 1,
      });
    },
  );

  it.skipIf(skipped)('enrols the same TPM again under its names, and no other TPM under them', async () => {
    const own = names();
    await enrol({ ...device, ...own });
    await enrol({ ...device, ...own });
    await expect(enrol({ ...other, ...own })).rejects.toMatchObject({ code: 'not-allowed' });
  });

  it.skipIf(skipped)('gives a name to one TPM in whatever spelling, and a wildcard to none', async () => {
    const own = names();
    const [uri = ''] = own.subjectAltName.uri;
    const withDns = (name: string) => ({ subjectAltName: { ...names().subjectAltName, dns: [name] } });
    await enrol({ ...device, ...own, ...withDns('edge.maker.example') });
    await enrol({ ...device, ...own });
    const taken = [
      withDns('EDGE.maker.example'),
      withDns('*.maker.example'),
      { subjectAltName: { uri: [uri.replace('urn:uuid:', 'UUID:')] } },
    ];
    for (const each of taken) {
      await expect(enrol({ ...other, ...names(), ...each })).rejects.toMatchObject({ code: 'not-allowed' });
    }
  });

  it.skipIf(skipped)('keeps nothing in its store that answers a challenge', async () => {
    const { ek, ekCertificate } = device;
    const request = await buildEnrolmentRequest(other.tpm, { ...other, ek, ekCertificate, ...names() });
    const { id } = decodeMessage(EnrolmentChallenge, await enrolment.challenge(request));
    const kept = await fixture.store.document('tpm-challenge', Buffer.from(id).toString('hex'));
    const { proofDigest } = decodeMessage(EnrolmentState, Buffer.from(kept?.body ?? '', 'base64'));
    const answer = encodeMessage(EnrolmentAnswer, { magic: 0x43_4d_45_33, id, proof: proofDigest });
    await expect(enrolment.complete(answer)).rejects.toMatchObject({ code: 'bad-signature' });
  });

  it.skipIf(skipped)('refuses an AK from another TPM', async () => {
    const { ek, ekCertificate } = device;
    const request = await buildEnrolmentRequest(other.tpm, { ...other, ek, ekCertificate, ...names() });
    const post = fixture.postTo(url);
    const challenge = (await post('/tpm/challenge', 'application/octet-stream', request)).body;
    await expect(answerChallenge(device.tpm, { ...device, request, challenge })).rejects.toThrow();
    await expect(answerChallenge(other.tpm, { ...other, request, challenge })).rejects.toThrow();
  });

  it.skipIf(skipped)('refuses an answer that is replayed', async () => {
    const post = fixture.postTo(url);
    const request = await buildEnrolmentRequest(device.tpm, { ...device, ...names() });
    const challenge = (await post('/tpm/challenge', 'application/octet-stream', request)).body;
    const answer = await answerChallenge(device.tpm, { ...device, request, challenge });
    const results = await Promise.all([1, 2, 3].map(() => post('/tpm/complete', 'application/octet-stream', answer)));
    expect(results.map(({ status }) => status).sort()).toEqual([200, 410, 410]);
  });

  it.skipIf(skipped)('refuses a CSR whose key is not in the TPM, and one with extra extensions', async () => {
    const own = names();
    const request = decodeMessage(EnrolmentRequest, await buildEnrolmentRequest(device.tpm, { ...device, ...own }));
    const withCsr = async (csr: Uint8Array) => {
      const fresh = await certify(device.tpm, { object: device.deviceKey, signer: device.ak, nonce: csrDigest(csr) });
      const forged = encodeMessage(EnrolmentRequest, {
        ...request,
        csr,
        certified: fresh.certified,
        certifySignature: fresh.signature,
      });
      return fixture.postTo(url)('/tpm/challenge', 'application/octet-stream', forged);
    };
    const software = await generateKey('ecdsa-p256-sha256');
    expect((await withCsr(await buildCsr(software, own))).status).toBe(400);
    const signer = tpmSigner(device.tpm, device.deviceKey);
    const unknown = { oid: '1.3.6.1.4.1.55738.1', critical: false, value: Uint8Array.of(5, 0) };
    expect((await withCsr(await buildCsr(signer, { ...own, extensions: [unknown] }))).status).toBe(403);
    expect((await withCsr(await buildCsr(signer, { ...own, extendedKeyUsage: ['codeSigning'] }))).status).toBe(403);
    expect((await withCsr(await buildCsr(signer, own))).status).toBe(200);
  });

  it.skipIf(skipped)('refuses an EK from an unknown root, without a certificate, and of another maker', async () => {
    const { root } = fixture.hierarchy.get('general-root');
    const strict = (trust: Parameters<typeof openTpmEnrolment>[0]['trust']) =>
      openTpmEnrolment({
        authority: fixture.authority,
        trust,
        attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
        device: { authority: 'device-ca', profile: 'device' },
      });
    const request = await buildEnrolmentRequest(device.tpm, { ...device, ...names() });
    await expect(strict({ anchors: [root] }).challenge(request)).rejects.toMatchObject({ code: 'untrusted' });
    const without = await buildEnrolmentRequest(device.tpm, { ...device, ekCertificate: undefined, ...names() });
    await expect(enrolment.challenge(without)).rejects.toMatchObject({ code: 'untrusted' });
    const anchors = manufacturer === undefined ? [makerRoot] : [manufacturer.root, manufacturer.intermediate];
    await expect(strict({ anchors, manufacturers: ['id:494E5443'] }).challenge(request)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('id:494E5443'),
    });
  });

  it.skipIf(skipped)(
    'refuses an EK that was revoked, also between challenge and answer, and revokes what it had',
    async () => {
      const own = names();
      const got = await enrol({ ...other, ...own });
      const request = await buildEnrolmentRequest(other.tpm, { ...other, ...own });
      const challenge = await enrolment.challenge(request);
      const answer = await answerChallenge(other.tpm, { ...other, request, challenge });
      expect(await enrolment.revokeEndorsementKey(ekDigest(other.ek.public), 'an operator')).toBe(2);
      await expect(enrolment.complete(answer)).rejects.toMatchObject({ code: 'not-allowed' });
      await expect(enrol({ ...other, ...own })).rejects.toMatchObject({ code: 'not-allowed' });
      const { serialNumber } = parseCertificate(got.deviceCertificate);
      expect(await fixture.authority.statusOf('device-ca', serialNumber)).toMatchObject({
        status: 'revoked',
        reason: 'privilegeWithdrawn',
      });
    },
  );
});
