/** What a power cycle, TPM2_Clear and TPM2_ChangePPS end and what they leave: swtpm does the same where it is not said otherwise. */
import * as T from '@casemate/tpm';
import { describe, expect, it } from 'vitest';
import { memoryState, openUtpm, type Utpm } from '../src/index-node.js';
import { decodeResponse } from './conversation.js';
import { commandBytes as cb, type RawAuth, responseCode } from './raw.js';

const NONE = new Uint8Array(0);
const { OWNER, ENDORSEMENT, PLATFORM, LOCKOUT, NULL } = T.TPM_RH;
const { SHA256 } = T.TPM_ALG;
const { OWNERREAD, OWNERWRITE, POLICYREAD, CLEAR_STCLEAR, ORDERLY, NO_DA } = T.TPMA_NV;
const NO_SCHEME = { scheme: T.TPM_ALG.NULL, details: undefined } as const;
const STORAGE = {
  type: T.TPM_ALG.ECC,
  nameAlg: SHA256,
  objectAttributes: 0x30472,
  authPolicy: NONE,
  parameters: {
    symmetric: { algorithm: T.TPM_ALG.AES, keyBits: 128, mode: T.TPM_ALG.CFB },
    scheme: NO_SCHEME,
    curveID: T.TPM_ECC_CURVE.NIST_P256,
    kdf: NO_SCHEME,
  },
  unique: { x: NONE, y: NONE },
} as const;

interface Sent {
  readonly locality?: number;
  readonly auths?: readonly RawAuth[];
}

async function code(
  tpm: Utpm,
  command: T.AnyCommand,
  handles: readonly number[],
  parameters = {},
  sent: Sent = {},
): Promise<number> {
  const options = sent.locality === undefined ? {} : { locality: sent.locality };
  return responseCode(await tpm.send(cb(command, handles, parameters, sent.auths), options));
}

/** Runs a command that must succeed; the handle and the fields of its response. */
async function run(
  tpm: Utpm,
  command: T.AnyCommand,
  handles: readonly number[],
  parameters: Readonly<Record<string, unknown>> = {},
): Promise<ReturnType<typeof decodeResponse>> {
  const response = await tpm.send(cb(command, handles, parameters));
  expect(responseCode(response), command.name).toBe(0);
  return decodeResponse(command, response);
}

const started = (): Promise<Utpm> => openUtpm({ startup: true });

async function define(tpm: Utpm, nvIndex: number, attributes: number, authPolicy: Uint8Array = NONE): Promise<void> {
  const publicInfo = { nvIndex, nameAlg: SHA256, attributes, authPolicy, dataSize: 8 };
  await run(tpm, T.NvDefineSpace, [OWNER], { auth: NONE, publicInfo });
}

async function read(tpm: Utpm, nvIndex: number): Promise<unknown> {
  return (await run(tpm, T.NvRead, [OWNER, nvIndex], { size: 8, offset: 0 })).values.data;
}

async function startPolicy(tpm: Utpm, sessionType: number = T.TPM_SE.POLICY): Promise<number> {
  const symmetric = { algorithm: T.TPM_ALG.NULL };
  const request = { nonceCaller: new Uint8Array(16), encryptedSalt: NONE, sessionType, symmetric, authHash: SHA256 };
  return (await run(tpm, T.StartAuthSession, [NULL, NULL], request)).handle;
}

/** Shuts down, and starts again after a power cycle. */
async function restart(tpm: Utpm, shutdownType: number, startupType: number): Promise<void> {
  await run(tpm, T.Shutdown, [], { shutdownType });
  await tpm.powerCycle();
  await run(tpm, T.Startup, [], { startupType });
}

const FIRST_PCR = [{ hash: SHA256, pcrSelect: Uint8Array.of(1, 0, 0) }];

async function extend(tpm: Utpm, value: number): Promise<void> {
  await run(tpm, T.PcrExtend, [0], { digests: [{ hashAlg: SHA256, digest: new Uint8Array(32).fill(value) }] });
}

