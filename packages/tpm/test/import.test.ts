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
  // Reading further certificates would multiply the time in which Node starts, options could change anything.
  const { NODE_EXTRA_CA_CERTS: _, NODE_OPTIONS: __, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: root,
    env,
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
  it('loads nothing but one file and the codecs', () => {
    expect([...externalImports(entry)].sort()).toEqual(['@casemate/wire']);
  });

  it('takes little more processor time than Node itself to start', () => {
    // Both in the same process, so that the machine and its load stand on both sides: 1.03 to 1.05, and 1.3 when commands
    // were described at the import and the build was two files.
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
    expect(median).toBeLessThan(1.25);
  });

  it('shares its classes with every other entry point, whichever is loaded first', () => {
    const shared = inFreshProcess(`
      import { readFile } from 'node:fs/promises';
      const names = Object.keys(JSON.parse(await readFile('package.json', 'utf8')).exports).filter((name) => !/^\\.$|json/.test(name));
      const entries = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await import('@casemate/tpm' + name.slice(1))])));
      const { TpmError } = await import('@casemate/tpm');
      const errors = await Promise.all([
        entries['./swtpm'].connectSwtpm({ host: '127.0.0.1', port: 1 }).catch((error) => error),
        entries['./device'].openDevice('/nowhere/tpm0').catch((error) => error),
      ]);
      console.log(JSON.stringify([names.sort(), errors.map((error) => error instanceof TpmError)]));
    `);
    const others = ['device', 'mssim', 'node-crypto', 'recorder', 'swtpm', 'tpm12', 'webcrypto'];
    expect(shared).toEqual([others.map((name) => `./${name}`), [true, true]]);
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

  it('describes a command when it is first looked at, and then once', () => {
    const looks = inFreshProcess(`
      import { command, CreatePrimary, GetRandom, PcrRead, TPM_CC } from '@casemate/tpm';
      const { name, code, sessions, effects, handles, parameters, responseHandles, response } = CreatePrimary;
      const again = command({ name, code, effects, handles, parameters: parameters.fields, responseHandles, response: response.fields });
      const text = (value) => JSON.stringify(value);
      console.log(text([
        Object.keys(CreatePrimary), name, code === TPM_CC.CreatePrimary, sessions,
        parameters === CreatePrimary.parameters && parameters === { ...CreatePrimary }.parameters,
        text(again) === text(CreatePrimary), PcrRead.sessions, GetRandom.handles.length,
      ]));
    `);
    const keys = ['name', 'code', 'sessions', 'effects', 'handles', 'parameters', 'responseHandles', 'response'];
    expect(looks).toEqual([keys, 'TPM2_CreatePrimary', true, 'required', true, true, 'allowed', 0]);
  });
});
