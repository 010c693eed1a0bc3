/** The files of tpm_sealdata and tpm_unsealdata (tpm-tools): data encrypted by AES-256, its key sealed under a key of its own. */
import { decode, encode, WireError } from '@casemate/wire';
import { toBase64 } from '../pem.js';
import { TpmError } from '../response-code.js';
import type { ExecuteOptions12, Tpm12 } from './client.js';
import { createKey12, type KeyHandle12, loadKey12 } from './key.js';
import type { Binding12 } from './pcr.js';
import { seal12, unseal12 } from './seal.js';
import { passwordSecret } from './secret.js';
import { TpmAnyKey } from './structures/key.js';
import { TpmAnyStoredData } from './structures/storage.js';

/** The parts of a file. */
export interface SealedFile {
  /** The storage key under which the data key is sealed; its parent is the storage root key. */
  readonly key: TpmAnyKey;
  /** The sealed data key, 32 bytes for AES-256-CBC. */
  readonly sealedKey: TpmAnyStoredData;
  /** The encrypted data. */
  readonly data: Uint8Array;
}

/** Seals data of any length as tpm_sealdata does; `format` them for a file. `parent` is the storage root key. */
export async function sealFile(
  tpm: Tpm12,
  parent: KeyHandle12,
  data: Uint8Array,
  options: ExecuteOptions12 & { readonly binding?: Binding12 } = {},
): Promise<SealedFile> {
  const secret = fixedSecret(tpm);
  const key = await createKey12(tpm, parent, { kind: 'storage', secret });
  await using loaded = await loadKey12(tpm, parent, key, { secret });
  const dataKey = tpm.crypto.random(32);
  try {
    const sealedKey = await seal12(tpm, loaded, { ...options, data: dataKey, secret });
    return { key, sealedKey, data: tpm.crypto.aesCbcEncrypt(dataKey, IV, data) };
  } finally {
    dataKey.fill(0);
  }
}

/** Gives the data of a file back. Throws `TpmError` as `unseal12` does, `integrity` where the encrypted data are damaged. */
export async function unsealFile(
  tpm: Tpm12,
  parent: KeyHandle12,
  file: SealedFile,
  options: ExecuteOptions12 = {},
): Promise<Uint8Array> {
  const secret = fixedSecret(tpm);
  await using loaded = await loadKey12(tpm, parent, file.key, { secret });
  const dataKey = await unseal12(tpm, loaded, file.sealedKey, { ...options, secret });
  try {
    return tpm.crypto.aesCbcDecrypt(dataKey, IV, file.data);
  } finally {
    dataKey.fill(0);
  }
}

/** The text of a file. */
export function formatSealedFile(file: SealedFile): string {
  return [
    BEGIN,
    TSS_KEY,
    ...lines(encode(TpmAnyKey, file.key)),
    ENC_KEY,
    CIPHER,
    ...lines(encode(TpmAnyStoredData, file.sealedKey)),
    ENC_DATA,
    ...lines(file.data),
    END,
    '',
  ].join('\n');
}

/** Reads the text of a file. Whoever wrote it controls every byte. Throws `TpmError` `decode`. */
export function parseSealedFile(text: string): SealedFile {
  const rest = text.split(/\r?\n/).filter((line) => line !== '');
  expectLine(rest.shift(), BEGIN);
  expectLine(rest.shift(), TSS_KEY);
  const key = takeBase64(rest, ENC_KEY);
  expectLine(rest.shift(), CIPHER);
  const sealedKey = takeBase64(rest, ENC_DATA);
  const data = takeBase64(rest, END);
  if (rest.length > 0) throw malformed(`expected the end of the file, got ${rest.length} more lines`);
  try {
    return { key: decode(TpmAnyKey, key), sealedKey: decode(TpmAnyStoredData, sealedKey), data };
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw malformed(cause.message, cause);
  }
}

const BEGIN = '-----BEGIN TSS-----';
const TSS_KEY = '-----TSS KEY-----';
const ENC_KEY = '-----ENC KEY-----';
const CIPHER = 'Symmetric Key: AES-256-CBC';
const ENC_DATA = '-----ENC DAT-----';
const END = '-----END TSS-----';

/** The format has one initial vector for all; every file has a key of its own. */
const IV = new TextEncoder().encode('IBM SEALIBM SEAL');

/** The secret of the key and of the sealed data is the same in every file: not it, but the storage root key protects them. */
function fixedSecret(tpm: Tpm12): Uint8Array {
  return passwordSecret('password', 'utf-8', tpm.crypto);
}

function lines(bytes: Uint8Array): readonly string[] {
  return toBase64(bytes).match(/.{1,64}/g) ?? [];
}

function takeBase64(rest: string[], end: string): Uint8Array {
  const at = rest.indexOf(end);
  if (at === -1) throw malformed(`expected the line ${end}`);
  const digits = rest.splice(0, at).join('');
  rest.shift();
  if (digits.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(digits)) throw malformed('expected base64');
  return Uint8Array.from(atob(digits), (letter) => letter.charCodeAt(0));
}

function expectLine(got: string | undefined, expected: string): void {
  if (got?.trimEnd() !== expected) throw malformed(`expected the line ${expected}`);
}

function malformed(problem: string, cause?: unknown): TpmError {
  return new TpmError('decode', `parse sealed file: ${problem}`, cause === undefined ? {} : { cause });
}
