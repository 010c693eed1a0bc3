/** Certificate profiles: what a kind of certificate contains, as data that a certificate is built and a request checked from. */

import { type PublicKeyInfo, parsePublicKey } from './algorithm.js';
import type { AlternativeNameType, NameConstraintsInput } from './alternative-name.js';
import { PkiError } from './error.js';
import { KEY_USAGES, type KeyUsage } from './extension.js';
import type { NameAttributeType } from './name.js';
import { EXTENDED_KEY_USAGE, type ExtendedKeyUsage } from './oid.js';

/** Whether something must be there or may be. What a profile does not name must not be there. */
export type Presence = 'required' | 'optional';

/** What a request may ask for as alternative names of one type. */
export interface AlternativeNameRule {
  /** Whether at least one must be asked for. */
  readonly presence: Presence;
  /** How many there may be; 1 without it. */
  readonly max?: number;
  /** A regular expression, anchored by the reader of it, that each name must match. */
  readonly pattern?: string;
}

/** Kinds of keys that a profile certifies. */
export type KeyKind = 'P-256' | 'P-384' | 'P-521' | 'rsa' | 'ed25519' | `ml-dsa-${44 | 65 | 87}`;

/** A kind of certificate. Plain data: it survives JSON. */
export interface CertificateProfile {
  /** A word for error messages and listings. */
  readonly name: string;
  /** Days from notBefore to notAfter; cut where the issuer ends earlier. */
  readonly validityDays: number;
  /** There for CA certificates only; `pathLength` is how many CAs may follow. */
  readonly ca?: { readonly pathLength: number };
  /** The allowed uses of the key. */
  readonly keyUsage: readonly KeyUsage[];
  /** Names from {@link EXTENDED_KEY_USAGE} or dotted identifiers. In a CA certificate they bound what it may issue. */
  readonly extendedKeyUsage?: readonly (ExtendedKeyUsage | string)[];
  /** For CA certificates: which names it may certify. */
  readonly nameConstraints?: NameConstraintsInput;
  /** Which attributes the subject has. */
  readonly subject: Readonly<Partial<Record<NameAttributeType, Presence>>>;
  /** Which alternative names the certificate has; none without it. */
  readonly subjectAltName?: Readonly<Partial<Record<AlternativeNameType, AlternativeNameRule>>>;
  /** Which keys are certified; without it all that this package knows but ML-DSA, which has to be asked for. */
  readonly keys?: readonly KeyKind[];
  /** Dotted identifiers of certificate policies; none without it. */
  readonly policies?: readonly string[];
  /** For OCSP responders: their own revocation is not asked about (id-pkix-ocsp-nocheck), so keep `validityDays` low. */
  readonly ocspNoCheck?: boolean;
}

const CA_SUBJECT = {
  countryName: 'optional',
  organizationName: 'optional',
  organizationalUnitName: 'optional',
  commonName: 'required',
} as const;
const CA_USAGE = ['keyCertSign', 'cRLSign'] as const;
const UUID_URI = '(urn:uuid|UUID):[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';

/** The profiles of the default hierarchy. */
export const PROFILES = {
  /** A root that certifies one level of CAs. */
  rootCa: {
    name: 'root-ca',
    validityDays: 3650,
    ca: { pathLength: 1 },
    keyUsage: CA_USAGE,
    subject: CA_SUBJECT,
  },
  /** Issues certificates for keys that sign software, and nothing else. */
  softwareSigningCa: {
    name: 'software-signing-ca',
    validityDays: 2190,
    ca: { pathLength: 0 },
    keyUsage: CA_USAGE,
    extendedKeyUsage: ['codeSigning'],
    subject: CA_SUBJECT,
  },
  /** Signs images and configurations. */
  softwareSigning: {
    name: 'software-signing',
    validityDays: 1095,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['codeSigning'],
    subject: CA_SUBJECT,
  },
  /** Issues device certificates, and nothing else but its OCSP responder's. */
  deviceCa: {
    name: 'device-ca',
    validityDays: 2190,
    ca: { pathLength: 0 },
    keyUsage: CA_USAGE,
    extendedKeyUsage: ['clientAuth', 'serverAuth'],
    subject: CA_SUBJECT,
  },
  /** Answers for a CA whether its certificates are revoked; short-lived, as nobody asks about its own. */
  ocspResponder: {
    name: 'ocsp-responder',
    validityDays: 30,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['OCSPSigning'],
    subject: CA_SUBJECT,
    ocspNoCheck: true,
  },
  /** A device's own key: it opens and accepts TLS connections. */
  device: {
    name: 'device',
    validityDays: 730,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['clientAuth', 'serverAuth'],
    subject: { ...CA_SUBJECT, serialNumber: 'optional' },
    subjectAltName: { uri: { presence: 'required', pattern: UUID_URI }, dns: { presence: 'optional', max: 4 } },
    keys: ['P-256', 'P-384', 'rsa'],
  },
  /** Issues certificates for attestation keys, and nothing else but its OCSP responder's. */
  attestationCa: {
    name: 'attestation-ca',
    validityDays: 2190,
    ca: { pathLength: 0 },
    keyUsage: CA_USAGE,
    extendedKeyUsage: ['tcgAikCertificate'],
    subject: CA_SUBJECT,
  },
  /** A TPM's attestation key (TCG EKU 2.23.133.8.3). */
  attestationKey: {
    name: 'attestation-key',
    validityDays: 730,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['tcgAikCertificate'],
    subject: { ...CA_SUBJECT, serialNumber: 'optional' },
    subjectAltName: { uri: { presence: 'optional', pattern: UUID_URI } },
    keys: ['P-256', 'P-384', 'rsa'],
  },
} as const satisfies Readonly<Record<string, CertificateProfile>>;

