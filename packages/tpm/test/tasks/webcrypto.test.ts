/** Keys of swtpm behind WebCrypto's interface, and in libraries that take an engine; the platform, jose and OpenSSL judge. */
import { execFileSync } from 'node:child_process';
import { constants, createPublicKey, verify, type webcrypto } from 'node:crypto';
import 'reflect-metadata'; // @peculiar/x509 wants it first
import * as x509 from '@peculiar/x509';
import { compactVerify, importSPKI } from 'jose';
import * as pkijs from 'pkijs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  akTemplate,
  createPrimary,
  ecdhWith,
  importObject,
  loadKey,
  publicKeyJwk,
  publicKeyPem,
  publicKeySsh,
  rsaDecryptWith,
  rsaEncryptWith,
  signDigest,
  signingKeyTemplate,
  signWith,
  softwareHmacKey,
  srkTemplate,
  TPM_ALG,
  TPMA_OBJECT,
  Tpm,
  type TpmObject,
  type TpmtPublic,
  tpmSigner,
  verifySignature,
  wrapForImport,
} from '../../src/index.js';
import { nodeCrypto, publicKeyObject } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { signCose, signJws, type TpmCryptoKeyPair, tpmHmacKey, tpmKeyPair, tpmSubtle } from '../../src/webcrypto.js';
import { describeWith, type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

const text = (value: string): Uint8Array<ArrayBuffer> => new Uint8Array(new TextEncoder().encode(value));
const { subtle: platform } = globalThis.crypto;

/** A template without a scheme of its own. */
function openTemplate(kind: Parameters<typeof signingKeyTemplate>[0], use: number = TPMA_OBJECT.sign): TpmtPublic {
  const template = signingKeyTemplate(kind);
  const objectAttributes = (template.objectAttributes & ~TPMA_OBJECT.sign) | use;
  const parameters = { ...template.parameters, scheme: { scheme: TPM_ALG.NULL } };
  return { ...template, objectAttributes, parameters } as TpmtPublic; // only the scheme differs
}

describeWith(['swtpm', 'openssl'], 'keys of swtpm in WebCrypto', () => {
  let server: SwtpmServer;
  let tpm: Tpm;
  let srk: TpmObject;
  beforeAll(async () => {
    server = await startSwtpm();
    tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
    srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  const made = async (algorithm: Parameters<ReturnType<typeof tpmSubtle>['generateKey']>[0], usages: string[]) =>
    (await tpmSubtle(tpm, { parent: srk }).generateKey(algorithm, false, usages)) as TpmCryptoKeyPair;
  const flushAll = async (): Promise<void> => {
    const { FlushContext, listHandles } = await import('../../src/index.js');
    for (const handle of await listHandles(tpm, 'transient')) {
      if (handle !== srk.handle) await tpm.execute(FlushContext, { flushHandle: handle });
    }
  };

  it.each([
    ['P-256', 'SHA-256'],
    ['P-256', 'SHA-512'],
    ['P-384', 'SHA-384'],
    ['P-521', 'SHA-512'],
  ])('sign by ECDSA on %s with %s as the platform verifies', async (namedCurve, hash) => {
    const { privateKey, publicKey } = await made({ name: 'ECDSA', namedCurve }, ['sign', 'verify']);
    const subtle = tpmSubtle(tpm);
    for (const data of [text(''), text('message'), new Uint8Array(5000)]) {
      const signature = await subtle.sign({ name: 'ECDSA', hash }, privateKey, data);
      expect(await platform.verify({ name: 'ECDSA', hash }, publicKey, signature, data)).toBe(true);
      expect(await subtle.verify({ name: 'ECDSA', hash }, publicKey, signature, data)).toBe(true);
      expect(await subtle.verify({ name: 'ECDSA', hash }, publicKey, signature, text('other'))).toBe(false);
    }
    expect(privateKey).toMatchObject({ type: 'private', extractable: false, usages: ['sign'] });
    await expect(subtle.exportKey('pkcs8', privateKey)).rejects.toMatchObject({ code: 'usage' });
    await expect(subtle.sign('HMAC', privateKey, text('x'))).rejects.toMatchObject({ code: 'usage' });
    await flushAll();
  });

  it.each(['SHA-256', 'SHA-384', 'SHA-512'])(
    'sign by RSASSA and PSS with %s, and tell a salt that the TPM does not use',
    async (hash) => {
      await using key = await createPrimary(tpm, { template: openTemplate('rsa-2048') });
      const subtle = tpmSubtle(tpm);
      const plain = await tpmKeyPair(key, { hash });
      const signature = await subtle.sign('RSASSA-PKCS1-v1_5', plain.privateKey, text('m'));
      expect(await platform.verify('RSASSA-PKCS1-v1_5', plain.publicKey, signature, text('m'))).toBe(true);
      const pss = await tpmKeyPair(key, { name: 'RSA-PSS', hash });
      const lengths = [];
      for (const saltLength of [20, 32, 48, 64, 256 - 2 - Number(hash.slice(4)) / 8]) {
        const parameters = { name: 'RSA-PSS', saltLength };
        const salted = await subtle.sign(parameters, pss.privateKey, text('m')).catch(() => undefined);
        if (!salted) continue;
        lengths.push(saltLength);
        expect(await platform.verify(parameters, pss.publicKey, salted, text('m'))).toBe(true);
      }
      expect(lengths).toEqual([Number(hash.slice(4)) / 8]);
    },
  );

  it('compute HMACs, short and long, and compare them', async () => {
    const raw = nodeCrypto.random(32);
    const wrapped = wrapForImport(srk.public, softwareHmacKey(raw, { hash: 'sha384' }));
    await using key = await loadKey(tpm, srk, await importObject(tpm, srk, wrapped));
    const hmac = tpmHmacKey(key, 'SHA-384');
    const subtle = tpmSubtle(tpm);
    const algorithm = { name: 'HMAC', hash: 'SHA-384' };
    const known = await platform.importKey('raw', new Uint8Array(raw), algorithm, false, ['sign']);
    for (const data of [text('x'), new Uint8Array(1024), new Uint8Array(3000).fill(7)]) {
      const mac = await subtle.sign('HMAC', hmac, data);
      expect(mac).toEqual(await platform.sign('HMAC', known, data));
      expect(await subtle.verify('HMAC', hmac, mac, data)).toBe(true);
      expect(await subtle.verify('HMAC', hmac, mac, text('y'))).toBe(false);
    }
  });

  it.each(['P-256', 'P-384', 'P-521'])('agree on a secret with the platform on %s', async (namedCurve) => {
    const own = await made({ name: 'ECDH', namedCurve }, ['deriveBits']);
    const theirs = await platform.generateKey({ name: 'ECDH', namedCurve }, true, ['deriveBits', 'deriveKey']);
    const subtle = tpmSubtle(tpm);
    const bits = namedCurve === 'P-521' ? 528 : Number(namedCurve.slice(2));
    const here = await subtle.deriveBits({ name: 'ECDH', public: theirs.publicKey }, own.privateKey, null);
    const there = await platform.deriveBits({ name: 'ECDH', public: own.publicKey }, theirs.privateKey, bits);
    expect(here).toEqual(there);
    const derived = { name: 'AES-GCM', length: 256 };
    const key = await subtle.deriveKey({ name: 'ECDH', public: theirs.publicKey }, own.privateKey, derived, true, [
      'encrypt',
    ]);
    expect(await platform.exportKey('raw', key)).toEqual(here.slice(0, 32));
    await flushAll();
  });

  it.each(['SHA-1', 'SHA-256', 'SHA-384'])('decrypt RSA-OAEP with %s from the platform', async (hash) => {
    await using key = await createPrimary(tpm, { template: openTemplate('rsa-2048', TPMA_OBJECT.decrypt) });
    const pair = await tpmKeyPair(key, { name: 'RSA-OAEP', hash });
    const subtle = tpmSubtle(tpm);
    for (const label of [undefined, text('label\0')]) {
      const parameters = { name: 'RSA-OAEP', ...(label && { label }) };
      const encrypted = await subtle.encrypt(parameters, pair.publicKey, text('secret'));
      expect(new Uint8Array(await subtle.decrypt(parameters, pair.privateKey, encrypted))).toEqual(text('secret'));
    }
    for (const encryption of [{ scheme: 'pkcs1' }, { scheme: 'oaep', hash: 'sha512' }] as const) {
      const encrypted = await rsaEncryptWith(tpm, key, text('secret'), encryption);
      expect(await rsaDecryptWith(tpm, key, encrypted, encryption)).toEqual(text('secret'));
    }
  });

  it('hand over to the platform what is not of the TPM', async () => {
    const subtle = tpmSubtle(tpm);
    expect(await subtle.digest('SHA-256', text('x'))).toEqual(await platform.digest('SHA-256', text('x')));
    const pair = (await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])) as {
      privateKey: Parameters<typeof platform.sign>[1];
      publicKey: Parameters<typeof platform.sign>[1];
    };
    const spki = (await subtle.exportKey('spki', pair.publicKey)) as ArrayBuffer;
    const publicKey = await subtle.importKey('spki', spki, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify']);
    const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
    const signature = await subtle.sign(algorithm, pair.privateKey, text('m'));
    expect(await subtle.verify(algorithm, publicKey, signature, text('m'))).toBe(true);
  });

  describe('in libraries', () => {
    const openssl = (input: string, ...args: readonly string[]): string =>
      execFileSync('openssl', [...args], { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });

    it.each([
      ['ECDSA', { name: 'ECDSA', namedCurve: 'P-256' }, { name: 'ECDSA', hash: 'SHA-256' }],
      [
        'RSASSA-PKCS1-v1_5',
        { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, hash: 'SHA-256' },
        { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
      ],
    ] as const)(
      '@peculiar/x509 makes a certificate request and a certificate that OpenSSL verifies: %s',
      async (_, algorithm, signingAlgorithm) => {
        const keys = (await made(algorithm, ['sign', 'verify'])) as unknown as webcrypto.CryptoKeyPair; // in its shape
        const engine = {
          ...globalThis.crypto,
          subtle: tpmSubtle(tpm),
          getRandomValues: globalThis.crypto.getRandomValues.bind(globalThis.crypto),
        };
        const crypto = engine as unknown as webcrypto.Crypto; // what the library uses of it is there
        const csr = await x509.Pkcs10CertificateRequestGenerator.create(
          { name: 'CN=device', keys, signingAlgorithm },
          crypto,
        );
        expect(openssl(csr.toString('pem'), 'req', '-verify', '-noout', '-subject')).toContain('CN = device');
        const certificate = await x509.X509CertificateGenerator.createSelfSigned(
          {
            name: 'CN=device',
            keys,
            signingAlgorithm,
            serialNumber: '01',
            notAfter: new Date(Date.now() + 86_400_000),
          },
          crypto,
        );
        const parsed = createPublicKey(certificate.toString('pem'));
        expect(parsed.export({ format: 'der', type: 'spki' })).toEqual(
          Buffer.from(await platform.exportKey('spki', keys.publicKey)),
        );
        expect(await certificate.verify()).toBe(true);
        await flushAll();
      },
    );

    it('pkijs makes a certificate request that OpenSSL verifies', async () => {
      const pair = await made({ name: 'ECDSA', namedCurve: 'P-384' }, ['sign', 'verify']);
      const keys = pair as unknown as webcrypto.CryptoKeyPair; // in its shape
      const subtle = tpmSubtle(tpm) as unknown as webcrypto.SubtleCrypto; // what the library uses of it is there
      const engine = new pkijs.CryptoEngine({
        name: 'tpm',
        crypto: { ...globalThis.crypto, subtle } as webcrypto.Crypto,
      });
      const request = new pkijs.CertificationRequest();
      await request.subjectPublicKeyInfo.importKey(keys.publicKey, engine);
      request.attributes = [];
      await request.sign(keys.privateKey, 'SHA-384', engine);
      const pem = Buffer.from(request.toSchema(true).toBER())
        .toString('base64')
        .replace(/(.{64})/g, '$1\n');
      const whole = `-----BEGIN CERTIFICATE REQUEST-----\n${pem.trim()}\n-----END CERTIFICATE REQUEST-----\n`;
      expect(openssl(whole, 'req', '-verify', '-noout', '-text')).toContain('ecdsa-with-SHA384');
      await flushAll();
    });

    it.each([
      ['ES256', 'ecc-p256', {}],
      ['ES384', 'ecc-p384', {}],
      ['ES512', 'ecc-p521', {}],
      ['RS256', 'rsa-2048', {}],
      ['PS256', 'rsa-2048', { scheme: 'rsapss' }],
    ] as const)('jose verifies a JWS of the TPM: %s', async (alg, kind, options) => {
      await using key = await createPrimary(tpm, { template: openTemplate(kind) });
      const jws = await signJws(tpm, key, text('{"sub":"device"}'), { ...options, header: { typ: 'JWT' } });
      const result = await compactVerify(jws, await importSPKI(publicKeyPem(key.public), alg));
      expect(result).toMatchObject({ protectedHeader: { alg, typ: 'JWT' }, payload: text('{"sub":"device"}') });
    });
  });

  // ToBeSigned of the COSE working group's examples sign1-tests/sign-pass-01 and -02, which have the algorithm ES256.
  it.each([
    ['', '846a5369676e61747572653143a101264054546869732069732074686520636f6e74656e742e'],
    [
      '11aa22bb33cc44dd55006699',
      '846a5369676e61747572653143a101264c11aa22bb33cc44dd5500669954546869732069732074686520636f6e74656e742e',
    ],
  ])('sign what COSE_Sign1 has to be signed, with external data %j', async (external, toBeSigned) => {
    await using key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    const externalAad = new Uint8Array(Buffer.from(external, 'hex'));
    const options = { externalAad, keyId: text('11') };
    const message = Buffer.from(await signCose(tpm, key, text('This is the content.'), options)).toString('hex');
    const start = 'd28443a10126a10442313154546869732069732074686520636f6e74656e742e5840';
    expect(message.slice(0, start.length)).toBe(start);
    const signature = Buffer.from(message.slice(start.length), 'hex');
    const publicKey = { key: publicKeyObject(key.public), dsaEncoding: 'ieee-p1363' } as const;
    expect(verify('sha256', Buffer.from(toBeSigned, 'hex'), publicKey, signature)).toBe(true);
    const detached = await signCose(tpm, key, text('x'), { detached: true });
    expect(Buffer.from(detached).toString('hex')).toMatch(/^d28443a10126a0f65840/);
  });

  it('sign COSE_Sign1 by RSA keys of any size of signature', async () => {
    await using key = await createPrimary(tpm, { template: openTemplate('rsa-2048') });
    const message = Buffer.from(await signCose(tpm, key, text('x'), { scheme: 'rsapss', hash: 'sha384' }));
    expect(message.subarray(0, 13).toString('hex')).toBe('d28444a1013825a04178590100');
    const structure = Buffer.from('846a5369676e61747572653144a1013825404178', 'hex');
    const publicKey = { key: publicKeyObject(key.public), padding: constants.RSA_PKCS1_PSS_PADDING };
    expect(verify('sha384', structure, publicKey, message.subarray(13))).toBe(true);
  });

  it('public halves are the same in every form', async () => {
    for (const kind of ['rsa-2048', 'ecc-p256', 'ecc-p384', 'ecc-p521'] as const) {
      await using key = await createPrimary(tpm, { template: openTemplate(kind) });
      const object = publicKeyObject(key.public);
      expect(object.export({ format: 'pem', type: 'spki' })).toBe(publicKeyPem(key.public));
      expect(object.export({ format: 'jwk' })).toEqual(publicKeyJwk(key.public));
      const ssh = publicKeySsh(key.public, 'me@device');
      const pem = execFileSync('sh', ['-c', 'f=$(mktemp) && cat > $f && ssh-keygen -e -m PKCS8 -f $f; rm -f $f'], {
        input: ssh,
        encoding: 'utf8',
      });
      expect(pem).toBe(publicKeyPem(key.public));
    }
  });

  it('a key without a scheme signs as the caller says, data and digests alike', async () => {
    for (const [kind, options] of [
      ['rsa-2048', { scheme: 'rsapss', hash: 'sha512' }],
      ['rsa-2048', { hash: 'sha384' }],
      ['ecc-p256', { hash: 'sha384' }],
    ] as const) {
      await using key = await createPrimary(tpm, { template: openTemplate(kind) });
      expect(tpmSigner(tpm, key, options).algorithm).toContain(options.hash);
      const data = nodeCrypto.random(3000);
      expect(verifySignature(key.public, data, await signWith(tpm, key, data, options))).toBe(true);
      const digest = nodeCrypto.hash(options.hash === 'sha512' ? TPM_ALG.SHA512 : TPM_ALG.SHA384, data);
      expect(verifySignature(key.public, data, await signDigest(tpm, key, digest, options))).toBe(true);
      await expect(signDigest(tpm, key, digest.slice(1), options)).rejects.toMatchObject({ code: 'usage' });
    }
  });

  it('a restricted key signs long data through the TPM, no digest from outside, and nothing by another hash', async () => {
    await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    const pair = await tpmKeyPair(ak);
    const data = new Uint8Array(4500).fill(3);
    const signature = await tpmSubtle(tpm).sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, data);
    const key = { key: publicKeyObject(ak.public), dsaEncoding: 'ieee-p1363' } as const;
    expect(verify('sha256', data, key, new Uint8Array(signature))).toBe(true);
    await expect(signDigest(tpm, ak, new Uint8Array(32))).rejects.toMatchObject({ code: 'usage' });
    await expect(signWith(tpm, ak, data, { hash: 'sha384' })).rejects.toMatchObject({ code: 'usage' });
  });

  it('a point that is not on the curve is refused by the TPM', async () => {
    await using key = await createPrimary(tpm, { template: openTemplate('ecc-p256', TPMA_OBJECT.decrypt) });
    const point = { x: new Uint8Array(32).fill(1), y: new Uint8Array(32).fill(2) };
    await expect(ecdhWith(tpm, key, point)).rejects.toMatchObject({ code: 'response' });
  });
});
