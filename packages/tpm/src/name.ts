/** Names: the unforgeable identities of what handles stand for (Part 1, section 16). */

import { encode } from '@casemate/wire';
import type { Entity } from './authorization.js';
import { concat, equalBytes, hex, u16Bytes, u32Bytes } from './bytes.js';
import { TPM_HT } from './constants/handles.js';
import type { TpmHashes } from './crypto.js';
import { defaultHashes } from './default-crypto.js';
import { TpmError } from './response-code.js';
import { TpmsNvPublic } from './structures/nv.js';
import { TpmtPublic } from './structures/public.js';

/** The Name that the TPM uses for this entity. Throws `TpmError` `usage` where it is needed but was not given. */
export function entityName(entity: Entity): Uint8Array {
  if (entity.name) return entity.name;
  if (isNamedByHandle(entity.handle)) return u32Bytes(entity.handle);
  const handle = `0x${entity.handle.toString(16).padStart(8, '0')}`;
  throw new TpmError('usage', `authorise command: expected the Name of ${handle} for the session's HMAC, got none`);
}

/** Whether the Name of this handle is the handle itself: PCRs, sessions and permanent entities. */
function isNamedByHandle(handle: number): boolean {
  const type = handle >>> 24;
  return (
    type === TPM_HT.PCR || type === TPM_HT.HMAC_SESSION || type === TPM_HT.POLICY_SESSION || type === TPM_HT.PERMANENT
  );
}

/** The Name of an object: its name algorithm and the hash of its public area (Part 1, section 16). */
export function nameOf(publicArea: TpmtPublic, hashes: Pick<TpmHashes, 'hash'> = defaultHashes): Uint8Array {
  return named(publicArea.nameAlg, encode(TpmtPublic, publicArea), hashes);
}

/** The Name of an NV index. It changes when the index is first written or locked, because its attributes change. */
export function nvNameOf(publicArea: TpmsNvPublic, hashes: Pick<TpmHashes, 'hash'> = defaultHashes): Uint8Array {
  return named(publicArea.nameAlg, encode(TpmsNvPublic, publicArea), hashes);
}

/** Throws `TpmError` `integrity` unless the TPM's Name for an object is that of the public area that it gave. */
export function assertName(subject: string, expected: Uint8Array, got: Uint8Array): void {
  if (equalBytes(expected, got)) return;
  throw new TpmError('integrity', `${subject}: expected Name ${hex(expected)}, got ${hex(got)}`);
}

function named(algorithm: number, area: Uint8Array, hashes: Pick<TpmHashes, 'hash'>): Uint8Array {
  return concat(u16Bytes(algorithm), hashes.hash(algorithm, area));
}
