/** The linker for WebAssembly objects, against wasm-ld, wasm-validate and Node. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAL_SECTION, parsePalImage } from '../src/image.js';
import type { ObjectFile } from '../src/index.js';
import { linkPal, PalLinkerError } from '../src/index.js';
import { parseModule } from '../src/module.js';
import { parseWasmObject } from '../src/wasm/object.js';
import { type LinkWasmPalOptions, linkWasmObjects, linkWasmPal } from '../src/wasm.js';
import { seeded } from './elf-programs.js';
import { WebAssembly } from './modules.js';
import { archive, compile, has, run, workplace } from './native.js';
import { randomWasmProgram } from './wasm-programs.js';

const isReady = ['clang', 'wasm-ld', 'llvm-ar', 'wasm-validate'].every(has);
if (!isReady && process.env.MUST_RUN === '1') throw new Error('clang, lld or wabt is missing');
const why = isReady ? '' : ' (skipped: clang, lld or wabt is missing)';
const WASM_CFLAGS = ['--target=wasm32', '-ffreestanding', '-nostdlib'];

describe.skipIf(!isReady)(`linking WebAssembly objects${why}`, () => {
  it('gives programs made at random the results that wasm-ld gives them', { timeout: 1_800_000 }, () => {
    const count = Math.ceil(Number(process.env.LINK_WASM_PROGRAMS ?? 40) / 2);
    const first = Number(process.env.LINK_SEED ?? 1);
    for (let seed = first; seed < first + count; seed++) compareWithLld(seed);
  });

  it('imports services alone, each by the name that its source says, and names who wants anything else', () => {
    const service = `__attribute__((import_module("trustvisor"), import_name("utpm_rand"))) unsigned my_random(void *, unsigned);`;
    const calling = objectOf(`${service} ${ENTRY} { *rv = my_random(o, 4); }`);
    expect(importsOf(moduleOf(link([calling])))).toEqual(['trustvisor.utpm_rand']);
    const other = objectOf(`extern int lost(int), gone; ${ENTRY} { *rv = lost(1) + gone; }`);
    const error = errorOf(() => link([other]));
    expect(error).toMatchObject({ code: 'undefined-symbol', object: 'some.o', section: 'pal' });
    expect(error.message).toMatch(/definition of (lost|gone), got none; nor of (lost|gone) \(some\.o, pal\)/);
    const foreign = `__attribute__((import_module("env"), import_name("open"))) int foreign(void); ${ENTRY} { *rv = foreign(); }`;
    expect(errorOf(() => link([objectOf(foreign)]))).toMatchObject({ code: 'undefined-symbol', symbol: 'foreign' });
    const unknown = `__attribute__((import_module("trustvisor"), import_name("no_service"))) int f(void); ${ENTRY} { *rv = f(); }`;
    expect(errorOf(() => link([objectOf(unknown)]))).toMatchObject({ code: 'import' });
  });

  it('calls constructors once, before the first call, in the order of their priorities over all objects', () => {
    const [a, b] = ['a', 'b'].map((name, i) =>
      named(
        `${name}.o`,
        objectOf(`extern unsigned order; unsigned ${name};
        __attribute__((constructor(${201 - i}))) static void first(void) { order = order * 10 + ${1 + i}; }
        __attribute__((constructor(${301 + i}))) static void last(void) { order = order * 10 + ${3 + i}; }`),
      ),
    );
    const main = objectOf(`extern unsigned a, b; unsigned order; ${ENTRY} { *rv = order + a + b; order += 10000; }`);
    expect(call(moduleOf(link([a, b, main])), 0)).toBe('2134  12134 ');
    const own = objectOf(`extern unsigned a, b; unsigned order; void __wasm_call_ctors(void);
      ${ENTRY} { __wasm_call_ctors(); *rv = order + a + b; }`);
    expect(call(moduleOf(link([a, b, own])), 0)).toBe('2134  21342134 ');
  });

  it('calls no constructor that is absent, and refuses a service as one', () => {
    const source = (more: string) => `__attribute__((weak)) void absent(void); volatile unsigned n = 5;
      __attribute__((import_module("trustvisor"), import_name("utpm_rand"))) unsigned my_random(void *, unsigned);
      __attribute__((constructor)) static void first(void) { n++; }
      ${ENTRY} { if (c == 9) { absent(); ${more} } *rv = n; }`;
    const withConstructor = (name: string, { content } = objectOf(source(''))) => {
      const bytes = Buffer.from(content);
      const at = bytes.indexOf(Buffer.from([1, 0xff, 0xff, 3])) + 4; // constructors: one, of the priority 65535
      const symbols = parseWasmObject(content, 'a').symbols.map((symbol) => symbol.name);
      expect(symbols[bytes[at] ?? -1]).toBe('first');
      bytes[at] = symbols.indexOf(name);
      return link([{ name: 'some.o', content: new Uint8Array(bytes) }]);
    };
    expect(call(moduleOf(withConstructor('first')), 0)).toBe('6  6 ');
    expect(call(moduleOf(withConstructor('absent')), 0)).toBe('5  5 ');
    const serving = objectOf(source('my_random(o, 4);'));
    expect(errorOf(() => withConstructor('my_random', serving))).toMatchObject({ code: 'function-type' });
  });

  it('refuses a call with another type than the function has', () => {
    const caller = named('caller.o', objectOf(`int twice(int, int); ${ENTRY} { *rv = twice(1, 2); }`));
    const callee = named('callee.o', objectOf('int twice(int x) { return 2 * x; }'));
    expect(errorOf(() => link([caller, callee]))).toMatchObject({
      code: 'function-type',
      object: 'caller.o',
      symbol: 'twice',
      message: expect.stringMatching(
        /twice in callee\.o: expected a call with \(i32\) -> \(i32\), got \(i32, i32\) -> \(i32\)/,
      ),
    });
  });

  it('refuses a call of a weak definition in whose place comes one of another type', () => {
    const weak = named('weak.o', objectOf(`__attribute__((weak)) int f(int x) { return x; } ${ENTRY} { *rv = f(c); }`));
    const strong = named('strong.o', objectOf('int f(long long x) { return 2 * x; }'));
    expect(errorOf(() => link([weak, strong]))).toMatchObject({
      code: 'function-type',
      object: 'weak.o',
      symbol: 'f',
      message: expect.stringMatching(/f in strong\.o: expected a call with \(i64\) -> \(i32\), got \(i32\) -> \(i32\)/),
    });
  });

  it('refuses relocations of a form that code or data cannot have', () => {
    const object = objectOf(`int data = 3, *pointer = &data; ${ENTRY} { *rv = *pointer; }`, ['-O1']);
    const types = { code: 'reloc.CODE', data: 'reloc.DATA' };
    for (const [section, text] of Object.entries(types)) {
      const bytes = Buffer.from(object.content);
      const at = bytes.indexOf(text) + text.length + 2; // the number of the section and how many, one byte each
      expect([3, 4, 5]).toContain(bytes[at]);
      bytes[at] = section === 'code' ? 5 : 3;
      expect(
        errorOf(() => link([{ name: 'some.o', content: new Uint8Array(bytes) }])),
        section,
      ).toMatchObject({
        code: 'object',
        message: expect.stringMatching(/expected a relocation of a number of (5|4) bytes, got type (5|3)/),
      });
    }
  });

  it('takes a global whose value is a very long expression for what it is', () => {
    using place = workplace();
    const source = `.globaltype g, i32\n.globl g\ng:\n.globl pal\n.section .text.pal,"",@\npal:
      .functype pal (i32, i32, i32, i32) -> ()\nglobal.get g\ndrop\nend_function\n`;
    const { content } = compile(place.path, 'g.s', source, ['--target=wasm32'], 'clang');
    const at = Buffer.from(content).indexOf(Buffer.from([6, 0x86, 0x80, 0x80, 0x80, 0, 1, 0x7f])); // section, size, one i32
    expect(at).toBeGreaterThan(8);
    const size = 300_000;
    const long = Buffer.alloc(4 + size, 1); // nop
    long.set([6, (size & 0x7f) | 0x80, ((size >> 7) & 0x7f) | 0x80, size >> 14, 1, 0x7f, 0]);
    long[long.length - 1] = 0x0b;
    const object = Buffer.concat([content.subarray(0, at), long, content.subarray(at + 12)]);
    expect(link([{ name: 'g.o', content: new Uint8Array(object) }]).length).toBeGreaterThan(size);
  });

  it('takes a strong definition for a weak one, and refuses a second strong one', () => {
    const main = named('main.o', objectOf(`int f(void); ${ENTRY} { *rv = f(); }`));
    const weak = named('weak.o', objectOf('__attribute__((weak)) int f(void) { return 1; }'));
    const strong = named('strong.o', objectOf('int f(void) { return 2; }'));
    for (const order of [
      [main, weak, strong],
      [strong, weak, main],
    ])
      expect(call(moduleOf(link(order)), 0)).toBe('2  2 ');
    expect(errorOf(() => link([main, strong, named('again.o', strong)]))).toMatchObject({
      code: 'duplicate-symbol',
      object: 'again.o',
      symbol: 'f',
      message: expect.stringContaining('strong.o'),
    });
    expect(errorOf(() => link([main, strong, named('data.o', objectOf('int f = 3;'))]))).toMatchObject({
      code: 'duplicate-symbol',
    });
  });

  it('keeps one of several equal groups of C++, with its static data', () => {
    const source = (n: number) => `
      struct Counter { virtual int next() { static int count = 7; return count++; } virtual ~Counter() {} };
      void operator delete(void *) noexcept {}
      template <typename T> inline T same(T x) { static T sum = 0; return sum += x; }
      ${n === 1 ? 'extern "C" int other(void);' : ''}
      extern "C" ${n === 1 ? ENTRY : 'int other(void)'} { Counter counter; Counter *p = &counter; int r = p->next() * 100 + same(5); ${n === 1 ? '*rv = r * 1000 + other();' : 'return r;'} }`;
    const flags = ['-O0', '-x', 'c++', '-fno-exceptions', '-fno-rtti', '-fno-threadsafe-statics'];
    const one = objectOf(source(1), flags);
    const two = named('two.o', objectOf(source(2).replace('void operator delete(void *) noexcept {}', ''), flags));
    const { module, map } = linkWasmObjects({ objects: [one, two] });
    expect(map.filter(({ input }) => /same/.test(input) && !/sum/.test(input))).toHaveLength(1);
    expect(call(moduleOf(linkPal({ module, name: 'a', version: '1' })), 0)).toBe('705810  916020 ');
  });

  it('drops what the entry does not reach, and keeps one copy of equal texts', () => {
    const object = objectOf(
      `__attribute__((noinline)) const char *say(int x) { return x ? "the text" : "text"; } const char *unsaid(void) { return "unsaid"; }
      static int big[4096] = { 1 }; int *unused(void) { return big; }
      ${ENTRY} { const char *t = say(c); *rv = t[0] | "text"[c & 3] << 8; }`,
      ['-O1'],
    );
    const { module, map } = linkWasmObjects({ objects: [object] });
    expect(
      map.map(({ section, object: from, input, size }) => [section, from, input, section === 'CODE' ? 0 : size]),
    ).toEqual([
      ['CODE', 'some.o', 'say', 0],
      ['CODE', 'some.o', 'pal', 0],
      ['RODATA', '(merged)', '.rodata.str', 9],
    ]);
    expect(Buffer.from(module).includes('unsaid')).toBe(false);
    expect(call(moduleOf(linkPal({ module, name: 'a', version: '1' })), 1)).toBe(
      `${0x74 | (0x65 << 8)}  ${0x74 | (0x65 << 8)} `,
    );
  });

  it('takes members from archives that have no index, and only those that are wanted', () => {
    using place = workplace();
    const flags = [...WASM_CFLAGS, '-O1'];
    compile(place.path, 'wanted.c', 'int wanted(void) { extern int deeper; return deeper; }', flags, 'clang');
    compile(place.path, 'deeper.c', 'int deeper = 5;', flags, 'clang');
    compile(place.path, 'other.c', 'int other(void) { extern int lost(void); return lost(); }', flags, 'clang');
    const library = archive(place.path, 'lib.a', ['other.o', 'deeper.o', 'wanted.o'], 'rcS');
    const main = objectOf(`int wanted(void); ${ENTRY} { *rv = wanted(); }`);
    const { map } = linkWasmObjects({ objects: [library, main] });
    expect(map.map(({ object }) => object)).toEqual(['lib.a(wanted.o)', 'some.o', 'lib.a(deeper.o)']);
  });

  it('takes members from archives of the kind that macOS makes', () => {
    using place = workplace();
    const flags = [...WASM_CFLAGS, '-O1'];
    compile(place.path, 'a_long_name_of_a_member.c', 'int wanted(void) { return 6; }', flags, 'clang');
    const library = archive(place.path, 'lib.a', ['a_long_name_of_a_member.o'], 'rcs', 'llvm-ar', ['--format=bsd']);
    expect(Buffer.from(library.content).includes('#1/')).toBe(true);
    const main = objectOf(`int wanted(void); ${ENTRY} { *rv = wanted(); }`);
    const { map } = linkWasmObjects({ objects: [library, main] });
    expect(map.map(({ object }) => object)).toEqual(['lib.a(a_long_name_of_a_member.o)', 'some.o']);
  });

  it('traps where the stack overflows, before anything is overwritten', () => {
    const object =
      objectOf(`static int data = 5; static int deep(volatile int *p, int n) { volatile int room[64]; room[0] = n; return n == 0 ? *p : deep(room, n - 1) + room[0]; }
      ${ENTRY} { if (c) deep(&data, 1000); *rv = data; }`);
    const module = moduleOf(link([object], { stackBytes: 4096 }));
    expect(() => call(module, 1)).toThrow(/out of bounds/);
    expect(call(module, 0)).toBe('5  5 ');
  });

  it('gives the heap its bytes, and memory that grows within its limit', () => {
    const object = objectOf(`extern unsigned char __heap_base, __heap_end;
      ${ENTRY} { *rv = (&__heap_end - &__heap_base >= 200000) + 2 * (__builtin_wasm_memory_grow(0, 2) != -1) + 4 * (__builtin_wasm_memory_grow(0, 9) != -1); }`);
    expect(call(moduleOf(link([object], { heapBytes: 200000, memoryPages: 10 })), 0)).toBe('3  3 ');
  });

  it('refuses threads, exceptions, objects for other machines, bitcode and finished modules', () => {
    const thread = ['-matomics', '-mbulk-memory', '-ftls-model=local-exec', '-O1'];
    const local = objectOf(`_Thread_local int mine = 1; ${ENTRY} { *rv = mine++; }`, thread);
    expect(errorOf(() => link([local]))).toMatchObject({ code: 'thread-local', object: 'some.o' });
    const throwing = `void f(); extern "C" ${ENTRY} { try { f(); } catch (...) { *rv = 1; } }`;
    const flags = ['-x', 'c++', '-fwasm-exceptions', '-mexception-handling', '-O1'];
    expect(errorOf(() => link([objectOf(throwing, flags)]))).toMatchObject({ code: 'feature' });
    expect(errorOf(() => link([objectOf(`${ENTRY} {}`, ['-flto'])]))).toMatchObject({
      code: 'object',
      message: expect.stringContaining('bitcode'),
    });
    const plain = objectOf(`${ENTRY} { *rv = c; }`);
    const finished = { name: 'finished.wasm', content: linkWasmObjects({ objects: [plain] }).module };
    expect(errorOf(() => link([finished]))).toMatchObject({
      code: 'object',
      message: expect.stringContaining('a finished module'),
    });
    expect(errorOf(() => linkPal({ module: plain.content, name: 'a', version: '1' }))).toMatchObject({
      code: 'import',
      message: expect.stringContaining('a relocatable object'),
    });
    expect(errorOf(() => link([{ name: 'elf.o', content: Uint8Array.of(0x7f, 0x45, 0x4c, 0x46) }]))).toMatchObject({
      code: 'object',
    });
    expect(errorOf(() => link([]))).toMatchObject({ code: 'input' });
    expect(errorOf(() => link([named('d.o', objectOf('int pal;'))]))).toMatchObject({ code: 'entry' });
  });

  it('reads any bytes, and truncated and changed objects and archives, with nothing but its own errors', {
    timeout: 120_000,
  }, () => {
    using place = workplace();
    const source = `static int t[3] = {1}; int *p = t; const char *s = "text"; int f(int x) { return x + t[1]; } int (*g)(int) = f; ${ENTRY} { *rv = *p + c + g(s[1]); }`;
    const object = compile(place.path, 'a.c', source, [...WASM_CFLAGS, '-fPIC'], 'clang');
    const library = archive(place.path, 'liba.a', ['a.o'], 'rcs', 'llvm-ar');
    const root = named('root.o', objectOf(`extern int *p; ${ENTRY.replace('pal', 'root')} { *rv = *p; }`));
    const attempt = (content: Uint8Array) => {
      for (const act of [
        () => link([{ name: 'changed', content }, root], { entry: 'root' }),
        () => link([{ name: 'changed', content }]),
      ]) {
        try {
          act();
        } catch (error) {
          if (!(error instanceof PalLinkerError)) throw error;
        }
      }
    };
    for (let length = 0; length <= object.content.length; length += 3) attempt(object.content.subarray(0, length));
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom(object.content, library.content), changes, (whole, list) => {
        const changed = new Uint8Array(whole);
        for (const [at, value] of list) changed[at % changed.length] = value;
        attempt(changed);
      }),
      { numRuns: 600 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(errorOf(() => parseWasmObject(bytes, 'any'))).toMatchObject({ code: 'object' });
      }),
    );
  });
});

const ENTRY = 'void pal(unsigned c, void *i, void *o, unsigned *rv)';

function objectOf(source: string, flags: readonly string[] = ['-O1']): ObjectFile {
  using place = workplace();
  return compile(place.path, 'some.c', source, [...WASM_CFLAGS, ...flags], 'clang');
}

function named(name: string, { content }: ObjectFile): ObjectFile {
  return { name, content };
}

function link(objects: readonly (ObjectFile | undefined)[], more: Partial<LinkWasmPalOptions> = {}): Uint8Array {
  const given = objects.filter((object) => object !== undefined);
  return linkWasmPal({ objects: given, name: 'test', version: '1', ...more }).image;
}

function errorOf(act: () => unknown): PalLinkerError {
  try {
    act();
  } catch (error) {
    if (error instanceof PalLinkerError) return error;
    throw error;
  }
  throw new Error('expected an error, got none');
}

function importsOf(module: Uint8Array): readonly string[] {
  return parseModule(module).imports.map((item) => `${item.module}.${item.name}`);
}

/** One program in two arrangements: as its parts say, and with all but the entry in an archive that stands first. */
function compareWithLld(seed: number): void {
  using place = workplace();
  const parts = randomWasmProgram(seeded(seed));
  const objects = parts.map(({ name, source, flags }) => {
    return compile(place.path, name, source, [...WASM_CFLAGS, ...flags], 'clang');
  });
  const pack = (name: string, members: readonly ObjectFile[]) => {
    const names = members.map((member) => member.name);
    return names.length === 0 ? [] : [archive(place.path, name, names, 'rcs', 'llvm-ar')];
  };
  const archived = objects.filter((_, i) => parts[i]?.isArchived === true);
  const loose = objects.filter((_, i) => parts[i]?.isArchived !== true);
  const others = objects.slice(0, -1).reverse();
  for (const files of [
    [...loose, ...pack('libparts.a', archived)],
    [...pack('libothers.a', others), ...objects.slice(-1)],
  ]) {
    const { image } = linkWasmPal({ objects: files, name: 'random', version: '1' });
    const ours = moduleOf(image);
    writeFileSync(join(place.path, 'ours.wasm'), ours);
    run('wasm-validate', ['ours.wasm'], place.path);
    const theirs = linkWithLld(place.path, files);
    for (const command of [0, 7])
      expect(`seed ${seed}: ${call(ours, command)}`).toBe(`seed ${seed}: ${call(theirs, command)}`);
  }
}

