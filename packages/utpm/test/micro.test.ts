/** The micro-TPM: its numbers, its commands beside those of the whole TPM and of swtpm, the client's tasks on it, its state. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as T from '@casemate/tpm';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import * as constants from '../src/micro/constants.js';
import { openMicroUtpm } from '../src/micro.js';
import { type MicroUtpm, openMicroUtpm as openOnNode } from '../src/micro-node.js';
import { directoryState } from '../src/node.js';
import { memoryState } from '../src/state.js';
import { commandBytes as cb, type RawTpm, resized, responseCode, startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const NONE: Uint8Array = new Uint8Array(0);
const { OWNER, ENDORSEMENT, NULL } = T.TPM_RH;
const seeds = {
  owner: new Uint8Array(64).fill(1),
  endorsement: new Uint8Array(64).fill(2),
  platform: new Uint8Array(32).fill(3),
};
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const sha256 = (value: string): Uint8Array => new Uint8Array(createHash('sha256').update(value).digest());

async function client(options: Parameters<typeof openMicroUtpm>[0] = {}): Promise<T.Tpm> {
  return new T.Tpm(await openOnNode({ startup: true, ...options }));
}

describe('the numbers of the micro-TPM', () => {
  it('are those of the tables of Part 2', () => {
    expect(T.TPM_ALG).toMatchObject(constants.TPM_ALG);
    expect(T.TPM_CC).toMatchObject(constants.TPM_CC);
    expect(T.TPM_RC).toMatchObject(constants.TPM_RC);
    expect(T.TPM_HT).toMatchObject(constants.TPM_HT);
    expect(T.TPM_ST).toMatchObject(constants.TPM_ST);
    expect(T.TPM_CAP).toMatchObject(constants.TPM_CAP);
    expect(T.TPMA_OBJECT).toMatchObject(constants.TPMA_OBJECT);
    expect(T.TPMA_SESSION).toMatchObject(constants.TPMA_SESSION);
    const { PW, ...hierarchies } = constants.TPM_RH;
    expect(T.TPM_RH).toMatchObject(hierarchies);
    expect(PW).toBe(T.TPM_RS.PW);
    expect(T.TPMA_NV).toMatchObject(constants.TPMA_NV);
    expect(constants.TPM_GENERATED_VALUE).toBe(T.TPM_GENERATED_VALUE);
    expect(constants.NIST_P256).toBe(T.TPM_ECC_CURVE.NIST_P256);
  });
});

describe('the micro-TPM serves the client:', () => {
  for (const [name, open] of [
    ['@noble', openMicroUtpm],
    ['OpenSSL', openOnNode],
  ] as const) {
    it(`seals under a policy of PCRs, and unseals while they hold, on ${name}`, async () => {
      await using tpm = new T.Tpm(await open({ startup: true }));
      await T.extendPcr(tpm, 7, { sha256: sha256('measured') });
      await using srk = await T.createPrimary(tpm, { template: T.srkTemplate('ecc-p256') });
      const { sha256: pcrs } = await T.readPcrs(tpm, { sha256: [7] });
      const policy: T.Policy = [{ type: 'pcr', values: { sha256: { 7: pcrs?.[7] ?? NONE } } }];
      const sealed = await T.seal(tpm, { parent: srk, data: text('secret'), policy });
      expect(await T.unseal(tpm, { parent: srk, sealed, policy })).toEqual(text('secret'));
      await T.extendPcr(tpm, 7, { sha256: sha256('more') });
      await expect(T.unseal(tpm, { parent: srk, sealed, policy })).rejects.toThrow(T.TpmError);
    });
  }

  it('quotes, certifies and signs with keys whose signatures verify offline', async () => {
    await using tpm = await client();
    await using ak = await T.createPrimary(tpm, { template: T.akTemplate('ecc-p256'), hierarchy: 'endorsement' });
    const nonce = text('nonce');
    const { quoted, signature, pcrs } = await T.quote(tpm, ak, { nonce, pcrs: { sha256: [0, 7, 16] } });
    expect(T.verifyQuote({ signer: ak.public, attest: quoted, signature, nonce, pcrs })).toMatchObject({ ok: true });
    await using key = await T.createPrimary(tpm, { template: T.signingKeyTemplate('ecc-p256') });
    const made = await T.certify(tpm, { object: key, signer: ak, nonce });
    const input = { signer: ak.public, attest: made.certified, signature: made.signature, nonce };
    expect(T.verifyCertify({ ...input, name: key.name })).toMatchObject({ ok: true });
    const data = text('data');
    const signed = await T.signWith(tpm, key, data);
    expect(T.verifySignature(key.public, data, signed)).toBe(true);
    // A restricted key signs what the TPM has hashed.
    const digest = sha256('data');
    const { validation } = await tpm.execute(T.Hash, { data, hashAlg: T.TPM_ALG.SHA256, hierarchy: OWNER });
    const request = { keyHandle: ak, digest, inScheme: { scheme: T.TPM_ALG.NULL } as const };
    const { signature: own } = await tpm.execute(T.Sign, { ...request, validation });
    const { validation: verified } = await tpm.execute(T.VerifySignature, {
      keyHandle: ak,
      digest,
      signature: own as never,
    });
    expect(verified.hierarchy).toBe(ENDORSEMENT);
    const none = { tag: T.TPM_ST.HASHCHECK, hierarchy: NULL, digest: NONE } as const;
    await expect(tpm.execute(T.Sign, { ...request, validation: none })).rejects.toThrow('TICKET');
  });

  it('keeps keys, passwords and data in salted, bound and encrypting sessions', async () => {
    await using tpm = await client();
    await using srk = await T.createPrimary(tpm, { template: T.srkTemplate('ecc-p256') });
    await using salted = await T.startSession(tpm, { type: 'hmac', salt: srk, encrypt: true, decrypt: true });
    const made = await T.createKey(
      tpm,
      { ...srk, auth: salted },
      { template: T.signingKeyTemplate('ecc-p256'), auth: 'pw' },
    );
    await using key = await T.loadKey(tpm, srk, made, { auth: 'pw' });
    await using bound = await T.startSession(tpm, { type: 'hmac', bind: key });
    for (const auth of [salted, bound]) {
      const signature = await T.signWith(tpm, { ...key, auth }, text('x'));
      expect(T.verifySignature(key.public, text('x'), signature)).toBe(true);
    }
    const { randomBytes } = await tpm.execute(T.GetRandom, { bytesRequested: 20 }, { sessions: [salted] });
    expect(randomBytes).toHaveLength(20);
  });

  it('counts, writes and reads NV indexes, by the owner, by their own value and by policy', async () => {
    await using tpm = await client();
    const counter = await T.nvDefine(tpm, { index: 0x01500001, type: 'counter', authValue: 'pw' });
    await T.nvIncrement(tpm, counter);
    await T.nvIncrement(tpm, counter);
    const read = await T.nvRead(tpm, counter);
    expect(new DataView(read.buffer, read.byteOffset).getBigUint64(0)).toBe(2n);
    await T.nvUndefine(tpm, counter);
    const again = await T.nvDefine(tpm, { index: 0x01500001, type: 'counter' });
    await T.nvIncrement(tpm, again);
    expect([...(await T.nvRead(tpm, again))].at(-1)).toBe(3);
    const data = await T.nvDefine(tpm, { index: 0x01500002, size: 1500 });
    const bytes = new Uint8Array(1500).map((_, i) => i);
    await T.nvWrite(tpm, data, bytes);
    expect(await T.nvRead(tpm, data)).toEqual(bytes);
  });

  it('locks itself against guessing, over a power cut too', async () => {
    const micro = await openOnNode({ startup: true });
    const tpm = new T.Tpm(micro);
    const srk = await T.createPrimary(tpm, { template: T.srkTemplate('ecc-p256') });
    const sealed = await T.seal(tpm, { parent: srk, data: text('s'), auth: 'right' });
    const guess = (): Promise<unknown> => T.unseal(tpm, { parent: srk, sealed, auth: 'wrong' });
    for (let i = 0; i < 2; i++) await expect(guess()).rejects.toThrow('AUTH_FAIL');
    expect(await T.unseal(tpm, { parent: srk, sealed, auth: 'right' })).toEqual(text('s'));
    await micro.powerCycle();
    await tpm.execute(T.Startup, { startupType: T.TPM_SU.CLEAR });
    const same = await T.createPrimary(tpm, { template: T.srkTemplate('ecc-p256') });
    await expect(T.unseal(tpm, { parent: same, sealed, auth: 'right' })).rejects.toThrow('LOCKOUT');
    await tpm.close();
  });
});

describe('beside the whole TPM with the same seeds, the micro-TPM', () => {
  it('makes the same primary keys, and each loads and unseals what the other has wrapped', async () => {
    await using micro = await client({ seeds });
    await using whole = new T.Tpm(await openUtpm({ startup: true, seeds }));
    for (const template of [T.srkTemplate('ecc-p256'), T.akTemplate('ecc-p256'), T.signingKeyTemplate('ecc-p256')]) {
      for (const hierarchy of ['owner', 'endorsement', 'platform'] as const) {
        await using a = await T.createPrimary(micro, { template, hierarchy, auth: 'x' });
        await using b = await T.createPrimary(whole, { template, hierarchy, auth: 'x' });
        expect(a.public).toEqual(b.public);
      }
    }
    for (const [maker, user] of [
      [micro, whole],
      [whole, micro],
    ] as const) {
      await using parent = await T.createPrimary(maker, { template: T.srkTemplate('ecc-p256') });
      await using other = await T.createPrimary(user, { template: T.srkTemplate('ecc-p256') });
      const sealed = await T.seal(maker, { parent, data: text('carried over'), auth: 'a' });
      expect(await T.unseal(user, { parent: other, sealed, auth: 'a' })).toEqual(text('carried over'));
      const key = await T.createKey(maker, parent, { template: T.signingKeyTemplate('ecc-p256'), auth: 'b' });
      await using loaded = await T.loadKey(user, other, key, { auth: 'b' });
      expect(T.verifySignature(loaded.public, text('d'), await T.signWith(user, loaded, text('d')))).toBe(true);
    }
  });

  it('computes the same policies', async () => {
    await using micro = await client({ seeds });
    const pcrs = { sha256: { 0: new Uint8Array(32), 23: new Uint8Array(32) } };
    const policy: T.Policy = [
      { type: 'pcr', values: pcrs },
      { type: 'command-code', code: T.TPM_CC.Unseal },
      { type: 'auth-value' },
      { type: 'secret', authority: { handle: OWNER }, policyRef: text('ref') },
    ];
    await using session = await T.startSession(micro, { type: 'policy' });
    await T.satisfyPolicy(micro, session, policy);
    const { policyDigest } = await micro.execute(T.PolicyGetDigest, { policySession: session.handle });
    expect(policyDigest).toEqual(T.policyDigest(policy));
  });
});

// --- the same bytes to the micro-TPM and to swtpm ----------------------------------------------------------------------------------------

const ECC = (objectAttributes: number, isStorage: boolean): unknown => ({
  type: T.TPM_ALG.ECC,
  nameAlg: T.TPM_ALG.SHA256,
  objectAttributes,
  authPolicy: NONE,
  parameters: {
    symmetric: isStorage
      ? { algorithm: T.TPM_ALG.AES, keyBits: 128, mode: T.TPM_ALG.CFB }
      : { algorithm: T.TPM_ALG.NULL, keyBits: undefined, mode: undefined },
    scheme: isStorage
      ? { scheme: T.TPM_ALG.NULL, details: undefined }
      : { scheme: T.TPM_ALG.ECDSA, details: { hashAlg: T.TPM_ALG.SHA256 } },
    curveID: T.TPM_ECC_CURVE.NIST_P256,
    kdf: { scheme: T.TPM_ALG.NULL, details: undefined },
  },
  unique: { x: NONE, y: NONE },
});
const SEALED = (objectAttributes: number): unknown => ({
  type: T.TPM_ALG.KEYEDHASH,
  nameAlg: T.TPM_ALG.SHA256,
  objectAttributes,
  authPolicy: NONE,
  parameters: { scheme: { scheme: T.TPM_ALG.NULL, details: undefined } },
  unique: NONE,
});
const creation = (inPublic: unknown, data = NONE): Readonly<Record<string, unknown>> => ({
  inSensitive: { userAuth: NONE, data },
  inPublic,
  outsideInfo: NONE,
  creationPCR: [],
});
const nvPublic = (attributes: number, dataSize: number): unknown => ({
  nvIndex: 0x01500009,
  nameAlg: T.TPM_ALG.SHA256,
  attributes,
  authPolicy: NONE,
  dataSize,
});
const bank = (pcrSelect: number[]): unknown => [{ hash: T.TPM_ALG.SHA256, pcrSelect: Uint8Array.from(pcrSelect) }];
const digests = [{ hashAlg: T.TPM_ALG.SHA256, digest: sha256('x') }];
const session = {
  nonceCaller: new Uint8Array(16),
  encryptedSalt: NONE,
  sessionType: T.TPM_SE.POLICY,
  symmetric: { algorithm: T.TPM_ALG.NULL, keyBits: undefined, mode: undefined },
  authHash: T.TPM_ALG.SHA256,
};
const noScheme = { scheme: T.TPM_ALG.NULL, details: undefined };
const P = 0x03000000;

/** Commands in an order in which each has what it needs; their answers are the same where `isTold`. */
const SCRIPT: readonly (readonly [
  T.AnyCommand,
  readonly number[],
  Readonly<Record<string, unknown>>,
  isTold?: true,
])[] = [
  [T.PcrExtend, [3], { digests }, true],
  [T.PcrExtend, [NULL], { digests }, true],
  [T.PcrExtend, [17], { digests }],
  [T.PcrReset, [3], {}],
  [T.PcrReset, [16], {}, true],
  [T.PcrEvent, [4], { eventData: text('event') }],
  [T.PcrRead, [], { pcrSelectionIn: bank([0xff, 0, 0]) }],
  [T.CreatePrimary, [OWNER], creation(ECC(0x30472, true))],
  [T.CreatePrimary, [ENDORSEMENT], creation(ECC(0x50472, false))],
  [T.CreatePrimary, [OWNER], creation(ECC(0x40472, true))],
  [T.CreatePrimary, [OWNER], creation(ECC(0x30072, false))],
  [T.CreatePrimary, [OWNER], creation(ECC(0x30002, true))],
  [T.CreatePrimary, [OWNER], creation(SEALED(0x472))],
  [T.Create, [0x80000000], creation(SEALED(0x452), text('sealed'))],
  [T.Create, [0x80000000], creation(SEALED(0x472), text('sealed'))],
  [T.Create, [0x80000001], creation(SEALED(0x452), text('sealed'))],
  [T.ReadPublic, [0x80000002], {}],
  [T.Unseal, [0x80000000], {}],
  [T.Quote, [0x80000001], { qualifyingData: NONE, inScheme: noScheme, PCRselect: bank([1, 0, 0]) }],
  [T.Quote, [0x80000000], { qualifyingData: NONE, inScheme: noScheme, PCRselect: bank([1, 0, 0]) }],
  [T.Certify, [0x80000000, 0x80000001], { qualifyingData: NONE, inScheme: noScheme }],
  [T.Certify, [0x80000000, 0x80000000], { qualifyingData: NONE, inScheme: noScheme }],
  [T.Hash, [], { data: text('abcd'), hashAlg: T.TPM_ALG.SHA256, hierarchy: NULL }, true],
  [T.NvDefineSpace, [OWNER], { auth: NONE, publicInfo: nvPublic(0x02040004, 8) }, true],
  [T.NvDefineSpace, [OWNER], { auth: NONE, publicInfo: nvPublic(0x02040004, 8) }],
  [T.NvDefineSpace, [OWNER], { auth: NONE, publicInfo: nvPublic(0x00000000, 8) }],
  [T.NvRead, [0x01500009, 0x01500009], { size: 8, offset: 0 }],
  [T.NvWrite, [0x01500009, 0x01500009], { data: text('ab'), offset: 2 }, true],
  [T.NvWrite, [0x01500009, 0x01500009], { data: text('abcdefghi'), offset: 0 }],
  [T.NvWrite, [OWNER, 0x01500009], { data: text('a'), offset: 0 }],
  [T.NvIncrement, [0x01500009, 0x01500009], {}],
  [T.NvRead, [0x01500009, 0x01500009], { size: 8, offset: 0 }, true],
  [T.NvRead, [0x01500009, 0x01500009], { size: 8, offset: 1 }],
  [T.NvRead, [0x01500009, 0x01500009], { size: 1, offset: 9 }],
  [T.NvReadPublic, [0x01500009], {}, true],
  [T.NvUndefineSpace, [OWNER, 0x01500009], {}, true],
  [T.NvReadPublic, [0x01500009], {}],
  [T.StartAuthSession, [NULL, NULL], session],
  [T.PolicyPcr, [P], { pcrDigest: NONE, pcrs: bank([0, 0, 1]) }, true],
  [T.PolicyPcr, [P], { pcrDigest: sha256('other'), pcrs: bank([0, 0, 1]) }],
  [T.PolicyCommandCode, [P], { code: T.TPM_CC.Unseal }, true],
  [T.PolicyCommandCode, [P], { code: T.TPM_CC.Sign }],
  [T.PolicyAuthValue, [P], {}, true],
  [T.PolicyGetDigest, [P], {}, true],
  [T.PolicyOr, [P], { pHashList: [sha256('a'), sha256('b')] }],
  [T.PolicyRestart, [P], {}, true],
  [T.PolicySecret, [OWNER, P], { nonceTPM: NONE, cpHashA: NONE, policyRef: text('r'), expiration: 0 }],
  [T.PolicyGetDigest, [P], {}, true],
  [T.FlushContext, [], { flushHandle: P }, true],
  [T.FlushContext, [], { flushHandle: P }],
  [T.GetTestResult, [], {}],
  [T.SelfTest, [], { fullTest: true }, true],
  [T.Startup, [], { startupType: 0 }],
];

