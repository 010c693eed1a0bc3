/** Timestamps made by `openssl ts`, and trust|me's signed files with `openssl dgst` in both directions. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  boolean,
  constructed,
  generalizedTime,
  integer,
  nul,
  octetString,
  oid,
  sequence,
  setOf,
  tlv,
} from '../src/der.js';
import {
  createCertificate,
  createHierarchy,
  decodePem,
  deviceMakerTemplate,
  encodePem,
  generateKey,
  type Hierarchy,
  importKey,
  PkiError,
  PROFILES,
  type RawSignature,
  type SoftwareKey,
  signDocument,
  signRawDocument,
  verifyDocument,
  verifyRawDocument,
} from '../src/index.js';
import {
  attachTimestamp,
  buildTimestampRequest,
  parseTimestamp,
  parseTimestampResponse,
  signatureOf,
  timestampOf,
  verifyTimestamp,
} from '../src/timestamp.js';
import { opensslMissing, openWorkshop, type Workshop } from './openssl.js';

const content = new TextEncoder().encode('{"name":"edge"}');
const read = (work: Workshop, name: string) => new Uint8Array(readFileSync(join(work.path, name)));

/** A token that nobody signed, with one extension. */
function unsignedToken(critical: boolean): Uint8Array {
  const imprint = sequence(sequence(oid('2.16.840.1.101.3.4.2.1')), octetString(new Uint8Array(32)));
  const extension = sequence(oid('1.3.6.1.4.1.99999.1'), ...(critical ? [boolean(true)] : []), octetString(nul()));
  const info = sequence(
    ...[integer(1), oid('1.2.3'), imprint, integer(1), generalizedTime(new Date('2026-06-01T00:00:00Z'))],
    tlv(constructed(1), extension),
  );
  const inside = sequence(oid('1.2.840.113549.1.9.16.1.4'), tlv(constructed(0), octetString(info)));
  const data = sequence(integer(3), setOf(), inside, setOf());
  return sequence(oid('1.2.840.113549.1.7.2'), tlv(constructed(0), data));
}

describe('a timestamp', () => {
  it('with a critical extension is not read past it', () => {
    expect(parseTimestamp(unsignedToken(false))).toMatchObject({ policy: '1.2.3', serialNumber: 1n });
    expect(() => parseTimestamp(unsignedToken(true))).toThrow(expect.objectContaining({ code: 'unsupported' }));
  });
});

/** An authority of OpenSSL: a root, a TSA certificate, and the configuration of `openssl ts`. */
function openAuthority(usage = 'critical,timeStamping', settings = 'ess_cert_id_alg = sha256') {
  const work = openWorkshop();
  work.openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'root.key',
    '-out',
    'root.pem',
    '-subj',
    '/CN=TSA Root',
    '-days',
    '30',
  );
  work.openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'tsa.key', '-out', 'tsa.csr', '-subj', '/CN=TSA');
  work.file('ext', `extendedKeyUsage = ${usage}\nkeyUsage = critical,digitalSignature\nbasicConstraints = CA:FALSE\n`);
  work.openssl(
    'x509',
    '-req',
    '-in',
    'tsa.csr',
    '-CA',
    'root.pem',
    '-CAkey',
    'root.key',
    '-CAcreateserial',
    '-out',
    'tsa.pem',
    '-days',
    '10',
    '-extfile',
    'ext',
  );
  work.file('serial', '01\n');
  work.file(
    'ts.cnf',
    `[tsa]\ndefault_tsa = t\n[t]\nserial = ${join(work.path, 'serial')}\nsigner_cert = ${join(work.path, 'tsa.pem')}\ncerts = ${join(work.path, 'root.pem')}\n` +
      `signer_key = ${join(work.path, 'tsa.key')}\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\nother_policies = 1.2.3.4.5\ndigests = sha1, sha256, sha512\n` +
      `accuracy = secs:1, millisecs:500, microsecs:100\nclock_precision_digits = 6\nordering = yes\ntsa_name = yes\n${settings}\n`,
  );
  const root = decodePem('CERTIFICATE', readFileSync(join(work.path, 'root.pem'), 'utf8'));
  return {
    work,
    root,
    answer(request: Uint8Array): Uint8Array {
      work.file('request', request);
      work.openssl('ts', '-reply', '-config', 'ts.cnf', '-queryfile', 'request', '-out', 'response');
      return read(work, 'response');
    },
    [Symbol.dispose]: () => work[Symbol.dispose](),
  };
}

