/** Public areas: Part 2, chapter 12.2, of the two kinds of objects that there are, and which of them make sense (Part 1, 25 and 27). */
import { concat, EMPTY, padStart, u16Bytes, u32Bytes } from '../bytes.js';
import { NIST_P256, TPM_ALG, TPM_RC, TPMA_OBJECT } from './constants.js';
import { type MicroCrypto, sha256 } from './crypto.js';
import { type Input, refuse, sized } from './octets.js';

const { fixedTPM, fixedParent, sensitiveDataOrigin, encryptedDuplication, restricted, decrypt, sign } = TPMA_OBJECT;
const ATTRIBUTES = Object.values(TPMA_OBJECT).reduce((bits, bit) => bits | bit, 0);

/** A public area: a key on P-256, or sealed data. The name algorithm is SHA-256. */
export interface PublicArea {
  /** TPM_ALG_ECC or TPM_ALG_KEYEDHASH. */
  readonly type: number;
  /** TPMA_OBJECT bits. */
  readonly attributes: number;
  /** The policy, 32 bytes or none. */
  readonly authPolicy: Uint8Array;
  /** Does it name AES-128-CFB, as a storage key must? */
  readonly hasCipher: boolean;
  /** Is it bound to ECDSA with SHA-256? */
  readonly isEcdsa: boolean;
  /** The x coordinate, or what sets sealed data apart. */
  readonly x: Uint8Array;
  /** The y coordinate; empty for sealed data. */
  readonly y: Uint8Array;
}

/** Does the area have an attribute? */
export function has({ attributes }: PublicArea, bit: number): boolean {
  return (attributes & bit) !== 0;
}

/** Is it a storage key: restricted, and for decryption? */
export function isStorageKey(area: PublicArea): boolean {
  return area.type === TPM_ALG.ECC && has(area, restricted) && has(area, decrypt);
}

/** Reads a TPMT_PUBLIC; refuses algorithms that there are not. */
export function readPublic(input: Input): PublicArea {
  const type = input.u16();
  if (type !== TPM_ALG.ECC && type !== TPM_ALG.KEYEDHASH) input.refuse(TPM_RC.TYPE);
  input.expect(input.u16(), TPM_ALG.SHA256, TPM_RC.HASH);
  const attributes = input.u32();
  if ((attributes & ~ATTRIBUTES) !== 0) input.refuse(TPM_RC.RESERVED_BITS);
  const authPolicy = input.sized(64);
  if (type === TPM_ALG.KEYEDHASH) {
    input.expect(input.u16(), TPM_ALG.NULL, TPM_RC.SCHEME);
    return { type, attributes, authPolicy, hasCipher: false, isEcdsa: false, x: input.sized(64), y: EMPTY };
  }
  const hasCipher = readCipher(input);
  const isEcdsa = readScheme(input);
  input.expect(input.u16(), NIST_P256, TPM_RC.CURVE);
  input.expect(input.u16(), TPM_ALG.NULL, TPM_RC.KDF);
  return { type, attributes, authPolicy, hasCipher, isEcdsa, x: input.sized(32), y: input.sized(32) };
}

/** TPMT_SYM_DEF or TPMT_SYM_DEF_OBJECT: AES-128 in CFB mode, or none. */
export function readCipher(input: Input): boolean {
  const algorithm = input.u16();
  if (algorithm === TPM_ALG.NULL) return false;
  input.expect(algorithm, TPM_ALG.AES, TPM_RC.SYMMETRIC);
  input.expect(input.u16(), 128, TPM_RC.VALUE);
  input.expect(input.u16(), TPM_ALG.CFB, TPM_RC.MODE);
  return true;
}

/** TPMT_SIG_SCHEME or TPMT_ECC_SCHEME: ECDSA with SHA-256, or none. */
export function readScheme(input: Input): boolean {
  const scheme = input.u16();
  if (scheme === TPM_ALG.NULL) return false;
  input.expect(scheme, TPM_ALG.ECDSA, TPM_RC.SCHEME);
  input.expect(input.u16(), TPM_ALG.SHA256, TPM_RC.HASH);
  return true;
}

