/** What quotes, certificates and signatures of keys cover. TPM 1.2 Main Part 2, clauses 5.14 and 11. */
import { type Codec, constant, type Infer, mapped, oneOf, optionalSized, struct, u8, u16, u32 } from '@casemate/wire';
import { TPM_TAG } from '../constants.js';
import { MAX_DATA, sizedData, TpmBool, TpmDigest, TpmNonce, TpmStructVer } from './base.js';
import { TpmAuthDataUsage, TpmKeyFlags, TpmKeyParms, TpmKeyUsage } from './key.js';
import { TpmPcrInfo, TpmPcrInfoShort } from './pcr.js';

/** What TPM_Quote signs. TPM 1.2 Part 2, clause 11.3. */
export const TpmQuoteInfo = struct('TPM_QUOTE_INFO', {
  version: TpmStructVer,
  fixed: fourLetters('QUOT'),
  digestValue: TpmDigest,
  externalData: TpmNonce,
});
/** The value type of {@link TpmQuoteInfo}. */
export type TpmQuoteInfo = Infer<typeof TpmQuoteInfo>;

/** What TPM_Quote2 signs, before the version where that was asked for. TPM 1.2 Part 2, clause 11.4. */
export const TpmQuoteInfo2 = struct('TPM_QUOTE_INFO2', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.QUOTE_INFO2),
  fixed: fourLetters('QUT2'),
  externalData: TpmNonce,
  infoShort: TpmPcrInfoShort,
});
/** The value type of {@link TpmQuoteInfo2}. */
export type TpmQuoteInfo2 = Infer<typeof TpmQuoteInfo2>;

/** What a key with the scheme RSASSAPKCS1v15_INFO signs. TPM 1.2 Part 2, clause 5.14. */
export const TpmSignInfo = struct('TPM_SIGN_INFO', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.SIGNINFO),
  fixed: fourLetters('SIGN'),
  replay: TpmNonce,
  data: sizedData('TPM_SIGN_INFO', MAX_DATA),
});
/** The value type of {@link TpmSignInfo}. */
export type TpmSignInfo = Infer<typeof TpmSignInfo>;

/** What TPM_CertifyKey signs of a key. TPM 1.2 Part 2, clause 11.1. */
export const TpmCertifyInfo = struct('TPM_CERTIFY_INFO', {
  version: TpmStructVer,
  keyUsage: TpmKeyUsage,
  keyFlags: TpmKeyFlags,
  authDataUsage: TpmAuthDataUsage,
  algorithmParms: TpmKeyParms,
  pubkeyDigest: TpmDigest,
  data: TpmNonce,
  parentPCRStatus: TpmBool,
  pcrInfo: optionalSized('TPM_PCR_INFO', u32, TpmPcrInfo),
});
/** The value type of {@link TpmCertifyInfo}. */
export type TpmCertifyInfo = Infer<typeof TpmCertifyInfo>;

/** What TPM_CertifyKey signs of a key with localities or a migration authority. TPM 1.2 Part 2, clause 11.2. */
export const TpmCertifyInfo2 = struct('TPM_CERTIFY_INFO2', {
  tag: constant('TPM_STRUCTURE_TAG', u16, TPM_TAG.CERTIFY_INFO2),
  fill: constant('TPM_CERTIFY_INFO2', u8, 0),
  payloadType: u8,
  keyUsage: TpmKeyUsage,
  keyFlags: TpmKeyFlags,
  authDataUsage: TpmAuthDataUsage,
  algorithmParms: TpmKeyParms,
  pubkeyDigest: TpmDigest,
  data: TpmNonce,
  parentPCRStatus: TpmBool,
  pcrInfo: optionalSized('TPM_PCR_INFO_SHORT', u32, TpmPcrInfoShort),
  migrationAuthority: sizedData('TPM_CERTIFY_INFO2', 64),
});
/** The value type of {@link TpmCertifyInfo2}. */
export type TpmCertifyInfo2 = Infer<typeof TpmCertifyInfo2>;

/** Four ASCII letters that never change; the value is the word itself. */
/* @__NO_SIDE_EFFECTS__ */
function fourLetters<const W extends string>(word: W): Codec<W> {
  const value = [...word].reduce((number, letter) => number * 256 + letter.charCodeAt(0), 0);
  return mapped(
    'fixed',
    oneOf('fixed', u32, [value]),
    () => word,
    (given) => (given === word ? value : 0),
  );
}
