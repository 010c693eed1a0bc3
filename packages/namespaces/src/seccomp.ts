/** The seccomp compiler: typed rules in, a classic BPF program out. seccomp(2), linux/seccomp.h, linux/audit.h. */
import { BpfAssembler, type Label } from './bpf-assembler.js';
import { bad } from './error.js';
import type { SeccompAction, SeccompArgument, SeccompProfile, SeccompRule } from './seccomp-profile.js';
import { LAST_KNOWN_SYSCALL, type SeccompArch, SYSCALLS } from './syscalls.js';

/**
 * Compiles a profile into `struct sock_filter[]` (8 bytes each, little-endian), for the given architectures (default: both). A
 * call from another architecture, the x32 and i386 interfaces included, kills the process.
 *
 * Throws `NamespaceError` `bad-spec`: a call that no architecture has, an argument test outside its range, a program that is too
 * long for the kernel.
 */
export function compileSeccomp(
  profile: SeccompProfile,
  architectures: readonly SeccompArch[] = ['x86_64', 'aarch64'],
): Uint8Array {
  checkProfile(profile);
  const compiler = new Compiler(new BpfAssembler());
  return compiler.program(profile, architectures);
}

/** A run of call numbers that meet the same rules. */
interface Run {
  readonly start: number;
  readonly decision: Decision;
  readonly key: string;
}

/** The rules that a call number meets, in order; the last one has no argument tests. */
type Decision = readonly { readonly args: readonly SeccompArgument[]; readonly action: SeccompAction }[];

class Compiler {
  readonly #asm: BpfAssembler;
  readonly #returns = new Map<number, Label>();
  readonly #decisions = new Map<string, Label>();

  constructor(asm: BpfAssembler) {
    this.#asm = asm;
  }

  program(profile: SeccompProfile, architectures: readonly SeccompArch[]): Uint8Array {
    const entries = architectures.map((arch) => ({ arch, entry: this.#calls(profile, arch) }));
    let next = this.#return(KILL);
    for (const { arch, entry } of entries) next = this.#asm.jump('eq', AUDIT_ARCH[arch], entry, next);
    this.#asm.goto(next);
    this.#asm.load(DATA.arch);
    return this.#asm.assemble();
  }

  #calls(profile: SeccompProfile, arch: SeccompArch): Label {
    const runs = runsOf(profile, arch);
    this.#asm.goto(this.#tree(runs));
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
    const low = this.#half(index, 0, value.low, mask.low, yes, no);
    return this.#half(index, 4, value.high, mask.high, low, no);
  }

  #half(index: number, half: 0 | 4, value: number, mask: number, yes: Label, no: Label): Label {
    if (mask === 0) return yes; // nothing to compare: checkProfile has seen that the value is 0 there
    this.#asm.jump('eq', value, yes, no);
    if (mask !== ALL_BITS.low) this.#asm.and(mask);
    return this.#asm.load(DATA.args + index * 8 + half);
  }

  // A 64-bit "greater": the upper halves decide unless they are equal.
  #above(index: number, value: Halves, comparison: 'gt' | 'ge', yes: Label, no: Label): Label {
    this.#asm.jump(comparison, value.low, yes, no);
    const low = this.#asm.load(DATA.args + index * 8);
    const equal = this.#asm.jump('eq', value.high, low, no);
    this.#asm.jump('gt', value.high, yes, equal);
    return this.#asm.load(DATA.args + index * 8 + 4);
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

function runsOf(profile: SeccompProfile, arch: SeccompArch): readonly Run[] {
  const rules = rulesByNumber(profile, arch);
  const runs: Run[] = [];
  const push = (start: number, decision: Decision): void => {
    const key = keyOf(decision);
    if (runs.at(-1)?.key !== key) runs.push({ start, decision, key });
  };
  for (let nr = 0; nr <= LAST_KNOWN_SYSCALL; nr++) push(nr, decide(rules.get(nr) ?? [], profile.otherwise));
  push(LAST_KNOWN_SYSCALL + 1, decide([], profile.unknown ?? profile.otherwise));
  if (arch === 'x86_64') push(X32_BIT, decide([], KILL));
  return runs;
}

function rulesByNumber(profile: SeccompProfile, arch: SeccompArch): ReadonlyMap<number, readonly SeccompRule[]> {
  const column = arch === 'x86_64' ? 0 : 1;
  const rules = new Map<number, SeccompRule[]>();
  for (const rule of profile.rules) {
    for (const name of new Set(rule.syscalls)) {
      const nr = SYSCALLS[name]?.[column] ?? -1;
      if (nr < 0) continue;
      const known = rules.get(nr);
      if (known) known.push(rule);
      else rules.set(nr, [rule]);
    }
  }
  return rules;
}

// What follows the first rule without tests can never hold.
function decide(rules: readonly SeccompRule[], otherwise: SeccompAction): Decision {
  const steps = rules.map(({ args = [], action }) => ({ args, action }));
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
    case 'errno':
      return 0x0005_0000 | action.errno;
    case 'trap':
      return 0x0003_0000;
    case 'kill-thread':
      return 0;
    case 'kill-process':
      return 0x8000_0000;
  }
}

function checkProfile(profile: SeccompProfile): void {
  const actions = [profile.otherwise, profile.unknown ?? profile.otherwise, ...profile.rules.map((r) => r.action)];
  for (const action of actions) {
    if (action.type !== 'errno' || (Number.isInteger(action.errno) && action.errno >= 1 && action.errno <= 4095))
      continue;
    throw bad(`expected a seccomp error number 1 … 4095, got ${action.errno}`);
  }
  for (const rule of profile.rules) checkRule(rule);
}

function checkRule(rule: SeccompRule): void {
  const unknown = rule.syscalls.find((name) => !Object.hasOwn(SYSCALLS, name));
  if (unknown !== undefined) throw bad(`expected the name of a system call in a seccomp rule, got "${unknown}"`);
  for (const { index, op, value, mask } of rule.args ?? []) {
    if (!Number.isInteger(index) || index < 0 || index > 5)
      throw bad(`expected a seccomp argument 0 … 5, got ${index}`);
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
const MAX_U64 = 0xffff_ffff_ffff_ffffn;
const ALL_BITS: Halves = { low: 0xffff_ffff, high: 0xffff_ffff };
const X32_BIT = 0x4000_0000;
const DATA = { nr: 0, arch: 4, args: 16 } as const; // struct seccomp_data
const AUDIT_ARCH: Readonly<Record<SeccompArch, number>> = { x86_64: 0xc000_003e, aarch64: 0xc000_00b7 };