describe('beside swtpm, the micro-TPM', () => {
  let micro: MicroUtpm;
  let swtpm: RawTpm;
  const withSwtpm = itWith('swtpm');
  beforeAll(async () => {
    micro = await openMicroUtpm({ startup: true });
    swtpm = await startSwtpm().catch(() => micro);
  });
  afterAll(async () => {
    await Promise.all([micro.close(), swtpm.close()]);
  });

  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  async function theirs(command: Uint8Array): Promise<Uint8Array> {
    const response = await swtpm.send(command);
    return responseCode(response) === T.TPM_RC.RETRY ? await swtpm.send(command) : response;
  }

  withSwtpm('answers with the same codes, and the same bytes where they are determined', async () => {
    const different: string[] = [];
    for (const [command, handles, parameters, isTold] of SCRIPT) {
      const bytes = cb(command, handles, parameters);
      const [a, b] = [await micro.send(bytes), await theirs(bytes)];
      const [mine, other] = isTold ? [hex(a), hex(b)] : [responseCode(a).toString(16), responseCode(b).toString(16)];
      if (mine !== other) different.push(`${command.name} ${hex(bytes)}: ${mine} instead of ${other}`);
      if (isTold && responseCode(a) !== 0) different.push(`${command.name} ${hex(bytes)}: failed`);
    }
    expect(different).toEqual([]);
  });
});

