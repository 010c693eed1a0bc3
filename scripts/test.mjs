// `npm test`: sets everything up, then runs every test. Arguments go to vitest: `npm test -- packages/wire`.
import { spawnSync } from 'node:child_process';
import { bin, buildTools, root, setup, testTools } from './setup.mjs';

try {
  await setup({ tools: [...buildTools, ...testTools] });
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
const { status } = spawnSync(bin('vitest'), ['run', ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' });
process.exit(status ?? 1);
