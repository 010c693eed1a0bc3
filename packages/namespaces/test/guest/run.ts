/** Runs one bundled test file inside a guest machine; the last line has the counts. */
import { Console } from 'node:console';
import { runAll } from './vitest.js';

const [file = ''] = process.argv.slice(2);
const { log } = new Console(process.stdout);
try {
  await import(file);
  const counts = await runAll(log);
  log(`counts ${JSON.stringify(counts)}`);
} catch (error) {
  log(`FAIL ${file} cannot be loaded: ${error instanceof Error ? error.stack : error}`);
  log('counts {"passed":0,"failed":1,"skipped":0}');
}
process.exit(0); // whatever a failed test has left behind
