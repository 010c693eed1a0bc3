/** Enhanced authorisation: policies. TPM 2.0 Part 3, clause 23. */
import { u16 } from '@casemate/wire';
import { plain, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmaLocality } from '../structures/attributes.js';
import { Int32 } from '../structures/base.js';
import { TpmCc, TpmEo } from '../structures/constants.js';
import { Tpm2bDigest, Tpm2bName, Tpm2bNonce, Tpm2bOperand, Tpm2bTimeout } from '../structures/digests.js';
import {
  TpmiDhEntity,
  TpmiDhObject,
  TpmiRhNvAuth,
  TpmiRhNvIndex,
  TpmiShPolicy,
  TpmiYesNo,
} from '../structures/handles.js';
import { TpmlDigestOfBranches, TpmlPcrSelection } from '../structures/lists.js';
import { TpmtSignature } from '../structures/signatures.js';
import { TpmtTkAuth, TpmtTkVerified } from '../structures/tickets.js';

/** Ties a policy to a signature over nonce, expiration and references. TPM 2.0 Part 3, tables 124 and 125. */
export const PolicySigned = specified('TPM2_PolicySigned', TPM_CC.PolicySigned, () => ({
  handles: [plain('authObject', TpmiDhObject), plain('policySession', TpmiShPolicy)],
  parameters: {
    nonceTPM: Tpm2bNonce,
    cpHashA: Tpm2bDigest,
    policyRef: Tpm2bNonce,
    expiration: Int32,
    auth: TpmtSignature,
  },
  response: { timeout: Tpm2bTimeout, policyTicket: TpmtTkAuth },
}));

/** Ties a policy to knowledge of the secret of another entity. TPM 2.0 Part 3, tables 126 and 127. */
export const PolicySecret = specified('TPM2_PolicySecret', TPM_CC.PolicySecret, () => ({
  handles: [user('authHandle', TpmiDhEntity), plain('policySession', TpmiShPolicy)],
  parameters: { nonceTPM: Tpm2bNonce, cpHashA: Tpm2bDigest, policyRef: Tpm2bNonce, expiration: Int32 },
  response: { timeout: Tpm2bTimeout, policyTicket: TpmtTkAuth },
}));

/**
 * Stands for {@link PolicySigned} or {@link PolicySecret} by a ticket that either returned. TPM 2.0 Part 3, tables 128
 * and 129.
 */
export const PolicyTicket = specified('TPM2_PolicyTicket', TPM_CC.PolicyTicket, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: {
    timeout: Tpm2bTimeout,
    cpHashA: Tpm2bDigest,
    policyRef: Tpm2bNonce,
    authName: Tpm2bName,
    ticket: TpmtTkAuth,
  },
}));

/** Accepts any of several policies, one of which must be met already. TPM 2.0 Part 3, tables 130 and 131. */
export const PolicyOr = specified('TPM2_PolicyOR', TPM_CC.PolicyOR, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { pHashList: TpmlDigestOfBranches },
}));

/** Ties a policy to the values of PCRs. TPM 2.0 Part 3, tables 132 and 133. */
export const PolicyPcr = specified('TPM2_PolicyPCR', TPM_CC.PolicyPCR, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { pcrDigest: Tpm2bDigest, pcrs: TpmlPcrSelection },
}));

/** Ties a policy to localities. TPM 2.0 Part 3, tables 134 and 135. */
export const PolicyLocality = specified('TPM2_PolicyLocality', TPM_CC.PolicyLocality, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { locality: TpmaLocality },
}));

/** Ties a policy to the contents of an NV index. TPM 2.0 Part 3, tables 136 and 137. */
export const PolicyNv = specified('TPM2_PolicyNV', TPM_CC.PolicyNV, () => ({
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex), plain('policySession', TpmiShPolicy)],
  parameters: { operandB: Tpm2bOperand, offset: u16, operation: TpmEo },
}));

