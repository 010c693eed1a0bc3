/** NV indexes of every kind against swtpm: types, locks, who may do what, and listing. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  listHandles,
  NvIndex,
  nvChangeAuth,
  nvDefine,
  nvExtend,
  nvGlobalLock,
  nvIncrement,
  nvLock,
  nvRead,
  nvReadNumber,
  nvReadPin,
  nvReadPublic,
  nvSetBits,
  nvUndefine,
  nvUndefineSpecial,
  nvWrite,
  nvWritePin,
  openNv,
  PCR_BANKS,
  type PcrBank,
  type Policy,
  policyDigest,
  satisfyPolicy,
  startSession,
  TPM_CC,
  TPM_RC,
  TPM_RH,
  TPMA_NV,
  Tpm,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, relaxLockout, type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const refusedAs = (number: number) => ({ code: 'response', response: { number } });

describeWith(['swtpm'], 'NV indexes of swtpm', () => {
  let server: SwtpmServer;
  let tpm: Tpm;
  beforeAll(async () => {
    server = await startSwtpm();
    tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
    await relaxLockout(tpm);
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  const underPolicy = async (index: NvIndex, policy: Policy, work: (authorised: NvIndex) => Promise<unknown>) => {
    await using session = await startSession(tpm, { type: 'policy' });
    await satisfyPolicy(tpm, session, policy);
    await work(index.withAuth(session));
  };

  it.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)(
    'extend by the hash of their Name: %s',
    async (nameAlg: PcrBank) => {
      const index = await nvDefine(tpm, { index: 0x01800001, type: 'extend', nameAlg });
      await nvExtend(tpm, index, text('first'));
      await nvExtend(tpm, index, text('second'));
      const hash = (...parts: Uint8Array[]) => nodeCrypto.hash(PCR_BANKS[nameAlg], ...parts);
      const size = index.public.dataSize;
      expect(await nvRead(tpm, index)).toEqual(hash(hash(new Uint8Array(size), text('first')), text('second')));
      expect((await nvReadPublic(tpm, index.handle)).name).toEqual(index.name);
      await nvUndefine(tpm, index);
    },
  );

  it('that count PIN failures stop at the limit, and go on when the count is set back', async () => {
    const index = await nvDefine(tpm, { index: 0x01800002, type: 'pin-fail', authValue: '1234' });
    const owner = { by: TPM_RH.OWNER };
    await nvWritePin(tpm, index, { count: 0, limit: 2 }, owner);
    const wrong = new NvIndex(index.public, { authValue: text('0000'), hashes: nodeCrypto });
    for (let i = 0; i < 2; i++) await expect(nvRead(tpm, wrong)).rejects.toMatchObject({ code: 'response' });
    expect(await nvReadPin(tpm, index, owner)).toEqual({ count: 2, limit: 2 });
    await expect(nvRead(tpm, index)).rejects.toMatchObject({ code: 'response' });
    await nvWritePin(tpm, index, { count: 0, limit: 2 }, owner);
    expect(await nvReadPin(tpm, index)).toEqual({ count: 0, limit: 2 });
    await nvUndefine(tpm, index);
  });

  it('that count PIN successes are used up', async () => {
    const index = await nvDefine(tpm, { index: 0x01800003, type: 'pin-pass', authValue: '1234' });
    const owner = { by: TPM_RH.OWNER };
    await nvWritePin(tpm, index, { count: 0, limit: 2 }, owner);
    for (const count of [1, 2]) {
      await nvRead(tpm, index);
      expect(await nvReadPin(tpm, index, owner)).toEqual({ count, limit: 2 });
    }
    await expect(nvRead(tpm, index)).rejects.toMatchObject({ code: 'response' });
    await nvUndefine(tpm, index);
  });

  it('are written once and for all with WRITEDEFINE', async () => {
    const options = { index: 0x01800004, size: 4, extraAttributes: TPMA_NV.WRITEDEFINE };
    const index = await nvDefine(tpm, options);
    await nvWrite(tpm, index, text('once'));
    await nvLock(tpm, index, 'write');
    await expect(nvWrite(tpm, index, text('more'))).rejects.toMatchObject(refusedAs(TPM_RC.NV_LOCKED));
    expect(await nvRead(tpm, index)).toEqual(text('once'));
    await nvUndefine(tpm, index);
  });

  it('must be written whole with WRITEALL', async () => {
    const index = await nvDefine(tpm, { index: 0x01800005, size: 4, extraAttributes: TPMA_NV.WRITEALL });
    await expect(nvWrite(tpm, index, text('ab'))).rejects.toMatchObject(refusedAs(TPM_RC.NV_RANGE));
    await nvWrite(tpm, index, text('abcd'));
    await nvUndefine(tpm, index);
  });

  it('are locked for reading until the next restart with READ_STCLEAR', async () => {
    const index = await nvDefine(tpm, { index: 0x01800006, size: 4, extraAttributes: TPMA_NV.READ_STCLEAR });
    await nvWrite(tpm, index, text('read'));
    await nvLock(tpm, index, 'read');
    await expect(nvRead(tpm, index)).rejects.toMatchObject(refusedAs(TPM_RC.NV_LOCKED));
    expect((await nvReadPublic(tpm, index.handle)).name).toEqual(index.name);
    await nvUndefine(tpm, index);
  });

  it('with GLOBALLOCK are locked for writing together', async () => {
    const indexes = [];
    for (const handle of [0x01800007, 0x01800008]) {
      const index = await nvDefine(tpm, { index: handle, size: 4, extraAttributes: TPMA_NV.GLOBALLOCK });
      await nvWrite(tpm, index, text('free'));
      indexes.push(index);
    }
    const free = await nvDefine(tpm, { index: 0x01800009, size: 4 });
    await nvGlobalLock(tpm);
    for (const { handle } of indexes) {
      const index = await openNv(tpm, handle);
      expect(index.public.attributes & TPMA_NV.WRITELOCKED).not.toBe(0);
      await expect(nvWrite(tpm, index, text('more'))).rejects.toMatchObject(refusedAs(TPM_RC.NV_LOCKED));
      await nvUndefine(tpm, index);
    }
    await nvWrite(tpm, free, text('more'));
    await nvUndefine(tpm, free);
  });

  it('under a policy are read and written only under it', async () => {
    const policy: Policy = [{ type: 'pcr', values: { sha256: { 16: new Uint8Array(32) } } }];
    const attributes = TPMA_NV.POLICYREAD | TPMA_NV.POLICYWRITE | TPMA_NV.NO_DA;
    const digest = policyDigest(policy);
    const index = await nvDefine(tpm, { index: 0x0180000a, size: 2000, attributes, policy: digest });
    const data = nodeCrypto.random(2000);
    await expect(nvWrite(tpm, index, data)).rejects.toMatchObject({ code: 'response' });
    // Each command of a chunked transfer needs the policy anew, so a policy index is moved in parts of one buffer.
    for (let offset = 0; offset < data.length; offset += 1000) {
      const part = data.slice(offset, offset + 1000);
      await underPolicy(index, policy, async (by) => {
        await nvWrite(tpm, by, part, { offset });
        index.noteAttributes(TPMA_NV.WRITTEN);
      });
      await underPolicy(index, policy, async (by) => {
        expect(await nvRead(tpm, by, { offset, size: part.length })).toEqual(part);
      });
    }
    await expect(nvRead(tpm, index, { by: TPM_RH.OWNER })).rejects.toMatchObject({ code: 'response' });
    await nvUndefine(tpm, index);
  });

  it('may be written by the owner and read by anybody who knows the value, and not the other way round', async () => {
    const attributes = TPMA_NV.OWNERWRITE | TPMA_NV.AUTHREAD | TPMA_NV.NO_DA;
    const index = await nvDefine(tpm, { index: 0x0180000b, size: 4, attributes, authValue: 'value' });
    await expect(nvWrite(tpm, index, text('data'), { by: index })).rejects.toMatchObject(
      refusedAs(TPM_RC.AUTH_UNAVAILABLE),
    );
    await nvWrite(tpm, index, text('data'));
    expect(await nvRead(tpm, index)).toEqual(text('data'));
    const byOwner = nvRead(tpm, index, { by: TPM_RH.OWNER });
    await expect(byOwner).rejects.toMatchObject(refusedAs(TPM_RC.NV_AUTHORIZATION));
    await nvUndefine(tpm, index);
  });

  it("of the platform are the platform's to delete, or their policy's", async () => {
    const index = await nvDefine(tpm, { index: 0x01400001, size: 4, hierarchy: 'platform' });
    await nvWrite(tpm, index, text('data'), { by: TPM_RH.PLATFORM });
    await nvUndefine(tpm, index);
    const policy: Policy = [{ type: 'command-code', code: TPM_CC.NV_UndefineSpaceSpecial }];
    const kept = await nvDefine(tpm, {
      index: 0x01400002,
      size: 4,
      hierarchy: 'platform',
      policy: policyDigest(policy),
      extraAttributes: TPMA_NV.POLICY_DELETE,
    });
    await expect(nvUndefine(tpm, kept)).rejects.toMatchObject({ code: 'response' });
    await underPolicy(kept, policy, (authorised) => nvUndefineSpecial(tpm, authorised));
    await expect(nvReadPublic(tpm, 0x01400002)).rejects.toMatchObject(refusedAs(TPM_RC.HANDLE));
  });

  it('take another authorization value under a policy that says so', async () => {
    const policy: Policy = [{ type: 'command-code', code: TPM_CC.NV_ChangeAuth }];
    const digest = policyDigest(policy);
    const attributes = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA;
    const index = await nvDefine(tpm, { index: 0x0180000c, size: 4, attributes, policy: digest, authValue: 'old' });
    await nvWrite(tpm, index, text('data'));
    let changed: NvIndex | undefined;
    await underPolicy(index, policy, async (authorised) => {
      changed = await nvChangeAuth(tpm, authorised, 'new');
    });
    if (!changed) throw new Error('the value was not changed');
    expect(await nvRead(tpm, changed)).toEqual(text('data'));
    await expect(nvRead(tpm, index)).rejects.toMatchObject({ code: 'response' });
    await nvUndefine(tpm, index);
  });

  it('know whether they have been written, in policies and in their Name', async () => {
    const policy: Policy = [
      { type: 'nv-written', written: false },
      { type: 'command-code', code: TPM_CC.NV_Write },
    ];
    const attributes = TPMA_NV.POLICYWRITE | TPMA_NV.AUTHREAD | TPMA_NV.NO_DA;
    const index = await nvDefine(tpm, { index: 0x0180000d, size: 4, attributes, policy: policyDigest(policy) });
    const before = index.name;
    await underPolicy(index, policy, async (by) => {
      await nvWrite(tpm, by, text('once'));
      expect((await nvReadPublic(tpm, index.handle)).name).toEqual(by.name);
    });
    const written = await openNv(tpm, index.handle);
    expect(written.name).not.toEqual(before);
    await expect(underPolicy(written, policy, (by) => nvWrite(tpm, by, text('more')))).rejects.toMatchObject({
      code: 'response',
    });
    await nvUndefine(tpm, written);
  });

  it('count from above every counter before, and orderly ones too', async () => {
    const first = await nvDefine(tpm, { index: 0x0180000e, type: 'counter' });
    for (let i = 0; i < 3; i++) await nvIncrement(tpm, first);
    const highest = await nvReadNumber(tpm, first);
    await nvUndefine(tpm, first);
    const again = await nvDefine(tpm, { index: 0x0180000e, type: 'counter', extraAttributes: TPMA_NV.ORDERLY });
    await nvIncrement(tpm, again);
    expect(await nvReadNumber(tpm, again)).toBeGreaterThan(highest);
    const bits = await nvDefine(tpm, { index: 0x0180000f, type: 'bits' });
    await nvSetBits(tpm, bits, 1n << 63n);
    expect(await nvReadNumber(tpm, bits)).toBe(1n << 63n);
    for (const index of [again, bits]) await nvUndefine(tpm, index);
  });

  it('are listed', async () => {
    const handles = [0x01800011, 0x01800012, 0x01800100];
    for (const handle of handles) await nvDefine(tpm, { index: handle, size: 1 });
    expect(await listHandles(tpm, 'nv')).toEqual(handles);
    for (const handle of handles) await nvUndefine(tpm, await openNv(tpm, handle));
    expect(await listHandles(tpm, 'nv')).toEqual([]);
  });
});

describe('an index', () => {
  it('without a TPM has the Name of its public area', () => {
    const area = {
      nvIndex: 0x01800001,
      nameAlg: PCR_BANKS.sha256,
      attributes: TPMA_NV.AUTHREAD,
      authPolicy: new Uint8Array(0),
      dataSize: 4,
    };
    const index = new NvIndex(area, { authValue: new Uint8Array(0), hashes: nodeCrypto });
    const before = index.name;
    index.noteAttributes(TPMA_NV.WRITTEN);
    expect(index.name).not.toEqual(before);
  });
});
