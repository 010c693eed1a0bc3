/** Profiles in the JSON of the OCI runtime specification (config-linux.md, seccomp) and of Docker, which adds conditions. */
import { constants, release } from 'node:os';
import { CAPABILITIES, type Capability } from './capabilities.js';
import { bad } from './error.js';
import { hostArchitecture, isSeccompArch, type SeccompArch } from './seccomp-architectures.js';
import type { SeccompAction, SeccompArgument, SeccompFlag, SeccompProfile, SeccompRule } from './seccomp-profile.js';
import { syscallNames } from './syscalls.js';

/** What a profile with conditions is read for. */
export interface SeccompProfileOptions {
  /** What the command keeps, for `includes.caps` and `excludes.caps`. Default: none. */
  readonly capabilities?: readonly Capability[];
  /** For `includes.arches`, `archMap`, and where no architectures are named. Default: this machine's. */
  readonly architecture?: SeccompArch;
  /** For `includes.minKernel`, as in uname(2). Default: this machine's. */
  readonly kernel?: string;
  /**
   * Call names that this version has never heard of. `skip-if-stricter` (the default) passes over one whose call then meets a
   * default action that is as strict as the rule's; else it throws. `skip` passes over all, as the runtimes do.
   */
  readonly unknownNames?: 'skip-if-stricter' | 'skip';
}

/**
 * Reads a profile: `linux.seccomp` of an OCI configuration, or Docker's format with `archMap`, `includes` and `excludes`; as JSON
 * text or as the value that it parses to. The content may come from anybody: it is bounded to 1 MiB of text and 10,000 rules.
 *
 * The rules mean what they mean to libseccomp, through which the runtimes load them: one whose action is the default action says
 * nothing; one without argument tests decides for its call, wherever it stands, and of several the first; two tests of one argument
 * in a rule are alternatives; and among rules with tests those of later arguments go first, equality before less before greater.
 *
 * Throws `NamespaceError` `bad-spec`, with the place in the profile.
 */
export function parseSeccompProfile(profile: unknown, options: SeccompProfileOptions = {}): SeccompProfile {
  const root = new Reader(typeof profile === 'string' ? parseJson(profile) : profile, 'profile').object();
  const host = hostOf(options);
  const otherwise = readAction(root, 'defaultAction', 'defaultErrno', 'defaultErrnoRet');
  const entries = root.list('syscalls', MAX_RULES).filter((entry) => isMeant(entry, host));
  const rules = entries.flatMap((entry) => readRules(entry, otherwise, options.unknownNames ?? 'skip-if-stricter'));
  const architectures = readArchitectures(root, host);
  const flags = root.list('flags', 16).map(readFlag);
  return { rules: inOrder(rules), otherwise, architectures, ...(flags.length > 0 && { flags }) };
}

interface Host {
  readonly capabilities: ReadonlySet<string>;
  readonly architecture: SeccompArch;
  readonly kernel: string;
}

function hostOf({
  capabilities = [],
  architecture = hostArchitecture(),
  kernel = release(),
}: SeccompProfileOptions): Host {
  return { capabilities: new Set(capabilities), architecture, kernel };
}

function parseJson(text: string): unknown {
  if (text.length > MAX_TEXT) throw wrong(`at most ${MAX_TEXT} characters`, `${text.length}`, 'profile');
  try {
    return JSON.parse(keepLongNumbers(text));
  } catch (cause) {
    throw wrong('JSON', cause instanceof Error ? cause.message : 'none', 'profile');
  }
}

// JSON.parse would round a whole number above 2⁵³: it becomes text, which Reader.word takes back.
function keepLongNumbers(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])\d{16,20}(?![\d.eE])/g, (token) =>
    token.startsWith('"') ? token : `"${token}"`,
  );
}

