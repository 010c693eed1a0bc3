/** The event by which the TrustVisor key comes into the platform's PCRs, and the certificates by that key: formats of attestation. */
import { AttestationError, encodeStatementEvent, parseStatementEvent } from '@casemate/attestation/statements';
import { TrustvisorError } from './error.js';

export {
  encodePalCertificateClaims as encodePalStatement,
  type PalCertificate,
  type PalCertificateClaims,
  palCertificateNonce as palStatementNonce,
  TRUSTVISOR_MEASUREMENT,
  verifyPalCertificate,
} from '@casemate/attestation/statements';

/** The event by which the TrustVisor key is extended into a PCR of the platform: EV_EVENT_TAG (6), digests over all of these bytes. */
export function identityEvent(identity: Uint8Array): Uint8Array {
  return encodeStatementEvent({ type: 'trustvisor', identityKey: identity });
}

/** The TrustVisor key (TPMT_PUBLIC) of such an event. Throws {@link TrustvisorError} with code `input` where it is another event. */
export function parseIdentityEvent(event: Uint8Array): Uint8Array {
  const statement = readEvent(event);
  if (statement.type === 'trustvisor') return statement.identityKey;
  throw new TrustvisorError(
    'input',
    `parse identity event: expected a trustvisor statement, got a ${statement.type} one`,
  );
}

function readEvent(event: Uint8Array): ReturnType<typeof parseStatementEvent> {
  try {
    return parseStatementEvent(event);
  } catch (cause) {
    if (!(cause instanceof AttestationError)) throw cause;
    throw new TrustvisorError('input', `parse identity event: ${cause.message}`, { cause });
  }
}
