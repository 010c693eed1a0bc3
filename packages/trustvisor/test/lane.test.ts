/** The short way of a call: between the application and its PAL, without the isolate. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { parsePalImage } from '@casemate/pal-linker';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Channel, type Outgoing } from '../src/channel.js';
import { planLayout } from '../src/engine.js';
import { TrustvisorError } from '../src/error.js';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';
import { startIsolate } from '../src/isolate-process.js';
import { machineOf } from '../src/kvm-engine.js';
import { encodeLoad } from '../src/kvm-protocol.js';
import {
  decodeLaneCall,
  decodeLaneReply,
  encodeLaneCall,
  encodeLaneFailed,
  encodeLaneFailure,
  encodeLaneReturn,
  LaneFrames,
} from '../src/lane.js';
import { ENGINE, MESSAGE, NO_LANE, NO_PCR, OPEN_FLAGS, PROTOCOL_VERSION } from '../src/protocol.js';
import { buildProgram, whyNoPrograms } from './programs.js';
import { sanitizedMonitor } from './sanitized-monitor.js';

const NONE = new Uint8Array(0);
const PAL = { echo: 0, print: 1, extend: 2, read: 3, loop: 4, trap: 5, lie: 6, lent: 7 } as const;
const text = (value: string) => new TextEncoder().encode(value);
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const u32 = fc.integer({ min: 0, max: 0xffffffff });

/** Frames that come out of `stream` when it is cut at `cuts`. */
function cut(stream: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const frames = new LaneFrames();
  const found: Uint8Array[] = [];
  const places = [0, ...cuts.map((place) => place % (stream.length + 1)).sort((a, b) => a - b), stream.length];
  places.slice(1).forEach((end, i) => {
    frames.push(Buffer.from(stream.subarray(places[i], end)), (frame) => found.push(new Uint8Array(frame)));
  });
  return found;
}

describe('the frames of a lane', () => {
  it('say what was put into them, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(u32, u32, bytes(50)), { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 9 }),
        (calls, cuts) => {
          const given = calls.map(([timeLimit, command, input]) => ({ timeLimit, command, input }));
          const stream = Uint8Array.from(given.flatMap((call) => [...encodeLaneCall(call)]));
          expect(cut(stream, cuts).map(decodeLaneCall)).toEqual(given);
        },
      ),
    );
    fc.assert(
      fc.property(u32, u32, bytes(50), fc.string({ maxLength: 40 }), (prints, returnCode, output, message) => {
        const error = new TrustvisorError('fault', message, { fault: 'division' });
        const stream = [
          ...encodeLaneReturn(prints, returnCode, output),
          ...encodeLaneFailed(prints, encodeLaneFailure(error)),
        ];
        expect(cut(Uint8Array.from(stream), [7]).map(decodeLaneReply)).toMatchObject([
          { kind: 'returned', prints, returnCode, output },
          { kind: 'failed', prints, error: { code: 'fault', fault: 'division' } },
        ]);
      }),
    );
  });

  it('are refused where they are too long or too short, and where they are anything', () => {
    expect(() => new LaneFrames().push(Uint8Array.of(0, 0, 0, 1), () => undefined)).toThrow(/expected at most/);
    for (const decode of [decodeLaneCall, decodeLaneReply]) {
      expect(() => decode(new Uint8Array(7))).toThrow(TrustvisorError);
      fc.assert(
        fc.property(bytes(40), (content) => {
          try {
            decode(content);
          } catch (error) {
            expect(error).toBeInstanceOf(TrustvisorError);
          }
        }),
      );
    }
  });
});