/** Ties a policy to time, clock and reset counts. TPM 2.0 Part 3, tables 138 and 139. */
export const PolicyCounterTimer = specified('TPM2_PolicyCounterTimer', TPM_CC.PolicyCounterTimer, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { operandB: Tpm2bOperand, offset: u16, operation: TpmEo },
}));

/** Ties a policy to one command. TPM 2.0 Part 3, tables 140 and 141. */
export const PolicyCommandCode = specified('TPM2_PolicyCommandCode', TPM_CC.PolicyCommandCode, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { code: TpmCc },
}));

/** Ties a policy to asserted physical presence. TPM 2.0 Part 3, tables 142 and 143. */
export const PolicyPhysicalPresence = specified('TPM2_PolicyPhysicalPresence', TPM_CC.PolicyPhysicalPresence, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
}));

/** Ties a policy to one command with certain parameters. TPM 2.0 Part 3, tables 144 and 145. */
export const PolicyCpHash = specified('TPM2_PolicyCpHash', TPM_CC.PolicyCpHash, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { cpHashA: Tpm2bDigest },
}));

/** Ties a policy to the names of a command's handles. TPM 2.0 Part 3, tables 146 and 147. */
export const PolicyNameHash = specified('TPM2_PolicyNameHash', TPM_CC.PolicyNameHash, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { nameHash: Tpm2bDigest },
}));

/** Ties a policy to duplication to a certain new parent. TPM 2.0 Part 3, tables 148 and 149. */
export const PolicyDuplicationSelect = specified(
  'TPM2_PolicyDuplicationSelect',
  TPM_CC.PolicyDuplicationSelect,
  () => ({
    handles: [plain('policySession', TpmiShPolicy)],
    parameters: { objectName: Tpm2bName, newParentName: Tpm2bName, includeObject: TpmiYesNo },
  }),
);

/** Lets the owner of a key approve other policies later. TPM 2.0 Part 3, tables 150 and 151. */
export const PolicyAuthorize = specified('TPM2_PolicyAuthorize', TPM_CC.PolicyAuthorize, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { approvedPolicy: Tpm2bDigest, policyRef: Tpm2bNonce, keySign: Tpm2bName, checkTicket: TpmtTkVerified },
}));

/** Ties a policy to the authorisation value of the object, given as an HMAC. TPM 2.0 Part 3, tables 152 and 153. */
export const PolicyAuthValue = specified('TPM2_PolicyAuthValue', TPM_CC.PolicyAuthValue, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
}));

/** Ties a policy to the authorisation value of the object, given as a password. TPM 2.0 Part 3, tables 154 and 155. */
export const PolicyPassword = specified('TPM2_PolicyPassword', TPM_CC.PolicyPassword, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
}));

/** Returns the digest of a policy session as it stands. TPM 2.0 Part 3, tables 156 and 157. */
export const PolicyGetDigest = specified('TPM2_PolicyGetDigest', TPM_CC.PolicyGetDigest, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  response: { policyDigest: Tpm2bDigest },
}));

/** Ties a policy to whether an NV index has been written. TPM 2.0 Part 3, tables 158 and 159. */
export const PolicyNvWritten = specified('TPM2_PolicyNvWritten', TPM_CC.PolicyNvWritten, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { writtenSet: TpmiYesNo },
}));

/** Ties a policy to the template of the object to be created. TPM 2.0 Part 3, tables 160 and 161. */
export const PolicyTemplate = specified('TPM2_PolicyTemplate', TPM_CC.PolicyTemplate, () => ({
  handles: [plain('policySession', TpmiShPolicy)],
  parameters: { templateHash: Tpm2bDigest },
}));

/** Accepts the policy whose digest stands in an NV index. TPM 2.0 Part 3, tables 162 and 163. */
export const PolicyAuthorizeNv = specified('TPM2_PolicyAuthorizeNV', TPM_CC.PolicyAuthorizeNV, () => ({
  handles: [user('authHandle', TpmiRhNvAuth), plain('nvIndex', TpmiRhNvIndex), plain('policySession', TpmiShPolicy)],
}));