describe('at once, the micro-TPM', () => {
  const read = cb(T.PcrRead, [], { pcrSelectionIn: T.pcrSelection({ sha256: [16] }) });
  const extend = cb(T.PcrExtend, [16], { digests: [{ hashAlg: T.TPM_ALG.SHA256, digest: sha256('once') }] });

  it('answers as it does otherwise, and keeps nothing of the command', async () => {
    const micro = await openMicroUtpm({ startup: true });
    const other = await openMicroUtpm({ startup: true });
    for (const [command, handles, parameters, isTold] of SCRIPT) {
      const bytes = cb(command, handles, parameters);
      const given = bytes.slice();
      const [mine, theirs] = [await micro.execute(given), await other.send(bytes)];
      given.fill(0xff);
      expect(responseCode(mine), command.name).toBe(responseCode(theirs));
      if (isTold) expect(mine, command.name).toEqual(theirs);
    }
    await Promise.all([micro.close(), other.close()]);
  });

  it('gives no promise where nothing is to be stored, and one where something is or another command is under way', async () => {
    let saved = 0;
    let failing = false;
    const inner = memoryState();
    const state = {
      ...inner,
      load: () => inner.load(),
      save: async (blob: Uint8Array) => {
        if (failing) throw new Error('no room');
        saved++;
        await inner.save(blob);
      },
      close: () => inner.close(),
    };
    const micro = await openMicroUtpm({ state, startup: true, now: () => 0 });
    const before = saved;
    const first = micro.execute(extend);
    expect(first).toBeInstanceOf(Promise); // since the start nothing had been done
    expect(responseCode(await first)).toBe(0);
    expect(saved).toBe(before + 1);
    expect(micro.execute(extend)).toBeInstanceOf(Uint8Array);
    const sent = micro.send(extend);
    const behind = micro.execute(read);
    expect(behind).toBeInstanceOf(Promise);
    const [, seen] = [await sent, await behind];
    expect(await micro.execute(read)).toEqual(seen);
    expect(saved).toBe(before + 1);
    failing = true;
    await expect(micro.execute(cb(T.Shutdown, [], { shutdownType: 0 }))).rejects.toThrow('stored');
    expect(responseCode(await micro.execute(extend))).toBe(T.TPM_RC.FAILURE);
    failing = false;
    await micro.close();
    expect(() => micro.execute(read)).toThrow('closed');
  });
});

