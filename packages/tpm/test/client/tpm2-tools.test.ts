/** Interoperation with tpm2-tools, both ways, on one swtpm: what one side makes the other uses. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode, encode } from '@casemate/wire';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  activateCredential,
  akTemplate,
  createPrimary,
  ekTemplate,
  loadKey,
  makeCredential,
  nvDefine,
  nvRead,
  nvWrite,
  openObject,
  orderedPcrValues,
  type Policy,
  password,
  persist,
  quote,
  readPcrs,
  seal,
  srkTemplate,
  Tpm,
  Tpm2bEncryptedSecret,
  Tpm2bIdObject,
  Tpm2bPrivate,
  Tpm2bPublic,
  tpmSigner,
  unseal,
  verifyAttestSignature,
} from '../../src/index.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const tools = ['tpm2_quote', 'tpm2_checkquote', 'tpm2_makecredential', 'tpm2_activatecredential', 'openssl'];
const SRK = 0x81000001;
const AK = 0x81000002;

describeWith(['swtpm', ...tools], 'interoperation with tpm2-tools', () => {
  let server: SwtpmServer;
  beforeAll(async () => {
    server = await startSwtpm();
    await ours(async (tpm) => {
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      await persist(tpm, srk, SRK);
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
      await persist(tpm, ak, AK);
    });
  });
  afterAll(() => server?.stop());

  /** swtpm serves one connection at a time, so ours is closed before a tool runs. */
  async function ours<T>(work: (tpm: Tpm) => Promise<T>): Promise<T> {
    await using tpm = new Tpm(await connectSwtpm(server));
    return await work(tpm);
  }

  function tool(name: string, ...args: readonly string[]): string {
    const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:host=127.0.0.1,port=${server.port}` };
    return execFileSync(name, args, {
      env,
      cwd: server.directory,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  const file = (name: string): string => join(server.directory, name);
  const put = (name: string, bytes: Uint8Array): void => writeFileSync(file(name), bytes);
  const get = (name: string): Uint8Array => new Uint8Array(readFileSync(file(name)));
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);

  it('tpm2_checkquote verifies our quote, its nonce and its PCR values, and refuses another nonce', async () => {
    const nonce = text('verifier');
    const { result, ak } = await ours(async (tpm) => {
      const ak = await openObject(tpm, AK);
      return { ak, result: await quote(tpm, ak, { nonce, pcrs: { sha256: [0, 7, 16] } }) };
    });
    put('ak.pub', encode(Tpm2bPublic, ak.public));
    put('quote.msg', result.quoted);
    put('quote.sig', result.signature);
    put('quote.pcrs', Buffer.concat(orderedPcrValues(result.pcrs)));
    const message = ['-u', 'ak.pub', '-m', 'quote.msg', '-s', 'quote.sig', '-g', 'sha256'];
    const pcrs = ['-f', 'quote.pcrs', '-F', 'values', '-l', 'sha256:0,7,16'];
    tool('tpm2_checkquote', ...message, ...pcrs, '-q', Buffer.from(nonce).toString('hex'));
    expect(() => tool('tpm2_checkquote', ...message, ...pcrs, '-q', '00')).toThrow();
    put('quote.pcrs', Buffer.alloc(96, 1));
    expect(() => tool('tpm2_checkquote', ...message, ...pcrs, '-q', Buffer.from(nonce).toString('hex'))).toThrow();
  });

  it('our verification accepts the quote of tpm2_quote', async () => {
    tool(
      'tpm2_quote',
      '-c',
      `0x${AK.toString(16)}`,
      '-l',
      'sha256:1,2',
      '-q',
      'aabb',
      '-m',
      'theirs.msg',
      '-s',
      'theirs.sig',
    );
    const ak = await ours((tpm) => openObject(tpm, AK));
    expect(verifyAttestSignature(ak.public, get('theirs.msg'), get('theirs.sig'))).toBe(true);
  });

  it.each(['rsa', 'ecc'] as const)(
    'has the same %s endorsement key as tpm2_createek, and shares credentials',
    async (kind) => {
      tool('tpm2_createek', '-c', `ek-${kind}.ctx`, '-G', kind, '-u', `ek-${kind}.pub`);
      tool(
        'tpm2_createak',
        '-C',
        `ek-${kind}.ctx`,
        '-c',
        'ak.ctx',
        '-G',
        'ecc256',
        '-g',
        'sha256',
        '-s',
        'ecdsa',
        '-n',
        'ak.name',
      );
      tool('tpm2_flushcontext', '-t');
      const theirs = decode(Tpm2bPublic, get(`ek-${kind}.pub`));
      const secret = text('a secret of 20 bytes');

      await ours(async (tpm) => {
        const template = ekTemplate(kind === 'rsa' ? 'rsa-2048' : 'ecc-p256');
        await using ek = await createPrimary(tpm, { template, hierarchy: 'endorsement' });
        expect(ek.public).toEqual(theirs);
        const ak = await openObject(tpm, AK);
        put('secret', secret);
        const name = Buffer.from(ak.name).toString('hex');
        const make = ['-u', `ek-${kind}.pub`, '-s', 'secret', '-n', name, '-o', 'theirs.cred'];
        tool('tpm2_makecredential', '-T', 'none', ...make);
        expect(await activateCredential(tpm, { ek, ak, credential: fromFile(get('theirs.cred')) })).toEqual(secret);
      });

      const credential = makeCredential(theirs, get('ak.name'), secret);
      put('ours.cred', toFile(credential));
      tool('tpm2_startauthsession', '--policy-session', '-S', 'session.ctx');
      tool('tpm2_policysecret', '-S', 'session.ctx', '-c', 'e');
      const keys = ['-c', 'ak.ctx', '-C', `ek-${kind}.ctx`, '-P', 'session:session.ctx'];
      tool('tpm2_activatecredential', ...keys, '-i', 'ours.cred', '-o', 'opened');
      tool('tpm2_flushcontext', 'session.ctx');
      tool('tpm2_flushcontext', '-t');
      expect(get('opened')).toEqual(secret);
    },
    60_000,
  );

  it('tpm2_unseal opens what we sealed to PCRs, and we open what tpm2_create sealed to the same policy', async () => {
    const parent = `0x${SRK.toString(16)}`;
    const { sealed, policy } = await ours(async (tpm) => {
      const policy: Policy = [{ type: 'pcr', values: await readPcrs(tpm, { sha256: [0, 1, 7] }) }];
      const sealed = await seal(tpm, { parent: await openObject(tpm, SRK), data: text('ours'), policy });
      return { sealed, policy };
    });
    put('ours.pub', encode(Tpm2bPublic, sealed.public));
    put('ours.priv', encode(Tpm2bPrivate, sealed.private));
    tool('tpm2_load', '-C', parent, '-u', 'ours.pub', '-r', 'ours.priv', '-c', 'ours.ctx');
    expect(tool('tpm2_unseal', '-c', 'ours.ctx', '-p', 'pcr:sha256:0,1,7')).toBe('ours');
    tool('tpm2_flushcontext', '-t');

    put('policy', sealed.public.authPolicy);
    put('data', text('theirs'));
    const attributes = 'fixedtpm|fixedparent|adminwithpolicy';
    tool(
      'tpm2_create',
      '-C',
      parent,
      '-L',
      'policy',
      '-i',
      'data',
      '-u',
      'their.pub',
      '-r',
      'their.priv',
      '-a',
      attributes,
    );
    tool('tpm2_flushcontext', '-t');
    const opened = await ours(async (tpm) => {
      const theirs = {
        public: decode(Tpm2bPublic, get('their.pub')),
        private: decode(Tpm2bPrivate, get('their.priv')),
      };
      return await unseal(tpm, { parent: await openObject(tpm, SRK), sealed: theirs, policy });
    });
    expect(opened).toEqual(text('theirs'));
  });

  it('signs with a key of tpm2_create, as OpenSSL finds right', async () => {
    const parent = `0x${SRK.toString(16)}`;
    tool('tpm2_create', '-C', parent, '-G', 'ecc256', '-p', 'key', '-u', 'key.pub', '-r', 'key.priv');
    tool('tpm2_flushcontext', '-t');
    const signer = await ours(async (tpm) => {
      const wrapped = { public: decode(Tpm2bPublic, get('key.pub')), private: decode(Tpm2bPrivate, get('key.priv')) };
      await using key = await loadKey(tpm, await openObject(tpm, SRK), wrapped, { auth: 'key' });
      const made = tpmSigner(tpm, key);
      put('key.der', made.publicKey);
      put('signature', await made.sign(text('message')));
      put('message', text('message'));
      return made;
    });
    expect(signer.algorithm).toBe('ecdsa-p256-sha256');
    const verified = ['-verify', 'key.der', '-keyform', 'DER', '-signature', 'signature', 'message'];
    expect(tool('openssl', 'dgst', '-sha256', ...verified)).toContain('Verified OK');
  });

  it('shares NV indexes', async () => {
    await ours(async (tpm) => {
      const index = await nvDefine(tpm, { index: 0x01800020, size: 5, authValue: 'nv' });
      await nvWrite(tpm, index, text('hello'));
    });
    expect(tool('tpm2_nvread', '0x01800020', '-P', 'nv')).toBe('hello');
    tool('tpm2_nvdefine', '0x01800021', '-s', '3', '-a', 'authread|authwrite', '-p', 'nv');
    put('nv', text('abc'));
    tool('tpm2_nvwrite', '0x01800021', '-P', 'nv', '-i', 'nv');
    const by = { handle: 0x01800021, auth: password('nv') };
    expect(await ours((tpm) => nvRead(tpm, 0x01800021, { by }))).toEqual(text('abc'));
  });
});

/** The file of tpm2_makecredential: magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET. */
function fromFile(bytes: Uint8Array): { credentialBlob: Uint8Array; encryptedSecret: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  expect([view.getUint32(0), view.getUint32(4)]).toEqual([0xbadcc0de, 1]);
  const end = 10 + view.getUint16(8);
  return {
    credentialBlob: decode(Tpm2bIdObject, bytes.slice(8, end)),
    encryptedSecret: decode(Tpm2bEncryptedSecret, bytes.slice(end)),
  };
}

function toFile(credential: { credentialBlob: Uint8Array; encryptedSecret: Uint8Array }): Uint8Array {
  const blob = encode(Tpm2bIdObject, credential.credentialBlob);
  return Buffer.concat([
    Buffer.from('badcc0de00000001', 'hex'),
    blob,
    encode(Tpm2bEncryptedSecret, credential.encryptedSecret),
  ]);
}
