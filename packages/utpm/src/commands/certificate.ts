/** Attestation in the form of X.509 certificates: Part 3, 18.8. */
import { CertifyX509, TPM_RC, TPM_RH } from '@casemate/tpm';
import { explicit, integer, sequence, signatureAlgorithm, subjectPublicKey } from '../certificate.js';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { isHash } from '../implementation.js';
import { assertExtensions, parsePartialCertificate } from '../partial-certificate.js';
import { blameParameter, refuseHandle, refuseParameter } from '../refusal.js';
import { isSigningKey, selectScheme, signDigest } from '../signing.js';

/** The longest serial number that RFC 5280, 4.1.2.2, has. */
const SERIAL_SIZE = 20;
const VERSION_3 = /* @__PURE__ */ explicit(0, /* @__PURE__ */ integer(/* @__PURE__ */ Uint8Array.of(2)));

/**
 * TPM2_CertifyX509 (18.8). As libtpms does, it numbers the handles in errors by their use: the signer is handle 1 and the object handle 2,
 * other than in the command.
 */
export const certifyX509 = /* @__PURE__ */ handler(CertifyX509, (tpm, request) => {
  if (request.signHandle === TPM_RH.NULL) refuseHandle(TPM_RC.KEY, 1);
  const signer = objectAt(tpm, request.signHandle);
  const object = objectAt(tpm, request.objectHandle);
  if (request.reserved.length > 0) refuseParameter(TPM_RC.SIZE, 1);
  if (!isSigningKey(signer)) refuseHandle(TPM_RC.KEY, 1);
  const scheme = blameParameter(2, () => selectScheme(signer, request.inScheme));
  const publicKey = subjectPublicKey(object.public) ?? refuseHandle(TPM_RC.ASYMMETRIC, 2);
  const partial = blameParameter(3, () => parsePartialCertificate(request.partialCertificate));
  const added = partial.signature === undefined;
  const algorithm = partial.signature ?? signatureAlgorithm(signer.public, scheme) ?? refuseHandle(TPM_RC.SCHEME, 1);
  blameParameter(3, () => assertExtensions(partial.extensions, object.public.objectAttributes));
  if (!isHash(signer.public.nameAlg)) refuseHandle(TPM_RC.KEY, 1);
  const { nameAlg } = signer.public;
  const known = [algorithm, ...partial.names, publicKey, partial.extensions];
  const serial = tpm.crypto.hash(nameAlg, ...known, signer.name, object.name).slice(0, SERIAL_SIZE);
  const first = [VERSION_3, integer(serial)];
  const certificate = sequence(...first, ...known);
  const digest = tpm.crypto.hash(scheme.hash, certificate);
  return {
    addedToCertificate: sequence(...first, ...(added ? [algorithm] : []), publicKey),
    tbsDigest: digest,
    signature: signDigest(tpm, signer, scheme, { hash: scheme.hash, digest, message: certificate }),
  };
});
