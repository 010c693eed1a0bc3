/** TPM2_CertifyX509 of this TPM and of Debian's swtpm: the same bytes, and certificates that OpenSSL verifies. */
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as T from '@casemate/tpm';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import { decodeResponse, fixedKey } from './conversation.js';
import { commandBytes as cb, type RawTpm, resized, responseCode, startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const it = itWith('swtpm', 'openssl');
const A = T.TPM_ALG;
const NONE = new Uint8Array(0);
const NO_SCHEME = { scheme: A.NULL, details: undefined } as const;
const NO_CIPHER = { algorithm: A.NULL, keyBits: undefined, mode: undefined } as const;
const SIGN = 0x40040;
const X509_SIGN = 0x80000;

type Bytes = Uint8Array;
const join2 = (...parts: readonly Bytes[]): Bytes => Uint8Array.from(parts.flatMap((part) => [...part]));
const hex = (text: string): Bytes => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const u32 = (value: number): Bytes => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
function der(tag: number, ...parts: readonly Bytes[]): Bytes {
  const contents = join2(...parts);
  const { length } = contents;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Uint8Array.from([tag, ...size, ...contents]);
}

// --- partial certificates ----------------------------------------------------------------------------------------------------------------

const name = (text: string): Bytes =>
  der(0x30, der(0x31, der(0x30, hex('0603550403'), der(0x0c, new TextEncoder().encode(text)))));
const date = (text: string): Bytes => der(0x17, new TextEncoder().encode(text));
const VALIDITY = der(0x30, date('260101000000Z'), date('360101000000Z'));
const bits = (contents: string): Bytes => der(0x04, der(0x03, hex(contents)));
const keyUsage = (contents: string): Bytes => der(0x30, hex('0603551d0f'), bits(contents));
const tpmaObject = (attributes: number): Bytes =>
  der(0x30, hex('06076781050a010101'), der(0x04, der(0x03, Uint8Array.of(0), u32(attributes))));
const CA = der(0x30, hex('0603551d13 0101ff'), der(0x04, hex('30030101ff')));
const DIGITAL_SIGNATURE = keyUsage('0780');
const extensions = (...list: readonly Bytes[]): Bytes => der(0xa3, der(0x30, ...list));

function partial(...list: readonly Bytes[]): Bytes {
  return der(0x30, name('issuer'), VALIDITY, name('subject'), extensions(...list));
}

// --- keys --------------------------------------------------------------------------------------------------------------------------------

interface Key {
  readonly inPublic: { readonly type: number; readonly objectAttributes: number };
  readonly inPrivate: unknown;
}

function eccKey(curve: keyof typeof T.TPM_ECC_CURVE, objectAttributes = SIGN, scheme: unknown = NO_SCHEME): Key {
  const curveID = T.TPM_ECC_CURVE[curve];
  const { d, x, y } = fixedKey(curveID);
  const parameters = { symmetric: NO_CIPHER, scheme, kdf: NO_SCHEME, curveID };
  const inPublic = { type: A.ECC, nameAlg: A.SHA256, objectAttributes, authPolicy: NONE, parameters, unique: { x, y } };
  return { inPublic, inPrivate: { sensitiveType: A.ECC, authValue: NONE, seedValue: NONE, sensitive: d } };
}

const rsaKeys = new Map<number, { readonly n: Bytes; readonly p: Bytes }>();
function rsaKey(keyBits: number, objectAttributes = SIGN, nameAlg: number = A.SHA256): Key {
  const known = rsaKeys.get(keyBits) ?? newRsaKey(keyBits);
  rsaKeys.set(keyBits, known);
  const parameters = { symmetric: NO_CIPHER, scheme: NO_SCHEME, keyBits, exponent: 0 };
  const inPublic = { type: A.RSA, nameAlg, objectAttributes, authPolicy: NONE, parameters, unique: known.n };
  return { inPublic, inPrivate: { sensitiveType: A.RSA, authValue: NONE, seedValue: NONE, sensitive: known.p } };
}

function newRsaKey(keyBits: number): { readonly n: Bytes; readonly p: Bytes } {
  const { n = '', p = '' } = generateKeyPairSync('rsa', { modulusLength: keyBits }).privateKey.export({
    format: 'jwk',
  });
  return { n: new Uint8Array(Buffer.from(n, 'base64url')), p: new Uint8Array(Buffer.from(p, 'base64url')) };
}

const HMAC_KEY: Key = {
  inPublic: {
    type: A.KEYEDHASH,
    nameAlg: A.SHA256,
    objectAttributes: SIGN,
    authPolicy: NONE,
    parameters: { scheme: { scheme: A.HMAC, details: { hashAlg: A.SHA256 } } },
    unique: new Uint8Array(createHash('sha256').update('k'.repeat(32)).update('secret').digest()),
  } as Key['inPublic'],
  inPrivate: {
    sensitiveType: A.KEYEDHASH,
    authValue: NONE,
    seedValue: new TextEncoder().encode('k'.repeat(32)),
    sensitive: new TextEncoder().encode('secret'),
  },
};

// --- the two TPMs ------------------------------------------------------------------------------------------------------------------------

let tpms: readonly RawTpm[] = [];
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'utpm-x509-'));
  // Where swtpm is not installed, nothing below runs.
  tpms = [await openUtpm({ startup: true }), await startSwtpm().catch(() => openUtpm({ startup: true }))];
});
afterAll(async () => {
  await Promise.all(tpms.map((tpm) => tpm.close()));
  rmSync(directory, { recursive: true });
});

