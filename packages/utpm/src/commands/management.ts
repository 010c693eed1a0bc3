/** Miscellaneous management: Part 3, clause 26. */
import { PpCommands, SetAlgorithmSet, TPM_CC } from '@casemate/tpm';
import { handler } from '../handler.js';
import { markDirty } from '../tpm.js';

// The commands that the platform authorises, for which physical presence makes sense (Part 3, 26.2.1).
const ELIGIBLE: ReadonlySet<number> = new Set([
  TPM_CC.NV_UndefineSpaceSpecial,
  TPM_CC.EvictControl,
  TPM_CC.HierarchyControl,
  TPM_CC.NV_UndefineSpace,
  TPM_CC.ChangeEPS,
  TPM_CC.ChangePPS,
  TPM_CC.Clear,
  TPM_CC.ClearControl,
  TPM_CC.ClockSet,
  TPM_CC.HierarchyChangeAuth,
  TPM_CC.NV_DefineSpace,
  TPM_CC.PCR_Allocate,
  TPM_CC.PCR_SetAuthPolicy,
  TPM_CC.SetPrimaryPolicy,
  TPM_CC.ClockRateAdjust,
  TPM_CC.CreatePrimary,
  TPM_CC.NV_GlobalWriteLock,
  TPM_CC.SetCommandCodeAuditStatus,
  TPM_CC.CreateLoaded,
]);

/** TPM2_PP_Commands (26.2); it needs physical presence itself, always. */
export const ppCommands = /* @__PURE__ */ handler(PpCommands, (tpm, { setList, clearList }) => {
  const commands = new Set(tpm.permanent.presenceCommands);
  for (const code of setList) if (tpm.commands.has(code) && ELIGIBLE.has(code)) commands.add(code);
  for (const code of clearList) commands.delete(code);
  tpm.permanent.presenceCommands = commands;
  markDirty(tpm);
  return {};
});

/** TPM2_SetAlgorithmSet (26.3): a number of the vendor's, which selects nothing here and is told as a property. */
export const setAlgorithmSet = /* @__PURE__ */ handler(SetAlgorithmSet, (tpm, { algorithmSet }) => {
  tpm.permanent.algorithmSet = algorithmSet;
  markDirty(tpm);
  return {};
});
