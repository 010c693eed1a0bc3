import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NvDefineSpace, NvUndefineSpace, NvWrite, TPM_ALG, TPM_RH, TPMA_NV } from '@casemate/tpm';
import { describe, expect } from 'vitest';
import { bundle } from './program.js';
import { commandBytes, freePorts, openChannel, responseCode } from './raw.js';
import { itWith } from './requirement.js';

const WRITES = 20;
const nvIndex = 0x01800001;
const attributes = TPMA_NV.OWNERWRITE | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA;
const nothing = new Uint8Array(0);

describe('what an answered NV_Write survives', () => {
  const it = itWith('strace', 'swtpm');

  it('is, of swtpm, the end of its process: it renames files and flushes none', async () => {
    const calls = await traceWrites((directory) => ['swtpm', ...args(directory)]);
    expect(calls.flushes).toBe(0);
    expect(calls.renames).toBeGreaterThanOrEqual(WRITES);
  });

  it('is the same of ours where that is asked for, without a file for each write', async () => {
    const program = await bundle('../src/cli.ts');
    const calls = await traceWrites((directory) => [
      process.execPath,
      program,
      ...args(`${directory},durability=process-crash`),
    ]);
    expect(calls.flushes).toBe(0);
    expect(calls.renames).toBeLessThan(WRITES);
  });

  it('is, of ours, a power failure too unless something else is asked for: it flushes each write', async () => {
    const program = await bundle('../src/cli.ts');
    const calls = await traceWrites((directory) => [process.execPath, program, ...args(directory)]);
    expect(calls.flushes).toBeGreaterThanOrEqual(WRITES);
    expect(calls.renames).toBeLessThan(WRITES);
  });
});

let ports: readonly [number, number] = [0, 0];

function args(directory: string): readonly string[] {
  const [data, control] = ports;
  const channels = ['--server', `type=tcp,port=${data}`, '--ctrl', `type=tcp,port=${control}`];
  return ['socket', '--tpm2', '--tpmstate', `dir=${directory}`, ...channels, '--flags', 'not-need-init,startup-clear'];
}

/** The system calls of a server, from its start, while it is sent writes of changing data. */
async function traceWrites(
  command: (directory: string) => readonly string[],
): Promise<{ readonly flushes: number; readonly renames: number }> {
  const directory = await mkdtemp(join(tmpdir(), 'utpm-durability-'));
  ports = await freePorts();
  const log = join(directory, 'calls');
  const trace = ['-f', '-qq', '-e', 'trace=fsync,fdatasync,rename', '-o', log];
  const tracer = spawn('strace', [...trace, ...command(directory)], { stdio: 'ignore', detached: true });
  try {
    const send = await channelTo(ports[0], tracer);
    await succeed(send, commandBytes(NvDefineSpace, [TPM_RH.OWNER], { auth: nothing, publicInfo }));
    const before = await countCalls(log);
    for (let i = 1; i <= WRITES; i++) {
      const data = new Uint8Array(32).fill(i);
      await succeed(send, commandBytes(NvWrite, [TPM_RH.OWNER, nvIndex], { data, offset: 0 }));
    }
    const after = await countCalls(log);
    await succeed(send, commandBytes(NvUndefineSpace, [TPM_RH.OWNER, nvIndex]));
    return { flushes: after.flushes - before.flushes, renames: after.renames - before.renames };
  } finally {
    await stopGroup(tracer);
    await rm(directory, { recursive: true, force: true });
  }
}

const publicInfo = { nvIndex, nameAlg: TPM_ALG.SHA256, attributes, authPolicy: nothing, dataSize: 32 };

// A tracer writes a call into its log when it has ended, which is before the server goes on.
async function countCalls(log: string): Promise<{ readonly flushes: number; readonly renames: number }> {
  const lines = (await readFile(log, 'utf8')).split('\n').filter((line) => line.endsWith('= 0'));
  const count = (call: RegExp): number => lines.filter((line) => call.test(line)).length;
  return {
    flushes: count(/ f(data)?sync\(|<\.\.\. f(data)?sync resumed/),
    renames: count(/ rename\(|<\.\.\. rename resumed/),
  };
}

async function channelTo(port: number, server: ChildProcess): Promise<(command: Uint8Array) => Promise<Uint8Array>> {
  for (let tries = 0; ; tries++) {
    try {
      return await new Promise((resolve, reject) => {
        const socket = connect(port, '127.0.0.1', () => resolve(openChannel(socket)));
        socket.once('error', reject);
      });
    } catch (error) {
      if (tries > 150 || server.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function succeed(send: (command: Uint8Array) => Promise<Uint8Array>, command: Uint8Array): Promise<void> {
  expect(responseCode(await send(command))).toBe(0);
}

// strace and the server are one group.
async function stopGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  process.kill(-child.pid, 'SIGKILL');
  await exit;
}
