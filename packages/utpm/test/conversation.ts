/**
 * Random TPM commands, the same to two TPMs: each is made from a seed and from what the two have answered so far, well-formed or mutated.
 * What is random inside of the TPMs (keys, tickets, contexts, nonces) is kept for each of the two.
 */
import { createHash, createHmac } from 'node:crypto';
import * as T from '@casemate/tpm';
import { encode, Reader } from '@casemate/wire';
import { curveOf } from '../src/curve.js';
import { commandBytes, type RawAuth } from './raw.js';

/** One value for ours and one for the other TPM. */
export type Pair<V> = readonly [V, V];

/** A command for both, and what its success teaches. */
export interface Step {
  readonly command: T.AnyCommand;
  readonly bytes: Pair<Uint8Array>;
  readonly isMutated: boolean;
  /** Is the response of a success the same for both TPMs? */
  readonly isDetermined: boolean;
  /** Takes in the two responses of a success. */
  learn(responses: Pair<Uint8Array>): void;
}

const NONE = new Uint8Array(0);
/** The kind of sealed data that were derived from a parent, which the two TPMs drew on their own. */
const DERIVED_DATA = 'derived data';
const { OWNER, ENDORSEMENT, PLATFORM, LOCKOUT, NULL } = T.TPM_RH;
const A = T.TPM_ALG;
const NO_SCHEME = { scheme: A.NULL, details: undefined } as const;
const NO_CIPHER = { algorithm: A.NULL, keyBits: undefined, mode: undefined } as const;
const AES_CFB = { algorithm: A.AES, keyBits: 128, mode: A.CFB } as const;
const NV_HANDLES = [0x01500001, 0x01500002, 0x01500003, 0x01c00001] as const;
const PERSISTENT = [0x81000001, 0x81000002, 0x81800001] as const;
const HASHES = [A.SHA1, A.SHA256, A.SHA384, A.SHA512] as const;
const DIGEST_SIZES: Readonly<Record<number, number>> = { [A.SHA1]: 20, [A.SHA256]: 32, [A.SHA384]: 48, [A.SHA512]: 64 };

/** A generator of numbers from a seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Values = Readonly<Record<string, unknown>>;
type Sided = Values | ((side: 0 | 1) => Values);

interface Slot {
  /** Is its public area the same in both TPMs? */
  readonly isFixed: boolean;
  readonly kind: string;
  readonly auth: Uint8Array;
}

interface SessionSlot {
  readonly kind: 'hmac' | 'policy' | 'trial';
  readonly nonce: Pair<Uint8Array>;
  /** Has nothing gone into its digest that differs? */
  isFixed: boolean;
}

interface Template {
  readonly kind: string;
  readonly area: Values;
  readonly data: Uint8Array;
}

interface Draft {
  readonly command: T.AnyCommand;
  readonly handles: readonly number[];
  readonly parameters?: Sided;
  readonly auths?: (side: 0 | 1) => readonly RawAuth[];
  readonly isDetermined?: boolean;
  readonly teach?: (fields: Pair<Values>, handle: number) => void;
}

