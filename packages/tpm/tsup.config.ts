import { library } from '../../tsup.base.js';

export default library(['src/index.ts', 'src/device.ts', 'src/swtpm.ts', 'src/mssim.ts', 'src/node-crypto.ts']);
