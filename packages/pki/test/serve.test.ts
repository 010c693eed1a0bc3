/** `casemate-pki serve` as a process: what it answers, how it ends, and what it says of a configuration that cannot be. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { Agent, request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram } from '@casemate/command-line';
import {
  akTemplate,
  createKey,
  createPrimary,
  ekTemplate,
  loadKey,
  publicKeySpki,
  signingKeyTemplate,
  srkTemplate,
  Tpm,
} from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import acme from 'acme-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROGRAM } from '../src/cli/program.js';
import {
  buildOcspRequest,
  createCertificate,
  decodePem,
  ekDigest,
  encodePem,
  generateKey,
  PROFILES,
  parseCertificate,
  parseCrl,
  parseOcspResponse,
  parsePem,
  validatePath,
} from '../src/index.js';
import { type DeviceEnrolment, enrolDevice, type HttpPost } from '../src/service.js';
import { bundled } from './bundled.js';
import { startDns } from './dns.js';
import { opensslMissing } from './openssl.js';
import { EK_PROFILE } from './service-fixture.js';

const directory = mkdtempSync(join(tmpdir(), 'casemate-serve-'));
const at = (name: string) => join(directory, name);
const running = new Set<ChildProcess>();
let program: string;
let roots: Record<'general' | 'maker', Uint8Array>;
let agent: Agent;

beforeAll(async () => {
  program = await bundled('../src/cli.ts');
  cli('init', '--organization', 'Maker', '--country', 'DE', '--domain', 'maker.example');
  const names = ['--common-name', 'pki', '--dns', 'localhost', '--dns', 'pki.maker.example'];
  writeFileSync(at('web.json'), JSON.stringify(SERVER));
  writeFileSync(at('loopback.json'), JSON.stringify(LOOPBACK));
  cli(
    ...['issue', '--ca', 'device-ca', '--profile', at('loopback.json'), ...names],
    ...['--p12', at('tls.p12'), '--p12-passphrase', 'insecure:x', '--out', at('tls.pem')],
  );
  const { parsePkcs12 } = await import('../src/pkcs12.js');
  const [key] = (await parsePkcs12(readFileSync(at('tls.p12')), 'x')).keys;
  writeFileSync(at('tls.key'), encodePem('PRIVATE KEY', key?.pkcs8 ?? new Uint8Array()));
  const general = decodePem('CERTIFICATE', readFileSync(at('pki/hierarchy/general-root.crt'), 'utf8'));
  const makerKey = await generateKey('ecdsa-p256-sha256');
  const maker = await createCertificate({
    profile: { ...PROFILES.rootCa, ca: { pathLength: 0 } },
    subject: { commonName: 'Maker of TPMs' },
    publicKey: makerKey.publicKey,
    issuer: { signer: makerKey },
  });
  roots = { general, maker };
  writeFileSync(at('maker.pem'), encodePem('CERTIFICATE', maker));
  device = await openDevice(maker, makerKey);
  agent = new Agent({ ca: encodePem('CERTIFICATE', general) });
}, 60_000);
afterAll(() => {
  agent?.destroy();
  for (const child of running) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** A TLS server of this test; names under the organization's domain are the backend's, and it listens on loopback. */
const SERVER = {
  name: 'web-server',
  validityDays: 30,
  keyUsage: ['digitalSignature', 'keyEncipherment'],
  extendedKeyUsage: ['serverAuth'],
  subject: {
    ...PROFILES.device.subject,
    organizationName: 'optional',
    countryName: 'optional',
    commonName: 'optional',
  },
  subjectAltName: { dns: { presence: 'required', max: 16 } },
  keys: ['rsa'],
};
const LOOPBACK = {
  name: 'loopback',
  validityDays: 1,
  keyUsage: ['digitalSignature'],
  extendedKeyUsage: ['serverAuth'],
  subject: PROFILES.device.subject,
  subjectAltName: { dns: { presence: 'required', max: 4 } },
};

