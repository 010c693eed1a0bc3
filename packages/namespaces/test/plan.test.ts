import { encode, WireError } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSubordinate } from '../src/caller.js';
import { errnoName } from '../src/errno.js';
import { type Caller, NamespaceError, type Operation, planSandbox, printPlan, type SandboxSpec } from '../src/index.js';
import { PlanBytes, planPieces } from '../src/operations.js';
import { decodePlan, EventReader, encodePlan } from '../src/protocol.js';
import { remedyFor } from '../src/remedies.js';

const root: Caller = { uid: 0, gid: 0, allIds: true, shiftedBase: 0x1000_0000 };
const user: Caller = { uid: 1000, gid: 100, allIds: true, shiftedBase: 0x1000_0000 };
const ranged: Caller = {
  ...user,
  subordinate: {
    uids: [{ start: 100_000, count: 65_536 }],
    gids: [
      { start: 200_000, count: 1000 },
      { start: 300_000, count: 5 },
    ],
    newuidmap: '/usr/bin/newuidmap',
    newgidmap: '/usr/bin/newgidmap',
  },
};
const command = ['/bin/true'] as const;
const overlay = { type: 'overlay', lower: ['/srv/image'], changes: { type: 'memory' } } as const;

function names(spec: SandboxSpec, caller = user): readonly string[] {
  return planSandbox(spec, caller).operations.map((o) => o.op);
}

function find<K extends Operation['op']>(spec: SandboxSpec, caller: Caller, op: K): Extract<Operation, { op: K }> {
  const found = planSandbox(spec, caller).operations.find((o) => o.op === op);
  if (!found) throw new Error(`no ${op} in the plan`);
  return found as Extract<Operation, { op: K }>;
}

it('what plans have in common is the same bytes, written for the first time or copied', () => {
  const spec = { command: ['/bin/true'], root: { type: 'bind', source: '/srv/image' } } as const;
  const { operations } = planSandbox(spec, root);
  const whole = Buffer.from(encodePlan(operations));
  expect(Buffer.concat(planPieces(operations))).toEqual(whole);
  expect(Buffer.concat(planPieces(planSandbox(spec, root).operations))).toEqual(whole);
  // What is changed is not what they have in common.
  const changed = operations.map((o) => (o.op === 'umask' ? { ...o, mask: 0o077 } : o));
  expect(decodePlan(Buffer.concat(planPieces(changed)))).toContainEqual({ op: 'umask', mask: 0o077 });
  expect(() => planPieces(Array.from({ length: 4097 }, () => ({ op: 'stage' }) as const))).toThrow(WireError);
});

it('an error number has the name that the kernel gives it, not a second one of the C library', () => {
  expect([1, 11, 15, 95, 5000].map(errnoName)).toEqual(['EPERM', 'EAGAIN', 'ENOTBLK', 'EOPNOTSUPP', 'errno 5000']);
  expect(remedyFor('landlock', errnoName(95))).toMatch(/newer one/);
});

