/** Signed images: node:crypto as the independent signer and verifier. */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  inspectPal,
  linkPal,
  measurePal,
  PalLinkerError,
  type PalSigner,
  palSignedMessage,
  parsePalImage,
  parsePalSignature,
  signPal,
  unsignedPal,
  verifyPalSignature,
} from '../src/index.js';
import { nodeVerifier, openSigningKey, spkiOf } from '../src/node.js';
import { pal } from './modules.js';

const image = linkPal({ module: pal(), name: 'signed', version: '1.2.3' });
const other = linkPal({ module: pal(), name: 'signed', version: '1.2.4' });
const keys = {
  'ecdsa-p256-sha256': generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'ecdsa-p384-sha384': generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  'ecdsa-p521-sha512': generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  'rsassa-2048-sha256': generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  ed25519: generateKeyPairSync('ed25519').privateKey,
};
const p256 = keys['ecdsa-p256-sha256'];

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function failure(run: () => unknown): PalLinkerError {
  try {
    run();
  } catch (error) {
    if (error instanceof PalLinkerError) return error;
    throw error;
  }
  throw new Error('expected a PalLinkerError');
}

const flipped = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

describe('signing an image', () => {
  it.each(Object.entries(keys))('%s: verifies, and so does node:crypto over the message', async (algorithm, key) => {
    const signer = openSigningKey(pem(key));
    const signed = await signPal(image, signer, { securityVersion: 7 });
    const found = await verifyPalSignature(signed, nodeVerifier);
    const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
    expect(found).toMatchObject({ algorithm, securityVersion: 7 });
    expect(Buffer.from(found.publicKey)).toEqual(publicKey);
    expect(Buffer.from(found.signer)).toEqual(createHash('sha256').update(publicKey).digest());
    const message = palSignedMessage({ ...found, name: 'signed', version: '1.2.3' });
    const hash = algorithm === 'ed25519' ? null : algorithm.slice(-6);
    expect(verify(hash, message, createPublicKey(key), found.signature)).toBe(true);
  });

  it('signs a message that is these bytes', () => {
    const digest = createHash('sha256').update(image).digest();
    const fields = { name: 'signed', version: '1.2.3', measurement: digest, publicKey: Uint8Array.of(1, 2) };
    const message = palSignedMessage({ ...fields, securityVersion: 0x01020304, algorithm: 'ed25519' });
    const text = (value: string) => Buffer.concat([Buffer.of(value.length), Buffer.from(value)]);
    const parts = [text('casemate PAL signature 1'), Buffer.of(1, 2, 3, 4), digest, text('signed'), text('1.2.3')];
    expect(Buffer.from(message)).toEqual(Buffer.concat([...parts, text('ed25519'), Buffer.of(0, 2, 1, 2)]));
  });

  it('takes any signer, such as one whose signatures are made elsewhere', async () => {
    const publicKey = Uint8Array.from(createPublicKey(p256).export({ type: 'spki', format: 'der' }));
    const seen: Uint8Array[] = [];
    const signer: PalSigner = {
      algorithm: 'ecdsa-p256-sha384',
      publicKey,
      sign: async (data) => {
        seen.push(data);
        return sign('sha384', data, p256);
      },
    };
    const signed = await signPal(image, signer);
    expect((await verifyPalSignature(signed, nodeVerifier)).securityVersion).toBe(0);
    expect(seen.length).toBe(1);
  });

  it('signs with PSS where that is asked for, or the key is for nothing else', async () => {
    const padded = openSigningKey(pem(keys['rsassa-2048-sha256']), { padding: 'pss' });
    expect(padded.algorithm).toBe('rsapss-2048-sha256');
    const own = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey;
    for (const signer of [padded, openSigningKey(pem(own))]) {
      expect((await verifyPalSignature(await signPal(image, signer), nodeVerifier)).algorithm).toBe(
        'rsapss-2048-sha256',
      );
    }
  });

  it('leaves measurement, contents and bytes of the image alone, and can be taken off again', async () => {
    const signed = await signPal(image, openSigningKey(pem(p256)));
    expect(signed.subarray(0, image.length)).toEqual(image);
    expect(measurePal(signed)).toEqual(measurePal(image));
    expect(parsePalImage(signed)).toEqual(parsePalImage(image));
    expect(unsignedPal(signed)).toEqual(image);
    const { signature, ...rest } = inspectPal(signed);
    expect({ ...rest, signature: null }).toEqual(inspectPal(image));
    expect(signature).toMatchObject({ algorithm: 'ecdsa-p256-sha256', securityVersion: 0 });
  });

  it('replaces a signature that is there', async () => {
    const once = await signPal(image, openSigningKey(pem(keys.ed25519)), { securityVersion: 1 });
    const twice = await signPal(once, openSigningKey(pem(keys.ed25519)), { securityVersion: 2 });
    expect(twice.length).toBe(once.length);
    expect(parsePalSignature(twice)?.securityVersion).toBe(2);
  });
});

