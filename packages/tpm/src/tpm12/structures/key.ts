/** Keys and their parameters. TPM 1.2 Main Part 2, clause 10. */
import {
  type Codec,
  constant,
  flags,
  type Infer,
  oneOf,
  optionalSized,
  sized,
  struct,
  u8,
  u16,
  u32,
  union,
} from '@casemate/wire';
import { TPM_ALG, TPM_AUTH_DATA_USAGE, TPM_ES, TPM_KEY_USAGE, TPM_SS, TPM_TAG } from '../constants.js';
import { shortSizedData, sizedData, TpmStructVer } from './base.js';
import { eitherVersion } from './either.js';
import { TpmPcrInfo, TpmPcrInfoLong } from './pcr.js';

/** Sizes of an RSA key; an empty exponent stands for 65537. TPM 1.2 Part 2, clause 10.1.1. */
export const TpmRsaKeyParms = struct('TPM_RSA_KEY_PARMS', {
  keyLength: u32,
  numPrimes: u32,
  exponent: sizedData('TPM_RSA_KEY_PARMS', 8),
});
/** The value type of {@link TpmRsaKeyParms}. */
export type TpmRsaKeyParms = Infer<typeof TpmRsaKeyParms>;

/** Sizes of a symmetric key in bits, and its initial vector. TPM 1.2 Part 2, clause 10.1.2. */
export const TpmSymmetricKeyParms = struct('TPM_SYMMETRIC_KEY_PARMS', {
  keyLength: u32,
  blockSize: u32,
  IV: sizedData('TPM_SYMMETRIC_KEY_PARMS', 64),
});
/** The value type of {@link TpmSymmetricKeyParms}. */
export type TpmSymmetricKeyParms = Infer<typeof TpmSymmetricKeyParms>;

const symmetric = optionalSized('TPM_SYMMETRIC_KEY_PARMS', u32, TpmSymmetricKeyParms);
const opaque = sizedData('TPM_KEY_PARMS', 512);

/** Algorithm, schemes and their parameters, a union on `algorithmID`. TPM 1.2 Part 2, clause 10.1. */
export const TpmKeyParms = struct('TPM_KEY_PARMS', {
  algorithmID: oneOf('TPM_ALGORITHM_ID', u32, [
    TPM_ALG.RSA,
    TPM_ALG.DES,
    TPM_ALG.TDES,
    TPM_ALG.AES128,
    TPM_ALG.AES192,
    TPM_ALG.AES256,
    TPM_ALG.MGF1,
    TPM_ALG.XOR,
  ]),
  encScheme: oneOf('TPM_ENC_SCHEME', u16, Object.values(TPM_ES)),
  sigScheme: oneOf('TPM_SIG_SCHEME', u16, [0, ...Object.values(TPM_SS)]),
  parms: union('algorithmID', {
    [TPM_ALG.RSA]: sized('TPM_RSA_KEY_PARMS', u32, TpmRsaKeyParms),
    [TPM_ALG.DES]: symmetric,
    [TPM_ALG.TDES]: symmetric,
    [TPM_ALG.AES128]: symmetric,
    [TPM_ALG.AES192]: symmetric,
    [TPM_ALG.AES256]: symmetric,
    [TPM_ALG.MGF1]: opaque,
    [TPM_ALG.XOR]: opaque,
  }),
});
/** The value type of {@link TpmKeyParms}. */
export type TpmKeyParms = Infer<typeof TpmKeyParms>;

/** The modulus of an RSA key, big-endian. TPM 1.2 Part 2, clause 10.4. */
export const TpmStorePubkey = sizedData('TPM_STORE_PUBKEY', 512);
/** The value type of {@link TpmStorePubkey}. */
export type TpmStorePubkey = Infer<typeof TpmStorePubkey>;

/** A public key. TPM 1.2 Part 2, clause 10.5. */
export const TpmPubkey = struct('TPM_PUBKEY', { algorithmParms: TpmKeyParms, pubKey: TpmStorePubkey });
/** The value type of {@link TpmPubkey}. */
export type TpmPubkey = Infer<typeof TpmPubkey>;

/** Bits of `TPM_KEY_FLAGS`. TPM 1.2 Part 2, clause 5.10. */
export const TpmKeyFlags: Codec<number> = flags('TPM_KEY_FLAGS', u32, 0x1f);
/** The value type of {@link TpmKeyFlags}. */
export type TpmKeyFlags = Infer<typeof TpmKeyFlags>;

/** One of `TPM_KEY_USAGE`. TPM 1.2 Part 2, clause 5.8. */
export const TpmKeyUsage = oneOf('TPM_KEY_USAGE', u16, Object.values(TPM_KEY_USAGE));
/** The value type of {@link TpmKeyUsage}. */
export type TpmKeyUsage = Infer<typeof TpmKeyUsage>;

/** One of `TPM_AUTH_DATA_USAGE`. TPM 1.2 Part 2, clause 5.9. */
export const TpmAuthDataUsage = oneOf('TPM_AUTH_DATA_USAGE', u8, Object.values(TPM_AUTH_DATA_USAGE));
/** The value type of {@link TpmAuthDataUsage}. */
export type TpmAuthDataUsage = Infer<typeof TpmAuthDataUsage>;

/** A key with its private part encrypted, in the form of TPM 1.1. TPM 1.2 Part 2, clause 10.2. */
export const TpmKey = struct('TPM_KEY', {
  ver: TpmStructVer,
  keyUsage: TpmKeyUsage,
  keyFlags: TpmKeyFlags,
  authDataUsage: TpmAuthDataUsage,
  algorithmParms: TpmKeyParms,
  pcrInfo: optionalSized('TPM_PCR_INFO', u32, TpmPcrInfo),
  pubKey: TpmStorePubkey,
  encData: sizedData('TPM_KEY', 1024),
});
/** The value type of {@link TpmKey}. */
export type TpmKey = Infer<typeof TpmKey>;

/** A key with its private part encrypted, in the form of TPM 1.2. TPM 1.2 Part 2, clause 10.3. */
export const TpmKey12 = struct('TPM_KEY12', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.KEY12),
  fill: constant('TPM_KEY12', u16, 0),
  keyUsage: TpmKeyUsage,
  keyFlags: TpmKeyFlags,
  authDataUsage: TpmAuthDataUsage,
  algorithmParms: TpmKeyParms,
  pcrInfo: optionalSized('TPM_PCR_INFO_LONG', u32, TpmPcrInfoLong),
  pubKey: TpmStorePubkey,
  encData: sizedData('TPM_KEY12', 1024),
});
/** The value type of {@link TpmKey12}. */
export type TpmKey12 = Infer<typeof TpmKey12>;

/** {@link TpmKey} or {@link TpmKey12}, as commands take and give either; one with a `tag` is the latter. */
export const TpmAnyKey = eitherVersion('TPM_KEY', TpmKey, TPM_TAG.KEY12, TpmKey12);
/** The value type of {@link TpmAnyKey}. */
export type TpmAnyKey = Infer<typeof TpmAnyKey>;

/** A symmetric key in the clear. TPM 1.2 Part 2, clause 9.4. */
export const TpmSymmetricKey = struct('TPM_SYMMETRIC_KEY', {
  algId: u32,
  encScheme: u16,
  data: shortSizedData('TPM_SYMMETRIC_KEY', 256),
});
/** The value type of {@link TpmSymmetricKey}. */
export type TpmSymmetricKey = Infer<typeof TpmSymmetricKey>;
