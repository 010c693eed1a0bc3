// `npm run fuzz -- PACKAGE [TARGET …] [--minutes N] [--seed S] [--case I]`: runs packages/PACKAGE/fuzz/TARGET.fuzz.ts, each for N minutes.
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { numberOf, readArguments, refuseArguments } from './arguments.mjs';

/** A case that computes this long hangs. */
const HANG_MILLISECONDS = 30_000;

if (isMainThread) process.exit(await main());
else await work();

async function main() {
  const { root, setup } = await import('./setup.mjs');
  const usage = usageOf(root);
  const { values, positionals } = readArguments(usage, {
    allowPositionals: true,
    options: { minutes: { type: 'string' }, seed: { type: 'string' }, case: { type: 'string' } },
  });
  const minutes = numberOf(usage, 'minutes', values.minutes ?? '1');
  const seed = numberOf(usage, 'seed', values.seed ?? Date.now() % 2 ** 32, 0);
  const one = values.case === undefined ? {} : { first: numberOf(usage, 'case', values.case, 0), cases: 1 };
  const [name, ...wanted] = positionals;
  const targets = targetsOf(root, name).filter((target) => wanted.length === 0 || wanted.includes(target.name));
  if (targets.length === 0) refuseArguments(usage, `No target is named by "${positionals.join(' ')}".`);
  await setup({ tools: [], build: false });
  const plan = { seed, milliseconds: minutes * 60_000, ...one };
  let status = 0;
  for (const target of targets) {
    console.log(`${name} ${target.name}: seed ${seed}, ${minutes} min`);
    const program = await bundle(root, name, target);
    if (!(await runInWorker(program, plan, `${name} ${target.name}`))) status = 1;
  }
  return status;
}

function targetsOf(root, name) {
  const dir = join(root, 'packages', name ?? '', 'fuzz');
  if (name === undefined || !existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((file) => file.endsWith('.fuzz.ts'))
    .map((file) => ({ name: file.slice(0, -'.fuzz.ts'.length), source: join(dir, file) }));
}

function usageOf(root) {
  const all = readdirSync(join(root, 'packages')).flatMap((name) =>
    targetsOf(root, name).map((target) => `  ${name} ${target.name}\n`),
  );
  return `usage: npm run fuzz -- PACKAGE [TARGET …] [--minutes N] [--seed S] [--case I]

Each target for N minutes (1), with cases made from the seed S; a failed case is run again by its number I. Targets:
${all.join('')}`;
}

/** The target and the sources it imports as one file, so that nothing need be built before. */
async function bundle(root, name, target) {
  const { build } = await import('esbuild');
  const outfile = join(root, '.casemate', 'fuzz', `${name}-${target.name}.mjs`);
  mkdirSync(join(root, '.casemate', 'fuzz'), { recursive: true });
  await build({
    entryPoints: [target.source],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    tsconfig: join(root, 'tsconfig.base.json'),
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(target.source).href) },
    logLevel: 'error',
  });
  return outfile;
}

/** Runs in a thread, so that a case that never ends or runs out of memory can still be named. */
function runInWorker(program, plan, title) {
  const current = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { program, plan, current },
    resourceLimits: { maxOldGenerationSizeMb: 1024 },
  });
  return new Promise((resolve) => {
    let seen = -1;
    const watch = setInterval(() => {
      if (seen === current[0]) fail(`case ${seen} has not ended in ${HANG_MILLISECONDS / 1000} s`);
      seen = current[0];
    }, HANG_MILLISECONDS);
    const end = (ok) => {
      clearInterval(watch);
      worker.terminate();
      resolve(ok);
    };
    const fail = (problem) => {
      console.log(`${title}: FOUND: ${problem} (--seed ${plan.seed} --case ${current[0]})`);
      end(false);
    };
    worker.on('message', ({ line, done }) => {
      // Printed here, because what a thread prints is lost when it is ended.
      if (line !== undefined) console.log(`${title}: ${line}`);
      if (done !== undefined) end(done);
    });
    worker.on('error', (error) => fail(error.stack ?? error.message));
  });
}

async function work() {
  const { program, plan, current } = workerData;
  const { fuzzLoop, summary } = await import('./fuzz-loop.mjs');
  const { target } = await import(pathToFileURL(program).href);
  const note = (index) => {
    current[0] = index;
  };
  const print = (line) => parentPort.postMessage({ line });
  const report = (state) => print(summary(state));
  const state = await fuzzLoop(target, { ...plan, note, report });
  report(state);
  for (const { index, error } of state.findings) print(`FOUND in --seed ${plan.seed} --case ${index}:\n${error}`);
  parentPort.postMessage({ done: state.findings.length === 0 });
}
