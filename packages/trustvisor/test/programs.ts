/** PALs in C for the tests: the same source for the processor and for WebAssembly. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type LinkElfPalOptions,
  type LinkPalOptions,
  linkElfPal,
  linkPal,
  type ObjectFile,
} from '@casemate/pal-linker';

const root = fileURLToPath(new URL('..', import.meta.url));

const ELF_FLAGS = ['-O2', '-ffreestanding', '-fno-stack-protector', '-fcf-protection=none'];
const WASM_FLAGS = ['--target=wasm32', '-O2', '-ffreestanding', '-nostdlib', '-mbulk-memory'];
const WASM_LINK = ['-Wl,--no-entry', '-Wl,-z,stack-size=65536', '-Wl,--initial-memory=262144'];

/** Why PALs in C cannot be built or run here; empty where they can. With MUST_RUN=1 they have to be. */
export function whyNoPrograms(engine: 'kvm' | 'wasm'): string {
  const reason = engine === 'kvm' ? whyNoKvm() : whyNoClang();
  if (reason !== '' && engine === 'wasm' && process.env.MUST_RUN === '1') throw new Error(reason);
  return reason;
}

function whyNoClang(): string {
  return spawnSync('clang', ['--version']).status === 0 && spawnSync('wasm-ld', ['--version']).status === 0
    ? ''
    : 'clang or wasm-ld is missing';
}

function whyNoKvm(): string {
  if (spawnSync('gcc', ['--version']).status !== 0) return 'gcc is missing';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return existsSync(join(root, 'dist', 'isolate.js')) ? '' : 'the package is not built';
  } catch {
    return '/dev/kvm is not there or may not be used';
  }
}

/** Compiles programs of `test/programs` and links them for the engine. */
export function buildProgram(
  engine: 'kvm' | 'wasm',
  sources: readonly string[],
  options: Partial<LinkElfPalOptions & LinkPalOptions> = {},
): Uint8Array {
  const place = mkdtempSync(join(tmpdir(), 'casemate-program-'));
  try {
    const more = { name: sources[0]?.replace(/\.c$/, '') ?? 'pal', version: '1.0.0', ...options };
    if (engine === 'wasm') return linkPal({ memoryPages: 8, ...more, module: compileWasm(place, sources, more.entry) });
    const objects = sources.map((source) => compileElf(place, source));
    return linkElfPal({ ...more, objects: [...objects, ...(options.objects ?? [])] }).image;
  } finally {
    rmSync(place, { recursive: true });
  }
}

function compileElf(place: string, source: string): ObjectFile {
  const object = join(place, `${source}.o`);
  compile('gcc', [...ELF_FLAGS, `-I${join(root, 'include')}`, '-c', sourcePath(source), '-o', object]);
  return { name: source.replace(/c$/, 'o'), content: new Uint8Array(readFileSync(object)) };
}

function compileWasm(place: string, sources: readonly string[], entry = 'pal'): Uint8Array {
  const module = join(place, 'pal.wasm');
  const flags = [...WASM_FLAGS, ...WASM_LINK, `-Wl,--export=${entry}`, `-I${join(root, 'include')}`];
  compile('clang', [...flags, ...sources.map(sourcePath), '-o', module]);
  return new Uint8Array(readFileSync(module));
}

function sourcePath(source: string): string {
  return join(root, 'test', 'programs', source);
}

function compile(compiler: string, parameters: readonly string[]): void {
  const done = spawnSync(compiler, parameters, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${compiler}: ${done.stderr || done.error?.message}`);
}
