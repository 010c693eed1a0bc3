/** Who starts a sandbox, as far as a plan depends on it: ids, id maps, subordinate ids (subuid(5)). */
import { randomInt } from 'node:crypto';
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { NamespaceError } from './error.js';
import type { IdMapping } from './spec.js';

/** A run of subordinate ids of a user. */
export interface SubordinateRange {
  /** First id outside. */
  readonly start: number;
  /** How many. */
  readonly count: number;
}

/** Who starts a sandbox. {@link readCaller} finds out; tests and printing may make it up. */
export interface Caller {
  /** Effective user id. */
  readonly uid: number;
  /** Effective group id. */
  readonly gid: number;
  /** Whether all ids are mapped where the caller stands, so that it may give any to a sandbox if it is root. */
  readonly allIds: boolean;
  /** The number of this process in the /proc that it sees, for a descriptor of it that names a namespace. Default: its pid. */
  readonly self?: number;
  /** First of the 65,536 ids that `shifted` takes if it is not told which. */
  readonly shiftedBase: number;
  /** How the names of links that need a name of their own outside begin, at most 12 letters and digits. Default: made from `shiftedBase`. */
  readonly linkPrefix?: string;
  /** Effective capabilities, as the bits of capabilities(7). Default: all for user id 0, none for others. */
  readonly capabilities?: bigint;
  /** The caller's ranges of /etc/subuid and /etc/subgid, and the programs that map them; undefined where one is missing. */
  readonly subordinate?: {
    /** User id ranges. */
    readonly uids: readonly SubordinateRange[];
    /** Group id ranges. */
    readonly gids: readonly SubordinateRange[];
    /** Absolute path of newuidmap(1). */
    readonly newuidmap: string;
    /** Absolute path of newgidmap(1). */
    readonly newgidmap: string;
  };
}

/** Finds out who this process is. Throws {@link NamespaceError} `bad-spec` where the system has no user ids. */
export async function readCaller(): Promise<Caller> {
  return callerWith(await readSubordinate(process.geteuid?.() ?? 0));
}

/** {@link readCaller}, but the subordinate ids are looked up only if `ids` may take some: most starts then read no file. */
export async function readCallerFor(ids: IdMapping | undefined): Promise<Caller> {
  return ids?.type === 'subordinate' || ids?.type === 'custom' ? readCaller() : callerWith(undefined);
}

async function callerWith(subordinate: Caller['subordinate']): Promise<Caller> {
  const uid = process.geteuid?.();
  const gid = process.getegid?.();
  if (uid === undefined || gid === undefined) {
    throw new NamespaceError('bad-spec', 'read caller: expected a system with user ids, got none');
  }
  const known = RIGHTS.get(uid) ?? readRights();
  RIGHTS.set(uid, known);
  known.catch(() => RIGHTS.delete(uid)); // such as for want of descriptors, which may be there the next time
  const random = { shiftedBase: pickBase(), linkPrefix: pickLinkPrefix() };
  return { uid, gid, ...(await known), ...random, ...(subordinate && { subordinate }) };
}

// They change with the user id only: the map of a running process is written once.
const RIGHTS = new Map<number, Promise<Pick<Caller, 'allIds' | 'capabilities'>>>();

async function readRights(): Promise<Pick<Caller, 'allIds' | 'capabilities'>> {
  const [map, status] = await Promise.all([
    readFile('/proc/self/uid_map', 'utf8'),
    readFile('/proc/self/status', 'utf8'),
  ]);
  const allIds = /^\s*0\s+0\s+4294967295\s*$/.test(map);
  const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return { allIds, capabilities };
}

// 48 bits of chance: no two sandboxes meet, and if they did, the kernel would refuse the second one.
function pickLinkPrefix(): string {
  return `ve${randomInt(2 ** 47)
    .toString(36)
    .padStart(10, '0')}`;
}

// Above what adduser(8) hands out as users and subordinate ids, in steps of the range's size.
function pickBase(): number {
  return randomInt(0x1000, 0x7000) * 0x1_0000;
}

async function readSubordinate(uid: number): Promise<Caller['subordinate']> {
  const name = userName(uid);
  const [uids, gids, newuidmap, newgidmap] = await Promise.all([
    readRanges('/etc/subuid', uid, name),
    readRanges('/etc/subgid', uid, name),
    findTool('newuidmap'),
    findTool('newgidmap'),
  ]);
  if (uids.length === 0 || gids.length === 0 || !newuidmap || !newgidmap) return undefined;
  return { uids, gids, newuidmap, newgidmap };
}

async function readRanges(path: string, uid: number, name: string | undefined): Promise<readonly SubordinateRange[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return parseSubordinate(text, uid, name);
}

/** The ranges of one user in the text of /etc/subuid or /etc/subgid. */
export function parseSubordinate(text: string, uid: number, name: string | undefined): readonly SubordinateRange[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([^:#]+):(\d+):(\d+)\s*$/.exec(line);
    if (!match || (match[1] !== name && match[1] !== String(uid))) return [];
    return [{ start: Number(match[2]), count: Number(match[3]) }];
  });
}

function userName(uid: number): string | undefined {
  try {
    const user = userInfo();
    return user.uid === uid ? user.username : undefined;
  } catch {
    return undefined; // no entry in the user database
  }
}

async function findTool(name: string): Promise<string | undefined> {
  for (const path of [`/usr/bin/${name}`, `/bin/${name}`]) {
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
