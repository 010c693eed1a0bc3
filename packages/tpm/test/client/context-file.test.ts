/** Context files, both ways with tpm2-tools on one swtpm: what one side saves the other loads and uses. */
import { execFileSync } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WireError } from '@casemate/wire';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  createKey,
  createPrimary,
  encodeContextFile,
  loadContextFile,
  loadKey,
  parseContextFile,
  publicKeyPem,
  saveContextFile,
  signingKeyTemplate,
  srkTemplate,
  Tpm,
  TpmError,
  tpmSigner,
} from '../../src/index.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from './swtpm-server.js';

describeWith(['swtpm', 'tpm2_createprimary', 'tpm2_sign', 'openssl'], 'context files of tpm2-tools', () => {
  let server: SwtpmServer;
  beforeAll(async () => {
    server = await startSwtpm();
    tool('tpm2_createprimary', '-Q', '-G', 'ecc', '-c', 'primary.ctx');
    tool('tpm2_flushcontext', '-t');
  });
  afterAll(() => server?.stop());

  /** swtpm serves one connection at a time, so ours is closed before a tool runs. */
  async function ours<T>(work: (tpm: Tpm) => Promise<T>): Promise<T> {
    await using tpm = new Tpm(await connectSwtpm(server));
    return await work(tpm);
  }

  function tool(name: string, ...args: readonly string[]): string {
    const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:host=127.0.0.1,port=${server.port}` };
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    return execFileSync(name, args, { env, cwd: server.directory, encoding: 'utf8', stdio: [...stdio] });
  }

  const file = (name: string): string => join(server.directory, name);
  const put = (name: string, bytes: string | Uint8Array): void => writeFileSync(file(name), bytes);
  const get = (name: string): Uint8Array => new Uint8Array(readFileSync(file(name)));
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);

  it('is read and written again to the same bytes', () => {
    const bytes = get('primary.ctx');
    const { context, public: area } = parseContextFile(bytes);
    expect(context.savedHandle).toBe(0x80000000);
    expect(area.type).toBe(srkTemplate('ecc-p256').type);
    expect(encodeContextFile({ context, public: area })).toEqual(bytes);
  });

  it('brings a parent that tpm2_createprimary saved, under which ours makes a key that signs', async () => {
    const data = text('signed under a parent of the tools');
    const { pem, signature } = await ours(async (tpm) => {
      await using parent = await loadContextFile(tpm, get('primary.ctx'));
      const made = await createKey(tpm, parent, { template: signingKeyTemplate('ecc-p256') });
      await using key = await loadKey(tpm, parent, made);
      return { pem: publicKeyPem(key.public), signature: await tpmSigner(tpm, key).sign(data) };
    });
    expect(verify('sha256', data, createPublicKey(pem), signature)).toBe(true);
  });

  it('brings a key with an authorization value that tpm2_load saved', async () => {
    const key = ['-G', 'ecc:ecdsa', '-p', 'secret', '-u', 'key.pub', '-r', 'key.priv'];
    tool('tpm2_create', '-Q', '-C', 'primary.ctx', ...key);
    tool('tpm2_flushcontext', '-t');
    tool('tpm2_load', '-Q', '-C', 'primary.ctx', '-u', 'key.pub', '-r', 'key.priv', '-c', 'key.ctx');
    tool('tpm2_flushcontext', '-t');
    const data = text('signed by a key of the tools');
    const { pem, signature } = await ours(async (tpm) => {
      await using loaded = await loadContextFile(tpm, get('key.ctx'), { auth: 'secret' });
      return { pem: publicKeyPem(loaded.public), signature: await tpmSigner(tpm, loaded).sign(data) };
    });
    expect(verify('sha256', data, createPublicKey(pem), signature)).toBe(true);
  });

  it.each(['ecc-p256', 'rsa-2048'] as const)(
    'gives a %s key to tpm2_sign, tpm2_readpublic and tpm2_load',
    async (kind) => {
      const auth = 'pass';
      const { parent, key, pem, name } = await ours(async (tpm) => {
        await using primary = await createPrimary(tpm, { template: srkTemplate(kind) });
        const made = await createKey(tpm, primary, { template: signingKeyTemplate(kind), auth });
        await using loaded = await loadKey(tpm, primary, made, { auth });
        return {
          parent: await saveContextFile(tpm, primary),
          key: await saveContextFile(tpm, loaded),
          pem: publicKeyPem(loaded.public),
          name: loaded.name,
        };
      });
      put('ours.ctx', key);
      put('parent.ctx', parent);
      put('ours.pem', pem);
      put('data', 'signed by the tools with our key');
      tool('tpm2_sign', '-c', 'ours.ctx', '-p', 'pass', '-g', 'sha256', '-f', 'plain', '-o', 'signature', 'data');
      tool('tpm2_flushcontext', '-t');
      const verified = tool('openssl', 'dgst', '-sha256', '-verify', 'ours.pem', '-signature', 'signature', 'data');
      expect(verified).toBe('Verified OK\n');
      expect(tool('tpm2_readpublic', '-c', 'ours.ctx')).toContain(Buffer.from(name).toString('hex'));
      tool('tpm2_flushcontext', '-t');
      tool('tpm2_create', '-Q', '-C', 'parent.ctx', '-u', 'child.pub', '-r', 'child.priv');
      tool('tpm2_flushcontext', '-t');
      tool('tpm2_load', '-Q', '-C', 'parent.ctx', '-u', 'child.pub', '-r', 'child.priv', '-c', 'child.ctx');
      tool('tpm2_flushcontext', '-t');
      expect(parseContextFile(get('child.ctx')).context.hierarchy).toBe(0x40000001);
    },
  );

  it('is refused cut at every byte, with bytes behind it, and with another public area or header', () => {
    const bytes = get('primary.ctx');
    for (let length = 0; length < bytes.length; length++) {
      expect(() => parseContextFile(bytes.slice(0, length))).toThrow(WireError);
    }
    expect(() => parseContextFile(Uint8Array.from([...bytes, 0]))).toThrow(WireError);
    const changed = (at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
    expect(() => parseContextFile(changed(bytes.length - 1))).toThrow(TpmError);
    expect(() => parseContextFile(changed(0))).toThrow('0xbadcc0de');
    expect(() => parseContextFile(changed(7))).toThrow('version 1');
  });

  it('is refused where it is of a session', () => {
    tool('tpm2_startauthsession', '-S', 'session.ctx');
    expect(() => parseContextFile(get('session.ctx'))).toThrow('version 1');
    tool('tpm2_flushcontext', 'session.ctx');
  });

  it('is refused by the TPM where its context was changed, and leaves nothing loaded', async () => {
    const { context, public: area } = parseContextFile(get('primary.ctx'));
    const contextBlob = context.contextBlob.map((byte, i) => (i === 100 ? byte ^ 1 : byte));
    const forged = encodeContextFile({ context: { ...context, contextBlob }, public: area });
    const other = encodeContextFile({ context, public: signingPublic(area) });
    await ours(async (tpm) => {
      await expect(loadContextFile(tpm, forged)).rejects.toMatchObject({ code: 'response' });
      await expect(loadContextFile(tpm, other)).rejects.toMatchObject({ code: 'integrity' });
      const objects = await Promise.all([1, 2, 3].map(() => loadContextFile(tpm, get('primary.ctx'))));
      for (const object of objects) await object.flush();
    });
  });

  const signingPublic = (area: ReturnType<typeof parseContextFile>['public']): typeof area => ({
    ...area,
    objectAttributes: area.objectAttributes ^ 0x400,
  });
});
