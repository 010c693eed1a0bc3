/** The frame of the programs: from a command line to output and exit code. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type BaseContext,
  EXIT,
  Failure,
  type ProgramDefinition,
  runProgram,
  type Surroundings,
} from '../src/index.js';

const directory = mkdtempSync(join(tmpdir(), 'casemate-command-line-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

class OwnError extends Error {}

interface Context extends BaseContext {
  readonly greeting: string;
}

const program: ProgramDefinition<Context> = {
  name: 'greet',
  summary: 'says something',
  version: '1.2.3',
  options: { language: { type: 'string', short: 'l', value: 'NAME', help: 'in which language' } },
  sections: [{ title: 'languages', rows: [['en', 'English']] }],
  exitCodes: { [EXIT.REFUSED]: 'nobody is greeted today' },
  tell: (error) =>
    error instanceof OwnError
      ? { exit: EXIT.REFUSED, kind: 'own', message: error.message, remedy: undefined, details: { place: 'here' } }
      : undefined,
  extend: (context) => ({ ...context, greeting: context.text('language') === 'de' ? 'Hallo' : 'Hello' }),
  commands: [
    {
      name: 'say',
      usage: 'NAME',
      summary: 'says it',
      positionals: { min: 1, max: 1 },
      options: {
        loud: { type: 'boolean', help: 'louder' },
        by: { type: 'string', multiple: true, help: 'who says it' },
        once: { type: 'string', help: 'once' },
        password: { type: 'string', value: 'SOURCE', help: 'a secret' },
        'password-file': { type: 'string', help: 'the same' },
      },
      async run({ greeting, positionals, has, texts, secretText }) {
        const secret = await secretText('password');
        const text = `${greeting}, ${positionals[0]}${has('loud') ? '!' : '.'}${texts('by').join()}${secret ?? ''}`;
        return { json: { text }, text };
      },
    },
    {
      name: 'letter write',
      summary: 'writes it',
      options: { out: { type: 'string', help: 'where' }, format: { type: 'string', help: 'how' } },
      run: async () => ({ json: null, bytes: Uint8Array.of(1, 2, 0xff) }),
    },
    {
      name: 'fail',
      summary: 'fails',
      positionals: { min: 1, max: 1 },
      async run({ positionals }) {
        if (positionals[0] === 'own') throw new OwnError('no');
        if (positionals[0] === 'defect') throw new RangeError('a defect');
        if (positionals[0] === 'check') return { json: false, text: 'no', exit: EXIT.CHECK_FAILED };
        throw new Failure(EXIT.UNREACHABLE, 'nobody is there', 'Come back later.');
      },
    },
  ],
};

async function run(args: readonly string[], more: Partial<Surroundings> = {}) {
  const out: Buffer[] = [];
  let err = '';
  const code = await runProgram(program, args, {
    env: {},
    readInput: async () => new TextEncoder().encode('from input\n'),
    out: async (data) => void out.push(Buffer.from(data)),
    err: (text) => {
      err += text;
    },
    isTerminal: { out: false, err: false },
    columns: 80,
    askSecret: async () => undefined,
    onInterrupt: () => () => undefined,
    ...more,
  });
  return { code, out: Buffer.concat(out), text: Buffer.concat(out).toString(), err };
}

describe('a program', () => {
  it('runs a command with its options, and with those of the program before or after its name', async () => {
    expect(await run(['say', 'Ann'])).toMatchObject({ code: 0, text: 'Hello, Ann.\n', err: '' });
    expect((await run(['--language', 'de', 'say', 'Ann', '--loud'])).text).toBe('Hallo, Ann!\n');
    expect((await run(['-l', 'de', 'say', '--by', 'me', 'Ann', '--by=you'])).text).toBe('Hallo, Ann.me,you\n');
    expect(JSON.parse((await run(['say', 'Ann', '--json'])).text)).toEqual({ text: 'Hello, Ann.' });
  });

  it('takes a secret from a source, and a source from one option only', async () => {
    writeFileSync(join(directory, 'secret'), 'from file\r\n');
    const file = `file:${join(directory, 'secret')}`;
    expect((await run(['say', 'Ann', '--password', file])).text).toBe('Hello, Ann.from file\n');
    expect((await run(['say', 'Ann', '--password-file', join(directory, 'secret')])).text).toContain('from file');
    expect((await run(['say', 'Ann', '--password', '-'])).text).toBe('Hello, Ann.from input\n');
    expect((await run(['say', 'Ann', '--password', 'env:IT'], { env: { IT: 'from env' } })).text).toContain('from env');
    const asked = { askSecret: async () => 'from prompt' };
    expect((await run(['say', 'Ann', '--password', 'prompt'], asked)).text).toContain('from prompt');
    for (const source of ['plain', 'env:NOWHERE', 'fd:77', 'prompt']) {
      expect(await run(['say', 'Ann', '--password', source])).toMatchObject({ code: EXIT.USAGE, text: '' });
    }
    expect(await run(['say', 'A', '--password', '-', '--password-file', 'x'])).toMatchObject({ code: EXIT.USAGE });
    const missing = await run(['say', 'Ann', '--password', 'file:/nowhere/at/all']);
    expect(missing).toMatchObject({ code: EXIT.FAILED });
    expect(missing.err).toContain('there is no such file');
  });

  it('gives bytes raw, on a terminal in hexadecimal, and to a file whole and for its owner alone', async () => {
    expect([...(await run(['letter', 'write'])).out]).toEqual([1, 2, 0xff]);
    const terminal = { isTerminal: { out: true, err: false } };
    expect((await run(['letter', 'write'], terminal)).text).toBe('0102ff\n');
    expect((await run(['letter', 'write', '--format', 'base64'])).text).toBe('AQL/\n');
    expect((await run(['letter', 'write', '--format', 'morse'])).code).toBe(EXIT.USAGE);
    const out = join(directory, 'letter');
    expect(await run(['letter', 'write', '--out', out])).toMatchObject({ code: 0, text: '' });
    expect([...readFileSync(out)]).toEqual([1, 2, 0xff]);
    expect(statSync(out).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory).filter((name) => name.startsWith('.'))).toEqual([]);
    expect((await run(['letter', 'write', '--out', join(directory, 'nowhere', 'letter')])).code).toBe(EXIT.FAILED);
  });

  it('tells failures of its own and of its packages, for people and as JSON, and lets defects through', async () => {
    const failed = await run(['fail', 'now']);
    expect(failed).toMatchObject({ code: EXIT.UNREACHABLE, text: '' });
    expect(failed.err).toBe('greet: nobody is there\n  Come back later.\n');
    expect(JSON.parse((await run(['fail', 'now', '--json'])).err)).toEqual({
      error: { kind: 'unreachable', exit: 3, message: 'nobody is there', remedy: 'Come back later.' },
    });
    expect(JSON.parse((await run(['fail', 'own', '--json'])).err)).toEqual({
      error: { kind: 'own', exit: 4, message: 'no', remedy: null, place: 'here' },
    });
    expect(await run(['fail', 'check'])).toMatchObject({ code: EXIT.CHECK_FAILED, text: 'no\n', err: '' });
    await expect(run(['fail', 'defect'])).rejects.toThrow(RangeError);
  });

  it('helps: with the program, a group, a command', async () => {
    const { code, text } = await run(['--help']);
    expect(code).toBe(0);
    for (const part of ['greet: says something', 'letter write', '-l, --language NAME', 'en  English', '4  nobody is'])
      expect(text).toContain(part);
    expect((await run([])).text).toBe(text);
    expect(await run(['letter'])).toMatchObject({ code: EXIT.USAGE });
    expect((await run(['letter', '--help'])).text).not.toContain('says it');
    const say = (await run(['say', '--help'])).text;
    for (const part of ['usage: greet say NAME', '--loud', '--language NAME', 'SOURCE\n  file:PATH'])
      expect(say).toContain(part);
    expect((await run(['--version'])).text).toBe('greet 1.2.3\n');
  });

  it.each([
    ['an unknown command', ['frobnicate'], '"greet --help" lists them.'],
    ['a command with a slip', ['sya', 'Ann'], 'Did you mean "say"?'],
    ['the beginning of a command', ['lett'], 'Did you mean "letter write"?'],
    ['an unknown command of a group', ['letter', 'rite'], 'Did you mean "letter write"?'],
    ['no command', ['--json'], 'there is no command'],
    ['an unknown option', ['say', 'Ann', '--frobnicate'], 'greet say --help'],
    ['an option given twice', ['say', 'Ann', '--once', 'a', '--once', 'b'], 'more than once'],
    ['a missing argument', ['say'], 'something is missing'],
    ['an argument too many', ['say', 'Ann', 'Bob'], 'one argument too many'],
  ])('refuses %s', async (_what, args, word) => {
    const { code, err, text } = await run(args);
    expect({ code, text }).toEqual({ code: EXIT.USAGE, text: '' });
    expect(err).toContain(word);
  });

  it('uses colours only on a terminal, unless NO_COLOR says no or FORCE_COLOR yes', async () => {
    const terminal = { isTerminal: { out: true, err: true } };
    expect((await run(['--help'], terminal)).text).toContain('\u001b[1m');
    expect((await run(['--help'], { ...terminal, env: { NO_COLOR: '1' } })).text).not.toContain('\u001b');
    expect((await run(['--help'], { ...terminal, env: { TERM: 'dumb' } })).text).not.toContain('\u001b');
    expect((await run(['--help'], { env: { FORCE_COLOR: '1' } })).text).toContain('\u001b[1m');
  });
});
