import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  buildGuestOs,
  encodeGuestOsConfig,
  type GuestOsConfig,
  type GuestOsStore,
  openGuestOsStore,
  parseGuestOsConfig,
  readGuestOsConfig,
  verifyGuestOs,
} from '../src/index.js';
import { removeTree } from '../src/remove-tree.js';
import { openImage } from '../src/verify.js';
import { makeGuestOs, makeRoot, makeSigning, type Signing, workDirectory } from './fixture.js';

const CONFIG: GuestOsConfig = {
  name: 'edge',
  version: 3,
  hardware: 'x86_64',
  image: { size: 10, sha256: 'a'.repeat(64) },
  init: { path: '/init', args: ['-x', 'ü'], env: { PATH: '/bin', HOME: '/root' } },
  capabilities: ['CAP_CHOWN'],
  limits: { memoryMax: 1 << 30, pidsMax: 10, cpuMax: 500 },
};

describe('a configuration', () => {
  it('encodes to one text and parses back', () => {
    const bytes = encodeGuestOsConfig(CONFIG);
    expect(parseGuestOsConfig(bytes)).toEqual(CONFIG);
    const shuffled = { ...CONFIG, init: { ...CONFIG.init, env: { HOME: '/root', PATH: '/bin' } } };
    expect(encodeGuestOsConfig(shuffled)).toEqual(bytes);
    expect(readGuestOsConfig(bytes)).toEqual({ name: 'edge', version: 3, imageDigest: new Uint8Array(32).fill(0xaa) });
  });

  it.each<[string, (text: string) => string]>([
    ['another spacing', (text) => text.replaceAll('  ', ' ')],
    [
      'another order',
      (text) => text.replace('"size": 10,\n    "sha256": "', '"sha256": "').replace(/a{64}"/, '$&,\n    "size": 10'),
    ],
    ['an unknown member', (text) => text.replace('"version"', '"extra": 1,\n  "version"')],
    ['a member twice', (text) => text.replace('"version": 3', '"version": 2,\n  "version": 3')],
    ['a missing member', (text) => text.replace(/ {2}"hardware".*\n/, '')],
    ['an escaped character', (text) => text.replace('edge', '\\u0065dge')],
    ['a name that is a path', (text) => text.replace('"edge"', '"../edge"')],
    ['a version that is no whole number', (text) => text.replace('"version": 3', '"version": 3.5')],
    ['a version beyond 2^53', (text) => text.replace('"version": 3', '"version": 9007199254740993')],
    ['a negative size', (text) => text.replace('"size": 10', '"size": -10')],
    ['upper-case digits', (text) => text.replace('"aaaa', '"AAAA')],
    ['an init that is not absolute', (text) => text.replace('"/init"', '"init"')],
    ['an unknown capability', (text) => text.replace('CAP_CHOWN', 'CAP_NONSENSE')],
    ['a NUL in an argument', (text) => text.replace('"-x"', '"\\u0000"')],
    ['a prototype as a member', (text) => text.replace('"HOME"', '"__proto__"')],
    ['trailing bytes', (text) => `${text} `],
    ['another format', (text) => text.replace('"format": 1', '"format": 2')],
  ])('with %s is refused', (_, change) => {
    const text = new TextDecoder().decode(encodeGuestOsConfig(CONFIG));
    expect(change(text)).not.toBe(text);
    expect(() => parseGuestOsConfig(new TextEncoder().encode(change(text)))).toThrow(
      expect.objectContaining({ name: 'ContainerError', code: 'config' }),
    );
  });

  it('cut short anywhere, too large, or of arbitrary bytes is refused', () => {
    const bytes = encodeGuestOsConfig(CONFIG);
    const refused = expect.objectContaining({ code: 'config' });
    for (let length = 0; length < bytes.length; length++) {
      expect(() => parseGuestOsConfig(bytes.slice(0, length))).toThrow(refused);
    }
    expect(() => parseGuestOsConfig(new Uint8Array(70_000).fill(0x20))).toThrow(refused);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => new TextEncoder().encode(text)),
        ),
        (other) => {
          expect(() => parseGuestOsConfig(other)).toThrow(refused);
        },
      ),
    );
  });

  it('that is not valid is not encoded', () => {
    expect(() => encodeGuestOsConfig({ ...CONFIG, name: 'Edge' })).toThrow(
      expect.objectContaining({ code: 'bad-input' }),
    );
  });
});

