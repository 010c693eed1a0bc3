/** A vault in use, and somebody who would like to have its credentials unseen. */
import { readFile, writeFile } from 'node:fs/promises';
import { TzError } from '@casemate/tz';
import { entryText } from './log-file.js';
import { logOf, type Vault } from './vault.js';

/** Puts a credential in, gets it out, and tries the ways around the log. Says each step. */
export async function demonstrate(vault: Vault, state: string, say: (line: string) => void): Promise<void> {
  const name = 'database';
  if (!(await vault.list()).includes(name)) await vault.put(name, new TextEncoder().encode('correct horse'));
  say(`in the vault: ${(await vault.list()).join(', ')}`);
  const entry = { name, who: 'ada', purpose: 'restore a backup', time: new Date().toISOString() };
  const receipt = await vault.log(entry);
  say(`logged, and released: ${new TextDecoder().decode(await vault.open(receipt))}`);
  say(`ATTACK: the same receipt again: ${await refusal(vault.open(receipt))}`);
  await vault.log(entry);
  say(`ATTACK: an older receipt for a new request: ${await refusal(vault.open(receipt))}`);
  const forged = receipt.slice();
  forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1;
  say(`ATTACK: a receipt that the audit service did not write: ${await refusal(vault.open(forged))}`);
  const { entries, problem } = await vault.verify();
  for (const each of entries) say(`log: ${entryText(each)}`);
  say(problem ?? 'the audit service signs for exactly these');
  const log = await readFile(logOf(state), 'utf8');
  await writeFile(logOf(state), log.split('\n').slice(1).join('\n'));
  say(`ATTACK: the first entry is gone: ${(await vault.verify()).problem ?? 'NOT noticed'}`);
  await writeFile(logOf(state), log);
}

async function refusal(attempt: Promise<Uint8Array>): Promise<string> {
  try {
    return `NOT refused: ${new TextDecoder().decode(await attempt)}`;
  } catch (error) {
    if (error instanceof TzError && error.serviceReturn === ACCESS_DENIED) return 'refused';
    throw error;
  }
}

const ACCESS_DENIED = 2;
