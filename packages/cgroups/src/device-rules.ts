/** Which devices the members of a cgroup may use, and how v1 spells it: cgroup-v1/devices.rst. */
import { CgroupError } from './error.js';

/** One rule about device files. Of the rules that name a device the last wins, for each kind of access by itself. */
export interface DeviceRule {
  /** Whether the access is allowed. */
  readonly allow: boolean;
  /** Which devices; `all` is both kinds. */
  readonly type: 'char' | 'block' | 'all';
  /** Major number; default every one. */
  readonly major?: number;
  /** Minor number; default every one. */
  readonly minor?: number;
  /** `r` to open for reading, `w` to open for writing, `m` to make the file. Default `rwm`. */
  readonly access?: string;
}

/** What is done by default and what is done otherwise, without overlaps that would need an order. */
export interface DevicePolicy {
  /** Whether devices are allowed that no exception names. */
  readonly allow: boolean;
  /** Devices for which it is the other way round. */
  readonly exceptions: readonly DeviceSet[];
}

/** A set of devices with some kinds of access. */
export interface DeviceSet {
  /** Kind. */
  readonly type: 'char' | 'block';
  /** Major number, or every one. */
  readonly major: number | undefined;
  /** Minor number, or every one. */
  readonly minor: number | undefined;
  /** Letters of `rwm`. */
  readonly access: string;
}

/**
 * The devices that every program may expect: null, zero, full, random, urandom, tty, ptmx and pseudo-terminals. Making device files is
 * allowed too (without a right to open them they are of no use), so that archives can be unpacked and overlays have their whiteouts.
 */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { allow: true, type: 'all', access: 'm' },
  ...[3, 5, 7, 8, 9].map((minor): DeviceRule => ({ allow: true, type: 'char', major: 1, minor, access: 'rwm' })),
  ...[0, 2].map((minor): DeviceRule => ({ allow: true, type: 'char', major: 5, minor, access: 'rwm' })),
  { allow: true, type: 'char', major: 136, access: 'rwm' },
];

/** The rules as sets of one kind each, unchanged in order. Throws {@link CgroupError} `bad-limit` for rules that make no sense. */
export function normaliseDeviceRules(
  rules: readonly DeviceRule[],
): readonly (DeviceSet & { readonly allow: boolean })[] {
  if (rules.length > MAX_RULES) throw badRule(`at most ${MAX_RULES} rules`, String(rules.length));
  return rules.flatMap((rule) => {
    checkRule(rule);
    const types = rule.type === 'all' ? (['char', 'block'] as const) : [rule.type];
    const access = [...'rwm'].filter((letter) => (rule.access ?? 'rwm').includes(letter)).join('');
    return types.map((type) => ({ allow: rule.allow, type, major: rule.major, minor: rule.minor, access }));
  });
}

/** Whether `rules` let a member use a device in every way that `access` names. */
export function allowsDevice(
  rules: readonly DeviceRule[],
  device: { readonly type: 'char' | 'block'; readonly major: number; readonly minor: number; readonly access: string },
): boolean {
  const sets = normaliseDeviceRules(rules);
  return [...device.access].every((letter) => {
    const last = sets.findLast((set) => set.access.includes(letter) && covers(set, { ...device, access: letter }));
    return last?.allow ?? false;
  });
}

/**
 * The rules as a default and exceptions, which is all that v1 can hold; undefined where an exception has an exception in part.
 */
export function devicePolicy(rules: readonly DeviceRule[]): DevicePolicy | undefined {
  const sets = normaliseDeviceRules(rules);
  const start = sets.findLastIndex((set, i) => coversBothKinds(set, sets[i - 1]));
  const allow = start < 0 ? false : (sets[start]?.allow ?? false);
  let exceptions: readonly DeviceSet[] = [];
  for (const { allow: wanted, ...set } of sets.slice(start + 1)) {
    const next = wanted === allow ? without(exceptions, set) : [...exceptions, set];
    if (!next) return undefined;
    exceptions = next;
  }
  return { allow, exceptions: merge(exceptions) };
}

