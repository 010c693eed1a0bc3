/** Our compiler against libseccomp: the same numbers, and the same verdicts on the same profiles. */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { compileSeccomp, parseSeccompProfile, type SeccompArch } from '../src/index.js';
import { ARCHITECTURES } from '../src/seccomp-architectures.js';
import { MULTIPLEXERS } from '../src/seccomp-multiplexers.js';
import { numbersOf, syscallNames } from '../src/syscalls.js';
import { type Call, interpret } from './bpf-interpreter.js';
import {
  buildJudge,
  compileByLibseccomp,
  hasLibseccomp,
  numbersByLibseccomp,
  type OciArgument,
  type OciProfile,
} from './libseccomp.js';
import { itNeeds } from './requirement.js';

const judge = `${tmpdir()}/casemate-libseccomp-${process.pid}`;
if (hasLibseccomp) buildJudge(judge);
afterAll(() => rmSync(judge, { force: true }));
const itJudges = itNeeds(hasLibseccomp, 'libseccomp-dev and gcc are not installed');

// What Debian's libseccomp 2.5.4 knows; all that ours knows but loongarch64.
const JUDGED = (Object.keys(ARCHITECTURES) as SeccompArch[]).filter((arch) => arch !== 'loongarch64');
const SETS: readonly (readonly [SeccompArch, ...SeccompArch[]])[] = [
  ['x86_64'],
  ['x86_64', 'x86', 'x32'],
  ['aarch64', 'arm'],
  ['x86_64', 'aarch64', 'riscv64'],
  ['s390x', 's390'],
  ['riscv64'],
  ['ppc64le'],
  ['mips64', 'mips', 'mips64n32'],
];

const numbers = hasLibseccomp ? knownNumbers() : new Map<SeccompArch, ReadonlyMap<string, number | undefined>>();

function knownNumbers(): ReadonlyMap<SeccompArch, ReadonlyMap<string, number | undefined>> {
  const names = [...syscallNames()];
  return new Map(
    JUDGED.map((arch) => {
      const answers = numbersByLibseccomp(
        judge,
        names.map((name) => [arch, name] as const),
      );
      return [arch, new Map(names.map((name, i) => [name, answers[i]] as const))];
    }),
  );
}

const ACTIONS = ['ALLOW', 'LOG', 'TRACE', 'NOTIFY', 'ERRNO', 'TRAP', 'KILL_THREAD', 'KILL_PROCESS'].map(
  (a) => `SCMP_ACT_${a}`,
);
const OPERATORS = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((op) => `SCMP_CMP_${op}`);

/** The names that libseccomp knows on all of a set; one that some lack may lead it to a program that never loads the call's number. */
function namesFor(set: readonly SeccompArch[]): readonly string[] {
  return [...syscallNames()].filter(
    (name) =>
      name !== 'sys_debug_setcontext' && // it takes a rule for it and then has none
      set.every((arch) => numbersOf(arch).has(name)) &&
      set.every((arch) => numbers.get(arch)?.get(name) === numbersOf(arch).get(name)),
  );
}