/** Makes commands for two TPMs; `isMutating` lets it break every other one. */
export class Conversation {
  readonly #rng: () => number;
  #slots = new Map<number, Slot>();
  #sessions = new Map<number, SessionSlot>();
  #nv = new Map<number, number>();
  #loadable: {
    readonly parent: string;
    readonly blob: Pair<Values>;
    readonly isFixed: boolean;
    readonly kind: string;
  }[] = [];
  #contexts: {
    readonly blob: Pair<Values>;
    readonly slot: Slot | undefined;
    readonly session: SessionSlot | undefined;
  }[] = [];
  #creations: { readonly handle: number; readonly fields: Pair<Values> }[] = [];
  #commits: Pair<number>[] = [];
  readonly #isMutating: boolean;
  readonly #actions: readonly (() => Draft | undefined)[];

  constructor(seed: number, isMutating = true) {
    this.#rng = random(seed);
    this.#isMutating = isMutating;
    this.#actions = this.#allActions();
  }

  /** The next command. */
  next(): Step {
    for (;;) {
      const draft = this.#pick(this.#actions)();
      const step = draft && this.#step(draft);
      if (step !== undefined) return step;
    }
  }

  /** The TPMs were powered off and on, or cleared: what was loaded is gone. */
  forget(): void {
    this.#slots = new Map();
    this.#sessions = new Map();
    this.#contexts = [];
    this.#commits = [];
    this.#creations = [];
    this.#loadable = [];
  }

  /** NV indexes are gone too. */
  forgetNv(): void {
    this.#nv = new Map();
  }

  #step(draft: Draft): Step | undefined {
    const passwords = this.#passwords(draft.command, draft.handles);
    const bytes = ([0, 1] as const).map((side) => encoded(draft, side, passwords));
    const [ours, theirs] = bytes;
    if (ours === undefined || theirs === undefined) return undefined;
    const isMutated = this.#isMutating && this.#chance(0.45);
    const sent = isMutated ? this.#mutate(ours, theirs) : ([ours, theirs] as const);
    if (endsSwtpm(sent[1])) return undefined;
    return {
      command: draft.command,
      bytes: sent,
      isMutated,
      isDetermined: !isMutated && draft.isDetermined === true,
      learn: (responses) => {
        // What a mutated command has done is not known; what it made is told by the handles that are in use.
        if (isMutated) return this.#learnMutated(draft, responses, sent[0]);
        const fields = responses.map((response) => decodeResponse(draft.command, response));
        const [a, b] = fields;
        if (a && b) draft.teach?.([a.values, b.values], a.handle);
      },
    };
  }

  #learnMutated(draft: Draft, responses: Pair<Uint8Array>, sent: Uint8Array): void {
    const [first] = responses;
    // The Name of whatever key the mutation has put there went into the digest of a session.
    const code = new DataView(sent.buffer, sent.byteOffset).getUint32(6);
    if (code === T.TPM_CC.PolicySigned || code === T.TPM_CC.PolicySecret) {
      for (const session of this.#sessions.values()) session.isFixed = false;
    }
    if (draft.command.responseHandles.length === 0 || first === undefined || first.length < 14) return;
    const handle = new DataView(first.buffer, first.byteOffset).getUint32(10);
    if (handle >>> 24 === 0x80) this.#slots.set(handle, { isFixed: false, kind: 'unknown', auth: NONE });
  }

  // The right password most of the time.
  #passwords(command: T.AnyCommand, handles: readonly number[]): RawAuth[] {
    return command.handles.flatMap(({ auth }, i) => {
      if (auth === 'none') return [];
      const own = this.#slots.get(handles[i] ?? 0)?.auth ?? NONE;
      return [{ hmac: this.#chance(0.97) ? own : this.#bytes(4) }];
    });
  }

  // --- mutations -------------------------------------------------------------------------------------------------------------------

  #mutate(ours: Uint8Array, theirs: Uint8Array): Pair<Uint8Array> {
    const edit = this.#edit(ours, theirs);
    return [edit(ours), edit(theirs)];
  }

  #edit(ours: Uint8Array, theirs: Uint8Array): (bytes: Uint8Array) => Uint8Array {
    const kind = this.#int(10);
    const isSameLength = ours.length === theirs.length;
    if (kind === 0 && isSameLength) {
      const length = 10 + this.#int(ours.length - 9);
      return (bytes) => withSize(bytes.slice(0, length));
    }
    if (kind === 1) {
      const more = this.#bytes(1 + this.#int(4));
      return (bytes) => withSize(Uint8Array.from([...bytes, ...more]));
    }
    if (kind === 2) {
      const code = this.#pick(ALL_CODES);
      return (bytes) => withU32(bytes, 6, code);
    }
    if (kind === 3) {
      const handle = this.#anyHandle();
      const at = 10 + 4 * this.#int(2);
      return (bytes) => (bytes.length >= at + 4 ? withU32(bytes, at, handle) : bytes);
    }
    const at = this.#commonOffset(ours, theirs);
    if (kind === 4) {
      const value = this.#int(256);
      return (bytes) => withByte(bytes, at, () => value);
    }
    if (kind === 5) {
      const step = this.#pick([1, -1, 2, 16]);
      return (bytes) => withByte(bytes, at, (byte) => byte + step);
    }
    if (kind === 6)
      return (bytes) =>
        withByte(
          withByte(bytes, at, () => 0xff),
          at + Math.sign(at),
          () => 0xff,
        );
    if (kind === 7) return (bytes) => withByte(bytes, at, () => 0);
    const bit = 1 << this.#int(8);
    return (bytes) => withByte(bytes, at, (byte) => byte ^ bit);
  }

  // An offset where both commands have the same field: from the start, or negative, from the end.
  #commonOffset(ours: Uint8Array, theirs: Uint8Array): number {
    if (ours.length === theirs.length) return 10 + this.#int(Math.max(1, ours.length - 10));
    let prefix = 10;
    while (prefix < Math.min(ours.length, theirs.length) && ours[prefix] === theirs[prefix]) prefix++;
    return 10 + this.#int(Math.max(1, prefix - 10));
  }

  #anyHandle(): number {
    return this.#pick([
      ...[OWNER, ENDORSEMENT, PLATFORM, LOCKOUT, NULL, T.TPM_RS.PW, 0x4000000a, 0x40000000],
      ...[0, 16, 23, 24, 0x80000000, 0x80000001, 0x80000002, 0x80000003, 0x02000000, 0x03000000, 0x03000001],
      ...NV_HANDLES,
      ...PERSISTENT,
    ]);
  }

  // --- chance ----------------------------------------------------------------------------------------------------------------------

  #chance(probability: number): boolean {
    return this.#rng() < probability;
  }

  #int(limit: number): number {
    return Math.floor(this.#rng() * limit);
  }

  #pick<V>(values: readonly V[]): V {
    return values[this.#int(values.length)] as V; // callers have values
  }

  #bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#int(256));
  }

  // --- what there is -----------------------------------------------------------------------------------------------------------------

  #object(...kinds: readonly string[]): number {
    const known = [...this.#slots].filter(([, { kind }]) => kinds.length === 0 || kinds.includes(kind));
    if (known.length > 0 && this.#chance(0.93)) return this.#pick(known)[0];
    return this.#pick([0x80000000, 0x80000001, 0x80000002, ...PERSISTENT, ...[...this.#slots.keys()]]);
  }

  #isFixed(handle: number): boolean {
    return this.#slots.get(handle)?.isFixed === true;
  }

  #session(...kinds: readonly string[]): number {
    const known = [...this.#sessions].filter(([, { kind }]) => kinds.includes(kind));
    return known.length > 0 && this.#chance(0.95)
      ? this.#pick(known)[0]
      : this.#pick([0x03000000, 0x02000000, 0x03000001]);
  }

  #index(...types: readonly number[]): number {
    const known = [...this.#nv].filter(([, type]) => types.length === 0 || types.includes(type));
    return known.length > 0 && this.#chance(0.9) ? this.#pick(known)[0] : this.#pick(NV_HANDLES);
  }

  #hierarchy(): number {
    return this.#pick([OWNER, OWNER, ENDORSEMENT, PLATFORM, NULL]);
  }

  // Three names or four, and a keyUsage that most objects may have.
  #partialCertificate(): Uint8Array {
    const name = fromHex('300d310b300906035504060c025445');
    const algorithm = fromHex('300a06082a8648ce3d040302');
    const names = this.#pick([[name, name, name], [name, name, name], [algorithm, name, name, name], [name]]);
    const usage = this.#pick(['0780', '0106', '0520', '0308', '0640', '0000']);
    const contents = fromHex(`a30f300d300b0603551d0f04040302${usage}`);
    const length = names.reduce((sum, part) => sum + part.length, contents.length);
    return Uint8Array.from([0x30, length, ...names.flatMap((part) => [...part]), ...contents]);
  }

  #pcrs(): readonly unknown[] {
    const pcrSelect = Uint8Array.from([1 << this.#int(8), this.#chance(0.3) ? 1 : 0, this.#chance(0.3) ? 0x81 : 0]);
    return [{ hash: this.#pick(HASHES), pcrSelect }];
  }

  #loaded(kind: string, isFixed: boolean, auth: Uint8Array): (fields: Pair<Values>, handle: number) => void {
    return (_, handle) => void this.#slots.set(handle, { isFixed, kind, auth });
  }

  // --- templates ---------------------------------------------------------------------------------------------------------------------

  #template(): Template {
    const nameAlg = this.#pick([A.SHA256, A.SHA256, A.SHA1, A.SHA384, A.SHA512]);
    const authPolicy = this.#chance(0.15) ? duplicationPolicy(nameAlg) : NONE;
    const base = this.#pick([0x0472, 0x0472, 0x0072, 0x0440, 0x0460, 0x0060, 0x0860]);
    const make = (
      kind: string,
      type: number,
      use: number,
      parameters: Values,
      unique: unknown,
      data: Uint8Array = NONE,
    ): Template => {
      const objectAttributes = (base | use) & (data.length > 0 ? ~0x20 : ~0);
      return { kind, area: { type, nameAlg, objectAttributes, authPolicy, parameters, unique }, data };
    };
    const point = { x: NONE, y: NONE };
    const ecc = {
      symmetric: NO_CIPHER,
      scheme: NO_SCHEME,
      curveID: this.#pick([3, 3, 3, 3, 4, 1, 16, 32]),
      kdf: NO_SCHEME,
    };
    const hash = { hashAlg: this.#pick([A.SHA256, A.SHA256, A.SHA1]) };
    const cipher = {
      algorithm: this.#pick([A.AES, A.AES, A.CAMELLIA, A.TDES]),
      keyBits: 128,
      mode: this.#pick([A.NULL, A.CFB, A.CBC, A.CTR, A.CMAC]),
    };
    switch (this.#int(11)) {
      case 0:
        return make('storage', A.ECC, 0x30000, { ...ecc, curveID: 3, symmetric: AES_CFB }, point);
      case 1:
        return make(
          'storage',
          A.ECC,
          0x30000,
          { ...ecc, curveID: this.#pick([3, 4]), symmetric: { ...cipher, mode: A.CFB } },
          point,
        );
      case 2:
        return make(
          'sign',
          A.ECC,
          0x40000,
          { ...ecc, scheme: { scheme: this.#pick([A.ECDSA, A.SM2, A.ECSCHNORR]), details: hash } },
          point,
        );
      case 3:
        return make('sign', A.ECC, 0x50000, { ...ecc, scheme: { scheme: A.ECDSA, details: hash } }, point);
      case 4:
        return make(
          'ecdaa',
          A.ECC,
          0x40000,
          { ...ecc, curveID: this.#pick([3, 16]), scheme: { scheme: A.ECDAA, details: { ...hash, count: 0 } } },
          point,
        );
      case 5:
        return make(
          'exchange',
          A.ECC,
          0x20000,
          { ...ecc, scheme: this.#pick([NO_SCHEME, { scheme: A.ECDH, details: hash }]) },
          point,
        );
      case 6:
        return make('hmac', A.KEYEDHASH, 0x40000, { scheme: { scheme: A.HMAC, details: hash } }, NONE);
      case 7:
        return make('sealed', A.KEYEDHASH, 0, { scheme: NO_SCHEME }, NONE, this.#bytes(1 + this.#int(20)));
      case 8:
        return make(
          'cipher',
          A.SYMCIPHER,
          cipher.mode === A.CMAC ? 0x40000 : this.#pick([0x60000, 0x20000, 0x40000]),
          { sym: cipher },
          NONE,
        );
      case 9:
        return make(
          'deriver',
          A.KEYEDHASH,
          0x30000,
          { scheme: { scheme: A.XOR, details: { ...hash, kdf: A.KDF1_SP800_108 } } },
          NONE,
        );
      default:
        return make('storage', A.SYMCIPHER, 0x30000, { sym: { ...cipher, mode: A.CFB } }, NONE);
    }
  }

  #external(): { readonly kind: string; readonly inPublic: Values; readonly inPrivate: Values | undefined } {
    const isWhole = this.#chance(0.75);
    const name = { nameAlg: A.SHA256, authPolicy: NONE };
    const secret = (sensitiveType: number, sensitive: Uint8Array, seedValue = NONE): Values | undefined =>
      isWhole ? { sensitiveType, authValue: NONE, seedValue, sensitive } : undefined;
    const pick = this.#int(5);
    if (pick === 0) {
      const scheme = this.#pick([NO_SCHEME, { scheme: A.RSASSA, details: { hashAlg: A.SHA256 } }]);
      const use = scheme.scheme === A.NULL ? this.#pick([0x60040, 0x40040, 0x20040]) : 0x40040;
      const parameters = { symmetric: NO_CIPHER, scheme, keyBits: 1024, exponent: 0 };
      const inPublic = { type: A.RSA, ...name, objectAttributes: use, parameters, unique: RSA.n };
      return { kind: 'rsa', inPublic, inPrivate: secret(A.RSA, RSA.p) };
    }
    if (pick === 1) {
      const key = this.#bytes(16);
      const seed = new Uint8Array(32).fill(9);
      const sym = {
        algorithm: this.#pick([A.AES, A.CAMELLIA]),
        keyBits: 128,
        mode: this.#pick([A.NULL, A.CFB, A.CMAC]),
      };
      const unique = new Uint8Array(createHash('sha256').update(seed).update(key).digest());
      const inPublic = {
        type: A.SYMCIPHER,
        ...name,
        objectAttributes: sym.mode === A.CMAC ? 0x40040 : 0x60040,
        parameters: { sym },
        unique,
      };
      return { kind: 'cipher', inPublic, inPrivate: secret(A.SYMCIPHER, key, seed) };
    }
    if (pick === 2) {
      const key = this.#bytes(20);
      const seed = new Uint8Array(32).fill(9);
      const unique = new Uint8Array(createHash('sha256').update(seed).update(key).digest());
      const scheme = { scheme: A.HMAC, details: { hashAlg: A.SHA256 } };
      const inPublic = { type: A.KEYEDHASH, ...name, objectAttributes: 0x40040, parameters: { scheme }, unique };
      return { kind: 'hmac', inPublic, inPrivate: secret(A.KEYEDHASH, key, seed) };
    }
    const curveID = this.#pick([3, 3, 4, 1, 32]);
    const isSigner = this.#chance(0.5);
    const scheme = isSigner ? this.#pick([NO_SCHEME, { scheme: A.ECDSA, details: { hashAlg: A.SHA256 } }]) : NO_SCHEME;
    const parameters = { symmetric: NO_CIPHER, scheme, curveID, kdf: NO_SCHEME };
    const { d, x, y } = fixedKey(curveID);
    const inPublic = {
      type: A.ECC,
      ...name,
      objectAttributes: isSigner ? 0x40040 : 0x20040,
      parameters,
      unique: { x, y },
    };
    return { kind: isSigner ? 'sign' : 'exchange', inPublic, inPrivate: secret(A.ECC, d) };
  }

  // --- actions ---------------------------------------------------------------------------------------------------------------------

  #allActions(): (() => Draft | undefined)[] {
    const often = [...this.#objectActions(), ...this.#policyActions(), ...this.#nvActions(), ...this.#useActions()];
    return [...often, ...often, ...this.#plainActions(), ...this.#hierarchyActions()];
  }

  #plainActions(): (() => Draft | undefined)[] {
    const data = (): Uint8Array => this.#bytes(this.#int(40));
    return [
      () => ({ command: T.GetRandom, handles: [], parameters: { bytesRequested: this.#int(70) } }),
      () => ({ command: T.StirRandom, handles: [], parameters: { inData: data() } }),
      () => ({ command: T.SelfTest, handles: [], parameters: { fullTest: this.#chance(0.5) } }),
      () => ({
        command: T.IncrementalSelfTest,
        handles: [],
        parameters: { toTest: [this.#pick([A.SHA256, A.AES, A.ECDSA, A.RSA])] },
      }),
      () => ({ command: T.GetTestResult, handles: [] }),
      () => ({ command: T.Startup, handles: [], parameters: { startupType: this.#int(2) } }),
      () =>
        this.#chance(0.2)
          ? { command: T.Shutdown, handles: [], parameters: { shutdownType: this.#int(2) } }
          : undefined,
      () => ({ command: T.ReadClock, handles: [] }),
      () => ({
        command: T.Hash,
        handles: [],
        parameters: { data: data(), hashAlg: this.#pick(HASHES), hierarchy: NULL },
        isDetermined: true,
      }),
      () => ({
        command: T.Hash,
        handles: [],
        parameters: { data: data(), hashAlg: this.#pick(HASHES), hierarchy: this.#hierarchy() },
      }),
      () => ({ command: T.PcrRead, handles: [], parameters: { pcrSelectionIn: this.#pcrs() }, isDetermined: true }),
      () => ({ command: T.PcrEvent, handles: [this.#int(24)], parameters: { eventData: data() }, isDetermined: true }),
      () => ({ command: T.PcrReset, handles: [this.#pick([16, 23, 20, 0])] }),
      () => {
        const hashAlg = this.#pick(HASHES);
        return {
          command: T.PcrExtend,
          handles: [this.#int(24)],
          parameters: { digests: [{ hashAlg, digest: this.#bytes(DIGEST_SIZES[hashAlg] ?? 0) }] },
        };
      },
      () => ({ command: T.PcrSetAuthValue, handles: [this.#pick([20, 21, 3])], parameters: { auth: NONE } }),
      () => ({
        command: T.EccParameters,
        handles: [],
        parameters: { curveID: this.#pick([1, 2, 3, 4, 5, 16, 17, 32]) },
        isDetermined: true,
      }),
      () => {
        const aes192 = { type: A.SYMCIPHER, parameters: { sym: { algorithm: A.AES, keyBits: 192, mode: A.CFB } } };
        const area = this.#chance(0.2) ? aes192 : this.#template().area;
        return {
          command: T.TestParms,
          handles: [],
          parameters: { parameters: { type: area.type, parameters: area.parameters } },
        };
      },
      () => {
        const capability = this.#pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        const property = this.#pick([
          0, 0x100, 0x110, 0x200, 0x20b, 0x80000000, 0x01000000, 0x02000000, 0x03000000, 0x40000000, 0x81000000,
        ]);
        return {
          command: T.GetCapability,
          handles: [],
          parameters: { capability, property, propertyCount: this.#pick([0, 1, 3, 200]) },
          isDetermined: true,
        };
      },
      () => ({
        command: T.EcEphemeral,
        handles: [],
        parameters: { curveID: this.#pick([3, 3, 4, 1]) },
        teach: ([a, b]) => void this.#commits.push([Number(a.counter), Number(b.counter)]),
      }),
      () => {
        const hashAlg = this.#pick([...HASHES, A.NULL]);
        const auth = this.#chance(0.3) ? Uint8Array.of(5) : NONE;
        return {
          command: T.HashSequenceStart,
          handles: [],
          parameters: { auth, hashAlg },
          teach: this.#loaded(hashAlg === A.NULL ? 'event' : 'hash', true, auth),
        };
      },
    ];
  }

  #objectActions(): (() => Draft | undefined)[] {
    const creation = (): Values => ({
      outsideInfo: this.#bytes(this.#int(4)),
      creationPCR: this.#chance(0.3) ? this.#pcrs() : [],
    });
    return [
      () => {
        const { kind, area, data } = this.#template();
        const userAuth = this.#chance(0.3) ? Uint8Array.of(5, 6) : NONE;
        const parameters = { inSensitive: { userAuth, data }, inPublic: area, ...creation() };
        const teach: Draft['teach'] = (fields, handle) => {
          this.#slots.set(handle, { isFixed: false, kind, auth: userAuth });
          this.#creations.push({ handle, fields });
        };
        return { command: T.CreatePrimary, handles: [this.#hierarchy()], parameters, teach };
      },
      () => {
        const { kind, area, data } = this.#template();
        const parameters = { inSensitive: { userAuth: NONE, data }, inPublic: area, ...creation() };
        const teach: Draft['teach'] = ([a, b]) => {
          const blob = (fields: Values): Values => ({ inPrivate: fields.outPrivate, inPublic: fields.outPublic });
          this.#loadable.push({ parent: 'storage', blob: [blob(a), blob(b)], isFixed: false, kind });
        };
        return { command: T.Create, handles: [this.#object('storage')], parameters, teach };
      },
      () => {
        if (this.#loadable.length === 0) return undefined;
        const { blob, isFixed, kind } = this.#pick(this.#loadable.slice(-4));
        return {
          command: T.Load,
          handles: [this.#object('storage')],
          parameters: (side) => blob[side],
          teach: this.#loaded(kind, isFixed, NONE),
        };
      },
      () => {
        const { kind, area, data } = this.#template();
        const inPublic = encode(T.TpmtPublic, area as T.TpmtPublic);
        return {
          command: T.CreateLoaded,
          handles: [this.#chance(0.5) ? this.#object('storage') : this.#hierarchy()],
          parameters: { inSensitive: { userAuth: NONE, data }, inPublic },
          teach: this.#loaded(kind, false, NONE),
        };
      },
      () => {
        const { kind, area } = this.#template();
        const derive = { label: this.#bytes(this.#int(5)), context: this.#bytes(this.#int(5)) };
        const derived = { ...area, objectAttributes: (Number(area.objectAttributes) & ~0x20) | 0x10, unique: derive };
        const inPublic = encode(T.TpmtPublicDerive, derived as T.TpmtPublicDerive);
        return {
          command: T.CreateLoaded,
          handles: [this.#object('deriver')],
          parameters: { inSensitive: { userAuth: NONE, data: NONE }, inPublic },
          teach: this.#loaded(kind === 'sealed' ? DERIVED_DATA : kind, false, NONE),
        };
      },
      () => {
        const { kind, inPublic, inPrivate } = this.#external();
        const hierarchy = inPrivate === undefined ? this.#hierarchy() : NULL;
        return {
          command: T.LoadExternal,
          handles: [],
          parameters: { inPrivate, inPublic, hierarchy },
          isDetermined: true,
          teach: this.#loaded(kind, true, NONE),
        };
      },
      () => {
        const handle = this.#object();
        return { command: T.ReadPublic, handles: [handle], isDetermined: this.#isFixed(handle) };
      },
      () => {
        const handle = this.#pick([...this.#slots.keys(), ...this.#sessions.keys(), 0x80000000]);
        const slot = this.#slots.get(handle);
        const session = this.#sessions.get(handle);
        const teach: Draft['teach'] = ([a, b]) => {
          this.#contexts.push({ blob: [a, b], slot, session });
          if (session) this.#sessions.delete(handle);
        };
        return { command: T.ContextSave, handles: [handle], teach };
      },
      () => {
        if (this.#contexts.length === 0) return undefined;
        const { blob, slot, session } = this.#pick(this.#contexts.slice(-3));
        const teach: Draft['teach'] = (_, handle) => {
          if (slot) this.#slots.set(handle, slot);
          if (session) this.#sessions.set(handle, session);
        };
        return { command: T.ContextLoad, handles: [], parameters: (side) => blob[side], teach };
      },
      ...Array.from({ length: 3 }, () => () => {
        if (this.#slots.size < 2 && this.#chance(0.7)) return undefined;
        const flushHandle = this.#pick([
          ...this.#slots.keys(),
          ...this.#slots.keys(),
          ...this.#sessions.keys(),
          0x80000001,
        ]);
        const teach: Draft['teach'] = () => {
          this.#slots.delete(flushHandle);
          this.#sessions.delete(flushHandle);
        };
        return { command: T.FlushContext, handles: [], parameters: { flushHandle }, teach } as Draft;
      }),
      () => {
        const handle = this.#object();
        const persistentHandle = this.#pick(PERSISTENT);
        const slot = this.#slots.get(handle);
        const teach: Draft['teach'] = () => {
          if (handle >>> 24 === 0x81) this.#slots.delete(handle);
          else if (slot) this.#slots.set(persistentHandle, slot);
        };
        return {
          command: T.EvictControl,
          handles: [this.#pick([OWNER, PLATFORM]), handle],
          parameters: { persistentHandle },
          teach,
        };
      },
      () => ({
        command: T.ObjectChangeAuth,
        handles: [this.#object(), this.#object('storage')],
        parameters: { newAuth: this.#bytes(this.#int(40)) },
      }),
      () => {
        const handle = this.#object('sealed', DERIVED_DATA);
        return { command: T.Unseal, handles: [handle], isDetermined: this.#slots.get(handle)?.kind !== DERIVED_DATA };
      },
      () => ({
        command: T.MakeCredential,
        handles: [this.#object('storage')],
        parameters: { credential: this.#bytes(16), objectName: this.#bytes(34) },
      }),
      () => ({
        command: T.ActivateCredential,
        handles: [this.#object(), this.#object('storage')],
        parameters: { credentialBlob: this.#bytes(70), secret: this.#bytes(68) },
      }),
      () => ({
        command: T.Duplicate,
        handles: [this.#object(), this.#pick([NULL, this.#object('storage')])],
        parameters: { encryptionKeyIn: NONE, symmetricAlg: this.#pick([NO_CIPHER, AES_CFB]) },
      }),
      () => this.#duplicateByPolicy(),
      () => ({
        command: T.Rewrap,
        handles: [NULL, this.#pick([NULL, this.#object('storage')])],
        parameters: { inDuplicate: this.#bytes(40), name: this.#bytes(34), inSymSeed: NONE },
      }),
      () => {
        const { inPublic, inPrivate, kind } = this.#external();
        if (inPrivate === undefined) return undefined;
        const area = { ...inPublic, objectAttributes: Number(inPublic.objectAttributes) };
        const plain = encode(T.TpmtSensitive, inPrivate as T.TpmtSensitive);
        const duplicate = Uint8Array.from([plain.length >> 8, plain.length & 255, ...plain]);
        const parameters = {
          encryptionKey: NONE,
          objectPublic: area,
          duplicate,
          inSymSeed: NONE,
          symmetricAlg: NO_CIPHER,
        };
        const teach: Draft['teach'] = ([a, b]) => {
          const blob = (fields: Values): Values => ({ inPrivate: fields.outPrivate, inPublic: area });
          this.#loadable.push({ parent: 'storage', blob: [blob(a), blob(b)], isFixed: false, kind });
        };
        return { command: T.Import, handles: [this.#object('storage')], parameters, teach };
      },
    ];
  }

  // A policy session that has been told the command authorises what no password can.
  #duplicateByPolicy(): Draft | undefined {
    const session = this.#session('policy');
    if (!this.#sessions.has(session)) return undefined;
    const auths = (): RawAuth[] => [{ handle: session, attributes: 1 }];
    return {
      command: T.Duplicate,
      handles: [this.#object(), NULL],
      parameters: { encryptionKeyIn: NONE, symmetricAlg: NO_CIPHER },
      auths,
    };
  }

  #useActions(): (() => Draft | undefined)[] {
    const ticket = { tag: T.TPM_ST.HASHCHECK, hierarchy: NULL, digest: NONE };
    const qualified = (): Values => ({
      qualifyingData: this.#bytes(this.#int(8)),
      inScheme: this.#pick([NO_SCHEME, NO_SCHEME, { scheme: A.ECDSA, details: { hashAlg: A.SHA256 } }]),
    });
    const signer = (): number => this.#pick([NULL, this.#object('sign', 'hmac', 'rsa'), this.#object('sign')]);
    const point = (): Values => fixedKey(this.#pick([3, 3, 4, 1]));
    return [
      () => ({
        command: T.Sign,
        handles: [this.#object('sign', 'hmac', 'rsa')],
        parameters: {
          digest: this.#bytes(this.#pick([32, 32, 20])),
          inScheme: this.#pick([
            NO_SCHEME,
            { scheme: A.ECDSA, details: { hashAlg: A.SHA256 } },
            { scheme: A.RSASSA, details: { hashAlg: A.SHA256 } },
            { scheme: A.HMAC, details: { hashAlg: A.SHA256 } },
          ]),
          validation: ticket,
        },
      }),
      () => {
        const signature = this.#pick([
          { sigAlg: A.ECDSA, signature: { hash: A.SHA256, signatureR: this.#bytes(32), signatureS: this.#bytes(32) } },
          {
            sigAlg: A.ECSCHNORR,
            signature: { hash: A.SHA256, signatureR: this.#bytes(32), signatureS: this.#bytes(32) },
          },
          { sigAlg: A.RSASSA, signature: { hash: A.SHA256, sig: this.#bytes(128) } },
          { sigAlg: A.HMAC, signature: { hashAlg: A.SHA256, digest: this.#bytes(32) } },
        ]);
        return {
          command: T.VerifySignature,
          handles: [this.#object('sign', 'rsa', 'hmac')],
          parameters: { digest: this.#bytes(32), signature },
        };
      },
      () => ({
        command: T.RsaEncrypt,
        handles: [this.#object('rsa')],
        parameters: { message: this.#bytes(this.#pick([16, 127])), inScheme: NO_SCHEME, label: NONE },
        isDetermined: true,
      }),
      () => ({
        command: T.RsaEncrypt,
        handles: [this.#object('rsa')],
        parameters: {
          message: this.#bytes(16),
          inScheme: this.#pick([
            { scheme: A.RSAES, details: {} },
            { scheme: A.OAEP, details: { hashAlg: A.SHA1 } },
          ]),
          label: this.#pick([NONE, Uint8Array.of(65, 0), Uint8Array.of(65)]),
        },
      }),
      () => ({
        command: T.RsaDecrypt,
        handles: [this.#object('rsa')],
        parameters: {
          cipherText: Uint8Array.from([0, ...this.#bytes(127)]),
          inScheme: this.#pick([NO_SCHEME, { scheme: A.OAEP, details: { hashAlg: A.SHA256 } }]),
          label: NONE,
        },
        isDetermined: true,
      }),
      () => ({ command: T.EcdhKeyGen, handles: [this.#object('exchange', 'sign')] }),
      () => {
        const handle = this.#object('exchange');
        return {
          command: T.EcdhZGen,
          handles: [handle],
          parameters: { inPoint: point() },
          isDetermined: this.#isFixed(handle),
        };
      },
      () => {
        if (this.#commits.length === 0) return undefined;
        const counter = this.#pick(this.#commits);
        // ECMQV and SM2 are left out: swtpm goes into failure mode, or answers with a point of its own.
        return {
          command: T.ZGen2Phase,
          handles: [this.#object('exchange')],
          parameters: (side) => ({ inQsB: fixedKey(3), inQeB: fixedKey(3), inScheme: A.ECDH, counter: counter[side] }),
        };
      },
      () => ({
        command: T.Commit,
        handles: [this.#object('ecdaa')],
        parameters: { P1: this.#pick([{ x: NONE, y: NONE }, point()]), s2: NONE, y2: NONE },
        teach: ([a, b]) => void this.#commits.push([Number(a.counter), Number(b.counter)]),
      }),
      () => {
        const handle = this.#object('cipher');
        const mode = this.#pick([A.NULL, A.CFB, A.CTR, A.OFB, A.CBC, A.ECB]);
        const parameters = {
          inData: this.#bytes(this.#pick([16, 32, 5])),
          decrypt: this.#chance(0.5),
          mode,
          ivIn: mode === A.ECB ? NONE : this.#bytes(16),
        };
        return {
          command: this.#pick([T.EncryptDecrypt, T.EncryptDecrypt2]),
          handles: [handle],
          parameters,
          isDetermined: this.#isFixed(handle),
        };
      },
      () => {
        const handle = this.#object('hmac', 'cipher');
        return {
          command: T.Mac,
          handles: [handle],
          parameters: { buffer: this.#bytes(this.#int(40)), inScheme: this.#pick([A.NULL, A.SHA256, A.CMAC]) },
          isDetermined: this.#isFixed(handle),
        };
      },
      () => ({
        command: T.MacStart,
        handles: [this.#object('hmac', 'cipher')],
        parameters: { auth: NONE, inScheme: this.#pick([A.NULL, A.SHA256]) },
        teach: this.#loaded('mac', false, NONE),
      }),
      () => ({
        command: T.SequenceUpdate,
        handles: [this.#object('hash', 'event', 'mac')],
        parameters: { buffer: this.#bytes(this.#int(200)) },
      }),
      () => {
        const handle = this.#object('hash', 'mac');
        const teach: Draft['teach'] = () => void this.#slots.delete(handle);
        return {
          command: T.SequenceComplete,
          handles: [handle],
          parameters: { buffer: this.#bytes(this.#int(100)), hierarchy: NULL },
          isDetermined: this.#isFixed(handle),
          teach,
        };
      },
      () => {
        const handle = this.#object('event');
        const teach: Draft['teach'] = () => void this.#slots.delete(handle);
        return {
          command: T.EventSequenceComplete,
          handles: [this.#pick([NULL, 16, 0]), handle],
          parameters: { buffer: this.#bytes(this.#int(100)) },
          isDetermined: this.#isFixed(handle),
          teach,
        };
      },
      () => ({ command: T.Certify, handles: [this.#object(), signer()], parameters: qualified() }),
      () => ({
        command: T.CertifyX509,
        handles: [this.#object(), signer()],
        parameters: { reserved: NONE, inScheme: qualified().inScheme, partialCertificate: this.#partialCertificate() },
      }),
      () => {
        if (this.#creations.length === 0) return undefined;
        const { handle, fields } = this.#pick(this.#creations.slice(-3));
        return {
          command: T.CertifyCreation,
          handles: [signer(), handle],
          parameters: (side) => ({
            ...FIXED_QUALIFIED,
            creationHash: fields[side].creationHash,
            creationTicket: fields[side].creationTicket,
          }),
        };
      },
      () => ({ command: T.Quote, handles: [signer()], parameters: { ...qualified(), PCRselect: this.#pcrs() } }),
      () => ({ command: T.GetTime, handles: [ENDORSEMENT, signer()], parameters: qualified() }),
      () => ({
        command: T.GetSessionAuditDigest,
        handles: [ENDORSEMENT, signer(), this.#session('hmac')],
        parameters: qualified(),
      }),
      () => ({ command: T.GetCommandAuditDigest, handles: [ENDORSEMENT, signer()], parameters: qualified() }),
      () => this.#audited(),
    ];
  }

  // An audit session of its own: the HMAC of an unbound session without an entity has an empty key.
  #audited(): Draft | undefined {
    const handle = this.#session('hmac');
    const session = this.#sessions.get(handle);
    if (session?.kind !== 'hmac') return undefined;
    const bytesRequested = this.#int(30);
    const nonce = this.#bytes(16);
    const attributes = this.#pick([0x81, 0x81, 0x80, 0x85, 0x83, 0xc1]);
    const auths = (side: 0 | 1): RawAuth[] => {
      const cp = createHash('sha256')
        .update(u32(T.TPM_CC.GetRandom))
        .update(Uint8Array.of(bytesRequested >> 8, bytesRequested))
        .digest();
      // The session encrypts nothing, so that its own nonces are all.
      const hmac = createHmac('sha256', NONE)
        .update(cp)
        .update(nonce)
        .update(session.nonce[side])
        .update(Uint8Array.of(attributes))
        .digest();
      return [{ handle, nonce, attributes, hmac: new Uint8Array(hmac) }];
    };
    // The session's new nonces are in the responses' authorization areas, which nothing here reads: it is used once.
    this.#sessions.delete(handle);
    return { command: T.GetRandom, handles: [], parameters: { bytesRequested }, auths };
  }

  #policyActions(): (() => Draft | undefined)[] {
    const session = (): number => this.#session('policy', 'trial');
    const digest = (): Uint8Array => this.#bytes(this.#pick([32, 32, 32, 20]));
    const name = (): Uint8Array => Uint8Array.from([0, 11, ...this.#bytes(32)]);
    return [
      () => {
        const sessionType = this.#pick([0, 1, 1, 3, 3]);
        const kind = sessionType === 0 ? 'hmac' : sessionType === 1 ? 'policy' : 'trial';
        const symmetric = this.#pick([NO_CIPHER, AES_CFB, { algorithm: A.XOR, keyBits: A.SHA256, mode: undefined }]);
        const teach: Draft['teach'] = ([a, b], handle) =>
          void this.#sessions.set(handle, {
            kind,
            nonce: [a.nonceTPM as Uint8Array, b.nonceTPM as Uint8Array],
            isFixed: true,
          });
        return {
          command: T.StartAuthSession,
          handles: [NULL, this.#pick([NULL, NULL, OWNER])],
          parameters: { nonceCaller: this.#bytes(16), encryptedSalt: NONE, sessionType, symmetric, authHash: A.SHA256 },
          teach,
        };
      },
      () => ({ command: T.PolicyRestart, handles: [session()] }),
      () => {
        const handle = session();
        return {
          command: T.PolicyGetDigest,
          handles: [handle],
          isDetermined: this.#sessions.get(handle)?.isFixed === true,
        };
      },
      () => ({ command: T.PolicyPcr, handles: [session()], parameters: { pcrDigest: NONE, pcrs: this.#pcrs() } }),
      () => ({ command: T.PolicyAuthValue, handles: [session()] }),
      () => ({ command: T.PolicyPassword, handles: [session()] }),
      () => ({
        command: T.PolicyCommandCode,
        handles: [session()],
        parameters: {
          code: this.#pick([T.TPM_CC.Duplicate, T.TPM_CC.Duplicate, T.TPM_CC.Unseal, T.TPM_CC.NV_UndefineSpaceSpecial]),
        },
      }),
      () => ({ command: T.PolicyCpHash, handles: [session()], parameters: { cpHashA: digest() } }),
      () => ({ command: T.PolicyNameHash, handles: [session()], parameters: { nameHash: digest() } }),
      () => ({ command: T.PolicyTemplate, handles: [session()], parameters: { templateHash: digest() } }),
      () => ({
        command: T.PolicyLocality,
        handles: [session()],
        parameters: { locality: this.#pick([1, 3, 31, 32, 200]) },
      }),
      () => ({ command: T.PolicyNvWritten, handles: [session()], parameters: { writtenSet: this.#chance(0.5) } }),
      () => ({ command: T.PolicyOr, handles: [session()], parameters: { pHashList: [digest(), digest()] } }),
      () => ({ command: T.PolicyPhysicalPresence, handles: [session()] }),
      () => ({
        command: T.PolicySecret,
        handles: [this.#pick([OWNER, ENDORSEMENT, NULL]), session()],
        parameters: { nonceTPM: NONE, cpHashA: NONE, policyRef: this.#bytes(this.#int(4)), expiration: 0 },
      }),
      () => ({
        command: T.PolicyCounterTimer,
        handles: [session()],
        parameters: {
          operandB: this.#pick([new Uint8Array(4), new Uint8Array(1)]),
          offset: this.#pick([16, 20, 24, 25]),
          operation: this.#int(13),
        },
      }),
      () => ({
        command: T.PolicyDuplicationSelect,
        handles: [session()],
        parameters: { objectName: name(), newParentName: name(), includeObject: this.#chance(0.5) },
      }),
      () => ({
        command: T.PolicyAuthorize,
        handles: [session()],
        parameters: {
          approvedPolicy: digest(),
          policyRef: NONE,
          keySign: name(),
          checkTicket: { tag: T.TPM_ST.VERIFIED, hierarchy: this.#pick([OWNER, NULL]), digest: this.#bytes(64) },
        },
      }),
      () => ({
        command: T.PolicyTicket,
        handles: [session()],
        parameters: {
          timeout: this.#bytes(8),
          cpHashA: NONE,
          policyRef: NONE,
          authName: name(),
          ticket: {
            tag: this.#pick([T.TPM_ST.AUTH_SECRET, T.TPM_ST.AUTH_SIGNED]),
            hierarchy: OWNER,
            digest: this.#bytes(64),
          },
        },
      }),
      () => {
        const handle = session();
        const slot = this.#sessions.get(handle);
        const object = this.#object('sign', 'rsa');
        const auth = {
          sigAlg: A.ECDSA,
          signature: { hash: A.SHA256, signatureR: this.#bytes(32), signatureS: this.#bytes(32) },
        };
        const teach: Draft['teach'] = () => {
          if (slot) slot.isFixed &&= this.#isFixed(object);
        };
        return {
          command: T.PolicySigned,
          handles: [object, handle],
          parameters: { nonceTPM: NONE, cpHashA: NONE, policyRef: NONE, expiration: 0, auth },
          teach,
        };
      },
      () => ({
        command: T.PolicyNv,
        handles: [OWNER, this.#index(), session()],
        parameters: { operandB: this.#bytes(2), offset: 0, operation: this.#int(12) },
      }),
      () => ({ command: T.PolicyAuthorizeNv, handles: [OWNER, this.#index(), session()] }),
    ];
  }

  #nvActions(): (() => Draft | undefined)[] {
    const provision = (): number => this.#pick([OWNER, OWNER, PLATFORM]);
    return [
      () => {
        const nvIndex = this.#pick(NV_HANDLES);
        const authHandle = provision();
        const type = this.#pick([0, 0, 1, 2, 4, 8, 9]);
        const size = [8, 8, 8, 8, 32, 0, 0, 0, 8, 8][type] ?? 8;
        const own = authHandle === PLATFORM ? 0x40010001 : 0;
        const isPin = type >= 8;
        const extra = this.#pick([0, 0x2000, 0x4000, 0x8000, 0x80000000, 0x04000000, 0x08000000, 0x00000c00]);
        const attributes =
          ((isPin ? 0x00060092 & ~0xf0 & ~4 : 0x00060006) |
            (type << 4) |
            own |
            (this.#chance(0.6) ? extra : 0) |
            (this.#chance(0.4) ? 0x02000000 : 0)) >>>
          0;
        const publicInfo = {
          nvIndex,
          nameAlg: this.#pick([A.SHA256, A.SHA1]),
          attributes,
          authPolicy: NONE,
          dataSize: type === 4 ? 32 : type === 0 ? this.#int(60) : size,
        };
        return {
          command: T.NvDefineSpace,
          handles: [authHandle],
          parameters: { auth: NONE, publicInfo },
          teach: () => void this.#nv.set(nvIndex, type),
        };
      },
      () => {
        const index = this.#index();
        return { command: T.NvUndefineSpace, handles: [provision(), index], teach: () => void this.#nv.delete(index) };
      },
      () => {
        const policy = this.#session('policy');
        const auths = (): RawAuth[] => [{ handle: policy, attributes: 1 }, {}];
        return { command: T.NvUndefineSpaceSpecial, handles: [this.#index(), PLATFORM], auths };
      },
      () => ({ command: T.NvReadPublic, handles: [this.#index()], isDetermined: true }),
      () => {
        const index = this.#index(0, 8, 9);
        return {
          command: T.NvWrite,
          handles: [this.#pick([OWNER, index]), index],
          parameters: { data: this.#bytes(this.#int(9)), offset: this.#int(4) },
        };
      },
      () => ({ command: T.NvIncrement, handles: [OWNER, this.#index(1)] }),
      () => ({ command: T.NvExtend, handles: [OWNER, this.#index(4)], parameters: { data: this.#bytes(5) } }),
      () => ({
        command: T.NvSetBits,
        handles: [OWNER, this.#index(2)],
        parameters: { bits: BigInt(this.#int(2 ** 30)) },
      }),
      ...Array.from({ length: 2 }, () => () => {
        const index = this.#index();
        return {
          command: T.NvRead,
          handles: [this.#pick([OWNER, index]), index],
          parameters: { size: this.#int(9), offset: this.#int(3) },
          isDetermined: true,
        };
      }),
      () => ({ command: T.NvReadLock, handles: [OWNER, this.#index()] }),
      () => ({ command: T.NvWriteLock, handles: [OWNER, this.#index()] }),
      () => (this.#chance(0.2) ? { command: T.NvGlobalWriteLock, handles: [provision()] } : undefined),
      () => ({ command: T.NvChangeAuth, handles: [this.#index()], parameters: { newAuth: this.#bytes(4) } }),
      () => ({
        command: T.NvCertify,
        handles: [NULL, OWNER, this.#index()],
        parameters: { ...FIXED_QUALIFIED, size: this.#int(9), offset: 0 },
      }),
    ];
  }

  #hierarchyActions(): (() => Draft | undefined)[] {
    const provision = (): number => this.#pick([OWNER, PLATFORM]);
    const rarely =
      (draft: () => Draft): (() => Draft | undefined) =>
      () =>
        this.#chance(0.12) ? draft() : undefined;
    const codes = (): number[] => [this.#pick(ALL_CODES), this.#pick(ALL_CODES)].slice(this.#int(3));
    return [
      rarely(() => ({
        command: T.HierarchyControl,
        handles: [this.#pick([PLATFORM, OWNER])],
        parameters: { enable: this.#pick([OWNER, ENDORSEMENT, T.TPM_RH.PLATFORM_NV]), state: this.#chance(0.8) },
      })),
      () => ({
        command: T.SetPrimaryPolicy,
        handles: [this.#pick([OWNER, ENDORSEMENT, LOCKOUT, PLATFORM])],
        parameters: this.#pick([
          { authPolicy: this.#bytes(32), hashAlg: A.SHA256 },
          { authPolicy: NONE, hashAlg: A.NULL },
        ]),
      }),
      rarely(() => ({ command: T.ChangePps, handles: [PLATFORM] })),
      rarely(() => ({ command: T.ChangeEps, handles: [PLATFORM] })),
      rarely(() => ({ command: T.Clear, handles: [this.#pick([PLATFORM, LOCKOUT])], teach: () => this.forget() })),
      () => ({ command: T.ClearControl, handles: [PLATFORM], parameters: { disable: this.#chance(0.1) } }),
      rarely(() => ({
        command: T.HierarchyChangeAuth,
        handles: [this.#pick([OWNER, ENDORSEMENT])],
        parameters: { newAuth: NONE },
      })),
      () => ({ command: T.DictionaryAttackLockReset, handles: [LOCKOUT] }),
      () => ({
        command: T.DictionaryAttackParameters,
        handles: [LOCKOUT],
        parameters: { newMaxTries: 32, newRecoveryTime: 10000, lockoutRecovery: 10000 },
      }),
      () => ({
        command: T.SetCommandCodeAuditStatus,
        handles: [provision()],
        parameters: {
          auditAlg: this.#pick([A.NULL, A.NULL, A.SHA256, A.SHA512]),
          setList: this.#chance(0.5) ? codes() : [],
          clearList: this.#chance(0.5) ? codes() : [],
        },
      }),
      () => ({ command: T.PpCommands, handles: [PLATFORM], parameters: { setList: codes(), clearList: [] } }),
      () => ({ command: T.SetAlgorithmSet, handles: [PLATFORM], parameters: { algorithmSet: this.#int(4) } }),
      rarely(() => ({
        command: T.PcrSetAuthPolicy,
        handles: [PLATFORM],
        parameters: { authPolicy: NONE, hashAlg: A.NULL, pcrNum: this.#pick([20, 22, 5]) },
      })),
      rarely(() => ({
        command: T.PcrAllocate,
        handles: [PLATFORM],
        parameters: { pcrAllocation: HASHES.map((hash) => ({ hash, pcrSelect: new Uint8Array(3).fill(255) })) },
      })),
      () => ({
        command: T.ClockRateAdjust,
        handles: [provision()],
        parameters: { rateAdjust: this.#pick([0, 1, -1]) },
      }),
      rarely(() => ({
        command: T.ClockSet,
        handles: [provision()],
        parameters: { newTime: BigInt(this.#pick([0, 2 ** 40])) },
      })),
    ];
  }
}

function encoded(draft: Draft, side: 0 | 1, passwords: readonly RawAuth[]): Uint8Array | undefined {
  const { command, handles, parameters = {} } = draft;
  const values = typeof parameters === 'function' ? parameters(side) : parameters;
  try {
    return commandBytes(command, handles, values, draft.auths?.(side) ?? passwords);
  } catch {
    // A value that the codec does not write, such as a list that is too long: the codec's tests are elsewhere.
    return undefined;
  }
}

const FIXED_QUALIFIED = { qualifyingData: NONE, inScheme: NO_SCHEME } as const;

/** Every code that a mutation may put into a command, and some that nobody has. */
const ALL_CODES: readonly number[] = [
  ...Object.values(T.TPM_CC).filter(
    (code): code is (typeof T.TPM_CC)[keyof typeof T.TPM_CC] => typeof code === 'number',
  ),
  ...[0, 0x11e, 0x123, 0x199, 0x1ff, 0x20000000],
];

const RSA = {
  n: fromHex(
    'efdd1ba453f9b4118c2610f28412b9608f57a042c43b8811c0b27daee0e463ac9336f976dd801295da356406fbee68429a1a49f4d831435977a59dd0f2dfb1dcc37d791007b826c6ecb4e4d918c97383b90e9cde3f02c6eb7afdb7356869e5b65a1dbcc25417512ca45ba5688dd4a04995cbd5e27984f8d4a10b981194f43c85',
  ),
  p: fromHex(
    'f95589ade10d5c8b7528e2b122ad43a9ce077929b8e6504291959389f687d9b96c7b7ff6a393107a4283fa78202cfb5df41aeea1bc52de93e363e82f1ab5a10f',
  ),
} as const;

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

const keys = new Map<number, { readonly d: Uint8Array; readonly x: Uint8Array; readonly y: Uint8Array }>();

/** A key of a curve that never changes. */
export function fixedKey(curveID: number): { readonly d: Uint8Array; readonly x: Uint8Array; readonly y: Uint8Array } {
  const known = keys.get(curveID);
  if (known !== undefined) return known;
  const curve = curveOf(curveID);
  if (curve === undefined) throw new Error(`no curve ${curveID}`);
  const d = Uint8Array.from({ length: curve.size }, (_, i) => (i < 8 ? 0 : (i * 7 + 1) & 255));
  const point = curve.noble.Point.BASE.multiply(BigInt(`0x${Buffer.from(d).toString('hex')}`) % curve.order).toAffine();
  const coordinate = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(2 * curve.size, '0'));
  const made = { d, x: coordinate(point.x), y: coordinate(point.y) };
  keys.set(curveID, made);
  return made;
}

/** The policy that PolicyCommandCode(TPM2_Duplicate) leads to. */
function duplicationPolicy(nameAlg: number): Uint8Array {
  const hash =
    { [A.SHA1]: 'sha1', [A.SHA256]: 'sha256', [A.SHA384]: 'sha384', [A.SHA512]: 'sha512' }[nameAlg] ?? 'sha256';
  const before = new Uint8Array(DIGEST_SIZES[nameAlg] ?? 32);
  return new Uint8Array(
    createHash(hash).update(before).update(u32(T.TPM_CC.PolicyCommandCode)).update(u32(T.TPM_CC.Duplicate)).digest(),
  );
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** The handle and the fields of a successful response. */
export function decodeResponse(
  command: T.AnyCommand,
  response: Uint8Array,
): { readonly handle: number; readonly values: Values } {
  const reader = new Reader(response);
  const tag = reader.u16('tag');
  reader.take(8, 'header');
  const handle = command.responseHandles.length > 0 ? reader.u32('handle') : 0;
  if (tag === 0x8002) reader.u32('parameterSize');
  return { handle, values: command.response.read(reader) as Values };
}

// TPM2_CertifyX509 without a signer: swtpm 0.7.1 looks for the key of TPM_RH_NULL and dies of it.
function endsSwtpm(bytes: Uint8Array): boolean {
  if (bytes.length < 18) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint32(6) === T.TPM_CC.CertifyX509 && view.getUint32(14) === NULL;
}

function withSize(bytes: Uint8Array): Uint8Array {
  return withU32(bytes, 2, bytes.length);
}

function withU32(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value);
  return copy;
}

function withByte(bytes: Uint8Array, at: number, change: (byte: number) => number): Uint8Array {
  const copy = bytes.slice();
  if (at >= 0 && at < copy.length) copy[at] = change(copy[at] ?? 0);
  return copy;
}
