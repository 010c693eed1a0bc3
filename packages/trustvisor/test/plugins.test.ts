/** PALs in bundled applications: esbuild, tsup and Vite build one, which then runs its PALs. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { measurePal } from '@casemate/pal-linker';
import { buildPal } from '@casemate/pal-linker/build';
import { palPlugin } from '@casemate/pal-linker/esbuild';
import { palPlugin as vitePlugin } from '@casemate/pal-linker/vite';
import { context, build as esbuild } from 'esbuild';
import { build as tsup } from 'tsup';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

const package_ = fileURLToPath(new URL('..', import.meta.url));
const missing = !existsSync(join(package_, 'dist', 'isolate.js'))
  ? 'the package is not built'
  : spawnSync('clang', ['--version']).status !== 0
    ? 'clang is missing'
    : '';
if (missing !== '' && process.env.MUST_RUN === '1') throw new Error(missing);

const require = createRequire(import.meta.url);
interface Vite {
  build(config: object): Promise<unknown>;
}
const vitePath = createRequire(require.resolve('vitest/package.json')).resolve('vite');

const project = mkdtempSync(join(tmpdir(), 'casemate-plugins-'));
afterAll(() => rmSync(project, { recursive: true, force: true }));
const write = (name: string, content: string) => writeFileSync(join(project, name), content);

const COUNTER = `import { step } from './step';
let count: u32 = 0;
export function pal(command: u32, input: usize, output: usize, rv: usize): void {
  count += command * step();
  store<u32>(rv, count);
}
`;
const ECHO = `#include "casemate-pal.h"
#include "echo.h"
void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	for (uint32_t i = 0; i < in->size_used; i++)
		out->data[i] = in->data[in->size_used - 1 - i];
	out->offset = in->size_used;
	*rv = command + MORE;
}
`;
/** What stays outside of the bundles. */
const external = ['@casemate/trustvisor'];

const APP = `import { memoryStore, openTrustvisor } from '@casemate/trustvisor';
import counter from './counter.pal.ts?pal';
import echo from './echo.pal.c';
const trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
const [first, second] = [await trustvisor.register(counter.image), await trustvisor.register(echo.image)];
const sums = [await first.invoke(20, new Uint8Array(0)), await first.invoke(1, new Uint8Array(0))];
const { returnCode, output } = await second.invoke(40, new TextEncoder().encode('desserts'));
await trustvisor.close();
console.log(JSON.stringify({
  counter: [counter.name, counter.version, counter.engine, counter.measurement, ...sums.map((each) => each.returnCode)],
  echo: [echo.name, echo.version, echo.measurement, returnCode, new TextDecoder().decode(output)],
}));
`;

const options = {
  options: (file: string) =>
    file.endsWith('.ts') ? { optimize: '1', runtime: 'stub' as const } : { defines: ['MORE=2'], sdk: false as const },
};

