/** What the linker for the processor refuses, and how it says so; and that no bytes make it fail otherwise. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseArchive } from '../src/elf/archive.js';
import { type LinkElfPalOptions, linkElfPal } from '../src/elf/link.js';
import { parseElfObject } from '../src/elf/object.js';
import type { ObjectFile } from '../src/elf/symbols.js';
import { PalLinkerError } from '../src/error.js';
import { measurePal, parsePalImage } from '../src/image.js';
import { archive, compile, has, PAL_CFLAGS, workplace } from './native.js';

const isReady = has('gcc') && has('ar');
if (!isReady && process.env.MUST_RUN === '1') throw new Error('gcc and binutils are missing');
const why = isReady ? '' : ' (skipped: gcc or binutils are missing)';

const ENTRY = 'void pal(unsigned c, void *i, void *o, unsigned *rv)';

function link(objects: readonly ObjectFile[], more: Partial<LinkElfPalOptions> = {}): Uint8Array {
  return linkElfPal({ objects, name: 'test', version: '1', ...more }).image;
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

describe.skipIf(!isReady)(`what the linker refuses${why}`, () => {
  const objectOf = (source: string, flags: readonly string[] = ['-O1']): ObjectFile => {
    using inner = workplace();
    return compile(inner.path, 'some.c', source, [...PAL_CFLAGS, ...flags]);
  };
  const named = (name: string, file: ObjectFile): ObjectFile => ({ ...file, name });
  const plain = objectOf(`${ENTRY} { *rv = c; }`);

  it('names an undefined symbol and who wants it', () => {
    const object = objectOf(`int lost(void); int gone(void); ${ENTRY} { *rv = lost() + gone(); }`);
    const error = errorOf(() => link([object]));
    expect(error).toMatchObject({ code: 'undefined-symbol', object: 'some.o', section: '.text' });
    expect(error.message).toMatch(
      /expected a definition of (lost|gone), got none; nor of (lost|gone) \(some\.o, \.text\)/,
    );
  });

  it('lets code that is not reached lack something', () => {
    const object = objectOf(`int lost(void); int unused(void) { return lost(); } ${ENTRY} { *rv = 1; }`, [
      '-O1',
      '-ffunction-sections',
    ]);
    const { sections } = parsePalImage(link([object]));
    expect(sections[0]?.content.length).toBeLessThan(32);
  });

  it('names both definitions of a duplicate symbol', () => {
    const twin = named('twin.o', objectOf('int twice = 1;'));
    const first = named('first.o', objectOf(`int twice = 2; ${ENTRY} { *rv = twice; }`));
    const error = errorOf(() => link([first, twin]));
    expect(error).toMatchObject({ code: 'duplicate-symbol', object: 'twin.o', symbol: 'twice', section: '.data' });
    expect(error.message).toContain('first.o, section .data');
  });

  it('refuses thread-local storage', () => {
    const object = objectOf(`static __thread int mine; ${ENTRY} { *rv = ++mine; }`);
    expect(errorOf(() => link([object]))).toMatchObject({ code: 'thread-local', object: 'some.o', section: '.text' });
  });

  it('refuses constructors, unless the start code runs them', () => {
    const source = `static int made; __attribute__((constructor)) static void make(void) { made = 7; }
      ${ENTRY} { *rv = made; }`;
    const object = objectOf(source);
    expect(errorOf(() => link([object]))).toMatchObject({ code: 'constructor', section: '.init_array' });
    const start = named(
      'start.o',
      objectOf(`typedef void constructor(void); extern constructor *__init_array_start[], *__init_array_end[];
        void pal(unsigned c, void *i, void *o, unsigned *rv);
        void start(unsigned c, void *i, void *o, unsigned *rv) {
          for (constructor **at = __init_array_start; at < __init_array_end; at++) (*at)();
          pal(c, i, o, rv);
        }`),
    );
    expect(parsePalImage(link([object, start], { start: 'start' })).sections.length).toBeGreaterThan(2);
  });

  it('refuses an indirect function and an entry that is no code', () => {
    const indirect = objectOf(
      `static int one(void) { return 1; } static void *pick(void) { return one; }
      int any(void) __attribute__((ifunc("pick"))); ${ENTRY} { *rv = any(); }`,
      ['-O1', '-fno-pic'],
    );
    expect(errorOf(() => link([indirect]))).toMatchObject({ code: 'relocation' });
    expect(errorOf(() => link([objectOf('int pal = 3;')]))).toMatchObject({ code: 'entry', symbol: 'pal' });
    expect(errorOf(() => link([objectOf('int other;')]))).toMatchObject({
      code: 'undefined-symbol',
      symbol: 'pal',
    });
  });

  it('refuses an address that does not fit, with its place', () => {
    const far = named('far.o', objectOf('__asm__(".globl far\\n.set far, 0x123456789a");'));
    const object = objectOf(`extern char far[]; ${ENTRY} { *rv = (unsigned)(unsigned long)far; }`, ['-O1', '-fno-pic']);
    const error = errorOf(() => link([object, far]));
    expect(error).toMatchObject({ code: 'relocation', symbol: 'far' });
    expect(error.message).toContain('expected unsigned32 for relocation type 10, got 78187493530');
  });

  it('refuses a relocation that only a running program could have', () => {
    const object = objectOf(`__asm__(".data\\n.reloc ., R_X86_64_RELATIVE, pal\\n.quad 0\\n.text\\n"); int k = 1;
      extern int k2; ${ENTRY} { *rv = k; }`);
    expect(errorOf(() => link([object]))).toMatchObject({ code: 'relocation', section: '.data' });
  });

  it('refuses objects of two machines, programs, and archives that are thin', () => {
    const arm = new Uint8Array(plain.content);
    arm[18] = 183;
    expect(errorOf(() => link([plain, { name: 'arm.o', content: arm }]))).toMatchObject({
      code: 'object',
      object: 'arm.o',
    });
    const program = new Uint8Array(plain.content);
    program[16] = 2;
    expect(errorOf(() => link([{ name: 'program', content: program }])).message).toContain(
      'relocatable file (ET_REL 1)',
    );
    const thin = { name: 'thin.a', content: new TextEncoder().encode('!<thin>\n') };
    expect(errorOf(() => link([plain, thin])).message).toContain('thin archive');
    expect(errorOf(() => link([]))).toMatchObject({ code: 'input' });
  });

  it('refuses more than an image or a PAL can hold', () => {
    const large = objectOf(`static char room[300 << 20]; ${ENTRY} { room[c] = 1; *rv = room[c + 1]; }`);
    expect(errorOf(() => link([large]))).toMatchObject({ code: 'limit', section: 'BSS' });
    expect(errorOf(() => link([plain], { heapBytes: -1 }))).toMatchObject({ code: 'input' });
    expect(errorOf(() => link([plain], { stackBytes: 100 }))).toMatchObject({ code: 'input' });
  });

  it('gives the same bytes for the same inputs, and another measurement for another entry', () => {
    const object = objectOf(
      `${ENTRY} { *rv = c; } void second(unsigned c, void *i, void *o, unsigned *rv) { *rv = c; }`,
    );
    expect(link([object])).toEqual(link([object]));
    expect(measurePal(link([object], { entry: 'second' }))).not.toEqual(measurePal(link([object])));
  });

  it('takes one of several equal groups, and the strong definition for the weak one', () => {
    const inline = (n: number) =>
      objectOf(`__asm__(".section .text.same,\\"axG\\",@progbits,same,comdat\\n.weak same\\nsame: mov $${n}, %eax\\nret\\n.text");
        int same(void); ${n === 1 ? `${ENTRY} { *rv = same(); }` : 'int other(void) { return same(); }'}`);
    const one = parsePalImage(link([inline(1), named('b.o', inline(2))]));
    expect(Buffer.from(one.sections[0]?.content ?? []).includes(Buffer.from('b801000000c3', 'hex'))).toBe(true);
    expect(Buffer.from(one.sections[0]?.content ?? []).includes(Buffer.from('b802000000c3', 'hex'))).toBe(false);
  });

  it('reads long names of members and symbols, and refuses those that have no end', () => {
    const file = (name: string, content: string) =>
      `${name.padEnd(16)}${'0'.padEnd(32)}${String(content.length).padEnd(10)}\`\n${content}`;
    const ar = (...files: readonly string[]) => new TextEncoder().encode(`!<arch>\n${files.join('')}`);
    const names = `${'a'.repeat(100_000)}/\n`;
    const many = Array.from({ length: 1000 }, (_, i) => file(`/${2 * i}`, ''));
    const { members } = parseArchive(ar(file('//', names), ...many, file('/99990', '')), 'many.a');
    expect(members.size).toBe(1001);
    expect([...members.values()].map(({ name }) => name.length)).toEqual([...many.map(() => 1024), 10]);
    expect([...parseArchive(ar(file('#1/8', 'some.o\0\0content!')), 'bsd.a').members.values()]).toMatchObject([
      { name: 'some.o' },
    ]);
    for (const odd of ['#1/-2', '#1/9', '#1/1e0', '#1/'])
      expect(errorOf(() => parseArchive(ar(file(odd, 'content!')), 'bsd.a'))).toMatchObject({
        code: 'object',
        offset: 8,
      });
    const long = (length: number) =>
      objectOf(`int ${'n'.repeat(length)} = 1; ${ENTRY} { *rv = ${'n'.repeat(length)}; }`);
    expect(() => link([long(60_000)])).not.toThrow();
    expect(errorOf(() => link([long(70_000)])).message).toMatch(/a name of less than 65536 bytes/);
  });

  it('takes an entry whose name begins as those of C++ do, and says which names an image can have', () => {
    const object = objectOf(`${ENTRY.replace('pal', '_Z3palv')} { *rv = c; }`);
    expect(parsePalImage(link([object], { entry: '_Z3palv' })).entry).toBe('_Z3palv');
    const error = errorOf(() => link([object], { entry: '_Z3palv', name: '_pal' }));
    expect(error.message).toMatch(/and a letter or digit first, got "_pal"/);
  });

  it('refuses an image that nobody could open, for its size', () => {
    const object = objectOf(`const char a[9000000] = {1}; char b[9000000] = {2}; ${ENTRY} { b[c] = a[c]; }`);
    expect(errorOf(() => link([object]))).toMatchObject({ code: 'limit' });
  });

  it('reads any bytes, and truncated and changed objects and archives, with nothing but its own errors', {
    timeout: 120_000,
  }, () => {
    using inner = workplace();
    const object = compile(inner.path, 'a.c', `static int t[3] = {1}; int *p = t; ${ENTRY} { *rv = *p + c; }`, [
      ...PAL_CFLAGS,
      '-fPIC',
    ]);
    const library = archive(inner.path, 'liba.a', ['a.o']);
    const root = named('root.o', objectOf(`extern int *p; ${ENTRY.replace('pal', 'root')} { *rv = *p; }`));
    const attempt = (content: Uint8Array) => {
      try {
        link([{ name: 'changed', content }, root], { entry: 'root' });
      } catch (error) {
        if (!(error instanceof PalLinkerError)) throw error;
      }
    };
    for (const whole of [object.content, library.content])
      for (let length = 0; length <= whole.length; length += 7) attempt(whole.subarray(0, length));
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom(object.content, library.content), changes, (whole, list) => {
        const changed = new Uint8Array(whole);
        for (const [at, value] of list) changed[at % changed.length] = value;
        attempt(changed);
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        for (const parse of [parseElfObject, parseArchive])
          expect(errorOf(() => parse(bytes, 'any'))).toMatchObject({ code: 'object' });
      }),
    );
  });
});
