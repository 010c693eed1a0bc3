// `npm run bench -- AREA [--json] [--quick]`: side-by-side measurements against the peers of that area.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildTools, root, setup, testTools } from './setup.mjs';

const [area, ...rest] = process.argv.slice(2);
const dist = join(root, 'benchmarks', 'dist');
const known = readdirSync(join(root, 'benchmarks', 'src'))
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length));
if (area === undefined || !known.includes(area)) {
  process.stderr.write(`usage: npm run bench -- AREA [--json] [--quick]\nAREA is one of: ${known.join(' ')}\n`);
  process.exit(2);
}
await setup({ tools: [...buildTools, ...testTools] });
const program = join(dist, `${area}.bench.js`);
if (!existsSync(program)) throw new Error(`${program} was not built`);
const { status } = spawnSync(process.execPath, ['--expose-gc', program, ...rest], { stdio: 'inherit' });
process.exit(status ?? 1);
