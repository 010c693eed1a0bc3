import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const root = new URL('.', import.meta.url);

/** Every `@casemate/*` entry point mapped to its source, so that a test run needs no build of its dependencies. */
function sources(): { find: RegExp; replacement: string }[] {
  return readdirSync(new URL('packages/', root)).flatMap((name) => {
    const manifest = JSON.parse(readFileSync(new URL(`packages/${name}/package.json`, root), 'utf8'));
    return Object.keys(manifest.exports)
      .filter((entry) => typeof manifest.exports[entry] === 'object')
      .map((entry) => ({
        find: new RegExp(`^${manifest.name}${entry.slice(1)}$`),
        replacement: new URL(`packages/${name}/src/${entry === '.' ? 'index' : entry.slice(2)}.ts`, root).pathname,
      }));
  });
}

export default defineConfig({
  resolve: { alias: sources() },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'scripts/test/**/*.test.ts'],
    setupFiles: ['scripts/test/seed.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
  },
});
