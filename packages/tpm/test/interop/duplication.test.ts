/** Duplicates and software keys shared with tpm2-tools, both ways, on one swtpm. */
import { createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { decode, encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  createPrimary,
  type DuplicateObject,
  duplicate,
  importObject,
  loadKey,
  openObject,
  type Policy,
  parsePrivateKey,
  persist,
  policyDigest,
  publicKeyPem,
  publicKeySpki,
  satisfyPolicy,
  signingKeyTemplate,
  softwareHmacKey,
  softwareKey,
  softwareSealed,
  srkTemplate,
  startSession,
  TPM_CC,
  TPMA_OBJECT,
  type Tpm,
  Tpm2bEncryptedSecret,
  Tpm2bPrivate,
  Tpm2bPublic,
  type TpmObject,
  type TpmtPublic,
  tpmSigner,
  unwrapDuplicate,
  wrapForImport,
} from '../../src/index.js';
import { nodeRecovery, privateKeyObject } from '../../src/node-crypto.js';
import { describeWith } from '../client/swtpm-server.js';
import { type Bench, startBench, text } from './bench.js';

const PARENTS = { rsa: 0x81000021, ecc: 0x81000022 } as const;
const POLICY: Policy = [{ type: 'command-code', code: TPM_CC.Duplicate }];
const pemOf = (key: KeyObject): string => key.export({ format: 'pem', type: 'pkcs8' }) as string;

describeWith(['swtpm', 'tpm2_duplicate', 'tpm2_import', 'openssl'], 'duplicates on one swtpm', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await startBench();
    await bench.ours(async (tpm) => {
      for (const [kind, handle] of [
        ['rsa-2048', PARENTS.rsa],
        ['ecc-p256', PARENTS.ecc],
      ] as const) {
        await using parent = await createPrimary(tpm, { template: srkTemplate(kind) });
        await persist(tpm, parent, handle);
      }
    });
  });
  afterAll(() => bench?.stop());

  /** Writes a duplicate as the files of tpm2_import. */
  const putDuplicate = (object: DuplicateObject): readonly string[] => {
    bench.put('dup.pub', encode(Tpm2bPublic, object.public));
    bench.put('dup.priv', encode(Tpm2bPrivate, object.duplicate));
    bench.put('dup.seed', encode(Tpm2bEncryptedSecret, object.encryptedSeed));
    if (!object.innerKey) return ['-u', 'dup.pub', '-i', 'dup.priv', '-s', 'dup.seed'];
    bench.put('dup.key', object.innerKey);
    return ['-u', 'dup.pub', '-i', 'dup.priv', '-s', 'dup.seed', '-k', 'dup.key'];
  };
  const getDuplicate = (inner: boolean): DuplicateObject => ({
    public: decode(Tpm2bPublic, bench.get('dup.pub')),
    duplicate: decode(Tpm2bPrivate, bench.get('dup.priv')),
    encryptedSeed: decode(Tpm2bEncryptedSecret, bench.get('dup.seed')),
    ...(inner && { innerKey: bench.get('dup.key') }),
  });
  const signsAs = async (tpm: Tpm, key: TpmObject, publicKey: KeyObject): Promise<boolean> => {
    const signer = tpmSigner(tpm, key);
    return verify(signer.algorithm.split('-').at(-1), text('m'), publicKey, await signer.sign(text('m')));
  };

  describe.each(['rsa', 'ecc'] as const)('for a parent of %s', (kind) => {
    const parent = `0x${PARENTS[kind].toString(16)}`;

    it.each([
      ['RSA 2048', generateKeyPairSync('rsa', { modulusLength: 2048 }), false],
      ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' }), true],
      ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }), false],
    ])('tpm2_import takes our offline wrapping of %s, and tpm2_sign signs with it', async (_, pair, inner) => {
      const publicArea = (await bench.ours((tpm) => openObject(tpm, PARENTS[kind]))).public;
      const object = softwareKey(parsePrivateKey(pemOf(pair.privateKey)));
      const wrapped = wrapForImport(publicArea, object, inner ? { inner: { keyBits: 128 } } : {});
      bench.tool('tpm2_import', '-C', parent, ...putDuplicate(wrapped), '-r', 'in.priv');
      bench.run('tpm2_load', '-C', parent, '-u', 'dup.pub', '-r', 'in.priv', '-c', 'in.ctx');
      bench.put('data', 'message');
      bench.tool('tpm2_sign', '-c', 'in.ctx', '-g', 'sha256', '-f', 'plain', '-o', 'data.sig', 'data');
      bench.put('in.pem', publicKeyPem(wrapped.public));
      const verified = bench.run('openssl', 'dgst', '-sha256', '-verify', 'in.pem', '-signature', 'data.sig', 'data');
      expect(verified).toContain('Verified OK');
    });

    it('tpm2_import takes sealed data and an HMAC key of software', async () => {
      const publicArea = (await bench.ours((tpm) => openObject(tpm, PARENTS[kind]))).public;
      const sealed = wrapForImport(publicArea, softwareSealed(text('from outside')));
      bench.tool('tpm2_import', '-C', parent, ...putDuplicate(sealed), '-r', 'in.priv');
      bench.run('tpm2_load', '-C', parent, '-u', 'dup.pub', '-r', 'in.priv', '-c', 'in.ctx');
      expect(bench.tool('tpm2_unseal', '-c', 'in.ctx')).toBe('from outside');
      const hmac = wrapForImport(publicArea, softwareHmacKey(text('key')));
      bench.tool('tpm2_import', '-C', parent, ...putDuplicate(hmac), '-r', 'in.priv');
      bench.run('tpm2_load', '-C', parent, '-u', 'dup.pub', '-r', 'in.priv', '-c', 'in.ctx');
      bench.put('data', 'message');
      bench.tool('tpm2_hmac', '-c', 'in.ctx', '-o', 'mac', 'data');
      const expected = bench.run('openssl', 'dgst', '-sha256', '-hmac', 'key', '-r', 'data').slice(0, 64);
      expect(Buffer.from(bench.get('mac')).toString('hex')).toBe(expected);
    });

    it('tpm2_import takes our online duplicates', async () => {
      for (const inner of [false, true]) {
        const { made, key } = await bench.ours(async (tpm) => {
          await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
          const objectAttributes = TPMA_OBJECT.sensitiveDataOrigin | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign;
          const authPolicy = policyDigest(POLICY);
          const template = { ...signingKeyTemplate('ecc-p256'), objectAttributes, authPolicy } as TpmtPublic;
          await using key = await loadKey(tpm, srk, await createKey(tpm, srk, { template }));
          await using session = await startSession(tpm, { type: 'policy' });
          await satisfyPolicy(tpm, session, POLICY);
          const newParent = await openObject(tpm, PARENTS[kind]);
          const object = { ...key, auth: session };
          const options = inner ? { newParent, inner: { keyBits: 128 } as const } : { newParent };
          return { made: await duplicate(tpm, object, options), key };
        });
        bench.tool('tpm2_import', '-C', parent, ...putDuplicate(made), '-r', 'in.priv');
        bench.run('tpm2_load', '-C', parent, '-u', 'dup.pub', '-r', 'in.priv', '-c', 'in.ctx', '-n', 'in.name');
        bench.run('tpm2_flushcontext', '-t');
        expect(bench.get('in.name')).toEqual(key.name);
      }
    });

    it('we import what tpm2_duplicate made, with and without an inner layer', async () => {
      bench.tool('tpm2_startauthsession', '-S', 'trial.ctx');
      bench.run('tpm2_startauthsession', '-S', 'trial.ctx');
      bench.run('tpm2_policycommandcode', '-S', 'trial.ctx', '-L', 'dup.policy', 'TPM2_CC_Duplicate');
      bench.run('tpm2_flushcontext', 'trial.ctx');
      expect(bench.get('dup.policy')).toEqual(policyDigest(POLICY));
      const attributes = 'sensitivedataorigin|userwithauth|sign';
      const made = ['-G', 'ecc256', '-L', 'dup.policy', '-a', attributes, '-u', 'dup.pub', '-r', 'own.priv'];
      bench.tool('tpm2_create', '-C', parent, ...made);
      for (const inner of [false, true]) {
        bench.run('tpm2_load', '-C', parent, '-u', 'dup.pub', '-r', 'own.priv', '-c', 'own.ctx');
        bench.run('tpm2_flushcontext', '-t');
        bench.run('tpm2_startauthsession', '--policy-session', '-S', 'dup.ctx');
        bench.run('tpm2_policycommandcode', '-S', 'dup.ctx', 'TPM2_CC_Duplicate');
        const layers = inner ? ['-G', 'aes', '-o', 'dup.key'] : ['-G', 'null'];
        const out = ['-r', 'dup.priv', '-s', 'dup.seed'];
        bench.tool('tpm2_duplicate', '-C', parent, '-c', 'own.ctx', '-p', 'session:dup.ctx', ...layers, ...out);
        const object = getDuplicate(inner);
        const spki = createPublicKey({ key: Buffer.from(publicKeySpki(object.public)), format: 'der', type: 'spki' });
        await bench.ours(async (tpm) => {
          const newParent = await openObject(tpm, PARENTS[kind]);
          await using key = await loadKey(tpm, newParent, await importObject(tpm, newParent, object));
          expect(await signsAs(tpm, key, spki)).toBe(true);
        });
      }
    });

    it('we import, and open in software, what tpm2_duplicate wrapped offline for a known parent', async () => {
      const parentPair =
        kind === 'rsa'
          ? generateKeyPairSync('rsa', { modulusLength: 2048 })
          : generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const software = softwareKey(parsePrivateKey(pemOf(parentPair.privateKey)), { use: 'storage' });
      const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
      bench.put('key.pem', pair.privateKey.export({ format: 'pem', type: 'pkcs1' }) as string);
      const known = (await bench.ours((tpm) => openObject(tpm, PARENTS[kind]))).public;
      for (const area of [known, software.public]) {
        bench.put('parent.pub', encode(Tpm2bPublic, area));
        const out = ['-u', 'dup.pub', '-r', 'dup.priv', '-s', 'dup.seed'];
        bench.run('tpm2_duplicate', '-T', 'none', '-U', 'parent.pub', '-G', 'rsa', '-k', 'key.pem', ...out);
        const object = getDuplicate(false);
        if (area === software.public) {
          const opened = unwrapDuplicate(object, { parent: software, recovery: nodeRecovery });
          const { privateKeyOf } = await import('../../src/index.js');
          expect(privateKeyObject(privateKeyOf(opened)).equals(pair.privateKey)).toBe(true);
        } else {
          await bench.ours(async (tpm) => {
            const newParent = await openObject(tpm, PARENTS[kind]);
            await using key = await loadKey(tpm, newParent, await importObject(tpm, newParent, object));
            expect(await signsAs(tpm, key, pair.publicKey)).toBe(true);
          });
        }
      }
    });

    it('we load what tpm2_import made of a PEM key', async () => {
      for (const [algorithm, pair, type] of [
        ['rsa', generateKeyPairSync('rsa', { modulusLength: 2048 }), 'pkcs1'],
        ['ecc', generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'sec1'],
      ] as const) {
        bench.put('key.pem', pair.privateKey.export({ format: 'pem', type: type as 'sec1' }) as string);
        const out = ['-u', 'in.pub', '-r', 'in.priv'];
        bench.tool('tpm2_import', '-C', parent, '-G', algorithm, '-i', 'key.pem', ...out);
        const wrapped = {
          public: decode(Tpm2bPublic, bench.get('in.pub')),
          private: decode(Tpm2bPrivate, bench.get('in.priv')),
        };
        await bench.ours(async (tpm) => {
          await using key = await loadKey(tpm, await openObject(tpm, PARENTS[kind]), wrapped);
          expect(await signsAs(tpm, key, pair.publicKey)).toBe(true);
        });
      }
    });
  });
});
