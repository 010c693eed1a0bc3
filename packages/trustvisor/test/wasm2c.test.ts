/** One WebAssembly PAL on both engines: as it is, and translated to C for a virtual machine. V8 judges what the translation does. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildPalOptions, buildPal, type PalEngine } from '@casemate/pal-linker/build';
import { openUtpm } from '@casemate/utpm';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import loadWabt from 'wabt';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor, TrustvisorError } from '../src/index.js';

const NO_KVM = '/dev/kvm is not there or may not be used';
const missing = whyNot();
if (missing !== '' && missing !== NO_KVM && process.env.MUST_RUN === '1') throw new Error(missing);

function whyNot(): string {
  if (spawnSync('gcc', ['--version']).status !== 0) return 'gcc is missing';
  if (!existsSync(fileURLToPath(new URL('../dist/isolate.js', import.meta.url)))) return 'the package is not built';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return '';
  } catch {
    return NO_KVM;
  }
}

const place = mkdtempSync(join(tmpdir(), 'casemate-wasm2c-'));
afterAll(() => rmSync(place, { recursive: true, force: true }));

const wabt = await loadWabt();

/** Assembles text into a file of its own. */
let files = 0;
function assembled(text: string): string {
  const parsed = wabt.parseWat('pal.wat', text);
  const { buffer } = parsed.toBinary({});
  parsed.destroy();
  const file = join(place, `${files++}.wasm`);
  writeFileSync(file, buffer);
  return file;
}

const none = new Uint8Array(0);

