import {
  constants,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  sign,
  verify,
} from 'node:crypto';
import { TPM_ALG } from '@casemate/tpm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openDrbg } from '../src/drbg.js';
import { digesterOf } from '../src/implementation.js';
import { toBytes, toInteger } from '../src/integer.js';
import { nobleUtpmCrypto } from '../src/noble-crypto.js';
import { nodeUtpmCrypto } from '../src/node-crypto.js';
import { hasSmallFactor, isProbablePrime } from '../src/prime.js';
import {
  decodeOaep,
  decodeRsaes,
  encodeOaep,
  encodePss,
  encodeRsaes,
  generateRsaKey,
  isPss,
  type RsaPrivateKey,
  rsaPrivateKey,
  rsaPublic,
} from '../src/rsa.js';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
const hmac256 = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array => {
  const mac = createHmac('sha256', key);
  for (const part of parts) mac.update(part);
  return new Uint8Array(mac.digest());
};

describe('HMAC_DRBG', () => {
  // NIST CAVP, drbgvectors_no_reseed, HMAC_DRBG.rsp, SHA-256, no prediction resistance, COUNT = 0.
  it('gives the second output of the NIST vector', () => {
    const entropy = hex('ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488');
    const nonce = hex('659ba96c601dc69fc902940805ec0ca8');
    const drbg = openDrbg(hmac256, 32, entropy, nonce);
    drbg.generate(128);
    expect(Buffer.from(drbg.generate(128)).toString('hex')).toBe(
      'e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89d54fbb978a15b5c443c9ec21036d2460b6f73ebad0dc2aba6e624abf07745bc1' +
        '07694bb7547bb0995f70de25d6b29e2d3011bb19d27676c07162c8b5ccde0668961df86803482cb37ed6d5c0bb8d50cf1f50d476aa0458bdaba806f48be9dcb8',
    );
  });
});

describe('primality', () => {
  it('tells primes from composites, Carmichael numbers and products of two primes among them', () => {
    const prime = 2n ** 521n - 1n;
    const other = 2n ** 607n - 1n;
    expect(isProbablePrime(prime, nobleUtpmCrypto.random)).toBe(true);
    expect(isProbablePrime(prime * other, nobleUtpmCrypto.random)).toBe(false);
    for (const carmichael of [561n, 41041n, 825265n, 321197185n]) expect(hasSmallFactor(carmichael)).toBe(true);
    expect(isProbablePrime(3215031751n, nobleUtpmCrypto.random)).toBe(false);
  });
});

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = privateKey.export({ format: 'jwk' });
const integer = (text: string | undefined): bigint => toInteger(new Uint8Array(Buffer.from(text ?? '', 'base64url')));
const key: RsaPrivateKey = rsaPrivateKey(integer(jwk.n), integer(jwk.e), integer(jwk.p));
const digester = digesterOf(nobleUtpmCrypto, TPM_ALG.SHA256);

