/** Many callers on one TPM in process, through the resource manager of `@casemate/tpm`. */
import {
  akTemplate,
  createKey,
  createPrimary,
  GetCapability,
  GetRandom,
  loadKey,
  type Policy,
  quote,
  readPcrs,
  type Session,
  seal,
  shareTpm,
  signingKeyTemplate,
  signWith,
  srkTemplate,
  startSession,
  TPM_CAP,
  TPM_HC,
  TPM_RC,
  Tpm,
  unseal,
  verifyAttestSignature,
  verifySignature,
} from '@casemate/tpm';
import { expect, it } from 'vitest';
import { openUtpm } from '../src/index-node.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

it('30 concurrent callers share it, each with objects and salted sessions of its own, and leave nothing behind', async () => {
  const utpm = await openUtpm({ startup: true });
  const shared = shareTpm(utpm);
  const caller = async (i: number): Promise<Uint8Array> => {
    await using tpm = new Tpm(shared.connect());
    await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    await using session = await startSession(tpm, { type: 'hmac', salt: srk, encrypt: true, decrypt: true });
    const template = signingKeyTemplate('ecc-p256');
    const wrapped = await createKey(tpm, { ...srk, auth: session }, { template, auth: `key ${i}` });
    await using child = await loadKey(tpm, srk, wrapped, { auth: `key ${i}` });
    const signature = await signWith(tpm, { ...child, auth: session }, text(`caller ${i}`));
    expect(verifySignature(child.public, text(`caller ${i}`), signature)).toBe(true);
    const evidence = await quote(tpm, ak, { nonce: text(`nonce ${i}`), pcrs: { sha256: [0] } });
    expect(verifyAttestSignature(ak.public, evidence.quoted, evidence.signature)).toBe(true);
    const policy: Policy = [{ type: 'pcr', values: await readPcrs(tpm, { sha256: [i % 16] }) }, { type: 'auth-value' }];
    const sealed = await seal(tpm, { parent: srk, data: text(`secret ${i}`), policy, auth: `auth ${i}` });
    return await unseal(tpm, { parent: srk, sealed, policy, auth: `auth ${i}` });
  };
  const secrets = await Promise.all(Array.from({ length: 30 }, (_, i) => caller(i)));
  expect(secrets).toEqual(Array.from({ length: 30 }, (_, i) => text(`secret ${i}`)));
  const raw = new Tpm(utpm);
  for (const property of [TPM_HC.TRANSIENT_FIRST, TPM_HC.LOADED_SESSION_FIRST, TPM_HC.ACTIVE_SESSION_FIRST]) {
    const request = { capability: TPM_CAP.HANDLES, property, propertyCount: 254 };
    expect((await raw.execute(GetCapability, request)).capabilityData.data).toEqual([]);
  }
  await shared.close();
}, 300_000);

it('64 sessions are in use at once, and the 65th is refused', async () => {
  await using shared = shareTpm(await openUtpm({ startup: true }));
  const tpm = new Tpm(shared.connect());
  const sessions: Session[] = [];
  for (let i = 0; i < 64; i++)
    sessions.push(await startSession(tpm, { type: i % 2 === 0 ? 'hmac' : 'policy', encrypt: true }));
  for (let round = 0; round < 2; round++) {
    for (const session of sessions) await tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions: [session] });
  }
  const tooMany = startSession(tpm, { type: 'hmac' });
  await expect(tooMany).rejects.toMatchObject({ response: { number: TPM_RC.SESSION_HANDLES } });
}, 120_000);