describe.skipIf(missing !== '')(`WebAssembly on both engines${missing === '' ? '' : ` (skipped: ${missing})`}`, () => {
  let trustvisor: Trustvisor;
  /** Compiled once: asc takes its time. */
  let typescript: Uint8Array | undefined;
  beforeAll(async () => {
    trustvisor = await openTrustvisor({ store: memoryStore(), engine: 'kvm', insecureAllowEphemeral: true });
  });
  afterAll(() => trustvisor?.close());

  function build(source: string, engine: PalEngine, more: Partial<BuildPalOptions> = {}) {
    return buildPal({ sources: [source], name: 'both', version: '1.0.0', optimize: '1', ...more, engine });
  }

  /** The same source on each engine. */
  async function onBoth(source: string, more: Partial<BuildPalOptions> = {}): Promise<readonly [wasm: Pal, kvm: Pal]> {
    const [wasm, kvm] = [await build(source, 'wasm', more), await build(source, 'kvm', more)];
    return [await trustvisor.register(wasm.image), await trustvisor.register(kvm.image)];
  }

  /** What a call gives on each: a result, or how it faulted. */
  async function outcomes(pals: readonly Pal[], command: number, input: Uint8Array): Promise<readonly unknown[]> {
    const results: unknown[] = [];
    for (const pal of pals) {
      results.push(
        await pal.invoke(command, input).catch((error: unknown) => {
          if (error instanceof TrustvisorError) return [error.code, error.fault];
          throw error;
        }),
      );
    }
    return results;
  }

  async function same(pals: readonly Pal[], command: number, input: Uint8Array): Promise<unknown> {
    const [wasm, kvm] = await outcomes(pals, command, input);
    expect(kvm).toEqual(wasm);
    return wasm;
  }

  it.each<readonly [string, Partial<BuildPalOptions>]>([
    ['the wasm2c of npm', {}],
    ...(existsSync('/usr/bin/wasm2c') ? ([['the wasm2c of the system', { wasm2c: '/usr/bin/wasm2c' }]] as const) : []),
  ])('TypeScript gives the same results with %s: objects, strings, growth of memory, traps', async (_, more) => {
    mkdirSync(join(place, 'ts'), { recursive: true });
    const source = join(place, 'ts', 'both.pal.ts');
    writeFileSync(source, TYPESCRIPT);
    typescript ??= (await build(source, 'wasm')).image;
    const pals = [
      await trustvisor.register(typescript),
      await trustvisor.register((await build(source, 'kvm', more)).image),
    ];
    const text = new TextEncoder().encode('the quick brown fox');
    for (let round = 0; round < 2; round++) {
      expect(await same(pals, 0, text)).toMatchObject({ returnCode: 9, output: expect.any(Uint8Array) });
      await same(pals, 1, text);
      await same(pals, 2, none);
      await same(pals, 3, text);
    }
    expect(await same(pals, 10, none)).toEqual(['fault', 'unreachable']);
    expect(await same(pals, 11, none)).toEqual(['fault', 'division']);
    expect(await same(pals, 12, none)).toEqual(['fault', 'out-of-bounds']);
    expect(await same(pals, 13, none)).toEqual(['fault', 'stack-overflow']);
    expect(await same(pals, 14, none)).toEqual(['fault', 'unreachable']);
    expect(await same(pals, 0, text)).toMatchObject({ returnCode: 9 });
    for (const pal of pals) await pal.unregister();
  });

  it('computes the same with every instruction on numbers', async () => {
    const pals = await onBoth(assembled(operationsModule()));
    const pairs = (values: readonly bigint[]) => values.flatMap((a) => values.map((b) => [a, b] as const));
    for (const [index, operation] of OPERATIONS.entries()) {
      const isFloat = operation.startsWith('f') || operation.includes('_f');
      if (TRAPPING.test(operation)) {
        const alone = isFloat ? FLOATS.map((value) => [value, 0n] as const) : pairs(DIVISIONS);
        for (const pair of alone) await same(pals, index, bytesOf([pair]));
        continue;
      }
      const operands = pairs(isFloat ? FLOATS : INTEGERS);
      const [wasm, kvm] = await outcomes(pals, index, bytesOf(operands));
      expect(normal(operation, kvm), operation).toEqual(normal(operation, wasm));
    }
  });

  it('touches memory up to its very end, and traps behind it', async () => {
    const pals = await onBoth(assembled(MEMORY), { memoryPages: 3 });
    const word = (...numbers: number[]) => new Uint8Array(new Uint32Array(numbers).buffer);
    const size = (await pals[0].invoke(1, none)).returnCode * 65536;
    expect(size).toBe(65536);
    const all = 4 * 65536; // three pages and the parameters
    for (const at of [0, 1, size - 1, all - 8, all - 4, all - 3, all - 1, all, all + 1, 0x7fffffff, 0xffffffff]) {
      for (const command of [2, 3, 4, 5, 6]) await same(pals, command, word(at, 0x41));
    }
    for (const [to, from, length] of [
      [8, 0, 64],
      [0, 8, 64],
      [3, 0, 9],
      [all, 0, 0],
      [all, 0, 1],
      [0, all, 1],
      [0, 1, all],
    ]) {
      await same(pals, 7, word(to ?? 0, from ?? 0, length ?? 0));
      await same(pals, 8, word(to ?? 0, from ?? 0, length ?? 0));
      await same(pals, 14, none);
    }
    for (const [pages, expected] of [
      [0, 1],
      [1, 1],
      [5, 0xffffffff],
      [1, 2],
      [1, 0xffffffff],
      [0, 3],
    ]) {
      expect(await same(pals, 0, word(pages ?? 0))).toMatchObject({ returnCode: expected });
    }
    expect(await same(pals, 9, word(0))).toMatchObject({ returnCode: 7 });
    for (const slot of [1, 2, 3, 0xffffffff])
      expect(await same(pals, 9, word(slot))).toEqual(['fault', 'indirect-call']);
    expect(await same(pals, 10, none)).toEqual(['fault', 'unreachable']);
    expect(await same(pals, 11, none)).toEqual(['fault', 'stack-overflow']);
    expect(await same(pals, 12, none)).toEqual(['fault', 'conversion']);
    expect(await same(pals, 13, none)).toMatchObject({ returnCode: 5 });
  });

  it('has the services, and gets the same answers to any parameters of theirs', async () => {
    const pals = await onBoth(assembled(SERVICES), { memoryPages: 1 });
    const all = 2 * 65536;
    const edges = [
      0,
      1,
      4,
      16,
      20,
      32,
      64,
      4096,
      0x10000,
      all - 80,
      all - 32,
      all - 4,
      all - 1,
      all,
      all + 1,
      0xfffffff0,
      0xffffffff,
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(SERVICE_NAMES.length - 1),
        fc.array(fc.oneof(fc.constantFrom(...edges), fc.nat(200)), { minLength: 7, maxLength: 7 }),
        async (service, parameters) => {
          await same(pals, service, new Uint8Array(new Uint32Array(parameters).buffer));
        },
      ),
      { numRuns: 300 },
    );
    const statuses = await Promise.all(
      [0, 2, 5, 6].map((service) =>
        pals[1].invoke(service, new Uint8Array(new Uint32Array([3, 64, 256, 64, 512, 64, 0]).buffer)),
      ),
    );
    expect(statuses.map(({ returnCode }) => returnCode)).toContain(0);
  });

  it('takes lent memory and entries with parameters of their own', async () => {
    const lent = await onBoth(assembled(LENT), { memoryPages: 1 });
    const memory = await trustvisor.allocateShared(8192);
    for (const pal of lent) {
      memory.write(100, new TextEncoder().encode('lent for a call'));
      const range = { memory, offset: 100, length: 15, access: 'read-write' } as const;
      const result = await pal.invoke(0, none, {
        lend: [range, { ...range, offset: 4096, length: 4000, access: 'read' }],
      });
      expect(result.returnCode).toBe(4015);
      expect(new TextDecoder().decode(memory.read(99, 17))).toBe('\0mfou!gps!b!dbmm\0');
      expect((await pal.invoke(0, none)).returnCode).toBe(0);
    }
    memory.release();
    const parameters = [
      { type: 1, access: 1, size: 4 },
      { type: 1, access: 1, size: 8 },
      { type: 2, access: 3, size: 12 },
      { type: 2, access: 2, size: 8 },
    ] as const;
    for (const pal of await onBoth(assembled(OWN_PARAMETERS), { parameters })) {
      const { returnCode, values } = await pal.invokeWith([5, -2n, Uint8Array.of(1, 2, 3), none]);
      expect(returnCode).toBe(6);
      expect(values[2]).toEqual(Uint8Array.of(6, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0));
      expect(values[3]).toEqual(new Uint8Array(new BigInt64Array([-7n]).buffer));
    }
  });

  it('keeps a state that is protected against replay, in fresh memory each time', async () => {
    const tpm = await openUtpm({ startup: true });
    const options = { name: 'counter', version: '1', replayProtected: true, memoryPages: 1, engine: 'kvm' } as const;
    const { image } = await buildPal({ ...options, sources: [assembled(COUNTER)] });
    const store = memoryStore();
    const counts: number[] = [];
    for (const amount of [5, 37]) {
      await using opened = await openTrustvisor({ tpm, store, engine: 'kvm' });
      const counter = await opened.register(image);
      counts.push((await counter.invoke(amount, none)).returnCode);
    }
    expect(counts).toEqual([5, 42]);
    await tpm.close();
  });
});

