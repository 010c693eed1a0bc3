/** Finding and running the native launcher: by absolute path, without a shell, with descriptor 3 as the only link. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import type { Duplex } from 'node:stream';
import { NamespaceError } from './error.js';
import { EventReader, type LauncherEvent } from './protocol.js';
import type { StdioTarget } from './sandbox.js';

/** A launcher process and the socket to it. */
export interface Launcher {
  /** The process. */
  readonly process: ChildProcess;
  /** Descriptor 3 on our side. */
  readonly control: Duplex;
}

/** The absolute path of the launcher. Throws {@link NamespaceError} `launcher-missing`. */
function launcherPath(): string {
  const chosen = process.env.CASEMATE_LAUNCHER;
  if (chosen?.startsWith('/')) return chosen;
  try {
    return createRequire(import.meta.url).resolve('#launcher');
  } catch (cause) {
    throw missing(`expected it beside the package for ${process.platform}-${process.arch}, got none`, cause);
  }
}

/** Runs the launcher and sends it `request`. Throws {@link NamespaceError} `launcher-missing`. */
export async function runLauncher(
  request: Uint8Array,
  stdio: readonly [StdioTarget, StdioTarget, StdioTarget],
): Promise<Launcher> {
  const path = launcherPath();
  const options: StdioOptions = [...stdio, 'pipe'];
  const child = spawn(path, [], { argv0: 'casemate-launcher', cwd: '/', env: {}, stdio: options, shell: false });
  await new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) => reject(missing(`expected ${path} to be executable, got ${cause.message}`, cause)));
  });
  const control = child.stdio[3] as Duplex; // 'pipe' makes a socket
  control.on('error', () => undefined); // a closed socket shows as its end, which the reader reports
  control.write(request);
  return { process: child, control };
}

/** Calls `onEvent` for every event, then resolves when the launcher has closed its side. Rejects for bytes that are no events. */
export function readEvents(control: Duplex, onEvent: (event: LauncherEvent) => void): Promise<void> {
  const reader = new EventReader();
  return new Promise((resolve, reject) => {
    control.on('data', (chunk: Uint8Array) => {
      try {
        for (const event of reader.push(chunk)) onEvent(event);
      } catch (cause) {
        control.destroy();
        reject(
          new NamespaceError('launcher-failed', 'read launcher event: expected an event, got other bytes', { cause }),
        );
      }
    });
    control.once('close', () => resolve());
    control.once('end', () => control.destroy());
  });
}

function missing(problem: string, cause: unknown): NamespaceError {
  return new NamespaceError('launcher-missing', `run launcher: ${problem}`, {
    remedy: 'build the package (its build needs musl-gcc or gcc), or install it for linux-x64',
    cause,
  });
}
