/** The classic way: PALs inside an application's own ELF, against GNU ld, lld and readelf. */
import { spawnSync } from 'node:child_process';
import { createHash, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { classicScript, linkClassic } from '../src/classic.js';
import { parseElfObject } from '../src/elf/object.js';
import type { ObjectFile } from '../src/index.js';
import { PalLinkerError } from '../src/index.js';
import { compile, has, intoApplication, PAL_CFLAGS, run, workplace } from './native.js';

const isReady = ['gcc', 'ld', 'ar', 'nm', 'readelf'].every(has);
if (!isReady && process.env.MUST_RUN === '1') throw new Error('gcc or binutils are missing');
const why = isReady ? '' : ' (skipped: gcc or binutils are missing)';

const MBEDTLS = '/usr/lib/x86_64-linux-gnu/libmbedcrypto.a';
const KEYS = fileURLToPath(new URL('../../trustvisor/test/programs/keys.c', import.meta.url));
const programs = fileURLToPath(new URL('programs', import.meta.url));
const linkers = ['bfd', ...(has('ld.lld') ? ['lld'] : [])];
if (linkers.length < 2 && process.env.MUST_RUN === '1') throw new Error('lld is missing');

describe.skipIf(!isReady)(`the classic way${why}`, () => {
  it('shows the application nothing but the entry, and keeps its own names', () => {
    using place = workplace();
    const pal = linkClassic({ objects: [palObject(place.path, 'first', 3)], name: 'first-pal', symbol: 'first' });
    intoApplication(place.path, [pal]);
    expect(run('nm', ['first-pal.pal.o'], place.path)).toMatch(/^[0-9a-f]{16} T first\n$/);
    expect(run('nm', ['-u', 'first-pal.pal.o'], place.path)).toBe('');
    const debuggable = linkClassic({ objects: [palObject(place.path, 'first', 3)], name: 'a', keepLocalSymbols: true });
    writeFileSync(join(place.path, 'debuggable.o'), debuggable.object);
    expect(run('nm', ['debuggable.o'], place.path)).toMatch(/ t strdup\n/);
    expect(run('nm', ['-g', 'debuggable.o'], place.path)).toMatch(/^\S+ T pal\n$/);
  });

  it('writes an object that readelf finds nothing wrong with', () => {
    using place = workplace();
    const pal = linkClassic({ objects: [palObject(place.path, 'first', 3)], name: 'first' });
    intoApplication(place.path, [pal]);
    const { stdout, stderr } = readElf(['--all', '--wide', 'first.pal.o'], place.path);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/Type: +REL \(Relocatable file\)/);
    expect(stdout).toMatch(/ \.scode\.first +PROGBITS +\S+ \S+ \S+ 00 +AX +0 +0 4096/);
    expect(stdout).toMatch(/ \.sdata\.first +PROGBITS .* WA /);
    expect(stdout).toMatch(/ \.sbss\.first +NOBITS .* WA /);
    expect(stdout).not.toMatch(/ COM | UND +[^ \n]/);
    expect(parseElfObject(pal.object, 'again').symbols.filter(({ name }) => name !== '')).toHaveLength(1);
  });

  it.each(linkers)('puts two PALs with a C library each into one program with %s', (linker) => {
    using place = workplace();
    const pals = ['first', 'second'].map((symbol, i) => {
      return linkClassic({
        objects: [palObject(place.path, symbol, 3 + i)],
        name: ['first-pal', 'second'][i] ?? '',
        symbol,
      });
    });
    const given = intoApplication(place.path, pals);
    for (const kind of [['-no-pie', '-static'], ['-pie']]) {
      const flags = [`-fuse-ld=${linker}`, ...kind, '-O1', '-fno-builtin', '-Wl,--gc-sections', '-Wl,--fatal-warnings'];
      run('gcc', [...flags, join(programs, 'two-pals.c'), ...given, '-o', 'two'], place.path);
      expect(run(join(place.path, 'two'), [])).toBe('1511 1513 1000 4 1111 1\n');
      const headers = run('readelf', ['--sections', '--wide', 'two'], place.path);
      expect(headers).toMatch(/ \.SCODE +PROGBITS +\w+000 \S+ \w+000 00 +AX /);
      expect(headers).toMatch(/ \.SDATA +PROGBITS +\w+000 \S+ \w+000 00 +WA /);
      expect(run('readelf', ['--segments', '--wide', 'two'], place.path)).not.toMatch(/ RWE /);
    }
  });

  it('can be linked in by the rules of TEE-SDK, with the names for a single PAL', () => {
    using place = workplace();
    const pal = linkClassic({ objects: [palObject(place.path, 'first', 3)], name: 'single' });
    const source = `extern char __scode_start[], __scode_end[], __sdata_start[], __sdata_end[], __scode_single_start[];
      void pal(unsigned, void *, void *, unsigned *);
      int main(void) { unsigned rv, in[64], out[64]; pal(1, in, out, &rv);
        return !(rv == 1506 && __scode_start == __scode_single_start && __scode_end - __scode_start == 4096 && __sdata_end - __sdata_start == 4096); }`;
    writeFileSync(join(place.path, 'main.c'), source);
    run('gcc', ['main.c', ...intoApplication(place.path, [pal]), '-o', 'main'], place.path);
    run(join(place.path, 'main'), []);
  });

  it('names who wants what nobody defines', () => {
    using place = workplace();
    const object = compile(place.path, 'a.c', 'int lost(void); void pal(void) { lost(); }', PAL_CFLAGS);
    expect(() => linkClassic({ objects: [object], name: 'a' })).toThrow(
      /expected a definition of lost, got none \(a\.o, section \.text, symbol lost/,
    );
    const stack = compile(
      place.path,
      'b.c',
      'extern char __pal_stack_end[]; char *pal(void) { return __pal_stack_end; }',
      PAL_CFLAGS,
    );
    expect(() => linkClassic({ objects: [stack], name: 'b' })).toThrow(/expected a definition of __pal_stack_end/);
  });

  it('refuses thread-local storage, constructors that nobody runs, duplicates, and data as an entry', () => {
    using place = workplace();
    const link = (...sources: readonly string[]) => {
      const objects = sources.map((source, i) => compile(place.path, `${i}.c`, source, [...PAL_CFLAGS, '-fno-pic']));
      return () => linkClassic({ objects, name: 'a' });
    };
    const withConstructor = '__attribute__((constructor)) static void first(void) {} void pal(void) {';
    expect(link('_Thread_local int t; int pal(void) { return t++; }')).toThrow(matching('thread-local'));
    expect(link(`${withConstructor}}`)).toThrow(matching('constructor'));
    const runs = 'for (void (**f)(void) = __init_array_start; f < __init_array_end; f++) (*f)();';
    expect(
      link(`extern void (*__init_array_start[])(void), (*__init_array_end[])(void); ${withConstructor} ${runs} }`),
    ).not.toThrow();
    expect(link('int x = 1; void pal(void) {}', 'int x = 2;')).toThrow(matching('duplicate-symbol'));
    expect(link('int pal = 1;')).toThrow(matching('entry'));
  });

  it('refuses names that no section or symbol can have, and two PALs of one name', () => {
    const object = { name: 'a', machine: 'x86-64' } as const;
    for (const name of ['', '1a', 'a b', 'a*', 'a)', 'x'.repeat(65)])
      expect(() => linkClassic({ objects: [], name })).toThrow(PalLinkerError);
    expect(() => linkClassic({ objects: [], name: 'a', symbol: 'a-b' })).toThrow(PalLinkerError);
    expect(() => classicScript([])).toThrow(PalLinkerError);
    expect(() =>
      classicScript([
        { ...object, name: 'a-b' },
        { ...object, name: 'a.b' },
      ]),
    ).toThrow(/different names, got a_b/);
  });
});

const hasMbedtls = isReady && existsSync(MBEDTLS);
if (!hasMbedtls && process.env.MUST_RUN === '1') throw new Error(`${MBEDTLS} is missing: libmbedtls-dev`);

describe.skipIf(!hasMbedtls)(
  `mbedTLS the classic way${hasMbedtls ? '' : ' (skipped: libmbedtls-dev is missing)'}`,
  () => {
    it('signs and agrees on keys in an application, as GNU ld alone makes it do', { timeout: 120_000 }, () => {
      using place = workplace();
      const flags = [...PAL_CFLAGS, '-O2', '-I', join(programs, 'native')];
      const keys = compile(place.path, 'keys.c', readFileSync(KEYS, 'utf8'), flags);
      const libc = compile(place.path, 'libc.c', readFileSync(join(programs, 'native', 'libc.c'), 'utf8'), flags);
      const support = run('gcc', ['-print-libgcc-file-name']).trim();
      const libraries = [MBEDTLS, support].map((name) => ({ name, content: new Uint8Array(readFileSync(name)) }));
      const pal = linkClassic({ objects: [keys, libc, ...libraries], name: 'keys' });
      const peer = generateKeyPairSync('x25519');
      const digest = createHash('sha256').update('message').digest();
      const ours = runKeys(place.path, ['-pie', ...intoApplication(place.path, [pal])], digest, peer.publicKey);
      // The application's own C library in the PAL's place.
      const random = compile(place.path, 'random.c', RANDOM, [...PAL_CFLAGS, '-O2']);
      const theirs = runKeys(
        place.path,
        ['-static', '-no-pie', keys.name, random.name, MBEDTLS],
        digest,
        peer.publicKey,
      );
      expect(ours).toEqual(theirs);
      const [publicKeys = '', signature = '', secret = ''] = ours;
      expect(isSignature(publicKeys.slice(0, 130), digest, signature)).toBe(true);
      const shared = diffieHellman({ privateKey: peer.privateKey, publicKey: montgomery(publicKeys.slice(130)) });
      expect(secret).toBe(createHash('sha256').update(shared).digest('hex'));
    });
  },
);

/** A PAL with data of every kind and a C library of its own; it counts its calls. */
function palObject(directory: string, name: string, step: number): ObjectFile {
  const source = `
    int count = 500; static int calls; int common; const char *const text = "abc"; static int *const at = &count;
    int strlen(const char *t) { int n = 1000; while (t[n - 1000]) n++; return n; }
    char *strdup(const char *t) { common++; return (char *)t + 1; }
    void pal(unsigned c, void *i, void *o, unsigned *rv) {
      calls++; *at += ${step} * (calls - 1) + c; *rv = strlen(strdup(text)) + count + common + ${step} - 1; }`;
  return compile(directory, `${name}.c`, source, [...PAL_CFLAGS, '-O1', '-fcommon', '-fno-builtin', '-fPIE']);
}

function matching(code: string): Error {
  return expect.objectContaining({ name: 'PalLinkerError', code });
}

function readElf(parameters: readonly string[], cwd: string): { readonly stdout: string; readonly stderr: string } {
  return spawnSync('readelf', parameters, { cwd, encoding: 'utf8' });
}

const RANDOM = `unsigned utpm_rand(void *out, unsigned size) { static unsigned state = 1;
  for (unsigned i = 0; i < size; i++) { state = state * 1664525u + 1013904223u; ((unsigned char *)out)[i] = state >> 24; } return 0; }
  void reset_memory(void) {}`;

/** What the PAL of keys.c returns: its public keys, a signature, and the digest of a shared secret. */
function runKeys(directory: string, linked: readonly string[], digest: Buffer, peer: KeyObject): readonly string[] {
  run('gcc', ['-O1', join(programs, 'run-keys.c'), ...linked, '-o', 'run-keys'], directory);
  const raw = peer.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex');
  const lines = run(join(directory, 'run-keys'), [digest.toString('hex'), raw])
    .trimEnd()
    .split('\n');
  return lines.map((line) => {
    expect(line).toMatch(/^0 [0-9a-f]+$/);
    return line.slice(2);
  });
}

function isSignature(point: string, digest: Buffer, signature: string): boolean {
  const spki = Buffer.from(`3059301306072a8648ce3d020106082a8648ce3d030107034200${point}`, 'hex');
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  const options = { key, dsaEncoding: 'ieee-p1363' } as const;
  // mbedTLS signs the digest itself.
  return verify('sha256', Buffer.from('message'), options, Buffer.from(signature, 'hex')) && digest.length === 32;
}

function montgomery(raw: string): KeyObject {
  return createPublicKey({ key: Buffer.from(`302a300506032b656e032100${raw}`, 'hex'), format: 'der', type: 'spki' });
}