/** Operations on numbers, named as WebAssembly names them. */
const INTEGER_UNARY = ['clz', 'ctz', 'popcnt', 'eqz', 'extend8_s', 'extend16_s'];
const COMPARISONS = ['eq', 'ne', 'lt_s', 'lt_u', 'gt_s', 'gt_u', 'le_s', 'le_u', 'ge_s', 'ge_u'];
const INTEGER_BINARY = [
  ...['add', 'sub', 'mul', 'and', 'or', 'xor', 'shl', 'shr_s', 'shr_u', 'rotl', 'rotr'],
  ...['div_s', 'div_u', 'rem_s', 'rem_u'],
];
const FLOAT_UNARY = ['abs', 'neg', 'ceil', 'floor', 'trunc', 'nearest', 'sqrt'];
const FLOAT_BINARY = ['add', 'sub', 'mul', 'div', 'min', 'max', 'copysign'];
const FLOAT_COMPARISONS = ['eq', 'ne', 'lt', 'gt', 'le', 'ge'];
const both = (types: readonly string[], names: readonly string[]) =>
  types.flatMap((type) => names.map((name) => `${type}.${name}`));
const CONVERSIONS = [
  ...['i32.wrap_i64', 'i64.extend_i32_s', 'i64.extend_i32_u', 'f32.demote_f64', 'f64.promote_f32'],
  ...['i32.reinterpret_f32', 'i64.reinterpret_f64', 'f32.reinterpret_i32', 'f64.reinterpret_i64'],
  ...both(['f32', 'f64'], ['convert_i32_s', 'convert_i32_u', 'convert_i64_s', 'convert_i64_u']),
  ...both(['i32', 'i64'], ['trunc_sat_f32_s', 'trunc_sat_f32_u', 'trunc_sat_f64_s', 'trunc_sat_f64_u']),
  ...both(['i32', 'i64'], ['trunc_f32_s', 'trunc_f32_u', 'trunc_f64_s', 'trunc_f64_u']),
];
const OPERATIONS = [
  ...both(['i32', 'i64'], [...INTEGER_UNARY, ...COMPARISONS, ...INTEGER_BINARY]),
  ...both(['f32', 'f64'], [...FLOAT_UNARY, ...FLOAT_BINARY, ...FLOAT_COMPARISONS]),
  ...['i64.extend32_s', ...CONVERSIONS],
];
const TRAPPING = /div_|rem_|trunc_f/;
const DIVISIONS = [0n, 7n, 0x80000000n, 0x8000000000000000n, 0xffffffffffffffffn];

