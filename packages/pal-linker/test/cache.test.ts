/** What builds keep of the C library: the same bytes with and without it, and never those of other sources. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheDirectory } from '../src/build/cache.js';
import { type BuildPalOptions, buildPal } from '../src/build.js';

const isReady = spawnSync('gcc', ['--version']).status === 0;
if (!isReady && process.env.MUST_RUN === '1') throw new Error('gcc is missing');

const FILES: Readonly<Record<string, string>> = {
  'sdk/sdk.json': JSON.stringify({
    ...{ include: ['include'], libraryInclude: ['system'], library: { own: ['src/answer.c'] }, libraryOptions: [] },
    start: { source: 'src/start.c', symbol: 'begin', entryMacro: 'ENTRY', heapBytes: 4096 },
  }),
  'sdk/include/number.h': '#define NUMBER 1\n',
  'sdk/system/unused.h': '',
  'sdk/src/answer.c': '#include <number.h>\nint answer(void) { return NUMBER; }\n',
  'sdk/src/start.c':
    'void ENTRY(unsigned, void *, void *, unsigned *);\nvoid begin(unsigned a, void *b, void *c, unsigned *d) { ENTRY(a, b, c, d); }\n',
  'pal.c':
    'int answer(void);\nvoid pal(unsigned a, void *b, void *c, unsigned *d) { (void)a, (void)b, (void)c, *d = answer(); }\n',
};

describe.skipIf(!isReady)(`the compiled C library${isReady ? '' : ' (skipped: gcc is missing)'}`, () => {
  let place: string;
  let cache: string;
  beforeAll(() => {
    place = mkdtempSync(join(tmpdir(), 'casemate-cache-'));
    cache = join(place, 'cache');
    for (const name of ['sdk/include', 'sdk/system', 'sdk/src']) mkdirSync(join(place, name), { recursive: true });
    for (const [name, content] of Object.entries(FILES)) writeFileSync(join(place, name), content);
  });
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  async function build(more: Partial<BuildPalOptions> = {}) {
    const steps: string[] = [];
    const onStep = (step: string) => steps.push(step);
    const how = { name: 'one', version: '1', engine: 'kvm', baseDirectory: place, sdk: 'sdk', onStep } as const;
    const { image } = await buildPal({ ...how, sources: ['pal.c'], cache, ...more });
    return { image: Buffer.from(image).toString('hex'), isCompiled: steps.includes('compile the C library') };
  }

  it('is taken from there, and the image is the one that is built without', async () => {
    const without = await build({ cache: false });
    expect([without.isCompiled, existsSync(cache)]).toEqual([true, false]);
    expect(await build()).toEqual(without);
    expect(await build()).toEqual({ ...without, isCompiled: false });
  });

  it('is compiled anew for other headers, sources, and ways of compiling, and after a change back is there', async () => {
    const before = await build();
    for (const name of ['sdk/include/number.h', 'sdk/src/answer.c']) {
      const content = readFileSync(join(place, name), 'utf8');
      writeFileSync(join(place, name), content.replace('1', '2').replace('return NUMBER', 'return 3 * NUMBER'));
      const changed = await build();
      expect([changed.isCompiled, changed.image === before.image]).toEqual([true, false]);
      expect((await build({ cache: false })).image).toBe(changed.image);
      writeFileSync(join(place, name), content);
    }
    expect(await build()).toEqual({ ...before, isCompiled: false });
  });

  it('is compiled anew where an entry is cut off, changed, or cannot be there at all', async () => {
    const before = await build();
    const spoil = [
      (bytes: Buffer): Uint8Array => bytes.subarray(0, 40),
      (bytes: Buffer): Uint8Array => bytes.map((byte, i) => (i === 99 ? byte ^ 1 : byte)),
      () => Buffer.alloc(0),
    ];
    for (const change of spoil) {
      for (const name of readdirSync(cache)) writeFileSync(join(cache, name), change(readFileSync(join(cache, name))));
      expect(await build()).toEqual({ ...before, isCompiled: true });
    }
    expect(await build()).toEqual({ ...before, isCompiled: false });
    expect(await build({ cache: join(place, 'pal.c', 'no-directory') })).toEqual({ ...before, isCompiled: true });
  });

  it('is compiled anew each time where a directory of headers is but a link: what it holds is not looked at', async () => {
    const before = await build();
    const link = join(place, 'sdk/include/linked');
    symlinkSync(join(place, 'sdk/system'), link);
    expect(await build()).toEqual({ ...before, isCompiled: true });
    expect(await build()).toEqual({ ...before, isCompiled: true });
    rmSync(link);
  });

  it('is whole for builds at the same time, and leaves nothing unfinished', async () => {
    const shared = join(place, 'shared');
    const images = await Promise.all([1, 2, 3].map(() => build({ cache: shared })));
    expect(new Set(images.map(({ image }) => image)).size).toBe(1);
    const names = readdirSync(shared);
    expect(names.filter((name) => !/^[0-9a-f]{64}$/.test(name))).toEqual([]);
    expect(names).toHaveLength(2); // the library and the start code
  });

  it('lies where the environment says, or in the project, and nowhere where headers come from elsewhere', () => {
    expect(cacheDirectory('/nowhere/project', { XDG_CACHE_HOME: '/c' })).toBe('/c/casemate/pal-linker');
    expect(cacheDirectory('/nowhere/project', { XDG_CACHE_HOME: 'relative' })).toBeUndefined();
    mkdirSync(join(place, 'node_modules'));
    const own = join(place, 'node_modules', '.cache', 'casemate-pal-linker');
    expect(cacheDirectory(join(place, 'a', 'b'), {})).toBe(own);
    expect(cacheDirectory(place, { CPATH: '/usr/include' })).toBeUndefined();
  });
});
