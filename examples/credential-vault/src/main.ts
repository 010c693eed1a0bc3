/** `credential-vault [put NAME | get NAME --who NAME --for PURPOSE | list | log | demo] [--state DIRECTORY] [--tpm DEVICE]`. */
import { buffer } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { TrustvisorError } from '@casemate/trustvisor';
import { TzError } from '@casemate/tz';
import { demonstrate } from './demo.js';
import { entryText } from './log-file.js';
import { buildImages, type Vault, withVault } from './vault.js';

const USAGE = `usage: credential-vault [demo | put NAME <SECRET | get NAME --who WHO --for PURPOSE | list | log]
       [--state DIRECTORY] [--tpm DEVICE] [--help]
`;

type Task = (vault: Vault) => Promise<number>;

process.exitCode = await main();

async function main(): Promise<number> {
  const given = parsed();
  if (given?.values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { state = 'credential-vault-state', tpm } = given?.values ?? {};
  const task = given && taskOf(given, state);
  if (task === undefined) {
    process.stderr.write(USAGE);
    return 2;
  }
  try {
    return await withVault(await buildImages(), { state, tpm }, task);
  } catch (error) {
    if (!(error instanceof TzError || error instanceof TrustvisorError)) throw error;
    process.stderr.write(`credential-vault: ${error.message}\n`);
    return 1;
  }
}

function parsed() {
  const text = { type: 'string' } as const;
  const options = { state: text, tpm: text, who: text, for: text, help: { type: 'boolean' } } as const;
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch {
    return undefined;
  }
}

function taskOf({ values, positionals }: NonNullable<ReturnType<typeof parsed>>, state: string): Task | undefined {
  const [command = 'demo', name, ...rest] = positionals;
  if (rest.length > 0 || (command === 'put' || command === 'get') !== Boolean(name)) return undefined;
  const { who, for: purpose } = values;
  if (command === 'demo') return done((vault) => demonstrate(vault, state, console.log));
  if (command === 'list') return done(async (vault) => console.log((await vault.list()).join('\n')));
  if (command === 'log') return showLog;
  if (command === 'put' && name)
    return done(async (vault) => vault.put(name, new Uint8Array(await buffer(process.stdin))));
  if (command !== 'get' || !name || who === undefined || purpose === undefined) return undefined;
  const time = new Date().toISOString();
  return done(async (vault) => void process.stdout.write(await vault.release({ name, who, purpose, time })));
}

function done(work: (vault: Vault) => Promise<void>): Task {
  return async (vault) => {
    await work(vault);
    return 0;
  };
}

async function showLog(vault: Vault): Promise<number> {
  const { entries, problem } = await vault.verify();
  for (const entry of entries) console.log(entryText(entry));
  console.log(problem ?? `the audit service signs for exactly these ${entries.length}`);
  return problem === undefined ? 0 : 1;
}
