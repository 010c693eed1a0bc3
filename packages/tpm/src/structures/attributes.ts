/** Attribute fields: numbers whose reserved bits must be clear. TPM 2.0 Part 2, clauses 8 and 13.4. */
import { type Codec, flags, type Infer, u8, u32 } from '@casemate/wire';
import {
  TPMA_ACT,
  TPMA_ALGORITHM,
  TPMA_CC,
  TPMA_LOCALITY,
  TPMA_MEMORY,
  TPMA_MODES,
  TPMA_OBJECT,
  TPMA_PERMANENT,
  TPMA_SESSION,
  TPMA_STARTUP_CLEAR,
  TPMA_X509_KEY_USAGE,
} from '../constants/attributes.js';
import { TPMA_NV } from '../constants/nv.js';

/** What an algorithm is good for. TPM 2.0 Part 2, table 30. */
export const TpmaAlgorithm = attributes('TPMA_ALGORITHM', u32, TPMA_ALGORITHM);
/** The value type of {@link TpmaAlgorithm}. */
export type TpmaAlgorithm = Infer<typeof TpmaAlgorithm>;

/** Attributes of an object. TPM 2.0 Part 2, table 31. */
export const TpmaObject = attributes('TPMA_OBJECT', u32, TPMA_OBJECT);
/** The value type of {@link TpmaObject}. */
export type TpmaObject = Infer<typeof TpmaObject>;

/** Attributes of a session. TPM 2.0 Part 2, table 32. */
export const TpmaSession = attributes('TPMA_SESSION', u8, TPMA_SESSION);
/** The value type of {@link TpmaSession}. */
export type TpmaSession = Infer<typeof TpmaSession>;

/** A set of localities, or one locality from 32 up. TPM 2.0 Part 2, table 33. */
export const TpmaLocality = attributes('TPMA_LOCALITY', u8, TPMA_LOCALITY);
/** The value type of {@link TpmaLocality}. */
export type TpmaLocality = Infer<typeof TpmaLocality>;

/** Attributes that outlive a reset. TPM 2.0 Part 2, table 34. */
export const TpmaPermanent = attributes('TPMA_PERMANENT', u32, TPMA_PERMANENT);
/** The value type of {@link TpmaPermanent}. */
export type TpmaPermanent = Infer<typeof TpmaPermanent>;

/** Attributes that a reset restores. TPM 2.0 Part 2, table 35. */
export const TpmaStartupClear = attributes('TPMA_STARTUP_CLEAR', u32, TPMA_STARTUP_CLEAR);
/** The value type of {@link TpmaStartupClear}. */
export type TpmaStartupClear = Infer<typeof TpmaStartupClear>;

/** How memory is divided. TPM 2.0 Part 2, table 36. */
export const TpmaMemory = attributes('TPMA_MEMORY', u32, TPMA_MEMORY);
/** The value type of {@link TpmaMemory}. */
export type TpmaMemory = Infer<typeof TpmaMemory>;

/** Attributes of a command. TPM 2.0 Part 2, table 37. */
export const TpmaCc = attributes('TPMA_CC', u32, TPMA_CC);
/** The value type of {@link TpmaCc}. */
export type TpmaCc = Infer<typeof TpmaCc>;

/** Modes that the TPM claims. TPM 2.0 Part 2, table 38. */
export const TpmaModes = attributes('TPMA_MODES', u32, TPMA_MODES);
/** The value type of {@link TpmaModes}. */
export type TpmaModes = Infer<typeof TpmaModes>;

/** X.509 key usage. TPM 2.0 Part 2, table 39. */
export const TpmaX509KeyUsage = attributes('TPMA_X509_KEY_USAGE', u32, TPMA_X509_KEY_USAGE);
/** The value type of {@link TpmaX509KeyUsage}. */
export type TpmaX509KeyUsage = Infer<typeof TpmaX509KeyUsage>;

/** State of an authenticated countdown timer. TPM 2.0 Part 2, table 40. */
export const TpmaAct = attributes('TPMA_ACT', u32, TPMA_ACT);
/** The value type of {@link TpmaAct}. */
export type TpmaAct = Infer<typeof TpmaAct>;

/** Attributes of an NV index. TPM 2.0 Part 2, table 215. */
export const TpmaNv = attributes('TPMA_NV', u32, TPMA_NV);
/** The value type of {@link TpmaNv}. */
export type TpmaNv = Infer<typeof TpmaNv>;

/* @__NO_SIDE_EFFECTS__ */
function attributes(name: string, base: Codec<number>, bits: Readonly<Record<string, number>>): Codec<number> {
  const mask = Object.values(bits).reduce((all, bit) => all | bit, 0);
  return flags(name, base, mask);
}
