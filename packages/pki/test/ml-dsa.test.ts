/** ML-DSA: the examples of RFC 9881, and whole chains, requests and documents. OpenSSL 3.0 knows nothing of it. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { parsePublicKey } from '../src/algorithm.js';
import {
  buildCsr,
  type CertificateProfile,
  createCertificate,
  decodePem,
  generateKey,
  importKey,
  issueFromCsr,
  PkiError,
  PROFILES,
  parseCertificate,
  signDocument,
  validatePath,
  verifyDocument,
} from '../src/index.js';
import { enableMlDsa } from '../src/ml-dsa.js';
import { verifySignature } from '../src/signature.js';

interface Vectors {
  readonly sets: Readonly<
    Record<
      string,
      {
        readonly seed: string;
        readonly public: string;
        readonly certificate: string;
        readonly expanded: string;
        readonly both: string;
      }
    >
  >;
  readonly bad: readonly string[];
}
const vectors: Vectors = JSON.parse(readFileSync(new URL('vectors/ml-dsa.json', import.meta.url), 'utf8'));
const sets = [44, 65, 87] as const;

it('is refused until somebody asks for it', async () => {
  await expect(generateKey('ml-dsa-44')).rejects.toMatchObject({ code: 'unsupported' });
});

describe('ML-DSA', () => {
  beforeAll(() => enableMlDsa());

  it.each(sets)('opens the private keys of RFC 9881 in all their forms and finds the public key (%i)', async (set) => {
    const vector = vectors.sets[set];
    for (const pem of [vector?.seed, vector?.expanded, vector?.both]) {
      const key = await importKey(decodePem('PRIVATE KEY', pem ?? ''));
      expect(key.algorithm).toBe(`ml-dsa-${set}`);
      expect(key.publicKey).toEqual(decodePem('PUBLIC KEY', vector?.public ?? ''));
      expect((await importKey(await key.unsafeExportKey())).publicKey).toEqual(key.publicKey);
    }
    const seeded = await importKey(decodePem('PRIVATE KEY', vector?.seed ?? ''));
    expect(await seeded.unsafeExportKey()).toEqual(decodePem('PRIVATE KEY', vector?.seed ?? ''));
  });

  it.each(sets)('verifies the certificate of RFC 9881, and none that was changed (%i)', async (set) => {
    const certificate = parseCertificate(decodePem('CERTIFICATE', vectors.sets[set]?.certificate ?? ''));
    const scheme = { kind: 'ml-dsa', set } as const;
    expect(parsePublicKey(certificate.publicKey)).toEqual(scheme);
    const { publicKey, tbs, signature } = certificate;
    expect(await verifySignature(publicKey, scheme, tbs, signature)).toBe(true);
    const changed = signature.map((byte, i) => (i === 100 ? byte ^ 1 : byte));
    expect(await verifySignature(publicKey, scheme, tbs, changed)).toBe(false);
    expect(await verifySignature(publicKey, scheme, tbs, signature.subarray(1))).toBe(false);
    const anchored = await validatePath(certificate, [], [certificate], {
      purpose: 'any',
      time: certificate.notBefore,
    });
    expect(anchored).toMatchObject({ ok: true });
  });

  it('refuses private keys of RFC 9881 whose parts or whose public key do not belong together', async () => {
    const [parts, hash] = vectors.bad;
    for (const pem of [parts, hash]) {
      await expect(importKey(decodePem('PRIVATE KEY', pem ?? ''))).rejects.toMatchObject({ code: 'malformed' });
    }
  });

  it.each(sets)('signs a chain, a request and a document with fresh keys (%i)', async (set) => {
    const keys = [`ml-dsa-${set}`] as const;
    const rootProfile: CertificateProfile = { ...PROFILES.rootCa, keys };
    const leafProfile: CertificateProfile = { ...PROFILES.softwareSigning, keys };
    const rootKey = await generateKey(`ml-dsa-${set}`);
    const root = await createCertificate({
      profile: rootProfile,
      subject: { commonName: 'Root' },
      publicKey: rootKey.publicKey,
      issuer: { signer: rootKey },
    });
    const signer = await generateKey(`ml-dsa-${set}`);
    const csr = await buildCsr(signer, { subject: { commonName: 'Leaf' } });
    const leaf = await issueFromCsr(csr, { profile: leafProfile, issuer: { certificate: root, signer: rootKey } });
    const content = new TextEncoder().encode('content');
    const signature = await signDocument(content, { signer, chain: [leaf] });
    expect(await verifyDocument(content, signature, { anchors: [root], time: new Date() })).toMatchObject({ ok: true });
    const other = new TextEncoder().encode('another');
    expect(await verifyDocument(other, signature, { anchors: [root], time: new Date() })).toMatchObject({ ok: false });
  });

  it('is certified only by a profile that names it', async () => {
    const key = await generateKey('ml-dsa-44');
    const request = { subject: { commonName: 'Root' }, publicKey: key.publicKey, issuer: { signer: key } };
    await expect(createCertificate({ ...request, profile: PROFILES.rootCa })).rejects.toMatchObject({
      code: 'not-allowed',
    });
  });

  it('answers every cut of a private key with a typed error', async () => {
    const der = decodePem('PRIVATE KEY', vectors.sets[44]?.both ?? '');
    for (let length = 0; length < der.length; length += 13) {
      await expect(importKey(der.subarray(0, length))).rejects.toThrow(PkiError);
    }
  });
});
