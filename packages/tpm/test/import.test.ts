/** What it costs to import the package as Node resolves it, from its build. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const entry = join(root, 'dist', 'index.js');
const isBuilt = existsSync(entry) || process.env.MUST_RUN === '1';

/** Runs a module in a fresh process that finds the package by its name, and gives what it printed as JSON. */
function inFreshProcess(source: string): unknown {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: root,
  });
  if (status !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString());
}

/** The modules outside of the build that are loaded along with `file`. */
function externalImports(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return new Set();
  seen.add(file);
  const specifiers = [...readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^'"]*['"]([^'"]+)['"]/gm)];
  const found = specifiers.map(([, specifier = '']) => specifier);
  const inside = found.filter((specifier) => specifier.startsWith('.'));
  const outside = found.filter((specifier) => !specifier.startsWith('.'));
  const deeper = inside.flatMap((specifier) => [...externalImports(join(dirname(file), specifier), seen)]);
  return new Set([...outside, ...deeper]);
}

describe.skipIf(!isBuilt)(`the package as Node imports it${isBuilt ? '' : ' (skipped: it is not built)'}`, () => {
  it('loads nothing but the codecs and what is built into Node', () => {
    expect([...externalImports(entry)].sort()).toEqual(['@casemate/wire', 'node:module']);
  });

  it('takes less than half of the processor time in which Node itself starts', () => {
    // Both in the same process, so that the machine and its load stand on both sides; about 0.3 where the machine is calm.
    const shares = Array.from({ length: 9 }, () => {
      const [start, whole] = inFreshProcess(`
        const cost = () => process.cpuUsage().user + process.cpuUsage().system;
        const start = cost();
        await import('@casemate/tpm');
        console.log(JSON.stringify([start, cost()]));
      `) as [number, number]; // printed by the lines above
      return (whole - start) / start;
    });
    const median = shares.sort((a, b) => a - b)[4];
    expect(median).toBeLessThan(0.5);
  });

  it('gives OpenSSL as the default provider, and loads @noble when it is called', () => {
    const digests = inFreshProcess(`
      import { defaultCrypto, nameOf, nobleCrypto, nobleHashes, srkTemplate, TPM_ALG } from '@casemate/tpm';
      import { nodeCrypto } from '@casemate/tpm/node-crypto';
      const bytes = new Uint8Array(100);
      const ways = [nodeCrypto, nobleCrypto, nobleHashes].map((way) => way.hash(TPM_ALG.SHA256, bytes).join());
      const names = [undefined, nobleCrypto].map((way) => nameOf(srkTemplate('rsa-2048'), way).join());
      console.log(JSON.stringify([defaultCrypto === nodeCrypto, new Set(ways).size, new Set(names).size]));
    `);
    expect(digests).toEqual([true, 1, 1]);
  });
});
