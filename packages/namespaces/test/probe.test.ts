import type { Availability } from '@casemate/cgroups';
import { afterAll, describe, expect, it } from 'vitest';
import { type Probe, probe } from '../src/index.js';
import { cleanUp, releaseLauncher } from './fixtures.js';

process.env.CASEMATE_LAUNCHER = releaseLauncher();
const result = await probe();

afterAll(cleanUp);

function parts({ namespaces, landlock, images, links, ...rest }: Probe): readonly (readonly [string, Availability])[] {
  const groups = [namespaces, { landlock }, images, links, rest];
  return groups.flatMap((group): (readonly [string, Availability])[] => Object.entries(group));
}

describe('probing', () => {
  it('answers for every kind of namespace and every ability', () => {
    expect(parts(result).map(([name]) => name)).toEqual([
      ...['user', 'mount', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'time'],
      ...['landlock', 'loop', 'squashfs', 'erofs', 'ext4', 'inside', 'outside'],
      ...['overlay', 'overlayMemory', 'proc', 'mountApi', 'seccomp', 'notifications', 'sessionKeyring'],
      ...['idMappedMounts', 'subordinateIds', 'cgroups'],
    ]);
  });

  it('gives a reason for each answer, and a remedy for each that is no', () => {
    for (const [name, { available, reason, remedy }] of parts(result)) {
      expect(reason, name).toMatch(/\w/);
      expect(remedy === undefined, name).toBe(available);
    }
  });

  it('knows the version of Landlock where there is one', () => {
    const { abi, available, rights } = result.landlock;
    expect(abi > 0).toBe(available);
    expect(rights.includes('execute')).toBe(abi >= 1);
    expect(rights.includes('truncate')).toBe(abi >= 3);
    expect(rights.includes('signal')).toBe(abi >= 6);
    expect(rights.length).toBe(abi >= 6 ? 20 : rights.length);
  });

  it('changes nothing: a second answer is the same', async () => {
    expect(await probe()).toEqual(result);
  });
});
