import { library } from '../../tsup.base.js';

export default library([
  'src/index.ts',
  'src/audit.ts',
  'src/ml-dsa.ts',
  'src/pkcs11.ts',
  'src/cli.ts',
  'src/pkcs12.ts',
  'src/template.ts',
  'src/timestamp.ts',
  'src/node.ts',
  'src/service.ts',
  'src/sqlite.ts',
  'src/postgres.ts',
]);
