/** Attestation. TPM 2.0 Part 3, clause 18. */
import { admin, plain, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmtSigSchemeOrNull } from '../structures/asymmetric.js';
import { Tpm2bAttest } from '../structures/attestation.js';
import { Tpm2bData, Tpm2bDigest, Tpm2bMaxBuffer } from '../structures/digests.js';
import { TpmiDhObject, TpmiDhObjectOrNull, TpmiRhEndorsement, TpmiShHmac } from '../structures/handles.js';
import { TpmlPcrSelection } from '../structures/lists.js';
import { TpmtSignatureOrNull } from '../structures/signatures.js';
import { TpmtTkCreation } from '../structures/tickets.js';

/** Attests that an object with a certain name is loaded. TPM 2.0 Part 3, tables 86 and 87. */
export const Certify = specified('TPM2_Certify', TPM_CC.Certify, () => ({
  handles: [admin('objectHandle', TpmiDhObject), user('signHandle', TpmiDhObjectOrNull)],
  parameters: { qualifyingData: Tpm2bData, inScheme: TpmtSigSchemeOrNull },
  response: { certifyInfo: Tpm2bAttest, signature: TpmtSignatureOrNull },
}));

/** Attests under which circumstances an object was created. TPM 2.0 Part 3, tables 88 and 89. */
export const CertifyCreation = specified('TPM2_CertifyCreation', TPM_CC.CertifyCreation, () => ({
  handles: [user('signHandle', TpmiDhObjectOrNull), plain('objectHandle', TpmiDhObject)],
  parameters: {
    qualifyingData: Tpm2bData,
    creationHash: Tpm2bDigest,
    inScheme: TpmtSigSchemeOrNull,
    creationTicket: TpmtTkCreation,
  },
  response: { certifyInfo: Tpm2bAttest, signature: TpmtSignatureOrNull },
}));

/** Attests the values of PCRs. TPM 2.0 Part 3, tables 90 and 91. */
export const Quote = specified('TPM2_Quote', TPM_CC.Quote, () => ({
  handles: [user('signHandle', TpmiDhObjectOrNull)],
  parameters: { qualifyingData: Tpm2bData, inScheme: TpmtSigSchemeOrNull, PCRselect: TpmlPcrSelection },
  response: { quoted: Tpm2bAttest, signature: TpmtSignatureOrNull },
}));

/** Attests the digest of an audit session. TPM 2.0 Part 3, tables 92 and 93. */
export const GetSessionAuditDigest = specified('TPM2_GetSessionAuditDigest', TPM_CC.GetSessionAuditDigest, () => ({
  handles: [
    user('privacyAdminHandle', TpmiRhEndorsement),
    user('signHandle', TpmiDhObjectOrNull),
    plain('sessionHandle', TpmiShHmac),
  ],
  parameters: { qualifyingData: Tpm2bData, inScheme: TpmtSigSchemeOrNull },
  response: { auditInfo: Tpm2bAttest, signature: TpmtSignatureOrNull },
}));

/** Attests the digest of the audited commands. TPM 2.0 Part 3, tables 94 and 95. */
export const GetCommandAuditDigest = specified('TPM2_GetCommandAuditDigest', TPM_CC.GetCommandAuditDigest, () => ({
  effects: { nv: true },
  handles: [user('privacyHandle', TpmiRhEndorsement), user('signHandle', TpmiDhObjectOrNull)],
  parameters: { qualifyingData: Tpm2bData, inScheme: TpmtSigSchemeOrNull },
  response: { auditInfo: Tpm2bAttest, signature: TpmtSignatureOrNull },
}));

/** Attests time and clock. TPM 2.0 Part 3, tables 96 and 97. */
export const GetTime = specified('TPM2_GetTime', TPM_CC.GetTime, () => ({
  handles: [user('privacyAdminHandle', TpmiRhEndorsement), user('signHandle', TpmiDhObjectOrNull)],
  parameters: { qualifyingData: Tpm2bData, inScheme: TpmtSigSchemeOrNull },
  response: { timeInfo: Tpm2bAttest, signature: TpmtSignatureOrNull },
}));

/** Completes and signs an X.509 certificate for a loaded object. TPM 2.0 Part 3, tables 98 and 99. */
export const CertifyX509 = specified('TPM2_CertifyX509', TPM_CC.CertifyX509, () => ({
  handles: [admin('objectHandle', TpmiDhObject), user('signHandle', TpmiDhObjectOrNull)],
  parameters: { reserved: Tpm2bData, inScheme: TpmtSigSchemeOrNull, partialCertificate: Tpm2bMaxBuffer },
  response: { addedToCertificate: Tpm2bMaxBuffer, tbsDigest: Tpm2bDigest, signature: TpmtSignatureOrNull },
}));
