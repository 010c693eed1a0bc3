/** Building PALs: compilers, determinism, what is said when sources or programs are wrong. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type BuildPalOptions, buildPal } from '../src/build.js';
import { inspectPal, measurePal, PalLinkerError, parsePalImage } from '../src/index.js';
import { assemble, pal } from './modules.js';

const root = mkdtempSync(join(tmpdir(), 'casemate-build-test-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A project of these files, in a directory of its own. */
let projects = 0;
function project(files: Readonly<Record<string, string>>): string {
  const directory = join(root, `project ${projects++}`);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  return directory;
}

const has = (program: string) => spawnSync(program, ['--version']).status === 0;
const missing = ['gcc', 'clang'].filter((program) => !has(program));
if (missing.length > 0 && process.env.MUST_RUN === '1') throw new Error(`missing: ${missing.join(', ')}`);
const withCompilers = describe.skipIf(missing.length > 0);

const HEADER = `#include <stdint.h>
struct pal_buffer { uint32_t return_value, size, offset, size_used; unsigned char data[]; };
#if defined(__wasm__)
__attribute__((import_module("trustvisor"), import_name("utpm_rand"))) uint32_t utpm_rand(void *out, uint32_t size);
#else
static inline uint32_t utpm_rand(void *out, uint32_t size) { (void)out; return size; }
#endif
`;
const FILES = {
  'include/pal.h': HEADER,
  'adder.c': `#include "pal.h"
#include "amount.h"
const char *where(void);
static uint32_t total;
void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	total += command + AMOUNT;
	out->offset = in->size_used < 4 ? 0 : where()[0] == 'w';
	*rv = total + utpm_rand(out->data, 8);
}
`,
  'where.c': 'const char *where(void) { return __FILE__; }\nint unused(void) { return 4711; }\n',
  'amount.h': '#ifndef AMOUNT\n#define AMOUNT 1\n#endif\n',
};

const ADDER: Omit<BuildPalOptions, 'engine'> = {
  ...{ sources: ['adder.c', 'where.c'], name: 'adder', version: '1.0.0', includes: ['include'], sdk: false },
};

async function failure(run: Promise<unknown>): Promise<PalLinkerError> {
  try {
    await run;
  } catch (error) {
    if (error instanceof PalLinkerError) return error;
    throw error;
  }
  throw new Error('expected a PalLinkerError');
}

