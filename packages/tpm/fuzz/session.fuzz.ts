/**
 * Whole scenes of a client, with one real response of the TPM changed: sessions, policies, NV, the resource manager. Only
 * typed errors come out, nothing hangs, and no change to a response that a session covers goes unnoticed.
 */
import { readFileSync } from 'node:fs';
import { WireError } from '@casemate/wire';
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import { commandByCode, TPM_RS, TpmError } from '../src/index.js';
import { mutate } from './mutate.js';
import { scenes } from './scenes.js';
import { answering, drawing, parseTape, type StoredTape, type Tape } from './tape.js';

/** What `npm run fuzz -- tpm session` runs. */
export const target: FuzzTarget = {
  async open() {
    const tapes = readTapes();
    const names = Object.keys(scenes);
    for (const name of names) await play(name, tapes, (_, response) => response); // as recorded, every scene succeeds
    return {
      run: (random) => fuzzScene(random.pick(names), tapes, random),
      close: async () => undefined,
    };
  },
};

type Tapes = ReadonlyMap<string, Tape>;

function readTapes(): Tapes {
  const file = readFileSync(new URL('../test/vectors/swtpm-scenes.json', import.meta.url), 'utf8');
  const stored: Readonly<Record<string, StoredTape>> = JSON.parse(file);
  return new Map(Object.entries(stored).map(([name, tape]) => [name, parseTape(tape)]));
}

async function play(
  name: string,
  tapes: Tapes,
  change: (index: number, response: Uint8Array) => Uint8Array,
): Promise<void> {
  const tape = tapes.get(name);
  const scene = scenes[name];
  if (!tape || !scene) throw new Error(`no tape of the scene ${name}`);
  await scene(answering(tape, change), drawing(tape));
}

async function fuzzScene(name: string, tapes: Tapes, random: Random): Promise<string> {
  const exchanges = tapes.get(name)?.exchanges ?? [];
  const at = random.below(exchanges.length);
  const { command, response } = exchanges[at] ?? { command: NOTHING, response: NOTHING };
  // An earlier response of the same scene now and then, as a replay or a late answer would be.
  const changed = random.oneIn(6) ? random.pick(exchanges).response.slice() : mutate(response, random);
  const isSame = Buffer.compare(changed, response) === 0;
  try {
    await play(name, tapes, (index, original) => (index === at ? changed.slice() : original));
    if (isCovered(command, response) && !isSameBesidesHandle(command, changed, response))
      throw new Error(`${name}: response ${at} was changed, and nobody noticed`);
    return isSame ? 'unchanged' : 'changed where no session looks';
  } catch (error) {
    if (error instanceof TpmError || error instanceof WireError) return error.code;
    throw error;
  }
}

/** The handle of a response is in no HMAC: the Name is what tells objects apart (Part 1, section 18.8). */
function isSameBesidesHandle(command: Uint8Array, changed: Uint8Array, response: Uint8Array): boolean {
  const code = new DataView(command.buffer, command.byteOffset).getUint32(6);
  const end = 10 + 4 * (commandByCode.get(code)?.responseHandles.length ?? 0);
  if (Buffer.compare(changed.subarray(0, 10), response.subarray(0, 10)) !== 0) return false;
  return Buffer.compare(changed.subarray(end), response.subarray(end)) === 0;
}

/** Whether a session other than a password covers the response to this command; a refusal is covered by none. */
function isCovered(command: Uint8Array, response: Uint8Array): boolean {
  const view = new DataView(command.buffer, command.byteOffset);
  if (view.getUint16(0) !== 0x8002 || response.length === 10) return false;
  // The first authorisation stands behind at most three handles; a password's handle is a permanent one.
  for (let handles = 0; handles <= 3; handles++) {
    const size = view.getUint32(10 + 4 * handles);
    if (size < 9 || size > command.length) continue;
    for (let at = 14 + 4 * handles; at < 14 + 4 * handles + size; ) {
      if (view.getUint32(at) !== TPM_RS.PW) return true;
      const nonce = view.getUint16(at + 4);
      at += 4 + 2 + nonce + 1;
      at += 2 + view.getUint16(at);
    }
    return false;
  }
  return false;
}

const NOTHING = new Uint8Array(10);
