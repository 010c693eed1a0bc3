/** The program pal: what it prints, what it writes, and how it ends. */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, runProgram, type Surroundings } from '@casemate/command-line';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PROGRAM } from '../src/cli/program.js';
import { VERSION } from '../src/cli/version.js';
import { inspectPal, linkPal, measurePal, parsePalSignature } from '../src/index.js';
import { pal } from './modules.js';

const root = mkdtempSync(join(tmpdir(), 'casemate-pal-cli-'));
const home = process.cwd();
afterAll(() => rmSync(root, { recursive: true, force: true }));
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(root, 'project-'));
  process.chdir(directory);
});
afterEach(() => process.chdir(home));

interface Ran {
  readonly code: number;
  readonly text: string;
  readonly err: string;
  // biome-ignore lint/suspicious/noExplicitAny: the tests look into shapes that they check
  readonly json: any;
}

/** Runs the program in this process. */
async function run(
  args: readonly string[],
  options: Partial<Surroundings> & { terminal?: boolean } = {},
): Promise<Ran> {
  const { terminal = false, ...more } = options;
  let text = '';
  let err = '';
  const surroundings: Surroundings = {
    env: {},
    readInput: async () => new Uint8Array(0),
    out: async (data) => {
      text += Buffer.from(data).toString();
    },
    err: (told) => {
      err += told;
    },
    isTerminal: { out: terminal, err: terminal },
    columns: 100,
    askSecret: async () => undefined,
    onInterrupt: () => () => undefined,
    ...more,
  };
  const code = await runProgram(PROGRAM, args, surroundings);
  return { code, text, err, json: args.includes('--json') ? JSON.parse(text || err) : undefined };
}

const image = linkPal({ module: pal(), name: 'small', version: '1.2.3' });
const keys = generateKeyPairSync('ed25519');
const pem = keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const publicPem = keys.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

function writeImage(): void {
  writeFileSync('small.pal', image);
  writeFileSync('signer.pem', pem);
  writeFileSync('signer.pub', publicPem);
}

const missing = ['gcc', 'clang'].filter((program) => spawnSync(program, ['--version']).status !== 0);
if (missing.length > 0 && process.env.MUST_RUN === '1') throw new Error(`missing: ${missing.join(', ')}`);
const withCompilers = it.skipIf(missing.length > 0);

describe('the command line of pal', () => {
  it('has a help for the program and each command, within the page', async () => {
    const help = await run(['--help']);
    expect(help.code).toBe(EXIT.OK);
    for (const { name, summary, options = {} } of PROGRAM.commands) {
      expect(help.text).toContain(summary);
      const own = await run([name, '--help']);
      expect(own).toMatchObject({ code: EXIT.OK, err: '' });
      for (const option of Object.keys(options)) expect(own.text).toContain(`--${option}`);
      const [before] = own.text.split('\nexamples\n');
      expect(before?.split('\n').filter((line) => line.length > 100)).toEqual([]);
    }
    expect((await run(['--version'])).text).toBe(`pal ${VERSION}\n`);
  });

  it('tells the version of the package', () => {
    const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8'));
    expect(VERSION).toBe(manifest.version);
  });

  it.each([
    [['buidl'], 'Did you mean "build"?'],
    [['measure'], 'something is missing'],
    [['build', 'x.c', '--engine', 'qemu', '--version', '1'], 'expected kvm, wasm or both'],
    [['build', 'x.c'], 'has no version'],
    [['build', 'x.c', '--version', '1', '--stack', '64q'], '--stack: expected a number of bytes'],
    [['build', 'x.c', '--classic', '--engine', 'kvm'], 'does not go with --classic'],
    [['build', 'x.c', '--version', '1', '--symbol', 'y'], 'goes with --classic'],
    [['build', 'x.c', 'y.ts', '--version', '1'], 'alone'],
    [['measure', 'x.pal', '--expect', '12'], '64 hexadecimal digits'],
    [['init', '../x'], 'no name for a PAL'],
    [['init', 'x', '--language', 'rust'], 'expected ts or c'],
  ])('refuses %j', async (args, expected) => {
    const { code, err } = await run(args);
    expect(code).toBe(EXIT.USAGE);
    expect(err).toContain(expected);
  });
});

