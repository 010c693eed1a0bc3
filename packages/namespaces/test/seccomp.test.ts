import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Capability,
  compileSeccomp,
  DEFAULT_SECCOMP_REFUSALS,
  defaultSeccompProfile,
  NamespaceError,
  type SeccompAction,
  type SeccompArgument,
  type SeccompProfile,
} from '../src/index.js';
import { ARCHITECTURES, isSeccompArch } from '../src/seccomp-architectures.js';
import { numbersOf, syscallNames, syscallNumber } from '../src/syscalls.js';
import { type Call, interpret } from './bpf-interpreter.js';

const X86 = 0xc000003e;
const ARM = 0xc00000b7;
const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const LAST_KNOWN_SYSCALL = Math.max(...numbersOf('x86_64').values());
const errno = (number: number): number => 0x50000 + number;

function call(name: string, ...args: readonly bigint[]): Call {
  return { nr: syscallNumber(name, 'x86_64') ?? -1, arch: X86, args: [...args, 0n, 0n, 0n, 0n, 0n, 0n].slice(0, 6) };
}

function verdict(profile: SeccompProfile, name: string, ...args: readonly bigint[]): number {
  return interpret(compileSeccomp(profile), call(name, ...args));
}

describe('the call numbers', () => {
  it('are those of the architectures', () => {
    const some = {
      read: [0, 63, 3, 0x4000_0000, 3, 63, 3, 5000],
      execve: [59, 221, 11, 0x4000_0208, 11, 221, 11, 5057],
      open: [2, undefined, 5, 0x4000_0002, 5, undefined, 5, 5002],
      clone3: [435, 435, 435, 0x4000_01b3, 435, 435, 435, 5435],
      socketcall: [undefined, undefined, 102, undefined, undefined, undefined, 102, undefined],
      set_tls: [undefined, undefined, undefined, undefined, 0xf0005, undefined, undefined, undefined],
    };
    const archs = ['x86_64', 'aarch64', 'x86', 'x32', 'arm', 'riscv64', 's390x', 'mips64'] as const;
    for (const [name, numbers] of Object.entries(some)) {
      expect(
        archs.map((arch) => syscallNumber(name, arch)),
        name,
      ).toEqual(numbers);
    }
  });

  it('are each given to one call of an architecture only', () => {
    for (const arch of Object.keys(ARCHITECTURES).filter(isSeccompArch)) {
      const numbers = [...numbersOf(arch).values()];
      expect(numbers.length).toBeGreaterThan(300);
      expect(new Set(numbers).size, arch).toBe(numbers.length);
    }
  });
});

