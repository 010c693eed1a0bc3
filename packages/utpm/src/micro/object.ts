/** Objects: Part 3, clauses 12, 24.1 and 28.4; Part 1, clauses 22 to 27. */

import { concat, EMPTY, isEqual, label, padStart, trimAuth, u16Bytes, u32Bytes } from '../bytes.js';
import { openDrbg } from '../drbg.js';
import { toBytes, toInteger } from '../integer.js';
import { endSession } from './authorization.js';
import { type Answer, answer, type Call, type Command } from './command.js';
import { NIST_P256, TPM_ALG, TPM_CC, TPM_HT, TPM_RC, TPM_ST } from './constants.js';
import { hmac, kdfA, type MicroCrypto, sha256 } from './crypto.js';
import { MAX_OBJECTS, objectAt } from './entity.js';
import { Input, Refusal, refuse, refuseHandle, refuseParameter, sized } from './octets.js';
import { encodeSelection, pcrDigest, readSelection } from './pcr.js';
import {
  assertConsistent,
  assertCreatable,
  encodePublic,
  isStorageKey,
  nameOf,
  type PublicArea,
  pointOf,
  readPublic,
} from './public-area.js';
import { hierarchyOf, type Micro, type MicroObject } from './state.js';

/** Bytes of sealed data. */
const MAX_DATA = 128;
/** The order of P-256 (SP 800-186, 3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

type Source = (length: number) => Uint8Array;
type Secrets = Pick<MicroObject, 'secret' | 'seed' | 'auth'>;
type Made = Secrets & Pick<MicroObject, 'area' | 'name'>;

interface Template {
  readonly auth: Uint8Array;
  readonly data: Uint8Array;
  readonly area: PublicArea;
  readonly outsideInfo: Uint8Array;
  readonly pcrs: readonly Uint8Array[];
}

function readTemplate({ input }: Call, parent: PublicArea | undefined): Template {
  const [auth, data] = input.parameter().within(() => [trimAuth(input.sized(64)), input.sized(MAX_DATA)] as const);
  const area = input.parameter().within(readPublic);
  const outsideInfo = input.parameter().sized(66);
  const pcrs = readSelection(input.parameter());
  input.end();
  if (auth.length > 32) refuseParameter(TPM_RC.SIZE, 1);
  blame(2, () => assertCreatable(area, parent, data));
  return { auth, data, area, outsideInfo, pcrs };
}

function blame<T>(parameter: number, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof Refusal) refuseParameter(error.code, parameter);
    throw error;
  }
}

// FIPS 186-5, A.2.1: 64 extra bits make the bias of the reduction negligible.
function make(crypto: MicroCrypto, { area, auth, data }: Template, source: Source): Made {
  if (area.type === TPM_ALG.KEYEDHASH) {
    const seed = source(32);
    const sealed = { ...area, x: sha256(crypto, seed, data) };
    return { area: sealed, name: nameOf(crypto, sealed), secret: data, seed, auth };
  }
  const secret = toBytes((toInteger(source(40)) % (ORDER - 1n)) + 1n, 32);
  const seed = isStorageKey(area) ? source(32) : EMPTY;
  const point = crypto.eccMultiply(NIST_P256, secret) ?? refuse(TPM_RC.FAILURE);
  const key = { ...area, ...point };
  return { area: key, name: nameOf(crypto, key), secret, seed, auth };
}

/** The stream of random numbers that a primary object is made of: the same for the same seed, template and data. */
function primarySource(crypto: MicroCrypto, seed: Uint8Array, { area, data }: Template): Source {
  const digest = sha256(crypto, encodePublic(area));
  const stream = openDrbg(
    (key, ...parts) => hmac(crypto, key, ...parts),
    32,
    seed,
    label('Primary Object Creation'),
    digest,
    data,
  );
  return stream.generate;
}

function addObject(tpm: Micro, made: Made, hierarchy: number, ancestors: Uint8Array): number {
  let handle = TPM_HT.TRANSIENT * 0x1000000;
  while (tpm.objects.has(handle)) handle++;
  const qualifiedName = concat(u16Bytes(TPM_ALG.SHA256), sha256(tpm.crypto, ancestors, made.name));
  tpm.objects.set(handle, { ...made, handle, hierarchy, qualifiedName });
  return handle;
}

