import {
  activateCredential,
  akTemplate,
  certify,
  createKey,
  createPrimary,
  DictionaryAttackLockReset,
  DictionaryAttackParameters,
  ekTemplate,
  extendPcr,
  GetCapability,
  GetRandom,
  HierarchyChangeAuth,
  loadKey,
  makeCredential,
  nvDefine,
  nvIncrement,
  nvRead,
  nvReadNumber,
  nvWrite,
  password,
  pcrBanks,
  publicKeySpki,
  quote,
  ReadClock,
  RsaDecrypt,
  RsaEncrypt,
  readPcrs,
  Shutdown,
  Startup,
  seal,
  signingKeyTemplate,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_RC,
  TPM_RH,
  TPM_SU,
  TPMA_OBJECT,
  Tpm,
  tpmSigner,
  unseal,
  verifyAttestSignature,
} from '@casemate/tpm';
import { describe, expect, it } from 'vitest';
import { full as everything } from '../src/commands/full.js';
import { memoryState, nobleUtpmCrypto, openUtpm, type UtpmOptions } from '../src/index.js';
import { openMicroUtpm } from '../src/micro.js';
import { providers, usual } from './providers.js';
import { hexOf, isSignature } from './web-crypto.js';

const SEED = new Uint8Array(32).map((_, i) => i);
async function started(options: UtpmOptions = {}): Promise<Tpm> {
  return new Tpm(await openUtpm({ crypto: usual, startup: true, ...options }));
}

const utf8 = new TextEncoder();

describe.each(providers)('with the %s provider, a TPM', (_, crypto) => {
  it('seals to PCRs, unseals, and refuses after one of them has changed', async () => {
    await using tpm = await started({ crypto });
    await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    const policy = [{ type: 'pcr', values: await readPcrs(tpm, { sha256: [16] }) }] as const;
    const sealed = await seal(tpm, { parent: srk, data: utf8.encode('secret'), policy });
    expect(await unseal(tpm, { parent: srk, sealed, policy })).toEqual(utf8.encode('secret'));
    await extendPcr(tpm, 16, { sha256: new Uint8Array(32).fill(1) });
    await expect(unseal(tpm, { parent: srk, sealed, policy })).rejects.toMatchObject({
      response: { number: TPM_RC.VALUE },
    });
  });

  it('quotes PCRs so that the signature, the nonce and the values verify', async () => {
    await using tpm = await started({ crypto });
    await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    const nonce = utf8.encode('a nonce');
    const { quoted, signature } = await quote(tpm, ak, { nonce, pcrs: { sha256: [0, 7], sha1: [1] } });
    expect(verifyAttestSignature(ak.public, quoted, signature)).toBe(true);
    expect(
      verifyAttestSignature(
        ak.public,
        quoted.map((byte, i) => (i === 9 ? byte ^ 1 : byte)),
        signature,
      ),
    ).toBe(false);
  });

  it.each(['ecc-p256', 'ecc-p384', 'ecc-p521'] as const)('signs with %s so that WebCrypto verifies', async (kind) => {
    await using tpm = await started({ crypto });
    await using key = await createPrimary(tpm, { template: signingKeyTemplate(kind) });
    const signer = tpmSigner(tpm, key);
    const data = utf8.encode('data to sign');
    const signature = await signer.sign(data);
    expect(await isSignature(signer.publicKey, signer.algorithm, data, signature)).toBe(true);
    expect(await isSignature(signer.publicKey, signer.algorithm, utf8.encode('other data'), signature)).toBe(false);
  });

  it('derives the same keys from the same seed, and other keys from another template', async () => {
    const names = async (): Promise<string[]> => {
      await using tpm = await started({ crypto, seeds: { owner: SEED } });
      await using first = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      await using second = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
      return [first, second].map(({ name }) => hexOf(name));
    };
    const [once, again] = [await names(), await names()];
    expect(once).toEqual(again);
    expect(new Set(once).size).toBe(2);
  });
});

