/** Signing and verifying: Part 3, clause 20. */
import { Sign, TPM_RC, TPMA_OBJECT, VerifySignature } from '@casemate/tpm';
import { isEqual } from '../bytes.js';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { digestSize } from '../implementation.js';
import { has } from '../object.js';
import { blameParameter, refuseHandle, refuseParameter } from '../refusal.js';
import { isSigningKey, selectScheme, signDigest, verifySignature as verify } from '../signing.js';
import { hashcheckTicket, verifiedTicket } from '../ticket.js';

/** TPM2_VerifySignature (20.1). */
export const verifySignature = /* @__PURE__ */ handler(VerifySignature, (tpm, { keyHandle, digest, signature }) => {
  const object = objectAt(tpm, keyHandle);
  if (!has(object.public, TPMA_OBJECT.sign)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  blameParameter(2, () => verify(tpm, object, digest, signature));
  return { validation: verifiedTicket(tpm, object.hierarchy, digest, object.name) };
});

/** TPM2_Sign (20.2): a restricted key signs only what this TPM has hashed. */
export const sign = /* @__PURE__ */ handler(Sign, (tpm, { keyHandle, digest, inScheme, validation }) => {
  const object = objectAt(tpm, keyHandle);
  if (!isSigningKey(object)) refuseHandle(TPM_RC.KEY, 1);
  if (has(object.public, TPMA_OBJECT.x509sign)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  const scheme = blameParameter(2, () => selectScheme(object, inScheme));
  if (validation.digest.length > 0 || has(object.public, TPMA_OBJECT.restricted)) {
    const expected = hashcheckTicket(tpm, validation.hierarchy, scheme.hash, digest);
    if (expected.digest.length === 0 || !isEqual(expected.digest, validation.digest)) refuseParameter(TPM_RC.TICKET, 3);
  }
  if (digest.length !== digestSize(scheme.hash)) refuseParameter(TPM_RC.SIZE, 1);
  return { signature: signDigest(tpm, object, scheme, { hash: scheme.hash, digest }) };
});
