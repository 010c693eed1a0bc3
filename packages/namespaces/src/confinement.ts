/** What the command keeps of its privileges: the operations after the mounts, up to exec. */
import { capabilityMask } from './capabilities.js';
import type { CapabilitySets, SecureBit } from './confinement-spec.js';
import { bad } from './error.js';
import type { IdMaps } from './id-maps.js';
import { planLandlock } from './landlock.js';
import { type Operation, shared } from './operations.js';
import { planScheduling } from './scheduling.js';
import { asksCallback, compileSeccomp } from './seccomp.js';
import { defaultSeccompProgram } from './seccomp-default.js';
import type { SeccompFlag } from './seccomp-profile.js';
import type { Rlimit, RlimitName, SandboxSpec } from './spec.js';

/** What is done from outside, by the caller's rights. Throws `NamespaceError` `bad-spec`. */
export function planOutsideConfinement({ scheduling }: SandboxSpec): readonly Operation[] {
  return scheduling ? [planScheduling(scheduling)] : [];
}

/** What is done inside, in an order in which each step still has the privileges that it needs. Throws `NamespaceError` `bad-spec`. */
export function planConfinement(spec: SandboxSpec, ids: IdMaps | undefined): readonly Operation[] {
  const sets = capabilitySetsOf(spec);
  const { uid, gid, groups } = spec.user ?? { uid: 0, gid: 0 };
  return [
    ...planRlimits(spec),
    NEW_SESSION,
    spec.umask === undefined ? USUAL_UMASK : { op: 'umask', mask: spec.umask },
    sets === NO_CAPABILITIES ? EMPTY_BOUNDING_SET : { op: 'bounding-set', keep: sets.bounding },
    // A map that forbids setgroups leaves the caller's groups as they are: user_namespaces(7).
    ...(ids?.denySetgroups ? [] : [groups ? ({ op: 'groups', groups } as const) : NO_GROUPS]),
    spec.user ? { op: 'ids', uid, gid } : ROOT_INSIDE,
    ...(spec.sessionKeyring === 'insecure-inherit' ? [] : [SESSION_KEYRING]),
    ...planSecureBits(spec.secureBits ?? []),
    sets === NO_CAPABILITIES ? EMPTY_SETS : { op: 'capabilities', ...sets.others },
    ...(spec.insecureNewPrivileges ? [] : [NO_NEW_PRIVILEGES]),
    spec.cwd === undefined ? TOP_DIRECTORY : { op: 'change-directory', path: spec.cwd },
    ...(spec.init ? [{ op: 'init' } as const] : []),
    ...(spec.landlock ? [planLandlock(spec.landlock)] : []),
    ...planSeccomp(spec, sets.others.permitted),
  ];
}

interface Masks {
  readonly bounding: bigint;
  readonly others: {
    readonly permitted: bigint;
    readonly effective: bigint;
    readonly inheritable: bigint;
    readonly ambient: bigint;
  };
}

function capabilitySetsOf({ capabilities }: SandboxSpec): Masks {
  if (!capabilities) return NO_CAPABILITIES;
  const sets: CapabilitySets = isList(capabilities)
    ? {
        bounding: capabilities,
        permitted: capabilities,
        effective: capabilities,
        inheritable: capabilities,
        ambient: capabilities,
      }
    : capabilities;
  const permitted = capabilityMask(sets.permitted ?? []);
  const effective = capabilityMask(sets.effective ?? []);
  const inheritable = capabilityMask(sets.inheritable ?? []);
  const ambient = capabilityMask(sets.ambient ?? []);
  if (effective & ~permitted) throw bad('expected effective capabilities to be permitted, got one that is not');
  if (ambient & ~(permitted & inheritable)) {
    throw bad('expected ambient capabilities to be permitted and inheritable, got one that is not');
  }
  return { bounding: capabilityMask(sets.bounding ?? []), others: { permitted, effective, inheritable, ambient } };
}

function isList(value: NonNullable<SandboxSpec['capabilities']>): value is Extract<typeof value, readonly unknown[]> {
  return Array.isArray(value);
}

function planSecureBits(names: readonly SecureBit[]): readonly Operation[] {
  if (names.length === 0) return [];
  const bits = names.reduce((sum, name) => {
    const bit = Object.hasOwn(SECURE_BITS, name) ? SECURE_BITS[name] : undefined;
    if (bit === undefined) throw bad(`expected the name of a secure bit, got ${JSON.stringify(name)}`);
    return sum | (1 << bit);
  }, 0);
  return [{ op: 'secure-bits', bits }];
}

