/** How the repository's scripts are used: told on demand, and told to whoever gives what they do not know. */
import { execFile } from 'node:child_process';
import { describe, expect, it } from 'vitest';

const SCRIPTS = {
  bench: 'bench',
  doctor: 'doctor',
  fuzz: 'fuzz',
  guest: 'guest',
  rollout: 'rollout',
  suite: 'tpm2-tools-suite',
};

function run(script: string, ...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const path = new URL(`../${script}.mjs`, import.meta.url).pathname;
  return new Promise((resolve) => {
    execFile(process.execPath, [path, ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

describe.concurrent.each(Object.entries(SCRIPTS))('npm run %s', (name, script) => {
  it('prints its usage for --help', async () => {
    const { code, stdout, stderr } = await run(script, '--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^usage: npm run ${name}\\b`));
  });

  it('refuses an option that it does not know, in one sentence, and prints its usage', async () => {
    const { code, stdout, stderr } = await run(script, '--strange');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^Unknown option '--strange'\\.\\nusage: npm run ${name}\\b`));
  });
});
