/** How ids inside a sandbox map to ids outside: user_namespaces(7), newuidmap(1). */
import type { Caller, SubordinateRange } from './caller.js';
import { NamespaceError } from './error.js';
import type { IdMapping, IdRange, SandboxSpec } from './spec.js';

/** The maps of a sandbox and how they are written. */
export interface IdMaps {
  /** User ids. */
  readonly uids: readonly IdRange[];
  /** Group ids. */
  readonly gids: readonly IdRange[];
  /** Absolute path of newuidmap, or empty to write the map directly. */
  readonly uidHelper: string;
  /** Absolute path of newgidmap, or empty to write the map directly. */
  readonly gidHelper: string;
  /** Whether setgroups(2) must be given up before the group map may be written. */
  readonly denySetgroups: boolean;
  /** Whether file systems are to be shown through id-mapped mounts. */
  readonly idMappedMounts: boolean;
  /** Whether what is bound from outside is opened outside: inside, root has lost its access to it. */
  readonly openOutside: boolean;
  /** Whom to become inside before anything is made there; undefined where the caller's own ids are mapped. */
  readonly first: { readonly uid: number; readonly gid: number } | undefined;
}

/** Whether the caller is root of the machine, as far as mounting goes: all ids are its own, and it has CAP_SYS_ADMIN. */
export function isRoot({ uid, allIds, capabilities }: Caller): boolean {
  if (capabilities === undefined) return uid === 0 && allIds;
  return uid === 0 && allIds && ((capabilities >> CAP_SYS_ADMIN) & 1n) === 1n;
}

/** Decides the maps. Throws {@link NamespaceError} `bad-spec` where the caller may not have what was asked for. */
export function planIds(wanted: IdMapping | undefined, caller: Caller): IdMaps {
  const mapping = wanted ?? defaultMapping(caller);
  switch (mapping.type) {
    case 'single':
      return single(mapping.inside ?? 0, caller);
    case 'subordinate':
      return subordinate(caller);
    case 'shifted':
      return shifted(mapping.base ?? caller.shiftedBase, mapping.size ?? SHIFT_SIZE, caller);
    case 'custom':
      return custom(mapping.uids, mapping.gids, caller);
  }
}

function defaultMapping(caller: Caller): IdMapping {
  return isRoot(caller) ? { type: 'shifted' } : { type: 'single' };
}

function single(inside: number, caller: Caller): IdMaps {
  checkRanges([{ inside, outside: caller.uid, count: 1 }]);
  const uids = [{ inside, outside: caller.uid, count: 1 }];
  const gids = [{ inside, outside: caller.gid, count: 1 }];
  return { ...DIRECT, uids, gids, denySetgroups: true };
}

function subordinate(caller: Caller): IdMaps {
  const own = caller.subordinate;
  if (!own) {
    throw refuse(
      'expected ranges for this user in /etc/subuid and /etc/subgid, and newuidmap, got none',
      SUBUID_REMEDY,
    );
  }
  return {
    ...DIRECT,
    uids: stack(caller.uid, own.uids),
    gids: stack(caller.gid, own.gids),
    uidHelper: own.newuidmap,
    gidHelper: own.newgidmap,
  };
}

// The caller as 0, its ranges one after another from 1 on.
function stack(self: number, ranges: readonly SubordinateRange[]): readonly IdRange[] {
  const maps: IdRange[] = [{ inside: 0, outside: self, count: 1 }];
  let next = 1;
  for (const { start, count } of ranges) {
    maps.push({ inside: next, outside: start, count });
    next += count;
  }
  return maps;
}

function shifted(base: number, size: number, caller: Caller): IdMaps {
  if (!isRoot(caller))
    throw refuse('expected root with CAP_SYS_ADMIN for shifted ids, got another user', SINGLE_REMEDY);
  const ranges = [{ inside: 0, outside: base, count: size }];
  checkRanges(ranges);
  return { ...DIRECT, uids: ranges, gids: ranges, idMappedMounts: true, openOutside: true, first: { uid: 0, gid: 0 } };
}