function profilesFor(set: readonly SeccompArch[], isNarrow: boolean, conflicts: boolean): fc.Arbitrary<OciProfile> {
  const all = namesFor(set);
  const isMultiplexed = set.some((arch) => ARCHITECTURES[arch].multiplexed);
  const some = all.filter(
    (name) => !isMultiplexed || !(MULTIPLEXERS.has(name) || name === 'socketcall' || name === 'ipc'),
  );
  const bits = isNarrow ? 32n : 64n;
  const word = fc.oneof(
    fc.bigInt(0n, 6n),
    fc.bigInt(0n, (1n << bits) - 1n),
    fc.constantFrom(0xffff_ffffn, (1n << bits) - 1n, 0x8000_0000n, 1n << (bits - 1n)),
  );
  const arg = fc
    .record({ index: fc.integer({ min: 0, max: 5 }), op: fc.constantFrom(...OPERATORS), value: word, valueTwo: word })
    .map((a): OciArgument => (a.op === 'SCMP_CMP_MASKED_EQ' ? { ...a, valueTwo: a.valueTwo & a.value } : a));
  const action = fc.record({ action: fc.constantFrom(...ACTIONS), errnoRet: fc.integer({ min: 0, max: 4094 }) });
  const plain = fc.record({ names: fc.array(fc.constantFrom(...all), { minLength: 1, maxLength: 60 }), action });
  const few = fc.subarray(some.slice(0, 1).concat(some.slice(40, 52)), { minLength: 1, maxLength: 3 });
  const tested = fc.record({ names: few, action, args: fc.array(arg, { minLength: 1, maxLength: 4 }) });
  const rule = (r: {
    names: readonly string[];
    action: { action: string; errnoRet: number };
    args?: readonly OciArgument[];
  }) => ({
    names: r.names,
    ...(r.action.action === 'SCMP_ACT_ERRNO' || r.action.action === 'SCMP_ACT_TRACE'
      ? r.action
      : { action: r.action.action }),
    ...(r.args && { args: r.args }),
  });
  return fc
    .record({
      fallback: action,
      plain: fc.array(plain, { maxLength: 4 }),
      tested: fc.array(tested, { maxLength: 14 }),
      one: action,
    })
    .map(({ fallback, plain, tested, one }) => ({
      ...(fallback.action === 'SCMP_ACT_ERRNO' || fallback.action === 'SCMP_ACT_TRACE'
        ? { defaultAction: fallback.action, defaultErrnoRet: fallback.errnoRet }
        : { defaultAction: fallback.action }),
      architectures: set.map((arch) => `SCMP_ARCH_${arch.toUpperCase()}`),
      syscalls: [...plain, ...judgeable(tested).map((t) => (conflicts ? t : { ...t, action: one }))].map(rule),
    }));
}

// libseccomp 2.5.4 loses its way where one call has rules of several tests, or two orderings of one argument: what it then says is no
// verdict to agree with (the last test has examples). So a call gets either one rule of several tests or rules of one test each, with
// one ordering of an argument.
function judgeable<T extends { readonly names: readonly string[]; readonly args: readonly OciArgument[] }>(
  rules: readonly T[],
): readonly T[] {
  const taken = new Set<string>();
  return rules.flatMap((rule) => {
    const [first] = rule.args;
    const isOrdering = !/EQ|NE/.test(first?.op ?? '');
    const isAlternatives = new Set(rule.args.map((arg) => arg.index)).size < rule.args.length;
    if (isAlternatives && rule.args.some((arg) => !/EQ|NE/.test(arg.op))) return [];
    const isFree = (name: string): boolean => {
      if (rule.args.length > 1) return ![...taken].some((key) => key.split(' ')[0] === name);
      return !taken.has(`${name} many`) && !(isOrdering && taken.has(`${name} ${first?.index}`));
    };
    const names = rule.names.filter(isFree);
    for (const name of names) taken.add(`${name} ${rule.args.length > 1 ? 'many' : isOrdering ? first?.index : 'one'}`);
    return names.length > 0 ? [{ ...rule, names }] : [];
  });
}

function callsFor(set: readonly SeccompArch[], profile: OciProfile, isNarrow: boolean): fc.Arbitrary<Call> {
  const values = profile.syscalls.flatMap((r) =>
    (r.args ?? []).flatMap((a) => [a.value, a.value + 1n, a.value - 1n, a.valueTwo ?? 0n]),
  );
  const limit = isNarrow ? 0xffff_ffffn : 0xffff_ffff_ffff_ffffn;
  const word = fc
    .oneof(fc.constantFrom(0n, 1n, ...values), fc.constantFrom(0n, ...values), fc.bigInt(0n, limit))
    .map((value) => value & limit);
  const tested = profile.syscalls.filter((r) => r.args).flatMap((r) => r.names);
  const named = profile.syscalls.flatMap((r) => r.names);
  return fc
    .record({
      arch: fc.constantFrom(...set),
      audit: fc.option(fc.constantFrom(0x4000_0003, 0xc000_003e, 0xc000_00b7, 0x1234), { freq: 30 }),
      name: fc.oneof(
        ...(tested.length > 0 ? [{ arbitrary: fc.constantFrom(...tested), weight: 5 }] : []),
        ...(named.length > 0 ? [{ arbitrary: fc.constantFrom(...named), weight: 3 }] : []),
        { arbitrary: fc.constantFrom('read', ...namesFor(set)), weight: 1 },
      ),
      nr: fc.option(
        fc.oneof(fc.integer({ min: 0, max: 480 }), fc.constantFrom(0x4000_0000, 0xffff_ffff, 0x3fff_ffff, 0x4000_0200)),
        { freq: 8 },
      ),
      args: fc.array(word, { minLength: 6, maxLength: 6 }),
    })
    .map(({ arch, audit, name, nr, args }) => ({
      arch: audit ?? ARCHITECTURES[arch].audit,
      nr: nr ?? numbersOf(arch).get(name) ?? 1,
      args,
    }));
}

