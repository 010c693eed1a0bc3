/** The whole of the TPM 1.2 API against Debian's swtpm. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TpmError } from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm, type SwtpmTransport } from '../../src/swtpm.js';
import {
  activateIdentity,
  assertPhysicalPresence,
  bind12,
  buildActivation,
  changeKeySecret,
  changeOwnerSecret,
  changeSealedSecret,
  clearOwner,
  createEndorsementKey,
  createKey12,
  EvictKey,
  enable12,
  extendPcr12,
  FlushSpecific,
  forceClear,
  GetRandom,
  hasOwner,
  isOrdinalSupported,
  loadKey12,
  makeIdentity,
  NvWriteValue,
  nvDefine12,
  nvLock12,
  nvRead12,
  nvRelease12,
  nvWrite12,
  passwordSecret,
  pubkeyOf,
  quote12,
  quote212,
  ResetLockValue,
  readDaInfo,
  readEndorsementKey,
  readHandles,
  readNvIndexes,
  readNvPublic,
  readPcrs12,
  readPermanentFlags,
  readProperty,
  readPubkey,
  readStclearFlags,
  readStorageRootKey,
  readVersion,
  resetPcrs12,
  SaveState,
  SelfTestFull,
  StirRandom,
  seal12,
  sign12,
  srk,
  startup12,
  TPM_CAP_PROP,
  TPM_ET,
  TPM_NV_PER,
  TPM_ORD,
  TPM_RT,
  Tpm12,
  takeOwnership,
  unbind12,
  unseal12,
  verifyIdentity,
  verifyQuote12,
  verifyQuote212,
  verifySignature12,
} from '../../src/tpm12.js';
import { describeWith } from '../client/swtpm-server.js';
import { intercepted, OWNER, prepare, type Swtpm12, startSwtpm12 } from './swtpm12.js';

const SECRET = passwordSecret('secret of the test');
const WRONG = passwordSecret('wrong');
const bytes = (...values: number[]) => Uint8Array.from(values);
const nonce = () => new Uint8Array(randomBytes(20));

describeWith(['swtpm'], 'TPM 1.2 in swtpm', () => {
  let server: Swtpm12;
  let transport: SwtpmTransport;
  let tpm: Tpm12;

  beforeAll(async () => {
    server = await startSwtpm12();
    transport = await connectSwtpm({ path: server.path });
    tpm = await prepare(transport);
    await nvLock12(tpm);
    await takeOwnership(tpm, { ownerSecret: OWNER });
  });
  afterAll(async () => {
    expect(await readHandles(tpm, TPM_RT.AUTH)).toEqual([]);
    expect(await readHandles(tpm, TPM_RT.KEY)).toEqual([]);
    await tpm.close();
    await server.stop();
  });

  const refused = (name: string) =>
    expect.objectContaining({ code: 'response', response: expect.objectContaining({ name }) });

  it('tells version, properties and flags', async () => {
    expect(await readVersion(tpm)).toMatchObject({ version: { major: 1, minor: 2 }, specLevel: 2 });
    expect(await readProperty(tpm, TPM_CAP_PROP.PCR)).toBe(24);
    expect(await isOrdinalSupported(tpm, TPM_ORD.Seal)).toBe(true);
    expect(await isOrdinalSupported(tpm, 0x12345)).toBe(false);
    expect(await hasOwner(tpm)).toBe(true);
    expect(await readPermanentFlags(tpm)).toMatchObject({ disable: false, deactivated: false, nvLocked: true });
    expect(await readStclearFlags(tpm)).toMatchObject({ deactivated: false, bGlobalLock: false });
    expect(await readDaInfo(tpm, TPM_ET.OWNER)).toMatchObject({ state: 0, thresholdCount: 5 });
  });

  it('tests itself, gives random bytes and takes entropy', async () => {
    await tpm.execute(SelfTestFull, {});
    await tpm.execute(StirRandom, { inData: bytes(1, 2, 3) });
    const { randomBytes: random } = await tpm.execute(GetRandom, { bytesRequested: 32 });
    expect(random).toHaveLength(32);
  });

  it('reads, extends and resets PCRs', async () => {
    const before = (await readPcrs12(tpm, [16]))[16];
    const after = await extendPcr12(tpm, 16, new Uint8Array(20).fill(5));
    expect(after).toEqual(tpm.crypto.hash(4, before ?? bytes(), new Uint8Array(20).fill(5)));
    await resetPcrs12(tpm, [16]);
    expect((await readPcrs12(tpm, [16]))[16]).toEqual(new Uint8Array(20));
    await expect(resetPcrs12(tpm, [0])).rejects.toEqual(refused('TPM_NOTRESETABLE'));
    await expect(extendPcr12(tpm, 24, new Uint8Array(20))).rejects.toEqual(refused('TPM_BADINDEX'));
  });

  it('reads the endorsement and storage root keys for the owner alone', async () => {
    await expect(readEndorsementKey(tpm)).rejects.toEqual(refused('TPM_DISABLED_CMD'));
    await expect(readEndorsementKey(tpm, { owner: WRONG })).rejects.toEqual(refused('TPM_AUTHFAIL'));
    expect((await readEndorsementKey(tpm, { owner: OWNER })).pubKey).toHaveLength(256);
    expect((await readStorageRootKey(tpm, { owner: OWNER })).pubKey).toHaveLength(256);
    await tpm.execute(ResetLockValue, { ownerAuth: OWNER });
  });

  it('refuses a second owner', async () => {
    const endorsementKey = await readEndorsementKey(tpm, { owner: OWNER });
    const attempt = takeOwnership(tpm, { ownerSecret: SECRET, endorsementKey });
    await expect(attempt).rejects.toEqual(refused('TPM_OWNER_SET'));
  });

  it('seals and unseals, by a secret', async () => {
    const sealed = await seal12(tpm, srk(), { data: bytes(1, 2, 3), secret: SECRET });
    expect(await unseal12(tpm, srk(), sealed, { secret: SECRET })).toEqual(bytes(1, 2, 3));
    await expect(unseal12(tpm, srk(), sealed, { secret: WRONG })).rejects.toEqual(refused('TPM_AUTH2FAIL'));
    await expect(unseal12(tpm, srk(WRONG), sealed, { secret: SECRET })).rejects.toEqual(refused('TPM_AUTHFAIL'));
    const other = await changeSealedSecret(tpm, srk(), sealed, { oldSecret: SECRET, newSecret: WRONG });
    expect(await unseal12(tpm, srk(), other, { secret: WRONG })).toEqual(bytes(1, 2, 3));
    await tpm.execute(ResetLockValue, { ownerAuth: OWNER });
  });

  it('seals to PCRs, and gives nothing back when they change', async () => {
    const sealed = await seal12(tpm, srk(), { data: bytes(4), binding: { pcrs: [10, 11] } });
    expect('tag' in sealed).toBe(false);
    expect(await unseal12(tpm, srk(), sealed)).toEqual(bytes(4));
    await extendPcr12(tpm, 10, new Uint8Array(20));
    await expect(unseal12(tpm, srk(), sealed)).rejects.toEqual(refused('TPM_WRONGPCRVAL'));
    const values = { ...(await readPcrs12(tpm, [11])), 10: new Uint8Array(20) };
    const future = await seal12(tpm, srk(), { data: bytes(5), binding: { pcrs: values } });
    await expect(unseal12(tpm, srk(), future)).rejects.toEqual(refused('TPM_WRONGPCRVAL'));
  });

  it('seals to PCRs and localities, and gives nothing back from another', async () => {
    const sealed = await seal12(tpm, srk(), { data: bytes(6), binding: { pcrs: [17], localities: [2, 3] } });
    expect('tag' in sealed).toBe(true);
    await expect(unseal12(tpm, srk(), sealed)).rejects.toEqual(refused('TPM_BAD_LOCALITY'));
    await transport.control.setLocality(2);
    expect(await unseal12(tpm, srk(), sealed)).toEqual(bytes(6));
    await transport.control.setLocality(0);
  });

  it('refuses sealed data that were damaged', async () => {
    const sealed = await seal12(tpm, srk(), { data: bytes(7) });
    const encData = sealed.encData.slice();
    encData[100] = (encData[100] ?? 0) ^ 1;
    await expect(unseal12(tpm, srk(), { ...sealed, encData })).rejects.toBeInstanceOf(TpmError);
  });

  it('creates and loads signing keys, and frees their place', async () => {
    const key = await createKey12(tpm, srk(), { secret: SECRET });
    await using loaded = await loadKey12(tpm, srk(), key, { secret: SECRET });
    expect(await readHandles(tpm, TPM_RT.KEY)).toEqual([loaded.handle]);
    expect(await readPubkey(tpm, loaded)).toEqual(pubkeyOf(key));
    const message = new TextEncoder().encode('message');
    const signature = await sign12(tpm, loaded, tpm.crypto.hash(4, message));
    expect(verifySignature12(pubkeyOf(key), message, signature)).toBe(true);
    expect(verifySignature12(pubkeyOf(key), message, signature, nodeCrypto)).toBe(true);
    expect(verifySignature12(pubkeyOf(key), bytes(1), signature)).toBe(false);
    await expect(sign12(tpm, { ...loaded, secret: WRONG }, new Uint8Array(20))).rejects.toEqual(
      refused('TPM_AUTHFAIL'),
    );
    const changed = await changeKeySecret(tpm, srk(), key, { oldSecret: SECRET, newSecret: WRONG });
    await using again = await loadKey12(tpm, srk(), changed, { secret: WRONG });
    expect(await sign12(tpm, again, tpm.crypto.hash(4, message))).toEqual(signature);
    await tpm.execute(ResetLockValue, { ownerAuth: OWNER });
  });

  it('takes a key out in both ways that the specification has', async () => {
    const key = await createKey12(tpm, srk(), {});
    const first = await loadKey12(tpm, srk(), key);
    await tpm.execute(EvictKey, { evictHandle: first.handle });
    const second = await loadKey12(tpm, srk(), key);
    await tpm.execute(FlushSpecific, { handle: second.handle, resourceType: TPM_RT.KEY });
    await expect(tpm.execute(EvictKey, { evictHandle: second.handle })).rejects.toEqual(
      refused('TPM_INVALID_KEYHANDLE'),
    );
  });

  it('uses a key whose use is bound to PCRs only with these', async () => {
    const key = await createKey12(tpm, srk(), { binding: { pcrs: [12] } });
    await using loaded = await loadKey12(tpm, srk(), key);
    await sign12(tpm, loaded, new Uint8Array(20));
    await extendPcr12(tpm, 12, new Uint8Array(20));
    await expect(sign12(tpm, loaded, new Uint8Array(20))).rejects.toEqual(refused('TPM_WRONGPCRVAL'));
  });

  it('decrypts what was bound offline, under a storage key of its own', async () => {
    const parentKey = await createKey12(tpm, srk(), { kind: 'storage', secret: SECRET });
    await using parent = await loadKey12(tpm, srk(), parentKey, { secret: SECRET });
    const key = await createKey12(tpm, parent, { kind: 'binding', secret: WRONG });
    await using loaded = await loadKey12(tpm, parent, key, { secret: WRONG });
    for (const crypto of [tpm.crypto, nodeCrypto]) {
      expect(await unbind12(tpm, loaded, bind12(pubkeyOf(key), bytes(8, 9), crypto))).toEqual(bytes(8, 9));
    }
    await expect(unbind12(tpm, loaded, new Uint8Array(256))).rejects.toEqual(refused('TPM_DECRYPT_ERROR'));
  });

  it('quotes PCRs, and anybody can check it', async () => {
    const identity = await makeIdentity(tpm, { owner: OWNER, label: 'quotes', secret: SECRET });
    await using aik = await loadKey12(tpm, srk(), identity.key, { secret: SECRET });
    const fresh = nonce();
    const values = await readPcrs12(tpm, [0, 10, 17]);
    const quote = await quote12(tpm, aik, { nonce: fresh, pcrs: [0, 10, 17] });
    const key = pubkeyOf(identity.key);
    expect(verifyQuote12(key, quote, fresh)).toEqual({ ok: true, pcrs: values });
    expect(verifyQuote12(key, quote, fresh, nodeCrypto)).toEqual({ ok: true, pcrs: values });
    expect(verifyQuote12(key, quote, nonce())).toEqual({ ok: false, problem: 'signature' });
    const [, ...rest] = quote.pcrData.pcrValue;
    const lie = { ...quote, pcrData: { ...quote.pcrData, pcrValue: [new Uint8Array(20).fill(1), ...rest] } };
    expect(verifyQuote12(key, lie, fresh).ok).toBe(false);
    const fewer = { ...quote, pcrData: { ...quote.pcrData, pcrValue: rest } };
    expect(verifyQuote12(key, fewer, fresh)).toEqual({ ok: false, problem: 'pcr-values' });
  });

  it('quotes locality and version too', async () => {
    const identity = await makeIdentity(tpm, { owner: OWNER, label: 'quotes' });
    await using aik = await loadKey12(tpm, srk(), identity.key);
    const fresh = nonce();
    const key = pubkeyOf(identity.key);
    const plain = await quote212(tpm, aik, { nonce: fresh, pcrs: [0, 10] });
    expect(verifyQuote212(key, plain, fresh)).toMatchObject({
      ok: true,
      locality: 1,
      pcrs: await readPcrs12(tpm, [0, 10]),
    });
    await transport.control.setLocality(3);
    const full = await quote212(tpm, aik, { nonce: fresh, pcrs: [0], version: true });
    await transport.control.setLocality(0);
    expect(verifyQuote212(key, full, fresh)).toMatchObject({ ok: true, locality: 8, version: await readVersion(tpm) });
    expect(verifyQuote212(key, full, nonce()).ok).toBe(false);
    const lie = { ...full, values: { 0: new Uint8Array(20).fill(1) } };
    expect(verifyQuote212(key, lie, fresh)).toEqual({ ok: false, problem: 'pcr-values' });
  });

  it('makes an identity that a CA activates, on this TPM and no other', async () => {
    const endorsementKey = await readEndorsementKey(tpm, { owner: OWNER });
    const privacyCa = endorsementKey; // any public key will do for a name
    const identity = await makeIdentity(tpm, { owner: OWNER, label: 'device', privacyCa, secret: SECRET });
    const publicKey = pubkeyOf(identity.key);
    expect(verifyIdentity({ publicKey, binding: identity.binding, label: 'device', privacyCa })).toBe(true);
    expect(verifyIdentity({ publicKey, binding: identity.binding, label: 'other', privacyCa })).toBe(false);
    await using aik = await loadKey12(tpm, srk(), identity.key, { secret: SECRET });
    const credential = new Uint8Array(randomBytes(700));
    for (const cipher of ['aes-128-cbc', 'aes-128-ctr'] as const) {
      const activation = buildActivation({ endorsementKey, identityKey: publicKey, credential, cipher }, nodeCrypto);
      expect(await activateIdentity(tpm, aik, activation, { owner: OWNER })).toEqual(credential);
    }
    const foreign = { endorsementKey, identityKey: await readStorageRootKey(tpm, { owner: OWNER }), credential };
    const forOther = activateIdentity(tpm, aik, buildActivation(foreign), { owner: OWNER });
    await expect(forOther).rejects.toEqual(refused('TPM_BAD_PARAMETER'));
  });

  it('defines, writes, reads and removes NV indexes, by owner and by their own secret', async () => {
    const own = { index: 0x1500, size: 700, permission: TPM_NV_PER.AUTHREAD | TPM_NV_PER.AUTHWRITE };
    await nvDefine12(tpm, { ...own, secret: SECRET, owner: OWNER });
    const data = new Uint8Array(randomBytes(700));
    await nvWrite12(tpm, 0x1500, data, { secret: SECRET });
    expect(await nvRead12(tpm, 0x1500, { secret: SECRET })).toEqual(data);
    expect(await nvRead12(tpm, 0x1500, { secret: SECRET, offset: 600, size: 10 })).toEqual(data.slice(600, 610));
    await expect(nvRead12(tpm, 0x1500, { secret: WRONG })).rejects.toEqual(refused('TPM_AUTHFAIL'));
    await expect(nvRead12(tpm, 0x1500, { owner: OWNER })).rejects.toEqual(refused('TPM_AUTH_CONFLICT'));
    const owners = { index: 0x1501, size: 4, permission: TPM_NV_PER.OWNERREAD | TPM_NV_PER.OWNERWRITE };
    await nvDefine12(tpm, { ...owners, owner: OWNER });
    await nvWrite12(tpm, 0x1501, bytes(1, 2, 3, 4), { owner: OWNER });
    expect(await nvRead12(tpm, 0x1501, { owner: OWNER })).toEqual(bytes(1, 2, 3, 4));
    expect(await readNvIndexes(tpm)).toEqual(expect.arrayContaining([0x1500, 0x1501]));
    expect(await readNvPublic(tpm, 0x1501)).toMatchObject({ dataSize: 4, permission: { attributes: 0x20002 } });
    for (const index of [0x1500, 0x1501]) await nvRelease12(tpm, index, { owner: OWNER });
    await expect(readNvPublic(tpm, 0x1500)).rejects.toEqual(refused('TPM_BADINDEX'));
    await tpm.execute(ResetLockValue, { ownerAuth: OWNER });
  });

  it('binds NV indexes to PCRs and localities', async () => {
    const binding = { pcrs: [15], localities: [2] };
    await nvDefine12(tpm, { index: 0x15213, size: 20, permission: 0, read: binding, write: binding, owner: OWNER });
    await expect(nvWrite12(tpm, 0x15213, new Uint8Array(20))).rejects.toEqual(refused('TPM_BAD_LOCALITY'));
    await transport.control.setLocality(2);
    await nvWrite12(tpm, 0x15213, new Uint8Array(20).fill(3));
    expect(await nvRead12(tpm, 0x15213)).toEqual(new Uint8Array(20).fill(3));
    await extendPcr12(tpm, 15, new Uint8Array(20));
    await expect(nvRead12(tpm, 0x15213)).rejects.toEqual(refused('TPM_WRONGPCRVAL'));
    await transport.control.setLocality(0);
    await nvRelease12(tpm, 0x15213, { owner: OWNER });
  });

  it('reuses sessions: their nonces roll, and their end is noticed', async () => {
    const sealed = await seal12(tpm, srk(), { data: bytes(1), secret: SECRET });
    await using oiap = await tpm.openOiap();
    await using osap = await tpm.openOsap('owner', OWNER);
    for (let i = 0; i < 3; i++) {
      expect((await readEndorsementKey(tpm, { owner: osap })).pubKey).toHaveLength(256);
      expect((await readEndorsementKey(tpm, { owner: oiap.with(OWNER) })).pubKey).toHaveLength(256);
    }
    expect([oiap.alive, osap.alive]).toEqual([true, true]);
    await expect(readEndorsementKey(tpm, { owner: oiap.with(WRONG) })).rejects.toEqual(refused('TPM_AUTHFAIL'));
    expect(oiap.alive).toBe(false);
    await expect(readEndorsementKey(tpm, { owner: oiap.with(OWNER) })).rejects.toThrow('the session has ended');
    await expect(unseal12(tpm, { ...srk(), secret: undefined }, sealed)).rejects.toBeInstanceOf(TpmError);
    await tpm.execute(ResetLockValue, { ownerAuth: OWNER });
  });

  it('serves many callers at once', async () => {
    const sealed = await seal12(tpm, srk(), { data: bytes(42) });
    const results = await Promise.all(Array.from({ length: 20 }, () => unseal12(tpm, srk(), sealed)));
    expect(results.every((result) => result[0] === 42)).toBe(true);
  });

  it('catches a response that was changed or is an earlier one', async () => {
    const attack = { change: (response: Uint8Array) => response };
    const victim = new Tpm12(
      intercepted(transport, (response, ordinal) => (ordinal === TPM_ORD.Unseal ? attack.change(response) : response)),
    );
    const sealed = await seal12(victim, srk(), { data: bytes(1, 2, 3) });
    attack.change = (response) => response.with(14, (response[14] ?? 0) ^ 1);
    await expect(unseal12(victim, srk(), sealed)).rejects.toMatchObject({ code: 'integrity' });
    let earlier: Uint8Array | undefined;
    attack.change = (response) => {
      earlier = response;
      return response;
    };
    await unseal12(victim, srk(), sealed);
    attack.change = () => earlier ?? bytes();
    await expect(unseal12(victim, srk(), sealed)).rejects.toMatchObject({ code: 'integrity' });
    attack.change = (response) => response.subarray(0, 20);
    await expect(unseal12(victim, srk(), sealed)).rejects.toMatchObject({ code: 'decode' });
    expect(await unseal12(tpm, srk(), sealed)).toEqual(bytes(1, 2, 3));
  });

  it('says that the TPM is locked after wrong guesses, until the owner resets it', async () => {
    const guess = () => readEndorsementKey(tpm, { owner: WRONG });
    const outcomes: (string | undefined)[] = [];
    for (let i = 0; i < 8; i++) {
      outcomes.push(
        await guess().then(
          () => 'success',
          (error: TpmError) => error.response?.name,
        ),
      );
    }
    expect(outcomes[0]).toBe('TPM_AUTHFAIL');
    expect(outcomes.at(-1)).toBe('TPM_DEFEND_LOCK_RUNNING');
    expect(await readHandles(tpm, TPM_RT.AUTH)).toEqual([]);
    await expect(readEndorsementKey(tpm, { owner: OWNER })).rejects.toMatchObject({
      response: { severity: 'warning' },
    });
    await tpm.execute(ResetLockValue, { ownerAuth: OWNER });
    expect((await readEndorsementKey(tpm, { owner: OWNER })).pubKey).toHaveLength(256);
  });

  it('refuses what cannot be before anything is sent', async () => {
    await expect(unseal12(tpm, srk(bytes(1)), await seal12(tpm, srk(), { data: bytes(1) }))).rejects.toMatchObject({
      code: 'usage',
    });
    const request = { nvIndex: 0, offset: -1, data: bytes() };
    await expect(tpm.execute(NvWriteValue, request)).rejects.toMatchObject({ code: 'bad-input' });
  });

  it('saves its state and comes back with its PCRs', async () => {
    await extendPcr12(tpm, 9, new Uint8Array(20).fill(1));
    const before = await readPcrs12(tpm, [9]);
    await tpm.execute(SaveState, {});
    await transport.control.initialize();
    await startup12(tpm, 'state');
    expect(await readPcrs12(tpm, [9])).toEqual(before);
  });

  it('changes the secrets of owner and storage root key, and ends ownership both ways', async () => {
    await changeOwnerSecret(tpm, { owner: OWNER, newSecret: SECRET });
    await changeOwnerSecret(tpm, { owner: SECRET, newSecret: WRONG, of: 'srk' });
    const sealed = await seal12(tpm, srk(WRONG), { data: bytes(1) });
    expect(await unseal12(tpm, srk(WRONG), sealed)).toEqual(bytes(1));
    await clearOwner(tpm, { owner: SECRET });
    expect(await hasOwner(tpm)).toBe(false);
    await enable12(tpm);
    await transport.control.initialize();
    await startup12(tpm);
    await expect(createEndorsementKey(tpm)).rejects.toBeInstanceOf(TpmError);
    await takeOwnership(tpm, { ownerSecret: OWNER });
    await expect(unseal12(tpm, srk(), sealed)).rejects.toBeInstanceOf(TpmError);
    await assertPhysicalPresence(tpm);
    await forceClear(tpm);
    expect(await hasOwner(tpm)).toBe(false);
  });
});
