/** Run with few descriptors: asks who it is while none is left, and again once there are some. */
import { closeSync, openSync } from 'node:fs';
import { readCaller } from '../../src/caller.js';

const taken: number[] = [];
try {
  for (;;) taken.push(openSync('/dev/null', 'r'));
} catch {
  // none is left
}
const first = await readCaller().catch((error: unknown) => error instanceof Error && 'code' in error && error.code);
for (const fd of taken) closeSync(fd);
console.log(JSON.stringify([first, (await readCaller()).uid]));
