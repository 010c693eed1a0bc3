/**
 * Puts a GuestOS `half` 1 into a store: `put.mjs STORE SIGNAL N` sends itself the signal before the Nth change to the file system that
 * this takes. Prints how many there were at its end.
 */
import { promises, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const [directory = '', signal = '', at = ''] = process.argv.slice(2);
let changes = 0;
const files = promises as unknown as Record<string, (...args: unknown[]) => unknown>;
for (const name of ['open', 'rename', 'rm', 'writeFile']) {
  const original = files[name];
  files[name] = (...args) => {
    if (++changes === Number(at)) process.kill(process.pid, signal);
    return original?.(...args);
  };
}
syncBuiltinESMExports();
process.on('SIGXFSZ', () => {}); // a file that grows too large is an error then

const { openGuestOsStore } = await import('../../src/store.js');
const store = await openGuestOsStore(directory);
const image = await store.scratchPath();
writeFileSync(image, 'image');
changes = 0;
await store.put({ name: 'half', version: 1 }, { config: Buffer.from('config'), signature: Buffer.alloc(5000), image });
console.log(changes);
