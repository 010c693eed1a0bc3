/** Issuing certificates: a profile and a subject in, a signed certificate out (RFC 5280 section 4). */
import { sha256 } from '@noble/hashes/sha2.js';
import { signatureIdentifier } from './algorithm.js';
import {
  type AlternativeNames,
  type AlternativeNameType,
  generalNames,
  nameConstraintsFrom,
} from './alternative-name.js';
import { randomBytes, toHex } from './bytes.js';
import { asCertificate, type Certificate, type CertificateInput } from './certificate.js';
import {
  bitString,
  constructed,
  integer,
  nul,
  octetsOfBitString,
  openDer,
  sequence,
  TAG,
  time,
  tlv,
  tlvOf,
} from './der.js';
import { PkiError } from './error.js';
import {
  authorityInfoAccess,
  authorityKeyIdentifier,
  basicConstraints,
  certificatePolicies,
  crlDistributionPoint,
  type Extension,
  encodeExtension,
  extendedKeyUsage,
  keyUsage,
  nameConstraints,
  subjectAltName,
  subjectKeyIdentifier,
} from './extension.js';
import { assertSignerOf, type Signer, signChecked, signerScheme } from './key.js';
import { buildName, type NameAttributeType, type NameInput, nameText, parseName } from './name.js';
import { nameConstraintProblem } from './name-constraints.js';
import { EXTENDED_KEY_USAGE, extendedKeyUsageOid, OCSP } from './oid.js';
import { type AlternativeNameRule, assertKeyKind, assertProfile, type CertificateProfile } from './profile.js';

/** Who signs a certificate. */
export interface Issuer {
  /** The issuer's own certificate; without it the new certificate is self-signed by `signer`. */
  readonly certificate?: CertificateInput;
  /** The issuer's key. */
  readonly signer: Signer;
  /** Where the issuer publishes its CRL, for the certificates that it issues. */
  readonly crlUri?: string;
  /** Where the issuer's certificate can be fetched, for the certificates that it issues. */
  readonly certificateUri?: string;
  /** Where the OCSP responder for the issuer's certificates answers. */
  readonly ocspUri?: string;
}

/** What {@link createCertificate} makes a certificate from. */
export interface CertificateRequest {
  /** The kind of certificate. */
  readonly profile: CertificateProfile;
  /** The subject; it must have what the profile requires and nothing that the profile does not name. */
  readonly subject: NameInput;
  /** The key to certify, SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  /** Who signs. */
  readonly issuer: Issuer;
  /** Alternative names, within the profile's rules. */
  readonly subjectAltName?: AlternativeNames;
  /** First second of validity; now without it. */
  readonly notBefore?: Date;
  /** Last second of validity; notBefore and the profile's days without it, or the issuer's end where that is earlier. */
  readonly notAfter?: Date;
  /** 1 to 20 bytes, positive; 158 random bits without it. */
  readonly serialNumber?: bigint;
}

const DAY = 86_400_000;

/**
 * Builds and signs an X.509 version 3 certificate, DER.
 * Throws {@link PkiError}: `bad-input` for a profile or name that contradicts itself, `not-allowed` for what the profile or the
 * issuer's certificate does not permit, `key-mismatch` where the signer is not the issuer's, `bad-signature` where the signer fails.
 */
export async function createCertificate(request: CertificateRequest): Promise<Uint8Array> {
  const { profile, publicKey, issuer } = request;
  assertProfile(profile);
  assertKeyKind(profile, publicKey);
  assertSubject(profile, request.subject);
  assertAlternativeNames(profile, request.subjectAltName ?? {});
  const issuerCertificate = issuer.certificate === undefined ? undefined : asCertificate(issuer.certificate);
  assertIssuer(request, issuerCertificate);
  assertWithinIssuer(request, issuerCertificate);
  const validity = chooseValidity(request, issuerCertificate);
  const algorithm = signatureIdentifier(signerScheme(issuer.signer));
  const subject = buildName(request.subject);
  const tbs = sequence(
    tlv(constructed(0), integer(2)),
    integer(assertSerial(request.serialNumber ?? randomSerial())),
    algorithm,
    issuerCertificate?.subject.der ?? subject,
    sequence(time(validity.notBefore), time(validity.notAfter)),
    subject,
    publicKey,
    tlv(constructed(3), tlvOf(TAG.SEQUENCE, profileExtensions(request, issuerCertificate))),
  );
  const what = () => `certificate for ${nameText(parseName(subject))}`;
  return sequence(tbs, algorithm, bitString(await signChecked(issuer.signer, tbs, what)));
}

