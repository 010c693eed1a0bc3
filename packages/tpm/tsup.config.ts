import { fileURLToPath } from 'node:url';
import type { Plugin } from 'esbuild';
import { besideIndex } from '../../scripts/beside-index.mjs';
import { library } from '../../tsup.base.js';

const index = 'src/index.ts';

/** Whoever wants these has chosen them: they load the index too. */
const others = [
  'src/device.ts',
  'src/swtpm.ts',
  'src/mssim.ts',
  'src/node-crypto.ts',
  'src/recorder.ts',
  'src/cli.ts',
  'src/tpm12.ts',
  'src/noble-crypto.ts',
  'src/webcrypto.ts',
];

/** What only Node can use stays out of the modules for bundlers. */
const nodeOnly = [
  'device',
  'swtpm',
  'mssim',
  'stream',
  'node-crypto',
  'node-provider',
  'openssl',
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
  // All run at once, so each clears only what it writes itself.
  library([index], {
    clean: ['!modules/**', '!*.js'],
    splitting: false,
    dts: { entry: [index, ...others], compilerOptions: { baseUrl: '.', paths: {}, noEmit: false } },
    esbuildPlugins: [nodeDefaults],
  }),
  library(others, {
    clean: ['!modules/**', '!index.js', '!*.d.ts'],
    dts: false,
    treeshake: false,
    esbuildPlugins: [besideIndex(index, { 'node-provider.ts': { nodeCrypto: 'defaultCrypto' } })],
  }),
  library(['src/**/*.ts', ...nodeOnly], { bundle: false, dts: false, treeshake: false, outDir: 'dist/modules' }),
];
