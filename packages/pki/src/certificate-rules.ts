/** The rules of RFC 5280 section 4 that one certificate must keep by itself, whatever path it stands in. */
import { parsePublicKey, parseSignatureIdentifier } from './algorithm.js';
import { equalBytes } from './bytes.js';
import type { Certificate } from './certificate.js';
import { PkiError } from './error.js';
import { isDnsName, isMailbox } from './extension.js';
import type { GeneralName } from './general-name.js';
import { sameName } from './name.js';
import { EXTENSION } from './oid.js';
import { type PathProblem, type PathProblemCode, problemOf } from './path-problem.js';

/** Where a certificate stands in a path. */
export type Role = 'leaf' | 'intermediate' | 'anchor';

type Rule = (certificate: Certificate, role: Role) => readonly [PathProblemCode, string] | undefined;

/** The first rule that `certificate` breaks in this place at this time. */
export function certificateProblem(certificate: Certificate, role: Role, time: Date): PathProblem | undefined {
  for (const rule of RULES) {
    const problem = rule(certificate, role);
    if (problem !== undefined) return problemOf(certificate, ...problem);
  }
  return validityProblem(certificate, time);
}

/** Whether issuer and subject are the same name (RFC 5280 section 3.2). */
export function isSelfIssued(certificate: Certificate): boolean {
  return sameName(certificate.issuer, certificate.subject);
}

/** Both ends belong to the validity; a fraction of a second is cut off before comparing (RFC 5280 4.1.2.5). */
function validityProblem(certificate: Certificate, time: Date): PathProblem | undefined {
  const now = Math.floor(time.getTime() / 1000) * 1000;
  if (now < certificate.notBefore.getTime()) {
    return problemOf(
      certificate,
      'not-yet-valid',
      `expected a time from ${certificate.notBefore.toISOString()}, got ${time.toISOString()}`,
    );
  }
  if (now > certificate.notAfter.getTime()) {
    return problemOf(
      certificate,
      'expired',
      `expected a time until ${certificate.notAfter.toISOString()}, got ${time.toISOString()}`,
    );
  }
  return undefined;
}

/** Extensions that the validation processes; any other critical one is a refusal (RFC 5280 section 4.2). */
const PROCESSED: ReadonlySet<string> = new Set([
  EXTENSION.basicConstraints,
  EXTENSION.keyUsage,
  EXTENSION.extKeyUsage,
  EXTENSION.subjectAltName,
  EXTENSION.nameConstraints,
  EXTENSION.certificatePolicies,
  EXTENSION.policyMappings,
  EXTENSION.policyConstraints,
  EXTENSION.inhibitAnyPolicy,
]);
const NEVER_CRITICAL: readonly (readonly [string, string])[] = [
  [EXTENSION.authorityKeyIdentifier, 'authorityKeyIdentifier'],
  [EXTENSION.subjectKeyIdentifier, 'subjectKeyIdentifier'],
  [EXTENSION.authorityInfoAccess, 'authorityInfoAccess'],
];
const ALWAYS_CRITICAL: readonly (readonly [string, string])[] = [
  [EXTENSION.nameConstraints, 'nameConstraints'],
  [EXTENSION.policyConstraints, 'policyConstraints'],
  [EXTENSION.inhibitAnyPolicy, 'inhibitAnyPolicy'],
];

const RULES: readonly Rule[] = [
  (certificate) =>
    certificate.version === 3 ? undefined : ['profile', `expected version 3, got ${certificate.version}`],

  // Some roots in use have the serial number 0 (RFC 5280 4.1.2.2 lets a reader accept that).
  ({ serialNumber }, role) =>
    serialNumber >= (role === 'anchor' ? 0n : 1n) && serialNumber < 1n << 159n
      ? undefined
      : ['profile', `expected a positive serial number of at most 20 bytes, got ${serialNumber}`],

  ({ issuer }) =>
    issuer.relativeNames.length > 0 ? undefined : ['profile', 'expected an issuer name, got an empty one'],

  ({ extensions }) => {
    const wrong = NEVER_CRITICAL.find(([oid]) => extensions.some((each) => each.oid === oid && each.critical));
    return wrong && ['profile', `expected ${wrong[1]} not to be critical, got it critical`];
  },

  ({ extensions }) => {
    const wrong = ALWAYS_CRITICAL.find(([oid]) => extensions.some((each) => each.oid === oid && !each.critical));
    return wrong && ['profile', `expected ${wrong[1]} to be critical, got it not critical`];
  },

  ({ extensions }) => {
    const unknown = extensions.find((each) => each.critical && !PROCESSED.has(each.oid));
    return unknown && ['critical-extension', `expected known critical extensions, got ${unknown.oid}`];
  },

  (certificate, role) => (role === 'leaf' ? undefined : caProblem(certificate)),
  consistencyProblem,
  keyIdentifierProblem,
  alternativeNameProblem,
  algorithmProblem,
];

