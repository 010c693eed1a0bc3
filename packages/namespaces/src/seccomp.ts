/** The seccomp compiler: typed rules in, a classic BPF program out. seccomp(2), linux/seccomp.h, linux/audit.h. */
import { BpfAssembler, type Label } from './bpf-assembler.js';
import { bad } from './error.js';
import { ARCHITECTURES, type ArchitectureFacts, isSeccompArch, type SeccompArch } from './seccomp-architectures.js';
import { MULTIPLEXERS, type Multiplexer } from './seccomp-multiplexers.js';
import type { SeccompAction, SeccompArgument, SeccompProfile, SeccompRule } from './seccomp-profile.js';
import { numbersOf, syscallNames } from './syscalls.js';

/**
 * Compiles a profile into `struct sock_filter[]` (8 bytes each, in the byte order of the architectures), for the given architectures
 * (default: those of the profile, else x86_64 and aarch64). A call from another architecture, the x32 and i386 interfaces included,
 * kills the process unless the profile says otherwise. The number -1, by which a tracer skips a call, is an unknown one.
 *
 * Throws `NamespaceError` `bad-spec`: a call that no architecture has, an argument test outside its range, architectures of both
 * byte orders, a program that is too long for the kernel (4096 instructions).
 */
export function compileSeccomp(
  profile: SeccompProfile,
  architectures: readonly SeccompArch[] = profile.architectures ?? ['x86_64', 'aarch64'],
): Uint8Array {
  checkProfile(profile);
  const bigEndian = byteOrderOf(architectures);
  return new Compiler(profile, bigEndian).program(architectures);
}

/** Whether a filter of this profile may ask the notification callback. */
export function asksCallback(profile: SeccompProfile): boolean {
  return actionsOf(profile).some((action) => action.type === 'notify');
}

/** A run of call numbers that meet the same rules. */
interface Run {
  readonly start: number;
  readonly decision: Decision;
  readonly key: string;
}

/** The rules that a call number meets, in order; the last one has no argument tests. */
type Decision = readonly Step[];

interface Step {
  readonly args: readonly SeccompArgument[];
  readonly action: SeccompAction;
}

class Compiler {
  readonly #asm: BpfAssembler;
  readonly #profile: SeccompProfile;
  readonly #returns = new Map<number, Label>();
  readonly #decisions = new Map<string, Label>();
  readonly #halves: { readonly low: number; readonly high: number };
  #arguments: ArchitectureFacts['argument'] = 'wide';

  constructor(profile: SeccompProfile, bigEndian: boolean) {
    this.#asm = new BpfAssembler({ bigEndian });
    this.#profile = profile;
    this.#halves = bigEndian ? { low: 4, high: 0 } : { low: 0, high: 4 };
  }

  program(architectures: readonly SeccompArch[]): Uint8Array {
    let next = this.#return(this.#profile.otherArchitectures ?? KILL);
    for (const [audit, group] of groupsOf(architectures).toReversed()) {
      next = this.#asm.jump('eq', audit, this.#calls(group), next);
    }
    this.#asm.goto(next);
    this.#asm.load(DATA.arch);
    return this.#asm.assemble();
  }

  #calls(group: readonly SeccompArch[]): Label {
    const argument = group.map((arch) => ARCHITECTURES[arch].argument)[0] ?? 'wide';
    if (argument !== this.#arguments) this.#decisions.clear(); // what is equal code for one is not for the other
    this.#arguments = argument;
    this.#asm.goto(this.#tree(runsOf(this.#profile, group)));
    return this.#asm.load(DATA.nr);
  }

