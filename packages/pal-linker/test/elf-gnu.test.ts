/** Objects that few compilers write and GNU ld links: the same results, or an error that says why not. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linkClassic } from '../src/classic.js';
import { type LinkElfPalOptions, linkElfPal } from '../src/elf/link.js';
import { parseElfObject } from '../src/elf/object.js';
import type { ObjectFile } from '../src/elf/symbols.js';
import { PalLinkerError } from '../src/error.js';
import { PAL_SECTION, parsePalImage } from '../src/image.js';
import {
  archive,
  buildProgram,
  compile,
  has,
  intoApplication,
  PAL_CFLAGS,
  run,
  runImage,
  workplace,
} from './native.js';

const isReady = has('gcc') && has('ld') && has('ar');
const isArmReady = isReady && has('aarch64-linux-gnu-gcc');
if (!(isReady && isArmReady) && process.env.MUST_RUN === '1') throw new Error('gcc and binutils are missing');
const why = isReady ? '' : ' (skipped: gcc or binutils are missing)';
const whyArm = isArmReady ? '' : ' (skipped: gcc for AArch64 is missing)';

const ENTRY = 'void pal(unsigned c, void *i, void *o, unsigned *rv)';
const END = '.section .note.GNU-stack,"",@progbits\n';

function errorOf(act: () => unknown): PalLinkerError {
  try {
    act();
  } catch (error) {
    if (error instanceof PalLinkerError) return error;
    throw error;
  }
  throw new Error('expected an error, got none');
}

describe.skipIf(!isReady)(`what GNU ld links too${why}`, () => {
  let place: ReturnType<typeof workplace>;
  beforeAll(() => {
    place = workplace();
  });
  afterAll(() => place[Symbol.dispose]());
  let loader: string | undefined;
  let count = 0;

  const assemble = (text: string) => compile(place.path, `asm${count++}.s`, `${text}\n${END}`, []);
  const c = (text: string, flags: readonly string[] = []) =>
    compile(place.path, `c${count++}.c`, text, [...PAL_CFLAGS, '-O1', ...flags]);
  const ours = (objects: readonly ObjectFile[], more: Partial<LinkElfPalOptions> = {}) => {
    loader ??= buildProgram(place.path, 'load-pal');
    const { image } = linkElfPal({ objects, name: 'test', version: '1', ...more });
    return Number.parseInt(runImage(place.path, loader, image), 16);
  };
  const MAIN = `#include <stdio.h>
    void ENTRY(unsigned, void *, void *, unsigned *);
    int main(void) { unsigned r; ENTRY(0, 0, 0, &r); printf("%x", r); }`;
  const theirs = (files: readonly string[], entry = 'pal') => {
    writeFileSync(join(place.path, 'main.c'), MAIN);
    run('gcc', ['-static', '-no-pie', `-DENTRY=${entry}`, 'main.c', ...files, '-o', 'main'], place.path);
    return Number.parseInt(run(join(place.path, 'main'), []), 16);
  };
  const both = (objects: readonly ObjectFile[]) => [ours(objects), theirs(objects.map(({ name }) => name))];

  it('takes data from an archive for common memory, but neither functions nor what is weak', () => {
    const common = c(`int some, other; ${ENTRY} { *rv = some + 256 * other; }`, ['-fcommon']);
    const data = c('int some = 5;');
    const weak = c('__attribute__((weak)) int other = 7;');
    const library = archive(place.path, 'libdata.a', [data.name, weak.name]);
    expect(both([common, library])).toEqual([5, 5]);
  });

  it('takes a function from an archive though the linker has an address for its name', () => {
    const main = c(`int end(void), etext(void); ${ENTRY} { *rv = end() + etext(); }`);
    const library = archive(place.path, 'libend.a', [
      c('int end(void) { return 5; }').name,
      c('int etext(void) { return 2; }').name,
    ]);
    expect(both([main, library])).toEqual([7, 7]);
  });

  it('puts sections of one name side by side, of which some are written', () => {
    const parts = ['"a"', '"aw"'].map((how, i) =>
      assemble(`.section hooks,${how}\n.quad ${i + 1}\n.data\n.space 99,7`),
    );
    const main = c(`extern const long __start_hooks[], __stop_hooks[]; extern char table[]; char table[50];
      ${ENTRY} { *rv = __stop_hooks - __start_hooks; for (const long *p = __start_hooks; p != __stop_hooks; p++) *rv += 16 * *p + table[0]; }`);
    expect(both([...parts, main])).toEqual([0x32, 0x32]);
  });

  it('refuses to give the bounds of sections of one name that are code and data', () => {
    const main = assemble(`.globl pal\n.text\npal: lea __start_odd(%rip),%rax\nret\n.section odd,"ax"\nnop`);
    const error = errorOf(() => ours([main, assemble('.section odd,"aw"\n.quad 1')]));
    expect(error).toMatchObject({ code: 'object', symbol: '__start_odd' });
  });

  it('knows the size of common memory that another object declares', () => {
    const main = assemble('.globl pal\n.text\npal: movl $buffer@SIZE, (%rcx)\nret');
    expect(both([main, assemble('.comm buffer,64,8')])).toEqual([64, 64]);
  });

  it('fills code that is not in the file with zeros', () => {
    const main = assemble(
      '.globl pal\n.text\npal: movl room(%rip),%eax\nmovl %eax,(%rcx)\nret\n.section .room,"ax",@nobits\nroom: .space 16',
    );
    expect(both([main])).toEqual([0, 0]);
  });

  it('keeps every table of functions that start code runs', () => {
    const walk = (table: string) =>
      `for (long k = 0; k < __${table}_array_end - __${table}_array_start; k++) __${table}_array_start[k]();`;
    const tables = ['preinit', 'init', 'fini'];
    const main =
      c(`${tables.map((table) => `extern void (*__${table}_array_start[])(void), (*__${table}_array_end[])(void);`).join('\n')}
      static unsigned n; static void first(void) { n = 1; } static void next(void) { n = 4 * n + 1; }
      __attribute__((section(".preinit_array"), used)) static void (*const a)(void) = first;
      __attribute__((section(".init_array"), used)) static void (*const b)(void) = next;
      __attribute__((section(".fini_array"), used)) static void (*const d)(void) = next;
      ${ENTRY} { *rv = n; }
      void start(unsigned c, void *i, void *o, unsigned *rv) { ${tables.map(walk).join('\n')} pal(c, i, o, rv); }`);
    // Libraries run the first two before main.
    expect([ours([main], { start: 'start' }), theirs([main.name], 'start')]).toEqual([21, 21]);
  });

  it('refuses constructors that start code does not run', () => {
    const start = `extern void (*__init_array_start[])(void); ${ENTRY} { *rv = 0; }
      void start(unsigned c, void *i, void *o, unsigned *rv) { __init_array_start[0](); pal(c, i, o, rv); }`;
    for (const section of ['.ctors', '.preinit_array']) {
      const object = c(
        `${start} static void f(void) {} __attribute__((section("${section}"), used)) static void (*const p)(void) = f;`,
      );
      expect(errorOf(() => ours([object], { start: 'start' }))).toMatchObject({ code: 'constructor', section });
    }
  });

  it('links an object with more sections than 16 bits can number', () => {
    const object = assemble(`.altmacro
      .macro one n
      .section .s\\n,"a"
      .endm
      .set i,0
      .rept 65550
      one %i
      .set i,i+1
      .endr
      .section .text.last,"ax"
      last: movl some(%rip),%eax
      addl $number,%eax
      ret
      .globl number
      number = 0x700
      .section .data.last,"aw"
      .globl some
      some: .long 42
      .text
      .globl pal
      pal: call last
      movl %eax,(%rcx)
      ret`);
    expect(ours([object])).toBe(0x72a);
  });

  it('tells groups apart whose signature is a section', () => {
    const grouped = (name: string, value: number) => {
      const object =
        assemble(`.section .text.${name},"axG",@progbits,sign,comdat\n.globl ${name}\n${name}: call inner${name}\nret
        inner${name}: movl $${value},%eax\nret\n.text\n.quad .text.${name}`);
      return { name: `${name}.o`, content: signedBySection(object.content, `.text.${name}`) };
    };
    const main = assemble(
      '.globl pal\n.text\npal: call one\nmovl %eax,%edx\ncall two\naddl %edx,%eax\nmovl %eax,(%rcx)\nret',
    );
    const groups = [grouped('one', 1), grouped('two', 2)];
    for (const { name, content } of groups) writeFileSync(join(place.path, name), content);
    expect(both([main, ...groups])).toEqual([3, 3]);
  });

  it('finds a symbol in an application by its section, even far behind that', () => {
    const object = assemble(`.globl pal\n.text\npal: lea past(%rip),%rax\nmovl -0x20000(%rax),%eax\naddl more(%rip),%eax
      movq pointer(%rip),%rdx\naddl -0x20000(%rdx),%eax\nmovl %eax,(%rcx)\nret
      .section .rodata\n.balign 16\nhere: .long 70\n.globl past\n.set past, here + 0x20000
      .data\n.globl more\nmore: .long 8\npointer: .quad past\n.space 20000`);
    const pal = linkClassic({ objects: [object], name: 'far', symbol: 'pal' });
    expect([...both([object]), theirs(intoApplication(place.path, [pal]))]).toEqual([148, 148, 148]);
  });

  it('refuses what is not exact, and what nobody can mean', () => {
    const sum = assemble('.globl pal\n.text\npal: movabsq $big+2,%rax\nret');
    const big = assemble('.globl big\nbig = 0x1fffffffffffff');
    expect(errorOf(() => ours([sum, big]))).toMatchObject({ code: 'relocation', symbol: 'big' });
    const overlap = assemble(`.globl pal\n.text\npal: .byte 0x48\n1: .byte 0x8b,5\n2: .long 0\nret
      .reloc 1b, R_X86_64_8, odd\n.reloc 2b, R_X86_64_REX_GOTPCRELX, target-4
      .data\n.globl target\ntarget: .long 3\n.globl odd\nodd = 0x63`);
    expect(errorOf(() => ours([overlap]))).toMatchObject({ code: 'relocation', symbol: 'target' });
    const local = assemble('.globl pal\n.text\npal: movl $nobody,(%rcx)\nret\n.weak nobody');
    const isLocal = { ...local, content: withLocal(local.content, 'nobody') };
    expect(errorOf(() => ours([isLocal]))).toMatchObject({ code: 'undefined-symbol', symbol: 'nobody' });
  });
});

describe.skipIf(!isArmReady)(`what GNU ld links for AArch64${whyArm}`, () => {
  it.each(['add x0, x0, :lo12:absent - 8', 'bl absent', 'b absent'])(
    'makes the same of "%s" where that is absent',
    (instruction) => {
      using place = workplace();
      const text = `.globl pal\n.text\npal: ${instruction}\nret\n.weak absent\n`;
      const object = compile(place.path, 'a.s', text, [], 'aarch64-linux-gnu-gcc');
      const { image } = linkElfPal({ objects: [object], name: 'test', version: '1' });
      run('aarch64-linux-gnu-ld', ['a.o', '-e', 'pal', '-o', 'a'], place.path);
      run('aarch64-linux-gnu-objcopy', ['-O', 'binary', '-j', '.text', 'a', 'a.bin'], place.path);
      const code = parsePalImage(image).sections.find(({ type }) => type === PAL_SECTION.CODE)?.content;
      expect(Buffer.from(code ?? []).toString('hex')).toBe(
        run('od', ['-An', '-v', '-tx1', 'a.bin'], place.path).replace(/\s/g, ''),
      );
    },
  );
});

/** The header of the section of a type. */
function headerOf(bytes: Buffer, type: number): number {
  const table = Number(bytes.readBigUInt64LE(40));
  const index = Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => i).find(
    (i) => bytes.readUInt32LE(table + 64 * i + 4) === type,
  );
  return table + 64 * (index ?? 0);
}

/** An object whose only group has the symbol of a section as its signature. */
function signedBySection(content: Uint8Array, section: string): Uint8Array {
  const { symbols, sections } = parseElfObject(content, 'group.o');
  const symbol = symbols.findIndex(({ type, section: index }) => type === 3 && sections[index]?.name === section);
  if (symbol < 0) throw new Error(`no symbol of ${section}`);
  const bytes = Buffer.from(content);
  bytes.writeUInt32LE(symbol, headerOf(bytes, 17) + 44);
  return new Uint8Array(bytes);
}

/** An object with one of its symbols made local. */
function withLocal(content: Uint8Array, name: string): Uint8Array {
  const bytes = Buffer.from(content);
  const symbols = Number(bytes.readBigUInt64LE(headerOf(bytes, 2) + 24));
  bytes[symbols + 24 * parseElfObject(content, 'local.o').symbols.findIndex((symbol) => symbol.name === name) + 4] = 0;
  return new Uint8Array(bytes);
}
