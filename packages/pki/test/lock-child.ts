/** Takes and releases the lock at the path of its argument, over and over: each file operation only at its parent's word. */
import { PkiError } from '../src/error.js';
import { takeLock } from '../src/store-lock.js';
import { pauseAt } from './paused-files.js';

const [, , path = ''] = process.argv;
for (;;) {
  await pauseAt('free');
  try {
    await using _lock = await takeLock(path);
    await pauseAt('held');
  } catch (error) {
    await pauseAt(error instanceof PkiError ? error.code : String(error));
  }
}
