/** Real objects, archives, modules and images to change: of the compilers that are there. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PalLinkerError } from '../src/error.js';

const SOURCES = {
  'main.c': `
    #ifdef __wasm__
    #define COMMON static
    #else
    #define COMMON __attribute__((common))
    #endif
    extern int f(int); extern int *const table[]; extern const char *say(int); extern int weak(void) __attribute__((weak));
    extern const int __start_registry[], __stop_registry[]; COMMON int common;
    static int state = 3, zeros[9];
    void pal(unsigned c, void *in, void *out, unsigned *rv) {
      int sum = f((int)c) + *table[c & 1] + say((int)c)[0] + (weak ? weak() : 0) + common++ + state++ + zeros[c % 9];
      for (const int *at = __start_registry; at < __stop_registry; at++) sum += *at;
      *rv = (unsigned)sum; (void)in; (void)out;
    }`,
  'parts.c': `
    static int one = 1, two = 2; int *const table[] = { &one, &two };
    static int twice(int x) { return 2 * x; } static int thrice(int x) { return 3 * x; }
    static int (*const functions[])(int) = { twice, thrice };
    __attribute__((section("registry"), used)) const int registered = 7;
    __attribute__((weak)) int chosen(void) { return 4; }
    int f(int x) { return functions[x & 1](x) + chosen(); }
    const char *say(int x) { return x ? "one text" : x > 3 ? "text" : "another"; }
    double scale(int x) { return x * 1.5; }`,
} as const;

/** Compiles the sources for one target, packs the second into an archive, and gives all three. */
export function compileCorpus(compiler: string, flags: readonly string[], archiver: string): readonly Uint8Array[] {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-fuzz-'));
  try {
    const read = (name: string) => new Uint8Array(readFileSync(join(directory, name)));
    const call = (program: string, parameters: readonly string[]) => {
      const { status, stderr } = spawnSync(program, parameters, { cwd: directory, encoding: 'utf8' });
      if (status !== 0) throw new Error(`${program}: ${stderr}`);
    };
    for (const [name, source] of Object.entries(SOURCES)) {
      writeFileSync(join(directory, name), source);
      call(compiler, [...FLAGS, ...flags, '-c', name, '-o', `${name}.o`]);
    }
    call(archiver, ['rcs', 'parts.a', 'parts.c.o']);
    return ['main.c.o', 'parts.c.o', 'parts.a'].map(read);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const FLAGS = ['-O1', '-ffreestanding', '-fno-stack-protector', '-fno-asynchronous-unwind-tables'];

/** The word for the statistics. Errors of this package are outcomes; anything else is a finding. */
export function outcome(act: () => string): string {
  try {
    return act();
  } catch (error) {
    if (error instanceof PalLinkerError) return error.code;
    throw error;
  }
}

/** Throws where two files differ: the same inputs give the same bytes. */
export function assertSame(a: Uint8Array, b: Uint8Array): void {
  if (Buffer.compare(a, b) !== 0) throw new Error('the same inputs gave other bytes');
}
