/** Hash, MAC and event sequences: Part 3, clause 17. */
import {
  EventSequenceComplete,
  HashSequenceStart,
  MacStart,
  SequenceComplete,
  SequenceUpdate,
  TPM_ALG,
  TPM_RC,
  TPM_RH,
  type TpmlDigestValues,
} from '@casemate/tpm';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { HASHES, IMPLEMENTATION, isHash } from '../implementation.js';
import { startMac } from '../mac.js';
import { addLoaded } from '../object-slots.js';
import { assertExtendable, extendPcr } from '../pcr.js';
import { refuseHandle, refuseParameter } from '../refusal.js';
import { runningHash } from '../running-hash.js';
import { newSequence, type Sequence, type SequenceKind, sequenceObject, updateSequence } from '../sequence.js';
import { hashcheckTicket, nullTicket } from '../ticket.js';
import type { Tpm } from '../tpm.js';

/** TPM2_MAC_Start (17.3), which TPM2_HMAC_Start (17.2) became with the same code. */
export const macStart = /* @__PURE__ */ handler(MacStart, (tpm, { handle, auth, inScheme }) => {
  const mac = startMac(tpm, objectAt(tpm, handle), inScheme);
  return { sequenceHandle: addLoaded(tpm, sequenceObject(newSequence('mac', [mac]), auth)) };
});

/** TPM2_HashSequenceStart (17.4): without a hash algorithm it is an event, for all banks. */
export const hashSequenceStart = /* @__PURE__ */ handler(HashSequenceStart, (tpm, { auth, hashAlg }) => {
  const isEvent = hashAlg === TPM_ALG.NULL;
  if (!isEvent && !isHash(hashAlg)) refuseParameter(TPM_RC.HASH, 2);
  const sequence = isEvent
    ? newSequence(
        'event',
        HASHES.map((alg) => runningHash(alg)),
      )
    : newSequence('hash', [runningHash(hashAlg)]);
  return { sequenceHandle: addLoaded(tpm, sequenceObject(sequence, auth)) };
});

/** TPM2_SequenceUpdate (17.5). */
export const sequenceUpdate = /* @__PURE__ */ handler(SequenceUpdate, (tpm, { sequenceHandle, buffer }) => {
  assertBuffer(buffer);
  const { sequence } = objectAt(tpm, sequenceHandle);
  // libtpms blames the parameter where the handle is meant.
  updateSequence(sequence ?? refuseParameter(TPM_RC.MODE, 1), buffer);
  return {};
});

/** TPM2_SequenceComplete (17.6). */
export const sequenceComplete = /* @__PURE__ */ handler(
  SequenceComplete,
  (tpm, { sequenceHandle, buffer, hierarchy }) => {
    assertBuffer(buffer);
    const sequence = sequenceAt(tpm, sequenceHandle, ['hash', 'mac'], 1);
    const result = endSequence(tpm, sequenceHandle, sequence, buffer)[0]?.digest ?? refuseHandle(TPM_RC.MODE, 1);
    const hash = sequence.parts[0]?.alg ?? TPM_ALG.NULL;
    const isTicketed = sequence.kind === 'hash' && hierarchy !== TPM_RH.NULL && sequence.isTicketSafe;
    return { result, validation: isTicketed ? hashcheckTicket(tpm, hierarchy, hash, result) : nullTicket() };
  },
);

/** TPM2_EventSequenceComplete (17.7). */
export const eventSequenceComplete = /* @__PURE__ */ handler(EventSequenceComplete, (tpm, request, { locality }) => {
  const { pcrHandle, sequenceHandle, buffer } = request;
  assertBuffer(buffer);
  const sequence = sequenceAt(tpm, sequenceHandle, ['event'], 2);
  if (pcrHandle !== TPM_RH.NULL) assertExtendable(pcrHandle, locality);
  const digests = endSequence(tpm, sequenceHandle, sequence, buffer);
  if (pcrHandle !== TPM_RH.NULL) for (const { alg, digest } of digests) extendPcr(tpm, pcrHandle, alg, digest);
  // As long as each hash makes them.
  return { results: digests.map(({ alg, digest }) => ({ hashAlg: alg, digest })) as TpmlDigestValues };
});

function assertBuffer(buffer: Uint8Array): void {
  if (buffer.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 1);
}

function sequenceAt(tpm: Tpm, handle: number, kinds: readonly SequenceKind[], position: number): Sequence {
  const { sequence } = objectAt(tpm, handle);
  return sequence !== undefined && kinds.includes(sequence.kind) ? sequence : refuseHandle(TPM_RC.MODE, position);
}

interface PartDigest {
  readonly alg: number;
  readonly digest: Uint8Array;
}

// The object goes when the command has been answered: its authorization value is part of the response's HMAC key.
function endSequence(tpm: Tpm, handle: number, sequence: Sequence, last: Uint8Array): PartDigest[] {
  // An empty first block counts: it shows nothing, and so there is no ticket.
  updateSequence(sequence, last);
  tpm.volatile.spentSequence = handle;
  return sequence.parts.map((part) => ({ alg: part.alg, digest: part.digest() }));
}
