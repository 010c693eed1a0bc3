/** Ticks and monotonic counters. TPM 1.2 Main Part 3, clauses 23 and 25. */
import { bytes, u32 } from '@casemate/wire';
import { type AuthField, command12, ownerAuth, required } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { TpmEncauth } from '../structures/base.js';
import { TpmCounterValue, TpmCurrentTicks } from '../structures/capability.js';

/** How long the TPM has run. TPM 1.2 Part 3, clause 23.1. */
export const GetTicks = command12({
  name: 'TPM_GetTicks',
  ordinal: TPM_ORD.GetTicks,
  response: { currentTime: TpmCurrentTicks },
});

/** Makes a monotonic counter with its own secret. TPM 1.2 Part 3, clause 25.1. */
export const CreateCounter = command12({
  name: 'TPM_CreateCounter',
  ordinal: TPM_ORD.CreateCounter,
  parameters: { authData: TpmEncauth, label: bytes('label', 4) },
  auths: [required(ownerAuth('ownerAuth', 'osap'))],
  secrets: { auth: 'ownerAuth', even: 'authData' },
  response: { countID: u32, counterValue: TpmCounterValue },
});

/** Increments a monotonic counter. TPM 1.2 Part 3, clause 25.2. */
export const IncrementCounter = command12({
  name: 'TPM_IncrementCounter',
  ordinal: TPM_ORD.IncrementCounter,
  parameters: { countID: u32 },
  auths: [counterAuth('counterAuth')],
  response: { count: TpmCounterValue },
});

/** Reads a monotonic counter. TPM 1.2 Part 3, clause 25.3. */
export const ReadCounter = command12({
  name: 'TPM_ReadCounter',
  ordinal: TPM_ORD.ReadCounter,
  parameters: { countID: u32 },
  response: { count: TpmCounterValue },
});

/** Removes a monotonic counter by its own secret. TPM 1.2 Part 3, clause 25.4. */
export const ReleaseCounter = command12({
  name: 'TPM_ReleaseCounter',
  ordinal: TPM_ORD.ReleaseCounter,
  parameters: { countID: u32 },
  auths: [counterAuth('counterAuth')],
});

/* @__NO_SIDE_EFFECTS__ */
function counterAuth<const N extends string>(name: N): AuthField<N, false> {
  return { name, optional: false, protocol: 'oiap', entity: { kind: 'data' } };
}
