// `npm run check`: everything that must hold besides the tests. `-- --update` rewrites the API reports; `-- NAME …` runs only the checks named.
import { availableParallelism } from 'node:os';
import { bin, run, setup } from './setup.mjs';

await setup({ build: false }).catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});

// Imported after the set-up: these need what it installed.
const { checkChangesets } = await import('./changesets.mjs');
const { checkDocExamples } = await import('./doc-examples.mjs');
const { checkLayers } = await import('./layers.mjs');
const { checkPackageShape } = await import('./package-shape.mjs');

const args = process.argv.slice(2);
const update = args.includes('--update');
const named = args.filter((arg) => !arg.startsWith('-'));
// These look at what was built.
const needBuild = ['api', 'shape'];
const wanted = needBuild.some((name) => named.includes(name)) ? ['build', ...named] : named;

// The long ones first, so that no processor waits for one of them at the end.
const checks = {
  build: () => tool('turbo', 'run', 'build', '--output-logs=errors-only'),
  types: () => tool('tsc', '-p', 'tsconfig.json'),
  shape: checkPackageShape,
  api: apiReports,
  examples: checkDocExamples,
  layers: checkLayers,
  unused: () => tool('knip'),
  lint: () => tool('biome', 'ci', '--error-on-warnings', '.'),
  browser: () => tool('vitest', 'run', 'scripts/test/browser.test.ts'),
  changesets: checkChangesets,
};

const unknown = wanted.filter((name) => !(name in checks));
if (unknown.length > 0) {
  process.stderr.write(`no check is named ${unknown.join(', ')}; there are: ${Object.keys(checks).join(', ')}\n`);
  process.exit(2);
}

const failed = [];
const names = Object.keys(checks).filter((name) => wanted.length === 0 || wanted.includes(name));
const built = names[0] === 'build' ? perform(names.shift()) : undefined;
const queue = names.values();
await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4) }, worker));
console.log(failed.length === 0 ? 'check: all passed' : `check: failed: ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);

/** Takes one check after another while there are any; the first worker has the build for its first. */
async function worker(_, index) {
  if (index === 0) await built;
  for (const name of queue) {
    if (needBuild.includes(name)) await built;
    await perform(name);
  }
}

/** Carries a check out, and prints its line when it is done. */
async function perform(name) {
  const start = Date.now();
  const line = (outcome) => `${name.padEnd(12)}${outcome}  ${((Date.now() - start) / 1000).toFixed(1).padStart(7)} s  `;
  try {
    const summary = await checks[name]();
    console.log(`${line('ok    ')}${summary ?? ''}`);
  } catch (error) {
    console.log(`${line('FAILED')}\n${error.message}\n`);
    failed.push(name);
  }
}

async function tool(name, ...toolArgs) {
  await outputOf(bin(name), toolArgs);
  return '';
}

/** In a process of its own: it computes without a pause, and the other checks are to be heard meanwhile. */
async function apiReports() {
  const output = await outputOf(process.execPath, ['scripts/api-reports.mjs', ...(update ? ['--update'] : [])]);
  return output.trim().split('\n').at(-1);
}

async function outputOf(command, commandArgs) {
  const { code, output } = await run(command, commandArgs);
  if (code !== 0) throw new Error(output.slice(-8000));
  return output;
}