describe('RSA', () => {
  it('makes keys from a stream of bytes that OpenSSL takes', () => {
    const drbg = openDrbg(hmac256, 32, new Uint8Array(32));
    const made = generateRsaKey(1024, 65537n, drbg.generate, nodeUtpmCrypto.isProbablePrime);
    expect(made.size).toBe(128);
    const input = toBytes(12345n, 128);
    const output = nodeUtpmCrypto.rsaPrivate(made, input);
    expect(rsaPublic(made, output)).toEqual(input);
    expect(nobleUtpmCrypto.rsaPrivate(made, input)).toEqual(output);
  });

  it('completes a private key from one prime as OpenSSL has it, and refuses a number that is none of its primes', () => {
    expect([key.q, key.dP, key.dQ, key.qInv]).toEqual([jwk.q, jwk.dp, jwk.dq, jwk.qi].map(integer));
    expect(() => rsaPrivateKey(key.n, key.e, key.p + 2n)).toThrow(RangeError);
  });

  it('pads by OAEP as OpenSSL does, in both directions', () => {
    const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256', oaepLabel: Buffer.from('label\0') };
    const label = new Uint8Array(Buffer.from('label\0'));
    const message = hex('00010203');
    const theirs = publicEncrypt({ key: publicKey, ...oaep }, message);
    expect(decodeOaep(nobleUtpmCrypto.rsaPrivate(key, new Uint8Array(theirs)), label, digester)).toEqual(message);
    const block = encodeOaep(key.size, message, label, digester, nobleUtpmCrypto.random) ?? new Uint8Array(0);
    expect(new Uint8Array(privateDecrypt({ key: privateKey, ...oaep }, rsaPublic(key, block)))).toEqual(message);
  });

  it('refuses an OAEP block with any bit changed or another label', () => {
    const block = encodeOaep(key.size, hex('aa'), hex('6c00'), digester, nobleUtpmCrypto.random) ?? new Uint8Array(0);
    expect(decodeOaep(block, hex('6d00'), digester)).toBeUndefined();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: block.length - 1 }), fc.integer({ min: 0, max: 7 }), (at, bit) => {
        const changed = block.map((byte, i) => (i === at ? byte ^ (1 << bit) : byte));
        const decoded = decodeOaep(changed, hex('6c00'), digester);
        expect(decoded === undefined || decoded.length !== 1 || decoded[0] !== 0xaa).toBe(true);
      }),
    );
  });

  it('pads by PSS as OpenSSL does, in both directions, and refuses another digest', () => {
    const message = hex('010203');
    const digest = nobleUtpmCrypto.hash(TPM_ALG.SHA256, message);
    const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 17 };
    const theirs = new Uint8Array(sign('sha256', message, { key: privateKey, ...pss }));
    expect(isPss(2048, rsaPublic(key, theirs), digest, digester)).toBe(true);
    expect(
      isPss(
        2048,
        rsaPublic(key, theirs),
        digest.map((byte) => byte ^ 1),
        digester,
      ),
    ).toBe(false);
    const block = encodePss(2048, digest, digester, nobleUtpmCrypto.random) ?? new Uint8Array(0);
    const ours = nobleUtpmCrypto.rsaPrivate(key, block);
    expect(verify('sha256', message, { key: publicKey, padding: pss.padding, saltLength: 32 }, ours)).toBe(true);
  });

  it('pads by PKCS #1 v1.5 so that it comes back, and refuses what is none', () => {
    const block = encodeRsaes(key.size, hex('0102'), nobleUtpmCrypto.random) ?? new Uint8Array(0);
    expect(decodeRsaes(block)).toEqual(hex('0102'));
    expect(decodeRsaes(block.map((byte, i) => (i === 1 ? 1 : byte)))).toBeUndefined();
    expect(encodeRsaes(key.size, new Uint8Array(key.size - 10), nobleUtpmCrypto.random)).toBeUndefined();
  });
});

describe('elliptic curves', () => {
  it.each([3, 4, 5])('multiply the generator as OpenSSL does, and refuse points off the curve: curve %i', (curve) => {
    const size = [32, 48, 66][curve - 3] ?? 0;
    const scalar = toBytes(0x1234567890abcdefn, size);
    const point = nodeUtpmCrypto.eccMultiply(curve, scalar);
    expect(nobleUtpmCrypto.eccMultiply(curve, scalar)).toEqual(point);
    const off = { x: point?.x ?? scalar, y: (point?.y ?? scalar).map((byte, i) => (i === size - 1 ? byte ^ 1 : byte)) };
    expect(nobleUtpmCrypto.eccMultiply(curve, scalar, off)).toBeUndefined();
    expect(nobleUtpmCrypto.eccMultiply(curve, new Uint8Array(size))).toBeUndefined();
  });

  it.each([
    ['noble', nobleUtpmCrypto],
    ['node:crypto', nodeUtpmCrypto],
  ] as const)('sign a digest and a message so that OpenSSL verifies: %s', (_, crypto) => {
    const d = toBytes(77n, 32);
    const point = nobleUtpmCrypto.eccMultiply(3, d) ?? { x: d, y: d };
    const message = hex('616263');
    const digest = crypto.hash(TPM_ALG.SHA256, message);
    const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
    const spki = createPublicKey({
      format: 'jwk',
      key: { kty: 'EC', crv: 'P-256', x: base64url(point.x), y: base64url(point.y) },
    });
    for (const input of [
      { hash: TPM_ALG.SHA256, digest },
      { hash: TPM_ALG.SHA256, digest, message },
    ]) {
      const { r, s } = crypto.ecdsaSign({ curve: 3, d, ...point }, input);
      const both = Buffer.concat([r, s]);
      expect(verify('sha256', message, { key: spki, dsaEncoding: 'ieee-p1363' }, both)).toBe(true);
      expect(crypto.ecdsaVerify(3, point, digest, { r, s })).toBe(true);
      expect(crypto.ecdsaVerify(3, point, digest, { r: s, s: r })).toBe(false);
    }
  });
});
