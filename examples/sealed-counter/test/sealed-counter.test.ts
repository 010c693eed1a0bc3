import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCounter, withCounter } from '../src/counter.js';
import { rollBack } from '../src/rollback.js';

const isolate = new URL('../../../packages/trustvisor/dist/isolate.js', import.meta.url);
const reason = existsSync(isolate) ? undefined : 'the isolate is not built: cd packages/trustvisor && npx tsup';

describe.skipIf(reason !== undefined && process.env.MUST_RUN !== '1')(
  `the sealed counter${reason ? ` (${reason})` : ''}`,
  () => {
    let image: Uint8Array;
    let state: string;
    beforeAll(async () => {
      image = await buildCounter();
    });
    beforeEach(() => {
      state = mkdtempSync(join(tmpdir(), 'sealed-counter-'));
    });
    afterEach(() => rmSync(state, { recursive: true, force: true }));
    const use = <T>(work: Parameters<typeof withCounter<T>>[2]) => withCounter(image, { state }, work);

    it('goes on where it stood when the program ended, and past 32 bits', async () => {
      expect(await buildCounter()).toEqual(image);
      expect(await use((counter) => counter.read())).toBe(0n);
      expect(await use((counter) => counter.add(2))).toBe(2n);
      expect(await use(async (counter) => [await counter.add(0xffff_ffff), await counter.read()])).toEqual([
        0x1_0000_0001n,
        0x1_0000_0001n,
      ]);
      expect(await use((counter) => counter.read())).toBe(0x1_0000_0001n);
    });

    it('only grows: 0, and what would carry it past the end, are refused and change nothing', async () => {
      await use(async (counter) => {
        expect(await counter.add(1)).toBe(1n);
        await expect(counter.add(0)).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE', serviceReturn: 11 });
        expect(await counter.read()).toBe(1n);
      });
    });

    it('refuses an older copy of its storage, and none at all, and goes on with the newest', async () => {
      const lines: string[] = [];
      await rollBack(image, { state }, (line) => lines.push(line));
      expect(lines).toEqual([
        'the counter is 1; its storage is copied',
        'the counter is 2',
        'ATTACK: the older copy is put back',
        expect.stringMatching(/^refused \(replay\): /),
        'ATTACK: the storage is gone',
        expect.stringMatching(/^refused \((replay|sealed-state)\): /),
        'the newest copy is put back, and the counter is 2',
      ]);
    });
  },
);
