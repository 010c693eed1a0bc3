/** Giving an entity that lies outside of the TPM, a key or sealed data, another secret. TPM 1.2 Main Part 3, clause 17.1. */
import type { ExecuteOptions12, Tpm12 } from './client.js';
import { ChangeAuth } from './commands/storage.js';
import { TPM_PID } from './constants.js';
import type { KeyHandle12 } from './key.js';
import { wellKnownSecret } from './secret.js';

/** How to change the secret of something: the one that it has and the one that it gets, 20 bytes each. */
export interface ChangeSecretOptions12 extends ExecuteOptions12 {
  /** The secret that it has. */
  readonly oldSecret: Uint8Array;
  /** The secret that it gets. */
  readonly newSecret: Uint8Array;
}

/** Has the TPM encrypt `encData` anew under `parent`, now with the new secret. `type` is a TPM_ET. */
export async function changeEntitySecret(
  tpm: Tpm12,
  parent: KeyHandle12,
  { type, encData }: { readonly type: number; readonly encData: Uint8Array },
  options: ChangeSecretOptions12,
): Promise<Uint8Array> {
  const request = {
    parentHandle: parent.handle,
    protocolID: TPM_PID.ADCP,
    newAuth: options.newSecret,
    entityType: type,
    encData,
    parentAuth: parent.secret ?? wellKnownSecret(),
    entityAuth: options.oldSecret,
  };
  return (await tpm.execute(ChangeAuth, request, options)).outData;
}
