/** Mutated commands to a TPM in process: it answers each, stays well, and neither it nor its state grows. */
import { createPrimary, FlushContext, nvDefine, nvWrite, srkTemplate, startSession, Tpm } from '@casemate/tpm';
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import { mutate } from '../../tpm/fuzz/mutate.js';
import { memoryState, openUtpm, type Utpm } from '../src/index-node.js';
import { assertResponse, realCommands } from './corpus.js';

const MAX_STATE = 512 * 1024;

/** What `npm run fuzz -- utpm commands` runs. */
export const target: FuzzTarget = {
  async open() {
    const commands = realCommands();
    const state = memoryState();
    const utpm = await openUtpm({ state, startup: true });
    let cases = 0;
    return {
      async run(random) {
        if (cases++ % 256 === 0) await furnish(utpm);
        const size = state.snapshot()?.length ?? 0;
        if (size > MAX_STATE) throw new Error(`the state has grown to ${size} bytes`);
        return outcome(await utpm.send(commandOf(commands, random), { locality: random.pick([0, 0, 0, 1, 2, 3, 4]) }));
      },
      close: () => utpm.close(),
    };
  },
};

function commandOf(commands: readonly Uint8Array[], random: Random): Uint8Array {
  if (random.oneIn(64)) return random.bytes(random.below(64));
  const command = mutate(random.pick(commands), random);
  // A mutation rarely leaves a handle that exists; here it is put back.
  const isHandle = command.length >= 14 && (command[10] === 0x80 || command[10] === 0x01);
  if (isHandle && random.oneIn(2)) new DataView(command.buffer).setUint32(10, random.pick(HANDLES));
  return command;
}

const HANDLES = [0x80000000, 0x80000001, 0x01800001, 0x40000001, 0x4000000b, 0x4000000c, 0x40000007, 10, 16] as const;

function outcome(response: Uint8Array): string {
  const code = assertResponse(response);
  if (code === 0) return 'success';
  return (code & 0x80) !== 0 ? 'parameter refused' : 'command refused';
}

// Something to work on, whatever the commands before have done: to make it must still be possible.
async function furnish(utpm: Utpm): Promise<void> {
  await utpm.powerCycle();
  const tpm = new Tpm(utpm);
  await utpm.send(Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0));
  const key = await createPrimary(tpm, { template: srkTemplate('ecc-p256'), hierarchy: 'null' });
  const second = await createPrimary(tpm, { template: srkTemplate('ecc-p256'), hierarchy: 'null' });
  await tpm.execute(FlushContext, { flushHandle: second.handle });
  await startSession(tpm, { type: 'policy' });
  if (key.handle !== 0x80000000) throw new Error(`expected the first slot to be free, got ${key.handle}`);
  // The owner's authorization may have been changed by a command before; then there is no index.
  await nvDefine(tpm, { index: 0x01800001, size: 32 })
    .then((index) => nvWrite(tpm, index, new Uint8Array(32)))
    .catch(() => undefined);
}
