/** The linker for the processor, against compilers, `ar` and GNU ld. */
import { describe, expect, it } from 'vitest';
import { linkClassic } from '../src/classic.js';
import { linkElfPal } from '../src/elf/link.js';
import { PAL_SECTION, parsePalImage } from '../src/image.js';
import { inspectPal } from '../src/inspect.js';
import { randomProgram, seeded } from './elf-programs.js';
import {
  buildProgram,
  compile,
  compileParts,
  has,
  intoApplication,
  PAL_CFLAGS,
  run,
  runImage,
  workplace,
} from './native.js';

const isReady = has('gcc') && has('ld') && has('ar');
if (!isReady && process.env.MUST_RUN === '1') throw new Error('gcc and binutils are missing');
const why = isReady ? '' : ' (skipped: gcc or binutils are missing)';

const COUNTER = `
#include <stdint.h>
static uint32_t count = 40;
extern const char text[];
uint32_t twice(uint32_t);
void pal(uint32_t command, void *in, void *out, uint32_t *rv) {
  uint32_t *header = out;
  unsigned char *data = (unsigned char *)(header + 4);
  for (header[2] = 0; text[header[2]]; header[2]++) data[header[2]] = (unsigned char)text[header[2]];
  *rv = twice(command) + ++count;
}`;
const TWICE = `
#include <stdint.h>
const char text[] = "hi";
__attribute__((weak)) uint32_t missing(void);
uint32_t twice(uint32_t x) { return missing ? missing() : 2 * x; }`;

describe.skipIf(!isReady)(`linking objects${why}`, () => {
  it('links two objects and runs', () => {
    using place = workplace();
    const objects = [
      compile(place.path, 'counter.c', COUNTER, PAL_CFLAGS),
      compile(place.path, 'twice.c', TWICE, PAL_CFLAGS),
    ];
    const { image, map } = linkElfPal({ objects, name: 'counter', version: '1' });
    const loader = buildProgram(place.path, 'load-pal');
    expect(runImage(place.path, loader, image, { command: 3 })).toBe('0000002f 6869\n');
    expect(inspectPal(image).kind).toBe('elf-x86-64');
    expect(map.map(({ section, object }) => `${section} ${object}`)).toContain('DATA counter.o');
  });

  it('puts an address into an instruction that would load it to compute with it', () => {
    using place = workplace();
    const source = `.intel_syntax noprefix
      .globl pal
      .text
      pal: cmp r9, target@GOTPCREL[rip]
      test rax, target@GOTPCREL[rip]
      sub rdi, target@GOTPCREL[rip]
      mov rax, target@GOTPCREL[rip]
      ret
      .data
      target: .quad 0
      .section .note.GNU-stack,"",@progbits`;
    const { image } = linkElfPal({ objects: [compile(place.path, 'a.s', source, [])], name: 'a', version: '1' });
    const { sections } = parsePalImage(image);
    const data = Buffer.alloc(4);
    data.writeUInt32LE(Number(sections.find(({ type }) => type === PAL_SECTION.DATA)?.address));
    const code = Buffer.from(sections[0]?.content ?? []).toString('hex');
    const address = data.toString('hex');
    expect(code).toMatch(new RegExp(`^4981f9${address}48f7c0${address}4881ef${address}488d05........c3`));
    expect(sections.some(({ type }) => type === PAL_SECTION.RODATA)).toBe(false);
  });

  it('gives programs made at random the results that GNU ld gives them, as images and in an application', {
    timeout: 1_800_000,
  }, () => {
    compareWithLd({ machine: 'x86', compiler: 'gcc', emulator: [], count: Number(process.env.LINK_PROGRAMS ?? 12) });
  });
});

const isArmReady = has('aarch64-linux-gnu-gcc') && has('qemu-aarch64-static');
if (!isArmReady && process.env.MUST_RUN === '1')
  throw new Error('aarch64-linux-gnu-gcc and qemu-aarch64-static are missing');

describe.skipIf(!isArmReady)(
  `linking for AArch64${isArmReady ? '' : ' (skipped: no cross compiler or emulator)'}`,
  () => {
    it('gives programs made at random the results that GNU ld gives them, as images and in an application', {
      timeout: 1_800_000,
    }, () => {
      const count = Number(process.env.LINK_PROGRAMS ?? 4);
      compareWithLd({ machine: 'arm', compiler: 'aarch64-linux-gnu-gcc', emulator: ['qemu-aarch64-static'], count });
    });
  },
);

interface Comparison {
  readonly machine: 'x86' | 'arm';
  readonly compiler: string;
  readonly emulator: readonly string[];
  readonly count: number;
}

/** `LINK_PROGRAMS` programs from the seed `LINK_SEED` on. */
function compareWithLd({ machine, compiler, emulator, count }: Comparison): void {
  const first = Number(process.env.LINK_SEED ?? 1);
  using tools = workplace();
  const loader = buildProgram(tools.path, 'load-pal', [], compiler);
  for (let seed = first; seed < first + count; seed++) {
    using place = workplace();
    const { objects, libraries } = compileParts(place.path, randomProgram(seeded(seed), machine), compiler);
    const files = [...objects, ...libraries];
    const { image } = linkElfPal({ objects: files, name: 'random', version: '1' });
    const paths = files.map(({ name }) => `${place.path}/${name}`);
    const theirs = buildProgram(place.path, 'call-pal', paths, compiler);
    const classic = intoApplication(place.path, [linkClassic({ objects: files, name: 'random-pal' })]);
    const withPal = buildProgram(place.path, 'call-pal', classic, compiler, 'with-pal');
    for (const command of [0, 7]) {
      const [expected, application] = [theirs, withPal].map((program) => runWith(emulator, program, command));
      const ours = runImage(place.path, loader, image, { command, emulator });
      expect(`seed ${seed}: ${ours}`).toBe(`seed ${seed}: ${expected}`);
      expect(`seed ${seed}: ${application}`).toBe(`seed ${seed}: ${expected}`);
    }
  }
}

function runWith(emulator: readonly string[], program: string, command: number): string {
  const [first = program, ...rest] = [...emulator, program, String(command)];
  return run(first, rest);
}
