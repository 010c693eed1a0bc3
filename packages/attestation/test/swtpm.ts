import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Tpm } from '@casemate/tpm';
import { connectSwtpm, type SwtpmTransport } from '@casemate/tpm/swtpm';

/** Whether a program is there; with MUST_RUN=1 its absence is an error. */
export function has(program: string): boolean {
  const there = spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
  if (!there && process.env.MUST_RUN === '1') throw new Error(`MUST_RUN=1, but ${program} is not installed`);
  return there;
}

export interface Swtpm extends AsyncDisposable {
  readonly tpm: Tpm;
  readonly transport: SwtpmTransport;
  /** For tpm2-tools: TPM2TOOLS_TCTI. The connection of `tpm` is closed while they run, for swtpm serves one client at a time. */
  readonly tcti: string;
}

/** A swtpm of its own with fresh state, started and stopped by process id. */
export async function startSwtpm(): Promise<Swtpm> {
  const dir = mkdtempSync(join(tmpdir(), 'casemate-attestation-'));
  const path = join(dir, 's');
  const channels = ['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`];
  const child = spawn(
    'swtpm',
    ['socket', '--tpm2', '--tpmstate', `dir=${dir}`, ...channels, '--flags', 'not-need-init,startup-clear'],
    {
      stdio: 'ignore',
    },
  );
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const transport = await connect(path);
  const tpm = new Tpm(transport);
  return {
    tpm,
    transport,
    tcti: `swtpm:path=${path}`,
    async [Symbol.asyncDispose]() {
      await transport.close();
      child.kill();
      await exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function connect(path: string): Promise<SwtpmTransport> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await connectSwtpm({ path });
    } catch (error) {
      if (attempt === 100) throw error;
      await delay(20);
    }
  }
}
