/** NV indexes: defining, reading, writing (Part 1, section 37; Part 3, chapter 31). */

import { decode, encode } from '@casemate/wire';
import { type Attestation, type AttestOptions, attestation } from './attestation.js';
import { type Authorization, authBytes, type Entity, type HandleInput } from './authorization.js';
import { concat } from './bytes.js';
import { GetCapability } from './commands/capability.js';
import {
  NvCertify,
  NvChangeAuth,
  NvDefineSpace,
  NvExtend,
  NvGlobalWriteLock,
  NvIncrement,
  NvRead,
  NvReadLock,
  NvReadPublic,
  NvSetBits,
  NvUndefineSpace,
  NvUndefineSpaceSpecial,
  NvWrite,
  NvWriteLock,
} from './commands/nv.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_CAP, TPM_PT } from './constants/capabilities.js';
import { TPM_RH } from './constants/handles.js';
import { TPM_NT, TPMA_NV } from './constants/nv.js';
import type { TpmHashes } from './crypto.js';
import { defaultHashes } from './default-crypto.js';
import { hashSize } from './hashes.js';
import { assertName, nvNameOf } from './name.js';
import { PCR_BANKS, type PcrBank } from './pcr.js';
import { TpmError } from './response-code.js';
import { TpmsNvPinCounterParameters, type TpmsNvPublic } from './structures/nv.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/**
 * What an index holds: bytes, a counter, 64 bits that are only set, a digest that is only extended, or a number of tries
 * with a limit, which failures (`pin-fail`) or successes (`pin-pass`) of its authorization value use up.
 */
export type NvType = 'ordinary' | 'counter' | 'bits' | 'extend' | 'pin-fail' | 'pin-pass';

/** The contents of a PIN index: its authorization value is good while `count` is below `limit`. */
export interface NvPin {
  /** Tries used. */
  readonly count: number;
  /** Tries allowed. */
  readonly limit: number;
}

/** An NV index, usable as a handle argument; its Name follows what is done to it through these functions. */
export class NvIndex implements Entity {
  /** The TPM's number for it, 0x01000000 up. */
  readonly handle: number;
  /** Its authorization value. */
  readonly authValue: Uint8Array;
  /** How its own authorisation is given, where not by `authValue` as a password. */
  readonly auth: Authorization | undefined;
  readonly #hashes: Pick<TpmHashes, 'hash'>;
  /** One for the index under whatever authorisation, so that its Name is the same under each. */
  #state: { public: TpmsNvPublic };

  /** Made by {@link nvDefine} and {@link openNv}. */
  constructor(
    publicArea: TpmsNvPublic,
    options: {
      readonly authValue: Uint8Array;
      readonly auth?: Authorization | undefined;
      readonly hashes: Pick<TpmHashes, 'hash'>;
    },
  ) {
    this.handle = publicArea.nvIndex;
    this.authValue = options.authValue;
    this.auth = options.auth;
    this.#hashes = options.hashes;
    this.#state = { public: publicArea };
  }

  /** Its public area, with the attributes as they are now. */
  get public(): TpmsNvPublic {
    return this.#state.public;
  }