/** Why a profile contradicts itself or RFC 5280; empty where it is sound. Each line is one sentence. */
export function profileProblems(profile: CertificateProfile): readonly string[] {
  const ca = profile.ca !== undefined;
  const signs = profile.keyUsage.includes('keyCertSign');
  const unknown = profile.keyUsage.filter((usage) => !KEY_USAGES.includes(usage));
  const usages = (profile.extendedKeyUsage ?? []).filter((usage) => !isUsage(usage));
  return [
    ...(ca && !signs ? ['a CA needs the key usage keyCertSign'] : []),
    ...(!ca && signs ? ['the key usage keyCertSign is for CAs'] : []),
    ...(!ca && profile.nameConstraints !== undefined ? ['name constraints are for CAs'] : []),
    ...(profile.keyUsage.length === 0 ? ['at least one key usage is needed'] : []),
    ...(profile.extendedKeyUsage?.length === 0 ? ['an empty extendedKeyUsage allows nothing'] : []),
    ...(profile.validityDays >= 1 && profile.validityDays <= 36_525
      ? []
      : ['validityDays must lie between 1 and 36525']),
    ...(ca && !isPathLength(profile.ca.pathLength) ? ['pathLength must be a whole number from 0 to 16'] : []),
    ...unknown.map((usage) => `the key usage ${usage} is unknown`),
    ...(ca && profile.extendedKeyUsage?.includes('OCSPSigning')
      ? ['OCSPSigning in a CA would make it a responder for the CA above it']
      : []),
    ...(profile.ocspNoCheck === true && !profile.extendedKeyUsage?.includes('OCSPSigning')
      ? ['ocspNoCheck is for OCSP responders']
      : []),
    ...usages.map((usage) => `the extended key usage ${usage} is neither a known name nor an identifier`),
  ];
}

function isUsage(usage: string): boolean {
  return Object.hasOwn(EXTENDED_KEY_USAGE, usage) || /^[012](\.\d+)+$/.test(usage);
}

function isPathLength(length: number): boolean {
  return Number.isInteger(length) && length >= 0 && length <= 16;
}

/** Throws {@link PkiError} `bad-input` where {@link profileProblems} finds any. */
export function assertProfile(profile: CertificateProfile): void {
  const problems = profileProblems(profile);
  if (problems.length > 0) throw new PkiError('bad-input', `use profile ${profile.name}: ${problems.join('; ')}`);
}

/** Throws {@link PkiError} `not-allowed` where the profile does not certify a key of this kind, `unsupported` for weak keys. */
export function assertKeyKind(profile: CertificateProfile, spki: Uint8Array): void {
  const key = parsePublicKey(spki);
  const kind = kindOf(key);
  const { keys = CLASSICAL } = profile;
  if (keys.includes(kind)) return;
  throw new PkiError('not-allowed', `use profile ${profile.name}: expected a key of ${keys.join(', ')}, got ${kind}`);
}

const CLASSICAL: readonly KeyKind[] = ['P-256', 'P-384', 'P-521', 'rsa', 'ed25519'];

function kindOf(key: PublicKeyInfo): KeyKind {
  if (key.kind === 'ec') return key.curve;
  return key.kind === 'ml-dsa' ? `ml-dsa-${key.set}` : key.kind;
}
