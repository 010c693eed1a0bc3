/** Files of tpm2-tools: the credential file of tpm2_makecredential, and the plain structures that its other files are. */
import { decode, encode } from '@casemate/wire';
import { concat, u32Bytes } from './bytes.js';
import type { Credential } from './credential.js';
import type { WrappedKey } from './object.js';
import { TpmError } from './response-code.js';
import { Tpm2bIdObject, Tpm2bPrivate } from './structures/private.js';
import { Tpm2bPublic } from './structures/public.js';
import { Tpm2bEncryptedSecret } from './structures/signatures.js';

/** A credential as tpm2_activatecredential reads it: a header, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET. */
export function encodeCredentialFile(credential: Credential): Uint8Array {
  const blob = encode(Tpm2bIdObject, credential.credentialBlob);
  return concat(HEADER, blob, encode(Tpm2bEncryptedSecret, credential.encryptedSecret));
}

/** Reads what tpm2_makecredential wrote. Throws `TpmError` `decode` for another header, `WireError` for other contents. */
export function parseCredentialFile(bytes: Uint8Array): Credential {
  if (HEADER.some((byte, i) => bytes[i] !== byte)) {
    throw new TpmError('decode', 'parse credential file: expected the header 0xbadcc0de of version 1');
  }
  const start = HEADER.length;
  const end = start + 2 + (((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0));
  const credentialBlob = decode(Tpm2bIdObject, bytes.slice(start, end));
  return { credentialBlob, encryptedSecret: decode(Tpm2bEncryptedSecret, bytes.slice(end)) };
}

/** The two files that tpm2_create writes and tpm2_load reads: TPM2B_PUBLIC and TPM2B_PRIVATE. */
export function encodeKeyFiles(key: WrappedKey): { readonly public: Uint8Array; readonly private: Uint8Array } {
  return { public: encode(Tpm2bPublic, key.public), private: encode(Tpm2bPrivate, key.private) };
}

/** Reads the two files of tpm2_create. Throws `WireError` where they are no TPM2B_PUBLIC and TPM2B_PRIVATE. */
export function parseKeyFiles(files: { readonly public: Uint8Array; readonly private: Uint8Array }): WrappedKey {
  return { public: decode(Tpm2bPublic, files.public), private: decode(Tpm2bPrivate, files.private) };
}

/** Magic number and version. */
const HEADER = /* @__PURE__ */ concat(/* @__PURE__ */ u32Bytes(0xbadcc0de), /* @__PURE__ */ u32Bytes(1));
