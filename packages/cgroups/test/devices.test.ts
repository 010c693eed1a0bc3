import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileDeviceProgram } from '../src/device-program.js';
import {
  allowsDevice,
  type DeviceRule,
  defaultDeviceRules,
  devicePolicy,
  deviceWritesV1,
} from '../src/device-rules.js';
import { CgroupError } from '../src/error.js';
import { runDeviceProgram } from './ebpf-interpreter.js';

const rule: fc.Arbitrary<DeviceRule> = fc
  .record({
    allow: fc.boolean(),
    type: fc.constantFrom('char', 'block', 'all'),
    major: fc.option(fc.constantFrom(1, 5, 8), { nil: undefined }),
    minor: fc.option(fc.constantFrom(0, 3, 5), { nil: undefined }),
    access: fc.constantFrom('r', 'w', 'm', 'rw', 'rm', 'wm', 'rwm'),
  })
  .map(({ major, minor, ...rest }) => ({
    ...rest,
    ...(major !== undefined && { major }),
    ...(minor !== undefined && { minor }),
  }));
const rules = fc.array(rule, { maxLength: 8 });

const ACCESSES = ['r', 'w', 'm', 'rw', 'rwm'] as const;
const REQUESTS = (['char', 'block'] as const).flatMap((type) =>
  [1, 5, 8, 9].flatMap((major) =>
    [0, 3, 5, 6].flatMap((minor) => ACCESSES.map((access) => ({ type, major, minor, access }))),
  ),
);
const SINGLE = REQUESTS.filter(({ access }) => access.length === 1);

describe('device rules', () => {
  it('refuse what no rule names, and the last that names a device wins', () => {
    const device = { type: 'char', major: 10, minor: 229, access: 'r' } as const;
    expect(allowsDevice([], device)).toBe(false);
    const list: DeviceRule[] = [
      { allow: true, type: 'char', major: 10 },
      { allow: false, type: 'char', major: 10, minor: 229, access: 'w' },
    ];
    expect(allowsDevice(list, device)).toBe(true);
    expect(allowsDevice(list, { ...device, access: 'rw' })).toBe(false);
    expect(allowsDevice(list.toReversed(), { ...device, access: 'rw' })).toBe(true);
  });

  it('by default allow /dev/null and making files, not disks', () => {
    expect(allowsDevice(defaultDeviceRules, { type: 'char', major: 1, minor: 3, access: 'rw' })).toBe(true);
    expect(allowsDevice(defaultDeviceRules, { type: 'block', major: 8, minor: 0, access: 'm' })).toBe(true);
    expect(allowsDevice(defaultDeviceRules, { type: 'block', major: 8, minor: 0, access: 'r' })).toBe(false);
    expect(allowsDevice(defaultDeviceRules, { type: 'char', major: 1, minor: 1, access: 'r' })).toBe(false);
  });

  it('become an eBPF program that decides the same for every request', () => {
    fc.assert(
      fc.property(rules, (list) => {
        const program = compileDeviceProgram(list);
        const wrong = REQUESTS.filter((r) => runDeviceProgram(program, r) !== allowsDevice(list, r));
        expect(wrong).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('become a v1 default with exceptions that decides the same, or are refused', () => {
    let held = 0;
    fc.assert(
      fc.property(rules, (list) => {
        const policy = devicePolicy(list);
        if (!policy) return;
        held++;
        const exceptions = policy.exceptions.map((set): DeviceRule => ({ ...clean(set), allow: true }));
        const wrong = SINGLE.filter((r) => (allowsDevice(exceptions, r) !== policy.allow) !== allowsDevice(list, r));
        expect(wrong).toEqual([]);
      }),
      { numRuns: 300 },
    );
    expect(held).toBeGreaterThan(50);
  });

  it('are spelled for v1 as the kernel lists them', () => {
    const policy = devicePolicy([
      { allow: true, type: 'all' },
      { allow: false, type: 'all' },
      { allow: true, type: 'char', major: 1, minor: 3, access: 'w' },
      { allow: true, type: 'char', major: 1, minor: 3, access: 'r' },
      { allow: true, type: 'block', access: 'm' },
    ]);
    expect(policy && deviceWritesV1(policy).map(({ file, value }) => `${file}=${value}`)).toEqual([
      'devices.deny=a',
      'devices.allow=c 1:3 rw',
      'devices.allow=b *:* m',
    ]);
  });

  it('that make no sense are refused', () => {
    const wrong: DeviceRule[] = [
      { allow: true, type: 'char', access: '' },
      { allow: true, type: 'char', major: 4096 },
      { allow: true, type: 'char', minor: -1 },
    ];
    for (const bad of wrong) expect(() => compileDeviceProgram([bad])).toThrow(CgroupError);
    expect(() => compileDeviceProgram(Array.from({ length: 501 }, () => ({ allow: true, type: 'char' })))).toThrow(
      /500/,
    );
  });
});

function clean({
  type,
  major,
  minor,
  access,
}: {
  type: 'char' | 'block';
  major: number | undefined;
  minor: number | undefined;
  access: string;
}) {
  return { type, access, ...(major !== undefined && { major }), ...(minor !== undefined && { minor }) };
}
