// The examples of READMEs and doc comments, as programs: each is compiled against the sources, and those marked `run` are run elsewhere.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { bin, root, run } from './setup.mjs';
import { packages } from './workspace.mjs';

const fence = /^```ts( run)?\n([\s\S]*?)^```$/gm;
const work = join(root, 'node_modules', '.doc-examples');

/** Every TypeScript block of a Markdown text: its code and whether it is marked as one that runs. */
export function blocks(markdown) {
  return [...markdown.matchAll(fence)].map(([, mark, code]) => ({ code, runs: mark !== undefined }));
}

/** The block of a package's README that is marked `run`. */
export function runnableExample(pkg) {
  const example = blocks(readFileSync(join(pkg.dir, 'README.md'), 'utf8')).filter((block) => block.runs);
  if (example.length !== 1)
    throw new Error(`${pkg.name}/README.md: expected one example marked \`ts run\`, got ${example.length}`);
  return example[0].code;
}

/** Compiles every example. Returns a summary line; throws with the compiler's messages, by README and example number. */
export async function checkDocExamples() {
  const examples = collect();
  if (examples.length < packages().length)
    throw new Error(`expected an example a package at least, got ${examples.length}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  for (const { name, code } of examples) writeFileSync(join(work, `${name}.ts`), `${code}\nexport {};\n`);
  writeFileSync(
    join(work, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../tsconfig.base.json',
      compilerOptions: { baseUrl: root, typeRoots: [join(root, 'node_modules/@types')] },
      include: ['*.ts'],
    }),
  );
  const { code, output } = await run(bin('tsc'), ['-p', work]);
  rmSync(work, { recursive: true, force: true });
  if (code !== 0) throw new Error(output);
  for (const pkg of packages()) runnableExample(pkg);
  return `${examples.length} examples compile`;
}

function collect() {
  const inReadmes = ['README.md', ...packages().map((p) => relative(root, join(p.dir, 'README.md')))].flatMap((file) =>
    blocks(readFileSync(join(root, file), 'utf8')).map(({ code }, i) => ({ name: label(file, i), code })),
  );
  const inComments = packages().flatMap((pkg) =>
    sources(join(pkg.dir, 'src')).flatMap((file) =>
      commentExamples(readFileSync(file, 'utf8')).map((code, i) => ({ name: label(relative(root, file), i), code })),
    ),
  );
  return [...inReadmes, ...inComments];
}

function commentExamples(source) {
  const comments = source.match(/\/\*\*[\s\S]*?\*\//g) ?? [];
  return comments.flatMap((comment) => blocks(comment.replace(/^\s*\* ?/gm, '')).map(({ code }) => code));
}

function sources(dir) {
  return readdirSync(dir, { recursive: true })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(dir, file));
}

function label(file, i) {
  return `${file.replace(/[^A-Za-z0-9]+/g, '-')}-${i + 1}`;
}
