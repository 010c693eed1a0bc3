/** Endorsement keys: templates against the profile's policies, certificates of a TPM that swtpm_setup made, chains and nonces in NV. */
import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createEk,
  createPrimary,
  type EkKind,
  ekCertificateKinds,
  ekTemplate,
  findPersistent,
  listHandles,
  nvDefine,
  nvWrite,
  openNv,
  provisionSrk,
  publicKeySpki,
  readEkCertificate,
  readEkChain,
  readEkTemplate,
  srkTemplate,
  TPM_ALG,
  Tpm,
  TpmtPublic,
  unpersist,
  withEkNonce,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

const hash = (algorithm: string, ...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(parts.reduce((hasher, part) => hasher.update(part), createHash(algorithm)).digest());
const bytes = (digits: string): Uint8Array => new Uint8Array(Buffer.from(digits, 'hex'));

describe('templates of endorsement keys', () => {
  it.each([
    ['rsa-2048-high', 'sha256', '000b', '01c07f01'],
    ['ecc-p256-high', 'sha256', '000b', '01c07f01'],
    ['ecc-p384-high', 'sha384', '000c', '01c07f02'],
    ['ecc-p521-high', 'sha512', '000d', '01c07f03'],
    ['sm2-high', 'sm3', '0012', '01c07f04'],
    ['rsa-3072-high', 'sha384', '000c', '01c07f02'],
    ['rsa-4096-high', 'sha384', '000c', '01c07f02'],
  ] as const)(
    'of %s have the policy "by the endorsement hierarchy, or as its NV index says", computed here',
    (kind, name, id, index) => {
      const zeros = hash(name).fill(0);
      const bySecret = hash(name, hash(name, zeros, bytes('000001514000000b')));
      const size = bytes(zeros.length.toString(16).padStart(4, '0'));
      const dataSize = bytes((zeros.length + 2).toString(16).padStart(4, '0'));
      const area = Buffer.concat([bytes(`${index}${id}220f1008`), size, bySecret, dataSize]);
      const byNv = hash(name, zeros, bytes('00000192'), bytes(id), hash(name, area));
      expect(ekTemplate(kind).authPolicy).toEqual(hash(name, zeros, bytes('00000171'), bySecret, byNv));
    },
  );

  it.each(['rsa-2048', 'ecc-p256'] as const)('of %s have the policy "by the endorsement hierarchy"', (kind) => {
    const zeros = new Uint8Array(32);
    const policy = hash('sha256', hash('sha256', zeros, bytes('000001514000000b')));
    expect(ekTemplate(kind).authPolicy).toEqual(policy);
  });

  it('encode, SM2 among them, and take a nonce', () => {
    expect(encode(TpmtPublic, ekTemplate('sm2-high')).length).toBeGreaterThan(40);
    expect(withEkNonce(ekTemplate('rsa-2048'), Uint8Array.of(1)).unique).toEqual(
      Uint8Array.of(1, ...new Uint8Array(255)),
    );
    const { unique } = withEkNonce(ekTemplate('ecc-p256'), Uint8Array.of(1));
    expect(unique).toEqual({ x: Uint8Array.of(1, ...new Uint8Array(31)), y: new Uint8Array(32) });
    const usage = expect.objectContaining({ code: 'usage' });
    expect(() => withEkNonce(ekTemplate('ecc-p256'), new Uint8Array(33))).toThrow(usage);
  });
});

/** Has swtpm_setup manufacture a TPM in `directory`, with an authority of its own there. */
function manufacture(directory: string, ...options: readonly string[]): void {
  const authority = join(directory, 'authority');
  mkdirSync(authority);
  const at = (name: string): string => join(authority, name);
  writeFileSync(
    at('localca.conf'),
    `statedir = ${authority}\nsigningkey = ${at('signkey.pem')}\nissuercert = ${at('issuer.pem')}\ncertserial = ${at('serial')}\n`,
  );
  writeFileSync(
    at('localca.options'),
    '--platform-manufacturer Casemate\n--platform-version 1\n--platform-model Test\n',
  );
  writeFileSync(
    at('setup.conf'),
    `create_certs_tool= swtpm_localca\ncreate_certs_tool_config = ${at('localca.conf')}\ncreate_certs_tool_options = ${at('localca.options')}\n`,
  );
  const state = ['--tpm2', '--tpmstate', directory, '--config', at('setup.conf'), '--overwrite'];
  execFileSync('swtpm_setup', [...state, '--create-ek-cert', '--create-platform-cert', ...options], { stdio: 'pipe' });
}

describeWith(['swtpm', 'swtpm_setup', 'swtpm_localca'], 'a TPM that swtpm_setup made', () => {
  describe.each([
    ['RSA 2048 and P-384 keys', [], ['rsa-2048', 'ecc-p384-high']],
    ['RSA 3072 and P-384 keys', ['--rsa-keysize', '3072'], ['rsa-3072-high', 'ecc-p384-high']],
  ] as const)('with %s', (_, options, expected) => {
    const directory = mkdtempSync(join(tmpdir(), 'casemate-made-'));
    let server: SwtpmServer;
    let tpm: Tpm;
    beforeAll(async () => {
      manufacture(directory, ...options);
      server = await startSwtpm({ state: directory });
      tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
    }, 120_000);
    afterAll(async () => {
      await tpm?.close();
      await server?.stop();
      rmSync(directory, { recursive: true, force: true });
    });

    it('holds certificates for exactly the keys that our templates create', async () => {
      const kinds = await ekCertificateKinds(tpm);
      expect(kinds).toEqual(expect.arrayContaining([...expected]));
      for (const kind of kinds) {
        const certificate = new X509Certificate((await readEkCertificate(tpm, kind)) ?? new Uint8Array(0));
        await using ek = await createEk(tpm, kind);
        const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
        expect(Buffer.from(publicKeySpki(ek.public))).toEqual(spki);
      }
      expect(await readEkCertificate(tpm, 'ecc-p521-high')).toBeUndefined();
      expect(await readEkChain(tpm)).toEqual([]);
    }, 120_000);
  });
});

describeWith(['swtpm'], 'endorsement data in NV', () => {
  let server: SwtpmServer;
  let tpm: Tpm;
  beforeAll(async () => {
    server = await startSwtpm();
    tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  const put = async (index: number, contents: Uint8Array): Promise<void> => {
    const defined = await nvDefine(tpm, { index, size: contents.length, hierarchy: 'platform' });
    await nvWrite(tpm, defined, contents);
  };
  const element = (size: number): Uint8Array =>
    Uint8Array.of(0x30, 0x82, size >> 8, size & 0xff, ...nodeCrypto.random(size));

  it('make up the chain of authorities, across indexes and up to the padding', async () => {
    const certificates = [element(600), element(700), element(300)];
    const joined = Buffer.concat([...certificates, Buffer.alloc(17, 0xff)]);
    for (let i = 0; i * 1000 < joined.length; i++) {
      await put(0x01c00100 + i, new Uint8Array(joined.subarray(i * 1000, (i + 1) * 1000)));
    }
    expect(await readEkChain(tpm)).toEqual(certificates);
    const last = await openNv(tpm, 0x01c00101);
    await nvWrite(tpm, last, Uint8Array.of(0x30, 0x82, 0xff, 0xff), { offset: 604 + 704 - 1000 });
    await expect(readEkChain(tpm)).rejects.toMatchObject({ code: 'decode' });
  });

  it.each(['rsa-2048', 'ecc-p256'] as const)(
    'of %s: the nonce gives another key than the template alone',
    async (kind: EkKind) => {
      const plain = await readEkTemplate(tpm, kind);
      expect(plain).toEqual(ekTemplate(kind));
      const nonce = nodeCrypto.random(32);
      await put(kind === 'rsa-2048' ? 0x01c00003 : 0x01c0000b, nonce);
      await using ek = await createEk(tpm, kind);
      await using same = await createPrimary(tpm, { hierarchy: 'endorsement', template: withEkNonce(plain, nonce) });
      expect(ek.name).toEqual(same.name);
      await using other = await createPrimary(tpm, { hierarchy: 'endorsement', template: plain });
      expect(ek.name).not.toEqual(other.name);
    },
  );

  it("of a manufacturer's template: the key is made from it", async () => {
    const template = {
      ...ekTemplate('ecc-p256-high'),
      nameAlg: TPM_ALG.SHA384,
      authPolicy: new Uint8Array(48).fill(1),
    } as TpmtPublic;
    await put(0x01c00015, encode(TpmtPublic, template));
    expect(await readEkTemplate(tpm, 'ecc-p256-high')).toEqual(template);
    await using ek = await createEk(tpm, 'ecc-p256-high');
    expect(ek.public.nameAlg).toBe(TPM_ALG.SHA384);
  });

  it.each(['rsa-2048-high', 'rsa-3072-high', 'ecc-p384-high', 'ecc-p521-high'] as const)(
    "of none: the key %s is made from the profile's template",
    async (kind) => {
      await using ek = await createEk(tpm, kind);
      expect(ek.public.authPolicy).toEqual(ekTemplate(kind).authPolicy);
    },
    120_000,
  );

  it('the storage root key is provisioned once, found again by its Name, and not mistaken for another', async () => {
    const first = await provisionSrk(tpm);
    expect(first.handle).toBe(0x81000001);
    expect((await provisionSrk(tpm)).name).toEqual(first.name);
    await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    expect(first.name).toEqual(srk.name);
    expect((await findPersistent(tpm, srk.name))?.handle).toBe(0x81000001);
    expect(await findPersistent(tpm, new Uint8Array(34))).toBeUndefined();
    await expect(provisionSrk(tpm, { kind: 'rsa-2048' })).rejects.toMatchObject({ code: 'usage' });
    const rsa = await provisionSrk(tpm, { kind: 'rsa-2048', handle: 0x81000002 });
    expect(await listHandles(tpm, 'persistent')).toEqual([0x81000001, 0x81000002]);
    for (const object of [first, rsa]) await unpersist(tpm, object);
    expect(await listHandles(tpm, 'persistent')).toEqual([]);
    expect(await listHandles(tpm, 'pcr')).toHaveLength(24);
  });
});