function caProblem(certificate: Certificate): ReturnType<Rule> {
  const { basicConstraints, keyUsage, extensions } = certificate;
  if (basicConstraints?.ca !== true) return ['not-a-ca', 'expected basicConstraints with cA TRUE, got none'];
  if (!extensions.some((each) => each.oid === EXTENSION.basicConstraints && each.critical)) {
    return ['profile', 'expected critical basicConstraints in a CA certificate, got them not critical'];
  }
  if (keyUsage !== undefined && !keyUsage.has('keyCertSign'))
    return ['key-usage', 'expected keyCertSign in a CA certificate, got none'];
  if (certificate.subject.relativeNames.length === 0)
    return ['profile', 'expected a subject in a CA certificate, got an empty one'];
  if (certificate.subjectKeyIdentifier === undefined)
    return ['profile', 'expected a subjectKeyIdentifier in a CA certificate, got none'];
  return undefined;
}

/** basicConstraints, keyUsage and nameConstraints must tell the same story (RFC 5280 4.2.1.3, 4.2.1.9, 4.2.1.10). */
function consistencyProblem({ basicConstraints, keyUsage, nameConstraints }: Certificate): ReturnType<Rule> {
  const ca = basicConstraints?.ca === true;
  if (!ca && keyUsage?.has('keyCertSign'))
    return ['key-usage', 'expected no keyCertSign outside CA certificates, got it'];
  if (ca && keyUsage !== undefined && !keyUsage.has('keyCertSign')) {
    return ['key-usage', 'expected keyCertSign beside cA TRUE, got none'];
  }
  if (!ca && nameConstraints !== undefined)
    return ['profile', 'expected no nameConstraints outside CA certificates, got them'];
  return undefined;
}

/** RFC 5280 4.2.1.1: in every certificate but a self-signed one, as the building of paths relies on it. */
function keyIdentifierProblem(certificate: Certificate, role: Role): ReturnType<Rule> {
  const { authorityKeyIdentifier: authority, subjectKeyIdentifier: own } = certificate;
  if (authority === undefined)
    return isSelfIssued(certificate) ? undefined : ['profile', 'expected an authorityKeyIdentifier, got none'];
  if (authority.keyIdentifier === undefined)
    return ['profile', 'expected a keyIdentifier in authorityKeyIdentifier, got none'];
  const foreign = own !== undefined && !equalBytes(own, authority.keyIdentifier);
  if (role === 'anchor' && foreign && isSelfIssued(certificate)) {
    return ['profile', 'expected a self-issued anchor to name its own key in authorityKeyIdentifier, got another'];
  }
  return undefined;
}

function alternativeNameProblem(certificate: Certificate): ReturnType<Rule> {
  const { extensions, subject, subjectAltName } = certificate;
  if (subject.relativeNames.length === 0) {
    const critical = extensions.some((each) => each.oid === EXTENSION.subjectAltName && each.critical);
    if (!critical) return ['profile', 'expected a critical subjectAltName beside an empty subject, got none'];
  }
  const odd = subjectAltName?.find((name) => !isWellFormed(name));
  return odd && ['profile', `expected well-formed alternative names, got a ${odd.type} name that is not`];
}

function isWellFormed(name: GeneralName): boolean {
  switch (name.type) {
    case 'dns':
      return isDnsName(name.value.replace(/^\*\./, ''));
    case 'email':
      return isMailbox(name.value);
    case 'ip':
      return name.value.length === 4 || name.value.length === 16;
    default:
      return true;
  }
}

function algorithmProblem(certificate: Certificate, role: Role): ReturnType<Rule> {
  try {
    parsePublicKey(certificate.publicKey);
    // Nothing is concluded from an anchor's own signature.
    if (role !== 'anchor') parseSignatureIdentifier(certificate.signatureAlgorithm, 'signatureAlgorithm');
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return ['weak-algorithm', error.message];
    throw error;
  }
}

/** Whether the key identifiers allow `issuer` to be the one that signed `certificate`. */
export function mayHaveIssued(issuer: Certificate, certificate: Certificate): boolean {
  if (!sameName(issuer.subject, certificate.issuer)) return false;
  const wanted = certificate.authorityKeyIdentifier?.keyIdentifier;
  const offered = issuer.subjectKeyIdentifier;
  return wanted === undefined || offered === undefined || equalBytes(wanted, offered);
}
