import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parsePalImage } from '@casemate/pal-linker';
import { directoryStore, openTrustvisor } from '@casemate/trustvisor';
import { openDevice } from '@casemate/tz';
import { openUtpm } from '@casemate/utpm';
import { directoryState } from '@casemate/utpm/node';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildPal } from '../src/build-pal.js';
import { COUNTER, COUNTER_COMMAND, COUNTER_MODULE, linkCounter } from '../src/counter-pal.js';

describe('the counter PAL', () => {
  let image: Uint8Array;
  beforeAll(async () => {
    image = await buildPal(COUNTER);
  });

  it('builds to the same bytes each time', async () => {
    expect(await buildPal(COUNTER)).toEqual(image);
    expect(parsePalImage(image)).toMatchObject({ name: 'counter', version: '1.0.0' });
  });

  const unbuilt = existsSync(COUNTER_MODULE) ? '' : 'the example is not built: npm run build';
  it.skipIf(unbuilt !== '' && process.env.MUST_RUN !== '1')(
    `is what the build of this example has compiled${unbuilt && ` (${unbuilt})`}`,
    async () => {
      expect(await linkCounter()).toEqual(image);
    },
  );

  it('counts up by one for each INCREMENT and tells the value at READ, on the null device', async () => {
    const lines: string[] = [];
    await using device = await openDevice({ name: 'null', print: (text) => lines.push(text) });
    const manager = await device.openManager();
    await using session = await device.openSession(await manager.downloadService(image));
    expect(await session.invoke(COUNTER_COMMAND.READ)).toEqual([0, 0]);
    expect(await session.invoke(COUNTER_COMMAND.INCREMENT)).toEqual([1, 0]);
    expect(await session.invoke(COUNTER_COMMAND.INCREMENT)).toEqual([2, 0]);
    expect(await session.invoke(COUNTER_COMMAND.READ)).toEqual([2, 0]);
    expect(lines).toEqual(['counter is 1', 'counter is 2']);
  });

  it('refuses a command that it does not know', async () => {
    await using device = await openDevice({ name: 'null' });
    await using session = await device.openSession(await (await device.openManager()).downloadService(image));
    await expect(session.invoke(9)).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE', serviceReturn: 14 });
  });

  const isolate = new URL('../../../packages/trustvisor/dist/isolate.js', import.meta.url);
  const reason = existsSync(isolate) ? undefined : 'the isolate is not built: cd packages/trustvisor && npx tsup';
  it.skipIf(reason !== undefined && process.env.MUST_RUN !== '1')(
    `goes on counting in the next run of the program${reason ? ` (${reason})` : ''}`,
    async () => {
      const state = mkdtempSync(join(tmpdir(), 'counter-'));
      try {
        for (const expected of [1, 2, 3]) {
          await using tpm = await openUtpm({ state: await directoryState(join(state, 'tpm')), startup: true });
          await using trustvisor = await openTrustvisor({ tpm, store: directoryStore(join(state, 'sealed')) });
          await using device = await openDevice({ trustvisor });
          await using manager = await device.openManager();
          await using session = await device.openSession(await manager.downloadService(image));
          expect(await session.invoke(COUNTER_COMMAND.INCREMENT)).toEqual([expected, 0]);
        }
      } finally {
        rmSync(state, { recursive: true });
      }
    },
  );
});
