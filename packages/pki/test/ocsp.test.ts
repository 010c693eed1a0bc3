/** OCSP: our answers believed by OpenSSL, OpenSSL's believed here, and every reason not to believe one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { schemeOf, signatureIdentifier } from '../src/algorithm.js';
import { bitString, integer, sequence, time as timeDer, tlv } from '../src/der.js';
import { encodeExtension } from '../src/extension.js';
import {
  answerOcsp,
  buildOcspRequest,
  type CertificateStatus,
  createCertificate,
  createCrl,
  createHierarchy,
  deviceMakerTemplate,
  encodePem,
  generateKey,
  type Hierarchy,
  type OcspOptions,
  type OcspResponder,
  ocspError,
  ocspStatus,
  PkiError,
  PROFILES,
  parseCertificate,
  parseOcspRequest,
  parseOcspResponse,
  type Signer,
  type SoftwareKey,
  validatePath,
} from '../src/index.js';
import { opensslMissing, openWorkshop } from './openssl.js';

const notBefore = new Date('2026-01-01T00:00:00Z');
const time = new Date('2026-06-01T00:00:00Z');
const since = new Date('2026-04-01T12:30:00Z');
const nonce = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
let hierarchy: Hierarchy;
let leaf: Uint8Array;
let ca: Uint8Array;
let delegate: { readonly key: SoftwareKey; readonly certificate: Uint8Array };

beforeAll(async () => {
  hierarchy = await createHierarchy(deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' }), {
    notBefore,
  });
  ca = hierarchy.get('device-ca').certificate;
  leaf = await device(0x1234n);
  delegate = await responderCertificate();
});

async function device(serialNumber: bigint): Promise<Uint8Array> {
  const { publicKey } = await generateKey('ecdsa-p256-sha256');
  const subject = { countryName: 'DE', organizationName: 'Maker', commonName: `edge ${serialNumber}` };
  const subjectAltName = { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] };
  const { issuer } = hierarchy.get('device-ca');
  const profile = PROFILES.device;
  return createCertificate({ profile, subject, subjectAltName, publicKey, serialNumber, issuer, notBefore });
}

async function responderCertificate(profile = PROFILES.ocspResponder, from = 'device-ca', start = time) {
  const key = await generateKey('ecdsa-p256-sha256');
  const certificate = await createCertificate({
    profile,
    subject: { countryName: 'DE', organizationName: 'Maker', commonName: 'OCSP responder' },
    publicKey: key.publicKey,
    issuer: hierarchy.get(from).issuer,
    notBefore: start,
  });
  return { key, certificate };
}

const REVOKED: CertificateStatus = { status: 'revoked', since, reason: 'keyCompromise' };

function responder(status: CertificateStatus, changes: Partial<OcspResponder> = {}): OcspResponder {
  const { signer } = hierarchy.get('device-ca');
  return { issuer: ca, signer, time, statusOf: () => status, ...changes };
}

function delegated(status: CertificateStatus, changes: Partial<OcspResponder> = {}): OcspResponder {
  return responder(status, { signer: delegate.key, certificate: delegate.certificate, ...changes });
}

async function answer(from: OcspResponder, request = buildOcspRequest(leaf, ca)): Promise<Uint8Array> {
  return answerOcsp(request, from);
}

async function verdict(response: Uint8Array, options: Partial<OcspOptions> = {}, certificate = leaf): Promise<string> {
  const result = await ocspStatus(certificate, ca, response, { time, ...options });
  return 'reason' in result ? `${result.status}: ${result.reason}` : result.status;
}

describe('a question', () => {
  it('comes back as it was asked, with either digest, with and without a nonce', () => {
    for (const hash of ['sha1', 'sha256'] as const) {
      const plain = parseOcspRequest(buildOcspRequest(leaf, ca, { hash }));
      expect(plain).toMatchObject({ certIds: [{ hash, serialNumber: 0x1234n }] });
      expect(plain.nonce).toBeUndefined();
      expect(parseOcspRequest(buildOcspRequest(leaf, ca, { hash, nonce })).nonce).toEqual(nonce);
    }
    expect(() => buildOcspRequest(leaf, ca, { nonce: new Uint8Array(33) })).toThrow(PkiError);
  });

  it('cut at any byte is malformed, here and in the answer', async () => {
    const request = buildOcspRequest(leaf, ca, { nonce });
    for (let end = 0; end < request.length; end++) {
      expect(() => parseOcspRequest(request.subarray(0, end))).toThrow(expect.objectContaining({ code: 'malformed' }));
    }
    expect(await answer(responder({ status: 'good' }), request.subarray(0, 20))).toEqual(ocspError('malformedRequest'));
  });

  it('about certificates of another CA is not answered', async () => {
    const other = buildOcspRequest(leaf, hierarchy.get('attestation-ca').certificate);
    expect(await answer(responder({ status: 'good' }), other)).toEqual(ocspError('unauthorized'));
  });
});

describe('an answer', () => {
  it('of the CA itself and of its responder says good, revoked or unknown', async () => {
    for (const from of [responder, delegated]) {
      expect(await verdict(await answer(from({ status: 'good' })))).toBe('good');
      expect(await verdict(await answer(from(REVOKED)))).toBe('revoked: keyCompromise');
      expect(await verdict(await answer(from({ status: 'revoked', since })))).toBe('revoked: unspecified');
      expect(await verdict(await answer(from({ status: 'unknown' })))).toMatch(/^unusable: .*does not know/);
    }
  });

  it('repeats the nonce of the question', async () => {
    const asked = await answer(responder({ status: 'good' }), buildOcspRequest(leaf, ca, { nonce }));
    expect(await verdict(asked, { nonce })).toBe('good');
    expect(await verdict(asked, { nonce: nonce.slice(1) })).toMatch(/does not repeat the nonce/);
    expect(await verdict(await answer(responder({ status: 'good' })), { nonce })).toMatch(/does not repeat the nonce/);
  });

  it('is not believed before its time, after it, or about another certificate', async () => {
    const good = await answer(responder({ status: 'good' }));
    expect(await verdict(good, { time: new Date(time.getTime() - 1000) })).toMatch(/future/);
    expect(await verdict(good, { time: new Date(time.getTime() + 3_601_000) })).toMatch(/out of date/);
    expect(await verdict(good, {}, await device(0x4321n))).toMatch(/other certificates/);
  });

  it('is not believed of a responder that the CA did not appoint', async () => {
    const withKey = (key: Signer, certificate: Uint8Array) =>
      delegated({ status: 'good' }, { signer: key, certificate });
    const stranger = await responderCertificate(PROFILES.ocspResponder, 'attestation-ca');
    expect(await verdict(await answer(withKey(stranger.key, stranger.certificate)))).toMatch(/another CA certified/);
    const { signer, certificate } = hierarchy.get('attestation-ca');
    expect(await verdict(await answer(withKey(signer, certificate)))).toMatch(/no OCSP responder/);
    const { ocspNoCheck: _, ...checked } = PROFILES.ocspResponder;
    const revocable = await responderCertificate(checked as typeof PROFILES.ocspResponder);
    expect(await verdict(await answer(withKey(revocable.key, revocable.certificate)))).toMatch(/revoked itself/);
    const old = await responderCertificate(PROFILES.ocspResponder, 'device-ca', notBefore);
    expect(await verdict(await answer(withKey(old.key, old.certificate)))).toMatch(/not valid now/);
  });

  it('is not believed of a responder whose certificate has a critical extension that nobody knows', async () => {
    const { signer } = hierarchy.get('device-ca');
    const algorithm = signatureIdentifier(schemeOf(signer.algorithm).scheme);
    const of = parseCertificate(delegate.certificate);
    const unknown = { oid: '1.3.6.1.4.1.99999.1', critical: true, value: Uint8Array.of(5, 0) };
    const tbs = sequence(
      ...[tlv(0xa0, integer(2)), integer(77), algorithm, of.issuer.der],
      sequence(timeDer(of.notBefore), timeDer(of.notAfter)),
      ...[of.subject.der, of.publicKey, tlv(0xa3, sequence(...[...of.extensions, unknown].map(encodeExtension)))],
    );
    const certificate = sequence(tbs, algorithm, bitString(await signer.sign(tbs)));
    expect(await verdict(await answer(delegated({ status: 'good' }, { certificate })))).toMatch(/critical extensions/);
  });

  it('of a responder whose signer is another is not made', async () => {
    await expect(answer(responder({ status: 'good' }, { signer: delegate.key }))).rejects.toMatchObject({
      code: 'key-mismatch',
    });
  });

  it('with a byte changed is never good for the wrong reason: the verdict is unusable', {
    timeout: 60_000,
  }, async () => {
    const good = await answer(delegated({ status: 'good' }));
    const certificates = good.length - delegate.certificate.length;
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = good.slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        // The certificate's own signature covers it, so a change there shows as well.
        expect([at < certificates, await verdict(changed)]).toEqual([
          at < certificates,
          expect.stringMatching(/^unusable/),
        ]);
      }),
      { numRuns: 400 },
    );
  });

  it('cut at any byte, or of arbitrary bytes, gives typed errors only', async () => {
    const good = await answer(delegated(REVOKED));
    for (let end = 0; end < good.length; end++)
      expect(() => parseOcspResponse(good.subarray(0, end))).toThrow(PkiError);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(() => parseOcspResponse(bytes)).toThrow(PkiError);
      }),
    );
    for (const error of ['malformedRequest', 'internalError', 'tryLater', 'sigRequired', 'unauthorized'] as const) {
      expect(() => parseOcspResponse(ocspError(error))).toThrow(error);
    }
  });
});

describe('a path with OCSP answers', () => {
  const validate = async (
    ocspResponses: readonly Uint8Array[],
    crls: readonly Uint8Array[] = [],
    requireCrl = false,
  ) => {
    const { root } = hierarchy.get('device-ca');
    const options = { purpose: 'client-auth', time, ocspResponses, crls, requireCrl } as const;
    const result = await validatePath(leaf, [ca], [root], options);
    return result.ok ? 'good' : result.problem.code;
  };

  it('ends at a revoked certificate, and takes an answer where a status is required', async () => {
    const good = await answer(responder({ status: 'good' }));
    expect(await validate([await answer(responder(REVOKED))])).toBe('revoked');
    expect(await validate([good])).toBe('good');
    const { issuer } = hierarchy.get('general-root');
    const nextUpdate = new Date('2027-01-01T00:00:00Z');
    const rootCrl = await createCrl({ issuer, number: 1n, revoked: [], thisUpdate: notBefore, nextUpdate });
    expect(await validate([], [rootCrl], true)).toBe('revocation-unknown');
    expect(await validate([good], [rootCrl], true)).toBe('good');
  });

  it('believes whoever says revoked', async () => {
    const { issuer } = hierarchy.get('device-ca');
    const revoked = [{ serialNumber: parseCertificate(leaf).serialNumber, revocationDate: since }];
    const nextUpdate = new Date('2027-01-01T00:00:00Z');
    const crl = await createCrl({ issuer, number: 1n, revoked, thisUpdate: notBefore, nextUpdate });
    const clean = await createCrl({ issuer, number: 1n, revoked: [], thisUpdate: notBefore, nextUpdate });
    expect(await validate([await answer(responder({ status: 'good' }))], [crl])).toBe('revoked');
    expect(await validate([await answer(responder(REVOKED))], [clean])).toBe('revoked');
  });

  it('is not talked out of a revocation by an older answer, whichever comes first', async () => {
    const earlier = await answer(responder({ status: 'good' }, { time: new Date(time.getTime() - 60_000) }));
    const later = await answer(responder(REVOKED));
    expect(await validate([earlier, later])).toBe('revoked');
    expect(await validate([later, earlier])).toBe('revoked');
  });
});

describe.skipIf(opensslMissing())('OpenSSL', () => {
  const now = () => new Date(Math.floor(Date.now() / 1000) * 1000 - 1000);

  it('asks us, and believes what we answer', async () => {
    using work = openWorkshop();
    const { root } = hierarchy.get('device-ca');
    work.certificates('ca.pem', ca);
    work.certificates('root.pem', root);
    work.certificates('leaf.pem', leaf);
    const fresh = await responderCertificate(PROFILES.ocspResponder, 'device-ca', now());
    for (const hash of ['-sha1', '-sha256']) {
      work.openssl('ocsp', '-issuer', 'ca.pem', hash, '-cert', 'leaf.pem', '-reqout', 'request.der');
      const request = new Uint8Array(readFileSync(join(work.path, 'request.der')));
      for (const status of [{ status: 'good' }, REVOKED, { status: 'unknown' }] as const) {
        const delegatedAnswer = { signer: fresh.key, certificate: fresh.certificate };
        for (const changes of [{}, delegatedAnswer]) {
          work.file('response.der', await answerOcsp(request, responder(status, { time: now(), ...changes })));
          const said = work.openssl(
            ...['ocsp', '-reqin', 'request.der', '-no_nonce', '-respin', 'response.der', '-CAfile', 'root.pem'],
            ...['-verify_other', 'ca.pem', '-issuer', 'ca.pem', hash, '-cert', 'leaf.pem'],
          );
          expect(said).toContain(`leaf.pem: ${status.status}`);
          if (status.status === 'revoked') expect(said).toContain('Reason: keyCompromise');
        }
      }
    }
  });

  it('answers us, and we believe it', async () => {
    using work = openWorkshop();
    const { signer } = hierarchy.get('device-ca');
    const fresh = await responderCertificate(PROFILES.ocspResponder, 'device-ca', now());
    work.certificates('ca.pem', ca);
    work.certificates('responder.pem', fresh.certificate);
    work.file('responder-key.pem', encodePem('PRIVATE KEY', await fresh.key.unsafeExportKey()));
    work.file('ca-key.pem', encodePem('PRIVATE KEY', await signer.unsafeExportKey()));
    work.file(
      'index.txt',
      'R\t360101000000Z\t260401123000Z,keyCompromise\t1234\tunknown\t/CN=x\nV\t360101000000Z\t\t4321\tunknown\t/CN=y\n',
    );
    const good = await device(0x4321n);
    for (const [cert, key] of [
      ['responder.pem', 'responder-key.pem'],
      ['ca.pem', 'ca-key.pem'],
    ] as const) {
      for (const [certificate, expected] of [
        [leaf, 'revoked: keyCompromise'],
        [good, 'good'],
      ] as const) {
        work.file('request.der', buildOcspRequest(certificate, ca, { nonce }));
        work.openssl(
          ...['ocsp', '-index', 'index.txt', '-CA', 'ca.pem', '-rsigner', cert, '-rkey', key, '-ndays', '1'],
          ...['-reqin', 'request.der', '-respout', 'response.der'],
        );
        const response = new Uint8Array(readFileSync(join(work.path, 'response.der')));
        expect(await verdict(response, { time: new Date(Date.now() + 2000), nonce }, certificate)).toBe(expected);
      }
    }
  });
});
