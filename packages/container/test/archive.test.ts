import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { extractImage } from '../src/extract.js';
import { removeTree } from '../src/remove-tree.js';
import { arrange, type RootfsOptions } from '../src/rootfs.js';
import { openArchive } from '../src/rootfs-archive.js';
import { openDirectory } from '../src/rootfs-directory.js';
import { encodeHeader, TAR_TYPE } from '../src/tar-header.js';
import { encodePax, parsePax } from '../src/tar-pax.js';
import { type ArchiveEntry, readArchive } from '../src/tar-reader.js';
import { END_OF_ARCHIVE, encodeEntryHeader, type ImageEntry, padding } from '../src/tar-writer.js';

const KEEP: RootfsOptions = { owners: 'keep', times: 'keep' };
let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'archive-'));
});
afterEach(() => removeTree(work));

function entry(path: string, more: Partial<ImageEntry> = {}): ImageEntry {
  return { path, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size: 0, linkPath: '', ...more };
}

function archive(entries: readonly (ImageEntry & { readonly data?: Uint8Array })[]): Uint8Array {
  const parts = entries.flatMap((each) => [
    ...encodeEntryHeader(each),
    ...(each.data ? [each.data, padding(each.data.length)] : []),
  ]);
  return Buffer.concat([...parts, END_OF_ARCHIVE]);
}

async function* chunked(bytes: Uint8Array, size = 1000): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readAll(bytes: Uint8Array, size?: number): Promise<(ArchiveEntry & { readonly text: string })[]> {
  const all: (ArchiveEntry & { readonly text: string })[] = [];
  await readArchive(chunked(bytes, size), async (each, data) => {
    const parts: Uint8Array[] = [];
    for await (const part of data) parts.push(part);
    all.push({ ...each, text: Buffer.concat(parts).toString() });
  });
  return all;
}

function makeTree(root: string): void {
  mkdirSync(join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'etc/very'.padEnd(130, 'y')), { recursive: true });
  writeFileSync(join(root, 'bin/sh'), 'a shell', { mode: 0o755 });
  writeFileSync(join(root, 'bin/empty'), '');
  chmodSync(join(root, 'bin/sh'), 0o4755);
  linkSync(join(root, 'bin/sh'), join(root, 'bin/ash'));
  symlinkSync('../bin/sh', join(root, 'etc/link'));
  symlinkSync('t'.repeat(150), join(root, 'etc/long-link'));
  writeFileSync(join(root, 'etc/very'.padEnd(130, 'y'), 'naïve-ünïcode'), 'x'.repeat(1500));
  mkdirSync(join(root, 'closed'), { mode: 0o555 });
  utimesSync(join(root, 'bin/sh'), 1_600_000_000, 1_600_000_000);
}

async function imageOf(root: string, options = KEEP): Promise<Uint8Array> {
  const { entries } = await openDirectory(root, options);
  const parts: Uint8Array[] = [];
  for (const each of entries) {
    parts.push(...encodeEntryHeader(each));
    if (each.type !== 'file') continue;
    for await (const part of each.open()) parts.push(part);
    parts.push(padding(each.size));
  }
  return Buffer.concat([...parts, END_OF_ARCHIVE]);
}

