/** Hash, MAC and event sequences. TPM 2.0 Part 3, clause 17. */
import { returned, specified, user } from '../command.js';
import { TPM_CC } from '../constants/commands.js';
import { TpmiAlgHashOrNull, TpmiAlgMacSchemeOrNull } from '../structures/algorithms.js';
import { Tpm2bAuth, Tpm2bDigest, Tpm2bMaxBuffer } from '../structures/digests.js';
import { TpmiDhObject, TpmiDhPcrOrNull, TpmiRhHierarchyOrNull } from '../structures/handles.js';
import { TpmlDigestValues } from '../structures/lists.js';
import { TpmtTkHashcheck } from '../structures/tickets.js';

/** Starts an HMAC over data that come in parts. TPM 2.0 Part 3, tables 73 and 74. */
export const HmacStart = specified('TPM2_HMAC_Start', TPM_CC.HMAC_Start, () => ({
  handles: [user('handle', TpmiDhObject)],
  parameters: { auth: Tpm2bAuth, hashAlg: TpmiAlgHashOrNull },
  responseHandles: [returned('sequenceHandle', TpmiDhObject)],
}));

/**
 * Starts a MAC over data that come in parts; on a TPM without cipher-based MACs the code means {@link HmacStart}. TPM
 * 2.0 Part 3, tables 76 and 77.
 */
export const MacStart = specified('TPM2_MAC_Start', TPM_CC.MAC_Start, () => ({
  handles: [user('handle', TpmiDhObject)],
  parameters: { auth: Tpm2bAuth, inScheme: TpmiAlgMacSchemeOrNull },
  responseHandles: [returned('sequenceHandle', TpmiDhObject)],
}));

/**
 * Starts a hash over data that come in parts, or an event in all banks for TPM_ALG_NULL. TPM 2.0 Part 3, tables 78 and
 * 79.
 */
export const HashSequenceStart = specified('TPM2_HashSequenceStart', TPM_CC.HashSequenceStart, () => ({
  parameters: { auth: Tpm2bAuth, hashAlg: TpmiAlgHashOrNull },
  responseHandles: [returned('sequenceHandle', TpmiDhObject)],
}));

/** Adds data to a sequence. TPM 2.0 Part 3, tables 80 and 81. */
export const SequenceUpdate = specified('TPM2_SequenceUpdate', TPM_CC.SequenceUpdate, () => ({
  handles: [user('sequenceHandle', TpmiDhObject)],
  parameters: { buffer: Tpm2bMaxBuffer },
}));

/** Ends a hash or MAC sequence and returns its result. TPM 2.0 Part 3, tables 82 and 83. */
export const SequenceComplete = specified('TPM2_SequenceComplete', TPM_CC.SequenceComplete, () => ({
  effects: { flushed: true },
  handles: [user('sequenceHandle', TpmiDhObject)],
  parameters: { buffer: Tpm2bMaxBuffer, hierarchy: TpmiRhHierarchyOrNull },
  response: { result: Tpm2bDigest, validation: TpmtTkHashcheck },
}));

/** Ends an event sequence, extends a PCR with it and returns the digests. TPM 2.0 Part 3, tables 84 and 85. */
export const EventSequenceComplete = specified('TPM2_EventSequenceComplete', TPM_CC.EventSequenceComplete, () => ({
  effects: { nv: true, flushed: true },
  handles: [user('pcrHandle', TpmiDhPcrOrNull), user('sequenceHandle', TpmiDhObject)],
  parameters: { buffer: Tpm2bMaxBuffer },
  response: { results: TpmlDigestValues },
}));
