import { execFile, spawnSync } from 'node:child_process';
import { createHash, createHmac, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, createServer as createTls } from 'node:tls';
import { promisify } from 'node:util';
import {
  akTemplate,
  certify,
  createKey,
  createPrimary,
  loadKey,
  publicKeySpki,
  signingKeyTemplate,
  srkTemplate,
  TPM_ALG,
  Tpm,
  type TpmObject,
  TpmtPublic,
  TpmtSignature,
} from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { encode } from '@casemate/wire';
import acme from 'acme-client';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  buildCsr,
  createCertificate,
  decodePem,
  encodePem,
  generateKey,
  PROFILES,
  parseCertificate,
  parsePem,
  validatePath,
} from '../src/index.js';
import {
  type AcmeTransport,
  acmeRoute,
  openTpmEnrolment,
  orderDeviceCertificate,
  type RunningServer,
  serialText,
  verifyTpmStatement,
} from '../src/service.js';
import { type RunningDns, startDns } from './dns.js';
import { type Fixture, openFixture } from './service-fixture.js';
import { openManufacturer, swtpmMissing } from './swtpm.js';

const KID = 'fleet-1';
const MAC_KEY = new TextEncoder().encode('a key that the operator gave to this fleet');
const swtpm = swtpmMissing();

function toolMissing(name: string): string | undefined {
  if (spawnSync('which', [name]).status === 0) return undefined;
  if (process.env.MUST_RUN === '1') throw new Error(`${name} not installed, and MUST_RUN=1`);
  return `${name} not installed`;
}

