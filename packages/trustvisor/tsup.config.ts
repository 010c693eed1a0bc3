import { fileURLToPath } from 'node:url';
import { library } from '../../tsup.base.js';

/** The library, and the isolate's two programs: whole in themselves, so that their process can be denied every other file. */
export default [
  library(['src/index.ts', 'src/server.ts'], { clean: ['!isolate.js', '!pal-worker.js'] }),
  library(['src/isolate.ts', 'src/pal-worker.ts'], {
    clean: false,
    dts: false,
    noExternal: [/.*/],
    splitting: false,
    // The paths of the workspace lead to the form for browsers: the isolate takes one on OpenSSL, which signs 20 times as fast, and alone.
    esbuildOptions(options) {
      options.alias = {
        '@casemate/utpm/micro': fileURLToPath(new URL('../utpm/src/micro-isolated.ts', import.meta.url)),
      };
    },
  }),
];
