/** Self-tests. TPM 2.0 Part 3, clause 10. */
import { command } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmRc } from '../structures/constants.js';
import { Tpm2bMaxBuffer } from '../structures/digests.js';
import { TpmiYesNo } from '../structures/handles.js';
import { TpmlAlg } from '../structures/lists.js';

/** Tests the algorithms of the TPM: all of them, or those not tested yet. TPM 2.0 Part 3, tables 9 and 10. */
export const SelfTest = command({
  name: 'TPM2_SelfTest',
  code: TPM_CC.SelfTest,
  effects: { nv: true },
  parameters: { fullTest: TpmiYesNo },
});

/** Tests the listed algorithms and returns those still to be tested. TPM 2.0 Part 3, tables 11 and 12. */
export const IncrementalSelfTest = command({
  name: 'TPM2_IncrementalSelfTest',
  code: TPM_CC.IncrementalSelfTest,
  effects: { nv: true },
  parameters: { toTest: TpmlAlg },
  response: { toDoList: TpmlAlg },
});

/**
 * Reports how the self-test went, in a form of the vendor's own; works in failure mode. TPM 2.0 Part 3, tables 13 and
 * 14.
 */
export const GetTestResult = command({
  name: 'TPM2_GetTestResult',
  code: TPM_CC.GetTestResult,
  response: { outData: Tpm2bMaxBuffer, testResult: TpmRc },
});
