/** Names: the unforgeable identities of what handles stand for (Part 1, section 16). */

import type { Entity } from './authorization.js';
import { u32Bytes } from './bytes.js';
import { TPM_HT } from './constants/handles.js';
import { TpmError } from './response-code.js';

/** The Name that the TPM uses for this entity. Throws `TpmError` `usage` where it is needed but was not given. */
export function entityName(entity: Entity): Uint8Array {
  if (entity.name) return entity.name;
  if (isNamedByHandle(entity.handle)) return u32Bytes(entity.handle);
  const handle = `0x${entity.handle.toString(16).padStart(8, '0')}`;
  throw new TpmError('usage', `authorise command: expected the Name of ${handle} for the session's HMAC, got none`);
}

/** Whether the Name of this handle is the handle itself: PCRs, sessions and permanent entities. */
export function isNamedByHandle(handle: number): boolean {
  const type = handle >>> 24;
  return (
    type === TPM_HT.PCR || type === TPM_HT.HMAC_SESSION || type === TPM_HT.POLICY_SESSION || type === TPM_HT.PERMANENT
  );
}