describe('the default profile', () => {
  const profile = defaultSeccompProfile();

  it('lets ordinary programs work', () => {
    for (const name of [
      'read',
      'write',
      'execve',
      'openat',
      'mmap',
      'futex',
      'exit_group',
      'fork',
      'wait4',
      'getrandom',
      'rseq',
    ]) {
      expect(verdict(profile, name), name).toBe(ALLOW);
    }
  });

  it('refuses what reaches past the sandbox', () => {
    const refused = `mount umount2 pivot_root unshare setns bpf perf_event_open init_module finit_module kexec_load keyctl add_key
      request_key userfaultfd io_uring_setup open_by_handle_at reboot swapon settimeofday ptrace_ acct chroot move_mount fsopen
      open_tree mount_setattr sethostname iopl ioperm kcmp syslog quotactl`;
    for (const name of refused.split(/\s+/).filter((n) => syscallNames().has(n)))
      expect(verdict(profile, name), name).toBe(errno(1));
  });

  it('says ENOSYS to clone3 and to calls that it has never heard of, so that C libraries fall back', () => {
    expect(verdict(profile, 'clone3')).toBe(errno(38));
    const program = compileSeccomp(profile);
    expect(interpret(program, { ...call('read'), nr: LAST_KNOWN_SYSCALL + 1 })).toBe(errno(38));
    expect(interpret(program, { ...call('read'), nr: 0x3fffffff })).toBe(errno(38));
  });

  it('lets threads and processes be made, but no namespaces', () => {
    expect(verdict(profile, 'clone', 0x3d0f00n)).toBe(ALLOW); // what pthread_create asks for
    expect(verdict(profile, 'clone', 0x11n)).toBe(ALLOW); // what fork asks for
    for (const flag of [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n]) {
      expect(verdict(profile, 'clone', flag | 0x11n)).toBe(errno(1));
    }
  });

  it('refuses to type into a terminal, whatever the upper half of the argument says', () => {
    expect(verdict(profile, 'ioctl', 0n, 0x5412n)).toBe(errno(1));
    expect(verdict(profile, 'ioctl', 0n, 0x1_0000_5412n)).toBe(errno(1));
    expect(verdict(profile, 'ioctl', 0n, 0x541cn)).toBe(errno(1));
    expect(verdict(profile, 'ioctl', 0n, 0x5413n)).toBe(ALLOW);
  });

  it('refuses sockets to the hypervisor and to the ciphers of the kernel, and allows the others', () => {
    expect(verdict(profile, 'socket', 40n)).toBe(errno(1));
    expect(verdict(profile, 'socket', 0xffff_ffff_0000_0028n)).toBe(errno(1));
    expect(verdict(profile, 'socket', 38n)).toBe(errno(1));
    expect(verdict(profile, 'socket', 2n)).toBe(ALLOW);
    expect(verdict(profile, 'socket', 39n)).toBe(ALLOW);
  });

  it('kills what comes through another architecture or the x32 interface', () => {
    const program = compileSeccomp(profile);
    expect(interpret(program, { ...call('read'), arch: 0x40000003 })).toBe(KILL);
    expect(interpret(program, { ...call('read'), nr: 0x40000000 })).toBe(KILL);
    expect(interpret(program, { ...call('read'), nr: 0xfffffffe })).toBe(KILL);
    expect(interpret(compileSeccomp(profile, ['aarch64']), call('read'))).toBe(KILL);
  });

  it('judges aarch64 by its own numbers', () => {
    const program = compileSeccomp(profile);
    const on = (nr: number) => interpret(program, { nr, arch: ARM, args: [0n, 0n, 0n, 0n, 0n, 0n] });
    expect([on(63), on(221), on(40), on(97), on(220)]).toEqual([ALLOW, ALLOW, errno(1), errno(1), ALLOW]);
  });

  it('gives back what a kept capability stands for', () => {
    const pairs: readonly (readonly [Capability, string])[] = [
      ['CAP_SYS_ADMIN', 'mount'],
      ['CAP_SYS_CHROOT', 'chroot'],
      ['CAP_SYS_TIME', 'settimeofday'],
      ['CAP_SYS_MODULE', 'finit_module'],
      ['CAP_SYS_PTRACE', 'kcmp'],
    ];
    for (const [capability, name] of pairs) {
      expect(verdict(profile, name), name).toBe(errno(1));
      expect(verdict(defaultSeccompProfile({ capabilities: [capability] }), name), name).toBe(ALLOW);
    }
    expect(verdict(defaultSeccompProfile({ capabilities: ['CAP_SYS_ADMIN'] }), 'clone', 0x10000000n)).toBe(ALLOW);
  });

  it('has a reason for every call that it refuses, and refuses every call that it has a reason for', () => {
    const program = compileSeccomp(profile);
    const some = new Set(DEFAULT_SECCOMP_REFUSALS.filter((r) => r.when !== undefined).flatMap((r) => r.syscalls));
    const whole = new Set(DEFAULT_SECCOMP_REFUSALS.filter((r) => r.when === undefined).flatMap((r) => r.syscalls));
    for (const [arch, audit] of [
      ['x86_64', X86],
      ['aarch64', ARM],
    ] as const) {
      for (const [name, nr] of numbersOf(arch)) {
        const verdicts = [0n, 38n, 0x5412n, (1n << 64n) - 2n].map((a) =>
          interpret(program, { nr, arch: audit, args: [a, a, a, a, a, a] }),
        );
        const isAllowed = verdicts.every((v) => v === ALLOW);
        const isRefused = verdicts.every((v) => v === errno(name === 'clone3' ? 38 : 1));
        expect([isAllowed, isRefused], `${arch} ${name}`).toEqual([
          !some.has(name) && !whole.has(name),
          whole.has(name),
        ]);
      }
    }
  });

  it('gives back whatever a reason says that a capability gives back', () => {
    for (const { syscalls, unless = [], when } of DEFAULT_SECCOMP_REFUSALS) {
      for (const capability of when === undefined ? unless : []) {
        for (const name of syscalls.filter((n) => syscallNumber(n, 'x86_64') !== undefined)) {
          expect(verdict(defaultSeccompProfile({ capabilities: [capability] }), name), `${name} ${capability}`).toBe(
            ALLOW,
          );
        }
      }
    }
  });

  it('fits into the kernel with room to spare', () => {
    expect(compileSeccomp(profile).length / 8).toBeLessThan(700);
  });
});

