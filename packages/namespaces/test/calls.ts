/** A static program that makes single system calls (programs/calls.c), and sandboxes to run it in. */
import { mkdirSync } from 'node:fs';
import { type SandboxSpec, startSandbox } from '../src/index.js';
import { type Outcome, outcome, placeProgram, workspace } from './fixtures.js';

/** A root file system of that program alone, as `/calls`. */
export function makeCallsRoot(): string {
  const root = `${workspace}/calls-root`;
  for (const dir of ['proc', 'sys', 'dev', 'tmp', 'data']) mkdirSync(`${root}/${dir}`, { recursive: true });
  placeProgram('calls', `${root}/calls`);
  return root;
}

/** Runs it with `words` and collects what it prints. */
export async function calls(spec: Omit<SandboxSpec, 'command'>, ...words: readonly string[]): Promise<Outcome> {
  return outcome(await startSandbox({ ...spec, command: ['/calls', ...words] }));
}
