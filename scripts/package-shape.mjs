// What npm users get: each tarball through publint and are-the-types-wrong, and the licence inside it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bin, run } from './setup.mjs';
import { allPackages, packages } from './workspace.mjs';

/** Packs one package into `into` and returns the tarball's path. */
export function pack(pkg, into) {
  const args = ['pack', '--json', '--pack-destination', into];
  const [packed] = Object.values(
    JSON.parse(execFileSync('npm', args, { cwd: pkg.dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })),
  );
  return { tarball: join(into, packed.filename), files: packed.files.map((file) => file.path) };
}

/** Returns a summary line; throws with the tools' messages. */
export async function checkPackageShape() {
  const dir = mkdtempSync(join(tmpdir(), 'casemate-pack-'));
  try {
    const problems = (await inTurn(packages(), (pkg) => shape(pkg, dir))).flat();
    if (problems.length > 0) throw new Error(problems.join('\n'));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  return `${packages().length} tarballs`;
}

async function shape(pkg, dir) {
  const { tarball, files } = pack(pkg, dir);
  const problems = ['LICENSE', 'README.md', 'package.json']
    .filter((file) => !files.includes(file))
    .map((file) => `${pkg.name}: ${file} is not in the tarball`);
  problems.push(...privateParts(pkg));
  const lint = await run(bin('publint'), [tarball, '--strict']);
  if (lint.code !== 0) problems.push(`${pkg.name}: publint\n${lint.output}`);
  const types = await run(bin('attw'), [tarball, '--profile', 'esm-only', '--no-emoji']);
  if (types.code !== 0) problems.push(`${pkg.name}: are-the-types-wrong\n${types.output}`);
  return problems;
}

/** A private package is nowhere but in this workspace: what users get must have it inside, not ask for it. */
function privateParts(pkg) {
  const dist = join(pkg.dir, 'dist');
  const texts = readdirSync(dist, { recursive: true })
    .filter((file) => /\.(js|d\.ts)$/.test(file))
    .map((file) => [`dist/${file}`, readFileSync(join(dist, file), 'utf8')]);
  const { dependencies, peerDependencies, optionalDependencies } = pkg.manifest;
  const needed = Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies });
  return allPackages()
    .filter(({ manifest }) => manifest.private)
    .flatMap(({ manifest: { name } }) => [
      ...texts
        .filter(([, text]) => text.includes(`'${name}'`) || text.includes(`"${name}"`))
        .map(([file]) => [file, name]),
      ...(needed.includes(name) ? [['package.json', name]] : []),
    ])
    .map(([file, name]) => `${pkg.name}: ${file} asks for ${name}, which is not published`);
}

async function inTurn(items, act) {
  const results = [];
  for (const item of items) results.push(await act(item));
  return results;
}