describe('an image on the command line', () => {
  beforeEach(writeImage);

  it('is measured as sha256sum does it, signed or not', async () => {
    const line = `${hex(measurePal(image))}  small.pal\n`;
    expect(await run(['measure', 'small.pal'])).toMatchObject({ code: EXIT.OK, text: line });
    expect(spawnSync('sha256sum', ['small.pal'], { encoding: 'utf8' }).stdout).toBe(line);
    await run(['sign', 'small.pal', '--signing-key', 'signer.pem']);
    expect((await run(['measure', 'small.pal'])).text).toBe(line);
    expect((await run(['measure', 'small.pal', '--json'])).json).toEqual([
      { file: 'small.pal', measurement: hex(measurePal(image)) },
    ]);
    expect((await run(['measure', 'small.pal', '--expect', hex(measurePal(image))])).code).toBe(EXIT.OK);
    expect((await run(['measure', 'small.pal', '--expect', '0'.repeat(64)])).code).toBe(EXIT.CHECK_FAILED);
  });

  it('is described with sizes, sections and a picture of its memory', async () => {
    const { text, code } = await run(['inspect', 'small.pal']);
    expect(code).toBe(EXIT.OK);
    for (const expected of [
      'small 1.2.3',
      'WebAssembly',
      hex(measurePal(image)),
      '1 page, at most 257 pages',
      'signer       none',
    ]) {
      expect(text).toContain(expected);
    }
    expect(text.split('\n').slice(-8)).toEqual(
      [
        '0x000000000 ┬─────────────────────────────────┬',
        '            │ memory   rw-             64 KiB │ ░░░░░░░░░░░░░░░░',
        '0x000010000 ┼─────────────────────────────────┤',
        '            │ growth   rw-             16 MiB │ ░░░░░░░░░░░░░░░░░░░░░░░░',
        '0x001010000 ┼─────────────────────────────────┤',
        '            │ PARAM    rw-             64 KiB │ ░░░░░░░░░░░░░░░░',
        '0x001020000 ┴─────────────────────────────────┘',
        ...['            █ from the image  ░ zeros at the start  (as long as the logarithm of the size)', ''],
      ].slice(-8),
    );
    expect((await run(['inspect', 'small.pal', '--json'])).json).toEqual(JSON.parse(JSON.stringify(inspectPal(image))));
    expect((await run(['inspect', 'small.pal'], { terminal: true, env: { TERM: 'xterm' } })).text).toContain('\u001b[');
  });

  it('is signed in place or elsewhere, and verified by key, digest and security version', async () => {
    const signed = await run([
      'sign',
      'small.pal',
      '--signing-key',
      'signer.pem',
      '--security-version',
      '3',
      '-o',
      'other.pal',
    ]);
    expect(signed.code).toBe(EXIT.OK);
    expect(readFileSync('small.pal')).toEqual(Buffer.from(image));
    const signature = parsePalSignature(readFileSync('other.pal'));
    expect(signature?.securityVersion).toBe(3);
    const id = hex(signature?.signer ?? new Uint8Array(0));
    for (const who of [
      ['--signer', 'signer.pub'],
      ['--signer-id', id.toUpperCase()],
    ]) {
      expect((await run(['verify', 'other.pal', ...who, '--security-version', '3'])).code).toBe(EXIT.OK);
      const old = await run(['verify', 'other.pal', ...who, '--security-version', '4']);
      expect(old).toMatchObject({
        code: EXIT.CHECK_FAILED,
        err: expect.stringContaining('at least security version 4, got 3'),
      });
    }
    const { json } = await run(['verify', 'other.pal', '--signer-id', id, '--json']);
    expect(json).toMatchObject({ name: 'small', signature: { algorithm: 'ed25519', signer: id, securityVersion: 3 } });
    expect((await run(['inspect', 'other.pal'])).text).toContain(`${id} (ed25519), not verified`);
  });

  it('is refused by verify where it is unsigned, changed, or of somebody else, and where nobody is accepted', async () => {
    expect((await run(['verify', 'small.pal', '--signer', 'signer.pub'])).code).toBe(EXIT.CHECK_FAILED);
    await run(['sign', 'small.pal', '--signing-key', 'signer.pem']);
    expect((await run(['verify', 'small.pal'])).code).toBe(EXIT.USAGE);
    expect((await run(['verify', 'small.pal', '--signer-id', '0'.repeat(64)])).code).toBe(EXIT.CHECK_FAILED);
    const bytes = readFileSync('small.pal');
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
    writeFileSync('changed.pal', bytes);
    expect((await run(['verify', 'changed.pal', '--signer', 'signer.pub'])).code).toBe(EXIT.CHECK_FAILED);
    writeFileSync('cut.pal', bytes.subarray(0, bytes.length - 1));
    expect((await run(['verify', 'cut.pal', '--signer', 'signer.pub'])).code).toBe(EXIT.MALFORMED);
    expect((await run(['inspect', 'signer.pub'])).code).toBe(EXIT.MALFORMED);
    expect((await run(['inspect', 'nothing.pal'])).code).toBe(EXIT.FAILED);
  });

  it('is signed by an encrypted key with its passphrase', async () => {
    const how = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open sesame' } as const;
    writeFileSync('locked.pem', keys.privateKey.export(how));
    const sign = ['sign', 'small.pal', '--signing-key', 'locked.pem'];
    expect(await run(sign)).toMatchObject({ code: EXIT.UNAUTHORISED, err: expect.stringContaining('--passphrase') });
    const env = { SECRET: 'open sesame' };
    expect((await run([...sign, '--passphrase', 'env:SECRET'], { env })).code).toBe(EXIT.OK);
  });
});

