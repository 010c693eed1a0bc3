/** UEFI signature databases (`.esl` files; PK, KEK, db, dbx). UEFI 2.10, section 32.4.1. */
import { bytes, type Codec, decode, encode, repeated, u32le, WireError } from '@casemate/wire';
import { FirmwareError, refusing } from './error.js';
import { EfiGuid } from './guid.js';

/** Signature types: what the entries of a list are. */
export const EFI_CERT_TYPE = {
  /** SHA-256 of a PE image (Authenticode digest). */
  SHA256: 'c1c41626-504c-4092-aca9-41f936934328',
  /** RSA-2048 public modulus, big-endian. */
  RSA2048: '3c5766e8-269c-4e34-aa14-ed776e85b3b6',
  /** DER X.509 certificate. */
  X509: 'a5c059a1-94e4-4aa7-87b5-ab155c2bf072',
  /** SHA-256 of a certificate's to-be-signed part, and a revocation time. */
  X509_SHA256: '3bd2a492-96c0-4079-b420-fcf98ef103ed',
  /** SHA-384 of a certificate's to-be-signed part, and a revocation time. */
  X509_SHA384: '7076876e-80c2-4ee6-aad2-28b349a6865b',
  /** SHA-512 of a certificate's to-be-signed part, and a revocation time. */
  X509_SHA512: '446dbf63-2502-4cda-bcfa-2465d2b0fe9d',
} as const;

/** One entry: EFI_SIGNATURE_DATA. */
export interface EfiSignature {
  /** GUID of whoever put the entry there, lower case. */
  readonly owner: string;
  /** Certificate or digest, as the list's type says. */
  readonly data: Uint8Array;
}

/** Entries of one type and one length: EFI_SIGNATURE_LIST. */
export interface EfiSignatureList {
  /** One of {@link EFI_CERT_TYPE}, or another GUID, lower case. */
  readonly signatureType: string;
  /** Header of the type; empty for every type that the specification defines today. */
  readonly header: Uint8Array;
  /** The entries; all `data` have the same length. A list without entries has none to take the length from. */
  readonly signatures: readonly EfiSignature[];
}

const FIXED = 28;
const OWNER = 16;
const MAX_BYTES = 16 * 1024 * 1024;
const MAX_LISTS = 4096;

const SignatureList: Codec<EfiSignatureList> = {
  name: 'EFI_SIGNATURE_LIST',
  read(r) {
    const at = r.offset;
    const signatureType = EfiGuid.read(r);
    const listSize = u32le.read(r);
    const headerSize = u32le.read(r);
    const signatureSize = u32le.read(r);
    const body = listSize - FIXED - headerSize;
    if (body < 0 || signatureSize <= OWNER || body % signatureSize !== 0) {
      const sizes = `list ${listSize}, header ${headerSize}, signature ${signatureSize}`;
      throw new WireError('bad-value', 'decode EFI_SIGNATURE_LIST', `sizes do not fit together: ${sizes}`, at);
    }
    const header = r.take(headerSize, 'signatureHeader');
    const entry = signatureData(signatureSize - OWNER);
    const entries = repeated('signatures', entry, { max: Math.floor(MAX_BYTES / signatureSize) });
    return { signatureType, header, signatures: r.bounded(body, 'signatures', () => entries.read(r)) };
  },
  write(w, value) {
    const length = value.signatures[0]?.data.length;
    if (length === undefined || length === 0) throw w.refuse('EFI_SIGNATURE_LIST', 'expected at least one signature');
    const signatureSize = OWNER + length;
    EfiGuid.write(w, value.signatureType);
    u32le.write(w, FIXED + value.header.length + value.signatures.length * signatureSize);
    u32le.write(w, value.header.length);
    u32le.write(w, signatureSize);
    w.put(value.header, 'signatureHeader');
    for (const signature of value.signatures) signatureData(length).write(w, signature);
  },
};

function signatureData(length: number): Codec<EfiSignature> {
  const data = bytes('signatureData', length);
  return {
    name: 'EFI_SIGNATURE_DATA',
    read: (r) => ({ owner: EfiGuid.read(r), data: data.read(r) }),
    write(w, value) {
      EfiGuid.write(w, value.owner);
      data.write(w, value.data);
    },
  };
}

const SignatureLists = repeated('signature lists', SignatureList, { max: MAX_LISTS });

/** Parses the signature lists of an `.esl` file or of a variable's value. Throws {@link FirmwareError} `malformed`. */
export function parseSignatureLists(esl: Uint8Array): readonly EfiSignatureList[] {
  if (esl.length > MAX_BYTES) {
    throw new FirmwareError(
      'malformed',
      `parse signature lists: expected at most ${MAX_BYTES} bytes, got ${esl.length}`,
    );
  }
  return refusing('malformed', 'parse signature lists', () => decode(SignatureLists, esl));
}

/** Encodes signature lists; the inverse of {@link parseSignatureLists}. Throws {@link FirmwareError} `bad-input` for an empty list or entries of unequal length. */
export function encodeSignatureLists(lists: readonly EfiSignatureList[]): Uint8Array {
  return refusing('bad-input', 'encode signature lists', () => encode(SignatureLists, lists));
}
