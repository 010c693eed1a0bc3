// `npm run rollout -- [--devices N] [--store sqlite|postgres] [--processes N] [--kills N] [--workers N] [--lanes N] [--json]`:
// devices with TPMs enrol against services that are killed meanwhile; see packages/pki/rollout/main.ts.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, setup } from './setup.mjs';

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
  external: ['libsql', 'pg', 'write-file-atomic'],
  logLevel: 'error',
});
const env = { ...process.env, ROLLOUT_SERVICE: join(out, 'service.mjs'), ROLLOUT_DEVICES: join(out, 'devices.mjs') };
const { status } = spawnSync(process.execPath, [join(out, 'main.mjs'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env,
});
process.exit(status ?? 1);