describe.skipIf(opensslMissing() !== undefined)('a timestamp of OpenSSL', () => {
  it('is verified, with its time, policy, accuracy and nonce', async () => {
    using tsa = openAuthority();
    const { der, nonce } = await buildTimestampRequest(content, { hash: 'sha512', policy: '1.2.3.4.5' });
    const token = parseTimestampResponse(tsa.answer(der));
    const result = await verifyTimestamp(content, token, { anchors: [tsa.root], nonce, policies: ['1.2.3.4.5'] });
    expect(result).toMatchObject({
      ok: true,
      info: { policy: '1.2.3.4.5', hash: 'sha512', accuracy: 1501, ordering: true, nonce },
    });
    if (result.ok) expect(Math.abs(result.info.time.getTime() - Date.now())).toBeLessThan(60_000);
    // OpenSSL takes our request for its own.
    tsa.work.file('data', content);
    expect(
      tsa.work.openssl('ts', '-verify', '-queryfile', 'request', '-in', 'response', '-CAfile', 'root.pem'),
    ).toContain('Verification: OK');
  });

  it('is not accepted for other data, another nonce, policy, root or time', async () => {
    using tsa = openAuthority();
    const { der, nonce } = await buildTimestampRequest(content);
    const token = parseTimestampResponse(tsa.answer(der));
    const anchors = [tsa.root];
    const code = async (data: Uint8Array, options: Parameters<typeof verifyTimestamp>[2]) => {
      const result = await verifyTimestamp(data, token, options);
      return result.ok ? 'ok' : result.problem.code;
    };
    expect(await code(content, { anchors })).toBe('ok');
    expect(await code(new Uint8Array(1), { anchors })).toBe('content');
    expect(await code(content, { anchors, nonce: nonce + 1n })).toBe('nonce');
    expect(await code(content, { anchors, policies: ['1.2.3.4.5'] })).toBe('policy');
    expect(await code(content, { anchors, time: new Date('2040-01-01') })).toBe('path');
    const { root } = (await createHierarchy(deviceMakerTemplate({ organizationName: 'Maker' }))).get('device-ca');
    expect(await code(content, { anchors: [root] })).toBe('path');
  });

  it('may sign its certificate along with SHA-1 as RFC 3161 did, and an authority for other things too stamps nothing', async () => {
    using older = openAuthority('critical,timeStamping', 'ess_cert_id_alg = sha1');
    const { der } = await buildTimestampRequest(content);
    const token = parseTimestampResponse(older.answer(der));
    expect(await verifyTimestamp(content, token, { anchors: [older.root] })).toMatchObject({ ok: true });
    using wide = openAuthority('critical,timeStamping,codeSigning');
    expect(() => wide.answer(der)).toThrow(); // OpenSSL asks for the same, and makes none
  });

  it('over a document is put into it, is found there, and OpenSSL still verifies the document', async () => {
    using tsa = openAuthority();
    const { signer, chain, root } = (await createHierarchy(deviceMakerTemplate({ organizationName: 'Maker' }))).get(
      'software-signing',
    );
    const cms = await signDocument(content, { signer, chain });
    expect(timestampOf(cms)).toBeUndefined();
    const { der } = await buildTimestampRequest(signatureOf(cms));
    const token = parseTimestampResponse(tsa.answer(der));
    const stamped = await attachTimestamp(cms, token);
    expect(timestampOf(stamped)).toEqual(token);
    const stamp = await verifyTimestamp(signatureOf(stamped), timestampOf(stamped) ?? new Uint8Array(), {
      anchors: [tsa.root],
    });
    expect(stamp).toMatchObject({ ok: true });
    // The signer's certificate is judged at the time that the authority vouches for.
    if (stamp.ok)
      expect(await verifyDocument(content, stamped, { anchors: [root], time: stamp.info.time })).toMatchObject({
        ok: true,
      });
    tsa.work.file('content', content);
    tsa.work.file('stamped.p7s', stamped);
    tsa.work.certificates('anchor.pem', root);
    tsa.work.openssl(
      'cms',
      '-verify',
      '-inform',
      'DER',
      '-in',
      'stamped.p7s',
      '-content',
      'content',
      '-binary',
      '-CAfile',
      'anchor.pem',
      '-purpose',
      'any',
      '-out',
      'verified',
    );
    const elsewhere = parseTimestampResponse(tsa.answer((await buildTimestampRequest(content)).der));
    await expect(attachTimestamp(cms, elsewhere)).rejects.toMatchObject({ code: 'bad-input' });
  });

  it('that was refused is told, and every change and cut is a typed answer', async () => {
    using tsa = openAuthority();
    const refused = await buildTimestampRequest(content, { policy: '1.2.3.4.99' });
    expect(() => parseTimestampResponse(tsa.answer(refused.der))).toThrow(/status 2/);
    const response = tsa.answer((await buildTimestampRequest(content)).der);
    const token = parseTimestampResponse(response);
    for (let length = 0; length < response.length; length += 11) {
      expect(() => parseTimestampResponse(response.subarray(0, length))).toThrow(PkiError);
      expect(() => parseTimestamp(token.subarray(0, Math.min(length, token.length - 1)))).toThrow(PkiError);
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = token.map((byte, i) => (i === at ? byte ^ flip : byte));
        const result = await verifyTimestamp(content, changed, { anchors: [tsa.root] });
        // Bytes of certificates that nobody needs may change; what the token says may not.
        if (result.ok) expect(result.info).toEqual(parseTimestamp(token));
      }),
      { numRuns: 300 },
    );
  });
});

