/** Sessions and their policies: Part 3, clauses 11 and 23; Part 1, 19.6 and 19.7. */
import { concat, EMPTY, isEqual, u16Bytes, u32Bytes } from '../bytes.js';
import { bindingTo } from './authorization.js';
import { type Answer, answer, type Call, type Command } from './command.js';
import { NIST_P256, TPM_ALG, TPM_CC, TPM_HT, TPM_RC, TPM_RH, TPM_ST, TPMA_OBJECT } from './constants.js';
import { kdfA, kdfE, sha256 } from './crypto.js';
import { entityAuth, entityName, isProtected, MAX_SESSIONS, objectAt, sessionAt } from './entity.js';
import { Input, refuse, refuseHandle, refuseParameter, sized } from './octets.js';
import { encodeSelection, pcrDigest, readSelection } from './pcr.js';
import { has, pointOf, readCipher } from './public-area.js';
import { type Micro, NO_POLICY, type Policy, type Session } from './state.js';

const TYPES = ['hmac', 'policy', undefined, 'trial'] as const;

function startAuthSession(tpm: Micro, { handles, input }: Call): Answer {
  const [tpmKey = 0, bind = 0] = handles;
  const nonceCaller = input.parameter().sized(64);
  const encryptedSalt = input.parameter().sized(256);
  const type = TYPES[input.parameter().u8()] ?? input.refuse(TPM_RC.VALUE);
  const hasCipher = readCipher(input.parameter());
  input.parameter().expect(input.u16(), TPM_ALG.SHA256, TPM_RC.HASH);
  input.end();
  if (nonceCaller.length < 16 || nonceCaller.length > 32) refuseParameter(TPM_RC.SIZE, 1);
  const salt = saltOf(tpm, tpmKey, encryptedSalt);
  const handle = freeHandle(tpm, type);
  const nonceTpm = tpm.crypto.random(nonceCaller.length);
  const isBound = bind !== TPM_RH.NULL;
  const secret = concat(isBound ? entityAuth(tpm, bind) : EMPTY, salt);
  const isKeyed = isBound || tpmKey !== TPM_RH.NULL;
  const key = isKeyed ? kdfA(tpm.crypto, secret, 'ATH', [nonceTpm, nonceCaller], 32) : EMPTY;
  secret.fill(0);
  const bound = isBound && type === 'hmac' ? bindingTo(tpm, bind) : undefined;
  const isBoundProtected = isBound && isProtected(tpm, bind);
  tpm.sessions.set(handle, { handle, type, hasCipher, key, nonceTpm, bound, isBoundProtected, policy: NO_POLICY });
  return { handle, ...answer(sized(nonceTpm)) };
}