let device: Awaited<ReturnType<typeof openDevice>>;
async function openDevice(makerRoot: Uint8Array, makerKey: Awaited<ReturnType<typeof generateKey>>) {
  const tpm = new Tpm(await openUtpm({ startup: true }));
  const srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
  const ak = await loadKey(tpm, srk, await createKey(tpm, srk, { template: akTemplate('ecc-p256') }));
  const deviceKey = await loadKey(tpm, srk, await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256') }));
  await srk.flush();
  const ek = await createPrimary(tpm, { hierarchy: 'endorsement', template: ekTemplate('ecc-p256') });
  const ekCertificate = await createCertificate({
    profile: EK_PROFILE,
    subject: {},
    subjectAltName: { tpm: ['id:55544D00/utpm/id:00010000'] },
    publicKey: publicKeySpki(ek.public),
    issuer: { certificate: makerRoot, signer: makerKey },
  });
  return { tpm, ek, ak, deviceKey, ekCertificate };
}

const secret = { ...process.env, PKI_SECRET: 'geheim' };

/** Runs a command to its end. */
function cli(...args: readonly string[]): string {
  const all = [...args, '--store', at('pki'), '--passphrase', 'env:PKI_SECRET'];
  return execFileSync(process.execPath, [program, ...all], { env: secret, encoding: 'utf8', stdio: 'pipe' });
}

interface Service extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly urls: readonly string[];
  /** Waits for its end: exit code or signal, and what it wrote. */
  end(): Promise<{ readonly code: number | null; readonly signal: string | null; readonly err: string }>;
}

