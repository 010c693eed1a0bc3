/** The PAL linker beside what the TEE-SDK uses for the same: `ld -r`, `objcopy` and `nm`, on a PAL that does real cryptography; and beside wasm-ld. Then PALs at work. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linkElfPal } from '@casemate/pal-linker';
import { linkClassic } from '@casemate/pal-linker/classic';
import { linkWasmObjects } from '@casemate/pal-linker/wasm';
import { measurePals } from './pal-operations.js';
import { compare, flags } from './turns.js';

const library = '/usr/lib/x86_64-linux-gnu/libmbedcrypto.a';
const cFlags = ['-O2', '-ffreestanding', '-fno-stack-protector', '-fcf-protection=none'];
/** A key exchange and a digest: the PAL pulls curves, big numbers and SHA-256 from the library. */
const source = `
#include <stdint.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/sha256.h>
static int random_bytes(void *state, unsigned char *out, size_t length) {
  for (size_t i = 0; i < length; i++) out[i] = (unsigned char)(i + *(unsigned *)state);
  return 0;
}
void pal(uint32_t command, void *in, void *out, uint32_t *rv) {
  uint32_t *header = out;
  mbedtls_ecp_group group; mbedtls_mpi secret; mbedtls_ecp_point point;
  mbedtls_ecp_group_init(&group); mbedtls_mpi_init(&secret); mbedtls_ecp_point_init(&point);
  *rv = (uint32_t)mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_CURVE25519);
  *rv |= (uint32_t)mbedtls_ecdh_gen_public(&group, &secret, &point, random_bytes, &command);
  mbedtls_sha256_ret((const unsigned char *)in + 16, ((uint32_t *)in)[3], (unsigned char *)(header + 4), 0);
  header[2] = 32;
}
`;
/** What the library wants of a C library; none of it is called here. */
const libc = `
#include <stddef.h>
${[
  'calloc',
  'free',
  'memcmp',
  'memcpy',
  'memmove',
  'memset',
  'strlen',
  'strcmp',
  'strncmp',
  'strchr',
  'strstr',
  'printf',
  'puts',
  'putchar',
  'snprintf',
  'vsnprintf',
  'gmtime_r',
  'time',
  'fopen',
  'fclose',
  'fread',
  'fwrite',
  'fseek',
  'ftell',
  'ferror',
  'setbuf',
  'fputs',
  'fgets',
  'rename',
  'remove',
  'exit',
  'rand',
  'getrandom',
  'syscall',
  'open',
  'read',
  'close',
  '__stack_chk_fail',
  '__printf_chk',
  '__snprintf_chk',
  '__vsnprintf_chk',
  '__fprintf_chk',
  '__memcpy_chk',
  '__memset_chk',
  '__fread_chk',
  '__errno_location',
  'stdout',
  'stderr',
  'explicit_bzero',
  'pthread_mutex_lock',
  'pthread_mutex_unlock',
  'pthread_mutex_init',
  'pthread_mutex_destroy',
]
  .map((name) => `int ${name}__(void) __asm__("${name}"); int ${name}__(void) { return 0; }`)
  .join('\n')}
`;

