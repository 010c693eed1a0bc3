/** A directory of GuestOSes: for each a configuration, its signature and its image. Nothing in it is trusted before it is verified. */
import { constants } from 'node:fs';
import { access, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assertGuestOsName, MAX_CONFIG } from './config.js';
import { ContainerError, isErrno } from './error.js';
import { ownedName, removeOrphans } from './owned-name.js';
import { claimWriting, removeHalfWritten } from './write-claim.js';

/** The largest signature file, in bytes. */
const MAX_SIGNATURE = 1024 * 1024;
const SCRATCH = '.scratch';

/** Which GuestOS. */
export interface GuestOsId {
  /** Its name. */
  readonly name: string;
  /** Its version. */
  readonly version: number;
}

/**
 * An open store. `NAME-VERSION.img` and `.sig` are written first and `.conf` last: a GuestOS is there when its configuration is.
 * Each file is replaced atomically, so a program that is killed leaves a GuestOS that is there or one that is not. Only one process at a
 * time writes a GuestOS; what a killed one has left of it is removed by the next that writes it, and at the next opening.
 */
export class GuestOsStore {
  /** The directory. */
  readonly directory: string;

  /** Made by {@link openGuestOsStore}. */
  constructor(directory: string) {
    this.directory = directory;
  }

  /** The GuestOSes that are there, by name and then by version. */
  async list(): Promise<readonly GuestOsId[]> {
    const names = await readdir(this.directory);
    const ids = names.flatMap((file) => {
      const match = /^([a-z0-9][a-z0-9._-]{0,63})-(0|[1-9]\d{0,15})\.conf$/.exec(file);
      const [, name, version] = match ?? [];
      return name === undefined ? [] : [{ name, version: Number(version) }];
    });
    return ids.sort((a, b) => (a.name === b.name ? a.version - b.version : a.name < b.name ? -1 : 1));
  }

  /** The path of the image, whether it is there or not. Throws {@link ContainerError} `bad-input` for an impossible name. */
  imagePath(id: GuestOsId): string {
    return this.#path(id, 'img');
  }

  /** Configuration and signature as they lie there. Throws {@link ContainerError} `not-found`; `config` or `signature` for one that is too large. */
  async read(id: GuestOsId): Promise<{ readonly config: Uint8Array; readonly signature: Uint8Array }> {
    const config = await readBounded(this.#path(id, 'conf'), MAX_CONFIG, 'config');
    if (!config)
      throw new ContainerError('not-found', `find GuestOS ${id.name}-${id.version}: not in ${this.directory}`);
    const signature = await readBounded(this.#path(id, 'sig'), MAX_SIGNATURE, 'signature');
    return { config, signature: signature ?? new Uint8Array(0) };
  }

  /**
   * Removes a GuestOS; its configuration goes first. Does nothing where there is none. Throws {@link ContainerError} `state` while another
   * process puts it in.
   */
  async remove(id: GuestOsId): Promise<void> {
    await using _claim = await claimWriting(this.directory, stemOf(id));
    await this.#removeFiles(id);
  }

  async #removeFiles(id: GuestOsId): Promise<void> {
    for (const kind of ['conf', 'sig', 'img'] as const) await rm(this.#path(id, kind), { force: true });
  }

  /** A path in the store for a file of this process, which is removed at the next opening if the process does not. */
  async scratchPath(): Promise<string> {
    return join(this.directory, ownedName(SCRATCH));
  }

  /**
   * Puts a GuestOS in: `image` is a file made at {@link scratchPath}, which is moved. Throws {@link ContainerError} `exists` where
   * there is one of this name and version already, unless `replace` is set, and `state` while another process writes the same one.
   */
  async put(
    id: GuestOsId,
    parts: { readonly config: Uint8Array; readonly signature: Uint8Array; readonly image: string },
    options: { readonly replace?: boolean } = {},
  ): Promise<void> {
    await syncFile(parts.image);
    await using _claim = await claimWriting(this.directory, stemOf(id));
    if (await isThere(this.#path(id, 'conf'))) await this.#makeRoom(id, options.replace ?? false);
    try {
      await rename(parts.image, this.#path(id, 'img'));
      await this.#write(this.#path(id, 'sig'), parts.signature);
      await this.#write(this.#path(id, 'conf'), parts.config);
    } catch (error) {
      await this.#removeFiles(id);
      throw error;
    }
    await syncFile(this.directory);
  }

  async #write(path: string, content: Uint8Array): Promise<void> {
    const scratch = await this.scratchPath();
    try {
      await writeFile(scratch, content, { mode: 0o600, flag: 'wx', flush: true });
      await rename(scratch, path);
    } catch (error) {
      await rm(scratch, { force: true });
      throw error;
    }
  }

  async #makeRoom(id: GuestOsId, replace: boolean): Promise<void> {
    if (replace) return this.#removeFiles(id);
    const problem = `put GuestOS ${id.name}-${id.version}: expected a new name or version, got one that is in the store`;
    throw new ContainerError('exists', problem, { remedy: 'raise the version, or replace it explicitly' });
  }

  #path(id: GuestOsId, kind: 'conf' | 'sig' | 'img'): string {
    return join(this.directory, `${stemOf(id)}.${kind}`);
  }
}

/** Opens the store in `directory`, which is made where it is missing, and removes what killed programs have left in it. */
export async function openGuestOsStore(directory: string): Promise<GuestOsStore> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await removeOrphans(directory, SCRATCH);
  await removeHalfWritten(directory);
  return new GuestOsStore(directory);
}

/** What the names of a GuestOS's files begin with. */
function stemOf({ name, version }: GuestOsId): string {
  assertGuestOsName(name, version);
  return `${name}-${version}`;
}

async function readBounded(path: string, max: number, code: 'config' | 'signature'): Promise<Uint8Array | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (!file) return undefined;
  try {
    const bytes = new Uint8Array(max + 1);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read) {
      read = (await file.read(bytes, length, bytes.length - length)).bytesRead;
    }
    if (length <= max) return bytes.slice(0, length);
  } finally {
    await file.close();
  }
  throw new ContainerError(code, `read ${path}: expected at most ${max} bytes, got more`);
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Makes a file, or the names in a directory, outlast a power cut. */
async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
