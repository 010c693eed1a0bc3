/** Builds the C SDK by its Makefile, and PALs with it, as those do who build outside Node. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linkElfPal, linkPal, type PalLimitOptions } from '@casemate/pal-linker';

/** The SDK's directory. */
export const SDK = fileURLToPath(new URL('../sdk/', import.meta.url));

/** A compiler and what it compiles for. */
export type Kind = 'gcc' | 'clang' | 'wasm';

/** The SDK, built below a directory of the test's. */
export interface BuiltSdk {
  readonly kind: Kind;
  readonly place: string;
}

/** Programs that are missing to build for `kind`, as a reason to skip; empty where nothing is. */
export function whatIsMissing(...programs: readonly string[]): string {
  const missing = programs.filter((program) => spawnSync(program, ['--version']).error !== undefined);
  return missing.length === 0 ? '' : `${missing.join(' and ')} missing`;
}

/** Runs a program, and gives what it prints. */
export function run(program: string, args: readonly string[], options: { cwd?: string; env?: object } = {}): string {
  const env = { ...process.env, LC_ALL: 'C', ...options.env };
  const done = spawnSync(program, args, { encoding: 'utf8', ...options, env, maxBuffer: 1 << 26 });
  if (done.status === 0) return done.stdout;
  throw new Error(
    `${program} ${args.join(' ')}: ended with ${done.status ?? done.signal}\n${done.stdout}${done.stderr}`,
  );
}

/** `make` of the SDK for one compiler. */
export function makeSdk(place: string, kind: Kind): BuiltSdk {
  const target = kind === 'wasm' ? 'wasm' : 'all';
  const build = join(place, kind);
  run('make', ['-s', '-j2', '-C', SDK, target, `BUILD=${build}`, `PAL_CC=${kind === 'wasm' ? 'clang' : kind}`]);
  return { kind, place: build };
}

/** Libraries of a built SDK, the messages first. */
function libraries({ kind, place }: BuiltSdk): string[] {
  const directory = kind === 'wasm' ? join(place, 'wasm') : place;
  return ['libsvc-tv.a', 'libsvc.a', 'libpalc.a'].map((name) => join(directory, name));
}

/** What {@link buildPal} builds. */
interface PalPlan extends PalLimitOptions {
  readonly sources: readonly string[];
  readonly entry: string;
  readonly version?: string;
  readonly includes?: readonly string[];
  readonly archives?: readonly string[];
  readonly heapBytes?: number;
  readonly options?: readonly string[];
}

const NATIVE = ['-fno-pic', '-fcf-protection=none', '-mno-avx', '-fno-stack-protector'];
const WASM = ['--target=wasm32', '-fvisibility=hidden'];

/** Compiles a PAL with all warnings as errors, and links it with the SDK. */
export function buildPal(sdk: BuiltSdk, plan: PalPlan): Uint8Array {
  const compiler = sdk.kind === 'wasm' ? 'clang' : sdk.kind;
  const own = run(compiler, ['-print-file-name=include']).trim();
  const flags = [
    ...['-O2', '-Wall', '-Wextra', '-Werror', '-ffunction-sections', '-fdata-sections', '-nostdinc'],
    ...['-isystem', join(SDK, 'libc/include'), '-isystem', own, '-I', join(SDK, 'include')],
    ...['-I', join(SDK, '../../trustvisor/include'), ...(plan.includes ?? []).flatMap((path) => ['-idirafter', path])],
    ...(sdk.kind === 'wasm' ? WASM : NATIVE),
    ...(plan.options ?? []),
  ];
  const compile = (source: string, ...more: string[]) => {
    const object = join(sdk.place, `${plan.entry}-${basename(source, '.c')}.o`);
    run(compiler, [...flags, ...more, '-c', source, '-o', object]);
    return object;
  };
  const start = compile(join(SDK, 'src/start.c'), `-DPAL_ENTRY=${plan.entry}`);
  const files = [...plan.sources.map((source) => compile(source)), start];
  const archives = [...(plan.archives ?? []), ...libraries(sdk)];
  const {
    sources: _sources,
    entry,
    includes: _includes,
    archives: _archives,
    heapBytes,
    options: _options,
    ...limits
  } = plan;
  const identity = { version: '1', ...limits, name: entry };
  if (sdk.kind === 'wasm') {
    const module = join(sdk.place, `${entry}.wasm`);
    run('wasm-ld', ['--no-entry', '-z', 'stack-size=65536', ...files, ...archives, '-o', module]);
    return linkPal({ ...identity, module: new Uint8Array(readFileSync(module)) });
  }
  const objects = [...files, ...archives].map((name) => ({ name, content: new Uint8Array(readFileSync(name)) }));
  return linkElfPal({ ...identity, objects, entry, start: '__pal_start', heapBytes: heapBytes ?? 1 << 20 }).image;
}

/** Why nothing can be run on kvm here; empty where it can. */
export function whyNotKvm(): string {
  return existsSync('/dev/kvm') ? '' : '/dev/kvm is not there';
}
