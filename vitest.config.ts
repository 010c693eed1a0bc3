import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';
import { reasonToRunAlone, sources, testFiles } from './scripts/test-groups.mjs';

const alone = testFiles().filter((file) => reasonToRunAlone(file) !== undefined);
const all = ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'scripts/test/**/*.test.ts'];

export default defineConfig({
  resolve: {
    // Every `@casemate/*` entry point is its source, so that a test run needs no build of its dependencies.
    alias: [...sources].map(([name, path]) => ({ find: new RegExp(`^${name}$`), replacement: path })),
  },
  test: {
    setupFiles: ['scripts/test/seed.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // First, as many files at once as there are processors; when these are done, one by one what would be disturbed.
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: all,
          exclude: [...configDefaults.exclude, ...alone],
          maxWorkers: Math.min(availableParallelism(), 8),
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'alone', include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
