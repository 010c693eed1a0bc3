import { TPM_ALG } from '@casemate/tpm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openDrbg } from '../src/drbg.js';
import { digesterOf } from '../src/implementation.js';
import { toBytes, toInteger } from '../src/integer.js';
import { nobleUtpmCrypto } from '../src/noble-crypto.js';
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
import { providers, usual } from './providers.js';
import { copy, fromBase64url, hex, hexOf } from './web-crypto.js';

const hmac256 = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array =>
  nobleUtpmCrypto.hmac(TPM_ALG.SHA256, key, ...parts);

describe.each(providers)('the %s provider', (_, provider) => {
  it.each([
    [TPM_ALG.SHA1, 'SHA-1'],
    [TPM_ALG.SHA256, 'SHA-256'],
    [TPM_ALG.SHA384, 'SHA-384'],
    [TPM_ALG.SHA512, 'SHA-512'],
  ] as const)('hashes and authenticates as WebCrypto does: algorithm %i, %s', async (alg, hash) => {
    for (const length of [0, 1, 64, 1000]) {
      const data = new Uint8Array(length).map((_, i) => i);
      const key = new Uint8Array(length + 1).fill(7);
      const theirs = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash }, false, ['sign']);
      const parts = [data.subarray(0, length >> 1), data.subarray(length >> 1)];
      expect(provider.hash(alg, ...parts)).toEqual(new Uint8Array(await crypto.subtle.digest(hash, data)));
      expect(provider.hmac(alg, key, ...parts)).toEqual(new Uint8Array(await crypto.subtle.sign('HMAC', theirs, data)));
    }
  });

  // NIST SP 800-38A, F.3.13, F.3.15 and F.3.17: CFB128 of one key and vector after another.
  it.each([
    ['2b7e151628aed2a6abf7158809cf4f3c', '3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b'],
    [
      '8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b',
      'cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a',
    ],
    [
      '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4',
      'dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b',
    ],
  ])('encrypts by AES-CFB as the NIST vector, and back: key %s', (key, expected) => {
    const iv = hex('000102030405060708090a0b0c0d0e0f');
    const plain = hex('6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51');
    expect(hexOf(provider.aesCfbEncrypt(hex(key), iv, plain))).toBe(expected);
    expect(provider.aesCfbDecrypt(hex(key), iv, hex(expected).subarray(0, 21))).toEqual(plain.subarray(0, 21));
  });
});