// Part 1, annex C.6.3: the salt is what both can make of an ephemeral key and the TPM's.
function saltOf(tpm: Micro, tpmKey: number, encrypted: Uint8Array): Uint8Array {
  if (tpmKey === TPM_RH.NULL) return encrypted.length > 0 ? refuseParameter(TPM_RC.VALUE, 2) : EMPTY;
  const { area, secret } = objectAt(tpm, tpmKey);
  if (area.type !== TPM_ALG.ECC) refuseHandle(TPM_RC.KEY, 1);
  if (!has(area, TPMA_OBJECT.decrypt)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  const input = new Input(encrypted).parameter().parameter();
  const theirs = { x: input.sized(32), y: input.sized(32) };
  if (input.remaining > 0) refuseParameter(TPM_RC.SIZE, 2);
  const shared = tpm.crypto.eccMultiply(NIST_P256, secret, theirs) ?? refuseParameter(TPM_RC.VALUE, 2);
  return kdfE(tpm.crypto, shared.x, 'SECRET', theirs.x, pointOf(area).x);
}

// Numbers are shared by both kinds of sessions.
function freeHandle(tpm: Micro, type: Session['type']): number {
  const base = (type === 'hmac' ? TPM_HT.HMAC_SESSION : TPM_HT.POLICY_SESSION) * 0x1000000;
  const used = new Set([...tpm.sessions.keys()].map((handle) => handle & 0xffffff));
  for (let number = 0; number < MAX_SESSIONS; number++) if (!used.has(number)) return base + number;
  return refuse(TPM_RC.SESSION_MEMORY);
}

/** policyDigest := H(policyDigest || command code || parts). */
function extended(tpm: Micro, { policy }: Session, code: number, ...parts: readonly Uint8Array[]): Policy {
  return { ...policy, digest: sha256(tpm.crypto, policy.digest, u32Bytes(code), ...parts) };
}

function policyPcr(tpm: Micro, { handles, input }: Call): Answer {
  const session = sessionAt(tpm, handles[0] ?? 0);
  const expected = input.parameter().sized(64);
  const bitmaps = readSelection(input.parameter());
  input.end();
  const isTrial = session.type === 'trial';
  const digest = pcrDigest(tpm, bitmaps);
  const { pcrCounter } = session.policy;
  if (!isTrial && pcrCounter !== undefined && pcrCounter !== tpm.pcrCounter) refuse(TPM_RC.PCR_CHANGED);
  if (!isTrial && expected.length > 0 && !isEqual(expected, digest)) refuseParameter(TPM_RC.VALUE, 1);
  const used = isTrial && expected.length > 0 ? expected : digest;
  const policy = extended(tpm, session, TPM_CC.PolicyPCR, encodeSelection(bitmaps), used);
  session.policy = isTrial ? policy : { ...policy, pcrCounter: tpm.pcrCounter };
  return answer();
}

function policyOr(tpm: Micro, { handles, input }: Call): Answer {
  const session = sessionAt(tpm, handles[0] ?? 0);
  const branches = input.parameter().list(8, () => input.sized(64));
  if (branches.length < 2) input.refuse(TPM_RC.SIZE);
  input.end();
  const isOne = branches.some((digest) => isEqual(digest, session.policy.digest));
  if (session.type !== 'trial' && !isOne) refuseParameter(TPM_RC.VALUE, 1);
  const digest = sha256(tpm.crypto, new Uint8Array(32), u32Bytes(TPM_CC.PolicyOR), ...branches);
  session.policy = { ...session.policy, digest };
  return answer();
}

// There are no tickets, and so no expiration: the proof is of this moment.
function policySecret(tpm: Micro, { handles, input }: Call): Answer {
  const [authHandle = 0, handle = 0] = handles;
  const session = sessionAt(tpm, handle);
  const nonceTpm = input.parameter().sized(64);
  if (input.parameter().sized(64).length > 0) refuseParameter(TPM_RC.VALUE, 2);
  const policyRef = input.parameter().sized(64);
  input.parameter().expect(input.u32(), 0, TPM_RC.VALUE);
  input.end();
  if (nonceTpm.length > 0 && !isEqual(nonceTpm, session.nonceTpm)) refuseParameter(TPM_RC.NONCE, 1);
  const named = extended(tpm, session, TPM_CC.PolicySecret, entityName(tpm, authHandle));
  session.policy = { ...named, digest: sha256(tpm.crypto, named.digest, policyRef) };
  return answer(sized(EMPTY), u16Bytes(TPM_ST.AUTH_SECRET), u32Bytes(TPM_RH.NULL), sized(EMPTY));
}

function policyCommandCode(tpm: Micro, { handles, input }: Call): Answer {
  const session = sessionAt(tpm, handles[0] ?? 0);
  const code = input.parameter().u32();
  input.end();
  const { commandCode } = session.policy;
  if (commandCode !== 0 && commandCode !== code) refuseParameter(TPM_RC.VALUE, 1);
  if (!Object.values(TPM_CC).some((known) => known === code)) refuseParameter(TPM_RC.POLICY_CC, 1);
  session.policy = { ...extended(tpm, session, TPM_CC.PolicyCommandCode, u32Bytes(code)), commandCode: code };
  return answer();
}

const POLICY = [TPM_HT.POLICY_SESSION];
const ENTITY = [TPM_HT.PERMANENT, TPM_HT.TRANSIENT, TPM_HT.NV_INDEX, TPM_HT.PCR];

/** The commands of clauses 11 and 23. */
export const SESSION_COMMANDS: readonly Command[] = [
  {
    code: TPM_CC.StartAuthSession,
    handles: [[TPM_HT.TRANSIENT, TPM_HT.PERMANENT], ENTITY],
    roles: [],
    makesHandle: true,
    canDecrypt: true,
    canEncrypt: true,
    run: startAuthSession,
  },
  {
    code: TPM_CC.PolicyRestart,
    handles: [POLICY],
    roles: [],
    run: (tpm, { handles: [handle = 0], input }) => {
      input.end();
      sessionAt(tpm, handle).policy = NO_POLICY;
      return answer();
    },
  },
  { code: TPM_CC.PolicyPCR, handles: [POLICY], roles: [], canDecrypt: true, run: policyPcr },
  { code: TPM_CC.PolicyOR, handles: [POLICY], roles: [], run: policyOr },
  {
    code: TPM_CC.PolicyAuthValue,
    handles: [POLICY],
    roles: [],
    run: (tpm, { handles: [handle = 0], input }) => {
      input.end();
      const session = sessionAt(tpm, handle);
      session.policy = { ...extended(tpm, session, TPM_CC.PolicyAuthValue), needsAuth: true };
      return answer();
    },
  },
  { code: TPM_CC.PolicyCommandCode, handles: [POLICY], roles: [], run: policyCommandCode },
  {
    ...{ code: TPM_CC.PolicySecret, handles: [ENTITY, POLICY], roles: ['user'], run: policySecret },
    ...{ canDecrypt: true, canEncrypt: true },
  },
  {
    code: TPM_CC.PolicyGetDigest,
    handles: [POLICY],
    roles: [],
    canEncrypt: true,
    run: (tpm, { handles: [handle = 0], input }) => {
      input.end();
      return answer(sized(sessionAt(tpm, handle).policy.digest));
    },
  },
];
