/**
 * Joins what one entry point loads into one file. Node pays some milliseconds for each module, and a bundler that
 * splits by "which entries share this" makes a dozen of them; the other entries keep finding the parts in it.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { build } from 'esbuild';

/**
 * Joins `entry` (the path of a built ES module) and every file beside it that it imports statically into `JOINED` beside it.
 * The files stay, as lists of what they export from there, so that all who import them share one copy.
 */
export async function joinChunks(entry, joined = 'joined.js') {
  const directory = dirname(entry);
  const exportsOf = await staticImports(directory, basename(entry));
  const parts = [...exportsOf].map(([file, names], index) => ({ file, names, prefix: `p${index}_` }));
  const contents = parts.map(({ file, names, prefix }) => {
    return `export { ${names.map((name) => `${name} as ${prefix}${name}`).join(', ')} } from './${file}';\n`;
  });
  await build({
    stdin: { contents: contents.join(''), resolveDir: directory },
    outfile: join(directory, joined),
    bundle: true,
    packages: 'external',
    tsconfigRaw: {}, // the workspace's own would lead to the sources of its packages
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
    logOverride: { 'ignored-bare-import': 'silent' }, // a part without side effects need not be loaded
  });
  const nameOf = await exportOnce(join(directory, joined));
  for (const { file, names, prefix } of parts) {
    const list = names.map((name) => `${nameOf.get(prefix + name)} as ${name}`).join(', ');
    await writeFile(join(directory, file), `export { ${list} } from './${joined}';\n`);
  }
}

/**
 * Leaves one export of each binding in the file `path`, where the entry and a part both export it: each costs Node time.
 * Gives for every name that was exported the one that is left.
 */
async function exportOnce(path) {
  const code = await readFile(path, 'utf8');
  const start = code.lastIndexOf('\nexport {');
  const kept = new Map();
  const nameOf = new Map();
  for (const [, local, alias = local] of code
    .slice(start + '\nexport {'.length)
    .matchAll(/([\w$]+)(?: as ([\w$]+))?/g)) {
    if (!kept.has(local)) kept.set(local, alias);
    nameOf.set(alias, kept.get(local));
  }
  const list = [...kept].map(([local, alias]) => `${local} as ${alias}`).join(',\n  ');
  await writeFile(path, `${code.slice(0, start)}\nexport {\n  ${list}\n};\n`);
  return nameOf;
}

/** The entry and the files beside it that it imports, whatever the depth, each with the names that it exports. */
async function staticImports(directory, entry) {
  const found = new Map();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (found.has(file)) continue;
    const { exports, imports } = await describe(join(directory, file));
    found.set(file, exports);
    waiting.push(...imports);
  }
  return found;
}

async function describe(path) {
  const plain = { bundle: false, write: false, metafile: true, format: 'esm', logLevel: 'warning' };
  const { metafile } = await build({ ...plain, stdin: { contents: await readFile(path, 'utf8') } });
  const [output] = Object.values(metafile.outputs);
  const beside = output.imports.filter(({ path, kind }) => kind === 'import-statement' && path.startsWith('./'));
  return { exports: output.exports, imports: beside.map(({ path }) => basename(path)) };
}