describe('an archive that is written', () => {
  it('is one that GNU tar lists and unpacks to the same tree', async () => {
    makeTree(join(work, 'in'));
    writeFileSync(join(work, 'image.tar'), await imageOf(join(work, 'in')));
    mkdirSync(join(work, 'out'));
    execFileSync('tar', ['-xpf', join(work, 'image.tar'), '-C', join(work, 'out')]);
    expect(describeTree(join(work, 'out'))).toEqual(describeTree(join(work, 'in')));
  });

  it('unpacks by ours to the same tree as by GNU tar', async () => {
    makeTree(join(work, 'in'));
    await extractImage(chunked(await imageOf(join(work, 'in'))), join(work, 'out'));
    expect(describeTree(join(work, 'out'))).toEqual(describeTree(join(work, 'in')));
    expect(statSync(join(work, 'out/bin/ash')).ino).toBe(statSync(join(work, 'out/bin/sh')).ino);
  });

  it('is the same for the same content, wherever and whenever it was made', async () => {
    makeTree(join(work, 'a'));
    makeTree(join(work, 'b'));
    utimesSync(join(work, 'b/bin/sh'), 1, 1);
    const options: RootfsOptions = { owners: 'root', times: 'epoch' };
    expect(await imageOf(join(work, 'a'), options)).toEqual(await imageOf(join(work, 'b'), options));
  });

  it('reads back to what was written, in chunks of any size', async () => {
    const path = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 120 }).filter((text) => !/[\0\n]/.test(text));
    const anyEntry = fc.record({
      path,
      mode: fc.nat(0o7777),
      uid: fc.nat(0xffff_fffe),
      gid: fc.nat(0xffff_fffe),
      mtime: fc.nat(0xffff_ffff),
      data: fc.uint8Array({ maxLength: 1200 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(anyEntry, { maxLength: 5 }), fc.integer({ min: 1, max: 2000 }), async (some, size) => {
        const entries = some.map((each) => ({ ...entry(each.path, each), size: each.data.length, data: each.data }));
        const read = await readAll(archive(entries), size);
        expect(read.map(({ path, mode, uid, gid, mtime, text }) => ({ path, mode, uid, gid, mtime, text }))).toEqual(
          entries.map(({ path, mode, uid, gid, mtime, data }) => ({
            path: new TextDecoder().decode(new TextEncoder().encode(path)),
            mode,
            uid,
            gid,
            mtime,
            text: Buffer.from(data).toString(),
          })),
        );
      }),
      { numRuns: 100 },
    );
  });

  it('cut short at any byte is refused, or has fewer entries where the end marker alone is missing', async () => {
    const whole = archive([
      entry('a', { size: 3, data: Uint8Array.of(1, 2, 3) } as Partial<ImageEntry>),
      entry('b'.repeat(120)),
    ]);
    const ends = whole.length - 1024;
    for (let length = 0; length < whole.length; length += 37) {
      const cut = whole.subarray(0, length);
      if (length >= ends && (length - ends) % 512 === 0) continue;
      const result = await readAll(cut).catch((error) => error);
      if (result instanceof Error) expect(result).toMatchObject({ code: 'archive' });
      else expect(result.length).toBeLessThanOrEqual(length >= ends ? 2 : 1);
    }
  });
});

