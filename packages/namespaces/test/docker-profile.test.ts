/** The profile of podman and its kin, which is Docker's by descent, under crun and under ours: the same program, the same results. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect } from 'vitest';
import { type Capability, compileSeccomp, parseSeccompProfile, startSandbox } from '../src/index.js';
import { numbersOf, syscallNumber } from '../src/syscalls.js';
import { interpret } from './bpf-interpreter.js';
import { makeCallsRoot } from './calls.js';
import { cleanUp, hasPrograms, obstacle, releaseLauncher, workspace } from './fixtures.js';
import { itNeeds } from './requirement.js';

const PROFILE = process.env.SECCOMP_PROFILE ?? '/usr/share/containers/seccomp.json'; // such as the one of moby/profiles

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hasCrun = spawnSync('crun', ['--version']).status === 0;
const isRoot = process.geteuid?.() === 0;
const hindrance =
  (await obstacle()) ??
  (hasPrograms && hasCrun && existsSync(PROFILE) ? undefined : 'gcc, crun or the profile is not installed') ??
  (isRoot ? undefined : 'it needs root');
const image = hindrance ? '' : makeCallsRoot();
const itRuns = itNeeds(!hindrance, hindrance ?? '');
const itReads = itNeeds(existsSync(PROFILE), 'the profile is not installed');

afterAll(cleanUp);

interface DockerRule {
  readonly names: readonly string[];
  readonly includes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
  readonly excludes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
}

/** The conditions resolved without our parser, as the engine above crun does it. */
function forCrun(capabilities: readonly string[]): object {
  const { archMap: _, syscalls, ...rest } = JSON.parse(readFileSync(PROFILE, 'utf8'));
  const isMeant = ({ includes = {}, excludes = {} }: DockerRule): boolean =>
    (includes.caps ?? []).every((c) => capabilities.includes(c)) &&
    (includes.arches === undefined || includes.arches.includes('amd64')) &&
    !(excludes.caps ?? []).some((c) => capabilities.includes(c)) &&
    !(excludes.arches ?? []).includes('amd64');
  const rules = syscalls
    .filter(isMeant)
    .map(({ includes, excludes, comment, errno, args, ...rule }: Record<string, unknown>) => ({
      ...rule,
      ...(Array.isArray(args) && args.length > 0 && { args }),
    }));
  delete rest.defaultErrno;
  return { ...rest, architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'], syscalls: rules };
}

function underCrun(capabilities: readonly string[], input: string): string {
  const bundle = `${workspace}/bundle`;
  mkdirSync(bundle, { recursive: true });
  const ids = [{ containerID: 0, hostID: 0x4000_0000, size: 65_536 }];
  const sets = Object.fromEntries(
    ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'].map((set) => [set, capabilities]),
  );
  const config = {
    ociVersion: '1.0.0',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/calls', 'batch'],
      cwd: '/',
      noNewPrivileges: true,
      capabilities: sets,
    },
    root: { path: image, readonly: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
    ],
    linux: {
      namespaces: ['user', 'mount', 'pid', 'network', 'ipc', 'uts'].map((type) => ({ type })),
      uidMappings: ids,
      gidMappings: ids,
      seccomp: forCrun(capabilities),
    },
  };
  writeFileSync(`${bundle}/config.json`, JSON.stringify(config));
  const root = `${workspace}/crun`;
  const args = ['--root', root, '--cgroup-manager=disabled', 'run', '--bundle', bundle, `casemate-${process.pid}`];
  try {
    // It refuses a hybrid hierarchy whose second version has controllers; it needs none here, so that one is hidden from it.
    const hide =
      'if [ -d /sys/fs/cgroup/unified ]; then mount -t tmpfs none /sys/fs/cgroup/unified; fi; exec crun "$@"';
    const hidden = ['--mount', 'sh', '-c', hide, 'crun', ...args];
    const run = spawnSync('unshare', hidden, { input, encoding: 'utf8', timeout: 30_000 });
    if (run.status !== 0) throw new Error(`crun: status ${run.status}, signal ${run.signal}: ${run.stderr}`);
    return run.stdout;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function underOurs(capabilities: readonly Capability[], input: string): Promise<string> {
  const seccomp = parseSeccompProfile(readFileSync(PROFILE, 'utf8'), { capabilities, architecture: 'x86_64' });
  await using sandbox = await startSandbox({
    root: { type: 'bind', source: image },
    namespaces: { cgroup: false, time: false },
    ids: { type: 'shifted', base: 0x4000_0000 },
    command: ['/calls', 'batch'],
    capabilities,
    seccomp,
  });
  sandbox.stdin?.end(input);
  let all = '';
  for await (const chunk of sandbox.stdout ?? []) all += new TextDecoder().decode(chunk);
  return all;
}

// What cannot be called in the middle of a batch: it ends the program, stops it, forks it, or is a trap.
const NEVER = new Set(['rt_sigreturn', 'pause', 'fork', 'vfork', 'exit', 'exit_group', 'restart_syscall', 'uretprobe']);
const ALL = '0xffffffffffffffff';

function batch(): readonly string[] {
  const sweep = [...numbersOf('x86_64')]
    .filter(([name]) => !NEVER.has(name))
    .map(([, nr]) => `${nr} ${`${ALL} `.repeat(6)}`);
  const socket = [1, 2, 10, 16, 17, 38, 39, 40, 44].flatMap((family) =>
    [1, 2, 3].flatMap((type) =>
      [0, 9, 15].map((protocol) => `${syscallNumber('socket', 'x86_64')} ${family} ${type} ${protocol}`),
    ),
  );
  const personality = ['0', '8', '0x20000', '0x20008', '0x40000', '0x400000', '0xffffffff'].map((p) => `135 ${p}`);
  const clone = [0x1000_0000, 0x2_0000, 0x4000_0000, 0x0200_0000].map((flag) => `56 ${flag + 0x1_0000}`); // each refused by the kernel too
  const x32 = [0, 39, 520].map((nr) => `${0x4000_0000 + nr}`);
  return [...sweep, ...socket, ...personality, ...clone, ...x32, '468', '500', '1000'];
}

describe('the profile that Docker, podman and CRI-O derive theirs from', () => {
  itReads('compiles, with room to spare', () => {
    const profile = parseSeccompProfile(readFileSync(PROFILE, 'utf8'), { architecture: 'x86_64' });
    expect(profile.architectures).toEqual(['x86_64', 'x86', 'x32']);
    expect(compileSeccomp(profile).length / 8).toBeLessThan(1500);
    const arm = parseSeccompProfile(readFileSync(PROFILE, 'utf8'), { architecture: 'aarch64' });
    expect(arm.architectures).toEqual(['aarch64', 'arm']);
    expect(compileSeccomp(arm).length / 8).toBeLessThan(1500);
    const s390 = parseSeccompProfile(readFileSync(PROFILE, 'utf8'), { architecture: 's390x' });
    expect(compileSeccomp(s390).length / 8).toBeLessThan(1500);
  });

  itReads('decides about any call in at most 40 instructions', () => {
    const program = compileSeccomp(parseSeccompProfile(readFileSync(PROFILE, 'utf8'), { architecture: 'x86_64' }));
    let most = 0;
    for (let nr = 0; nr < 480; nr++) {
      const steps = { count: 0 };
      interpret(program, { nr, arch: 0xc000_003e, args: [0n, 0n, 0n, 0n, 0n, 0n] }, { steps });
      most = Math.max(most, steps.count);
    }
    expect(most).toBeLessThan(40);
  });

  for (const capabilities of [
    [],
    ['CAP_SYS_ADMIN', 'CAP_SYS_PTRACE', 'CAP_SYS_CHROOT', 'CAP_AUDIT_WRITE', 'CAP_SYSLOG'],
  ] as const) {
    itRuns(
      `gives every call the result that it has under crun, with ${capabilities.join(', ') || 'no capabilities'}`,
      async () => {
        const lines = batch();
        const input = `${lines.join('\n')}\n`;
        const theirs = underCrun(capabilities, input).trimEnd().split('\n');
        const ours = (await underOurs(capabilities, input)).trimEnd().split('\n');
        expect(theirs).toHaveLength(lines.length);
        const different = lines.flatMap((line, i) =>
          ours[i] === theirs[i] ? [] : [`${line}: crun ${theirs[i]}, ours ${ours[i]}`],
        );
        expect(different).toEqual([]);
        expect(new Set(theirs).size).toBeGreaterThan(8);
        if (capabilities.length > 0) return;
        const other = (await underOurs(['CAP_SYS_ADMIN'], input)).trimEnd().split('\n'); // the comparison bites
        expect(lines.filter((_, i) => other[i] !== theirs[i]).length).toBeGreaterThan(10);
      },
    );
  }
});
