// What the packages are: their order, their entry points, and which entry points are pure.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup.mjs';

/** The layers from top to bottom; a package may import those that stand after it and no others. */
export const layers = [
  'container',
  'tz',
  'trustvisor',
  'utpm',
  'attestation',
  'pki',
  'namespaces',
  'cgroups',
  'tpm',
  'pal-linker',
  'firmware',
  'wire',
  'command-line',
  'files',
];

/** Entry points that run in a browser: no `node:` import may be reachable from them. The budget is bytes, minified and gzipped. */
export const pureEntries = {
  '@casemate/wire': 6_500,
  '@casemate/firmware': 17_500,
  '@casemate/pal-linker': 29_500,
  '@casemate/pal-linker/classic': 21_500,
  '@casemate/pal-linker/wasm': 27_000,
  '@casemate/tpm': 84_000,
  '@casemate/tpm/tpm12': 42_000,
  '@casemate/pki': 90_000,
  '@casemate/pki/audit': 12_500,
  '@casemate/pki/template': 12_000,
  '@casemate/pki/timestamp': 26_500,
  '@casemate/pki/pkcs12': 25_000,
  '@casemate/pki/ml-dsa': 13_000,
  '@casemate/tpm/webcrypto': 32_000,
  '@casemate/attestation': 78_500,
  '@casemate/utpm': 95_000,
  '@casemate/utpm/micro': 32_500,
};

/** Every package that is published: directory, manifest and entry points with their sources and declarations. */
export function packages() {
  return allPackages().filter(({ manifest }) => manifest.private !== true);
}

/** Those, and the private ones that are bundled into them. */
export function allPackages() {
  return readdirSync(join(root, 'packages'))
    .filter((name) => existsSync(join(root, 'packages', name, 'package.json')))
    .map((name) => {
      const dir = join(root, 'packages', name);
      const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
      return { name, dir, manifest, entries: entriesOf(dir, manifest) };
    });
}

function entriesOf(dir, manifest) {
  return Object.entries(manifest.exports)
    .filter(([, target]) => typeof target === 'object' && typeof target.types === 'string')
    .map(([subpath, target]) => {
      const file = subpath === '.' ? 'index' : subpath.slice(2);
      return {
        specifier: manifest.name + subpath.slice(1),
        file,
        source: join(dir, 'src', `${file}.ts`),
        declarations: join(dir, target.types),
        report: join(dir, 'api', `${file}.api.md`),
      };
    });
}
