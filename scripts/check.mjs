// `npm run check`: everything that must hold besides the tests. `-- --update` rewrites the API reports; `-- NAME …` runs only the checks named.
import { bin, run, setup } from './setup.mjs';

await setup({ build: false }).catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});

// Imported after the set-up: these need what it installed.
const { checkApiReports } = await import('./api-reports.mjs');
const { checkChangesets } = await import('./changesets.mjs');
const { checkDocExamples } = await import('./doc-examples.mjs');
const { checkLayers } = await import('./layers.mjs');
const { checkPackageShape } = await import('./package-shape.mjs');

const args = process.argv.slice(2);
const update = args.includes('--update');
const named = args.filter((arg) => !arg.startsWith('-'));
// These look at what was built.
const wanted = ['api', 'shape'].some((name) => named.includes(name)) ? ['build', ...named] : named;

const checks = {
  lint: () => tool('biome', 'ci', '--error-on-warnings', '.'),
  types: () => tool('tsc', '-p', 'tsconfig.json'),
  layers: checkLayers,
  unused: () => tool('knip'),
  browser: () => tool('vitest', 'run', 'scripts/test/browser.test.ts'),
  build: () => tool('turbo', 'run', 'build', '--output-logs=errors-only'),
  api: () => checkApiReports({ update }),
  examples: checkDocExamples,
  shape: checkPackageShape,
  changesets: checkChangesets,
};

const unknown = wanted.filter((name) => !(name in checks));
if (unknown.length > 0) {
  process.stderr.write(`no check is named ${unknown.join(', ')}; there are: ${Object.keys(checks).join(', ')}\n`);
  process.exit(2);
}

const failed = [];
for (const [name, check] of Object.entries(checks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const start = Date.now();
  process.stdout.write(`${name.padEnd(12)}`);
  try {
    const summary = await check();
    console.log(`ok      ${((Date.now() - start) / 1000).toFixed(1).padStart(5)} s  ${summary ?? ''}`);
  } catch (error) {
    console.log(`FAILED\n${error.message}\n`);
    failed.push(name);
  }
}
console.log(failed.length === 0 ? 'check: all passed' : `check: failed: ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);

async function tool(name, ...toolArgs) {
  const { code, output } = await run(bin(name), toolArgs);
  if (code !== 0) throw new Error(output.slice(-8000));
  return '';
}
