/** Sessions of every kind against swtpm, and a man in the middle who changes what it says. */
import { decode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  akTemplate,
  createKey,
  createPrimary,
  GetRandom,
  GetSessionAuditDigest,
  HierarchyChangeAuth,
  loadKey,
  nobleCrypto,
  nvDefine,
  nvRead,
  nvUndefine,
  nvWrite,
  PcrSetAuthValue,
  password,
  ReadClock,
  type SessionCipher,
  type SessionOptions,
  sealedTemplate,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_RC,
  TPM_RH,
  Tpm,
  type TpmObject,
  TpmsAttest,
  type TpmTransport,
  Unseal,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, relaxLockout, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const SECRET = Uint8Array.from({ length: 40 }, (_, i) => i);
const AUTH = 'a value\0\0';

describeWith(['swtpm'], 'sessions with swtpm', () => {
  let server: SwtpmServer;
  let wire: Tap;
  let tpm: Tpm;
  let ecc: TpmObject;
  let rsa: TpmObject;

  beforeAll(async () => {
    server = await startSwtpm();
    wire = new Tap(await connectSwtpm(server));
    tpm = new Tpm(wire, { crypto: nodeCrypto });
    await relaxLockout(tpm);
    ecc = await createPrimary(tpm, { template: srkTemplate('ecc-p256'), auth: 'parent' });
    rsa = await createPrimary(tpm, { template: srkTemplate('rsa-2048') });
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  const ciphers: readonly (readonly [string, SessionCipher])[] = [
    ['AES-128-CFB', { algorithm: 'aes', keyBits: 128 }],
    ['AES-256-CFB', { algorithm: 'aes', keyBits: 256 }],
    ['XOR', { algorithm: 'xor' }],
  ];
  const kinds: readonly (readonly [string, () => Partial<SessionOptions>])[] = [
    ['unbound', () => ({})],
    ['bound to the parent', () => ({ bind: ecc })],
    ['bound to the owner hierarchy', () => ({ bind: { handle: TPM_RH.OWNER } })],
    ['salted by ECDH', () => ({ salt: ecc })],
    ['salted by RSA-OAEP', () => ({ salt: rsa })],
    ['salted and bound', () => ({ salt: rsa, bind: ecc })],
  ];

  describe.each(kinds)('an HMAC session, %s', (_, options) => {
    it.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)('authorises again and again with %s', async (hash) => {
      await using session = await startSession(tpm, { type: 'hmac', hash, ...options() });
      for (let i = 0; i < 3; i++) {
        const template = sealedTemplate();
        const key = await createKey(tpm, { ...ecc, auth: session }, { template, sealed: SECRET, auth: AUTH });
        await using object = await loadKey(tpm, { ...ecc, auth: session }, key, { auth: AUTH });
        const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
        expect(outData).toEqual(SECRET);
      }
    });

    it.each(ciphers)('encrypts what is sealed and unsealed with %s', async (_name, cipher) => {
      const secrecy = { cipher, encrypt: true, decrypt: true };
      await using session = await startSession(tpm, { type: 'hmac', ...options(), ...secrecy });
      const auth = { ...ecc, auth: session };
      const key = await createKey(tpm, auth, { template: sealedTemplate(), sealed: SECRET, auth: AUTH });
      expect(contains(wire.commands.at(-1), SECRET)).toBe(false);
      await using object = await loadKey(tpm, ecc, key, { auth: AUTH });
      const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
      expect(outData).toEqual(SECRET);
      expect(contains(wire.responses.at(-1), SECRET)).toBe(false);
    });

    it('refuses a wrong authorization value', async () => {
      await using session = await startSession(tpm, { type: 'hmac', ...options() });
      const authValue = new TextEncoder().encode('wrong');
      const attempt = createKey(
        tpm,
        { ...ecc, authValue, auth: session },
        { template: sealedTemplate(), sealed: SECRET },
      );
      await expect(attempt).rejects.toMatchObject({ code: 'response', response: { number: TPM_RC.BAD_AUTH } });
      expect(session.isOpen).toBe(true);
      await createKey(tpm, { ...ecc, auth: session }, { template: sealedTemplate(), sealed: SECRET });
    });
  });

  it('sends the data in the clear without a session, which is what the encryption tests compare with', async () => {
    const key = await createKey(tpm, ecc, { template: sealedTemplate(), sealed: SECRET });
    expect(contains(wire.commands.at(-1), SECRET)).toBe(true);
    await using object = await loadKey(tpm, ecc, key);
    await tpm.execute(Unseal, { itemHandle: object });
    expect(contains(wire.responses.at(-1), SECRET)).toBe(true);
  });

  it('works the same with the @noble provider', async () => {
    await using pure = new Tpm(new Tap(await connectAlone(wire)), { crypto: nobleCrypto });
    const secrecy = { encrypt: true, decrypt: true };
    for (const salt of [ecc, rsa]) {
      await using session = await startSession(pure, { type: 'hmac', salt, bind: ecc, ...secrecy });
      const key = await createKey(pure, { ...ecc, auth: session }, { template: sealedTemplate(), sealed: SECRET });
      await using object = await loadKey(pure, { ...ecc, auth: session }, key);
      const { outData } = await pure.execute(Unseal, { itemHandle: { ...object, auth: session } });
      expect(outData).toEqual(SECRET);
    }
  });

  it('runs three sessions in one command: one authorises, one decrypts, one encrypts and audits', async () => {
    await using authorises = await startSession(tpm, { type: 'hmac', bind: ecc });
    await using decrypts = await startSession(tpm, { type: 'hmac', salt: ecc, decrypt: true, hash: 'sha384' });
    await using encrypts = await startSession(tpm, {
      type: 'hmac',
      salt: rsa,
      encrypt: true,
      cipher: { algorithm: 'xor' },
    });
    const sessions = [decrypts, encrypts];
    for (let i = 0; i < 2; i++) {
      const parent = { ...ecc, auth: authorises };
      await createKey(tpm, parent, { template: sealedTemplate(), sealed: SECRET, sessions });
      expect(contains(wire.commands.at(-1), SECRET)).toBe(false);
    }
  });

  it('audits commands: the TPM signs the digest that the command and response hashes give', async () => {
    await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    await using session = await startSession(tpm, { type: 'hmac' });
    await tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions: [session.use({ audit: true })] });
    const digest = auditDigest(wire.commands.at(-1), wire.responses.at(-1));
    const { auditInfo } = await tpm.execute(GetSessionAuditDigest, {
      privacyAdminHandle: TPM_RH.ENDORSEMENT,
      signHandle: ak,
      sessionHandle: session,
      qualifyingData: new Uint8Array(4),
      inScheme: { scheme: TPM_ALG.NULL },
    });
    expect(decode(TpmsAttest, auditInfo).attested).toMatchObject({ sessionDigest: digest });
  });

  it('follows a hierarchy whose authorization value the command changes', async () => {
    const owner = { handle: TPM_RH.OWNER };
    await using bound = await startSession(tpm, { type: 'hmac', bind: owner, decrypt: true });
    const first = new TextEncoder().encode('first');
    await tpm.execute(HierarchyChangeAuth, { authHandle: { ...owner, auth: bound }, newAuth: first });
    expect(contains(wire.commands.at(-1), first)).toBe(false);
    const changed = { ...owner, authValue: first };
    await tpm.execute(HierarchyChangeAuth, { authHandle: { ...changed, auth: bound }, newAuth: new Uint8Array(0) });
    expect(bound.isOpen).toBe(true);
  });

  it('follows a PCR whose authorization value the command changes', async () => {
    await using session = await startSession(tpm, { type: 'hmac' });
    const pcrHandle = { handle: 20, auth: session };
    const auth = new TextEncoder().encode('value');
    await tpm.execute(PcrSetAuthValue, { pcrHandle, auth });
    await tpm.execute(PcrSetAuthValue, { pcrHandle: { ...pcrHandle, authValue: auth }, auth: new Uint8Array(0) });
    expect(session.isOpen).toBe(true);
  });

  it('is bound to an NV index by the Name that it had, and follows the Name under every authorisation', async () => {
    const index = await nvDefine(tpm, { index: 0x01800001, size: 8, authValue: 'value' });
    await using session = await startSession(tpm, { type: 'hmac', bind: index });
    const by = index.withAuth(session);
    // The first write gives it another Name, so that the session is not bound to it any more.
    for (let i = 0; i < 2; i++) await nvWrite(tpm, index, new Uint8Array(8).fill(i), { by });
    expect(await nvRead(tpm, index, { by })).toEqual(new Uint8Array(8).fill(1));
    await nvUndefine(tpm, index);
  });

  it('ends a session that is not to continue, and refuses to use it again', async () => {
    const session = await startSession(tpm, { type: 'hmac' });
    const auth = session.use({ continueSession: false });
    await createKey(tpm, { ...ecc, auth }, { template: sealedTemplate(), sealed: SECRET });
    expect(session.isOpen).toBe(false);
    const again = createKey(tpm, { ...ecc, auth: session }, { template: sealedTemplate(), sealed: SECRET });
    await expect(again).rejects.toMatchObject({ code: 'usage' });
    await session.flush();
  });

  it('needs the Name of what a session authorises', async () => {
    await using session = await startSession(tpm, { type: 'hmac' });
    const nameless = { handle: ecc.handle, auth: session };
    const attempt = createKey(tpm, nameless, { template: sealedTemplate(), sealed: SECRET });
    await expect(attempt).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining('Name') });
  });

  it('refuses a session twice in a command, four sessions, a trial session, and one where none may be', async () => {
    await using session = await startSession(tpm, { type: 'hmac' });
    await using trial = await startSession(tpm, { type: 'trial' });
    const usage = { code: 'usage' };
    const random = { bytesRequested: 1 };
    await expect(tpm.execute(GetRandom, random, { sessions: [session, session] })).rejects.toMatchObject(usage);
    await expect(tpm.execute(GetRandom, random, { sessions: [trial] })).rejects.toMatchObject(usage);
    const many = [session, session, session, session];
    await expect(tpm.execute(GetRandom, random, { sessions: many })).rejects.toMatchObject(usage);
    const startup = (await import('../../src/index.js')).Startup;
    await expect(tpm.execute(startup, { startupType: 0 }, { sessions: [session] })).rejects.toMatchObject(usage);
  });

  it('takes a password that has other bytes than the value as wrong', async () => {
    const template = sealedTemplate();
    const attempt = createKey(tpm, { handle: ecc.handle, auth: password('nope') }, { template, sealed: SECRET });
    await expect(attempt).rejects.toMatchObject({
      code: 'response',
      response: { origin: { kind: 'session', index: 1 } },
    });
  });

  it('catches every single changed byte of a response that a session covers', async () => {
    const clock = await captured(tpm, wire);
    for (let i = 0; i < clock.length; i++) {
      await using session = await startSession(tpm, { type: 'hmac', salt: ecc });
      wire.change = (bytes) => bytes.map((byte, at) => (at === i ? byte ^ 0x01 : byte));
      const attempt = tpm.execute(ReadClock, {}, { sessions: [session] });
      await expect(attempt, `byte ${i}`).rejects.toMatchObject({ name: 'TpmError' });
      wire.change = undefined;
      // Only a forged refusal, which no HMAC covers, leaves the session usable.
      if (i < 6 || i > 9) expect(session.isOpen, `byte ${i}`).toBe(false);
    }
  }, 120_000);

  it('catches a response from which the session area was cut off', async () => {
    await using session = await startSession(tpm, { type: 'hmac' });
    wire.change = (bytes) => withoutSessions(bytes);
    const attempt = tpm.execute(ReadClock, {}, { sessions: [session] });
    await expect(attempt).rejects.toMatchObject({ code: 'integrity' });
    wire.change = undefined;
  });

  it('catches the replay of an earlier response', async () => {
    await using session = await startSession(tpm, { type: 'hmac' });
    await tpm.execute(GetRandom, { bytesRequested: 4 }, { sessions: [session] });
    const earlier = wire.responses.at(-1) ?? new Uint8Array(0);
    wire.change = () => earlier;
    const attempt = tpm.execute(GetRandom, { bytesRequested: 4 }, { sessions: [session] });
    await expect(attempt).rejects.toMatchObject({ code: 'integrity' });
    wire.change = undefined;
  });

  it('catches a TPM that names another object than the one that it gave', async () => {
    wire.change = (bytes) => bytes.map((byte, at) => (at === LOADED_NAME ? byte ^ 1 : byte));
    const attempt = loadKey(tpm, ecc, await unchanged(wire, () => createKey(tpm, ecc, sealing)));
    await expect(attempt).rejects.toMatchObject({ code: 'integrity', message: expect.stringContaining('Name') });
    wire.change = undefined;
  });
});

