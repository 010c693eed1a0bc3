/** `casemate-pki` from end to end, with OpenSSL, curl and s_server at the other end. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runProgram, type Surroundings } from '@casemate/command-line';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROGRAM } from '../src/cli/program.js';
import { opensslMissing, programMissing } from './openssl.js';

let path: string;
const at = (name: string) => join(path, name);

/** Runs the program in this process. */
async function run(
  ...args: readonly string[]
): Promise<{ readonly exit: number; readonly out: string; readonly err: string }> {
  let [out, err] = ['', ''];
  const surroundings: Surroundings = {
    env: { CASEMATE_PKI: at('pki') },
    readInput: async () => new Uint8Array(),
    out: async (data) => {
      out += typeof data === 'string' ? data : Buffer.from(data).toString('latin1');
    },
    err: (text) => {
      err += text;
    },
    isTerminal: { out: false, err: false },
    columns: 100,
    askSecret: async () => undefined,
    onInterrupt: () => () => undefined,
  };
  return { exit: await runProgram(PROGRAM, args, surroundings), out, err };
}

const openssl = (...args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync('openssl', args, { cwd: path, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout;
};
const names = ['--organization', 'Maker', '--country', 'DE', '--domain', 'maker.example'];
const uri = 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f';

beforeAll(async () => {
  path = mkdtempSync(join(tmpdir(), 'casemate-pki-cli-'));
  expect(await run('init', ...names, '--insecure-no-passphrase')).toMatchObject({ exit: 0 });
  expect(
    await run(
      'issue',
      '--ca',
      'device-ca',
      '--profile',
      'device',
      '--common-name',
      'edge 1',
      '--uri',
      uri,
      '--p12',
      at('edge.p12'),
      '--p12-passphrase',
      'insecure:geheim',
      '--out',
      at('edge.crt'),
    ),
  ).toMatchObject({ exit: 0 });
});
afterAll(() => rmSync(path, { recursive: true, force: true }));
const root = (name: string) => join(path, 'pki', 'hierarchy', `${name}-root.crt`);

describe('casemate-pki', () => {
  it('helps with every command, and tells the exit codes', async () => {
    const { exit, out } = await run('--help');
    expect(exit).toBe(0);
    for (const name of [
      'init',
      'issue',
      'sign',
      'verify',
      'revoke',
      'crl',
      'inspect',
      'audit verify',
      'ceremony sign',
    ]) {
      expect(out).toContain(name);
      expect((await run(...name.split(' '), '--help')).out).toContain(`casemate-pki ${name}`);
    }
    expect((await run('issuee')).err).toContain('Did you mean "issue"?');
    expect(await run('issuee')).toMatchObject({ exit: 2 });
    expect(await run('init', '--colour')).toMatchObject({ exit: 2 });
    expect(JSON.parse((await run('verify', at('edge.crt'), '--json')).err)).toMatchObject({
      error: { kind: 'usage', exit: 2 },
    });
    expect((await run('--version')).out).toMatch(/^casemate-pki \d/);
  });

  it('never overwrites what is there, and explains a template without making anything', async () => {
    expect(await run('init', ...names, '--insecure-no-passphrase')).toMatchObject({ exit: 4 });
    const explained = await run('init', ...names, '--explain', '--svg', at('tree.svg'), '--store', at('none'));
    expect(explained.out).toContain('Image Signing CA (image-signing-ca)');
    expect(readFileSync(at('tree.svg'), 'utf8')).toContain('</svg>');
    expect(readdirSync(path)).not.toContain('none');
    writeFileSync(
      at('bad.json'),
      '{"name":"x","subject":{},"algorithm":"ed25519","certificates":[{"name":"r","commonName":"R","use":"u","profile":"rotCa"}]}',
    );
    const bad = await run('init', '--template', at('bad.json'), '--explain');
    expect(bad).toMatchObject({ exit: 2 });
    expect(bad.err).toContain('certificates[0].profile: expected one of');
    expect(await run('init', ...names, '--store', at('none'))).toMatchObject({ exit: 2 });
  });

  it('issues, revokes and lists, and OpenSSL agrees', async () => {
    const verify = ['verify', at('edge.crt'), '--anchor', root('general'), '--purpose', 'client-auth'];
    expect(await run(...verify)).toMatchObject({ exit: 0 });
    expect(await run(...verify, '--require-crl')).toMatchObject({ exit: 6 });
    expect(
      JSON.parse((await run('verify', at('edge.crt'), '--anchor', root('software-signing'), '--json')).out),
    ).toMatchObject({ ok: false });
    expect(await run('revoke', at('edge.crt'), '--ca', 'user-ca')).toMatchObject({ exit: 4 });
    const second = await run(
      'issue',
      '--ca',
      'device-ca',
      '--profile',
      'device',
      '--common-name',
      'edge 2',
      '--uri',
      uri,
      '--p12',
      at('two.p12'),
      '--p12-passphrase',
      'insecure:x',
      '--out',
      at('two.crt'),
      '--json',
    );
    const { serial } = JSON.parse(second.out);
    expect(await run('revoke', serial, '--ca', 'device-ca', '--reason', 'keyCompromise')).toMatchObject({ exit: 0 });
    expect(await run('revoke', at('two.crt'), '--ca', 'device-ca')).toMatchObject({ exit: 4 });
    expect(await run('crl', '--ca', 'device-ca', '--out', at('device.crl'))).toMatchObject({ exit: 0 });
    expect(await run(...verify, '--crl', at('device.crl'))).toMatchObject({ exit: 0 });
    expect((await run('verify', at('two.crt'), '--anchor', root('general'), '--crl', at('device.crl'))).out).toContain(
      'keyCompromise',
    );
    expect((await run('inspect', at('device.crl'))).out).toContain(`${serial} on `);
    if (opensslMissing() !== undefined) return;
    expect(openssl('crl', '-in', 'device.crl', '-noout', '-text')).toMatch(/Key Compromise/);
    const checked = [
      'verify',
      '-CAfile',
      root('general'),
      '-untrusted',
      join('pki', 'hierarchy', 'device-ca.crt'),
      '-CRLfile',
      'device.crl',
      '-crl_check',
    ];
    expect(openssl(...checked, 'edge.crt')).toContain('OK');
    expect(() => openssl(...checked, 'two.crt')).toThrow(/revoked/);
  });

  it('gives nothing to a request beyond the profile', async () => {
    if (opensslMissing() !== undefined) return;
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'key.pem');
    const issue = async (subject: string, ...more: readonly string[]) => {
      openssl(
        'req',
        '-new',
        '-key',
        'key.pem',
        '-subj',
        subject,
        ...more.flatMap((each) => ['-addext', each]),
        '-out',
        'csr.pem',
      );
      return (
        await run('issue', '--ca', 'device-ca', '--profile', 'device', '--csr', at('csr.pem'), '--out', at('got.crt'))
      ).exit;
    };
    expect(await issue('/C=DE/O=Maker/CN=edge', `subjectAltName=URI:${uri}`)).toBe(0);
    expect(await issue('/C=DE/O=Maker/CN=edge')).toBe(4);
    expect(await issue('/C=DE/O=Other/CN=edge', `subjectAltName=URI:${uri}`)).toBe(4);
    expect(await issue('/C=DE/O=Maker/CN=edge', `subjectAltName=URI:${uri}`, 'basicConstraints=critical,CA:TRUE')).toBe(
      4,
    );
  });

  it('signs and verifies documents, with entries of the hierarchy and with keys by URI', async () => {
    writeFileSync(at('os.conf'), 'name: edge\n');
    expect(await run('sign', at('os.conf'), '--as', 'image-signing')).toMatchObject({ exit: 0 });
    expect(await run('verify', at('os.conf'), '--anchor', root('software-signing'))).toMatchObject({ exit: 0 });
    expect(await run('verify', at('os.conf'), '--anchor', root('general'))).toMatchObject({ exit: 6 });
    expect((await run('inspect', at('os.conf.p7s'))).out).toContain('detached');
    const key = ['--key', `pkcs12:${at('edge.p12')}`, '--secret', 'insecure:geheim'];
    copyFileSync(at('os.conf'), at('two.conf'));
    expect(await run('sign', at('two.conf'), ...key)).toMatchObject({ exit: 0 });
    expect(await run('verify', at('two.conf'), '--anchor', root('general'))).toMatchObject({ exit: 6 });
    expect(await run('verify', at('two.conf'), '--anchor', root('general'), '--purpose', 'client-auth')).toMatchObject({
      exit: 0,
    });
    expect(
      await run('sign', at('two.conf'), '--key', `pkcs12:${at('edge.p12')}`, '--secret', 'insecure:falsch'),
    ).toMatchObject({ exit: 5 });
    if (opensslMissing() !== undefined) return;
    openssl(
      'cms',
      '-verify',
      '-inform',
      'DER',
      '-in',
      'os.conf.p7s',
      '-content',
      'os.conf',
      '-binary',
      '-CAfile',
      root('software-signing'),
      '-purpose',
      'any',
      '-out',
      'verified',
    );
    expect(readFileSync(at('verified'), 'utf8')).toBe('name: edge\n');
  });

  it('shows chains, requests and keys in words, and a chain as a picture; nothing in them drives the terminal', async () => {
    const { out } = await run('inspect', at('edge.p12'), '--secret', 'insecure:geheim', '--svg', at('chain.svg'));
    expect(out).toContain('certificate CN=edge 1,O=Maker,C=DE');
    const picture = readFileSync(at('chain.svg'), 'utf8');
    expect(picture.match(/<rect x=/g)).toHaveLength(3);
    expect(picture.match(/<path /g)).toHaveLength(2);
    expect(await run('inspect', at('edge.p12'), '--secret', 'insecure:falsch')).toMatchObject({ exit: 5 });
    writeFileSync(at('junk'), 'junk');
    expect(await run('inspect', at('junk'))).toMatchObject({ exit: 7 });
    expect(await run('inspect', at('none'))).toMatchObject({ exit: 1 });
    if (opensslMissing() !== undefined) return;
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ed25519',
      '-nodes',
      '-keyout',
      'evil.key',
      '-utf8',
      '-subj',
      '/CN=\u001b[2J\u202eevil',
      '-out',
      'evil.crt',
    );
    const { out: shown } = await run('inspect', at('evil.crt'));
    for (const character of ['\u001b', '\u202e']) expect(shown).not.toContain(character);
  });

  it('writes down what it did, and tells when the log was changed', async () => {
    expect((await run('audit', 'show', '--event', 'revoke')).out).toContain('keyCompromise');
    expect(await run('audit', 'verify', '--save', at('checkpoint'))).toMatchObject({ exit: 0 });
    expect(await run('crl', '--ca', 'user-ca', '--out', at('user.crl'))).toMatchObject({ exit: 0 });
    const verify = ['audit', 'verify', '--since', at('checkpoint'), '--public-key', join(path, 'pki', 'audit-key.pub')];
    expect(await run(...verify)).toMatchObject({ exit: 0 });
    mkdirSync(at('copy'));
    for (const name of ['entries.jsonl', 'checkpoint'])
      copyFileSync(join(path, 'pki', 'audit', name), join(path, 'copy', name));
    const log = readFileSync(at('copy/entries.jsonl'), 'utf8');
    writeFileSync(at('copy/entries.jsonl'), log.replace('keyCompromise', 'superseded'));
    expect(await run(...verify, '--log', at('copy'))).toMatchObject({ exit: 6 });
    writeFileSync(at('copy/entries.jsonl'), log.split('\n').slice(1).join('\n'));
    expect(await run(...verify, '--log', at('copy'))).toMatchObject({ exit: 6 });
  });

  it('holds a ceremony, whose roots are nowhere online', async () => {
    const store = ['--store', at('offline')];
    expect(
      await run(
        'ceremony',
        'prepare',
        ...store,
        ...names,
        '--insecure-no-passphrase',
        '--requests',
        at('requests.json'),
      ),
    ).toMatchObject({ exit: 0 });
    const signed = [
      'ceremony',
      'sign',
      '--requests',
      at('requests.json'),
      '--response',
      at('response.json'),
      '--keys',
      at('vault'),
      '--passphrase',
      'insecure:geheim',
      '--witness',
      'Ada',
    ];
    expect(await run(...signed)).toMatchObject({ exit: 0 });
    expect(await run(...signed)).toMatchObject({ exit: 4 });
    const files = ['--requests', at('requests.json'), '--response', at('response.json')];
    expect(await run('ceremony', 'verify', ...files)).toMatchObject({ exit: 0 });
    expect(await run('ceremony', 'verify', ...files, '--fingerprint', '00'.repeat(32))).toMatchObject({ exit: 6 });
    expect(
      await run('ceremony', 'finish', ...store, '--insecure-no-passphrase', '--response', at('response.json')),
    ).toMatchObject({ exit: 0 });
    expect(await run('crl', ...store, '--ca', 'general-root', '--out', at('x'))).toMatchObject({ exit: 3 });
    expect(await run('crl', ...store, '--ca', 'device-ca', '--out', at('x'))).toMatchObject({ exit: 0 });
    // The roots serve the next ceremony from where they are.
    const again = [
      'ceremony',
      'sign',
      '--requests',
      at('requests.json'),
      '--response',
      at('again.json'),
      '--secret',
      'insecure:geheim',
    ];
    const keys = ['software-signing-root', 'general-root'].flatMap((name) => [
      '--root',
      `${name}=file:${at('vault')}/${name}.key`,
    ]);
    expect(await run(...again, ...keys)).toMatchObject({ exit: 0 });
  });
});

