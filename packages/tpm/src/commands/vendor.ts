/** Vendor commands. TPM 2.0 Part 3, clause 34. */
import { specified } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { Tpm2bData } from '../structures/digests.js';

/** Answers what it was given: a vendor command for tests. TPM 2.0 Part 3, tables 248 and 249. */
export const VendorTcgTest = specified('TPM2_Vendor_TCG_Test', TPM_CC.Vendor_TCG_Test, () => ({
  parameters: { inputData: Tpm2bData },
  response: { outputData: Tpm2bData },
}));
