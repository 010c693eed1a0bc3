// `npm run bench -- AREA [--json] [--quick] [--only=NAME]`: side-by-side measurements against the peers of that area.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readArguments, refuseArguments } from './arguments.mjs';
import { buildTools, root, setup, testTools } from './setup.mjs';

const dist = join(root, 'benchmarks', 'dist');
const known = readdirSync(join(root, 'benchmarks', 'src'))
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length));
const usage = `usage: npm run bench -- AREA [--json] [--quick] [--only=NAME]

Measures an area beside its peers; utpm can be asked for one measurement by its NAME. AREA is one of:
  ${known.join(' ')}
`;
const { values, positionals } = readArguments(usage, {
  allowPositionals: true,
  options: { json: { type: 'boolean' }, quick: { type: 'boolean' }, only: { type: 'string' } },
});
const [area, ...more] = positionals;
if (area === undefined || more.length > 0 || !known.includes(area))
  refuseArguments(usage, `Expected one area, got "${positionals.join(' ')}".`);
const rest = ['json', 'quick'].filter((name) => values[name]).map((name) => `--${name}`);
if (values.only !== undefined) rest.push(`--only=${values.only}`);
await setup({ tools: [...buildTools, ...testTools] });
const program = join(dist, `${area}.bench.js`);
if (!existsSync(program)) throw new Error(`${program} was not built`);
const { status } = spawnSync(process.execPath, ['--expose-gc', program, ...rest], { stdio: 'inherit' });
process.exit(status ?? 1);