describe.skipIf(opensslMissing() !== undefined || programMissing('curl') !== undefined)('a device certificate', () => {
  it('opens mutual TLS with curl and s_client; another does not', async () => {
    openssl('pkcs12', '-in', 'edge.p12', '-passin', 'pass:geheim', '-nodes', '-nocerts', '-out', 'edge.key');
    expect(
      await run(
        'issue',
        '--ca',
        'backend-ca',
        '--profile',
        'backend',
        '--common-name',
        'server',
        '--dns',
        'server.maker.example',
        '--p12',
        at('server.p12'),
        '--p12-passphrase',
        'insecure:x',
        '--out',
        at('server.crt'),
      ),
    ).toMatchObject({ exit: 0 });
    openssl('pkcs12', '-in', 'server.p12', '-passin', 'pass:x', '-nodes', '-nocerts', '-out', 'server.key');
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ed25519',
      '-nodes',
      '-keyout',
      'other.key',
      '-subj',
      '/CN=other',
      '-out',
      'other.crt',
    );
    const port = await freePort();
    const args = [
      's_server',
      '-accept',
      `127.0.0.1:${port}`,
      '-cert',
      'server.crt',
      '-cert_chain',
      'server.crt',
      '-key',
      'server.key',
      '-CAfile',
      root('general'),
      '-Verify',
      '3',
      '-verify_return_error',
      '-www',
      '-quiet',
    ];
    const server = spawn('openssl', args, { cwd: path, stdio: 'ignore' });
    try {
      const get = async (name: string) => {
        const request = [
          '-s',
          '-S',
          '--resolve',
          `server.maker.example:${port}:127.0.0.1`,
          '--retry',
          '30',
          '--retry-connrefused',
          '--retry-delay',
          '1',
          '--cacert',
          root('general'),
          '--cert',
          `${name}.crt`,
          '--key',
          `${name}.key`,
          `https://server.maker.example:${port}/`,
        ];
        return promisify(execFile)('curl', request, { cwd: path, timeout: 40_000 });
      };
      expect((await get('edge')).stdout).toContain('Client certificate');
      await expect(get('other')).rejects.toThrow();
      const client = [
        's_client',
        '-connect',
        `127.0.0.1:${port}`,
        '-servername',
        'server.maker.example',
        '-verify_hostname',
        'server.maker.example',
        '-CAfile',
        root('general'),
        '-verify_return_error',
        '-cert',
        'edge.crt',
        '-cert_chain',
        'edge.crt',
        '-key',
        'edge.key',
      ];
      const { stdout, status } = spawnSync('openssl', client, {
        cwd: path,
        encoding: 'utf8',
        input: 'Q\n',
        timeout: 20_000,
      });
      expect(status).toBe(0);
      expect(stdout).toContain('Verify return code: 0 (ok)');
    } finally {
      server.kill();
      await once(server, 'exit');
    }
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
