/** Any profile: the parser refuses or reads it, the compiler refuses or compiles it, and what it compiles the kernel loads. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  compileSeccomp,
  defaultSeccompProfile,
  NamespaceError,
  parseSeccompProfile,
  type SeccompProfile,
} from '../src/index.js';
import { syscallNames } from '../src/syscalls.js';
import { cleanUp, hasPrograms, placeProgram } from './fixtures.js';
import { itNeeds } from './requirement.js';

const loader = `${tmpdir()}/casemate-load-filters-${process.pid}`;
const itLoads = itNeeds(hasPrograms && process.arch === 'x64', 'it needs gcc on x64');
afterAll(() => {
  rmSync(loader, { force: true });
  cleanUp();
});

const names = [...syscallNames()];
const word = fc.oneof(fc.bigInt(0n, 4n), fc.bigInt(0n, (1n << 64n) - 1n));
const argument = fc
  .record({
    index: fc.constantFrom(0, 1, 2, 3, 4, 5),
    op: fc.constantFrom('eq', 'ne', 'lt', 'le', 'gt', 'ge', 'masked-eq'),
    mask: word,
    value: word,
  })
  .map((a) => (a.op === 'masked-eq' ? { ...a, value: a.value & a.mask } : a));
const action = fc.oneof(
  fc.constantFrom('allow', 'log', 'trap', 'trace', 'notify', 'kill-thread', 'kill-process').map((type) => ({ type })),
  fc.integer({ min: 0, max: 4095 }).map((errno) => ({ type: 'errno', errno })),
);
const profiles = fc.record({
  rules: fc.array(
    fc.record({
      syscalls: fc.array(fc.constantFrom(...names), { maxLength: 300 }),
      action,
      args: fc.array(argument, { maxLength: 6 }),
    }),
    { maxLength: 60 },
  ),
  otherwise: action,
  unknown: action,
  otherArchitectures: action,
  architectures: fc.uniqueArray(
    fc.constantFrom('x86_64', 'x32', 'x86', 'aarch64', 'arm', 'riscv64', 'ppc64le', 'mipsel'),
    { minLength: 1 },
  ),
}) as unknown as fc.Arbitrary<SeccompProfile>;

function compiled(profile: SeccompProfile): Uint8Array | undefined {
  try {
    return compileSeccomp(profile);
  } catch (error) {
    if (error instanceof NamespaceError && /at most 4096/.test(error.message)) return undefined;
    throw error;
  }
}

describe('any profile', () => {
  itLoads('compiles to a program that the kernel loads, or is refused for its length', () => {
    placeProgram('load-filters', loader);
    const some = fc.sample(profiles, { numRuns: 150 }).map(compiled);
    const programs = [...some.filter((program) => program !== undefined), compileSeccomp(defaultSeccompProfile())];
    expect(programs.length).toBeGreaterThan(100);
    const sized = programs.flatMap((program) => [new Uint8Array(Uint32Array.of(program.length).buffer), program]);
    const results = execFileSync(loader, { input: Buffer.concat(sized), encoding: 'utf8' })
      .trim()
      .split('\n');
    expect(results).toEqual(programs.map(() => '0'));
    const broken = Buffer.concat([new Uint8Array(Uint32Array.of(8).buffer), new Uint8Array(8)]);
    expect(execFileSync(loader, { input: broken, encoding: 'utf8' }).trim()).toBe('22'); // the kernel does judge
  });

  it('is compiled or refused, but never longer than 4096 instructions', () => {
    fc.assert(
      fc.property(profiles, (profile) => {
        expect((compiled(profile)?.length ?? 0) / 8).toBeLessThanOrEqual(4096);
      }),
      { numRuns: 100 },
    );
  });
});

const text = fc.constantFrom(
  ...[
    'SCMP_ACT_ALLOW',
    'SCMP_ACT_ERRNO',
    'SCMP_ACT_KILL',
    'SCMP_CMP_EQ',
    'SCMP_CMP_MASKED_EQ',
    'SCMP_ARCH_X86_64',
    'SCMP_ARCH_NONE',
  ],
  ...[
    'read',
    'clone',
    'no_such_call',
    'CAP_CHOWN',
    'CAP_NONE',
    'amd64',
    '4.8',
    'x',
    '',
    'EPERM',
    'SECCOMP_FILTER_FLAG_LOG',
  ],
);
const leaf = fc.oneof(
  text,
  fc.string(),
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.bigInt(-1n, 1n << 65n),
);
const keys = fc.constantFrom(
  ...[
    'defaultAction',
    'defaultErrnoRet',
    'defaultErrno',
    'architectures',
    'archMap',
    'architecture',
    'subArchitectures',
    'syscalls',
  ],
  ...[
    'names',
    'name',
    'action',
    'errnoRet',
    'errno',
    'args',
    'index',
    'value',
    'valueTwo',
    'op',
    'includes',
    'excludes',
    'caps',
  ],
  ...['arches', 'minKernel', 'flags', '__proto__', 'toString'],
);
const { value: anything } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    leaf,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(keys, tie('value'), { maxKeys: 8 }),
  ),
}));
const likely = fc.record(
  {
    defaultAction: fc.constantFrom('SCMP_ACT_ERRNO', 'SCMP_ACT_ALLOW'),
    syscalls: fc.array(
      fc.record(
        {
          names: fc.oneof(fc.array(text), anything),
          action: fc.oneof(text, anything),
          args: fc.oneof(fc.array(fc.record({ index: leaf, op: text, value: leaf, valueTwo: leaf })), anything),
          includes: fc.oneof(fc.record({ caps: fc.array(text), arches: fc.array(text), minKernel: leaf }), anything),
          errnoRet: leaf,
        },
        { requiredKeys: ['names', 'action'] },
      ),
    ),
    flags: anything,
    archMap: anything,
    architectures: anything,
  },
  { requiredKeys: ['defaultAction', 'syscalls'] },
);

const sound = fc.record({
  defaultAction: fc.constantFrom('SCMP_ACT_ERRNO', 'SCMP_ACT_ALLOW'),
  syscalls: fc.array(
    fc.record({
      names: fc.array(fc.constantFrom('read', 'openat', 'clone3'), { minLength: 1 }),
      action: fc.constant('SCMP_ACT_LOG'),
    }),
    { maxLength: 4 },
  ),
});

describe('the profile parser', () => {
  it('reads or refuses anything, and what it has read can be compiled or refused', () => {
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(anything, likely, sound), (value) => {
        try {
          compileSeccomp(parseSeccompProfile(value, { architecture: 'x86_64', unknownNames: 'skip' }));
          read++;
        } catch (error) {
          if (!(error instanceof NamespaceError) || error.code !== 'bad-spec') throw error;
        }
      }),
      { numRuns: 3000 },
    );
    expect(read).toBeGreaterThan(0);
  });

  it('reads or refuses any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((s) => `{"defaultAction":"SCMP_ACT_ALLOW","x":"${s}"}`),
        ),
        (given) => {
          try {
            parseSeccompProfile(given);
          } catch (error) {
            if (!(error instanceof NamespaceError)) throw error;
          }
        },
      ),
    );
    expect(() => parseSeccompProfile(' '.repeat((1 << 20) + 1))).toThrow(/characters/);
  });

  const rule = (more: object) => ({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', ...more }],
  });
  const read = (value: unknown, options = {}) =>
    parseSeccompProfile(value, { architecture: 'x86_64', kernel: '6.1.0-13', ...options });

  it('keeps numbers of 64 bits exact, in text too', () => {
    const args =
      '[{"index":0,"op":"SCMP_CMP_EQ","value":18446744073709551615},{"index":1,"op":"SCMP_CMP_EQ","value":9007199254740993}]';
    const given = `{"defaultAction":"SCMP_ACT_ERRNO","x":"1\\"9999999999999999999","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":${args}}]}`;
    expect(read(given).rules[0]?.args?.map((a) => a.value)).toEqual([(1n << 64n) - 1n, 9007199254740993n]);
    expect(() => read(given.replace('9007199254740993', '18446744073709551616'))).toThrow(/64 bits/);
    expect(() => read(rule({ args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 2 ** 53 }] }))).toThrow(/64 bits/);
  });

  it("resolves Docker's conditions", () => {
    const has = (more: object, options = {}) => read(rule(more), options).rules.length === 1;
    expect(has({ includes: { caps: ['CAP_CHOWN'] } })).toBe(false);
    expect(has({ includes: { caps: ['CAP_CHOWN'] } }, { capabilities: ['CAP_CHOWN'] })).toBe(true);
    expect(has({ excludes: { caps: ['CAP_CHOWN'] } }, { capabilities: ['CAP_CHOWN'] })).toBe(false);
    expect(has({ includes: { arches: ['arm64'] } })).toBe(false);
    expect(has({ includes: { arches: ['arm64', 'amd64'] } })).toBe(true);
    expect(has({ excludes: { arches: ['amd64'] } })).toBe(false);
    expect(has({ includes: { minKernel: '4.8' } })).toBe(true);
    expect(has({ includes: { minKernel: '6.10' } })).toBe(false);
    expect(() => has({ includes: { caps: ['CAP_NONE'] } })).toThrow(/capability/);
    expect(() => has({ includes: { minKernel: 'new' } })).toThrow(/kernel/);
  });

  it('passes over names that it has never heard of only where that makes the filter no weaker', () => {
    const deny = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['brand_new'], action: 'SCMP_ACT_ERRNO' }] };
    expect(() => read(deny)).toThrow(/brand_new/);
    expect(read(deny, { unknownNames: 'skip' }).rules).toEqual([]);
    expect(read(rule({ names: ['brand_new', 'read'] })).rules[0]?.syscalls).toEqual(['read']);
  });

  it('takes one architecture list or the other, and always the machine', () => {
    const list = { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86'] };
    expect(read(list).architectures).toEqual(['x86_64', 'x86']);
    expect(() => read({ ...list, archMap: [{ architecture: 'SCMP_ARCH_X86_64' }] })).toThrow(/either/);
    expect(() => read({ ...list, architectures: ['SCMP_ARCH_PDP11'] })).toThrow(/PDP11/);
  });
});