const INTEGERS = [
  ...[0n, 1n, 2n, 7n, 31n, 32n, 33n, 63n, 64n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0x7fffffffn, 0x80000000n],
  ...[0xffffffffn, 0x100000000n, 0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn, 0x123456789abcdef0n],
];
const FLOATS = [
  ...[0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, 1e-310, 2 ** 52 - 0.5, 2 ** 53 + 2, 1e300],
  ...[2147483647, 2147483648, -2147483649, 4294967295.5, 2 ** 63, 2 ** 64, -(2 ** 63)],
  ...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
].map((value) => new DataView(new Float64Array([value]).buffer).getBigUint64(0, true));

function bytesOf(pairs: readonly (readonly [bigint, bigint])[]): Uint8Array {
  return new Uint8Array(new BigUint64Array(pairs.flat()).buffer);
}

/** NaNs may differ in their payload, as WebAssembly allows: all are one here. */
function normal(operation: string, outcome: unknown): unknown {
  if (typeof outcome !== 'object' || outcome === null || !('output' in outcome)) return outcome;
  const output = outcome.output as Uint8Array; // of Pal.invoke
  const bits = [...new BigUint64Array(output.slice().buffer)];
  const type = resultType(operation);
  const isNan = (value: bigint) =>
    type === 'f32'
      ? (value & 0x7fffffffn) > 0x7f800000n
      : type === 'f64' && (value & ~(1n << 63n)) > 0x7ff0000000000000n;
  return bits.map((value) => (isNan(value) ? 'NaN' : value));
}

function resultType(operation: string): string {
  const [type = '', name = ''] = operation.split('.');
  return [...COMPARISONS, ...FLOAT_COMPARISONS, 'eqz'].includes(name) ? 'i32' : type;
}

/** What an operation takes; a float of 32 bits is made of the double. */
function operandType(operation: string): string {
  const [type = '', name = ''] = operation.split('.');
  return /_(?:sat_)?([if](?:32|64))(?:_|$)/.exec(name)?.[1] ?? type;
}

/** The command says which operation; the input are pairs of 8 bytes, the output 8 bytes for each. */
function operationsModule(): string {
  const functions = OPERATIONS.map((operation, i) => {
    const type = operandType(operation);
    const name = operation.split('.')[1] ?? '';
    const isUnary = [...INTEGER_UNARY, ...FLOAT_UNARY, 'extend32_s'].includes(name) || CONVERSIONS.includes(operation);
    const operand = (at: string) =>
      type === 'f32' && !operation.includes('reinterpret')
        ? `(f32.demote_f64 (f64.load ${at}))`
        : `(${type}.load ${at})`;
    const operands = [operand('(local.get 0)'), ...(isUnary ? [] : [operand('offset=8 (local.get 0)')])];
    return `(func $f${i} (type $f) (${resultType(operation)}.store (local.get 1) (${operation} ${operands.join(' ')})))`;
  });
  return `(module (memory (export "memory") 1) (type $f (func (param i32 i32)))
    (table ${OPERATIONS.length} funcref) (elem (i32.const 0) ${OPERATIONS.map((_, i) => `$f${i}`).join(' ')})
    ${functions.join('\n')}
    (func (export "pal") (param i32 i32 i32 i32) (local $at i32) (local $end i32)
      (local.set $end (i32.load offset=12 (local.get 1)))
      (loop $next
        (call_indirect (type $f)
          (i32.add (i32.add (local.get 1) (i32.const 16)) (local.get $at))
          (i32.add (i32.add (local.get 2) (i32.const 16)) (i32.shr_u (local.get $at) (i32.const 1)))
          (local.get 0))
        (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end))))
      (i32.store offset=8 (local.get 2) (i32.shr_u (local.get $end) (i32.const 1)))))`;
}

