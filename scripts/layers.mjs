// Proves that imports only point down the layers: runs dependency-cruiser and checks that it really saw every module.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { bin, root, run } from './setup.mjs';
import { allPackages, layers } from './workspace.mjs';

/** Returns a summary line; throws with one line a violation. */
export async function checkLayers() {
  const args = ['--config', '.dependency-cruiser.mjs', '--output-type', 'json', 'packages', 'examples', 'benchmarks'];
  const { output } = await run(bin('depcruise'), args);
  const { modules, summary } = parse(output);
  assertListed();
  const seen = new Set(modules.map((module) => module.source));
  const unseen = sources().filter((file) => !seen.has(file));
  if (unseen.length > 0) throw new Error(`the layer check did not see ${unseen.join(', ')}`);
  const crossings = modules.flatMap((module) =>
    module.dependencies.filter((d) => isCrossing(module.source, d.resolved)),
  ).length;
  if (crossings === 0) throw new Error('the layer check saw no import from one package to another');
  const lines = summary.violations.map((v) => `${v.rule.name}: ${v.from} imports ${v.to}`);
  if (lines.length > 0) throw new Error(lines.join('\n'));
  return `${modules.length} modules, ${crossings} imports between packages, none upward`;
}

function parse(output) {
  try {
    return JSON.parse(output.slice(output.indexOf('{')));
  } catch {
    throw new Error(`dependency-cruiser did not report:\n${output.slice(0, 2000)}`);
  }
}

function assertListed() {
  const unlisted = allPackages().filter(({ name }) => !layers.includes(name));
  if (unlisted.length > 0)
    throw new Error(`not in scripts/workspace.mjs layers: ${unlisted.map((p) => p.name).join(', ')}`);
}

function sources() {
  return allPackages().flatMap(({ name, dir }) =>
    readdirSync(join(dir, 'src'), { recursive: true })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => join('packages', name, 'src', file)),
  );
}

function isCrossing(from, to) {
  const owner = (path) => /^packages\/([^/]+)\//.exec(path)?.[1];
  return owner(from) !== undefined && owner(to) !== undefined && owner(from) !== owner(to);
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  process.chdir(root);
  console.log(await checkLayers());
}
