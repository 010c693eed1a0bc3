/** `build`: from sources to an image, or to an object for an application's own ELF. */
import { basename, dirname, extname, join, resolve } from 'node:path';
import {
  type BaseContext,
  type CommandDefinition,
  type Json,
  type Result,
  table,
  usage,
  writeOutputFile,
} from '@casemate/command-line';
import { buildClassicPal } from '../../build/build-classic.js';
import { type BuildPalOptions, type BuiltPal, buildPal, type PalEngine } from '../../build/build-pal.js';
import type { ObjectOptions } from '../../build/objects.js';
import type { MapEntry } from '../../elf/map.js';
import type { PalDiagnostic } from '../../error.js';
import { inspectPal } from '../../inspect.js';
import { signPal } from '../../signature.js';
import { bytesOf, numberOf, readManifest, SIGNING, signerOf, wordOf } from '../options.js';
import { sizeText } from '../picture.js';

/** Compiles and links. */
export const buildCommand: CommandDefinition = {
  name: 'build',
  usage: 'SOURCE…',
  summary: 'compile and link a PAL',
  details:
    'Sources are one file of AssemblyScript (.ts) or finished WebAssembly (.wasm), or any number of C, C++ and assembler files, ' +
    'objects and archives. The same sources and compilers give the same bytes, wherever they lie.',
  options: {
    engine: {
      type: 'string',
      short: 'e',
      value: 'ENGINE',
      help: 'kvm, wasm or both; wasm for .ts and .wasm, else kvm',
    },
    name: { type: 'string', short: 'n', value: 'NAME', help: "the PAL's name; that of the first source unless given" },
    version: { type: 'string', value: 'VERSION', help: "the PAL's version; that in package.json unless given" },
    out: {
      type: 'string',
      short: 'o',
      value: 'FILE',
      help: 'write the image there; NAME.pal, for both NAME.kvm.pal and NAME.wasm.pal',
    },
    map: { type: 'string', value: 'FILE', help: 'write what went where' },
    'replay-protected': { type: 'boolean', help: 'its state is protected against replay, and it is deterministic' },
    entry: { type: 'string', value: 'SYMBOL', help: 'the function that is called; pal' },
    start: {
      type: 'string',
      value: 'SYMBOL',
      help: 'code that runs in its place and calls it, such as constructors (kvm)',
    },
    input: { type: 'string', value: 'BYTES', help: 'the largest input; 16k' },
    output: { type: 'string', value: 'BYTES', help: 'the largest output; 16k' },
    stack: { type: 'string', value: 'BYTES', help: 'stack; 64k, of translated WebAssembly 1m' },
    heap: { type: 'string', value: 'BYTES', help: 'room for a heap (C); 0, with the C library 1m on kvm' },
    'memory-pages': { type: 'string', value: 'N', help: 'how far WebAssembly memory may grow, in pages of 64 KiB' },
    lent: { type: 'string', value: 'BYTES', help: 'how much may be lent to translated WebAssembly in a call; 1m' },
    'floating-point': {
      type: 'string',
      value: 'RULE',
      help: 'allow or refuse (WebAssembly); refuse if replay-protected',
    },
    cc: { type: 'string', value: 'PROGRAM', help: 'the C compiler; gcc for kvm, clang for wasm' },
    include: { type: 'string', short: 'I', value: 'DIR', multiple: true, help: 'look for headers there' },
    define: { type: 'string', short: 'D', value: 'NAME', multiple: true, help: 'define a macro, NAME or NAME=VALUE' },
    optimize: { type: 'string', short: 'O', value: 'LEVEL', help: '0, 1, 2, 3, s or z; 2' },
    option: {
      type: 'string',
      value: 'OPTION',
      multiple: true,
      help: 'one more option of the compiler: --option=-Wall',
    },
    sdk: { type: 'string', value: 'DIR', help: 'the C library for PALs; that of @casemate/tz; none for none' },
    runtime: { type: 'string', value: 'NAME', help: "AssemblyScript's memory manager: incremental, minimal or stub" },
    wasm2c: {
      type: 'string',
      value: 'PROGRAM',
      help: 'what makes C of WebAssembly for kvm; of the package wabt, else of the system',
    },
    ...SIGNING,
    classic: {
      type: 'boolean',
      help: 'make NAME.pal.o and NAME.pal.ld for an application that holds the PAL in itself',
    },
    symbol: { type: 'string', value: 'SYMBOL', help: 'the name that the application calls a classic PAL by' },
  },
  examples: [
    'pal build counter.pal.ts --version 1.0.0',
    'pal build counter.pal.ts --engine both --signing-key signer.pem',
    'pal build keys.c /usr/lib/x86_64-linux-gnu/libmbedcrypto.a --heap 256k --map keys.map',
    'pal build keys.c --classic && gcc main.c keys.pal.o -T keys.pal.ld -o main',
  ],
  positionals: { min: 1, max: 4096 },
  run: async (context) => (context.has('classic') ? await buildClassic(context) : await buildImages(context)),
};

