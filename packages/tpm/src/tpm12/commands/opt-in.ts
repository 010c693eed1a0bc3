/** Switching the TPM on and off. TPM 1.2 Main Part 3, clauses 5 and 6.6. */
import { u16 } from '@casemate/wire';
import { command12, ownerAuth } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { TpmBool } from '../structures/base.js';

/** Allows or forbids taking ownership; needs physical presence. TPM 1.2 Part 3, clause 5.1. */
export const SetOwnerInstall = command12({
  name: 'TPM_SetOwnerInstall',
  ordinal: TPM_ORD.SetOwnerInstall,
  parameters: { state: TpmBool },
});

/** Disables or enables the TPM by its owner. TPM 1.2 Part 3, clause 5.2. */
export const OwnerSetDisable = command12({
  name: 'TPM_OwnerSetDisable',
  ordinal: TPM_ORD.OwnerSetDisable,
  parameters: { disableState: TpmBool },
  auths: [ownerAuth('ownerAuth')],
});

/** Enables the TPM; needs physical presence. TPM 1.2 Part 3, clause 5.3. */
export const PhysicalEnable = command12({ name: 'TPM_PhysicalEnable', ordinal: TPM_ORD.PhysicalEnable });

/** Disables the TPM; needs physical presence. TPM 1.2 Part 3, clause 5.4. */
export const PhysicalDisable = command12({ name: 'TPM_PhysicalDisable', ordinal: TPM_ORD.PhysicalDisable });

/** Deactivates or activates the TPM from the next start; needs physical presence. TPM 1.2 Part 3, clause 5.5. */
export const PhysicalSetDeactivated = command12({
  name: 'TPM_PhysicalSetDeactivated',
  ordinal: TPM_ORD.PhysicalSetDeactivated,
  parameters: { state: TpmBool },
});

/** Asserts physical presence, or says how it is asserted: bits of `TPM_PHYSICAL_PRESENCE`. TPM 1.2 Part 3, clause 6.6. */
export const PhysicalPresence = command12({
  name: 'TSC_PhysicalPresence',
  ordinal: TPM_ORD.PhysicalPresence,
  parameters: { physicalPresence: u16 },
});
