/** What the tests of real sandboxes share: a root file system of busybox, launchers, another user. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { probe, type SandboxExit, type SandboxProcess, type SandboxSpec, startSandbox } from '../src/index.js';

const BUILD = `${import.meta.dirname}/../native/build.mjs`;
const RELEASE = `${import.meta.dirname}/../dist/bin/linux-x64/casemate-launcher`;

/** A directory for everything, readable for other users. */
export const workspace = mkdtempSync(`${tmpdir()}/casemate-namespaces-`);
chmodSync(workspace, 0o755);

/** Removes {@link workspace}. */
export function cleanUp(): void {
  rmSync(workspace, { recursive: true, force: true });
}

/** The launcher of the package, built if it is not there yet, where other users can execute it. */
export function releaseLauncher(): string {
  if (!existsSync(RELEASE)) execFileSync(process.execPath, [BUILD], { stdio: 'inherit' });
  const path = `${workspace}/launcher`;
  copyFileSync(RELEASE, path);
  chmodSync(path, 0o755);
  return path;
}

/** What a guest machine, which has no compiler, has brought along instead (scripts/guest.mjs): a directory. */
const brought = process.env.CASEMATE_BROUGHT;

/** By how many times the races are shorter: more than 1 on a slow machine, such as an emulated one (scripts/guest.mjs). */
export const slowness = Number(process.env.CASEMATE_SLOWNESS ?? 1);

/** Whether programs in C can be had. */
export const hasPrograms = brought !== undefined || spawnSync('gcc', ['--version']).status === 0;

/** Puts `test/programs/NAME.c`, compiled, at a path; returns whether that was possible. */
export function placeProgram(name: string, path: string): boolean {
  if (!hasPrograms) return false;
  if (brought !== undefined) copyFileSync(`${brought}/${name}`, path);
  else execFileSync('gcc', ['-O1', '-static', '-pthread', `${import.meta.dirname}/programs/${name}.c`, '-o', path]);
  chmodSync(path, 0o755);
  return true;
}

/** Whether the kernel is this one or a later one. */
export function isLinux(major: number, minor: number): boolean {
  const [own = 0, below = 0] = release().split(/[.-]/).map(Number);
  return own > major || (own === major && below >= minor);
}

/** The launcher under AddressSanitizer and UBSan, or undefined where the compiler has them not. */
export function sanitizedLauncher(): string | undefined {
  const path = `${workspace}/launcher-sanitized`;
  if (brought !== undefined) {
    copyFileSync(`${brought}/launcher-sanitized`, path);
    return path;
  }
  const built = spawnSync(process.execPath, [BUILD, '--sanitize', path], { encoding: 'utf8' });
  if (built.status === 0) return path;
  if (!/no C compiler|cannot find -l|libasan/.test(built.stderr)) throw new Error(built.stderr);
  return undefined;
}

/** Why no sandbox can be started here; undefined if it can. */
export async function obstacle(): Promise<string | undefined> {
  const { namespaces, overlay, proc, mountApi, seccomp } = await probe();
  const missing = [...Object.values(namespaces), overlay, proc, mountApi, seccomp].find((a) => !a.available);
  if (missing) return `${missing.reason}; ${missing.remedy}`;
  return busybox() ? undefined : 'no static busybox is installed (package busybox-static)';
}

function busybox(): string | undefined {
  return ['/usr/bin/busybox', '/bin/busybox'].find((path) => existsSync(path));
}

/** A root file system of busybox alone. `owned` says whom it belongs to. */
export function makeRoot(name: string): string {
  const root = `${workspace}/${name}`;
  for (const dir of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc', 'data'])
    mkdirSync(`${root}/${dir}`, { recursive: true });
  cpSync(busybox() ?? '', `${root}/bin/busybox`);
  chmodSync(`${root}/bin/busybox`, 0o755);
  const applets = execFileSync(`${root}/bin/busybox`, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets.filter((a) => a !== 'busybox')) symlinkSync('busybox', `${root}/bin/${applet}`);
  writeFileSync(`${root}/etc/greeting`, 'from the image\n');
  return root;
}

/** What a sandbox wrote, and how it ended. */
export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: SandboxExit;
}

/** Collects a stream as text. */
async function text(stream: AsyncIterable<Uint8Array> | null): Promise<string> {
  let all = '';
  for await (const chunk of stream ?? []) all += new TextDecoder().decode(chunk);
  return all;
}

/** Waits for the end of a sandbox and collects its output. */
export async function outcome(sandbox: SandboxProcess): Promise<Outcome> {
  const [stdout, stderr, exit] = await Promise.all([text(sandbox.stdout), text(sandbox.stderr), sandbox.wait()]);
  return { stdout, stderr, exit };
}

/** Runs a shell script in a sandbox. */
export async function script(spec: Omit<SandboxSpec, 'command'>, source: string): Promise<Outcome> {
  return outcome(await startSandbox({ ...spec, command: ['/bin/sh', '-c', source] }));
}

/** Kills a process and all below it, and tells how many there were; some end because others do. */
export function killFamily(pid: number): number {
  const family = familyOf(pid);
  for (const member of family) {
    try {
      process.kill(member, 'SIGKILL');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
  return family.length;
}

function familyOf(pid: number): readonly number[] {
  const tasks = existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`) : [];
  const children = tasks.flatMap((task) => childrenOfTask(`/proc/${pid}/task/${task}/children`));
  return [pid, ...children.flatMap(familyOf)];
}

function childrenOfTask(path: string): readonly number[] {
  try {
    return readFileSync(path, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return []; // it has just ended
  }
}

/** Bundles `test/programs/start.ts` for {@link asUser} and for killing. */
export async function bundleStarter(): Promise<string> {
  const outfile = `${workspace}/start.mjs`;
  await build({
    entryPoints: [`${import.meta.dirname}/programs/start.ts`],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile,
    logLevel: 'error',
    alias: {
      '@casemate/wire': `${import.meta.dirname}/../../wire/src/index.ts`,
      '@casemate/cgroups': `${import.meta.dirname}/../../cgroups/src/index.ts`,
      '@casemate/cgroups/owner': `${import.meta.dirname}/../../cgroups/src/owner.ts`,
    },
  });
  return outfile;
}

/** Runs jobs of `test/programs/start.ts` as uid and gid 65534. */
export async function asUser(
  starter: string,
  launcher: string,
  jobs: readonly unknown[],
): Promise<readonly Record<string, unknown>[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [starter, JSON.stringify(jobs)], {
    uid: 65534,
    gid: 65534,
    env: { CASEMATE_LAUNCHER: launcher },
  });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** Runs a job of `test/programs/start.ts` as root in a chroot, where the kernel refuses user namespaces: the machine seen through a directory. */
export function inChroot(starter: string, launcher: string, job: unknown): Record<string, unknown> {
  const jail = `${workspace}/jail`;
  mkdirSync(jail, { recursive: true });
  const enter = 'mount --rbind / "$0" && exec chroot "$0" "$@"';
  const program = [process.execPath, starter, JSON.stringify([job])];
  const args = ['--mount', '--propagation', 'private', '/bin/sh', '-c', enter, jail, ...program];
  const { stdout, stderr } = spawnSync('unshare', args, {
    encoding: 'utf8',
    env: { CASEMATE_LAUNCHER: launcher, PATH: PATHS },
  });
  if (stdout.trim() === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

const PATHS = '/usr/sbin:/usr/bin:/sbin:/bin';
