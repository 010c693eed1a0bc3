/** System calls that wait for a callback, in real sandboxes. */
import { execFile, execFileSync } from 'node:child_process';
import { constants, openSync, readdirSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  defaultSeccompProfile,
  type NamespaceError,
  planSandbox,
  readCaller,
  type SandboxSeccomp,
  type SystemCall,
  type SystemCallAnswer,
  startSandbox,
} from '../src/index.js';
import { calls, makeCallsRoot } from './calls.js';
import { cleanUp, hasPrograms, obstacle, outcome, releaseLauncher, sanitizedLauncher, workspace } from './fixtures.js';
import { itNeeds } from './requirement.js';

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = (await obstacle()) ?? (hasPrograms ? undefined : 'gcc is not installed');
const image = hindrance ? '' : makeCallsRoot();
const launchers = [
  ['the released launcher', process.env.CASEMATE_LAUNCHER],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;
const root = { type: 'bind', source: image } as const;

afterAll(cleanUp);

/** The default filter, but `callback` decides about `names`. */
function asking(
  names: readonly string[],
  notify: (call: SystemCall) => SystemCallAnswer | Promise<SystemCallAnswer>,
  more: Partial<SandboxSeccomp> = {},
): SandboxSeccomp {
  const profile = defaultSeccompProfile();
  return { ...profile, rules: [{ syscalls: names, action: { type: 'notify' } }, ...profile.rules], notify, ...more };
}

const GETPPID = '110';

describe('planning', () => {
  it('refuses rules that notify without a callback, and a callback without such rules', async () => {
    const caller = await readCaller();
    const notify = (): SystemCallAnswer => ({ type: 'unsafe-continue' });
    const { notify: _, ...without } = asking(['getppid'], notify);
    expect(() => planSandbox({ command: ['/calls'], seccomp: without }, caller)).toThrow(/notify callback/);
    const useless = { ...defaultSeccompProfile(), notify };
    expect(() => planSandbox({ command: ['/calls'], seccomp: useless }, caller)).toThrow(/rule that notifies/);
  });
});

describe.each(launchers)('%s', (_, launcher) => {
  const itRuns = itNeeds(!hindrance && launcher !== undefined, hindrance ?? 'the compiler has no sanitizers');

  const itRoot = itNeeds(
    !hindrance && launcher !== undefined && process.geteuid?.() === 0,
    hindrance ?? 'it needs root',
  );

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  itRuns('lets a callback give a value, an error number, or the call itself', async () => {
    const answers: readonly SystemCallAnswer[] = [
      { type: 'value', value: 4242 },
      { type: 'value', value: 1n << 40n },
      { type: 'errno', errno: 95 },
      { type: 'unsafe-continue' },
    ];
    const got = [];
    for (const answer of answers)
      got.push((await calls({ root, seccomp: asking(['getppid'], () => answer) }, 'raw', GETPPID)).stdout);
    expect(got).toEqual(['4242\n', `${1n << 40n}\n`, '-95\n', '0\n']);
  });

  itRuns('shows the callback which call it is, and its arguments', async () => {
    const seen: SystemCall[] = [];
    const seccomp = asking(['getppid'], (call) => {
      seen.push(call);
      return { type: 'value', value: 1 };
    });
    const sandbox = await startSandbox({
      root,
      seccomp,
      command: ['/calls', 'raw', GETPPID, '1', '0xffffffffffffffff', '3', '4', '5', '6'],
    });
    const pid = sandbox.pid;
    await outcome(sandbox);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ name: 'getppid', number: 110, architecture: 'x86_64', pid });
    expect(seen[0]?.args).toEqual([1n, (1n << 64n) - 1n, 3n, 4n, 5n, 6n]);
  });

  itRuns('decides about execve itself, before the command runs', async () => {
    let asked = 0;
    const seccomp = asking(['execve'], async (call) => {
      asked += (await call.readString(0)) === '/calls' ? 1 : 0;
      return { type: 'unsafe-continue' };
    });
    expect((await calls({ root, seccomp }, 'raw', GETPPID)).stdout).toBe('0\n');
    expect(asked).toBe(1);
    const refusing = asking(['execve'], () => ({ type: 'errno', errno: 13 }));
    await expect(startSandbox({ root, seccomp: refusing, command: ['/calls'] })).rejects.toMatchObject({
      code: 'operation-failed',
      errno: 'EACCES',
    });
  });

  itRuns('opens a named pipe without waiting for its other end, and the sandbox can still be ended', async () => {
    const pipe = `${workspace}/pipe-${Math.random()}`;
    execFileSync('mkfifo', [pipe]);
    const answers: string[] = [];
    for (const flags of [constants.O_RDONLY, constants.O_WRONLY]) {
      const seccomp = asking(['openat', 'open'], () => ({ type: 'open', path: pipe, flags }));
      await using sandbox = await startSandbox({ root, seccomp, command: ['/calls', 'open', '/anything'] });
      answers.push((await outcome(sandbox)).stdout);
    }
    expect(answers).toEqual(['3\n', '-6\n']); // ENXIO: nobody reads
    const plain = `${workspace}/plain-${Math.random()}`;
    writeFileSync(plain, 'text');
    const seccomp = asking(['openat', 'open'], () => ({ type: 'open', path: plain }));
    await using sandbox = await startSandbox({ root, seccomp, command: ['/calls', 'flags', '/anything'] });
    expect(Number((await outcome(sandbox)).stdout) & constants.O_NONBLOCK).toBe(0);
  });

  itRuns('reads text of the caller up to the end of its memory, and tells what it cannot read', async () => {
    const seen: unknown[] = [];
    const seccomp = asking(['mkdir'], async (call) => {
      const text = await call.readString(0).catch((error: NamespaceError) => `${error.code} ${error.errno}`);
      const short = await call.readString(0, { max: 3 }).catch((error: NamespaceError) => error.errno);
      seen.push(text, short);
      return { type: 'errno', errno: 1 };
    });
    await calls({ root, seccomp }, 'raw', '83', '@/dir/ä', '0');
    await calls({ root, seccomp }, 'raw', '83', '0x10', '0');
    expect(seen).toEqual(['/dir/ä', 'ENAMETOOLONG', 'call-failed EFAULT', 'EFAULT']);
  });

  itRuns('writes into the memory of the caller', async () => {
    const seccomp = asking(['readlink'], async (call) => {
      await call.write(call.args[1] ?? 0n, new TextEncoder().encode('/data/written\0'));
      return { type: 'value', value: 13 };
    });
    // The buffer is the text of the path itself, and the program's own name in the list of arguments follows it.
    const spec = { root, seccomp } as const;
    expect((await calls(spec, 'raw', '89', '@/a', '@................', '16')).stdout).toBe('13\n');
  });

  itRuns('opens a file of the outside for the caller', async () => {
    writeFileSync(`${workspace}/outside`, 'from outside\n');
    const seccomp = asking(['openat'], async (call) => {
      const path = await call.readString(1);
      if (path === '/special') return { type: 'open', path: `${workspace}/outside` };
      return path === '/missing' ? { type: 'open', path: `${workspace}/not-there` } : { type: 'unsafe-continue' };
    });
    expect((await calls({ root, seccomp }, 'open', '/special')).stdout).toBe('3\nfrom outside\n');
    expect((await calls({ root, seccomp }, 'open', '/missing')).stdout).toBe('-2\n');
  });

  itRuns('gives the caller a descriptor of this program', async () => {
    writeFileSync(`${workspace}/mine`, 'mine\n');
    const fd = openSync(`${workspace}/mine`, 'r');
    const seccomp = asking(['openat'], () => ({ type: 'descriptor', fd }));
    expect((await calls({ root, seccomp }, 'open', '/x')).stdout).toBe('3\nmine\n');
  });

  itRuns('is not fooled by a thread that changes the path: what was read is what is opened', async () => {
    writeFileSync(`${workspace}/harmless`, 'harmless\n');
    writeFileSync(`${workspace}/secret`, 'secret\n');
    const opening = (answer: (path: string) => SystemCallAnswer) =>
      asking(['openat'], async (call) => {
        const path = await call.readString(1);
        return path.endsWith('secret') ? { type: 'errno', errno: 13 } : answer(path);
      });
    const safe = opening((path) =>
      path.endsWith('harmless') ? { type: 'open', path: `${workspace}/harmless` } : { type: 'errno', errno: 2 },
    );
    expect((await calls({ root, seccomp: safe }, 'swap', '/harmless', '/secret')).stdout).toBe('0\n');
  });

  itRuns('denies with EPERM where the callback throws, rejects, or answers nonsense', async () => {
    const wrong: readonly (() => unknown)[] = [
      () => {
        throw new Error('no');
      },
      () => Promise.reject(new Error('no')),
      () => undefined,
      () => ({ type: 'errno', errno: 0 }),
      () => ({ type: 'open', path: 'relative' }),
      () => ({ type: 'nonsense' }),
    ];
    for (const callback of wrong) {
      const seccomp = asking(['getppid'], callback as () => SystemCallAnswer); // plain JavaScript may do this
      expect((await calls({ root, seccomp }, 'raw', GETPPID)).stdout).toBe('-1\n');
    }
  });

  itRuns('denies with EPERM what has no answer within the time limit, and tells the callback', async () => {
    let aborted = false;
    const seccomp = asking(
      ['getppid'],
      (call) =>
        new Promise(() => {
          call.signal.addEventListener('abort', () => {
            aborted = true;
          });
        }),
      { notifyTimeLimit: 200 },
    );
    expect((await calls({ root, seccomp }, 'raw', GETPPID)).stdout).toBe('-1\n');
    expect(aborted).toBe(true);
  });

  itRuns('answers 300 calls that wait at once', async () => {
    let waiting = 0;
    let most = 0;
    const seccomp = asking(['getppid'], async () => {
      most = Math.max(most, ++waiting);
      await new Promise((resolve) => setTimeout(resolve, 300));
      waiting--;
      return { type: 'value', value: 77 };
    });
    const { stdout } = await calls({ root, seccomp, rlimits: { nproc: { soft: 4096, hard: 4096 } } }, 'many', '300');
    expect(stdout).toBe('300\n');
    expect(most).toBeGreaterThan(100);
  });

  itRuns('ends with the sandbox while calls wait, and leaves nothing behind', async () => {
    const before = readdirSync('/proc/self/fd').length;
    let reached: () => void = () => undefined;
    const isReached = new Promise<void>((resolve) => {
      reached = resolve;
    });
    let aborted = false;
    const seccomp = asking(['getppid'], (call) => {
      call.signal.addEventListener('abort', () => {
        aborted = true;
      });
      reached();
      return new Promise(() => undefined);
    });
    const sandbox = await startSandbox({ root, seccomp, command: ['/calls', 'wait'] });
    await isReached;
    expect(await sandbox.stop({ grace: 0 })).toEqual({ code: null, signal: 'SIGKILL' });
    expect(aborted).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 3);
  });

  itRuns('binds and asks about processes that are started later too', async () => {
    const seccomp = asking(['getppid'], () => ({ type: 'value', value: 31 }));
    const landlock = {
      required: ['read-file', 'execute'],
      paths: [{ path: '/calls', allow: ['read-file', 'execute'] }],
    } as const;
    await using sandbox = await startSandbox({ root, seccomp, landlock, init: true, command: ['/calls', 'batch'] });
    const later = await sandbox.exec({ command: ['/calls', 'raw', GETPPID] });
    const denied = await sandbox.exec({ command: ['/calls', 'open', '/proc/self/status'] });
    let all = '';
    for await (const chunk of later.stdout ?? []) all += new TextDecoder().decode(chunk);
    for await (const chunk of denied.stdout ?? []) all += new TextDecoder().decode(chunk);
    expect(all).toBe('31\n-13\n');
  });

  itRoot('works for an ordinary user', async () => {
    writeFileSync(`${workspace}/public`, 'for all\n');
    const outfile = `${workspace}/ask.mjs`;
    await build({
      entryPoints: [`${import.meta.dirname}/programs/ask.ts`],
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
    const { stdout } = await promisify(execFile)(process.execPath, [outfile, image, `${workspace}/public`], {
      uid: 65534,
      gid: 65534,
      env: { CASEMATE_LAUNCHER: launcher },
    });
    expect(JSON.parse(stdout)).toEqual({ all: '3\nfor all\n', exit: { code: 0, signal: null } });
  });

  itRuns('works beside an init, and after the filter the command has no descriptor of it', async () => {
    const seccomp = asking(['getppid'], () => ({ type: 'value', value: 9 }));
    expect((await calls({ root, seccomp, init: true }, 'raw', GETPPID)).stdout).toBe('9\n');
    expect((await calls({ root, seccomp }, 'raw', '72', '3', '1')).stdout).toBe('-9\n'); // fcntl(3, F_GETFD)
    expect((await calls({ root, seccomp }, 'raw', '72', '4', '1')).stdout).toBe('-9\n');
  });
});