describe('building on the command line', () => {
  beforeAll(() => mkdirSync(join(root, 'bin')));

  withCompilers('begins with a template in C that builds for both engines, with the names of its files', async () => {
    mkdirSync('include');
    const header = readFileSync(join(import.meta.dirname, '..', '..', 'trustvisor', 'include', 'casemate-pal.h'));
    writeFileSync('include/casemate-pal.h', header);
    expect((await run(['init', 'vault', '-l', 'c'])).code).toBe(EXIT.OK);
    expect(await run(['init', 'vault', '-l', 'c'])).toMatchObject({
      code: EXIT.FAILED,
      err: expect.stringContaining('already'),
    });
    const args = [
      'build',
      'vault.pal.c',
      '--version',
      '2.0.0',
      '-I',
      'include',
      '--sdk',
      'none',
      '--engine',
      'both',
      '--json',
    ];
    const { json, code } = await run([...args, '--map', 'vault.map']);
    expect(code).toBe(EXIT.OK);
    expect(json).toMatchObject([
      { file: 'vault.kvm.pal', engine: 'kvm', name: 'vault', version: '2.0.0', signature: null, warnings: [] },
      { file: 'vault.wasm.pal', engine: 'wasm', name: 'vault', version: '2.0.0' },
    ]);
    for (const { file, measurement } of json) expect(hex(measurePal(readFileSync(file)))).toBe(measurement);
    expect(readFileSync('vault.map', 'utf8')).toMatch(/0x00400000 +\d+ +CODE +\.text\.pal +vault\.pal\.c\.o/);
  });

  it('begins with a template in TypeScript, with the version of the package, signed', async () => {
    writeFileSync('package.json', '{ "version": "4.5.6" }');
    writeFileSync('signer.pem', pem);
    expect((await run(['init'])).code).toBe(EXIT.OK);
    const built = await run([
      'build',
      'counter.pal.ts',
      '-O',
      '1',
      '--signing-key',
      'signer.pem',
      '--security-version',
      '9',
    ]);
    expect(built).toMatchObject({ code: EXIT.OK, err: '', text: expect.stringContaining('counter 4.5.6') });
    expect(inspectPal(readFileSync('counter.pal'))).toMatchObject({
      kind: 'wasm',
      version: '4.5.6',
      signature: { securityVersion: 9 },
    });
  });

  withCompilers('makes an object and a script for an application of its own, which GNU ld takes', async () => {
    writeFileSync('add.c', 'static int sum;\nint add(int n)\n{\n\treturn sum += n;\n}\n');
    writeFileSync(
      'main.c',
      'int add_in_pal(int n);\nint main(void)\n{\n\tadd_in_pal(40);\n\treturn add_in_pal(2);\n}\n',
    );
    const built = await run([
      'build',
      'add.c',
      '--classic',
      '--entry',
      'add',
      '--symbol',
      'add_in_pal',
      '--sdk',
      'none',
    ]);
    expect(built).toMatchObject({ code: EXIT.OK, err: '', text: expect.stringContaining('called as add_in_pal') });
    const linked = spawnSync('gcc', ['main.c', 'add.pal.o', '-T', 'add.pal.ld', '-o', 'main'], { encoding: 'utf8' });
    expect(linked).toMatchObject({ status: 0, stderr: '' });
    expect(spawnSync(join(directory, 'main')).status).toBe(42);
  });

  it('leaves no image unsigned by one that says how it is to be signed', async () => {
    writeFileSync('x.wasm', pal());
    const args = ['build', 'x.wasm', '--version', '1'];
    for (const more of [['--security-version', '3'], ['--pss'], ['--passphrase', 'env:WORD']])
      expect(await run([...args, ...more])).toMatchObject({
        ...{ code: EXIT.USAGE, err: expect.stringContaining('goes with --signing-key') },
      });
    expect(readdirSync('.')).toEqual(['x.wasm']);
  });

  withCompilers('overwrites neither its sources nor one output by another', async () => {
    const source = 'void pal(void) {}\n';
    writeFileSync('x.c', source);
    mkdirSync('sub');
    const args = ['build', 'x.c', '--version', '1', '--sdk', 'none'];
    for (const more of [
      ['-o', 'x.c'],
      ['-o', 'sub/../x.c'],
      ['--map', 'x.c'],
      ['-o', 'same', '--map', './same'],
    ])
      expect(await run([...args, ...more]), more.join(' ')).toMatchObject({ code: EXIT.USAGE });
    const classic = ['build', 'x.c', '--classic', '--sdk', 'none', '-o'];
    for (const more of [['x.c'], ['x.o', '--map', 'x.ld']])
      expect(await run([...classic, ...more]), more.join(' ')).toMatchObject({ code: EXIT.USAGE });
    expect(readFileSync('x.c', 'utf8')).toBe(source);
    expect(readdirSync('.').sort()).toEqual(['sub', 'x.c']);
  });

  withCompilers('passes on what a compiler says, and what can be done about it', async () => {
    writeFileSync('bad.c', 'int pal(void)\n{\n\treturn nothing;\n}\n');
    const args = ['build', 'bad.c', '--version', '1', '--sdk', 'none'];
    expect(await run(args)).toMatchObject({
      code: EXIT.REFUSED,
      err: expect.stringContaining("bad.c:3:16: error: 'nothing'"),
    });
    const { json } = await run([...args, '--json']);
    expect(json.error).toMatchObject({
      code: 'compile',
      exit: 4,
      diagnostics: [{ file: 'bad.c', line: 3, column: 16 }],
    });
    writeFileSync('bad.c', '#include <tee-sdk/tz.h>\n');
    const { code, err } = await run(args);
    expect(code).toBe(EXIT.REFUSED);
    expect(err).toContain('install that in this project, or say where its C SDK lies with --sdk');
    expect(existsSync('bad.pal')).toBe(false);
  });

  withCompilers('prints warnings to standard error and the image all the same', async () => {
    writeFileSync('warn.c', '#warning careful\nvoid pal(void) {}\n');
    const { code, err } = await run(['build', 'warn.c', '--version', '1', '--sdk', 'none']);
    expect(code).toBe(EXIT.OK);
    expect(err).toMatch(/^warn\.c:1:2: warning: .*careful/);
    expect(readdirSync('.').sort()).toEqual(['warn.c', 'warn.pal']);
  });

  it('says which program is missing', async () => {
    writeFileSync('x.c', 'void pal(void) {}\n');
    const { code, err } = await run(['build', 'x.c', '--version', '1', '--cc', 'no-such-gcc']);
    expect(code).toBe(EXIT.UNREACHABLE);
    expect(err).toContain('run no-such-gcc: it is not installed');
  });

  it('ends when it is interrupted', async () => {
    writeFileSync('slow', '#!/bin/sh\nexec sleep 60\n');
    chmodSync('slow', 0o755);
    writeFileSync('x.c', 'void pal(void) {}\n');
    const onInterrupt = (act: () => void) => {
      const timer = setTimeout(act, 200);
      return () => clearTimeout(timer);
    };
    const ended = await run(['build', 'x.c', '--version', '1', '--cc', './slow', '--sdk', 'none'], { onInterrupt });
    expect(ended).toMatchObject({ code: EXIT.INTERRUPTED });
    expect(statSync('x.c').isFile()).toBe(true);
  });
});
