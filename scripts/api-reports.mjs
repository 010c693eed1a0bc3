// The public API of every entry point as committed text, and the rule that each public export has a doc comment.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor';
import ts from 'typescript';
import { root } from './setup.mjs';
import { packages } from './workspace.mjs';

const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));

try {
  console.log(checkApiReports(process.argv.includes('--update')));
} catch (error) {
  console.log(error.message);
  process.exitCode = 1;
}

/** Compares every report with the committed one, or writes them anew with `update`. Returns a summary line; throws with what differs. */
function checkApiReports(update) {
  const problems = [];
  let count = 0;
  for (const pkg of packages()) {
    for (const entry of pkg.entries) {
      problems.push(...extract(pkg, entry, update));
      count += 1;
    }
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return `${count} entry points, every public export documented`;
}

function extract(pkg, entry, update) {
  if (!existsSync(entry.declarations))
    return [`${entry.specifier}: ${entry.declarations.slice(root.length + 1)} was not built`];
  const undocumented = [];
  const temp = join(pkg.dir, 'node_modules', '.api', entry.file);
  mkdirSync(temp, { recursive: true });
  mkdirSync(dirname(entry.report), { recursive: true });
  const result = Extractor.invoke(configure(pkg, entry, temp), {
    localBuild: update,
    typescriptCompilerFolder: typescript,
    messageCallback(message) {
      message.handled = true;
      if (message.messageId === 'ae-undocumented') undocumented.push(`${entry.specifier}: ${message.text}`);
      if (message.category === 'compiler' && message.logLevel === 'error')
        undocumented.push(`${entry.specifier}: ${message.text}`);
    },
  });
  const isChanged = result.apiReportChanged && !update && !isSameApi(entry.report, join(temp, basename(entry.report)));
  rmSync(temp, { recursive: true, force: true });
  if (isChanged) {
    undocumented.push(
      `${entry.specifier}: the public API changed; run \`npm run check -- --update\` and commit ${basename(entry.report)}`,
    );
  }
  return undocumented;
}

/**
 * Whether two reports differ only in the order of the members of unions and of object types written out, which means nothing: it is the
 * compiler's, and changes from build to build.
 */
function isSameApi(committed, built) {
  return existsSync(committed) && canonical(committed) === canonical(built);
}

function canonical(file) {
  const [, code] = /^```ts$(.*)^```$/ms.exec(readFileSync(file, 'utf8')) ?? [];
  if (code === undefined) throw new Error(`read ${file}: expected a report with a block of TypeScript`);
  const source = ts.createSourceFile('api.ts', code, ts.ScriptTarget.Latest);
  const printer = ts.createPrinter();
  const print = (node) => printer.printNode(ts.EmitHint.Unspecified, node, source);
  const inOrder = (nodes) => {
    const texts = nodes.map((node) => [print(node), node]).sort(([a], [b]) => (a < b ? -1 : 1));
    return ts.factory.createNodeArray(texts.map(([, node]) => node));
  };
  const sorted = (context) => {
    const visit = (node) => {
      const inner = ts.visitEachChild(node, visit, context);
      if (ts.isUnionTypeNode(inner)) return ts.factory.updateUnionTypeNode(inner, inOrder(inner.types));
      if (ts.isTypeLiteralNode(inner)) return ts.factory.updateTypeLiteralNode(inner, inOrder(inner.members));
      return inner;
    };
    return visit;
  };
  const { transformed } = ts.transform(source, [sorted]);
  return print(transformed[0]);
}

function configure(pkg, entry, temp) {
  const log = (logLevel, addToApiReportFile = false) => ({ logLevel, addToApiReportFile });
  return ExtractorConfig.prepare({
    packageJsonFullPath: join(pkg.dir, 'package.json'),
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: pkg.dir,
      mainEntryPointFilePath: entry.declarations,
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            target: 'ES2022',
            lib: ['ES2023', 'ESNext.Disposable'],
            module: 'NodeNext',
            moduleResolution: 'NodeNext',
            types: ['node'],
            typeRoots: [join(root, 'node_modules', '@types')],
            skipLibCheck: true,
            strict: true,
          },
          files: [entry.declarations],
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: basename(entry.report),
        reportFolder: dirname(entry.report),
        reportTempFolder: temp,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      newlineKind: 'lf',
      messages: {
        compilerMessageReporting: { default: log('error') },
        extractorMessageReporting: {
          default: log('none'),
          // Not into the report: there it would be accepted in silence.
          'ae-undocumented': log('warning'),
          'ae-missing-release-tag': log('none'),
        },
        tsdocMessageReporting: { default: log('none') },
      },
    },
  });
}
