import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const HALF = { name: 'half', version: 1 };
const WHOLE = ['half-1.conf', 'half-1.img', 'half-1.sig'];
const parts = { config: new Uint8Array(1), signature: new Uint8Array(1) };
const work = mkdtempSync(join(tmpdir(), 'casemate-store-'));
const program = join(work, 'put.mjs');
let openGuestOsStore: typeof import('../src/store.js').openGuestOsStore;

beforeAll(async () => {
  const path = (name: string): string => join(import.meta.dirname, name);
  await build({
    entryPoints: { put: new URL('programs/put.ts', import.meta.url).pathname, store: path('../src/store.ts') },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outdir: work,
    outExtension: { '.js': '.mjs' },
    tsconfig: path('../../../tsconfig.base.json'),
    logLevel: 'error',
  });
  // The same file that the processes run, which needs nothing of the packages that only start containers.
  ({ openGuestOsStore } = await import(join(work, 'store.mjs')));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

let number = 0;
function directory(): string {
  const path = join(work, `store-${number++}`);
  mkdirSync(path);
  return path;
}

/** Resolves once the process has stopped itself. */
async function stopped({ pid }: ChildProcess): Promise<void> {
  while (!/\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')))
    await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('a store', () => {
  it('has a GuestOS whole or not at all, wherever the program that put it in was killed', async () => {
    const changes = Number(spawnSync(process.execPath, [program, directory(), 'SIGKILL', '0']).stdout);
    const killed = Array.from({ length: changes }, async (_, i) => {
      const path = directory();
      const child = spawn(process.execPath, [program, path, 'SIGKILL', String(i + 1)], { stdio: 'inherit' });
      expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
      const left = readdirSync(path);
      const isThere = (await (await openGuestOsStore(path)).list()).length > 0;
      expect(readdirSync(path).sort(), `killed at ${i}, which left ${left}`).toEqual(isThere ? WHOLE : []);
      return isThere ? 'after' : left.includes('half-1.img') ? 'amid' : 'before';
    });
    expect([...new Set(await Promise.all(killed))]).toEqual(['before', 'amid', 'after']);
  });

  it('has nothing of a GuestOS that could not be written', async () => {
    const path = directory();
    const fewBlocks = 'ulimit -f 1; exec "$0" "$@"';
    const run = ['-c', fewBlocks, process.execPath, program, path, 'SIGKILL', '0'];
    const { stdout, stderr } = spawnSync('/bin/sh', run, { encoding: 'utf8' });
    expect([stdout, stderr]).toEqual(['', expect.stringContaining('EFBIG')]);
    await openGuestOsStore(path);
    expect(readdirSync(path)).toEqual([]);
  });

  it('leaves alone what another process is about to put in, and has that process or this one put it in', async () => {
    const path = directory();
    // After its claim, the image and half of the signature.
    const child = spawn(process.execPath, [program, path, 'SIGSTOP', '5'], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await stopped(child);
      expect(readdirSync(path)).toContain('half-1.img');
      const store = await openGuestOsStore(path);
      expect(await store.list()).toEqual([]);
      const image = await store.scratchPath();
      writeFileSync(image, 'mine');
      await expect(store.put(HALF, { ...parts, image })).rejects.toMatchObject({ code: 'state' });
      const told = text(child.stdout);
      child.kill('SIGCONT');
      const put = async (): Promise<unknown> => store.put(HALF, { ...parts, image }).catch(({ code }) => code);
      let outcome = await put();
      while (outcome === 'state') outcome = await put();
      expect(outcome).toBe('exists');
      expect(await told).toMatch(/^\d+\n$/);
      expect(readFileSync(store.imagePath(HALF), 'utf8')).toBe('image');
      await store.put(HALF, { ...parts, image }, { replace: true });
      expect(readFileSync(store.imagePath(HALF), 'utf8')).toBe('mine');
      expect(readdirSync(path).sort()).toEqual(WHOLE);
      await store.remove(HALF);
      expect(readdirSync(path)).toEqual([]);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