/** Commands by a table: each a function of up to three words of the input that gives the return code. */
function commandsModule(before: string, commands: readonly string[]): string {
  const arms = commands.map(
    (_, i) => `(if (i32.eq (local.get 0) (i32.const ${i})) (then (i32.store (local.get 3) (call $c${i}
    (i32.load offset=16 (local.get 1)) (i32.load offset=20 (local.get 1)) (i32.load offset=24 (local.get 1)))) (return)))`,
  );
  const functions = commands.map(
    (body, i) => `(func $c${i} (param $a i32) (param $b i32) (param $c i32) (result i32) ${body})`,
  );
  return `(module ${before} ${functions.join('\n')} (func (export "pal") (param i32 i32 i32 i32) ${arms.join('\n')}))`;
}

const MEMORY = commandsModule(
  `(memory (export "memory") 1) (data (i32.const 4) "some bytes that are copied to and fro")
   (data $passive "0123456789") (type $n (func (result i32))) (type $other (func (param i64)))
   (table 3 funcref) (elem (i32.const 0) $seven $wrong) (func $seven (result i32) (i32.const 7)) (func $wrong (param i64))
   (func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))`,
  [
    '(memory.grow (local.get $a))',
    '(memory.size)',
    '(i32.load8_u (local.get $a))',
    '(i32.load (local.get $a))',
    '(i32.wrap_i64 (i64.load offset=8 align=1 (local.get $a)))',
    '(i32.store8 (local.get $a) (local.get $b)) (i32.const 0)',
    '(i32.load16_s offset=4294967295 align=1 (local.get $a))',
    '(memory.copy (local.get $a) (local.get $b) (local.get $c)) (i32.load offset=8 (i32.const 0))',
    '(memory.fill (local.get $a) (local.get $b) (local.get $c)) (i32.load offset=8 (i32.const 0))',
    '(call_indirect (type $n) (local.get $a))',
    '(unreachable)',
    '(call $deep (i32.const 0))',
    '(i32.trunc_f64_s (f64.const nan))',
    '(memory.init $passive (i32.const 64) (i32.const 5) (i32.const 3)) (data.drop $passive) (i32.sub (i32.load8_u (i32.const 64)) (i32.const 48))',
    '(i32.xor (i32.load offset=4 (i32.const 0)) (i32.load offset=24 (i32.const 0)))',
  ],
);

const SERVICE_NAMES = [
  ...[
    ['utpm_pcr_read', 2],
    ['utpm_pcr_extend', 2],
    ['utpm_seal', 6],
    ['utpm_unseal', 5],
    ['utpm_quote', 7],
    ['utpm_rand', 2],
  ],
  ...[
    ['utpm_id_getpub', 2],
    ['time_elapsed', 2],
    ['print', 2],
    ['state_read', 2],
    ['state_write', 2],
    ['memory_lent', 2],
  ],
  ...[
    ['tv_pcr_read', 2],
    ['tv_pcr_extend', 2],
    ['tv_seal', 6],
    ['tv_unseal', 5],
    ['seal_data', 7],
    ['unseal_data', 7],
  ],
] as const;

/** The command says which service, the input has its parameters; memory is the same before each call: 64 in every word. */
const SERVICES = `(module
  ${SERVICE_NAMES.map(([name, count]) => `(import "trustvisor" "${name}" (func $${name} (param ${'i32 '.repeat(count)}) (result i32)))`).join('\n')}
  (memory (export "memory") 1)
  (func (export "pal") (param i32 i32 i32 i32) (local $at i32)
    (loop $next
      (i32.store (local.get $at) (i32.const 64))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const 65536))))
    ${SERVICE_NAMES.map(([name, count], i) => {
      const given = Array.from({ length: count }, (_, p) => `(i32.load offset=${16 + 4 * p} (local.get 1))`);
      return `(if (i32.eq (local.get 0) (i32.const ${i})) (then (i32.store (local.get 3) (call $${name} ${given.join(' ')}))))`;
    }).join('\n')}))`;