/** Exactly what the profile says, in a fixed order; nothing comes from anywhere else. Each is encoded. */
function profileExtensions(request: CertificateRequest, issuer: Certificate | undefined): readonly Uint8Array[] {
  const { profile, publicKey } = request;
  const names = generalNames(request.subjectAltName ?? {});
  const own = keyIdentifier(publicKey);
  const { usages, bounds, last } = fixedExtensions(profile);
  return [
    ...usages,
    ...(names.length === 0 ? [] : [encodeExtension(subjectAltName(names, Object.keys(request.subject).length === 0))]),
    ...bounds,
    encodeExtension(subjectKeyIdentifier(own)),
    ...issuerExtensions(request.issuer, issuer, own),
    ...last,
  ];
}

interface FixedExtensions {
  readonly usages: readonly Uint8Array[];
  readonly bounds: readonly Uint8Array[];
  readonly last: readonly Uint8Array[];
}

/** What is the same in every certificate of a profile is encoded once: most of what an authority issues is of a few profiles. */
function fixedExtensions(profile: CertificateProfile): FixedExtensions {
  const known = fixed.get(profile);
  if (known !== undefined) return known;
  const usages = [
    basicConstraints(profile.ca === undefined ? { ca: false } : { ca: true, pathLength: profile.ca.pathLength }),
    keyUsage(profile.keyUsage),
    ...(profile.extendedKeyUsage === undefined ? [] : [extendedKeyUsage(profile.extendedKeyUsage)]),
  ];
  const bounds = [
    ...(profile.nameConstraints === undefined ? [] : [nameConstraints(nameConstraintsFrom(profile.nameConstraints))]),
    ...(profile.policies === undefined ? [] : [certificatePolicies(profile.policies)]),
  ];
  const last: readonly Extension[] =
    profile.ocspNoCheck === true ? [{ oid: OCSP.noCheck, critical: false, value: nul() }] : [];
  const encoded = {
    usages: usages.map(encodeExtension),
    bounds: bounds.map(encodeExtension),
    last: last.map(encodeExtension),
  };
  fixed.set(profile, encoded);
  return encoded;
}

/** Which key signs, and where to ask about its certificates. */
function issuerExtensions(
  issuer: Issuer,
  certificate: Certificate | undefined,
  own: Uint8Array,
): readonly Uint8Array[] {
  const known = certificate === undefined ? undefined : issuers.get(issuer);
  if (known !== undefined && known.certificate === certificate) return known.extensions;
  const key =
    certificate === undefined ? own : (certificate.subjectKeyIdentifier ?? keyIdentifier(certificate.publicKey));
  const extensions = [
    authorityKeyIdentifier(key),
    ...(issuer.crlUri === undefined ? [] : [crlDistributionPoint(issuer.crlUri)]),
    ...authorityInfoAccess({ caIssuers: issuer.certificateUri, ocsp: issuer.ocspUri }),
  ].map(encodeExtension);
  if (certificate !== undefined) issuers.set(issuer, { certificate, extensions });
  return extensions;
}

const ALTERNATIVE_NAME_TYPES = [
  'dns',
  'email',
  'uri',
  'ip',
  'permanentIdentifier',
  'hardwareModule',
  'tpm',
] as const satisfies readonly AlternativeNameType[];
const fixed = new WeakMap<CertificateProfile, FixedExtensions>();
const issuers = new WeakMap<
  Issuer,
  { readonly certificate: Certificate; readonly extensions: readonly Uint8Array[] }
>();

/** The leftmost 160 bits of SHA-256 over the subjectPublicKey (RFC 7093 section 2, method 1). */
export function keyIdentifier(spki: Uint8Array): Uint8Array {
  const reader = openDer(spki, TAG.SEQUENCE, 'SubjectPublicKeyInfo');
  reader.take(TAG.SEQUENCE, 'algorithm');
  const key = octetsOfBitString(reader.take(TAG.BIT_STRING, 'subjectPublicKey').content, 'subjectPublicKey');
  return sha256(key).slice(0, 20);
}

/** A positive serial number of 20 bytes with 158 random bits; the top bit that is set fixes its length. */
function randomSerial(): bigint {
  const bytes = randomBytes(20);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return BigInt(`0x${toHex(bytes)}`);
}

function assertSerial(serial: bigint): bigint {
  if (serial > 0n && serial < 1n << 159n) return serial;
  throw new PkiError('bad-input', `create certificate: expected a serial number of 1 to 20 bytes, got ${serial}`);
}

function chooseValidity(
  request: CertificateRequest,
  issuer: Certificate | undefined,
): { notBefore: Date; notAfter: Date } {
  const notBefore = request.notBefore ?? new Date();
  const wanted = request.notAfter ?? new Date(notBefore.getTime() + request.profile.validityDays * DAY - 1000);
  if (!(wanted >= notBefore)) {
    throw new PkiError('bad-input', `create certificate: expected an end after the beginning, got ${String(wanted)}`);
  }
  if (issuer === undefined) return { notBefore, notAfter: wanted };
  if (request.notAfter !== undefined && wanted > issuer.notAfter) {
    throw new PkiError(
      'not-allowed',
      `create certificate: expected an end before the issuer's ${issuer.notAfter.toISOString()}`,
    );
  }
  if (notBefore > issuer.notAfter) {
    throw new PkiError(
      'not-allowed',
      `create certificate: expected an issuer that is valid, its end was ${issuer.notAfter.toISOString()}`,
    );
  }
  return { notBefore, notAfter: new Date(Math.min(wanted.getTime(), issuer.notAfter.getTime())) };
}

