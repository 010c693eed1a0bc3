/** The private keys of loaded objects, in the form that the provider takes; made once for each object. */
import { TPM_ALG, TPM_RC } from '@casemate/tpm';
import { padStart } from './bytes.js';
import type { EccPrivateKey } from './crypto.js';
import { curveOf } from './curve.js';
import { toInteger } from './integer.js';
import type { TpmObject } from './object.js';
import { refuse } from './refusal.js';
import { type RsaPrivateKey, type RsaPublicKey, rsaPrivateKey } from './rsa.js';

const rsaKeys = new WeakMap<TpmObject, RsaPrivateKey>();
const eccKeys = new WeakMap<TpmObject, EccPrivateKey>();

/** The exponent that 0 in a public area stands for. */
const DEFAULT_EXPONENT = 65537;

/** The RSA private key of an object; refuses where it is none. */
export function rsaKeyOf(object: TpmObject): RsaPrivateKey {
  const known = rsaKeys.get(object);
  if (known !== undefined) return known;
  const { sensitive } = object;
  if (sensitive?.sensitiveType !== TPM_ALG.RSA) return refuse(TPM_RC.KEY);
  const { n, e } = rsaPublicOf(object);
  const made = completeKey(n, e, toInteger(sensitive.sensitive));
  rsaKeys.set(object, made);
  return made;
}

function completeKey(n: bigint, e: bigint, p: bigint): RsaPrivateKey {
  try {
    return rsaPrivateKey(n, e, p);
  } catch {
    return refuse(TPM_RC.BINDING);
  }
}

/** The RSA public key of an object; refuses where it is none. */
export function rsaPublicOf(object: TpmObject): RsaPublicKey {
  if (object.public.type !== TPM_ALG.RSA) return refuse(TPM_RC.KEY);
  const { exponent } = object.public.parameters;
  const n = toInteger(object.public.unique);
  return { n, e: BigInt(exponent === 0 ? DEFAULT_EXPONENT : exponent), size: object.public.unique.length };
}

/** The ECC private key of an object; refuses where it is none. */
export function eccKeyOf(object: TpmObject): EccPrivateKey {
  const known = eccKeys.get(object);
  if (known !== undefined) return known;
  const { sensitive, public: area } = object;
  if (area.type !== TPM_ALG.ECC || sensitive?.sensitiveType !== TPM_ALG.ECC) return refuse(TPM_RC.KEY);
  const { id, size } = curveOf(area.parameters.curveID) ?? refuse(TPM_RC.CURVE);
  const made: EccPrivateKey = {
    curve: id,
    d: padStart(sensitive.sensitive, size),
    x: padStart(area.unique.x, size),
    y: padStart(area.unique.y, size),
  };
  eccKeys.set(object, made);
  return made;
}
