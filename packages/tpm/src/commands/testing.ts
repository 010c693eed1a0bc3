/** Self-tests. TPM 2.0 Part 3, clause 10. */
import { specified } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmRc } from '../structures/constants.js';
import { Tpm2bMaxBuffer } from '../structures/digests.js';
import { TpmiYesNo } from '../structures/handles.js';
import { TpmlAlg } from '../structures/lists.js';

/** Tests the algorithms of the TPM: all of them, or those not tested yet. TPM 2.0 Part 3, tables 9 and 10. */
export const SelfTest = specified('TPM2_SelfTest', TPM_CC.SelfTest, () => ({
  effects: { nv: true },
  parameters: { fullTest: TpmiYesNo },
}));

/** Tests the listed algorithms and returns those still to be tested. TPM 2.0 Part 3, tables 11 and 12. */
export const IncrementalSelfTest = specified('TPM2_IncrementalSelfTest', TPM_CC.IncrementalSelfTest, () => ({
  effects: { nv: true },
  parameters: { toTest: TpmlAlg },
  response: { toDoList: TpmlAlg },
}));

/**
 * Reports how the self-test went, in a form of the vendor's own; works in failure mode. TPM 2.0 Part 3, tables 13 and
 * 14.
 */
export const GetTestResult = specified('TPM2_GetTestResult', TPM_CC.GetTestResult, () => ({
  response: { outData: Tpm2bMaxBuffer, testResult: TpmRc },
}));
