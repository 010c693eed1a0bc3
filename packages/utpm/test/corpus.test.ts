/**
 * Raw commands to this TPM and to Debian's swtpm: the response codes agree. They are recorded ones, or those of the directory that
 * UTPM_CORPUS names, one a file, such as libtpms' fuzzing corpus (tests/corpus-execute-command), which is not part of this repository.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { realCommands } from '../fuzz/corpus.js';
import { openUtpm } from '../src/index-node.js';
import { KNOWN_DIFFERENCES } from './differences.js';
import type { Difference } from './duel.js';
import { responseCode, startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const directory = process.env.UTPM_CORPUS;

// Over a stream a command is as long as its header says.
function isFramed(blob: Uint8Array): boolean {
  return blob.length >= 10 && new DataView(blob.buffer, blob.byteOffset).getUint32(2) === blob.length;
}

describe('a corpus of raw commands', () => {
  itWith('swtpm')(
    'gets the same response codes as from swtpm',
    async () => {
      const blobs = directory === undefined ? realCommands() : commandsIn(directory);
      expect(blobs.length).toBeGreaterThan(50);
      const framed = blobs.filter(isFramed);
      const differences: Difference[] = [];
      for (let at = 0; at < framed.length; at += 40)
        differences.push(...(await compare(framed.slice(at, at + 40), at)));
      const unknown = differences.filter((d) => !KNOWN_DIFFERENCES.some(({ explains }) => explains(d)));
      const figures = `${blobs.length} blobs, ${framed.length} with a true length, ${differences.length} differences, ${unknown.length} unexplained`;
      process.stdout.write(`${figures}\n`);
      expect(
        unknown.map(
          ({ ours, theirs, sent }) => `${ours.toString(16)} instead of ${theirs.toString(16)}: ${sent.slice(0, 200)}`,
        ),
      ).toEqual([]);
    },
    600_000,
  );
});

function commandsIn(path: string): readonly Uint8Array[] {
  return readdirSync(path).map((name) => new Uint8Array(readFileSync(join(path, name))));
}

async function compare(blobs: readonly Uint8Array[], from: number): Promise<Difference[]> {
  const [ours, theirs] = [await openUtpm({ startup: true }), await startSwtpm()];
  const found: Difference[] = [];
  for (const [i, blob] of blobs.entries()) {
    const [a, b] = [await ours.send(blob), await theirs.send(blob)];
    const [mine, other] = [responseCode(a), responseCode(b)];
    if (mine === other || other === 0x922) continue;
    const [sent, answers] = [hex(blob), [hex(a), hex(b)] as const];
    found.push({ command: '', at: from + i, isMutated: false, ours: mine, theirs: other, sent, answers });
  }
  await Promise.all([ours.close(), theirs.close()]);
  return found;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