const ENGINES = ['kvm', 'wasm', 'both'] as const;

async function buildImages(context: BaseContext): Promise<Result> {
  refuseOptions(context, ['symbol'], 'goes with --classic');
  if (!context.has('signing-key'))
    refuseOptions(context, ['security-version', 'passphrase', 'pss'], 'goes with --signing-key');
  const options = await imageOptions(context);
  const signer = await signerOf(context);
  const securityVersion = numberOf(context, 'security-version') ?? 0;
  const wanted = wordOf(context, 'engine', ENGINES) ?? defaultEngine(context.positionals);
  const engines: readonly PalEngine[] = wanted === 'both' ? ['kvm', 'wasm'] : [wanted];
  const fileOf = (engine: PalEngine) => outputFor(context, options.name, wanted === 'both' ? engine : undefined);
  refuseOverwriting(context, engines.map(fileOf));
  const made: Made[] = [];
  // One after the other: what goes wrong is told once.
  for (const engine of engines) {
    const built = await working(context, (more) => buildPal({ ...options, ...more, engine }));
    const image = signer ? await signPal(built.image, signer, { securityVersion }) : built.image;
    made.push({ ...built, image, engine, file: fileOf(engine) });
  }
  for (const { file, image } of made) await writeOutputFile(file, image);
  await writeMap(context, made);
  return { json: made.map(jsonOf), text: made.map((each) => textOf(each, context)).join('\n') };
}

interface Made extends BuiltPal {
  readonly engine: PalEngine;
  readonly file: string;
}

function jsonOf({ image, engine, file, warnings }: Made): Json {
  const { name, version, measurement, size, signature } = inspectPal(image);
  const signed = signature && { ...signature };
  return {
    file,
    engine,
    name,
    version,
    measurement,
    size,
    signature: signed,
    warnings: warnings.map((each) => ({ ...each })),
  };
}

function textOf({ image, file }: Made, { style }: BaseContext): string {
  const { name, version, measurement, size, sections, signature } = inspectPal(image);
  const parts = sections
    .filter(({ contentSize, memorySize, type }) => contentSize + memorySize > 0 && type !== 'PARAM' && type !== 'STACK')
    .map(({ type, contentSize, memorySize }) => `${type} ${sizeText(contentSize || memorySize)}`);
  return [
    `${style.bold(file)}: ${name} ${version}, ${sizeText(size)} (${parts.join(', ')})`,
    `  measurement ${measurement}`,
    ...(signature ? [`  signed by   ${signature.signer}, security version ${signature.securityVersion}`] : []),
  ].join('\n');
}

const FOR_IMAGES = [
  ...[
    'engine',
    'version',
    'start',
    'input',
    'output',
    'stack',
    'memory-pages',
    'lent',
    'floating-point',
    'replay-protected',
  ],
  ...['signing-key', 'security-version', 'passphrase', 'pss', 'runtime', 'wasm2c'],
];

async function buildClassic(context: BaseContext): Promise<Result> {
  refuseOptions(context, FOR_IMAGES, 'does not go with --classic');
  const name = nameOf(context);
  const more = { ...text(context, { entry: 'entry', symbol: 'symbol' }), ...number(context, { heapBytes: 'heap' }) };
  const given = { ...objectOptions(context), ...more, name, sources: context.positionals };
  const object = context.text('out') ?? `${name}.pal.o`;
  const script = `${object.replace(/\.o$/, '')}.ld`;
  refuseOverwriting(context, [object, script]);
  const pal = await working(context, (how) => buildClassicPal({ ...given, ...how }));
  await writeOutputFile(object, pal.object);
  await writeOutputFile(script, pal.script);
  await writeMap(context, [{ file: object, map: pal.map }]);
  const warnings = pal.warnings.map((each) => ({ ...each }));
  return {
    json: { object, script, name, symbol: pal.symbol, machine: pal.machine, size: pal.object.length, warnings },
    text: `${context.style.bold(object)}, ${script}: ${name}, called as ${pal.symbol}, ${sizeText(pal.object.length)}\n  cc … ${object} -T ${script}`,
  };
}

/** No output may be a source, or another output. */
function refuseOverwriting(context: BaseContext, images: readonly string[]): void {
  const map = context.text('map');
  const taken = new Map(context.positionals.map((path) => [resolve(path), 'a source']));
  for (const output of [...images, ...(map === undefined ? [] : [map])]) {
    const what = taken.get(resolve(output));
    if (what !== undefined) throw usage(`build: ${output} cannot be written, for it is ${what}`);
    taken.set(resolve(output), 'written already');
  }
}

