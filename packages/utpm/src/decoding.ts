/** Decoding what a caller sent, and the response code for what is malformed in it: Part 2, 6.6 and the error columns of its tables. */
import { TPM_RC, TPM_ST } from '@casemate/tpm';
import { type Codec, decode, type Reader, WireError } from '@casemate/wire';
import { Refusal } from './refusal.js';

const BY_TYPE: Readonly<Record<string, number>> = {
  TPMI_ALG_HASH: TPM_RC.HASH,
  TPMI_ALG_ASYM: TPM_RC.ASYMMETRIC,
  TPMI_ALG_SYM: TPM_RC.SYMMETRIC,
  TPMI_ALG_SYM_OBJECT: TPM_RC.SYMMETRIC,
  TPMI_ALG_MAC_SCHEME: TPM_RC.SYMMETRIC,
  TPMI_ALG_SYM_MODE: TPM_RC.MODE,
  TPMI_ALG_CIPHER_MODE: TPM_RC.MODE,
  TPMI_ALG_KDF: TPM_RC.KDF,
  TPMI_ALG_SIG_SCHEME: TPM_RC.SCHEME,
  TPMI_ALG_ECC_SCHEME: TPM_RC.SCHEME,
  TPMI_ECC_KEY_EXCHANGE: TPM_RC.SCHEME,
  TPMI_ECC_CURVE: TPM_RC.CURVE,
  TPMI_ALG_PUBLIC: TPM_RC.TYPE,
  TPMI_ST_COMMAND_TAG: TPM_RC.BAD_TAG,
  TPMI_ST_ATTEST: TPM_RC.SELECTOR,
  TPM_ST_CREATION: TPM_RC.TAG,
  TPM_ST_VERIFIED: TPM_RC.TAG,
  TPM_ST_HASHCHECK: TPM_RC.TAG,
  TPM_ST_AUTH: TPM_RC.TAG,
};

/** The response code for bytes that a codec refused. */
export function responseCodeOf(error: WireError): number {
  switch (error.code) {
    case 'truncated':
      return TPM_RC.INSUFFICIENT;
    case 'trailing':
      return TPM_RC.SIZE;
    case 'too-long':
      // Of a PCR bitmap the length is a value of its own type.
      return subjectOf(error) === 'pcrSelect' ? TPM_RC.VALUE : TPM_RC.SIZE;
    case 'too-short':
      return TPM_RC.VALUE;
    case 'reserved-bits':
      return TPM_RC.RESERVED_BITS;
    default:
      return valueCode(error);
  }
}

function valueCode(error: WireError): number {
  if (error.message.includes('selects no member')) return TPM_RC.SELECTOR;
  const code = BY_TYPE[subjectOf(error)] ?? TPM_RC.VALUE;
  return code === TPM_RC.TAG && !isKnownTag(gotOf(error)) ? TPM_RC.VALUE : code;
}

/** The type that was being decoded, without the mark of its conditional value. */
function subjectOf(error: WireError): string {
  return error.subject.replace(/^decode /, '').replace(/\+$/, '');
}

/** The number that was refused. */
function gotOf(error: WireError): number {
  return Number(/got (0x[0-9a-f]+)/.exec(error.message)?.[1] ?? Number.NaN);
}

const TAGS: ReadonlySet<number> = new Set(Object.values(TPM_ST));

/** Is it a structure tag at all (TPM_ST)? A tag that is none is a wrong value before it is a wrong tag. */
export function isKnownTag(tag: number): boolean {
  return TAGS.has(tag);
}

/** Decodes all of `bytes`, refusing what is malformed with a code that blames nothing yet. */
export function decodeOrRefuse<T>(codec: Codec<T>, bytes: Uint8Array): T {
  try {
    return decode(codec, bytes);
  } catch (error) {
    if (error instanceof WireError) throw new Refusal(responseCodeOf(error));
    throw error;
  }
}

/** Reads one value, refusing what is malformed with a code that blames nothing yet. */
export function readOrRefuse<T>(codec: Codec<T>, reader: Reader): T {
  try {
    return codec.read(reader);
  } catch (error) {
    if (error instanceof WireError) throw new Refusal(responseCodeOf(error));
    throw error;
  }
}