  /** Its Name as it is now; the first write and a lock change it. */
  get name(): Uint8Array {
    return nvNameOf(this.public, this.#hashes);
  }

  /** The same index under another authorisation. */
  withAuth(auth: Authorization): NvIndex {
    const same = new NvIndex(this.public, { authValue: this.authValue, auth, hashes: this.#hashes });
    same.#state = this.#state;
    return same;
  }

  /** Notes attributes that a command has set, bits of `TPMA_NV`. */
  noteAttributes(set: number): void {
    this.#state.public = { ...this.public, attributes: (this.public.attributes | set) >>> 0 };
  }
}

/** What kind of index to define. */
export interface NvDefineOptions extends ExecuteOptions {
  /** Its handle: 0x01800000 up for owners, 0x01400000 up for platforms (TCG registry of reserved handles). */
  readonly index: number;
  /** What it holds. Default `ordinary`. */
  readonly type?: NvType;
  /** Bytes of an ordinary index; the other types have a size of their own. */
  readonly size?: number;
  /**
   * Bits of `TPMA_NV`. Default: its value and the hierarchy, and its policy where there is one, may read and write; the
   * value of a PIN index only reads.
   */
  readonly attributes?: number;
  /** Bits of `TPMA_NV` besides the default ones, such as `WRITE_STCLEAR`, `WRITEDEFINE` or `GLOBALLOCK`. */
  readonly extraAttributes?: number;
  /** Hash of its Name, of its policy and of what an `extend` index holds. Default `sha256`. */
  readonly nameAlg?: PcrBank;
  /** Its authorization value. Default empty. */
  readonly authValue?: Uint8Array | string;
  /** Digest of its policy. */
  readonly policy?: Uint8Array;
  /** Who defines it. Default `owner`. */
  readonly hierarchy?: 'owner' | 'platform';
  /** How the hierarchy authorises. Default: the empty password. */
  readonly hierarchyAuth?: Authorization;
}

/** Who authorises a use of an index. */
export interface NvUseOptions extends ExecuteOptions {
  /** The hierarchy or the index. Default: the index where its attributes allow that, else a hierarchy that they allow. */
  readonly by?: HandleInput;
}

/** Defines an index. Throws what {@link Tpm.execute} throws; `TPM_RC_NV_DEFINED` where it is there already. */
export async function nvDefine(tpm: Tpm, options: NvDefineOptions): Promise<NvIndex> {
  const { index: nvIndex, type = 'ordinary', hierarchy = 'owner', policy = new Uint8Array(0) } = options;
  const hashes = tpm.crypto ?? defaultHashes;
  const nameAlg = PCR_BANKS[options.nameAlg ?? 'sha256'];
  const access = options.attributes ?? defaultAttributes(type, hierarchy, policy.length > 0);
  const attributes = (access | typeBits(type) | (options.extraAttributes ?? 0)) >>> 0;
  const dataSize = sizeOf(type, nameAlg, options.size);
  const publicInfo = { nvIndex, nameAlg, attributes, authPolicy: policy, dataSize };
  const authHandle = { handle: hierarchy === 'owner' ? TPM_RH.OWNER : TPM_RH.PLATFORM, auth: options.hierarchyAuth };
  const auth = authBytes(options.authValue);
  await tpm.execute(NvDefineSpace, { authHandle, auth, publicInfo }, options);
  return new NvIndex(publicInfo, { authValue: auth, hashes });
}

/** Deletes an index. */
export async function nvUndefine(
  tpm: Tpm,
  index: NvIndex,
  options: ExecuteOptions & { readonly hierarchyAuth?: Authorization } = {},
): Promise<void> {
  const byPlatform = (index.public.attributes & TPMA_NV.PLATFORMCREATE) !== 0;
  const authHandle = { handle: byPlatform ? TPM_RH.PLATFORM : TPM_RH.OWNER, auth: options.hierarchyAuth };
  await tpm.execute(NvUndefineSpace, { authHandle, nvIndex: index }, options);
}

/** Reads the public area of an index and its Name, which must belong together. */
export async function nvReadPublic(
  tpm: Tpm,
  index: number,
  options: ExecuteOptions = {},
): Promise<{ readonly public: TpmsNvPublic; readonly name: Uint8Array }> {
  const { nvPublic, nvName } = await tpm.execute(NvReadPublic, { nvIndex: index }, options);
  assertName('read NV public', nvNameOf(nvPublic, tpm.crypto ?? defaultHashes), nvName);
  if (nvPublic.nvIndex === index) return { public: nvPublic, name: nvName };
  throw new TpmError('integrity', `read NV public: expected index 0x${index.toString(16)}, got another one`);
}

/** An index that is there already, with its authorization value for later use. */
export async function openNv(
  tpm: Tpm,
  index: number,
  options: ExecuteOptions & { readonly authValue?: Uint8Array | string } = {},
): Promise<NvIndex> {
  const found = await nvReadPublic(tpm, index, options);
  return new NvIndex(found.public, { authValue: authBytes(options.authValue), hashes: tpm.crypto ?? defaultHashes });
}

/** Reads bytes of an index, by default all of them, in as many commands as the TPM's buffer asks for. */
export async function nvRead(
  tpm: Tpm,
  index: NvIndex | number,
  options: NvUseOptions & { readonly offset?: number; readonly size?: number } = {},
): Promise<Uint8Array> {
  const nvIndex = typeof index === 'number' ? await openNv(tpm, index) : index;
  const { offset: start = 0, size = nvIndex.public.dataSize - start } = options;
  const authHandle = options.by ?? authoriser(nvIndex, 'READ');
  const chunk = await bufferSize(tpm, size);
  const parts: Uint8Array[] = [];
  for (let done = 0; done < size; done += chunk) {
    const request = { size: Math.min(chunk, size - done), offset: start + done };
    const { data } = await tpm.execute(NvRead, { authHandle, nvIndex, ...request }, options);
    if (data.length !== request.size) {
      throw new TpmError('integrity', `read NV: expected ${request.size} bytes, got ${data.length}`);
    }
    parts.push(data);
  }
  return concat(...parts);
}

/** Writes bytes of an ordinary index, in as many commands as the TPM's buffer asks for; between them it is half written. */
export async function nvWrite(
  tpm: Tpm,
  index: NvIndex,
  data: Uint8Array,
  options: NvUseOptions & { readonly offset?: number } = {},
): Promise<void> {
  const authHandle = options.by ?? authoriser(index, 'WRITE');
  const chunk = await bufferSize(tpm, data.length);
  for (let done = 0; done < data.length; done += chunk) {
    const request = { data: data.slice(done, done + chunk), offset: (options.offset ?? 0) + done };
    await tpm.execute(NvWrite, { authHandle, nvIndex: index, ...request }, options);
    index.noteAttributes(TPMA_NV.WRITTEN);
  }
}

/** Counts a counter up by one; the first time it starts above every counter that the TPM has had. */
export async function nvIncrement(tpm: Tpm, index: NvIndex, options: NvUseOptions = {}): Promise<void> {
  const authHandle = options.by ?? authoriser(index, 'WRITE');
  await tpm.execute(NvIncrement, { authHandle, nvIndex: index }, options);
  index.noteAttributes(TPMA_NV.WRITTEN);
}

/** The value of a counter or of a bit field. */
export async function nvReadNumber(tpm: Tpm, index: NvIndex, options: NvUseOptions = {}): Promise<bigint> {
  const data = await nvRead(tpm, index, options);
  if (data.length !== 8)
    throw new TpmError('usage', `read NV number: expected an index of 8 bytes, got ${data.length}`);
  return new DataView(data.buffer, data.byteOffset).getBigUint64(0);
}

/** Extends an index of type `extend` by data. */
export async function nvExtend(tpm: Tpm, index: NvIndex, data: Uint8Array, options: NvUseOptions = {}): Promise<void> {
  const authHandle = options.by ?? authoriser(index, 'WRITE');
  await tpm.execute(NvExtend, { authHandle, nvIndex: index, data }, options);
  index.noteAttributes(TPMA_NV.WRITTEN);
}

/** Sets bits of an index of type `bits`; none is ever cleared. */
export async function nvSetBits(tpm: Tpm, index: NvIndex, bits: bigint, options: NvUseOptions = {}): Promise<void> {
  const authHandle = options.by ?? authoriser(index, 'WRITE');
  await tpm.execute(NvSetBits, { authHandle, nvIndex: index, bits }, options);
  index.noteAttributes(TPMA_NV.WRITTEN);
}

/** Locks an index against reads or writes, until the next restart or for ever as its attributes say. */
export async function nvLock(
  tpm: Tpm,
  index: NvIndex,
  against: 'read' | 'write',
  options: NvUseOptions = {},
): Promise<void> {
  if (against === 'read') {
    const authHandle = options.by ?? authoriser(index, 'READ');
    await tpm.execute(NvReadLock, { authHandle, nvIndex: index }, options);
    index.noteAttributes(TPMA_NV.READLOCKED);
    return;
  }
  const authHandle = options.by ?? authoriser(index, 'WRITE');
  await tpm.execute(NvWriteLock, { authHandle, nvIndex: index }, options);
  index.noteAttributes(TPMA_NV.WRITELOCKED);
}

/** Locks all indexes that have `GLOBALLOCK` against writes until the next restart. Their Names change: open them again. */
export async function nvGlobalLock(
  tpm: Tpm,
  options: ExecuteOptions & {
    readonly hierarchy?: 'owner' | 'platform';
    readonly hierarchyAuth?: Authorization;
  } = {},
): Promise<void> {
  const handle = options.hierarchy === 'platform' ? TPM_RH.PLATFORM : TPM_RH.OWNER;
  await tpm.execute(NvGlobalWriteLock, { authHandle: { handle, auth: options.hierarchyAuth } }, options);
}

/** Sets tries and limit of a PIN index; its own authorization value is good only after the first time. */
export async function nvWritePin(tpm: Tpm, index: NvIndex, pin: NvPin, options: NvUseOptions = {}): Promise<void> {
  const contents = { pinCount: pin.count, pinLimit: pin.limit };
  await nvWrite(tpm, index, encode(TpmsNvPinCounterParameters, contents), options);
}

/** Reads tries and limit of a PIN index; by its own value, this is a try itself. */
export async function nvReadPin(tpm: Tpm, index: NvIndex, options: NvUseOptions = {}): Promise<NvPin> {
  const contents = decode(TpmsNvPinCounterParameters, await nvRead(tpm, index, options));
  return { count: contents.pinCount, limit: contents.pinLimit };
}

/**
 * Gives an index another authorization value. It must be under a policy that names TPM2_NV_ChangeAuth, which `index.auth`
 * satisfies. The index with its new value comes back.
 */
export async function nvChangeAuth(
  tpm: Tpm,
  index: NvIndex,
  auth: Uint8Array | string,
  options: ExecuteOptions = {},
): Promise<NvIndex> {
  const newAuth = authBytes(auth);
  await tpm.execute(NvChangeAuth, { nvIndex: index, newAuth }, options);
  return new NvIndex(index.public, { authValue: newAuth, hashes: tpm.crypto ?? defaultHashes });
}

/**
 * Deletes an index of the platform with `POLICY_DELETE`, which only its policy can: `index.auth` must be a session that
 * satisfies one that names TPM2_NV_UndefineSpaceSpecial.
 */
export async function nvUndefineSpecial(
  tpm: Tpm,
  index: NvIndex,
  options: ExecuteOptions & { readonly platformAuth?: Authorization } = {},
): Promise<void> {
  const platform = { handle: TPM_RH.PLATFORM, auth: options.platformAuth };
  await tpm.execute(NvUndefineSpaceSpecial, { nvIndex: index, platform }, options);
}

/** What part of an index to certify, and who authorises the read. */
export interface NvCertifyOptions extends AttestOptions {
  /** The index. */
  readonly index: NvIndex;
  /** As in {@link NvUseOptions}. */
  readonly by?: HandleInput;
  /** Where to start. Default 0. */
  readonly offset?: number;
  /** Bytes to certify. Default: all, by their digest where the TPM's buffer does not hold them. */
  readonly size?: number;
}

/** Has the TPM sign what an index holds; {@link verifyNvCertify} checks it. Throws what {@link Tpm.execute} throws. */
export async function nvCertify(tpm: Tpm, options: NvCertifyOptions): Promise<Attestation> {
  const { index, signer, nonce, offset = 0 } = options;
  const whole = index.public.dataSize - offset;
  const size = options.size ?? (whole <= (await bufferSize(tpm, whole)) ? whole : 0);
  const handles = { signHandle: signer, authHandle: options.by ?? authoriser(index, 'READ'), nvIndex: index };
  const request = { qualifyingData: nonce, inScheme: { scheme: TPM_ALG.NULL }, size, offset } as const;
  const { certifyInfo, signature } = await tpm.execute(NvCertify, { ...handles, ...request }, options);
  return attestation('certify NV', certifyInfo, signature, nonce);
}

function authoriser(index: NvIndex, access: 'READ' | 'WRITE'): HandleInput {
  const { attributes } = index.public;
  const allows = (by: 'AUTH' | 'POLICY' | 'OWNER' | 'PP') => (attributes & TPMA_NV[`${by}${access}`]) !== 0;
  if (index.auth || allows('AUTH') || allows('POLICY')) return index;
  return allows('OWNER') ? TPM_RH.OWNER : TPM_RH.PLATFORM;
}

async function bufferSize(tpm: Tpm, wanted: number): Promise<number> {
  if (wanted <= ANY_BUFFER) return ANY_BUFFER;
  const request = { capability: TPM_CAP.TPM_PROPERTIES, property: TPM_PT.NV_BUFFER_MAX, propertyCount: 1 };
  const { capabilityData } = await tpm.execute(GetCapability, request);
  if (capabilityData.capability !== TPM_CAP.TPM_PROPERTIES) return ANY_BUFFER;
  const found = capabilityData.data.find(({ property }) => property === TPM_PT.NV_BUFFER_MAX);
  return Math.max(ANY_BUFFER, found?.value ?? 0);
}

function defaultAttributes(type: NvType, hierarchy: 'owner' | 'platform', policy: boolean): number {
  const byPolicy = policy ? TPMA_NV.POLICYREAD | TPMA_NV.POLICYWRITE : 0;
  // Whoever knows a PIN must not give himself more tries.
  const write = type === 'pin-fail' || type === 'pin-pass' ? 0 : TPMA_NV.AUTHWRITE;
  const byValue = TPMA_NV.AUTHREAD | write | TPMA_NV.NO_DA | byPolicy;
  return byValue | (hierarchy === 'owner' ? OWNER_ACCESS : PLATFORM_ACCESS);
}

function sizeOf(type: NvType, nameAlg: number, size: number | undefined): number {
  if (type === 'ordinary') return size ?? 0;
  return type === 'extend' ? hashSize(nameAlg) : 8;
}

function typeBits(type: NvType): number {
  return TYPES[type] << 4;
}

/** Every TPM has an NV buffer of at least this many bytes. */
const ANY_BUFFER = 256;
const OWNER_ACCESS = TPMA_NV.OWNERREAD | TPMA_NV.OWNERWRITE;
const PLATFORM_ACCESS = TPMA_NV.PPREAD | TPMA_NV.PPWRITE | TPMA_NV.PLATFORMCREATE;
const TYPES = {
  ordinary: TPM_NT.ORDINARY,
  counter: TPM_NT.COUNTER,
  bits: TPM_NT.BITS,
  extend: TPM_NT.EXTEND,
  'pin-fail': TPM_NT.PIN_FAIL,
  'pin-pass': TPM_NT.PIN_PASS,
} as const;
