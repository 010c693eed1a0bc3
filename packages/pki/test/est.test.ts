import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import {
  akTemplate,
  createKey,
  createPrimary,
  ekTemplate,
  loadKey,
  signingKeyTemplate,
  srkTemplate,
  Tpm,
  tpmSigner,
} from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeMessage, EnrolmentRequest } from '../src/enrolment-message.js';
import {
  answerChallenge,
  buildCsr,
  buildEnrolmentRequest,
  createCertificate,
  ekDigest,
  encodePem,
  generateKey,
  importKey,
  PROFILES,
  parseCertificate,
  parseCertificatePem,
  validatePath,
} from '../src/index.js';
import {
  type EstService,
  estRoute,
  openTpmEnrolment,
  type RunningServer,
  serialText,
  tpmRoute,
} from '../src/service.js';
import { type Fixture, openFixture } from './service-fixture.js';

const run = promisify(execFile);
const SUBJECT = '/C=DE/CN=edge 1';
const URI = 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f';
const names = { subject: { countryName: 'DE', commonName: 'edge 1' }, subjectAltName: { uri: [URI] } };

function missingTool(): string | undefined {
  const missing = ['curl', 'openssl'].filter((name) => spawnSync('which', [name]).status !== 0);
  if (missing.length === 0) return undefined;
  if (process.env.MUST_RUN === '1') throw new Error(`${missing.join(', ')} not installed, and MUST_RUN=1`);
  return `${missing.join(', ')} not installed`;
}
const skipped = missingTool();