describe('a TPM', () => {
  it('leaves an answer as it is, whatever it answers or refuses later', async () => {
    await using utpm = await openUtpm({ crypto: usual, startup: true });
    const bytes = (hex: string): Uint8Array =>
      Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
    // GetRandom; PCR_Read of eight registers, whose answer is long; and the first without its parameter.
    const commands = ['80010000000c0000017b0020', '8001000000140000017e00000001000b03ff0000', '80010000000a0000017b'];
    const answers: { readonly answer: Uint8Array; readonly hex: string }[] = [];
    for (let i = 0; i < 3000; i++) {
      const answer = await utpm.send(bytes(commands[i % 3] ?? ''));
      answers.push({ answer, hex: hexOf(answer) });
    }
    expect(answers.every(({ answer, hex }) => hexOf(answer) === hex)).toBe(true);
    expect(new Set(answers.map(({ answer }) => answer.length))).toEqual(new Set([44, 300, 10]));
    answers[0]?.answer.fill(0xff);
    expect(answers.slice(1).every(({ answer, hex }) => hexOf(answer) === hex)).toBe(true);
  });

  it('derives the same ECC and RSA keys with either provider', async () => {
    const names = await Promise.all(
      providers.map(async ([, crypto]) => {
        await using tpm = await started({ crypto, seeds: { owner: SEED } });
        const rsa = signingKeyTemplate('rsa-2048');
        const small = { ...rsa, parameters: { ...rsa.parameters, keyBits: 1024 } } as typeof rsa;
        await using ecc = await createPrimary(tpm, { template: srkTemplate('ecc-p384') });
        await using key = await createPrimary(tpm, { template: small });
        return [ecc, key].map(({ name }) => hexOf(name));
      }),
    );
    expect(new Set(names.map((pair) => pair.join())).size).toBe(1);
  });

  it.each(['ecc-p256', 'rsa-2048'] as const)(
    'opens a credential that was made without it for its %s EK',
    async (kind) => {
      await using tpm = await started();
      await using ek = await createPrimary(tpm, { template: ekTemplate(kind), hierarchy: 'endorsement' });
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
      const secret = utf8.encode('challenge');
      const credential = makeCredential(ek.public, ak.name, secret);
      expect(await activateCredential(tpm, { ek, ak, credential })).toEqual(secret);
      const other = makeCredential(
        ek.public,
        ak.name.map((byte, i) => (i === 5 ? byte ^ 1 : byte)),
        secret,
      );
      await expect(activateCredential(tpm, { ek, ak, credential: other })).rejects.toMatchObject({
        response: { number: TPM_RC.INTEGRITY },
      });
    },
  );

  it('signs RSASSA and RSAPSS with RSA so that WebCrypto verifies', async () => {
    await using tpm = await started();
    await using key = await createPrimary(tpm, { template: signingKeyTemplate('rsa-2048') });
    const signer = tpmSigner(tpm, key);
    const data = utf8.encode('data to sign');
    const spki = publicKeySpki(key.public);
    expect(await isSignature(spki, signer.algorithm, data, await signer.sign(data))).toBe(true);
    await using ak = await createPrimary(tpm, { template: akTemplate('rsa-2048'), hierarchy: 'endorsement' });
    const { certified, signature } = await certify(tpm, { object: key, signer: ak, nonce: new Uint8Array(8) });
    expect(verifyAttestSignature(ak.public, certified, signature)).toBe(true);
  });

  it.each([
    ['salted, AES-128', { algorithm: 'aes', keyBits: 128 }],
    ['salted, AES-256', { algorithm: 'aes', keyBits: 256 }],
    ['salted, XOR', { algorithm: 'xor' }],
  ] as const)('encrypts and decrypts parameters in a session: %s', async (_, cipher) => {
    await using tpm = await started();
    await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    await using session = await startSession(tpm, { type: 'hmac', salt: srk, encrypt: true, decrypt: true, cipher });
    const key = await createKey(
      tpm,
      { ...srk, auth: session },
      { template: signingKeyTemplate('ecc-p256'), auth: 'pw' },
    );
    await using loaded = await loadKey(tpm, srk, key, { auth: 'pw' });
    expect((await tpmSigner(tpm, loaded).sign(utf8.encode('x'))).length).toBeGreaterThan(64);
    const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: 16 }, { sessions: [session] });
    expect(randomBytes.length).toBe(16);
  });

  it('takes a session that is bound to an entity for that entity, also after its authorization value has changed', async () => {
    await using tpm = await started();
    const authHandle = { handle: TPM_RH.OWNER, authValue: new Uint8Array(0) };
    await using session = await startSession(tpm, { type: 'hmac', bind: authHandle });
    const newAuth = utf8.encode('owner');
    await tpm.execute(HierarchyChangeAuth, { authHandle: { ...authHandle, auth: session }, newAuth });
    const changed = { handle: TPM_RH.OWNER, authValue: newAuth, auth: session };
    await tpm.execute(HierarchyChangeAuth, { authHandle: changed, newAuth });
    await expect(
      tpm.execute(HierarchyChangeAuth, { authHandle: { handle: TPM_RH.OWNER, auth: password('wrong') }, newAuth }),
    ).rejects.toMatchObject({ response: { number: TPM_RC.BAD_AUTH } });
  });

  it('encrypts and decrypts with RSA by OAEP, RSAES and without padding', async () => {
    await using tpm = await started();
    const signing = signingKeyTemplate('rsa-2048');
    const objectAttributes = (signing.objectAttributes & ~TPMA_OBJECT.sign) | TPMA_OBJECT.decrypt;
    const parameters = { ...signing.parameters, scheme: { scheme: TPM_ALG.NULL, details: undefined } };
    await using key = await createPrimary(tpm, {
      template: { ...signing, objectAttributes, parameters } as typeof signing,
    });
    const schemes = [
      { scheme: TPM_ALG.OAEP, details: { hashAlg: TPM_ALG.SHA256 } },
      { scheme: TPM_ALG.RSAES, details: undefined },
    ] as const;
    for (const inScheme of schemes) {
      const message = utf8.encode('message');
      const label = utf8.encode('label\0');
      const { outData } = await tpm.execute(RsaEncrypt, { keyHandle: key, message, inScheme, label });
      const back = await tpm.execute(RsaDecrypt, { keyHandle: key, cipherText: outData, inScheme, label });
      expect(back.message).toEqual(message);
    }
  });

  it('locks out after the tries that were allowed, counts down in time, and is reset by the lockout authorization', async () => {
    let clock = 0;
    await using tpm = await started({ now: () => clock });
    const parameters = { newMaxTries: 2, newRecoveryTime: 10, lockoutRecovery: 0 };
    await tpm.execute(DictionaryAttackParameters, { lockHandle: TPM_RH.LOCKOUT, ...parameters });
    const template = signingKeyTemplate('ecc-p256');
    const protectedTemplate = { ...template, objectAttributes: template.objectAttributes & ~TPMA_OBJECT.noDA };
    await using key = await createPrimary(tpm, { template: protectedTemplate as typeof template, auth: 'right' });
    const use = (auth: string): Promise<Uint8Array> =>
      tpmSigner(tpm, { ...key, auth: password(auth) }).sign(utf8.encode('x'));
    for (let i = 0; i < 2; i++)
      await expect(use('wrong')).rejects.toMatchObject({ response: { number: TPM_RC.AUTH_FAIL } });
    await expect(use('right')).rejects.toMatchObject({ response: { number: TPM_RC.LOCKOUT } });
    clock += 10_000;
    expect((await use('right')).length).toBeGreaterThan(0);
    await expect(use('wrong')).rejects.toMatchObject({ response: { number: TPM_RC.AUTH_FAIL } });
    await expect(use('right')).rejects.toMatchObject({ response: { number: TPM_RC.LOCKOUT } });
    await tpm.execute(DictionaryAttackLockReset, { lockHandle: TPM_RH.LOCKOUT });
    expect((await use('right')).length).toBeGreaterThan(0);
  });

  it('keeps NV data, counters and persistent keys over a restart, and does not repeat a counter value', async () => {
    const first = memoryState();
    const before = await started({ state: first });
    const index = await nvDefine(before, { index: 0x01800001, size: 8 });
    await nvWrite(before, index, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const counter = await nvDefine(before, { index: 0x01800002, type: 'counter' });
    await nvIncrement(before, counter);
    const value = await nvReadNumber(before, counter);
    await before.close();
    const after = await started({ state: memoryState(first.snapshot()) });
    expect(await nvRead(after, index)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    await nvIncrement(after, counter);
    expect(await nvReadNumber(after, counter)).toBe(value + 1n);
    await after.close();
  });

  it('resumes, restarts or resets as the shutdown before says, and its counters tell which', async () => {
    const utpm = await openUtpm({ startup: true });
    const tpm = new Tpm(utpm);
    await extendPcr(tpm, 0, { sha256: new Uint8Array(32).fill(7) });
    const extended = await readPcrs(tpm, { sha256: [0] });
    const counts = async (): Promise<readonly number[]> => {
      const { currentTime } = await tpm.execute(ReadClock, {});
      return [currentTime.clockInfo.resetCount, currentTime.clockInfo.restartCount];
    };
    expect(await counts()).toEqual([1, 0]);
    await tpm.execute(Shutdown, { shutdownType: TPM_SU.STATE });
    await utpm.powerCycle();
    await tpm.execute(Startup, { startupType: TPM_SU.STATE });
    expect(await readPcrs(tpm, { sha256: [0] })).toEqual(extended);
    expect(await counts()).toEqual([1, 1]);
    await utpm.powerCycle();
    await expect(tpm.execute(Startup, { startupType: TPM_SU.STATE })).rejects.toMatchObject({
      response: { number: TPM_RC.VALUE },
    });
    await tpm.execute(Startup, { startupType: TPM_SU.CLEAR });
    expect(await counts()).toEqual([2, 0]);
    expect(await readPcrs(tpm, { sha256: [0] })).toEqual({ sha256: { 0: new Uint8Array(32) } });
    await tpm.close();
  });

  it('measures a dynamic launch into PCR 17 and resets the dynamic registers', async () => {
    const utpm = await openUtpm({ startup: true });
    const tpm = new Tpm(utpm);
    expect(await readPcrs(tpm, { sha256: [17] })).toEqual({ sha256: { 17: new Uint8Array(32).fill(0xff) } });
    await utpm.hashSequence(utf8.encode('loader'));
    const digest = nobleUtpmCrypto.hash(TPM_ALG.SHA256, utf8.encode('loader'));
    const value = nobleUtpmCrypto.hash(TPM_ALG.SHA256, new Uint8Array(32), digest);
    expect(await readPcrs(tpm, { sha256: [17, 18] })).toEqual({ sha256: { 17: value, 18: new Uint8Array(32) } });
    await tpm.close();
  });

  it('has in the micro entry point the micro profile and no other', async () => {
    await using utpm = await openMicroUtpm({ startup: true });
    expect(utpm.profile).toBe('micro');
    const tpm = new Tpm(utpm);
    await expect(tpm.execute(DictionaryAttackLockReset, { lockHandle: TPM_RH.LOCKOUT })).rejects.toMatchObject({
      response: { number: TPM_RC.COMMAND_CODE },
    });
  });

  it('lists in the micro profile what a PAL needs, and answers other commands with TPM_RC_COMMAND_CODE', async () => {
    await using tpm = await started({ profile: 'micro' });
    const request = { capability: 2, property: 0, propertyCount: 300 } as const;
    const { capabilityData } = await tpm.execute(GetCapability, request);
    const full = await started();
    const all = await full.execute(GetCapability, request);
    expect([
      (capabilityData.data as readonly number[]).length,
      (all.capabilityData.data as readonly number[]).length,
    ]).toEqual([35, everything.length]);
    await full.close();
    await expect(tpm.execute(DictionaryAttackLockReset, { lockHandle: TPM_RH.LOCKOUT })).rejects.toMatchObject({
      response: { number: TPM_RC.COMMAND_CODE },
    });
    expect(await pcrBanks(tpm)).toEqual(['sha1', 'sha256', 'sha384', 'sha512']);
  });

  it('answers commands in the order in which they were sent, also while one is being stored', async () => {
    const utpm = await openUtpm({ startup: true });
    const tpm = new Tpm(utpm);
    const counter = await nvDefine(tpm, { index: 0x01800003, type: 'counter' });
    await Promise.all(Array.from({ length: 20 }, () => nvIncrement(tpm, counter)));
    expect(await nvReadNumber(tpm, counter)).toBe(20n);
    await tpm.close();
    await expect(utpm.send(new Uint8Array(10))).rejects.toMatchObject({ code: 'closed' });
  });
});
