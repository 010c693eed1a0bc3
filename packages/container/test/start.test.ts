import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type MeasurementLog, openMeasurementLog } from '@casemate/attestation';
import { readPcrs, Tpm } from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BuildOptions, type Container, RunLog, type StartContainerOptions, startContainer } from '../src/index.js';
import { removeTree } from '../src/remove-tree.js';
import { makeGuestOs, makeSigning, type Signing, workDirectory } from './fixture.js';

const launcher = new URL('../../namespaces/dist/bin/linux-x64/casemate-launcher', import.meta.url);
const reason = !existsSync(launcher)
  ? 'the launcher is not built: cd packages/namespaces && npx tsup && node native/build.mjs'
  : process.getuid?.() !== 0
    ? 'needs root'
    : undefined;

describe('the conditions of these tests', () => {
  it.skipIf(reason !== undefined && process.env.MUST_RUN !== '1')(`hold${reason ? ` (${reason})` : ''}`, () => {
    expect(reason).toBeUndefined();
  });
});

async function textOf(stream: Readable | null): Promise<string> {
  let text = '';
  for await (const chunk of stream ?? []) text += chunk;
  return text;
}

/** What the program inside says, and when it has said something: what it set up before that, a trap for instance, is in force. */
function hear({ stdout }: Container): { readonly spoke: Promise<unknown>; readonly text: Promise<string> } {
  const stream = stdout as Readable; // it is asked for
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  return { spoke: once(stream, 'data'), text: once(stream, 'end').then(() => text) };
}

function cgroupsOf(name: string): readonly string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const points = mounts.filter((line) => / - cgroup2? /.test(line)).map((line) => line.split(' ')[4] ?? '');
  return points.flatMap((point) => {
    const home = join(point, 'casemate');
    return existsSync(home) ? readdirSync(home).filter((each) => each.startsWith(`${name}.`)) : [];
  });
}

