/** One swtpm that this package and other programs use in turn, with files in its directory. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DictionaryAttackParameters, TPM_RH, Tpm } from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

/** What the tests do with that TPM. */
export interface Bench {
  readonly server: SwtpmServer;
  /** swtpm serves one connection at a time, so ours is closed before a program runs. */
  ours<T>(work: (tpm: Tpm) => Promise<T>): Promise<T>;
  /** Runs a program on the same TPM, in the directory of the files. Gives what it printed. */
  run(name: string, ...args: readonly string[]): string;
  /** Runs a program of tpm2-tools, then frees the transient objects and sessions that it left. */
  tool(name: string, ...args: readonly string[]): string;
  put(name: string, bytes: Uint8Array | string): void;
  get(name: string): Uint8Array;
  getText(name: string): string;
  stop(): Promise<void>;
}

export const text = (value: string): Uint8Array => new TextEncoder().encode(value);
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Starts it. */
export async function startBench(): Promise<Bench> {
  const server = await startSwtpm();
  const tcti = `swtpm:host=127.0.0.1,port=${server.port}`;
  const run = (name: string, ...args: readonly string[]): string => {
    const env = { ...process.env, TPM2TOOLS_TCTI: tcti, TPM2OPENSSL_TCTI: tcti, TCTI: tcti };
    const stdio = ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'];
    try {
      return execFileSync(name, args, { env, cwd: server.directory, encoding: 'utf8', stdio });
    } catch (error) {
      const { stderr } = error as { stderr?: string };
      throw new Error(`${name} ${args.join(' ')}: ${stderr}`, { cause: error });
    }
  };
  const bench: Bench = {
    server,
    async ours(work) {
      await using tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
      return await work(tpm);
    },
    run,
    tool(name, ...args) {
      const printed = run(name, ...args);
      for (const kind of ['-t', '-l', '-s']) run('tpm2_flushcontext', kind);
      return printed;
    },
    put: (name, bytes) => writeFileSync(join(server.directory, name), bytes),
    get: (name) => new Uint8Array(readFileSync(join(server.directory, name))),
    getText: (name) => readFileSync(join(server.directory, name), 'utf8'),
    stop: () => server.stop(),
  };
  const limits = { newMaxTries: 1000, newRecoveryTime: 1, lockoutRecovery: 1 };
  await bench.ours((tpm) => tpm.execute(DictionaryAttackParameters, { lockHandle: TPM_RH.LOCKOUT, ...limits }));
  return bench;
}
