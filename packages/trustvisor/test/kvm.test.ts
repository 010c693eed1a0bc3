/** The engine kvm: a C PAL in a virtual machine of its own, its services and its faults. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash, createPublicKey, diffieHellman, generateKeyPairSync, verify } from 'node:crypto';
import { accessSync, chmodSync, constants, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LinkElfPalOptions, linkElfPal, linkPal } from '@casemate/pal-linker';
import { openUtpm } from '@casemate/utpm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';

const NO_KVM = '/dev/kvm is not there or may not be used';
const MBEDTLS = '/usr/lib/x86_64-linux-gnu/libmbedcrypto.a';
const root = fileURLToPath(new URL('..', import.meta.url));
const missing = whyNot();
const isBuilt = missing === '' || missing === NO_KVM;
if (!isBuilt && process.env.MUST_RUN === '1') throw new Error(missing);

function whyNot(): string {
  if (spawnSync('gcc', ['--version']).status !== 0) return 'gcc is missing';
  if (!existsSync(join(root, 'dist', 'isolate.js'))) return 'the package is not built';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return '';
  } catch {
    return NO_KVM;
  }
}

const FLAGS = ['-O2', '-ffreestanding', '-fno-stack-protector', '-fcf-protection=none'];

/** Compiles programs of `test/programs` and links them, with archives behind. */
function linkPrograms(name: string, sources: readonly string[], more: Partial<LinkElfPalOptions> = {}): Uint8Array {
  const place = mkdtempSync(join(tmpdir(), 'casemate-kvm-'));
  try {
    const objects = sources.map((source) => compileProgram(place, source));
    return linkElfPal({ name, version: '1.0.0', ...more, objects: [...objects, ...(more.objects ?? [])] }).image;
  } finally {
    rmSync(place, { recursive: true });
  }
}

function compileProgram(place: string, source: string) {
  const object = join(place, `${source}.o`);
  const from = join(root, 'test', 'programs', source);
  const done = spawnSync('gcc', [...FLAGS, `-I${join(root, 'include')}`, '-c', from, '-o', object], {
    encoding: 'utf8',
  });
  if (done.status !== 0) throw new Error(done.stderr);
  return { name: source.replace(/c$/, 'o'), content: new Uint8Array(readFileSync(object)) };
}

const none = new Uint8Array(0);