function assertRoom(tpm: Micro): void {
  if (tpm.objects.size >= MAX_OBJECTS) refuse(TPM_RC.OBJECT_MEMORY);
}

// TPMS_CREATION_DATA, its digest and the ticket over it (Part 2, clause 15).
function proveCreation(
  tpm: Micro,
  { name }: Made,
  template: Template,
  origin: {
    readonly hierarchy: number;
    readonly alg: number;
    readonly name: Uint8Array;
    readonly qualifiedName: Uint8Array;
  },
  locality: number,
): Uint8Array {
  const data = concat(
    encodeSelection(template.pcrs),
    sized(pcrDigest(tpm, template.pcrs)),
    Uint8Array.of(locality < 5 ? 1 << locality : locality),
    u16Bytes(origin.alg),
    sized(origin.name),
    sized(origin.qualifiedName),
    sized(template.outsideInfo),
  );
  const hash = sha256(tpm.crypto, data);
  const proof = hmac(tpm.crypto, hierarchyOf(tpm, origin.hierarchy).proof, u16Bytes(TPM_ST.CREATION), name, hash);
  return concat(sized(data), sized(hash), u16Bytes(TPM_ST.CREATION), u32Bytes(origin.hierarchy), sized(proof));
}

function createPrimary(tpm: Micro, call: Call): Answer {
  const hierarchy = call.handles[0] ?? 0;
  const template = readTemplate(call, undefined);
  assertRoom(tpm);
  const { seed } = hierarchyOf(tpm, hierarchy);
  const made = make(tpm.crypto, template, primarySource(tpm.crypto, seed, template));
  const own = u32Bytes(hierarchy);
  const origin = { hierarchy, alg: TPM_ALG.NULL, name: own, qualifiedName: own };
  const proof = proveCreation(tpm, made, template, origin, call.locality);
  const handle = addObject(tpm, made, hierarchy, own);
  return { handle, ...answer(sized(encodePublic(made.area)), proof, sized(made.name)) };
}

function storageKeyAt(tpm: Micro, handle: number): MicroObject {
  const parent = objectAt(tpm, handle);
  return isStorageKey(parent.area) ? parent : refuseHandle(TPM_RC.TYPE, 1);
}

function create(tpm: Micro, call: Call): Answer {
  const parent = storageKeyAt(tpm, call.handles[0] ?? 0);
  const template = readTemplate(call, parent.area);
  const made = make(tpm.crypto, template, (length) => tpm.crypto.random(length));
  const { hierarchy, name, qualifiedName } = parent;
  const proof = proveCreation(
    tpm,
    made,
    template,
    { hierarchy, alg: TPM_ALG.SHA256, name, qualifiedName },
    call.locality,
  );
  return answer(sized(wrap(tpm, parent, made)), sized(encodePublic(made.area)), proof);
}

// TPMT_SENSITIVE, with an authorization value that does not tell its length.
function encodeSensitive({ area, auth, seed, secret }: Made): Uint8Array {
  const padded = concat(auth, new Uint8Array(32 - auth.length));
  return concat(u16Bytes(area.type), sized(padded), sized(seed), sized(secret));
}

// TPM2B_PRIVATE's contents (Part 1, 22.4 to 22.6): an HMAC over an initial vector and the encrypted sensitive area, bound to the Name.
function wrap(tpm: Micro, parent: MicroObject, made: Made): Uint8Array {
  const iv = tpm.crypto.random(16);
  const key = kdfA(tpm.crypto, parent.seed, 'STORAGE', [made.name], 16);
  const body = concat(sized(iv), tpm.crypto.aesCfbEncrypt(key, iv, sized(encodeSensitive(made))));
  key.fill(0);
  return concat(sized(integrityOf(tpm, parent, body, made.name)), body);
}

function integrityOf(tpm: Micro, parent: MicroObject, body: Uint8Array, name: Uint8Array): Uint8Array {
  const key = kdfA(tpm.crypto, parent.seed, 'INTEGRITY', [], 32);
  const digest = hmac(tpm.crypto, key, body, name);
  key.fill(0);
  return digest;
}