function assertIssuer(request: CertificateRequest, issuer: Certificate | undefined): void {
  const { profile } = request;
  if (issuer === undefined) {
    assertSignerOf(request.issuer.signer, request.publicKey, 'the self-signed certificate');
    return;
  }
  const name = () => nameText(issuer.subject);
  assertSignerOf(request.issuer.signer, issuer.publicKey, name);
  if (issuer.basicConstraints?.ca !== true || issuer.keyUsage?.has('keyCertSign') !== true) {
    throw new PkiError('not-allowed', `create certificate: expected an issuer that is a CA, got ${name()}`);
  }
  const length = issuer.basicConstraints.pathLength;
  if (profile.ca !== undefined && length !== undefined && profile.ca.pathLength >= length) {
    throw new PkiError(
      'not-allowed',
      `create certificate: expected a path length below ${length}, which ${name()} has, got ${profile.ca.pathLength}`,
    );
  }
}

/** A certificate that no verifier would accept under its issuer is not issued. */
function assertWithinIssuer(request: CertificateRequest, issuer: Certificate | undefined): void {
  if (issuer === undefined) return;
  const { profile } = request;
  const bounds = issuer.extendedKeyUsage;
  const wanted = (profile.extendedKeyUsage ?? []).map(extendedKeyUsageOid);
  // A CA appoints its responder whatever its own usages are: with OCSPSigning among them it would be one for the CA above it.
  const outside = wanted.filter(
    (usage) => bounds?.includes(usage) === false && usage !== EXTENDED_KEY_USAGE.OCSPSigning,
  );
  if (outside.length > 0 && !bounds?.includes(EXTENDED_KEY_USAGE.anyExtendedKeyUsage)) {
    throw new PkiError(
      'not-allowed',
      `create certificate: expected extended key usages of the issuer, got ${outside.join(', ')}`,
    );
  }
  const constraints = issuer.nameConstraints;
  if (constraints === undefined) return;
  const names = {
    subject: parseName(buildName(request.subject)),
    subjectAltName: generalNames(request.subjectAltName ?? {}),
  };
  const problem = nameConstraintProblem(names, constraints, { left: Number.POSITIVE_INFINITY });
  if (problem !== undefined) throw new PkiError('not-allowed', `create certificate: ${problem}`);
}

/** Throws {@link PkiError} `not-allowed` where a subject lacks a required attribute or has one that the profile does not name. */
export function assertSubject(profile: CertificateProfile, subject: NameInput): void {
  for (const type of Object.keys(subject)) {
    if (!Object.hasOwn(profile.subject, type)) {
      throw new PkiError('not-allowed', `use profile ${profile.name}: expected no ${type} in the subject, got one`);
    }
  }
  for (const [type, presence] of Object.entries(profile.subject)) {
    if (presence === 'required' && subject[type as NameAttributeType] === undefined) {
      throw new PkiError('not-allowed', `use profile ${profile.name}: expected ${type} in the subject, got none`);
    }
  }
}

/** Throws {@link PkiError} `not-allowed` where alternative names break the profile's rules. */
export function assertAlternativeNames(profile: CertificateProfile, names: AlternativeNames): void {
  for (const type of ALTERNATIVE_NAME_TYPES) {
    const problem = alternativeNameProblem(type, names[type] ?? [], profile.subjectAltName?.[type]);
    if (problem !== undefined) throw new PkiError('not-allowed', `use profile ${profile.name}: ${problem}`);
  }
}

function alternativeNameProblem(
  type: AlternativeNameType,
  values: readonly string[],
  rule: AlternativeNameRule | undefined,
): string | undefined {
  if (rule === undefined)
    return values.length === 0 ? undefined : `expected no alternative name of type ${type}, got ${values[0]}`;
  if (rule.presence === 'required' && values.length === 0)
    return `expected an alternative name of type ${type}, got none`;
  const max = rule.max ?? 1;
  if (values.length > max) return `expected at most ${max} alternative names of type ${type}, got ${values.length}`;
  if (rule.pattern === undefined) return undefined;
  const pattern = new RegExp(`^(?:${rule.pattern})$`, 'u');
  const odd = values.find((value) => !pattern.test(value));
  return odd === undefined ? undefined : `expected an alternative name ${type} like ${rule.pattern}, got "${odd}"`;
}
