/** CRLs, complete and delta: made here and read by OpenSSL and GnuTLS, made there and read here, and every way to be unusable. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CRL_REASONS,
  type Crl,
  type CrlReason,
  type CrlRequest,
  createCertificate,
  createCrl,
  createHierarchy,
  decodePem,
  deviceMakerTemplate,
  encodePem,
  generateKey,
  type Hierarchy,
  type Issuer,
  PkiError,
  PROFILES,
  parseCertificate,
  parseCrl,
  type RevokedCertificate,
  validatePath,
} from '../src/index.js';
import { opensslMissing, openWorkshop, programMissing } from './openssl.js';

const thisUpdate = new Date('2026-05-01T00:00:00Z');
const nextUpdate = new Date('2026-07-01T00:00:00Z');
const time = new Date('2026-06-01T00:00:00Z');
const notBefore = new Date('2026-01-01T00:00:00Z');
const revocationDate = new Date('2026-04-01T12:30:00Z');
const crlUri = 'http://pki.example/device.crl';
let hierarchy: Hierarchy;
let issuer: Issuer;

beforeAll(async () => {
  hierarchy = await createHierarchy(deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' }), {
    notBefore,
  });
  ({ issuer } = hierarchy.get('device-ca'));
});

const NAMED_REASONS = CRL_REASONS.filter((each) => each !== undefined && each !== 'removeFromCRL');

async function list(revoked: Iterable<RevokedCertificate>, changes: Partial<CrlRequest> = {}): Promise<Uint8Array> {
  return createCrl({ issuer, number: 7n, revoked, thisUpdate, nextUpdate, ...changes });
}

async function device(serialNumber: bigint, from: Issuer = issuer): Promise<Uint8Array> {
  const { publicKey } = await generateKey('ecdsa-p256-sha256');
  const subject = { countryName: 'DE', organizationName: 'Maker', commonName: `edge ${serialNumber}` };
  const names = { subjectAltName: { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] } };
  return createCertificate({
    profile: PROFILES.device,
    subject,
    ...names,
    publicKey,
    serialNumber,
    issuer: from,
    notBefore,
  });
}

async function verdict(leaf: Uint8Array, crls: readonly (Uint8Array | Crl)[]): Promise<string> {
  const { certificate, root } = hierarchy.get('device-ca');
  const result = await validatePath(leaf, [certificate], [root], { purpose: 'client-auth', time, crls });
  return result.ok ? 'good' : `${result.problem.code}: ${result.problem.message}`;
}

const entry = (serialNumber: bigint, reason?: CrlReason): RevokedCertificate => ({
  serialNumber,
  revocationDate,
  ...(reason && { reason }),
});

describe('a CRL', () => {
  it('comes back as it was made: entries, reasons, dates, number', async () => {
    const invalidityDate = new Date('2026-03-01T00:00:00Z');
    const revoked = [
      ...NAMED_REASONS.map((reason, i) => entry(BigInt(i + 1), reason)),
      { ...entry((1n << 158n) + 5n), invalidityDate },
      { ...entry(0x80n), revocationDate: new Date('2051-01-01T00:00:00Z') },
    ];
    const crl = parseCrl(await list(revoked));
    expect(crl).toMatchObject({ number: 7n, thisUpdate, nextUpdate });
    // RFC 5280 5.3.1: "unspecified" is said by saying nothing.
    const expected = revoked.map(({ reason, ...rest }) =>
      reason === 'unspecified' ? rest : { ...rest, ...(reason && { reason }) },
    );
    expect([...crl.entries]).toEqual(expected);
    for (const each of expected) expect(crl.entries.get(each.serialNumber)).toEqual(each);
    expect(crl.entries.get(99n)).toBeUndefined();
  });

  it('without entries has no list, and one with an empty list is read all the same', async () => {
    const crl = parseCrl(await list([]));
    expect(crl.entries.size).toBe(0);
    expect(crl.entries.get(1n)).toBeUndefined();
  });

  it('refuses what contradicts itself or may not be signed', async () => {
    const refusal = async (changes: Partial<CrlRequest>, revoked: RevokedCertificate[] = []) =>
      list(revoked, changes).then(
        () => 'accepted',
        (error) => (error instanceof PkiError ? error.code : String(error)),
      );
    expect(await refusal({ number: -1n })).toBe('bad-input');
    expect(await refusal({ number: 1n << 159n })).toBe('bad-input');
    expect(await refusal({ baseNumber: 7n })).toBe('bad-input');
    expect(await refusal({ nextUpdate: thisUpdate })).toBe('bad-input');
    expect(await refusal({ baseNumber: 6n, freshestCrlUri: crlUri })).toBe('bad-input');
    expect(await refusal({}, [entry(1n), entry(1n)])).toBe('bad-input');
    expect(await refusal({}, [entry(0n)])).toBe('bad-input');
    expect(await refusal({}, [entry(1n, 'removeFromCRL')])).toBe('bad-input');
    expect(await refusal({ issuer: { signer: issuer.signer } })).toBe('bad-input');
    expect(await refusal({ issuer: { ...hierarchy.get('attestation-ca').issuer, signer: issuer.signer } })).toBe(
      'key-mismatch',
    );
    const { signer, certificate } = hierarchy.get('software-signing');
    expect(await refusal({ issuer: { signer, certificate } })).toBe('not-allowed');
  });

  it('cut at any byte is refused as malformed', async () => {
    const der = await list([entry(1n, 'keyCompromise'), entry(2n)]);
    for (let end = 0; end < der.length; end++) {
      expect(() => parseCrl(der.subarray(0, end))).toThrow(expect.objectContaining({ code: 'malformed' }));
    }
  });

  it('with a byte changed is malformed or another list, never another error', async () => {
    const der = await list([entry(1n, 'keyCompromise'), { ...entry(2n), invalidityDate: notBefore }]);
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = der.slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        try {
          expect(parseCrl(changed).der.length).toBe(changed.length);
        } catch (error) {
          expect(error).toBeInstanceOf(PkiError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('of a hundred thousand entries is found through in well under a tenth of a millisecond', {
    timeout: 60_000,
  }, async () => {
    const revoked = Array.from({ length: 100_000 }, (_, i) => entry(BigInt(i + 1) * 0x9e3779b97f4a7c15n, 'superseded'));
    const crl = parseCrl(await list(revoked));
    expect(crl.entries.size).toBe(100_000);
    const start = performance.now();
    let found = 0;
    for (let i = 0; i < 10_000; i++) found += crl.entries.get(revoked[i * 7]?.serialNumber ?? 0n) === undefined ? 0 : 1;
    expect(found).toBe(10_000);
    expect((performance.now() - start) / 10_000).toBeLessThan(0.1);
  });
});

describe('a path with CRLs', () => {
  it('ends at a revoked certificate, and says why', async () => {
    const crls = [await list([entry(11n, 'keyCompromise')])];
    expect(await verdict(await device(11n), crls)).toMatch(/^revoked: .*keyCompromise/);
    expect(await verdict(await device(12n), crls)).toBe('good');
  });

  it('believes the newest complete list', async () => {
    const older = await list([entry(11n, 'certificateHold')]);
    const newer = await list([], { number: 8n });
    expect(await verdict(await device(11n), [newer, older])).toBe('good');
    expect(await verdict(await device(11n), [older])).toMatch(/^revoked/);
  });

  it('applies a delta to its base or a later list: what it adds and what it removes', async () => {
    const complete = await list([entry(11n, 'certificateHold'), entry(12n)]);
    const delta = await list([entry(11n, 'removeFromCRL'), entry(13n)], { number: 9n, baseNumber: 6n });
    expect(await verdict(await device(11n), [complete, delta])).toBe('good');
    expect(await verdict(await device(12n), [complete, delta])).toMatch(/^revoked/);
    expect(await verdict(await device(13n), [complete, delta])).toMatch(/^revoked/);
    expect(await verdict(await device(14n), [delta, complete])).toBe('good');
  });

  it('does not apply a delta that starts later, is older, or has another scope', async () => {
    const complete = await list([entry(11n)]);
    const removes = [entry(11n, 'removeFromCRL')];
    const late = await list(removes, { number: 9n, baseNumber: 8n });
    const old = await list(removes, { number: 7n, baseNumber: 6n });
    const scoped = await list(removes, { number: 9n, baseNumber: 6n, only: 'user' });
    for (const delta of [late, old, scoped])
      expect(await verdict(await device(11n), [complete, delta])).toMatch(/^revoked/);
  });

  it('needs a complete list beside a delta', async () => {
    const delta = await list([entry(11n)], { number: 9n, baseNumber: 6n });
    expect(await verdict(await device(12n), [delta])).toMatch(/^revocation-unknown: .*only delta CRLs/);
  });

  it('uses a list only for the certificates in its scope', async () => {
    const published = { ...issuer, crlUri };
    const here = await list([entry(11n)], { distributionPoint: crlUri });
    expect(await verdict(await device(11n, published), [here])).toMatch(/^revoked/);
    expect(await verdict(await device(12n, published), [here])).toBe('good');
    expect(await verdict(await device(12n), [here])).toMatch(/^revocation-unknown: .*other certificates/);
    const authorities = await list([], { only: 'ca' });
    expect(await verdict(await device(12n), [authorities])).toMatch(/^revocation-unknown: .*ca certificates/);
    expect(await verdict(await device(12n), [await list([], { only: 'user' })])).toBe('good');
  });

  it('refuses a list of the future, out of date, of another key or changed', async () => {
    const leaf = await device(12n);
    const future = await list([], { thisUpdate: new Date('2026-06-02T00:00:00Z') });
    expect(await verdict(leaf, [future])).toMatch(/^revocation-unknown: .*future/);
    const past = await list([], { nextUpdate: new Date('2026-05-31T00:00:00Z') });
    expect(await verdict(leaf, [past])).toMatch(/^revocation-unknown: .*out of date/);
    const changed = (await list([])).slice();
    changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1;
    expect(await verdict(leaf, [changed])).toMatch(/^revocation-unknown: .*bad signature/);
    expect(await verdict(leaf, [changed, await list([])])).toBe('good');
  });

  it('believes a list that another key of the issuer signed, until that key is revoked', async () => {
    const authority = hierarchy.get('device-ca');
    const above = hierarchy.get('general-root').issuer;
    const signer = await generateKey('ecdsa-p256-sha256');
    const subject = { countryName: 'DE', organizationName: 'Maker', commonName: 'Device CA' };
    const serialNumber = 4711n;
    const certificate = await createCertificate({
      ...{ profile: PROFILES.deviceCa, subject, publicKey: signer.publicKey, serialNumber, issuer: above, notBefore },
    });
    const crl = await list([entry(11n)], { issuer: { certificate, signer } });
    const ask = async (leaf: Uint8Array, ...others: readonly Uint8Array[]) => {
      const options = { purpose: 'client-auth', time, crls: [crl, ...others] } as const;
      const result = await validatePath(leaf, [authority.certificate, certificate], [authority.root], options);
      return result.ok ? 'good' : result.problem.code;
    };
    expect(await ask(await device(11n))).toBe('revoked');
    expect(await ask(await device(12n))).toBe('good');
    expect(await verdict(await device(12n), [crl])).toMatch(/bad signature/);
    expect(await ask(await device(12n), await list([entry(serialNumber)], { issuer: above }))).toBe(
      'revocation-unknown',
    );
  });

  it('does not believe a list of another CA that has the same name under another anchor', async () => {
    const [own, other] = [hierarchy, await createHierarchy(hierarchy.template, { notBefore })].map((each) =>
      each.get('device-ca'),
    );
    const foreign = await list([], { issuer: other?.issuer ?? issuer, number: 8n });
    const [intermediates, anchors] = [
      [own, other].flatMap((each) => (each ? [each.certificate] : [])),
      [own, other].flatMap((each) => (each ? [each.root] : [])),
    ];
    const ask = async (...crls: readonly Uint8Array[]) => {
      const options = { purpose: 'client-auth', time, crls } as const;
      const result = await validatePath(await device(11n), intermediates, anchors, options);
      return result.ok ? 'good' : result.problem.code;
    };
    expect(await ask(foreign)).toBe('revocation-unknown');
    expect(await ask(await list([entry(11n)]), foreign)).toBe('revoked');
  });

  it('does not believe a list of another key of the issuer whose certificate has expired', async () => {
    const authority = hierarchy.get('device-ca');
    const signer = await generateKey('ecdsa-p256-sha256');
    const subject = { countryName: 'DE', organizationName: 'Maker', commonName: 'Device CA' };
    const notAfter = new Date('2026-02-01T00:00:00Z');
    const certificate = await createCertificate({
      ...{ profile: PROFILES.deviceCa, subject, publicKey: signer.publicKey, notBefore, notAfter },
      issuer: hierarchy.get('general-root').issuer,
    });
    const old = await list([], { issuer: { certificate, signer }, number: 8n });
    const options = { purpose: 'client-auth', time, crls: [await list([entry(11n)]), old] } as const;
    const result = await validatePath(
      await device(11n),
      [authority.certificate, certificate],
      [authority.root],
      options,
    );
    expect(result).toMatchObject({ problem: { code: 'revoked' } });
  });

  it('takes a list that was read before', async () => {
    const crl = parseCrl(await list([entry(11n)]));
    for (let i = 0; i < 3; i++) expect(await verdict(await device(11n), [crl])).toMatch(/^revoked/);
  });
});

describe.skipIf(opensslMissing())('OpenSSL', () => {
  it('reads our complete and delta CRLs and verifies their signatures', async () => {
    using work = openWorkshop();
    work.certificates('ca.pem', hierarchy.get('device-ca').certificate);
    work.file(
      'crl.der',
      await list([entry(0xabcdefn, 'keyCompromise'), entry(2n)], {
        distributionPoint: crlUri,
        freshestCrlUri: `${crlUri}.delta`,
      }),
    );
    work.file(
      'delta.der',
      await list([entry(2n, 'removeFromCRL')], { number: 8n, baseNumber: 7n, distributionPoint: crlUri }),
    );
    const text = (file: string) =>
      work.openssl('crl', '-inform', 'DER', '-in', file, '-CAfile', 'ca.pem', '-noout', '-text');
    expect(text('crl.der')).toMatch(/ABCDEF[\s\S]*Key Compromise/);
    expect(text('crl.der')).toContain('X509v3 Freshest CRL');
    expect(text('delta.der')).toMatch(/Delta CRL Indicator: critical\s*7\n[\s\S]*Remove From CRL/i);
  });

  it('refuses the certificates that our complete list and our delta revoke, and takes the others', async () => {
    using work = openWorkshop();
    const { certificate, root } = hierarchy.get('device-ca');
    const published: Issuer = { ...issuer, crlUri };
    const leaves = new Map([11n, 12n, 13n, 14n].map((serial) => [serial, device(serial, published)]));
    const complete = await list([entry(11n), entry(12n, 'certificateHold')], { freshestCrlUri: crlUri });
    const delta = await list([entry(12n, 'removeFromCRL'), entry(13n)], { number: 8n, baseNumber: 7n });
    work.certificates('chain.pem', certificate, root);
    work.file('crls.pem', [complete, delta].map((der) => encodePem('X509 CRL', der)).join(''));
    const options = ['-CAfile', 'chain.pem', '-CRLfile', 'crls.pem', '-crl_check', '-use_deltas', '-extended_crl'];
    const at = ['-attime', String(time.getTime() / 1000)];
    const answers: Record<string, boolean> = {};
    for (const [serial, leaf] of leaves) {
      work.certificates(`${serial}.pem`, await leaf);
      const { status } = spawnSync('openssl', ['verify', ...options, ...at, `${serial}.pem`], { cwd: work.path });
      answers[String(serial)] = status === 0;
      const ours = await verdict(await leaf, [complete, delta]);
      expect([serial, ours === 'good']).toEqual([serial, status === 0]);
    }
    expect(answers).toEqual({ 11: false, 12: true, 13: false, 14: true });
  });

  it('makes lists with every reason that we read as it meant them', async () => {
    using work = openWorkshop();
    const authority = hierarchy.get('device-ca');
    work.file('ca-key.pem', encodePem('PRIVATE KEY', await authority.signer.unsafeExportKey()));
    work.certificates('ca.pem', authority.certificate);
    const reasons = [
      'unspecified',
      'keyCompromise',
      'CACompromise',
      'affiliationChanged',
      'superseded',
      'cessationOfOperation',
      'certificateHold',
    ];
    const index = reasons.map(
      (reason, i) => `R\t360101000000Z\t260401123000Z,${reason}\t0${i + 1}\tunknown\t/CN=${i}\n`,
    );
    work.file('index.txt', index.join(''));
    work.file('crlnumber', '2A\n');
    work.file(
      'ca.cnf',
      '[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n',
    );
    work.openssl(
      'ca',
      '-config',
      'ca.cnf',
      '-keyfile',
      'ca-key.pem',
      '-cert',
      'ca.pem',
      '-gencrl',
      '-crldays',
      '30',
      '-out',
      'crl.pem',
    );
    const crl = parseCrl(decodePem('X509 CRL', readFileSync(join(work.path, 'crl.pem'), 'utf8')));
    expect(crl.number).toBe(0x2an);
    const expected: (CrlReason | undefined)[] = [
      'unspecified',
      'keyCompromise',
      'cACompromise',
      'affiliationChanged',
      'superseded',
      'cessationOfOperation',
      'certificateHold',
    ];
    expect([...crl.entries].map(({ reason = 'unspecified' }) => reason)).toEqual(expected);
    expect(crl.entries.get(3n)?.revocationDate).toEqual(revocationDate);
  });
});

describe.skipIf(programMissing('certtool'))('GnuTLS', () => {
  it('reads and verifies our CRL', async () => {
    using work = openWorkshop();
    const { certificate } = hierarchy.get('device-ca');
    const from = new Date(Date.now() - 1000);
    const current = { thisUpdate: from, nextUpdate: new Date(Date.now() + 86_400_000) };
    const ca = work.certificates('ca.pem', certificate);
    const crl = work.file('crl.pem', encodePem('X509 CRL', await list([entry(0xabcdefn, 'superseded')], current)));
    const shown = spawnSync('certtool', ['--crl-info', '--infile', crl], { encoding: 'utf8' }).stdout;
    expect(shown).toMatch(/Revoked certificates \(1\)[\s\S]*Serial Number \(hex\): (00)?abcdef/);
    const verified = spawnSync('certtool', ['--verify-crl', '--load-ca-certificate', ca, '--infile', crl], {
      encoding: 'utf8',
    });
    expect(verified.stdout).toMatch(/Verified/);
    expect(verified.status).toBe(0);
  });

  it('makes CRLs that we read and believe', async () => {
    using work = openWorkshop();
    const authority = hierarchy.get('device-ca');
    const key = work.file('key.pem', encodePem('PRIVATE KEY', await authority.signer.unsafeExportKey()));
    const ca = work.certificates('ca.pem', authority.certificate);
    const leaf = await device(0x1234n);
    const bad = work.certificates('bad.pem', leaf);
    const template = work.file('crl.tmpl', 'crl_next_update = 400\ncrl_number = 5\n');
    const out = join(work.path, 'crl.pem');
    const args = ['--generate-crl', '--load-ca-privkey', key, '--load-ca-certificate', ca, '--load-certificate', bad];
    const { status, stderr } = spawnSync('certtool', [...args, '--template', template, '--outfile', out], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    const crl = parseCrl(decodePem('X509 CRL', readFileSync(out, 'utf8')));
    expect(crl.number).toBe(5n);
    const { root } = authority;
    const options = { purpose: 'client-auth', time: new Date(Date.now() + 1000), crls: [crl] } as const;
    const result = await validatePath(leaf, [authority.certificate], [root], options);
    expect(result).toMatchObject({ problem: { code: 'revoked' } });
    expect(parseCertificate(leaf).serialNumber).toBe(0x1234n);
  });
});
