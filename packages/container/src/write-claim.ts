/** The right to write the files of one GuestOS in a store: one process at a time has it, and what a killed one left half done is known by it. */
import { randomInt } from 'node:crypto';
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerError } from './error.js';
import { ownedAmong, ownedName } from './owned-name.js';

/**
 * Takes the right to write `STEM.img`, `STEM.sig` and `STEM.conf` in `directory`, and removes those of a program that was killed amid.
 * Throws {@link ContainerError} `state` where another process has it all the while.
 */
export async function claimWriting(directory: string, stem: string): Promise<AsyncDisposable> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const claim = await tryClaim(directory, stem);
    if (claim) return claim;
    await new Promise((resolve) => setTimeout(resolve, randomInt(1, 20)));
  }
  throw new ContainerError('state', `write GuestOS ${stem}: expected no other process to write it, got one`, {
    remedy: `where none does, remove ${join(directory, `${WRITING}.${stem}`)}.*`,
  });
}

/** Removes what programs that were killed have left half written in `directory`, except where another process writes just that now. */
export async function removeHalfWritten(directory: string): Promise<void> {
  const orphans = ownedAmong(await readdir(directory).catch(() => [])).filter(({ isOrphan }) => isOrphan);
  const stems = orphans.flatMap(({ prefix }) =>
    prefix.startsWith(`${WRITING}.`) ? [prefix.slice(WRITING.length + 1)] : [],
  );
  for (const stem of new Set(stems)) await (await tryClaim(directory, stem))?.[Symbol.asyncDispose]();
}

/**
 * Each writer makes a file of its own and only then looks for others. Of two at the same moment the one that looks last sees the other's
 * file, so never do both go on. A file whose process is gone can be removed by anyone, since no later process ever has the same name.
 */
async function tryClaim(directory: string, stem: string): Promise<AsyncDisposable | undefined> {
  const prefix = `${WRITING}.${stem}`;
  const own = ownedName(prefix);
  await (await open(join(directory, own), 'wx', 0o600)).close();
  const release = (): Promise<void> => rm(join(directory, own), { force: true });
  try {
    const names = await readdir(directory);
    const others = ownedAmong(names).filter((other) => other.prefix === prefix && other.name !== own);
    if (others.every(({ isOrphan }) => isOrphan)) {
      if (others.length > 0) await removeHalf(directory, stem, names);
      for (const { name } of others) await rm(join(directory, name), { force: true });
      return { [Symbol.asyncDispose]: release };
    }
  } catch (error) {
    await release();
    throw error;
  }
  await release();
  return undefined;
}

// The configuration comes last and goes first.
async function removeHalf(directory: string, stem: string, names: readonly string[]): Promise<void> {
  if (names.includes(`${stem}.conf`)) return;
  for (const kind of ['img', 'sig']) await rm(join(directory, `${stem}.${kind}`), { force: true });
}

const WRITING = '.writing';
const MAX_ATTEMPTS = 50;
