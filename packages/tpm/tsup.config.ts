import { fileURLToPath } from 'node:url';
import type { Plugin } from 'esbuild';
import { joinChunks } from '../../scripts/join-chunks.mjs';
import { library } from '../../tsup.base.js';

const entries = [
  'src/index.ts',
  'src/device.ts',
  'src/swtpm.ts',
  'src/mssim.ts',
  'src/node-crypto.ts',
  'src/recorder.ts',
  'src/cli.ts',
  'src/tpm12.ts',
  'src/webcrypto.ts',
  'src/noble-crypto.ts',
];

/** What only Node can use stays out of the modules for bundlers. */
const nodeOnly = [
  'device',
  'swtpm',
  'mssim',
  'stream',
  'node-crypto',
  'default-crypto-node',
  'recorder',
  'recorder/*',
  'cli',
  'cli/**/*',
].map((name) => `!src/${name}.ts`);

/** On Node, OpenSSL is the default provider, and @noble is loaded only where somebody uses it. */
const nodeDefaults: Plugin = {
  name: 'default-crypto-node',
  setup(build) {
    const path = fileURLToPath(new URL('src/default-crypto-node.ts', import.meta.url));
    build.onResolve({ filter: /\/default-crypto\.js$/ }, () => ({ path }));
  },
};

/**
 * One file for Node, which loads it fastest, and one module a file for bundlers, which can then leave out what an
 * application does not use.
 */
export default [
  // Both run at once, so neither clears what the other writes.
  library(entries, {
    clean: ['!modules/**'],
    esbuildPlugins: [nodeDefaults],
    plugins: [{ name: 'join-chunks', buildEnd: () => joinChunks('dist/index.js') }],
  }),
  library(['src/**/*.ts', ...nodeOnly], { bundle: false, dts: false, treeshake: false, outDir: 'dist/modules' }),
];
