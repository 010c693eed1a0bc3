import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  buildCsr,
  buildOcspRequest,
  generateKey,
  issueFromCsr,
  ocspStatus,
  PROFILES,
  parseCertificate,
  parseCrl,
} from '../src/index.js';
import {
  type AuthorityStore,
  type CertificateAuthority,
  ocspRoute,
  openAuthority,
  openTpmEnrolment,
  publicationRoute,
  serialText,
} from '../src/service.js';
import { AUDIT_ORIGIN, type Fixture, openFixture } from './service-fixture.js';

const names = {
  subject: { commonName: 'edge' },
  subjectAltName: { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] },
};
const connection = { address: '127.0.0.1', isSecure: false };

describe('an authority at work', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await openFixture();
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  async function issued() {
    const csr = await buildCsr(await generateKey('ecdsa-p256-sha256'), names);
    return fixture.authority.issue({ authority: 'device-ca', profile: 'device', csr, owner: 'test' });
  }
  const revoke = (serial: string, reason: 'certificateHold' | 'keyCompromise') =>
    fixture.authority.revoke({ authority: 'device-ca', serial, reason, requester: 'test' });

  it('puts what it revokes on the next delta and complete list, and takes a lifted hold off again', async () => {
    const [first, second] = [await issued(), await issued()];
    await fixture.authority.publishCrl('device-ca', 'complete');
    await revoke(first.serial, 'keyCompromise');
    await revoke(second.serial, 'certificateHold');
    const delta = parseCrl((await fixture.authority.publishCrl('device-ca', 'delta')).der);
    expect(delta.baseNumber).toBe(1n);
    expect(delta.entries.get(BigInt(`0x${first.serial}`))).toMatchObject({ reason: 'keyCompromise' });
    const complete = parseCrl((await fixture.authority.publishCrl('device-ca', 'complete')).der);
    expect(complete.entries.size).toBe(2);
    await fixture.authority.release({ authority: 'device-ca', serial: second.serial, requester: 'test' });
    const lifted = parseCrl((await fixture.authority.publishCrl('device-ca', 'delta')).der);
    expect(lifted.entries.get(BigInt(`0x${second.serial}`))).toMatchObject({ reason: 'removeFromCRL' });
    const get = { method: 'GET', path: '/crl/device-ca.crl', headers: {}, body: new Uint8Array(), connection };
    const served = await publicationRoute(fixture.authority)(get);
    expect(served?.body).toEqual(complete.der);
  });

  it('answers OCSP by POST and GET, with headers for caches where nobody asked with a nonce', async () => {
    const { certificate, serial } = await issued();
    const { certificate: ca } = fixture.hierarchy.get('device-ca');
    const question = buildOcspRequest(certificate, ca);
    const route = ocspRoute(fixture.authority);
    const path = `/ocsp/device-ca/${encodeURIComponent(Buffer.from(question).toString('base64'))}`;
    const got = await route({ method: 'GET', path, headers: {}, body: new Uint8Array(), connection });
    expect(got?.headers?.['cache-control']).toMatch(/^max-age=\d+, public, no-transform, must-revalidate$/);
    if (!(got?.body instanceof Uint8Array)) throw new Error('no answer');
    expect(await ocspStatus(parseCertificate(certificate), ca, got.body, { time: new Date() })).toMatchObject({
      status: 'good',
    });
    await revoke(serial, 'keyCompromise');
    const headers = { 'content-type': 'application/ocsp-request' };
    const posted = await route({ method: 'POST', path: '/ocsp/device-ca', headers, body: question, connection });
    expect(posted?.headers?.['cache-control']).toBe('no-store');
    if (!(posted?.body instanceof Uint8Array)) throw new Error('no answer');
    const status = await ocspStatus(parseCertificate(certificate), ca, posted.body, { time: new Date() });
    expect(status).toMatchObject({ status: 'revoked', reason: 'keyCompromise' });
  });

  it('gives serial numbers of 20 bytes that are random, and no more days than the profile has', async () => {
    const serials = await Promise.all(Array.from({ length: 5 }, async () => (await issued()).serial));
    expect(new Set(serials).size).toBe(5);
    for (const serial of serials) expect(BigInt(`0x${serial}`)).toBeGreaterThan(1n << 128n);
    const csr = await buildCsr(await generateKey('ecdsa-p256-sha256'), names);
    const notAfter = new Date(Date.now() + 3000 * 86_400_000);
    const input = { authority: 'device-ca', profile: 'device', csr, owner: 'test', notAfter };
    await expect(fixture.authority.issue(input)).rejects.toMatchObject({ code: 'not-allowed' });
    expect(serialText(5n)).toHaveLength(40);
  });

  it('renews under the profile of before alone, and one from elsewhere for no more uses than it has', async () => {
    const own = fixture.authority.get('device-ca');
    const wider = { ...PROFILES.device, name: 'wider', extendedKeyUsage: ['clientAuth', 'serverAuth', 'OCSPSigning'] };
    const authority = openAuthority({
      store: fixture.store,
      authorities: [{ ...own, profiles: [PROFILES.device, wider] }],
      audit: { origin: AUDIT_ORIGIN, signer: fixture.auditKey },
    });
    const csr = await buildCsr(await generateKey('ecdsa-p256-sha256'), names);
    const input = { authority: 'device-ca', csr, owner: 'test' };
    const renewed = (previous: Uint8Array, profile: string) =>
      authority.renew({ ...input, profile, previous }).then(
        () => 'renewed',
        (error) => error.code,
      );
    const { certificate } = await authority.issue({ ...input, profile: 'device' });
    expect(await renewed(certificate, 'device')).toBe('renewed');
    expect(await renewed(certificate, 'wider')).toBe('not-allowed');
    const imported = await issueFromCsr(csr, { profile: PROFILES.device, issuer: own.issuer });
    const record = { ...input, profile: 'imported', certificate: imported };
    await authority.record([record], { event: 'import' });
    expect(await renewed(imported, 'device')).toBe('renewed');
    expect(await renewed(imported, 'wider')).toBe('not-allowed');
  });

  it('gives nobody a renewal of a certificate that is revoked meanwhile, and revokes it as well', async () => {
    const csr = await buildCsr(await generateKey('ecdsa-p256-sha256'), names);
    const { certificate, serial } = await issued();
    const owner = 'meanwhile';
    const authorize = () => revoke(serial, 'keyCompromise');
    const input = { authority: 'device-ca', profile: 'device', csr, owner, previous: certificate, authorize };
    await expect(fixture.authority.renew(input)).rejects.toMatchObject({ code: 'not-allowed' });
    const [made] = await fixture.store.certificates({ owner });
    expect(await fixture.store.revocation('device-ca', made?.serial ?? '')).toMatchObject({ reason: 'keyCompromise' });
  });

  it('revokes all that a TPM has, whatever a store gives at once and whoever else revokes', async () => {
    const digest = 'ab'.repeat(32);
    const csr = await buildCsr(await generateKey('ecdsa-p256-sha256'), names);
    const input = { authority: 'device-ca', profile: 'device', csr, owner: `ek:${digest}` };
    for (let i = 0; i < 3; i++) await fixture.authority.issue(input);
    const [faster] = await fixture.store.certificates({ owner: input.owner });
    // Of a CA that this engine was not opened with.
    if (faster) await fixture.store.commit([{ change: 'certificate', certificate: { ...faster, issuer: 'other-ca' } }]);
    const store: AuthorityStore = {
      ...fixture.store,
      certificates: (query) => fixture.store.certificates({ ...query, limit: 1 }),
      async revocation(issuer, serial) {
        const found = await fixture.store.revocation(issuer, serial);
        if (found === undefined && issuer === 'device-ca' && serial === faster?.serial)
          await revoke(serial, 'keyCompromise');
        return found;
      },
    };
    const audit = { origin: AUDIT_ORIGIN, signer: fixture.auditKey };
    const enrolment = openTpmEnrolment({
      authority: openAuthority({ store, audit, authorities: [...fixture.authority.authorities.values()] }),
      trust: {},
      attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
      device: { authority: 'device-ca', profile: 'device' },
    });
    expect(await enrolment.revokeEndorsementKey(digest, 'test')).toBe(3);
    for (const { issuer, serial } of await fixture.store.certificates({ owner: input.owner })) {
      expect(await fixture.store.revocation(issuer, serial)).toMatchObject({ released: false });
    }
  });

  it('publishes what is revoked also where a process that did not know of it was faster', async () => {
    const audit = { origin: AUDIT_ORIGIN, signer: fixture.auditKey };
    const over = (changes: Partial<AuthorityStore>) =>
      openAuthority({
        store: { ...fixture.store, ...changes },
        audit,
        authorities: [...fixture.authority.authorities.values()],
      });
    const known = await fixture.store.revocations('device-ca');
    const { serial } = await issued();
    await revoke(serial, 'keyCompromise');
    /** Publishes where `faster` publishes in between. */
    const publishAfter = (faster: CertificateAuthority) => {
      let isFirst = true;
      const commit: AuthorityStore['commit'] = async (changes) => {
        const isOvertaken = isFirst && changes.some(({ change }) => change === 'crl');
        if (isOvertaken) isFirst = false;
        if (isOvertaken) await faster.publishCrl('device-ca', 'complete');
        return fixture.store.commit(changes);
      };
      return over({ commit }).publishCrl('device-ca', 'complete');
    };
    const list = await publishAfter(over({ revocations: async () => known }));
    expect(parseCrl(list.der).entries.get(BigInt(`0x${serial}`))).toMatchObject({ reason: 'keyCompromise' });
    // A list of another process that knew as much is as good.
    expect((await publishAfter(fixture.authority)).number).toBe(list.number + 1);
  });

  it('keeps its lists current by maintenance', async () => {
    await fixture.authority.maintain();
    const before = await fixture.store.newestCrl('attestation-ca', 'complete');
    fixture.ahead = 700_000;
    await fixture.authority.maintain();
    expect(await fixture.store.newestCrl('attestation-ca', 'delta')).toMatchObject({ base: before?.number });
    fixture.ahead = 0;
  });
});
