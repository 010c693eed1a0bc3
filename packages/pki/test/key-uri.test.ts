/** Keys by URI: files, PKCS#12, a TPM and a token of softhsm2, each signing what OpenSSL and we verify. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createKey,
  createPrimary,
  encodeKeyFile,
  extendPcr,
  keyFileCommands,
  keyFileParent,
  loadKey,
  type Policy,
  persist,
  policyDigest,
  readPcrs,
  signingKeyTemplate,
  srkTemplate,
  TPM_RH,
  TPMA_OBJECT,
  Tpm,
} from '@casemate/tpm';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schemeOf } from '../src/algorithm.js';
import {
  createCertificate,
  encodePem,
  encryptKey,
  generateKey,
  PkiError,
  PROFILES,
  type SignatureAlgorithm,
  type Signer,
  validatePath,
} from '../src/index.js';
import { openKey } from '../src/node.js';
import { encodePkcs11Uri, generatePkcs11Key, openPkcs11Key, parsePkcs11Uri } from '../src/pkcs11.js';
import { buildPkcs12 } from '../src/pkcs12.js';
import { verifySignature } from '../src/signature.js';
import { openWorkshop, programMissing } from './openssl.js';
import { swtpmMissing } from './swtpm.js';

const data = new TextEncoder().encode('what is signed');

async function assertSigns(signer: Signer): Promise<void> {
  const { scheme } = schemeOf(signer.algorithm);
  expect(await verifySignature(signer.publicKey, scheme, data, await signer.sign(data))).toBe(true);
  const root = await createCertificate({
    profile: PROFILES.rootCa,
    subject: { commonName: 'Root' },
    publicKey: signer.publicKey,
    issuer: { signer },
  });
  expect(await validatePath(root, [], [root], { purpose: 'any', time: new Date() })).toMatchObject({ ok: true });
}

describe('a key in a file', () => {
  it('opens from PEM and DER, plain and encrypted, with the certificates beside it', async () => {
    using work = openWorkshop();
    const key = await generateKey('ecdsa-p384-sha384');
    const pkcs8 = await key.unsafeExportKey();
    const certificate = await createCertificate({
      profile: PROFILES.rootCa,
      subject: { commonName: 'Root' },
      publicKey: key.publicKey,
      issuer: { signer: key },
    });
    const locked = await encryptKey(pkcs8, 'geheim', { iterations: 10_000 });
    const files = {
      'plain.pem': encodePem('PRIVATE KEY', pkcs8) + encodePem('CERTIFICATE', certificate),
      'plain.der': pkcs8,
      'locked.pem': encodePem('ENCRYPTED PRIVATE KEY', locked),
      'locked.der': locked,
    };
    for (const [name, content] of Object.entries(files)) {
      const given = new TextEncoder().encode('geheim');
      const opened = await openKey(`file:${work.file(name, content)}`, { secret: async () => given });
      expect(opened.publicKey).toEqual(key.publicKey);
      expect(opened.chain).toEqual(name === 'plain.pem' ? [certificate] : []);
      expect(given.every((octet) => octet === 0)).toBe(name.startsWith('locked'));
      await assertSigns(opened);
    }
    expect((await openKey(join(work.path, 'plain.pem'))).publicKey).toEqual(key.publicKey);
    await expect(openKey(`file:${join(work.path, 'locked.pem')}`)).rejects.toMatchObject({ code: 'wrong-passphrase' });
    await expect(
      openKey(`file:${join(work.path, 'locked.pem')}`, { secret: async () => 'other' }),
    ).rejects.toMatchObject({ code: 'wrong-passphrase' });
    await expect(openKey(`file:${join(work.path, 'none')}`)).rejects.toMatchObject({ code: 'not-found' });
    for (const uri of [
      'ftp:x',
      'file:',
      'file:x?color=red',
      'file:%zz',
      'file:%ff',
      'constructor:x?a=b',
      'tpm:0x01',
      `${join(work.path, 'plain.pem')}?algorithm=md5`,
    ]) {
      await expect(
        openKey(uri, { connectTpm: () => Promise.reject(new PkiError('bad-input', 'none')) }),
      ).rejects.toBeInstanceOf(PkiError);
    }
  });

  it('signs as its URI says where it is an RSA key', async () => {
    using work = openWorkshop();
    const path = work.file(
      'rsa.pem',
      encodePem('PRIVATE KEY', await (await generateKey('rsassa-2048-sha256')).unsafeExportKey()),
    );
    const opened = await openKey(`file:${path}?algorithm=rsapss-2048-sha512`);
    expect(opened.algorithm).toBe('rsapss-2048-sha512');
    await assertSigns(opened);
  });

  it('opens from PKCS#12 by its name', async () => {
    using work = openWorkshop();
    const keys = await Promise.all(
      ['one', 'two'].map(async (friendlyName) => ({
        key: await generateKey('ecdsa-p256-sha256'),
        chain: [],
        friendlyName,
      })),
    );
    const path = work.file('keys.p12', await buildPkcs12({ keys }, 'geheim', { iterations: 10_000 }));
    const secret = async () => 'geheim';
    expect((await openKey(`pkcs12:${path}?name=two`, { secret })).publicKey).toEqual(keys[1]?.key.publicKey);
    await expect(openKey(`pkcs12:${path}`, { secret })).rejects.toMatchObject({ code: 'not-found' });
    await expect(openKey(`pkcs12:${path}?name=one`, { secret: async () => 'x' })).rejects.toMatchObject({
      code: 'wrong-passphrase',
    });
  });
});

describe.skipIf(swtpmMissing() !== undefined)('a key in a TPM', () => {
  let path: string;
  let address: string;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    path = mkdtempSync(join(tmpdir(), 'casemate-key-'));
    const port = await freePort();
    const args = [
      'socket',
      '--tpm2',
      '--tpmstate',
      `dir=${path}`,
      '--server',
      `type=tcp,port=${port}`,
      '--flags',
      'not-need-init,startup-clear',
    ];
    const child = spawn('swtpm', args, { stdio: 'ignore' });
    stop = async () => {
      child.kill();
      await once(child, 'exit');
    };
    address = `swtpm:host=127.0.0.1,port=${port}`;
    const connect = async (): Promise<Awaited<ReturnType<typeof connectSwtpm>>> => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await connectSwtpm({ host: '127.0.0.1', port });
        } catch (error) {
          if (attempt === 50) throw error;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
    };
    const tpm = new Tpm(await connect());
    try {
      const parent = await createPrimary(tpm, { hierarchy: 'owner', template: srkTemplate('ecc-p256') });
      const kept = await createKey(tpm, parent, { template: signingKeyTemplate('ecc-p256'), auth: 'geheim' });
      const object = await loadKey(tpm, parent, kept, { auth: 'geheim' });
      await persist(tpm, object, 0x81010001);
      await object.flush();
      await parent.flush();
      const fileParent = await keyFileParent(tpm, { parent: TPM_RH.OWNER, rsaParent: false });
      const inFile = await createKey(tpm, fileParent, { template: signingKeyTemplate('rsa-2048') });
      writeFileSync(
        join(path, 'key.tss'),
        encodeKeyFile({ type: 'loadable', emptyAuth: true, parent: TPM_RH.OWNER, ...inFile }),
      );
      await fileParent.flush();
    } finally {
      await tpm.close();
    }
  });
  const swtpmPlace = () => ({ host: '127.0.0.1', port: Number(address.split('port=')[1]) });
  afterAll(async () => {
    await stop();
    rmSync(path, { recursive: true, force: true });
  });

  it('opens by its handle with its authorization, and with no other', async () => {
    {
      await using key = await openKey(`tpm:0x81010001?tpm=${address}`, { secret: async () => 'geheim' });
      expect(key.algorithm).toBe('ecdsa-p256-sha256');
      await assertSigns(key);
    }
    await using other = await openKey(`tpm:0x81010001?tpm=${address}`, { secret: async () => 'falsch' });
    await expect(other.sign(data)).rejects.toMatchObject({ code: 'wrong-passphrase' });
  });

  it('opens from a TSS2 PRIVATE KEY file, by both names, and signs as the key is bound to', async () => {
    for (const scheme of ['tpmkey', 'file']) {
      await using key = await openKey(`${scheme}:${join(path, 'key.tss')}?tpm=${address}&algorithm=rsassa-2048-sha256`);
      expect(key.algorithm).toBe('rsassa-2048-sha256');
      await assertSigns(key);
    }
    const bound = openKey(`tpmkey:${join(path, 'key.tss')}?tpm=${address}&algorithm=rsapss-2048-sha256`);
    await expect(bound).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('signs under the policy that stands in its file, each time anew, and not once the PCRs have changed', async () => {
    const tpm = new Tpm(await connectSwtpm(swtpmPlace()));
    try {
      const values = await readPcrs(tpm, { sha256: [16] });
      const policy: Policy = [{ type: 'pcr', values }, { type: 'auth-value' }];
      await using parent = await keyFileParent(tpm, { parent: TPM_RH.OWNER, rsaParent: false });
      const template = { ...signingKeyTemplate('ecc-p256'), authPolicy: policyDigest(policy) };
      // Wrong secrets of this test are not to lock the TPM.
      const objectAttributes = (template.objectAttributes & ~TPMA_OBJECT.userWithAuth) | TPMA_OBJECT.noDA;
      const made = await createKey(tpm, parent, { template: { ...template, objectAttributes }, auth: 'geheim' });
      const file = { type: 'loadable', emptyAuth: false, parent: TPM_RH.OWNER, ...made } as const;
      writeFileSync(join(path, 'bound.tss'), encodeKeyFile({ ...file, policy: keyFileCommands(policy) }));
      await using object = await loadKey(tpm, parent, made);
      await persist(tpm, object, 0x81010002);
    } finally {
      await tpm.close();
    }
    const secret = async () => 'geheim';
    // swtpm serves one connection at a time.
    const bound = [
      `tpmkey:${join(path, 'bound.tss')}?tpm=${address}`,
      `tpm:0x81010002?pcrs=sha256:16&auth=policy&tpm=${address}`,
    ];
    const refused = async (uri: string, code: string, given = secret) => {
      await using key = await openKey(uri, { secret: given });
      await expect(key.sign(data)).rejects.toMatchObject({ code });
    };
    for (const uri of bound) {
      {
        await using key = await openKey(uri, { secret });
        await assertSigns(key);
        await assertSigns(key);
      }
      await refused(uri, 'wrong-passphrase', async () => 'falsch');
    }
    for (const query of ['', 'auth=policy&', 'pcrs=sha256:17&auth=policy&']) {
      await refused(`tpm:0x81010002?${query}tpm=${address}`, 'not-allowed');
    }
    await expect(openKey(`tpm:0x81010002?pcrs=sha256:99&tpm=${address}`)).rejects.toMatchObject({ code: 'bad-input' });
    await expect(openKey(`tpm:0x81010002?auth=no&tpm=${address}`)).rejects.toMatchObject({ code: 'bad-input' });
    const again = new Tpm(await connectSwtpm(swtpmPlace()));
    await extendPcr(again, 16, { sha256: new Uint8Array(32).fill(1) });
    await again.close();
    for (const uri of bound) await refused(uri, 'not-allowed');
  });

  it('is told where nobody answers, and where there is no such handle', async () => {
    await expect(openKey('tpm:0x81010001?tpm=swtpm:port=1')).rejects.toMatchObject({ code: 'key-store' });
    await expect(openKey(`tpm:0x81010fff?tpm=${address}`)).rejects.toMatchObject({ code: 'key-store' });
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

describe('a pkcs11 URI', () => {
  it('says what the examples of RFC 7512 say', () => {
    expect(parsePkcs11Uri('pkcs11:')).toEqual({});
    expect(parsePkcs11Uri('pkcs11:object=my-pubkey;type=public')).toEqual({ object: 'my-pubkey', type: 'public' });
    expect(
      parsePkcs11Uri(
        'pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin',
      ),
    ).toEqual({
      token: 'The Software PKCS#11 Softtoken',
      manufacturer: 'Snake Oil, Inc.',
      model: '1.0',
      object: 'my-certificate',
      type: 'cert',
      id: Uint8Array.of(0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91),
      serial: '',
      pinSource: 'file:/etc/token_pin',
    });
    expect(
      parsePkcs11Uri(
        'pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert;x-vend-aaa=value-a',
      ),
    ).toMatchObject({
      token: 'A name with a substring %;',
    });
  });

  it('is refused where RFC 7512 allows no such thing, without its PIN in the text', () => {
    for (const uri of [
      'pkcs12:',
      'pkcs11:object',
      'pkcs11:object=%zz',
      'pkcs11:object=a;object=b',
      'pkcs11:type=secret',
      'pkcs11:?a?b',
      'pkcs11:slot-id=x',
      'pkcs11:colour=red?pin-value=1234',
    ]) {
      const refused = (() => {
        try {
          return parsePkcs11Uri(uri);
        } catch (error) {
          return error;
        }
      })();
      expect(refused).toMatchObject({ code: 'malformed' });
      expect(String(refused)).not.toContain('1234');
    }
  });

  it('comes back as it was written', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 20 });
    const uris = fc.record(
      {
        token: text,
        object: text,
        serial: text,
        id: fc.uint8Array({ maxLength: 20 }),
        slotId: fc.nat(),
        modulePath: text,
        pinSource: text,
        type: fc.constantFrom('private', 'cert'),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(uris, (uri) => {
        expect(parsePkcs11Uri(encodePkcs11Uri(uri))).toEqual(uri);
      }),
    );
    fc.assert(
      fc.property(fc.string(), (rest) => {
        try {
          parsePkcs11Uri(`pkcs11:${rest}`);
        } catch (error) {
          expect(error).toBeInstanceOf(PkiError);
        }
      }),
    );
  });
});

const modulePath = '/usr/lib/softhsm/libsofthsm2.so';

/** Why no token can be asked; undefined where one can. */
function tokenMissing(): string | undefined {
  const missing = programMissing('softhsm2-util');
  if (missing !== undefined) return missing;
  try {
    createRequire(import.meta.url)('pkcs11js');
    return undefined;
  } catch {
    if (process.env.MUST_RUN === '1') throw new Error('pkcs11js is not built, and MUST_RUN=1');
    return 'pkcs11js is not built';
  }
}

