/** What the escape corpus runs on: an image, an outside to attack, and sandboxes whose plans can be changed before they are performed. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  constants as files,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { constants } from 'node:os';
import { basename } from 'node:path';
import { type Cgroup, createCgroup } from '@casemate/cgroups';
import { readCaller } from '../../src/caller.js';
import { attachDeviceProgram } from '../../src/cgroup-services.js';
import { errnoName } from '../../src/errno.js';
import { type Operation, planSandbox, type SandboxSpec } from '../../src/index.js';
import { ServerProcess } from '../../src/launcher.js';
import { EVENT, type LauncherEvent } from '../../src/protocol.js';
import { workspace } from '../fixtures.js';
import type { Attempt, Change, Removal, World } from './attempts.js';

/** What came of an attempt: `success`, an error or a signal by its name, or the operation that could not be performed and its error. */
export type Result = string;

/** The program with all attempts, built or brought along; undefined without a C compiler. */
export function buildAttempts(): string | undefined {
  const path = `${workspace}/attempts`;
  const brought = process.env.CASEMATE_BROUGHT;
  if (brought !== undefined) copyFileSync(`${brought}/attempts`, path);
  else if (!compile([`${import.meta.dirname}/attempts.c`], path)) return undefined;
  chmodSync(path, 0o755);
  return path;
}

function compile(sources: readonly string[], output: string): boolean {
  const flags = ['-std=gnu11', '-w', '-O1', '-static', '-no-pie'];
  const headers = ['-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu'];
  const found = ['musl-gcc', 'gcc'].find((name) => spawnSync(name, ['--version']).status === 0);
  if (found === undefined) return false;
  const args = [...flags, ...(found === 'musl-gcc' ? headers : []), ...sources, '-o', output];
  execFileSync(found, args, { stdio: 'inherit' });
  return true;
}

/** What is taken out of the launcher's sources, where no description of a sandbox can take it away. */
const WEAKNESSES = {
  symlinks: [
    [
      'paths.c',
      'sys_openat2(root_fd, path, flags | O_CLOEXEC, 0, INSIDE)',
      'openat(root_fd, path[1] ? path + 1 : ".", (int)flags | O_CLOEXEC)',
    ],
    [
      'paths.c',
      'sys_openat2(parent, name, O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644, RESOLVE_BENEATH)',
      'openat(parent, name, O_CREAT | O_RDONLY | O_CLOEXEC, 0644)',
    ],
  ],
  descriptors: [
    ['command.c', 'syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC)', '0'],
    ['inside.c', 'syscall(SYS_close_range, (unsigned)report_fd + 1, ~0u, 0)', '0'],
    ['server.c', 'syscall(SYS_close_range, (unsigned)CONTROL_FD + 1, ~0u, 0)', '0'],
    ['server.c', 'syscall(SYS_close_range, (unsigned)(target_socket < 0 ? COMMAND_FD : TARGET_FD) + 1, ~0u, 0)', '0'],
  ],
} as const;

/** A launcher without one protection, built or brought along; undefined without a C compiler. */
export function weakLauncher(name: keyof typeof WEAKNESSES): string | undefined {
  const path = `${workspace}/launcher-${name}`;
  const brought = process.env.CASEMATE_BROUGHT;
  if (brought !== undefined) {
    copyFileSync(`${brought}/launcher-${name}`, path);
    return path;
  }
  const native = `${import.meta.dirname}/../../native`;
  const copy = `${workspace}/native-${name}`;
  cpSync(native, copy, { recursive: true });
  for (const [file, from, to] of WEAKNESSES[name]) {
    const source = readFileSync(`${copy}/${file}`, 'utf8');
    if (!source.includes(from)) throw new Error(`native/${file} has no longer "${from}": say here what it has instead`);
    writeFileSync(`${copy}/${file}`, source.replaceAll(from, to));
  }
  const sources = readdirSync(copy).filter((file) => file.endsWith('.c'));
  return compile(
    sources.map((file) => `${copy}/${file}`),
    path,
  )
    ? path
    : undefined;
}

