/** `init`: a PAL to begin with. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type CommandDefinition, EXIT, Failure, usage } from '@casemate/command-line';
import { wordOf } from '../options.js';
import { C_TEMPLATE, TYPESCRIPT_TEMPLATE } from '../templates.js';

/** Writes a small PAL that builds as it is. */
export const initCommand: CommandDefinition = {
  name: 'init',
  usage: '[NAME]',
  summary: 'write a small PAL to begin with: a counter with a sealed state',
  options: {
    language: { type: 'string', short: 'l', value: 'LANGUAGE', help: 'ts (AssemblyScript) or c; ts unless given' },
    directory: { type: 'string', short: 'C', value: 'DIR', help: 'write it there' },
  },
  examples: ['pal init counter', 'pal init vault --language c'],
  positionals: { min: 0, max: 1 },
  async run(context) {
    const [name = 'counter'] = context.positionals;
    if (!/^[A-Za-z][A-Za-z0-9_-]{0,62}$/.test(name))
      throw usage(`init: "${name}" is no name for a PAL`, 'Letters, digits, _ and -.');
    const language = wordOf(context, 'language', ['ts', 'c']) ?? 'ts';
    const file = join(context.text('directory') ?? '.', `${name}.pal.${language}`);
    await writeNew(file, (language === 'c' ? C_TEMPLATE : TYPESCRIPT_TEMPLATE).replaceAll('NAME', name));
    const needs = language === 'c' ? '@casemate/trustvisor (casemate-pal.h) and gcc or clang' : 'assemblyscript';
    return {
      json: { file, language },
      text: [
        `${file}: a counter to begin with; it needs ${needs}.`,
        `  pal build ${file} --name ${name} --version 0.1.0`,
      ].join('\n'),
    };
  },
};

async function writeNew(file: string, content: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content, { flag: 'wx' });
  } catch (cause) {
    const isThere = typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === 'EEXIST';
    const problem = isThere ? 'it is there already' : cause instanceof Error ? cause.message : String(cause);
    throw new Failure(EXIT.FAILED, `cannot write ${file}: ${problem}`, undefined, cause);
  }
}
