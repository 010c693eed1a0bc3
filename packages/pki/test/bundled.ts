/** A program of these tests as one file that Node runs: child processes know nothing of the sources' paths. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const out = fileURLToPath(new URL('../node_modules/.cache/bundled/', import.meta.url));

/** The path of the bundle of `source`, a path from this directory. Packages with native parts stay outside. */
export async function bundled(source: string): Promise<string> {
  mkdirSync(out, { recursive: true });
  const outfile = join(out, `${source.replace(/\W+/g, '-')}.${process.pid}.mjs`);
  await build({
    entryPoints: [fileURLToPath(new URL(source, import.meta.url))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    tsconfig: join(root, 'tsconfig.base.json'),
    external: ['libsql', 'pg'],
    logLevel: 'error',
  });
  return outfile;
}
