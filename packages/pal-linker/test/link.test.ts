import { createHash } from 'node:crypto';
import { decode, encode } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  inspectPal,
  linkPal,
  measurePal,
  PAL_SERVICES,
  PalImage,
  PalLinkerError,
  parsePalImage,
} from '../src/index.js';
import { assemble, compile, pal, WebAssembly } from './modules.js';

const link = (module: Uint8Array, more: Partial<Parameters<typeof linkPal>[0]> = {}) =>
  linkPal({ module, name: 'test', version: '1.0.0', ...more });

function failure(run: () => unknown): PalLinkerError {
  try {
    run();
  } catch (error) {
    if (error instanceof PalLinkerError) return error;
    throw error;
  }
  throw new Error('expected a PalLinkerError');
}

interface Exports {
  readonly pal: (command: number, input: number, output: number, rv: number) => void;
  readonly memory: { readonly buffer: ArrayBuffer };
}

function codeOf(image: Uint8Array): Uint8Array {
  return parsePalImage(image).sections[0]?.content ?? new Uint8Array(0);
}

function moduleOf(image: Uint8Array) {
  return new WebAssembly.Module(codeOf(image));
}

function instantiate(image: Uint8Array): Exports {
  const services = Object.fromEntries(Object.keys(PAL_SERVICES).map((name) => [name, () => 7]));
  const exports = new WebAssembly.Instance(moduleOf(image), { trustvisor: services }).exports;
  return exports as unknown as Exports; // the linker leaves exactly these two
}

/** Runs the entry and reads the u32 at its fourth parameter, which lies in the PARAM section. */
function run(image: Uint8Array, command: number, exports = instantiate(image)): number {
  const base = Number(parsePalImage(image).sections[1]?.address);
  exports.pal(command, base + 16, base + 64, base);
  return new DataView(exports.memory.buffer).getUint32(base, true);
}

const ECHO = pal('(i32.store (local.get $rv) (i32.add (local.get $command) (i32.const 1)))');

