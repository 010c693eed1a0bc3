/**
 * Random commands, well-formed and mutated, to this TPM and to Debian's swtpm. UTPM_DUEL=50000 in the environment asks for so many of
 * them, UTPM_SEED for other ones; without, it is a short run.
 */
import { describe, expect } from 'vitest';
import { full } from '../src/commands/full.js';
import { KNOWN_DIFFERENCES, type KnownDifference } from './differences.js';
import { type Difference, duel } from './duel.js';
import { itWith } from './requirement.js';

const it = itWith('swtpm');
const COUNT = Number(process.env.UTPM_DUEL ?? 3000);
const SEED = Number(process.env.UTPM_SEED ?? 1);

const told = (d: Difference): string =>
  `${d.command} #${d.at}: ${d.ours.toString(16)} instead of ${d.theirs.toString(16)} for ${d.sent.slice(0, 160)}`;

describe('random commands', () => {
  it('get the same answers as from swtpm, but for the differences that are listed', async () => {
    const { count, coverage, differences } = await duel(SEED, COUNT);
    const unknown = differences.filter((d) => !KNOWN_DIFFERENCES.some(({ explains }) => explains(d)));
    const tallied = (listed: KnownDifference): string =>
      `${differences.filter(listed.explains).length} × ${listed.reason}`;
    const tally = KNOWN_DIFFERENCES.map(tallied);
    if (process.env.UTPM_DUEL !== undefined) {
      const succeeded = [...coverage.values()].filter((entry) => entry.succeeded > 0).length;
      const lines = [`${count} commands, ${coverage.size} codes, ${succeeded} of them with success`, ...tally];
      process.stdout.write(`${lines.join('\n')}\n`);
      // In so many commands every listed difference shows; one that does not has gone, and the list is to be mended.
      const expected = KNOWN_DIFFERENCES.filter(({ isRare }) => isRare === undefined).map(tallied);
      if (count >= 50_000) expect(expected.filter((line) => line.startsWith('0 ×'))).toEqual([]);
    }
    expect(unknown.map(told)).toEqual([]);
    if (COUNT >= 10_000) {
      const missing = full.filter(({ command }) => !coverage.has(command.code)).map(({ command }) => command.name);
      expect(missing).toEqual([]);
    }
  }, 1_200_000);
});
