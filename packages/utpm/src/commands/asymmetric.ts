/** Asymmetric primitives: Part 3, clause 14. */
import {
  EccParameters,
  EcdhKeyGen,
  EcdhZGen,
  RsaDecrypt,
  RsaEncrypt,
  TPM_ALG,
  TPM_RC,
  TPMA_OBJECT,
  type TpmiAlgHash,
  type TpmtKdfSchemeOrNull,
  type TpmtRsaDecryptOrNull,
  ZGen2Phase,
} from '@casemate/tpm';
import { padStart } from '../bytes.js';
import { committedSecret, endCommit } from '../commit.js';
import { type Curve, curveOf, isOnCurve, padPoint } from '../curve.js';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { digesterOf, isHash } from '../implementation.js';
import { toBytes, toInteger } from '../integer.js';
import { eccKeyOf, rsaKeyOf, rsaPublicOf } from '../key.js';
import { exchangeTwice } from '../key-exchange.js';
import { has, type TpmObject } from '../object.js';
import { refuse, refuseHandle, refuseParameter } from '../refusal.js';
import { decodeOaep, decodeRsaes, encodeOaep, encodeRsaes, rsaPublic } from '../rsa.js';
import { randomScalar } from '../scalar.js';
import type { Tpm } from '../tpm.js';

/** How a message is padded. */
type Padding =
  | { readonly kind: 'none' }
  | { readonly kind: 'rsaes' }
  | { readonly kind: 'oaep'; readonly hash: number };

// Part 3, table 38: the key's scheme, or the caller's where the key leaves it open.
function paddingOf(object: TpmObject, asked: TpmtRsaDecryptOrNull): Padding {
  if (object.public.type !== TPM_ALG.RSA) return refuseHandle(TPM_RC.KEY, 1);
  const own = object.public.parameters.scheme;
  if (own.scheme === TPM_ALG.NULL) return asPadding(asked);
  if (asked.scheme !== TPM_ALG.NULL && asked.scheme !== own.scheme) refuseParameter(TPM_RC.SCHEME, 2);
  if (own.scheme !== TPM_ALG.RSAES && own.scheme !== TPM_ALG.OAEP) return refuseParameter(TPM_RC.SCHEME, 2);
  if (asked.scheme === TPM_ALG.OAEP && own.scheme === TPM_ALG.OAEP && asked.details.hashAlg !== own.details.hashAlg) {
    refuseParameter(TPM_RC.SCHEME, 2);
  }
  return asPadding(own);
}

function asPadding(scheme: TpmtRsaDecryptOrNull): Padding {
  if (scheme.scheme === TPM_ALG.NULL) return { kind: 'none' };
  if (scheme.scheme === TPM_ALG.RSAES) return { kind: 'rsaes' };
  const { hashAlg } = scheme.details;
  return isHash(hashAlg) ? { kind: 'oaep', hash: hashAlg } : refuseParameter(TPM_RC.HASH, 2);
}

function assertLabel(label: Uint8Array): void {
  if (label.length > 0 && label[label.length - 1] !== 0) refuseParameter(TPM_RC.VALUE, 3);
}

