/** A static program that makes single system calls (programs/calls.c), and sandboxes to run it in. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { type SandboxSpec, startSandbox } from '../src/index.js';
import { type Outcome, outcome, workspace } from './fixtures.js';

/** Whether it can be compiled here. */
export const hasCompiler = spawnSync('gcc', ['--version']).status === 0;

/** A root file system of that program alone, as `/calls`. */
export function makeCallsRoot(): string {
  const root = `${workspace}/calls-root`;
  for (const dir of ['proc', 'sys', 'dev', 'tmp', 'data']) mkdirSync(`${root}/${dir}`, { recursive: true });
  execFileSync('gcc', ['-O1', '-static', '-pthread', `${import.meta.dirname}/programs/calls.c`, '-o', `${root}/calls`]);
  chmodSync(`${root}/calls`, 0o755);
  return root;
}

/** Runs it with `words` and collects what it prints. */
export async function calls(spec: Omit<SandboxSpec, 'command'>, ...words: readonly string[]): Promise<Outcome> {
  return outcome(await startSandbox({ ...spec, command: ['/calls', ...words] }));
}
