import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nvRead, nvReadNumber, openNv, Tpm } from '@casemate/tpm';
import { describe, expect, it } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import { directoryState } from '../src/node.js';
import { bundle, start, stop } from './program.js';

/** How many processes are killed; UTPM_KILLS=200 for a long run. */
const KILLS = Number(process.env.UTPM_KILLS ?? 20);

describe('a TPM whose process is killed while it writes NV', () => {
  it(
    `opens again with every write that was answered, at each of ${KILLS} moments`,
    async () => {
      const program = await bundle('writer.ts');
      for (let moment = 0; moment < KILLS; moment++) {
        const path = mkdtempSync(join(tmpdir(), 'utpm-kill-'));
        const { child, line } = await start(program, [path]);
        let printed = line;
        child.stdout?.on('data', (data: Buffer) => {
          printed += data.toString();
        });
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
        await stop(child, 'SIGKILL');
        const answered = BigInt(printed.trimEnd().split('\n').at(-1) ?? 0);
        const tpm = new Tpm(await openUtpm({ state: directoryState(path), startup: true }));
        const counter = await nvReadNumber(tpm, await openNv(tpm, 0x01800001));
        const data = await nvRead(tpm, await openNv(tpm, 0x01800002));
        const written = new DataView(data.buffer, data.byteOffset).getBigUint64(0);
        expect(counter).toBeGreaterThanOrEqual(answered);
        expect(written).toBeGreaterThanOrEqual(answered);
        expect(counter - written).toBeLessThanOrEqual(1n);
        await tpm.close();
        rmSync(path, { recursive: true });
      }
    },
    KILLS * 5000,
  );
});