describe("trust|me's signed files", () => {
  let hierarchy: Hierarchy;
  let key: SoftwareKey;
  let certificate: Uint8Array;
  let signed: RawSignature;
  beforeAll(async () => {
    hierarchy = await createHierarchy(deviceMakerTemplate({ organizationName: 'Maker' }));
    key = await generateKey('rsapss-2048-sha512');
    certificate = await createCertificate({
      profile: PROFILES.softwareSigning,
      subject: { organizationName: 'Maker', commonName: 'CML Signing' },
      publicKey: key.publicKey,
      issuer: hierarchy.get('software-signing-ca').issuer,
    });
    signed = await signRawDocument(content, {
      signer: key,
      chain: [certificate, hierarchy.get('software-signing-ca').certificate],
    });
  });
  const options = () => ({ anchors: [hierarchy.get('software-signing-root').certificate], time: new Date() });

  it('are accepted as signed, and not with other contents, signature, certificate or purpose', async () => {
    expect(await verifyRawDocument(content, signed, options())).toMatchObject({ ok: true });
    const code = async (data: Uint8Array, signature: Partial<RawSignature>, more = {}) => {
      const result = await verifyRawDocument(data, { ...signed, ...signature }, { ...options(), ...more });
      return result.ok ? 'ok' : result.problem.code;
    };
    expect(await code(new Uint8Array(3), {})).toBe('signature');
    expect(await code(content, { signature: signed.signature.map((b, i) => (i === 9 ? b ^ 1 : b)) })).toBe('signature');
    expect(await code(content, { certificates: '' })).toBe('certificate');
    expect(
      await code(content, { certificates: encodePem('CERTIFICATE', hierarchy.get('software-signing').certificate) }),
    ).toBe('unsupported');
    expect(await code(content, { certificates: encodePem('CERTIFICATE', new Uint8Array(5)) })).toBe('malformed');
    expect(await code(content, {}, { purpose: 'client-auth' })).toBe('path');
    await expect(
      signRawDocument(content, { signer: await generateKey('ecdsa-p256-sha256'), chain: [certificate] }),
    ).rejects.toMatchObject({ code: 'bad-input' });
  });

  it.skipIf(opensslMissing() !== undefined)(
    'verify with openssl dgst, and what it signs with either padding we verify',
    async () => {
      using work = openWorkshop();
      work.file('config', content);
      work.file('config.sig', signed.signature);
      work.file('config.cert', signed.certificates);
      work.openssl('x509', '-in', 'config.cert', '-pubkey', '-noout', '-out', 'public.pem');
      const pss = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:-1'];
      expect(
        work.openssl('dgst', '-sha512', '-verify', 'public.pem', ...pss, '-signature', 'config.sig', 'config'),
      ).toContain('Verified OK');
      work.file('key.pem', encodePem('PRIVATE KEY', await key.unsafeExportKey()));
      for (const padding of [pss, []]) {
        work.openssl('dgst', '-sha512', '-sign', 'key.pem', ...padding, '-out', 'theirs.sig', 'config');
        expect(
          await verifyRawDocument(content, { ...signed, signature: read(work, 'theirs.sig') }, options()),
        ).toMatchObject({ ok: true });
      }
    },
  );

  it.skipIf(opensslMissing() !== undefined)(
    'verify with a key of type RSASSA-PSS, as its secondary keys are, and then only PSS',
    async () => {
      using work = openWorkshop();
      work.openssl('genpkey', '-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', 'pss.pem');
      work.openssl(
        'req',
        '-x509',
        '-key',
        'pss.pem',
        '-subj',
        '/CN=pss',
        '-out',
        'pss.crt',
        '-addext',
        'extendedKeyUsage=codeSigning',
        '-sigopt',
        'rsa_pss_saltlen:32',
        '-sha256',
      );
      work.file('config', content);
      work.openssl(
        'dgst',
        '-sha512',
        '-sign',
        'pss.pem',
        '-sigopt',
        'rsa_pss_saltlen:-1',
        '-out',
        'config.sig',
        'config',
      );
      const anchor = decodePem('CERTIFICATE', readFileSync(join(work.path, 'pss.crt'), 'utf8'));
      const theirs = { signature: read(work, 'config.sig'), certificates: encodePem('CERTIFICATE', anchor) };
      expect(
        await verifyRawDocument(content, theirs, { anchors: [anchor], time: new Date(), purpose: 'any' }),
      ).toMatchObject({ ok: true });
      expect(
        (await importKey(decodePem('PRIVATE KEY', readFileSync(join(work.path, 'pss.pem'), 'utf8')))).algorithm,
      ).toBe('rsapss-2048-sha256');
    },
  );
});