describe('an archive of another program', () => {
  it.each(['gnu', 'pax', 'ustar', 'v7'])('in %s format makes the same entries as the directory', async (format) => {
    makeTree(join(work, 'in'));
    // Only the newer formats hold long names.
    if (format === 'v7' || format === 'ustar') rmSync(join(work, 'in/etc'), { recursive: true });
    execFileSync('tar', [`--format=${format}`, '-cf', join(work, 'x.tar'), '-C', join(work, 'in'), '.']);
    const fromTar = await openArchive(join(work, 'x.tar'), join(work, 'scratch'), KEEP);
    const fromDirectory = await openDirectory(join(work, 'in'), KEEP);
    expect(fromTar.entries.map(withoutData)).toEqual(fromDirectory.entries.map(withoutData));
  });

  it('in gzip is unpacked first, and the copy is removed', async () => {
    makeTree(join(work, 'in'));
    execFileSync('tar', ['-czf', join(work, 'x.tgz'), '-C', join(work, 'in'), '.']);
    const rootfs = await openArchive(join(work, 'x.tgz'), join(work, 'scratch'), KEEP);
    expect(rootfs.entries.length).toBeGreaterThan(5);
    await rootfs.close();
    expect(readdirSync(work)).not.toContain('scratch');
  });

  it('in xz is refused with the way out', async () => {
    writeFileSync(join(work, 'x.tar.xz'), Buffer.from('fd377a585a000000', 'hex'));
    await expect(openArchive(join(work, 'x.tar.xz'), join(work, 's'), KEEP)).rejects.toMatchObject({
      code: 'archive',
      remedy: 'unpack it first: xz -d',
    });
  });

  it('with a wrong checksum, with hostile pax records, or of garbage is refused', async () => {
    const good = archive([entry('a')]);
    good[0] = 0x62;
    await expect(readAll(good)).rejects.toMatchObject({ code: 'archive' });
    for (const record of ['0 a=b\n', '99 a=b\n', '5 a=b', '-1 a=b\n', '6 =bc\n', '9999999999 a=b\n', '7 path\n']) {
      expect(() => parsePax(new TextEncoder().encode(record))).toThrow(expect.objectContaining({ code: 'archive' }));
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2000 }), async (bytes) => {
        const result = await readAll(bytes).catch((error) => error);
        if (result instanceof Error) expect(result).toMatchObject({ code: 'archive' });
      }),
    );
  });

  it('with any number of global headers takes no longer for each of them', async () => {
    const records = (i: number) => encodePax(new Map([[`key${1_000_000 + i}`, 'value']]));
    const size = records(0).length;
    const rest = { mode: 0o644, uid: 0, gid: 0, mtime: 0, linkName: '', type: TAR_TYPE.paxGlobal };
    const header = encodeHeader({ ...rest, name: 'global', size });
    async function* headers() {
      for (let i = 0; i < 6000; i++) yield Buffer.concat([header, records(i), padding(size)]);
      yield archive([entry('a')]);
    }
    const before = process.cpuUsage();
    const paths: string[] = [];
    await readArchive(headers(), async ({ path }) => void paths.push(path));
    // Less than half a second; where all records were kept until the end, more than five.
    expect(process.cpuUsage(before).user).toBeLessThan(3e6);
    expect(paths).toEqual(['a']);
  });

  it('has pax records that encode and parse to the same', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 120 });
    const key = fc
      .string({ minLength: 1, maxLength: 20 })
      .filter((name) => !/[=\0]/.test(name) && !name.startsWith('SCHILY'));
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(key, text), { selector: ([name]) => name }), (pairs) => {
        const clean = pairs.map(([name, value]) => [name, Buffer.from(value).toString()] as const);
        expect([...parsePax(encodePax(new Map(clean)))]).toEqual(clean);
      }),
    );
  });
});

function withoutData({ open: _, offset: __, ...rest }: ImageEntry & { open(): unknown; offset?: number }): ImageEntry {
  return rest;
}

describe('arranging what a source holds', () => {
  const found = (path: string, more: Partial<ImageEntry> = {}) => ({
    ...entry(path, more),
    open: () => chunked(new Uint8Array(0)),
  });

  it('sorts, cleans paths, makes missing directories and lets the last of two count', () => {
    const entries = arrange(
      [found('./b/c'), found('/a', { mode: 0o600 }), found('a', { mode: 0o644 }), found('b.d')],
      KEEP,
    );
    expect(entries.map(({ path, type, mode }) => [path, type, mode])).toEqual([
      ['a', 'file', 0o644],
      ['b', 'directory', 0o755],
      ['b/c', 'file', 0o644],
      ['b.d', 'file', 0o644],
    ]);
  });

  it('puts a file before the links to it, whichever comes first by name', () => {
    const entries = arrange([found('z', { size: 5 }), found('a', { type: 'hard-link', linkPath: './z' })], KEEP);
    expect(entries.map(({ path, type, size, linkPath }) => [path, type, size, linkPath])).toEqual([
      ['a', 'file', 5, ''],
      ['z', 'hard-link', 0, 'a'],
    ]);
  });

  it.each([
    ['a path above the root', [found('../x')]],
    ['a file below a file', [found('a'), found('a/b')]],
    ['a file below a link', [found('a', { type: 'symlink', linkPath: '/etc' }), found('a/passwd')]],
    ['a hard link to nothing', [found('a', { type: 'hard-link', linkPath: 'b' })]],
    ['a hard link to itself', [found('a', { type: 'hard-link', linkPath: 'a' })]],
    [
      'a hard link to a directory',
      [found('b', { type: 'directory' }), found('a', { type: 'hard-link', linkPath: 'b' })],
    ],
  ])('refuses %s', (_, entries) => {
    expect(() => arrange(entries, KEEP)).toThrow(expect.objectContaining({ code: 'archive' }));
  });
});

