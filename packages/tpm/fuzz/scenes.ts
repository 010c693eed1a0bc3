/** What a client does with a TPM, scene by scene, each from an empty TPM; recorded once, and played again with changed responses. */
import {
  akTemplate,
  createKey,
  createPrimary,
  ekTemplate,
  GetRandom,
  GetSessionAuditDigest,
  loadKey,
  nvDefine,
  nvIncrement,
  nvReadNumber,
  nvUndefine,
  type Policy,
  PolicyGetDigest,
  quote,
  ReadClock,
  readPcrs,
  type SessionOptions,
  satisfyPolicy,
  seal,
  sealedTemplate,
  shareTpm,
  signingKeyTemplate,
  signWith,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CC,
  TPM_RH,
  Tpm,
  type TpmCrypto,
  type TpmObject,
  type TpmTransport,
  Unseal,
  unseal,
} from '../src/index.js';

/** One scene; it throws what the client throws. */
export type Scene = (transport: TpmTransport, crypto: TpmCrypto) => Promise<void>;

/** Every scene by its name. */
export const scenes: Readonly<Record<string, Scene>> = {
  'hmac session': sealing('ecc-p256', () => ({})),
  'bound session': sealing('ecc-p256', (parent) => ({ bind: parent })),
  'session salted by ECDH, AES': sealing('ecc-p256', (parent) => ({ salt: parent, encrypt: true, decrypt: true })),
  'session salted by RSA and bound, XOR': sealing('rsa-2048', (parent) => ({
    ...{ salt: parent, bind: parent, encrypt: true, decrypt: true, hash: 'sha384' },
    cipher: { algorithm: 'xor' },
  })),
  async 'three sessions and an audit'(transport, crypto) {
    const tpm = new Tpm(transport, { crypto });
    const ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    const audit = await startSession(tpm, { type: 'hmac', audit: true });
    const secrecy = await startSession(tpm, { type: 'hmac', hash: 'sha1', encrypt: true });
    await tpm.execute(ReadClock, {}, { sessions: [audit] });
    await tpm.execute(GetRandom, { bytesRequested: 20 }, { sessions: [secrecy, audit] });
    await tpm.execute(GetSessionAuditDigest, {
      privacyAdminHandle: TPM_RH.ENDORSEMENT,
      signHandle: ak,
      sessionHandle: audit,
      qualifyingData: new Uint8Array(4),
      inScheme: { scheme: TPM_ALG.NULL },
    });
    await audit.flush();
    await secrecy.flush();
    await ak.flush();
  },
  async 'policy session'(transport, crypto) {
    const tpm = new Tpm(transport, { crypto });
    const srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    const branches: readonly Policy[] = [[{ type: 'command-code', code: TPM_CC.Sign }], [{ type: 'auth-value' }]];
    const policy: Policy = [
      { type: 'pcr', values: await readPcrs(tpm, { sha256: [0, 7] }) },
      { type: 'or', branches },
    ];
    const sealed = await seal(tpm, { parent: srk, data: Uint8Array.of(1, 2, 3), policy, auth: 'value' });
    await unseal(tpm, { parent: srk, sealed, policy, auth: 'value', choose: () => 1 });
    await srk.flush();
  },
  async 'NV in a session'(transport, crypto) {
    const tpm = new Tpm(transport, { crypto });
    const session = await startSession(tpm, { type: 'hmac', encrypt: true, bind: { handle: TPM_RH.OWNER } });
    const counter = await nvDefine(tpm, { index: 0x01800020, type: 'counter', authValue: 'nv' });
    await nvIncrement(tpm, counter);
    const by = { ...counter, name: counter.name, authValue: counter.authValue, auth: session };
    await nvReadNumber(tpm, counter, { by });
    await nvUndefine(tpm, counter);
    await session.flush();
  },
  async 'plain commands'(transport, crypto) {
    const tpm = new Tpm(transport, { crypto });
    const ek = await createPrimary(tpm, { template: ekTemplate('ecc-p256'), hierarchy: 'endorsement' });
    const ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    await quote(tpm, ak, { nonce: new Uint8Array(16), pcrs: { sha256: [0, 1, 2], sha1: [7] } });
    const key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    await signWith(tpm, key, new Uint8Array(8));
    for (const object of [ek, ak, key]) await object.flush();
  },
  async 'shared by two callers'(transport, crypto) {
    const shared = shareTpm(transport);
    const callers = [new Tpm(shared.connect(), { crypto }), new Tpm(shared.connect(), { crypto })];
    const held: { readonly tpm: Tpm; readonly key: TpmObject; readonly session: number }[] = [];
    for (let i = 0; i < 4; i++) {
      const tpm = callers[i % 2] ?? new Tpm(transport);
      const key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256'), hierarchy: 'null' });
      held.push({ tpm, key, session: (await startSession(tpm, { type: 'policy' })).handle });
    }
    for (const { tpm, key, session } of held) {
      await signWith(tpm, key, new Uint8Array(8));
      await tpm.execute(PolicyGetDigest, { policySession: session });
      await satisfyPolicy(tpm, await startSession(tpm, { type: 'trial' }), [{ type: 'auth-value' }]);
    }
    await shared.close();
  },
};

/** Seals and unseals under a parent, authorised by a session. */
function sealing(kind: 'ecc-p256' | 'rsa-2048', options: (parent: TpmObject) => Partial<SessionOptions>): Scene {
  return async (transport, crypto) => {
    const tpm = new Tpm(transport, { crypto });
    const parent = await createPrimary(tpm, { template: srkTemplate(kind), auth: 'parent' });
    const session = await startSession(tpm, { type: 'hmac', ...options(parent) });
    const auth = { ...parent, auth: session };
    const sealed = await createKey(tpm, auth, {
      template: sealedTemplate(),
      sealed: new Uint8Array(32),
      auth: 'value',
    });
    const object = await loadKey(tpm, auth, sealed, { auth: 'value' });
    await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
    await tpm.execute(GetRandom, { bytesRequested: 16 }, { sessions: [session] });
    await object.flush();
    await session.flush();
    await parent.flush();
  };
}
