/** An application that speaks the protocol itself and lends what there is not: it gets errors, and the PALs go on. */
import { ftruncateSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { Channel, type Outgoing } from '../src/channel.js';
import { startIsolate } from '../src/isolate-process.js';
import { ENGINE, MESSAGE, NO_PCR, OPEN_FLAGS, PROTOCOL_VERSION } from '../src/protocol.js';
import { openArenaFile } from '../src/shared-memory.js';
import { buildProgram, whyNoPrograms } from './programs.js';
import { remoteIsolate } from './streams.js';

const NONE = new Uint8Array(0);
const SUM = 1;
type Range = {
  readonly access: 1 | 2 | 3;
  readonly at: number;
  readonly length: number;
  readonly content: Uint8Array[];
};

const range = (at: number, length: number, access: 1 | 2 | 3 = 1, content: Uint8Array[] = []): Range => {
  return { access, at, length, content };
};

/** An open isolate with a registered PAL, behind a channel that sends whatever it is given. */
async function open(engine: 'wasm' | 'kvm', stream: ConstructorParameters<typeof Channel>[0]) {
  const channel = new Channel(stream, {
    accepts: new Set([MESSAGE.LANE]),
    handle: async () => undefined,
    closed: () => undefined,
  });
  const empty = { ownerAuth: NONE, storageKeyName: NONE };
  const numbers = { identityPcr: NO_PCR, nvBase: 0x0180c000, memoryLimit: 1 << 28 };
  const flags = OPEN_FLAGS.allowEphemeral | OPEN_FLAGS.allowAnyPlatformState;
  const options = { protocol: PROTOCOL_VERSION, flags, engine: ENGINE[engine], pcrs: [], ...numbers, ...empty };
  await channel.request({ type: MESSAGE.OPEN, body: options }, MESSAGE.OPENED);
  const image = buildProgram(engine, ['lent.c']);
  const register: Outgoing = {
    type: MESSAGE.REGISTER,
    body: { image, timeLimit: 30_000, flags: 0, checkpointAfter: 0, signers: [] },
  };
  const { body } = await channel.request(register, MESSAGE.REGISTERED);
  const call = async (lent: readonly Range[], command = SUM, timeLimit = 5000) => {
    const request = { pal: body.pal, command, timeLimit, input: NONE, lent };
    const reply = channel.request({ type: MESSAGE.INVOKE, body: request }, MESSAGE.INVOKED);
    return reply.then(({ body: { returnCode } }) => returnCode).catch((error) => error.code as string);
  };
  return { channel, call };
}

for (const engine of ['wasm', 'kvm'] as const) {
  const missing = whyNoPrograms(engine);
  describe.skipIf(missing !== '')(
    `what is not there to be lent, on ${engine}${missing && ` (skipped: ${missing})`}`,
    () => {
      const cleanup: (() => unknown)[] = [];
      afterEach(async () => {
        for (const task of cleanup.splice(0)) await task();
      });

      it('is refused (defects 7, 10 and 11): outside of the memory, of no length, twice, or more than there may be', async () => {
        const arena = openArenaFile();
        if (arena === undefined) throw new Error('expected a tmpfs at /dev/shm');
        ftruncateSync(arena, 8192);
        const isolate = startIsolate(engine, arena);
        const { channel, call } = await open(engine, isolate.stream);
        cleanup.push(
          () => channel.close(),
          () => isolate.ended,
        );
        const most = 256 * 1024 * 1024;
        expect(await call([range(0, 8192)])).toBe(0);
        for (const lent of [
          [range(most, 1)],
          [range(0xffffffff, 0xffffffff)],
          [range(1, 0xffffffff)],
          [range(0, 0)],
          [range(0, 8192, 2), range(8191, 1)],
          [range(0, 1, 1, [new Uint8Array(2)])],
          [range(0, most), range(0, most)],
        ]) {
          expect(await call(lent), JSON.stringify(lent)).toBe('input');
        }
        expect(await call(Array.from({ length: 16 }, () => range(0, 10)))).toBe(0);
        // Memory that the file does not have: the isolate cannot know before it is touched.
        expect(await call([range(4096, 100_000)])).toBe('fault');
        expect(await call([range(most - 4096, 4096)])).toBe('fault');
        ftruncateSync(arena, 0);
        expect(await call([range(0, 4096)])).toBe('fault');
        ftruncateSync(arena, 8192);
        expect(await call([range(0, 8192)])).toBe(0);
      });

      it('is refused where application and isolate share no memory, without its bytes', async () => {
        const { isolate, ended } = await remoteIsolate();
        const { channel, call } = await open(engine, isolate);
        cleanup.push(
          () => channel.close(),
          () => ended,
        );
        expect(await call([range(0, 10)])).toBe('input');
        expect(await call([range(0, 10, 1, [new Uint8Array(9)])])).toBe('input');
        expect(await call([range(0, 10, 1, [new Uint8Array(10).fill(3)])])).toBe(30);
        expect(await call([range(77, 4, 3, [new Uint8Array(4).fill(1)]), range(77, 2, 2, [new Uint8Array(2)])])).toBe(
          4,
        );
      });
    },
  );
}
