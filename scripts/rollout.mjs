// `npm run rollout -- [--devices N] [--store sqlite|postgres] [--processes N] [--kills N] [--workers N] [--lanes N] [--json]`:
// devices with TPMs enrol against services that are killed meanwhile; see packages/pki/rollout/main.ts.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { numberOf, readArguments, refuseArguments } from './arguments.mjs';
import { root, setup } from './setup.mjs';

const USAGE = `usage: npm run rollout -- [--devices N] [--store sqlite|postgres] [--processes N] [--kills N] [--workers N] [--lanes N] [--json]

N devices (10000) with TPMs enrol against N service processes (1) that are killed N times (10) meanwhile; N workers (2) of N lanes (4) enrol.
`;

checkArguments();

await setup({ tools: [], build: false });
const { build } = await import('esbuild');
// Inside the package, so that what stays outside of the bundle is found.
const out = join(root, 'packages', 'pki', 'node_modules', '.cache', 'rollout');
mkdirSync(out, { recursive: true });
await build({
  entryPoints: ['main', 'service', 'devices'].map((name) => join(root, 'packages', 'pki', 'rollout', `${name}.ts`)),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  tsconfig: join(root, 'tsconfig.base.json'),
  // The build that Node gets of these packages, on OpenSSL.
  alias: { '@casemate/utpm': join(root, 'packages', 'utpm', 'src', 'index-node.ts') },
  plugins: [
    {
      name: 'node-crypto',
      setup: ({ onResolve }) =>
        onResolve({ filter: /^\.\/default-crypto\.js$/ }, () => ({
          path: join(root, 'packages', 'tpm', 'src', 'default-crypto-node.ts'),
        })),
    },
  ],
  external: ['libsql', 'pg'],
  logLevel: 'error',
});
const env = { ...process.env, ROLLOUT_SERVICE: join(out, 'service.mjs'), ROLLOUT_DEVICES: join(out, 'devices.mjs') };
const { status } = spawnSync(process.execPath, [join(out, 'main.mjs'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env,
});
process.exit(status ?? 1);

// packages/pki/rollout/main.ts reads them anew.
function checkArguments() {
  const numbers = ['devices', 'processes', 'kills', 'workers', 'lanes'];
  const named = Object.fromEntries([...numbers, 'store'].map((name) => [name, { type: 'string' }]));
  const { values } = readArguments(USAGE, { options: { ...named, json: { type: 'boolean' } } });
  for (const name of numbers) numberOf(USAGE, name, values[name] ?? '1', name === 'kills' ? 0 : 1);
  if (!['sqlite', 'postgres'].includes(values.store ?? 'sqlite'))
    refuseArguments(USAGE, `--store: expected sqlite or postgres, got "${values.store}".`);
}
