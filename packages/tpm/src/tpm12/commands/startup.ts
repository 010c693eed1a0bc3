/** Start-up, self-tests and state. TPM 1.2 Main Part 3, clauses 3 and 4. */
import { oneOf, u16 } from '@casemate/wire';
import { command12 } from '../command.js';
import { TPM_ST } from '../constants.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData } from '../structures/base.js';

/** Starts the TPM after a reset. TPM 1.2 Part 3, clause 3.2. */
export const Startup = command12({
  name: 'TPM_Startup',
  ordinal: TPM_ORD.Startup,
  parameters: { startupType: oneOf('TPM_STARTUP_TYPE', u16, Object.values(TPM_ST)) },
});

/** Saves what TPM_Startup(ST_STATE) brings back. TPM 1.2 Part 3, clause 3.3. */
export const SaveState = command12({ name: 'TPM_SaveState', ordinal: TPM_ORD.SaveState });

/** Tests everything and waits. TPM 1.2 Part 3, clause 4.1. */
export const SelfTestFull = command12({ name: 'TPM_SelfTestFull', ordinal: TPM_ORD.SelfTestFull });

/** Tests what has not been tested yet. TPM 1.2 Part 3, clause 4.2. */
export const ContinueSelfTest = command12({ name: 'TPM_ContinueSelfTest', ordinal: TPM_ORD.ContinueSelfTest });

/** The result of the self-tests, as the vendor writes it. TPM 1.2 Part 3, clause 4.3. */
export const GetTestResult = command12({
  name: 'TPM_GetTestResult',
  ordinal: TPM_ORD.GetTestResult,
  response: { outData: sizedData('TPM_GetTestResult') },
});