// Docker's conditions: every one of `includes`, and none of `excludes`.
function isMeant(entry: Reader, host: Host): boolean {
  const includes = entry.part('includes');
  const excludes = entry.part('excludes');
  return (
    includes.strings('caps').every((name) => host.capabilities.has(checkCapability(name, includes))) &&
    (includes.strings('arches').length === 0 || includes.strings('arches').includes(GO_NAMES[host.architecture])) &&
    isAtLeast(host.kernel, includes.text('minKernel'), includes) &&
    !excludes.strings('caps').some((name) => host.capabilities.has(checkCapability(name, excludes))) &&
    !excludes.strings('arches').includes(GO_NAMES[host.architecture]) &&
    (excludes.text('minKernel') === undefined || !isAtLeast(host.kernel, excludes.text('minKernel'), excludes))
  );
}

function checkCapability(name: string, at: Reader): string {
  if (!Object.hasOwn(CAPABILITIES, name)) throw wrong('the name of a capability', `"${name}"`, at.path);
  return name;
}

function isAtLeast(kernel: string, wanted: string | undefined, at: Reader): boolean {
  if (wanted === undefined || wanted === '') return true;
  const [major, minor] = versionOf(wanted) ?? [];
  const [hostMajor, hostMinor] = versionOf(kernel) ?? [];
  if (major === undefined || minor === undefined)
    throw wrong('a kernel version', `"${wanted}"`, `${at.path}/minKernel`);
  if (hostMajor === undefined || hostMinor === undefined)
    throw wrong('the version of this kernel', `"${kernel}"`, at.path);
  return hostMajor > major || (hostMajor === major && hostMinor >= minor);
}

function versionOf(text: string): readonly [number, number] | undefined {
  const match = /^(\d{1,6})\.(\d{1,6})/.exec(text);
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}

function readRules(
  entry: Reader,
  otherwise: SeccompAction,
  unknownNames: 'skip-if-stricter' | 'skip',
): readonly SeccompRule[] {
  const action = readAction(entry, 'action', 'errno', 'errnoRet');
  if (isSame(action, otherwise)) return [];
  const single = entry.text('name'); // Docker's format before names
  const names = single === undefined || single === '' ? entry.strings('names') : [single];
  const known = names.filter((name) => syscallNames().has(name));
  const unknown = names.find((name) => !syscallNames().has(name));
  if (unknown !== undefined && unknownNames !== 'skip' && STRICTNESS[action.type] > STRICTNESS[otherwise.type]) {
    throw wrong('the name of a system call that this version knows', `"${unknown}"`, entry.path);
  }
  if (known.length === 0) return [];
  return readAlternatives(entry).map((args) => ({ syscalls: known, action, ...(args.length > 0 && { args }) }));
}

// Two tests of one argument cannot both be put into one rule of libseccomp: the runtimes then make each a rule of its own.
function readAlternatives(entry: Reader): readonly (readonly SeccompArgument[])[] {
  const all = entry.list('args', 6).map(readArgument);
  const args = all.filter((arg) => arg.op !== 'masked-eq' || arg.mask !== 0n); // one that always holds says nothing
  const isOneEach = new Set(all.map((arg) => arg.index)).size === all.length;
  return isOneEach || args.length < all.length ? [args] : args.map((arg) => [arg]);
}

function readArgument(arg: Reader): SeccompArgument {
  const index = INDEXES.find((i) => i === arg.number('index', 5));
  if (index === undefined) throw wrong('an argument index 0 … 5', 'none', arg.path);
  const op = arg.text('op') ?? '';
  const value = arg.word('value');
  if (op === 'SCMP_CMP_MASKED_EQ') return { index, op: 'masked-eq', mask: value, value: arg.word('valueTwo') & value };
  const comparison = COMPARISONS.get(op);
  if (comparison === undefined) throw wrong('a comparison SCMP_CMP_…', `"${op}"`, arg.path);
  return { index, op: comparison, value };
}

function readAction(from: Reader, key: string, errnoKey: string, errnoRetKey: string): SeccompAction {
  const name = from.text(key);
  const make = ACTIONS.get(name ?? '');
  if (!make) throw wrong('an action SCMP_ACT_…', `"${name ?? ''}"`, `${from.path}/${key}`);
  return make(readErrno(from, errnoKey, errnoRetKey));
}