/** What is written to `devices.allow` and `devices.deny`, in order. */
export function deviceWritesV1({
  allow,
  exceptions,
}: DevicePolicy): readonly { readonly file: string; readonly value: string }[] {
  const [base, other] = allow ? ['devices.allow', 'devices.deny'] : ['devices.deny', 'devices.allow'];
  return [{ file: base, value: 'a' }, ...exceptions.map((set) => ({ file: other, value: printDeviceSet(set) }))];
}

/** Whether `devices.list` says that the policy holds. The kernel does not list what a policy that allows by default refuses. */
export function holdsDevicePolicy({ allow, exceptions }: DevicePolicy, list: string): boolean {
  const lines = list.trim().split('\n').filter(Boolean).sort();
  if (allow) return lines.length === 1 && lines[0] === 'a *:* rwm';
  const wanted = exceptions.map(printDeviceSet).sort();
  return lines.length === wanted.length && lines.every((line, i) => line === wanted[i]);
}

function printDeviceSet({ type, major, minor, access }: DeviceSet): string {
  return `${type === 'char' ? 'c' : 'b'} ${major ?? '*'}:${minor ?? '*'} ${access}`;
}

// v1 takes an exception away only if it is covered as a whole.
function without(exceptions: readonly DeviceSet[], set: DeviceSet): readonly DeviceSet[] | undefined {
  const rest: DeviceSet[] = [];
  for (const exception of exceptions) {
    if (!overlaps(exception, set)) rest.push(exception);
    else if (!covers({ ...set, access: 'rwm' }, { ...exception, access: '' })) return undefined;
    else {
      const access = [...exception.access].filter((letter) => !set.access.includes(letter)).join('');
      if (access !== '') rest.push({ ...exception, access });
    }
  }
  return rest;
}

// The kernel keeps one entry for a device, with the sum of its rights.
function merge(exceptions: readonly DeviceSet[]): readonly DeviceSet[] {
  const byDevice = new Map<string, DeviceSet>();
  for (const set of exceptions) {
    const key = printDeviceSet({ ...set, access: '' });
    const both = (byDevice.get(key)?.access ?? '') + set.access;
    byDevice.set(key, { ...set, access: [...'rwm'].filter((letter) => both.includes(letter)).join('') });
  }
  return [...byDevice.values()];
}

function covers(set: DeviceSet, other: DeviceSet): boolean {
  const number = set.major === undefined || set.major === other.major;
  const rest = set.minor === undefined || set.minor === other.minor;
  return set.type === other.type && number && rest && [...other.access].every((letter) => set.access.includes(letter));
}

type Ruled = DeviceSet & { readonly allow: boolean };

// What came before a rule for every device is of no effect.
function coversBothKinds(a: Ruled, b: Ruled | undefined): boolean {
  return b !== undefined && coversKind(a) && coversKind(b) && a.type !== b.type && a.allow === b.allow;
}

function coversKind(set: DeviceSet): boolean {
  return set.major === undefined && set.minor === undefined && set.access === 'rwm';
}

function overlaps(a: DeviceSet, b: DeviceSet): boolean {
  const meet = (x: number | undefined, y: number | undefined): boolean => x === undefined || y === undefined || x === y;
  const shared = [...a.access].some((letter) => b.access.includes(letter));
  return a.type === b.type && shared && meet(a.major, b.major) && meet(a.minor, b.minor);
}

function checkRule({ type, major, minor, access = 'rwm' }: DeviceRule): void {
  if (!['char', 'block', 'all'].includes(type)) throw badRule('type char, block or all', String(type));
  if (!/^[rwm]{1,3}$/.test(access)) throw badRule('access out of the letters r, w and m', access);
  for (const [number, max] of [
    [major, 0xfff],
    [minor, 0xf_ffff],
  ] as const) {
    if (number !== undefined && !(Number.isInteger(number) && number >= 0 && number <= max)) {
      throw badRule(`a device number 0 … ${max}`, String(number));
    }
  }
}

function badRule(expected: string, got: string): CgroupError {
  return new CgroupError('bad-limit', `set limit devices: expected ${expected}, got ${got}`, { limit: 'devices' });
}

const MAX_RULES = 500;