describe('linking a finished module', () => {
  it('gives an image whose module runs and does what the source says', () => {
    expect(run(link(ECHO), 41)).toBe(42);
  });

  it('leaves the entry and the memory as the only exports', () => {
    const module = assemble(`(module (memory (export "memory") 1) (global (export "g") i32 (i32.const 1))
      (table (export "t") 1 funcref) (func (export "other"))
      (func (export "main") (param i32 i32 i32 i32)))`);
    const exports = WebAssembly.Module.exports(moduleOf(link(module, { entry: 'main' })));
    expect(exports).toEqual([
      { name: 'pal', kind: 'function' },
      { name: 'memory', kind: 'memory' },
    ]);
  });

  it('keeps a table with its elements, so that indirect calls work', () => {
    const module = assemble(`(module (memory (export "memory") 1) (type $f (func (result i32)))
      (table 2 funcref) (elem (i32.const 0) $one $two)
      (func $one (result i32) i32.const 11) (func $two (result i32) i32.const 22)
      (func (export "pal") (param i32 i32 i32 i32)
        (i32.store (local.get 3) (call_indirect (type $f) (local.get 0)))))`);
    const image = link(module);
    expect([run(image, 0), run(image, 1)]).toEqual([11, 22]);
  });

  it('declares functions that code refers to and only their export declared', () => {
    for (const more of ['', '(table 3 funcref) (elem (i32.const 1) func $other)']) {
      const module = assemble(`(module (memory (export "memory") 1) (func $other) ${more} (func $f (export "f"))
        (func (export "pal") (param i32 i32 i32 i32)
          (i32.store (local.get 3) (i32.add (ref.is_null (ref.func $f)) (i32.const 3)))))`);
      expect(run(link(module), 0)).toBe(3);
    }
  });

  it('drops names, producers and every other custom section', () => {
    const producers = Uint8Array.of(0, 11, 9, ...new TextEncoder().encode('producers'), 0x78);
    const module = Uint8Array.of(...pal('', '(memory (export "memory") 1) (func $secret_name)'), ...producers);
    expect(WebAssembly.validate(module)).toBe(true);
    expect(new TextDecoder('latin1').decode(module)).toMatch(/secret_name.*producers/s);
    const code = parsePalImage(link(module)).sections[0]?.content;
    expect(new TextDecoder('latin1').decode(code)).not.toMatch(/secret_name|producers/);
    expect(WebAssembly.Module.customSections(moduleOf(link(module)), 'name')).toEqual([]);
  });

  it('gives the same bytes for the same input, and the same bytes for a module that differs in names alone', () => {
    expect(link(ECHO)).toEqual(link(ECHO.slice()));
    expect(link(pal('', '(memory (export "memory") 1) (func $a)'))).toEqual(
      link(pal('', '(memory (export "memory") 1) (func $b)')),
    );
  });

  it('runs a start function and _initialize once, at the first call, with the services at hand', () => {
    const module = assemble(`(module (import "trustvisor" "time_elapsed" (func $time (param i32 i32) (result i32)))
      (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
      (func $start (global.set $n (i32.add (global.get $n) (call $time (i32.const 0) (i32.const 0)))))
      (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 100))))
      (func (export "pal") (param i32 i32 i32 i32) (i32.store (local.get 3) (global.get $n)))
      (start $start))`);
    const image = link(module);
    const exports = instantiate(image);
    expect([run(image, 0, exports), run(image, 0, exports)]).toEqual([107, 107]);
  });

  it('makes memory.grow and memory.size deterministic, and puts the parameters above what the PAL can reach by growing', () => {
    const module = pal(`(if (local.get $command)
        (then (i32.store (local.get $rv) (memory.grow (i32.sub (local.get $command) (i32.const 1)))))
        (else (i32.store (local.get $rv) (memory.size))))`);
    const image = link(module, { memoryPages: 4 });
    const exports = instantiate(image);
    const grow = (pages: number) => run(image, pages + 1, exports) | 0;
    expect(run(image, 0, exports)).toBe(1);
    expect([grow(2), grow(0), grow(2), grow(1), grow(1), grow(-3)]).toEqual([1, 3, -1, 3, -1, -1]);
    expect(run(image, 0, exports)).toBe(4);
    expect(parsePalImage(image).sections[1]?.address).toBe(4n * 65536n);
    expect(exports.memory.buffer.byteLength).toBe(5 * 65536);
  });

  it('links what AssemblyScript compiles, with each of its memory managers', async () => {
    const source = `
      export function trap(message: usize, file: usize, line: u32, column: u32): void { unreachable(); }
      let calls: u32 = 0;
      const list = new Array<u64>(0);
      export function pal(command: u32, input: usize, output: usize, rv: usize): void {
        for (let i: u32 = 0; i < command; i++) list.push(i);
        calls++;
        store<u32>(rv, calls * 1000000 + list.length);
      }`;
    for (const runtime of ['stub', 'minimal', 'incremental'] as const) {
      const image = link(await compile(source, runtime), { memoryPages: 64 });
      const exports = instantiate(image);
      expect(run(image, 100_000, exports), runtime).toBe(1_100_000);
      expect(run(image, 5, exports), runtime).toBe(2_100_005);
    }
  });
});

