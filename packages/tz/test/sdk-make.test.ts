/** The SDK installed by make: pkg-config, the make snippets for development without isolation (`svc-null`), and headers for C++. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, SDK, whatIsMissing } from './sdk-build.js';

const missing = whatIsMissing('gcc', 'make', 'pkg-config', 'ar');
if (missing !== '' && process.env.MUST_RUN === '1') throw new Error(missing);

describe.skipIf(missing !== '')(`the SDK by make${missing === '' ? '' : ` (${missing})`}`, () => {
  let place: string;
  const pkgConfig = (...args: string[]) =>
    run('pkg-config', args, { env: { PKG_CONFIG_PATH: join(place, 'lib', 'pkgconfig') } }).trim();
  beforeAll(() => {
    place = mkdtempSync(join(tmpdir(), 'casemate-sdk-make-'));
    run('make', ['-s', '-j2', '-C', SDK, 'install', `PREFIX=${place}`, `BUILD=${join(place, 'build')}`]);
  }, 120_000);
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  it('has every source in sdk.json, from which `pal build` takes them', () => {
    const { library, start } = JSON.parse(readFileSync(join(SDK, 'sdk.json'), 'utf8'));
    const listed = [...Object.values<string[]>(library).flat(), start.source].sort();
    const sources = (directory: string) => readdirSync(join(SDK, directory)).map((name) => `${directory}/${name}`);
    const there = [...sources('libc/src'), ...sources('src'), ...sources('src/tv')].filter((name) =>
      name.endsWith('.c'),
    );
    expect(listed).toEqual(there.filter((name) => name !== 'src/classic.c').sort()); // that is for make alone
  });

  it('has packages that bring along what they need, in the order that linkers want', () => {
    const libraries = (...names: string[]) => pkgConfig('--libs-only-l', ...names);
    expect(libraries('tee-sdk-svc-tv')).toBe('-lsvc-tv -lsvc -lpalc');
    expect(libraries('tee-sdk-svc', 'tee-sdk-svc-tv').split(' ').slice(-1)).toEqual(['-lpalc']);
    expect(libraries('tee-sdk-svc', 'tee-sdk-svc-null')).toBe('-lsvc -lsvc-null');
    for (const name of ['tee-sdk-app', 'tee-sdk-app-tv', 'trustvisor']) {
      expect(pkgConfig('--cflags', name)).toBe(`-I${place}/include`);
    }
    expect(pkgConfig('--variable=pkgdatadir', 'tee-sdk-app')).toBe(`${place}/share/tee-sdk`);
  });

  it('makes a program of the host that calls the service as a function, under sanitizers', () => {
    const makefile = `
      PROG_NAME = program
      PROG_OBJS = null-program.o
      PAL_NAME = service
      PAL_OBJS = service.o service-tpm.o history.o
      PAL_PKGCONFIG_DEPS = tee-sdk-svc tee-sdk-svc-null
      PKGCONFIG_DEPS = tee-sdk-app
      SANITIZE = -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
      CFLAGS = -Wall -Wextra -Werror $(SANITIZE)
      PAL_CFLAGS = $(CFLAGS)
      LDFLAGS = $(SANITIZE)
      VPATH = ${join(SDK, 'test')}
      all: $(PROG_NAME)
      TEESDK_DATA_DIR = $(shell pkg-config --variable=pkgdatadir tee-sdk-app)
      include $(TEESDK_DATA_DIR)/pkgconfig.mk
      include $(TEESDK_DATA_DIR)/pal.mk
      include $(TEESDK_DATA_DIR)/onepal.mk
    `.replace(/^ +/gm, '');
    writeFileSync(join(place, 'Makefile'), makefile);
    run('make', ['-s'], { cwd: place, env: { PKG_CONFIG_PATH: join(place, 'lib', 'pkgconfig') } });
    expect(run(join(place, 'program'), [])).toBe('all holds\n');
  });

  it('has headers that can be included alone, in any order, from C and C++', () => {
    const library = join(SDK, 'libc/include');
    const own = run('gcc', ['-print-file-name=include']).trim();
    const system = ['-nostdinc', '-isystem', library, '-isystem', own, '-I', join(place, 'include')];
    const headers = [
      ...readdirSync(library).filter((name) => name.endsWith('.h')),
      ...[
        'sys/types.h',
        'sys/random.h',
        'tee-sdk/tz.h',
        'tee-sdk/tzmarshal.h',
        'tee-sdk/svcapi.h',
        'tee-sdk/svcnull.h',
        'tee-sdk/history.h',
      ],
      ...['trustvisor/tv_utpm.h', 'casemate-pal.h'],
    ];
    const lines = (names: readonly string[]) => names.map((name) => `#include <${name}>\n`).join('');
    const all = [lines(headers), lines([...headers].reverse())];
    const alone = headers.map((name) => lines([name]));
    const file = join(place, 'headers');
    for (const text of [...all, ...alone]) {
      writeFileSync(`${file}.c`, `${text}int one;\n`);
      run('gcc', ['-std=c11', '-Wall', '-Wextra', '-Werror', ...system, '-fsyntax-only', `${file}.c`]);
    }
    for (const text of all) {
      writeFileSync(`${file}.cc`, `${text.replace('#include <casemate-pal.h>\n', '')}int one;\n`);
      run('gcc', ['-std=c++17', '-Wall', '-Wextra', '-Werror', ...system, '-fsyntax-only', `${file}.cc`]);
    }
  });
});
