import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlobStore, directoryStore, memoryStore } from '../src/index.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'trustvisor-store-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const kinds: readonly [string, () => BlobStore][] = [
  ['memoryStore', memoryStore],
  ['directoryStore', () => directoryStore(join(directory, 'state'))],
];

describe.each(kinds)('%s', (_, open) => {
  it('gives back what was put last, and nothing after it was deleted', async () => {
    const store = open();
    expect(await store.get('a')).toBeUndefined();
    await store.put('a', Uint8Array.of(1));
    await store.put('a', Uint8Array.of(2, 3));
    expect(await store.get('a')).toEqual(Uint8Array.of(2, 3));
    await store.delete('a');
    await store.delete('a');
    expect(await store.get('a')).toBeUndefined();
  });

  it.each(['', '.', '..', '../a', 'a/b', 'A', 'a b', '-a', '.a', 'x'.repeat(129)])(
    'does not put the name %j',
    async (name) => {
      await expect((async () => open().put(name, Uint8Array.of(1)))()).rejects.toMatchObject({ code: 'input' });
    },
  );

  it('keeps a copy: what the caller does to the bytes later does not matter', async () => {
    const store = open();
    const bytes = Uint8Array.of(1, 2);
    await store.put('copy', bytes);
    bytes.fill(9);
    const got = await store.get('copy');
    got?.fill(8);
    expect(await store.get('copy')).toEqual(Uint8Array.of(1, 2));
  });
});

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env.MUST_RUN === '1') throw new Error('expected root to mount a small file system');

describe('directoryStore', () => {
  it('takes a view into a larger buffer as the view alone', async () => {
    const store = directoryStore(join(directory, 'view'));
    await store.put('a', new Uint8Array([9, 1, 2, 9]).subarray(1, 3));
    expect(await store.get('a')).toEqual(Uint8Array.of(1, 2));
  });

  it('keeps its files to their owner, and leaves no others', async () => {
    const path = join(directory, 'private');
    const store = directoryStore(path);
    await Promise.all([store.put('a', Uint8Array.of(1)), store.put('b', Uint8Array.of(2))]);
    await store.delete('b');
    expect(await readdir(path)).toEqual(['a']);
    expect(((await stat(join(path, 'a'))).mode & 0o777).toString(8)).toBe('600');
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe('700');
  });

  it.skipIf(!isRoot)(
    `keeps a blob that a full disk takes only a part of${isRoot ? '' : ' (not root: no mount)'}`,
    async () => {
      const path = join(directory, 'full');
      await mkdir(path);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'none', path]);
      try {
        const store = directoryStore(path);
        await store.put('a', new Uint8Array(100).fill(1));
        await writeFile(join(path, 'filler'), new Uint8Array(8000));
        await expect(store.put('a', new Uint8Array(6500).fill(2))).rejects.toMatchObject({ code: 'ENOSPC' });
        expect(await store.get('a')).toEqual(new Uint8Array(100).fill(1));
        expect((await readdir(path)).sort()).toEqual(['a', 'filler']);
      } finally {
        execFileSync('umount', [path]);
      }
    },
  );
});
