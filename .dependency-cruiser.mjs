// The layer picture of the README as rules. `npm run check` runs them and proves that every module was seen.
import { layers } from './scripts/workspace.mjs';

const entryPoints =
  '(index|wasm|classic|build|esbuild|vite|device|swtpm|mssim|recorder|tpm12|webcrypto|node|node-crypto|micro|server|assembly|audit|ml-dsa|timestamp|pkcs12|pkcs11|template|service|sqlite|postgres|statements|owner)\\.ts$';

export default {
  forbidden: [
    ...layers.map((name, i) => ({
      name: `layer-${name}`,
      comment: `${name} may import only the layers below it`,
      severity: 'error',
      from: { path: `^packages/${name}/src` },
      to: {
        path:
          i === 0 ? '^(examples|benchmarks)/' : `^(examples|benchmarks|packages/(${layers.slice(0, i).join('|')}))/`,
      },
    })),
    {
      name: 'public-entry-points',
      comment: 'another package is reached through its public entry points only',
      severity: 'error',
      from: { path: '^(packages|examples|benchmarks)/([^/]+)/' },
      to: { path: '^packages/[^/]+/src', pathNot: [`^packages/[^/]+/src/${entryPoints}`, '^packages/$2/'] },
    },
    {
      name: 'no-circular',
      severity: 'error',
      from: { path: '^packages/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'resolvable', severity: 'error', from: { path: '^(packages|examples)/' }, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|assembly)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'default'] },
  },
};
