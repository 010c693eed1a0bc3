import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { directoryState } from '../src/node.js';
import { nextRecord, readLog, startLog } from '../src/state-log.js';
import { temporaryDirectory } from './temporary.js';

/** A file with `states` in it, one after another; and where the last record starts and ends. */
function fileOf(states: readonly Uint8Array[]): { file: Uint8Array; last: number; end: number } {
  const [first = new Uint8Array(1), ...rest] = states;
  let { file, log } = startLog(first);
  let last = 0;
  for (const state of rest) {
    const next = nextRecord(log, state);
    if (next === undefined) {
      ({ file, log } = startLog(state));
      continue;
    }
    last = log.end;
    file.set(next.record, log.end);
    log = next.log;
  }
  return { file, last, end: log.end };
}

const bytes = (length: number, seed: number): Uint8Array =>
  new Uint8Array(length).map((_, i) => ((i + 1) * (seed * 2 + 1) * 37) | 1);
const twoStates = [bytes(700, 1), bytes(900, 2)];

describe('the log of a state', () => {
  it('holds the state that was written last, whatever changed', () => {
    const state = fc.uint8Array({ minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(fc.array(state, { minLength: 1, maxLength: 12 }), (states) => {
        expect(readLog(fileOf(states).file)).toEqual(states.at(-1));
      }),
    );
  });

  it('grows by little where little changed, and starts again where there is no more room', () => {
    const before = bytes(5000, 1);
    const after = before.map((byte, i) => (i === 7 || i === 4000 ? byte ^ 1 : byte));
    const { log } = startLog(before);
    expect(nextRecord(log, after)?.record.length).toBeLessThan(100);
    expect(nextRecord(log, bytes(1 << 16, 2))).toBeUndefined();
    const many = Array.from({ length: 1500 }, (_, i) => before.map((byte, at) => (at === 9 ? i : byte)));
    expect(readLog(fileOf(many).file)).toEqual(many.at(-1));
  });

  it('is refused where any byte of it was changed', () => {
    const { file, end } = fileOf(twoStates);
    for (let at = 18; at < end; at++) {
      const changed = file.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      expect(() => readLog(changed), `byte ${at}`).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/state-(damaged|version)/) }),
      );
    }
  });

  it('is refused where it was cut off at any byte', () => {
    const { file } = fileOf(twoStates);
    for (let length = 18; length < file.length; length += length < 2000 ? 1 : 97) {
      expect(() => readLog(file.slice(0, length)), `${length} bytes`).toThrow(
        expect.objectContaining({ code: 'state-damaged' }),
      );
    }
  });

  it('holds the state before, where a record did not reach the disk as a whole', () => {
    const { file, last, end } = fileOf(twoStates);
    for (let sector = Math.floor(last / 512); sector * 512 < end; sector++) {
      const torn = file.slice();
      torn.fill(0, Math.max(last, sector * 512), Math.min(end, (sector + 1) * 512));
      expect(readLog(torn), `without sector ${sector}`).toEqual(twoStates[0]);
    }
  });
});

describe('a state directory', () => {
  it.each(['power-failure', 'process-crash'] as const)(
    'keeps what was saved last, at durability %s',
    async (durability) => {
      const path = temporaryDirectory('log');
      const state = directoryState(path, { durability });
      for (let i = 0; i < 1000; i++) await state.save(bytes(200 + (i % 50), i));
      await state.close();
      const again = directoryState(path);
      expect(await again.load()).toEqual(bytes(200 + (999 % 50), 999));
      await again.close();
    },
  );

  it('goes on with a new file after a record that was cut off', async () => {
    const path = temporaryDirectory('log');
    const { file, last } = fileOf(twoStates);
    file.fill(0, last + 40);
    writeFileSync(join(path, 'utpm.state'), file);
    const state = directoryState(path);
    expect(await state.load()).toEqual(twoStates[0]);
    await state.save(bytes(300, 3));
    await state.close();
    expect(readLog(new Uint8Array(readFileSync(join(path, 'utpm.state'))))).toEqual(bytes(300, 3));
  });
});
