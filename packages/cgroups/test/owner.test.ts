import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { currentOwner, type Owner, ownerState } from '../src/owner.js';

const self = currentOwner({ withBoot: true });
if (!self) throw new Error('expected /proc to tell of this process');
const other: Owner = { ...self, pid: process.ppid, startTime: startTimeOf(process.ppid) };

/** From the third on, as proc_pid_stat(5) has them. */
function fieldsOf(pid: number): readonly string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function startTimeOf(pid: number): string {
  return fieldsOf(pid)[19] ?? '';
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

describe('an owner', () => {
  it('is running while its process is, and gone with its process, its start or its boot', () => {
    const states = (owners: readonly Owner[]) => owners.map((owner) => ownerState(owner, self));
    expect(states([self, other])).toEqual(['running', 'running']);
    const later = (owner: Owner): Owner => ({ ...owner, startTime: String(Number(owner.startTime) + 1) });
    const boot = '00000000-0000-0000-0000-000000000000';
    expect(states([later(self), later(other), { ...other, pid: 0 }, { ...other, pid: 99_999_999_999 }])).toEqual(
      Array(4).fill('gone'),
    );
    expect(
      states([
        { ...self, boot },
        { ...other, boot },
      ]),
    ).toEqual(['gone', 'gone']);
  });

  it('of which it is not known where it counts, or in which boot, is judged by the rest alone', () => {
    expect(ownerState({ ...other, namespaces: '1' }, self)).toBe('unknown');
    expect(ownerState(other, undefined)).toBe('unknown');
    const { boot: _, ...bare } = other;
    expect([ownerState(bare, self), ownerState(other, { ...self, boot: undefined })]).toEqual(['running', 'running']);
  });

  it('that has ended is a zombie until its parent asks', async () => {
    const parent = spawn('/bin/sh', ['-c', 'sleep 60 & echo $!; kill -STOP $$'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pid = Number((await once(parent.stdout, 'data'))[0]);
    try {
      const owner = { ...self, pid, startTime: startTimeOf(pid) };
      while (fieldsOf(parent.pid ?? 0)[0] !== 'T') await pause();
      expect(ownerState(owner, self)).toBe('running');
      process.kill(pid, 'SIGKILL');
      while (ownerState(owner, self) === 'running') await pause();
      expect(ownerState(owner, self)).toBe('zombie');
    } finally {
      process.kill(pid, 'SIGKILL');
      parent.kill('SIGKILL');
    }
  });

  it('is not taken for gone by a program that has no descriptor left to look', async () => {
    const work = mkdtempSync(join(tmpdir(), 'casemate-owner-'));
    const outfile = join(work, 'judge.mjs');
    const entryPoints = [new URL('programs/judge.ts', import.meta.url).pathname];
    await build({ entryPoints, bundle: true, platform: 'node', format: 'esm', target: 'node20', outfile });
    const owners = [self, other, { ...other, pid: 99_999_999_999 }];
    const run = ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath, outfile, JSON.stringify(owners)];
    const states = JSON.parse(execFileSync('/bin/sh', run, { encoding: 'utf8' }));
    expect(states).toEqual(['none', 'unknown', 'unknown', 'gone']);
    rmSync(work, { recursive: true });
  });
});
