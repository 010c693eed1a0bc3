/** The pure entry points bundle for a browser, reach no `node:` module, and stay inside their byte budgets. */
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { packages, pureEntries } from '../workspace.mjs';

async function bundle(source: string) {
  return await build({
    entryPoints: [source],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'silent',
  });
}

const entries = packages().flatMap((pkg) => pkg.entries);

describe.each(Object.entries(pureEntries))('%s in a browser', (specifier, budget) => {
  it(`bundles without a node: import into at most ${budget} bytes gzipped`, async () => {
    const entry = entries.find((candidate) => candidate.specifier === specifier);
    if (!entry) throw new Error(`no package exports ${specifier}`);
    const { outputFiles } = await bundle(entry.source);
    const contents = outputFiles[0]?.contents ?? new Uint8Array();
    const text = new TextDecoder().decode(contents);
    expect(text).not.toMatch(/from\s*["']node:|import\(\s*["']node:|require\(\s*["']node:/);
    const size = gzipSync(contents).length;
    expect(size, `${specifier} is ${size} bytes gzipped`).toBeLessThanOrEqual(budget);
    expect(size).toBeGreaterThan(200);
  });
});
