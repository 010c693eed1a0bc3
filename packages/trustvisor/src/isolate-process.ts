/** Starting the isolate's process: nothing inherited, nothing readable but its own code, hidden from its own user. */
import { spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Duplex } from 'node:stream';
import { TrustvisorError } from './error.js';
import { hiddenCommand } from './hidden-start.js';
import { FIRST_LANE, FIRST_PAIR, LANES, PAIRS } from './protocol.js';

/** A running isolate. */
export interface IsolateProcess {
  /** The stream to it. */
  readonly stream: Duplex;
  /** The lanes to its PALs. */
  readonly lanes: readonly Duplex[];
  /** Its process number. */
  readonly pid: number | undefined;
  /** Whether it was started by `native/hidden-start.c`. */
  readonly isHidden: boolean;
  /** Resolves when it has ended, with what it said on its standard error. */
  readonly ended: Promise<string>;
  /** Ends it at once. */
  kill(): void;
}

const MAX_COMPLAINT = 4096;

/**
 * Starts `dist/isolate.js` in a process and session of its own. It ends when the stream does. For `kvm` it may start monitors. `arena`
 * is the file with the shared memory, where there is one.
 */
export function startIsolate(engine: 'wasm' | 'kvm', arena: number | undefined): IsolateProcess {
  const program = realpathSync(createRequire(import.meta.url).resolve('#isolate'));
  const plain = [process.execPath, ...confinement(dirname(program), engine), program];
  const pairs = engine === 'kvm' ? { first: FIRST_PAIR, count: PAIRS } : undefined;
  const [command = process.execPath, ...rest] = hiddenCommand(plain, dirname(program), pairs);
  const child = spawn(command, rest, {
    env: {},
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', arena ?? 'ignore', ...Array<'pipe'>(LANES).fill('pipe')],
  });
  const stream = child.stdio[3];
  if (!(stream instanceof Duplex))
    throw new TrustvisorError('refused', 'start isolate: expected a stream to it, got none');
  const lanes = child.stdio.slice(FIRST_LANE).filter((end) => end instanceof Duplex);
  for (const lane of lanes) lane.on('error', () => undefined); // whoever uses it sees its end
  let complaint = '';
  child.stderr?.on('data', (chunk: Uint8Array) => {
    complaint = (complaint + new TextDecoder().decode(chunk)).slice(-MAX_COMPLAINT);
  });
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', () => resolve(complaint));
  });
  return {
    stream,
    lanes,
    pid: child.pid,
    isHidden: command !== process.execPath,
    ended,
    kill: () => void child.kill('SIGKILL'),
  };
}

/** Node's permission model: no file but the program's own directory, no child process but for `kvm`, no addon; threads are allowed. */
function confinement(directory: string, engine: 'wasm' | 'kvm'): readonly string[] {
  const permission = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission';
  return [
    '--no-warnings',
    permission,
    `--allow-fs-read=${directory}/*`,
    '--allow-worker',
    ...(engine === 'kvm' ? ['--allow-child-process'] : []),
    '--disallow-code-generation-from-strings',
    '--max-old-space-size=256',
  ];
}