describe('whatever is sent to it, the micro-TPM', () => {
  it('answers with a well-formed response and does not fail: commands cut at every byte and with bits flipped', async () => {
    const micro = await openMicroUtpm({ startup: true });
    for (const [command, handles, parameters] of SCRIPT) {
      const whole = cb(command, handles, parameters);
      const cut = Array.from({ length: whole.length }, (_, i) => resized(whole.slice(0, i)));
      const flipped = [...whole].flatMap((_, at) =>
        [0x01, 0x80].map((bit) => whole.map((byte, i) => (i === at ? byte ^ bit : byte))),
      );
      for (const bytes of [...cut, ...flipped]) assertResponse(await micro.send(bytes));
    }
    const { length } = await micro.send(cb(T.GetTestResult, [], {}));
    expect(length).toBe(16);
    await micro.close();
  });

  it('is no other with random bytes behind a header', async () => {
    const micro = await openMicroUtpm({ startup: true });
    const codes = fc.constantFrom(...Object.values(constants.TPM_CC));
    const sent = fc.tuple(fc.constantFrom(0x8001, 0x8002), codes, fc.uint8Array({ maxLength: 80 }));
    await fc.assert(
      fc.asyncProperty(sent, async ([tag, code, body]) => {
        const command = Buffer.alloc(10 + body.length);
        command.writeUInt16BE(tag);
        command.writeUInt32BE(command.length, 2);
        command.writeUInt32BE(code, 6);
        command.set(body, 10);
        assertResponse(await micro.send(command));
      }),
      { numRuns: 3000 },
    );
    await micro.close();
  });

  function assertResponse(response: Uint8Array): void {
    const view = new DataView(response.buffer, response.byteOffset, response.length);
    expect(view.getUint32(2)).toBe(response.length);
    expect(view.getUint32(6)).not.toBe(T.TPM_RC.FAILURE);
  }
});

