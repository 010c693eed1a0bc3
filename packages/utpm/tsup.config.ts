import { library } from '../../tsup.base.js';

export default library([
  'src/index.ts',
  'src/index-node.ts',
  'src/micro.ts',
  'src/micro-node.ts',
  'src/node.ts',
  'src/server.ts',
  'src/cli.ts',
]);
