/** Compiling, linking with GNU ld and running, for comparison with the linker of this package. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ClassicPal, classicScript } from '../src/classic.js';
import { PAL_SECTION, parsePalImage } from '../src/image.js';
import type { ProgramPart } from './elf-programs.js';

const programs = fileURLToPath(new URL('programs', import.meta.url));

/** How a PAL's C is compiled: nothing of the system's C library, and nothing that needs it. */
export const PAL_CFLAGS = [
  '-ffreestanding',
  '-fno-stack-protector',
  '-fcf-protection=none',
  '-fno-asynchronous-unwind-tables',
];

/** Whether a program can be found. */
export function has(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0;
}

/** Runs a program and gives what it printed; an exit status other than 0 is an error with what it said. */
export function run(program: string, parameters: readonly string[], cwd?: string): string {
  const { status, signal, stdout, stderr } = spawnSync(program, parameters, { cwd, encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${program} ${parameters.join(' ')}: ${signal ?? `exit ${status}`}\n${stderr}`);
}

/** A directory for a test, gone with `using`. */
export function workplace(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'casemate-link-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Compiles C or assembly; gives the object's bytes. */
export function compile(directory: string, name: string, source: string, flags: readonly string[], compiler = 'gcc') {
  writeFileSync(join(directory, name), source);
  const object = name.replace(/\.\w+$/, '.o');
  run(compiler, [...flags, '-c', name, '-o', object], directory);
  return { name: object, content: new Uint8Array(readFileSync(join(directory, object))) };
}

/** Packs objects that lie in `directory` into an archive. */
export function archive(
  directory: string,
  name: string,
  objects: readonly string[],
  flags = 'rcs',
  program = 'ar',
  options: readonly string[] = [],
) {
  run(program, [...options, flags, name, ...objects], directory);
  return { name, content: new Uint8Array(readFileSync(join(directory, name))) };
}

/** Builds one of the two programs that call a PAL. */
export function buildProgram(
  directory: string,
  name: 'load-pal' | 'call-pal',
  more: readonly string[] = [],
  compiler = 'gcc',
  file: string = name,
): string {
  const output = join(directory, file);
  // The loader must not lie where PALs lie; the other one is linked as they are, at a fixed address.
  const kind = name === 'load-pal' ? ['-static-pie'] : ['-static', '-no-pie', '-z', 'noexecstack'];
  run(compiler, ['-O1', ...kind, join(programs, `${name}.c`), ...more, '-o', output], directory);
  return output;
}

const PROTECTION: Readonly<Record<number, number>> = {
  [PAL_SECTION.CODE]: 5,
  [PAL_SECTION.RODATA]: 1,
  [PAL_SECTION.DATA]: 3,
  [PAL_SECTION.BSS]: 3,
  [PAL_SECTION.STACK]: 3,
  [PAL_SECTION.PARAM]: 3,
};

/** An image in the form that `load-pal` reads. */
function loadable(image: Uint8Array): Uint8Array {
  const { entryAddress, sections } = parsePalImage(image);
  const words = (...values: (number | bigint)[]) => new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
  const parts = sections.flatMap(({ type, address, memorySize, content }) => [
    words(address, memorySize, PROTECTION[type] ?? 0, content.length),
    content,
  ]);
  return Buffer.concat([words(entryAddress, sections.length), ...parts]);
}

/** Runs an image's entry; gives return code and output as text. */
export function runImage(
  directory: string,
  loader: string,
  image: Uint8Array,
  { command = 0, emulator = [] }: { readonly command?: number; readonly emulator?: readonly string[] } = {},
): string {
  const file = join(directory, 'loadable');
  writeFileSync(file, loadable(image));
  const [program = loader, ...rest] = [...emulator, loader, file, String(command)];
  return run(program, rest);
}

/** Compiles the parts of a program, and packs those that are to be in an archive. */
export function compileParts(directory: string, parts: readonly ProgramPart[], compiler: string) {
  const made = parts.map(({ name, source, flags, isArchived }, i) => {
    // One program has objects of both compilers.
    const [program, target] = i % 2 === 1 && name.endsWith('.c') ? clangFor(compiler) : [compiler, []];
    const all = [...flagsFor(compiler), ...target, ...flags];
    return { object: compile(directory, name, source, all, program), isArchived };
  });
  const archived = made.filter(({ isArchived }) => isArchived).map(({ object }) => object.name);
  const objects = made.filter(({ isArchived }) => !isArchived).map(({ object }) => object);
  return { objects, libraries: archived.length === 0 ? [] : [archive(directory, 'libparts.a', archived)] };
}

const isClangReady = has('clang');
if (!isClangReady && process.env.MUST_RUN === '1') throw new Error('clang is missing');

function clangFor(compiler: string): readonly [string, readonly string[]] {
  if (!isClangReady) return [compiler, []];
  return ['clang', compiler === 'gcc' ? [] : [`--target=${compiler.replace(/-gcc$/, '')}`]];
}

/** Control-flow protection is an option of x86 compilers. */
function flagsFor(compiler: string): readonly string[] {
  return compiler === 'gcc' ? PAL_CFLAGS : PAL_CFLAGS.filter((flag) => !flag.startsWith('-fcf-protection'));
}

/** Writes objects and script; gives what the application's linker is told. */
export function intoApplication(directory: string, pals: readonly ClassicPal[]): readonly string[] {
  const script = join(directory, 'pals.ld');
  writeFileSync(script, pals.length === 1 ? (pals[0]?.script ?? '') : classicScript(pals));
  const objects = pals.map(({ name, object }) => {
    const path = join(directory, `${name}.pal.o`);
    writeFileSync(path, object);
    return path;
  });
  return [...objects, '-T', script];
}