function readErrno(from: Reader, nameKey: string, numberKey: string): number | undefined {
  const name = from.text(nameKey);
  if (name === undefined || name === '') return from.number(numberKey, 0xffff);
  const found = Object.entries(constants.errno).find(([known]) => known === name);
  if (!found && !/^\d{1,4}$/.test(name))
    throw wrong('the name of an error number', `"${name}"`, `${from.path}/${nameKey}`);
  return found ? found[1] : Number(name);
}

function readFlag(flag: Reader): SeccompFlag {
  const name = flag.string();
  const known = FLAGS.get(name);
  if (!known) throw wrong('a flag SECCOMP_FILTER_FLAG_…', `"${name}"`, flag.path);
  return known;
}

function readArchitectures(root: Reader, host: Host): readonly SeccompArch[] {
  const named = root.list('architectures', 64).map((arch) => archOf(arch.string(), arch));
  const map = root.list('archMap', 64);
  if (named.length > 0 && map.length > 0) throw wrong('either architectures or archMap', 'both', root.path);
  const entry = map.find((m) => archOf(m.text('architecture') ?? '', m) === host.architecture);
  const below = entry?.list('subArchitectures', 64).map((arch) => archOf(arch.string(), arch)) ?? [];
  // libseccomp always has the machine's own.
  return [...new Set([host.architecture, ...named, ...below])];
}

function archOf(name: string, at: Reader): SeccompArch {
  const short = name.replace(/^SCMP_ARCH_/, '').toLowerCase();
  if (!isSeccompArch(short)) throw wrong('an architecture SCMP_ARCH_…', `"${name}"`, at.path);
  return short;
}

function isSame(a: SeccompAction, b: SeccompAction): boolean {
  return JSON.stringify(a) === JSON.stringify(b); // made by the same functions, so their keys stand in the same order
}

// First what has no tests; then by libseccomp's order, which is what decides where two rules with tests hold for one call.
function inOrder(rules: readonly SeccompRule[]): readonly SeccompRule[] {
  return rules.toSorted((a, b) => compareTests(testsOf(a), testsOf(b)));
}

function testsOf({ args = [] }: SeccompRule): readonly SeccompArgument[] {
  return args.toSorted((a, b) => a.index - b.index);
}

