/** Building a GuestOS: root filesystem in; image, configuration and signature out. */
import { createHash } from 'node:crypto';
import { open, rm, stat } from 'node:fs/promises';
import { arch } from 'node:process';
import type { Capability } from '@casemate/namespaces';
import { type Signer, signDocument } from '@casemate/pki';
import { DEFAULT_LIMITS, encodeGuestOsConfig, type GuestOsConfig, type GuestOsLimits, MAX_IMAGE } from './config.js';
import { ContainerError } from './error.js';
import type { Rootfs, RootfsEntry } from './rootfs.js';
import { openArchive } from './rootfs-archive.js';
import { openDirectory } from './rootfs-directory.js';
import type { GuestOsStore } from './store.js';
import { END_OF_ARCHIVE, encodeEntryHeader, padding } from './tar-writer.js';

/** What a GuestOS is built from. */
export interface BuildOptions {
  /** Lower-case letters, digits, `.`, `_` and `-`, at most 64 characters. */
  readonly name: string;
  /** A whole number; a larger one is newer. */
  readonly version: number;
  /** Path of a directory, or of a tar archive, plain or gzip. */
  readonly rootfs: string;
  /** The first process: its absolute path inside, its arguments, its environment (PATH and HOME of root unless given). */
  readonly init: {
    readonly path: string;
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  };
  /** Machine that it runs on, as uname(1) calls it; this one unless given. */
  readonly hardware?: string;
  /** Capabilities that it requests; none unless given. */
  readonly capabilities?: readonly Capability[];
  /** What it may use at most; {@link DEFAULT_LIMITS} for what is not given. */
  readonly limits?: Partial<GuestOsLimits>;
  /** Owners as in the source or all root. Unless given: as in the source, but all root for a directory that an ordinary user reads. */
  readonly owners?: 'keep' | 'root';
  /** Times as in the source, or all the start of 1970, which is so unless given: the same content then makes the same image. */
  readonly times?: 'keep' | 'epoch';
  /** Signs the configuration. */
  readonly signer: Signer;
  /** The signer's certificate first, then the intermediates; DER. */
  readonly chain: readonly Uint8Array[];
  /** The claimed time of signing; now unless given. */
  readonly time?: Date;
  /** Where it is put. */
  readonly store: GuestOsStore;
  /** Whether one of the same name and version may be replaced; false unless given. */
  readonly replace?: boolean;
}

/** A GuestOS that was built. */
export interface BuiltGuestOs {
  /** The configuration. */
  readonly config: GuestOsConfig;
  /** SHA-256 of the configuration's bytes. */
  readonly configDigest: Uint8Array;
  /** Paths of the source that the image does not hold: devices, pipes, sockets and what is of unknown type. */
  readonly skipped: readonly string[];
}

/**
 * Builds an image of `rootfs`, writes its configuration, signs that, and puts all three into the store. The same content makes the
 * same image. Extended attributes and file capabilities are not taken.
 *
 * Throws {@link ContainerError}: `archive` for a root filesystem that cannot be taken, `bad-input`, `exists`; `PkiError` from signing.
 */
export async function buildGuestOs(options: BuildOptions): Promise<BuiltGuestOs> {
  const { store } = options;
  const image = await store.scratchPath();
  const rootfs = await openRootfs(options);
  try {
    const written = await writeImage(image, rootfs.entries);
    const config = configOf(options, written);
    const bytes = encodeGuestOsConfig(config);
    const signature = await signDocument(bytes, signing(options));
    await store.put(config, { config: bytes, signature, image }, { replace: options.replace ?? false });
    return {
      config,
      configDigest: new Uint8Array(createHash('sha256').update(bytes).digest()),
      skipped: rootfs.skipped,
    };
  } finally {
    await rootfs.close();
    await rm(image, { force: true });
  }
}

async function openRootfs(options: BuildOptions): Promise<Rootfs> {
  const times = options.times ?? 'epoch';
  if (!(await stat(options.rootfs)).isDirectory()) {
    return openArchive(options.rootfs, await options.store.scratchPath(), { owners: options.owners ?? 'keep', times });
  }
  // An ordinary user's files stand for root's: nobody else could have been given them.
  const owners = options.owners ?? (process.getuid?.() === 0 ? 'keep' : 'root');
  return openDirectory(options.rootfs, { owners, times });
}

async function writeImage(path: string, entries: readonly RootfsEntry[]): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256');
  const file = await open(path, 'wx', 0o600);
  let size = 0;
  const batch: Uint8Array[] = [];
  let batched = 0;
  const flush = async () => {
    const joined = Buffer.concat(batch.splice(0));
    batched = 0;
    hash.update(joined);
    await file.writeFile(joined);
  };
  try {
    for await (const part of archiveOf(entries)) {
      size += part.length;
      if (size > MAX_IMAGE)
        throw new ContainerError('archive', `build image: expected at most ${MAX_IMAGE} bytes, got more`);
      batch.push(part);
      batched += part.length;
      if (batched >= 1024 * 1024) await flush();
    }
    await flush();
  } finally {
    await file.close();
  }
  return { size, sha256: hash.digest('hex') };
}

async function* archiveOf(entries: readonly RootfsEntry[]): AsyncIterable<Uint8Array> {
  for (const entry of entries) {
    yield* encodeEntryHeader(entry);
    if (entry.type !== 'file' || entry.size === 0) continue;
    yield* entry.open();
    yield padding(entry.size);
  }
  yield END_OF_ARCHIVE;
}

function configOf(options: BuildOptions, image: GuestOsConfig['image']): GuestOsConfig {
  const { name, version, init } = options;
  return {
    name,
    version,
    hardware: options.hardware ?? MACHINES[arch] ?? arch,
    image,
    init: { path: init.path, args: init.args ?? [], env: init.env ?? DEFAULT_ENV },
    capabilities: options.capabilities ?? [],
    limits: { ...DEFAULT_LIMITS, ...options.limits },
  };
}

function signing({ signer, chain, time }: BuildOptions): Parameters<typeof signDocument>[1] {
  return time === undefined ? { signer, chain } : { signer, chain, time };
}

const DEFAULT_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' } as const;

/** Node's names of machines and the kernel's. */
export const MACHINES: Readonly<Record<string, string>> = {
  x64: 'x86_64',
  arm64: 'aarch64',
  arm: 'armv7l',
  ia32: 'i686',
  riscv64: 'riscv64',
  ppc64: 'ppc64le',
  s390x: 's390x',
  loong64: 'loongarch64',
};
