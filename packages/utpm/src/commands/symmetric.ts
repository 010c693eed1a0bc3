/** Hashing and HMAC in one command: Part 3, clause 15. */
import { Hash, Mac, TPM_ALG, TPM_GENERATED_VALUE, TPM_RC, TPM_RH, TPMA_OBJECT } from '@casemate/tpm';
import { readU32 } from '../bytes.js';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { IMPLEMENTATION, isHash } from '../implementation.js';
import { has, type TpmObject } from '../object.js';
import { refuseHandle, refuseParameter } from '../refusal.js';
import { hashcheckTicket, nullTicket } from '../ticket.js';
import { isHierarchyEnabled } from '../tpm.js';

/** TPM2_Hash (15.4). The ticket lets a restricted key sign the digest, so data that look like the TPM's own get none. */
export const hash = handler(Hash, (tpm, { data, hashAlg, hierarchy }) => {
  if (data.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 1);
  if (!isHash(hashAlg)) refuseParameter(TPM_RC.HASH, 2);
  if (!isHierarchyEnabled(tpm, hierarchy)) refuseParameter(TPM_RC.HIERARCHY, 3);
  const outHash = tpm.crypto.hash(hashAlg, data);
  const isSafe = hierarchy !== TPM_RH.NULL && !looksGenerated(data);
  return { outHash, validation: isSafe ? hashcheckTicket(tpm, hierarchy, hashAlg, outHash) : nullTicket() };
});

/** Do the data start as an attestation of a TPM does? */
function looksGenerated(data: Uint8Array): boolean {
  return data.length >= 4 && readU32(data, 0) === TPM_GENERATED_VALUE;
}

/** TPM2_MAC (15.6), which TPM2_HMAC (15.5) became with the same code: HMAC by a keyed hash. */
export const mac = handler(Mac, (tpm, { handle, buffer, inScheme }) => {
  const object = objectAt(tpm, handle);
  if (buffer.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 1);
  const alg = hmacAlgorithm(object, inScheme);
  return { outMAC: tpm.crypto.hmac(alg, hmacKey(object), buffer) };
});

/** The hash of an HMAC by `object`: its scheme's, or the caller's where the key leaves it open. */
function hmacAlgorithm(object: TpmObject, asked: number): number {
  const { public: area } = object;
  if (area.type !== TPM_ALG.KEYEDHASH) return refuseHandle(TPM_RC.TYPE, 1);
  if (has(area, TPMA_OBJECT.restricted)) return refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (!has(area, TPMA_OBJECT.sign)) return refuseHandle(TPM_RC.KEY, 1);
  const { scheme } = area.parameters;
  const own = scheme.scheme === TPM_ALG.NULL ? TPM_ALG.NULL : scheme.details.hashAlg;
  if (own === TPM_ALG.NULL) return isHash(asked) ? asked : refuseParameter(TPM_RC.VALUE, 2);
  if (asked !== TPM_ALG.NULL && asked !== own) refuseParameter(TPM_RC.VALUE, 2);
  return own;
}

/** The key of an HMAC object. */
function hmacKey(object: TpmObject): Uint8Array {
  return object.sensitive?.sensitiveType === TPM_ALG.KEYEDHASH
    ? object.sensitive.sensitive
    : refuseHandle(TPM_RC.KEY, 1);
}