function custom(uids: readonly IdRange[], gids: readonly IdRange[], caller: Caller): IdMaps {
  checkRanges(uids);
  checkRanges(gids);
  if (caller.uid === 0) {
    return { ...DIRECT, uids, gids, openOutside: true, first: { uid: lowest(uids), gid: lowest(gids) } };
  }
  if (isOnly(uids, caller.uid) && isOnly(gids, caller.gid)) return { ...DIRECT, uids, gids, denySetgroups: true };
  const own = caller.subordinate;
  if (!own)
    throw refuse(
      'expected root, or ranges in /etc/subuid and /etc/subgid and newuidmap, beside custom ids, got none of it',
      SUBUID_REMEDY,
    );
  checkOwned(uids, [{ start: caller.uid, count: 1 }, ...own.uids], '/etc/subuid');
  checkOwned(gids, [{ start: caller.gid, count: 1 }, ...own.gids], '/etc/subgid');
  const isMapped = covers(uids, caller.uid) && covers(gids, caller.gid);
  const first = isMapped ? undefined : { uid: lowest(uids), gid: lowest(gids) };
  return { ...DIRECT, uids, gids, uidHelper: own.newuidmap, gidHelper: own.newgidmap, first };
}

function covers(ranges: readonly IdRange[], outside: number): boolean {
  return ranges.some((r) => outside >= r.outside && outside < r.outside + r.count);
}

// newuidmap(1) asks that each range lie within a single one of the file.
function checkOwned(wanted: readonly IdRange[], owned: readonly SubordinateRange[], file: string): void {
  const stray = wanted.find(
    (r) => !owned.some((o) => r.outside >= o.start && r.outside + r.count <= o.start + o.count),
  );
  if (!stray) return;
  const list = owned.map(({ start, count }) => (count === 1 ? start : `${start}-${start + count - 1}`)).join(', ');
  const got = `${stray.outside}-${stray.outside + stray.count - 1}`;
  throw refuse(`expected ids outside that are the caller's own or in ${file} (${list}), got ${got}`, SUBUID_REMEDY);
}

function lowest(ranges: readonly IdRange[]): number {
  return Math.min(...ranges.map((r) => r.inside));
}

function isOnly(ranges: readonly IdRange[], id: number): boolean {
  return ranges.length === 1 && ranges[0]?.outside === id && ranges[0].count === 1;
}

/** Checks what the kernel asks of an id map: its length, whole numbers, no overlap on either side. Throws `bad-spec`. */
export function checkRanges(ranges: readonly IdRange[]): void {
  if (ranges.length === 0 || ranges.length > 340) throw refuse(`expected 1 … 340 id ranges, got ${ranges.length}`);
  for (const { inside, outside, count } of ranges) {
    const whole = [inside, outside, count].every(Number.isInteger);
    if (whole && inside >= 0 && outside >= 0 && count >= 1 && inside + count <= MAX_ID && outside + count <= MAX_ID)
      continue;
    throw refuse(`expected an id range below ${MAX_ID}, got ${inside} ${outside} ${count}`);
  }
  const text = ranges.map((r) => `${r.inside} ${r.outside} ${r.count}\n`).join('');
  if (text.length >= PAGE) throw refuse(`expected id ranges that take less than ${PAGE} bytes, got ${text.length}`);
  checkOverlap(ranges, 'inside');
  checkOverlap(ranges, 'outside');
}

function checkOverlap(ranges: readonly IdRange[], side: 'inside' | 'outside'): void {
  const sorted = [...ranges].sort((a, b) => a[side] - b[side]);
  for (const [i, range] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next && range[side] + range.count > next[side]) {
      throw refuse(`expected id ranges that do not overlap ${side}, got ${next[side]} twice`);
    }
  }
}

/**
 * Checks the numbers of who a command is to be. The kernel takes 4294967295, which is -1, for "as it is": a command would stay whoever
 * the launcher is. Throws `bad-spec`.
 */
export function checkIdNumbers({ uid, gid, groups = [] }: NonNullable<SandboxSpec['user']>): void {
  const stray = [uid, gid, ...groups].find((id) => !Number.isInteger(id) || id < 0 || id >= MAX_ID);
  if (stray !== undefined) throw refuse(`expected user and group ids 0 … ${MAX_ID - 1}, got ${stray}`);
}

function refuse(problem: string, remedy?: string): NamespaceError {
  return new NamespaceError('bad-spec', `plan ids: ${problem}`, { remedy });
}

const DIRECT = {
  uidHelper: '',
  gidHelper: '',
  denySetgroups: false,
  idMappedMounts: false,
  openOutside: false,
  first: undefined,
} as const;
const PAGE = 4096; // the kernel takes an id map in one write that is smaller than a page
const CAP_SYS_ADMIN = 21n;
const SHIFT_SIZE = 0x1_0000;
const MAX_ID = 0xffff_ffff; // (uid_t)-1 is nobody's
const SINGLE_REMEDY = 'use ids of type single or subordinate, or run as root';
const SUBUID_REMEDY =
  'install the package uidmap and give the user a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER';