function linkWithLld(directory: string, files: readonly ObjectFile[]): Uint8Array {
  const names = files.map(({ name }) => name);
  run(
    'wasm-ld',
    ['--no-entry', '--export=pal', '--export=__wasm_call_ctors', ...names, '-o', 'theirs.wasm'],
    directory,
  );
  return new Uint8Array(readFileSync(join(directory, 'theirs.wasm')));
}

/** The module in an image. */
function moduleOf(image: Uint8Array): Uint8Array {
  return parsePalImage(image).sections.find(({ type }) => type === PAL_SECTION.CODE)?.content ?? new Uint8Array(0);
}

interface PalExports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  /** Of a module of wasm-ld, which leaves the call to its user. */
  __wasm_call_ctors?(): void;
  pal(command: number, input: number, output: number, rv: number): void;
}

/** Calls the entry twice with buffers in the last page of the memory; gives the return codes and outputs. */
function call(module: Uint8Array, command: number): string {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), {}) as { readonly exports: unknown };
  const { memory, pal, __wasm_call_ctors: callConstructors } = exports as PalExports;
  callConstructors?.();
  let page = memory.buffer.byteLength - 65536;
  try {
    page = memory.grow(1) * 65536; // a PAL of ours has its room for parameters already
  } catch {}
  return [0, 1]
    .map(() => {
      const [input, output, rv] = [page, page + 16384, page + 61440];
      pal(command, input, output, rv);
      const view = new DataView(memory.buffer);
      const length = view.getUint32(output + 8, true);
      return `${view.getUint32(rv, true)} ${Buffer.from(memory.buffer, output + 16, length).toString('hex')}`;
    })
    .join(' ');
}
