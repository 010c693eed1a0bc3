/** libseccomp as a judge: a small C program that compiles profiles with it (programs/libseccomp.c). */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync } from 'node:fs';
import type { SeccompArch } from '../src/index.js';

/** A profile in the words of the OCI specification, as far as runtimes hand it to libseccomp. */
export interface OciProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly OciRule[];
}

/** One rule of it. */
interface OciRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly OciArgument[];
}

/** One argument test of a rule. */
export interface OciArgument {
  readonly index: number;
  readonly value: bigint;
  readonly valueTwo?: bigint;
  readonly op: string;
}

// A guest machine, which has no compiler, has brought it along (scripts/guest.mjs).
const brought = process.env.CASEMATE_BROUGHT && `${process.env.CASEMATE_BROUGHT}/libseccomp`;

/** Whether libseccomp can be compiled against here. */
export const hasLibseccomp = brought
  ? existsSync(brought)
  : existsSync('/usr/include/seccomp.h') && spawnSync('gcc', ['--version']).status === 0;

/** Compiles the judge to `path`. */
export function buildJudge(path: string): void {
  const source = `${import.meta.dirname}/programs/libseccomp.c`;
  if (brought) copyFileSync(brought, path);
  else execFileSync('gcc', ['-Wall', '-Wextra', '-Werror', '-O1', source, '-o', path, '-lseccomp']);
}

/** The numbers that libseccomp gives to calls; undefined where an architecture has none. */
export function numbersByLibseccomp(
  judge: string,
  questions: readonly (readonly [arch: SeccompArch, name: string])[],
): readonly (number | undefined)[] {
  return ask(
    judge,
    questions.map(([arch, name]) => `n ${arch} ${name}`),
  ).map((line) => (line === '-' ? undefined : Number(line)));
}

/** The program that libseccomp makes of a profile, and the profile without the rules that it refused. */
export function compileByLibseccomp(
  judge: string,
  profile: OciProfile,
  architectures: readonly SeccompArch[],
): { readonly program: Uint8Array; readonly accepted: OciProfile } {
  const fallback = actionOf(profile.defaultAction, profile.defaultErrnoRet);
  const lines = [`p ${fallback} 0 ${architectures.join(' ')}`];
  const accepted: OciRule[] = [];
  const additions: { readonly rule: OciRule; readonly name: string; readonly lines: readonly string[] }[] = [];
  for (const rule of profile.syscalls) {
    const action = actionOf(rule.action, rule.errnoRet);
    if (action === fallback) {
      accepted.push(rule);
      continue; // as the runtimes do: libseccomp refuses such a rule
    }
    for (const name of rule.names) {
      additions.push({ rule, name, lines: alternatives(rule).map((args) => `r ${action} ${name} ${args.join(' ')}`) });
    }
  }
  for (const addition of additions) lines.push(...addition.lines);
  const answers = ask(judge, [...lines, 'e']);
  let at = 0;
  for (const { rule, name, lines: added } of additions) {
    const tests = added.map((_, i) => rule.args?.[i]).filter((arg) => arg !== undefined);
    added.forEach((_, i) => {
      const result = Number(answers[at++]);
      if (result !== 0 && result !== EEXIST)
        throw new Error(`libseccomp: ${result} for ${JSON.stringify(rule.action)} ${name}`);
      const args = added.length === 1 ? rule.args : tests.slice(i, i + 1);
      if (result === 0) accepted.push({ ...rule, names: [name], ...(args && { args }) });
    });
  }
  const program = Uint8Array.from(Buffer.from(answers[at] ?? '', 'hex'));
  return { program, accepted: { ...profile, syscalls: accepted } };
}

// Two tests of one argument: the runtimes add each test as a rule of its own.
function alternatives({ args = [] }: OciRule): readonly (readonly string[])[] {
  const words = args.map(
    ({ index, op, value, valueTwo = 0n }) => `${index} ${OPERATORS.indexOf(op) + 1} ${value} ${valueTwo}`,
  );
  return new Set(args.map((arg) => arg.index)).size === args.length ? [words] : words.map((word) => [word]);
}

function ask(judge: string, lines: readonly string[]): readonly string[] {
  return execFileSync(judge, { input: `${lines.join('\n')}\n`, encoding: 'utf8', maxBuffer: 1 << 26 })
    .trimEnd()
    .split('\n');
}

function actionOf(name: string, data = 1): number {
  const value = ACTIONS[name];
  if (value === undefined) throw new Error(name);
  return name === 'SCMP_ACT_ERRNO' || name === 'SCMP_ACT_TRACE' ? value + data : value;
}

const EEXIST = -17;
const OPERATORS = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((op) => `SCMP_CMP_${op}`);
const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_ALLOW: 0x7fff0000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
};
