/** The isolate's use of the platform TPM: the master secret and the history summaries, in NV indexes (TPM 2.0 Part 3, 31). */
import {
  ContextLoad,
  ContextSave,
  createPrimary,
  type Entity,
  FlushContext,
  NvDefineSpace,
  NvExtend,
  NvRead,
  NvReadPublic,
  NvUndefineSpace,
  NvWrite,
  nvNameOf,
  PcrEvent,
  PolicyPcr,
  pcrSelection,
  readPcrs,
  type Session,
  type SessionAttributes,
  type SessionUse,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CC,
  TPM_NT,
  TPM_RC,
  TPM_RH,
  TPMA_NV,
  Tpm,
  TpmError,
  TpmlPcrSelection,
  type TpmObject,
  type TpmsContext,
  TpmsNvPublic,
  type TpmTransport,
  type TpmtPublic,
} from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { encode, u32 } from '@casemate/wire';
import { equal, sha256 } from './digest.js';
import { TrustvisorError } from './error.js';

/** How the platform TPM is used. */
export interface PlatformOptions {
  /** PCRs of the SHA-256 bank to which the master secret is bound. */
  readonly pcrs: readonly number[];
  /** The first NV index; the master secret lies in it. */
  readonly nvBase: number;
  /** Authorization value of the owner hierarchy; it is proved, and never sent. */
  readonly ownerAuth: Uint8Array;
  /** The Name that the storage root key must have, or empty. */
  readonly storageKeyName: Uint8Array;
}

/** An index that is only ever extended: its place, who may use it, and a tag that says whose it is. */
export interface ExtendIndex {
  /** Counted from the first NV index. */
  readonly slot: number;
  /** Its authorization value, which the application does not know. */
  readonly auth: Uint8Array;
  /** 32 bytes, public; stands where a policy would, and no policy has this digest. */
  readonly tag: Uint8Array;
  /** Kept in the TPM's memory (TPMA_NV_ORDERLY): it does not wear out, and a TPM Reset leaves it as if never written (Part 1, 37). */
  readonly isVolatile?: boolean;
}

/** The slots: the master secret, the registry of histories, the histories, and what some of them keep in the TPM's memory. */
export const SLOTS = { master: 0, registry: 1, firstHistory: 2, histories: 64, firstVolatile: 66 } as const;

const MASTER_SIZE = 32;
const DIGEST_SIZE = 32;

/** What is at an index: nothing, an index of this tag or policy (written to or not), or something else. */
export type SlotState = 'absent' | 'defined' | 'written' | 'foreign';

/**
 * Sessions with the platform TPM; the application that forwards the bytes sees ciphertext and cannot change it unseen.
 * Each step opens its session and ends it, so that nothing of ours stays in the TPM between steps.
 */
export class PlatformTpm {
  readonly #tpm: Tpm;
  readonly #options: PlatformOptions;
  #storageKey: StorageKey | undefined;

  /** Nothing is sent before the first use. */
  constructor(transport: TpmTransport, options: PlatformOptions) {
    this.#tpm = new Tpm(transport, { crypto: nodeCrypto });
    this.#options = options;
  }