describe.skipIf(skipped)(`EST with curl and OpenSSL${skipped === undefined ? '' : ` (skipped: ${skipped})`}`, () => {
  let fixture: Fixture;
  let server: RunningServer;
  let old: RunningServer;
  const file = (name: string) => join(fixture.directory, name);

  beforeAll(async () => {
    fixture = await openFixture();
    const service: EstService = {
      authority: 'device-ca',
      profile: 'device',
      authorize: (identity, request) =>
        request.subject.commonName === 'later'
          ? { retryAfter: 60 }
          : identity.kind !== 'basic' || request.subject.commonName !== 'root',
      basic: (user, password) => user === 'operator' && password === 'secret:1',
      tpm: openTpmEnrolment({
        authority: fixture.authority,
        trust: { insecureAcceptUnknownEk: true },
        attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
        device: { authority: 'device-ca', profile: 'device' },
      }),
    };
    const services = {
      '': service,
      bound: { ...service, requireBinding: true },
      keys: { ...service, serverKeys: 'ecdsa-p256-sha256' as const },
    };
    const routes = [
      estRoute({ authority: fixture.authority, services }),
      ...(service.tpm ? [tpmRoute(service.tpm)] : []),
    ];
    server = await fixture.serve(routes);
    old = await fixture.serve(routes); // its own sessions, for TLS 1.2
    await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('device.key')]);
  }, 60_000);
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  async function csrFile(
    subject = SUBJECT,
    extensions = [`subjectAltName=URI:${URI}`],
    key = 'device.key',
  ): Promise<string> {
    const added = extensions.flatMap((each) => ['-addext', each]);
    await run('openssl', [
      'req',
      '-new',
      '-key',
      file(key),
      '-subj',
      subject,
      ...added,
      '-outform',
      'DER',
      '-out',
      file('csr.der'),
    ]);
    await run('openssl', ['base64', '-in', file('csr.der'), '-out', file('csr.b64')]);
    return file('csr.b64');
  }

  async function curl(path: string, ...args: string[]): Promise<{ status: number; body: string; headers: string }> {
    const out = file('answer');
    const where = [
      '--silent',
      '--cacert',
      fixture.rootFile,
      '--output',
      out,
      '--dump-header',
      file('headers'),
      '--write-out',
      '%{http_code}',
    ];
    const { stdout } = await run('curl', [...where, ...args, `${server.url}/.well-known/est/${path}`]);
    return {
      status: Number(stdout),
      body: readFileSync(out, 'utf8'),
      headers: readFileSync(file('headers'), 'utf8').toLowerCase(),
    };
  }
  const post = (csr: string) => ['--header', 'Content-Type: application/pkcs10', '--data-binary', `@${csr}`];
  const basic = ['--user', 'operator:secret:1'];

  /** The certificates of an answer, as OpenSSL reads them. */
  async function certificates(body: string): Promise<readonly string[]> {
    writeFileSync(file('answer.p7'), Buffer.from(body, 'base64'));
    const { stdout } = await run('openssl', ['pkcs7', '-inform', 'DER', '-in', file('answer.p7'), '-print_certs']);
    return stdout.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  }

  async function enrolled(): Promise<string> {
    const { status, body } = await curl('simpleenroll', ...basic, ...post(await csrFile()));
    expect(status).toBe(200);
    const [pem = ''] = await certificates(body);
    writeFileSync(file('device.pem'), pem);
    return pem;
  }

  it('gives the CA certificates, of which OpenSSL makes a path', async () => {
    const { status, body, headers } = await curl('cacerts');
    expect(status).toBe(200);
    expect(headers).toContain('application/pkcs7-mime');
    const found = await certificates(body);
    expect(found).toHaveLength(2);
    writeFileSync(file('cas.pem'), found.join('\n'));
    writeFileSync(file('device.pem'), await enrolled());
    const { stdout } = await run('openssl', [
      'verify',
      '-x509_strict',
      '-CAfile',
      fixture.rootFile,
      '-untrusted',
      file('cas.pem'),
      file('device.pem'),
    ]);
    expect(stdout).toContain('OK');
  });

  it('says what a request should have', async () => {
    const { status, body } = await curl('bound/csrattrs');
    expect(status).toBe(200);
    writeFileSync(file('attrs.der'), Buffer.from(body, 'base64'));
    const { stdout } = await run('openssl', ['asn1parse', '-inform', 'DER', '-in', file('attrs.der')]);
    expect(stdout).toMatch(/challengePassword[\s\S]*id-ecPublicKey[\s\S]*prime256v1[\s\S]*rsaEncryption/);
  });

  it('enrols with a password, and with no other', async () => {
    const pem = await enrolled();
    const certificate = parseCertificatePem(pem);
    expect(await fixture.store.certificate('device-ca', serialText(certificate.serialNumber))).toMatchObject({
      owner: 'basic:operator',
    });
    const csr = await csrFile();
    const refused = await curl('simpleenroll', ...post(csr));
    expect(refused.status).toBe(401);
    expect(refused.headers).toContain('www-authenticate: basic');
    expect((await curl('simpleenroll', '--user', 'operator:wrong', ...post(csr))).status).toBe(401);
    expect((await curl('simpleenroll', ...basic, ...post(await csrFile('/C=DE/CN=root')))).status).toBe(403);
    const later = await curl('simpleenroll', ...basic, ...post(await csrFile('/C=DE/CN=later')));
    expect(later.status).toBe(202);
    expect(later.headers).toContain('retry-after: 60');
  });

  it('refuses requests that ask for more than the profile has, and bodies that are none', async () => {
    const extra = [`subjectAltName=URI:${URI}`, 'extendedKeyUsage=codeSigning'];
    expect((await curl('simpleenroll', ...basic, ...post(await csrFile(SUBJECT, extra)))).status).toBe(403);
    expect(
      (await curl('simpleenroll', ...basic, ...post(await csrFile(SUBJECT, ['subjectAltName=DNS:*.maker.example']))))
        .status,
    ).toBe(403);
    expect(
      (
        await curl(
          'simpleenroll',
          ...basic,
          ...post(await csrFile(SUBJECT, [`subjectAltName=URI:${URI}`, 'basicConstraints=CA:TRUE'])),
        )
      ).status,
    ).toBe(403);
    expect(
      (
        await curl(
          'simpleenroll',
          ...basic,
          '--data-binary',
          'nonsense',
          '--header',
          'Content-Type: application/pkcs10',
        )
      ).status,
    ).toBe(400);
    expect((await curl('simpleenroll', ...basic, '--data-binary', 'x')).status).toBe(400);
    expect((await curl('simpleenroll')).status).toBe(405);
    expect((await curl('fullcmc')).status).toBe(501);
    expect((await curl('nolabel/cacerts')).status).toBe(404);
  });

  it('renews for the holder of a certificate under the same names, with the same or another key, until it is revoked', async () => {
    const certificate = parseCertificatePem(await enrolled());
    const own = ['--cert', file('device.pem'), '--key', file('device.key')];
    const again = await curl('simplereenroll', ...own, ...post(await csrFile()));
    expect(again.status).toBe(200);
    const [renewed = ''] = await certificates(again.body);
    expect(parseCertificatePem(renewed).serialNumber).not.toBe(certificate.serialNumber);
    await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('fresh.key')]);
    expect((await curl('simplereenroll', ...own, ...post(await csrFile(SUBJECT, undefined, 'fresh.key')))).status).toBe(
      200,
    );
    expect((await curl('simplereenroll', ...own, ...post(await csrFile('/C=DE/CN=edge 2')))).status).toBe(403);
    const otherUri = ['subjectAltName=URI:urn:uuid:00000000-0000-4000-8000-000000000001'];
    expect((await curl('simplereenroll', ...own, ...post(await csrFile(SUBJECT, otherUri)))).status).toBe(403);
    const csr = await csrFile();
    expect((await curl('simplereenroll', ...post(csr))).status).toBe(403);
    // A client certificate authorises enrolment as well, where the policy lets it.
    expect((await curl('simpleenroll', ...own, ...post(csr))).status).toBe(200);
    await fixture.authority.revoke({
      authority: 'device-ca',
      serial: serialText(certificate.serialNumber),
      requester: 'test',
    });
    expect((await curl('simplereenroll', ...own, ...post(csr))).status).toBe(403);
    expect((await curl('simpleenroll', ...own, ...post(csr))).status).toBe(401);
  });

  it('refuses a certificate that another CA issued under the same name', async () => {
    const key = await importKey(await keyOf('device.key'));
    const ca = await generateKey('ecdsa-p256-sha256');
    const { certificate: real } = fixture.hierarchy.get('device-ca');
    const subject = { countryName: 'DE', commonName: 'Device CA' };
    const root = await createCertificate({
      profile: PROFILES.deviceCa,
      subject,
      publicKey: ca.publicKey,
      issuer: { signer: ca },
    });
    expect(parseCertificate(root).subject.der).toEqual(parseCertificate(real).subject.der);
    const issuer = { certificate: root, signer: ca };
    const forged = await createCertificate({ profile: PROFILES.device, ...names, publicKey: key.publicKey, issuer });
    writeFileSync(file('forged.pem'), encodePem('CERTIFICATE', forged) + encodePem('CERTIFICATE', root));
    const args = ['--cert', file('forged.pem'), '--key', file('device.key')];
    expect((await curl('simplereenroll', ...args, ...post(await csrFile()))).status).toBe(403);
  });

  async function keyOf(name: string): Promise<Uint8Array> {
    const { stdout } = await run('openssl', ['pkcs8', '-topk8', '-nocrypt', '-in', file(name), '-outform', 'PEM']);
    return new Uint8Array(Buffer.from(stdout.replace(/-----[^-]+-----/g, ''), 'base64'));
  }

  it('makes a key where the service does that, and refuses where not', async () => {
    const csr = await csrFile();
    expect((await curl('serverkeygen', ...basic, ...post(csr))).status).toBe(403);
    const { status, body, headers } = await curl('keys/serverkeygen', ...basic, ...post(csr));
    expect(status).toBe(200);
    const boundary = /boundary=(\S+)/.exec(headers)?.[1] ?? '';
    const parts = body.split(`--${boundary}`).map((part) => part.split('\r\n\r\n')[1]?.trim() ?? '');
    const key = await importKey(new Uint8Array(Buffer.from(parts[1] ?? '', 'base64')));
    const [pem = ''] = await certificates(parts[2] ?? '');
    expect(parseCertificatePem(pem).publicKey).toEqual(key.publicKey);
    expect(parseCertificatePem(pem).publicKey).not.toEqual((await importKey(await keyOf('device.key'))).publicKey);
  });

  it.each([
    ['TLS 1.3 by tls-exporter', 'TLSv1.3'],
    ['TLS 1.2 by tls-unique', 'TLSv1.2'],
  ] as const)('ties a request to its connection in %s', async (_, version) => {
    const { port } = version === 'TLSv1.3' ? server : old;
    const key = await generateKey('ecdsa-p256-sha256');
    /** One connection, on which the request is made once the handshake is over. */
    const enrol = (make: (socket: ReturnType<typeof connect>) => Promise<Uint8Array>) =>
      new Promise<number>((resolve, reject) => {
        const ca = readFileSync(fixture.rootFile);
        const socket = connect({
          port,
          host: '127.0.0.1',
          servername: 'localhost',
          ca,
          minVersion: version,
          maxVersion: version,
        });
        let text = '';
        socket.on('secureConnect', () => {
          void make(socket).then((csr) => {
            const body = Buffer.from(csr).toString('base64');
            const head = `POST /.well-known/est/bound/simpleenroll HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n`;
            const user = `Authorization: Basic ${Buffer.from('operator:secret:1').toString('base64')}\r\n`;
            socket.write(
              `${head}${user}Content-Type: application/pkcs10\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
            );
          }, reject);
        });
        socket.on('data', (part) => {
          text += part.toString('latin1');
        });
        socket.on('close', () => resolve(Number(text.split(' ')[1])));
        socket.on('error', reject);
      });
    const binding = (socket: ReturnType<typeof connect>): string => {
      const bytes =
        version === 'TLSv1.3'
          ? socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
          : socket.getFinished();
      return Buffer.from(bytes ?? []).toString('base64');
    };
    let kept: Uint8Array | undefined;
    const tied = async (socket: ReturnType<typeof connect>) => {
      kept = await buildCsr(key, { ...names, challengePassword: binding(socket) });
      return kept;
    };
    expect(await enrol(tied)).toBe(200);
    // The same bytes on another connection, and a request that is tied to none.
    expect(await enrol(async () => kept ?? new Uint8Array())).toBe(403);
    expect(await enrol(() => buildCsr(key, names))).toBe(403);
  });

  async function keysIn(tpm: Tpm) {
    const srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    const ak = await loadKey(tpm, srk, await createKey(tpm, srk, { template: akTemplate('ecc-p256') }));
    const deviceKey = await loadKey(tpm, srk, await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256') }));
    await srk.flush();
    return {
      ek: await createPrimary(tpm, { hierarchy: 'endorsement', template: ekTemplate('ecc-p256') }),
      ak,
      deviceKey,
    };
  }

  it('enrols a key in a TPM by the answer to a challenge, once and for that request alone', async () => {
    const tpm = new Tpm(await openUtpm({ startup: true }));
    const keys = await keysIn(tpm);
    const { ek, deviceKey } = keys;
    const enrol = async (csrOf: (request: Uint8Array) => Uint8Array | Promise<Uint8Array>) => {
      const request = await buildEnrolmentRequest(tpm, { ...keys, ...names });
      const challenge = (await fixture.postTo(server.url)('/tpm/challenge', 'application/octet-stream', request)).body;
      const answer = await answerChallenge(tpm, { ...keys, request, challenge });
      const header = ['--header', `Authorization: TPM ${Buffer.from(answer).toString('base64')}`];
      writeFileSync(file('tpm.b64'), Buffer.from(await csrOf(request)).toString('base64'));
      return [...header, ...post(file('tpm.b64'))];
    };
    const args = await enrol((request) => decodeMessage(EnrolmentRequest, request).csr);
    const first = await curl('simpleenroll', ...args);
    expect(first.status).toBe(200);
    const [pem = ''] = await certificates(first.body);
    const { publicKey, serialNumber } = parseCertificatePem(pem);
    expect(publicKey).toEqual(tpmSigner(tpm, deviceKey).publicKey);
    const kept = await fixture.store.certificate('device-ca', serialText(serialNumber));
    expect(kept?.owner).toBe(`ek:${ekDigest(ek.public)}`);
    expect((await curl('simpleenroll', ...args)).status).toBe(410);
    const software = await generateKey('ecdsa-p256-sha256');
    expect((await curl('simpleenroll', ...(await enrol(() => buildCsr(software, names))))).status).toBe(401);
    await tpm.close();
  });

  it('gives the names that a TPM got here to no other TPM', async () => {
    const own = { ...names, subjectAltName: { uri: ['urn:uuid:00000000-0000-4000-8000-000000000099'] } };
    const enrol = async () => {
      await using tpm = new Tpm(await openUtpm({ startup: true }));
      const keys = await keysIn(tpm);
      const request = await buildEnrolmentRequest(tpm, { ...keys, ...own });
      const asked = await fixture.postTo(server.url)('/tpm/challenge', 'application/octet-stream', request);
      if (asked.status !== 200) return asked.status;
      const answer = await answerChallenge(tpm, { ...keys, request, challenge: asked.body });
      writeFileSync(file('tpm.b64'), Buffer.from(decodeMessage(EnrolmentRequest, request).csr).toString('base64'));
      const header = `Authorization: TPM ${Buffer.from(answer).toString('base64')}`;
      return (await curl('simpleenroll', '--header', header, ...post(file('tpm.b64')))).status;
    };
    expect(await enrol()).toBe(200);
    expect(await enrol()).toBe(403);
  });

  it('issues what validates for its purpose', async () => {
    const { root, chain } = fixture.hierarchy.get('device-ca');
    const certificate = parseCertificatePem(await enrolled());
    expect(
      await validatePath(certificate, chain, [root], { purpose: 'client-auth', time: new Date(), name: { uri: URI } }),
    ).toMatchObject({ ok: true });
  });
});
