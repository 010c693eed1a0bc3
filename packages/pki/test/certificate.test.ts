import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  buildCsr,
  type CertificateProfile,
  createCertificate,
  createHierarchy,
  decodePem,
  decryptKey,
  deviceMakerTemplate,
  encodePem,
  encryptKey,
  generateKey,
  type Hierarchy,
  type HierarchyTemplate,
  importKey,
  issueFromCsr,
  nameText,
  PkiError,
  PROFILES,
  parseCertificate,
  parseCsr,
  parsePem,
  type SignatureAlgorithm,
  templateProblems,
  validatePath,
} from '../src/index.js';
import { opensslMissing, openWorkshop } from './openssl.js';

const ALGORITHMS = [
  'ecdsa-p256-sha256',
  'ecdsa-p384-sha384',
  'ecdsa-p521-sha512',
  'ed25519',
  'rsassa-2048-sha256',
  'rsapss-2048-sha256',
] as const satisfies readonly SignatureAlgorithm[];
const notBefore = new Date('2026-01-01T00:00:00Z');
const time = new Date('2026-06-01T00:00:00Z');
const uri = 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f';
const subject = { countryName: 'DE', organizationName: 'Maker', commonName: 'edge 0001' };
let hierarchy: Hierarchy;

beforeAll(async () => {
  hierarchy = await createHierarchy(deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' }), {
    notBefore,
  });
});

async function issueDevice(changes: Partial<Parameters<typeof createCertificate>[0]> = {}): Promise<Uint8Array> {
  const key = await generateKey('ecdsa-p256-sha256');
  return createCertificate({
    profile: PROFILES.device,
    subject,
    subjectAltName: { uri: [uri] },
    publicKey: key.publicKey,
    issuer: hierarchy.get('device-ca').issuer,
    notBefore,
    ...changes,
  });
}

describe('keys', () => {
  it.each(ALGORITHMS)('of %s come back from PKCS#8 as they were', async (algorithm) => {
    const key = await generateKey(algorithm);
    const again = await importKey(await key.unsafeExportKey(), algorithm);
    expect(again.publicKey).toEqual(key.publicKey);
    expect(again.algorithm).toBe(algorithm);
  });

  it('are refused for an algorithm that does not fit them, and where the bytes are no key', async () => {
    const pkcs8 = await (await generateKey('ecdsa-p256-sha256')).unsafeExportKey();
    await expect(importKey(pkcs8, 'rsassa-2048-sha256')).rejects.toMatchObject({ code: 'key-mismatch' });
    await expect(importKey(pkcs8, 'ecdsa-p384-sha384')).rejects.toMatchObject({ code: 'key-mismatch' });
    await expect(importKey(pkcs8.subarray(0, 40))).rejects.toMatchObject({ code: 'malformed' });
  });

  it('under a passphrase open with it and with no other', async () => {
    const pkcs8 = await (await generateKey('ed25519')).unsafeExportKey();
    const locked = await encryptKey(pkcs8, 'correct horse');
    expect(await decryptKey(locked, 'correct horse')).toEqual(pkcs8);
    await expect(decryptKey(locked, 'wrong horse')).rejects.toMatchObject({ code: 'wrong-passphrase' });
    await expect(encryptKey(pkcs8, '')).rejects.toMatchObject({ code: 'bad-input' });
  });
});

