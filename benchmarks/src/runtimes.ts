/** The peers of `@casemate/namespaces`, each made to run a static `true` with the same isolation: bubblewrap, crun, runc. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileSeccomp, defaultSeccompProfile } from '@casemate/namespaces';

/** The limits of the starts with limits, in the names of `@casemate/cgroups`. */
export const LIMITS = { memoryMax: 64 << 20, pidsMax: 50, cpuMax: { quota: 80_000, period: 100_000 } } as const;

/** Where the root file system lies, and room for files of the peers. */
export interface Setting {
  readonly work: string;
  readonly root: string;
}

/** Starts bubblewrap. It has no time namespace; the rest of the isolation is the same. */
export function bubblewrap({ work, root }: Setting, command: readonly string[]): ChildProcess {
  const file = join(work, 'filter.bpf');
  if (!existsSync(file)) writeFileSync(file, compileSeccomp(defaultSeccompProfile()));
  const filter = openSync(file, 'r');
  const isolation = ['--unshare-all', '--die-with-parent', '--new-session', '--cap-drop', 'ALL', '--clearenv'];
  const mounts = ['--ro-bind', root, '/', '--proc', '/proc', '--dev', '/dev', '--ro-bind', '/sys', '/sys'];
  const args = [...isolation, ...mounts, '--seccomp', '3', ...command];
  const child = spawn('bwrap', args, { stdio: ['ignore', 'ignore', 'inherit', filter] });
  closeSync(filter);
  return child;
}

/** An OCI runtime with a bundle of ours. */
export class OciRuntime {
  readonly #name: string;
  readonly #state: string;
  readonly #bundle: string;
  #count = 0;

  /** `limits` is whether the containers have {@link LIMITS}. */
  constructor(name: string, { work, root }: Setting, command: readonly string[], limits: boolean) {
    this.#name = name;
    this.#bundle = join(work, `${name}-${command.length}-${limits}`);
    this.#state = join(this.#bundle, 'state');
    mkdirSync(this.#state, { recursive: true });
    writeFileSync(join(this.#bundle, 'config.json'), JSON.stringify(bundle(root, command, limits)));
  }

  /** Starts a container with `run`. */
  run(): ChildProcess {
    const id = `casemate-bench-${this.#name}-${process.pid}-${this.#count++}`;
    const own = this.#name === 'crun' ? ['--cgroup-manager', 'cgroupfs'] : [];
    const args = ['--root', this.#state, ...own, 'run', '--bundle', this.#bundle, id];
    return spawn(this.#name, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  }

  /** Ends whatever it has left. */
  deleteAll(): void {
    const list = spawnSync(this.#name, ['--root', this.#state, 'list', '-q'], { encoding: 'utf8' }).stdout ?? '';
    for (const id of list.split('\n').filter(Boolean)) {
      spawnSync(this.#name, ['--root', this.#state, 'delete', '--force', id]);
    }
  }
}

/** The runtime specification's configuration of the same isolation. */
function bundle(root: string, command: readonly string[], limits: boolean): unknown {
  const none: readonly string[] = [];
  const ids = [{ containerID: 0, hostID: 1_000_000, size: 65_536 }];
  const kinds = ['user', 'mount', 'pid', 'network', 'ipc', 'uts', 'cgroup'];
  const mount = (destination: string, type: string, options: readonly string[], source = type): unknown => ({
    destination,
    type,
    source,
    options,
  });
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: command,
      env: ['PATH=/bin'],
      cwd: '/',
      capabilities: { bounding: none, effective: none, inheritable: none, permitted: none, ambient: none },
      noNewPrivileges: true,
    },
    root: { path: root, readonly: true },
    hostname: 'sandbox',
    mounts: [
      mount('/proc', 'proc', ['nosuid', 'noexec', 'nodev']),
      mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
      mount('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
      mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']),
      mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
      mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
    ],
    linux: {
      uidMappings: ids,
      gidMappings: ids,
      namespaces: kinds.map((type) => ({ type })),
      resources: limits ? resources() : {},
      seccomp: seccomp(),
      maskedPaths: ['/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/scsi', '/sys/firmware'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

function resources(): unknown {
  return {
    memory: { limit: LIMITS.memoryMax },
    pids: { limit: LIMITS.pidsMax },
    cpu: { quota: LIMITS.cpuMax.quota, period: LIMITS.cpuMax.period },
  };
}

// The calls that our default allows whatever their arguments are, which is nearly all of it.
function seccomp(): unknown {
  const { rules } = defaultSeccompProfile();
  const names = rules.filter((r) => r.action.type === 'allow' && !r.args).flatMap((r) => r.syscalls);
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64'],
    syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }],
  };
}

/**
 * crun before 1.9 refuses a machine on which v1 and v2 both have controllers. While this holds the last one of v2 is taken by a v1
 * hierarchy, mounted where only a process of ours sees it. That process ends with its standard input, which the kernel closes when we
 * end, whatever ends us.
 */
export async function takeLastController(): Promise<() => Promise<void>> {
  const file = '/sys/fs/cgroup/unified/cgroup.controllers';
  const taken = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  if (taken === '' || taken.includes(' ')) return async () => undefined;
  // The kernel refuses it while any cgroup is in v2, which programs beside us may just have.
  const mount = `for i in $(seq 100); do mount -t cgroup -o ${taken} none "$0" 2>/dev/null && break; sleep 0.1; done`;
  const script = `mkdir -p "$0" && ${mount}; echo done; exec cat`;
  const place = `/tmp/casemate-bench-cgroup-${process.pid}`;
  const holder = spawn('unshare', ['--mount', '/bin/sh', '-c', script, place], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  return async () => {
    holder.stdin.end();
    await exitOf(holder);
    rmSync(place, { recursive: true, force: true });
  };
}

/** How a child ends. */
export function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

/** Those of the OCI runtimes that are installed and can run a container here; why another one cannot goes to standard error. */
export async function usableRuntimes(setting: Setting): Promise<readonly string[]> {
  const names = ['crun', 'runc'].filter((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0);
  const codes = await Promise.all(
    names.map((name) => exitOf(new OciRuntime(name, setting, ['/bin/true'], false).run())),
  );
  for (const [i, name] of names.entries()) if (codes[i] !== 0) process.stderr.write(`${name} runs no container here\n`);
  return names.filter((_, i) => codes[i] === 0);
}

/** Kilobytes that are these processes' alone: smaps_rollup, proc_pid_smaps(5). */
export function privateKilobytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return sum + [...text.matchAll(/^Private_\w+:\s+(\d+) kB$/gm)].reduce((all, [, kb]) => all + Number(kb), 0);
  }, 0);
}

/** The process and all below it but those at the end of the chain, which are the program itself. */
export function processesAbove(pid: number): readonly number[] {
  const children = childrenOf(pid);
  return children.length === 0 ? [] : [pid, ...children.flatMap(processesAbove)];
}

/** The process and all below it. */
export function processesFrom(pid: number): readonly number[] {
  return [pid, ...childrenOf(pid).flatMap(processesFrom)];
}

function childrenOf(pid: number): readonly number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
  );
}
