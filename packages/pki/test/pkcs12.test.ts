/** PKCS#12: round trips, changed files, old ciphers, and OpenSSL, GnuTLS and Java in both directions. */
import { execFileSync } from 'node:child_process';
import { createDecipheriv, pbkdf2Sync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { berToDer } from '../src/ber.js';
import { integer, octetString, oid, sequence } from '../src/der.js';
import {
  createHierarchy,
  decodePem,
  decryptKey,
  deviceMakerTemplate,
  encodePem,
  encryptKey,
  generateKey,
  type Hierarchy,
  importKey,
  PkiError,
  parsePem,
} from '../src/index.js';
import { legacyCiphers } from '../src/node.js';
import { buildPkcs12, parsePkcs12 } from '../src/pkcs12.js';
import { openWorkshop, programMissing, type Workshop } from './openssl.js';

const passphrase = 'käsekuchen';
const quick = { iterations: 10_000 };
let hierarchy: Hierarchy;
let file: Uint8Array;

beforeAll(async () => {
  hierarchy = await createHierarchy(deviceMakerTemplate({ organizationName: 'Maker' }));
  file = await buildPkcs12({ keys: [ours()] }, passphrase, quick);
});

function ours() {
  const { signer, chain, root } = hierarchy.get('software-signing');
  return { key: signer, chain: [...chain, root], friendlyName: 'Schlüssel' };
}

const read = (work: Workshop, name: string) => new Uint8Array(readFileSync(join(work.path, name)));
const run = (work: Workshop, program: string, ...args: readonly string[]) =>
  execFileSync(program, args, { cwd: work.path, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

describe('a PKCS#12 file', () => {
  it('gives back the key, its chain and its name', async () => {
    const { keys, certificates } = await parsePkcs12(file, passphrase);
    const { key, chain, friendlyName } = ours();
    expect(certificates).toEqual([]);
    expect(keys).toEqual([{ pkcs8: await key.unsafeExportKey(), chain, friendlyName }]);
    expect((await importKey(keys[0]?.pkcs8 ?? new Uint8Array())).publicKey).toEqual(key.publicKey);
    expect(await parsePkcs12(file, new TextEncoder().encode(passphrase))).toEqual({ keys, certificates });
  });

  it('holds several keys, and roots that are trusted', async () => {
    const second = { key: hierarchy.get('device-ca').signer, chain: hierarchy.get('device-ca').chain };
    const root = hierarchy.get('general-root').certificate;
    const both = await buildPkcs12(
      { keys: [ours(), second], trusted: [{ certificate: root, friendlyName: 'root' }] },
      'p',
      quick,
    );
    const { keys, certificates } = await parsePkcs12(both, 'p');
    // The root stands in the chain of the second key, to which it belongs by its name.
    expect(keys.map(({ chain }) => chain.length)).toEqual([3, 2]);
    expect(certificates).toEqual([]);
    const lone = await parsePkcs12(
      await buildPkcs12({ trusted: [{ certificate: root, friendlyName: 'root' }] }, 'p', quick),
      'p',
    );
    expect(lone).toEqual({ keys: [], certificates: [{ certificate: root, friendlyName: 'root', trusted: true }] });
  });

  it('opens with no other passphrase, and tells every change, whichever MAC it has', async () => {
    for (const mac of ['hmac-sha256', 'pbmac1'] as const) {
      const made = await buildPkcs12({ keys: [ours()] }, passphrase, { ...quick, mac });
      expect((await parsePkcs12(made, passphrase)).keys).toHaveLength(1);
      await expect(parsePkcs12(made, 'kuchen')).rejects.toMatchObject({ code: 'wrong-passphrase' });
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = file.map((byte, i) => (i === at ? byte ^ flip : byte));
        await expect(parsePkcs12(changed, passphrase)).rejects.toThrow(PkiError);
      }),
      { numRuns: 40 },
    );
  });

  it('is refused at every cut with a typed error', async () => {
    for (let length = 0; length < file.length; length += 17) {
      await expect(parsePkcs12(file.subarray(0, length), passphrase)).rejects.toMatchObject({ code: 'malformed' });
    }
  });

  it('is not made without a passphrase, a content, or with the chain of another key', async () => {
    await expect(buildPkcs12({ keys: [ours()] }, '', quick)).rejects.toMatchObject({ code: 'bad-input' });
    await expect(buildPkcs12({}, 'p', quick)).rejects.toMatchObject({ code: 'bad-input' });
    const { chain } = hierarchy.get('device-ca');
    await expect(buildPkcs12({ keys: [{ ...ours(), chain }] }, 'p', quick)).rejects.toMatchObject({
      code: 'key-mismatch',
    });
  });

  it('may be BER: indefinite lengths and octet strings in pieces mean the same', () => {
    const der = Uint8Array.of(0x30, 0x08, 0x04, 0x03, 1, 2, 3, 0x02, 0x01, 7);
    const ber = Uint8Array.of(0x30, 0x80, 0x24, 0x80, 0x04, 0x01, 1, 0x04, 0x02, 2, 3, 0, 0, 0x02, 0x81, 0x01, 7, 0, 0);
    expect(berToDer(ber)).toEqual(der);
    expect(berToDer(der)).toEqual(der);
    for (let length = 0; length < ber.length; length++)
      expect(() => berToDer(ber.subarray(0, length))).toThrow(PkiError);
    expect(() => berToDer(new Uint8Array(1000).fill(0x30))).toThrow(PkiError);
  });
});

describe('RC2', () => {
  // RFC 2268 section 5, the vectors whose effective key is as long as the key.
  it.each([
    ['88bca90e90875a7f0f79c384627bafb2', '0000000000000000', '2269552ab0f85ca6'],
    ['ffffffffffffffff', 'ffffffffffffffff', '278b27e42e2f0d49'],
    ['3000000000000000', '1000000000000001', '30649edf9be7d2c2'],
  ])('decrypts the vector with key %s', (key, plain, encrypted) => {
    const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
    expect(legacyCiphers.decrypt('rc2', hex(key), new Uint8Array(8), hex(encrypted))).toEqual(hex(plain));
  });
});

describe('an encrypted private key', () => {
  it('takes scrypt and AES-GCM, and a changed tag is told', async () => {
    const pkcs8 = await (await generateKey('ed25519')).unsafeExportKey();
    const made = await encryptKey(pkcs8, passphrase, { derivation: 'scrypt', cipher: 'aes-256-gcm' });
    expect(await decryptKey(made, passphrase)).toEqual(pkcs8);
    const changed = made.map((byte, i) => (i === made.length - 1 ? byte ^ 1 : byte));
    await expect(decryptKey(changed, passphrase)).rejects.toMatchObject({ code: 'wrong-passphrase' });
  });

  it('is what RFC 5084 and RFC 8018 say where it has AES-GCM, read by hand', async () => {
    const pkcs8 = await (await generateKey('ed25519')).unsafeExportKey();
    const made = Buffer.from(await encryptKey(pkcs8, passphrase, { cipher: 'aes-256-gcm', iterations: 10_000 }));
    const salt = made.subarray(made.indexOf(Buffer.of(0x04, 0x10)) + 2).subarray(0, 16);
    const nonceAt = made.indexOf(Buffer.from('30110' + '40c', 'hex')) + 4;
    const nonce = made.subarray(nonceAt, nonceAt + 12);
    const decipher = createDecipheriv('aes-256-gcm', pbkdf2Sync(passphrase, salt, 10_000, 32, 'sha256'), nonce);
    decipher.setAuthTag(made.subarray(-16));
    const data = made.subarray(made.length - 16 - pkcs8.length, -16);
    expect(new Uint8Array(Buffer.concat([decipher.update(data), decipher.final()]))).toEqual(pkcs8);
  });

  it('is refused where it asks for more work than anybody can do', async () => {
    const locked = Buffer.from(
      await encryptKey(await (await generateKey('ed25519')).unsafeExportKey(), 'p', { derivation: 'scrypt' }),
    );
    const cost = locked.indexOf(Buffer.from('02024000', 'hex'));
    const greedy = Buffer.from(locked);
    greedy.writeUInt16BE(0x7000, cost + 2);
    await expect(decryptKey(new Uint8Array(greedy), 'p')).rejects.toBeInstanceOf(PkiError);
    // Memory goes with the parallelization as well.
    const scrypt = sequence(octetString(new Uint8Array(8)), ...[2, 1, 1 << 23].map(integer));
    const cipher = sequence(oid('2.16.840.1.101.3.4.1.42'), octetString(new Uint8Array(16)));
    const parameters = sequence(sequence(oid('1.3.6.1.4.1.11591.4.11'), scrypt), cipher);
    const wide = sequence(sequence(oid('1.2.840.113549.1.5.13'), parameters), octetString(new Uint8Array(32)));
    await expect(decryptKey(wide, 'p')).rejects.toMatchObject({ code: 'unsupported' });
  });
});

describe.skipIf(programMissing('openssl') !== undefined)('with OpenSSL', () => {
  it('our file opens, with its MAC, its key, its chain and its name', async () => {
    using work = openWorkshop();
    work.file('ours.p12', await buildPkcs12({ keys: [ours()] }, passphrase));
    const opened = work.openssl('pkcs12', '-in', 'ours.p12', '-passin', `pass:${passphrase}`, '-nodes');
    expect(opened).toMatch(/friendlyName: Schl.ssel/); // written in Latin-1
    expect(decodePem('PRIVATE KEY', opened)).toEqual(await ours().key.unsafeExportKey());
    expect(parsePem(opened).filter(({ label }) => label === 'CERTIFICATE')).toHaveLength(3);
    const info = work.openssl('pkcs12', '-in', 'ours.p12', '-passin', `pass:${passphrase}`, '-noout');
    expect(info).toBe('');
    expect(() => work.openssl('pkcs12', '-in', 'ours.p12', '-passin', 'pass:wrong', '-noout')).toThrow();
  });

  it('we open its files: the modern ones at once, those of old where legacy is asked for', async () => {
    using work = openWorkshop();
    const { key, chain } = ours();
    work.file('key.pem', encodePem('PRIVATE KEY', await key.unsafeExportKey()));
    work.certificates('chain.pem', ...chain);
    const make = (out: string, ...more: string[]) =>
      work.openssl(
        'pkcs12',
        '-export',
        '-inkey',
        'key.pem',
        '-in',
        'chain.pem',
        '-name',
        'ours',
        '-passout',
        `pass:${passphrase}`,
        '-out',
        out,
        ...more,
      );
    make('modern.p12');
    expect((await parsePkcs12(read(work, 'modern.p12'), passphrase)).keys).toMatchObject([
      { chain, friendlyName: 'ours' },
    ]);
    make('legacy.p12', '-legacy'); // RC2-40 for certificates, 3DES for the key, a MAC with SHA-1
    await expect(parsePkcs12(read(work, 'legacy.p12'), passphrase)).rejects.toMatchObject({ code: 'unsupported' });
    const old = await parsePkcs12(read(work, 'legacy.p12'), passphrase, { legacy: legacyCiphers });
    expect(old.keys).toMatchObject([{ pkcs8: await key.unsafeExportKey(), chain }]);
    make('rc2.p12', '-legacy', '-certpbe', 'PBE-SHA1-RC2-128', '-keypbe', 'PBE-SHA1-RC2-128');
    expect((await parsePkcs12(read(work, 'rc2.p12'), passphrase, { legacy: legacyCiphers })).keys).toMatchObject([
      { chain },
    ]);
  });

  it('keys under scrypt open on both sides', async () => {
    using work = openWorkshop();
    const pkcs8 = await (await generateKey('rsassa-2048-sha256')).unsafeExportKey();
    work.file(
      'ours.pem',
      encodePem('ENCRYPTED PRIVATE KEY', await encryptKey(pkcs8, passphrase, { derivation: 'scrypt' })),
    );
    const opened = work.openssl('pkey', '-in', 'ours.pem', '-passin', `pass:${passphrase}`);
    expect(decodePem('PRIVATE KEY', opened)).toEqual(pkcs8);
    work.file('plain.pem', encodePem('PRIVATE KEY', pkcs8));
    work.openssl(
      'pkcs8',
      '-topk8',
      '-scrypt',
      '-in',
      'plain.pem',
      '-passout',
      'pass:geheim',
      '-outform',
      'DER',
      '-out',
      'theirs.der',
    );
    expect(await decryptKey(read(work, 'theirs.der'), 'geheim')).toEqual(pkcs8);
  });
});

describe.skipIf(programMissing('certtool') !== undefined)('with GnuTLS', () => {
  it('our file opens, and theirs with AES does', async () => {
    using work = openWorkshop();
    const { key, chain } = ours();
    work.file('ours.p12', file);
    const opened = run(work, 'certtool', '--p12-info', '--inder', '--infile', 'ours.p12', '--password', passphrase);
    expect(opened).toContain('MAC: SHA256');
    expect(
      parsePem(opened)
        .filter(({ label }) => label === 'CERTIFICATE')
        .map(({ der }) => der),
    ).toEqual(expect.arrayContaining([...chain]));
    expect(parsePem(opened).find(({ label }) => label.endsWith('PRIVATE KEY'))).toBeDefined();
    work.file('key.pem', encodePem('PRIVATE KEY', await key.unsafeExportKey()));
    work.certificates('chain.pem', ...chain);
    run(
      work,
      'certtool',
      '--to-p12',
      '--load-privkey',
      'key.pem',
      '--load-certificate',
      'chain.pem',
      '--p12-name',
      'ours',
      '--password',
      passphrase,
      '--pkcs-cipher',
      'aes-256',
      '--hash',
      'sha256',
      '--outder',
      '--outfile',
      'theirs.p12',
    );
    const theirs = await parsePkcs12(read(work, 'theirs.p12'), passphrase);
    expect((await importKey(theirs.keys[0]?.pkcs8 ?? new Uint8Array())).publicKey).toEqual(key.publicKey);
    expect(theirs.keys[0]?.chain).toEqual(chain);
  });
});

describe.skipIf(programMissing('keytool') !== undefined)('with Java', () => {
  it('our file is a key store with a chain of three and a trusted root, and theirs opens', async () => {
    using work = openWorkshop();
    const trusted = [{ certificate: hierarchy.get('general-root').certificate, friendlyName: 'root' }];
    work.file('ours.p12', await buildPkcs12({ keys: [{ ...ours(), friendlyName: 'ours' }], trusted }, 'geheim', quick));
    const listed = run(
      work,
      'keytool',
      '-list',
      '-v',
      '-keystore',
      'ours.p12',
      '-storepass',
      'geheim',
      '-J-Duser.language=en',
    );
    expect(listed).toMatch(/Alias name: ours\s[\s\S]*Entry type: PrivateKeyEntry\s+Certificate chain length: 3/);
    expect(listed).toMatch(/Alias name: root\s[\s\S]*Entry type: trustedCertEntry/);
    const store = ['-keystore', 'theirs.p12', '-storetype', 'PKCS12', '-storepass', 'geheim'];
    run(
      work,
      'keytool',
      '-genkeypair',
      '-alias',
      'theirs',
      '-keyalg',
      'EC',
      '-groupname',
      'secp256r1',
      '-dname',
      'CN=Java',
      ...store,
    );
    const { keys } = await parsePkcs12(read(work, 'theirs.p12'), 'geheim');
    expect(keys).toMatchObject([{ friendlyName: 'theirs' }]);
    expect(keys[0]?.chain).toHaveLength(1);
    // It re-imports what we wrote, with the key inside.
    run(
      work,
      'keytool',
      '-importkeystore',
      '-srckeystore',
      'ours.p12',
      '-srcstorepass',
      'geheim',
      '-destkeystore',
      'copy.p12',
      '-deststoretype',
      'PKCS12',
      '-deststorepass',
      'geheim',
    );
    const copy = await parsePkcs12(read(work, 'copy.p12'), 'geheim');
    expect((await importKey(copy.keys[0]?.pkcs8 ?? new Uint8Array())).publicKey).toEqual(ours().key.publicKey);
  });
});