describe('the compiler', () => {
  const allow: SeccompAction = { type: 'allow' };

  it('refuses what cannot be compiled', () => {
    const wrong: readonly SeccompProfile[] = [
      { rules: [{ syscalls: ['no_such_call'], action: allow }], otherwise: allow },
      { rules: [{ syscalls: ['toString'], action: allow }], otherwise: allow },
      { rules: [], otherwise: { type: 'errno', errno: -1 } },
      { rules: [], otherwise: { type: 'trace', data: 65_536 } },
      { rules: [], otherwise: { type: 'errno', errno: 4096 } },
      { rules: [{ syscalls: ['read'], action: allow, args: [{ index: 0, op: 'eq', value: -1n }] }], otherwise: allow },
      {
        rules: [{ syscalls: ['read'], action: allow, args: [{ index: 0, op: 'eq', value: 1n << 64n }] }],
        otherwise: allow,
      },
      {
        rules: [{ syscalls: ['read'], action: allow, args: [{ index: 0, op: 'masked-eq', value: 1n }] }],
        otherwise: allow,
      },
      {
        rules: [{ syscalls: ['read'], action: allow, args: [{ index: 0, op: 'masked-eq', value: 2n, mask: 1n }] }],
        otherwise: allow,
      },
    ];
    for (const profile of wrong) expect(() => compileSeccomp(profile)).toThrow(NamespaceError);
  });

  it('refuses a program that is too long for the kernel', () => {
    const args = (value: number): readonly SeccompArgument[] => [{ index: 0, op: 'eq', value: BigInt(value) }];
    const rules = Array.from({ length: 1500 }, (_, i) => ({ syscalls: ['read'], action: allow, args: args(i) }));
    expect(() => compileSeccomp({ rules, otherwise: { type: 'trap' } })).toThrow(/at most 4096/);
  });

  it('handles a profile that treats all calls alike', () => {
    for (const otherwise of [allow, { type: 'kill-process' }] as const) {
      const program = compileSeccomp({ rules: [], otherwise });
      for (const arch of [X86, ARM]) {
        expect(interpret(program, { ...call('read'), arch })).toBe(otherwise.type === 'allow' ? ALLOW : KILL);
      }
    }
  });

  it('reaches across more instructions than one jump can', () => {
    const rules = Array.from({ length: 300 }, (_, i) => ({
      syscalls: ['read'],
      action: { type: 'errno', errno: i + 1 } as const,
      args: [{ index: 0, op: 'eq', value: BigInt(i) } as const],
    }));
    const profile = { rules, otherwise: allow };
    for (const i of [0, 1, 150, 299]) expect(verdict(profile, 'read', BigInt(i))).toBe(errno(i + 1));
    expect(verdict(profile, 'read', 300n)).toBe(ALLOW);
    expect(verdict(profile, 'write', 1n)).toBe(ALLOW);
  });
});

