/** Run as a process of its own, under another user or to be killed: starts the sandboxes that its argument describes. */
import { execFileSync } from 'node:child_process';
import { createCgroup } from '@casemate/cgroups';
import { type ExecSpec, NamespaceError, type SandboxProcess, type SandboxSpec, startSandbox } from '../../src/index.js';

interface Job {
  readonly spec: SandboxSpec;
  /** Make a cgroup for it with a limit of processes. */
  readonly pidsMax?: number;
  /** Start this beside it, and tell of this one. */
  readonly exec?: ExecSpec;
  /** Print what is running and wait to be killed. */
  readonly hold?: boolean;
  /** Commands of the outside to run once the sandbox has written something; it then gets a line. */
  readonly during?: readonly (readonly [string, ...string[]])[];
  /** Commands of the outside to run after its end. */
  readonly after?: readonly (readonly [string, ...string[]])[];
}

async function perform({ spec, pidsMax, hold, exec, during = [], after = [] }: Job): Promise<unknown> {
  const cgroup = pidsMax === undefined ? undefined : await createCgroup({ limits: { pidsMax } });
  const sandbox = await startSandbox({ ...spec, ...(cgroup && { cgroup }) });
  if (hold) {
    const directories = cgroup?.directories.map((d) => d.path) ?? [];
    console.log(JSON.stringify({ pid: sandbox.pid, directories }));
    return new Promise(() => undefined);
  }
  if (during.length > 0) {
    await new Promise((resolve) => sandbox.stdout?.once('readable', resolve));
    run(during);
    sandbox.stdin?.end('go\n');
  }
  if (exec) {
    const result = await follow(await sandbox.exec(exec));
    await sandbox.stop({ grace: 0 });
    return result;
  }
  const result = await follow(sandbox);
  run(after);
  return result;
}

function run(commands: readonly (readonly [string, ...string[]])[]): void {
  for (const [file, ...args] of commands) execFileSync(file, args);
}

async function follow(process: SandboxProcess): Promise<unknown> {
  const [stdout, stderr, exit] = await Promise.all([text(process.stdout), text(process.stderr), process.wait()]);
  return { stdout, stderr, exit };
}

async function text(stream: AsyncIterable<Uint8Array> | null): Promise<string> {
  let all = '';
  for await (const chunk of stream ?? []) all += new TextDecoder().decode(chunk);
  return all;
}

const jobs: readonly Job[] = JSON.parse(process.argv[2] ?? '[]');
for (const job of jobs) {
  const result = await perform(job).catch((error: unknown) => {
    if (!(error instanceof NamespaceError)) throw error;
    const { code, message, errno, operation, remedy } = error;
    return { error: { code, message, errno, operation, remedy } };
  });
  console.log(JSON.stringify(result));
}
