import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linkElfPal, linkPal, type PalLimitOptions } from '@casemate/pal-linker';
import { version as ASSEMBLYSCRIPT, main } from 'assemblyscript/asc';
import {
  type Decoder,
  type Encoder,
  type Service,
  TZ_COMMAND,
  TZ_NAMESPACE,
  TZ_RETURN,
  TzError,
} from '../src/index.js';

/** The commands of the probe, in TypeScript below and in AssemblyScript in assembly/probe.pal.ts. */
export const PROBE = {
  ECHO: 1,
  FAIL: 2,
  SPIN: 3,
  TRAP: 4,
  FILL: 5,
  PCR: 6,
  QUOTE: 7,
  SEAL: 8,
  UNSEAL: 9,
  IDENTITY: 10,
  LENT_READ: 11,
  LENT_FILL: 12,
  LENT_XOR: 13,
  LENT_INFO: 14,
  KEPT: 15,
  CLASSIC: 16,
  SEAL_DATA: 17,
  UNSEAL_DATA: 18,
} as const;

/** The probe as a TypeScript service. */
export const probe: Service = (command, input, output, { signal }) => {
  switch (command) {
    case TZ_COMMAND.OPEN:
      return open(input, output);
    case TZ_COMMAND.CLOSE:
      return 0;
    case TZ_COMMAND.PROPERTIES:
      return properties(output);
    case PROBE.ECHO:
      return echo(input, output);
    case PROBE.FAIL:
      output.uint32(77);
      return input.uint32();
    case PROBE.SPIN:
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    case PROBE.TRAP:
      throw new Error('trapped');
    case PROBE.FILL:
      output.arraySpace(input.uint32());
      return output.error ? TZ_RETURN[output.error] : 0;
    case PROBE.LENT_READ:
      return lentRead(input, output);
    case PROBE.LENT_FILL:
      return lentChange(input, (byte) => () => byte);
    case PROBE.LENT_XOR:
      return lentChange(input, (byte) => (old) => old ^ byte);
    case PROBE.LENT_INFO:
      return lentInfo(input, output);
    default:
      return TZ_RETURN.TZ_ERROR_NOT_IMPLEMENTED;
  }
};

function open(input: Decoder, output: Encoder): number {
  const login = input.uint32();
  const data = input.arraySpace();
  output.uint32(login);
  return data?.length === 4 ? TZ_RETURN.TZ_ERROR_ACCESS_DENIED : echo(input, output);
}

function properties(output: Encoder): number {
  const { SERVICE, CONFIG, SYSTEM } = TZ_NAMESPACE;
  const values = [
    [SERVICE, 2, "the probe's vendor"],
    [SERVICE, 100, 'own'],
    [SERVICE, 1, 'another name'],
    [CONFIG, 1, 'hidden'],
    [SYSTEM, 0, 'hidden'],
    [0x12345678, 1, 'standard'],
  ] as const;
  for (const property of values) for (const value of property) output.value(value);
  return 0;
}

function lentRead(input: Decoder, output: Encoder): number {
  const [offset, length] = [input.uint32(), input.uint32()];
  const memory = input.memoryReference();
  if (!memory) return errorOf(input);
  try {
    output.array(memory.read(offset, length));
    return 0;
  } catch (error) {
    return error instanceof TzError ? error.number : 10;
  }
}

function lentChange(input: Decoder, change: (byte: number) => (old: number) => number): number {
  const byte = input.uint32();
  const memory = input.memoryReference();
  if (!memory) return errorOf(input);
  const old = memory.flags & 1 ? memory.read(0, memory.length) : new Uint8Array(memory.length);
  memory.write(0, old.map(change(byte)));
  return 0;
}

function lentInfo(input: Decoder, output: Encoder): number {
  while (input.type === 'MEM') {
    const memory = input.memoryReference();
    for (const word of [memory?.length ?? 0, memory?.flags ?? 0, 0]) output.uint32(word);
  }
  return errorOf(input);
}

function errorOf(input: Decoder): number {
  return input.error ? TZ_RETURN[input.error] : 0;
}

function echo(input: Decoder, output: Encoder): number {
  while (input.type !== 'NONE') output.value(input.value());
  if (input.more) input.uint32();
  return input.error ? TZ_RETURN[input.error] : 0;
}

const root = fileURLToPath(new URL('..', import.meta.url));

/** Compiles and links a PAL below test/assembly. */
export async function buildPal(
  source: string,
  options: PalLimitOptions & { readonly name?: string; readonly version?: string } = {},
): Promise<Uint8Array> {
  const module = cached(source) ?? keep(source, await compileAssembly(source));
  return linkPal({ name: 'probe', version: '1', ...options, module });
}

async function compileAssembly(source: string): Promise<Uint8Array> {
  let module: Uint8Array | undefined;
  const { error, stderr } = await main(
    [
      `test/assembly/${source}`,
      '--baseDir',
      root,
      '--outFile',
      'a.wasm',
      '--runtime',
      'incremental',
      '--use',
      'abort=',
      '-O2',
    ],
    {
      writeFile: (_, contents) => {
        if (typeof contents !== 'string') module = contents;
      },
    },
  );
  if (error || !module) throw new Error(`compile ${source}: ${stderr.toString()}`);
  return module;
}

/** Compiling takes seconds, and several files of tests want the same: it is kept until one of its sources changes. */
function cachePath(source: string): string {
  const digest = createHash('sha256').update(ASSEMBLYSCRIPT);
  const sdk = readdirSync(join(root, 'assembly')).sort();
  for (const file of [...sdk.map((name) => `assembly/${name}`), `test/assembly/${source}`]) {
    digest.update(`${file}\0`).update(readFileSync(join(root, file)));
  }
  return join(root, '../../.casemate/tests', `${digest.digest('hex').slice(0, 32)}.wasm`);
}

function cached(source: string): Uint8Array | undefined {
  const path = cachePath(source);
  return existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined;
}

function keep(source: string, module: Uint8Array): Uint8Array {
  const path = cachePath(source);
  mkdirSync(dirname(path), { recursive: true });
  const written = `${path}.${process.pid}`;
  writeFileSync(written, module);
  renameSync(written, path); // so that no other process reads half of it
  return module;
}

const C_FLAGS = ['-O2', '-ffreestanding', '-fno-stack-protector', '-fcf-protection=none'];

/** Compiles test/programs/probe.c with the messages of the C SDK, and links it for the engine kvm. */
export function buildCProbe(): Uint8Array {
  const sources = ['test/programs/probe.c', 'sdk/src/marshal.c'].map((source) => join(root, source));
  const includes = ['sdk/include', '../trustvisor/include'].map((path) => `-I${join(root, path)}`);
  const place = mkdtempSync(join(tmpdir(), 'casemate-tz-'));
  try {
    const objects = sources.map((source) => {
      const object = join(place, `${basename(source, '.c')}.o`);
      const done = spawnSync('gcc', [...C_FLAGS, ...includes, '-c', source, '-o', object], { encoding: 'utf8' });
      if (done.status !== 0) throw new Error(done.stderr);
      return { name: basename(object), content: new Uint8Array(readFileSync(object)) };
    });
    return linkElfPal({ name: 'probe', version: '1', objects }).image;
  } finally {
    rmSync(place, { recursive: true });
  }
}
