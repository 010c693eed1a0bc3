/** The operations of a TPM that are compared: each is prepared and checked first, so that a wrong answer is never timed. */
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import {
  akTemplate,
  Create,
  CreatePrimary,
  FlushContext,
  GetCapability,
  GetRandom,
  Hash,
  Load,
  NvDefineSpace,
  NvRead,
  NvUndefineSpace,
  NvWrite,
  PcrExtend,
  PcrRead,
  PolicyPcr,
  publicKeySpki,
  Quote,
  ReadPublic,
  Sign,
  StartAuthSession,
  sealedTemplate,
  signingKeyTemplate,
  srkTemplate,
  TPM_ALG,
  TPM_CAP,
  TPM_RH,
  TPM_SE,
  TPM_ST,
  TPMA_NV,
  TPMA_OBJECT,
  type TpmlPcrSelection,
  type TpmtPublic,
  TpmtSignature,
  Unseal,
  verifyAttestSignature,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { commandBytes, handleOf, responseOf, type Send, succeed, withHandle } from './raw.js';

/** A TPM under measurement, with a storage key loaded. */
export interface Rig {
  readonly send: Send;
  readonly storage: number;
}

/** An operation that is ready to be timed, and what tidies up after it. */
export interface Ready {
  run(): Promise<unknown>;
  close?(): Promise<void>;
}

/** Prepares an operation on one TPM and checks its result. Throws where the TPM answers wrongly. */
export type Operation = (rig: Rig) => Promise<Ready>;

const NONE = new Uint8Array(0);
const OWN_SCHEME = { scheme: TPM_ALG.NULL } as const;
const MESSAGE = Buffer.from('what is measured, signed and sealed');
const DIGEST = sha256(MESSAGE);
const NV_INDEX = 0x01500020;
const NV_ATTRIBUTES = TPMA_NV.OWNERWRITE | TPMA_NV.OWNERREAD | TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA;
const RSA_SIZE = 256;

/** Makes the storage key that the other operations work under. */
export async function openRig(send: Send): Promise<Rig> {
  return { send, storage: handleOf(await succeed(send, createPrimary(srkTemplate('ecc-p256'), TPM_RH.OWNER))) };
}

/** The operations that swtpm answers as fast as its socket lets it. */
export const quick: Readonly<Record<string, Operation>> = {
  'GetRandom (32 bytes)': async ({ send }) => {
    const command = commandBytes(GetRandom, { bytesRequested: 32 });
    const draw = async () => responseOf(GetRandom, await succeed(send, command)).randomBytes;
    const [one, other] = [await draw(), await draw()];
    assert(one.length === 32 && other.length === 32 && !isSame(one, other), 'random bytes', { one, other });
    return { run: () => succeed(send, command) };
  },
  'PCR_Read (8 × SHA-256)': async ({ send }) => {
    const command = commandBytes(PcrRead, { pcrSelectionIn: select(0, 1, 2, 3, 4, 5, 6, 7) });
    const { pcrValues } = responseOf(PcrRead, await succeed(send, command));
    assert(pcrValues.length === 8 && pcrValues.every((value) => value.length === 32), 'PCR values', pcrValues);
    return { run: () => succeed(send, command) };
  },
  'PCR_Extend (SHA-256)': async ({ send }) => {
    const digests = [{ hashAlg: TPM_ALG.SHA256, digest: DIGEST }] as const;
    const command = commandBytes(PcrExtend, { pcrHandle: 16, digests });
    let expected = await pcr(send, 16);
    const run = async (): Promise<void> => {
      await succeed(send, command);
      count++;
    };
    let count = 0;
    await run();
    const check = async (): Promise<void> => {
      for (; count > 0; count--) expected = sha256(expected, DIGEST);
      const value = await pcr(send, 16);
      assert(isSame(value, expected), 'PCR 16 after all that was extended', value);
    };
    await check();
    return { run, close: check };
  },
  'GetCapability (64 properties)': async ({ send }) => {
    const command = commandBytes(GetCapability, {
      capability: TPM_CAP.TPM_PROPERTIES,
      property: 0x100,
      propertyCount: 64,
    });
    const { capabilityData } = responseOf(GetCapability, await succeed(send, command));
    assert(Array.isArray(capabilityData.data) && capabilityData.data.length > 40, 'properties', capabilityData);
    return { run: () => succeed(send, command) };
  },
  'Hash (1000 bytes, SHA-256)': async ({ send }) => {
    const data = new Uint8Array(randomBytes(1000));
    const command = commandBytes(Hash, { data, hashAlg: TPM_ALG.SHA256, hierarchy: TPM_RH.NULL });
    const { outHash } = responseOf(Hash, await succeed(send, command));
    assert(isSame(outHash, sha256(data)), 'digest', outHash);
    return { run: () => succeed(send, command) };
  },
  'ReadPublic (ECC)': async ({ send, storage }) => {
    const command = commandBytes(ReadPublic, { objectHandle: storage });
    const { outPublic } = responseOf(ReadPublic, await succeed(send, command));
    assert(outPublic.type === TPM_ALG.ECC && outPublic.unique.x.length === 32, 'public area', outPublic);
    return { run: () => succeed(send, command) };
  },
  Unseal: async ({ send, storage }) => {
    const { load } = await sealTo(send, storage);
    const sealed = handleOf(await succeed(send, load));
    const command = commandBytes(Unseal, { itemHandle: sealed });
    assertUnsealed(await succeed(send, command));
    return { run: () => succeed(send, command), close: () => flush(send, sealed) };
  },
  'NV_Read (32 bytes)': async ({ send }) => {
    await defineIndex(send);
    const data = new Uint8Array(randomBytes(32));
    await succeed(send, commandBytes(NvWrite, { ...AS_OWNER, data, offset: 0 }));
    const command = commandBytes(NvRead, { ...AS_OWNER, size: 32, offset: 0 });
    const read = responseOf(NvRead, await succeed(send, command)).data;
    assert(isSame(read, data), 'data', read);
    return { run: () => succeed(send, command), close: () => undefineIndex(send) };
  },
  'StartAuthSession (HMAC), FlushContext': async ({ send }) => {
    const start = startSession(TPM_SE.HMAC);
    const run = async (): Promise<void> => flush(send, handleOf(await succeed(send, start)));
    await run();
    return { run };
  },
  'StartAuthSession, PolicyPCR, Unseal': async ({ send, storage }) => {
    const { load } = await sealTo(send, storage, pcrPolicy(await pcr(send, 0)));
    const sealed = handleOf(await succeed(send, load));
    const start = startSession(TPM_SE.POLICY);
    const policy = commandBytes(PolicyPcr, { policySession: 0x03000000, pcrDigest: NONE, pcrs: select(0) });
    // The session ends with its use.
    const unseal = commandBytes(Unseal, { itemHandle: sealed }, [{ session: 0, attributes: 0 }]);
    const run = async (): Promise<Uint8Array> => {
      const session = handleOf(await succeed(send, start));
      await succeed(send, withHandle(policy, session));
      return succeed(send, withHandle(unseal, session, SESSION_AT));
    };
    assertUnsealed(await run());
    return { run, close: () => flush(send, sealed) };
  },
  'Create (sealed, 32 bytes)': async ({ send, storage }) => {
    const { create } = await sealTo(send, storage);
    return { run: () => succeed(send, create) };
  },
  'Load, FlushContext': async ({ send, storage }) => {
    const { load } = await sealTo(send, storage);
    const run = async (): Promise<void> => flush(send, handleOf(await succeed(send, load)));
    await run();
    return { run };
  },
  'Load, Unseal, FlushContext': async ({ send, storage }) => {
    const { load } = await sealTo(send, storage);
    const unseal = commandBytes(Unseal, { itemHandle: 0x80000000 });
    const run = async (): Promise<Uint8Array> => {
      const sealed = handleOf(await succeed(send, load));
      const response = await succeed(send, withHandle(unseal, sealed));
      await flush(send, sealed);
      return response;
    };
    assertUnsealed(await run());
    return { run };
  },
};

/** The operations with public keys. */
export const asymmetric: Readonly<Record<string, Operation>> = {
  'Quote (ECC P-256, 8 PCRs)': (rig) => quoting(rig, free(akTemplate('ecc-p256'))),
  'Quote (RSA 2048, 8 PCRs)': (rig) => quoting(rig, free(akTemplate('rsa-2048'))),
  'Sign (ECDSA P-256)': (rig) => signing(rig, free(signingKeyTemplate('ecc-p256'))),
  'Sign (RSASSA 2048)': (rig) => signing(rig, free(signingKeyTemplate('rsa-2048'))),
  'CreatePrimary (ECC P-256), FlushContext': async ({ send }) => {
    const command = createPrimary(srkTemplate('ecc-p256'), TPM_RH.ENDORSEMENT);
    const names = [await primaryName(send, command), await primaryName(send, command)] as const;
    assert(isSame(...names), 'the same primary key twice', names);
    return { run: async () => flush(send, handleOf(await succeed(send, command))) };
  },
  'Create (ECC P-256)': (rig) => creating(rig, free(signingKeyTemplate('ecc-p256'))),
  'Create (RSA 2048)': (rig) => creating(rig, free(signingKeyTemplate('rsa-2048'))),
};

/** Writes of changing data: swtpm does not store data that are the same as before. */
export const nvWriting: Operation = async ({ send }) => {
  await defineIndex(send);
  const data = new Uint8Array(32);
  const command = commandBytes(NvWrite, { ...AS_OWNER, data, offset: 0 });
  const at = command.length - 2 - data.length;
  let count = 0;
  const run = (): Promise<Uint8Array> => {
    new DataView(command.buffer).setUint32(at, ++count);
    return succeed(send, command);
  };
  const check = async (): Promise<void> => {
    const read = commandBytes(NvRead, { ...AS_OWNER, size: 32, offset: 0 });
    const stored = responseOf(NvRead, await succeed(send, read)).data;
    assert(isSame(stored, command.subarray(at, at + 32)), 'what was written last', stored);
  };
  await run();
  await check();
  return {
    run,
    close: async () => {
      await check();
      await undefineIndex(send);
    },
  };
};

/** The template without dictionary-attack protection, whose bookkeeping would be measured along. */
function free(template: TpmtPublic): TpmtPublic {
  return { ...template, objectAttributes: template.objectAttributes | TPMA_OBJECT.noDA };
}

const AS_OWNER = { authHandle: TPM_RH.OWNER, nvIndex: NV_INDEX } as const;
/** Where the session's handle stands in a command with one handle: behind header, handle and size of the area. */
const SESSION_AT = 10 + 4 + 4;

async function quoting({ send }: Rig, template: TpmtPublic): Promise<Ready> {
  const key = handleOf(await succeed(send, createPrimary(template, TPM_RH.ENDORSEMENT)));
  const qualifyingData = new Uint8Array(randomBytes(16));
  const PCRselect = select(0, 1, 2, 3, 4, 5, 6, 7);
  const command = commandBytes(Quote, { signHandle: key, qualifyingData, inScheme: OWN_SCHEME, PCRselect });
  const { quoted, signature } = responseOf(Quote, await succeed(send, command));
  const area = await publicArea(send, key);
  assert(signature.sigAlg !== TPM_ALG.NULL, 'a signature', signature);
  assert(verifyAttestSignature(area, quoted, encode(TpmtSignature, signature)), 'a quote that verifies', signature);
  return { run: () => succeed(send, command), close: () => flush(send, key) };
}

async function signing({ send }: Rig, template: TpmtPublic): Promise<Ready> {
  const key = handleOf(await succeed(send, createPrimary(template, TPM_RH.OWNER)));
  const validation = { tag: TPM_ST.HASHCHECK, hierarchy: TPM_RH.NULL, digest: NONE } as const;
  const command = commandBytes(Sign, { keyHandle: key, digest: DIGEST, inScheme: OWN_SCHEME, validation });
  const { signature } = responseOf(Sign, await succeed(send, command));
  assertSignature(await publicArea(send, key), { signature });
  return { run: () => succeed(send, command), close: () => flush(send, key) };
}

async function creating({ send, storage }: Rig, template: TpmtPublic): Promise<Ready> {
  const command = create(storage, template, NONE);
  const { outPrivate: inPrivate, outPublic: inPublic } = responseOf(Create, await succeed(send, command));
  const load = commandBytes(Load, { parentHandle: storage, inPrivate, inPublic });
  const key = handleOf(await succeed(send, load));
  const validation = { tag: TPM_ST.HASHCHECK, hierarchy: TPM_RH.NULL, digest: NONE } as const;
  const sign = commandBytes(Sign, { keyHandle: key, digest: DIGEST, inScheme: OWN_SCHEME, validation });
  assertSignature(inPublic, responseOf(Sign, await succeed(send, sign)));
  await flush(send, key);
  return { run: () => succeed(send, command) };
}

function assertSignature(area: TpmtPublic, { signature }: { readonly signature: TpmtSignature }): void {
  assert(area.type !== TPM_ALG.RSA || area.unique.length === RSA_SIZE, 'a modulus of 2048 bits', area);
  const key = createPublicKey({ key: Buffer.from(publicKeySpki(area)), format: 'der', type: 'spki' });
  assert(verify('sha256', MESSAGE, { key, dsaEncoding: 'ieee-p1363' }, bytesOf(signature)), 'a signature', signature);
}

function bytesOf(signature: TpmtSignature): Uint8Array {
  if (signature.sigAlg === TPM_ALG.RSASSA) return signature.signature.sig;
  assert(signature.sigAlg === TPM_ALG.ECDSA, 'RSASSA or ECDSA', signature);
  const { signatureR, signatureS } = signature.signature;
  return Buffer.concat([padded(signatureR), padded(signatureS)]);
}

function padded(value: Uint8Array): Uint8Array {
  return Buffer.concat([new Uint8Array(32 - value.length), value]);
}

async function publicArea(send: Send, key: number): Promise<TpmtPublic> {
  const { outPublic } = responseOf(ReadPublic, await succeed(send, commandBytes(ReadPublic, { objectHandle: key })));
  return outPublic as TpmtPublic; // none of the templates leaves the name algorithm out
}

async function primaryName(send: Send, command: Uint8Array): Promise<Uint8Array> {
  const response = await succeed(send, command);
  await flush(send, handleOf(response));
  return responseOf(CreatePrimary, response).name;
}

function createPrimary(template: TpmtPublic, primaryHandle: number): Uint8Array {
  const rest = { outsideInfo: NONE, creationPCR: [] };
  const inSensitive = { userAuth: NONE, data: NONE };
  return commandBytes(CreatePrimary, { primaryHandle, inSensitive, inPublic: template, ...rest });
}

function create(parentHandle: number, template: TpmtPublic, data: Uint8Array): Uint8Array {
  const inSensitive = { userAuth: NONE, data };
  return commandBytes(Create, { parentHandle, inSensitive, inPublic: template, outsideInfo: NONE, creationPCR: [] });
}

/** The commands that seal the digest, and load what was sealed. */
async function sealTo(
  send: Send,
  parentHandle: number,
  policy?: Uint8Array,
): Promise<{ readonly create: Uint8Array; readonly load: Uint8Array }> {
  const template = sealedTemplate({ noDA: true, ...(policy && { policy }) });
  const command = create(parentHandle, template, DIGEST);
  const { outPrivate: inPrivate, outPublic: inPublic } = responseOf(Create, await succeed(send, command));
  return { create: command, load: commandBytes(Load, { parentHandle, inPrivate, inPublic }) };
}

function assertUnsealed(response: Uint8Array): void {
  const { outData } = responseOf(Unseal, response);
  assert(isSame(outData, DIGEST), 'what was sealed', outData);
}

/** The digest of PolicyPCR over PCR 0 with this value (Part 3, 23.7). */
function pcrPolicy(value: Uint8Array): Uint8Array {
  const code = Buffer.from('0000017f', 'hex');
  const selection = Buffer.from('00000001000b03010000', 'hex');
  return sha256(new Uint8Array(32), code, selection, sha256(value));
}

function startSession(sessionType: typeof TPM_SE.HMAC | typeof TPM_SE.POLICY): Uint8Array {
  return commandBytes(StartAuthSession, {
    tpmKey: TPM_RH.NULL,
    bind: TPM_RH.NULL,
    nonceCaller: new Uint8Array(randomBytes(16)),
    encryptedSalt: NONE,
    sessionType,
    symmetric: { algorithm: TPM_ALG.NULL },
    authHash: TPM_ALG.SHA256,
  });
}

async function defineIndex(send: Send): Promise<void> {
  const publicInfo = {
    nvIndex: NV_INDEX,
    nameAlg: TPM_ALG.SHA256,
    attributes: NV_ATTRIBUTES,
    authPolicy: NONE,
    dataSize: 32,
  } as const;
  await succeed(send, commandBytes(NvDefineSpace, { authHandle: TPM_RH.OWNER, auth: NONE, publicInfo }));
}

async function undefineIndex(send: Send): Promise<void> {
  await succeed(send, commandBytes(NvUndefineSpace, AS_OWNER));
}

const flushing = commandBytes(FlushContext, { flushHandle: 0x80000000 });

async function flush(send: Send, handle: number): Promise<void> {
  await succeed(send, withHandle(flushing, handle));
}

async function pcr(send: Send, index: number): Promise<Uint8Array> {
  const response = await succeed(send, commandBytes(PcrRead, { pcrSelectionIn: select(index) }));
  const [value] = responseOf(PcrRead, response).pcrValues;
  if (value === undefined) throw new Error(`PCR ${index} was not read`);
  return value;
}

function select(...indexes: readonly number[]): TpmlPcrSelection {
  const pcrSelect = new Uint8Array(3);
  for (const index of indexes) pcrSelect[index >> 3] = (pcrSelect[index >> 3] ?? 0) | (1 << (index & 7));
  return [{ hash: TPM_ALG.SHA256, pcrSelect }];
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function assert(holds: boolean, expected: string, got: unknown): asserts holds {
  if (!holds) throw new Error(`refuse to time: expected ${expected}, got ${JSON.stringify(got)}`);
}
