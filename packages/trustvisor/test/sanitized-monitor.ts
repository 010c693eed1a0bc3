/** The monitor under AddressSanitizer and UBSan, built once for all tests that run it: its name is the digest of what it is made from. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const native = fileURLToPath(new URL('../native/', import.meta.url));
const cache = fileURLToPath(new URL('../node_modules/.cache/sanitized/', import.meta.url));

/** The path of the program. Throws with what the compiler said. */
export function sanitizedMonitor(): string {
  const program = `${cache}${digestOfSources()}`;
  if (existsSync(program)) return program;
  mkdirSync(cache, { recursive: true });
  // Two tests may build it at once: each finds nothing or the whole program.
  const unfinished = `${program}.${process.pid}`;
  const build = spawnSync(process.execPath, [`${native}build.mjs`, '--sanitize', unfinished], { encoding: 'utf8' });
  if (build.status !== 0) throw new Error(build.stderr);
  renameSync(unfinished, program);
  return program;
}

function digestOfSources(): string {
  const hash = createHash('sha256').update(spawnSync('gcc', ['--version']).stdout ?? '');
  for (const name of readdirSync(native, { recursive: true, encoding: 'utf8' }).sort()) {
    if (/\.(c|h|S|mjs)$/.test(name)) hash.update(`\0${name}\0`).update(readFileSync(`${native}${name}`));
  }
  return hash.digest('hex');
}
