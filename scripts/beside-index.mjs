/**
 * Lets a package's main entry point be one file, which Node loads fastest, with the other entry points beside it: what the
 * main one exports they import from there, so that there is one of each class, and of its unexported functions they have
 * copies.
 */
import { readFileSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';

/**
 * An esbuild plugin for the other entry points. `index` is the path of the main entry's source, which lists its exports by
 * name; `aliases` names the files that the main entry exports under another name: `{ 'inner.ts': { inner: 'outer' } }`.
 * Whoever imports something unexported from a file of which the main entry exports something else is told to move it.
 */
export function besideIndex(index, aliases = {}) {
  const root = dirname(resolve(index));
  const output = `./${basename(index, extname(index))}.js`;
  const exported = exportsByFile(readFileSync(index, 'utf8'), root);
  const aliased = new Map(Object.entries(aliases).map(([file, names]) => [join(root, file), names]));
  return {
    name: 'beside-index',
    setup(build) {
      build.onResolve({ filter: /^\.\.?\// }, ({ importer, path, namespace }) => {
        if (namespace === 'beside-index') return { path, external: true };
        const file = join(dirname(importer), path.replace(/\.js$/, '.ts'));
        if (aliased.has(file)) return { path: file, namespace: 'beside-index' };
        const names = exported.get(file);
        if (!names) return undefined;
        const missing = importedFrom(readFileSync(importer, 'utf8'), path).filter((name) => !names.has(name));
        if (missing.length === 0) return { path: output, external: true };
        const text = `${missing.join(', ')} of ${path} is not exported by ${basename(index)}, which exports others of it: give it a file of its own`;
        return { errors: [{ text }] };
      });
      build.onLoad({ filter: /./, namespace: 'beside-index' }, ({ path }) => {
        const list = Object.entries(aliased.get(path)).map(([inner, outer]) => `${outer} as ${inner}`);
        return { contents: `export { ${list.join(', ')} } from '${output}';` };
      });
    },
  };
}

/** The values that `code` exports from each file beside it. */
function exportsByFile(code, root) {
  const found = new Map();
  for (const [, list, path] of code.matchAll(/^export \{([^}]*)\} from '(\.[^']*)\.js';/gm)) {
    found.set(join(root, `${path}.ts`), new Set([...(found.get(join(root, `${path}.ts`)) ?? []), ...values(list)]));
  }
  return new Map([...found].filter(([, names]) => names.size > 0));
}

/** The values that `code` imports from `path`, or exports from there. */
function importedFrom(code, path) {
  const statements = [...code.matchAll(/^(?:import|export) \{([^}]*)\} from '([^']*)';/gm)];
  return statements.filter(([, , from]) => from === path).flatMap(([, list]) => values(list));
}

/** The names in an import or export list, without types and comments. */
function values(list) {
  const names = list.replace(/\/\/.*/g, '').split(',');
  return names.map((name) => name.trim().replace(/ as .*/, '')).filter((name) => name && !name.startsWith('type '));
}
