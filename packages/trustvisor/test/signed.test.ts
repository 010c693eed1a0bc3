/** Signed images at registration: who may, who must, and what the measurement does not depend on. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { signPal } from '@casemate/pal-linker';
import { openSigningKey } from '@casemate/pal-linker/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Trustvisor } from '../src/index.js';
import { rogue, services } from './pals.js';

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());

function newSigner() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return openSigningKey(privateKey.export({ format: 'pem', type: 'pkcs8' }).toString());
}

describe('a signed image', () => {
  const [signer, stranger] = [newSigner(), newSigner()];
  const [mine, others] = [sha256(signer.publicKey), sha256(stranger.publicKey)];
  let trustvisor: Trustvisor;
  let signed: Uint8Array;
  beforeAll(async () => {
    trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
    signed = await signPal(services(), signer, { securityVersion: 7 });
  });
  afterAll(() => trustvisor.close());

  it('is registered with its signer and security version, and measures the same as without', async () => {
    const [with_, without] = [await trustvisor.register(signed), await trustvisor.register(services())];
    expect(with_.signed).toEqual({ signer: mine, securityVersion: 7 });
    expect(without.signed).toBeUndefined();
    expect(with_.measurement).toEqual(without.measurement);
    expect(with_.measurement).toEqual(sha256(services()));
    expect(with_.identity).toEqual(without.identity);
  });

  it('is required where signers are named, and must be one of theirs', async () => {
    await trustvisor.register(signed, { signers: [] });
    await trustvisor.register(signed, { signers: [others, mine] });
    const refused = { code: 'refused', message: expect.stringMatching(/expected (one of 1 signers|a signed image)/) };
    await expect(trustvisor.register(signed, { signers: [others] })).rejects.toMatchObject(refused);
    await expect(trustvisor.register(services(), { signers: [] })).rejects.toMatchObject(refused);
    await expect(trustvisor.register(services(), { signers: [mine] })).rejects.toMatchObject(refused);
    await expect(trustvisor.register(signed, { signers: [mine.subarray(1)] })).rejects.toMatchObject({ code: 'input' });
  });

  it('is refused with a signature that is cut, changed, or of another image, also where none is required', async () => {
    const image = services();
    const block = signed.subarray(image.length);
    const join = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
    const refused = (bytes: Uint8Array) =>
      expect(trustvisor.register(bytes)).rejects.toMatchObject({ code: 'refused' });
    await refused(join(rogue(), block));
    await refused(join(image, block, block));
    for (const at of [4, 6, 38, 41, 43, 80, block.length - 40, block.length - 1]) {
      const changed = block.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      await refused(join(image, changed));
    }
    for (const length of [1, 4, 40, block.length - 1]) await refused(join(image, block.subarray(0, length)));
  });
});

describe('a measurement', () => {
  it("depends on the image's bytes alone: not on the order, the options, the platform, or what ran before", async () => {
    const [one, two] = [services(), rogue()];
    const measure = async (images: readonly Uint8Array[]) => {
      await using trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
      const found = new Map<string, string>();
      for (const image of images) {
        const pal = await trustvisor.register(image, { sharedIdentity: images.length > 2 });
        await pal.invoke(0, new Uint8Array(1)).catch(() => undefined);
        const { output } = await pal.invoke(0, Uint8Array.of(0)).catch(() => ({ output: new Uint8Array(0) }));
        found.set(Buffer.from(sha256(image)).toString('hex'), Buffer.from(pal.measurement).toString('hex'));
        if (image === one) expect(output).toEqual(sha256(Buffer.concat([new Uint8Array(32), sha256(one)])));
      }
      return Object.fromEntries([...found].sort());
    };
    const first = await measure([one, two]);
    expect(await measure([two, two, one])).toEqual(first);
    expect(first).toEqual(Object.fromEntries(Object.keys(first).map((key) => [key, key])));
  });
});
