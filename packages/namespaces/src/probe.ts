/** What this kernel and user may do, each with what mends it where it is missing. */
import { type Availability, probeCgroups } from '@casemate/cgroups';
import { readCaller } from './caller.js';
import type { LandlockRight } from './confinement-spec.js';
import { errnoName } from './errno.js';
import { NamespaceError } from './error.js';
import { landlockRights } from './landlock.js';
import { serverProcess } from './launcher.js';
import type { ImageFileSystem } from './mount-spec.js';
import { NET_ADMIN_REMEDY } from './network.js';
import { EVENT, type LauncherEvent } from './protocol.js';
import { USER_NAMESPACE_REMEDY } from './remedies.js';
import type { NamespaceKind } from './spec.js';

/** The result of {@link probe}; every part of it was tried, not looked up. */
export interface Probe {
  /** Each kind of namespace, created by this user inside a user namespace of its own. */
  readonly namespaces: Readonly<Record<NamespaceKind, Availability>>;
  /** An overlay mount inside a user namespace. */
  readonly overlay: Availability;
  /** An overlay whose changes in memory may replace whole directories; without it, only their files. */
  readonly overlayMemory: Availability;
  /** A new /proc inside a user and pid namespace. */
  readonly proc: Availability;
  /** The mount calls that the launcher is built on (Linux 5.12). */
  readonly mountApi: Availability;
  /** System call filters. */
  readonly seccomp: Availability;
  /** System calls that a callback decides about (Linux 5.5). */
  readonly notifications: Availability;
  /** Landlock; `abi` is its version, 0 where it is missing, and `rights` are those that can be `required`. */
  readonly landlock: Availability & { readonly abi: number; readonly rights: readonly LandlockRight[] };
  /** A session keyring of the sandbox's own. */
  readonly sessionKeyring: Availability;
  /** Id-mapped mounts of the root file system (Linux 5.12), which `shifted` ids are built on; root only. */
  readonly idMappedMounts: Availability;
  /** Image files: a loop device for them, and each of the file systems; root only. */
  readonly images: Readonly<Record<'loop' | ImageFileSystem, Availability>>;
  /** Links: made by this user in namespaces of its own, and changed in the network namespace that this program is in. */
  readonly links: { readonly inside: Availability; readonly outside: Availability };
  /** Ranges of subordinate ids for this user, and the programs that map them. */
  readonly subordinateIds: Availability;
  /** Limits by cgroups: memory, processes and CPU. */
  readonly cgroups: Availability & { readonly mode: 'v2' | 'v1' | 'hybrid' | 'none' };
}

/** Tries what sandboxes need. Changes nothing. Throws {@link NamespaceError} `launcher-missing` or `launcher-failed`. */
export async function probe(): Promise<Probe> {
  const [answers, cgroups, subordinateIds] = await Promise.all([ask(), judgeCgroups(), judgeSubordinateIds()]);
  const user = judge(answers, 'user', USER_NAMESPACE_REMEDY);
  const namespace = (kind: NamespaceKind): Availability =>
    user.available
      ? judge(answers, kind, `use a kernel with ${kind} namespaces, or leave it out in \`namespaces\``)
      : user;
  const within = (name: string, remedy: string): Availability => (user.available ? judge(answers, name, remedy) : user);
  return {
    namespaces: {
      user,
      mount: namespace('mount'),
      pid: namespace('pid'),
      net: namespace('net'),
      ipc: namespace('ipc'),
      uts: namespace('uts'),
      cgroup: namespace('cgroup'),
      time: namespace('time'),
    },
    overlay: within('overlay', 'use Linux 5.11 or later with the overlay file system, or a bind root'),
    overlayMemory: within(
      'overlay-memory',
      'use Linux 6.6 or later, or keep changes in a directory on ext4, xfs or btrfs',
    ),
    proc: within(
      'proc',
      'outside, nothing may be mounted over parts of /proc; in Docker, --security-opt systempaths=unconfined',
    ),
    mountApi: judge(answers, 'mount-api', 'use Linux 5.12 or later'),
    seccomp: judge(answers, 'seccomp', 'use a kernel with CONFIG_SECCOMP_FILTER'),
    landlock: {
      ...judge(
        answers,
        'landlock',
        'use a kernel with CONFIG_SECURITY_LANDLOCK and landlock in the boot parameter lsm=',
      ),
      abi: answers.get('landlock')?.b ?? 0,
      rights: landlockRights(answers.get('landlock')?.b ?? 0),
    },
    notifications: judge(
      answers,
      'notifications',
      'use Linux 5.5 or later; EBUSY: this program runs under a filter with a listener of its own, such as of a container engine',
    ),
    sessionKeyring: judge(
      answers,
      'session-keyring',
      'raise the sysctl kernel.keys.maxkeys; in Docker, allow keyctl in its seccomp profile',
    ),
    idMappedMounts: judge(
      answers,
      'id-mapped',
      'run as root with the root file system on ext4, xfs, btrfs, overlay (5.19) or tmpfs (6.3); or use other ids than shifted',
    ),
    images: judgeImages(answers),
    links: {
      inside: within('veth', 'use a kernel with CONFIG_VETH, or load it: modprobe veth'),
      outside: judge(answers, 'change-links', NET_ADMIN_REMEDY),
    },
    subordinateIds,
    cgroups,
  };
}

function judgeImages(answers: ReadonlyMap<string, LauncherEvent>): Probe['images'] {
  const type = (name: ImageFileSystem): Availability =>
    judge(answers, name, `run as root, on a kernel with ${name} (modprobe ${name})`);
  return {
    loop: judge(
      answers,
      'loop',
      'run as root, on a kernel with loop devices (modprobe loop) whose /dev has loop-control',
    ),
    squashfs: type('squashfs'),
    erofs: type('erofs'),
    ext4: type('ext4'),
  };
}

async function ask(): Promise<ReadonlyMap<string, LauncherEvent>> {
  const answers = new Map<string, LauncherEvent>();
  const server = await serverProcess();
  await new Promise<void>((resolve, reject) => {
    server.request(
      { verb: 'probe' },
      {
        event: (event) => event.type === EVENT.probe && answers.set(event.text, event),
        gone: (how) => (how instanceof NamespaceError ? reject(how) : resolve()),
      },
    );
  });
  return answers;
}

function judge(answers: ReadonlyMap<string, LauncherEvent>, name: string, remedy: string): Availability {
  const answer = answers.get(name);
  if (!answer)
    throw new NamespaceError('launcher-failed', `probe ${name}: expected an answer of the launcher, got none`);
  if (answer.a === 0) return { available: true, reason: 'tried, and it works' };
  return { available: false, reason: `tried, and the kernel said ${errnoName(answer.a)}`, remedy };
}

async function judgeSubordinateIds(): Promise<Availability> {
  const { subordinate } = await readCaller();
  if (subordinate)
    return { available: true, reason: `${count(subordinate.uids)} user ids, ${count(subordinate.gids)} group ids` };
  return {
    available: false,
    reason: 'newuidmap is missing, or /etc/subuid or /etc/subgid has no range for this user',
    remedy: 'install uidmap and run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER',
  };
}

function count(ranges: readonly { readonly count: number }[]): number {
  return ranges.reduce((sum, range) => sum + range.count, 0);
}

async function judgeCgroups(): Promise<Probe['cgroups']> {
  const { mode, limits } = await probeCgroups();
  const needed = [limits.memoryMax, limits.pidsMax, limits.cpuMax];
  const lacking = needed.find((limit) => !limit.available);
  return lacking ? { ...lacking, mode } : { available: true, reason: 'memory, pids and cpu can be limited', mode };
}
