/** Sealing data to a TPM, its PCRs and localities. TPM 1.2 Main Part 3, clauses 10.1, 10.2 and 17.1. */
import type { ExecuteOptions12, Tpm12 } from './client.js';
import { Seal, Unseal } from './commands/storage.js';
import { TPM_ET } from './constants.js';
import { type ChangeSecretOptions12, changeEntitySecret } from './entity-secret.js';
import type { KeyHandle12 } from './key.js';
import { type Binding12, pcrInfo } from './pcr.js';
import { wellKnownSecret } from './secret.js';
import type { TpmAnyStoredData } from './structures/storage.js';

/** What to seal, and to what. */
export interface SealOptions12 extends ExecuteOptions12 {
  /** The data; under a 2048-bit key up to about 190 bytes. */
  readonly data: Uint8Array;
  /** The secret for giving them back, 20 bytes. Default: the well-known one. */
  readonly secret?: Uint8Array;
  /** PCRs and localities that giving them back is bound to. Default: none. */
  readonly binding?: Binding12;
}

/** Encrypts data so that only this TPM gives them back. `parent` is a storage key: the storage root key, or one below it. */
export async function seal12(tpm: Tpm12, parent: KeyHandle12, options: SealOptions12): Promise<TpmAnyStoredData> {
  const request = {
    keyHandle: parent.handle,
    encAuth: options.secret ?? wellKnownSecret(),
    pcrInfo: await pcrInfo(tpm, options.binding ?? {}, options),
    inData: options.data,
    pubAuth: parent.secret ?? wellKnownSecret(),
  };
  return (await tpm.execute(Seal, request, options)).sealedData;
}

/**
 * Gives sealed data back. Throws `TpmError` `response`: TPM_AUTHFAIL for a wrong secret, TPM_WRONGPCRVAL for other PCRs,
 * TPM_BAD_LOCALITY, TPM_NOTSEALED_BLOB for data of another TPM or owner.
 */
export async function unseal12(
  tpm: Tpm12,
  parent: KeyHandle12,
  sealed: TpmAnyStoredData,
  options: ExecuteOptions12 & { readonly secret?: Uint8Array } = {},
): Promise<Uint8Array> {
  const dataAuth = options.secret ?? wellKnownSecret();
  const request = { parentHandle: parent.handle, inData: sealed, parentAuth: parent.secret, dataAuth };
  return (await tpm.execute(Unseal, request, options)).secret;
}

/** Gives sealed data another secret; the old form keeps the old one. */
export async function changeSealedSecret(
  tpm: Tpm12,
  parent: KeyHandle12,
  sealed: TpmAnyStoredData,
  options: ChangeSecretOptions12,
): Promise<TpmAnyStoredData> {
  const entity = { type: TPM_ET.DATA, encData: sealed.encData };
  return { ...sealed, encData: await changeEntitySecret(tpm, parent, entity, options) };
}