describe.skipIf(tokenMissing() !== undefined)('a key on a token', () => {
  let path: string;
  const uri = (id: number, object = `key ${id}`) =>
    encodePkcs11Uri({ token: 'casemate', object, id: Uint8Array.of(id), modulePath });
  beforeAll(() => {
    path = mkdtempSync(join(tmpdir(), 'casemate-token-'));
    mkdirSync(join(path, 'tokens'));
    writeFileSync(join(path, 'softhsm2.conf'), `directories.tokendir = ${join(path, 'tokens')}\nlog.level = ERROR\n`);
    process.env.SOFTHSM2_CONF = join(path, 'softhsm2.conf');
    execFileSync(
      'softhsm2-util',
      ['--init-token', '--free', '--label', 'casemate', '--pin', '1234', '--so-pin', '5678'],
      { stdio: 'pipe' },
    );
  });
  afterAll(() => rmSync(path, { recursive: true, force: true }));

  const algorithms: readonly SignatureAlgorithm[] = [
    'ecdsa-p256-sha256',
    'ecdsa-p384-sha384',
    'rsassa-2048-sha256',
    'rsapss-2048-sha512',
    'ed25519',
  ];
  it.each(algorithms.map((algorithm, i) => ({ algorithm, id: i + 1 })))(
    'is made there and signs with $algorithm',
    async ({ algorithm, id }) => {
      {
        await using made = await generatePkcs11Key(uri(id), algorithm, { pin: '1234' });
        await assertSigns(made);
      }
      await using again = await openKey(uri(id), { secret: async () => '1234', algorithm });
      await assertSigns(again);
      const signatures = await Promise.all(Array.from({ length: 8 }, () => again.sign(data)));
      for (const signature of signatures)
        expect(await verifySignature(again.publicKey, schemeOf(algorithm).scheme, data, signature)).toBe(true);
      await expect(generatePkcs11Key(uri(id), algorithm, { pin: '1234' })).rejects.toMatchObject({ code: 'exists' });
    },
  );

  it('is found with a key of another tool on the token, and two keys are open at once', async () => {
    using work = openWorkshop();
    work.openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', 'theirs.pem');
    execFileSync(
      'softhsm2-util',
      [
        '--import',
        join(work.path, 'theirs.pem'),
        '--token',
        'casemate',
        '--label',
        'theirs',
        '--id',
        'AB',
        '--pin',
        '1234',
      ],
      { stdio: 'pipe' },
    );
    const theirs = `pkcs11:token=casemate;object=theirs;id=%ab;type=private?module-path=${modulePath}&pin-value=1234`;
    await using one = await openPkcs11Key(theirs);
    await using two = await openPkcs11Key(theirs);
    await Promise.all([assertSigns(one), assertSigns(two)]);
    writeFileSync(join(path, 'pin'), '1234\n');
    await using three = await openKey(
      `pkcs11:token=casemate;object=theirs?module-path=${modulePath}&pin-source=file:${join(path, 'pin')}`,
    );
    expect(three.publicKey).toEqual(one.publicKey);
  });

  it('is not opened with another PIN, another name, without a module, or where several match; no error tells a PIN', async () => {
    await expect(openPkcs11Key(uri(1), { pin: '9999' })).rejects.toMatchObject({ code: 'wrong-passphrase' });
    await expect(openPkcs11Key(uri(99), { pin: '1234' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(openPkcs11Key(`pkcs11:token=other?module-path=${modulePath}`)).rejects.toMatchObject({
      code: 'not-found',
    });
    await expect(openPkcs11Key(`pkcs11:token=casemate?module-path=${modulePath}&pin-value=1234`)).rejects.toMatchObject(
      { code: 'not-found' },
    );
    await expect(openPkcs11Key('pkcs11:token=casemate', { pin: '1234' })).rejects.toMatchObject({ code: 'bad-input' });
    await expect(openPkcs11Key('pkcs11:token=casemate?module-path=/etc/passwd')).rejects.toMatchObject({
      code: 'key-store',
    });
    await expect(openPkcs11Key(uri(1), { pin: '1234', algorithm: 'rsassa-2048-sha256' })).rejects.toMatchObject({
      code: 'key-mismatch',
    });
    const told = await openKey(`pkcs11:token=casemate;object=none?module-path=${modulePath}&pin-value=4711`).catch(
      (error: unknown) => error,
    );
    expect(JSON.stringify(told, Object.getOwnPropertyNames(told))).not.toContain('4711');
  });

  it('stays there: a closed key signs nothing', async () => {
    const key = await openPkcs11Key(uri(1), { pin: '1234' });
    await key.close();
    await expect(key.sign(data)).rejects.toMatchObject({ code: 'key-store' });
  });
});