for (const engine of ['wasm', 'kvm'] as const) {
  const missing = whyNoPrograms(engine);
  describe.skipIf(missing !== '')(`calls by a lane, on ${engine}${missing && ` (skipped: ${missing})`}`, () => {
    const printed: string[] = [];
    let image: Uint8Array;
    let trustvisor: Trustvisor;
    let pal: Pal;
    beforeAll(() => {
      image = buildProgram(engine, ['lane.c']);
    });
    beforeEach(async () => {
      printed.length = 0;
      const onPrint = (_pal: unknown, line: string) => printed.push(line);
      trustvisor = await openTrustvisor({ store: memoryStore(), engine, insecureAllowEphemeral: true, onPrint });
      pal = await trustvisor.register(image);
    });
    afterEach(() => trustvisor.close());
    const count = async () => (await pal.invoke(PAL.echo, NONE)).returnCode;
    const upcr3 = async () => (await pal.invoke(PAL.read, NONE)).output;
    const codeOf = (call: Promise<unknown>) => call.then(() => 'returned').catch((error) => error.code as string);

    it('run one after another, and have printed before they return', async () => {
      const all = await Promise.all(Array.from({ length: 40 }, (_, i) => pal.invoke(PAL.echo, text(`call ${i}`))));
      expect(all.map(({ returnCode }) => returnCode)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
      expect(new TextDecoder().decode(all[17]?.output)).toBe('call 17');
      for (let i = 1; i <= 20; i++) {
        await pal.invoke(PAL.print, Uint8Array.of(i));
        expect(printed.splice(0).join('')).toBe('abcdefghijklmnopqrst'.slice(0, i));
      }
    });

    it('mix with calls that are lent memory, in order', async () => {
      await using memory = Object.assign(await trustvisor.allocateShared(4096), {
        [Symbol.asyncDispose]: async () => undefined,
      });
      memory.write(0, Uint8Array.of(77));
      const lend = [{ memory, offset: 0, length: 16, access: 'read' }] as const;
      const all = await Promise.all([
        pal.invoke(PAL.echo, NONE),
        pal.invoke(PAL.lent, NONE, { lend }),
        pal.invoke(PAL.echo, NONE),
        pal.invoke(PAL.lent, NONE),
        pal.invoke(PAL.lent, NONE, { lend }),
        pal.invoke(PAL.echo, NONE),
      ]);
      expect(all.map(({ returnCode }) => returnCode)).toEqual([1, 77, 2, 999, 77, 3]);
    });

    it('go on with fresh memory and fresh uPCRs after a fault, an abort and a timeout', async () => {
      const fresh = await upcr3();
      for (const [command, code] of [
        [PAL.trap, 'fault'],
        [PAL.lie, 'fault'],
        [PAL.loop, 'timeout'],
        [PAL.loop, 'aborted'],
      ] as const) {
        await count();
        expect((await pal.invoke(PAL.extend, new Uint8Array(32).fill(9))).returnCode).toBe(0);
        expect(await upcr3()).not.toEqual(fresh);
        const options = code === 'aborted' ? { signal: AbortSignal.timeout(50) } : { timeLimit: 100 };
        expect(await codeOf(pal.invoke(command, NONE, options))).toBe(code);
        expect(await upcr3()).toEqual(fresh);
        expect(await count()).toBe(1);
        expect(await count()).toBe(2);
      }
    });

    it('go on after one that was lent memory, and so took the other way, was given up', async () => {
      await using memory = Object.assign(await trustvisor.allocateShared(4096), {
        [Symbol.asyncDispose]: async () => undefined,
      });
      const lend = [{ memory, offset: 0, length: 16, access: 'read' }] as const;
      const fresh = await upcr3();
      for (let i = 0; i < 5; i++) {
        const before = await count();
        await pal.invoke(PAL.extend, new Uint8Array(32).fill(9));
        const extended = await upcr3();
        expect(await codeOf(pal.invoke(PAL.loop, NONE, { lend, signal: AbortSignal.timeout(20) }))).toBe('aborted');
        // One that was given up before it began has changed nothing.
        expect([
          [1, fresh],
          [before + 1, extended],
        ]).toContainEqual([await count(), await upcr3()]);
      }
    });

    it('say how the PAL ended', async () => {
      await expect(pal.invoke(PAL.trap, NONE)).rejects.toMatchObject({ code: 'fault', fault: 'unreachable' });
      await expect(pal.invoke(PAL.lie, NONE)).rejects.toMatchObject({ code: 'fault', fault: 'malformed-output' });
      expect(await codeOf(pal.invoke(PAL.echo, NONE, { timeLimit: 0 }))).toBe('input');
      expect(await codeOf(pal.invoke(PAL.echo, new Uint8Array(1 << 20)))).toBe('input');
      expect(await codeOf(pal.invoke(PAL.echo, NONE, { signal: AbortSignal.abort() }))).toBe('aborted');
      expect(await count()).toBe(1);
    });

    it('end with the PAL and with the Trustvisor', async () => {
      const looping = codeOf(pal.invoke(PAL.loop, NONE));
      const waiting = codeOf(pal.invoke(PAL.echo, NONE));
      await pal.unregister();
      expect([await looping, await waiting]).toEqual(['aborted', 'closed']);
      const other = await trustvisor.register(image);
      const last = codeOf(other.invoke(PAL.loop, NONE));
      await trustvisor.close();
      expect(['aborted', 'closed']).toContain(await last);
    });

    it('are ended by an application that breaks the frames, which its PAL survives', async () => {
      const isolate = startIsolate(engine, undefined);
      const lanes: number[] = [];
      const channel = new Channel(isolate.stream, {
        accepts: new Set([MESSAGE.LANE]),
        handle: async (message) => {
          if (message.type === MESSAGE.LANE && message.body.lane !== NO_LANE) lanes.push(message.body.lane);
          return undefined;
        },
        closed: () => undefined,
      });
      try {
        const numbers = { nvBase: 0x0180c000, memoryLimit: 1 << 28, identityPcr: NO_PCR };
        const flags = OPEN_FLAGS.allowEphemeral | OPEN_FLAGS.allowAnyPlatformState;
        const more = { ownerAuth: NONE, storageKeyName: NONE, pcrs: [], engine: ENGINE[engine] };
        const open: Outgoing = { type: MESSAGE.OPEN, body: { protocol: PROTOCOL_VERSION, flags, ...numbers, ...more } };
        await channel.request(open, MESSAGE.OPENED);
        const register: Outgoing = {
          type: MESSAGE.REGISTER,
          body: { image, timeLimit: 30_000, flags: 0, checkpointAfter: 0, signers: [] },
        };
        for (const garbage of [
          Uint8Array.of(255, 255, 255, 255, 0),
          Uint8Array.of(3, 0, 0, 0, 1, 2, 3),
          encodeLaneCall({ timeLimit: 0, command: 0, input: new Uint8Array((1 << 20) - 8) }),
        ]) {
          const { body } = await channel.request(register, MESSAGE.REGISTERED);
          const lane = isolate.lanes[lanes.at(-1) ?? -1];
          if (lane === undefined) throw new Error('expected a lane');
          lane.resume();
          lane.write(garbage);
          await new Promise((resolve) => lane.once('close', resolve)); // after an error or without
          const call = { pal: body.pal, command: PAL.echo, timeLimit: 5000, input: NONE, lent: [] };
          const again = async () =>
            (await channel.request({ type: MESSAGE.INVOKE, body: call }, MESSAGE.INVOKED)).body.returnCode;
          // The end of its monitor may be noticed a little later than the end of the lane.
          expect(await again().catch(again)).toBe(1);
        }
        expect(new Set(lanes).size).toBe(engine === 'kvm' ? 6 : 3);
      } finally {
        channel.close();
        for (const lane of isolate.lanes) lane.destroy();
        await isolate.ended;
      }
    });
  });
}

const noKvm = whyNoPrograms('kvm');
describe.skipIf(noKvm !== '')(`a PAL in a machine${noKvm && ` (skipped: ${noKvm})`}`, () => {
  it('is called while the isolate stands still', async () => {
    await using trustvisor = await openTrustvisor({
      store: memoryStore(),
      engine: 'kvm',
      insecureAllowEphemeral: true,
    });
    const pal = await trustvisor.register(buildProgram('kvm', ['lane.c']));
    const isolate = trustvisor.pid ?? 0;
    process.kill(isolate, 'SIGSTOP');
    try {
      expect((await pal.invoke(PAL.echo, text('quick'))).returnCode).toBe(1);
    } finally {
      process.kill(isolate, 'SIGCONT');
    }
    const monitors = readFileSync(`/proc/${isolate}/task/${isolate}/children`, 'utf8').trim().split(' ').map(Number);
    const looping = pal.invoke(PAL.loop, NONE);
    for (const monitor of monitors) process.kill(monitor, 'SIGKILL');
    await expect(looping).rejects.toMatchObject({ code: 'closed' });
    expect((await pal.invoke(PAL.echo, NONE)).returnCode).toBe(1);
  });

  describe('whose monitor has sanitizers', () => {
    let program: string;
    beforeAll(() => {
      program = sanitizedMonitor();
    }, 60_000);

    it('takes any frames from the application without a finding', async () => {
      const image = parsePalImage(buildProgram('kvm', ['lane.c']));
      const layout = planLayout(image);
      const load = encodeLoad(machineOf(image, layout, { arena: undefined, lane: 5 }));
      const call = fc.record({ timeLimit: fc.constant(50), command: fc.constantFrom(0, 6, 9), input: bytes(64) });
      const big = { timeLimit: 50, command: 0, input: new Uint8Array(layout.inputCapacity).fill(1) };
      const garbage = fc.oneof(call.map(encodeLaneCall), bytes(30), fc.constant(encodeLaneCall(big)));
      await fc.assert(
        fc.asyncProperty(fc.array(garbage, { minLength: 1, maxLength: 4 }), async (frames) => {
          const monitor = spawn(program, [], {
            ...{ env: { ASAN_OPTIONS: 'detect_leaks=0' }, cwd: '/' },
            stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'ignore', 'pipe'],
          });
          let complaint = '';
          monitor.stderr?.on('data', (chunk) => {
            complaint += chunk;
          });
          const [, , , control, , lane]: readonly unknown[] = monitor.stdio;
          if (!(control instanceof Duplex && lane instanceof Duplex)) throw new Error('expected streams');
          for (const stream of [control, lane]) stream.on('error', () => undefined).resume();
          control.write(load);
          await once(control, 'data');
          lane.end(Uint8Array.from(frames.flatMap((each) => [...each])));
          const timer = setTimeout(() => control.end(), 500); // it may wait for what a fault is called
          const [code] = await once(monitor, 'exit');
          clearTimeout(timer);
          expect(complaint).toBe('');
          expect(code).toBeGreaterThanOrEqual(0);
        }),
        { numRuns: Number(process.env.TRUSTVISOR_FUZZ_RUNS ?? 15) },
      );
    }, 120_000);
  });
});
