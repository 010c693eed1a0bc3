import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect } from 'vitest';
import { bundle, start, stop } from './program.js';
import { freePorts } from './raw.js';
import { itWith } from './requirement.js';
import { temporaryDirectory } from './temporary.js';

const judge = join(import.meta.dirname, '../../../../shared/judges/tpm2-smoke.sh');
const run = promisify(execFile);

/** Runs the judge against a server that was started with `args`; returns the last line that it prints. */
async function judgeServer(args: readonly string[], tcti: string): Promise<string> {
  const state = temporaryDirectory('smoke');
  const program = await bundle('../src/cli.ts');
  const common = ['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--flags', 'not-need-init,startup-clear'];
  const { child } = await start(program, [...common, ...args]);
  try {
    const env = { ...process.env, TPM2TOOLS_TCTI: tcti };
    const { stdout } = await run('bash', [judge], { env }).catch((error: { stdout: string }) => error);
    return stdout
      .split('\n')
      .filter((line) => !line.startsWith('OK'))
      .join('\n')
      .trim();
  } finally {
    await stop(child);
  }
}

const itWithJudge = existsSync(judge) ? itWith('tpm2_getcap', 'xxd') : itWith('the judge tpm2-smoke.sh');

describe('71 operations of tpm2-tools', () => {
  itWithJudge('pass over the swtpm protocol on TCP', async () => {
    const [data, control] = await freePorts();
    const args = ['--server', `type=tcp,port=${data}`, '--ctrl', `type=tcp,port=${control}`];
    expect(await judgeServer(args, `swtpm:host=127.0.0.1,port=${data}`)).toBe('PASS 71 FAIL 0');
  });

  itWithJudge('pass over the swtpm protocol on Unix sockets', async () => {
    const path = join(temporaryDirectory('socket'), 's');
    const args = ['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`];
    expect(await judgeServer(args, `swtpm:path=${path}`)).toBe('PASS 71 FAIL 0');
  });

  itWithJudge('pass over the simulator protocol on the same two ports', async () => {
    const [data, control] = await freePorts();
    const args = ['--server', `type=tcp,port=${data}`, '--ctrl', `type=tcp,port=${control}`];
    expect(await judgeServer(args, `mssim:host=127.0.0.1,port=${data}`)).toBe('PASS 71 FAIL 0');
  });
});