describe.skipIf(missing !== '')(`a PAL in a virtual machine${missing === '' ? '' : ` (skipped: ${missing})`}`, () => {
  const printed: string[] = [];
  let trustvisor: Trustvisor;
  let pal: Pal;

  beforeAll(async () => {
    const onPrint = (_pal: unknown, text: string) => printed.push(text);
    trustvisor = await openTrustvisor({
      ...{ store: memoryStore(), engine: 'kvm', insecureAllowEphemeral: true, onPrint },
    });
    pal = await trustvisor.register(linkPrograms('services', ['services.c']));
  });
  afterAll(() => trustvisor?.close());

  it('takes a command and an input and gives a result, and keeps its memory between calls', async () => {
    const input = new TextEncoder().encode('what the caller says');
    expect(await pal.invoke(0, input)).toEqual({ returnCode: 1, output: input });
    expect((await pal.invoke(0, none)).returnCode).toBe(2);
    expect(pal.measurement.length).toBe(32);
  });

  it('has the services of the micro-TPM', async () => {
    const digest = new Uint8Array(33).fill(7);
    digest[0] = 3;
    expect((await pal.invoke(2, digest)).returnCode).toBe(0);
    const { output } = await pal.invoke(1, Uint8Array.of(3));
    expect(output.length).toBe(32);
    expect(output.some((byte) => byte !== 0)).toBe(true);
    const sealed = await pal.invoke(3, new TextEncoder().encode('secret'));
    expect(sealed.returnCode).toBe(0);
    const opened = await pal.invoke(4, sealed.output);
    expect(new TextDecoder().decode(opened.output)).toBe('secret');
    expect((await pal.invoke(5, new Uint8Array(16))).output.length).toBeGreaterThan(560);
    expect((await pal.invoke(6, none)).output).not.toEqual((await pal.invoke(6, none)).output);
    expect((await pal.invoke(7, none)).output).toEqual(pal.identity);
    expect((await pal.invoke(8, none)).returnCode).toBe(0);
    await pal.invoke(9, none);
    expect(printed).toContain('hello');
    expect((await pal.invoke(47, Uint8Array.of(81))).returnCode).toBe(9);
  });

  it('gets an error for a pointer or a size that is not its own', async () => {
    expect((await pal.invoke(20, none)).returnCode).toBe(1);
    expect((await pal.invoke(21, none)).returnCode).toBe(1);
  });

  it.each([
    [30, 'out-of-bounds', /touched memory that it may not touch so at 0x12345678, instruction at 0x4\w+ \(rax/],
    [31, 'stack-overflow', /its stack is full at 0x/],
    [32, 'unreachable', /illegal instruction/],
    [33, 'division', /divided by zero/],
    [40, 'out-of-bounds', /at 0x/],
    [41, 'out-of-bounds', /at 0x4/],
    [42, 'out-of-bounds', /at 0x/],
    [43, 'privileged', /may not execute/],
    [44, 'privileged', /may not execute/],
    [45, 'privileged', /./],
    [46, 'service', /service that there is not/],
    [48, 'privileged', /may not execute/],
    [49, 'out-of-bounds', /at 0x3f8000/],
    [22, 'malformed-output', /expected an output of at most/],
  ])('ends command %i as the fault %s, and goes on', async (command, fault, message) => {
    await expect(pal.invoke(command, none)).rejects.toMatchObject({
      code: 'fault',
      fault,
      message: expect.stringMatching(message),
    });
    expect((await pal.invoke(0, none)).returnCode).toBe(1);
  });

  it('stops an endless loop in time, and one that the caller gives up', async () => {
    await expect(pal.invoke(34, none, { timeLimit: 100 })).rejects.toMatchObject({ code: 'timeout' });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    await expect(pal.invoke(34, none, { signal: controller.signal })).rejects.toMatchObject({ code: 'aborted' });
    expect((await pal.invoke(0, none)).returnCode).toBe(1);
  });

  it('keeps a state that is protected against replay, in fresh memory each time', async () => {
    const tpm = await openUtpm({ startup: true });
    const store = memoryStore();
    const image = linkPrograms('counter', ['services.c'], { replayProtected: true });
    const counts: number[] = [];
    for (const amount of [5, 37]) {
      await using opened = await openTrustvisor({ tpm, store, engine: 'kvm' });
      const counter = await opened.register(image);
      counts.push((await counter.invoke(10, Uint8Array.of(amount))).returnCode);
      counts.push((await counter.invoke(0, none)).returnCode, (await counter.invoke(0, none)).returnCode);
      await expect(counter.invoke(32, none)).rejects.toMatchObject({ fault: 'unreachable' });
    }
    expect(counts).toEqual([5, 1, 1, 42, 1, 1]);
    await tpm.close();
  });

  it.skipIf(!existsSync(MBEDTLS))(
    'runs mbedTLS with keys that never leave: a signature and a key exchange',
    async () => {
      const compilerLibrary = spawnSync('gcc', ['-print-libgcc-file-name'], { encoding: 'utf8' }).stdout.trim();
      const objects = [MBEDTLS, compilerLibrary].map((name) => ({ name, content: new Uint8Array(readFileSync(name)) }));
      const keys = await trustvisor.register(linkPrograms('keys', ['keys.c', 'mini-libc.c'], { objects }));
      const { returnCode, output } = await keys.invoke(0, none);
      expect(returnCode).toBe(0);
      const [x, y, montgomery] = [output.slice(1, 33), output.slice(33, 65), output.slice(65)].map(base64url);
      const message = new TextEncoder().encode('signed inside');
      const signature = await keys.invoke(1, createHash('sha256').update(message).digest());
      const key = createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: `${x}`, y: `${y}` }, format: 'jwk' });
      expect(verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature.output)).toBe(true);
      const own = generateKeyPairSync('x25519');
      const peer = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: `${montgomery}` }, format: 'jwk' });
      const shared = createHash('sha256')
        .update(diffieHellman({ privateKey: own.privateKey, publicKey: peer }))
        .digest();
      const ours = own.publicKey.export({ format: 'jwk' }).x ?? '';
      const answer = await keys.invoke(2, new Uint8Array(Buffer.from(ours, 'base64url')));
      expect(Buffer.from(answer.output)).toEqual(shared);
      expect(
        new Set([await keys.invoke(0, none), await keys.invoke(0, none)].map((again) => base64url(again.output))),
      ).toEqual(new Set([base64url(output)]));
    },
  );
});

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isBuilt || !isRoot)(
  `the monitor${isRoot ? '' : ' (skipped: only root can start it as somebody else)'}`,
  () => {
    it('cannot be looked into by another process of its user, which can look into others', async () => {
      const place = mkdtempSync(join(tmpdir(), 'casemate-kvm-'));
      chmodSync(place, 0o755);
      const program = join(place, 'monitor');
      copyFileSync(join(root, 'dist', 'bin', 'linux-x64', 'casemate-pal-monitor'), program);
      const nobody = { uid: 65534, gid: 65534, cwd: '/' };
      const monitor = spawn(program, [], { ...nobody, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
      const other = spawn('/bin/sleep', ['60'], { ...nobody, stdio: 'ignore' });
      try {
        const seen = (pid = 0) => spawnSync('cat', [`/proc/${pid}/maps`], { ...nobody, encoding: 'utf8' });
        await vi.waitFor(() => expect(seen(monitor.pid).stderr).toContain('Permission denied'), { timeout: 5000 });
        expect(monitor.exitCode).toBeNull();
        expect(seen(other.pid).stdout).toContain('stack');
      } finally {
        monitor.kill('SIGKILL');
        other.kill('SIGKILL');
        rmSync(place, { recursive: true });
      }
    });
  },
);

describe.skipIf(!isBuilt)('without /dev/kvm', () => {
  it.skipIf(missing === '' && process.getuid?.() !== 0)(
    'says what is missing, and runs WebAssembly all the same',
    () => {
      const image = linkPrograms('services', ['services.c']);
      const program = `
      import { memoryStore, openTrustvisor } from ${JSON.stringify(join(root, 'dist', 'index.js'))};
      const trustvisor = await openTrustvisor({ store: memoryStore(), engine: 'kvm', insecureAllowEphemeral: true });
      const [elf, wasm] = ${JSON.stringify([image, incrementPal()].map((bytes) => Buffer.from(bytes).toString('base64')))};
      const failure = await trustvisor.register(Buffer.from(elf, 'base64')).catch((error) => error);
      const pal = await trustvisor.register(Buffer.from(wasm, 'base64'));
      const { returnCode } = await pal.invoke(41, new Uint8Array(0));
      await trustvisor.close();
      console.log(JSON.stringify([failure.code, failure.message, returnCode]));`;
      const node = [process.execPath, '--input-type=module', '--eval', program];
      const hidden = [
        'unshare',
        '--mount',
        'sh',
        '-c',
        'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && exec "$@"',
        'sh',
      ];
      const [command = '', ...rest] = missing === '' ? [...hidden, ...node] : node;
      const { stdout, stderr } = spawnSync(command, rest, { encoding: 'utf8' });
      expect(stderr).toBe('');
      const [code, text, returnCode] = JSON.parse(stdout) as [string, string, number]; // printed by the lines above
      expect([code, returnCode]).toEqual(['unsupported-engine', 42]);
      expect(text).toMatch(/expected \/dev\/kvm, got (ENOENT; it is not there|EACCES; this user may not use it)/);
    },
  );
});

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

/** A WebAssembly PAL that returns its command and one. */
function incrementPal(): Uint8Array {
  const module = 'AGFzbQEAAAABCAFgBH9/f38AAwIBAAUDAQABBxACBm1lbW9yeQIAA3BhbAAACg4BDAAgAyAAQQFqNgIACw==';
  return linkPal({ module: new Uint8Array(Buffer.from(module, 'base64')), name: 'increment', version: '1' });
}