describe('a TPM that starts', () => {
  it('lets no saved session pass a policy over PCRs that a TPM Restart has changed since', async () => {
    await using tpm = await started();
    await extend(tpm, 1);
    const trial = await startPolicy(tpm, T.TPM_SE.TRIAL);
    await run(tpm, T.PolicyPcr, [trial], { pcrDigest: NONE, pcrs: FIRST_PCR });
    const { values } = await run(tpm, T.PolicyGetDigest, [trial]);
    await define(tpm, 0x1500000, OWNERWRITE | POLICYREAD, values.policyDigest as Uint8Array);
    await run(tpm, T.NvWrite, [OWNER, 0x1500000], { data: new Uint8Array(8), offset: 0 });
    const session = await startPolicy(tpm);
    await run(tpm, T.PolicyPcr, [session], { pcrDigest: NONE, pcrs: FIRST_PCR });
    const saved = await run(tpm, T.ContextSave, [session]);
    await restart(tpm, T.TPM_SU.STATE, T.TPM_SU.CLEAR);
    // As many changes as before, but others.
    await extend(tpm, 2);
    await run(tpm, T.ContextLoad, [], saved.values);
    const auths = [{ handle: session }];
    const request = { size: 8, offset: 0 };
    expect(await code(tpm, T.NvRead, [0x1500000, 0x1500000], request, { auths })).toBe(T.TPM_RC.PCR_CHANGED);
  });

  it.each([
    [0, 3],
    [3, 0],
  ])('does not resume from another locality, which PCR 0 would not tell: %i and then %i', async (first, second) => {
    await using tpm = await openUtpm();
    const start = (startupType: number, locality: number): Promise<number> =>
      code(tpm, T.Startup, [], { startupType }, { locality });
    expect(await start(T.TPM_SU.CLEAR, first)).toBe(0);
    await run(tpm, T.Shutdown, [], { shutdownType: T.TPM_SU.STATE });
    const state = await tpm.snapshot();
    await tpm.powerCycle(state);
    await run(tpm, T.Shutdown, [], { shutdownType: T.TPM_SU.STATE });
    await tpm.powerCycle();
    expect(await start(T.TPM_SU.STATE, second)).toBe(T.TPM_RC.LOCALITY);
    await tpm.hashSequence(Uint8Array.of(1));
    expect(await start(T.TPM_SU.STATE, first)).toBe(T.TPM_RC.VALUE + 0x140);
    await tpm.powerCycle();
    expect(await start(T.TPM_SU.STATE, first)).toBe(0);
  });

  it('has PCR 0 after a resumption as it was, though the H-CRTM has measured again', async () => {
    await using tpm = await openUtpm();
    const first = async (): Promise<unknown> =>
      (await run(tpm, T.PcrRead, [], { pcrSelectionIn: FIRST_PCR })).values.pcrValues;
    await tpm.hashSequence(Uint8Array.of(1));
    await run(tpm, T.Startup, [], { startupType: T.TPM_SU.CLEAR });
    const before = await first();
    await run(tpm, T.Shutdown, [], { shutdownType: T.TPM_SU.STATE });
    await tpm.powerCycle();
    await tpm.hashSequence(Uint8Array.of(1));
    await run(tpm, T.Startup, [], { startupType: T.TPM_SU.STATE });
    expect(await first()).toEqual(before);
  });

  it('loses at a TPM Reset what an orderly index holds, and keeps it over a TPM Restart', async () => {
    await using tpm = await started();
    await define(tpm, 0x1500000, OWNERREAD | OWNERWRITE | ORDERLY);
    const data = new Uint8Array(8).fill(7);
    await run(tpm, T.NvWrite, [OWNER, 0x1500000], { data, offset: 0 });
    await restart(tpm, T.TPM_SU.STATE, T.TPM_SU.CLEAR);
    expect(await read(tpm, 0x1500000)).toEqual(data);
    await restart(tpm, T.TPM_SU.CLEAR, T.TPM_SU.CLEAR);
    const request = { size: 8, offset: 0 };
    expect(await code(tpm, T.NvRead, [OWNER, 0x1500000], request)).toBe(T.TPM_RC.NV_UNINITIALIZED);
  });

  it('does not show behind a partial write what an index held before the start that has cleared it', async () => {
    await using tpm = await started();
    for (const [nvIndex, attributes, blank] of [
      [0x1500000, CLEAR_STCLEAR, 0xff],
      [0x1500001, ORDERLY, 0],
    ] as const) {
      await define(tpm, nvIndex, OWNERREAD | OWNERWRITE | attributes);
      await run(tpm, T.NvWrite, [OWNER, nvIndex], { data: new Uint8Array(8).fill(7), offset: 0 });
      await tpm.powerCycle();
      await run(tpm, T.Startup, [], { startupType: T.TPM_SU.CLEAR });
      await run(tpm, T.NvWrite, [OWNER, nvIndex], { data: Uint8Array.of(1), offset: 0 });
      expect(await read(tpm, nvIndex)).toEqual(new Uint8Array(8).fill(blank).fill(1, 0, 1));
    }
  });

  it('does not resume from a digest of audited commands that lacks one of them, other than swtpm', async () => {
    await using tpm = await started();
    const setList = [T.TPM_CC.PCR_Read];
    await run(tpm, T.SetCommandCodeAuditStatus, [PLATFORM], { auditAlg: T.TPM_ALG.NULL, setList, clearList: [] });
    await run(tpm, T.Shutdown, [], { shutdownType: T.TPM_SU.STATE });
    await run(tpm, T.PcrRead, [], { pcrSelectionIn: FIRST_PCR });
    await tpm.powerCycle();
    const startupType = T.TPM_SU.STATE;
    expect(await code(tpm, T.Startup, [], { startupType })).toBe(T.TPM_RC.VALUE + 0x140);
  });

  it('tells no earlier Clock than was told after the shutdown, other than swtpm', async () => {
    let time = 0;
    const state = memoryState();
    const clock = async (tpm: Utpm): Promise<unknown> => (await run(tpm, T.ReadClock, [])).values.currentTime;
    const first = await openUtpm({ state, startup: true, now: () => time });
    await run(first, T.Shutdown, [], { shutdownType: T.TPM_SU.CLEAR });
    time = 1000;
    expect(await clock(first)).toMatchObject({ clockInfo: { clock: 1000n } });
    // The process ends without a word.
    await using second = await openUtpm({ state: memoryState(state.snapshot()), startup: true, now: () => time });
    expect(await clock(second)).toMatchObject({ clockInfo: { clock: 1000n, safe: true } });
  });
});