  // A binary search over the runs: `nr >= start of the upper half`.
  #tree(runs: readonly Run[]): Label {
    const [first] = runs;
    if (!first) throw bad('expected at least one run of system calls, got none');
    if (runs.length === 1) return this.#decision(first);
    const middle = runs.length >> 1;
    const upper = this.#tree(runs.slice(middle));
    const lower = this.#tree(runs.slice(0, middle));
    return this.#asm.jump('ge', runs[middle]?.start ?? 0, upper, lower);
  }

  #decision({ decision, key }: Run): Label {
    const known = this.#decisions.get(key);
    if (known !== undefined) return known;
    let next: Label | undefined;
    for (const { args, action } of decision.toReversed()) {
      const target = this.#return(action);
      next = next === undefined ? target : this.#tests(args, target, next);
    }
    const label = next ?? this.#return(KILL);
    this.#decisions.set(key, label);
    return label;
  }

  #tests(args: readonly SeccompArgument[], yes: Label, no: Label): Label {
    return args.reduceRight((target, arg) => this.#test(arg, target, no), yes);
  }

  #test(arg: SeccompArgument, yes: Label, no: Label): Label {
    const { op, index } = arg;
    const value = split(arg.value);
    switch (op) {
      case 'eq':
        return this.#equal(index, value, ALL_BITS, yes, no);
      case 'ne':
        return this.#equal(index, value, ALL_BITS, no, yes);
      case 'masked-eq':
        return this.#equal(index, value, split(arg.mask ?? 0n), yes, no);
      case 'gt':
        return this.#above(index, value, 'gt', yes, no);
      case 'ge':
        return this.#above(index, value, 'ge', yes, no);
      case 'lt':
        return this.#above(index, value, 'ge', no, yes);
      case 'le':
        return this.#above(index, value, 'gt', no, yes);
    }
  }

  #equal(index: number, value: Halves, mask: Halves, yes: Label, no: Label): Label {
    const low = this.#half(index, this.#halves.low, value.low, mask.low, yes, no);
    if (this.#arguments === 'wide') return this.#half(index, this.#halves.high, value.high, mask.high, low, no);
    return value.high === 0 || this.#arguments === 'sign-extended' ? low : no;
  }

  #half(index: number, half: number, value: number, mask: number, yes: Label, no: Label): Label {
    if (mask === 0) return yes; // nothing to compare: checkProfile has seen that the value is 0 there
    this.#asm.jump('eq', value, yes, no);
    if (mask !== ALL_BITS.low) this.#asm.and(mask);
    return this.#asm.load(DATA.args + index * 8 + half);
  }

  // A 64-bit "greater": the upper halves decide unless they are equal.
  #above(index: number, value: Halves, comparison: 'gt' | 'ge', yes: Label, no: Label): Label {
    const at = DATA.args + index * 8;
    if (this.#arguments === 'narrow' && value.high > 0) return no;
    this.#asm.jump(comparison, value.low, yes, no);
    const low = this.#asm.load(at + this.#halves.low);
    if (this.#arguments !== 'wide') return low;
    const equal = this.#asm.jump('eq', value.high, low, no);
    this.#asm.jump('gt', value.high, yes, equal);
    return this.#asm.load(at + this.#halves.high);
  }

  #return(action: SeccompAction): Label {
    const value = returnValue(action);
    const known = this.#returns.get(value);
    if (known !== undefined) return known;
    const label = this.#asm.ret(value);
    this.#returns.set(value, label);
    return label;
  }
}

/** Architectures that the kernel shows under one value: x86_64 and x32. */
function groupsOf(architectures: readonly SeccompArch[]): readonly (readonly [number, readonly SeccompArch[]])[] {
  const groups = new Map<number, SeccompArch[]>();
  for (const arch of new Set(architectures)) {
    const { audit } = ARCHITECTURES[arch];
    groups.set(audit, [...(groups.get(audit) ?? []), arch]);
  }
  return [...groups];
}

function runsOf(profile: SeccompProfile, group: readonly SeccompArch[]): readonly Run[] {
  const starts = new Map<number, Decision>();
  const x86 = group.includes('x86_64') || group.includes('x32');
  const unknown = decide([], profile.unknown ?? profile.otherwise);
  const foreign = decide([], profile.otherArchitectures ?? KILL);
  starts.set(0, x86 && !group.includes('x86_64') ? foreign : unknown);
  if (x86) starts.set(X32_BIT, group.includes('x32') ? unknown : foreign).set(SKIPPED, unknown);
  for (const arch of group) addCalls(starts, profile, arch, unknown);
  const runs: Run[] = [];
  for (const [start, decision] of [...starts].sort(([a], [b]) => a - b)) {
    const key = keyOf(decision);
    if (runs.at(-1)?.key !== key) runs.push({ start, decision, key });
  }
  return runs;
}

// Numbers that the table passes over below its highest one are old calls without a name: they meet no rule.
function addCalls(starts: Map<number, Decision>, profile: SeccompProfile, arch: SeccompArch, unknown: Decision): void {
  const rules = rulesByNumber(profile, arch);
  const numbers = [...numbersOf(arch).values()].sort((a, b) => a - b);
  const last = numbers.findLast((nr) => nr < ARCHITECTURES[arch].base + PRIVATE_CALLS) ?? 0;
  const between = decide([], profile.otherwise);
  starts.set(ARCHITECTURES[arch].base, between);
  for (const nr of numbers) starts.set(nr + 1, nr < last ? between : unknown);
  for (const nr of numbers) starts.set(nr, decide(rules.get(nr) ?? [], profile.otherwise));
}

function rulesByNumber(profile: SeccompProfile, arch: SeccompArch): ReadonlyMap<number, readonly Step[]> {
  const numbers = numbersOf(arch);
  const rules = new Map<number, Step[]>();
  const add = (nr: number | undefined, step: Step): void => {
    if (nr === undefined) return;
    const known = rules.get(nr);
    if (known) known.push(step);
    else rules.set(nr, [step]);
  };
  for (const rule of profile.rules) {
    for (const name of new Set(rule.syscalls)) {
      add(numbers.get(name), { args: rule.args ?? [], action: rule.action });
      const through = ARCHITECTURES[arch].multiplexed ? MULTIPLEXERS.get(name) : undefined;
      const step = through && throughMultiplexer(rule, through);
      if (step) add(numbers.get(through.syscall), step);
    }
  }
  return rules;
}

