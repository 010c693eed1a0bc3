import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { describe, expect } from 'vitest';
import { EVENT, EventReader, encodeRequest, type LauncherEvent } from '../src/protocol.js';
import { itNeeds } from './requirement.js';

const path = `${import.meta.dirname}/../dist/bin/linux-arm64/casemate-launcher`;
const emulator = 'qemu-aarch64-static';
const canRun = existsSync(path) && spawnSync(emulator, ['--version']).status === 0;
const itRuns = itNeeds(canRun, 'it needs gcc-aarch64-linux-gnu when the package is built, and qemu-user-static');

describe('the launcher for arm64', () => {
  itRuns('is a static program for that machine', () => {
    const elf = readFileSync(path);
    expect(elf.subarray(0, 6)).toEqual(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]));
    expect(elf.readUInt16LE(18)).toBe(183); // EM_AARCH64
    const [offset, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
    const kinds = Array.from({ length: count }, (_, i) => elf.readUInt32LE(offset + i * size));
    expect(kinds).toContain(1); // PT_LOAD
    expect(kinds).not.toContain(3); // PT_INTERP
  });

  itRuns(
    'serves under an emulator: answers, refuses what is broken, says what fails, and ends with its starter',
    async () => {
      const broken = encodeRequest(2, { verb: 'start', streams: ['ignore', 'ignore', 'ignore'], operations: [] });
      broken[28] = 9; // nine operations, of which none follows
      const missing = encodeRequest(3, {
        verb: 'start',
        streams: ['ignore', 'ignore', 'ignore'],
        operations: [
          { op: 'namespaces', flags: 0 },
          { op: 'join', flags: 0x4000_0000, named: 2, pid: 0, path: '/none/such' },
        ],
      });
      const { events, status } = await serve([encodeRequest(1, { verb: 'probe' }), broken, missing]);
      const answers = events.filter((e) => e.id === 1 && e.type === EVENT.probe).map((e) => e.text);
      expect(answers).toEqual(expect.arrayContaining(['user', 'mount', 'overlay', 'seccomp', 'landlock']));
      expect(events.find((e) => e.id === 2 && e.type === EVENT.failed)).toMatchObject({ b: 74, text: 'plan' });
      // An emulator without PR_SET_CHILD_SUBREAPER is refused for that: a sandbox would be left without who ends what it leaves.
      const failed = events.find((e) => e.id === 3 && e.type === EVENT.failed);
      expect(['/none/such', 'PR_SET_CHILD_SUBREAPER']).toContain(failed?.text);
      expect(status).toBe(0);
    },
  );
});

async function serve(requests: readonly Uint8Array[]): Promise<{ events: readonly LauncherEvent[]; status: unknown }> {
  const child = spawn(emulator, [path], { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
  const control = child.stdio[3] as Duplex;
  const status = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  const reader = new EventReader();
  const events: LauncherEvent[] = [];
  for (const bytes of requests) control.write(bytes);
  await new Promise<void>((resolve) => {
    control.on('data', (chunk: Uint8Array) => {
      events.push(...reader.push(chunk));
      if (events.filter((e) => e.type === EVENT.gone).length === requests.length) resolve();
    });
    control.once('close', () => resolve());
  });
  control.end();
  return { events, status: await status };
}
