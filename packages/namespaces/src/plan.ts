/** From a description to the list of operations that makes it: pure, printable, testable without privileges. */
import type { Caller } from './caller.js';
import { planConfinement, planOutsideConfinement } from './confinement.js';
import { bad } from './error.js';
import { JOIN_BY } from './exec-plan.js';
import { checkIdNumbers, type IdMaps, planIds } from './id-maps.js';
import { planMounts } from './mounts.js';
import { type NetworkPlan, planNetwork } from './network.js';
import { type Operation, shared } from './operations.js';
import type { NamespaceKind, SandboxSpec } from './spec.js';

/** The operations that make a sandbox, in the order in which the launcher performs them. */
export interface Plan {
  /** The operations. */
  readonly operations: readonly Operation[];
}

/** Plans the sandbox that `spec` describes, started by `caller`. Throws `NamespaceError` `bad-spec`. */
export function planSandbox(spec: SandboxSpec, caller: Caller): Plan {
  const kinds = namespacesOf(spec);
  checkSpec(spec, kinds);
  const ids = kinds.has('user') ? planIds(spec.ids, caller) : undefined;
  checkUser(spec, ids);
  const network = planNetwork(spec, kinds, caller);
  return {
    operations: [
      ...planNamespaces(spec, kinds),
      ...planJoins(spec, caller),
      ...planOutside(spec, ids),
      ...planInside(spec, { kinds, ids, caller, network }),
      ...planConfinement(spec, ids),
      { op: 'exec', argv: spec.command, env: environmentOf(spec) },
    ],
  };
}

/** The kinds of namespaces that `spec` creates. */
function namespacesOf(spec: SandboxSpec): ReadonlySet<NamespaceKind> {
  const kinds = Object.keys(CLONE_FLAGS) as NamespaceKind[]; // keys of this very object
  return new Set(kinds.filter((kind) => spec.namespaces?.[kind] === undefined || spec.namespaces[kind] === true));
}

/** What joins the namespaces that exist already. */
function planJoins(spec: SandboxSpec, { self }: Caller): readonly Operation[] {
  const kinds = Object.keys(CLONE_FLAGS) as NamespaceKind[]; // keys of this very object
  return kinds.flatMap((kind): readonly Operation[] => {
    const existing = spec.namespaces?.[kind];
    if (typeof existing !== 'object') return [];
    const join = { op: 'join', flags: CLONE_FLAGS[kind], named: JOIN_BY.path, pid: 0, path: '' } as const;
    if ('pid' in existing) return [{ ...join, named: JOIN_BY.pid, pid: wholeNumber(existing.pid, 1, kind) }];
    if ('path' in existing) return [{ ...join, path: outsidePath(existing.path, kind) }];
    return [{ ...join, path: `/proc/${self ?? process.pid}/fd/${wholeNumber(existing.descriptor, 0, kind)}` }];
  });
}

function wholeNumber(value: number, least: number, kind: NamespaceKind): number {
  if (Number.isInteger(value) && value >= least && value < 2 ** 31) return value;
  throw bad(`expected a whole number from ${least} on that names the ${kind} namespace to join, got ${value}`);
}

function outsidePath(path: string, kind: NamespaceKind): string {
  if (path.startsWith('/') && !path.includes('\0')) return path;
  throw bad(`expected an absolute path that names the ${kind} namespace to join, got ${JSON.stringify(path)}`);
}

function planNamespaces(spec: SandboxSpec, kinds: ReadonlySet<NamespaceKind>): readonly Operation[] {
  const flags = [...kinds].reduce((sum, kind) => sum | CLONE_FLAGS[kind], 0);
  const cgroups = (spec.cgroup?.directories ?? []).map(
    ({ version, path }): Operation => ({ op: 'cgroup', version, path }),
  );
  return [{ op: 'namespaces', flags }, ...cgroups];
}

function planOutside(spec: SandboxSpec, ids: IdMaps | undefined): readonly Operation[] {
  const oom = spec.oomScoreAdj;
  return [
    ...(ids?.denySetgroups ? [{ op: 'deny-setgroups' } as const] : []),
    ...(ids ? [{ op: 'uid-map', helper: ids.uidHelper, ranges: ids.uids } as const] : []),
    ...(ids ? [{ op: 'gid-map', helper: ids.gidHelper, ranges: ids.gids } as const] : []),
    ...(oom === undefined ? [] : [{ op: 'oom-score', value: String(oom) } as const]),
    ...planOutsideConfinement(spec),
  ];
}

interface Surroundings {
  readonly kinds: ReadonlySet<NamespaceKind>;
  readonly ids: IdMaps | undefined;
  readonly caller: Caller;
  readonly network: NetworkPlan;
}

function planInside(spec: SandboxSpec, { kinds, ids, caller, network }: Surroundings): readonly Operation[] {
  const { trees, mounts } = planMounts(spec, { kinds, ids, caller, files: network.files });
  return [
    ...trees,
    ...network.outside,
    // Root's own id is not mapped: what it made inside would belong to nobody, which the kernel refuses.
    ...(ids?.first ? [{ op: 'become', ...ids.first } as const] : []),
    ...(kinds.has('cgroup') ? [CGROUP_NAMESPACE] : []),
    ...(kinds.has('time') ? [planTime(spec)] : []),
    ...planSysctls(spec, kinds),
    ...mounts,
    ...(kinds.has('uts')
      ? [spec.hostname === undefined ? USUAL_NAME : ({ op: 'hostname', name: spec.hostname } as const)]
      : []),
    ...(spec.domainname === undefined ? [] : [{ op: 'domain-name', name: spec.domainname } as const]),
    ...network.inside,
  ];
}