withCompilers('building C', () => {
  it.each(['kvm', 'wasm'] as const)('gives the same image for %s wherever the sources lie', async (engine) => {
    const [one, other] = [project(FILES), join(project(FILES), '..', 'project 1')];
    const images = await Promise.all(
      [one, other].map((baseDirectory) => buildPal({ ...ADDER, engine, baseDirectory })),
    );
    expect(images[0]?.image).toEqual(images[1]?.image);
    const text = Buffer.from(images[0]?.image ?? []).toString('latin1');
    expect(text).not.toContain('project');
    expect(text).not.toContain('casemate-');
    expect(inspectPal(images[0]?.image ?? new Uint8Array(0))).toMatchObject({
      ...{ kind: engine === 'kvm' ? 'elf-x86-64' : 'wasm', name: 'adder', version: '1.0.0' },
    });
  });

  it('lets no path in of sources and headers outside of the base directory', async () => {
    const files = {
      'own/main.c':
        '#include "place.h"\n#include <stdint.h>\nconst char *where(void);\nvoid pal(uint32_t command, void *in, void *out, uint32_t *rv) { *rv = where()[command] + here()[command]; }\n',
      'shared/where.c': FILES['where.c'],
      'headers/place.h': 'static inline const char *here(void) { return __FILE__; }\n',
    };
    const options = { sources: ['main.c', '../shared/where.c'], includes: ['../headers'], engine: 'kvm' } as const;
    const build = () => buildPal({ ...ADDER, ...options, baseDirectory: join(project(files), 'own') });
    const [one, other] = [await build(), await build()];
    expect(one.image).toEqual(other.image);
    const text = Buffer.from(one.image).toString('latin1');
    expect([text.includes('shared/where.c'), text.includes('headers/place.h'), text.includes('project')]).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('takes files for files whose names begin as options do', async () => {
    const baseDirectory = project({
      '-where.c': FILES['where.c'],
      'adder.c': FILES['adder.c'],
      'amount.h': FILES['amount.h'],
      'include/pal.h': HEADER,
      '@dir/where.c': FILES['where.c'],
      'dir/where.c': '-no-such-option',
    });
    for (const name of ['-where.c', '@dir/where.c']) {
      const { image } = await buildPal({ ...ADDER, sources: ['adder.c', name], engine: 'kvm', baseDirectory });
      expect(parsePalImage(image).name).toBe('adder');
    }
  });

  it('says which files the image was made from, headers too', async () => {
    const baseDirectory = project(FILES);
    const { dependencies, map } = await buildPal({ ...ADDER, engine: 'kvm', baseDirectory });
    for (const name of ['adder.c', 'where.c', 'amount.h', 'include/pal.h']) {
      expect(dependencies).toContain(join(baseDirectory, name));
    }
    expect(map.map(({ input }) => input)).toContain('.text.where');
    expect(map.map(({ input }) => input)).not.toContain('.text.unused');
  });

  it('gives macros and options on, and levels of optimization', async () => {
    const baseDirectory = project(FILES);
    const build = async (more: Partial<BuildPalOptions>) =>
      Buffer.from(measurePal((await buildPal({ ...ADDER, engine: 'kvm', baseDirectory, ...more })).image)).toString(
        'hex',
      );
    const plain = await build({});
    const others = [
      { defines: ['AMOUNT=2'] },
      { compilerOptions: ['-DAMOUNT=3'] },
      { optimize: '0' },
      { compiler: 'clang' },
    ];
    const measured = await Promise.all(others.map(build));
    expect(new Set([plain, ...measured]).size).toBe(5);
    expect(await build({ defines: ['AMOUNT=1'] })).toBe(plain);
  });

  it('links objects and archives, those that are for the engine', async () => {
    const baseDirectory = project(FILES);
    const tool = (program: string, ...args: string[]) =>
      expect(spawnSync(program, args, { cwd: baseDirectory, encoding: 'utf8' })).toMatchObject({
        status: 0,
        stderr: '',
      });
    tool('gcc', '-O2', '-c', 'where.c', '-o', 'where.o');
    tool('ar', 'rcs', 'libwhere.a', 'where.o');
    for (const library of ['where.o', 'libwhere.a']) {
      const { image } = await buildPal({ ...ADDER, sources: ['adder.c', library], engine: 'kvm', baseDirectory });
      expect(parsePalImage(image).name).toBe('adder');
    }
    const wrong = buildPal({ ...ADDER, sources: ['adder.c', 'where.o'], engine: 'wasm', baseDirectory });
    expect(await failure(wrong)).toMatchObject({ code: 'object' });
  });

  it('refuses what would differ tomorrow', async () => {
    const baseDirectory = project({ ...FILES, 'where.c': 'const char *where(void) { return __TIME__; }' });
    const told = await failure(buildPal({ ...ADDER, engine: 'kvm', baseDirectory }));
    expect(told).toMatchObject({ code: 'compile', diagnostics: [{ file: 'where.c', line: 1, severity: 'error' }] });
  });

  it.each(['kvm', 'wasm'] as const)('tells what the compiler for %s said, with its places', async (engine) => {
    const baseDirectory = project({
      ...FILES,
      'where.c': '\n#warning careful\nint where(void) {\n  return nothing;\n}\n',
    });
    const told = await failure(buildPal({ ...ADDER, engine, baseDirectory }));
    expect(told.code).toBe('compile');
    expect(told.message).toMatch(/^compile where\.c: /);
    expect(told.diagnostics).toContainEqual(
      expect.objectContaining({ file: 'where.c', line: 4, column: 10, severity: 'error' }),
    );
    expect(told.diagnostics).toContainEqual(expect.objectContaining({ file: 'where.c', line: 2, severity: 'warning' }));
  });

  it('gives warnings of sources that compile', async () => {
    const baseDirectory = project({ ...FILES, 'amount.h': '#define AMOUNT 1\n#warning careful\n' });
    const { warnings } = await buildPal({ ...ADDER, engine: 'kvm', baseDirectory });
    expect(warnings).toEqual([expect.objectContaining({ file: 'amount.h', line: 2, severity: 'warning' })]);
  });

  it('names an undefined symbol, and who wants it', async () => {
    const baseDirectory = project(FILES);
    const told = await failure(buildPal({ ...ADDER, sources: ['adder.c'], engine: 'kvm', baseDirectory }));
    expect(told).toMatchObject({ code: 'undefined-symbol', symbol: 'where', object: 'adder.c.o' });
  });

  it('leaves nothing behind, also when it fails', async () => {
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('casemate-pal-'));
    const baseDirectory = project(FILES);
    await buildPal({ ...ADDER, engine: 'kvm', baseDirectory });
    await failure(buildPal({ ...ADDER, sources: ['adder.c'], engine: 'kvm', baseDirectory }));
    const own = readdirSync(tmpdir()).filter((name) => name.startsWith('casemate-pal-') && !before.includes(name));
    expect(own.filter((name) => existsSync(join(tmpdir(), name, '0.d')))).toEqual([]);
  });

  it('ends its compilers when the caller gives up', async () => {
    const baseDirectory = project(FILES);
    const controller = new AbortController();
    const building = buildPal({
      ...{ ...ADDER, engine: 'kvm', baseDirectory, signal: controller.signal, onStep: () => controller.abort() },
    });
    await expect(building).rejects.toMatchObject({ name: 'AbortError' });
  });
});

withCompilers('building WebAssembly for kvm', () => {
  const VECTORS =
    '(func (export "pal") (param i32 i32 i32 i32) (i32.store (local.get 3) (i32x4.extract_lane 0 (i32x4.splat (local.get 0)))))';

  it('refuses vectors, which have no translation', async () => {
    const baseDirectory = project({ 'x.c': '' });
    writeFileSync(join(baseDirectory, 'x.wasm'), assemble(`(module (memory (export "memory") 1) ${VECTORS})`));
    const options = { sources: ['x.wasm'], name: 'x', version: '1', baseDirectory } as const;
    expect(parsePalImage((await buildPal({ ...options, engine: 'wasm' })).image).name).toBe('x');
    const told = await failure(buildPal({ ...options, engine: 'kvm' }));
    expect(told).toMatchObject({ code: 'feature', message: expect.stringContaining('SIMD') });
  });

  it('gives the same image twice, and one without a path', async () => {
    const baseDirectory = project({ 'x.c': '' });
    writeFileSync(join(baseDirectory, 'x.wasm'), pal());
    const options = { sources: ['x.wasm'], name: 'x', version: '1', baseDirectory, engine: 'kvm' } as const;
    const [one, two] = [await buildPal(options), await buildPal(options)];
    expect(one.image).toEqual(two.image);
    expect(Buffer.from(one.image).toString('latin1')).not.toContain('casemate-');
  });
});

describe('programs and files that are not there', () => {
  it('names the program, and how to get it', async () => {
    const baseDirectory = project(FILES);
    const told = await failure(buildPal({ ...ADDER, engine: 'kvm', baseDirectory, compiler: 'no-such-gcc' }));
    expect(told).toMatchObject({
      code: 'tool',
      message: expect.stringContaining('run no-such-gcc: it is not installed'),
    });
    const nowhere = buildPal({ ...ADDER, engine: 'kvm', baseDirectory: join(baseDirectory, 'nowhere') });
    expect(await failure(nowhere)).toMatchObject({ code: 'input', message: expect.stringContaining('nowhere') });
    const translated = buildPal({ ...ADDER, sources: ['x.wasm'], engine: 'wasm', baseDirectory });
    expect(await failure(translated)).toMatchObject({ code: 'input', message: expect.stringContaining('x.wasm') });
  });

  it.each([
    [[], 'at least one source'],
    [['a.txt'], 'ends in'],
    [['a.ts', 'b.c'], 'alone'],
    [['a.wasm', 'b.wasm'], 'alone'],
  ])('refuses the sources %j', async (sources, expected) => {
    const told = await failure(buildPal({ ...ADDER, engine: 'kvm', sources, baseDirectory: root }));
    expect(told).toMatchObject({ code: 'input', message: expect.stringContaining(expected) });
  });
});

describe('building AssemblyScript', () => {
  const SOURCE = `import { twice } from './twice';
export function pal(command: u32, input: usize, output: usize, rv: usize): void {
  if (command == 9) throw new Error('never');
  store<u32>(rv, twice(command).length);
}
`;
  const TWICE = 'export function twice(n: u32): string { return n.toString() + n.toString(); }\n';
  const options = { sources: ['pal.ts'], name: 'twice', version: '2.0.0', engine: 'wasm', optimize: '1' } as const;

  it('gives the same image wherever the sources lie, and says what it was made from', async () => {
    const files = { 'pal.ts': SOURCE, 'twice.ts': TWICE };
    const [one, other] = [project(files), project(files)];
    const built = await Promise.all([one, other].map((baseDirectory) => buildPal({ ...options, baseDirectory })));
    expect(built[0]?.image).toEqual(built[1]?.image);
    expect(built[0]?.dependencies).toEqual([join(one, 'pal.ts'), join(one, 'twice.ts')]);
    expect(readFileSync(join(one, 'pal.ts'), 'utf8')).toBe(SOURCE);
  });

  it('takes a file for a file whose name begins as an option does', async () => {
    const baseDirectory = project({ '--pal.ts': SOURCE, 'twice.ts': TWICE });
    const { image } = await buildPal({ ...options, sources: ['--pal.ts'], baseDirectory });
    expect(parsePalImage(image).name).toBe('twice');
  });

  it('tells what the compiler said, with its places', async () => {
    const baseDirectory = project({
      'pal.ts': SOURCE.replace('twice(command)', 'twice("x")'),
      'twice.ts': `${TWICE}foo();`,
    });
    const told = await failure(buildPal({ ...options, baseDirectory }));
    expect(told).toMatchObject({ code: 'compile', message: expect.stringContaining('compile pal.ts: ') });
    expect(new Set(told.diagnostics)).toEqual(
      new Set([
        { severity: 'error', message: expect.stringContaining('not assignable'), file: 'pal.ts', line: 4, column: 24 },
        { severity: 'error', message: "Cannot find name 'foo'.", file: 'twice.ts', line: 2, column: 1 },
      ]),
    );
  });

  it('takes no line of a source for the place of a message', async () => {
    const baseDirectory = project({ 'pal.ts': `${SOURCE}nothing(); // in twice.ts(7,7)\n`, 'twice.ts': TWICE });
    const told = await failure(buildPal({ ...options, baseDirectory }));
    expect(told.diagnostics).toMatchObject([{ severity: 'error', file: 'pal.ts', line: 6, column: 1 }]);
  });

  it('tells of a file that is not there', async () => {
    const told = await failure(buildPal({ ...options, baseDirectory: project({ 'pal.ts': SOURCE }) }));
    expect(told.diagnostics).toEqual([expect.objectContaining({ file: 'pal.ts', line: 1 })]);
  });
});
