/** Field upgrade. TPM 2.0 Part 3, clause 27. */
import { u32 } from '@casemate/wire';
import { admin, plain, specified } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { Tpm2bDigest, Tpm2bMaxBuffer, TpmtHa, TpmtHaOrNull } from '../structures/digests.js';
import { TpmiDhObject, TpmiRhPlatform } from '../structures/handles.js';
import { TpmtSignature } from '../structures/signatures.js';

/** Begins a field upgrade with a signed manifest. TPM 2.0 Part 3, tables 188 and 189. */
export const FieldUpgradeStart = specified('TPM2_FieldUpgradeStart', TPM_CC.FieldUpgradeStart, () => ({
  handles: [admin('authorization', TpmiRhPlatform), plain('keyHandle', TpmiDhObject)],
  parameters: { fuDigest: Tpm2bDigest, manifestSignature: TpmtSignature },
}));

/** Gives the next block of a field upgrade. TPM 2.0 Part 3, tables 190 and 191. */
export const FieldUpgradeData = specified('TPM2_FieldUpgradeData', TPM_CC.FieldUpgradeData, () => ({
  effects: { nv: true },
  parameters: { fuData: Tpm2bMaxBuffer },
  response: { nextDigest: TpmtHaOrNull, firstDigest: TpmtHa },
}));

/** Reads the firmware block by block. TPM 2.0 Part 3, tables 192 and 193. */
export const FirmwareRead = specified('TPM2_FirmwareRead', TPM_CC.FirmwareRead, () => ({
  parameters: { sequenceNumber: u32 },
  response: { fuData: Tpm2bMaxBuffer },
}));