const names = [...syscallNames()];
const word = fc.oneof(
  fc.bigInt(0n, 4n),
  fc.bigInt(0n, 0xffff_ffff_ffff_ffffn),
  fc.constantFrom(0xffff_ffffn, 1n << 32n, (1n << 64n) - 1n),
);
const action = fc.oneof(
  fc.constantFrom<SeccompAction>(
    { type: 'allow' },
    { type: 'kill-process' },
    { type: 'kill-thread' },
    { type: 'trap' },
    { type: 'log' },
    { type: 'notify' },
    { type: 'trace', data: 7 },
  ),
  fc.integer({ min: 1, max: 4095 }).map((number): SeccompAction => ({ type: 'errno', errno: number })),
);
const index = fc.constantFrom(0, 1, 2, 3, 4, 5);
const argument = fc.oneof(
  fc.record({ index, op: fc.constantFrom('eq', 'ne', 'lt', 'le', 'gt', 'ge'), value: word }),
  fc
    .record({ index, mask: word, bits: word })
    .map(({ index, mask, bits }) => ({ index, op: 'masked-eq' as const, mask, value: bits & mask })),
);
const profiles = fc.record({
  rules: fc.array(
    fc.record({
      syscalls: fc.array(fc.constantFrom(...names), { maxLength: 40 }),
      action,
      args: fc.array(argument, { maxLength: 3 }),
    }),
    { maxLength: 12 },
  ),
  otherwise: action,
  unknown: action,
}) as fc.Arbitrary<SeccompProfile>;

// The meaning of a profile, straight from its definition.
function expected(profile: SeccompProfile, { nr, arch, args }: Call): number {
  if (arch !== X86 && arch !== ARM) return KILL;
  if (arch === X86 && nr >= 0x40000000 && nr !== 0xffffffff) return KILL;
  const name = arch === X86 ? 'x86_64' : 'aarch64';
  if (nr > LAST_KNOWN_SYSCALL) return value(profile.unknown ?? profile.otherwise);
  const rule = profile.rules.find(
    (r) =>
      r.syscalls.some((n) => syscallNumber(n, name) === nr) &&
      (r.args ?? []).every((a) => holds(a, args[a.index] ?? 0n)),
  );
  return value(rule?.action ?? profile.otherwise);
}

function holds({ op, value: wanted, mask = 0n }: SeccompArgument, given: bigint): boolean {
  const tests = {
    eq: given === wanted,
    ne: given !== wanted,
    lt: given < wanted,
    le: given <= wanted,
    gt: given > wanted,
    ge: given >= wanted,
    'masked-eq': (given & mask) === wanted,
  };
  return tests[op];
}

function value(a: SeccompAction): number {
  const values = {
    allow: ALLOW,
    log: 0x7ffc0000,
    trap: 0x30000,
    'kill-thread': 0,
    'kill-process': KILL,
    notify: 0x7fc00000,
    trace: 0x7ff00007,
    errno: 0x50000,
  };
  return a.type === 'errno' ? errno(a.errno) : values[a.type];
}

describe('any profile', () => {
  it('gives the verdict that its rules define, on both architectures', () => {
    const calls = fc.array(
      fc.record({
        nr: fc.oneof(fc.integer({ min: 0, max: 480 }), fc.constantFrom(0x40000000, 0xffffffff, 0x3fffffff)),
        arch: fc.constantFrom(X86, ARM, X86, ARM, 0x40000003),
        args: fc.array(word, { minLength: 6, maxLength: 6 }),
      }),
      { minLength: 30, maxLength: 60 },
    );
    fc.assert(
      fc.property(profiles, calls, (profile, some) => {
        const program = compileSeccomp(profile);
        for (const one of some) expect(interpret(program, one)).toBe(expected(profile, one));
      }),
      { numRuns: 300 },
    );
  });

  it('gives the verdict that its rules define for the very calls and values that it names', () => {
    fc.assert(
      fc.property(profiles, fc.array(word, { minLength: 6, maxLength: 6 }), (profile, others) => {
        const program = compileSeccomp(profile);
        for (const rule of profile.rules) {
          const args = others.map((other, i) => rule.args?.find((a) => a.index === i)?.value ?? other);
          for (const name of rule.syscalls) {
            const nr = syscallNumber(name, 'x86_64') ?? -1;
            if (nr >= 0)
              expect(interpret(program, { nr, arch: X86, args })).toBe(expected(profile, { nr, arch: X86, args }));
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