describe('a plan', () => {
  it('for an ordinary user maps the one id, gives up setgroups and drops everything before it executes', () => {
    expect(names({ command, root: overlay })).toEqual([
      'namespaces',
      'deny-setgroups',
      'uid-map',
      'gid-map',
      'cgroup-namespace',
      'time-namespace',
      'private-mounts',
      'stage',
      'overlay',
      ...['mount', 'mount', 'mount'], // proc, sysfs, dev
      'devices', // null … tty
      ...['mount', 'mount', 'mount'], // pts, shm, mqueue
      ...Array.from({ length: 5 }, () => 'read-only-path'),
      ...Array.from({ length: 11 }, () => 'mask'),
      'pivot-root',
      'hostname',
      'loopback-up',
      'new-session',
      'umask',
      'bounding-set',
      'ids',
      'session-keyring',
      'capabilities',
      'no-new-privileges',
      'change-directory',
      'seccomp',
      'exec',
    ]);
    expect(find({ command }, user, 'uid-map').ranges).toEqual([{ inside: 0, outside: 1000, count: 1 }]);
    expect(find({ command }, user, 'gid-map').ranges).toEqual([{ inside: 0, outside: 100, count: 1 }]);
  });

  it('for root shifts all ids, opens the layers outside, and becomes root of the inside before it mounts', () => {
    const list = names({ command, root: overlay }, root);
    expect(list.slice(0, 5)).toEqual(['namespaces', 'uid-map', 'gid-map', 'tree', 'become']);
    expect(find({ command }, root, 'uid-map').ranges).toEqual([{ inside: 0, outside: 0x1000_0000, count: 65_536 }]);
    expect(find({ command, root: overlay }, root, 'tree')).toMatchObject({
      source: '/srv/image',
      idMap: 1,
      slot: 0,
    });
    expect(find({ command, root: overlay }, root, 'overlay').lower).toEqual([
      { slot: 0, source: '/srv/image', below: '' },
    ]);
    expect(list).toContain('groups');
  });

  it('for a user with subordinate ids stacks the ranges and uses the set-uid helpers', () => {
    const spec: SandboxSpec = { command, ids: { type: 'subordinate' } };
    expect(find(spec, ranged, 'uid-map')).toMatchObject({ helper: '/usr/bin/newuidmap' });
    expect(find(spec, ranged, 'gid-map').ranges).toEqual([
      { inside: 0, outside: 100, count: 1 },
      { inside: 1, outside: 200_000, count: 1000 },
      { inside: 1001, outside: 300_000, count: 5 },
    ]);
    expect(names(spec, ranged)).not.toContain('deny-setgroups');
  });

  it('creates exactly the namespaces that are wanted', () => {
    const all = find({ command }, user, 'namespaces').flags;
    expect(all).toBe(0x7e02_0080);
    const few: SandboxSpec = {
      command,
      systemMounts: false,
      namespaces: { mount: false, net: false, time: false, cgroup: false, uts: false },
    };
    expect(find(few, user, 'namespaces').flags).toBe(0x3800_0000);
    const absent = ['pivot-root', 'stage', 'loopback-up', 'hostname', 'time-namespace', 'cgroup-namespace'];
    expect(names(few).filter((n) => absent.includes(n))).toEqual([]);
  });

  it('keeps only the capabilities that are asked for, in the bounding set too', () => {
    const spec: SandboxSpec = { command, capabilities: ['CAP_NET_BIND_SERVICE', 'CAP_CHOWN'] };
    expect(find(spec, user, 'bounding-set').keep).toBe(0x401n);
    const all = (mask: bigint) => ({ permitted: mask, effective: mask, inheritable: mask, ambient: mask });
    expect(find(spec, user, 'capabilities')).toMatchObject(all(0x401n));
    expect(find({ command }, user, 'capabilities')).toMatchObject(all(0n));
  });

  it('shows the caller its own file system read-only where no root is given', () => {
    expect(find({ command }, user, 'bind')).toMatchObject({
      target: '/',
      from: { source: '/' },
      recursive: 1,
      attributes: 7n,
    });
  });

  it('binds the outer /proc and /sys read-only where their namespaces are not created', () => {
    const spec: SandboxSpec = { command, namespaces: { pid: false, net: false } };
    const binds = planSandbox(spec, user).operations.filter((o) => o.op === 'bind');
    expect(binds.map((b) => `${b.from.source} ${b.attributes & 1n}`)).toEqual(
      expect.arrayContaining(['/proc 1', '/sys 1']),
    );
  });

  it('writes clock offsets with nanoseconds that are never negative', () => {
    const spec: SandboxSpec = { command, clockOffsets: { monotonic: -1n, boottime: 90_000_000_001n } };
    expect(find(spec, user, 'time-namespace').offsets).toBe('monotonic -1 999999999\nboottime 90 1\n');
  });

  it('prints one operation a line, without the bytes of the filter', () => {
    const text = printPlan(planSandbox({ command, root: overlay }, user));
    expect(text.split('\n')[0]).toBe('  0 namespaces {"flags":2114060416}');
    expect(text).toMatch(/seccomp \{"flags":0,"optionalFlags":0,"program":"\d+ bytes"\}/);
    expect(text).toMatch(/exec \{"argv":\["\/bin\/true"\],"env":\["PATH=/);
  });
});

describe('a description is refused', () => {
  const wrong: readonly (readonly [string, SandboxSpec, Caller?])[] = [
    ['with a command that needs a PATH', { command: ['true'] }],
    ['without a command', { command: [] as unknown as [string] }],
    ['with a relative working directory', { command, cwd: 'tmp' }],
    ['with a zero byte in an argument', { command: ['/bin/echo', 'a\0b'] }],
    ['with a zero byte in the environment', { command, env: { A: '\0' } }],
    ['with an environment name that is none', { command, env: { 'A=B': 'c' } }],
    ['with a host name but no uts namespace', { command, hostname: 'x', namespaces: { uts: false } }],
    ['with a host name that is none', { command, hostname: 'a b' }],
    ['with mounts but no mount namespace', { command, root: overlay, namespaces: { mount: false } }],
    ['with a mount target that climbs', { command, mounts: [{ type: 'tmpfs', target: '/a/../../b' }] }],
    ['with a mount over the root', { command, mounts: [{ type: 'tmpfs', target: '//' }] }],
    ['with a relative source', { command, mounts: [{ type: 'bind', source: 'etc', target: '/etc' }] }],
    ['with a user that the id map lacks', { command, user: { uid: 5, gid: 0 } }],
    ['with a group that the id map lacks', { command, user: { uid: 0, gid: 5 } }],
    [
      'with the user id that means "as it is" to the kernel',
      { command, user: { uid: 0xffff_ffff, gid: 0 }, namespaces: { user: false } },
    ],
    [
      'with the group id that means "as it is" to the kernel',
      { command, user: { uid: 0, gid: 0xffff_ffff }, namespaces: { user: false } },
    ],
    [
      'with a supplementary group below zero',
      { command, user: { uid: 0, gid: 0, groups: [-1] }, namespaces: { user: false } },
    ],
    ['with groups where setgroups is given up', { command, user: { uid: 0, gid: 0, groups: [0] } }],
    ['with shifted ids for an ordinary user', { command, ids: { type: 'shifted' } }],
    ['with subordinate ids where there are none', { command, ids: { type: 'subordinate' } }],
    [
      'with foreign ids for an ordinary user',
      { command, ids: { type: 'custom', uids: [{ inside: 0, outside: 0, count: 1 }], gids: [] } },
    ],
    ['with ids that overflow', { command, ids: { type: 'shifted', base: 0xffff_ff00 } }, root],
    [
      'with id-mapped mounts but without shifted ids',
      { command, mounts: [{ type: 'bind', source: '/a', target: '/b', idMapped: true }] },
    ],
    ['with a soft limit above the hard one', { command, rlimits: { nofile: { soft: 5, hard: 4 } } }],
    ['with a resource that is none', { command, rlimits: { files: { soft: 1, hard: 1 } } as never }],
    ['with a resource that every object has', { command, rlimits: { constructor: { soft: 1, hard: 1 } } as never }],
    ['with a capability that every object has', { command, capabilities: ['constructor' as never] }],
    ['with a capability that is none', { command, capabilities: ['CAP_ALL' as never] }],
    ['with an out-of-memory score out of range', { command, oomScoreAdj: 1001 }],
    [
      'with clock offsets but no time namespace',
      { command, clockOffsets: { monotonic: 1n }, namespaces: { time: false } },
    ],
    [
      'with an mqueue but no ipc namespace',
      { command, mounts: [{ type: 'mqueue', target: '/q' }], namespaces: { ipc: false } },
    ],
  ];

  for (const [what, spec, caller] of wrong) {
    it(what, () => {
      let thrown: unknown;
      try {
        planSandbox(spec, caller ?? user);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(NamespaceError);
      expect(thrown).toMatchObject({
        code: 'bad-spec',
        message: expect.stringMatching(/^plan (sandbox|ids): expected .* got /),
      });
    });
  }
});

describe('the encoding of plans', () => {
  const text = fc.string({ unit: 'binary' }).filter((s) => !s.includes('\0'));
  const specs = fc.record({
    command: fc.tuple(
      text.map((t) => `/${t}`),
      text,
    ),
    env: fc.dictionary(fc.stringMatching(/^[A-Z_]{1,8}$/), text),
    capabilities: fc.subarray(['CAP_CHOWN', 'CAP_SYS_ADMIN', 'CAP_CHECKPOINT_RESTORE'] as const),
    init: fc.boolean(),
    rlimits: fc.record({ core: fc.constant({ soft: 0, hard: 'unlimited' as const }) }),
    root: fc.constantFrom(overlay, { type: 'bind' as const, source: '/x' }, { type: 'tmpfs' as const, size: 1 }),
    mounts: fc.constantFrom([], [{ type: 'bind' as const, source: '/a', target: '/b', readOnly: false }]),
  });

  it('is undone by decoding', () => {
    fc.assert(
      fc.property(specs, fc.constantFrom(root, user), (spec, caller) => {
        const { operations } = planSandbox(spec, caller);
        expect(decodePlan(encodePlan(operations))).toEqual(operations);
      }),
      { numRuns: 50 },
    );
  });

  it('is refused when it is cut off anywhere', () => {
    const bytes = encode(PlanBytes, planSandbox({ command, seccomp: 'insecure-none' }, user).operations);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodePlan(bytes.subarray(0, length))).toThrow(WireError);
    }
  });

  it('has no room for a zero byte in text', () => {
    expect(() => encodePlan([{ op: 'hostname', name: 'a\0b' }])).toThrow(WireError);
  });
});

describe('events', () => {
  const bytes = (type: number, a: number, b: number, text: string): Uint8Array => {
    const body = new TextEncoder().encode(text);
    const view = new DataView(new ArrayBuffer(20 + body.length));
    [16 + body.length, 9, type, a, b].forEach((n, i) => {
      view.setUint32(i * 4, n, true);
    });
    new Uint8Array(view.buffer).set(body, 20);
    return new Uint8Array(view.buffer);
  };

  it('are read however the stream is cut', () => {
    const stream = new Uint8Array([...bytes(3, 77, 0, ''), ...bytes(2, 3, 13, '/etc'), ...bytes(4, 0, 5, '')]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 })), (sizes) => {
        const reader = new EventReader();
        const events = [];
        let at = 0;
        for (const size of [...sizes, stream.length]) {
          events.push(...reader.push(stream.slice(at, at + size)));
          at += size;
        }
        expect(events.map(({ type, a, b, text }) => [type, a, b, text])).toEqual([
          [3, 77, 0, ''],
          [2, 3, 13, '/etc'],
          [4, 0, 5, ''],
        ]);
      }),
    );
  });

  it('of no known type are refused', () => {
    expect(() => new EventReader().push(bytes(99, 0, 0, ''))).toThrow(WireError);
  });
});

describe('subordinate ids', () => {
  it('are found by name and by number', () => {
    const file = '# none\nalice:100000:65536\n1000:300000:10\nbob:5:5\nalice:x:1\n';
    expect(parseSubordinate(file, 1000, 'alice')).toEqual([
      { start: 100_000, count: 65_536 },
      { start: 300_000, count: 10 },
    ]);
    expect(parseSubordinate(file, 7, undefined)).toEqual([]);
  });
});