// swtpm asks for the first use of a protected value to be sent again.
async function send(tpm: RawTpm, command: Bytes): Promise<Bytes> {
  const response = await tpm.send(command);
  return responseCode(response) === T.TPM_RC.RETRY ? await tpm.send(command) : response;
}

async function load(tpm: RawTpm, { inPublic, inPrivate }: Key): Promise<number> {
  const response = await tpm.send(cb(T.LoadExternal, [], { inPrivate, inPublic, hierarchy: T.TPM_RH.NULL }));
  expect(responseCode(response)).toBe(0);
  return decodeResponse(T.LoadExternal, response).handle;
}

async function flushAll(tpm: RawTpm): Promise<void> {
  for (const i of [0, 1, 2]) await tpm.send(cb(T.FlushContext, [], { flushHandle: 0x80000000 + i }));
}

const scheme = (alg: number, hashAlg: number): unknown => ({ scheme: alg, details: { hashAlg } });
const ECDSA = scheme(A.ECDSA, A.SHA256);

interface Certified {
  readonly code: number;
  readonly addedToCertificate?: Bytes;
  readonly tbsDigest?: Bytes;
  readonly signature?: { readonly sigAlg: number; readonly signature: Readonly<Record<string, Bytes>> };
}

/** The answers of both TPMs, the same keys in both. */
async function certified(
  object: Key,
  signer: Key,
  inScheme: unknown,
  partialCertificate: Bytes,
  reserved = NONE,
): Promise<readonly [Certified, Certified]> {
  const answers = await Promise.all(
    tpms.map(async (tpm) => {
      const handles = [await load(tpm, object), await load(tpm, signer)];
      const response = await send(tpm, cb(T.CertifyX509, handles, { reserved, inScheme, partialCertificate }));
      await flushAll(tpm);
      const code = responseCode(response);
      return code === 0 ? { code, ...decodeResponse(T.CertifyX509, response).values } : { code };
    }),
  );
  return answers as unknown as readonly [Certified, Certified]; // as many as TPMs
}

/** The certificate out of what the caller had, what the TPM added, and the signature in the form of X.509. */
function assemble(certificate: Bytes, { addedToCertificate = NONE, signature }: Certified): Bytes {
  const [version, serial, algorithm, publicKey] = members(addedToCertificate);
  const [issuer, validity, subject, rest] = members(certificate);
  const parts = [version, serial, algorithm, issuer, validity, subject, publicKey, rest].map((part) => part ?? NONE);
  const { sig, signatureR = NONE, signatureS = NONE } = signature?.signature ?? {};
  const value = sig ?? der(0x30, number(signatureR), number(signatureS));
  return der(0x30, der(0x30, ...parts), algorithm ?? NONE, der(0x03, Uint8Array.of(0), value));
}

