import { constants, createECDH, generateKeyPairSync, type KeyObject, privateDecrypt, sign } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EccPublicKey, nobleCrypto, type RsaPublicKey, TPM_ALG, type TpmSignature } from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const providers = [
  ['nobleCrypto', nobleCrypto],
  ['nodeCrypto', nodeCrypto],
] as const;
const hashes = [
  [TPM_ALG.SHA1, 'sha1'],
  [TPM_ALG.SHA256, 'sha256'],
  [TPM_ALG.SHA384, 'sha384'],
  [TPM_ALG.SHA512, 'sha512'],
] as const;
const curves = [
  ['P-256', 3, 'prime256v1', 32],
  ['P-384', 4, 'secp384r1', 48],
  ['P-521', 5, 'secp521r1', 66],
] as const;

function rsaPublic(key: KeyObject): RsaPublicKey {
  const { n = '', e = '' } = key.export({ format: 'jwk' });
  const exponent = Number.parseInt(Buffer.from(String(e), 'base64url').toString('hex'), 16);
  return { type: 'rsa', modulus: new Uint8Array(Buffer.from(String(n), 'base64url')), exponent };
}

function eccPublic(curve: number, key: KeyObject): EccPublicKey {
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  const bytes = (value: unknown) => new Uint8Array(Buffer.from(String(value), 'base64url'));
  return { type: 'ecc', curve, x: bytes(x), y: bytes(y) };
}

