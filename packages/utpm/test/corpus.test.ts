/**
 * A directory of raw commands, one a file, to this TPM and to Debian's swtpm: the response codes agree. UTPM_CORPUS names the directory;
 * libtpms' fuzzing corpus (tests/corpus-execute-command) is such a one. It is not part of this repository.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import { CORPUS_DIFFERENCES } from './differences.js';
import type { Difference } from './duel.js';
import { responseCode, startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const directory = process.env.UTPM_CORPUS;
const describeIf = directory === undefined ? describe.skip : describe;

// Over a stream a command is as long as its header says.
function isFramed(blob: Uint8Array): boolean {
  return blob.length >= 10 && new DataView(blob.buffer, blob.byteOffset).getUint32(2) === blob.length;
}

describeIf('a corpus of raw commands (UTPM_CORPUS)', () => {
  itWith('swtpm')(
    'gets the same response codes as from swtpm',
    async () => {
      const blobs = readdirSync(directory ?? '.').map(
        (name) => new Uint8Array(readFileSync(join(directory ?? '.', name))),
      );
      const framed = blobs.filter(isFramed);
      const differences: Difference[] = [];
      for (let at = 0; at < framed.length; at += 40)
        differences.push(...(await compare(framed.slice(at, at + 40), at)));
      const unknown = differences.filter((d) => !CORPUS_DIFFERENCES.some(({ explains }) => explains(d)));
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
