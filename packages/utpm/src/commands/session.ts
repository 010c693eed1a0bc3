/** Sessions: Part 3, clause 11. */
import {
  kdfA,
  PolicyRestart,
  StartAuthSession,
  TPM_ALG,
  TPM_HC,
  TPM_HT,
  TPM_RC,
  TPM_RH,
  TPM_SE,
  TPMA_OBJECT,
} from '@casemate/tpm';
import { concat, EMPTY } from '../bytes.js';
import { timeOf } from '../clock.js';
import { entityAuth, entityName, findObject, handleType, isDaExempt } from '../entity.js';
import { handler } from '../handler.js';
import { digestSize, IMPLEMENTATION, isHash } from '../implementation.js';
import { has } from '../object.js';
import { receiveSecret } from '../protection.js';
import { assertSymmetric, type Symmetric } from '../public-area.js';
import { blameParameter, refuse, refuseHandle, refuseParameter } from '../refusal.js';
import { bindingOf, emptyPolicy, type Session, type SessionCipher, type SessionType } from '../session.js';
import type { Tpm } from '../tpm.js';
import { policySession } from './policy.js';

const MIN_NONCE = 16;

/** TPM2_StartAuthSession (11.1). */
export const startAuthSession = /* @__PURE__ */ handler(StartAuthSession, (tpm, request) => {
  const { tpmKey, bind, nonceCaller, encryptedSalt, sessionType, authHash } = request;
  if (!isHash(authHash)) refuseParameter(TPM_RC.HASH, 5);
  const { symmetric } = request;
  const cipher = symmetric.algorithm === TPM_ALG.NULL ? NO_CIPHER : blameParameter(4, () => cipherOf(tpm, symmetric));
  if (nonceCaller.length < MIN_NONCE || nonceCaller.length > digestSize(authHash)) refuseParameter(TPM_RC.SIZE, 1);
  const salt = saltOf(tpm, tpmKey, encryptedSalt);
  const auth = bindAuth(tpm, bind);
  const handle = allocate(tpm, sessionType === TPM_SE.HMAC ? TPM_HC.HR_HMAC_SESSION : TPM_HC.HR_POLICY_SESSION);
  const nonceTpm = tpm.crypto.random(nonceCaller.length);
  const isBound = bind !== TPM_RH.NULL;
  const isKeyed = isBound || tpmKey !== TPM_RH.NULL;
  const key = isKeyed ? sessionKey(tpm, authHash, concat(auth, salt), nonceTpm, nonceCaller) : EMPTY;
  const isBinding = isBound && sessionType === TPM_SE.HMAC;
  const session: Session = {
    handle,
    type: typeOf(sessionType),
    authHash,
    cipher,
    key,
    nonceTpm,
    boundTo: isBinding ? bindingOf(entityName(tpm, bind), auth) : undefined,
    isDaBound: isBound && !isDaExempt(tpm, bind),
    isLockoutBound: bind === TPM_RH.LOCKOUT,
    policy: emptyPolicy(authHash),
    auditDigest: undefined,
    startTime: timeOf(tpm),
    epoch: tpm.volatile.timeEpoch,
  };
  tpm.volatile.sessions.set(handle, session);
  return { sessionHandle: handle, nonceTPM: nonceTpm };
});

const NO_CIPHER: SessionCipher = { kind: 'none' };

function cipherOf(tpm: Tpm, { algorithm, keyBits = 0, mode }: Symmetric): SessionCipher {
  if (algorithm === TPM_ALG.XOR) return isHash(keyBits) ? { kind: 'xor', hash: keyBits } : refuse(TPM_RC.HASH);
  assertSymmetric(tpm.crypto, { algorithm, keyBits });
  return mode === TPM_ALG.CFB ? { kind: 'block', algorithm, bits: keyBits } : refuse(TPM_RC.MODE);
}

function typeOf(sessionType: number): SessionType {
  if (sessionType === TPM_SE.HMAC) return 'hmac';
  return sessionType === TPM_SE.POLICY ? 'policy' : 'trial';
}

function saltOf(tpm: Tpm, tpmKey: number, encryptedSalt: Uint8Array): Uint8Array {
  if (tpmKey === TPM_RH.NULL) {
    if (encryptedSalt.length > 0) refuseParameter(TPM_RC.VALUE, 2);
    return EMPTY;
  }
  const key = findObject(tpm, tpmKey) ?? refuseHandle(TPM_RC.HANDLE, 1);
  if (key.public.type !== TPM_ALG.RSA && key.public.type !== TPM_ALG.ECC) refuseHandle(TPM_RC.KEY, 1);
  if (key.sensitive === undefined) refuseHandle(TPM_RC.HANDLE, 1);
  if (!has(key.public, TPMA_OBJECT.decrypt)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (encryptedSalt.length === 0) refuseParameter(TPM_RC.VALUE, 2);
  return blameParameter(2, () => receiveSecret(tpm, key, 'SECRET', encryptedSalt));
}

function bindAuth(tpm: Tpm, bind: number): Uint8Array {
  if (bind === TPM_RH.NULL) return EMPTY;
  const isObject = handleType(bind) === TPM_HT.TRANSIENT || handleType(bind) === TPM_HT.PERSISTENT;
  if (isObject && findObject(tpm, bind)?.sensitive === undefined) refuseHandle(TPM_RC.HANDLE, 2);
  return entityAuth(tpm, bind);
}

function sessionKey(
  tpm: Tpm,
  hash: number,
  key: Uint8Array,
  nonceTpm: Uint8Array,
  nonceCaller: Uint8Array,
): Uint8Array {
  const bits = digestSize(hash) * 8;
  const derived = kdfA({ hash, key, label: 'ATH', contextU: nonceTpm, contextV: nonceCaller, bits }, tpm.crypto);
  key.fill(0);
  return derived;
}

/** A free session handle of the kind that `base` starts; numbers are shared by both kinds (Part 1, 19.6.1). */
function allocate(tpm: Tpm, base: number): number {
  const { sessions, savedSessions } = tpm.volatile;
  if (sessions.size >= IMPLEMENTATION.MAX_LOADED_SESSIONS) refuse(TPM_RC.SESSION_MEMORY);
  const isUsed = (handle: number): boolean => sessions.has(handle) || savedSessions.has(handle);
  for (let number = 0; number < IMPLEMENTATION.MAX_ACTIVE_SESSIONS; number++) {
    if (!isUsed(TPM_HC.HR_HMAC_SESSION + number) && !isUsed(TPM_HC.HR_POLICY_SESSION + number)) return base + number;
  }
  return refuse(TPM_RC.SESSION_HANDLES);
}

/** TPM2_PolicyRestart (11.2). */
export const policyRestart = /* @__PURE__ */ handler(PolicyRestart, (tpm, { sessionHandle }) => {
  const session = policySession(tpm, sessionHandle);
  session.policy = emptyPolicy(session.authHash);
  return {};
});