describe('a TPM that is cleared', () => {
  it('never lets a counter have a value that one has had before', async () => {
    await using tpm = await started();
    const attributes = OWNERREAD | OWNERWRITE | (T.TPM_NT.COUNTER << 4);
    await define(tpm, 0x1500000, attributes);
    for (let i = 0; i < 4; i++) await run(tpm, T.NvIncrement, [OWNER, 0x1500000]);
    const before = new DataView(((await read(tpm, 0x1500000)) as Uint8Array).buffer).getBigUint64(0);
    await run(tpm, T.Clear, [LOCKOUT]);
    await define(tpm, 0x1500000, attributes);
    await run(tpm, T.NvIncrement, [OWNER, 0x1500000]);
    const after = new DataView(((await read(tpm, 0x1500000)) as Uint8Array).buffer).getBigUint64(0);
    expect(after).toBe(before + 1n);
  });

  it('does not load a context that a TPM Restart has ended, other than swtpm', async () => {
    await using tpm = await started();
    const inPublic = { ...STORAGE, objectAttributes: STORAGE.objectAttributes | T.TPMA_OBJECT.stClear };
    const request = { inSensitive: { userAuth: NONE, data: NONE }, inPublic, outsideInfo: NONE, creationPCR: [] };
    const { handle } = await run(tpm, T.CreatePrimary, [PLATFORM], request);
    const { values } = await run(tpm, T.ContextSave, [handle]);
    await restart(tpm, T.TPM_SU.STATE, T.TPM_SU.CLEAR);
    const ended = T.TPM_RC.INTEGRITY + 0x140;
    expect(await code(tpm, T.ContextLoad, [], values)).toBe(ended);
    await run(tpm, T.Clear, [PLATFORM]);
    expect(await code(tpm, T.ContextLoad, [], values)).toBe(ended);
  });

  it('can be carried on elsewhere, though its Clock is behind its Time', async () => {
    let time = 0;
    await using tpm = await openUtpm({ startup: true, now: () => time });
    time = 5000;
    await run(tpm, T.Clear, [LOCKOUT]);
    time = 6000;
    const snapshot = await tpm.snapshot();
    await using other = await openUtpm({ now: () => time });
    await other.powerCycle(snapshot);
    const { values } = await run(other, T.ReadClock, []);
    expect(values.currentTime).toMatchObject({ time: 6000n, clockInfo: { clock: 1000n } });
  });
});