function number(unsigned: Bytes): Bytes {
  const digits = unsigned.subarray(unsigned.findIndex((byte) => byte !== 0));
  return der(0x02, (digits[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : NONE, digits);
}

function members(bytes: Bytes): Bytes[] {
  const found: Bytes[] = [];
  for (let at = spanAt(bytes, 0).contents; at < bytes.length; ) {
    const { end } = spanAt(bytes, at);
    found.push(bytes.subarray(at, end));
    at = end;
  }
  return found;
}

function spanAt(bytes: Bytes, at: number): { readonly contents: number; readonly end: number } {
  const [, first = 0, high = 0, low = 0] = bytes.subarray(at);
  if (first === 0x81) return { contents: at + 3, end: at + 3 + high };
  if (first === 0x82) return { contents: at + 4, end: at + 4 + high * 256 + low };
  return { contents: at + 2, end: at + 2 + first };
}

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function writePem(file: string, certificate: Bytes): void {
  const lines =
    Buffer.from(certificate)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  writeFileSync(join(directory, file), `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`);
}

const SIGNERS: readonly (readonly [label: string, key: () => Key, inScheme: unknown])[] = [
  ['ECDSA with P-256 and SHA-256', () => eccKey('NIST_P256'), ECDSA],
  ['ECDSA with P-256 and SHA-1', () => eccKey('NIST_P256'), scheme(A.ECDSA, A.SHA1)],
  ['ECDSA with P-384 and SHA-384', () => eccKey('NIST_P384'), scheme(A.ECDSA, A.SHA384)],
  ['ECDSA with P-521 and SHA-512', () => eccKey('NIST_P521'), scheme(A.ECDSA, A.SHA512)],
  ['RSASSA with 2048 bits and SHA-256', () => rsaKey(2048), scheme(A.RSASSA, A.SHA256)],
  ['RSASSA with 1024 bits and SHA-512', () => rsaKey(1024), scheme(A.RSASSA, A.SHA512)],
  ['RSASSA with 2048 bits and SHA-384, named by SHA-1', () => rsaKey(2048, SIGN, A.SHA1), scheme(A.RSASSA, A.SHA384)],
  ['RSASSA with 3072 bits and SHA-1', () => rsaKey(3072), scheme(A.RSASSA, A.SHA1)],
  ['RSAPSS with 2048 bits and SHA-256', () => rsaKey(2048), scheme(A.RSAPSS, A.SHA256)],
  ['RSAPSS with 1024 bits and SHA-512', () => rsaKey(1024), scheme(A.RSAPSS, A.SHA512)],
];

describe('TPM2_CertifyX509', () => {
  for (const [label, key, inScheme] of SIGNERS) {
    it(`adds the same as swtpm, and OpenSSL verifies the certificates of both: ${label}`, async () => {
      const root = der(0x30, name('root'), VALIDITY, name('root'), extensions(CA, keyUsage('0106')));
      const leaf = der(0x30, name('root'), VALIDITY, name('leaf'), extensions(DIGITAL_SIGNATURE, tpmaObject(SIGN)));
      const roots = await certified(key(), key(), inScheme, root);
      const leaves = await certified(eccKey('NIST_P224'), key(), inScheme, leaf);
      for (const [mine, theirs] of [roots, leaves]) {
        expect(mine.code).toBe(0);
        expect(mine.addedToCertificate).toEqual(theirs.addedToCertificate);
        expect(mine.tbsDigest).toEqual(theirs.tbsDigest);
        if (mine.signature?.sigAlg === A.RSASSA) expect(mine.signature).toEqual(theirs.signature);
      }
      for (const side of [0, 1] as const) {
        writePem('root.pem', assemble(root, roots[side]));
        writePem('leaf.pem', assemble(leaf, leaves[side]));
        // SHA-1 and 1024 bits are below what OpenSSL takes by default.
        const verified = openssl('verify', '-auth_level', '0', '-check_ss_sig', '-CAfile', 'root.pem', 'leaf.pem');
        expect(verified).toBe('leaf.pem: OK\n');
        expect(openssl('x509', '-in', 'leaf.pem', '-noout', '-subject')).toBe('subject=CN = leaf\n');
      }
    });
  }

  for (const curve of ['NIST_P192', 'NIST_P224', 'NIST_P256', 'NIST_P384', 'NIST_P521', 'SM2_P256'] as const) {
    it(`writes the public key of ${curve} as swtpm does`, async () => {
      const [mine, theirs] = await certified(eccKey(curve), eccKey('NIST_P256'), ECDSA, partial(DIGITAL_SIGNATURE));
      expect(mine.code).toBe(0);
      expect(mine.addedToCertificate).toEqual(theirs.addedToCertificate);
    });
  }

  it('says of RSAPSS with SHA-1 what RFC 4055 has: defaults left out, where swtpm writes NULL', async () => {
    const request = [rsaKey(2048), rsaKey(2048), scheme(A.RSAPSS, A.SHA1), partial(DIGITAL_SIGNATURE)] as const;
    const [mine, theirs] = await certified(...request);
    const algorithm = (side: Certified): string =>
      Buffer.from(members(side.addedToCertificate ?? NONE)[2] ?? NONE).toString('hex');
    expect(algorithm(mine)).toBe('300d06092a864886f70d01010a3000');
    expect(algorithm(theirs)).toBe('300d06092a864886f70d01010a0500');
    const root = der(0x30, name('root'), VALIDITY, name('root'), extensions(CA, keyUsage('0106')));
    const [own] = await certified(rsaKey(2048), rsaKey(2048), scheme(A.RSAPSS, A.SHA1), root);
    writePem('pss.pem', assemble(root, own));
    expect(openssl('verify', '-auth_level', '0', '-check_ss_sig', '-CAfile', 'pss.pem', 'pss.pem')).toBe(
      'pss.pem: OK\n',
    );
  });

  it('refuses to leave a certificate unsigned, which ends swtpm', async () => {
    const ours = await openUtpm({ startup: true });
    const request = { reserved: NONE, inScheme: ECDSA, partialCertificate: partial(DIGITAL_SIGNATURE) };
    const handle = await load(ours, eccKey('NIST_P256'));
    const response = await ours.send(cb(T.CertifyX509, [handle, T.TPM_RH.NULL], request));
    expect(responseCode(response)).toBe(T.TPM_RC.KEY + 0x100);
    await ours.close();
  });

  it('takes the algorithm of the signature from the caller where it is there', async () => {
    const own = der(0x30, hex('06082a8648ce3d040302'));
    const given = der(0x30, own, name('i'), VALIDITY, name('s'), extensions(DIGITAL_SIGNATURE));
    const [mine, theirs] = await certified(eccKey('NIST_P256'), eccKey('NIST_P256'), ECDSA, given);
    expect(members(mine.addedToCertificate ?? NONE)).toHaveLength(3);
    expect(mine.addedToCertificate).toEqual(theirs.addedToCertificate);
    expect(mine.tbsDigest).toEqual(theirs.tbsDigest);
  });

  it('makes certificates of its own keys for the task function of the client', async () => {
    const tpm = new T.Tpm(await openUtpm({ startup: true }));
    const key = await T.createPrimary(tpm, { template: T.signingKeyTemplate('ecc-p256') });
    const names = { issuer: 'uTPM', subject: 'uTPM' };
    const dates = { notBefore: new Date('2026-01-01'), notAfter: new Date('2036-01-01') };
    const options = {
      object: key,
      signer: key,
      keyUsage: ['keyCertSign', 'nonRepudiation'],
      extensions: [CA],
    } as const;
    writePem('own.pem', await T.certifyX509(tpm, { ...options, ...names, ...dates }));
    expect(openssl('verify', '-check_ss_sig', '-CAfile', 'own.pem', 'own.pem')).toBe('own.pem: OK\n');
    await tpm.close();
  });

  it('lists the same commands as swtpm, this one among them', async () => {
    const request = { capability: T.TPM_CAP.COMMANDS, property: 0, propertyCount: 254 };
    const [mine, theirs] = await Promise.all(tpms.map((tpm) => tpm.send(cb(T.GetCapability, [], request))));
    expect(mine).toEqual(theirs);
    expect(Buffer.from(mine ?? NONE).readUInt32BE(15)).toBe(110);
  });

  it('refuses what swtpm refuses, with the same code', async () => {
    const signer = eccKey('NIST_P256');
    const good = partial(DIGITAL_SIGNATURE);
    const requests: readonly Parameters<typeof certified>[] = [
      [signer, signer, ECDSA, good, Uint8Array.of(0)],
      [signer, eccKey('NIST_P256', 0x20040), ECDSA, good],
      [signer, eccKey('NIST_P256', SIGN | X509_SIGN), ECDSA, good],
      [signer, eccKey('NIST_P256', SIGN, ECDSA), NO_SCHEME, good],
      [signer, eccKey('NIST_P256', SIGN, ECDSA), scheme(A.ECDSA, A.SHA384), good],
      [signer, signer, NO_SCHEME, good],
      [signer, signer, scheme(A.RSASSA, A.SHA256), good],
      [signer, signer, scheme(A.ECSCHNORR, A.SHA256), good],
      [eccKey('BN_P256'), signer, ECDSA, good],
      [HMAC_KEY, signer, ECDSA, good],
      [signer, HMAC_KEY, NO_SCHEME, good],
      [
        signer,
        HMAC_KEY,
        NO_SCHEME,
        der(0x30, hex('3000'), name('i'), VALIDITY, name('s'), extensions(DIGITAL_SIGNATURE)),
      ],
      // Elements.
      [signer, signer, ECDSA, NONE],
      [signer, signer, ECDSA, hex('30')],
      [signer, signer, ECDSA, hex('3000')],
      [signer, signer, ECDSA, hex('3080')],
      [signer, signer, ECDSA, hex('3100')],
      [signer, signer, ECDSA, join2(good, hex('00'))],
      [signer, signer, ECDSA, der(0x30, name('i'), VALIDITY, extensions(DIGITAL_SIGNATURE))],
      [signer, signer, ECDSA, der(0x30, name('i'), VALIDITY, name('s'))],
      [signer, signer, ECDSA, der(0x30, extensions(DIGITAL_SIGNATURE), name('i'), VALIDITY, name('s'))],
      [signer, signer, ECDSA, der(0x30, name('i'), name('i'), VALIDITY, name('s'), name('s'), extensions())],
      [signer, signer, ECDSA, der(0x30, name('i'), VALIDITY, name('s'), hex('8100'), extensions(DIGITAL_SIGNATURE))],
      [signer, signer, ECDSA, der(0x30, name('i'), VALIDITY, name('s'), extensions(), extensions(DIGITAL_SIGNATURE))],
      [signer, signer, ECDSA, der(0x30, name('i'), VALIDITY, name('s'), hex('a300'))],
      [signer, signer, ECDSA, der(0x30, name('i'), VALIDITY, name('s'), hex('a3023100'))],
      [signer, signer, ECDSA, der(0x30, name('i'), VALIDITY, name('s'), hex('a3020500'))],
      // A length that is longer than it must be.
      [signer, signer, ECDSA, join2(hex('3082'), Uint8Array.of(0, good.length - 2), good.subarray(2))],
      [signer, signer, ECDSA, join2(hex('308300'), Uint8Array.of(0, good.length - 2), good.subarray(2))],
      // Extensions.
      [signer, signer, ECDSA, partial()],
      [signer, signer, ECDSA, partial(CA)],
      [signer, signer, ECDSA, partial(der(0x31, NONE), DIGITAL_SIGNATURE)],
      [signer, signer, ECDSA, partial(DIGITAL_SIGNATURE, der(0x31, NONE))],
      [signer, signer, ECDSA, partial(DIGITAL_SIGNATURE, tpmaObject(SIGN))],
      [signer, signer, ECDSA, partial(tpmaObject(SIGN | 2), DIGITAL_SIGNATURE)],
      [signer, signer, ECDSA, partial(tpmaObject(SIGN))],
      [signer, signer, ECDSA, partial(der(0x30, hex('0603551d0f'), der(0x04, hex('0201ff'))))],
      [signer, signer, ECDSA, partial(der(0x30, hex('0603551d0f 0100'), bits('0780')))],
      [signer, signer, ECDSA, partial(der(0x30, hex('0603551d0f 0101ff'), bits('0780')))],
      [signer, signer, ECDSA, partial(der(0x30, hex('0603551d0f')))],
      ...['', '00', '01', '0880', '0080', '000000', '0000000000', '07ff', '0500', '0007', '000780', '0000800000'].map(
        (usage) => [signer, signer, ECDSA, partial(keyUsage(usage))] as const,
      ),
    ] as never; // of one shape, which the tuple of parameters does not see through
    for (const request of requests) {
      const [mine, theirs] = await certified(...request);
      const told = Buffer.from(request[3]).toString('hex');
      expect({ told, code: mine.code.toString(16), digest: mine.tbsDigest }).toEqual({
        told,
        code: theirs.code.toString(16),
        digest: theirs.tbsDigest,
      });
    }
  });

  it('holds each use of a key against the attributes of the object as swtpm does', async () => {
    const signer = eccKey('NIST_P256');
    for (const attributes of [0x40040, 0x20040, 0x60040]) {
      for (let bit = 0; bit < 9; bit++) {
        const usage = Uint8Array.of(bit < 8 ? 0x80 >> bit : 0, bit < 8 ? 0 : 0x80);
        const stated = keyUsage(`07${Buffer.from(usage).toString('hex')}`);
        const [mine, theirs] = await certified(eccKey('NIST_P384', attributes), signer, ECDSA, partial(stated));
        expect({ attributes, bit, code: mine.code }).toEqual({ attributes, bit, code: theirs.code });
      }
    }
  });

  it('answers a command that is cut or has other bits as swtpm does', async () => {
    const certificate = partial(tpmaObject(SIGN), keyUsage('0780'));
    const parameters = { reserved: NONE, inScheme: ECDSA, partialCertificate: certificate };
    const command = cb(T.CertifyX509, [0x80000000, 0x80000001], parameters);
    const [ours, swtpm] = tpms as unknown as readonly [RawTpm, RawTpm];
    for (const tpm of tpms) for (const key of [eccKey('NIST_P384'), eccKey('NIST_P256')]) await load(tpm, key);
    const mutants = [
      ...Array.from({ length: command.length - 10 }, (_, i) => resized(command.slice(0, 10 + i))),
      resized(Uint8Array.from([...command, 0])),
      ...[...command].flatMap((_, at) =>
        at < 10
          ? []
          : [0x01, 0x02, 0x10, 0x20, 0x80].map((flip) => command.map((byte, i) => (i === at ? byte ^ flip : byte))),
      ),
    ];
    const different: string[] = [];
    for (const mutant of mutants) {
      const [a, b] = [responseCode(await send(ours, mutant)), responseCode(await send(swtpm, mutant))];
      if (a !== b)
        different.push(`${a.toString(16)} instead of ${b.toString(16)}: ${Buffer.from(mutant).toString('hex')}`);
    }
    for (const tpm of tpms) await flushAll(tpm);
    // A BIT STRING that ends behind the OCTET STRING around it.
    const known = ['040603050000040040', '040503050000040040'];
    const unknown = different.filter(
      (line) => !known.some((part) => line.startsWith('3c4 instead of 0: ') && line.includes(part)),
    );
    expect(unknown).toEqual([]);
  });
});
