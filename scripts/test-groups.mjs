// Which test files run beside others and which alone. It follows from what a file reaches by imports, so there is no list to keep.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));

/** Modules that only a test which runs alone may reach: what they do is seen, or counted, by everything on the machine. */
const MODULES = [
  { module: 'packages/namespaces/src/launcher.ts', because: 'starts sandboxes' },
  { module: 'packages/cgroups/src/index.ts', because: 'makes control groups' },
];

/** Words in a test, or in the code of tests that it reaches, with which another test beside it would interfere. */
const WORDS = [
  { word: /\bperformance\.now\b|\bhrtime\b|\bcpuUsage\b/, because: 'measures time' },
  { word: /\btimeout: \d{1,3}\b/, because: 'gives something less than a second' },
  { word: /\breaddir(Sync)?\((tmpdir\(\)|'\/(proc|sys|tmp)\b)|\/mountinfo\b/, because: 'looks at what everyone has' },
];

/** Why a test file must run alone, or `undefined`. `file` and the paths in the answer are relative to the root of the repository. */
export function reasonToRunAlone(file) {
  for (const reached of reachedFrom(join(root, file))) {
    const path = relative(root, reached);
    const found =
      MODULES.find(({ module }) => module === path) ??
      (isTestCode(path) ? WORDS.find(({ word }) => word.test(read(reached).text)) : undefined);
    if (found) return path === file ? found.because : `${found.because}: ${path}`;
  }
  return undefined;
}

/** Every test file of the repository, relative to its root. */
export function testFiles() {
  const folders = ['packages', 'examples'].flatMap((name) =>
    readdirSync(join(root, name)).map((entry) => join(name, entry, 'test')),
  );
  return [...folders, 'scripts/test']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)))
    .filter((file) => file.endsWith('.test.ts') && !file.includes('node_modules'))
    .sort();
}

function isTestCode(path) {
  return /(^|\/)test\//.test(path);
}

/** The file and all that it imports, through the sources of the packages. Types alone bring nothing to run. */
function reachedFrom(start) {
  const reached = new Set([start]);
  for (const file of reached) for (const next of read(file).imports) reached.add(next);
  return reached;
}

const files = new Map();

function read(file) {
  const known = files.get(file);
  if (known) return known;
  const text = readFileSync(file, 'utf8');
  const names = [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2]);
  const imports = names.map((name) => locate(name, dirname(file))).filter((path) => path !== undefined);
  const content = { text, imports };
  files.set(file, content);
  return content;
}

/** `import … from`, `export … from`, `import '…'`, and `import('…')` anywhere. */
const IMPORT =
  /^\s*(?:import|export)\b(?!\s+type\b)(?:[^;'"]*?\bfrom\b)?\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;

/** The source that a name stands for; `undefined` for packages from elsewhere and for what Node brings. */
function locate(name, from) {
  const source = name.startsWith('.') ? join(from, name).replace(/\.js$/, '.ts') : sources.get(name);
  return source !== undefined && /\.(ts|mjs)$/.test(source) && existsSync(source) ? source : undefined;
}

/** The entry points of this repository's packages, by the names that they are imported by. */
export const sources = new Map(
  readdirSync(join(root, 'packages')).flatMap((folder) => {
    const { name, exports } = JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8'));
    return Object.keys(exports)
      .filter((entry) => typeof exports[entry] === 'object')
      .map((entry) => {
        const file = entry === '.' ? 'index' : entry.slice(2);
        return [name + entry.slice(1), join(root, 'packages', folder, 'src', `${file}.ts`)];
      });
  }),
);
