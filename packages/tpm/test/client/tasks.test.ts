/** What people do with a TPM, as plain functions, against swtpm; OpenSSL judges keys and signatures. */
import { createPublicKey, verify } from 'node:crypto';
import { decode, encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type AnyCommand,
  activateCredential,
  akTemplate,
  certify,
  commandByCode,
  createKey,
  createPrimary,
  type EkKind,
  ekTemplate,
  extendPcr,
  FlushContext,
  GetCapability,
  HashSequenceStart,
  type KeyKind,
  loadKey,
  loadPublic,
  makeCredential,
  nameOf,
  nobleCrypto,
  nvDefine,
  nvExtend,
  nvIncrement,
  nvLock,
  nvRead,
  nvReadNumber,
  nvReadPublic,
  nvSetBits,
  nvUndefine,
  nvWrite,
  openNv,
  openObject,
  orderedPcrValues,
  PolicyCommandCode,
  PolicyCounterTimer,
  password,
  pcrBanks,
  persist,
  publicKeyOf,
  publicKeySpki,
  quote,
  ReadPublic,
  readEkCertificate,
  readPcrs,
  SequenceUpdate,
  seal,
  sealLarge,
  signatureToDer,
  signingKeyTemplate,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CAP,
  TPM_CC,
  TPM_EO,
  TPM_RC,
  TPM_RH,
  TPM_ST,
  TPMA_CC,
  TPMA_NV,
  Tpm,
  type TpmObject,
  TpmsAttest,
  type TpmtPublic,
  TpmtSignature,
  tpmSigner,
  unpersist,
  unseal,
  unsealLarge,
  verifyAttestSignature,
  verifySignature,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, relaxLockout, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const NONCE = utf8('a nonce of the verifier');

/** A TPMA_CC put together from what the command says of itself. */
function attributesOf(command: AnyCommand | undefined): number | undefined {
  if (command === undefined) return undefined;
  const { code, effects, handles, responseHandles } = command;
  const bits = (['nv', 'extensive', 'flushed'] as const).filter((effect) => effects[effect]);
  const returned = responseHandles.length === 0 ? 0 : TPMA_CC.rHandle;
  return bits.reduce((all, bit) => all | TPMA_CC[bit], code | (handles.length << 25) | returned);
}

describeWith(['swtpm'], 'tasks with swtpm', () => {
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

  describe('PCRs', () => {
    it('are read from several banks at once, more than one response holds', async () => {
      const all = Array.from({ length: 24 }, (_, i) => i);
      const values = await readPcrs(tpm, { sha1: [0], sha256: all, sha512: [23] });
      expect(Object.keys(values.sha256 ?? {}).map(Number)).toEqual(all);
      expect(orderedPcrValues(values).map((value) => value.length)).toEqual([20, ...all.map(() => 32), 64]);
    });

    it('are extended in all banks', async () => {
      expect(await pcrBanks(tpm)).toEqual(['sha1', 'sha256', 'sha384', 'sha512']);
      const digest = nodeCrypto.hash(TPM_ALG.SHA256, utf8('event'));
      const before = (await readPcrs(tpm, { sha256: [9] })).sha256?.[9] ?? new Uint8Array(0);
      await extendPcr(tpm, 9, { sha256: digest, sha1: new Uint8Array(20) });
      const after = await readPcrs(tpm, { sha256: [9], sha1: [9] });
      expect(after.sha256?.[9]).toEqual(nodeCrypto.hash(TPM_ALG.SHA256, before, digest));
      expect(after.sha1?.[9]).toEqual(nodeCrypto.hash(TPM_ALG.SHA1, new Uint8Array(40)));
    });

    it('are refused outside 0 to 23 and in banks that do not exist', async () => {
      await expect(readPcrs(tpm, { sha256: [24] })).rejects.toMatchObject({ code: 'usage' });
      await expect(readPcrs(tpm, { md5: [0] } as object)).rejects.toMatchObject({ code: 'usage' });
      const short = extendPcr(tpm, 9, { sha256: new Uint8Array(31) });
      await expect(short).rejects.toMatchObject({ name: 'WireError', code: 'bad-input' });
    });
  });

  it('explains refusals by what the TPM means with them', async () => {
    const meaning = (explanation: RegExp) => ({ response: { explanation: expect.stringMatching(explanation) } });
    const { sequenceHandle } = await tpm.execute(HashSequenceStart, { auth: utf8(''), hashAlg: TPM_ALG.SHA256 });
    const read = tpm.execute(ReadPublic, { objectHandle: sequenceHandle });
    await expect(read).rejects.toMatchObject(meaning(/takes no sequence/));
    await tpm.execute(FlushContext, { flushHandle: sequenceHandle });
    await using key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    const update = tpm.execute(SequenceUpdate, { sequenceHandle: key, buffer: NONCE });
    await expect(update).rejects.toMatchObject(meaning(/handle is no sequence/));
    await using policy = await startSession(tpm, { type: 'policy' });
    const comparison = { operandB: new Uint8Array(8), offset: 0, operation: TPM_EO.EQ };
    const compared = tpm.execute(PolicyCounterTimer, { policySession: policy.handle, ...comparison });
    await expect(compared).rejects.toMatchObject(meaning(/comparison/));
    const unknown = tpm.execute(PolicyCommandCode, { policySession: policy.handle, code: 0x1ff });
    await expect(unknown).rejects.toMatchObject(meaning(/does not have/));
  });

  it('has every command of the TPM with the effects and handles that the TPM tells of', async () => {
    const all = { capability: TPM_CAP.COMMANDS, property: TPM_CC.FIRST, propertyCount: 254 };
    const { moreData, capabilityData } = await tpm.execute(GetCapability, all);
    expect(moreData).toBe(false);
    const theirs = capabilityData.capability === TPM_CAP.COMMANDS ? capabilityData.data : [];
    expect(theirs.length).toBeGreaterThan(100);
    const ours = theirs.map((attributes) => attributesOf(commandByCode.get(attributes & TPMA_CC.commandIndex)));
    expect(ours).toEqual(theirs);
  });

  describe('keys', () => {
    const kinds: readonly KeyKind[] = ['rsa-2048', 'ecc-p256', 'ecc-p384', 'ecc-p521'];

    it.each(kinds)(
      'sign from a template of %s, as OpenSSL finds right',
      async (kind) => {
        for (const template of [signingKeyTemplate(kind), akTemplate(kind)]) {
          await using key = await createPrimary(tpm, { template, hierarchy: 'null' });
          const signer = tpmSigner(tpm, key);
          const publicKey = createPublicKey({ key: Buffer.from(signer.publicKey), format: 'der', type: 'spki' });
          const hash = signer.algorithm.split('-').at(-1) ?? '';
          for (const size of [4, 5, 1024, 1025, 3000]) {
            const data = nodeCrypto.random(size);
            expect(verify(hash, data, publicKey, await signer.sign(data))).toBe(true);
          }
        }
      },
      60_000,
    );

    it('name their algorithm as certificates and CMS need it', async () => {
      await using ecc = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p384') });
      expect(tpmSigner(tpm, ecc).algorithm).toBe('ecdsa-p384-sha384');
      const { parameters } = signingKeyTemplate('rsa-2048');
      const foreign = { scheme: TPM_ALG.RSAPSS, details: { hashAlg: TPM_ALG.SHA3_256 } };
      const area = { ...signingKeyTemplate('rsa-2048'), parameters: { ...parameters, scheme: foreign } } as TpmtPublic;
      const attempt = () => tpmSigner(tpm, { ...ecc, public: area } as TpmObject);
      expect(attempt).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringContaining('0x27') }));
      const scheme = { scheme: TPM_ALG.RSAPSS, details: { hashAlg: TPM_ALG.SHA256 } };
      const template = { ...signingKeyTemplate('rsa-2048'), parameters: { ...parameters, scheme } } as TpmtPublic;
      await using pss = await createPrimary(tpm, { template });
      const signer = tpmSigner(tpm, pss);
      expect(signer.algorithm).toBe('rsapss-2048-sha256');
      const key = { ...publicKeyOf(pss.public) };
      const signature = { scheme: 'rsapss', hash: TPM_ALG.SHA256, signature: await signer.sign(NONCE) } as const;
      expect(nobleCrypto.verify(key, signature, NONCE)).toBe(true);
      expect(nodeCrypto.verify(key, signature, NONCE)).toBe(true);
    });

    it('that are restricted refuse to sign what looks like a statement of the TPM', async () => {
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256') });
      const forged = Uint8Array.of(0xff, 0x54, 0x43, 0x47, 0x80, 0x18);
      await expect(tpmSigner(tpm, ak).sign(forged)).rejects.toMatchObject({ code: 'usage' });
      await expect(tpmSigner(tpm, ak).sign(utf8('abc'))).rejects.toMatchObject({ code: 'usage' });
      await using storage = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      expect(() => tpmSigner(tpm, storage)).toThrow(expect.objectContaining({ code: 'usage' }));
    });

    it('are created under a parent, loaded, made persistent, opened again and deleted', async () => {
      await using srk = await createPrimary(tpm, { template: srkTemplate('rsa-2048') });
      const wrapped = await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256'), auth: 'key' });
      await using key = await loadKey(tpm, srk, wrapped, { auth: 'key' });
      expect(key.name).toEqual(nameOf(wrapped.public));
      const kept = await persist(tpm, key, 0x81000100);
      await key.flush();
      const opened = await openObject(tpm, 0x81000100, { auth: 'key' });
      expect(opened.public).toEqual(kept.public);
      expect(opened.name).toEqual(kept.name);
      expect(await tpmSigner(tpm, opened).sign(NONCE)).toBeInstanceOf(Uint8Array);
      await opened.flush();
      await unpersist(tpm, opened);
      await expect(openObject(tpm, 0x81000100)).rejects.toMatchObject({ response: { number: TPM_RC.HANDLE } });
    });

    it('derive again from the same template, and free their place once', async () => {
      const first = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      await first.flush();
      await first.flush();
      await using second = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      expect(second.name).toEqual(first.name);
    });

    it('that are public only are loaded to check signatures', async () => {
      await using key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
      await using external = await loadPublic(tpm, key.public);
      expect(external.name).toEqual(key.name);
    });
  });

  describe('sealing', () => {
    it.each(['ecc-p256', 'rsa-2048'] as const)('gives data back under a parent of %s', async (kind) => {
      await using srk = await createPrimary(tpm, { template: srkTemplate(kind) });
      for (const size of [1, 128]) {
        const data = nodeCrypto.random(size);
        const sealed = await seal(tpm, { parent: srk, data, auth: 'value' });
        expect(await unseal(tpm, { parent: srk, sealed, auth: 'value' })).toEqual(data);
        await expect(unseal(tpm, { parent: srk, sealed, auth: 'other' })).rejects.toMatchObject({ code: 'response' });
      }
    });

    it('keeps the authorisation of a parent that has one of its own', async () => {
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256'), auth: 'parent' });
      const parent = { ...srk, auth: password('parent') };
      const sealed = await seal(tpm, { parent, data: NONCE });
      expect(await unseal(tpm, { parent, sealed })).toEqual(NONCE);
      await expect(seal(tpm, { parent: { ...srk, authValue: utf8('no') }, data: NONCE })).rejects.toMatchObject({
        code: 'response',
      });
    });

    it('refuses more than 128 bytes, and a blob that was changed', async () => {
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      for (const size of [0, 129]) {
        const wrong = seal(tpm, { parent: srk, data: new Uint8Array(size) });
        await expect(wrong).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining('sealLarge') });
      }
      const sealed = await seal(tpm, { parent: srk, data: NONCE });
      const changed = { ...sealed, private: sealed.private.map((byte, i) => (i === 60 ? byte ^ 1 : byte)) };
      const attempt = unseal(tpm, { parent: srk, sealed: changed });
      await expect(attempt).rejects.toMatchObject({ response: { number: TPM_RC.INTEGRITY } });
    });
  });

  it('sealing takes data of any length under a fresh key, and notices when they change', async () => {
    await using parent = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    const policy = [{ type: 'pcr', values: await readPcrs(tpm, { sha256: [10] }) }] as const;
    for (const size of [0, 1, 129, 100_000]) {
      const data = nodeCrypto.random(size);
      const sealed = await sealLarge(tpm, { parent, data, policy });
      expect(await unsealLarge(tpm, { parent, sealed, policy })).toEqual(data);
      const encrypted = sealed.encrypted.map((byte, i) => (i === size ? byte ^ 1 : byte));
      const changed = unsealLarge(tpm, { parent, sealed: { ...sealed, encrypted }, policy });
      await expect(changed).rejects.toMatchObject({ code: 'integrity' });
    }
  });

  describe('attestation', () => {
    it.each(['ecc-p256', 'rsa-2048', 'ecc-p384'] as const)('by a key of %s is verified offline', async (kind) => {
      await using ak = await createPrimary(tpm, { template: akTemplate(kind), hierarchy: 'endorsement' });
      const { quoted, signature, pcrs } = await quote(tpm, ak, {
        nonce: NONCE,
        pcrs: { sha256: [0, 9, 16], sha1: [3] },
      });
      for (const crypto of [nodeCrypto, nobleCrypto]) {
        expect(verifyAttestSignature(ak.public, quoted, signature, crypto)).toBe(true);
        const other = quoted.map((byte, i) => (i === 20 ? byte ^ 1 : byte));
        expect(verifyAttestSignature(ak.public, other, signature, crypto)).toBe(false);
      }
      const attest = decode(TpmsAttest, quoted);
      expect(attest).toMatchObject({ type: TPM_ST.ATTEST_QUOTE, extraData: NONCE });
      expect(Object.keys(pcrs.sha256 ?? {})).toEqual(['0', '9', '16']);
    });

    it('is not believed under another key, another hash or without the mark of the TPM', async () => {
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
      await using free = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
      const { quoted, signature } = await quote(tpm, ak, { nonce: NONCE, pcrs: { sha256: [0] } });
      expect(verifyAttestSignature(free.public, quoted, signature)).toBe(false);
      const parsed = decode(TpmtSignature, signature);
      const renamed = { ...parsed, signature: { ...parsed.signature, hash: TPM_ALG.SHA384 } } as TpmtSignature;
      expect(verifyAttestSignature(ak.public, quoted, encode(TpmtSignature, renamed))).toBe(false);
      const { signWith } = await import('../../src/index.js');
      const plain = utf8('not a statement of the TPM');
      const signed = await signWith(tpm, free, plain);
      expect(verifySignature(free.public, plain, signed)).toBe(true);
      expect(verifyAttestSignature(free.public, plain, signed)).toBe(false);
    });

    it('certifies a key by its Name', async () => {
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
      await using key = await createPrimary(tpm, { template: signingKeyTemplate('rsa-2048') });
      const { certified, signature } = await certify(tpm, { object: key, signer: ak, nonce: NONCE });
      expect(verifyAttestSignature(ak.public, certified, signature)).toBe(true);
      expect(decode(TpmsAttest, certified).attested).toMatchObject({ name: key.name });
    });
  });

  describe('credentials', () => {
    const kinds: readonly EkKind[] = [
      'rsa-2048',
      'ecc-p256',
      'ecc-p256-high',
      'ecc-p384-high',
      'ecc-p521-high',
      'rsa-2048-high',
    ];

    it.each(kinds)(
      'made offline for an EK of %s are activated',
      async (kind) => {
        await using ek = await createPrimary(tpm, { template: ekTemplate(kind), hierarchy: 'endorsement' });
        await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256') });
        const secret = nodeCrypto.random(32);
        for (const crypto of [nodeCrypto, nobleCrypto]) {
          const credential = makeCredential(ek.public, ak.name, secret, crypto);
          expect(await activateCredential(tpm, { ek, ak, credential })).toEqual(secret);
        }
      },
      60_000,
    );

    it('for another key are refused by the TPM, and changed ones too', async () => {
      await using ek = await createPrimary(tpm, { template: ekTemplate('ecc-p256'), hierarchy: 'endorsement' });
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256') });
      const refused = { code: 'response', response: { number: TPM_RC.INTEGRITY } };
      const other = makeCredential(ek.public, ek.name, NONCE);
      await expect(activateCredential(tpm, { ek, ak, credential: other })).rejects.toMatchObject(refused);
      const right = makeCredential(ek.public, ak.name, NONCE);
      const credentialBlob = right.credentialBlob.map((byte, i) => (i === 40 ? byte ^ 1 : byte));
      const changed = { ...right, credentialBlob };
      await expect(activateCredential(tpm, { ek, ak, credential: changed })).rejects.toMatchObject(refused);
      expect(await activateCredential(tpm, { ek, ak, credential: right })).toEqual(NONCE);
    });

    it('are not made for signing keys, nor of secrets that are empty or too long', async () => {
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256') });
      expect(() => makeCredential(ak.public, ak.name, NONCE)).toThrow(expect.objectContaining({ code: 'usage' }));
      await using ek = await createPrimary(tpm, { template: ekTemplate('ecc-p256'), hierarchy: 'endorsement' });
      for (const size of [0, 33]) {
        const attempt = () => makeCredential(ek.public, ak.name, new Uint8Array(size));
        expect(attempt).toThrow(expect.objectContaining({ code: 'usage' }));
      }
    });
  });

  describe('NV indexes', () => {
    it('hold more bytes than one command carries', async () => {
      const index = await nvDefine(tpm, { index: 0x01800001, size: 2000 });
      const data = nodeCrypto.random(2000);
      await nvWrite(tpm, index, data);
      expect(await nvRead(tpm, 0x01800001)).toEqual(data);
      expect(await nvRead(tpm, index, { offset: 1990 })).toEqual(data.slice(1990));
      await nvWrite(tpm, index, Uint8Array.of(1, 2), { offset: 5, by: TPM_RH.OWNER });
      expect(await nvRead(tpm, index, { offset: 4, size: 4 })).toEqual(Uint8Array.of(data[4] ?? 0, 1, 2, data[7] ?? 0));
      await nvUndefine(tpm, index);
      await expect(nvReadPublic(tpm, 0x01800001)).rejects.toMatchObject({ response: { number: TPM_RC.HANDLE } });
    });

    it('keep their Name in step while sessions authorise: first write, lock', async () => {
      const index = await nvDefine(tpm, {
        index: 0x01800002,
        size: 8,
        authValue: 'value',
        attributes: TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.WRITE_STCLEAR | TPMA_NV.READ_STCLEAR | TPMA_NV.NO_DA,
      });
      await using session = await startSession(tpm, { type: 'hmac', bind: index, decrypt: true, encrypt: true });
      const authorised = index.withAuth(session);
      await nvWrite(tpm, authorised, utf8('12345678'));
      expect(await nvRead(tpm, authorised)).toEqual(utf8('12345678'));
      await nvLock(tpm, authorised, 'write');
      const locked = { response: { number: TPM_RC.NV_LOCKED } };
      await expect(nvWrite(tpm, authorised, utf8('x'))).rejects.toMatchObject(locked);
      expect((await nvReadPublic(tpm, index.handle)).name).toEqual(authorised.name);
      await nvLock(tpm, authorised, 'read');
      await expect(nvRead(tpm, authorised)).rejects.toMatchObject(locked);
      await nvUndefine(tpm, index);
    });

    it('count, collect bits and extend', async () => {
      const counter = await nvDefine(tpm, { index: 0x01800003, type: 'counter' });
      await nvIncrement(tpm, counter);
      const start = await nvReadNumber(tpm, counter);
      await nvIncrement(tpm, counter);
      expect(await nvReadNumber(tpm, counter)).toBe(start + 1n);
      const bits = await nvDefine(tpm, { index: 0x01800004, type: 'bits' });
      await nvSetBits(tpm, bits, 0x8000_0000_0000_0001n);
      await nvSetBits(tpm, bits, 2n);
      expect(await nvReadNumber(tpm, bits)).toBe(0x8000_0000_0000_0003n);
      const extended = await nvDefine(tpm, { index: 0x01800005, type: 'extend' });
      await nvExtend(tpm, extended, NONCE);
      expect(await nvRead(tpm, extended)).toEqual(nodeCrypto.hash(TPM_ALG.SHA256, new Uint8Array(32), NONCE));
      for (const index of [counter, bits, extended]) await nvUndefine(tpm, index);
    });

    it('give an error that names what the TPM blames', async () => {
      const index = await nvDefine(tpm, { index: 0x01800006, size: 4 });
      await expect(nvRead(tpm, index)).rejects.toMatchObject({ response: { name: 'TPM_RC_NV_UNINITIALIZED' } });
      await expect(nvDefine(tpm, { index: 0x01800006, size: 4 })).rejects.toMatchObject({
        response: { name: 'TPM_RC_NV_DEFINED' },
      });
      await nvUndefine(tpm, index);
    });

    it('carry the certificates of endorsement keys, which are read without what follows them', async () => {
      expect(await readEkCertificate(tpm, 'rsa-2048')).toBeUndefined();
      const certificate = Uint8Array.of(0x30, 0x82, 0x01, 0x00, ...nodeCrypto.random(256));
      const index = await nvDefine(tpm, { index: 0x01c0000a, size: 300, hierarchy: 'platform' });
      await nvWrite(tpm, index, Uint8Array.of(...certificate, ...new Uint8Array(40).fill(0xff)));
      expect(await readEkCertificate(tpm, 'ecc-p256')).toEqual(certificate);
      const again = await openNv(tpm, 0x01c0000a);
      await nvWrite(tpm, again, Uint8Array.of(4, 1, 2));
      await expect(readEkCertificate(tpm, 'ecc-p256')).rejects.toMatchObject({ code: 'decode' });
      await nvUndefine(tpm, again);
    });
  });
});

describe('public keys', () => {
  it('of objects without one are refused', () => {
    const keyedHash = {
      type: TPM_ALG.KEYEDHASH,
      nameAlg: TPM_ALG.SHA256,
      objectAttributes: 0,
      authPolicy: new Uint8Array(0),
      parameters: { scheme: { scheme: TPM_ALG.NULL } },
      unique: new Uint8Array(32),
    } as const;
    expect(() => publicKeySpki(keyedHash)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  it('and signatures that are cut off are refused with a place in the bytes', () => {
    expect(() => signatureToDer(Uint8Array.of(0, 0x18, 0, 0x0b, 0))).toThrow(
      expect.objectContaining({ code: 'truncated' }),
    );
  });
});
