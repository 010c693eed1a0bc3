/** `jtt`: TPM 1.2 from the command line. */
import { run } from './run.js';

process.exitCode = await run(process.argv.slice(2), {
  print: (line) => process.stdout.write(`${line}\n`),
  complain: (line) => process.stderr.write(`${line}\n`),
});
