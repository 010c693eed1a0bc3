/** Key files shared with tpm2_encodeobject, tpm2-openssl and tpm2-pytss, both ways, on one swtpm. */
import { spawnSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import { decode, encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  createPrimary,
  encodeKeyFile,
  type KeyFile,
  keyFileParent,
  keyFileParentTemplate,
  loadKeyFile,
  parseKeyFile,
  parsePrivateKey,
  persist,
  publicKeyPem,
  signingKeyTemplate,
  softwareKey,
  TPM_ALG,
  TPM_RH,
  TPMA_OBJECT,
  Tpm2bPrivate,
  Tpm2bPublic,
  type TpmtPublic,
  tpmSigner,
  wrapForImport,
} from '../../src/index.js';
import { describeWith } from '../client/swtpm-server.js';
import { type Bench, startBench, text } from './bench.js';

/** What OpenSSL expects of a key: no scheme of its own, so that it chooses one for each signature. */
function openKeyTemplate(kind: 'rsa-2048' | 'ecc-p256' | 'ecc-p384'): TpmtPublic {
  const template = signingKeyTemplate(kind);
  const decrypt = template.type === TPM_ALG.RSA ? TPMA_OBJECT.decrypt : 0;
  const objectAttributes = template.objectAttributes | decrypt | TPMA_OBJECT.noDA;
  const parameters = { ...template.parameters, scheme: { scheme: TPM_ALG.NULL } };
  return { ...template, objectAttributes, parameters } as TpmtPublic; // only the scheme differs
}

const KINDS = ['ecc-p256', 'ecc-p384', 'rsa-2048'] as const;

describeWith(['swtpm', 'tpm2_encodeobject', 'openssl'], 'key files on one swtpm', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await startBench();
  });
  afterAll(() => bench?.stop());

  /** Makes a key under the parent that a file means by `parent`, and its file. */
  const ourKey = (kind: (typeof KINDS)[number], file: Partial<KeyFile> = {}, auth = '') =>
    bench.ours(async (tpm) => {
      const where = { parent: TPM_RH.OWNER, ...file };
      await using parent = await keyFileParent(tpm, where);
      const wrapped = await createKey(tpm, parent, { template: openKeyTemplate(kind), auth });
      const common = { type: 'loadable', emptyAuth: auth === '', ...where } as const;
      return { ...common, public: wrapped.public, private: wrapped.private };
    });

  /** Signs with a key file in our own code, and has node:crypto verify. */
  const isSignedByUs = (pem: string, auth = '') =>
    bench.ours(async (tpm) => {
      await using key = await loadKeyFile(tpm, pem, { auth });
      const signer = tpmSigner(tpm, key);
      const publicKey = createPublicKey({ key: Buffer.from(signer.publicKey), format: 'der', type: 'spki' });
      return verify(signer.algorithm.split('-').at(-1), text('m'), publicKey, await signer.sign(text('m')));
    });

  describe('of tpm2-tools', () => {
    it('are read where tpm2_encodeobject wrote them, and sign', async () => {
      await bench.ours(async (tpm) => {
        await using parent = await createPrimary(tpm, { template: keyFileParentTemplate('ecc-p256') });
        await persist(tpm, parent, 0x81000010);
      });
      for (const algorithm of ['ecc256', 'ecc384', 'rsa2048']) {
        const files = ['-u', 'key.pub', '-r', 'key.priv'];
        bench.tool('tpm2_create', '-C', '0x81000010', '-G', algorithm, '-p', 'secret', ...files);
        bench.tool('tpm2_encodeobject', '-C', '0x81000010', ...files, '-p', '-o', 'key.pem');
        const pem = bench.getText('key.pem');
        const parsed = parseKeyFile(pem);
        // Release 5.4 writes emptyAuth the wrong way round: its `-p` ("needs a value") sets it.
        expect(parsed).toMatchObject({ type: 'loadable', parent: 0x81000010 });
        expect(encode(Tpm2bPublic, parsed.public)).toEqual(bench.get('key.pub'));
        expect(encode(Tpm2bPrivate, parsed.private)).toEqual(bench.get('key.priv'));
        expect(await isSignedByUs(pem, 'secret')).toBe(true);
      }
    });

    it('hold what tpm2_load takes from ours', async () => {
      const file = parseKeyFile(encodeKeyFile(await ourKey('ecc-p256', { parent: 0x81000010 })));
      bench.put('ours.pub', encode(Tpm2bPublic, file.public));
      bench.put('ours.priv', encode(Tpm2bPrivate, file.private));
      bench.run('tpm2_load', '-C', '0x81000010', '-u', 'ours.pub', '-r', 'ours.priv', '-c', 'ours.ctx');
      bench.put('data', 'message');
      bench.tool('tpm2_sign', '-c', 'ours.ctx', '-g', 'sha256', '-f', 'plain', '-o', 'data.sig', 'data');
      bench.put('ours.pem', publicKeyPem(file.public));
      expect(
        bench.run('openssl', 'dgst', '-sha256', '-verify', 'ours.pem', '-signature', 'data.sig', 'data'),
      ).toContain('Verified OK');
    });
  });

  const provider = existsSync('/usr/lib/x86_64-linux-gnu/ossl-modules/tpm2.so') || process.env.MUST_RUN === '1';
  describe.skipIf(!provider)('of tpm2-openssl (skipped where its provider is not installed)', () => {
    const PROVIDER = ['-provider', 'tpm2', '-provider', 'default', '-propquery', '?provider=tpm2'];

    const isSignedByOpenssl = (pem: string, publicKey: string, ...more: readonly string[]): boolean => {
      bench.put('key.pem', pem);
      bench.put('pub.pem', publicKey);
      bench.put('data', 'message');
      const input = ['-rawin', '-in', 'data', '-digest', 'sha256'];
      bench.tool('openssl', 'pkeyutl', ...PROVIDER, '-sign', '-inkey', 'key.pem', ...more, ...input, '-out', 'sig');
      const verifying = ['pkeyutl', '-verify', '-pubin', '-inkey', 'pub.pem', '-sigfile', 'sig'];
      return bench.run('openssl', ...verifying, ...input).includes('Verified Successfully');
    };

    it.each(KINDS)(
      'OpenSSL signs with our key file of %s, under a hierarchy and under a persistent parent',
      async (kind) => {
        const persistent = 0x81000011 + KINDS.indexOf(kind);
        await bench.ours(async (tpm) => {
          await using parent = await createPrimary(tpm, { template: keyFileParentTemplate('rsa-2048') });
          await persist(tpm, parent, persistent);
        });
        // It knows no other hierarchy than the owner's.
        for (const parent of [TPM_RH.OWNER, persistent]) {
          const file = await ourKey(kind, { parent });
          expect(isSignedByOpenssl(encodeKeyFile(file), publicKeyPem(file.public))).toBe(true);
        }
      },
    );

    it('OpenSSL signs with our key file that has an authorization value', async () => {
      const file = await ourKey('ecc-p256', {}, 'secret');
      expect(isSignedByOpenssl(encodeKeyFile(file), publicKeyPem(file.public), '-passin', 'pass:secret')).toBe(true);
      expect(() => isSignedByOpenssl(encodeKeyFile(file), publicKeyPem(file.public), '-passin', 'pass:no')).toThrow();
    });

    it('OpenSSL makes a certificate request with our key file', async () => {
      const file = await ourKey('rsa-2048');
      bench.put('key.pem', encodeKeyFile(file));
      bench.tool('openssl', 'req', '-new', ...PROVIDER, '-key', 'key.pem', '-subj', '/CN=device', '-out', 'csr.pem');
      expect(bench.run('openssl', 'req', '-in', 'csr.pem', '-verify', '-noout', '-pubkey')).toContain(
        publicKeyPem(file.public).split('\n')[1],
      );
    });

    it.each([
      ['EC', 'group:P-256', false],
      ['EC', 'group:P-384', true],
      ['RSA', 'bits:2048', true],
    ])('we sign with the key file that openssl genpkey made: %s %s', async (algorithm, option, protectedKey) => {
      const auth = protectedKey ? ['-pkeyopt', 'user-auth:secret'] : [];
      const wanted = ['-algorithm', algorithm, '-pkeyopt', option, ...auth, '-out', 'gen.pem'];
      bench.tool('openssl', 'genpkey', ...PROVIDER, ...wanted);
      const pem = bench.getText('gen.pem');
      expect(parseKeyFile(pem)).toMatchObject({ type: 'loadable', emptyAuth: !protectedKey });
      expect(await isSignedByUs(pem, protectedKey ? 'secret' : '')).toBe(true);
    });
  });

  const pytss = spawnSync('/usr/bin/python3', ['-c', 'import tpm2_pytss']).status === 0 || process.env.MUST_RUN === '1';
  describe.skipIf(!pytss)('of tpm2-pytss (skipped where python3-tpm2-pytss is not installed)', () => {
    const python = (script: string): string => {
      bench.put('script.py', script);
      return bench.tool('/usr/bin/python3', 'script.py');
    };
    const LOAD = `
import os
from tpm2_pytss import *
from tpm2_pytss.tsskey import TSSPrivKey
ectx = ESAPI(os.environ['TCTI'])
`;

    it('loads our key file and signs with it', async () => {
      const file = await ourKey('ecc-p256', {}, 'secret');
      bench.put('key.pem', encodeKeyFile(file));
      python(`${LOAD}
import hashlib
key = TSSPrivKey.from_pem(open('key.pem', 'rb').read())
handle = key.load(ectx, b'secret')
scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.ECDSA)
scheme.details.any.hashAlg = TPM2_ALG.SHA256
ticket = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
digest = TPM2B_DIGEST(hashlib.sha256(b'message').digest())
open('sig', 'wb').write(ectx.sign(handle, digest, scheme, ticket).marshal())
`);
      const { verifySignature } = await import('../../src/index.js');
      expect(verifySignature(file.public, text('message'), bench.get('sig'))).toBe(true);
    });

    it.each(['ecc', 'rsa'])('we sign with the key file that it made: %s', async (kind) => {
      python(`${LOAD}
key = TSSPrivKey.create_${kind}(ectx, password=b'secret')
open('made.pem', 'wb').write(key.to_pem())
`);
      const pem = bench.getText('made.pem');
      expect(parseKeyFile(pem)).toMatchObject({ parent: TPM_RH.OWNER, emptyAuth: false });
      expect(await isSignedByUs(pem, 'secret')).toBe(true);
    });
  });

  it('an importable file of a software key is imported by us and by nobody without the parent', async () => {
    const pair: { privateKey: KeyObject; publicKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const software = parsePrivateKey(pair.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string);
    const pem = await bench.ours(async (tpm) => {
      await using parent = await keyFileParent(tpm, { parent: TPM_RH.OWNER });
      const wrapped = wrapForImport(parent.public, softwareKey(software));
      const { public: area, duplicate, encryptedSeed: secret } = wrapped;
      const common = { emptyAuth: true, parent: TPM_RH.OWNER, public: area, private: duplicate, secret };
      return encodeKeyFile({ type: 'importable', ...common });
    });
    expect(await isSignedByUs(pem)).toBe(true);
    expect(decode(Tpm2bPublic, encode(Tpm2bPublic, parseKeyFile(pem).public)).type).toBe(TPM_ALG.ECC);
  });
});
