/** The program casemate-tpm: its output, JSON shapes, exit codes, and what tpm2-tools and OpenSSL make of its files. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, runProgram, type Surroundings } from '@casemate/command-line';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseAddress } from '../src/cli/address.js';
import { COMMANDS } from '../src/cli/commands.js';
import { PROGRAM } from '../src/cli/program.js';
import { parsePcrs } from '../src/cli/values.js';
import { VERSION } from '../src/cli/version.js';
import { TPM_CC } from '../src/constants/commands.js';
import { describeWith, type SwtpmServer, startSwtpm } from './client/swtpm-server.js';

const directory = mkdtempSync(join(tmpdir(), 'casemate-cli-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const file = (name: string): string => join(directory, name);
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

interface Ran {
  readonly code: number;
  readonly out: Buffer;
  readonly text: string;
  readonly err: string;
  // biome-ignore lint/suspicious/noExplicitAny: the tests look into shapes that they check
  readonly json: any;
}

interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  readonly terminal?: boolean;
  readonly columns?: number;
  readonly answer?: string;
}

/** Runs the program in this process. */
async function run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const out: Buffer[] = [];
  let err = '';
  const { input = '', env = {}, terminal = false, columns = 80, answer } = options;
  const surroundings: Surroundings = {
    env,
    readInput: async () => new Uint8Array(Buffer.from(input)),
    out: async (data) => void out.push(Buffer.from(data)),
    err: (text) => {
      err += text;
    },
    isTerminal: { out: terminal, err: terminal },
    columns,
    askSecret: async () => answer,
    onInterrupt: () => () => undefined,
  };
  const code = await runProgram(PROGRAM, args, surroundings);
  const all = Buffer.concat(out);
  const text = all.toString();
  return { code, out: all, text, err, json: args.includes('--json') && text !== '' ? JSON.parse(text) : undefined };
}

describe('the command line', () => {
  it('has a help for the program, for every group and for every command', async () => {
    const help = await run(['--help']);
    expect(help.code).toBe(EXIT.OK);
    for (const command of COMMANDS) {
      expect(help.text).toContain(command.name);
      const own = await run([...command.name.split(' '), '--help']);
      expect(own).toMatchObject({ code: EXIT.OK, err: '' });
      expect(own.text).toContain(command.summary);
      for (const option of Object.keys(command.options ?? {})) expect(own.text).toContain(`--${option}`);
    }
    expect((await run(['nv', '--help'])).text).toContain('nv define');
    expect((await run(['help'])).text).toBe(help.text);
  });

  it('keeps the lines of its help within a page, but for examples, and in colours only on a terminal', async () => {
    for (const args of [['--help'], ...COMMANDS.map(({ name }) => [...name.split(' '), '--help'])]) {
      const { text } = await run(args);
      for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(125);
      expect(text).not.toContain('\u001b');
      expect((await run(args, { terminal: true })).text).toContain('\u001b[');
      expect((await run(args, { terminal: true, env: { NO_COLOR: '1' } })).text).not.toContain('\u001b');
    }
  });

  it('tells the version of its package', async () => {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    expect(VERSION).toBe(manifest.version);
    expect((await run(['--version'])).text).toBe(`casemate-tpm ${VERSION}\n`);
  });

  it.each([
    ['no command', ['--json']],
    ['an unknown command', ['frobnicate']],
    ['an unknown command of a group', ['nv', 'frobnicate']],
    ['an unknown option', ['pcrs', '--frobnicate']],
    ['an option without its value', ['pcrs', '--tpm']],
    ['an option given twice', ['quote', '--nonce', '00', '--nonce', '01']],
    ['a missing argument', ['unseal']],
    ['an argument too many', ['random', '8', '9']],
    ['a number that is none', ['random', 'many']],
    ['a PCR that no TPM has', ['pcrs', 'sha256:24']],
    ['a bank that no TPM has', ['pcrs', 'md5:0']],
    ['a TPM address of no kind', ['pcrs', '--tpm', 'telepathy:uri']],
    ['a quote without nonce', ['quote']],
    ['a handle of the wrong kind', ['nv', 'read', '0x81000001']],
    ['an unknown attribute', ['nv', 'define', '0x01800001', '--size', '1', '--attributes', 'ownerread|purple']],
    ['a password from nowhere', ['nv', 'read', '0x01800001', '--password', 'secret']],
    ['a timeout that is none', ['info', '--timeout', 'soon', '--tpm', 'swtpm:port=1']],
  ])('refuses %s with exit code 2', async (_what, args) => {
    const { code, err, out } = await run(args);
    expect(code).toBe(EXIT.USAGE);
    expect(err).not.toBe('');
    expect(out.length).toBe(0);
  });

  it('tells failures as JSON where JSON was asked for', async () => {
    const { code, err } = await run(['pcrs', '--json', '--tpm', 'device:/nonexistent']);
    expect(code).toBe(EXIT.UNREACHABLE);
    expect(JSON.parse(err)).toEqual({
      error: {
        kind: 'unreachable',
        exit: 3,
        message: 'no TPM at /nonexistent: it does not exist',
        remedy: expect.stringContaining('utpm'),
        response: null,
      },
    });
  });

  it('understands addresses of its own and TCTI strings', () => {
    expect(parseAddress('/dev/tpm0')).toEqual({ type: 'device', path: '/dev/tpm0' });
    expect(parseAddress('device')).toEqual({ type: 'device', path: '/dev/tpmrm0' });
    expect(parseAddress('swtpm')).toEqual({ type: 'swtpm', host: '127.0.0.1', port: 2321 });
    expect(parseAddress('swtpm:host=h,port=7')).toEqual({ type: 'swtpm', host: 'h', port: 7 });
    expect(() => parseAddress('swtpm:path=/a,b=c')).toThrow(/none of host, port and path/);
    expect(parseAddress('libtss2-tcti-mssim.so.0:port=9')).toEqual({ type: 'mssim', host: '127.0.0.1', port: 9 });
    expect(parseAddress('libtss2-tcti-device.so:/dev/tpmrm0')).toEqual({ type: 'device', path: '/dev/tpmrm0' });
    expect(() => parseAddress('tabrmd:bus_type=session')).toThrow(/D-Bus/);
    expect(() => parseAddress('swtpm:port=99999')).toThrow(/port/);
  });

  it('understands PCRs as tpm2-tools write them, and ranges', () => {
    expect(parsePcrs(['sha256:0,7+sha1:1'], 'x')).toEqual({ sha256: [0, 7], sha1: [1] });
    expect(parsePcrs(['0-3,2', 'sha256:9'], 'x')).toEqual({ sha256: [0, 1, 2, 3, 9] });
    expect(parsePcrs(['sha384:all'], 'x').sha384).toHaveLength(24);
  });
});

