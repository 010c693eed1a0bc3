/** Ephemeral EC keys. TPM 2.0 Part 3, clause 19. */
import { u16 } from '@casemate/wire';
import { specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiEccCurve } from '../structures/algorithms.js';
import { Tpm2bEccParameter, Tpm2bEccPoint } from '../structures/asymmetric.js';
import { TpmiDhObject } from '../structures/handles.js';
import { Tpm2bSensitiveData } from '../structures/symmetric.js';

/** Makes the commitment of an anonymous signature. TPM 2.0 Part 3, tables 100 and 101. */
export const Commit = specified('TPM2_Commit', TPM_CC.Commit, () => ({
  handles: [user('signHandle', TpmiDhObject)],
  parameters: { P1: Tpm2bEccPoint, s2: Tpm2bSensitiveData, y2: Tpm2bEccParameter },
  response: { K: Tpm2bEccPoint, L: Tpm2bEccPoint, E: Tpm2bEccPoint, counter: u16 },
}));

/** Makes an ephemeral key for a key exchange in two phases. TPM 2.0 Part 3, tables 102 and 103. */
export const EcEphemeral = specified('TPM2_EC_Ephemeral', TPM_CC.EC_Ephemeral, () => ({
  parameters: { curveID: TpmiEccCurve },
  response: { Q: Tpm2bEccPoint, counter: u16 },
}));