const directory = mkdtempSync(join(tmpdir(), 'casemate-bench-'));
try {
  if (!existsSync(library)) throw new Error(`${library} is missing: apt-get install libmbedtls-dev`);
  for (const [name, text] of Object.entries({ pal: source, libc })) {
    writeFileSync(join(directory, `${name}.c`), text);
    execFileSync('gcc', [...cFlags, '-c', `${name}.c`, '-o', `${name}.o`], { cwd: directory });
  }
  const compilerLibrary = execFileSync('gcc', ['-print-libgcc-file-name'], { encoding: 'utf8' }).trim();
  const inputs = [join(directory, 'pal.o'), library, join(directory, 'libc.o'), compilerLibrary];
  await compare({
    area: 'pal',
    name: 'link a PAL that pulls from libmbedcrypto.a',
    unit: 'ms',
    better: 'lower',
    rounds: flags.quick ? 5 : 25,
    ours: () => timed(() => ours(inputs)),
    theirs: { 'ld -r, objcopy -G, nm -u': () => timed(() => binutils(inputs)) },
  });
  await compare({
    area: 'pal',
    name: 'link the same PAL the classic way',
    unit: 'ms',
    better: 'lower',
    rounds: flags.quick ? 5 : 25,
    ours: () => timed(() => classic(inputs)),
    theirs: { 'ld -r, objcopy -G, nm -u': () => timed(() => binutils(inputs)) },
  });
  const wasmInputs = compileWasm();
  await compare({
    area: 'pal',
    name: 'link a PAL of ten WebAssembly objects',
    unit: 'ms',
    better: 'lower',
    rounds: flags.quick ? 5 : 25,
    ours: () => timed(() => wasm(wasmInputs)),
    theirs: { 'wasm-ld --gc-sections': () => timed(() => wasmLd(wasmInputs)) },
  });
  await measurePals(directory);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

/** From files to a file, as the other side does it. */
function ours(inputs: readonly string[]): void {
  const objects = inputs.map((name) => ({ name, content: readFileSync(name) }));
  writeFileSync(join(directory, 'pal.image'), linkElfPal({ objects, name: 'exchange', version: '1' }).image);
}

/** The same to an object for an application. */
function classic(inputs: readonly string[]): void {
  const objects = inputs.map((name) => ({ name, content: readFileSync(name) }));
  writeFileSync(join(directory, 'pal.classic.o'), linkClassic({ objects, name: 'exchange' }).object);
}

/** Ten objects of thirty functions each, of which every other is called. */
function compileWasm(): readonly string[] {
  const names = Array.from({ length: 10 }, (_, i) => `part${i}.c`);
  for (const [i, name] of names.entries()) writeFileSync(join(directory, name), wasmSource(i));
  execFileSync('clang', ['--target=wasm32', '-O2', '-ffreestanding', '-c', ...names], { cwd: directory });
  return names.map((name) => join(directory, name.replace('.c', '.o')));
}

function wasmSource(part: number): string {
  const functions = Array.from({ length: 30 }, (_, k) => {
    const next = k + 2 < 30 ? `f${part}_${k + 2}(x + ${k})` : part + 1 < 10 ? `f${part + 1}_0(x)` : 'x';
    return `unsigned f${part}_${k}(unsigned x) { return table${part}[x % 64] + "text ${k} of ${part}"[x % 8] + ${next}; }`;
  });
  const declared = Array.from({ length: 30 }, (_, k) => `unsigned f${part}_${k}(unsigned);`).join(' ');
  const entry = 'void pal(unsigned c, void *in, void *out, unsigned *rv) { *rv = f0_0(c); (void)in; (void)out; }';
  return `unsigned table${part}[64] = {1}; ${declared} unsigned f${part + 1}_0(unsigned);\n${functions.join('\n')}\n${part === 0 ? entry : ''}`;
}

function wasm(inputs: readonly string[]): void {
  const objects = inputs.map((name) => ({ name, content: readFileSync(name) }));
  writeFileSync(join(directory, 'pal.wasm'), linkWasmObjects({ objects }).module);
}

function wasmLd(inputs: readonly string[]): void {
  execFileSync('wasm-ld', ['--no-entry', '--export=pal', ...inputs, '-o', 'theirs.wasm'], { cwd: directory });
}

/** The three steps of the TEE-SDK's onepal.mk: join, hide all but the entry, and see that nothing is missing. */
function binutils(inputs: readonly string[]): void {
  execFileSync('ld', ['-r', '-d', ...inputs, '-o', 'pal.pal.o'], { cwd: directory });
  execFileSync('objcopy', ['-G', 'pal', 'pal.pal.o'], { cwd: directory });
  const { stdout } = spawnSync('nm', ['-u', 'pal.pal.o'], { cwd: directory, encoding: 'utf8' });
  if (stdout.trim() !== '') throw new Error(`ld -r left undefined symbols:\n${stdout}`);
}

function timed(act: () => void): number {
  const start = performance.now();
  act();
  return performance.now() - start;
}
