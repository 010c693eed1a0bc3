import { library } from '../../tsup.base.js';

export default library(['src/index.ts', 'src/wasm.ts', 'src/classic.ts', 'src/node.ts', 'src/build.ts', 'src/cli.ts']);
