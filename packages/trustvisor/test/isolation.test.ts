/** Where a PAL's secret is to be found and where not, and who can look: the memories of real processes, and their core dumps. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProgram, whyNoPrograms } from './programs.js';

const isRoot = process.getuid?.() === 0;
const root = fileURLToPath(new URL('..', import.meta.url));
const missing = { wasm: whyNoPrograms('wasm'), kvm: whyNoPrograms('kvm') };
const NOBODY = { uid: 65534, gid: 65534 };

/** The application: registers a PAL that makes a secret, apart from it or within it, tells whose processes there are, and stays. */
const APPLICATION = `
import { readFileSync } from 'node:fs';
import { memoryStore, openTrustvisor } from '@casemate/trustvisor';
import { remoteIsolate } from './streams.js';
const [where, engine, image, mask] = process.argv.slice(2);
const isolate = where === 'within' ? (await remoteIsolate()).isolate : undefined;
const trustvisor = await openTrustvisor({ store: memoryStore(), engine, insecureAllowEphemeral: true, ...(isolate && { isolate }) });
const pal = await trustvisor.register(readFileSync(image));
const { returnCode } = await pal.invoke(0, Buffer.from(mask, 'hex'));
console.log(JSON.stringify({ returnCode, isolate: trustvisor.pid, isHidden: trustvisor.isHidden }));
setInterval(() => undefined, 1000);
`;

interface Running {
  readonly application: ChildProcess;
  readonly isolate: number;
  readonly isHidden: boolean;
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => {
      try {
        const stat = readFileSync(`/proc/${each}/stat`, 'latin1');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid;
      } catch {
        return false;
      }
    });
}

