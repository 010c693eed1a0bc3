import { library } from '../../tsup.base.js';

export default library([
  'src/index.ts',
  'src/wasm.ts',
  'src/classic.ts',
  'src/node.ts',
  'src/build.ts',
  'src/esbuild.ts',
  'src/vite.ts',
  'src/cli.ts',
]);
