/** `utpm --daemon`: a pipe on its output ends when the command does, and what goes wrong in the background is still said. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from './program.js';
import { freePorts } from './raw.js';

let program: string;
let directory: string;

beforeAll(async () => {
  program = await bundle('../src/cli.ts');
  directory = mkdtempSync(join(tmpdir(), 'utpm-daemon-'));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function daemon(port: number): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const pid = ['--pid', `file=${join(directory, 'pid')}`];
  const server = ['--server', `type=tcp,port=${port}`, '--ctrl', `type=tcp,port=${port + 1}`];
  return promisify(execFile)(process.execPath, [program, 'socket', '--tpm2', ...server, ...pid, '--daemon']);
}

describe('utpm in the background', () => {
  it('lets go of the output of its parent, and says there what keeps it from starting', async () => {
    const [port] = await freePorts();
    expect(await daemon(port)).toEqual({ stdout: '', stderr: '' });
    const pid = Number(readFileSync(join(directory, 'pid'), 'utf8'));
    await expect(daemon(port)).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('EADDRINUSE') });
    process.kill(pid, 'SIGTERM');
    for (let tries = 0; existsSync(`/proc/${pid}`) && tries < 200; tries++) await delay(50);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });
});