function planTime(spec: SandboxSpec): Operation {
  return spec.clockOffsets ? { op: 'time-namespace', offsets: clockOffsets(spec) } : OUTER_TIME;
}

// Through the outer /proc, which shows each process its own namespaces' values: the inner one may not be there, or masked.
function planSysctls({ sysctls = {} }: SandboxSpec, kinds: ReadonlySet<NamespaceKind>): readonly Operation[] {
  return Object.entries(sysctls).map(([name, value]) => {
    const kind = SYSCTLS.find(([pattern]) => pattern.test(name))?.[1];
    if (!kind || !kinds.has(kind) || !/^[A-Za-z0-9_.-]+$/.test(name) || name.split('.').includes('')) {
      throw bad(`expected a kernel parameter of a namespace that the sandbox has, got ${JSON.stringify(name)}`);
    }
    if (/[\0\n]/.test(value)) throw bad(`expected one line as the value of ${name}, got ${JSON.stringify(value)}`);
    return { op: 'sysctl', name: name.replaceAll('.', '/'), value };
  });
}

// time_namespaces(7): one line for each clock, seconds and nanoseconds, the latter never negative
function clockOffsets(spec: SandboxSpec): string {
  const line = (clock: string, offset: bigint | undefined): string => {
    if (offset === undefined) return '';
    const nanoseconds = ((offset % BILLION) + BILLION) % BILLION;
    return `${clock} ${(offset - nanoseconds) / BILLION} ${nanoseconds}\n`;
  };
  return line('monotonic', spec.clockOffsets?.monotonic) + line('boottime', spec.clockOffsets?.boottime);
}

function environmentOf(spec: SandboxSpec): readonly string[] {
  return Object.entries(spec.env ?? { PATH: DEFAULT_PATH }).map(([name, value]) => {
    if (name === '' || name.includes('=')) throw bad(`expected the name of an environment variable, got "${name}"`);
    return `${name}=${value}`;
  });
}

function checkSpec(spec: SandboxSpec, kinds: ReadonlySet<NamespaceKind>): void {
  if (!spec.command[0]?.startsWith('/'))
    throw bad(`expected an absolute path as command, got "${spec.command[0] ?? ''}"`);
  if (spec.cwd !== undefined && !spec.cwd.startsWith('/')) throw bad(`expected an absolute cwd, got "${spec.cwd}"`);
  if (spec.hostname !== undefined && !kinds.has('uts'))
    throw bad('expected the uts namespace beside hostname, got none');
  if (spec.clockOffsets && !kinds.has('time')) throw bad('expected the time namespace beside clockOffsets, got none');
  if (spec.ids && !kinds.has('user')) throw bad('expected the user namespace beside ids, got none');
  if (!/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/.test(spec.hostname ?? 'x')) {
    throw bad(`expected a host name of at most 64 letters, digits, dots and hyphens, got "${spec.hostname}"`);
  }
  if (spec.domainname !== undefined && !kinds.has('uts'))
    throw bad('expected the uts namespace beside domainname, got none');
  if (!/^[A-Za-z0-9._-]{0,64}$/.test(spec.domainname ?? '')) {
    throw bad(`expected a domain name of at most 64 letters, digits, dots, hyphens, got "${spec.domainname}"`);
  }
  const oom = spec.oomScoreAdj ?? 0;
  if (!Number.isInteger(oom) || Math.abs(oom) > 1000) throw bad(`expected oomScoreAdj -1000 … 1000, got ${oom}`);
  refuseZeroBytes(spec);
}

function refuseZeroBytes(spec: SandboxSpec): void {
  const texts = [...spec.command, ...Object.entries(spec.env ?? {}).flat(), spec.cwd ?? ''];
  const wrong = texts.find((text) => text.includes('\0'));
  if (wrong !== undefined) throw bad(`expected text without zero bytes, got ${JSON.stringify(wrong)}`);
}

function checkUser(spec: SandboxSpec, ids: IdMaps | undefined): void {
  const { uid, gid, groups = [] } = spec.user ?? { uid: 0, gid: 0 };
  checkIdNumbers({ uid, gid, groups });
  if (!ids) return;
  if (ids.denySetgroups && groups.length > 0) {
    throw bad('expected no groups where the id map has a single id, got some: use ids of type subordinate');
  }
  if (!isMapped(ids.uids, uid)) throw bad(`expected a user id that the id map has, got ${uid}`);
  const stray = [gid, ...groups].find((id) => !isMapped(ids.gids, id));
  if (stray !== undefined) throw bad(`expected a group id that the id map has, got ${stray}`);
}

function isMapped(ranges: IdMaps['uids'], id: number): boolean {
  return ranges.some((r) => id >= r.inside && id < r.inside + r.count);
}

const SYSCTLS: readonly (readonly [RegExp, NamespaceKind])[] = [
  [/^net\./, 'net'],
  [/^kernel\.(msg|shm)[a-z_]+$|^kernel\.sem$|^fs\.mqueue\./, 'ipc'],
];

const CGROUP_NAMESPACE = shared({ op: 'cgroup-namespace' });
const OUTER_TIME = shared({ op: 'time-namespace', offsets: '' });
const USUAL_NAME = shared({ op: 'hostname', name: 'sandbox' });
const BILLION = 1_000_000_000n;
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

// linux/sched.h
const CLONE_FLAGS: Readonly<Record<NamespaceKind, number>> = {
  time: 0x80,
  mount: 0x2_0000,
  cgroup: 0x200_0000,
  uts: 0x400_0000,
  ipc: 0x800_0000,
  user: 0x1000_0000,
  pid: 0x2000_0000,
  net: 0x4000_0000,
};
