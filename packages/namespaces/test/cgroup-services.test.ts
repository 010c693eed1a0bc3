/** Device rules and pressure triggers of cgroup v2, which need the launcher: shown to bite, and to let go again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { type Cgroup, createCgroup, type DeviceRule, defaultDeviceRules, probeCgroups } from '@casemate/cgroups';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attachDeviceProgram, pressureTrigger } from '../src/cgroup-services.js';
import { cleanUp, releaseLauncher, sanitizedLauncher } from './fixtures.js';
import { itNeeds } from './requirement.js';

const { hierarchies, pressure } = await probeCgroups();
const v2 = hierarchies.find((h) => h.version === 2 && h.writable);
const launchers = [
  ['the released launcher', releaseLauncher()],
  ['the launcher under AddressSanitizer and UBSan', sanitizedLauncher()],
] as const;
const children: ChildProcess[] = [];
const attachDevices = attachDeviceProgram;

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  cleanUp();
});

/** The devices of `names` that a member can open for reading. */
async function opens(cgroup: Cgroup, names: string): Promise<string> {
  const attempt = `read go; for d in ${names}; do (: < /dev/$d) && echo $d; done`;
  const child = spawn('/bin/sh', ['-c', attempt], { stdio: ['pipe', 'pipe', 'ignore'] });
  children.push(child);
  await cgroup.add(child.pid ?? 0);
  child.stdin?.end('\n');
  let out = '';
  for await (const chunk of child.stdout ?? []) out += chunk;
  return out.trim().split('\n').join(' ');
}

describe.each(launchers)('%s', (_, launcher) => {
  const isRoot = process.geteuid?.() === 0;
  const itRoot = itNeeds(
    isRoot && v2 !== undefined && launcher !== undefined,
    'it needs root, a v2 hierarchy and the launcher',
  );
  const within = v2?.mountpoint ?? '';

  beforeAll(() => {
    process.env.CASEMATE_LAUNCHER = launcher;
  });

  itRoot('refuses members the devices that no rule allows, and takes other rules while they run', async () => {
    const devices: DeviceRule[] = [
      { allow: true, type: 'char', major: 1 },
      { allow: false, type: 'char', major: 1, minor: 5 },
    ];
    await using cgroup = await createCgroup({ within, limits: { devices }, attachDevices });
    expect(await opens(cgroup, 'null zero full')).toBe('null full');
    await cgroup.setLimits({ devices: [{ allow: true, type: 'all', access: 'r' }] });
    expect(await opens(cgroup, 'null zero full')).toBe('null zero full');
    await cgroup.setLimits({ devices: [] });
    expect(await opens(cgroup, 'null zero full')).toBe('');
    await cgroup.setLimits({ devices: defaultDeviceRules });
    expect(await opens(cgroup, 'null zero full mem')).toBe('null zero full');
  });

  itRoot('does not let a nested cgroup allow more', async () => {
    await using cgroup = await createCgroup({ within, limits: { devices: [] }, attachDevices });
    const [{ path = '' } = {}] = cgroup.directories;
    const inner = createCgroup({ within: path, limits: { devices: [{ allow: true, type: 'all' }] }, attachDevices });
    await expect(inner).rejects.toMatchObject({ code: 'limit-unavailable', limit: 'devices' });
  });

  itRoot('refuses a program that is none, with what the kernel said', async () => {
    await using cgroup = await createCgroup({ within });
    const [{ path = '' } = {}] = cgroup.directories;
    await expect(attachDeviceProgram(path, new Uint8Array(16))).rejects.toMatchObject({
      code: 'operation-failed',
      errno: 'EINVAL',
    });
    const allow = new Uint8Array([0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
    await expect(attachDeviceProgram('/tmp', allow)).rejects.toMatchObject({
      errno: 'EBADF',
      remedy: expect.any(String),
    });
    await expect(attachDeviceProgram('/none', allow)).rejects.toMatchObject({ errno: 'ENOENT' });
    await attachDeviceProgram(path, allow);
  });

  itNeeds(isRoot && pressure.available && launcher !== undefined, pressure.reason)(
    'tells when a pressure trigger of the kernel fires, and ends when the cgroup does',
    async () => {
      const cgroup = await createCgroup({ within });
      for (let i = 0; i < 4; i++) {
        const child = spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' });
        children.push(child);
        await cgroup.add(child.pid ?? 0);
      }
      const seen: bigint[] = [];
      const options = { resource: 'cpu', stall: 50_000, window: 2_000_000, trigger: pressureTrigger } as const;
      for await (const { stalled } of cgroup.watchPressure({ ...options, signal: AbortSignal.timeout(20_000) })) {
        seen.push(stalled);
        if (seen.length === 2) break;
      }
      expect(seen).toHaveLength(2);
      expect(seen[0]).toBeGreaterThanOrEqual(50_000n);
      const rest = cgroup.watchPressure({ ...options, resource: 'memory' })[Symbol.asyncIterator]();
      const end = rest.next();
      await new Promise((resolve) => setTimeout(resolve, 300));
      await cgroup.destroy();
      expect(await end).toMatchObject({ done: true });
      const bad = cgroup.watchPressure({ ...options, window: 60_000 });
      await expect(bad.next()).rejects.toThrow();
    },
  );
});

describe('without the launcher', () => {
  itNeeds(v2 !== undefined, 'there is no v2 hierarchy')(
    'device rules of v2 are refused, with what to pass',
    async () => {
      await expect(createCgroup({ within: v2?.mountpoint ?? '', limits: { devices: [] } })).rejects.toMatchObject({
        code: 'limit-unavailable',
        remedy: expect.stringContaining('attachDeviceProgram'),
      });
    },
  );
});

it('is tested with launchers that exist', () => expect(launchers[0][1]).toMatch(/launcher$/));