/** TPMT_PUBLIC. */
export function encodePublic(area: PublicArea): Uint8Array {
  const head = concat(u16Bytes(area.type), u16Bytes(TPM_ALG.SHA256), u32Bytes(area.attributes), sized(area.authPolicy));
  if (area.type === TPM_ALG.KEYEDHASH) return concat(head, u16Bytes(TPM_ALG.NULL), sized(area.x));
  const cipher = area.hasCipher ? [TPM_ALG.AES, 128, TPM_ALG.CFB] : [TPM_ALG.NULL];
  const scheme = area.isEcdsa ? [TPM_ALG.ECDSA, TPM_ALG.SHA256] : [TPM_ALG.NULL];
  const numbers = [...cipher, ...scheme, NIST_P256, TPM_ALG.NULL].map(u16Bytes);
  return concat(head, ...numbers, sized(area.x), sized(area.y));
}

/** The Name: the name algorithm, and the digest of the public area (Part 1, clause 16). */
export function nameOf(crypto: MicroCrypto, area: PublicArea): Uint8Array {
  return concat(u16Bytes(TPM_ALG.SHA256), sha256(crypto, encodePublic(area)));
}

/** The coordinates as the provider takes them. */
export function pointOf({ x, y }: PublicArea): { readonly x: Uint8Array; readonly y: Uint8Array } {
  return { x: padStart(x, 32), y: padStart(y, 32) };
}

/** Refuses attributes that contradict each other or the parent's, and then what does not fit them; a primary object has no parent. */
export function assertConsistent(area: PublicArea, parent: PublicArea | undefined): void {
  if (area.authPolicy.length !== 0 && area.authPolicy.length !== 32) refuse(TPM_RC.SIZE);
  if (parent === undefined || has(parent, fixedTPM)) {
    if (has(area, fixedTPM) !== has(area, fixedParent)) refuse(TPM_RC.ATTRIBUTES);
  } else if (has(area, fixedTPM) || has(parent, encryptedDuplication) !== has(area, encryptedDuplication)) {
    refuse(TPM_RC.ATTRIBUTES);
  }
  if (has(area, fixedTPM) && has(area, encryptedDuplication)) refuse(TPM_RC.ATTRIBUTES);
  if (area.type === TPM_ALG.KEYEDHASH) {
    if (has(area, sign) || has(area, decrypt)) refuse(TPM_RC.SCHEME);
    if (has(area, restricted)) refuse(TPM_RC.ATTRIBUTES);
    return;
  }
  const isBoth = has(area, sign) === has(area, decrypt);
  if (isBoth && (has(area, restricted) || !has(area, sign))) refuse(TPM_RC.ATTRIBUTES);
  const needsScheme = has(area, sign) && !isBoth && has(area, restricted);
  const mayHaveScheme = has(area, sign) && !isBoth;
  if (area.isEcdsa ? !mayHaveScheme : needsScheme) refuse(TPM_RC.SCHEME);
  if (area.hasCipher !== isStorageKey(area)) refuse(TPM_RC.SYMMETRIC);
}

/** Refuses templates that no object can be made of; `data` is what the caller gives to be sealed. */
export function assertCreatable(area: PublicArea, parent: PublicArea | undefined, data: Uint8Array): void {
  const isGenerated = has(area, sensitiveDataOrigin);
  if (!isGenerated && data.length === 0) refuse(TPM_RC.ATTRIBUTES);
  // With a primary object the data go into its derivation instead.
  if (isGenerated && data.length > 0 && parent !== undefined) refuse(TPM_RC.ATTRIBUTES);
  // Keys are the TPM's to make, and data the caller's.
  if (isGenerated !== (area.type === TPM_ALG.ECC)) refuse(TPM_RC.ATTRIBUTES);
  assertConsistent(area, parent);
}
