import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { encode } from '@casemate/wire';
import { afterEach, describe, expect, it } from 'vitest';
import {
  bankByName,
  EV,
  replayEventLog,
  StartupLocalityEvent,
  specIdEvent,
  startupLocalityEvent,
} from '../src/index.js';
import { hex } from './hex.js';

// tpm2_eventlog 5.4 extends the zero digests of EV_NO_ACTION events into PCR 0 and knows no startup locality, so the judge of this
// one rule is a TPM itself.
const missing = spawnSync('swtpm', ['--version']).error !== undefined;
if (missing && process.env.MUST_RUN === '1') throw new Error('MUST_RUN=1, but swtpm is not installed');

const undo: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function open(path: string): Promise<Socket> {
  for (let attempt = 0; ; attempt++) {
    const socket = connect(path);
    const opened = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    if (opened) {
      undo.push(() => void socket.destroy());
      return socket;
    }
    if (attempt === 100) throw new Error(`swtpm did not open ${path}`);
    await delay(20);
  }
}

function ask(socket: Socket, request: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    socket.once('data', (answer) => resolve(new Uint8Array(answer))).once('error', reject);
    socket.write(Buffer.from(request.replaceAll(' ', ''), 'hex'));
  });
}

async function startSwtpm(): Promise<{ readonly data: Socket; readonly control: Socket }> {
  const dir = mkdtempSync(join(tmpdir(), 'casemate-swtpm-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${dir}`, '--server', `type=unixio,path=${dir}/s`];
  const child: ChildProcess = spawn('swtpm', [
    ...args,
    '--ctrl',
    `type=unixio,path=${dir}/c`,
    '--flags',
    'not-need-init',
  ]);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  undo.push(async () => {
    child.kill();
    await exited;
  });
  return { control: await open(`${dir}/c`), data: await open(`${dir}/s`) };
}

describe.skipIf(missing)('swtpm (skipped where it is not installed)', () => {
  it.each([0, 3] as const)('has, started from locality %i, the PCR 0 that the replay computes', async (locality) => {
    const { data, control } = await startSwtpm();
    expect(hex(await ask(control, `00000005 0${locality}`))).toBe('00000000');
    expect(hex(await ask(data, '8001 0000000c 00000144 0000'))).toBe('80010000000a00000000');
    expect(hex(await ask(control, '00000005 00'))).toBe('00000000');
    const digest = bankByName('sha256')?.hash(new TextEncoder().encode('ACPI')) ?? new Uint8Array(0);
    const extend = `8002 00000041 00000182 00000000 00000009 40000009 0000 00 0000 00000001 000b ${hex(digest)}`;
    expect(hex((await ask(data, extend)).subarray(6, 10))).toBe('00000000');
    const read = await ask(data, '8001 00000014 0000017e 00000001 000b 03 010000');

    const zeros = [{ alg: 0x0b, digest: new Uint8Array(32) }];
    const event = encode(StartupLocalityEvent, startupLocalityEvent(locality));
    const replayed = replayEventLog({
      specId: specIdEvent([{ algorithmId: 0x0b, digestSize: 32 }]),
      events: [
        { pcrIndex: 0, eventType: EV.EV_NO_ACTION, digests: zeros, event },
        { pcrIndex: 0, eventType: EV.EV_POST_CODE, digests: [{ alg: 0x0b, digest }], event: new Uint8Array(4) },
      ],
    });
    expect(hex(replayed.sha256?.[0])).toBe(hex(read.subarray(-32)));
  });
});
