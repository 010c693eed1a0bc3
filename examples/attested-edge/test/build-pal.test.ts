import { parsePalImage } from '@casemate/pal-linker';
import { openDevice } from '@casemate/tz';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildPal, COUNTER, COUNTER_COMMAND } from '../src/build-pal.js';

describe('the counter PAL', () => {
  let image: Uint8Array;
  beforeAll(async () => {
    image = await buildPal(COUNTER);
  });

  it('builds to the same bytes each time', async () => {
    expect(await buildPal(COUNTER)).toEqual(image);
    expect(parsePalImage(image)).toMatchObject({ name: 'counter', version: '1.0.0' });
  });

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

  it('refuses a command that it does not know and an ATTEST without a nonce', async () => {
    await using device = await openDevice({ name: 'null' });
    await using session = await device.openSession(await (await device.openManager()).downloadService(image));
    await expect(session.invoke(9)).rejects.toMatchObject({ code: 'TZ_ERROR_SERVICE', serviceReturn: 14 });
    await expect(session.invoke(COUNTER_COMMAND.ATTEST)).rejects.toMatchObject({ serviceReturn: 11 });
    await expect(session.invoke(COUNTER_COMMAND.ATTEST, [null])).rejects.toMatchObject({ serviceReturn: 11 });
  });
});
