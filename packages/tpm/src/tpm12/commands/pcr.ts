/** PCRs. TPM 1.2 Main Part 3, clause 16. */
import { u32 } from '@casemate/wire';
import { command12, keyAuth } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData, TpmBool, TpmDigest, TpmNonce } from '../structures/base.js';
import { TpmPcrComposite, TpmPcrInfoShort, TpmPcrSelection } from '../structures/pcr.js';

/** Extends a PCR by a digest. TPM 1.2 Part 3, clause 16.1. */
export const Extend = command12({
  name: 'TPM_Extend',
  ordinal: TPM_ORD.Extend,
  parameters: { pcrNum: u32, inDigest: TpmDigest },
  response: { outDigest: TpmDigest },
});

/** Reads a PCR. TPM 1.2 Part 3, clause 16.2. */
export const PcrRead = command12({
  name: 'TPM_PCRRead',
  ordinal: TPM_ORD.PcrRead,
  parameters: { pcrIndex: u32 },
  response: { outDigest: TpmDigest },
});

/** Has PCRs signed together with a nonce. TPM 1.2 Part 3, clause 16.3. */
export const Quote = command12({
  name: 'TPM_Quote',
  ordinal: TPM_ORD.Quote,
  handles: ['keyHandle'],
  parameters: { externalData: TpmNonce, targetPCR: TpmPcrSelection },
  auths: [keyAuth('privAuth', 'keyHandle')],
  response: { pcrData: TpmPcrComposite, sig: sizedData('sig', 512) },
});

/** Resets PCRs that can be reset, from this locality. TPM 1.2 Part 3, clause 16.4. */
export const PcrReset = command12({
  name: 'TPM_PCR_Reset',
  ordinal: TPM_ORD.PCR_Reset,
  parameters: { pcrSelection: TpmPcrSelection },
});

/** Has PCRs and locality signed together with a nonce, and with the version if it is asked for. TPM 1.2 Part 3, clause 16.5. */
export const Quote2 = command12({
  name: 'TPM_Quote2',
  ordinal: TPM_ORD.Quote2,
  handles: ['keyHandle'],
  parameters: { externalData: TpmNonce, targetPCR: TpmPcrSelection, addVersion: TpmBool },
  auths: [keyAuth('privAuth', 'keyHandle')],
  response: { pcrData: TpmPcrInfoShort, versionInfo: sizedData('versionInfo', 1024), sig: sizedData('sig', 512) },
});