describe.skipIf(missing !== '')(`an application with PALs${missing === '' ? '' : ` (skipped: ${missing})`}`, () => {
  let expected: { counter: unknown[]; echo: unknown[] };

  beforeAll(async () => {
    mkdirSync(join(project, 'node_modules', '@casemate'), { recursive: true });
    symlinkSync(package_, join(project, 'node_modules', '@casemate', 'trustvisor'));
    write('package.json', '{ "name": "app", "version": "7.8.9", "type": "module" }');
    write('counter.pal.ts', COUNTER);
    write('step.ts', 'export function step(): u32 { return 2; }\n');
    write('echo.pal.c', ECHO);
    write('echo.h', '');
    write('app.ts', APP);
    const measured = async (source: string, name: string) => {
      const shared = { name, version: '7.8.9', engine: 'wasm', baseDirectory: project } as const;
      const { image } = await buildPal({ ...shared, ...options.options(source), sources: [source] });
      return Buffer.from(measurePal(image)).toString('hex');
    };
    const measurements = [await measured('counter.pal.ts', 'counter'), await measured('echo.pal.c', 'echo')];
    expected = {
      counter: ['counter', '7.8.9', 'wasm', measurements[0], 40, 42],
      echo: ['echo', '7.8.9', measurements[1], 42, 'stressed'],
    };
  });

  async function run(file: string): Promise<unknown> {
    const { stdout } = await promisify(execFile)(process.execPath, [join(project, file)]);
    return JSON.parse(stdout);
  }

  it('is bundled by esbuild, and runs them', async () => {
    const entry = { entryPoints: ['app.ts'], outfile: 'out/esbuild.js', absWorkingDir: project };
    const how = { bundle: true, format: 'esm', platform: 'node' } as const;
    const { warnings } = await esbuild({ ...entry, ...how, external, plugins: [palPlugin(options)] });
    expect(warnings).toEqual([]);
    expect(await run('out/esbuild.js')).toEqual(expected);
  });

  it('is bundled by tsup, and runs them', async () => {
    const before = process.cwd();
    process.chdir(project);
    try {
      const how = { format: 'esm', silent: true, config: false, clean: false } as const;
      const to = { entry: { tsup: join(project, 'app.ts') }, outDir: join(project, 'out') };
      await tsup({ ...how, ...to, external, esbuildPlugins: [palPlugin(options)] });
    } finally {
      process.chdir(before);
    }
    expect(await run('out/tsup.js')).toEqual(expected);
  });

  it('is bundled by Vite, and runs them', async () => {
    const { build } = (await import(pathToFileURL(vitePath).href)) as Vite; // pnpm shows it to vitest alone
    await build({
      ...{ root: project, configFile: false, logLevel: 'silent', plugins: [vitePlugin(options)] },
      build: {
        ssr: 'app.ts',
        outDir: 'out/vite',
        target: 'node20',
        rollupOptions: { external },
      },
    });
    expect(await run('out/vite/app.js')).toEqual(expected);
  });

  it('tells of errors in their sources at their place', async () => {
    write('bad.pal.c', 'void pal(void)\n{\n\tnothing();\n\treturn nobody;\n}\n');
    write('bad.ts', "import bad from './bad.pal.c';\nconsole.log(bad);\n");
    const how = { bundle: true, format: 'esm', write: false, logLevel: 'silent', absWorkingDir: project } as const;
    const failed = esbuild({
      ...how,
      entryPoints: ['bad.ts'],
      plugins: [palPlugin({ options: () => ({ sdk: false }) })],
    });
    await expect(failed).rejects.toMatchObject({
      errors: expect.arrayContaining([
        expect.objectContaining({
          text: expect.stringContaining('nobody'),
          location: expect.objectContaining({ file: 'bad.pal.c', line: 4, column: 8, lineText: '\treturn nobody;' }),
        }),
      ]),
    });
    const { build } = (await import(pathToFileURL(vitePath).href)) as Vite; // pnpm shows it to vitest alone
    const vite = build({
      ...{
        root: project,
        configFile: false,
        logLevel: 'silent',
        plugins: [vitePlugin({ options: () => ({ sdk: false }) })],
      },
      build: { ssr: 'bad.ts', outDir: 'out/bad', write: false },
    });
    await expect(vite).rejects.toThrow(/bad\.pal\.c/);
  });

  it('is built anew when a header of a PAL changes', async () => {
    write('watch.ts', "import echo from './echo.pal.c';\nconsole.log(echo.measurement);\n");
    const how = { bundle: true, format: 'esm', platform: 'node', absWorkingDir: project, logLevel: 'silent' } as const;
    const outfile = join(project, 'out', 'watch.js');
    const watched = await context({ ...how, entryPoints: ['watch.ts'], outfile, plugins: [palPlugin(options)] });
    try {
      await watched.watch();
      const shown = () =>
        existsSync(outfile) ? /measurement[^"]*"([0-9a-f]{64})"/.exec(readFileSync(outfile, 'utf8'))?.[1] : undefined;
      await vi.waitFor(() => expect(shown()).toBe(expected.echo[2]), { timeout: 30_000 });
      write('echo.h', '#undef MORE\n#define MORE 3\n');
      await vi.waitFor(() => expect(shown()).not.toBe(expected.echo[2]), { timeout: 30_000, interval: 200 });
    } finally {
      await watched.dispose();
      write('echo.h', '');
    }
  });
});
