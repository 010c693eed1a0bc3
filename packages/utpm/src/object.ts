/** Loaded objects, their names and their place in a hierarchy: Part 1, clauses 16 and 23 to 25. */
import { TPM_ALG, TPMA_OBJECT, TpmtPublicOrNull, type TpmtSensitive } from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { concat, EMPTY, u16Bytes, u32Bytes } from './bytes.js';
import type { UtpmCrypto } from './crypto.js';
import { isHash } from './implementation.js';
import type { Sequence } from './sequence.js';

/** An object that is loaded, or is persistent and in use. */
export interface TpmObject {
  /** The transient or persistent handle. */
  readonly handle: number;
  /** The public area. */
  readonly public: TpmtPublicOrNull;
  /** The sensitive area; undefined for a public key alone. */
  readonly sensitive: TpmtSensitive | undefined;
  /** nameAlg and digest of the public area. */
  readonly name: Uint8Array;
  /** The name that tells all ancestors. */
  readonly qualifiedName: Uint8Array;
  /** The TPM_RH of the hierarchy; TPM_RH_NULL for temporary objects. */
  readonly hierarchy: number;
  /** Is it a primary object? */
  readonly isPrimary: boolean;
  /** Was it loaded by TPM2_LoadExternal? */
  readonly isExternal: boolean;
  /** Does it, by its own or an ancestor's stClear, not survive TPM2_Startup(CLEAR)? */
  readonly isStClear: boolean;
  /** What makes it a sequence object, which has no areas. */
  readonly sequence?: Sequence;
}

/** The Name of a public area (Part 1, clause 16): empty where nameAlg is TPM_ALG_NULL. */
export function nameOfPublic(crypto: UtpmCrypto, area: TpmtPublicOrNull): Uint8Array {
  if (!isHash(area.nameAlg)) return EMPTY;
  return concat(u16Bytes(area.nameAlg), crypto.hash(area.nameAlg, encode(TpmtPublicOrNull, area)));
}

/** The Qualified Name under a parent: H(parent's QN || Name), behind nameAlg. */
export function qualifiedNameOf(
  crypto: UtpmCrypto,
  parent: Uint8Array,
  area: TpmtPublicOrNull,
  name: Uint8Array,
): Uint8Array {
  if (!isHash(area.nameAlg)) return EMPTY;
  return concat(u16Bytes(area.nameAlg), crypto.hash(area.nameAlg, parent, name));
}

/** The name of a handle that is its own name. */
export function handleName(handle: number): Uint8Array {
  return u32Bytes(handle);
}

/** Does the object have the attribute (a TPMA_OBJECT bit)? */
export function has(area: TpmtPublicOrNull, bit: number): boolean {
  return (area.objectAttributes & bit) !== 0;
}

/** Can it be a parent: a restricted decryption key that wraps its children's sensitive areas? */
export function isStorageParent(area: TpmtPublicOrNull): boolean {
  return has(area, TPMA_OBJECT.restricted) && has(area, TPMA_OBJECT.decrypt) && area.type !== TPM_ALG.KEYEDHASH;
}

/** Can it be the new parent of a duplicate: a storage key that a seed can be encrypted to? */
export function isAsymmetricParent(area: TpmtPublicOrNull): boolean {
  return isStorageParent(area) && area.type !== TPM_ALG.SYMCIPHER;
}

/** Can it be a derivation parent: a restricted decryption keyed hash? */
export function isDerivationParent(area: TpmtPublicOrNull): boolean {
  return has(area, TPMA_OBJECT.restricted) && has(area, TPMA_OBJECT.decrypt) && area.type === TPM_ALG.KEYEDHASH;
}

/** What sets a symmetric object apart: a digest of its secret values, and an HMAC where it is a parent (Part 1, 27.5.3). */
export function symmetricUnique(
  crypto: UtpmCrypto,
  area: TpmtPublicOrNull,
  seed: Uint8Array,
  secret: Uint8Array,
): Uint8Array {
  const isParent = has(area, TPMA_OBJECT.restricted) && has(area, TPMA_OBJECT.decrypt);
  return isParent ? crypto.hmac(area.nameAlg, seed, secret) : crypto.hash(area.nameAlg, seed, secret);
}