/** Adds one to every byte of the first lent range that is no space, and returns how many bytes there are in all. */
const LENT = `(module
  (import "trustvisor" "memory_lent" (func $lent (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "pal") (param i32 i32 i32 i32) (local $i i32) (local $sum i32) (local $at i32)
    (block $done (loop $next
      (br_if $done (call $lent (local.get $i) (i32.const 64)))
      (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 72))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (if (i32.eqz (call $lent (i32.const 0) (i32.const 64))) (then
      (local.set $i (i32.const 0))
      (loop $byte
        (local.set $at (i32.add (i32.load (i32.const 64)) (local.get $i)))
        (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
        (br_if $byte (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.load (i32.const 72)))))))
    (i32.store (local.get 3) (local.get $sum))))`;

const OWN_PARAMETERS = `(module (memory (export "memory") 1)
  (func (export "pal") (param $a i32) (param $b i64) (param $c i32) (param $d i32) (result i32)
    (i32.store8 (local.get $c) (i32.add (i32.load8_u (local.get $c)) (local.get $a)))
    (i64.store (local.get $d) (i64.sub (local.get $b) (i64.extend_i32_u (local.get $a))))
    (i32.load8_u (local.get $c))))`;

const COUNTER = `(module
  (import "trustvisor" "state_read" (func $read (param i32 i32) (result i32)))
  (import "trustvisor" "state_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "pal") (param i32 i32 i32 i32)
    (i32.store (i32.const 8) (i32.const 4))
    (drop (call $read (i32.const 0) (i32.const 8)))
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get 0)))
    (drop (call $write (i32.const 0) (i32.const 4)))
    (i32.store (local.get 3) (i32.load (i32.const 0)))))`;

const TYPESCRIPT = `
@unmanaged class Buffer { returnValue: u32; size: u32; offset: u32; sizeUsed: u32; }
class Shape { area(): f64 { return 0; } name: string = 'shape'; }
class Square extends Shape { constructor(private side: f64) { super(); this.name = 'square'; } area(): f64 { return this.side * this.side; } }
class Circle extends Shape { constructor(private r: f64) { super(); this.name = 'circle'; } area(): f64 { return Math.PI * this.r * this.r; } }

const seen = new Map<string, i32>();
const kept: Uint8Array[] = [];

function put(output: Buffer, text: string): void {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  memory.copy(changetype<usize>(output) + 16, bytes.dataStart, bytes.length);
  output.offset = bytes.length;
}
function given(input: Buffer): string {
  return String.UTF8.decodeUnsafe(changetype<usize>(input) + 16, input.sizeUsed);
}
function deep(n: i32): i32 { return n < 0 ? 0 : deep(n + 1) + deep(n + 2); }

export function pal(command: u32, input: Buffer, output: Buffer, rv: usize): void {
  let code: u32 = 9;
  switch (command) {
    case 0: {
      const shapes: Shape[] = [];
      for (let i = 0; i < 50; i++) shapes.push(i % 2 ? new Square(i) : new Circle(i / 3.0));
      let sum: f64 = 0;
      for (let i = 0; i < shapes.length; i++) sum += shapes[i].area();
      put(output, given(input).toUpperCase() + ' ' + shapes[3].name + ' ' + sum.toString() + ' ' + (sum / 7).toString());
      break;
    }
    case 1: {
      const words = given(input).split(' ');
      for (let i = 0; i < words.length; i++) seen.set(words[i], (seen.has(words[i]) ? seen.get(words[i]) : 0) + words[i].length);
      const keys = seen.keys();
      put(output, keys.sort().map<string>((key) => key + '=' + seen.get(key).toString()).join(','));
      break;
    }
    case 2: {
      for (let i = 0; i < 40; i++) kept.push(new Uint8Array(10000 + i));
      code = memory.size() * 1000 + kept.length;
      break;
    }
    case 3: {
      let hash: u64 = 0xcbf29ce484222325;
      for (let i: u32 = 0; i < input.sizeUsed; i++) hash = (hash ^ load<u8>(changetype<usize>(input) + 16 + i)) * 0x100000001b3;
      put(output, hash.toString(16) + ' ' + rotl<u64>(hash, 13).toString() + ' ' + (<i64>hash / -7).toString());
      break;
    }
    case 10: unreachable();
    case 11: { code = 1 / input.sizeUsed; break; }
    case 12: { code = load<u32>(0xfffffff0); break; }
    case 13: { code = deep(1); break; }
    case 14: { code = kept[100000].length; break; }
  }
  store<u32>(rv, code);
}
`;
