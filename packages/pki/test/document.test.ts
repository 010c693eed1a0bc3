import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createCertificate,
  createHierarchy,
  deviceMakerTemplate,
  encodePem,
  generateKey,
  type Hierarchy,
  PROFILES,
  type SignatureAlgorithm,
  type SoftwareKey,
  signDocument,
  verifyDocument,
} from '../src/index.js';
import { opensslMissing, openWorkshop } from './openssl.js';

const content = new TextEncoder().encode('{"name":"edge","version":"1.0.0"}\n');
const time = new Date('2026-03-01T12:00:00Z');
let hierarchy: Hierarchy;

beforeAll(async () => {
  hierarchy = await createHierarchy(deviceMakerTemplate({ organizationName: 'Maker', countryName: 'DE' }), {
    notBefore: new Date('2026-01-01T00:00:00Z'),
  });
});

async function signerWith(
  algorithm: SignatureAlgorithm,
): Promise<{ signer: SoftwareKey; chain: readonly Uint8Array[] }> {
  const signer = await generateKey(algorithm);
  const ca = hierarchy.get('software-signing-ca');
  const certificate = await createCertificate({
    profile: PROFILES.softwareSigning,
    subject: { countryName: 'DE', organizationName: 'Maker', commonName: algorithm },
    publicKey: signer.publicKey,
    issuer: ca.issuer,
    notBefore: new Date('2026-01-02T00:00:00Z'),
  });
  return { signer, chain: [certificate, ca.certificate] };
}

describe('signed documents', () => {
  it('are accepted with the software-signing root as anchor and name their signer', async () => {
    const { signer, chain, root } = hierarchy.get('software-signing');
    const cms = await signDocument(content, { signer, chain, time });
    const result = await verifyDocument(content, cms, { anchors: [root], time });
    expect(result).toMatchObject({ ok: true, claimedTime: time });
    if (result.ok) expect(result.path).toHaveLength(3);
  });

  it('are refused when one byte of the content changes', async () => {
    const { signer, chain, root } = hierarchy.get('software-signing');
    const cms = await signDocument(content, { signer, chain, time });
    const changed = content.slice();
    changed[3] = (changed[3] ?? 0) ^ 1;
    expect(await verifyDocument(changed, cms, { anchors: [root], time })).toMatchObject({
      problem: { code: 'content' },
    });
  });

  it('are refused under a root that did not certify the signer, and at a time outside the validity', async () => {
    const { signer, chain, root } = hierarchy.get('software-signing');
    const cms = await signDocument(content, { signer, chain, time });
    const other = hierarchy.get('general-root').root;
    expect(await verifyDocument(content, cms, { anchors: [other], time })).toMatchObject({
      problem: { code: 'path', path: { code: 'no-path' } },
    });
    const late = new Date('2040-01-01T00:00:00Z');
    expect(await verifyDocument(content, cms, { anchors: [root], time: late })).toMatchObject({
      problem: { code: 'path', path: { code: 'expired' } },
    });
  });

  it('are refused when the signer is certified for something else than signing code', async () => {
    const signer = await generateKey('ecdsa-p256-sha256');
    const ca = hierarchy.get('device-ca');
    const certificate = await createCertificate({
      profile: PROFILES.device,
      subject: { countryName: 'DE', organizationName: 'Maker', commonName: 'device' },
      subjectAltName: { uri: ['urn:uuid:00000000-0000-4000-8000-000000000001'] },
      publicKey: signer.publicKey,
      issuer: ca.issuer,
      notBefore: new Date('2026-01-02T00:00:00Z'),
    });
    const cms = await signDocument(content, { signer, chain: [certificate, ca.certificate], time });
    expect(await verifyDocument(content, cms, { anchors: [ca.root], time })).toMatchObject({
      problem: { code: 'path', path: { code: 'extended-key-usage' } },
    });
  });

  it('are refused, and never crash the verifier, when any one byte of the signature file changes', async () => {
    const { signer, chain, root } = hierarchy.get('software-signing');
    const cms = await signDocument(content, { signer, chain, time });
    const accepted: number[] = [];
    for (let i = 0; i < cms.length; i++) {
      const changed = cms.slice();
      changed[i] = (changed[i] ?? 0) ^ 0x10;
      const result = await verifyDocument(content, changed, { anchors: [root], time });
      if (result.ok) accepted.push(i);
    }
    expect(accepted.map((i) => `${i}: ${cms[i]?.toString(16)}`)).toEqual([]);
  });

  it('are refused as malformed when they are cut short anywhere', async () => {
    const { signer, chain, root } = hierarchy.get('software-signing');
    const cms = await signDocument(content, { signer, chain, time });
    for (let length = 0; length < cms.length; length += 7) {
      expect(await verifyDocument(content, cms.subarray(0, length), { anchors: [root], time })).toMatchObject({
        ok: false,
      });
    }
  });

  it('of arbitrary bytes are an answer, never an exception', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        expect(await verifyDocument(content, bytes, { anchors: [], time })).toMatchObject({ ok: false });
      }),
      { numRuns: 100 },
    );
  });
});