describe('HMAC_DRBG', () => {
  // NIST CAVP, drbgvectors_no_reseed, HMAC_DRBG.rsp, SHA-256, no prediction resistance, COUNT = 0.
  it('gives the second output of the NIST vector', () => {
    const entropy = hex('ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488');
    const nonce = hex('659ba96c601dc69fc902940805ec0ca8');
    const drbg = openDrbg(hmac256, 32, entropy, nonce);
    drbg.generate(128);
    expect(hexOf(drbg.generate(128))).toBe(
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

const oaep = { name: 'RSA-OAEP', hash: 'SHA-256' } as const;
const pair = await crypto.subtle.generateKey({ ...oaep, modulusLength: 2048, publicExponent: hex('010001') }, true, [
  'encrypt',
  'decrypt',
]);
const jwk = await crypto.subtle.exportKey('jwk', pair.privateKey);
const integer = (text: string | undefined): bigint => toInteger(fromBase64url(text));
const key: RsaPrivateKey = rsaPrivateKey(integer(jwk.n), integer(jwk.e), integer(jwk.p));
const digester = digesterOf(nobleUtpmCrypto, TPM_ALG.SHA256);

describe('RSA', () => {
  it.each(providers)(
    'makes keys from a stream of bytes, and the private operation undoes the public one: %s',
    (_, provider) => {
      const drbg = openDrbg(hmac256, 32, new Uint8Array(32));
      const made = generateRsaKey(1024, 65537n, drbg.generate, provider.isProbablePrime);
      expect(made.size).toBe(128);
      const input = toBytes(12345n, 128);
      const output = provider.rsaPrivate(made, input);
      expect(rsaPublic(made, output)).toEqual(input);
      expect(usual.rsaPrivate(made, input)).toEqual(output);
    },
  );

  it('completes a private key from one prime as WebCrypto has it, and refuses a number that is none of its primes', () => {
    expect([key.q, key.dP, key.dQ, key.qInv]).toEqual([jwk.q, jwk.dp, jwk.dq, jwk.qi].map(integer));
    expect(() => rsaPrivateKey(key.n, key.e, key.p + 2n)).toThrow(RangeError);
  });

  it('pads by OAEP as WebCrypto does, in both directions', async () => {
    const label = hex('6c6162656c00');
    const message = hex('00010203');
    const theirs = await crypto.subtle.encrypt({ name: 'RSA-OAEP', label }, pair.publicKey, message);
    expect(decodeOaep(nobleUtpmCrypto.rsaPrivate(key, new Uint8Array(theirs)), label, digester)).toEqual(message);
    const block = encodeOaep(key.size, message, label, digester, nobleUtpmCrypto.random) ?? new Uint8Array(0);
    const ours = copy(rsaPublic(key, block));
    expect(new Uint8Array(await crypto.subtle.decrypt({ name: 'RSA-OAEP', label }, pair.privateKey, ours))).toEqual(
      message,
    );
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

  it('pads by PSS as WebCrypto does, in both directions, and refuses another digest', async () => {
    const message = hex('010203');
    const digest = nobleUtpmCrypto.hash(TPM_ALG.SHA256, message);
    const pss = { name: 'RSA-PSS', hash: 'SHA-256' } as const;
    const { kty, n, e, d, p, q, dp, dq, qi } = jwk;
    const signing = { kty, n, e, d, p, q, dp, dq, qi } as typeof jwk;
    const theirKey = await crypto.subtle.importKey('jwk', signing, pss, false, ['sign']);
    const theirs = new Uint8Array(await crypto.subtle.sign({ name: 'RSA-PSS', saltLength: 17 }, theirKey, message));
    expect(isPss(2048, rsaPublic(key, theirs), digest, digester)).toBe(true);
    const other = digest.map((byte) => byte ^ 1);
    expect(isPss(2048, rsaPublic(key, theirs), other, digester)).toBe(false);
    const block = encodePss(2048, digest, digester, nobleUtpmCrypto.random) ?? new Uint8Array(0);
    const ours = copy(nobleUtpmCrypto.rsaPrivate(key, block));
    const publicKey = await crypto.subtle.importKey('jwk', { kty, n, e } as typeof jwk, pss, false, ['verify']);
    expect(await crypto.subtle.verify({ name: 'RSA-PSS', saltLength: 32 }, publicKey, ours, message)).toBe(true);
  });

  it('pads by PKCS #1 v1.5 so that it comes back, and refuses what is none', () => {
    const block = encodeRsaes(key.size, hex('0102'), nobleUtpmCrypto.random) ?? new Uint8Array(0);
    expect(decodeRsaes(block)).toEqual(hex('0102'));
    expect(decodeRsaes(block.map((byte, i) => (i === 1 ? 1 : byte)))).toBeUndefined();
    expect(encodeRsaes(key.size, new Uint8Array(key.size - 10), nobleUtpmCrypto.random)).toBeUndefined();
  });
});

describe.each(providers)('elliptic curves of the %s provider', (_, provider) => {
  it.each([
    [3, 'P-256'],
    [4, 'P-384'],
    [5, 'P-521'],
  ] as const)(
    'multiply the generator as WebCrypto does, and refuse points off the curve: %i, %s',
    async (curve, namedCurve) => {
      const theirs = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve }, true, ['sign', 'verify']);
      const { d, x, y } = await crypto.subtle.exportKey('jwk', theirs.privateKey);
      const scalar = fromBase64url(d);
      const point = { x: fromBase64url(x), y: fromBase64url(y) };
      expect(provider.eccMultiply(curve, scalar)).toEqual(point);
      expect(provider.eccMultiply(curve, toBytes(1n, scalar.length), point)).toEqual(point);
      const off = { x: point.x, y: point.y.map((byte, i) => (i === scalar.length - 1 ? byte ^ 1 : byte)) };
      expect(provider.eccMultiply(curve, scalar, off)).toBeUndefined();
      expect(provider.eccMultiply(curve, new Uint8Array(scalar.length))).toBeUndefined();
    },
  );

  it('sign a digest and a message so that WebCrypto verifies', async () => {
    const d = toBytes(77n, 32);
    const point = provider.eccMultiply(3, d) ?? { x: d, y: d };
    const message = hex('616263');
    const digest = provider.hash(TPM_ALG.SHA256, message);
    const raw = Uint8Array.of(4, ...point.x, ...point.y);
    const p256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;
    const theirs = await crypto.subtle.importKey('raw', raw, p256, false, ['verify']);
    for (const input of [
      { hash: TPM_ALG.SHA256, digest },
      { hash: TPM_ALG.SHA256, digest, message },
    ]) {
      const { r, s } = provider.ecdsaSign({ curve: 3, d, ...point }, input);
      const both = Uint8Array.of(...r, ...s);
      expect(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, theirs, both, message)).toBe(true);
      expect(provider.ecdsaVerify(3, point, digest, { r, s })).toBe(true);
      expect(provider.ecdsaVerify(3, point, digest, { r: s, s: r })).toBe(false);
    }
  });
});
