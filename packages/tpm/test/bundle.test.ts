/** What an application pays for one command: only the chapters that it uses end up in a bundle. */
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

async function bundle(contents: string): Promise<string> {
  const result = await build({
    stdin: { contents, resolveDir: source('.'), loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    alias: { '@casemate/tpm': source('../src/index.ts'), '@casemate/wire': source('../../wire/src/index.ts') },
    write: false,
    logLevel: 'silent',
  });
  return result.outputFiles[0]?.text ?? '';
}

describe('a bundle', () => {
  it('that encodes TPM2_PCR_Read alone stays small and holds no table of commands', async () => {
    const code = await bundle(`
      import { decodeResponse, encodeCommand, PcrRead } from '@casemate/tpm';
      import { decode, encode } from '@casemate/wire';
      const parameters = encode(PcrRead.parameters, { pcrSelectionIn: [] });
      export const command = encodeCommand({ code: PcrRead.code, handles: [], auths: [], parameters });
      export const read = (bytes: Uint8Array) => decode(PcrRead.response, decodeResponse(PcrRead, bytes).parameters);
    `);
    expect(code).toContain('TPM2_PCR_Read');
    expect(code).not.toContain('TPM2_CreatePrimary');
    expect(code).not.toContain('TPM2_NV_Write');
    expect(code).not.toContain('TPMT_SIGNATURE');
    expect(gzipSync(code).length).toBeLessThan(16_000);
  });

  it('with the table of commands holds all 122', async () => {
    const code = await bundle(`
      import { commandByCode } from '@casemate/tpm';
      console.log(commandByCode.size);
    `);
    expect(new Set(code.match(/TPM2_\w+/g))).toHaveProperty('size', 122);
  });

  it('of the constants alone holds no codec', async () => {
    const code = await bundle(`
      import { TPM_ALG } from '@casemate/tpm';
      console.log(TPM_ALG.SHA256);
    `);
    expect(code).not.toContain('truncated');
    expect(gzipSync(code).length).toBeLessThan(1_000);
  });
});
