// A published package that changed since its last release must be named by a pending changeset.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup.mjs';
import { packages } from './workspace.mjs';

/** Returns a summary line; throws with the packages that lack a changeset. */
export function checkChangesets() {
  const pending = named();
  const lacking = packages().filter((pkg) => changed(pkg) && !pending.has(pkg.manifest.name));
  if (lacking.length > 0) {
    throw new Error(`changed without a changeset: ${lacking.map((pkg) => pkg.name).join(', ')}; run \`npx changeset\``);
  }
  return `${pending.size} packages have a pending change`;
}

function named() {
  const files = readdirSync(join(root, '.changeset')).filter((file) => file.endsWith('.md') && file !== 'README.md');
  const names = files.flatMap((file) => {
    const [, head = ''] = readFileSync(join(root, '.changeset', file), 'utf8').split(/^---$/m);
    return [...head.matchAll(/^["']?(@casemate\/[\w-]+)["']?\s*:/gm)].map(([, name]) => name);
  });
  return new Set(names);
}

function changed(pkg) {
  const tag = `${pkg.manifest.name}@${pkg.manifest.version}`;
  const released = existsSync(join(pkg.dir, 'CHANGELOG.md')) && git('tag', '--list', tag) !== '';
  return !released || git('diff', '--name-only', tag, '--', pkg.dir) !== '';
}

function git(...args) {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
}