describe('ACME', () => {
  let fixture: Fixture;
  let server: RunningServer;
  let strict: RunningServer;
  let dns: RunningDns;
  let web: Server;
  let alpn: ReturnType<typeof createTls>;
  const answers = new Map<string, string>();
  let alpnCertificate: { key: string; cert: string } | undefined;
  let directoryUrl: string;

  beforeAll(async () => {
    fixture = await openFixture();
    dns = await startDns();
    web = createServer((asked, response) => {
      const text = answers.get(asked.url ?? '');
      response.writeHead(text === undefined ? 404 : 200).end(text);
    });
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    alpn = createTls({
      ALPNProtocols: ['acme-tls/1'],
      SNICallback: (_, callback) =>
        callback(null, alpnCertificate === undefined ? undefined : createSecureContext(alpnCertificate)),
    });
    await new Promise<void>((resolve) => alpn.listen(0, '127.0.0.1', resolve));
    const network = {
      dnsServers: [dns.server],
      httpPort: (web.address() as AddressInfo).port,
      tlsPort: (alpn.address() as AddressInfo).port,
      insecureAllowPrivateAddresses: true,
    };
    const { root, certificate } = fixture.hierarchy.get('attestation-ca');
    const options = {
      authority: fixture.authority,
      issuer: 'device-ca',
      profiles: {
        dns: 'server',
        ip: 'server',
        'permanent-identifier': 'attested-device',
        'hardware-module': 'attested-device',
      },
      attestation: { anchors: [root], intermediates: [certificate] },
    };
    const accountLimit = { burst: 1000, perSecond: 100 };
    server = await fixture.serve([acmeRoute({ ...options, network, accountLimit })]);
    strict = await fixture.serve([
      acmeRoute({
        ...options,
        network: { ...network, insecureAllowPrivateAddresses: false },
        termsOfService: 'https://maker.example/terms',
        externalAccount: (kid) => (kid === KID ? MAC_KEY : undefined),
        authorize: (_, identifiers) => identifiers.every(({ value }) => !value.endsWith('.forbidden.example')),
        orderLimit: { burst: 3, perSecond: 0.01 },
      }),
    ]);
    directoryUrl = `${server.url}/acme/directory`;
    acme.axios.defaults.httpsAgent = new Agent({ ca: readFileSync(fixture.rootFile) });
  }, 60_000);
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await dns?.[Symbol.asyncDispose]();
    web?.close();
    alpn?.close();
  });
  beforeEach(() => {
    answers.clear();
    dns.records.clear();
    alpnCertificate = undefined;
  });

  const client = async (options: Partial<acme.ClientOptions> = {}) =>
    new acme.Client({
      directoryUrl,
      accountKey: await acme.crypto.createPrivateEcdsaKey(),
      backoffAttempts: 40, // longer than the authority tries
      backoffMin: 100,
      backoffMax: 500,
      ...options,
    });

  async function accepted(pem: string, name: { dns: string } | { ip: string }): Promise<boolean> {
    const [leaf, ...chain] = parsePem(pem).map(({ der }) => der);
    const { root } = fixture.hierarchy.get('device-ca');
    const options = { purpose: 'server-auth', time: new Date(), name } as const;
    return (await validatePath(leaf ?? new Uint8Array(), chain, [root], options)).ok;
  }

  /** Fulfils whatever challenge comes, and undoes nothing. */
  const fulfil = async (
    authz: acme.Authorization,
    challenge: { type: string; token: string },
    keyAuthorization: string,
  ) => {
    if (challenge.type === 'http-01') answers.set(`/.well-known/acme-challenge/${challenge.token}`, keyAuthorization);
    if (challenge.type === 'dns-01') dns.records.set(`_acme-challenge.${authz.identifier.value}`, keyAuthorization);
    if (challenge.type === 'tls-alpn-01') {
      const [key, cert] = await acme.crypto.createAlpnCertificate(authz, keyAuthorization);
      alpnCertificate = { key: key.toString(), cert: cert.toString() };
    }
  };

  async function autoOrder(
    names: readonly string[],
    challenge: string,
    own?: acme.Client,
    keyKind: 'ec' | 'rsa' = 'ec',
  ) {
    const key =
      keyKind === 'rsa' ? await acme.crypto.createPrivateRsaKey(2048) : await acme.crypto.createPrivateEcdsaKey();
    const [, csr] = await acme.crypto.createCsr({ commonName: names[0] ?? '', altNames: [...names] }, key);
    return (own ?? (await client())).auto({
      csr,
      termsOfServiceAgreed: true,
      email: 'operator@maker.example',
      challengePriority: [challenge],
      skipChallengeVerification: true,
      challengeCreateFn: fulfil,
      challengeRemoveFn: async () => undefined,
    });
  }

  it.each(['http-01', 'dns-01', 'tls-alpn-01'])('gives acme-client a certificate by %s', async (challenge) => {
    const pem = await autoOrder(['www.maker.example'], challenge);
    expect(await accepted(pem, { dns: 'www.maker.example' })).toBe(true);
  });

  it('takes RSA keys for account and certificate, several names and a wildcard', async () => {
    const own = await client({ accountKey: await acme.crypto.createPrivateRsaKey(2048) });
    const pem = await autoOrder(['a.maker.example', '*.maker.example'], 'dns-01', own, 'rsa');
    expect(await accepted(pem, { dns: 'b.maker.example' })).toBe(true);
  });

  it('refuses a challenge that is not fulfilled, with the problem in it', { timeout: 30_000 }, async () => {
    const own = await client();
    await own.createAccount({ termsOfServiceAgreed: true });
    const order = await own.createOrder({ identifiers: [{ type: 'dns', value: 'none.maker.example' }] });
    const [authz] = await own.getAuthorizations(order);
    const challenge = authz?.challenges.find(({ type }) => type === 'http-01');
    if (authz === undefined || challenge === undefined) throw new Error('no challenge');
    await own.completeChallenge(challenge);
    await expect(own.waitForValidStatus(challenge)).rejects.toThrow(/404/);
    const [, csr] = await acme.crypto.createCsr({ commonName: 'none.maker.example' });
    await expect(own.finalizeOrder(order, csr)).rejects.toThrow(/ready/);
  });

  it('refuses a CSR for other names than the order has', async () => {
    const own = await client();
    await own.createAccount({ termsOfServiceAgreed: true });
    const order = await own.createOrder({ identifiers: [{ type: 'dns', value: 'one.maker.example' }] });
    for (const authz of await own.getAuthorizations(order)) {
      const challenge = authz.challenges.find(({ type }) => type === 'http-01');
      if (challenge === undefined) throw new Error('no challenge');
      await fulfil(authz, challenge, await own.getChallengeKeyAuthorization(challenge));
      await own.completeChallenge(challenge);
      await own.waitForValidStatus(challenge);
    }
    const csrFor = async (names: string[]) =>
      (await acme.crypto.createCsr({ commonName: names[0] ?? '', altNames: names }))[1];
    await expect(own.finalizeOrder(order, await csrFor(['one.maker.example', 'two.maker.example']))).rejects.toThrow(
      /exactly the names/,
    );
    await expect(own.finalizeOrder(order, await csrFor(['two.maker.example']))).rejects.toThrow(/exactly the names/);
    const subject = { commonName: 'one.maker.example', serialNumber: '0001' };
    const csr = await buildCsr(await generateKey('ecdsa-p256-sha256'), {
      subject,
      subjectAltName: { dns: ['one.maker.example'] },
    });
    await expect(own.finalizeOrder(order, encodePem('CERTIFICATE REQUEST', csr))).rejects.toThrow(/as serial number/);
    const finished = await own.finalizeOrder(order, await csrFor(['one.maker.example']));
    expect(await accepted(await own.getCertificate(finished), { dns: 'one.maker.example' })).toBe(true);
    await expect(own.finalizeOrder(order, await csrFor(['one.maker.example']))).rejects.toThrow(/ready/);
    // What one account has is nothing to another.
    const stranger = await client();
    await stranger.createAccount({ termsOfServiceAgreed: true });
    await expect(stranger.getOrder(order)).rejects.toThrow(/this account/);
  });

  it('orders no address that is of IPv4 inside IPv6', async () => {
    const own = await client();
    await own.createAccount({ termsOfServiceAgreed: true });
    const order = (value: string) => own.createOrder({ identifiers: [{ type: 'ip', value }] });
    await expect(order('::ffff:192.0.2.1')).rejects.toThrow(/name of type ip/);
    expect(await order('2001:db8::1')).toMatchObject({ status: 'pending' });
  });

  it('revokes by the account and by the key of the certificate, once, for known reasons', async () => {
    const own = await client();
    const pem = await autoOrder(['gone.maker.example'], 'http-01', own);
    const stranger = await client();
    await stranger.createAccount({ termsOfServiceAgreed: true });
    await expect(stranger.revokeCertificate(pem)).rejects.toThrow(/account or its key/);
    // A client may not put a certificate on hold.
    await expect(own.revokeCertificate(pem, { reason: 6 })).rejects.toThrow(/reasons/);
    await own.revokeCertificate(pem, { reason: 1 });
    await expect(own.revokeCertificate(pem)).rejects.toThrow(/in force/);
    const { serialNumber } = parseCertificate(decodePem('CERTIFICATE', pem));
    expect(await fixture.store.revocation('device-ca', serialText(serialNumber))).toMatchObject({
      reason: 'keyCompromise',
    });
  });

  it('says when a certificate is to be renewed, at once where it is revoked, and lets one take its place once', async () => {
    const own = await client();
    const pem = await autoOrder(['renewed.maker.example'], 'http-01', own);
    const { serialNumber, authorityKeyIdentifier, notBefore, notAfter } = parseCertificate(
      decodePem('CERTIFICATE', pem),
    );
    const digits = serialNumber.toString(16);
    const octets = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
    const der = (octets[0] ?? 0) < 0x80 ? octets : Buffer.concat([Buffer.of(0), octets]);
    const issuer = Buffer.from(authorityKeyIdentifier?.keyIdentifier ?? []).toString('base64url');
    const id = `${issuer}.${der.toString('base64url')}`;
    const { renewalInfo } = (await acme.axios.get(directoryUrl)).data;
    const info = async (name = id) => acme.axios.get(`${renewalInfo}/${name}`, { validateStatus: () => true });
    const { data, headers, status } = await info();
    expect({ status, retry: headers['retry-after'] }).toEqual({ status: 200, retry: '21600' });
    const [start, end] = [data.suggestedWindow.start, data.suggestedWindow.end].map((text) => new Date(text));
    const life = notAfter.getTime() - notBefore.getTime();
    expect(Math.abs((start?.getTime() ?? 0) - notBefore.getTime() - (life * 2) / 3)).toBeLessThan(2000);
    expect((start ?? notAfter) < (end ?? notBefore) && (end ?? notAfter) < notAfter).toBe(true);
    const unknown = ['x', `${issuer}.`, `${issuer}.AA`, `AAAA.${id.split('.')[1]}`, `${id}A`, `${issuer}.AQ`];
    for (const name of unknown) expect((await info(name)).status).toBe(404);

    const identifiers = [{ type: 'dns', value: 'renewed.maker.example' }];
    const replacing = (by: acme.Client, names = identifiers, replaces = id) =>
      by.createOrder({ identifiers: names, replaces } as Parameters<acme.Client['createOrder']>[0]);
    const stranger = await client();
    await stranger.createAccount({ termsOfServiceAgreed: true });
    await expect(replacing(stranger)).rejects.toThrow(/this account/);
    await expect(replacing(own, [{ type: 'dns', value: 'other.maker.example' }])).rejects.toThrow(/name of this order/);
    await expect(replacing(own, identifiers, `${issuer}.AQ`)).rejects.toThrow(/of this server/);
    // Two orders for the same place: the first that is finished has it.
    const orders = [await replacing(own), await replacing(own)];
    expect(orders[0]).toMatchObject({ replaces: id });
    const finish = async (order: acme.Order) => {
      for (const authz of await own.getAuthorizations(order)) {
        const challenge = authz.challenges.find(({ type }) => type === 'http-01');
        if (challenge === undefined) throw new Error('no challenge');
        await fulfil(authz, challenge, await own.getChallengeKeyAuthorization(challenge));
        await own.completeChallenge(challenge);
        await own.waitForValidStatus(challenge);
      }
      const [, csr] = await acme.crypto.createCsr(
        { altNames: ['renewed.maker.example'] },
        await acme.crypto.createPrivateEcdsaKey(),
      );
      return own.finalizeOrder(order, csr);
    };
    expect(await finish(orders[0] as acme.Order)).toMatchObject({ status: 'valid', replaces: id });
    await expect(finish(orders[1] as acme.Order)).rejects.toThrow(/taken the place/);
    await expect(replacing(own)).rejects.toThrow(/taken the place/);

    await own.revokeCertificate(pem);
    expect(new Date((await info()).data.suggestedWindow.end).getTime()).toBeLessThanOrEqual(Date.now());
  });

  it('changes the key of an account, and refuses one that has an account', async () => {
    const own = await client();
    const account = await own.createAccount({ termsOfServiceAgreed: true, contact: ['mailto:operator@maker.example'] });
    const fresh = await acme.crypto.createPrivateEcdsaKey('P-384');
    await own.updateAccountKey(fresh);
    const again = await client({ accountKey: fresh });
    expect(await again.createAccount({ onlyReturnExisting: true })).toMatchObject({ contact: account.contact });
    const taken = await acme.crypto.createPrivateEcdsaKey();
    await (await client({ accountKey: taken })).createAccount({ termsOfServiceAgreed: true });
    await expect(again.updateAccountKey(taken)).rejects.toThrow(/has no account/);
    await again.updateAccount({ status: 'deactivated' });
    await expect(again.createOrder({ identifiers: [{ type: 'dns', value: 'x.maker.example' }] })).rejects.toThrow(
      /deactivated/,
    );
  });

  describe('with external accounts and limits', () => {
    const external = { kid: KID, hmacKey: Buffer.from(MAC_KEY).toString('base64url') };
    const strictClient = (options: Partial<acme.ClientOptions> = {}) =>
      client({ directoryUrl: `${strict.url}/acme/directory`, ...options });

    it('gives accounts to known fleets alone, once', async () => {
      await expect((await strictClient()).createAccount({ termsOfServiceAgreed: true })).rejects.toThrow(
        /external account/i,
      );
      const wrong = { kid: KID, hmacKey: Buffer.from('another').toString('base64url') };
      const forged = await strictClient({ externalAccountBinding: wrong });
      await expect(forged.createAccount({ termsOfServiceAgreed: true })).rejects.toThrow(/known external account/);
      const own = await strictClient({ externalAccountBinding: external });
      await expect(own.createAccount({})).rejects.toThrow(/terms of service/);
      await own.createAccount({ termsOfServiceAgreed: true });
      const second = await strictClient({ externalAccountBinding: external });
      await expect(second.createAccount({ termsOfServiceAgreed: true })).rejects.toThrow(/no other account/);

      // Names that the operator refuses, addresses that are private, and too many orders.
      const order = (value: string) => own.createOrder({ identifiers: [{ type: 'dns', value }] });
      await expect(order('x.forbidden.example')).rejects.toThrow(/may have/);
      const made = await order('inside.maker.example');
      const [authz] = await own.getAuthorizations(made);
      const challenge = authz?.challenges.find(({ type }) => type === 'http-01');
      if (challenge === undefined) throw new Error('no challenge');
      await own.completeChallenge(challenge);
      await expect(own.waitForValidStatus(challenge)).rejects.toThrow(/public address/);
      await order('three.maker.example');
      // acme-client would wait as long as it is told to; its declarations do not know the setting.
      const settings = acme.axios.defaults as unknown as { acmeSettings: { retryMaxAttempts: number } };
      settings.acmeSettings.retryMaxAttempts = 0;
      await expect(order('four.maker.example')).rejects.toThrow(/fewer requests/);
      settings.acmeSettings.retryMaxAttempts = 5;
    }, 30_000);
  });

  describe('requests that are no ACME', () => {
    const post = (body: unknown, path = '/acme/new-account') =>
      fixture.postTo(server.url)(
        path,
        'application/jose+json',
        new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body)),
      );
    const problem = async (response: Promise<{ status: number; body: Uint8Array }>) =>
      JSON.parse(new TextDecoder().decode((await response).body));

    it('are refused with problem documents', async () => {
      expect(await problem(post('nonsense'))).toMatchObject({ type: 'urn:ietf:params:acme:error:malformed' });
      expect(await problem(post({ protected: '', payload: '', signature: '' }))).toMatchObject({ status: 400 });
      expect(await problem(post('['.repeat(10_000)))).toMatchObject({ status: 400 });
      expect((await fixture.postTo(server.url)('/acme/new-account', 'text/plain', new Uint8Array())).status).toBe(415);
      expect(
        (await fixture.postTo(server.url)('/acme/directory', 'application/jose+json', new Uint8Array())).status,
      ).toBe(200);
    });

    it('are refused where a nonce comes twice, a MAC stands for a signature, or the URL is another', async () => {
      const { createPublicKey, sign } = await import('node:crypto');
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
      const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const jws = (head: object) => {
        const parts = { protected: encoded(head), payload: encoded({ onlyReturnExisting: true }) };
        const signature = sign('sha256', Buffer.from(`${parts.protected}.${parts.payload}`), {
          key: privateKey,
          dsaEncoding: 'ieee-p1363',
        });
        return { ...parts, signature: signature.toString('base64url') };
      };
      const url = `${server.url}/acme/new-account`;
      const nonce = await freshNonce();
      const head = { alg: 'ES256', jwk, nonce, url };
      expect(await problem(post(jws({ ...head, url: `${server.url}/acme/new-order` })))).toMatchObject({ status: 403 });
      expect(await problem(post(jws(head)))).toMatchObject({ type: 'urn:ietf:params:acme:error:accountDoesNotExist' });
      expect(await problem(post(jws(head)))).toMatchObject({ type: 'urn:ietf:params:acme:error:badNonce' });
      expect(await problem(post(jws({ ...head, alg: 'none' })))).toMatchObject({
        type: 'urn:ietf:params:acme:error:badSignatureAlgorithm',
      });
      const forged = { ...head, alg: 'HS256', jwk: { kty: 'oct', k: 'AAAA' } };
      const mac = createHmac('sha256', Buffer.from('AAAA', 'base64url')).update('x').digest('base64url');
      expect(await problem(post({ ...jws(forged), signature: mac }))).toMatchObject({
        type: 'urn:ietf:params:acme:error:badPublicKey',
      });
      const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
      // The same key in other words would have another thumbprint, and so another account.
      for (const changed of [
        { ...jwk, x: `${jwk.x}=` },
        { ...rsa, e: 'AAEAAQ' },
      ]) {
        expect(await problem(post(jws({ ...head, jwk: changed, nonce: await freshNonce() })))).toMatchObject({
          type: 'urn:ietf:params:acme:error:badPublicKey',
        });
      }
      expect(await problem(post(jws({ ...head, nonce: await freshNonce(), crit: ['x'] })))).toMatchObject({
        status: 400,
      });
    });

    async function freshNonce(): Promise<string> {
      const response = await transport('HEAD', `${server.url}/acme/new-nonce`);
      return response.headers['replay-nonce'] ?? '';
    }
  });

  const transport: AcmeTransport = (method, url, body) =>
    new Promise((resolve, reject) => {
      const agent = acme.axios.defaults.httpsAgent;
      const sent = request(url, { method, agent, headers: { 'content-type': 'application/jose+json' } }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        const headers = response.headers as Readonly<Record<string, string | undefined>>;
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers, body: new Uint8Array(Buffer.concat(parts)) }),
        );
      });
      sent.on('error', reject);
      sent.end(body);
    });

  describe.each([
    ['uTPM', undefined],
    ['swtpm', swtpm],
  ] as const)('device-attest-01 with %s', (kind, skipped) => {
    const value = 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f';
    const identifier = { type: 'permanent-identifier', value } as const;
    const closing: (() => unknown)[] = [];
    let tpm: Tpm;
    let ak: TpmObject;
    let deviceKey: TpmObject;
    let akChain: readonly Uint8Array[];

    async function certificateFor(key: TpmObject, owner = 'test'): Promise<readonly Uint8Array[]> {
      const { issuer, chain } = fixture.hierarchy.get('attestation-ca');
      const certificate = await createCertificate({
        profile: PROFILES.attestationKey,
        subject: { commonName: 'edge' },
        subjectAltName: { uri: [value] },
        publicKey: publicKeySpki(key.public),
        issuer,
      });
      const read = { authority: 'attestation-ca', profile: 'attestation-key', owner, certificate };
      await fixture.authority.record([read], { event: 'enrol' });
      return [certificate, ...chain];
    }

    beforeAll(async () => {
      if (skipped !== undefined) return;
      if (kind === 'swtpm') {
        const manufacturer = openManufacturer();
        const running = await manufacturer.startTpm();
        closing.push(
          () => running[Symbol.asyncDispose](),
          () => manufacturer[Symbol.dispose](),
        );
        tpm = running.tpm;
      } else {
        tpm = new Tpm(await openUtpm({ startup: true }));
      }
      const srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      const keyKind = kind === 'swtpm' ? 'rsa-2048' : 'ecc-p256';
      ak = await loadKey(tpm, srk, await createKey(tpm, srk, { template: akTemplate(keyKind) }));
      deviceKey = await loadKey(tpm, srk, await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256') }));
      await srk.flush();
      akChain = await certificateFor(ak);
    }, 60_000);
    afterAll(async () => {
      for (const close of closing) await close();
    });
    const order = (changes: Partial<Parameters<typeof orderDeviceCertificate>[1]> = {}) =>
      orderDeviceCertificate(tpm, {
        directory: directoryUrl,
        transport,
        ak,
        akChain,
        deviceKey,
        identifier,
        ...changes,
      });

    it.skipIf(skipped)('gives the device a certificate for its resident key', async () => {
      const [leaf, ...chain] = await order();
      const { root } = fixture.hierarchy.get('device-ca');
      const verdict = await validatePath(leaf ?? new Uint8Array(), chain, [root], {
        purpose: 'client-auth',
        time: new Date(),
      });
      expect(verdict).toMatchObject({ ok: true });
      expect(parseCertificate(leaf ?? new Uint8Array()).publicKey).toEqual(publicKeySpki(deviceKey.public));
    });

    it.skipIf(skipped)(
      'refuses the name of another device, a statement by another AK, and an AK that nobody certified',
      async () => {
        const others = {
          type: 'permanent-identifier',
          value: 'urn:uuid:00000000-0000-4000-8000-000000000001',
        } as const;
        await expect(order({ identifier: others })).rejects.toThrow(/expected an attestation of urn:uuid:00000000/);
        const otherTpm = new Tpm(await openUtpm({ startup: true }));
        const srk = await createPrimary(otherTpm, { template: srkTemplate('ecc-p256') });
        const otherAk = await loadKey(
          otherTpm,
          srk,
          await createKey(otherTpm, srk, { template: akTemplate('ecc-p256') }),
        );
        const otherKey = await loadKey(
          otherTpm,
          srk,
          await createKey(otherTpm, srk, { template: signingKeyTemplate('ecc-p256') }),
        );
        const mixed = { directory: directoryUrl, transport, ak: otherAk, akChain, deviceKey: otherKey, identifier };
        await expect(orderDeviceCertificate(otherTpm, mixed)).rejects.toThrow(/signature of the attestation key/);
        const selfMade = await createCertificateOf(otherAk);
        await expect(orderDeviceCertificate(otherTpm, { ...mixed, akChain: [selfMade] })).rejects.toThrow(
          /attested|certificate|path/,
        );
      },
    );

    it.skipIf(skipped)('gives nothing to a TPM whose endorsement key is revoked, and leaves it nothing', async () => {
      const digest = createHash('sha256').update(`the EK of ${kind}`).digest('hex');
      const enrolled = await certificateFor(ak, `ek:${digest}`);
      const [leaf = new Uint8Array()] = await order({ akChain: enrolled });
      const enrolment = openTpmEnrolment({
        authority: fixture.authority,
        trust: {},
        attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
        device: { authority: 'device-ca', profile: 'device' },
      });
      const status = () => fixture.authority.statusOf('device-ca', parseCertificate(leaf).serialNumber);
      expect(await status()).toEqual({ status: 'good' });
      // One between the attestation and the last step.
      const slow: AcmeTransport = async (method, url, body) => {
        if (url.endsWith('/finalize')) expect(await enrolment.revokeEndorsementKey(digest, 'test')).toBe(2);
        return transport(method, url, body);
      };
      await expect(order({ akChain: enrolled, transport: slow })).rejects.toThrow(/endorsement key in force/);
      expect(await status()).toMatchObject({ status: 'revoked', reason: 'privilegeWithdrawn' });
      await expect(order({ akChain: await certificateFor(ak, `ek:${digest}`) })).rejects.toThrow(
        /endorsement key in force/,
      );
    });

    it.skipIf(skipped)('refuses a signature without numbers', async () => {
      const { root, certificate } = fixture.hierarchy.get('attestation-ca');
      const keyAuthorization = 'token.thumbprint';
      const nonce = new Uint8Array(createHash('sha256').update(keyAuthorization).digest());
      const { certified } = await certify(tpm, { object: deviceKey, signer: ak, nonce });
      const empty = { hash: TPM_ALG.SHA256, signatureR: new Uint8Array(), signatureS: new Uint8Array() };
      const statement = {
        ...{ algorithm: -7, chain: akChain, certInfo: certified },
        signature: encode(TpmtSignature, { sigAlg: TPM_ALG.ECDSA, signature: empty }),
        publicArea: encode(TpmtPublic, deviceKey.public),
      };
      const trust = { anchors: [root], intermediates: [certificate] };
      await expect(verifyTpmStatement(statement, keyAuthorization, trust, new Date())).rejects.toMatchObject({
        code: 'bad-signature',
      });
    });

    async function createCertificateOf(key: TpmObject): Promise<Uint8Array> {
      const signer = await generateKey('ecdsa-p256-sha256');
      const ca = { ...PROFILES.attestationCa };
      const certificate = await createCertificate({
        profile: ca,
        subject: { commonName: 'fake' },
        publicKey: signer.publicKey,
        issuer: { signer },
      });
      const fields = {
        profile: PROFILES.attestationKey,
        subject: { commonName: 'edge' },
        subjectAltName: { uri: [value] },
      };
      return createCertificate({ ...fields, publicKey: publicKeySpki(key.public), issuer: { certificate, signer } });
    }

    it.skipIf(skipped)('refuses a restricted key as device key, and an AK certificate that was revoked', async () => {
      await expect(order({ deviceKey: ak })).rejects.toThrow(/unrestricted/);
      const revoked = await certificateFor(ak);
      const { serialNumber } = parseCertificate(revoked[0] ?? new Uint8Array());
      await fixture.authority.revoke({
        authority: 'attestation-ca',
        serial: serialText(serialNumber),
        requester: 'test',
      });
      await expect(order({ akChain: revoked })).rejects.toThrow(/in force/);
    });
  });

  const certbot = toolMissing('certbot');
  const lego = toolMissing('lego');
  it.skipIf(lego)(
    `gives Debian's lego a certificate by http-01${lego === undefined ? '' : ` (skipped: ${lego})`}`,
    { timeout: 60_000 },
    async () => {
      const path = mkdtempSync(join(tmpdir(), 'casemate-lego-'));
      try {
        const webroot = await startWebroot(path);
        const args = [
          '--server',
          webroot.directory,
          '--accept-tos',
          '--email',
          'operator@maker.example',
          '--path',
          path,
          '--http',
        ];
        const more = ['--http.webroot', join(path, 'www'), '--domains', 'lego.maker.example', 'run'];
        await promisify(execFile)('lego', [...args, ...more], {
          env: { ...process.env, LEGO_CA_CERTIFICATES: fixture.rootFile },
        });
        const pem = readFileSync(join(path, 'certificates', 'lego.maker.example.crt'), 'utf8');
        expect(await accepted(pem, { dns: 'lego.maker.example' })).toBe(true);
        webroot.close();
      } finally {
        rmSync(path, { recursive: true, force: true });
      }
    },
  );

  it.skipIf(certbot)(
    `gives Debian's certbot a certificate by http-01, and revokes it${certbot === undefined ? '' : ` (skipped: ${certbot})`}`,
    { timeout: 120_000 },
    async () => {
      const path = mkdtempSync(join(tmpdir(), 'casemate-certbot-'));
      try {
        const webroot = await startWebroot(path);
        const where = ['--config-dir', path, '--work-dir', path, '--logs-dir', path, '--server', webroot.directory];
        const env = { ...process.env, REQUESTS_CA_BUNDLE: fixture.rootFile };
        const names = ['--webroot', '-w', join(path, 'www'), '-d', 'certbot.maker.example'];
        const terms = ['--agree-tos', '-m', 'operator@maker.example', '-n'];
        await promisify(execFile)('certbot', ['certonly', ...where, ...names, ...terms], { env });
        const file = join(path, 'live', 'certbot.maker.example', 'fullchain.pem');
        const pem = readFileSync(file, 'utf8');
        expect(await accepted(pem, { dns: 'certbot.maker.example' })).toBe(true);
        await promisify(execFile)(
          'certbot',
          ['revoke', ...where, '--cert-path', file, '-n', '--no-delete-after-revoke'],
          { env },
        );
        const { serialNumber } = parseCertificate(decodePem('CERTIFICATE', pem));
        expect(await fixture.authority.statusOf('device-ca', serialNumber)).toMatchObject({ status: 'revoked' });
        webroot.close();
      } finally {
        rmSync(path, { recursive: true, force: true });
      }
    },
  );

  /** Serves files from `www` where the authority looks, for clients that write them. */
  async function startWebroot(path: string) {
    const www = join(path, 'www');
    mkdirSync(join(www, '.well-known', 'acme-challenge'), { recursive: true });
    writeFileSync(join(www, 'index.html'), '');
    const files = createServer((asked, response) => {
      try {
        response.writeHead(200).end(readFileSync(join(www, asked.url ?? '')));
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    const network = {
      dnsServers: [dns.server],
      httpPort: (files.address() as AddressInfo).port,
      insecureAllowPrivateAddresses: true,
    };
    const own = await fixture.serve([
      acmeRoute({ authority: fixture.authority, issuer: 'device-ca', profiles: { dns: 'server' }, network }),
    ]);
    return { directory: `${own.url}/acme/directory`, close: () => files.close() };
  }
});