describe('unpacking', () => {
  it.each([
    ['above the root', [entry('../evil')]],
    ['at an absolute path', [entry('/evil')]],
    ['at a path with a dot', [entry('a', { type: 'directory' }), entry('a/./evil')]],
    ['at the root', [entry('')]],
    ['without its directory', [entry('a/evil')]],
    ['through a symbolic link', [entry('a', { type: 'symlink', linkPath: '/tmp' }), entry('a/evil')]],
    ['over a symbolic link', [entry('a', { type: 'symlink', linkPath: '/tmp/evil' }), entry('a')]],
    ['over a file', [entry('a'), entry('a', { type: 'symlink', linkPath: '/' })]],
    ['over a directory', [entry('a', { type: 'directory' }), entry('a', { type: 'symlink', linkPath: '/' })]],
    ['as a hard link to the outside', [entry('a', { type: 'hard-link', linkPath: '/etc/passwd' })]],
    ['as a hard link above the root', [entry('a', { type: 'hard-link', linkPath: '../../etc/passwd' })]],
    [
      'as a hard link to a symbolic link',
      [entry('s', { type: 'symlink', linkPath: '/etc/passwd' }), entry('a', { type: 'hard-link', linkPath: 's' })],
    ],
  ])('refuses an entry %s', async (_, entries) => {
    await expect(extractImage(chunked(archive(entries)), join(work, 'root'))).rejects.toMatchObject({
      code: 'archive',
    });
    expect(readdirSync(work)).toEqual(['root']);
  });

  it('gives owners, modes and times as the image says, also below a directory that hands down its group', async () => {
    mkdirSync(join(work, 'shared'));
    if (process.getuid?.() === 0) chownSync(join(work, 'shared'), 0, 77);
    chmodSync(join(work, 'shared'), 0o2755);
    const image = archive([entry('d', { type: 'directory', mode: 0o1777 }), entry('d/f', { mode: 0o6711, mtime: 99 })]);
    await extractImage(chunked(image), join(work, 'shared/root'));
    const [root, directory, file] = ['', 'd', 'd/f'].map((path) => statSync(join(work, 'shared/root', path)));
    expect([root?.mode, directory?.mode, file?.mode]).toEqual([0o40755, 0o41777, 0o106711]);
    expect([root?.gid, directory?.gid, file?.gid]).toEqual([0, 0, 0].map(() => process.getgid?.()));
    expect(file?.mtimeMs).toBe(99_000);
  });

  it('refuses a device', async () => {
    const block = Buffer.from(archive([entry('null')]));
    block[156] = 0x33;
    block.fill(0x20, 148, 156);
    const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    await expect(extractImage(chunked(block), join(work, 'root'))).rejects.toMatchObject({ code: 'archive' });
  });

  it('consumes what follows the end marker, so that a digest covers it', async () => {
    let length = 0;
    async function* counted() {
      for await (const chunk of chunked(Buffer.concat([archive([entry('a')]), Buffer.alloc(5000, 1)]))) {
        length += chunk.length;
        yield chunk;
      }
    }
    await extractImage(counted(), join(work, 'root'));
    expect(length).toBe(512 + 1024 + 5000);
  });
});

/** Everything about a tree that an image keeps. */
function describeTree(root: string): unknown {
  const list = execFileSync('find', ['.', '-printf', '%p %y %m %U %G %s %l\n'], { cwd: root, encoding: 'utf8' });
  const lines = list.split('\n').filter((line) => !line.startsWith('. '));
  // The size of a directory is the file system's own affair.
  const shape = lines.map((line) => line.replace(/^(\S+ d \S+ \S+ \S+) \d+/, '$1')).sort();
  return { shape, time: statSync(join(root, 'bin/sh')).mtimeMs, text: readFileSync(join(root, 'bin/sh'), 'utf8') };
}