/** Starts the service on ports of its own and waits until it says where it listens. */
async function serve(...more: readonly string[]): Promise<Service> {
  const args = [
    ...['serve', '--store', at('pki'), '--passphrase', 'env:PKI_SECRET', '--host', '127.0.0.1', '--port', '0'],
    ...['--http-port', '0', '--tls-certificate', at('tls.pem'), '--tls-key', at('tls.key')],
    ...['--ek-anchor', at('maker.pem'), ...more],
  ];
  const child = spawn(process.execPath, [program, ...args], { env: secret, stdio: ['ignore', 'ignore', 'pipe'] });
  running.add(child);
  let err = '';
  child.stderr?.on('data', (part: Buffer) => {
    err += part;
  });
  const ended = once(child, 'exit').then(([code, signal]) => {
    running.delete(child);
    return { code: code as number | null, signal: signal as string | null, err };
  });
  while (!/http:\/\/\S+\n/.test(err)) {
    if (child.exitCode !== null) throw new Error(err);
    await Promise.race([once(child.stderr ?? child, 'data'), ended]);
  }
  return {
    child,
    urls: err.match(/https?:\/\/\S+/g) ?? [],
    end: () => ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
  readonly type: string;
}

const ask = (url: string, method: string, type?: string, body?: Uint8Array): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const headers = type === undefined ? {} : { 'content-type': type };
    // The certificate names localhost, the socket goes to 127.0.0.1.
    const tls = { agent, servername: 'localhost' };
    const send = (url.startsWith('https:') ? request : requestHttp) as typeof request;
    const sent = send(url, { method, headers, ...(url.startsWith('https:') ? tls : { agent: false }) }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          body: new Uint8Array(Buffer.concat(parts)),
          type: response.headers['content-type'] ?? '',
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
const post =
  (base: string): HttpPost =>
  (path, type, body) =>
    ask(`${base}${path}`, 'POST', type, body);

let serial = 0;
function enrol(base: string): Promise<DeviceEnrolment> {
  serial += 1;
  const number = String(serial).padStart(12, '0');
  return enrolDevice(device.tpm, {
    ...device,
    subject: { countryName: 'DE', organizationName: 'Maker', commonName: `edge ${serial}`, serialNumber: number },
    subjectAltName: { uri: [`urn:uuid:00000000-0000-4000-8000-${number}`] },
    post: post(base),
  });
}

async function statusOf(base: string, certificate: Uint8Array): Promise<string | undefined> {
  const issuer = decodePem('CERTIFICATE', readFileSync(at('pki/hierarchy/device-ca.crt'), 'utf8'));
  const question = buildOcspRequest(certificate, issuer);
  const response = await ask(`${base}/ocsp/device-ca`, 'POST', 'application/ocsp-request', question);
  const answer = parseOcspResponse(response.body);
  return answer.responses[0]?.status;
}

describe('casemate-pki serve', () => {
  it('enrols TPMs, answers EST and OCSP, publishes CRLs, and works on what the directory issued before', async () => {
    const early = parsePem(readFileSync(at('tls.pem'), 'utf8'))[0]?.der ?? new Uint8Array();
    await using service = await serve();
    const [https = '', http = ''] = service.urls;
    const got = await enrol(https);
    const time = new Date();
    expect(
      await validatePath(got.deviceCertificate, got.deviceChain, [roots.general], { purpose: 'client-auth', time }),
    ).toMatchObject({ ok: true });
    const est = await ask(`${https}/.well-known/est/cacerts`, 'GET');
    expect(est).toMatchObject({ status: 200, type: expect.stringContaining('application/pkcs7-mime') });
    expect(await statusOf(http, got.deviceCertificate)).toBe('good');
    expect(await statusOf(http, early)).toBe('good');
    const crl = async () => parseCrl((await ask(`${http}/crl/device-ca.crl`, 'GET')).body);
    expect((await crl()).entries.size).toBe(0);
    // Enrolment and issuing are for TLS alone.
    expect((await ask(`${http}/tpm/challenge`, 'POST')).status).toBe(404);

    // An operator at work beside it: the next question is answered by what he did.
    const { serialNumber } = parseCertificate(got.deviceCertificate);
    cli('revoke', serialNumber.toString(16), '--ca', 'device-ca', '--reason', 'keyCompromise');
    expect(await statusOf(http, got.deviceCertificate)).toBe('revoked');
    cli('crl', '--ca', 'device-ca', '--out', at('served.crl'));
    expect((await crl()).entries.get(serialNumber)?.reason).toBe('keyCompromise');
    const again = await enrol(https);
    expect(JSON.parse(cli('revoke', '--ek', ekDigest(device.ek.public), '--json')).certificates).toBe(3);
    expect(await statusOf(http, again.deviceCertificate)).toBe('revoked');
    await expect(enrol(https)).rejects.toMatchObject({ code: 'not-allowed' });
  });

  it('keeps what it did over a restart, in a log that verifies and is not the log of the directory', async () => {
    const shown = JSON.parse(cliWithoutSecret('audit', 'show', '--service', '--event', 'revoke', '--json'));
    expect(shown.length).toBeGreaterThan(3);
    await using service = await serve();
    const [, http = ''] = service.urls;
    expect(service.urls).toHaveLength(2);
    const issued = cli(
      ...['issue', '--ca', 'device-ca', '--profile', 'device', '--common-name', 'late'],
      ...['--uri', 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f', '--p12', at('late.p12')],
      ...['--p12-passphrase', 'insecure:x'],
    );
    expect(await statusOf(http, parsePem(issued)[0]?.der ?? new Uint8Array())).toBe('good');
    const [own, directorys] = [['--service'], []].map((more) =>
      JSON.parse(cliWithoutSecret('audit', 'verify', ...more, '--json')),
    );
    expect(own).toMatchObject({ ok: true, origin: 'trustme/maker/service' });
    expect(directorys).toMatchObject({ ok: true, origin: 'trustme/maker' });
  });

  it('gives certificates over ACME to whom an external account and dns-01 let have them', async () => {
    await using dns = await startDns();
    const macKey = Buffer.from('a key of 16 bytes or more').toString('base64url');
    writeFileSync(at('mac-key'), `${macKey}\n`);
    await using service = await serve(
      ...[
        '--acme',
        `backend-ca:${at('web.json')}`,
        '--acme-account',
        `fleet=${at('mac-key')}`,
        '--acme-dns',
        dns.server,
      ],
    );
    const [https = ''] = service.urls;
    acme.axios.defaults.httpsAgent = new Agent({
      ca: encodePem('CERTIFICATE', roots.general),
      servername: 'localhost',
    });
    const accountKey = await acme.crypto.createPrivateEcdsaKey();
    const directoryUrl = `${https}/acme/directory`;
    const stranger = new acme.Client({ directoryUrl, accountKey });
    await expect(stranger.createAccount({ termsOfServiceAgreed: true })).rejects.toThrow(/external account/);
    const externalAccountBinding = { kid: 'fleet', hmacKey: macKey };
    const client = new acme.Client({ directoryUrl, accountKey, externalAccountBinding, backoffMin: 100 });
    const [, csr] = await acme.crypto.createCsr({ keySize: 2048, altNames: ['shop.maker.example'] });
    const chain = await client.auto({
      csr,
      termsOfServiceAgreed: true,
      skipChallengeVerification: true,
      challengePriority: ['dns-01'],
      challengeCreateFn: async ({ identifier }, _challenge, value) => {
        dns.records.set(`_acme-challenge.${identifier.value}`, value);
      },
      challengeRemoveFn: async () => undefined,
    });
    const [leaf = new Uint8Array(), ...above] = parsePem(chain).map(({ der }) => der);
    const name = { dns: 'shop.maker.example' };
    expect(
      await validatePath(leaf, above, [roots.general], { purpose: 'server-auth', time: new Date(), name }),
    ).toMatchObject({ ok: true });
  });

  it('finishes what is under way on SIGTERM, takes nothing new, and ends well', async () => {
    await using service = await serve();
    const [https = '', http = ''] = service.urls;
    const { hostname, port } = new URL(https);
    const options = { hostname, port, servername: 'localhost', agent, method: 'POST', path: '/tpm/challenge' };
    const body = new Uint8Array(64);
    const sent = request({
      ...options,
      headers: { 'content-type': 'application/octet-stream', 'content-length': body.length },
    });
    const answered = once(sent, 'response');
    sent.write(body.subarray(0, 32));
    await once(sent, 'socket');
    // The server has read the headers once its own half of a handshake-free answer could come: ask it something else first.
    expect((await ask(`${http}/crl/device-ca.crl`, 'GET')).status).toBe(200);
    service.child.kill('SIGTERM');
    await untilRefused(Number(port));
    sent.end(body.subarray(32));
    const [response] = await answered;
    expect(response.statusCode).toBe(400);
    response.resume();
    expect(await service.end()).toMatchObject({ code: 0, signal: null });
  });

  it.skipIf(opensslMissing())('speaks TLS 1.2 and later only, with the chain that it was given', async () => {
    await using service = await serve();
    const { port } = new URL(service.urls[0] ?? '');
    const connect = (...version: readonly string[]) =>
      spawnSync(
        'openssl',
        [
          ...['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', '-verify_hostname', 'localhost'],
          ...['-CAfile', at('pki/hierarchy/general-root.crt'), '-verify_return_error', ...version],
        ],
        { input: '', encoding: 'utf8', timeout: 20_000 },
      );
    expect(connect('-tls1_3').stdout).toContain('Verify return code: 0');
    expect(connect('-tls1_2').stdout).toContain('Verify return code: 0');
    expect(connect('-tls1_1', '-cipher', 'ALL@SECLEVEL=0').status).not.toBe(0);
  });

  it.each([
    ['no TLS', 2, ['--tls-key', 'DROP'], /--tls-certificate and --tls-key/],
    ['a TLS key that is not there', 1, ['--tls-key', 'NOWHERE'], /cannot read .*no such file/],
    ['a TLS key that is none', 7, ['--tls-key', 'CERTIFICATE'], /--tls-key/],
    ['an anchor that is none', 7, ['--ek-anchor', 'JUNK'], /./],
    ['a port that is none', 2, ['--port', '70000'], /0 to 65535/],
    ['an EK digest that is none', 2, ['--trusted-ek', 'abc'], /64 hexadecimal digits/],
    ['ACME of no CA', 2, ['--acme', 'backend-ca'], /CA:PROFILE/],
    ['ACME with an unknown profile', 2, ['--acme', 'backend-ca:none'], /no profile/],
    ['ACME of a CA that is not there', 1, ['--acme', 'none-ca:backend'], /none-ca/],
    ['ACME of an end certificate', 4, ['--acme', 'backend:backend'], /is no CA/],
    ['an external account without its key', 2, ['--acme', 'backend-ca:backend', '--acme-account', 'x'], /KID=FILE/],
    ['a MAC key that is too short', 7, ['--acme', 'backend-ca:backend', '--acme-account', 'x=SHORT'], /16 bytes/],
    ['a database of another program', 7, ['--database', 'JUNK'], /./],
    ['a database that cannot be reached', 3, ['--database', 'postgres://nobody@127.0.0.1:1/x'], /cannot open/],
    ['a wrong passphrase', 5, ['--passphrase', 'insecure:falsch'], /./],
    ['another store', 1, ['--store', 'NOWHERE'], /./],
  ])('refuses %s with exit code %i', async (_what, exit, change, message) => {
    writeFileSync(at('junk'), 'not what it should be, but long enough to look at: '.repeat(40));
    writeFileSync(at('short'), 'AAAA\n');
    const words: Record<string, string> = {
      CERTIFICATE: at('tls.pem'),
      JUNK: at('junk'),
      NOWHERE: at('nowhere'),
      'x=SHORT': `x=${at('short')}`,
    };
    const given: Record<string, string> = {
      '--store': at('pki'),
      '--passphrase': 'env:PKI_SECRET',
      '--port': '0',
      '--tls-certificate': at('tls.pem'),
      '--tls-key': at('tls.key'),
    };
    for (let i = 0; i < change.length; i += 2)
      given[change[i] ?? ''] = words[change[i + 1] ?? ''] ?? change[i + 1] ?? '';
    const args = Object.entries(given).flatMap(([name, value]) => (value === 'DROP' ? [] : [name, value]));
    const { code, err } = await refused(args);
    expect({ code, err }).toEqual({ code: exit, err: expect.stringMatching(message) });
  });

  it('refuses a port that another has', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const args = ['--store', at('pki'), '--passphrase', 'env:PKI_SECRET', '--port', String(port)];
    const { code, err } = await refused([...args, '--tls-certificate', at('tls.pem'), '--tls-key', at('tls.key')]);
    other.close();
    expect({ code, err }).toEqual({ code: 3, err: expect.stringContaining('cannot listen on 127.0.0.1') });
  });
});

/** Runs `serve` in this process: it ends before it listens. */
async function refused(args: readonly string[]): Promise<{ readonly code: number; readonly err: string }> {
  let err = '';
  const code = await runProgram(PROGRAM, ['serve', ...args], {
    env: { PKI_SECRET: 'geheim' },
    readInput: async () => new Uint8Array(),
    out: async () => undefined,
    err: (text) => {
      err += text;
    },
    isTerminal: { out: false, err: false },
    columns: 100,
    askSecret: async () => undefined,
    onInterrupt: () => () => undefined,
  });
  return { code, err };
}

/** For commands that need no key. */
function cliWithoutSecret(...args: readonly string[]): string {
  return execFileSync(process.execPath, [program, ...args, '--store', at('pki')], { encoding: 'utf8', stdio: 'pipe' });
}

async function untilRefused(port: number): Promise<void> {
  const { connect } = await import('node:net');
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const accepted = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (!accepted) return;
    await sleep(20);
  }
}