/** A byte of the Name in a response to Load: behind header, handle, parameterSize and size. */
const LOADED_NAME = 30;
const sealing = { template: sealedTemplate(), sealed: SECRET };

/** A real transport on which a test can read, and change what comes back. */
class Tap implements TpmTransport {
  readonly commands: Uint8Array[] = [];
  readonly responses: Uint8Array[] = [];
  change: ((response: Uint8Array) => Uint8Array) | undefined;
  readonly inner: TpmTransport;

  constructor(inner: TpmTransport) {
    this.inner = inner;
  }

  async send(command: Uint8Array, options?: { readonly signal?: AbortSignal }): Promise<Uint8Array> {
    this.commands.push(command);
    const response = await this.inner.send(command, options);
    this.responses.push(response);
    const isFlush = command[9] === 0x65;
    return this.change && !isFlush && !isStart(command) ? this.change(response) : response;
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

function isStart(command: Uint8Array): boolean {
  return command[8] === 0x01 && command[9] === 0x76;
}

async function unchanged<T>(wire: Tap, work: () => Promise<T>): Promise<T> {
  const { change } = wire;
  wire.change = undefined;
  const result = await work();
  wire.change = change;
  return result;
}

/** swtpm serves one connection at a time, so a second client borrows the first one's. */
async function connectAlone(wire: Tap): Promise<TpmTransport> {
  return { send: (command, options) => wire.inner.send(command, options), close: async () => undefined };
}

async function captured(tpm: Tpm, wire: Tap): Promise<Uint8Array> {
  await using session = await startSession(tpm, { type: 'hmac' });
  await tpm.execute(ReadClock, {}, { sessions: [session] });
  return wire.responses.at(-1) ?? new Uint8Array(0);
}

function withoutSessions(response: Uint8Array): Uint8Array {
  const view = new DataView(response.buffer, response.byteOffset);
  const size = view.getUint32(10);
  const cut = new Uint8Array(10 + size);
  cut.set(response.subarray(0, 10));
  cut.set(response.subarray(14, 14 + size), 10);
  new DataView(cut.buffer).setUint16(0, 0x8001);
  new DataView(cut.buffer).setUint32(2, cut.length);
  return cut;
}

/** Part 1, section 30.5: auditDigest := H(old || cpHash || rpHash), for GetRandom, which has no handles. */
function auditDigest(command: Uint8Array = new Uint8Array(0), response: Uint8Array = new Uint8Array(0)): Uint8Array {
  const hash = (...parts: Uint8Array[]) => nodeCrypto.hash(TPM_ALG.SHA256, ...parts);
  const code = command.slice(6, 10);
  const authSize = new DataView(command.buffer, command.byteOffset).getUint32(10);
  const cpHash = hash(code, command.slice(14 + authSize));
  const size = new DataView(response.buffer, response.byteOffset).getUint32(10);
  const rpHash = hash(new Uint8Array(4), code, response.slice(14, 14 + size));
  return hash(new Uint8Array(32), cpHash, rpHash);
}

function contains(haystack: Uint8Array | undefined, needle: Uint8Array): boolean {
  return haystack !== undefined && Buffer.from(haystack).includes(Buffer.from(needle));
}
