/** What an application pays, and what a browser can run. */
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

async function bundle(contents: string): Promise<string> {
  const result = await build({
    stdin: { contents, resolveDir: path('.'), loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    alias: { '@casemate/tpm': path('../../src/index.ts'), '@casemate/wire': path('../../../wire/src/index.ts') },
    write: false,
    logLevel: 'silent',
  });
  return result.outputFiles[0]?.text ?? '';
}

describe('a bundle', () => {
  it('that reads PCRs over a given transport stays under 20 kB gzipped, without cryptography', async () => {
    const code = await bundle(`
      import { readPcrs, Tpm, type TpmTransport } from '@casemate/tpm';
      export const read = (transport: TpmTransport) => readPcrs(new Tpm(transport), { sha256: [0, 7] });
    `);
    expect(gzipSync(code).length).toBeLessThan(20_000);
    expect(code).not.toContain('getRandomValues');
  });

  it('of the whole package needs nothing of Node', async () => {
    const code = await bundle(`export * from '@casemate/tpm';`);
    expect(code).toContain('getRandomValues');
    expect(code).not.toMatch(/node:|\bBuffer\b|\brequire\(|\bprocess\./);
  });
});