describe('libseccomp', () => {
  itJudges('gives every call of every architecture the number that ours gives', () => {
    const different: string[] = [];
    for (const arch of JUDGED) {
      for (const [name, number] of numbers.get(arch) ?? []) {
        const ours = numbersOf(arch).get(name);
        if (number !== undefined && ours !== number) different.push(`${arch} ${name}: ${ours} ${number}`);
      }
    }
    expect(different).toEqual([]);
  });

  itJudges('gives the same verdict on 200 random profiles with 2,000 calls each', () => {
    let judged = 0;
    for (let i = 0; i < 200; i++) {
      const set = SETS[i % SETS.length] ?? SETS[0];
      if (!set) throw new Error('no architectures');
      const isNarrow = set.some((arch) => arch === 'x32' || ARCHITECTURES[arch].argument !== 'wide');
      const seed = FIRST_SEED + i;
      const [profile] = fc.sample(profilesFor(set, isNarrow, i % 2 === 1), { seed, numRuns: 1 });
      if (!profile) throw new Error('no profile');
      const theirs = compileByLibseccomp(judge, profile, set);
      const parsed = parseSeccompProfile(theirs.accepted, { architecture: set[0] });
      const ours = compileSeccomp({ ...parsed, otherArchitectures: { type: 'kill-thread' } });
      const { bigEndian } = ARCHITECTURES[set[0]];
      for (const call of fc.sample(callsFor(set, profile, isNarrow), { seed, numRuns: 2000 })) {
        const wanted = interpret(theirs.program, call, { bigEndian });
        const got = interpret(ours, call, { bigEndian });
        if (got !== wanted) {
          const text: string = JSON.stringify({ set, call, profile }, (_, v: unknown) =>
            typeof v === 'bigint' ? String(v) : v,
          );
          expect.fail(`seed ${seed}: libseccomp ${wanted.toString(16)}, ours ${got.toString(16)} for ${text}`);
        }
        judged++;
      }
    }
    expect(judged).toBe(400_000);
  });

  it('is surpassed where its programs go astray: two orderings of one argument', () => {
    const less = (value: bigint) => ({
      names: ['fchdir'],
      action: 'SCMP_ACT_KILL_PROCESS',
      args: [{ index: 0, op: 'SCMP_CMP_LT', value }],
    });
    const profile = { defaultAction: 'SCMP_ACT_LOG', syscalls: [less(1n << 63n), less(6n)] };
    const program = compileSeccomp(parseSeccompProfile(profile, { architecture: 'x86_64' }));
    // 2.5.4 only logs it: after "less than 6" has failed it does not come back to the other rule.
    const call = { nr: 81, arch: ARCHITECTURES.x86_64.audit, args: [0xffff_ffffn, 0n, 0n, 0n, 0n, 0n] };
    expect(interpret(program, call)).toBe(0x8000_0000);
  });

  it('is surpassed where its programs go astray: calls that one of the architectures lacks', () => {
    const rule = (name: string, action: string) => ({ names: [name], action });
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
      syscalls: [rule('pause', 'SCMP_ACT_TRAP'), rule('accept', 'SCMP_ACT_KILL_PROCESS')],
    };
    const program = compileSeccomp(parseSeccompProfile(profile, { architecture: 'aarch64' }));
    // 2.5.4 allows it on aarch64, which has no pause: its program compares the architecture with the number of accept.
    const call = { nr: 202, arch: ARCHITECTURES.aarch64.audit, args: [0n, 0n, 0n, 0n, 0n, 0n] };
    expect(interpret(program, call)).toBe(0x8000_0000);
  });
});

const FIRST_SEED = Number(process.env.SEED ?? 5000);
