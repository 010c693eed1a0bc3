/** An attacker who owns the storage, and what it is good for. */
import { cp, rm } from 'node:fs/promises';
import { type CounterOptions, refusalOf, storageOf, withCounter } from './counter.js';

/** Counts, puts an older copy of the storage back, tries to go on, and mends what it did. Says each step. */
export async function rollBack(image: Uint8Array, options: CounterOptions, say: (line: string) => void): Promise<void> {
  const storage = storageOf(options.state);
  const [older, newest] = [`${storage}.older`, `${storage}.newest`];
  say(`the counter is ${await use(image, options, 1)}; its storage is copied`);
  await replace(storage, older);
  say(`the counter is ${await use(image, options, 1)}`);
  await replace(storage, newest);
  try {
    await replace(older, storage);
    say('ATTACK: the older copy is put back');
    say(await refusal(() => use(image, options, 1)));
    await rm(storage, { recursive: true });
    say('ATTACK: the storage is gone');
    say(await refusal(() => use(image, options, 1)));
  } finally {
    await replace(newest, storage);
    for (const copy of [older, newest]) await rm(copy, { recursive: true, force: true });
  }
  say(`the newest copy is put back, and the counter is ${await use(image, options, 0)}`);
}

function use(image: Uint8Array, options: CounterOptions, amount: number): Promise<bigint> {
  return withCounter(image, options, (counter) => (amount === 0 ? counter.read() : counter.add(amount)));
}

async function refusal(attempt: () => Promise<bigint>): Promise<string> {
  try {
    return `NOT refused: the counter is ${await attempt()}`;
  } catch (error) {
    const refused = refusalOf(error);
    if (refused === undefined) throw error;
    return refused;
  }
}

async function replace(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await cp(from, to, { recursive: true });
}
