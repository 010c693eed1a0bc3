/** How long a fresh Node process takes to import a package. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { peerDirectory } from './peers.js';

const theirs = createRequire(`${peerDirectory('tss.js', '2.0.0')}/package.json`);

/** Milliseconds from the call of `import()` to its end, in a process of its own. */
export function timeImport(specifier: string): number {
  const source = `const start = performance.now(); await import(${urlOf(specifier)}); console.log(performance.now() - start);`;
  return Number(run(source));
}

/** Milliseconds from the start of a process that imports the package, or nothing, to its end. */
export function timeProcess(specifier: string | undefined): number {
  const source = specifier === undefined ? '' : `await import(${urlOf(specifier)});`;
  const start = performance.now();
  run(source);
  return performance.now() - start;
}

function urlOf(specifier: string): string {
  const isTheirs = specifier === 'tss.js';
  return JSON.stringify(isTheirs ? pathToFileURL(theirs.resolve(specifier)).href : import.meta.resolve(specifier));
}

function run(source: string): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', source]);
  if (status !== 0) throw new Error(`the process that imports failed: ${stderr}`);
  return stdout.toString();
}