describe.skipIf(reason !== undefined)('a container', () => {
  let work: string;
  let signing: Signing;
  let tpm: Tpm;
  let log: MeasurementLog;
  beforeAll(async () => {
    signing = await makeSigning();
  });
  beforeEach(async () => {
    work = workDirectory();
    tpm = new Tpm(await openUtpm({ startup: true }));
    log = await openMeasurementLog(tpm);
  });
  afterEach(async () => {
    await tpm.close();
    await removeTree(work);
  });

  const prepare = async (init: string, more: Partial<BuildOptions> = {}) => {
    const { store, built } = await makeGuestOs(work, signing, init, {
      name: 'box',
      limits: { memoryMax: 64 << 20, pidsMax: 64 },
      ...more,
    });
    const options: StartContainerOptions = {
      guestOs: { store, name: 'box', version: 3 },
      trust: { anchors: signing.anchors },
      tpm,
      log,
      runLog: new RunLog(),
    };
    return { store, built, options };
  };
  const output = async (container: Container) => {
    const [text, errors, exit] = await Promise.all([
      textOf(container.stdout),
      textOf(container.stderr),
      container.wait(),
    ]);
    return { text, errors, exit };
  };
  const pcr11 = async () => Buffer.from((await readPcrs(tpm, { sha256: [11] })).sha256?.[11] ?? []).toString('hex');
  const leftovers = (directory: string) => readdirSync(directory).filter((name) => !name.startsWith('box-3.'));

  it('runs its init with ids, processes, host name and network of its own, without capabilities', async () => {
    const { options, store } = await prepare(
      'id; hostname; echo "pid $$"; ls /proc | grep -c "^[0-9]"; ls /sys/class/net; grep -E "^(Cap|NoNew|Seccomp:)" /proc/self/status; cat /proc/self/uid_map; echo "$HOME"',
    );
    const container = await startContainer(options);
    const { text, exit } = await output(container);
    expect(exit).toEqual({ code: 0, signal: null });
    const lines = text.split('\n').map((line) => line.trim().replace(/\s+/g, ' '));
    expect(lines.slice(0, 3)).toEqual(['uid=0 gid=0', 'box', 'pid 1']);
    expect(Number(lines[3])).toBeLessThan(6);
    expect(lines[4]).toBe('lo');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(lines).toContain(`${set}: 0000000000000000`);
    expect(lines).toContain('NoNewPrivs: 1');
    expect(lines).toContain('Seccomp: 2');
    expect(lines.find((line) => /^0 [1-9]\d+ 65536$/.test(line))).toBeDefined();
    expect(lines).toContain('/root');
    expect([container.state, leftovers(store.directory), cgroupsOf('box')]).toEqual(['STOPPED', [], []]);
  });

  it('is measured into PCR 11 before it starts, once for each start', async () => {
    const { options, built } = await prepare('true');
    const before = await pcr11();
    expect(before).toBe('0'.repeat(64));
    const container = await startContainer(options);
    const events = container.runLog.records.map(({ event }) => event);
    expect(events.indexOf('verified')).toBeLessThan(events.indexOf('measured'));
    expect(events.indexOf('measured')).toBeLessThan(events.indexOf('started'));
    await container.wait();
    expect(log.measurements.map(({ pcr, statement }) => [pcr, statement])).toEqual([
      [
        11,
        {
          type: 'guestos',
          name: 'box',
          version: 3,
          configDigest: built.configDigest,
          imageDigest: Uint8Array.from(Buffer.from(built.config.image.sha256, 'hex')),
        },
      ],
    ]);
    const once = await pcr11();
    expect(once).not.toBe(before);
    await (await startContainer(options)).wait();
    expect(await pcr11()).not.toBe(once);
    expect(log.measurements).toHaveLength(2);
  });

  it('keeps a record with times that only grows', async () => {
    const { options } = await prepare('exit 7');
    const container = await startContainer(options);
    expect(await container.wait()).toEqual({ code: 7, signal: null });
    const { records } = container.runLog;
    expect(records.map(({ sequence }) => sequence)).toEqual(records.map((_, i) => i));
    expect(records.every(({ time }, i) => time >= (records[i - 1]?.time ?? 0))).toBe(true);
    expect(records.flatMap((each) => (each.event === 'state' ? [each.state] : []))).toEqual([
      'STARTING',
      'RUNNING',
      'STOPPED',
    ]);
    expect(records).toContainEqual(expect.objectContaining({ event: 'exited', code: 7, signal: null }));
    expect(records).toContainEqual(
      expect.objectContaining({ event: 'limits', memoryMax: 64 << 20, pidsMax: 64, cpuMax: 1000 }),
    );
    expect(JSON.parse(container.runLog.toText())).toEqual(records);
  });

  it('runs another command in place of its init, with an init of ours and variables of the caller', async () => {
    const { options } = await prepare('echo wrong');
    const container = await startContainer({
      ...options,
      command: ['/bin/sh', '-c', 'echo "$GREETING from $$"'],
      env: { GREETING: 'hello' },
    });
    expect((await output(container)).text).toBe('hello from 2\n');
  });

  it('has a root that it can write to, and forgets what it wrote', async () => {
    const { options } = await prepare(
      'test -e /mark && echo "found"; echo x > /mark && cat /mark; id -u > /etc/os-release; cat /etc/os-release',
    );
    for (const _ of [1, 2]) expect((await output(await startContainer(options))).text).toBe('x\n0\n');
  });

  it('sees the owners that its image has', async () => {
    const { options } = await prepare('stat -c "%u:%g %a" /bin/busybox /owned', { owners: 'keep' });
    const { store } = options.guestOs;
    writeFileSync(join(work, 'rootfs/owned'), '', { mode: 0o640 });
    const { chownSync } = await import('node:fs');
    chownSync(join(work, 'rootfs/owned'), 33, 44);
    const { buildGuestOs } = await import('../src/index.js');
    const { signer, chain } = signing.authority;
    await buildGuestOs({
      name: 'box',
      version: 4,
      rootfs: join(work, 'rootfs'),
      init: { path: '/init' },
      signer,
      chain,
      store,
    });
    const { text } = await output(await startContainer({ ...options, guestOs: { store, name: 'box', version: 4 } }));
    expect(text).toBe('0:0 755\n33:44 640\n');
  });

  it.each([
    ['image', 'img', 5000],
    ['config', 'conf', 30],
    ['signature', 'sig', -1],
  ])('whose %s was tampered with does not start, is not measured, and leaves nothing', async (code, kind, at) => {
    const { options, store } = await prepare('echo I RAN');
    const path = join(store.directory, `box-3.${kind}`);
    const bytes = readFileSync(path);
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = (bytes[index] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    await expect(startContainer(options)).rejects.toMatchObject({ name: 'ContainerError', code });
    expect(await pcr11()).toBe('0'.repeat(64));
    expect(log.measurements).toEqual([]);
    const events = options.runLog?.records.map((each) =>
      each.event === 'refused' ? `refused ${each.code}` : each.event,
    );
    expect(events).toEqual(['state', `refused ${code}`]);
    expect([leftovers(store.directory), cgroupsOf('box')]).toEqual([[], []]);
  });

  it('that cannot be measured does not start and leaves nothing', async () => {
    const { options, store } = await prepare('echo I RAN');
    await tpm.close();
    await expect(startContainer(options)).rejects.toThrow();
    expect(options.runLog?.records.some(({ event }) => event === 'started')).toBe(false);
    expect([leftovers(store.directory), cgroupsOf('box')]).toEqual([[], []]);
    tpm = new Tpm(await openUtpm({ startup: true }));
  });

  it('whose init is not there does not start, says so, and leaves nothing', async () => {
    const { options, store } = await prepare('true', { init: { path: '/missing' } });
    await expect(startContainer(options)).rejects.toMatchObject({ name: 'ContainerError', code: 'start' });
    expect([leftovers(store.directory), cgroupsOf('box')]).toEqual([[], []]);
  });

  it('that requests capabilities starts only where they are granted, and has these alone', async () => {
    const { options } = await prepare('grep CapEff /proc/self/status', { capabilities: ['CAP_CHOWN'] });
    await expect(startContainer(options)).rejects.toMatchObject({ code: 'not-allowed' });
    expect(await pcr11()).toBe('0'.repeat(64));
    const container = await startContainer({ ...options, capabilities: ['CAP_CHOWN', 'CAP_KILL'] });
    expect((await output(container)).text.trim()).toBe('CapEff:\t0000000000000001');
  });

  it('for another machine does not start', async () => {
    const { options } = await prepare('true', { hardware: 'riscv64' });
    await expect(startContainer(options)).rejects.toMatchObject({ code: 'not-allowed' });
  });

  it('keeps the signed limits where the caller names others, or one that is undefined', async () => {
    const { options } = await prepare('true');
    // What a program in JavaScript passes on, or in TypeScript without exactOptionalPropertyTypes.
    const limits = { memoryMax: undefined, pidsMax: undefined, cpuMax: 500 } as unknown as { cpuMax: number };
    await output(await startContainer({ ...options, limits }));
    expect(options.runLog?.records).toContainEqual(
      expect.objectContaining({ event: 'limits', memoryMax: 64 << 20, pidsMax: 64, cpuMax: 500 }),
    );
  });

  it('has its limits: memory and processes', async () => {
    const { options } = await prepare('dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; echo "dd $?"');
    // The control: the same command with enough memory.
    const fed = await startContainer({ ...options, limits: { memoryMax: 256 << 20 } });
    expect((await output(fed)).text).toBe('dd 0\n');
    expect((await output(await startContainer(options))).text).toMatch(/^dd [1-9]/);
    const forks = 'i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all';
    const command = ['/bin/sh', '-c', forks] as const;
    expect((await output(await startContainer({ ...options, command }))).text).toBe('all\n');
    expect((await output(await startContainer({ ...options, command, limits: { pidsMax: 8 } }))).text).toBe('');
  });

  it('stops when told to: in time with its own consent, else by force; also when it is frozen', async () => {
    const { options, store } = await prepare('trap "echo bye; exit 3" TERM; echo up; while true; do sleep 0.05; done');
    const polite = await startContainer(options);
    const { spoke, text } = hear(polite);
    await spoke;
    expect(await polite.stop()).toEqual({ code: 3, signal: null });
    expect(await text).toBe('up\nbye\n');
    const stubborn = await startContainer({
      ...options,
      command: ['/bin/sh', '-c', 'trap "" TERM; echo deaf; while true; do sleep 1; done'],
    });
    await hear(stubborn).spoke;
    expect(await stubborn.stop({ grace: 100 })).toEqual({ code: null, signal: 'SIGKILL' });
    const frozen = await startContainer(options);
    await frozen.freeze();
    expect(frozen.state).toBe('FROZEN');
    await expect(frozen.freeze()).rejects.toMatchObject({ code: 'state' });
    await frozen.stop({ grace: 0 });
    expect([frozen.state, leftovers(store.directory), cgroupsOf('box')]).toEqual(['STOPPED', [], []]);
  });

  it('stands still while it is frozen and goes on afterwards', async () => {
    const { options } = await prepare('while true; do echo x; sleep 0.02; done');
    const states: string[] = [];
    await using container = await startContainer({ ...options, onState: (state) => states.push(state) });
    let count = 0;
    container.stdout?.on('data', (chunk: Buffer) => {
      count += chunk.length;
    });
    const later = () => new Promise((resolve) => setTimeout(resolve, 200));
    await later();
    await container.freeze();
    await later();
    const still = count;
    await later();
    expect(count).toBe(still);
    await container.unfreeze();
    await later();
    expect(count).toBeGreaterThan(still);
    expect(states).toEqual(['STARTING', 'RUNNING', 'FREEZING', 'FROZEN', 'RUNNING']);
  });

  it('ends when its signal is aborted', async () => {
    const { options, store } = await prepare('sleep 60');
    const abort = new AbortController();
    const container = await startContainer({ ...options, signal: abort.signal });
    abort.abort();
    expect((await container.wait()).signal).toBe('SIGKILL');
    expect(leftovers(store.directory)).toEqual([]);
  });

  it('of a GuestOS whose measurement is the digest of what runs, byte for byte', async () => {
    const { options, store, built } = await prepare('true');
    await (await startContainer(options)).wait();
    const image = readFileSync(store.imagePath(built.config));
    const [measurement] = log.measurements;
    expect(measurement?.statement).toMatchObject({
      imageDigest: Uint8Array.from(createHash('sha256').update(image).digest()),
      configDigest: Uint8Array.from(
        createHash('sha256')
          .update(readFileSync(join(store.directory, 'box-3.conf')))
          .digest(),
      ),
    });
  });
});