const missing = opensslMissing();
describe.skipIf(missing !== undefined)(`OpenSSL${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  it.each(['ecdsa-p256-sha256', 'ecdsa-p384-sha384', 'rsassa-2048-sha256', 'rsapss-2048-sha256'] as const)(
    'verifies a document that we signed with %s',
    async (algorithm) => {
      using work = openWorkshop();
      const { signer, chain } = await signerWith(algorithm);
      const { root } = hierarchy.get('software-signing');
      const cms = await signDocument(content, { signer, chain, time });
      work.file('content', content);
      work.file('cms.der', cms);
      work.certificates('root.pem', root);
      const output = work.openssl(
        ...[
          'cms',
          '-verify',
          '-binary',
          '-inform',
          'DER',
          '-in',
          'cms.der',
          '-content',
          'content',
          '-CAfile',
          'root.pem',
        ],
        ...['-purpose', 'any', '-attime', String(time.getTime() / 1000)],
      );
      expect(output).toBe(new TextDecoder().decode(content));
      expect(await verifyDocument(content, cms, { anchors: [root], time })).toMatchObject({ ok: true });
    },
  );

  it.each([
    ['ecdsa-p256-sha256', [], ''],
    ['ecdsa-p384-sha384', ['-md', 'sha384'], ''],
    ['rsassa-2048-sha256', [], ''],
    ['rsassa-3072-sha256', ['-nosmimecap'], ''],
    ['rsapss-2048-sha256', ['-keyopt', 'rsa_padding_mode:pss', '-keyopt', 'rsa_pss_saltlen:32'], ''],
    ['ecdsa-p256-sha256', ['-keyid'], 'named by key identifier'],
  ] as const)('signs with %s %j what we verify %s', async (...[algorithm, options]) => {
    using work = openWorkshop();
    const { signer, chain } = await signerWith(algorithm);
    const [leaf = new Uint8Array(), ca = new Uint8Array()] = chain;
    work.file('key.pem', encodePem('PRIVATE KEY', await signer.unsafeExportKey()));
    work.certificates('leaf.pem', leaf);
    work.certificates('ca.pem', ca);
    work.file('content', content);
    work.openssl(
      ...[
        'cms',
        '-sign',
        '-binary',
        '-in',
        'content',
        '-signer',
        'leaf.pem',
        '-inkey',
        'key.pem',
        '-certfile',
        'ca.pem',
      ],
      ...['-outform', 'DER', '-out', 'cms.der', ...options],
    );
    const cms = new Uint8Array(readFileSync(join(work.path, 'cms.der')));
    const { root } = hierarchy.get('software-signing');
    expect(await verifyDocument(content, cms, { anchors: [root], time })).toMatchObject({ ok: true });
    expect(await verifyDocument(content.subarray(1), cms, { anchors: [root], time })).toMatchObject({
      problem: { code: 'content' },
    });
  });
});