function refuseOptions(context: BaseContext, names: readonly string[], why: string): void {
  const given = names.find((name) => context.has(name));
  if (given !== undefined) throw usage(`build: --${given} ${why}`);
}

async function imageOptions(context: BaseContext): Promise<Omit<BuildPalOptions, 'engine'>> {
  const runtime = wordOf(context, 'runtime', ['incremental', 'minimal', 'stub']);
  const floatingPoint = wordOf(context, 'floating-point', ['allow', 'refuse']);
  const memoryPages = numberOf(context, 'memory-pages');
  return {
    ...objectOptions(context),
    ...{ sources: context.positionals, name: nameOf(context), version: await versionOf(context) },
    ...text(context, { entry: 'entry', start: 'start', wasm2c: 'wasm2c' }),
    ...number(context, {
      inputCapacity: 'input',
      outputCapacity: 'output',
      stackBytes: 'stack',
      heapBytes: 'heap',
      lentBytes: 'lent',
    }),
    ...(runtime && { runtime }),
    ...(floatingPoint && { floatingPoint }),
    ...(memoryPages !== undefined && { memoryPages }),
    replayProtected: context.has('replay-protected'),
  };
}

function objectOptions(context: BaseContext): ObjectOptions {
  const sdk = context.text('sdk');
  return {
    ...text(context, { compiler: 'cc', optimize: 'optimize' }),
    includes: context.texts('include'),
    defines: context.texts('define'),
    compilerOptions: context.texts('option'),
    ...(sdk !== undefined && { sdk: sdk === 'none' ? false : sdk }),
  };
}

/** Those of these options that are given. */
function text<K extends string>(
  context: BaseContext,
  names: Readonly<Record<K, string>>,
): { readonly [N in K]?: string } {
  return values(names, (option) => context.text(option));
}

/** Those of these options that are given, as numbers of bytes. */
function number<K extends string>(
  context: BaseContext,
  names: Readonly<Record<K, string>>,
): { readonly [N in K]?: number } {
  return values(names, (option) => bytesOf(context, option));
}

function values<K extends string, V>(names: Readonly<Record<K, string>>, read: (option: string) => V | undefined) {
  const entries = Object.entries<string>(names).map(([name, option]) => [name, read(option)] as const);
  const given = entries.filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { readonly [N in K]?: V }; // the names are K, and none is undefined
}

function defaultEngine([first = '']: readonly string[]): PalEngine {
  return ['.ts', '.wasm'].includes(extname(first)) ? 'wasm' : 'kvm';
}

/** `counter` for `src/counter.pal.ts`. */
function nameOf(context: BaseContext): string {
  const [first = ''] = context.positionals;
  return context.text('name') ?? basename(first, extname(first)).replace(/\.pal$/, '');
}

async function versionOf(context: BaseContext): Promise<string> {
  const version = context.text('version') ?? (await readManifest('.')).version;
  if (version !== undefined) return version;
  throw usage(
    'build: the PAL has no version',
    'Give it with --version 1.0.0, or in the package.json of this directory.',
  );
}

function outputFor(context: BaseContext, name: string, engine: PalEngine | undefined): string {
  const out = context.text('out') ?? `${name}.pal`;
  if (engine === undefined) return out;
  const ending = extname(out);
  return join(dirname(out), `${basename(out, ending)}.${engine}${ending}`);
}

/** With the step that is under way on the terminal, warnings on standard error, and an end on interruption. */
async function working<T extends { readonly warnings: readonly PalDiagnostic[] }>(
  context: BaseContext,
  build: (how: Pick<ObjectOptions, 'signal' | 'onStep'>) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const stop = context.surroundings.onInterrupt(() => controller.abort());
  let step = 'build';
  const onStep = (next: string) => {
    step = next;
  };
  try {
    const built = await context.during(() => step, build({ signal: controller.signal, onStep }));
    for (const warning of built.warnings) context.surroundings.err(warningText(warning));
    return built;
  } finally {
    stop();
  }
}

function warningText({ file, line, column, message }: PalDiagnostic): string {
  return `${file}:${line}:${column}: warning: ${message}\n`;
}

async function writeMap(
  context: BaseContext,
  made: readonly { readonly file: string; readonly map: readonly MapEntry[] }[],
): Promise<void> {
  const path = context.text('map');
  if (path === undefined) return;
  const parts = made.map(({ file, map }) => {
    const rows = map.map(({ section, address, size, object, input }) => [
      ...[`0x${address.toString(16).padStart(8, '0')}`, String(size), section, input, object],
    ]);
    return `${file}\n${table([['address', 'bytes', 'section', 'input', 'object'], ...rows])}\n`;
  });
  await writeOutputFile(path, parts.join('\n'));
}
