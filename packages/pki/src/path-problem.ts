/** What a path validation answers when it refuses. */
import type { Certificate } from './certificate.js';
import { nameText } from './name.js';

/**
 * Why no path was accepted.
 *
 * - `malformed`: the leaf, or a certificate that had to be used, cannot be read
 * - `no-path`: nothing given leads from the leaf to an anchor
 * - `bad-signature`: an issuer's key does not verify the certificate
 * - `not-yet-valid`, `expired`: the time lies outside a certificate's validity
 * - `not-a-ca`: an issuer may not issue
 * - `path-length`: more CAs follow than a CA or the caller permits
 * - `key-usage`, `extended-key-usage`: a key is not for this use
 * - `name-constraints`: a CA may not certify a name
 * - `policy`: no certificate policy is left where one is demanded, or policies are mapped that may not be
 * - `critical-extension`: a critical extension is not understood
 * - `weak-algorithm`: a key or signature algorithm is not accepted
 * - `profile`: a certificate breaks a rule of RFC 5280 section 4
 * - `name-mismatch`: the leaf is not for the expected name
 * - `revoked`, `revocation-unknown`: a CRL lists the certificate, or the CRL that should tell is unusable
 * - `too-complex`: the bounds on work were reached
 */
export type PathProblemCode =
  | 'malformed'
  | 'no-path'
  | 'bad-signature'
  | 'not-yet-valid'
  | 'expired'
  | 'not-a-ca'
  | 'path-length'
  | 'key-usage'
  | 'extended-key-usage'
  | 'name-constraints'
  | 'policy'
  | 'critical-extension'
  | 'weak-algorithm'
  | 'profile'
  | 'name-mismatch'
  | 'revoked'
  | 'revocation-unknown'
  | 'too-complex';

/** The refusal of a path. */
export interface PathProblem {
  /** Which rule was broken. */
  readonly code: PathProblemCode;
  /** One sentence: what was expected and what was found, with the certificate's subject. */
  readonly message: string;
  /** The subject of the certificate that broke it; empty where none could be read. */
  readonly subject: string;
}

/** A problem of one certificate. */
export function problemOf(certificate: Certificate, code: PathProblemCode, message: string): PathProblem {
  const subject = nameText(certificate.subject);
  return { code, message: `validate ${subject === '' ? 'certificate without subject' : subject}: ${message}`, subject };
}
