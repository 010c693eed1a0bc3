import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { chown, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceFile } from '../src/index.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env.MUST_RUN === '1') throw new Error('expected root to mount a small file system');
const unlessRoot = isRoot ? '' : ' (not root)';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'casemate-files-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const path = () => join(directory, 'file');
const modeOf = (file: string) => (statSync(file).mode & 0o7777).toString(8);

describe('replaceFile', () => {
  it('makes a file and replaces it, text and bytes, a view as the view alone', async () => {
    await replaceFile(path(), 'Größe', { mode: 0o644 });
    expect(await readFile(path(), 'utf8')).toBe('Größe');
    await replaceFile(path(), new Uint8Array([9, 1, 2, 9]).subarray(1, 3), { mode: 0o644 });
    expect(new Uint8Array(await readFile(path()))).toEqual(Uint8Array.of(1, 2));
    expect(readdirSync(directory)).toEqual(['file']);
  });

  it('gives the mode that is asked for, whatever the umask and the mode before', async () => {
    const before = process.umask(0o077);
    try {
      await replaceFile(path(), 'a', { mode: 0o644 });
      expect(modeOf(path())).toBe('644');
      await replaceFile(path(), 'b', { mode: 0o600 });
      expect(modeOf(path())).toBe('600');
    } finally {
      process.umask(before);
    }
  });

  it('replaces what a symbolic link names, not the link', async () => {
    await writeFile(join(directory, 'target'), 'old');
    await symlink('target', path());
    await replaceFile(path(), 'new', { mode: 0o600 });
    expect(lstatSync(path()).isSymbolicLink()).toBe(true);
    expect(await readFile(join(directory, 'target'), 'utf8')).toBe('new');
  });

  it('lets the last of several calls for one file win, also after one that failed', async () => {
    const contents = Array.from({ length: 20 }, (_, i) => `content ${i}`);
    await Promise.all(contents.map((content) => replaceFile(path(), content, { mode: 0o600 })));
    expect(await readFile(path(), 'utf8')).toBe('content 19');
    const below = join(directory, 'below');
    const failed = replaceFile(join(below, 'file'), 'a', { mode: 0o600 });
    const after = failed
      .catch(() => mkdirSync(below))
      .then(() => replaceFile(join(below, 'file'), 'b', { mode: 0o600 }));
    await expect(failed).rejects.toMatchObject({ code: 'ENOENT' });
    await after;
    expect(await readFile(join(below, 'file'), 'utf8')).toBe('b');
  });

  it('throws and leaves nothing where it cannot replace', async () => {
    mkdirSync(path());
    await expect(replaceFile(path(), 'a', { mode: 0o600 })).rejects.toMatchObject({ code: 'EISDIR' });
    expect(readdirSync(directory)).toEqual(['file']);
  });

  it('removes what a killed process left long ago, and nothing else', async () => {
    const names = ['.file.0123456789ab.new', '.file.ba9876543210.new', '.other.new', 'x.0123456789ab.new'];
    for (const name of names) await writeFile(join(directory, name), '');
    const old = new Date(Date.now() - 3_600_000);
    for (const name of names.filter((each) => !each.includes('ba98'))) await utimes(join(directory, name), old, old);
    await replaceFile(path(), 'a', { mode: 0o600 });
    expect(readdirSync(directory).sort()).toEqual([...names.slice(1), 'file'].sort());
  });

  it.skipIf(!isRoot)(`keeps the owner of the file${unlessRoot}`, async () => {
    await writeFile(path(), 'old');
    await chown(path(), 12_345, 12_346);
    await replaceFile(path(), 'new', { mode: 0o640 });
    expect(statSync(path())).toMatchObject({ uid: 12_345, gid: 12_346 });
    expect(modeOf(path())).toBe('640');
  });

  it.skipIf(!isRoot).each([
    ['bytes', new Uint8Array(6500).fill(65)],
    ['text', 'A'.repeat(6500)],
  ])(`keeps the old content where a full disk takes only a part of %s${unlessRoot}`, async (_, content) => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'none', directory]);
    try {
      await replaceFile(path(), 'old', { mode: 0o600 });
      await writeFile(join(directory, 'filler'), new Uint8Array(8000));
      await expect(replaceFile(path(), content, { mode: 0o600 })).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(await readFile(path(), 'utf8')).toBe('old');
      expect(readdirSync(directory).sort()).toEqual(['file', 'filler']);
    } finally {
      execFileSync('umount', [directory]);
    }
  });

  it('leaves the old content or the new when it is killed', async () => {
    const program = join(directory, 'program.mjs');
    await build({
      stdin: { contents: PROGRAM, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'ts' },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: program,
    });
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [program, path()], { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = once(child, 'exit');
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, round * 3));
      child.kill('SIGKILL');
      expect(await ended).toEqual([null, 'SIGKILL']);
      const content = readFileSync(path());
      expect(content.length).toBe(SIZE);
      expect(content.equals(Buffer.alloc(SIZE, content[0]))).toBe(true);
    }
  });
});

const SIZE = 1 << 20;
/** Replaces the file without end, each time by a megabyte of another byte; says when the first is there. */
const PROGRAM = `
import { replaceFile } from '../src/index.js';
const path = process.argv[2] ?? '';
for (let i = 0; ; i++) {
  await replaceFile(path, new Uint8Array(${SIZE}).fill(i), { mode: 0o600 });
  if (i === 0) process.stdout.write('there');
}
`;
