/** Compilers and other programs, as processes: found or missed by name, told apart from what they refuse. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PalLinkerError } from '../error.js';

/** What a program gave. */
export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a program is run. */
export interface RunOptions {
  readonly cwd: string;
  readonly signal?: AbortSignal | undefined;
}

const MAX_TEXT = 16 * 1024 * 1024;

/** Runs a program to its end. Throws {@link PalLinkerError} with code `tool` where it cannot be started or is stopped. */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<Ran> {
  const { cwd, signal } = options;
  // No __DATE__ of today, and messages that can be read by a program.
  const env = { ...process.env, LC_ALL: 'C', SOURCE_DATE_EPOCH: process.env.SOURCE_DATE_EPOCH ?? '0' };
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], ...(signal && { signal }) });
  const texts = Promise.all([textOf(child.stdout), textOf(child.stderr)]);
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(toolError(program, cwd, error)));
    child.once('close', (code, killed) => (killed ? reject(stopped(program, killed)) : resolve(code ?? 1)));
  });
  const [stdout, stderr] = await texts;
  return { status, stdout, stderr };
}

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size <= MAX_TEXT) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function toolError(program: string, cwd: string, error: Error): unknown {
  if (error.name === 'AbortError') return error;
  if (!existsSync(cwd)) return new PalLinkerError('input', `run ${program}: expected a directory, got ${cwd}`);
  const isMissing = 'code' in error && error.code === 'ENOENT';
  const problem = isMissing ? `it is not installed${hintFor(program)}` : error.message;
  return new PalLinkerError('tool', `run ${program}: ${problem}`, {}, { cause: error });
}

function stopped(program: string, signal: string): PalLinkerError {
  return new PalLinkerError('tool', `run ${program}: expected it to end by itself, got ${signal}`);
}

function hintFor(program: string): string {
  const hint = HINTS.find(([name]) => program.includes(name))?.[1];
  return hint === undefined ? '' : ` (${hint})`;
}

const HINTS: readonly (readonly [name: string, hint: string])[] = [
  ['wasm2c', 'npm install --save-dev wabt, or the package wabt of your distribution'],
  ['clang', 'the package clang of your distribution; another compiler: --cc'],
  ['wasm-ld', 'the package lld of your distribution'],
  ['gcc', 'the package gcc of your distribution; another compiler: --cc'],
];

/** A relative path that programs take for a file, not for an option, nor for a file of options. */
export function asArgument(path: string): string {
  return /^[-@]/.test(path) ? `./${path}` : path;
}

/** Works in a directory of its own, which is gone afterwards. */
export async function inTemporaryDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'casemate-pal-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The file `file` of an installed package, as seen from a project, or else from here; `undefined` where it is not installed. */
export function findInPackage(name: string, project: string): string | undefined {
  for (const from of [join(project, 'package.json'), import.meta.url]) {
    try {
      return join(createRequire(from).resolve(`${name}/package.json`), '..');
    } catch {
      // not seen from there
    }
  }
  return undefined;
}

/** The directory of this package: what it brings beside its modules lies there. */
export function ownDirectory(): string {
  return join(createRequire(import.meta.url).resolve('@casemate/pal-linker/package.json'), '..');
}