function unwrap(tpm: Micro, parent: MicroObject, area: PublicArea, name: Uint8Array, blob: Uint8Array): Secrets {
  const outer = new Input(blob);
  const digest = outer.sized(32);
  const body = outer.take(outer.remaining);
  if (!isEqual(digest, integrityOf(tpm, parent, body, name))) refuse(TPM_RC.INTEGRITY);
  const inner = new Input(body);
  const iv = inner.sized(16);
  const key = kdfA(tpm.crypto, parent.seed, 'STORAGE', [name], 16);
  const plain = new Input(tpm.crypto.aesCfbDecrypt(key, iv, inner.take(inner.remaining).slice()));
  key.fill(0);
  return plain.within((sensitive) => {
    sensitive.expect(sensitive.u16(), area.type, TPM_RC.TYPE);
    const [auth, seed, secret] = [sensitive.sized(32), sensitive.sized(64), sensitive.sized(MAX_DATA)];
    return { auth: trimAuth(auth), seed, secret };
  });
}

function load(tpm: Micro, { handles, input }: Call): Answer {
  const parent = storageKeyAt(tpm, handles[0] ?? 0);
  const blob = input.parameter().sized(1024);
  const area = input.parameter().within(readPublic);
  input.end();
  assertRoom(tpm);
  const name = nameOf(tpm.crypto, area);
  const secrets = blame(1, () => unwrap(tpm, parent, area, name, blob));
  blame(2, () => assertConsistent(area, parent.area));
  const made = { area, name, ...secrets };
  if (!isBound(tpm.crypto, made)) refuseParameter(TPM_RC.BINDING, 2);
  return { handle: addObject(tpm, made, parent.hierarchy, parent.qualifiedName), ...answer(sized(name)) };
}

/** Do the private and the public half belong together? */
function isBound(crypto: MicroCrypto, { area, secret, seed }: Made): boolean {
  if (area.type === TPM_ALG.KEYEDHASH) return isEqual(area.x, sha256(crypto, seed, secret));
  const point = crypto.eccMultiply(NIST_P256, padStart(secret, 32));
  const { x, y } = pointOf(area);
  return point !== undefined && isEqual(point.x, x) && isEqual(point.y, y);
}

function flush(tpm: Micro, { input }: Call): Answer {
  const handle = input.parameter().u32();
  input.end();
  const object = tpm.objects.get(handle);
  object?.secret.fill(0);
  object?.seed.fill(0);
  const session = tpm.sessions.get(handle);
  if (session) endSession(tpm, session);
  if (!tpm.objects.delete(handle) && session === undefined) refuseParameter(TPM_RC.HANDLE, 1);
  return answer();
}

const OBJECT = [TPM_HT.TRANSIENT];

/** The commands that make, load, read and remove objects. */
export const OBJECT_COMMANDS: readonly Command[] = [
  {
    ...{ code: TPM_CC.CreatePrimary, handles: [[TPM_HT.PERMANENT]], roles: ['user'], run: createPrimary },
    ...{ makesHandle: true, canDecrypt: true, canEncrypt: true },
  },
  { code: TPM_CC.Create, handles: [OBJECT], roles: ['user'], canDecrypt: true, canEncrypt: true, run: create },
  {
    ...{ code: TPM_CC.Load, handles: [OBJECT], roles: ['user'], run: load },
    makesHandle: true,
    canDecrypt: true,
    canEncrypt: true,
  },
  {
    code: TPM_CC.ReadPublic,
    handles: [OBJECT],
    roles: [],
    canEncrypt: true,
    isHarmless: true,
    run: (tpm, { handles: [handle = 0], input }) => {
      input.end();
      const { area, name, qualifiedName } = objectAt(tpm, handle);
      return answer(sized(encodePublic(area)), sized(name), sized(qualifiedName));
    },
  },
  {
    code: TPM_CC.Unseal,
    handles: [OBJECT],
    roles: ['user'],
    canEncrypt: true,
    run: (tpm, { handles: [handle = 0], input }) => {
      input.end();
      const { area, secret } = objectAt(tpm, handle);
      if (area.type !== TPM_ALG.KEYEDHASH) refuseHandle(TPM_RC.TYPE, 1);
      return answer(sized(secret));
    },
  },
  { code: TPM_CC.FlushContext, handles: [], roles: [], isBare: true, run: flush },
];
