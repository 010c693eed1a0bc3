/** X.509 certificates that swtpm signs, and what OpenSSL says of them. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode, encode } from '@casemate/wire';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  akTemplate,
  CertifyX509,
  type CertifyX509Options,
  certifyX509,
  createKey,
  createPrimary,
  type KeyKind,
  loadKey,
  publicKeySpki,
  signingKeyTemplate,
  srkTemplate,
  TPM_ALG,
  TPMA_OBJECT,
  Tpm,
  type TpmObject,
  type TpmtPublic,
} from '../../src/index.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

/** A signing key that leaves the scheme to the caller. */
function unbound(kind: KeyKind): TpmtPublic {
  const template = signingKeyTemplate(kind);
  const parameters = { ...template.parameters, scheme: { scheme: TPM_ALG.NULL, details: undefined } };
  return { ...template, parameters } as TpmtPublic; // only the scheme differs
}

const dates = { notBefore: new Date('2026-01-01'), notAfter: new Date('2056-01-01') };
const CA = Uint8Array.from(Buffer.from('300f0603551d130101ff040530030101ff', 'hex'));

describeWith(['swtpm', 'openssl'], 'certificates by swtpm', () => {
  let server: SwtpmServer;
  let tpm: Tpm;
  beforeAll(async () => {
    server = await startSwtpm();
    tpm = new Tpm(await connectSwtpm(server));
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  function openssl(...args: readonly string[]): string {
    return execFileSync('openssl', args, {
      cwd: server.directory,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  function put(name: string, certificate: Uint8Array): void {
    writeFileSync(join(server.directory, name), new X509Certificate(certificate).toString());
  }

  const selfSigned = (key: TpmObject, options: Partial<CertifyX509Options> = {}): Promise<Uint8Array> =>
    certifyX509(tpm, {
      object: key,
      signer: key,
      issuer: 'Casemate root',
      subject: 'Casemate root',
      keyUsage: ['keyCertSign', 'cRLSign'],
      extensions: [CA],
      ...dates,
      ...options,
    });

  it.each([
    ['ecc-p256', {}],
    ['ecc-p384', {}],
    ['rsa-2048', {}],
    ['rsa-2048', { scheme: 'rsapss', hash: 'sha384' }],
  ] as const)(
    'by a key of %s (%o) are verified by OpenSSL, a root and what it has certified',
    async (kind, scheme) => {
      await using root = await createPrimary(tpm, { template: unbound(kind), hierarchy: 'endorsement' });
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      await using leaf = await loadKey(
        tpm,
        srk,
        await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256') }),
      );
      put('root.pem', await selfSigned(root, scheme));
      const certificate = await certifyX509(tpm, {
        object: leaf,
        signer: root,
        issuer: 'Casemate root',
        subject: 'a device',
        keyUsage: ['digitalSignature', 'nonRepudiation'],
        ...dates,
        ...scheme,
      });
      put('leaf.pem', certificate);
      expect(openssl('verify', '-check_ss_sig', '-x509_strict', '-CAfile', 'root.pem', 'root.pem')).toBe(
        'root.pem: OK\n',
      );
      expect(openssl('verify', '-CAfile', 'root.pem', 'leaf.pem')).toBe('leaf.pem: OK\n');
      const told = openssl('x509', '-in', 'leaf.pem', '-noout', '-text');
      expect(told).toMatch(/X509v3 Key Usage: critical\n\s+Digital Signature, Non Repudiation\n/);
      expect(told).toMatch(/2\.23\.133\.10\.1\.1\.1:/);
      expect(told).toContain('Not After : Jan  1 00:00:00 2056 GMT');
      const { publicKey, subject, issuer } = new X509Certificate(certificate);
      expect(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))).toEqual(publicKeySpki(leaf.public));
      expect([subject, issuer]).toEqual(['CN=a device', 'CN=Casemate root']);
    },
    60_000,
  );

  it('certify an attestation key by a key that signs certificates only', async () => {
    const template = signingKeyTemplate('ecc-p256');
    const only = { ...template, objectAttributes: template.objectAttributes | TPMA_OBJECT.x509sign };
    await using signer = await createPrimary(tpm, { template: only, hierarchy: 'endorsement' });
    await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    put('root.pem', await selfSigned(signer, { attributes: false }));
    put(
      'ak.pem',
      await selfSigned(signer, { object: ak, subject: 'AK', keyUsage: ['digitalSignature'], extensions: [] }),
    );
    expect(openssl('verify', '-CAfile', 'root.pem', 'ak.pem')).toBe('ak.pem: OK\n');
  });

  it('are refused by the TPM for what the key may not do', async () => {
    await using key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    await using parent = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    for (const [object, keyUsage] of [
      [key, ['keyAgreement']],
      [key, ['dataEncipherment']],
      [parent, ['digitalSignature']],
    ] as const) {
      await expect(selfSigned(key, { object, keyUsage })).rejects.toMatchObject({ code: 'response' });
    }
    await expect(selfSigned(parent)).rejects.toMatchObject({ code: 'usage' });
  });

  it('are refused before the TPM sees them where they are too long', async () => {
    await using key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    await expect(selfSigned(key, { subject: 'x'.repeat(1000) })).rejects.toMatchObject({ code: 'usage' });
  });

  it('are refused where the TPM has changed the key, the digest or the signature', async () => {
    await using key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    for (const at of ['key', 'digest', 'signature'] as const) {
      const forging = forger(tpm, at);
      const options = { object: key, signer: key, issuer: 'a', subject: 'a', keyUsage: ['keyCertSign'] as const };
      await expect(certifyX509(forging, { ...options, ...dates })).rejects.toMatchObject({ code: 'integrity' });
    }
  });
});

/** A TPM that answers TPM2_CertifyX509 with one bit changed. */
function forger(tpm: Tpm, at: 'key' | 'digest' | 'signature'): Tpm {
  const forged = new Tpm({
    send: async () => new Uint8Array(0),
    close: async () => undefined,
  });
  forged.execute = (async (command: typeof CertifyX509, request: never, options: never) => {
    const answer = await tpm.execute(command, request, options);
    const flipped = (bytes: Uint8Array): Uint8Array =>
      bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
    if (at === 'key') return { ...answer, addedToCertificate: flipped(answer.addedToCertificate) };
    if (at === 'digest') return { ...answer, tbsDigest: flipped(answer.tbsDigest) };
    const { signature } = answer;
    const changed = encode(CertifyX509.response, answer as never);
    changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1;
    return signature ? decode(CertifyX509.response, changed) : answer;
  }) as unknown as typeof forged.execute; // for this command alone
  return forged;
}
