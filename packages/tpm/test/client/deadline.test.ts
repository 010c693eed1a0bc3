/** The limit on a command's time: it comes even where nobody else remembers the command, and a client that was forgotten leaves nothing. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { GetRandom, Tpm } from '../../src/index.js';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

it('a command that a transport has forgotten ends in time, whatever the collector does meanwhile', async () => {
  const tpm = new Tpm({ send: () => new Promise(() => undefined), close: async () => undefined }, { timeout: 300 });
  const answer = tpm.execute(GetRandom, { bytesRequested: 8 });
  const rejected = expect(answer).rejects.toMatchObject({ code: 'timeout' });
  collect();
  await new Promise((resolve) => setTimeout(resolve, 50));
  collect();
  await rejected;
});

it('clients that were used and forgotten leave no memory behind, although their limit is minutes away', async () => {
  const response = Uint8Array.of(0x80, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4);
  const transport = { send: async () => response, close: async () => undefined };
  const use = async (count: number) => {
    for (let i = 0; i < count; i++) await new Tpm(transport).execute(GetRandom, { bytesRequested: 4 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = await use(5_000);
  // A controller, a limit and its closures are well over 1000 bytes each time.
  expect((await use(10_000)) - before).toBeLessThan(10_000 * 500);
});
