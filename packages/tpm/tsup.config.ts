import { library } from '../../tsup.base.js';

const entries = [
  'src/index.ts',
  'src/device.ts',
  'src/swtpm.ts',
  'src/mssim.ts',
  'src/node-crypto.ts',
  'src/recorder.ts',
];

/** What only Node can use stays out of the modules for bundlers. */
const nodeOnly = ['device', 'swtpm', 'mssim', 'stream', 'node-crypto', 'recorder', 'recorder/*', 'cli', 'cli/*'].map(
  (name) => `!src/${name}.ts`,
);

/**
 * One file for Node, which loads it fastest, and one module a file for bundlers, which can then leave out what an
 * application does not use.
 */
export default [
  // Both run at once, so neither clears what the other writes.
  library(entries, { clean: ['!modules/**'] }),
  library(['src/**/*.ts', ...nodeOnly], { bundle: false, dts: false, treeshake: false, outDir: 'dist/modules' }),
];