describe('a GuestOS', () => {
  let work: string;
  let signing: Signing;
  beforeAll(async () => {
    signing = await makeSigning();
  });
  beforeEach(() => {
    work = workDirectory();
  });
  afterEach(() => removeTree(work));
  const trust = () => ({ anchors: signing.anchors });
  const refusedBy = async (store: GuestOsStore, code: string, name = 'edge') =>
    expect(verifyGuestOs(store, name, 3, trust())).rejects.toMatchObject({ name: 'ContainerError', code });

  it('that was built verifies, with its digests and its signer', async () => {
    const { store, built } = await makeGuestOs(work, signing, 'true');
    const verified = await verifyGuestOs(store, 'edge', 3, trust());
    expect(verified.config).toEqual(built.config);
    expect(verified.configDigest).toEqual(built.configDigest);
    const image = readFileSync(store.imagePath({ name: 'edge', version: 3 }));
    expect(built.config.image).toEqual({
      size: image.length,
      sha256: createHash('sha256').update(image).digest('hex'),
    });
    expect(await store.list()).toEqual([{ name: 'edge', version: 3 }]);
    expect(readdirSync(store.directory).sort()).toEqual(['edge-3.conf', 'edge-3.img', 'edge-3.sig']);
  });

  it('is signed in a form that openssl verifies', async () => {
    const { store } = await makeGuestOs(work, signing, 'true');
    const pem = Buffer.from(signing.authority.root).toString('base64').replace(/.{64}/g, '$&\n');
    writeFileSync(join(work, 'root.pem'), `-----BEGIN CERTIFICATE-----\n${pem}\n-----END CERTIFICATE-----\n`);
    const at = (kind: string) => join(store.directory, `edge-3.${kind}`);
    const args = [
      '-binary',
      '-inform',
      'DER',
      '-in',
      at('sig'),
      '-content',
      at('conf'),
      '-CAfile',
      join(work, 'root.pem'),
    ];
    execFileSync('openssl', ['cms', '-verify', ...args, '-purpose', 'any', '-out', '/dev/null'], { stdio: 'pipe' });
    writeFileSync(at('conf'), 'other');
    expect(() =>
      execFileSync('openssl', ['cms', '-verify', ...args, '-out', '/dev/null'], { stdio: 'pipe' }),
    ).toThrow();
  });

  it('of the same content has the same image and configuration', async () => {
    const one = await makeGuestOs(join(work, '1'), signing, 'true');
    const two = await makeGuestOs(join(work, '2'), signing, 'true');
    expect(two.built.configDigest).toEqual(one.built.configDigest);
  });

  it('of which any byte of the image is changed, cut off or added is refused with code image', async () => {
    const { store, built } = await makeGuestOs(work, signing, 'true');
    const path = store.imagePath(built.config);
    const original = readFileSync(path);
    for (const at of [0, 600, original.length >> 1, original.length - 1]) {
      const changed = Buffer.from(original);
      changed[at] = (changed[at] ?? 0) ^ 1;
      writeFileSync(path, changed);
      await refusedBy(store, 'image');
    }
    writeFileSync(path, original);
    truncateSync(path, original.length - 1);
    await refusedBy(store, 'image');
    writeFileSync(path, Buffer.concat([original, Buffer.alloc(1)]));
    await refusedBy(store, 'image');
    rmSync(path);
    await refusedBy(store, 'image');
    writeFileSync(path, original);
    await verifyGuestOs(store, 'edge', 3, trust());
  });

  it('of which any byte of the configuration is changed is refused with code config', async () => {
    const { store } = await makeGuestOs(work, signing, 'true');
    const path = join(store.directory, 'edge-3.conf');
    const original = readFileSync(path);
    for (let at = 0; at < original.length; at += 97) {
      const changed = Buffer.from(original);
      changed[at] = (changed[at] ?? 0) ^ 1;
      writeFileSync(path, changed);
      await refusedBy(store, 'config');
    }
    writeFileSync(path, Buffer.alloc(70_000));
    await refusedBy(store, 'config');
  });

  it('of which the signature is changed, missing or too large is refused with code signature', async () => {
    const { store } = await makeGuestOs(work, signing, 'true');
    const path = join(store.directory, 'edge-3.sig');
    const original = readFileSync(path);
    const changed = Buffer.from(original);
    changed[original.length - 1] = (changed[original.length - 1] ?? 0) ^ 1;
    for (const content of [changed, Buffer.from('nonsense'), original.subarray(0, 100), Buffer.alloc(2_000_000)]) {
      writeFileSync(path, content);
      await refusedBy(store, 'signature');
    }
    rmSync(path);
    await refusedBy(store, 'signature');
  });

  it('signed by a stranger, at a time when the signer was not valid, or by a key for something else is refused with code certificate', async () => {
    const { stranger, authority } = signing;
    const { store } = await makeGuestOs(work, signing, 'true', { signer: stranger.signer, chain: stranger.chain });
    await refusedBy(store, 'certificate');
    const mine = await makeGuestOs(join(work, 'mine'), signing, 'true');
    const time = new Date(Date.now() + 50 * 365 * 86_400_000);
    await expect(verifyGuestOs(mine.store, 'edge', 3, { ...trust(), time })).rejects.toMatchObject({
      code: 'certificate',
    });
    await expect(verifyGuestOs(mine.store, 'edge', 3, { anchors: [] })).rejects.toMatchObject({ code: 'certificate' });
    expect(authority.certificate).not.toEqual(stranger.certificate);
  });

  it('that takes the place of another one is refused with code config', async () => {
    const { store } = await makeGuestOs(work, signing, 'true');
    for (const kind of ['conf', 'sig', 'img']) {
      renameSync(join(store.directory, `edge-3.${kind}`), join(store.directory, `other-3.${kind}`));
    }
    await refusedBy(store, 'config', 'other');
    await refusedBy(store, 'not-found');
  });

  it('is not replaced by another one of its name and version unless that is said', async () => {
    const { store, built } = await makeGuestOs(work, signing, 'true');
    const { signer, chain } = signing.authority;
    writeFileSync(join(work, 'rootfs/etc/new'), 'new');
    const again = {
      name: 'edge',
      version: 3,
      rootfs: join(work, 'rootfs'),
      init: { path: '/init' },
      signer,
      chain,
      store,
    };
    await expect(buildGuestOs(again)).rejects.toMatchObject({ code: 'exists' });
    expect((await verifyGuestOs(store, 'edge', 3, trust())).config).toEqual(built.config);
    const replaced = await buildGuestOs({ ...again, replace: true });
    expect(replaced.configDigest).not.toEqual(built.configDigest);
    await verifyGuestOs(store, 'edge', 3, trust());
    expect(readdirSync(store.directory)).toHaveLength(3);
    await store.remove(built.config);
    expect(await store.list()).toEqual([]);
  });

  it('is built from a tar archive to the same image as from the directory', async () => {
    const { store, built } = await makeGuestOs(work, signing, 'true');
    execFileSync('tar', ['-czf', join(work, 'root.tgz'), '-C', join(work, 'rootfs'), '.']);
    const { signer, chain } = signing.authority;
    const fromTar = {
      name: 'edge',
      version: 4,
      rootfs: join(work, 'root.tgz'),
      init: { path: '/init' },
      signer,
      chain,
      store,
    };
    expect((await buildGuestOs(fromTar)).config.image).toEqual(built.config.image);
    expect(readdirSync(store.directory).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('leaves out devices and sockets and says so', async () => {
    const root = makeRoot(join(work, 'r'), 'true');
    execFileSync('mkfifo', [join(root, 'etc/pipe')]);
    const { built } = await makeGuestOs(work, signing, 'true', { rootfs: root });
    expect(built.skipped).toEqual(['etc/pipe']);
  });

  it('refuses names that are paths', async () => {
    const store = await openGuestOsStore(join(work, 'store'));
    for (const name of ['../x', '', 'A', 'a/b', '.x', 'a'.repeat(65)]) {
      expect(() => store.imagePath({ name, version: 1 })).toThrow(expect.objectContaining({ code: 'bad-input' }));
    }
    expect(() => store.imagePath({ name: 'a', version: -1 })).toThrow(expect.objectContaining({ code: 'bad-input' }));
  });

  it('whose image is swapped between verifying and unpacking is not taken', async () => {
    const { store, built } = await makeGuestOs(work, signing, 'true');
    await using image = await openImage(store, built.config);
    await image.verify();
    const path = store.imagePath(built.config);
    const changed = readFileSync(path);
    changed[700] = (changed[700] ?? 0) ^ 1;
    // In place: the open file is the same.
    writeFileSync(path, changed);
    let seen = 0;
    const pass = image.pass(async (chunks) => {
      for await (const chunk of chunks) seen += chunk.length;
    });
    await expect(pass).rejects.toMatchObject({ code: 'image' });
    expect(seen).toBe(statSync(path).size);
  });

  it('half built by a program that was killed is not there, and what is left of it goes at the next opening', async () => {
    const directory = join(work, 'store');
    mkdirSync(directory);
    const bundle = join(work, 'owner.mjs');
    const entryPoints = [new URL('../src/owned-name.ts', import.meta.url).pathname];
    await build({ entryPoints, bundle: true, platform: 'node', format: 'esm', outfile: bundle, logLevel: 'error' });
    const script = `
      import { ownedName } from ${JSON.stringify(bundle)};
      import { writeFileSync } from 'node:fs';
      writeFileSync(${JSON.stringify(directory)} + '/' + ownedName('.scratch'), 'half');
      console.log('ready');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await openGuestOsStore(directory);
    expect(readdirSync(directory)).toHaveLength(1);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    const store = await openGuestOsStore(directory);
    expect(readdirSync(directory)).toEqual([]);
    expect(await store.list()).toEqual([]);
    expect(existsSync(directory)).toBe(true);
  });
});