  /** What is at the index of the master secret, as far as the selected PCRs have the values of now. */
  async masterState(): Promise<SlotState> {
    return this.#step('look at the master secret', async (session) => {
      const expected = await this.#masterPublic(session);
      const found = await this.#readPublic(SLOTS.master);
      const state = stateOf(found, expected);
      // Never written to, it holds nothing to lose, whatever values the PCRs had when somebody died there.
      const isUnfinished = found !== undefined && samePublic({ ...found, authPolicy: expected.authPolicy }, expected);
      return state === 'foreign' && isUnfinished ? 'defined' : state;
    });
  }

  /**
   * Defines the index of the master secret, which one alone can do, calls `ready` and writes the secret; nobody can write to it
   * again, or read it in another state. Gives false, and has done nothing, where somebody else defined it meanwhile.
   */
  async createMaster(secret: Uint8Array, ready: () => Promise<void> = async () => undefined): Promise<boolean> {
    const what = 'create the master secret';
    const auth = nodeCrypto.random(DIGEST_SIZE);
    try {
      const nvPublic = await this.#step(what, (session) => this.#defineMaster(session, auth));
      if (nvPublic === undefined) return false;
      await ready();
      await this.#step(what, async (session) => {
        const index = entity(nvPublic, auth, session.use({ decrypt: true }));
        await this.#tpm.execute(NvWrite, { authHandle: index, nvIndex: index, data: secret, offset: 0 });
      });
      return true;
    } finally {
      // The only authorization for writing is forgotten here.
      auth.fill(0);
    }
  }

  /** Removes an index of the master secret that was never written to. One that was has another Name, and is refused. */
  async abandonMaster(): Promise<void> {
    await this.#step('remove an unfinished master secret', async (session) => {
      const nvPublic = await this.#masterPublic(session);
      const { authPolicy = nvPublic.authPolicy } = (await this.#readPublic(SLOTS.master)) ?? {};
      const nvIndex = { handle: nvPublic.nvIndex, name: nvNameOf({ ...nvPublic, authPolicy }) };
      await this.#tpm.execute(NvUndefineSpace, { authHandle: this.#owner(session), nvIndex });
    });
  }

  /** Reads the master secret under its PCR policy. Throws {@link TrustvisorError} with code `refused` where the PCRs differ. */
  async readMaster(): Promise<Uint8Array> {
    return this.#step('read the master secret', async (session) => {
      const nvPublic = written(await this.#masterPublic(session));
      await using policy = await this.#salted('policy');
      const pcrs = this.#selection();
      await this.#tpm.execute(PolicyPcr, { policySession: policy.handle, pcrDigest: new Uint8Array(0), pcrs });
      const index = entity(nvPublic, new Uint8Array(0), policy);
      const request = { authHandle: index, nvIndex: index, size: MASTER_SIZE, offset: 0 };
      // Encryption is another session's work: one that authorises would mix in the index's value, which is forgotten.
      return (await this.#tpm.execute(NvRead, request, { sessions: [session.use({ encrypt: true })] })).data;
    });
  }

  /** What is at the slot of an extend index. */
  async extendState(index: ExtendIndex): Promise<SlotState> {
    return this.#guard('look at a history', async () =>
      stateOf(await this.#readPublic(index.slot), this.#extendPublic(index)),
    );
  }

  /** Defines an extend index and extends it once, from 32 zero bytes. */
  async createExtend(index: ExtendIndex, data: Uint8Array): Promise<void> {
    await this.#step('create a history', async (session) => {
      const nvPublic = this.#extendPublic(index);
      await this.#define(session, nvPublic, index.auth);
      await this.#extend(entity(nvPublic, index.auth, session.use({ decrypt: true })), data);
    });
  }

  /** Defines an extend index. */
  async defineExtend(index: ExtendIndex): Promise<void> {
    await this.#step('create a history', (session) => this.#define(session, this.#extendPublic(index), index.auth));
  }

  /** Extends an index that has not been written to, from 32 zero bytes. */
  async beginExtend(index: ExtendIndex, data: Uint8Array): Promise<void> {
    await this.#step('begin a history', (session) =>
      this.#extend(entity(this.#extendPublic(index), index.auth, session.use({ decrypt: true })), data),
    );
  }

  /**
   * Where the index holds `from`: calls `ready`, and then index = SHA-256(index || data), in one command that nothing can
   * come between. Gives what the index holds at the end, which is something else where somebody else extended it too, or
   * `undefined` where it did not hold `from`. A `witness` is read after that, and must hold what it is said to hold.
   */
  async extend(
    index: ExtendIndex,
    from: Uint8Array,
    data: Uint8Array,
    ready: () => Promise<void> = async () => undefined,
    witness?: { readonly index: ExtendIndex; readonly value: Uint8Array },
  ): Promise<Uint8Array | undefined> {
    return this.#step('extend a history', async (session) => {
      if (!equal(await this.#readExtend(session, index), from)) return undefined;
      await ready();
      const nvPublic = written(this.#extendPublic(index));
      await this.#extend(entity(nvPublic, index.auth, session.use({ decrypt: true })), data);
      const value = await this.#readExtend(session, index);
      if (witness && !equal(await this.#readExtend(session, witness.index), witness.value)) return undefined;
      return value;
    });
  }

  /** The value of an extend index. */
  async readExtend(index: ExtendIndex): Promise<Uint8Array> {
    return this.#step('read a history', (session) => this.#readExtend(session, index));
  }

  /** Extends a PCR by an event, in every bank. The session's HMAC tells whether the TPM did it. */
  async extendEvent(pcr: number, event: Uint8Array): Promise<void> {
    await this.#step('extend a PCR', async (session) => {
      const pcrHandle = { handle: pcr, authValue: new Uint8Array(0), auth: session.use({}) };
      await this.#tpm.execute(PcrEvent, { pcrHandle, eventData: event });
    });
  }

  /** Removes the index at a slot. */
  async remove(slot: number): Promise<void> {
    await this.#step('remove an index', async (session) => {
      const { nvName } = await this.#tpm.execute(NvReadPublic, { nvIndex: this.#handle(slot) });
      const nvIndex = { handle: this.#handle(slot), name: nvName };
      await this.#tpm.execute(NvUndefineSpace, { authHandle: this.#owner(session), nvIndex });
    });
  }

  #handle(slot: number): number {
    return this.#options.nvBase + slot;
  }

  #selection(): TpmlPcrSelection {
    return this.#options.pcrs.length === 0 ? [] : pcrSelection({ sha256: this.#options.pcrs });
  }

  async #masterPublic(session: Session): Promise<TpmsNvPublic> {
    return {
      nvIndex: this.#handle(SLOTS.master),
      nameAlg: TPM_ALG.SHA256,
      attributes: TPMA_NV.AUTHWRITE | TPMA_NV.POLICYREAD | TPMA_NV.NO_DA,
      authPolicy: await this.#pcrPolicy(session),
      dataSize: MASTER_SIZE,
    };
  }

  /** PolicyPCR (Part 3, 23.7) over the values of now, read in a session, so that the forwarder cannot make them up. */
  async #pcrPolicy(session: Session): Promise<Uint8Array> {
    const { pcrs } = this.#options;
    const sessions = [session.use({ audit: true })];
    const values = pcrs.length === 0 ? {} : ((await readPcrs(this.#tpm, { sha256: pcrs }, { sessions })).sha256 ?? {});
    const ordered = [...pcrs].sort((a, b) => a - b).map((index) => values[index] ?? new Uint8Array(0));
    const selection = encode(TpmlPcrSelection, this.#selection());
    return sha256(new Uint8Array(DIGEST_SIZE), encode(u32, TPM_CC.PolicyPCR), selection, sha256(...ordered));
  }

  async #defineMaster(session: Session, auth: Uint8Array): Promise<TpmsNvPublic | undefined> {
    const nvPublic = await this.#masterPublic(session);
    try {
      await this.#define(session, nvPublic, auth);
      return nvPublic;
    } catch (error) {
      if (isResponse(error, TPM_RC.NV_DEFINED)) return undefined;
      throw error;
    }
  }

  #extendPublic({ slot, tag, isVolatile }: ExtendIndex): TpmsNvPublic {
    const attributes = TPMA_NV.AUTHWRITE | TPMA_NV.AUTHREAD | TPMA_NV.NO_DA | (TPM_NT.EXTEND << 4);
    return {
      nvIndex: this.#handle(slot),
      nameAlg: TPM_ALG.SHA256,
      attributes: isVolatile ? attributes | TPMA_NV.ORDERLY : attributes,
      authPolicy: tag,
      dataSize: DIGEST_SIZE,
    };
  }

  async #readPublic(slot: number): Promise<TpmsNvPublic | undefined> {
    try {
      return (await this.#tpm.execute(NvReadPublic, { nvIndex: this.#handle(slot) })).nvPublic;
    } catch (error) {
      if (isResponse(error, TPM_RC.HANDLE)) return undefined;
      throw error;
    }
  }

  async #define(session: Session, publicInfo: TpmsNvPublic, auth: Uint8Array): Promise<void> {
    await this.#tpm.execute(NvDefineSpace, { authHandle: this.#owner(session, { decrypt: true }), auth, publicInfo });
  }

  async #extend(index: Entity, data: Uint8Array): Promise<void> {
    await this.#tpm.execute(NvExtend, { authHandle: index, nvIndex: index, data });
  }

  async #readExtend(session: Session, index: ExtendIndex): Promise<Uint8Array> {
    const from = entity(written(this.#extendPublic(index)), index.auth, session.use({ encrypt: true }));
    return (await this.#tpm.execute(NvRead, { authHandle: from, nvIndex: from, size: DIGEST_SIZE, offset: 0 })).data;
  }

  #owner(session: Session, attributes: SessionAttributes = {}): Entity {
    return { handle: TPM_RH.OWNER, authValue: this.#options.ownerAuth, auth: session.use(attributes) };
  }

  async #step<T>(what: string, run: (session: Session) => Promise<T>): Promise<T> {
    return this.#guard(what, async () => {
      await using session = await this.#salted('hmac');
      return await run(session);
    });
  }

  /** Starts a session whose salt only the storage root key can decrypt. */
  async #salted(type: 'hmac' | 'policy'): Promise<Session> {
    const { handle, key } = await this.#loadStorageKey();
    try {
      const salt = { handle, public: key.public };
      return await startSession(this.#tpm, { type, salt, cipher: { algorithm: 'aes', keyBits: 128 } });
    } finally {
      await this.#tpm.execute(FlushContext, { flushHandle: handle });
    }
  }

  /** The storage root key takes a TPM long to derive: it is derived once, and loaded from its saved context after that. */
  async #loadStorageKey(): Promise<{ readonly handle: number; readonly key: StorageKey }> {
    if (this.#storageKey !== undefined) {
      const { context } = this.#storageKey;
      const loaded = await this.#tpm.execute(ContextLoad, { context }).catch(ifRefused);
      if (loaded !== undefined) return { handle: loaded.loadedHandle, key: this.#storageKey };
    }
    const made = await this.#makeStorageKey();
    try {
      this.#assertStorageKey(made.name);
      const { context } = await this.#tpm.execute(ContextSave, { saveHandle: made.handle });
      this.#storageKey = { public: made.public, context };
    } catch (error) {
      await made.flush();
      throw error;
    }
    return { handle: made.handle, key: this.#storageKey };
  }

  /** There is no key yet that a salt could be encrypted to: the owner's value itself is the secret of this one session. */
  async #makeStorageKey(): Promise<TpmObject> {
    const { ownerAuth } = this.#options;
    const [hierarchy, template] = ['owner', srkTemplate('ecc-p256')] as const;
    if (ownerAuth.length === 0) return createPrimary(this.#tpm, { hierarchy, template });
    const bind = { handle: TPM_RH.OWNER, authValue: ownerAuth };
    await using session = await startSession(this.#tpm, { type: 'hmac', bind });
    try {
      return await createPrimary(this.#tpm, { hierarchy, template, hierarchyAuth: session.use({}) });
    } catch (error) {
      throw isAuthFailure(error) ? new TrustvisorError('refused', WRONG_OWNER, { cause: error }) : error;
    }
  }

  #assertStorageKey(name: Uint8Array): void {
    const { storageKeyName } = this.#options;
    if (storageKeyName.length === 0 || equal(name, storageKeyName)) return;
    throw new TrustvisorError('refused', 'open platform TPM: its storage root key is not the one that was named');
  }

  async #guard<T>(what: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (error instanceof TrustvisorError) throw error;
      if (isAuthFailure(error)) {
        throw new TrustvisorError('replay', `${what}: its NV index was made by somebody else`, { cause: error });
      }
      if (isResponse(error, TPM_RC.POLICY_FAIL)) throw new TrustvisorError('refused', WRONG_PCRS, { cause: error });
      const problem = error instanceof Error ? error.message : String(error);
      throw new TrustvisorError('tpm', `${what}: ${problem}`, { cause: error });
    }
  }
}

