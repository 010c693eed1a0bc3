/** Interop with tpm-tools and tpm-quote-tools through trousers' tcsd, in both directions, on one TPM at the same time. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode, encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectSwtpm, type SwtpmTransport } from '../../src/swtpm.js';
import {
  clearOwner,
  compositeHash,
  enable12,
  extendPcr12,
  formatSealedFile,
  loadKey12,
  makeIdentity,
  nvDefine12,
  nvLock12,
  nvRead12,
  nvWrite12,
  type PasswordEncoding,
  parseSealedFile,
  passwordSecret,
  pcrSelection12,
  pubkeyOf,
  quote12,
  readEndorsementKey,
  readNvPublic,
  readPcrs12,
  readVersion,
  sealFile,
  srk,
  startup12,
  TPM_NV_PER,
  type Tpm12,
  TpmAnyKey,
  takeOwnership,
  unsealFile,
  verifyQuote12,
  verifyQuote212,
  wellKnownSecret,
} from '../../src/tpm12.js';
import { describeWith } from '../client/swtpm-server.js';
import { prepare, type Swtpm12, startSwtpm12 } from './swtpm12.js';
import { startTpmTools, TOOLS, type TpmTools } from './tcsd.js';

const isRoot = process.getuid?.() === 0;
const describeAsRoot: typeof describeWith = (programs, name, body) => {
  if (isRoot || process.env.MUST_RUN === '1') return describeWith(programs, name, body);
  describe.skip(`${name} (skipped: tcsd needs root)`, body);
};

const OWNER = wellKnownSecret();

describeAsRoot(TOOLS, 'tpm-tools', () => {
  let server: Swtpm12;
  let transport: SwtpmTransport;
  let tpm: Tpm12;
  let tools: TpmTools;

  const file = (name: string) => join(server.directory, name);
  const run = async (command: string, args: readonly string[], answers: readonly string[] = []): Promise<string> => {
    const { code, output } = await tools.run(command, args, { answers });
    expect(`${command} ${code}: ${code === 0 ? '' : output}`).toBe(`${command} 0: `);
    return output;
  };

  beforeAll(async () => {
    server = await startSwtpm12();
    transport = await connectSwtpm({ path: server.path });
    tpm = await prepare(transport);
    await nvLock12(tpm);
    tools = await startTpmTools(transport, server.directory);
  });
  afterAll(async () => {
    await tools.stop();
    await tpm.close();
    await server.stop();
  });

  /** Back to a TPM that is enabled and has no owner. */
  async function dispossess(owner: Uint8Array): Promise<void> {
    await clearOwner(tpm, { owner });
    await enable12(tpm);
    await transport.control.initialize();
    await startup12(tpm);
  }

  it('reports the same version and endorsement key', async () => {
    const { version } = await readVersion(tpm);
    const words = `${version.major}.${version.minor}.${version.revMajor}.${version.revMinor}`;
    expect(await run('tpm_version', [])).toContain(words);
    const printed = (await run('tpm_getpubek', ['-z'])).split('Public Key:')[1]?.replace(/\s/g, '');
    expect(printed).toBe(Buffer.from((await readEndorsementKey(tpm)).pubKey).toString('hex'));
  });

  it.each<[PasswordEncoding, string[]]>([
    ['utf-8', ['-z']],
    ['utf-16le', ['-z', '-u']],
  ])('takes ownership with a password whose %s form is ours too', async (encoding, flags) => {
    const password = 'pässword of the owner';
    await run('tpm_takeownership', flags, [password, password]);
    const owner = passwordSecret(password, encoding);
    expect((await readEndorsementKey(tpm, { owner })).pubKey).toHaveLength(256);
    await dispossess(owner);
  });

  it('uses the ownership that we took, with a password and with well-known secrets', async () => {
    await takeOwnership(tpm, { ownerSecret: passwordSecret('of ours') });
    const printed = await run('tpm_getpubek', [], ['of ours']);
    expect(printed).toContain('Public Key:');
    await run('tpm_resetdalock', [], ['of ours']);
    await dispossess(passwordSecret('of ours'));
    await takeOwnership(tpm, { ownerSecret: OWNER });
    await run('tpm_getpubek', ['-z']);
    await dispossess(OWNER);
  });

  describe('with an owner that tpm_takeownership set', () => {
    beforeAll(() => run('tpm_takeownership', ['-y', '-z']));

    it('reads what we defined and wrote in NV, and shows the same attributes', async () => {
      const permission = TPM_NV_PER.AUTHREAD | TPM_NV_PER.AUTHWRITE;
      const binding = { pcrs: [11, 12], localities: [0, 2] };
      const secret = passwordSecret('area');
      const index = { size: 20, permission, read: binding, write: binding };
      await nvDefine12(tpm, { ...index, index: 0x15213, secret, owner: OWNER });
      const data = new Uint8Array(randomBytes(20));
      await nvWrite12(tpm, 0x15213, data, { secret });
      const printed = await run('tpm_nvinfo', ['-i', '0x15213']);
      expect(printed).toMatch(/PCRs\s+: 11, 12\n\s+Localities\s+: 0x5/);
      expect(printed).toMatch(/Permissions\s+: 0x00040004 \(AUTHREAD\|AUTHWRITE\)/);
      await run('tpm_nvread', ['-i', '0x15213', '-s', '20', '-f', 'nv.out', '-parea']);
      expect(new Uint8Array(readFileSync(file('nv.out')))).toEqual(data);
      await run('tpm_nvrelease', ['-y', '-i', '0x15213']);
    });

    it('defines and writes in NV what we read', async () => {
      const permissions = ['-p', 'AUTHREAD|AUTHWRITE', '-a', 'nvpw'];
      await run('tpm_nvdefine', ['-y', '-i', '0x14e56', '-s', '32', ...permissions, '-r', '11', '-w', '12']);
      const data = randomBytes(32);
      writeFileSync(file('nv.in'), data);
      await run('tpm_nvwrite', ['-i', '0x14e56', '-s', '32', '-f', 'nv.in', '-pnvpw']);
      expect(Buffer.from(await nvRead12(tpm, 0x14e56, { secret: passwordSecret('nvpw') })).equals(data)).toBe(true);
      const area = await readNvPublic(tpm, 0x14e56);
      expect(area).toMatchObject({ dataSize: 32, permission: { attributes: 0x40004 } });
      expect([...area.pcrInfoRead.pcrSelection]).toEqual([0, 8, 0]);
      expect([...area.pcrInfoWrite.pcrSelection]).toEqual([0, 16, 0]);
      await run('tpm_nvrelease', ['-y', '-i', '0x14e56']);
    });

    it('seals files that we unseal, bound to PCRs or not', async () => {
      const data = randomBytes(5000);
      writeFileSync(file('plain'), data);
      await run('tpm_sealdata', ['-z', '-i', 'plain', '-o', 'sealed']);
      await run('tpm_sealdata', ['-z', '-p', '0', '-p', '13', '-i', 'plain', '-o', 'sealed13']);
      await run('tpm_sealdata', ['-z', '-p', '17', '-i', 'plain', '-o', 'sealed17']);
      for (const name of ['sealed', 'sealed13', 'sealed17']) {
        const text = readFileSync(file(name), 'utf8');
        expect(formatSealedFile(parseSealedFile(text))).toBe(text);
        expect(Buffer.from(await unsealFile(tpm, srk(), parseSealedFile(text))).equals(data)).toBe(true);
      }
      await extendPcr12(tpm, 13, new Uint8Array(20));
      const changed = unsealFile(tpm, srk(), parseSealedFile(readFileSync(file('sealed13'), 'utf8')));
      await expect(changed).rejects.toMatchObject({ response: { name: 'TPM_WRONGPCRVAL' } });
    });

    it('unseals files that we sealed, and not when the PCRs have changed', async () => {
      const data = randomBytes(1000);
      writeFileSync(file('ours'), formatSealedFile(await sealFile(tpm, srk(), data)));
      await run('tpm_unsealdata', ['-z', '-i', 'ours', '-o', 'ours.out']);
      expect(readFileSync(file('ours.out')).equals(data)).toBe(true);
      const bound = await sealFile(tpm, srk(), data, { binding: { pcrs: [14, 18] } });
      writeFileSync(file('bound'), formatSealedFile(bound));
      await run('tpm_unsealdata', ['-z', '-i', 'bound', '-o', 'bound.out']);
      expect(readFileSync(file('bound.out')).equals(data)).toBe(true);
      await extendPcr12(tpm, 14, new Uint8Array(20));
      expect((await tools.run('tpm_unsealdata', ['-z', '-i', 'bound', '-o', 'late'])).code).not.toBe(0);
    });

    it('makes an identity key with which we quote', async () => {
      await run('tpm_mkaik', ['-z', 'aik.blob', 'aik.pub']);
      const key = decode(TpmAnyKey, new Uint8Array(readFileSync(file('aik.blob'))));
      await using aik = await loadKey12(tpm, srk(), key);
      const nonce = new Uint8Array(randomBytes(20));
      const quote = await quote12(tpm, aik, { nonce, pcrs: [0, 13] });
      const der = readFileSync(file('aik.pub'));
      expect(der.includes(Buffer.from(pubkeyOf(key).pubKey))).toBe(true);
      expect(verifyQuote12(pubkeyOf(key), quote, nonce)).toEqual({ ok: true, pcrs: await readPcrs12(tpm, [0, 13]) });
    });

    it('quotes with an identity key of ours, and our check of it holds where tpm_verifyquote gives up', async () => {
      const identity = await makeIdentity(tpm, { owner: OWNER, label: 'for tpm-quote-tools' });
      writeFileSync(file('ours.blob'), encode(TpmAnyKey, identity.key));
      const nonce = randomBytes(20);
      writeFileSync(file('nonce'), nonce);
      await run('tpm_mkuuid', ['uuid']);
      await run('tpm_loadkey', ['ours.blob', 'uuid']);
      await run('tpm_getquote', ['-p', 'values', 'uuid', 'nonce', 'quote', '0', '13', '17']);
      await run('tpm_unloadkey', ['uuid']);
      const values = await readPcrs12(tpm, [0, 13, 17]);
      // The tool asks for a Quote2 and writes the signature alone; the verifier knows the rest.
      const pcrSelection = pcrSelection12([0, 13, 17]);
      const pcrData = { pcrSelection, localityAtRelease: 1, digestAtRelease: compositeHash(pcrSelection, values) };
      const signature = new Uint8Array(readFileSync(file('quote')));
      const quote = { pcrData, versionInfo: new Uint8Array(0), values, signature };
      const key = pubkeyOf(identity.key);
      expect(verifyQuote212(key, quote, new Uint8Array(nonce))).toEqual({ ok: true, pcrs: values, locality: 1 });
      expect(verifyQuote212(key, quote, new Uint8Array(20)).ok).toBe(false);
    });
  });
});
