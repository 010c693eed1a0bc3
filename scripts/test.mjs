// `npm test`: sets everything up, then runs every test. Arguments go to vitest: `npm test -- packages/wire`.
import { spawnSync } from 'node:child_process';
import { bin, buildTools, root, setup, testTools } from './setup.mjs';

try {
  await setup({ tools: [...buildTools, ...testTools] });
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
// To read the certificates that are named here takes each Node process a tenth of a second, and the tests start hundreds. One test fetches
// anything from elsewhere, by npm, and names them again.
const { NODE_EXTRA_CA_CERTS: CASEMATE_NPM_CA_CERTS, ...others } = process.env;
const env = { ...others, CASEMATE_NPM_CA_CERTS };
const { status } = spawnSync(bin('vitest'), ['run', ...process.argv.slice(2)], { cwd: root, stdio: 'inherit', env });
process.exit(status ?? 1);
