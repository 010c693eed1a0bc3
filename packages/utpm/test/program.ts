/** The program as a child process, bundled from the sources, so that no build is needed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { build } from 'esbuild';
import { temporaryDirectory } from './temporary.js';

/** Bundles one source file for Node; returns the path of the bundle. */
export async function bundle(source: string): Promise<string> {
  const outfile = join(temporaryDirectory('program'), 'program.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, source)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
    tsconfig: join(import.meta.dirname, '../tsconfig.json'),
  });
  return outfile;
}

/** Starts a bundle and waits for the first line that it prints. */
export async function start(program: string, args: readonly string[]): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout?.once('data', (data: Buffer) => resolve(data.toString()));
    child.once('exit', (code) => reject(new Error(`the program ended with ${code}`)));
  });
  return { child, line };
}

/** Ends a child and waits for it. */
export async function stop(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => {
    child.once('exit', resolve);
    child.kill(signal);
  });
}
