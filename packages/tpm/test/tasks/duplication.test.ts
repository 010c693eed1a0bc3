/** Duplicate, import, rewrap and software objects: properties offline, then against swtpm; OpenSSL judges keys and signatures. */
import { createHmac, createPublicKey, createSign, generateKeyPairSync, verify } from 'node:crypto';
import { encode } from '@casemate/wire';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  createPrimary,
  type DuplicateObject,
  duplicate,
  EncryptDecrypt2,
  type InnerWrap,
  importObject,
  loadKey,
  loadPublic,
  loadSoftware,
  nameOf,
  type Policy,
  parsePrivateKey,
  policyDigest,
  privateKeyOf,
  publicKeySpki,
  rewrap,
  type SoftwareObject,
  satisfyPolicy,
  signingKeyTemplate,
  softwareAesKey,
  softwareHmacKey,
  softwareKey,
  softwareSealed,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CC,
  TPMA_OBJECT,
  Tpm,
  type TpmObject,
  TpmtPublic,
  tpmSigner,
  Unseal,
  unwrapDuplicate,
  wrapForImport,
} from '../../src/index.js';
import { nodeCrypto, nodeRecovery, privateKeyObject } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const INNERS: readonly (InnerWrap | undefined)[] = [undefined, { keyBits: 128 }, { key: new Uint8Array(32).fill(7) }];
/** swtpm refuses AES-192. */
const OFFLINE_INNERS = [...INNERS, { keyBits: 192 } as const];

const rsa = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits });
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const RSA_2048 = rsa(2048);
const P256 = ec('P-256');
const P384 = ec('P-384');

const pkcs8 = (key: { privateKey: import('node:crypto').KeyObject }): string =>
  key.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
const PARENTS = {
  rsa: softwareKey(parsePrivateKey(pkcs8(RSA_2048)), { use: 'storage' }),
  'P-256': softwareKey(parsePrivateKey(pkcs8(P256)), { use: 'storage' }),
  'P-384': softwareKey(parsePrivateKey(pkcs8(P384)), { use: 'storage', nameAlg: 'sha384' }),
};

describe('private keys', () => {
  it.each([
    ['RSA in PKCS #8', RSA_2048, 'pkcs8'],
    ['RSA in PKCS #1', RSA_2048, 'pkcs1'],
    ['P-256 in PKCS #8', P256, 'pkcs8'],
    ['P-256 in SEC 1', P256, 'sec1'],
    ['P-384 in SEC 1', P384, 'sec1'],
    ['P-521 in PKCS #8', ec('P-521'), 'pkcs8'],
  ] as const)('of %s are read from PEM and DER as OpenSSL writes them', (_, pair, type) => {
    const form = { type: type as 'pkcs8' };
    const parsed = parsePrivateKey(pair.privateKey.export({ ...form, format: 'pem' }) as string);
    expect(parsePrivateKey(new Uint8Array(pair.privateKey.export({ ...form, format: 'der' })))).toEqual(parsed);
    const { public: area } = softwareKey(parsed);
    expect(Buffer.from(publicKeySpki(area))).toEqual(pair.publicKey.export({ type: 'spki', format: 'der' }));
    expect(privateKeyObject(parsed).equals(pair.privateKey)).toBe(true);
  });

  it('that are cut off, or no keys, are refused with a typed error', () => {
    for (const pair of [RSA_2048, P256]) {
      const der = new Uint8Array(pair.privateKey.export({ format: 'der', type: 'pkcs8' }));
      for (let length = 0; length < der.length; length++) {
        expect(() => parsePrivateKey(der.slice(0, length))).toThrow(expect.objectContaining({ code: 'decode' }));
      }
    }
    expect(() => parsePrivateKey('-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----')).toThrow(
      expect.objectContaining({ code: 'decode' }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(() => parsePrivateKey(bytes)).toThrow(expect.objectContaining({ name: 'TpmError' }));
      }),
    );
  });
});

