/** Where the program reads and writes, and how text looks there. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** The surroundings of one run of the program. */
export interface Surroundings {
  /** Environment variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Everything on standard input, to its end. */
  readonly readInput: () => Promise<Uint8Array>;
  /** Writes to standard output. */
  readonly out: (data: string | Uint8Array) => Promise<void>;
  /** Writes to standard error. */
  readonly err: (text: string) => void;
  /** Whether standard output and error are terminals, and how wide the first is. */
  readonly isTerminal: { readonly out: boolean; readonly err: boolean };
  readonly columns: number;
  /** Asks for a secret on the terminal, without showing it; `undefined` where there is no terminal. */
  readonly askSecret: (question: string) => Promise<string | undefined>;
  /** Calls back when the program is interrupted from the keyboard; the result takes that back. */
  readonly onInterrupt: (act: () => void) => () => void;
}

/** How text looks: as it is, or in colours. */
export interface Style {
  readonly bold: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
}

/** Colours for a terminal; NO_COLOR (no-color.org) and TERM=dumb turn them off. */
export function styleFor(isTerminal: boolean, env: Surroundings['env']): Style {
  const wanted = isTerminal && !env.NO_COLOR && env.TERM !== 'dumb';
  const colours = wanted || (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '0' && !env.NO_COLOR);
  const style = (code: number) =>
    colours ? (text: string) => `\u001b[${code}m${text}\u001b[0m` : (text: string) => text;
  return { bold: style(1), faint: style(2), good: style(32), bad: style(31), warn: style(33) };
}

/**
 * Rows in columns that are as wide as their widest cell. The last column is not padded; where the line would be longer than `width`, it
 * goes on below itself. Cells may hold colours, but those of a last column that is to be wrapped may not.
 */
export function table(
  rows: readonly (readonly string[])[],
  options: { readonly indent?: number; readonly width?: number } = {},
): string {
  const { indent = 0, width = Number.POSITIVE_INFINITY } = options;
  const widths: number[] = [];
  for (const [i, cell] of rows.flatMap((row) => [...row.entries()])) {
    widths[i] = Math.max(widths[i] ?? 0, visibleLength(cell));
  }
  const lines = rows.flatMap((row) => {
    const left = row.slice(0, -1).map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - visibleLength(cell) + 2));
    const margin = indent + widths.slice(0, row.length - 1).reduce((sum, column) => sum + column + 2, 0);
    const [first = '', ...more] = wrap(row.at(-1) ?? '', Math.max(20, width - margin));
    return [' '.repeat(indent) + left.join('') + first, ...more.map((line) => ' '.repeat(margin) + line)];
  });
  return lines.map((line) => line.trimEnd()).join('\n');
}

/** A number and what it counts. */
export function counted(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** How wide text may be: the terminal, or a page where it goes elsewhere. */
export function pageWidth({ isTerminal, columns }: Surroundings): number {
  return isTerminal.out ? columns : 100;
}

/** `text` in lines of at most `width` characters, broken at spaces. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function visibleLength(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control sequences
  return text.replace(/\u001b\[\d+m/g, '').length;
}

/** The surroundings of this process. */
export function processSurroundings(): Surroundings {
  return {
    env: process.env,
    readInput,
    out: (data) =>
      new Promise((resolve, reject) => process.stdout.write(data, (error) => (error ? reject(error) : resolve()))),
    err: (text) => void process.stderr.write(text),
    isTerminal: { out: process.stdout.isTTY === true, err: process.stderr.isTTY === true },
    columns: process.stdout.columns ?? 80,
    askSecret,
    onInterrupt(act) {
      process.on('SIGINT', act);
      return () => void process.off('SIGINT', act);
    },
  };
}

async function readInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

/** Reads a line from the terminal itself, so that standard input stays free, with the echo off. */
async function askSecret(question: string): Promise<string | undefined> {
  const { spawnSync } = await import('node:child_process');
  let terminal: number;
  try {
    terminal = openSync('/dev/tty', 'r+');
  } catch {
    return undefined;
  }
  const stty = (mode: string) => spawnSync('stty', [mode], { stdio: [terminal, 'ignore', 'ignore'] });
  process.stderr.write(question);
  stty('-echo');
  try {
    return readLine(terminal);
  } finally {
    stty('echo');
    process.stderr.write('\n');
    closeSync(terminal);
  }
}

function readLine(file: number): string {
  const bytes: number[] = [];
  const one = new Uint8Array(1);
  while (readSync(file, one) === 1 && one[0] !== 0x0a) bytes.push(one[0] ?? 0);
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** Whether a file descriptor is open. */
export function isOpen(descriptor: number): boolean {
  try {
    fstatSync(descriptor);
    return true;
  } catch {
    return false;
  }
}