describe.each(providers)('%s', (_, crypto) => {
  it('hashes "abc" as FIPS 180 says', () => {
    const digest = crypto.hash(TPM_ALG.SHA256, utf8('a'), utf8('bc'));
    expect(digest).toEqual(hex('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'));
    expect(crypto.hash(TPM_ALG.SHA1, utf8('abc'))).toEqual(hex('a9993e364706816aba3e25717850c26c9cd0d89d'));
  });

  it('computes the HMAC of RFC 4231, test case 2', () => {
    const mac = crypto.hmac(TPM_ALG.SHA256, utf8('Jefe'), utf8('what do ya want '), utf8('for nothing?'));
    expect(mac).toEqual(hex('5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'));
  });

  it('encrypts as the CFB128-AES128 example of SP 800-38A, F.3.13', () => {
    const key = hex('2b7e151628aed2a6abf7158809cf4f3c');
    const iv = hex('000102030405060708090a0b0c0d0e0f');
    const plain = hex('6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51');
    const secret = hex('3b3fd92eb72dad20333449f8e83cfb4a c8a64537a0b3a93fcde3cdad9f1ce58b');
    expect(crypto.aesCfbEncrypt(key, iv, plain)).toEqual(secret);
    expect(crypto.aesCfbDecrypt(key, iv, secret)).toEqual(plain);
  });

  it.each([1024, 2048, 3072])('encrypts by OAEP what OpenSSL decrypts, with an RSA key of %i bits', (modulusLength) => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength });
    const label = utf8('DUPLICATE\0');
    for (const [algorithm, oaepHash] of hashes.slice(0, 2)) {
      const message = crypto.random(20);
      const encrypted = crypto.rsaOaepEncrypt(rsaPublic(publicKey), algorithm, label, message);
      const padding = constants.RSA_PKCS1_OAEP_PADDING;
      const decrypted = privateDecrypt({ key: privateKey, padding, oaepHash, oaepLabel: label }, encrypted);
      expect(new Uint8Array(decrypted)).toEqual(message);
    }
  });

  it('refuses an OAEP message that does not fit', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const attempt = () => crypto.rsaOaepEncrypt(rsaPublic(publicKey), TPM_ALG.SHA256, utf8(''), new Uint8Array(63));
    expect(attempt).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  it.each(curves)('agrees with OpenSSL on an ECDH secret on %s', (_name, curve, openssl, size) => {
    const peer = createECDH(openssl);
    const point = peer.generateKeys();
    const half = { x: new Uint8Array(point.subarray(1, 1 + size)), y: new Uint8Array(point.subarray(1 + size)) };
    const { x, y, z } = crypto.ecdh({ type: 'ecc', curve, ...half });
    expect(x).toHaveLength(size);
    const shared = peer.computeSecret(Buffer.concat([Buffer.of(4), x, y]));
    expect(z).toEqual(new Uint8Array(Buffer.concat([Buffer.alloc(size - shared.length), shared])));
  });

  it.each(curves)('refuses a peer whose point is not on %s', (_name, curve, _openssl, size) => {
    const off = new Uint8Array(size).fill(1);
    const attempt = () => crypto.ecdh({ type: 'ecc', curve, x: off, y: off });
    expect(attempt).toThrow(expect.objectContaining({ name: 'TpmError', code: 'usage' }));
  });

  it.each(curves)(
    'verifies ECDSA signatures of OpenSSL on %s and refuses changed ones',
    (_name, curve, openssl, size) => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: openssl });
      const key = eccPublic(curve, publicKey);
      for (const [hash, name] of hashes) {
        const message = crypto.random(50);
        const raw = new Uint8Array(sign(name, message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
        const signature = { scheme: 'ecdsa', hash, r: raw.slice(0, size), s: raw.slice(size) } as const;
        expect(crypto.verify(key, signature, message)).toBe(true);
        expect(crypto.verify(key, signature, crypto.random(50))).toBe(false);
        expect(crypto.verify(key, { ...signature, r: signature.s, s: signature.r }, message)).toBe(false);
        expect(crypto.verify(key, { ...signature, r: new Uint8Array(size) }, message)).toBe(false);
        expect(crypto.verify({ ...key, x: key.y, y: key.x }, signature, message)).toBe(false);
      }
    },
  );

  it.each([1024, 2048, 2049])('verifies RSA signatures of OpenSSL with %i bits and refuses changed ones', (bits) => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
    const key = rsaPublic(publicKey);
    for (const [hash, name] of hashes.slice(0, 3)) {
      const message = crypto.random(33);
      for (const [scheme, options] of schemes) {
        const signature: TpmSignature = {
          scheme,
          hash,
          signature: new Uint8Array(sign(name, message, { key: privateKey, ...options })),
        };
        expect(crypto.verify(key, signature, message)).toBe(true);
        expect(crypto.verify(key, signature, crypto.random(33))).toBe(false);
        const flipped = signature.signature.slice();
        flipped[bits % 100] = (flipped[bits % 100] ?? 0) ^ 4;
        expect(crypto.verify(key, { ...signature, signature: flipped }, message)).toBe(false);
        expect(crypto.verify(key, { ...signature, signature: flipped.slice(1) }, message)).toBe(false);
        expect(crypto.verify(key, { ...signature, scheme: scheme === 'rsassa' ? 'rsapss' : 'rsassa' }, message)).toBe(
          false,
        );
      }
    }
  });

  it('verifies nothing under a modulus that is even or a signature that is not reduced', () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const key = rsaPublic(publicKey);
    const message = utf8('x');
    const good = new Uint8Array(sign('sha256', message, privateKey));
    const signature = { scheme: 'rsassa', hash: TPM_ALG.SHA256, signature: good } as const;
    const even = key.modulus.map((byte, i) => (i === 127 ? byte & 0xfe : byte));
    expect(crypto.verify({ ...key, modulus: even }, signature, message)).toBe(false);
    expect(crypto.verify(key, { ...signature, signature: new Uint8Array(128).fill(0xff) }, message)).toBe(false);
  });

  it('does not know the hash SM3', () => {
    expect(() => crypto.hash(TPM_ALG.SM3_256)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('the two providers', () => {
  it('agree on hashes, HMACs and AES for any input', () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    const key = fc.constantFrom(16, 24, 32).chain((n) => fc.uint8Array({ minLength: n, maxLength: n }));
    const iv = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(fc.constantFrom(...hashes), bytes, bytes, key, iv, ([hash], a, b, k, v) => {
        expect(nobleCrypto.hash(hash, a, b)).toEqual(nodeCrypto.hash(hash, a, b));
        expect(nobleCrypto.hmac(hash, a, b)).toEqual(nodeCrypto.hmac(hash, a, b));
        const secret = nobleCrypto.aesCfbEncrypt(k, v, a);
        expect(secret).toEqual(nodeCrypto.aesCfbEncrypt(k, v, a));
        expect(nodeCrypto.aesCfbDecrypt(k, v, secret)).toEqual(a);
        expect(nobleCrypto.aesCfbDecrypt(k, v, secret)).toEqual(a);
      }),
      { numRuns: 60 },
    );
  });

  it('give plain byte arrays, never Buffers', () => {
    const results = [nodeCrypto.random(3), nodeCrypto.hash(TPM_ALG.SHA256), nodeCrypto.hmac(TPM_ALG.SHA1, utf8('k'))];
    for (const result of results) expect(Object.getPrototypeOf(result)).toBe(Uint8Array.prototype);
  });
});

const schemes = [
  ['rsassa', { padding: constants.RSA_PKCS1_PADDING }],
  ['rsapss', { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }],
  ['rsapss', { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN }],
] as const;