describe('a TPM', () => {
  it('keeps Clock to the millisecond however late it is', async () => {
    await using tpm = await openUtpm({ startup: true, now: () => 0 });
    const newTime = (1n << 62n) + 1027n;
    await run(tpm, T.ClockSet, [OWNER], { newTime });
    const { values } = await run(tpm, T.ReadClock, []);
    expect(values.currentTime).toMatchObject({ clockInfo: { clock: newTime } });
  });

  it('ends the policies of PCRs with the seed of the platform that set them', async () => {
    await using tpm = await started();
    const authPolicy = new Uint8Array(32);
    await run(tpm, T.PcrSetAuthPolicy, [PLATFORM], { authPolicy, hashAlg: SHA256, pcrNum: 20 });
    const digests = [{ hashAlg: SHA256, digest: new Uint8Array(32) }];
    const sent = { locality: 2 };
    expect(await code(tpm, T.PcrExtend, [20], { digests }, sent)).toBe(T.TPM_RC.AUTH_TYPE);
    await run(tpm, T.ChangePps, [PLATFORM]);
    expect(await code(tpm, T.PcrExtend, [20], { digests }, sent)).toBe(0);
  });

  it('tells what all banks need that PCR_Allocate leaves, and leaves one at least', async () => {
    await using tpm = await started();
    const none = (hash: number) => ({ hash, pcrSelect: new Uint8Array(3) });
    const { values } = await run(tpm, T.PcrAllocate, [PLATFORM], { pcrAllocation: [none(T.TPM_ALG.SHA1)] });
    expect(values).toMatchObject({ allocationSuccess: true, sizeNeeded: 24 * (32 + 48 + 64) });
    const rest = [SHA256, T.TPM_ALG.SHA384, T.TPM_ALG.SHA512].map(none);
    expect(await code(tpm, T.PcrAllocate, [PLATFORM], { pcrAllocation: rest })).toBe(T.TPM_RC.PCR);
  });

  it('takes a time limit in a session that was used after a resumption, and not before', async () => {
    await using tpm = await started();
    const trial = await startPolicy(tpm, T.TPM_SE.TRIAL);
    const locks = { code: T.TPM_CC.NV_GlobalWriteLock };
    await run(tpm, T.PolicyCommandCode, [trial], locks);
    const { values } = await run(tpm, T.PolicyGetDigest, [trial]);
    await run(tpm, T.SetPrimaryPolicy, [OWNER], { authPolicy: values.policyDigest, hashAlg: SHA256 });
    const session = await startPolicy(tpm);
    const saved = await run(tpm, T.ContextSave, [session]);
    await restart(tpm, T.TPM_SU.STATE, T.TPM_SU.STATE);
    await run(tpm, T.ContextLoad, [], saved.values);
    const limited = { nonceTPM: NONE, cpHashA: NONE, policyRef: NONE, expiration: 100 };
    expect(await code(tpm, T.PolicySecret, [OWNER, session], limited)).toBe(T.TPM_RC.EXPIRED + 0x440);
    await run(tpm, T.PolicyCommandCode, [session], locks);
    const auths = [{ handle: session }];
    expect(await code(tpm, T.NvGlobalWriteLock, [OWNER], {}, { auths })).toBe(0);
    expect(await code(tpm, T.PolicySecret, [OWNER, session], limited)).toBe(0);
  });

  it('has no persistent object of any hierarchy in the room of an owner who is switched off', async () => {
    await using tpm = await started();
    const request = {
      inSensitive: { userAuth: NONE, data: NONE },
      inPublic: STORAGE,
      outsideInfo: NONE,
      creationPCR: [],
    };
    const { handle } = await run(tpm, T.CreatePrimary, [ENDORSEMENT], request);
    await run(tpm, T.EvictControl, [OWNER, handle], { persistentHandle: 0x81000001 });
    await run(tpm, T.HierarchyControl, [OWNER], { enable: OWNER, state: false });
    expect(await code(tpm, T.ReadPublic, [0x81000001])).toBe(T.TPM_RC.HANDLE + 0x100);
    await run(tpm, T.HierarchyControl, [PLATFORM], { enable: OWNER, state: true });
    expect(await code(tpm, T.ReadPublic, [0x81000001])).toBe(0);
  });

  it('takes a policy over a template for the commands that have one, and for no other', async () => {
    await using tpm = await started();
    const templateHash = new Uint8Array(32).fill(5);
    const trial = await startPolicy(tpm, T.TPM_SE.TRIAL);
    await run(tpm, T.PolicyTemplate, [trial], { templateHash });
    const { values } = await run(tpm, T.PolicyGetDigest, [trial]);
    await run(tpm, T.SetPrimaryPolicy, [OWNER], { authPolicy: values.policyDigest, hashAlg: SHA256 });
    const session = await startPolicy(tpm);
    await run(tpm, T.PolicyTemplate, [session], { templateHash });
    const auths = [{ handle: session }];
    const newAuth = Uint8Array.of(1);
    expect(await code(tpm, T.HierarchyChangeAuth, [OWNER], { newAuth }, { auths })).toBe(T.TPM_RC.POLICY_FAIL + 0x900);
  });

  it('lets the PIN of an index be given whether or not the index may be read by it', async () => {
    await using tpm = await started();
    const secret = { nonceTPM: NONE, cpHashA: NONE, policyRef: NONE, expiration: 0 };
    for (const kind of [T.TPM_NT.PIN_PASS, T.TPM_NT.PIN_FAIL]) {
      const nvIndex = 0x1500000 + kind;
      await define(tpm, nvIndex, OWNERREAD | OWNERWRITE | NO_DA | (kind << 4));
      const session = await startPolicy(tpm);
      expect(await code(tpm, T.PolicySecret, [nvIndex, session], secret)).toBe(T.TPM_RC.AUTH_UNAVAILABLE);
      await run(tpm, T.NvWrite, [OWNER, nvIndex], { data: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 2), offset: 0 });
      await run(tpm, T.PolicySecret, [nvIndex, session], secret);
      const wrong = { auths: [{ hmac: Uint8Array.of(1) }] };
      expect(await code(tpm, T.PolicySecret, [nvIndex, session], secret, wrong)).toBe(T.TPM_RC.BAD_AUTH + 0x900);
      // The index counts the right uses or the wrong ones: either way it is one by now.
      expect(await read(tpm, nvIndex)).toEqual(Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 2));
    }
  });
});
