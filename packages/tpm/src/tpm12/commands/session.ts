/** Sessions, and taking resources out. TPM 1.2 Main Part 3, clauses 18, 22 and 27. */
import { u16, u32 } from '@casemate/wire';
import { command12 } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { TpmNonce } from '../structures/base.js';

/** Opens a session for any entity. TPM 1.2 Part 3, clause 18.1. */
export const Oiap = command12({
  name: 'TPM_OIAP',
  ordinal: TPM_ORD.OIAP,
  response: { authHandle: u32, nonceEven: TpmNonce },
});

/** Opens a session for one entity. TPM 1.2 Part 3, clause 18.2. */
export const Osap = command12({
  name: 'TPM_OSAP',
  ordinal: TPM_ORD.OSAP,
  parameters: { entityType: u16, entityValue: u32, nonceOddOSAP: TpmNonce },
  response: { authHandle: u32, nonceEven: TpmNonce, nonceEvenOSAP: TpmNonce },
});

/** Ends a session; `FlushSpecific` does the same and more. TPM 1.2 Part 3, clause 27.1.2. */
export const TerminateHandle = command12({
  name: 'TPM_Terminate_Handle',
  ordinal: TPM_ORD.Terminate_Handle,
  parameters: { handle: u32 },
});

/** Takes a resource of a kind of `TPM_RT` out of the TPM. TPM 1.2 Part 3, clause 22.1. */
export const FlushSpecific = command12({
  name: 'TPM_FlushSpecific',
  ordinal: TPM_ORD.FlushSpecific,
  parameters: { handle: u32, resourceType: u32 },
});

/** Takes a key out of the TPM, in the way of TPM 1.1. TPM 1.2 Part 3, clause 27.1.1. */
export const EvictKey = command12({
  name: 'TPM_EvictKey',
  ordinal: TPM_ORD.EvictKey,
  parameters: { evictHandle: u32 },
});
