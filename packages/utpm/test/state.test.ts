import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nvDefine, nvRead, nvWrite, TPM_RC, Tpm } from '@casemate/tpm';
import { describe, expect, it } from 'vitest';
import { memoryState, openUtpm, type UtpmState } from '../src/index.js';
import { directoryState } from '../src/node.js';

const directory = (): string => mkdtempSync(join(tmpdir(), 'utpm-state-'));

async function storedBlob(): Promise<Uint8Array> {
  const state = memoryState();
  await (await openUtpm({ state, startup: true })).close();
  return state.snapshot() ?? new Uint8Array(0);
}

describe('stored state', () => {
  it('is refused where any byte of it was changed, and left as it is', async () => {
    const blob = await storedBlob();
    for (let i = 0; i < blob.length; i += 7) {
      const damaged = blob.slice();
      damaged[i] = (damaged[i] ?? 0) ^ 0x20;
      const state = memoryState(damaged);
      await expect(openUtpm({ state })).rejects.toMatchObject({
        code: expect.stringMatching(/state-(damaged|version)/),
      });
      expect(state.snapshot()).toEqual(damaged);
    }
  });

  it('is refused where it was cut off at any byte', async () => {
    const blob = await storedBlob();
    for (let length = 0; length < blob.length; length += 11) {
      const state = memoryState(blob.slice(0, length));
      await expect(openUtpm({ state })).rejects.toMatchObject({ code: 'state-damaged' });
    }
  });

  it('is refused where a later version wrote it', async () => {
    const blob = await storedBlob();
    blob[15] = 2;
    await expect(openUtpm({ state: memoryState(blob) })).rejects.toMatchObject({ code: 'state-version' });
  });

  it('is refused where other seeds were asked for, and seeds of a wrong length are refused before that', async () => {
    const seed = new Uint8Array(32).fill(1);
    const state = memoryState();
    await (await openUtpm({ state, seeds: { owner: seed } })).close();
    const again = memoryState(state.snapshot());
    await (await openUtpm({ state: again, seeds: { owner: seed } })).close();
    const other = { owner: new Uint8Array(32).fill(2) };
    await expect(openUtpm({ state: again, seeds: other })).rejects.toMatchObject({ code: 'seed-mismatch' });
    const short = { owner: new Uint8Array(31) };
    await expect(openUtpm({ seeds: short })).rejects.toMatchObject({ code: 'bad-option' });
  });

  it('that cannot be written fails the command and every later one, instead of an answer that is not kept', async () => {
    let isFull = false;
    const memory = memoryState();
    const save = async (blob: Uint8Array): Promise<void> => {
      if (isFull) throw new Error('no space left');
      await memory.save(blob);
    };
    const state: UtpmState = { ...memory, save };
    const utpm = await openUtpm({ state, startup: true });
    const tpm = new Tpm(utpm);
    const index = await nvDefine(tpm, { index: 0x01800001, size: 4 });
    isFull = true;
    await expect(nvWrite(tpm, index, new Uint8Array(4))).rejects.toThrow();
    await expect(nvRead(tpm, index)).rejects.toMatchObject({ response: { number: TPM_RC.FAILURE } });
    isFull = false;
    await tpm.close();
  });
});

describe('a state directory', () => {
  it('keeps a TPM, with a file that others cannot read', async () => {
    const path = directory();
    await (await openUtpm({ state: directoryState(path), startup: true })).close();
    expect(readdirSync(path)).toEqual(['utpm.state']);
    const first = readFileSync(join(path, 'utpm.state'));
    await (await openUtpm({ state: directoryState(path) })).close();
    expect(readFileSync(join(path, 'utpm.state'))).toEqual(first);
  });

  it('is open in one TPM at a time', async () => {
    const path = directory();
    const utpm = await openUtpm({ state: directoryState(path) });
    await expect(openUtpm({ state: directoryState(path) })).rejects.toMatchObject({ code: 'state-locked' });
    await utpm.close();
    await (await openUtpm({ state: directoryState(path) })).close();
  });

  it('is refused while another process holds it, and taken over when that process is gone', async () => {
    const path = directory();
    await (await openUtpm({ state: directoryState(path) })).close();
    const child = spawn('sleep', ['60']);
    const pid = child.pid ?? 0;
    const start = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19];
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const own = await openUtpm({ state: directoryState(path) });
    const namespace = readdirSync(path)
      .find((name) => name.startsWith('utpm.lock'))
      ?.split('.')
      .at(-1);
    await own.close();
    const lock = join(path, `utpm.lock.${pid}.${start}.${boot}.${namespace}`);
    writeFileSync(lock, '');
    await expect(openUtpm({ state: directoryState(path) })).rejects.toMatchObject({ code: 'state-locked' });
    await new Promise((resolve) => child.once('exit', resolve).kill('SIGKILL'));
    await (await openUtpm({ state: directoryState(path) })).close();
    expect(existsSync(lock)).toBe(false);
  });

  it('is taken over from a process whose number was given to another one, and from before a reboot', async () => {
    const path = directory();
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const own = await openUtpm({ state: directoryState(path) });
    const namespace = readdirSync(path)
      .find((name) => name.startsWith('utpm.lock'))
      ?.split('.')
      .at(-1);
    await own.close();
    writeFileSync(join(path, `utpm.lock.${process.pid}.1.${boot}.${namespace}`), '');
    writeFileSync(join(path, `utpm.lock.1.1.00000000-0000.${namespace}`), '');
    await (await openUtpm({ state: directoryState(path) })).close();
    expect(readdirSync(path)).toEqual(['utpm.state']);
  });
});