// There the arguments lie in memory: what forbids some of them must forbid all, and what allows some can allow none.
function throughMultiplexer({ args = [], action }: SeccompRule, { number }: Multiplexer): Step | undefined {
  const permits = action.type === 'allow' || action.type === 'log' || action.type === 'trace';
  if (args.length > 0 && permits) return undefined;
  return { args: [{ index: 0, op: 'masked-eq', mask: 0xffffn, value: BigInt(number) }], action };
}

// What follows the first rule without tests can never hold.
function decide(steps: readonly Step[], otherwise: SeccompAction): Decision {
  const end = steps.findIndex(({ args }) => args.length === 0);
  return end >= 0 ? steps.slice(0, end + 1) : [...steps, { args: [], action: otherwise }];
}

// Two call numbers with equal keys share their code.
function keyOf(decision: Decision): string {
  let key = '';
  for (const { args, action } of decision) {
    for (const { index, op, value, mask } of args) key += `${index}${op}${value}/${mask ?? ''},`;
    key += `=${returnValue(action)};`;
  }
  return key;
}

function returnValue(action: SeccompAction): number {
  switch (action.type) {
    case 'allow':
      return 0x7fff_0000;
    case 'log':
      return 0x7ffc_0000;
    case 'trace':
      return 0x7ff0_0000 | (action.data ?? 0);
    case 'notify':
      return 0x7fc0_0000;
    case 'errno':
      return 0x0005_0000 | action.errno;
    case 'trap':
      return 0x0003_0000 | (action.data ?? 0);
    case 'kill-thread':
      return 0;
    case 'kill-process':
      return 0x8000_0000;
  }
}

function byteOrderOf(architectures: readonly SeccompArch[]): boolean {
  const unknown = architectures.find((arch) => !isSeccompArch(arch));
  if (unknown !== undefined) throw bad(`expected the name of an architecture in a seccomp profile, got "${unknown}"`);
  const orders = new Set(architectures.map((arch) => ARCHITECTURES[arch].bigEndian));
  if (orders.size !== 1) {
    throw bad(
      `expected architectures of one byte order for a seccomp program, got ${architectures.join(', ') || 'none'}`,
    );
  }
  return orders.has(true);
}

function actionsOf(profile: SeccompProfile): readonly SeccompAction[] {
  const { otherwise, unknown = otherwise, otherArchitectures = KILL } = profile;
  return [otherwise, unknown, otherArchitectures, ...profile.rules.map((rule) => rule.action)];
}

function checkProfile(profile: SeccompProfile): void {
  for (const action of actionsOf(profile)) checkAction(action);
  for (const rule of profile.rules) checkRule(rule);
}

function checkAction(action: SeccompAction): void {
  if (action.type === 'errno' && !isWithin(action.errno, 4095)) {
    throw bad(`expected a seccomp error number 0 … 4095, got ${action.errno}`);
  }
  if ((action.type === 'trap' || action.type === 'trace') && !isWithin(action.data ?? 0, 0xffff)) {
    throw bad(`expected seccomp data 0 … 65535, got ${action.data}`);
  }
}

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

function checkRule(rule: SeccompRule): void {
  const unknown = rule.syscalls.find((name) => !syscallNames().has(name));
  if (unknown !== undefined) throw bad(`expected the name of a system call in a seccomp rule, got "${unknown}"`);
  for (const { index, op, value, mask } of rule.args ?? []) {
    if (!isWithin(index, 5)) throw bad(`expected a seccomp argument 0 … 5, got ${index}`);
    if (!OPERATORS.has(op)) throw bad(`expected a seccomp comparison, got "${op}"`);
    if (value < 0n || value > MAX_U64) throw bad(`expected a 64-bit seccomp value, got ${value}`);
    if (op !== 'masked-eq') continue;
    if (mask === undefined || mask < 0n || mask > MAX_U64) throw bad(`expected a 64-bit seccomp mask, got ${mask}`);
    if ((value & ~mask) !== 0n) throw bad(`expected a seccomp value within its mask ${mask}, got ${value}`);
  }
}

interface Halves {
  readonly low: number;
  readonly high: number;
}

function split(value: bigint): Halves {
  return { low: Number(value & 0xffff_ffffn), high: Number(value >> 32n) };
}

const KILL: SeccompAction = { type: 'kill-process' };
const OPERATORS = new Set<SeccompArgument['op']>(['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'masked-eq']);
const MAX_U64 = 0xffff_ffff_ffff_ffffn;
const ALL_BITS: Halves = { low: 0xffff_ffff, high: 0xffff_ffff };
const X32_BIT = 0x4000_0000;
const SKIPPED = 0xffff_ffff; // -1: seccomp(2), what a tracer sets
const PRIVATE_CALLS = 0x8000; // arm has a few calls of its own far above: __ARM_NR_BASE
const DATA = { nr: 0, arch: 4, args: 16 } as const; // struct seccomp_data
