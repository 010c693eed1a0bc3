import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildCsr, encodePem, generateKey, parseCertificate, validatePath } from '@casemate/pki';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAuthority } from '../src/authority.js';
import { buildCa, whyNot } from '../src/build.js';
import { withKeys } from '../src/ca.js';

const isolate = new URL('../../../packages/trustvisor/dist/isolate.js', import.meta.url);
const reason = existsSync(isolate) ? await whyNot() : 'the isolate is not built: cd packages/trustvisor && npx tsup';
const skipped = reason !== undefined && process.env.MUST_RUN !== '1';

describe.skipIf(skipped)(`an authority whose keys are in a PAL${reason ? ` (${reason})` : ''}`, () => {
  let state: string;
  let image: Uint8Array;
  beforeAll(async () => {
    state = mkdtempSync(join(tmpdir(), 'pal-ca-test-'));
    image = await buildCa();
  }, 120_000);
  afterAll(() => rmSync(state, { recursive: true, force: true }));
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: state, encoding: 'utf8', stdio: 'pipe' });
  const request = async (commonName: string, more: object = {}) =>
    buildCsr(await generateKey('ecdsa-p256-sha256'), {
      subject: { countryName: 'DE', organizationName: 'Maker', commonName },
      subjectAltName: { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] },
      ...more,
    });

  it('builds to the same bytes each time', async () => {
    expect(await buildCa()).toEqual(image);
  });

  it.skipIf(spawnSync('openssl', ['version']).status !== 0 && process.env.MUST_RUN !== '1')(
    'issues a hierarchy and a CRL that OpenSSL verifies, and goes on with the same keys in the next run',
    async () => {
      const [first, second] = [await request('edge 1'), await request('edge 2')];
      const issued = await withKeys(image, { state }, async (keys) => {
        const authority = await openAuthority(keys, state);
        const certificate = await authority.issue(first);
        writeFileSync(join(state, 'one.pem'), encodePem('CERTIFICATE', certificate));
        expect(await keys.signatures()).toBe(3);
        return { root: authority.root, certificate };
      });
      await withKeys(image, { state }, async (keys) => {
        const authority = await openAuthority(keys, state);
        expect(authority.root).toEqual(issued.root);
        const certificate = await authority.issue(second);
        writeFileSync(join(state, 'two.pem'), encodePem('CERTIFICATE', certificate));
        const { serialNumber } = parseCertificate(issued.certificate);
        const crl = await authority.crl(1n, [{ serialNumber, revocationDate: new Date(), reason: 'keyCompromise' }]);
        writeFileSync(join(state, 'device-ca.crl'), encodePem('X509 CRL', crl));
        // Every signature is counted, over restarts: root, device CA, two devices, a CRL.
        expect(await keys.signatures()).toBe(5);
        const options = { purpose: 'client-auth', time: new Date(), crls: [crl] } as const;
        const path = (leaf: Uint8Array) => validatePath(leaf, [authority.deviceCa], [authority.root], options);
        expect(await path(certificate)).toMatchObject({ ok: true });
        expect(await path(issued.certificate)).toMatchObject({ ok: false, problem: { code: 'revoked' } });
      });
      const chain = ['-CAfile', 'root.pem', '-untrusted', 'device-ca.pem', '-purpose', 'sslclient'];
      expect(openssl('verify', '-x509_strict', ...chain, 'one.pem', 'two.pem')).toBe('one.pem: OK\ntwo.pem: OK\n');
      const checked = ['verify', ...chain, '-CRLfile', 'device-ca.crl', '-crl_check'];
      expect(openssl(...checked, 'two.pem')).toContain('OK');
      expect(() => openssl(...checked, 'one.pem')).toThrow(/revoked/);
    },
  );

  it('puts no new key in the place of one that it cannot read', async () => {
    const file = join(state, 'loop.sealed-key');
    symlinkSync('loop.sealed-key', file);
    await withKeys(image, { state }, async (keys) => {
      await expect(keys.key('loop')).rejects.toMatchObject({ code: 'ELOOP' });
    });
    expect(lstatSync(file).isSymbolicLink()).toBe(true);
  });

  it('has keys that are of no use elsewhere: damaged, or in another Trustvisor, they sign nothing', async () => {
    const kept = readFileSync(join(state, 'root.sealed-key'));
    const damaged = Buffer.from(kept);
    damaged[damaged.length - 1] = (damaged[damaged.length - 1] ?? 0) ^ 1;
    writeFileSync(join(state, 'damaged.sealed-key'), damaged);
    const refused = { code: 'TZ_ERROR_SERVICE', serviceReturn: 2 };
    await withKeys(image, { state }, async (keys) => {
      const before = await keys.signatures();
      await expect((await keys.key('damaged')).sign(new Uint8Array(4))).rejects.toMatchObject(refused);
      expect(await keys.signatures()).toBe(before);
    });
    const elsewhere = mkdtempSync(join(tmpdir(), 'pal-ca-elsewhere-'));
    try {
      writeFileSync(join(elsewhere, 'root.sealed-key'), kept);
      await withKeys(image, { state: elsewhere }, async (keys) => {
        await expect((await keys.key('root')).sign(new Uint8Array(4))).rejects.toMatchObject(refused);
      });
    } finally {
      rmSync(elsewhere, { recursive: true, force: true });
    }
  });

  it('refuses requests beyond the profile before anything is signed', async () => {
    await withKeys(image, { state }, async (keys) => {
      const authority = await openAuthority(keys, state);
      const before = await keys.signatures();
      const greedy = await request('edge 3', { extendedKeyUsage: ['codeSigning'] });
      await expect(authority.issue(greedy)).rejects.toMatchObject({ code: 'not-allowed' });
      expect(await keys.signatures()).toBe(before);
    });
  });
});
