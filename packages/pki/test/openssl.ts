/** Runs OpenSSL, the other implementation in these tests, on files in a directory of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodePem } from '../src/index.js';

/** Why OpenSSL cannot be asked; undefined where it can. MUST_RUN turns the reason into an error. */
export function opensslMissing(): string | undefined {
  return programMissing('openssl');
}

/** Why a program cannot be asked; undefined where it can. MUST_RUN turns the reason into an error. */
export function programMissing(program: string): string | undefined {
  if (spawnSync('which', [program]).status === 0) return undefined;
  if (process.env.MUST_RUN === '1') throw new Error(`${program} is not installed, and MUST_RUN=1`);
  return `${program} is not installed`;
}

/** A directory for one test with OpenSSL in it. */
export interface Workshop extends Disposable {
  readonly path: string;
  /** Writes a file and returns its path. */
  file(name: string, content: Uint8Array | string): string;
  /** Writes certificates as one PEM file and returns its path. */
  certificates(name: string, ...der: readonly Uint8Array[]): string;
  /** Runs `openssl` and returns its output; throws with its errors where it fails. */
  openssl(...args: readonly string[]): string;
}

/** Makes the directory; disposing of it removes it. */
export function openWorkshop(): Workshop {
  const path = mkdtempSync(join(tmpdir(), 'casemate-pki-'));
  const file = (name: string, content: Uint8Array | string) => {
    writeFileSync(join(path, name), content);
    return join(path, name);
  };
  return {
    path,
    file,
    certificates: (name, ...der) => file(name, der.map((each) => encodePem('CERTIFICATE', each)).join('')),
    openssl: (...args) =>
      execFileSync('openssl', args, { cwd: path, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