/** A launcher that inherits a descriptor of the outside which nobody marked as not to be inherited. */
export function leakyLauncher(launcher: string, file: string): string {
  const path = `${workspace}/leaky-${basename(launcher)}`;
  writeFileSync(path, `#!/bin/sh\nexec 9<${file}\nexec ${launcher}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Everything that is attacked; {@link Outside.end} takes it away again. */
export class Outside {
  readonly world: World;
  readonly #children: ChildProcess[];
  readonly #servers: readonly Server[];
  readonly #cgroup: Cgroup;

  private constructor(world: World, children: ChildProcess[], servers: readonly Server[], cgroup: Cgroup) {
    this.world = world;
    this.#children = children;
    this.#servers = servers;
    this.#cgroup = cgroup;
  }

  /** Makes the image's traps, and the outside. */
  static async make(image: string, program: string): Promise<Outside> {
    setTraps(image, program);
    const outside = `${workspace}/outside`;
    for (const name of ['', '/devices', '/shared']) mkdirSync(outside + name);
    for (const [name, minor] of [
      ['null', '3'],
      ['zero', '5'],
    ] as const) {
      execFileSync('mknod', ['-m', '666', `${outside}/devices/${name}`, 'c', '1', minor]);
    }
    writeFileSync(`${outside}/secret`, 'of the outside\n');
    chmodSync(`${outside}/shared`, 0o777);
    const abstractName = `casemate-${process.pid}`;
    const loopback = await listen({ host: '127.0.0.1', port: 0 });
    const servers = [
      loopback,
      await listen({ path: `\0${abstractName}` }),
      await listen({ path: `${outside}/shared/socket` }),
    ];
    chmodSync(`${outside}/shared/socket`, 0o777);
    const address = loopback.address();
    const sleeper = spawn(program, ['sleep'], { stdio: 'ignore' });
    const cgroup = await createCgroup({ label: 'escape' });
    const world: World = {
      image,
      outside,
      program,
      victim: sleeper.pid ?? 0,
      address: addressIn(sleeper.pid ?? 0),
      port: typeof address === 'object' && address ? address.port : 0,
      abstractName,
      segment: Number(/\d+/.exec(execFileSync('ipcmk', ['-M', '4096', '-p', '0666'], { encoding: 'utf8' }))?.[0]),
      cgroup: cgroup.directories[0]?.path ?? '',
    };
    return new Outside(world, [sleeper], servers, cgroup);
  }

  /** A terminal of the outside, as a descriptor; the program that has it ends with the rest. */
  async terminal(): Promise<number> {
    const holder = spawn('script', ['-qec', 'sleep 600', '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#children.push(holder);
    for (;;) {
      const held = childrenOf(holder.pid ?? 0).map((pid) => readlinkSync(`/proc/${pid}/fd/0`));
      const name = held.find((path) => path.startsWith('/dev/pts/'));
      if (name !== undefined) return openSync(name, files.O_RDWR | files.O_NOCTTY);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Ends the processes and servers, and removes what is not in a directory of the tests. */
  async end(): Promise<void> {
    for (const child of this.#children) for (const pid of childrenOf(child.pid ?? 0)) process.kill(pid, 'SIGKILL');
    for (const child of this.#children) child.kill('SIGKILL');
    for (const server of this.#servers) server.close();
    spawnSync('ipcrm', ['-m', String(this.world.segment)]);
    await this.#cgroup.destroy();
  }
}

function setTraps(image: string, program: string): void {
  for (const name of ['attempts', 'attempts-set-uid']) copyFileSync(program, `${image}/bin/${name}`);
  chmodSync(`${image}/bin/attempts`, 0o755);
  chmodSync(`${image}/bin/attempts-set-uid`, 0o4755);
  writeFileSync(`${image}/etc/private`, "somebody else's\n");
  chmodSync(`${image}/etc/private`, 0o600);
  chownSync(`${image}/etc/private`, 2000, 2000);
  chmodSync(`${image}/tmp`, 0o1777);
}

function listen(at: { host: string; port: number } | { path: string }): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => resolve(server));
  });
}

function childrenOf(pid: number): readonly number[] {
  const tasks = existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`) : [];
  return tasks.flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
}

function addressIn(pid: number): string {
  return /^[0-9a-f]+/.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))?.[0] ?? '0';
}

/** Runs one attempt; `removal` is what it is run without. */
export async function runAttempt(outside: Outside, attempt: Attempt, removal: Removal): Promise<Result> {
  const { world } = outside;
  const spec = specOf(world, attempt, removal);
  const cgroup =
    attempt.limits && removal.cgroup !== false
      ? await createCgroup({ limits: attempt.limits, attachDevices: attachDeviceProgram })
      : undefined;
  try {
    const plan = planSandbox({ ...spec, ...(cgroup && { cgroup }) }, await readCaller());
    const operations = removal.plan?.(plan.operations) ?? plan.operations;
    return await perform(operations, attempt.terminal ? await outside.terminal() : undefined);
  } finally {
    await cgroup?.destroy();
    rmSync(`${world.image}/escaped`, { force: true });
    rmSync(`${world.outside}/shared/escaped`, { force: true });
  }
}

function specOf(world: World, attempt: Attempt, removal: Removal): SandboxSpec {
  const base: Change = { root: { type: 'overlay', lower: [world.image], changes: { type: 'memory' } } };
  const given = attempt.given?.(world) ?? {};
  const change = removal.spec?.(world) ?? {};
  const namespaces = { ...given.namespaces, ...change.namespaces };
  const { root, ...rest } = { ...base, ...given, ...change, namespaces };
  const args = attempt.args?.(world) ?? [];
  if (root === 'none') return { ...rest, command: [world.program, attempt.name, ...args] };
  return { ...rest, ...(root && { root }), command: ['/bin/attempts', attempt.name, ...args] };
}

/** Performs a plan with a launcher of its own, and tells how its command ended. */
export async function perform(operations: readonly Operation[], stdin?: number, launcher?: string): Promise<Result> {
  const path = launcher ?? process.env.CASEMATE_LAUNCHER ?? '';
  const server = await ServerProcess.start(path, [stdin ?? 'inherit', 'inherit', 'inherit']);
  const events: LauncherEvent[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      const streams = [stdin === undefined ? 'ignore' : 'inherit', 'ignore', 'inherit'] as const;
      server.request(
        { verb: 'start', streams, operations },
        {
          event: (event) => {
            events.push(event);
            if (event.type === EVENT.exited) resolve();
          },
          gone: (how) => (how instanceof Error ? reject(how) : resolve()),
        },
      );
    });
  } finally {
    await server.close();
  }
  return resultOf(operations, events);
}

function resultOf(operations: readonly Operation[], events: readonly LauncherEvent[]): Result {
  const failed = events.find(({ type }) => type === EVENT.failed);
  if (failed) return `${operations[failed.a]?.op ?? 'start'}: ${errnoName(failed.b)} (${failed.text})`;
  const exited = events.find(({ type }) => type === EVENT.exited);
  if (!exited) return 'no end was reported';
  return nameOf(exited.a === 1, exited.b);
}

/** The result that an exit status or a signal of the attempts stands for. */
export function nameOf(isSignal: boolean, number: number): Result {
  if (isSignal) return Object.entries(constants.signals).find(([, n]) => n === number)?.[0] ?? `signal ${number}`;
  if (number === 0) return 'success';
  return number > 100 ? errnoName(number - 100) : `exit ${number}`;
}
