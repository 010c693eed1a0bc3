/** `credential-vault [put NAME | get NAME --who NAME --for PURPOSE | list | log | demo] [--state DIRECTORY] [--tpm DEVICE]`. */
import { buffer } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { demonstrate } from './demo.js';
import { entryText } from './log-file.js';
import { buildImages, type Vault, withVault } from './vault.js';

const USAGE = `usage: credential-vault [demo | put NAME <SECRET | get NAME --who WHO --for PURPOSE | list | log]
       [--state DIRECTORY] [--tpm DEVICE]`;

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  options: { state: text, tpm: text, who: text, for: text },
  allowPositionals: true,
});
const [command = 'demo', name = ''] = positionals;
const state = values.state ?? 'credential-vault-state';
const task = taskOf();
if (task === undefined) {
  console.error(USAGE);
  process.exitCode = 2;
} else {
  process.exitCode = await withVault(await buildImages(), { state, tpm: values.tpm }, task);
}

function taskOf(): ((vault: Vault) => Promise<number>) | undefined {
  const { who, for: purpose } = values;
  if (command === 'demo') return done((vault) => demonstrate(vault, state, console.log));
  if (command === 'list') return done(async (vault) => console.log((await vault.list()).join('\n')));
  if (command === 'log') return showLog;
  if (command === 'put' && name !== '')
    return done(async (vault) => vault.put(name, new Uint8Array(await buffer(process.stdin))));
  if (command !== 'get' || name === '' || who === undefined || purpose === undefined) return undefined;
  const time = new Date().toISOString();
  return done(async (vault) => void process.stdout.write(await vault.release({ name, who, purpose, time })));
}

function done(work: (vault: Vault) => Promise<void>): (vault: Vault) => Promise<number> {
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