function compareTests(a: readonly SeccompArgument[], b: readonly SeccompArgument[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [left, right] = [a[i], b[i]];
    const order = left && right ? compareTest(left, right) : 0;
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function compareTest(a: SeccompArgument, b: SeccompArgument): number {
  if (a.index !== b.index) return b.index - a.index;
  if (RANK[a.op] !== RANK[b.op]) return RANK[b.op] - RANK[a.op];
  const order = a.value < b.value ? 1 : a.value > b.value ? -1 : 0;
  return RANK[a.op] === RANK.lt ? -order : order;
}

/** A value inside the profile, with the path to it. The profile's author controls all of it. */
class Reader {
  readonly path: string;
  readonly #value: unknown;

  constructor(value: unknown, path: string) {
    this.#value = value;
    this.path = path;
  }

  object(): Reader {
    if (!isObject(this.#value)) throw wrong('an object', typeof this.#value, this.path);
    return this;
  }

  part(key: string): Reader {
    return new Reader(this.#get(key) ?? {}, `${this.path}/${key}`).object();
  }

  list(key: string, max: number): readonly Reader[] {
    const list = this.#get(key) ?? [];
    const path = `${this.path}/${key}`;
    if (!Array.isArray(list)) throw wrong('a list', typeof list, path);
    if (list.length > max) throw wrong(`at most ${max} entries`, `${list.length}`, path);
    return list.map((value, i) => new Reader(value, `${path}/${i}`));
  }

  strings(key: string): readonly string[] {
    return this.list(key, MAX_NAMES).map((item) => item.string());
  }

  string(): string {
    if (typeof this.#value !== 'string') throw wrong('text', typeof this.#value, this.path);
    return this.#value;
  }

  text(key: string): string | undefined {
    const value = this.#get(key);
    return value === undefined || value === null ? undefined : new Reader(value, `${this.path}/${key}`).string();
  }

  number(key: string, max: number): number | undefined {
    const value = this.#get(key);
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
    throw wrong(`a whole number 0 … ${max}`, String(value), `${this.path}/${key}`);
  }

  // A number above 2⁵³ has been rounded before we saw it: refused rather than taken for another one.
  word(key: string): bigint {
    const word = wholeNumber(this.#get(key) ?? 0);
    if (word !== undefined && word >= 0n && word <= 0xffff_ffff_ffff_ffffn) return word;
    throw wrong('a whole number of 64 bits', String(this.#get(key)), `${this.path}/${key}`);
  }

  #get(key: string): unknown {
    if (!isObject(this.#value)) throw wrong('an object', typeof this.#value, this.path);
    return Object.hasOwn(this.#value, key) ? this.#value[key] : undefined;
  }
}

function wholeNumber(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'string') return /^\d{16,20}$/.test(value) ? BigInt(value) : undefined;
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(expected: string, got: string, path: string): Error {
  return bad(`expected ${expected} in a seccomp profile, got ${got.slice(0, 200)} (at ${path})`);
}

const MAX_TEXT = 1 << 20;
const MAX_RULES = 10_000;
const MAX_NAMES = 10_000;
const EPERM = 1;
const INDEXES = [0, 1, 2, 3, 4, 5] as const;

type MakeAction = (errno: number | undefined) => SeccompAction;

const ACTIONS: ReadonlyMap<string, MakeAction> = new Map<string, MakeAction>([
  ['SCMP_ACT_ALLOW', () => ({ type: 'allow' })],
  ['SCMP_ACT_ERRNO', (errno = EPERM) => ({ type: 'errno', errno })],
  ['SCMP_ACT_KILL', () => ({ type: 'kill-thread' })],
  ['SCMP_ACT_KILL_THREAD', () => ({ type: 'kill-thread' })],
  ['SCMP_ACT_KILL_PROCESS', () => ({ type: 'kill-process' })],
  ['SCMP_ACT_TRAP', () => ({ type: 'trap' })],
  ['SCMP_ACT_TRACE', (data = EPERM) => ({ type: 'trace', data })],
  ['SCMP_ACT_LOG', () => ({ type: 'log' })],
  ['SCMP_ACT_NOTIFY', () => ({ type: 'notify' })],
]);

// The kernel's own order of actions: seccomp(2).
const STRICTNESS: Readonly<Record<SeccompAction['type'], number>> = {
  'kill-process': 7,
  'kill-thread': 6,
  trap: 5,
  errno: 4,
  notify: 3,
  trace: 2,
  log: 1,
  allow: 0,
};

const COMPARISONS: ReadonlyMap<string, 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge'> = new Map([
  ['SCMP_CMP_EQ', 'eq'],
  ['SCMP_CMP_NE', 'ne'],
  ['SCMP_CMP_LT', 'lt'],
  ['SCMP_CMP_LE', 'le'],
  ['SCMP_CMP_GT', 'gt'],
  ['SCMP_CMP_GE', 'ge'],
]);

const RANK: Readonly<Record<SeccompArgument['op'], number>> = {
  eq: 3,
  ne: 3,
  'masked-eq': 3,
  lt: 2,
  le: 2,
  gt: 1,
  ge: 1,
};

const FLAGS: ReadonlyMap<string, SeccompFlag> = new Map([
  ['SECCOMP_FILTER_FLAG_LOG', 'log'],
  ['SECCOMP_FILTER_FLAG_SPEC_ALLOW', 'spec-allow'],
  ['SECCOMP_FILTER_FLAG_TSYNC', 'tsync'],
  ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV', 'wait-killable-recv'],
]);

// What Docker compares `arches` with: GOARCH.
const GO_NAMES: Readonly<Record<SeccompArch, string>> = {
  x86_64: 'amd64',
  x32: 'amd64p32',
  x86: '386',
  aarch64: 'arm64',
  riscv64: 'riscv64',
  loongarch64: 'loong64',
  arm: 'arm',
  s390x: 's390x',
  s390: 's390',
  ppc64le: 'ppc64le',
  ppc64: 'ppc64',
  ppc: 'ppc',
  mips64: 'mips64',
  mipsel64: 'mips64le',
  mips64n32: 'mips64p32',
  mipsel64n32: 'mips64p32le',
  mips: 'mips',
  mipsel: 'mipsle',
};