describe('a TPM that is not there, or does not answer', () => {
  let server: Server;
  beforeAll(() => {
    server = createServer((socket) => socket.on('error', () => undefined));
    return new Promise<void>((resolve) => server.listen(file('mute'), resolve));
  });
  afterAll(() => void server.close());

  it.each([
    ['no device', 'device:/nonexistent', /it does not exist/],
    ['nobody at a port', 'swtpm:port=1', /nobody listens/],
    ['nobody at a socket', 'swtpm:path=/nonexistent', /it does not exist/],
    ['no simulator', 'mssim:port=1', /nobody listens/],
  ])('ends with exit code 3: %s', async (_what, address, message) => {
    const { code, err } = await run(['pcrs', '--tpm', address]);
    expect(code).toBe(EXIT.UNREACHABLE);
    expect(err).toMatch(message);
  });

  it('ends with exit code 3 after the time that was given', async () => {
    const { code, err } = await run(['pcrs', '--tpm', `swtpm:path=${file('mute')}`, '--timeout', '0.2']);
    expect(code).toBe(EXIT.UNREACHABLE);
    expect(err).toMatch(/within 200 ms/);
  });
});

describe('decode', () => {
  const RANDOM = '80010000000c0000017b0004 80010000001000000000 0004deadbeef';

  it('explains hexadecimal on standard input, and leaves secrets out unless asked', async () => {
    const plain = await run(['decode'], { input: RANDOM });
    expect(plain.code).toBe(EXIT.OK);
    expect(plain.text).toMatch(/^#1 {2}TPM2_GetRandom {2}→ TPM_RC_SUCCESS\n/);
    expect(plain.text).not.toContain('deadbeef');
    expect((await run(['decode', '--unsafe-show-secrets'], { input: RANDOM })).text).toContain('deadbeef');
    const { json } = await run(['decode', '--json'], { input: RANDOM });
    expect(Object.keys(json)).toEqual(['format', 'problems', 'exchanges']);
    expect(json.exchanges[0].command.name).toBe('TPM2_GetRandom');
  });

  it('ends with exit code 7 for what is no recording, and 1 for no file', async () => {
    expect((await run(['decode'], { input: 'hello' })).code).toBe(EXIT.MALFORMED);
    expect((await run(['decode', '/nonexistent'])).code).toBe(EXIT.FAILED);
  });
});

describeWith(['swtpm'], 'the program on swtpm', () => {
  let server: SwtpmServer;
  beforeAll(async () => {
    server = await startSwtpm({ unix: true });
  });
  afterAll(() => server?.stop());

  const tpm = (args: readonly string[], options: RunOptions = {}) =>
    run(args, { ...options, env: { CASEMATE_TPM: `swtpm:path=${server.path}`, ...options.env } });

  it('leaves no object and no session in the TPM', async () => {
    await tpm(['seal'], { input: 'x' });
    await tpm(['quote', '--nonce', '00']);
    const { json } = await tpm(['handles', '--json']);
    expect(json).toEqual([]);
  });

  it('takes the address of TPM2TOOLS_TCTI', async () => {
    const { code } = await run(['random', '4'], { env: { TPM2TOOLS_TCTI: `swtpm:path=${server.path}` } });
    expect(code).toBe(EXIT.OK);
  });

  it('shows what the TPM is', async () => {
    const { json, code } = await tpm(['info', '--json']);
    expect(code).toBe(EXIT.OK);
    expect(json).toMatchObject({
      manufacturer: 'IBM',
      specification: { family: '2.0', level: 0 },
      pcrBanks: ['sha1', 'sha256', 'sha384', 'sha512'],
      slots: { transient: 3 },
      lockout: { active: false, failures: 0 },
    });
    expect(json.algorithms).toContain('ECDSA');
    expect((await tpm(['info'])).text).toMatch(/manufacturer +IBM/);
  });

  it('shows every group of capabilities', async () => {
    const groups = [
      'algs',
      'handles-persistent',
      'commands',
      'pp-commands',
      'audit-commands',
      'pcrs',
      'properties-fixed',
      'properties-variable',
      'pcr-properties',
      'ecc-curves',
    ];
    for (const group of groups) {
      const { json, code } = await tpm(['getcap', group, '--json']);
      expect(code).toBe(EXIT.OK);
      expect(Array.isArray(json)).toBe(true);
    }
    expect((await tpm(['getcap', 'commands', '--json'])).json.length).toBeGreaterThan(100);
    expect((await tpm(['getcap', 'properties-fixed'])).text).toContain('TPM_PT_MANUFACTURER');
    expect((await tpm(['getcap', 'nonsense'])).code).toBe(EXIT.USAGE);
  });

  it('shows PCRs as JSON and as a table that fits the terminal', async () => {
    const { json } = await tpm(['pcrs', 'sha256:0,16', '--json']);
    expect(json).toEqual({ sha256: { 0: '00'.repeat(32), 16: '00'.repeat(32) } });
    const { text } = await tpm(['pcrs'], { terminal: true, columns: 80, env: { NO_COLOR: '1' } });
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect(text.split('\n').filter((line) => /^ +\d+ {2}/.test(line))).toHaveLength(96);
    expect((await tpm(['pcrs', 'sha256:7'])).text).toBe(`sha256\n   7  ${'00'.repeat(32)}  Secure Boot policy\n`);
  });

  it('extends a PCR by digests and by hashes of data', async () => {
    const digest = '11'.repeat(32);
    const { json } = await tpm(['extend', '16', `sha256=${digest}`, '--json']);
    expect(json.sha256[16]).toMatch(/^[0-9a-f]{64}$/);
    writeFileSync(file('event'), 'event');
    const all = await tpm(['extend', '23', '--data', file('event'), '--json']);
    expect(Object.keys(all.json)).toEqual(['sha1', 'sha256', 'sha384', 'sha512']);
    expect((await tpm(['extend', '16', 'sha256=11'])).code).toBe(EXIT.USAGE);
    expect((await tpm(['extend', '17', `sha256=${digest}`])).code).toBe(EXIT.UNAUTHORISED);
  });

  it('gives random bytes raw, as hexadecimal, as base64 and into a file', async () => {
    expect((await tpm(['random', '100'])).out).toHaveLength(100);
    expect((await tpm(['random', '8', '--format', 'hex'])).text).toMatch(/^[0-9a-f]{16}\n$/);
    expect((await tpm(['random', '8', '--format', 'base64'])).text).toMatch(/^[A-Za-z0-9+/]{11}=\n$/);
    expect((await tpm(['random', '8'], { terminal: true })).text).toMatch(/^[0-9a-f]{16}\n$/);
    expect((await tpm(['random', '8', '--json'])).json).toEqual({ random: expect.stringMatching(/^[0-9a-f]{16}$/) });
    await tpm(['random', '8', '--out', file('random')]);
    expect(statSync(file('random'))).toMatchObject({ size: 8 });
    expect(statSync(file('random')).mode & 0o777).toBe(0o600);
    expect((await tpm(['random', '8', '--out', file('no/such/place')])).code).toBe(EXIT.FAILED);
    expect((await tpm(['random', '8', '--format', 'octal'])).code).toBe(EXIT.USAGE);
  });

  it('gives sealed data back, whole and to the byte', async () => {
    const data = Uint8Array.of(0, 1, 0xff, 0x0a);
    const { code } = await tpm(['seal', '-o', file('plain.pem')], { input: data });
    expect(code).toBe(EXIT.OK);
    expect(readFileSync(file('plain.pem'), 'utf8')).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----/);
    expect(hexOf((await tpm(['unseal', file('plain.pem')])).out)).toBe(hexOf(data));
    expect((await tpm(['unseal', file('plain.pem'), '--json'])).json).toEqual({ data: hexOf(data) });
    const json = (await tpm(['seal', '--json', '--pcr', '7'], { input: data })).json;
    expect(json).toEqual({
      pem: expect.any(String),
      name: expect.any(String),
      pcrs: 'sha256:7',
      password: false,
      parent: '0x40000001',
    });
    expect((await tpm(['seal'], { input: '' })).code).toBe(EXIT.MALFORMED);
    expect((await tpm(['seal'], { input: 'x'.repeat(129) })).code).toBe(EXIT.MALFORMED);
  });

  it('gives data sealed under PCRs back only while they stand', async () => {
    await tpm(['seal', '--pcr', 'sha256:16+sha1:16', '-o', file('pcr.pem')], { input: 'secret' });
    expect((await tpm(['unseal', file('pcr.pem')])).text).toBe('secret');
    await tpm(['extend', '16', `sha256=${'22'.repeat(32)}`]);
    const { code, err, out } = await tpm(['unseal', file('pcr.pem')]);
    expect(code).toBe(EXIT.UNAUTHORISED);
    expect(err).toMatch(/PCRs/);
    expect(out).toHaveLength(0);
  });

  it('takes passwords from files, the environment, descriptors and the terminal, alone and with PCRs', async () => {
    writeFileSync(file('password'), 'opensesame\n');
    const env = { PASSWORD: 'opensesame' };
    await tpm(['seal', '--password-file', file('password'), '-o', file('pw.pem')], { input: 'secret' });
    const descriptor = openSync(file('password'), 'r');
    const sources = [
      `file:${file('password')}`,
      'env:PASSWORD',
      `fd:${descriptor}`,
      'prompt',
      '-',
      'insecure:opensesame',
    ];
    for (const source of sources) {
      const { text, err } = await tpm(['unseal', file('pw.pem'), '--password', source], {
        env,
        answer: 'opensesame',
        input: 'opensesame\n',
      });
      expect(err).toBe('');
      expect(text).toBe('secret');
    }
    const none = await tpm(['unseal', file('pw.pem')]);
    expect(none).toMatchObject({ code: EXIT.UNAUTHORISED });
    expect(none.err).toContain('--password');
    const wrong = await tpm(['unseal', file('pw.pem'), '--password', 'insecure:wrong']);
    expect(wrong).toMatchObject({ code: EXIT.UNAUTHORISED });
    expect(wrong.err).toContain('TPM_RC_AUTH_FAIL');
    expect((await tpm(['unseal', file('pw.pem'), '--password', 'prompt'])).code).toBe(EXIT.USAGE);
    expect((await tpm(['unseal', file('pw.pem'), '--password', 'env:NOTHING'])).code).toBe(EXIT.USAGE);
    expect((await tpm(['unseal', file('pw.pem'), '--password', 'fd:77'])).code).toBe(EXIT.USAGE);
    await tpm(['seal', '--pcr', 'sha256:23', '--password', 'env:PASSWORD', '-o', file('both.pem')], {
      input: 'both',
      env,
    });
    expect((await tpm(['unseal', file('both.pem'), '--password', 'env:PASSWORD'], { env })).text).toBe('both');
    expect((await tpm(['unseal', file('both.pem'), '--password', 'insecure:no'])).code).toBe(EXIT.UNAUTHORISED);
    expect((await tpm(['lockout', '--reset'])).code).toBe(EXIT.OK);
    expect((await tpm(['info', '--json'])).json.lockout.failures).toBe(0);
  });

  it('refuses sealed data of another TPM, damaged files, and keys', async () => {
    await tpm(['seal', '-o', file('mine.pem')], { input: 'secret' });
    const pem = readFileSync(file('mine.pem'), 'utf8');
    writeFileSync(file('cut.pem'), pem.slice(0, 200));
    expect((await tpm(['unseal', file('cut.pem')])).code).toBe(EXIT.MALFORMED);
    const der = Buffer.from(pem.replace(/-----.*-----|\n/g, ''), 'base64');
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    writeFileSync(file('bad.der'), der);
    const bad = await tpm(['unseal', file('bad.der')]);
    expect(bad.code).toBe(EXIT.REFUSED);
    expect(bad.err).toContain('TPM_RC_INTEGRITY');
    await tpm(['key', 'create', '-o', file('key.pem')]);
    expect((await tpm(['unseal', file('key.pem')])).code).toBe(EXIT.USAGE);
  });

  it('quotes, and checks the quote', async () => {
    const made = await tpm([
      'quote',
      '--nonce',
      'c0ffee',
      '--pcr',
      'sha1:0+sha256:0-7,16',
      '-o',
      file('quote.json'),
      '--out-public',
      file('ak.pem'),
    ]);
    expect(made).toMatchObject({ code: EXIT.OK, text: '' });
    const bundle = JSON.parse(readFileSync(file('quote.json'), 'utf8'));
    expect(Object.keys(bundle)).toEqual(['quoted', 'signature', 'nonce', 'pcrs', 'key']);
    const check = ['checkquote', file('quote.json'), '--key', file('ak.pem')];
    const good = await run([...check, '--nonce', 'c0ffee', '--json']);
    expect(good.code).toBe(EXIT.OK);
    expect(good.json.ok).toBe(true);
    expect(good.json.checks.map(({ name }: { name: string }) => name)).toEqual([
      'statement',
      'signature',
      'nonce',
      'pcrs',
    ]);
    expect((await run([...check, '--nonce', 'c0ffee'])).text).toMatch(/^ok +statement/);
    expect((await run([...check, '--nonce', 'c0ffed'])).code).toBe(EXIT.CHECK_FAILED);
    expect((await run(['checkquote', file('quote.json'), '--nonce', 'c0ffee'])).code).toBe(EXIT.USAGE);
    const failing = async (change: (bundle: Record<string, unknown>) => void): Promise<readonly string[]> => {
      const copy = structuredClone(bundle);
      change(copy);
      const { code, json } = await run(['checkquote', '-', '--key', file('ak.pem'), '--nonce', 'c0ffee', '--json'], {
        input: JSON.stringify(copy),
      });
      expect(code).toBe(EXIT.CHECK_FAILED);
      return json.checks.filter(({ ok }: { ok: boolean }) => !ok).map(({ name }: { name: string }) => name);
    };
    expect(
      await failing((copy) => Object.assign(copy, { pcrs: { ...bundle.pcrs, sha1: { 0: '11'.repeat(20) } } })),
    ).toEqual(['pcrs']);
    expect(await failing((copy) => Object.assign(copy, { pcrs: { sha1: bundle.pcrs.sha1 } }))).toEqual(['pcrs']);
    expect(
      await failing((copy) =>
        Object.assign(copy, {
          signature: bundle.signature.replace(/..$/, (end: string) => (end === '00' ? '01' : '00')),
        }),
      ),
    ).toEqual(['signature']);
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' });
    writeFileSync(file('other.pem'), other);
    expect((await run(['checkquote', file('quote.json'), '--key', file('other.pem'), '--nonce', 'c0ffee'])).code).toBe(
      EXIT.CHECK_FAILED,
    );
  });

  it('never crashes on bundles that were tampered with (property)', async () => {
    const bundle = readFileSync(file('quote.json'));
    const mutation = fc.array(fc.tuple(fc.nat(bundle.length - 1), fc.nat(127)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(mutation, async (changes) => {
        const input = Buffer.from(bundle);
        for (const [at, value] of changes) input[at] = value;
        const check = ['checkquote', '-', '--key', file('ak.pem'), '--nonce', 'c0ffee'];
        const { code } = await run(check, { input });
        expect([EXIT.OK, EXIT.CHECK_FAILED, EXIT.MALFORMED, EXIT.USAGE]).toContain(code);
      }),
      { numRuns: 300 },
    );
  });

  it('refuses bundles that are none', async () => {
    for (const input of [
      '',
      '{}',
      '[]',
      'null',
      '{"quoted":"zz","signature":""}',
      '{"quoted":"00","signature":"00"}',
      '{"quoted":"00","signature":"00","pcrs":{"md5":{}}}',
    ]) {
      expect((await run(['checkquote', '-', '--key', file('ak.pem'), '--nonce', '00'], { input })).code).toBe(
        EXIT.MALFORMED,
      );
    }
  });

  it('defines, writes, reads, counts, locks and deletes NV indexes', async () => {
    const data = '0x01800020';
    expect((await tpm(['nv', 'define', data, '--size', '2000'])).code).toBe(EXIT.OK);
    const content = Buffer.alloc(2000, 'abc');
    expect((await tpm(['nv', 'read', data])).err).toContain('nv write');
    expect((await tpm(['nv', 'write', data], { input: content })).code).toBe(EXIT.OK);
    expect((await tpm(['nv', 'read', data])).out.equals(content)).toBe(true);
    expect((await tpm(['nv', 'read', data, '--offset', '3', '--size', '3'])).text).toBe('abc');
    expect((await tpm(['nv', 'read', data, '--by', 'owner', '--size', '3'])).text).toBe('abc');
    const listed = (await tpm(['nv', 'list', '--json'])).json;
    expect(listed).toContainEqual({
      index: data,
      kind: 'ordinary',
      size: 2000,
      attributes: expect.arrayContaining(['ownerwrite', 'authread', 'written']),
      nameAlg: 'TPM_ALG_SHA256',
      policy: null,
    });
    expect((await tpm(['nv', 'list'])).text).toMatch(/0x01800020 +ordinary +2000 bytes/);
    expect((await tpm(['nv', 'define', data, '--size', '4'])).code).toBe(EXIT.REFUSED);
    expect((await tpm(['nv', 'undefine', data])).code).toBe(EXIT.OK);
    expect((await tpm(['nv', 'read', data])).code).toBe(EXIT.REFUSED);

    await tpm(['nv', 'define', '0x01800021', '--type', 'counter']);
    await tpm(['nv', 'increment', '0x01800021']);
    const { json } = await tpm(['nv', 'read', '0x01800021', '--json']);
    await tpm(['nv', 'increment', '0x01800021']);
    expect(BigInt((await tpm(['nv', 'read', '0x01800021'])).text)).toBe(BigInt(json.value) + 1n);

    await tpm(['nv', 'define', '0x01800022', '--type', 'bits']);
    await tpm(['nv', 'setbits', '0x01800022', '8000000000000001']);
    expect((await tpm(['nv', 'read', '0x01800022'])).text).toBe('0x8000000000000001\n');

    await tpm(['nv', 'define', '0x01800023', '--type', 'extend']);
    await tpm(['nv', 'extend', '0x01800023'], { input: 'x' });
    expect((await tpm(['nv', 'read', '0x01800023'])).out).toHaveLength(32);

    await tpm(['nv', 'define', '0x01800025', '--type', 'pin-fail', '--password', 'insecure:1234']);
    expect((await tpm(['nv', 'pin', '0x01800025', '5', '--by', 'owner'])).err).toBe('');
    expect((await tpm(['nv', 'read', '0x01800025', '--by', 'owner', '--format', 'hex'])).text).toBe(
      '0000000000000005\n',
    );

    const locking = 'ownerread|ownerwrite|read_stclear|write_stclear';
    await tpm(['nv', 'define', '0x01800024', '--size', '1', '--attributes', locking]);
    await tpm(['nv', 'write', '0x01800024'], { input: 'x' });
    expect((await tpm(['nv', 'lock', '0x01800024', 'write'])).code).toBe(EXIT.OK);
    const locked = await tpm(['nv', 'write', '0x01800024'], { input: 'y' });
    expect(locked).toMatchObject({ code: EXIT.REFUSED });
    expect(locked.err).toContain('TPM_RC_NV_LOCKED');
  });

  it('protects NV indexes by passwords, which never pass in the clear, and by PCRs', async () => {
    const index = '0x01800030';
    const password = 'insecure:open sesame';
    await tpm([
      'nv',
      'define',
      index,
      '--size',
      '4',
      '--attributes',
      'authread|authwrite|no_da',
      '--password',
      password,
    ]);
    await tpm(['nv', 'write', index, '--password', password], { input: 'data' });
    const recording = file('nv.pcapng');
    expect((await tpm(['nv', 'read', index, '--password', password, '--record', recording])).text).toBe('data');
    expect(readFileSync(recording).includes('open sesame')).toBe(false);
    expect((await tpm(['nv', 'read', index])).code).toBe(EXIT.UNAUTHORISED);
    expect((await tpm(['nv', 'read', index, '--by', 'owner'])).code).toBe(EXIT.UNAUTHORISED);

    const bound = '0x01800031';
    await tpm(['nv', 'define', bound, '--size', '1500', '--pcr', 'sha256:23']);
    await tpm(['nv', 'write', bound, '--pcr', 'sha256:23'], { input: 'data' });
    expect((await tpm(['nv', 'read', bound, '--pcr', 'sha256:23', '--size', '4'])).text).toBe('data');
    expect((await tpm(['nv', 'read', bound])).code).toBe(EXIT.UNAUTHORISED);
    await tpm(['extend', '23', `sha256=${'33'.repeat(32)}`]);
    expect((await tpm(['nv', 'read', bound, '--pcr', 'sha256:23'])).code).toBe(EXIT.UNAUTHORISED);
  });

  it('creates keys of every kind, signs what OpenSSL verifies, and makes them persistent', async () => {
    writeFileSync(file('data'), 'to be signed');
    for (const kind of ['ecc-p256', 'ecc-p384', 'rsa-2048']) {
      const key = file(`${kind}.pem`);
      const hash = kind === 'ecc-p384' ? 'sha384' : 'sha256';
      expect((await tpm(['key', 'create', '--type', kind, '--password', 'insecure:pw', '-o', key])).err).toBe('');
      expect((await run(['key', 'public', key, '-o', file('public.pem')])).code).toBe(EXIT.OK);
      const signed = await tpm([
        'key',
        'sign',
        key,
        file('data'),
        '--password',
        'insecure:pw',
        '-o',
        file('signature'),
      ]);
      expect(signed).toMatchObject({ code: EXIT.OK, err: '' });
      const args = ['dgst', `-${hash}`, '-verify', file('public.pem'), '-signature', file('signature'), file('data')];
      expect(execFileSync('openssl', args, { encoding: 'utf8' })).toContain('Verified OK');
      expect((await tpm(['key', 'sign', key, file('data'), '--password', 'insecure:no'])).code).toBe(EXIT.UNAUTHORISED);
      expect((await tpm(['lockout', '--reset'])).code).toBe(EXIT.OK);
    }
    const key = file('ecc-p256.pem');
    expect((await tpm(['key', 'persist', key, '0x81000042'])).text).toBe('0x81000042\n');
    expect((await tpm(['key', 'public', '0x81000042'])).text).toBe((await run(['key', 'public', key])).text);
    expect((await tpm(['key', 'sign', '0x81000042', file('data'), '--password', 'insecure:pw'])).code).toBe(EXIT.OK);
    expect((await tpm(['handles', '--json'])).json[0]).toMatchObject({
      handle: '0x81000042',
      kind: 'persistent',
      type: 'TPM_ALG_ECC',
    });
    expect((await tpm(['handles'])).text).toMatch(/0x81000042 +persistent +ECC P-256/);
    expect((await tpm(['key', 'persist', key, '0x81000042'])).code).toBe(EXIT.REFUSED);
    expect((await tpm(['key', 'evict', '0x81000042'])).code).toBe(EXIT.OK);
    expect((await tpm(['key', 'evict', '0x81000042'])).code).toBe(EXIT.REFUSED);
    expect((await run(['key', 'public', key, '--form', 'ssh'])).text).toMatch(/^ecdsa-sha2-nistp256 /);
  });

  it('uses keys under PCRs, also those whose name has another hash', async () => {
    for (const kind of ['ecc-p256', 'ecc-p384']) {
      const key = file(`bound-${kind}.pem`);
      await tpm(['key', 'create', '--type', kind, '--pcr', 'sha256:16', '-o', key]);
      expect((await tpm(['key', 'sign', key], { input: 'x' })).code).toBe(EXIT.OK);
      await tpm(['extend', '16', `sha256=${'44'.repeat(32)}`]);
      expect((await tpm(['key', 'sign', key], { input: 'x' })).code).toBe(EXIT.UNAUTHORISED);
    }
  });

  it('records what passes, and decodes it', async () => {
    const recording = file('session.pcapng');
    await tpm(['pcrs', 'sha256:7', '--record', recording]);
    await tpm(['random', '4', '--record', recording]);
    const { json, text } = await run(['decode', recording, '--json']);
    const names = json.exchanges.map((exchange: { command: { name: string } | null }) => exchange.command?.name);
    expect(names).toContain('TPM2_PCR_Read');
    expect(names).toContain('TPM2_GetRandom');
    expect(text).not.toBe('');
    expect((await run(['decode', recording])).text).toMatch(/pcrSelectionIn +sha256:7/);
    expect((await tpm(['pcrs', '--record', file('data')])).code).toBe(EXIT.USAGE);
  });

  it('says that there are no EK certificates, with exit code 1', async () => {
    expect((await tpm(['ek'])).code).toBe(EXIT.FAILED);
    expect((await tpm(['ek', '--kind', 'elliptic'])).code).toBe(EXIT.USAGE);
  });

  it('leaves no drafts of its files behind', () => {
    expect(readdirSync(directory).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});

describeWith(['swtpm', 'tpm2_unseal', 'tpm2_checkquote'], 'side by side with tpm2-tools', () => {
  let server: SwtpmServer;
  beforeAll(async () => {
    server = await startSwtpm({ unix: true });
  });
  afterAll(() => server?.stop());
  // tpm2-tools leave objects and sessions where no resource manager takes them away.
  beforeEach(() => {
    for (const kind of ['-t', '-l', '-s']) tool('tpm2_flushcontext', kind);
  });

  const tpm = (args: readonly string[], options: RunOptions = {}) =>
    run(args, { ...options, env: { CASEMATE_TPM: `swtpm:path=${server.path}` } });

  function tool(name: string, ...args: readonly string[]): string {
    const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:path=${server.path}` };
    return execFileSync(name, args, { env, cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  it('tpm2_unseal opens what ours sealed, by password and under PCRs', async () => {
    tool('tpm2_createprimary', '-C', 'o', '-G', 'ecc', '-c', 'srk.ctx');
    tool('tpm2_evictcontrol', '-C', 'o', '-c', 'srk.ctx', '0x81000001');
    tool('tpm2_flushcontext', '-t');
    const parts = [
      '--parent',
      '0x81000001',
      '--out-public',
      file('s.pub'),
      '--out-private',
      file('s.priv'),
      '-o',
      file('s.pem'),
    ];
    await tpm(['seal', ...parts, '--password', 'insecure:pw'], { input: 'by password' });
    tool('tpm2_load', '-C', '0x81000001', '-u', 's.pub', '-r', 's.priv', '-c', 's.ctx');
    expect(tool('tpm2_unseal', '-c', 's.ctx', '-p', 'pw')).toBe('by password');
    tool('tpm2_flushcontext', '-t');
    await tpm(['seal', ...parts, '--pcr', 'sha256:0,16'], { input: 'under PCRs' });
    tool('tpm2_load', '-C', '0x81000001', '-u', 's.pub', '-r', 's.priv', '-c', 's.ctx');
    expect(tool('tpm2_unseal', '-c', 's.ctx', '-p', 'pcr:sha256:0,16')).toBe('under PCRs');
    tool('tpm2_flushcontext', '-t');
    expect((await tpm(['unseal', file('s.pem')])).text).toBe('under PCRs');
  });

  it('ours opens what tpm2_create sealed and tpm2_encodeobject put into a file', async () => {
    tool('tpm2_createprimary', '-C', 'o', '-G', 'ecc', '-c', 'p.ctx');
    writeFileSync(file('theirs'), 'their secret');
    tool('tpm2_create', '-C', 'p.ctx', '-i', 'theirs', '-u', 't.pub', '-r', 't.priv');
    tool('tpm2_evictcontrol', '-C', 'o', '-c', 'p.ctx', '0x81000005');
    tool('tpm2_flushcontext', '-t');
    tool('tpm2_encodeobject', '-C', '0x81000005', '-u', 't.pub', '-r', 't.priv', '-o', 't.pem');
    // It says neither that these are sealed data nor that the password is empty.
    expect((await tpm(['unseal', file('t.pem')])).err).toContain('--password insecure:');
    expect((await tpm(['unseal', file('t.pem'), '--password', 'insecure:'])).text).toBe('their secret');
  });

  it('tpm2_checkquote verifies our quote, and checkquote that of tpm2_quote', async () => {
    const parts = [
      '--out-message',
      file('q.msg'),
      '--out-signature',
      file('q.sig'),
      '--out-pcrs',
      file('q.pcrs'),
      '--out-public',
      file('q.pem'),
    ];
    expect((await tpm(['quote', '--nonce', 'abcd', '--pcr', 'sha256:0,16', ...parts])).code).toBe(EXIT.OK);
    const check = [
      '-u',
      'q.pem',
      '-m',
      'q.msg',
      '-s',
      'q.sig',
      '-f',
      'q.pcrs',
      '-F',
      'values',
      '-l',
      'sha256:0,16',
      '-g',
      'sha256',
    ];
    tool('tpm2_checkquote', ...check, '-q', 'abcd');
    expect(() => tool('tpm2_checkquote', ...check, '-q', 'abce')).toThrow();

    tool('tpm2_createek', '-G', 'ecc', '-c', 'ek.ctx');
    tool('tpm2_createak', '-C', 'ek.ctx', '-G', 'ecc', '-g', 'sha256', '-s', 'ecdsa', '-c', 'ak.ctx', '-u', 'ak.pub');
    tool('tpm2_flushcontext', '-t');
    tool(
      'tpm2_quote',
      '-c',
      'ak.ctx',
      '-l',
      'sha1:1+sha256:2,3',
      '-q',
      'dead',
      '-m',
      't.msg',
      '-s',
      't.sig',
      '-o',
      't.pcrs',
      '-F',
      'values',
    );
    const theirs = [
      'checkquote',
      '--key',
      file('ak.pub'),
      '--message',
      file('t.msg'),
      '--signature',
      file('t.sig'),
      '--pcr-values',
      file('t.pcrs'),
    ];
    const { code, json } = await run([...theirs, '--nonce', 'dead', '--json']);
    expect(code).toBe(EXIT.OK);
    expect(json.checks.map(({ name }: { name: string }) => name)).toEqual([
      'statement',
      'signature',
      'key',
      'nonce',
      'pcrs',
    ]);
    expect(Object.keys(json.pcrs)).toEqual(['sha1', 'sha256']);
    expect((await run([...theirs, '--nonce', 'beef'])).code).toBe(EXIT.CHECK_FAILED);
  });

  it('frees what tpm2-tools left behind', async () => {
    tool('tpm2_createprimary', '-c', 'p.ctx');
    const kinds = async () => (await tpm(['handles', '--json'])).json.map(({ kind }: { kind: string }) => kind);
    expect(await kinds()).toContain('transient');
    expect((await tpm(['flush', '--transient', '--sessions'])).code).toBe(EXIT.OK);
    expect(await kinds()).not.toContain('transient');
    expect((await tpm(['flush'])).code).toBe(EXIT.USAGE);
  });

  it('pcrs and tpm2_pcrread agree', async () => {
    await tpm(['extend', '16', `sha256=${'55'.repeat(32)}`]);
    const { json } = await tpm(['pcrs', 'sha256:16', '--json']);
    expect(tool('tpm2_pcrread', 'sha256:16').toLowerCase()).toContain(json.sha256[16]);
  });

  it('tpm2_nvread reads what ours wrote, and the other way round', async () => {
    await tpm(['nv', 'define', '0x01800040', '--size', '5', '--password', 'insecure:pw']);
    await tpm(['nv', 'write', '0x01800040', '--password', 'insecure:pw'], { input: 'hello' });
    expect(tool('tpm2_nvread', '0x01800040', '-P', 'pw')).toBe('hello');
    writeFileSync(file('five'), 'world');
    tool('tpm2_nvwrite', '0x01800040', '-P', 'pw', '-i', 'five');
    expect((await tpm(['nv', 'read', '0x01800040', '--password', 'insecure:pw'])).text).toBe('world');
  });

  it('tpm2_load takes our keys, and openssl what they sign', async () => {
    const parts = [
      '--parent',
      '0x81000001',
      '--out-public',
      file('k.pub'),
      '--out-private',
      file('k.priv'),
      '-o',
      file('k.pem'),
    ];
    expect((await tpm(['key', 'create', ...parts])).err).toBe('');
    tool('tpm2_load', '-C', '0x81000001', '-u', 'k.pub', '-r', 'k.priv', '-c', 'k.ctx');
    writeFileSync(file('data'), 'to be signed');
    tool('tpm2_sign', '-c', 'k.ctx', '-g', 'sha256', '-f', 'plain', '-o', 'k.sig', 'data');
    await run(['key', 'public', file('k.pem'), '-o', file('k.public')]);
    expect(tool('openssl', 'dgst', '-sha256', '-verify', 'k.public', '-signature', 'k.sig', 'data')).toContain('OK');
  });
});

describe('the program as a process', () => {
  const script = file('cli.mjs');
  beforeAll(async () => {
    const entry = new URL('../src/cli.ts', import.meta.url).pathname;
    const options = { bundle: true, platform: 'node', format: 'esm', target: 'node20' } as const;
    await build({
      ...options,
      entryPoints: [entry],
      outfile: script,
      tsconfig: new URL('../../../tsconfig.base.json', import.meta.url).pathname,
    });
  });

  it('reads standard input, writes standard output, and gives its exit codes', () => {
    const good = spawnSync(process.execPath, [script, 'decode'], { input: '80010000000a00000921', encoding: 'utf8' });
    expect(good).toMatchObject({ status: 0, stderr: '' });
    expect(good.stdout).toContain('TPM_RC_LOCKOUT');
    expect(spawnSync(process.execPath, [script, 'decode'], { input: 'hello' }).status).toBe(7);
    expect(spawnSync(process.execPath, [script, 'info', '--tpm', '/nonexistent']).status).toBe(3);
    expect(spawnSync(process.execPath, [script]).status).toBe(0);
  });

  it('ends quietly when its reader goes away', async () => {
    const child = spawn(process.execPath, [script, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let complaint = '';
    child.stderr.on('data', (text) => {
      complaint += String(text);
    });
    await new Promise((resolve) => child.once('exit', resolve));
    expect(complaint).toBe('');
  });

  describeWith(['swtpm'], 'interrupted from the keyboard', () => {
    let server: SwtpmServer;
    beforeAll(async () => {
      server = await startSwtpm({ unix: true });
    });
    afterAll(() => server?.stop());

    it('frees what it has put into the TPM, and ends with exit code 130', async () => {
      const sent: number[] = [];
      let child: ReturnType<typeof spawn> | undefined;
      // Between the program and swtpm: the signal comes while the TPM makes the key.
      const between = createServer((socket) => {
        const upstream = connect(server.path ?? '');
        upstream.pipe(socket);
        socket.on('close', () => upstream.destroy());
        socket.on('data', (command: Buffer) => {
          sent.push(command.readUInt32BE(6));
          const isFirst = sent.length === 1;
          if (isFirst) child?.kill('SIGINT');
          setTimeout(() => upstream.write(command), isFirst ? 300 : 0);
        });
      });
      await new Promise<void>((resolve) => between.listen(file('between'), resolve));
      const address = `swtpm:path=${file('between')}`;
      child = spawn(process.execPath, [script, 'quote', '--nonce', '00', '--tpm', address], { stdio: 'ignore' });
      const code = await new Promise((resolve) => child?.once('exit', resolve));
      between.close();
      expect(code).toBe(EXIT.INTERRUPTED);
      expect(sent).toEqual([TPM_CC.CreatePrimary, TPM_CC.FlushContext]);
      const left = await run(['handles', '--json'], { env: { CASEMATE_TPM: `swtpm:path=${server.path}` } });
      expect(left.json).toEqual([]);
    });
  });
});
