/** Ranges of ids for many sandboxes, none of which two of them ever have at once: subuid(5). */
import { readFile } from 'node:fs/promises';
import { readCaller, type SubordinateRange } from './caller.js';
import { bad } from './error.js';
import { leaseDirectory, takeLease } from './leases.js';
import type { IdMapping } from './spec.js';

/** What an {@link IdPool} gives out of. */
export interface IdPoolOptions {
  /** How many ids each sandbox has. Default 65,536, or for an ordinary user as many as fit, but at least 1. */
  readonly size?: number;
  /** First id that root gives out. Default 0x1000_0000; an ordinary user gives out its ranges of /etc/subuid and /etc/subgid. */
  readonly first?: number;
  /** Number of sandboxes that root has room for. Default 24,576, up to 0x7000_0000. */
  readonly count?: number;
  /** Where leases are written; pools of the same ids must share it. Default: a directory of this user in memory. */
  readonly directory?: string;
}

/** The ids of one sandbox. */
export interface IdLease extends AsyncDisposable {
  /** First user id outside. */
  readonly start: number;
  /** How many. */
  readonly size: number;
  /** For `SandboxSpec.ids`. */
  readonly ids: IdMapping;
  /** Gives the range back. */
  release(): Promise<void>;
}

/**
 * Gives out ranges of ids; safe among processes, and what a killed process had is free again. As root it gives ids for `shifted`, and
 * none that /etc/subuid or /etc/subgid promise to somebody. For an ordinary user it divides the user's own ranges: the caller's id is
 * then not in the sandbox, which can only be shown files that everybody may read.
 */
export class IdPool {
  readonly #options: IdPoolOptions;

  /** Throws `NamespaceError` `bad-spec`. */
  constructor(options: IdPoolOptions = {}) {
    const { size = 1, first = 1, count = 1 } = options;
    if (![size, first, count].every((n) => Number.isInteger(n) && n >= 1) || first + size * count >= 0xffff_ffff) {
      throw bad(
        `expected size, first and count as whole numbers that end below 4294967295, got ${size}, ${first}, ${count}`,
      );
    }
    this.#options = options;
  }

  /** Takes a range. Throws `NamespaceError` `used-up`, and `bad-spec` where this user has no ids to give. */
  async lease(): Promise<IdLease> {
    const caller = await readCaller();
    return caller.uid === 0 && caller.allIds ? this.#leaseFree() : this.#leaseOwn(caller.subordinate);
  }

  async #leaseFree(): Promise<IdLease> {
    const { size = DEFAULT_SIZE, first = FIRST } = this.#options;
    const count = this.#options.count ?? Math.floor((LAST - first) / size);
    if (count < 1) throw bad(`expected room for a range of ${size} ids above ${first}, got none`);
    const promised = await promisedRanges();
    const isUsable = (index: number): boolean => {
      const start = first + index * size;
      return !promised.some((range) => start < range.start + range.count && range.start < start + size);
    };
    const { index, release } = await this.#take({ kind: `ids-${first}-${size}`, count, isUsable });
    const start = first + index * size;
    const ids = { type: 'shifted', base: start, size } as const;
    return { start, size, ids, release, [Symbol.asyncDispose]: release };
  }

  async #leaseOwn(
    own: { readonly uids: readonly SubordinateRange[]; readonly gids: readonly SubordinateRange[] } | undefined,
  ): Promise<IdLease> {
    if (!own) throw bad('expected ranges for this user in /etc/subuid and /etc/subgid, and newuidmap, got none');
    const size = this.#options.size ?? Math.min(DEFAULT_SIZE, largest(own.uids), largest(own.gids));
    const [uids, gids] = [blocksOf(own.uids, size), blocksOf(own.gids, size)];
    const count = Math.min(uids.length, gids.length);
    if (count < 1) throw bad(`expected a range of ${size} ids in /etc/subuid and /etc/subgid, got smaller ones`);
    const { index, release } = await this.#take({ kind: `own-${size}`, count });
    const range = (blocks: readonly number[]) => [{ inside: 0, outside: blocks[index] ?? 0, count: size }];
    const ids = { type: 'custom', uids: range(uids), gids: range(gids) } as const;
    return { start: uids[index] ?? 0, size, ids, release, [Symbol.asyncDispose]: release };
  }

  #take(request: Parameters<typeof takeLease>[1]): ReturnType<typeof takeLease> {
    return takeLease(this.#options.directory ?? leaseDirectory(), request);
  }
}

function largest(ranges: readonly SubordinateRange[]): number {
  return Math.max(0, ...ranges.map((range) => range.count));
}

function blocksOf(ranges: readonly SubordinateRange[], size: number): readonly number[] {
  return ranges.flatMap(({ start, count }) =>
    Array.from({ length: Math.floor(count / size) }, (_, i) => start + i * size),
  );
}

async function promisedRanges(): Promise<readonly SubordinateRange[]> {
  const texts = await Promise.all(['/etc/subuid', '/etc/subgid'].map((path) => readFile(path, 'utf8').catch(() => '')));
  return texts.flatMap((text) =>
    [...text.matchAll(/^[^:#\n]+:(\d+):(\d+)\s*$/gm)].map(([, start, count]) => ({
      start: Number(start),
      count: Number(count),
    })),
  );
}

const DEFAULT_SIZE = 0x1_0000;
const FIRST = 0x1000_0000;
const LAST = 0x7000_0000;
