/** A tar archive as the root filesystem of an image: it is read once for what is in it, and again for the data. */
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { MAX_IMAGE } from './config.js';
import { ContainerError } from './error.js';
import { arrange, cleanPath, type Found, type Rootfs, type RootfsOptions } from './rootfs.js';
import { type ArchiveEntry, readArchive } from './tar-reader.js';

/**
 * Reads the archive at `path`, plain or gzip. A compressed one is unpacked to `scratch`, a path that does not exist, which is
 * removed at the end. Throws {@link ContainerError} `archive`.
 */
export async function openArchive(path: string, scratch: string, options: RootfsOptions): Promise<Rootfs> {
  const compressed = await isGzip(path);
  if (compressed) await unpack(path, scratch);
  const plain = compressed ? scratch : path;
  const close = async () => (compressed ? rm(scratch, { force: true }) : undefined);
  try {
    const found: Found[] = [];
    const skipped: string[] = [];
    await readArchive(createReadStream(plain, { highWaterMark: 1024 * 1024 }), async (entry) => {
      const taken = take(entry, plain);
      if (taken) found.push(taken);
      else skipped.push(cleanPath(entry.path));
    });
    return { entries: arrange(found, options), skipped: skipped.sort(), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function take(entry: ArchiveEntry, archive: string): Found | undefined {
  const { type, offset, size } = entry;
  if (type === 'device' || type === 'fifo' || type === 'other') return undefined;
  const open = () =>
    size === 0
      ? nothing()
      : createReadStream(archive, { start: offset, end: offset + size - 1, highWaterMark: 1024 * 1024 });
  return { ...entry, type, open };
}

async function* nothing(): AsyncIterable<Uint8Array> {}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(6), 0, 6, 0);
    const unsupported = COMPRESSED.find(({ magic }) => bytesRead === 6 && magic.every((byte, i) => buffer[i] === byte));
    if (!unsupported) return bytesRead >= 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
    throw new ContainerError(
      'archive',
      `read ${path}: expected a tar archive, plain or gzip, got ${unsupported.name}`,
      {
        remedy: `unpack it first: ${unsupported.name} -d`,
      },
    );
  } finally {
    await file.close();
  }
}

async function unpack(path: string, scratch: string): Promise<void> {
  try {
    const target = createWriteStream(scratch, { flags: 'wx', mode: 0o600 });
    await pipeline(createReadStream(path), createGunzip(), bounded, target);
  } catch (error) {
    await rm(scratch, { force: true });
    throw new ContainerError('archive', `unpack ${path}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}

async function* bounded(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > MAX_IMAGE) throw new Error(`expected at most ${MAX_IMAGE} bytes, got more`);
    yield chunk;
  }
}

const COMPRESSED = [
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68] },
] as const;
