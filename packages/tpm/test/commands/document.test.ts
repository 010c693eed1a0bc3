/**
 * COMMANDS.md, generated from the commands themselves. This test fails where the file is out of date;
 * `npx vitest run packages/tpm/test/commands/document.test.ts -u` writes it anew.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { type AnyCommand, commands, isFirstParameterSized, TPM_SPEC } from '../../src/index.js';

const directory = fileURLToPath(new URL('../../src/commands/', import.meta.url));
const table = 'table.ts';

interface Source {
  readonly file: string;
  /** What the file opens with: the chapter and its number in Part 3. */
  readonly chapter: string;
  readonly clause: number;
  readonly commands: ReadonlySet<unknown>;
}

async function sourceOf(file: string): Promise<Source> {
  const heading = /^\/\*\* (.+)\. TPM 2\.0 Part 3, clause (\d+)\. \*\//.exec(readFileSync(directory + file, 'utf8'));
  if (heading === null) throw new Error(`${file} does not open with its chapter and clause`);
  const [, chapter = '', clause] = heading;
  return { file, chapter, clause: Number(clause), commands: new Set(Object.values(await import(directory + file))) };
}

function rowOf({ name, code, handles, responseHandles, parameters, response, sessions }: AnyCommand): string {
  const auths = handles.map(({ name: handle, auth }) => (auth === 'none' ? handle : `${handle} (${auth})`));
  const mayEncrypt = (struct: AnyCommand['parameters']) => sessions !== 'never' && isFirstParameterSized(struct);
  const encryptable = [mayEncrypt(parameters) ? 'request' : '', mayEncrypt(response) ? 'response' : ''];
  const cells = [
    `\`${name}\``,
    `0x${code.toString(16).padStart(8, '0')}`,
    auths.join(', '),
    responseHandles.map(({ name: handle }) => handle).join(', '),
    sessions,
    encryptable.filter((direction) => direction !== '').join(', '),
  ];
  return `| ${cells.map((cell) => cell || '–').join(' | ')} |`;
}

function chapterOf({ chapter, clause, file, commands: exported }: Source): string {
  return [
    `## ${clause} ${chapter}: [\`${file}\`](src/commands/${file})`,
    '',
    '| Command | Code | Handles (who authorises) | Returned | Sessions | First parameter may be encrypted |',
    '|---|---|---|---|---|---|',
    ...commands.filter((command) => exported.has(command)).map(rowOf),
    '',
  ].join('\n');
}

it('COMMANDS.md lists the 122 commands as the code has them', async () => {
  const files = readdirSync(directory).filter((file) => file !== table);
  const sources = (await Promise.all(files.map(sourceOf))).sort((a, b) => a.clause - b.clause);
  const filed = commands.filter((command) => sources.some((source) => source.commands.has(command)));
  expect(filed).toHaveLength(122);
  const text = [
    '# Commands of TPM 2.0',
    '',
    `${filed.length} of 122, by the clauses of Part 3, revision ${(TPM_SPEC.VERSION / 100).toFixed(2)}. Generated from the code:`,
    '`npx vitest run packages/tpm/test/commands/document.test.ts -u` writes this file anew, and without `-u` tells whether it is',
    'up to date. `test/commands/tables.test.ts` compares each command with the tables of the specification;',
    '`test/commands/round-trip.test.ts` takes the request and the response of each through both directions, arbitrary bytes',
    'and every truncation.',
    '',
    ...sources.map(chapterOf),
  ].join('\n');
  await expect(text).toMatchFileSnapshot('../../COMMANDS.md');
});