function planSeccomp(spec: SandboxSpec, permitted: bigint): readonly Operation[] {
  const { seccomp } = spec;
  if (seccomp === 'insecure-none') return [];
  if (spec.insecureNewPrivileges && !(permitted & capabilityMask(['CAP_SYS_ADMIN']))) {
    throw bad(
      'expected CAP_SYS_ADMIN or seccomp "insecure-none" beside insecureNewPrivileges: the kernel loads no filter otherwise',
    );
  }
  if (!seccomp) return [defaultSeccomp(permitted)];
  const asks = asksCallback(seccomp);
  if (asks && !seccomp.notify) throw bad('expected a notify callback beside seccomp rules that notify, got none');
  if (seccomp.notify && !asks) throw bad('expected a seccomp rule that notifies beside the notify callback, got none');
  const flags = flagsOf(seccomp.flags ?? []);
  return [
    {
      op: 'seccomp',
      // Two threads stand ready while the descriptor is handed over, and only one of them shall be bound.
      flags: asks ? (flags & ~FLAGS.tsync) | NEW_LISTENER : flags,
      optionalFlags: asks ? FLAGS['wait-killable-recv'] : 0,
      program: compileSeccomp(seccomp),
    },
  ];
}

function defaultSeccomp(permitted: bigint): Operation {
  const known = DEFAULT_SECCOMP.get(permitted);
  if (known) return known;
  const made = shared({ op: 'seccomp', flags: 0, optionalFlags: 0, program: defaultSeccompProgram(permitted) });
  DEFAULT_SECCOMP.set(permitted, made);
  return made;
}

function flagsOf(names: readonly SeccompFlag[]): number {
  return names.reduce((sum, name) => {
    const flag = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined;
    if (flag === undefined) throw bad(`expected the name of a seccomp flag, got ${JSON.stringify(name)}`);
    return sum | flag;
  }, 0);
}

function planRlimits(spec: SandboxSpec): readonly Operation[] {
  const entries = Object.entries(spec.rlimits ?? {}) as [RlimitName, Rlimit][]; // RlimitName is the key type
  return entries.map(([name, { soft, hard }]) => {
    const resource = Object.hasOwn(RLIMITS, name) ? RLIMITS[name] : undefined;
    if (resource === undefined) throw bad(`expected the name of a resource limit, got "${name}"`);
    const [low, high] = [rlimitValue(name, soft), rlimitValue(name, hard)];
    if (low > high) throw bad(`expected rlimit ${name} to have soft at most hard, got ${soft} above ${hard}`);
    return { op: 'rlimit', resource, soft: low, hard: high };
  });
}

function rlimitValue(name: string, value: number | bigint | 'unlimited'): bigint {
  if (value === 'unlimited') return RLIM_INFINITY;
  const whole = typeof value === 'bigint' || Number.isSafeInteger(value);
  if (!whole || value < 0 || value >= RLIM_INFINITY)
    throw bad(`expected rlimit ${name} as a whole number, got ${value}`);
  return BigInt(value);
}

// What most sandboxes have.
const NO_CAPABILITIES: Masks = { bounding: 0n, others: { permitted: 0n, effective: 0n, inheritable: 0n, ambient: 0n } };
const EMPTY_SETS = shared({ op: 'capabilities', ...NO_CAPABILITIES.others });
const EMPTY_BOUNDING_SET = shared({ op: 'bounding-set', keep: 0n });
const NEW_SESSION = shared({ op: 'new-session' });
const USUAL_UMASK = shared({ op: 'umask', mask: 0o022 });
const NO_GROUPS = shared({ op: 'groups', groups: [] });
const ROOT_INSIDE = shared({ op: 'ids', uid: 0, gid: 0 });
const SESSION_KEYRING = shared({ op: 'session-keyring' });
const NO_NEW_PRIVILEGES = shared({ op: 'no-new-privileges' });
const TOP_DIRECTORY = shared({ op: 'change-directory', path: '/' });
const DEFAULT_SECCOMP = new Map<bigint, Operation>();

const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

// asm-generic/resource.h
const RLIMITS: Readonly<Record<RlimitName, number>> = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
};

// linux/securebits.h
const SECURE_BITS: Readonly<Record<SecureBit, number>> = {
  noroot: 0,
  'noroot-locked': 1,
  'no-setuid-fixup': 2,
  'no-setuid-fixup-locked': 3,
  'keep-caps': 4,
  'keep-caps-locked': 5,
  'no-cap-ambient-raise': 6,
  'no-cap-ambient-raise-locked': 7,
};

// linux/seccomp.h
const FLAGS: Readonly<Record<SeccompFlag, number>> = { tsync: 1, log: 2, 'spec-allow': 4, 'wait-killable-recv': 32 };
const NEW_LISTENER = 8;
