/** Machines with our TPM: the firmware measures into it, a Linux kernel reads it, and it moves with its machine to another host. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readPcrs, Tpm } from '@casemate/tpm';
import { describe, expect } from 'vitest';
import { directoryState } from '../src/node.js';
import { serve, type UtpmServer } from '../src/server.js';
import { buildInitramfs, guestKernel, hasOvmf, Machine, type MachineOptions } from './machine.js';
import { itWith } from './requirement.js';
import { temporaryDirectory } from './temporary.js';

const run = promisify(execFile);
const BANKS = ['sha1', 'sha256', 'sha384', 'sha512'] as const;
const kernel = guestKernel();
const itWithMachine =
  kernel === undefined ? itWith('a guest kernel in .casemate/kernel') : itWith('qemu-system-x86_64', 'busybox');
const itWithSwtpm = kernel === undefined ? itWithMachine : itWith('qemu-system-x86_64', 'busybox', 'swtpm');
const isSlow = process.env.UTPM_SLOW === '1';
const MINUTES = 60_000;

// One for all: under UEFI the kernel measures it, and the time at which it was packed with it.
let packed: string | undefined;
function initramfs(): string {
  packed ??= buildInitramfs();
  return packed;
}

const directory = (): string => temporaryDirectory('qemu');

function serveAt(path: string): Promise<UtpmServer> {
  const control = { type: 'unix', path: join(path, 'control') } as const;
  return serve({ control, state: directoryState(path), waitForInit: true, oneClient: true });
}

function machineAt(path: string, options: Partial<MachineOptions> = {}): Machine {
  return new Machine({ control: join(path, 'control'), kernel: kernel ?? '', initramfs: initramfs(), ...options });
}

/** The registers of our TPM, asked beside the guest, in the form in which the guest prints them. */
async function pcrsOf(server: UtpmServer): Promise<readonly string[]> {
  const tpm = new Tpm({ send: (command) => server.tpm.send(command), close: async () => undefined });
  const all = Array.from({ length: 24 }, (_, i) => i);
  const lines = BANKS.map(async (bank) => {
    const values = (await readPcrs(tpm, { [bank]: all }))[bank] ?? {};
    return all.map(
      (i) =>
        `${bank} ${i} ${Buffer.from(values[i] ?? [])
          .toString('hex')
          .toUpperCase()}`,
    );
  });
  return (await Promise.all(lines)).flat();
}

/** The registers of the SHA-256 bank that tpm2_eventlog computes out of a log. */
async function replay(log: Uint8Array): Promise<readonly string[]> {
  const file = join(directory(), 'log');
  writeFileSync(file, log);
  const { stdout } = await run('tpm2_eventlog', [file], { maxBuffer: 1 << 24 });
  const bank = /^ {2}sha256:\n((?: {4}.*\n?)*)/m.exec(stdout.slice(stdout.lastIndexOf('\npcrs:')))?.[1] ?? '';
  return [...bank.matchAll(/(\d+)\s*: 0x([0-9a-f]+)/g)].map(([, i, hex = '']) => `sha256 ${i} ${hex.toUpperCase()}`);
}

interface Seen {
  readonly driver: string;
  readonly pcrs: readonly string[];
  readonly log: Uint8Array;
}

async function look(machine: Machine): Promise<Seen> {
  const boot = await machine.until(/^driver .*\n/m);
  return {
    driver: /^driver (\w*)/m.exec(boot)?.[1] ?? '',
    pcrs: await machine.pcrs(),
    log: await machine.eventLog(),
  };
}

async function lookWithOurs(options: Partial<MachineOptions>): Promise<Seen & { readonly beside: readonly string[] }> {
  const path = directory();
  await using server = await serveAt(path);
  await using machine = machineAt(path, options);
  const seen = await look(machine);
  const beside = await pcrsOf(server);
  await machine.powerOff();
  await server.ended;
  return { ...seen, beside };
}

async function lookWithSwtpm(options: Partial<MachineOptions>): Promise<Seen> {
  const path = directory();
  const control = join(path, 'control');
  const swtpm = spawn('swtpm', [
    'socket',
    '--tpm2',
    '--tpmstate',
    `dir=${path}`,
    '--ctrl',
    `type=unixio,path=${control}`,
  ]);
  const ended = new Promise((resolve) => swtpm.once('exit', resolve));
  try {
    while (!existsSync(control)) await new Promise((resolve) => setTimeout(resolve, 20));
    await using machine = machineAt(path, options);
    const seen = await look(machine);
    await machine.powerOff();
    return seen;
  } finally {
    swtpm.kill();
    await ended;
  }
}

function digestOf(pcrs: readonly string[], bank: string, index: number): string {
  return pcrs.find((line) => line.startsWith(`${bank} ${index} `))?.split(' ')[2] ?? '';
}

async function assertMeasuredBoot(ours: Awaited<ReturnType<typeof lookWithOurs>>, theirs: Seen): Promise<void> {
  expect(ours.pcrs).toHaveLength(96);
  expect(ours.pcrs).toEqual(ours.beside);
  expect(ours.pcrs).toEqual(theirs.pcrs);
  for (const index of [0, 1, 2, 4, 5, 7]) expect(digestOf(ours.pcrs, 'sha256', index)).not.toMatch(/^(0*|F*)$/);
  const replayed = await replay(ours.log);
  expect(replayed.length).toBeGreaterThan(6);
  expect(ours.pcrs).toEqual(expect.arrayContaining([...replayed]));
}

describe('a machine of QEMU with our TPM', () => {
  itWithSwtpm(
    'boots SeaBIOS and Linux, which measure and read the same registers as with swtpm, and as the event log says',
    async () => {
      const [ours, theirs] = await Promise.all([lookWithOurs({}), lookWithSwtpm({})]);
      expect(ours.driver).toBe('tpm_tis');
      await assertMeasuredBoot(ours, theirs);
    },
    3 * MINUTES,
  );

  itWithMachine(
    'takes its TPM along when it moves, here over a CRB interface',
    async () => {
      const [from, to, file] = [directory(), directory(), join(directory(), 'machine')];
      let before: readonly string[];
      {
        await using server = await serveAt(from);
        await using machine = machineAt(from, { device: 'tpm-crb' });
        expect((await look(machine)).driver).toBe('tpm_crb');
        before = await machine.pcrs();
        await machine.migrate(file);
        await server.ended;
      }
      await using server = await serveAt(to);
      await using machine = machineAt(to, { device: 'tpm-crb', incoming: file });
      await machine.arrived();
      expect(await machine.pcrs()).toEqual(before);
      expect(await pcrsOf(server)).toEqual(before);
      await machine.powerOff();
      await server.ended;
    },
    3 * MINUTES,
  );

  // Takes a minute, and shows of our side what SeaBIOS shows: on demand, UTPM_SLOW=1.
  const itWithOvmf = hasOvmf() ? itWithSwtpm : itWith('ovmf');
  if (!isSlow) return;
  itWithOvmf(
    'boots OVMF and Linux, which measure and read the same registers as with swtpm, and as the event log says',
    async () => {
      const [ours, theirs] = await Promise.all([
        lookWithOurs({ firmware: 'ovmf' }),
        lookWithSwtpm({ firmware: 'ovmf' }),
      ]);
      await assertMeasuredBoot(ours, theirs);
    },
    6 * MINUTES,
  );
});
