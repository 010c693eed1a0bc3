/** A PostgreSQL of this test's own: Debian's server on a Unix socket in a temporary directory, run by an ordinary user. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';

/** A running server; disposing of it ends its process and removes its files. */
export interface RunningPostgres extends AsyncDisposable {
  /** What `openPostgresStore` takes. */
  readonly connection: { readonly host: string; readonly user: string; readonly database: string };
  /** Ends the server as a loss of power would, and starts it again. */
  crash(): Promise<void>;
}

const USER = 'casemate';
/** Debian's `nobody`: initdb refuses root. */
const NOBODY = 65534;

function binaries(): string | undefined {
  const base = '/usr/lib/postgresql';
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(base, version, 'bin')).find((path) => existsSync(join(path, 'initdb')));
}

/** Why there is no server to ask; undefined where there is one. MUST_RUN turns the reason into an error. */
export function postgresMissing(): string | undefined {
  if (binaries() !== undefined) return undefined;
  const reason = 'postgresql not installed';
  if (process.env.MUST_RUN === '1') throw new Error(`${reason}, and MUST_RUN=1`);
  return reason;
}

/** Makes a database and starts its server. */
export async function startPostgres(): Promise<RunningPostgres> {
  const bin = binaries();
  if (bin === undefined) throw new Error('postgresql not installed');
  const path = mkdtempSync(join(tmpdir(), 'casemate-pg-'));
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(path, NOBODY, NOBODY);
  const command = (name: string, args: readonly string[]): [string, string[]] =>
    isRoot
      ? ['setpriv', [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', join(bin, name), ...args]]
      : [join(bin, name), [...args]];
  const data = join(path, 'data');
  execFileSync(...command('initdb', ['-D', data, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--locale=C']), {
    stdio: 'pipe',
    cwd: path,
  });
  const settings = ['-D', data, '-k', path, '-c', 'listen_addresses=', '-c', 'max_connections=60'];
  const connection = { host: path, user: USER, database: 'postgres' };
  const start = async (): Promise<ChildProcess> => {
    const started = spawn(...command('postgres', settings), { stdio: 'ignore', cwd: path });
    await answering(connection, started);
    return started;
  };
  let server = await start();
  const end = async (signal: 'SIGINT' | 'SIGQUIT'): Promise<void> => {
    const ended = server.exitCode === null && server.signalCode === null ? once(server, 'exit') : undefined;
    server.kill(signal);
    await ended;
  };
  return {
    connection,
    async crash() {
      await end('SIGQUIT');
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await end('SIGINT');
      rmSync(path, { recursive: true, force: true });
    },
  };
}

async function answering(connection: pg.ClientConfig, server: ChildProcess): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    if (server.exitCode !== null) throw new Error(`postgres ended with ${server.exitCode}`);
    const client = new pg.Client(connection);
    try {
      await client.connect();
      return;
    } catch (error) {
      if (attempt === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      await client.end();
    }
  }
}