describe('the state of the micro-TPM', () => {
  it('opens again with keys, NV data and clock, and refuses other seeds, damage and another version', async () => {
    const state = memoryState();
    const first = await openMicroUtpm({ state, seeds, startup: true });
    const tpm = new T.Tpm(first);
    const { public: area } = await T.createPrimary(tpm, { template: T.srkTemplate('ecc-p256') });
    const index = await T.nvDefine(tpm, { index: 0x01500001, size: 3 });
    await T.nvWrite(tpm, index, text('abc'));
    await tpm.close();
    const blob = state.snapshot() ?? NONE;
    await using again = new T.Tpm(await openMicroUtpm({ state: memoryState(blob), startup: true }));
    expect((await T.createPrimary(again, { template: T.srkTemplate('ecc-p256') })).public).toEqual(area);
    expect(await T.nvRead(again, 0x01500001)).toEqual(text('abc'));
    const open = (bytes: Uint8Array, others = {}): Promise<unknown> =>
      openMicroUtpm({ state: memoryState(bytes), seeds: others });
    await expect(open(blob, { owner: new Uint8Array(64) })).rejects.toMatchObject({ code: 'seed-mismatch' });
    for (let at = 0; at < blob.length; at++) {
      const damaged = blob.map((byte, i) => (i === at ? byte ^ 1 : byte));
      await expect(open(damaged)).rejects.toMatchObject({ code: at < 16 ? 'state-version' : 'state-damaged' });
      if (at % 7 === 0) await expect(open(blob.slice(0, at))).rejects.toHaveProperty('code');
    }
    const whole = memoryState();
    await (await openUtpm({ state: whole })).close();
    await expect(open(whole.snapshot() ?? NONE)).rejects.toMatchObject({ code: 'state-version' });
  });

  it('is kept in a directory, locked and durable', async () => {
    const path = mkdtempSync(join(tmpdir(), 'utpm-micro-'));
    onTestFinished(() => rmSync(path, { recursive: true }));
    const write = async (bytes: Uint8Array): Promise<void> => {
      await using tpm = await client({ state: directoryState(path) });
      const found = await T.listHandles(tpm, 'nv');
      const index =
        found.length > 0 ? await T.openNv(tpm, 0x01500001) : await T.nvDefine(tpm, { index: 0x01500001, size: 4 });
      await T.nvWrite(tpm, index, bytes);
    };
    for (const value of ['aaaa', 'bbbb', 'cccc']) await write(text(value));
    await using tpm = await client({ state: directoryState(path) });
    expect(await T.nvRead(tpm, 0x01500001)).toEqual(text('cccc'));
    await expect(openOnNode({ state: directoryState(path) })).rejects.toMatchObject({ code: 'state-locked' });
  });

  it('is small: 2,000 lines without comments, of which the shared files are part, and no package but @noble', async () => {
    const entry = join(import.meta.dirname, '../src/micro.ts');
    const { outputFiles, metafile } = await build({
      entryPoints: [entry],
      bundle: true,
      format: 'esm',
      platform: 'browser',
      legalComments: 'none',
      write: false,
      metafile: true,
    });
    const parts = (outputFiles[0]?.text ?? '').split(/^\/\/ (?=.*\/src\/.*\.ts$|.*node_modules\/)/m);
    const own = parts.filter((part) => !part.slice(0, 300).split('\n')[0]?.includes('node_modules'));
    const lines = own.flatMap((part) => part.split('\n').slice(1)).filter((line) => line.trim() !== '').length;
    expect(lines).toBeGreaterThan(1000);
    expect(lines).toBeLessThan(2000);
    const foreign = Object.keys(metafile.inputs).filter((path) => !/packages\/utpm\/src\/|@noble\//.test(path));
    expect(foreign).toEqual([]);
  });

  it('fails where it cannot be stored, and answers nothing that was not', async () => {
    const state = { ...memoryState(), save: async () => Promise.reject(new Error('full')) };
    await expect(openMicroUtpm({ state })).rejects.toThrow('full');
  });
});
