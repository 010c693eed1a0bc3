/** Policy and trial sessions of every kind against swtpm; one-way encryption, rolling nonces, exclusive audits, last uses. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  commandByCode,
  createKey,
  createPrimary,
  decodeCommand,
  decodeResponse,
  GetRandom,
  loadKey,
  type Policy,
  PolicyGetDigest,
  policyDigest,
  ReadClock,
  type SessionCipher,
  type SessionOptions,
  satisfyPolicy,
  sealedTemplate,
  shareTpm,
  srkTemplate,
  startSession,
  TPM_RC,
  TPM_RH,
  Tpm,
  type TpmObject,
  type TpmTransport,
  Unseal,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, relaxLockout, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const SECRET = Uint8Array.from({ length: 40 }, (_, i) => i);
const AUTH = 'a value';
const policy: Policy = [{ type: 'auth-value' }];

describeWith(['swtpm'], 'more kinds of sessions with swtpm', () => {
  let server: SwtpmServer;
  let swtpm: TpmTransport;
  let tpm: Tpm;
  let ecc: TpmObject;
  let rsa: TpmObject;
  const passed: { readonly command: Uint8Array; readonly response: Uint8Array }[] = [];

  beforeAll(async () => {
    server = await startSwtpm();
    swtpm = await connectSwtpm(server);
    const connection = shareTpm(swtpm).connect();
    const tap: TpmTransport = {
      async send(command, options) {
        const response = await connection.send(command, options);
        passed.push({ command: command.slice(), response: response.slice() });
        return response;
      },
      close: () => connection.close(),
    };
    tpm = new Tpm(tap, { crypto: nodeCrypto });
    await relaxLockout(tpm);
    ecc = await createPrimary(tpm, { template: srkTemplate('ecc-p256'), auth: 'parent' });
    rsa = await createPrimary(tpm, { template: srkTemplate('rsa-2048') });
  });
  afterAll(async () => {
    await tpm?.close();
    await swtpm?.close();
    await server?.stop();
  });

  const last = () => passed.at(-1) ?? { command: new Uint8Array(0), response: new Uint8Array(0) };
  const sealed = async () => {
    const template = sealedTemplate({ policy: policyDigest(policy) });
    return await createKey(tpm, ecc, { template, sealed: SECRET, auth: AUTH });
  };

  const ciphers: readonly (readonly [string, SessionCipher])[] = [
    ['AES-128-CFB', { algorithm: 'aes', keyBits: 128 }],
    ['AES-256-CFB', { algorithm: 'aes', keyBits: 256 }],
    ['XOR', { algorithm: 'xor' }],
  ];
  const kinds: readonly (readonly [string, () => Partial<SessionOptions>])[] = [
    ['unbound', () => ({})],
    ['bound to the parent', () => ({ bind: ecc })],
    ['bound to a hierarchy', () => ({ bind: { handle: TPM_RH.ENDORSEMENT } })],
    ['salted by ECDH', () => ({ salt: ecc })],
    ['salted by RSA-OAEP', () => ({ salt: rsa })],
    ['salted by RSA-OAEP and bound', () => ({ salt: rsa, bind: ecc })],
    ['salted by ECDH and bound', () => ({ salt: ecc, bind: ecc })],
  ];

  describe.each(kinds)('a policy session, %s', (_, options) => {
    it.each(ciphers)('authorises and encrypts the answer with %s', async (_name, cipher) => {
      const key = await sealed();
      await using object = await loadKey(tpm, ecc, key, { auth: AUTH });
      await using session = await startSession(tpm, { type: 'policy', cipher, encrypt: true, ...options() });
      for (let i = 0; i < 2; i++) {
        await satisfyPolicy(tpm, session, policy);
        const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
        expect(outData).toEqual(SECRET);
        expect(contains(last().response, SECRET)).toBe(false);
      }
    });

    it.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)('as a trial, computes a digest with %s', async (hash) => {
      await using trial = await startSession(tpm, { type: 'trial', hash, ...options() });
      await satisfyPolicy(tpm, trial, policy);
      const computed = await tpm.execute(PolicyGetDigest, { policySession: trial });
      expect(computed.policyDigest).toEqual(policyDigest(policy, hash));
    });
  });

  describe.each(ciphers)('a session that encrypts with %s', (_, cipher) => {
    it('the command only, the answer only, or both', async () => {
      const key = await createKey(tpm, ecc, { template: sealedTemplate(), sealed: SECRET, auth: AUTH });
      await using object = await loadKey(tpm, ecc, key, { auth: AUTH });
      for (const [decrypt, encrypt] of [[true, false] as const, [false, true] as const, [true, true] as const]) {
        await using session = await startSession(tpm, { type: 'hmac', salt: ecc, cipher, decrypt, encrypt });
        const auth = { ...ecc, auth: session };
        await createKey(tpm, auth, { template: sealedTemplate(), sealed: SECRET });
        expect(contains(last().command, SECRET)).toBe(!decrypt);
        const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
        expect(outData).toEqual(SECRET);
        expect(contains(last().response, SECRET)).toBe(!encrypt);
      }
    });
  });

  it('rolls both nonces with every command, and never sends an HMAC twice', async () => {
    await using session = await startSession(tpm, { type: 'hmac', bind: ecc });
    const seen: string[] = [];
    const count = 5;
    for (let i = 0; i < count; i++) {
      await tpm.execute(ReadClock, {}, { sessions: [session] });
      const [asked] = decodeCommand(last().command, (code) => commandByCode.get(code)).auths;
      const [answered] = decodeResponse(ReadClock, last().response).auths;
      seen.push(...[asked?.nonce, asked?.hmac, answered?.nonce, answered?.hmac].map((bytes) => `${bytes}`));
      expect(answered?.nonce).toHaveLength(32);
    }
    expect(new Set(seen).size).toBe(4 * count);
  });

  it('runs an exclusive audit only as long as nothing else runs, and starts a new one by a reset', async () => {
    await using session = await startSession(tpm, { type: 'hmac' });
    const audited = (attributes: { readonly auditExclusive?: boolean; readonly auditReset?: boolean }) =>
      tpm.execute(ReadClock, {}, { sessions: [session.use({ audit: true, ...attributes })] });
    await audited({ auditReset: true });
    await audited({ auditExclusive: true });
    await audited({ auditExclusive: true });
    await tpm.execute(GetRandom, { bytesRequested: 1 });
    const interrupted = audited({ auditExclusive: true });
    await expect(interrupted).rejects.toMatchObject({ response: { number: TPM_RC.EXCLUSIVE } });
    await audited({ auditReset: true });
    await audited({ auditExclusive: true });
  });

  it('ends with a command that it was not to outlive, whether it authorised it, encrypted or satisfied a policy', async () => {
    await using object = await loadKey(tpm, ecc, await sealed(), { auth: AUTH });
    const once = { continueSession: false };
    const extra = await startSession(tpm, { type: 'hmac', encrypt: true });
    await tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions: [extra.use(once)] });
    const proof = await startSession(tpm, { type: 'policy' });
    await satisfyPolicy(tpm, proof, policy);
    await tpm.execute(Unseal, { itemHandle: { ...object, auth: proof.use(once) } });
    for (const session of [extra, proof]) {
      expect(session.isOpen).toBe(false);
      const again = tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions: [session] });
      await expect(again).rejects.toMatchObject({ code: 'usage' });
    }
  });
});

function contains(haystack: Uint8Array, needle: Uint8Array): boolean {
  return Buffer.from(haystack).includes(Buffer.from(needle));
}