describe('a signature that is not right', () => {
  let signed: Uint8Array;
  beforeAll(async () => {
    signed = await signPal(image, openSigningKey(pem(p256)), { securityVersion: 3 });
  });

  it('is missed where there is none', async () => {
    expect(parsePalSignature(image)).toBeUndefined();
    await expect(verifyPalSignature(image, nodeVerifier)).rejects.toMatchObject({
      code: 'signature',
      message: 'verify PAL signature: expected a signed image, got one without',
    });
  });

  it('is refused behind another image', () => {
    const moved = new Uint8Array([...other, ...signed.subarray(image.length)]);
    for (const run of [parsePalImage, measurePal, inspectPal, parsePalSignature]) {
      expect(failure(() => run(moved))).toMatchObject({
        code: 'signature',
        message: 'parse PAL signature: expected that of this image, got that of another',
      });
    }
  });

  it('is refused when cut off at any byte, or with a byte behind it', () => {
    for (let length = image.length + 1; length < signed.length; length++) {
      expect(failure(() => parsePalImage(signed.subarray(0, length))).code).toBe('signature');
    }
    expect(failure(() => parsePalImage(new Uint8Array([...signed, 0]))).code).toBe('signature');
  });

  it('is not taken for one where other bytes stand behind the image', () => {
    const behind = new Uint8Array([...image, 0x43, 0x50, 0x53, 0x32]);
    expect(failure(() => parsePalImage(behind))).toMatchObject({ code: 'image', offset: image.length });
  });

  it('is refused with any byte of the file changed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(signed.length - 1), async (at) => {
        await expect(verifyPalSignature(flipped(signed, at), nodeVerifier)).rejects.toBeInstanceOf(PalLinkerError);
      }),
      { numRuns: 300 },
    );
  });

  it('is refused with another security version, which is signed too', async () => {
    const at = image.length + 4 + 2 + 32 + 3;
    expect(parsePalSignature(flipped(signed, at))?.securityVersion).toBe(2);
    await expect(verifyPalSignature(flipped(signed, at), nodeVerifier)).rejects.toMatchObject({ code: 'signature' });
  });

  it('is refused with another algorithm than the key has, and where the verifier says anything but true', async () => {
    const lying = { ...openSigningKey(pem(p256)), algorithm: 'ecdsa-p384-sha256' };
    await expect(verifyPalSignature(await signPal(image, lying), nodeVerifier)).rejects.toMatchObject({
      code: 'signature',
      message: expect.stringContaining('ecdsa-p384-sha256'),
    });
    await expect(verifyPalSignature(signed, () => 1 as never)).rejects.toMatchObject({ code: 'signature' });
  });

  it('is refused for a key that is not in its one encoding', async () => {
    const signer = openSigningKey(pem(p256));
    const { publicKey } = signer;
    const padded = new Uint8Array([0x30, 0x81, ...publicKey.subarray(1)]);
    const renamed = { ...signer, publicKey: padded };
    await expect(verifyPalSignature(await signPal(image, renamed), nodeVerifier)).rejects.toMatchObject({
      code: 'signature',
    });
  });

  it.each([
    ['an algorithm of odd characters', { algorithm: 'ED 25519' }],
    ['an empty signature', { sign: async () => new Uint8Array(0) }],
    ['a signature above 64 KiB', { sign: async () => new Uint8Array(65536) }],
    ['no key', { publicKey: new Uint8Array(0) }],
  ])('cannot be made with %s', async (_, change) => {
    const signer = { ...openSigningKey(pem(p256)), ...change };
    await expect(signPal(image, signer)).rejects.toMatchObject({ code: 'signature' });
  });

  it.each([-1, 1.5, 2 ** 32, Number.NaN])('cannot be made for the security version %d', async (securityVersion) => {
    await expect(signPal(image, openSigningKey(pem(p256)), { securityVersion })).rejects.toMatchObject({
      code: 'signature',
    });
  });
});

describe('any signature', () => {
  const bytes = (max: number) => fc.uint8Array({ minLength: 1, maxLength: max });
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,30}$/);

  it('comes back as it was given', async () => {
    await fc.assert(
      fc.asyncProperty(
        name,
        bytes(3000),
        bytes(5000),
        fc.nat(0xffffffff),
        async (algorithm, publicKey, value, version) => {
          const signer: PalSigner = { algorithm, publicKey, sign: async () => value };
          const signed = await signPal(image, signer, { securityVersion: version });
          expect(parsePalSignature(signed)).toEqual({
            ...{ algorithm, publicKey, securityVersion: version, signature: value },
            ...{
              measurement: measurePal(image),
              signer: Uint8Array.from(createHash('sha256').update(publicKey).digest()),
            },
          });
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('keys in files', () => {
  it('opens encrypted ones with their passphrase alone', () => {
    const encrypted = p256
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open sesame' })
      .toString();
    expect(openSigningKey(encrypted, { passphrase: 'open sesame' }).algorithm).toBe('ecdsa-p256-sha256');
    for (const options of [{}, { passphrase: 'wrong' }]) {
      expect(failure(() => openSigningKey(encrypted, options)).message).toContain('passphrase');
    }
  });

  it.each([
    ['text', 'hello'],
    ['a key of 1,024 bits', pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey)],
    ['a curve that is not known', pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey)],
    ['a key that cannot sign', pem(generateKeyPairSync('x25519').privateKey)],
  ])('refuses %s', (_, content) => {
    expect(failure(() => openSigningKey(content))).toMatchObject({ code: 'input' });
  });

  it('reads who a signer is from PEM or DER, and nothing else', () => {
    const der = createPublicKey(p256).export({ type: 'spki', format: 'der' });
    const text = createPublicKey(p256).export({ type: 'spki', format: 'pem' });
    expect(Buffer.from(spkiOf(der))).toEqual(der);
    expect(Buffer.from(spkiOf(Buffer.from(text)))).toEqual(der);
    for (const wrong of [Buffer.from('hello'), Buffer.from(pem(p256)), Buffer.alloc(0)]) {
      expect(failure(() => spkiOf(wrong)).code).toBe('input');
    }
  });
});