/** TPM2_RSA_Encrypt (14.2). */
export const rsaEncrypt = /* @__PURE__ */ handler(RsaEncrypt, (tpm, { keyHandle, message, inScheme, label }) => {
  const object = objectAt(tpm, keyHandle);
  if (object.public.type !== TPM_ALG.RSA) refuseHandle(TPM_RC.KEY, 1);
  if (!has(object.public, TPMA_OBJECT.decrypt)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  assertLabel(label);
  const key = rsaPublicOf(object);
  const block = pad(tpm, key.size, paddingOf(object, inScheme), message, label);
  if (toInteger(block) >= key.n) refuseParameter(TPM_RC.VALUE, 1);
  return { outData: rsaPublic(key, block) };
});

function pad(tpm: Tpm, size: number, padding: Padding, message: Uint8Array, label: Uint8Array): Uint8Array {
  if (message.length > size) refuseParameter(TPM_RC.VALUE, 1);
  switch (padding.kind) {
    case 'none':
      return padStart(message, size);
    case 'rsaes':
      return encodeRsaes(size, message, tpm.crypto.random) ?? refuseParameter(TPM_RC.VALUE, 1);
    default: {
      const digester = digesterOf(tpm.crypto, padding.hash);
      return encodeOaep(size, message, label, digester, tpm.crypto.random) ?? refuseParameter(TPM_RC.VALUE, 1);
    }
  }
}

/** TPM2_RSA_Decrypt (14.3). */
export const rsaDecrypt = /* @__PURE__ */ handler(RsaDecrypt, (tpm, { keyHandle, cipherText, inScheme, label }) => {
  const object = objectAt(tpm, keyHandle);
  if (object.public.type !== TPM_ALG.RSA) refuseHandle(TPM_RC.KEY, 1);
  if (has(object.public, TPMA_OBJECT.restricted) || !has(object.public, TPMA_OBJECT.decrypt))
    refuseHandle(TPM_RC.ATTRIBUTES, 1);
  assertLabel(label);
  const padding = paddingOf(object, inScheme);
  const key = rsaKeyOf(object);
  if (cipherText.length !== key.size) refuseParameter(TPM_RC.SIZE, 1);
  if (toInteger(cipherText) >= key.n) refuseParameter(TPM_RC.VALUE, 1);
  const block = tpm.crypto.rsaPrivate(key, cipherText);
  return { message: unpad(tpm, padding, block, label) };
});

function unpad(tpm: Tpm, padding: Padding, block: Uint8Array, label: Uint8Array): Uint8Array {
  switch (padding.kind) {
    case 'none':
      return block;
    case 'rsaes':
      return decodeRsaes(block) ?? refuse(TPM_RC.VALUE);
    default:
      return decodeOaep(block, label, digesterOf(tpm.crypto, padding.hash)) ?? refuse(TPM_RC.VALUE);
  }
}

/** TPM2_ECDH_KeyGen (14.4). */
export const ecdhKeyGen = /* @__PURE__ */ handler(EcdhKeyGen, (tpm, { keyHandle }) => {
  const { public: area } = objectAt(tpm, keyHandle);
  if (area.type !== TPM_ALG.ECC) return refuseHandle(TPM_RC.KEY, 1);
  const curve = curveOf(area.parameters.curveID) ?? refuseHandle(TPM_RC.KEY, 1);
  const scalar = randomScalar(tpm.crypto, curve);
  const pubPoint = tpm.crypto.eccMultiply(curve.id, scalar) ?? refuse(TPM_RC.NO_RESULT);
  const zPoint = tpm.crypto.eccMultiply(curve.id, scalar, padPoint(curve, area.unique)) ?? refuse(TPM_RC.NO_RESULT);
  scalar.fill(0);
  return { zPoint, pubPoint };
});

/** TPM2_ECDH_ZGen (14.5). */
export const ecdhZGen = /* @__PURE__ */ handler(EcdhZGen, (tpm, { keyHandle, inPoint }) => {
  const object = objectAt(tpm, keyHandle);
  const { public: area } = object;
  if (area.type !== TPM_ALG.ECC) return refuseHandle(TPM_RC.KEY, 1);
  if (has(area, TPMA_OBJECT.restricted) || !has(area, TPMA_OBJECT.decrypt)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  const { scheme } = area.parameters.scheme;
  if (scheme !== TPM_ALG.ECDH && scheme !== TPM_ALG.NULL) refuseHandle(TPM_RC.SCHEME, 1);
  const key = eccKeyOf(object);
  const curve = curveOf(key.curve) ?? refuseHandle(TPM_RC.KEY, 1);
  const outPoint = tpm.crypto.eccMultiply(key.curve, key.d, padPoint(curve, inPoint));
  return { outPoint: outPoint ?? refuseParameter(TPM_RC.ECC_POINT, 1) };
});

/** TPM2_ECC_Parameters (14.6). */
export const eccParameters = /* @__PURE__ */ handler(EccParameters, (_, { curveID }) => {
  const curve = curveOf(curveID) ?? refuseParameter(TPM_RC.CURVE, 1);
  const { a, b, Gx, Gy, h } = curve.noble.Point.CURVE();
  const bytes = (value: bigint): Uint8Array => toBytes(value, curve.size);
  const parameters = {
    curveID,
    keySize: curve.bits,
    kdf: kdfOf(curve),
    sign: { scheme: TPM_ALG.NULL, details: undefined },
    p: bytes(curve.prime),
    // Zero has one byte.
    a: a === 0n ? toBytes(a, 1) : bytes(a),
    b: bytes(b),
    gX: bytes(Gx),
    gY: bytes(Gy),
    n: bytes(curve.order),
    h: toBytes(h, 1),
  };
  return { parameters };
});

function kdfOf({ hash }: Curve): TpmtKdfSchemeOrNull {
  if (hash === TPM_ALG.NULL) return { scheme: TPM_ALG.NULL, details: undefined };
  return { scheme: TPM_ALG.KDF1_SP800_56A, details: { hashAlg: hash as TpmiAlgHash } }; // as the table of curves has it
}

/** TPM2_ZGen_2Phase (14.7): a key exchange with a static and an ephemeral key on each side. */
export const zGen2Phase = /* @__PURE__ */ handler(ZGen2Phase, (tpm, { keyA, inQsB, inQeB, inScheme, counter }) => {
  const object = objectAt(tpm, keyA);
  const { public: area } = object;
  if (area.type !== TPM_ALG.ECC) return refuseHandle(TPM_RC.KEY, 1);
  if (has(area, TPMA_OBJECT.restricted) || !has(area, TPMA_OBJECT.decrypt)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  const { scheme } = area.parameters.scheme;
  if (scheme !== TPM_ALG.NULL && scheme !== inScheme) refuseParameter(TPM_RC.SCHEME, 3);
  const curve = curveOf(area.parameters.curveID) ?? refuseHandle(TPM_RC.KEY, 1);
  if (!isOnCurve(curve, inQsB)) refuseParameter(TPM_RC.ECC_POINT, 1);
  if (!isOnCurve(curve, inQeB)) refuseParameter(TPM_RC.ECC_POINT, 2);
  const ephemeral = committedSecret(tpm, counter, curve) ?? refuseParameter(TPM_RC.VALUE, 4);
  const peer = { fixed: padPoint(curve, inQsB), ephemeral: padPoint(curve, inQeB) };
  const own = { fixed: eccKeyOf(object).d, ephemeral };
  const [outZ1, outZ2] = exchangeTwice(tpm.crypto, curve, inScheme, own, peer) ?? refuse(TPM_RC.NO_RESULT);
  endCommit(tpm, counter);
  return { outZ1, outZ2 };
});
