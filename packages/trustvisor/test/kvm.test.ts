/** The engine kvm: a C PAL in a virtual machine of its own, its services and its faults. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linkElfPal } from '@casemate/pal-linker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const missing = whyNot();
if (missing !== '' && process.env.MUST_RUN === '1' && missing !== NO_KVM()) throw new Error(missing);

function NO_KVM(): string {
  return '/dev/kvm is not there or may not be used';
}

function whyNot(): string {
  if (spawnSync('gcc', ['--version']).status !== 0) return 'gcc is missing';
  if (!existsSync(join(root, 'dist', 'isolate.js'))) return 'the package is not built';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return '';
  } catch {
    return NO_KVM();
  }
}

function compileServices(replayProtected: boolean): Uint8Array {
  const place = mkdtempSync(join(tmpdir(), 'casemate-kvm-'));
  try {
    const object = join(place, 'services.o');
    const flags = ['-O2', '-ffreestanding', '-fno-stack-protector', '-fcf-protection=none', '-mgeneral-regs-only'];
    const source = join(root, 'test', 'programs', 'services.c');
    const floating = flags.slice(0, -1); // the PAL's own floating point needs the registers for it
    const done = spawnSync('gcc', [...floating, `-I${join(root, 'include')}`, '-c', source, '-o', object], {
      encoding: 'utf8',
    });
    if (done.status !== 0) throw new Error(done.stderr);
    const objects = [{ name: 'services.o', content: new Uint8Array(readFileSync(object)) }];
    return linkElfPal({ objects, name: 'services', version: '1.0.0', replayProtected }).image;
  } finally {
    rmSync(place, { recursive: true });
  }
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
    pal = await trustvisor.register(compileServices(false));
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
});
