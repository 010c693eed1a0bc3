/** What is kept from one command to the next, or not copied out of one, must not show. */
import { createHash, randomBytes } from 'node:crypto';
import { GetCapability, Hash, TPM_ALG, TPM_CAP, TPM_PT, TPM_RH, Tpm } from '@casemate/tpm';
import { expect, it } from 'vitest';
import { openUtpm } from '../src/index.js';
import { usual } from './providers.js';
import { commandBytes } from './raw.js';

async function property(tpm: Tpm, name: number): Promise<number | undefined> {
  const { capabilityData } = await tpm.execute(GetCapability, {
    capability: TPM_CAP.TPM_PROPERTIES,
    property: name,
    propertyCount: 1,
  });
  return capabilityData.capability === TPM_CAP.TPM_PROPERTIES ? capabilityData.data[0]?.value : undefined;
}

it('a TPM tells the size of its command buffer as it is, whatever another one has and told', async () => {
  const [one, other] = [
    await openUtpm({ crypto: usual, startup: true }),
    await openUtpm({ crypto: usual, startup: true }),
  ];
  await using first = new Tpm(one);
  await using second = new Tpm(other);
  expect(await property(first, TPM_PT.MAX_COMMAND_SIZE)).toBe(4096);
  one.commandSize = 3000;
  expect(await property(first, TPM_PT.MAX_COMMAND_SIZE)).toBe(3000);
  expect(await property(first, TPM_PT.MAX_RESPONSE_SIZE)).toBe(3000);
  expect(await property(second, TPM_PT.MAX_COMMAND_SIZE)).toBe(4096);
});

it.each([0, 4, 63, 64, 65, 1000, 1024])(
  'hashes %i bytes where they stand, in memory of its own or shared with a thread, and leaves them alone',
  async (size) => {
    await using tpm = await openUtpm({ crypto: usual, startup: true });
    const data = new Uint8Array(randomBytes(size));
    const command = commandBytes(Hash, [], { data, hashAlg: TPM_ALG.SHA256, hierarchy: TPM_RH.OWNER });
    const shared = new Uint8Array(new SharedArrayBuffer(command.length + 8), 8);
    shared.set(command);
    const digest = new Uint8Array(createHash('sha256').update(data).digest());
    for (const memory of [command, shared]) {
      const response = await tpm.send(memory);
      expect(response.slice(12, 12 + 32)).toEqual(digest);
      expect(memory).toEqual(command);
    }
    expect(await tpm.send(shared)).toEqual(await tpm.send(command));
  },
);