describe('certificates', () => {
  it('have a positive serial number of 20 bytes that no other has', async () => {
    const serials = await Promise.all(
      Array.from({ length: 20 }, async () => parseCertificate(await issueDevice()).serialNumber),
    );
    expect(new Set(serials).size).toBe(20);
    for (const serial of serials) expect(serial >> 158n).toBe(1n);
  });

  it('end no later than their issuer, and are refused when they are asked to', async () => {
    const ca = parseCertificate(hierarchy.get('device-ca').certificate);
    const late = new Date(ca.notAfter.getTime() - 86_400_000);
    expect(parseCertificate(await issueDevice({ notBefore: late })).notAfter).toEqual(ca.notAfter);
    await expect(issueDevice({ notAfter: new Date(ca.notAfter.getTime() + 1000) })).rejects.toMatchObject({
      code: 'not-allowed',
    });
    const before = new Date(notBefore.getTime() - 1000);
    await expect(issueDevice({ notAfter: before })).rejects.toMatchObject({ code: 'bad-input' });
  });

  it('are not issued by a key that is not the issuer, by an end entity, or past a path length', async () => {
    const key = await generateKey('ecdsa-p256-sha256');
    const { certificate, issuer } = hierarchy.get('device-ca');
    await expect(issueDevice({ issuer: { certificate, signer: key } })).rejects.toMatchObject({ code: 'key-mismatch' });
    const leaf = hierarchy.get('software-signing');
    await expect(issueDevice({ issuer: leaf.issuer })).rejects.toMatchObject({ code: 'not-allowed' });
    const below = {
      profile: PROFILES.deviceCa,
      subject: { commonName: 'below' },
      publicKey: key.publicKey,
      issuer,
      notBefore,
    };
    await expect(createCertificate(below)).rejects.toMatchObject({ code: 'not-allowed' });
  });

  it('are not issued with names that the profile does not have', async () => {
    await expect(issueDevice({ subjectAltName: {} })).rejects.toMatchObject({ code: 'not-allowed' });
    await expect(issueDevice({ subjectAltName: { uri: ['urn:uuid:1'] } })).rejects.toMatchObject({
      code: 'not-allowed',
    });
    await expect(issueDevice({ subjectAltName: { uri: [uri], ip: ['10.0.0.1'] } })).rejects.toMatchObject({
      code: 'not-allowed',
    });
    await expect(issueDevice({ subject: { countryName: 'DE' } })).rejects.toMatchObject({ code: 'not-allowed' });
    await expect(issueDevice({ subject: { ...subject, localityName: 'X' } })).rejects.toMatchObject({
      code: 'not-allowed',
    });
    await expect(issueDevice({ subject: { commonName: '' } })).rejects.toMatchObject({ code: 'bad-input' });
  });

  it('are not issued from a profile that contradicts itself', async () => {
    const profile: CertificateProfile = { ...PROFILES.device, keyUsage: ['keyCertSign'] };
    await expect(issueDevice({ profile })).rejects.toMatchObject({ code: 'bad-input' });
  });

  it('are refused by the reader when they are cut short anywhere or have bytes behind them', async () => {
    const der = await issueDevice();
    for (let length = 0; length < der.length; length++) {
      expect(() => parseCertificate(der.subarray(0, length))).toThrow(PkiError);
    }
    expect(() => parseCertificate(Uint8Array.of(...der, 0))).toThrow(PkiError);
  });

  it('of arbitrary and of changed bytes give typed errors only', async () => {
    const der = await issueDevice();
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
        const changed = der.slice();
        changed[at] = (changed[at] ?? 0) ^ bits;
        try {
          parseCertificate(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(PkiError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('paths in the hierarchy', () => {
  it('are valid for the purpose of their CA and for no other', async () => {
    const { root, certificate } = hierarchy.get('device-ca');
    const leaf = await issueDevice();
    expect(
      await validatePath(leaf, [certificate], [root], { purpose: 'client-auth', time, name: { uri } }),
    ).toMatchObject({ ok: true });
    for (const purpose of ['code-signing', 'tpm-ak', 'tpm-ek'] as const) {
      expect(await validatePath(leaf, [certificate], [root], { purpose, time })).toMatchObject({
        problem: { code: 'extended-key-usage' },
      });
    }
  });

  it('are refused without the intermediate, for another name, and outside the validity', async () => {
    const { root, certificate } = hierarchy.get('device-ca');
    const leaf = await issueDevice();
    const purpose = 'client-auth';
    expect(await validatePath(leaf, [], [root], { purpose, time })).toMatchObject({ problem: { code: 'no-path' } });
    expect(await validatePath(leaf, [certificate], [], { purpose, time })).toMatchObject({
      problem: { code: 'no-path' },
    });
    expect(
      await validatePath(leaf, [certificate], [root], { purpose, time, name: { dns: 'x.example' } }),
    ).toMatchObject({
      problem: { code: 'name-mismatch' },
    });
    const early = new Date(notBefore.getTime() - 1);
    expect(await validatePath(leaf, [certificate], [root], { purpose, time: early })).toMatchObject({
      problem: { code: 'not-yet-valid' },
    });
  });

  it('are refused when a CA certifies a name outside its organization, which createCertificate does not', async () => {
    const { root, certificate, signer, issuer } = hierarchy.get('device-ca');
    const foreign = { ...subject, organizationName: 'Other' };
    await expect(issueDevice({ subject: foreign, issuer })).rejects.toMatchObject({ code: 'not-allowed' });
    const { nameConstraints: _, ...careless } = parseCertificate(certificate);
    const leaf = await issueDevice({ subject: foreign, issuer: { certificate: careless, signer } });
    expect(await validatePath(leaf, [certificate], [root], { purpose: 'client-auth', time })).toMatchObject({
      problem: { code: 'name-constraints' },
    });
  });

  it('are refused when a CA signs software itself', async () => {
    const { certificate, root } = hierarchy.get('software-signing-ca');
    expect(await validatePath(certificate, [], [root], { purpose: 'code-signing', time })).toMatchObject({
      problem: { code: 'key-usage' },
    });
  });

  it('are not issued for purposes that the issuer may not give', async () => {
    const key = await generateKey('ecdsa-p256-sha256');
    const request = { profile: PROFILES.softwareSigning, subject, publicKey: key.publicKey, notBefore };
    await expect(createCertificate({ ...request, issuer: hierarchy.get('device-ca').issuer })).rejects.toMatchObject({
      code: 'not-allowed',
    });
  });

  it('are refused when the leaf is signed by another key under the name of the CA', async () => {
    const other = await createHierarchy(deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' }), {
      notBefore,
    });
    const leaf = await issueDevice({ issuer: other.get('device-ca').issuer });
    const { root, certificate } = hierarchy.get('device-ca');
    expect(await validatePath(leaf, [certificate], [root], { purpose: 'client-auth', time })).toMatchObject({
      ok: false,
    });
  });

  it('are refused as malformed for bytes that are no certificate, and pass over such intermediates', async () => {
    const { root, certificate } = hierarchy.get('device-ca');
    const options = { purpose: 'client-auth', time } as const;
    expect(await validatePath(Uint8Array.of(1), [], [root], options)).toMatchObject({ problem: { code: 'malformed' } });
    expect(await validatePath(await issueDevice(), [Uint8Array.of(1), certificate], [root], options)).toMatchObject({
      ok: true,
    });
  });
});

describe('certification requests', () => {
  const issue = async (csr: Uint8Array) =>
    issueFromCsr(csr, { profile: PROFILES.device, issuer: hierarchy.get('device-ca').issuer, notBefore });

  it('give a certificate with exactly what the profile and the request have', async () => {
    const key = await generateKey('ecdsa-p256-sha256');
    const options = {
      subject,
      subjectAltName: { uri: [uri] },
      keyUsage: ['digitalSignature'] as const,
      extendedKeyUsage: ['clientAuth'],
    };
    const certificate = parseCertificate(await issue(await buildCsr(key, options)));
    expect(nameText(certificate.subject)).toBe('CN=edge 0001,O=Maker,C=DE');
    expect(certificate.publicKey).toEqual(key.publicKey);
    expect([...(certificate.keyUsage ?? [])]).toEqual(['digitalSignature']);
    expect(certificate.basicConstraints).toEqual({ ca: false });
    expect(certificate.extensions.map((each) => each.oid)).toEqual(
      ['19', '15', '37', '17', '14', '35'].map((arc) => `2.5.29.${arc}`),
    );
  });

  it('are refused for any extension, usage or attribute that the profile does not name', async () => {
    const key = await generateKey('ecdsa-p256-sha256');
    const names = { subject, subjectAltName: { uri: [uri] } };
    const refused = async (options: Parameters<typeof buildCsr>[1]) =>
      expect(issue(await buildCsr(key, options))).rejects.toMatchObject({ code: 'not-allowed' });
    await refused({ ...names, keyUsage: ['keyCertSign'] });
    await refused({ ...names, extendedKeyUsage: ['codeSigning'] });
    await refused({ ...names, subject: { ...subject, localityName: 'X' } });
    await refused({ ...names, subjectAltName: { uri: [uri], email: ['a@maker.example'] } });
    const ca = { oid: '2.5.29.19', critical: true, value: Uint8Array.of(0x30, 3, 1, 1, 0xff) };
    await refused({ ...names, extensions: [ca] });
  });

  it('are refused when they are signed by another key than the one that they are for', async () => {
    const [key, other] = [await generateKey('ecdsa-p256-sha256'), await generateKey('ecdsa-p256-sha256')];
    const csr = await buildCsr(key, { subject, subjectAltName: { uri: [uri] } });
    const { publicKey } = other;
    const at = parseCsr(csr).publicKey;
    const index = Buffer.from(csr).indexOf(Buffer.from(at));
    const changed = csr.slice();
    changed.set(publicKey, index);
    await expect(issue(changed)).rejects.toMatchObject({ code: 'bad-signature' });
  });

  it('are refused by the reader when they are cut short anywhere', async () => {
    const csr = await buildCsr(await generateKey('ecdsa-p256-sha256'), { subject, subjectAltName: { uri: [uri] } });
    for (let length = 0; length < csr.length; length++)
      expect(() => parseCsr(csr.subarray(0, length))).toThrow(PkiError);
  });
});

describe('templates', () => {
  it('explain what is wrong with them', () => {
    const template: HierarchyTemplate = deviceMakerTemplate({ organizationName: 'Maker' });
    expect(templateProblems(template)).toEqual([]);
    const reversed = { ...template, certificates: [...template.certificates].reverse() };
    expect(templateProblems(reversed)[0]).toContain('does not come before it');
    const [root] = template.certificates;
    const twice = { ...template, certificates: root === undefined ? [] : [root, root] };
    expect(templateProblems(twice)).toEqual([`${root?.name}: the name is there twice`]);
  });
});

describe('PEM', () => {
  it('comes back as it was, whatever stands between the blocks', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 }), (blocks) => {
        const text = blocks.map((der) => `text between\n${encodePem('CERTIFICATE', der)}`).join('');
        expect(parsePem(text).map((block) => block.der)).toEqual(blocks);
      }),
    );
    expect(() => decodePem('CERTIFICATE', '-----BEGIN CERTIFICATE-----\nAAAA')).toThrow(PkiError);
  });

  it('is in one form of base64 alone', () => {
    const block = (text: string) => parsePem(`-----BEGIN X-----\n${text}\n-----END X-----\n`)[0]?.der;
    expect(block('MAA=')).toEqual(Uint8Array.of(0x30, 0));
    for (const text of ['MAB=', 'MB==', 'MA=', 'MAA']) expect(() => block(text), text).toThrow(PkiError);
  });
});

const missing = opensslMissing();
describe.skipIf(missing !== undefined)(`OpenSSL${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  it('accepts every path of the hierarchy, strictly, and its purposes', () => {
    using work = openWorkshop();
    const attime = ['-attime', String(time.getTime() / 1000)];
    for (const { name, certificate, chain, root } of hierarchy.authorities) {
      work.certificates('leaf.pem', certificate);
      work.certificates('root.pem', root);
      work.certificates('chain.pem', ...chain.slice(1), root);
      const output = work.openssl(
        'verify',
        '-x509_strict',
        '-CAfile',
        'root.pem',
        '-untrusted',
        'chain.pem',
        ...attime,
        'leaf.pem',
      );
      expect(output, name).toContain('OK');
    }
  });

  it('accepts device certificates for TLS clients', async () => {
    using work = openWorkshop();
    const { root, certificate } = hierarchy.get('device-ca');
    work.certificates('leaf.pem', await issueDevice());
    work.certificates('root.pem', root);
    work.certificates('chain.pem', certificate);
    const options = ['-purpose', 'sslclient', '-attime', String(time.getTime() / 1000)];
    expect(
      work.openssl('verify', '-x509_strict', '-CAfile', 'root.pem', '-untrusted', 'chain.pem', ...options, 'leaf.pem'),
    ).toContain('OK');
  });

  it.each(ALGORITHMS)('reads our PKCS#8 keys and verifies our CSRs with %s', async (algorithm) => {
    using work = openWorkshop();
    const key = await generateKey(algorithm);
    work.file('key.pem', encodePem('PRIVATE KEY', await key.unsafeExportKey()));
    work.file(
      'csr.pem',
      encodePem('CERTIFICATE REQUEST', await buildCsr(key, { subject, subjectAltName: { uri: [uri] } })),
    );
    work.openssl('pkey', '-in', 'key.pem', '-pubout', '-outform', 'DER', '-out', 'public.der');
    expect(new Uint8Array(readFileSync(join(work.path, 'public.der')))).toEqual(key.publicKey);
    work.openssl('req', '-in', 'csr.pem', '-verify', '-noout');
  });

  it.each([
    [['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'], 'ecdsa-p256-sha256'],
    [['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'], 'ecdsa-p384-sha384'],
    [['genpkey', '-algorithm', 'ED25519'], 'ed25519'],
    [['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'], 'rsassa-2048-sha256'],
    [['genpkey', '-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'], 'rsapss-2048-sha256'],
  ] as const)('makes keys with %j that we open', async (command, algorithm) => {
    using work = openWorkshop();
    work.openssl(...command, '-out', 'key.pem');
    const key = await importKey(decodePem('PRIVATE KEY', readFileSync(join(work.path, 'key.pem'), 'utf8')));
    expect(key.algorithm).toBe(algorithm);
    expect(await buildCsr(key, { subject })).toBeInstanceOf(Uint8Array);
  });

  it('and we open the keys that the other put under a passphrase', async () => {
    using work = openWorkshop();
    const pkcs8 = await (await generateKey('ecdsa-p256-sha256')).unsafeExportKey();
    work.file('key.pem', encodePem('PRIVATE KEY', pkcs8));
    const encrypt = [
      '-topk8',
      '-v2',
      'aes-256-cbc',
      '-v2prf',
      'hmacWithSHA256',
      '-iter',
      '20000',
      '-passout',
      'pass:secret',
    ];
    work.openssl('pkcs8', '-in', 'key.pem', ...encrypt, '-outform', 'DER', '-out', 'locked.der');
    expect(await decryptKey(new Uint8Array(readFileSync(join(work.path, 'locked.der'))), 'secret')).toEqual(pkcs8);
    work.file('ours.pem', encodePem('ENCRYPTED PRIVATE KEY', await encryptKey(pkcs8, 'geheim')));
    const opened = work.openssl('pkey', '-in', 'ours.pem', '-passin', 'pass:geheim');
    expect(decodePem('PRIVATE KEY', opened)).toEqual(pkcs8);
  });

  it('makes requests that we issue from', async () => {
    using work = openWorkshop();
    work.openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', 'key.pem');
    const name = ['-subj', '/C=DE/O=Maker/CN=edge 0002', '-addext', `subjectAltName=URI:${uri}`];
    work.openssl('req', '-new', '-key', 'key.pem', ...name, '-outform', 'DER', '-out', 'csr.der');
    const csr = new Uint8Array(readFileSync(join(work.path, 'csr.der')));
    const certificate = await issueFromCsr(csr, {
      profile: PROFILES.device,
      issuer: hierarchy.get('device-ca').issuer,
      notBefore,
    });
    expect(nameText(parseCertificate(certificate).subject)).toBe('CN=edge 0002,O=Maker,C=DE');
  });
});
