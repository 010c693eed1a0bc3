/** Random numbers. TPM 2.0 Part 3, clause 16. */
import { u16 } from '@casemate/wire';
import { specified } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { Tpm2bDigest } from '../structures/digests.js';
import { Tpm2bSensitiveData } from '../structures/symmetric.js';

/** Returns random bytes, perhaps fewer than asked for. TPM 2.0 Part 3, tables 68 and 69. */
export const GetRandom = specified('TPM2_GetRandom', TPM_CC.GetRandom, () => ({
  parameters: { bytesRequested: u16 },
  response: { randomBytes: Tpm2bDigest },
}));

/** Adds data to the state of the random number generator. TPM 2.0 Part 3, tables 70 and 71. */
export const StirRandom = specified('TPM2_StirRandom', TPM_CC.StirRandom, () => ({
  effects: { nv: true },
  parameters: { inData: Tpm2bSensitiveData },
}));