interface StorageKey {
  readonly public: TpmtPublic;
  readonly context: TpmsContext;
}

/** A saved context is worth nothing after the TPM was reset. */
function ifRefused(error: unknown): undefined {
  if (error instanceof TpmError && error.code === 'response') return undefined;
  throw error;
}

/** The Name is computed here from what the index must be: a TPM with another index at that place refuses the HMAC. */
function entity(nvPublic: TpmsNvPublic, authValue: Uint8Array, auth: SessionUse): Entity {
  return { handle: nvPublic.nvIndex, name: nvNameOf(nvPublic), authValue, auth };
}

const WRONG_PCRS = 'read the master secret: the PCRs are not those that it was bound to when it was made';

const WRONG_OWNER = "open platform TPM: the owner's authorization is not the one that was given";

function isAuthFailure(error: unknown): boolean {
  return isResponse(error, TPM_RC.AUTH_FAIL) || isResponse(error, TPM_RC.BAD_AUTH);
}

function written(nvPublic: TpmsNvPublic): TpmsNvPublic {
  return { ...nvPublic, attributes: nvPublic.attributes | TPMA_NV.WRITTEN };
}

function stateOf(found: TpmsNvPublic | undefined, expected: TpmsNvPublic): SlotState {
  if (found === undefined) return 'absent';
  if (samePublic(found, expected)) return 'defined';
  return samePublic(found, written(expected)) ? 'written' : 'foreign';
}

function samePublic(a: TpmsNvPublic, b: TpmsNvPublic): boolean {
  return equal(encode(TpmsNvPublic, a), encode(TpmsNvPublic, b));
}

function isResponse(error: unknown, code: number): boolean {
  return error instanceof TpmError && error.response?.number === code;
}