describe('a module that is refused', () => {
  const cases: readonly [what: string, module: Uint8Array, code: string, text: RegExp, section?: string][] = [
    ['another import module', pal('', '(import "env" "abort" (func)) (memory 1)'), 'import', /env\.abort/, 'import'],
    ['an unknown service', pal('', '(import "trustvisor" "exec" (func)) (memory 1)'), 'import', /exec/, 'import'],
    [
      'a service with another type',
      pal('', '(import "trustvisor" "print" (func (param i32 i64) (result i32))) (memory 1)'),
      'import',
      /expected \(i32, i32\) -> \(i32\), got \(i32, i64\) -> \(i32\)/,
      'import',
    ],
    ['an imported memory', pal('', '(import "env" "memory" (memory 1))'), 'import', /memory env\.memory/, 'import'],
    ['no memory', pal('', ''), 'memory', /got none/, 'memory'],
    ['shared memory', pal('', '(memory 1 1 shared)'), 'feature', /share memory/, 'memory'],
    ['64-bit memory', pal('', '(memory i64 1)'), 'feature', /64-bit/, 'memory'],
    ['two memories', pal('', '(memory 1) (memory 1)'), 'feature', /2 memories/, 'memory'],
    ['atomics', pal('(drop (i32.atomic.load (i32.const 0)))'), 'feature', /threads/, 'code'],
    [
      'relaxed SIMD',
      pal('(drop (f32x4.relaxed_max (v128.const i64x2 0 0) (v128.const i64x2 0 0)))'),
      'feature',
      /relaxed SIMD/,
      'code',
    ],
    [
      'table.grow',
      pal('(drop (table.grow 0 (ref.null func) (i32.const 1)))', '(memory 1) (table 1 funcref)'),
      'feature',
      /table\.grow/,
      'code',
    ],
    ['exceptions', pal('(throw $t)', '(memory 1) (tag $t)'), 'feature', /section id 13/],
    ['tail calls', pal('(return_call $f)', '(memory 1) (func $f)'), 'feature', /tail call/, 'code'],
    [
      'another entry type',
      assemble('(module (memory 1) (func (export "pal") (param i32)))'),
      'entry',
      /got \(i32\) -> \(\)/,
      'export',
    ],
    ['no entry', assemble('(module (memory 1) (func (export "main")))'), 'entry', /got main/, 'export'],
    ['a large table', pal('', '(memory 1) (table 70000 funcref)'), 'limit', /at most 65536 entries/, 'table'],
    [
      'many tables',
      pal('', `(memory 1) ${'(table 40000 funcref) '.repeat(2)}`),
      'limit',
      /at most 65536 entries, got 80000/,
      'table',
    ],
  ];

  it.each(cases)('%s: is named with its section and offset', (_, module, code, text, section) => {
    const error = failure(() => link(module));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(text);
    if (section !== undefined) expect(error.section).toBe(section);
  });

  it('is refused when it starts with more memory than it may have', () => {
    expect(failure(() => link(pal('', '(memory 5)'), { memoryPages: 4 })).code).toBe('memory');
  });

  it('is refused for floating point when it is replay-protected, unless the caller allows it', () => {
    const module = pal('(drop (f64.add (f64.const 1) (f64.const 2)))');
    const error = failure(() => link(module, { replayProtected: true }));
    expect(error.code).toBe('feature');
    expect(error.offset).toBeGreaterThan(8);
    expect(inspectPal(link(module, { replayProtected: true, floatingPoint: 'allow' })).notes[0]).toMatch(/NaN/);
    expect(inspectPal(link(ECHO)).notes).toEqual([]);
  });

  it('points into the module at the very instruction', () => {
    const module = pal('(nop) (nop) (drop (i32.atomic.load (i32.const 0)))');
    const { offset = 0 } = failure(() => link(module));
    expect([...module.subarray(offset, offset + 2)]).toEqual([0xfe, 0x10]);
  });

  it('is refused for types of more than one byte, behind which a linker and an engine would read different instructions', () => {
    const entry = [0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0];
    const withBody = (body: readonly number[]) =>
      Uint8Array.from([
        ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 8, 1, ...entry, 3, 2, 1, 0, 5, 3, 1, 0, 1],
        ...[7, 7, 1, 3, 0x70, 0x61, 0x6c, 0, 0, 10, body.length + 2, 1, body.length, ...body],
      ]);
    expect(WebAssembly.validate(withBody([1, 1, 0x70, 0x0b]))).toBe(true);
    expect(() => link(withBody([1, 1, 0x70, 0x02, 0x7e, 0x42, 0, 0x0b, 0x1a, 0x02, 0x40, 0x0b, 0x0b]))).not.toThrow();
    // References to a type of this module: `(ref null 14)`, of which a linker could take the second byte for br_table.
    const bodies = [
      [1, 1, 0x63, 0x0e, 0x0b],
      [0, 0x02, 0x63, 0x0e, 0xd0, 0x0e, 0x0b, 0x1a, 0x0b],
      [0, 0x02, 0xe3, 0x7f, 0x0b, 0x0b],
      [0, 0x1c, 1, 0x64, 0x0e, 0x0b],
      [0, 0xd0, 0x8e, 0, 0x1a, 0x0b],
    ];
    for (const body of bodies)
      expect(
        failure(() => link(withBody(body))),
        String(body),
      ).toMatchObject({ code: 'feature', section: 'code' });
  });

  it('never crashes on a module that is cut or changed at any byte: it links or throws PalLinkerError', () => {
    const module = pal(
      '(drop (call $f (memory.grow (i32.const 1)))) (block (br_table 0 0 (i32.const 0)))',
      `(import "trustvisor" "print" (func (param i32 i32) (result i32))) (memory (export "memory") 1) (table 1 funcref)
       (elem (i32.const 0) $f) (global i32 (i32.const 3)) (data (i32.const 0) "abc") (func $f (param i32) (result i32) local.get 0)`,
    );
    expect(() => link(module)).not.toThrow();
    for (let length = 0; length < module.length; length++) {
      const cut = module.subarray(0, length);
      // Behind the code section a cut module is a whole one with less data or without its names.
      if (!WebAssembly.validate(cut)) expect(failure(() => link(cut)).code).toMatch(/malformed|memory|entry/);
      else if (length > 100) expect(WebAssembly.validate(codeOf(link(cut)))).toBe(true);
    }
    fc.assert(
      fc.property(fc.nat(module.length - 1), fc.nat(255), (at, byte) => {
        const changed = module.slice();
        changed[at] = byte;
        try {
          link(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(PalLinkerError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('does not take time or memory for counts that the bytes do not hold', () => {
    const claims = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x60);
    expect(failure(() => link(claims)).code).toBe('malformed');
  });
});

describe('the PAL image', () => {
  const image = link(ECHO);

  it('is measured as the SHA-256 of the whole file', () => {
    expect(Buffer.from(measurePal(image))).toEqual(createHash('sha256').update(image).digest());
  });

  it('has another measurement when its name, version, capacity, memory, protection, entry or any code byte differs', () => {
    const images = [
      image,
      link(ECHO, { name: 'other' }),
      link(ECHO, { version: '1.0.1' }),
      link(ECHO, { inputCapacity: 100 }),
      link(ECHO, { outputCapacity: 100 }),
      link(ECHO, { memoryPages: 9 }),
      link(ECHO, { replayProtected: true }),
      link(pal('(i32.store (local.get $rv) (i32.add (local.get $command) (i32.const 2)))')),
      link(
        assemble(
          '(module (memory 1) (func $a (export "pal") (param i32 i32 i32 i32)) (func $b (export "b") (param i32 i32 i32 i32)))',
        ),
      ),
      link(
        assemble(
          '(module (memory 1) (func $a (export "pal") (param i32 i32 i32 i32)) (func $b (export "b") (param i32 i32 i32 i32)))',
        ),
        { entry: 'b' },
      ),
    ];
    const measurements = images.map((each) => Buffer.from(measurePal(each)).toString('hex'));
    expect(new Set(measurements).size).toBe(images.length);
  });

  it('parses back to what it was encoded from, and refuses to be cut or extended anywhere', () => {
    expect(encode(PalImage, decode(PalImage, image))).toEqual(image);
    for (let length = 0; length < image.length; length++) {
      expect(failure(() => parsePalImage(image.subarray(0, length))).code).toBe('image');
    }
    expect(failure(() => parsePalImage(Uint8Array.of(...image, 0))).code).toBe('image');
  });

  it('is refused or has another measurement when any bit of it is flipped', () => {
    const original = Buffer.from(measurePal(image)).toString('hex');
    fc.assert(
      fc.property(fc.nat(image.length * 8 - 1), (bit) => {
        const changed = image.slice();
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        try {
          expect(Buffer.from(measurePal(changed)).toString('hex')).not.toBe(original);
        } catch (error) {
          expect(error).toMatchObject({ code: 'image' });
        }
      }),
      { numRuns: 500 },
    );
  });

  it('is refused when a section does not match its digest', () => {
    const changed = image.slice();
    const last = changed.length - 1 - 4 - 32 - 4 - 8 - 1;
    changed[last] = (changed[last] ?? 0) ^ 1;
    expect(failure(() => parsePalImage(changed)).message).toMatch(/section 0 does not match/);
  });

  it('is described with sizes, digests and limits', () => {
    expect(inspectPal(image)).toMatchObject({
      kind: 'wasm',
      name: 'test',
      version: '1.0.0',
      entry: { name: 'pal' },
      parameters: [
        { type: 'integer', access: 'in', size: 4 },
        { type: 'pointer', access: 'in', size: 16400 },
        { type: 'pointer', access: 'out', size: 16400 },
        { type: 'pointer', access: 'out', size: 4 },
      ],
      memory: { initialBytes: 65536, maximumBytes: 257 * 65536 },
      replayProtected: false,
      sections: [{ type: 'CODE' }, { type: 'PARAM', contentSize: 0, memorySize: 65536 }],
    });
  });

  it.each(['', 'a b', '-a', 'x'.repeat(65), 'é'])('refuses the name %j', (name) => {
    expect(failure(() => link(ECHO, { name })).code).toBe('image');
  });

  it.each([-1, 1.5, 2 ** 21, Number.NaN])('refuses an input capacity of %d', (inputCapacity) => {
    expect(failure(() => link(ECHO, { inputCapacity })).code).toBe('input');
  });
});