describe("a PAL's secret", () => {
  let place: string;
  const running: ChildProcess[] = [];
  const mask = randomBytes(16).toString('hex');
  const program = (name: string) => join(place, name);

  beforeAll(async () => {
    // A place that another user may use too: the package as it is installed, and the application.
    place = mkdtempSync(join(tmpdir(), 'trustvisor-isolation-'));
    chmodSync(place, 0o755);
    for (const name of ['isolate.js', 'pal-worker.js', 'bin'])
      cpSync(join(root, 'dist', name), join(place, 'dist', name), { recursive: true });
    writeFileSync(
      join(place, 'package.json'),
      JSON.stringify({ type: 'module', imports: { '#isolate': './dist/isolate.js' } }),
    );
    await build({
      stdin: { contents: APPLICATION, resolveDir: join(root, 'test'), loader: 'ts' },
      tsconfig: join(root, 'tsconfig.json'),
      outfile: join(place, 'application.js'),
      ...{ bundle: true, format: 'esm', platform: 'node', target: 'node20', logLevel: 'silent' },
      banner: {
        js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
      },
    });
    for (const name of ['intruder', 'search']) {
      const source = join(root, 'test', 'programs', `${name}.c`);
      const { status, stderr } = spawnSync('gcc', ['-O3', source, '-o', program(name)], { encoding: 'utf8' });
      if (status !== 0) throw new Error(stderr);
    }
    for (const engine of ['wasm', 'kvm'] as const) {
      if (missing[engine] === '') writeFileSync(join(place, `${engine}.pal`), buildProgram(engine, ['secret.c']));
    }
  });
  afterAll(() => {
    for (const each of running) each.kill('SIGKILL');
    rmSync(place, { recursive: true, force: true });
  });

  async function start(where: 'apart' | 'within', engine: 'wasm' | 'kvm', user = {}): Promise<Running> {
    const image = join(place, `${engine}.pal`);
    const given = [join(place, 'application.js'), where, engine, image, mask];
    const cwd = mkdtempSync(join(place, 'cwd-'));
    chmodSync(cwd, 0o777);
    // With core dumps, as far as the limit allows.
    const dumping = ['-c', 'ulimit -c unlimited 2>/dev/null; exec "$@"', 'sh', process.execPath, ...given];
    const application = spawn('/bin/sh', dumping, { cwd, ...user, stdio: ['ignore', 'pipe', 'pipe'] });
    running.push(application);
    let complaint = '';
    application.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    for await (const line of createInterface({ input: application.stdout })) {
      const said = JSON.parse(line); // printed by the application above
      expect(said.returnCode).toBe(0);
      return { application, isolate: said.isolate ?? 0, isHidden: said.isHidden };
    }
    throw new Error(`the application ended: ${complaint}`);
  }

  async function stop({ application }: Running, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const ended = once(application, 'exit');
    application.kill(signal);
    await ended;
  }

  /** How often the secret is in the memory of a process, or in a file. */
  function search(where: number | string = 0): number {
    const { stdout, stderr } = spawnSync(program('search'), [mask, String(where)], { encoding: 'utf8' });
    if (!/^\d+\n$/.test(stdout)) throw new Error(`search ${where}: ${stdout}${stderr}`);
    return Number(stdout);
  }

  /** The core dump that the application leaves when it is aborted; `undefined` where this machine sends them elsewhere. */
  async function dump(each: Running): Promise<number | undefined> {
    const cwd = readdirSync(place).filter((name) => name.startsWith('cwd-'));
    const before = new Set(
      cwd.flatMap((name) => readdirSync(join(place, name)).map((file) => join(place, name, file))),
    );
    await stop(each, 'SIGABRT');
    const files = cwd.flatMap((name) => readdirSync(join(place, name)).map((file) => join(place, name, file)));
    const [core] = files.filter((file) => !before.has(file) && /core/.test(file));
    if (core === undefined) return undefined;
    const found = search(core);
    rmSync(core);
    return found;
  }

  it('is in the memory and in the core dump of an application that has the isolate within itself', {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(missing.wasm !== '', missing.wasm);
    const within = await start('within', 'wasm');
    expect(search(within.application.pid)).toBeGreaterThan(0);
    const dumped = await dump(within);
    if (dumped !== undefined) expect(dumped).toBeGreaterThan(0);
  });

  it.for(['wasm', 'kvm'] as const)(
    'is nowhere in the memory and the core dump of an application with its isolate apart (%s)',
    { timeout: 60_000 },
    async (engine, { skip }) => {
      skip(missing[engine] !== '', missing[engine]);
      const apart = await start('apart', engine);
      expect(search(apart.application.pid)).toBe(0);
      if (isRoot) {
        // It is where it belongs, so the search finds what there is to be found: the isolate, or the machine's monitor.
        const monitors = childrenOf(apart.isolate);
        const found = (engine === 'kvm' ? monitors : [apart.isolate]).map((pid) => search(pid));
        expect(Math.max(...found)).toBeGreaterThan(0);
        if (engine === 'kvm') expect(search(apart.isolate)).toBe(0);
        for (const pid of monitors) expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/VmLck:\s+[1-9]/);
      }
      const isolates = [apart.isolate, ...childrenOf(apart.isolate)];
      const dumped = await dump(apart);
      if (dumped !== undefined) expect(dumped).toBe(0);
      await expect.poll(() => isolates.filter(isAlive), { timeout: 5000 }).toEqual([]);
    },
  );

  describe('from another process of the same user', () => {
    /** The ways in that were open to the intruder, and how many he tried. */
    function waysInto(pid: number, by: readonly string[] = [], user = {}): { open: string[]; tried: number } {
      const [command = '', ...rest] = [...by, program('intruder'), String(pid)];
      const { stdout, stderr } = spawnSync(command, rest, { encoding: 'utf8', cwd: '/', ...user });
      const lines = stdout.trim().split('\n');
      if (lines.length < 10) throw new Error(`the intruder did not run: ${stderr}`);
      const open = lines.filter((line) => line.endsWith(' 0')).map((line) => line.split(' ')[0] ?? '');
      return { open, tried: lines.length };
    }

    const ALL = [
      ...['ptrace-attach', 'ptrace-seize', 'mem-read', 'mem-write', 'maps', 'environ', 'syscall'],
      ...['process-vm-readv', 'process-vm-writev', 'pidfd-getfd'],
    ];

    it.for(['wasm', 'kvm'] as const)(
      'cannot be reached in any of ten ways (%s), all of which lead into an ordinary process of that user',
      { timeout: 60_000 },
      async (engine, { skip }) => {
        skip(missing[engine] !== '', missing[engine]);
        // An ordinary user may use /dev/kvm where its group is given to him.
        const user = isRoot ? NOBODY : {};
        const { application, isolate, isHidden } =
          engine === 'kvm' && isRoot ? await start('apart', 'kvm') : await start('apart', engine, user);
        expect(isHidden).toBe(true);
        const asSameUser = engine === 'kvm' && isRoot ? { by: WITHOUT_PTRACE, user: {} } : { by: [], user };
        const ordinary = spawn('/bin/sleep', ['60'], { ...asSameUser.user, cwd: '/', stdio: 'ignore' });
        running.push(ordinary);
        const hidden = [isolate, ...childrenOf(isolate)];
        expect(hidden).toHaveLength(engine === 'kvm' ? 2 : 1);
        for (const pid of hidden) {
          const { open, tried } = waysInto(pid, asSameUser.by, asSameUser.user);
          expect(tried).toBe(ALL.length);
          // Addresses and environment (it has none) may be known to a root with CAP_PERFMON.
          expect(open.filter((way) => asSameUser.by.length === 0 || !['maps', 'environ'].includes(way))).toEqual([]);
        }
        if (asSameUser.by.length === 0) expect(waysInto(ordinary.pid ?? 0, [], user).open).toEqual(ALL);
        ordinary.kill('SIGKILL');
        await stop({ application, isolate, isHidden });
      },
    );
  });
});

const WITHOUT_PTRACE = ['setpriv', '--bounding-set', '-sys_ptrace', '--inh-caps', '-sys_ptrace'];

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
