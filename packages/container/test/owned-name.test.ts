/** Names that say who made a directory: nobody may take what belongs to a program that lives. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { ownedName, removeOrphans } from '../src/owned-name.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env.MUST_RUN === '1') throw new Error('expected root for unshare');

const work = mkdtempSync(join(tmpdir(), 'casemate-owned-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

function workDirectory(): string {
  return mkdtempSync(join(work, 'directory-'));
}

describe('a directory with the name of its maker', () => {
  it('is kept while the maker lives, and removed where it is gone', async () => {
    const directory = workDirectory();
    const mine = ownedName('work');
    const [prefix, boot, namespaces, , start, random] = mine.split('.');
    // No process has the number 0, and init did not start when this process did.
    const gone = [0, 1].map((pid) => [prefix, boot, namespaces, pid, start, random].join('.'));
    const earlier = mine.replace(boot ?? '', '00000000-0000-0000-0000-000000000000');
    const others = ['other.directory', 'work.short', mine.replace(`.${namespaces}.`, '.1.')];
    for (const name of [mine, earlier, ...gone, ...others]) mkdirSync(join(directory, name));
    expect([...(await removeOrphans(directory, 'work'))].sort()).toEqual([earlier, ...gone].sort());
    expect(readdirSync(directory).sort()).toEqual([mine, ...others].sort());
  });

  it.skipIf(!isRoot)(
    `is kept from programs with other clocks, or the /proc of another pid namespace${isRoot ? '' : ' (skipped: needs root)'}`,
    async () => {
      const directory = workDirectory();
      const mine = ownedName('work');
      mkdirSync(join(directory, mine));
      const program = join(workDirectory(), 'remove.mjs');
      await build({
        stdin: {
          resolveDir: import.meta.dirname,
          contents: `import { mkdirSync } from 'node:fs';
          import { ownedName, removeOrphans } from '../src/owned-name.js';
          const [directory] = process.argv.slice(2);
          mkdirSync(directory + '/' + ownedName('work'));
          console.log((await removeOrphans(directory, 'work')).length);`,
        },
        bundle: true,
        platform: 'node',
        target: 'node20',
        format: 'esm',
        outfile: program,
        logLevel: 'error',
      });
      // The outside, whose /proc it has, seldom has a process of this number.
      const renumber = 'echo 32000 > /proc/sys/kernel/ns_last_pid; "$0" "$@"; :';
      for (const elsewhere of [
        ['--time', '--boottime', '1000000', '--fork'],
        ['--pid', '--fork', '/bin/sh', '-c', renumber],
      ]) {
        const args = [...elsewhere, process.execPath, program, directory];
        expect(execFileSync('unshare', args, { encoding: 'utf8' })).toBe('0\n');
      }
      expect(readdirSync(directory)).toContain(mine);
    },
  );
});