describe('objects of software', () => {
  it('are refused where a TPM could not hold them', () => {
    const usage = expect.objectContaining({ code: 'usage' });
    expect(() => softwareAesKey(new Uint8Array(17))).toThrow(usage);
    expect(() => softwareSealed(new Uint8Array(129))).toThrow(usage);
    expect(() => softwareHmacKey(new Uint8Array(0))).toThrow(usage);
    expect(() => softwareSealed(text('x'), { auth: 'a'.repeat(33) })).toThrow(usage);
    expect(() => softwareKey({ type: 'ecc', curve: 1, x: text('x'), y: text('y'), d: text('d') })).toThrow(usage);
    expect(() => privateKeyOf(softwareSealed(text('x')))).toThrow(usage);
  });

  it('wrapped without a TPM come out again, under any layers and for any parent', () => {
    const objects: readonly SoftwareObject[] = [
      PARENTS.rsa,
      softwareKey(parsePrivateKey(pkcs8(P256)), { auth: 'value' }),
      softwareAesKey(nodeCrypto.random(16)),
      softwareHmacKey(text('key'), { nameAlg: 'sha384' }),
      softwareSealed(text('data'), { policy: new Uint8Array(32) }),
    ];
    for (const parent of [undefined, ...Object.values(PARENTS)]) {
      for (const inner of OFFLINE_INNERS) {
        for (const object of objects) {
          const wrapped = wrapForImport(parent?.public, object, inner ? { inner } : {});
          const opened = unwrapDuplicate(wrapped, { ...(parent && { parent }), recovery: nodeRecovery });
          expect(opened).toEqual(object);
        }
      }
    }
  });

  it('come out of no other wrapping: every changed byte, another parent, another object or inner key is noticed', () => {
    const object = softwareSealed(text('data'));
    const parent = PARENTS['P-256'];
    const wrapped = wrapForImport(parent.public, object, { inner: { keyBits: 128 } });
    const open = (changed: DuplicateObject, other = parent) =>
      unwrapDuplicate(changed, { parent: other, recovery: nodeRecovery });
    const refused = expect.objectContaining({ name: expect.stringMatching(/^(TpmError|WireError)$/) });
    for (let i = 0; i < wrapped.duplicate.length; i++) {
      const bytes = wrapped.duplicate.map((byte, at) => (at === i ? byte ^ 1 : byte));
      expect(() => open({ ...wrapped, duplicate: bytes })).toThrow(refused);
      expect(() => open({ ...wrapped, duplicate: wrapped.duplicate.slice(0, i) })).toThrow(refused);
    }
    const integrity = expect.objectContaining({ code: 'integrity' });
    expect(() => open({ ...wrapped, public: softwareSealed(text('other')).public })).toThrow(integrity);
    expect(() => open({ ...wrapped, innerKey: new Uint8Array(16) })).toThrow(integrity);
    const otherParent = softwareKey(parsePrivateKey(pkcs8(ec('P-256'))), { use: 'storage' });
    expect(() => open(wrapped, otherParent)).toThrow(integrity);
    expect(() => unwrapDuplicate(wrapped)).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(() => wrapForImport(object.public, object)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describeWith(['swtpm'], 'duplication with swtpm', () => {
  let server: SwtpmServer;
  let tpm: Tpm;
  beforeAll(async () => {
    server = await startSwtpm();
    tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  describe('a software object wrapped for a known parent', () => {
    describe.each(['rsa-2048', 'rsa-3072', 'ecc-p256', 'ecc-p384'] as const)('of %s', (kind) => {
      let parent: TpmObject;
      beforeAll(async () => {
        parent = await createPrimary(tpm, { template: srkTemplate(kind) });
      }, 120_000);
      afterAll(() => parent?.flush());

      const load = async (object: SoftwareObject, inner: InnerWrap | undefined, auth?: string): Promise<TpmObject> => {
        const wrapped = wrapForImport(parent.public, object, inner ? { inner, crypto: nodeCrypto } : {});
        const imported = await importObject(tpm, parent, wrapped);
        return await loadKey(tpm, parent, imported, auth === undefined ? {} : { auth });
      };

      it.each([
        ['RSA 2048', RSA_2048],
        ['P-256', P256],
        ['P-384', P384],
      ])('is a key of %s that signs in the TPM as the software key does', async (_, pair) => {
        for (const inner of INNERS) {
          const object = softwareKey(parsePrivateKey(pkcs8(pair)), { auth: 'key' });
          await using key = await load(object, inner, 'key');
          expect(key.name).toEqual(nameOf(object.public));
          const signer = tpmSigner(tpm, key);
          const hash = signer.algorithm.split('-').at(-1) ?? '';
          const signature = await signer.sign(text('message'));
          expect(verify(hash, text('message'), pair.publicKey, signature)).toBe(true);
        }
      });

      it('is an AES key that encrypts in the TPM', async () => {
        const raw = nodeCrypto.random(32);
        for (const inner of INNERS) {
          await using key = await load(softwareAesKey(raw), inner);
          const ivIn = new Uint8Array(16).fill(1);
          const request = { keyHandle: key, inData: text('plain text'), decrypt: false, mode: TPM_ALG.CFB, ivIn };
          const { outData } = await tpm.execute(EncryptDecrypt2, request);
          expect(nodeCrypto.aesCfbDecrypt(raw, ivIn, outData)).toEqual(text('plain text'));
        }
      });

      it('is an HMAC key and sealed data', async () => {
        const { hmacWith } = await import('../../src/index.js');
        await using key = await load(softwareHmacKey(text('a key'), { hash: 'sha384' }), INNERS[1]);
        const expected = createHmac('sha384', 'a key').update('message').digest();
        expect(Buffer.from(await hmacWith(tpm, key, text('message')))).toEqual(expected);
        await using sealed = await load(softwareSealed(text('data'), { auth: 'open' }), undefined, 'open');
        expect((await tpm.execute(Unseal, { itemHandle: sealed })).outData).toEqual(text('data'));
      });
    });

    it('is not imported by another parent, nor with another inner key', async () => {
      await using parent = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      await using other = await createPrimary(tpm, { template: srkTemplate('rsa-2048') });
      const wrapped = wrapForImport(parent.public, softwareSealed(text('data')), { inner: { keyBits: 128 } });
      await expect(importObject(tpm, other, wrapped)).rejects.toMatchObject({ code: 'response' });
      const wrong = { ...wrapped, innerKey: new Uint8Array(16) };
      await expect(importObject(tpm, parent, wrong)).rejects.toMatchObject({ code: 'response' });
      await importObject(tpm, parent, wrapped);
    });
  });

  /** A key that may be duplicated, loaded under `parent`. */
  async function duplicable(parent: TpmObject, attributes = 0) {
    const policy: Policy = [{ type: 'command-code', code: TPM_CC.Duplicate }];
    const template: TpmtPublic = {
      ...signingKeyTemplate('ecc-p256'),
      objectAttributes: TPMA_OBJECT.sensitiveDataOrigin | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign | attributes,
      authPolicy: policyDigest(policy),
    };
    const key = await loadKey(tpm, parent, await createKey(tpm, parent, { template }));
    return { key, policy };
  }

  describe('a key of the TPM', () => {
    it.each(['rsa', 'P-256', 'P-384'] as const)(
      'is duplicated to a software parent of %s, which opens it and signs with it',
      async (kind) => {
        await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
        for (const inner of INNERS) {
          const { key, policy } = await duplicable(srk);
          await using newParent = await loadPublic(tpm, PARENTS[kind].public);
          await using session = await startSession(tpm, { type: 'policy' });
          await satisfyPolicy(tpm, session, policy);
          const object = { ...key, auth: session };
          const made = await duplicate(tpm, object, inner ? { newParent, inner } : { newParent });
          expect(made.innerKey !== undefined).toBe(inner !== undefined);
          const opened = unwrapDuplicate(made, { parent: PARENTS[kind], recovery: nodeRecovery });
          await key.flush();
          const signer = createSign('sha256').update('message');
          const signature = signer.sign(privateKeyObject(privateKeyOf(opened)));
          const spki = createPublicKey({ key: Buffer.from(publicKeySpki(key.public)), format: 'der', type: 'spki' });
          expect(verify('sha256', text('message'), spki, signature)).toBe(true);
        }
      },
    );

    it('is duplicated without an outer layer, imported elsewhere, and rewrapped in between', async () => {
      await using first = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      const { key, policy } = await duplicable(first);
      await using session = await startSession(tpm, { type: 'policy' });
      await satisfyPolicy(tpm, session, policy);
      const bare = await duplicate(tpm, { ...key, auth: session });
      expect(bare.encryptedSeed).toHaveLength(0);
      expect(unwrapDuplicate(bare).public).toEqual(key.public);
      await key.flush();
      // On with an outer layer for the first parent, from it to the second, and off again.
      const forFirst = await rewrap(tpm, bare, { newParent: first });
      await using second = await createPrimary(tpm, { template: srkTemplate('rsa-2048') });
      const forSecond = await rewrap(tpm, forFirst, { oldParent: first, newParent: second });
      const off = await rewrap(tpm, forSecond, { oldParent: second });
      expect(off.duplicate).toEqual(bare.duplicate);
      await using loaded = await loadKey(tpm, second, await importObject(tpm, second, forSecond));
      expect(loaded.name).toEqual(key.name);
      expect(await tpmSigner(tpm, loaded).sign(text('x'))).toBeInstanceOf(Uint8Array);
    });

    it('that demands both layers is not duplicated with fewer', async () => {
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      const { key, policy } = await duplicable(srk, TPMA_OBJECT.encryptedDuplication);
      await using session = await startSession(tpm, { type: 'policy' });
      await satisfyPolicy(tpm, session, policy);
      const object = { ...key, auth: session };
      await expect(duplicate(tpm, object)).rejects.toMatchObject({ code: 'response' });
      await key.flush();
    });

    it('is duplicated only to the parent that its policy selects', async () => {
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      const newParentName = nameOf(PARENTS['P-256'].public);
      const select = { type: 'duplication-select', objectName: new Uint8Array(0), newParentName } as const;
      const policy: Policy = [{ ...select, includeObject: false }];
      const authPolicy = policyDigest(policy);
      const template = { ...signingKeyTemplate('ecc-p256'), objectAttributes: 0x40060, authPolicy } as TpmtPublic;
      const key = await loadKey(tpm, srk, await createKey(tpm, srk, { template }));
      const parents = [PARENTS['P-256'], PARENTS['P-384']];
      const outcomes: string[] = [];
      for (const parent of parents) {
        await using newParent = await loadPublic(tpm, parent.public);
        await using session = await startSession(tpm, { type: 'policy' });
        await satisfyPolicy(tpm, session, [{ ...select, objectName: key.name, includeObject: false }]);
        const made = duplicate(tpm, { ...key, auth: session }, { newParent });
        outcomes.push(
          await made.then(
            () => 'made',
            () => 'refused',
          ),
        );
      }
      await key.flush();
      expect(outcomes).toEqual(['made', 'refused']);
    });
  });

  it('a software key is loaded with its private part, and signs', async () => {
    for (const pair of [RSA_2048, P384]) {
      const object = softwareKey(parsePrivateKey(pkcs8(pair)), { auth: 'value' });
      await using key = await loadSoftware(tpm, object);
      expect(key.name).toEqual(nameOf(object.public));
      expect(encode(TpmtPublic, key.public)).toEqual(encode(TpmtPublic, object.public));
      const signer = tpmSigner(tpm, key);
      const signature = await signer.sign(text('message'));
      const hash = signer.algorithm.split('-').at(-1) ?? '';
      expect(verify(hash, text('message'), pair.publicKey, signature)).toBe(true);
    }
  });
});
