/** Certification requests (PKCS#10, RFC 2986): building them, and issuing from them field by field. */

import { parseSignatureIdentifier, signatureIdentifier } from './algorithm.js';
import { type AlternativeNames, type AlternativeNameType, generalNames } from './alternative-name.js';
import {
  ascii,
  bitString,
  constructed,
  DerReader,
  integer,
  integerValue,
  octetsOfBitString,
  oid,
  oidValue,
  openDer,
  sequence,
  setOf,
  TAG,
  type Tlv,
  tlv,
} from './der.js';
import { parseDeviceName } from './device-name.js';
import { malformed, PkiError } from './error.js';
import {
  type Extension,
  type ExtensionValues,
  encodeExtension,
  extendedKeyUsage,
  extensionValues,
  type KeyUsage,
  keyUsage,
  parseExtensions,
  subjectAltName,
} from './extension.js';
import type { GeneralName } from './general-name.js';
import { assertAlternativeNames, assertSubject, createCertificate, type Issuer } from './issue.js';
import { type Signer, signChecked, signerScheme } from './key.js';
import {
  buildName,
  type DistinguishedName,
  type NameAttributeType,
  type NameInput,
  nameText,
  parseName,
} from './name.js';
import { ATTRIBUTE_TYPE, EXTENSION, extendedKeyUsageOid } from './oid.js';
import { assertKeyKind, type CertificateProfile } from './profile.js';
import { verifySignature } from './signature.js';

/** A request that was read; its signature has not been checked. */
export interface Csr extends ExtensionValues {
  /** The whole request. */
  readonly der: Uint8Array;
  /** The bytes that the signature covers. */
  readonly info: Uint8Array;
  /** The subject asked for. */
  readonly subject: DistinguishedName;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  /** Every extension asked for. */
  readonly extensions: readonly Extension[];
  /** The attribute challengePassword (RFC 2985 5.4.1), which EST uses to tie a request to its connection (RFC 7030 3.5). */
  readonly challengePassword?: string;
  /** AlgorithmIdentifier DER of the signature. */
  readonly signatureAlgorithm: Uint8Array;
  /** The signature's bytes. */
  readonly signature: Uint8Array;
}

/** What a request asks for. */
export interface CsrOptions {
  /** The subject. */
  readonly subject: NameInput;
  /** Alternative names. */
  readonly subjectAltName?: AlternativeNames;
  /** Uses of the key. */
  readonly keyUsage?: readonly KeyUsage[];
  /** Purposes, names or dotted identifiers. */
  readonly extendedKeyUsage?: readonly string[];
  /** Any further extension. */
  readonly extensions?: readonly Extension[];
  /** 1 to 255 ASCII characters for the attribute challengePassword. */
  readonly challengePassword?: string;
}

const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const CHALLENGE_PASSWORD = '1.2.840.113549.1.9.7';
const MAX_CSR = 1 << 16;

/** Builds a certification request for the signer's key, DER. Throws {@link PkiError} as the signer and the names do. */
export async function buildCsr(signer: Signer, options: CsrOptions): Promise<Uint8Array> {
  const extensions = requestedExtensions(options);
  const attribute = sequence(oid(EXTENSION_REQUEST), setOf(sequence(...extensions.map(encodeExtension))));
  const info = sequence(
    integer(0),
    buildName(options.subject),
    signer.publicKey,
    // The challengePassword is the shorter one: a SET OF is sorted by its bytes, and the length comes first.
    tlv(constructed(0), ...challengeAttribute(options), ...(extensions.length === 0 ? [] : [attribute])),
  );
  const signature = await signChecked(signer, info, 'certification request');
  return sequence(info, signatureIdentifier(signerScheme(signer)), bitString(signature));
}

function challengeAttribute({ challengePassword: text }: CsrOptions): readonly Uint8Array[] {
  if (text === undefined) return [];
  if (text.length === 0 || text.length > 255) {
    throw new PkiError(
      'bad-input',
      `build request: expected a challengePassword of 1 to 255 characters, got ${text.length}`,
    );
  }
  return [sequence(oid(CHALLENGE_PASSWORD), setOf(ascii(isPrintable(text) ? TAG.PRINTABLE : TAG.UTF8, text)))];
}

function isPrintable(text: string): boolean {
  return /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text);
}

function requestedExtensions(options: CsrOptions): readonly Extension[] {
  const names = generalNames(options.subjectAltName ?? {});
  return [
    ...(names.length === 0 ? [] : [subjectAltName(names, false)]),
    ...(options.keyUsage === undefined ? [] : [keyUsage(options.keyUsage)]),
    ...(options.extendedKeyUsage === undefined ? [] : [extendedKeyUsage(options.extendedKeyUsage)]),
    ...(options.extensions ?? []),
  ];
}

/**
 * Reads a request of at most 64 KiB. Whoever sent it controls every field.
 * Throws {@link PkiError} `malformed`, also for attributes other than extensionRequest and challengePassword, and for one of them twice.
 */
export function parseCsr(der: Uint8Array): Csr {
  if (der.length > MAX_CSR)
    throw malformed('CertificationRequest', `expected at most ${MAX_CSR} bytes, got ${der.length}`);
  const bytes = der.slice();
  const outer = openDer(bytes, TAG.SEQUENCE, 'CertificationRequest');
  const info = outer.take(TAG.SEQUENCE, 'certificationRequestInfo');
  const signatureAlgorithm = outer.take(TAG.SEQUENCE, 'signatureAlgorithm').bytes;
  const signature = octetsOfBitString(
    outer.take(TAG.BIT_STRING, 'signature').content,
    'CertificationRequest/signature',
  );
  outer.finish();
  return { der: bytes, info: info.bytes, signatureAlgorithm, signature, ...parseInfo(info.content) };
}

function parseInfo(content: Uint8Array): Omit<Csr, 'der' | 'info' | 'signatureAlgorithm' | 'signature'> {
  const reader = new DerReader(content, 'CertificationRequestInfo');
  const version = integerValue(reader.take(TAG.INTEGER, 'version').content, 'version');
  if (version !== 0n) throw malformed('CertificationRequestInfo', `expected version 0, got ${version}`);
  const subject = parseName(reader.take(TAG.SEQUENCE, 'subject').bytes, 'subject');
  const publicKey = reader.take(TAG.SEQUENCE, 'subjectPKInfo').bytes;
  const attributes = reader.enter(constructed(0), 'attributes');
  reader.finish();
  const { extensions = [], ...challenge } = parseAttributes(attributes);
  return { subject, publicKey, extensions, ...challenge, ...extensionValues(extensions) };
}

interface Attributes {
  readonly extensions?: readonly Extension[];
  readonly challengePassword?: string;
}

function parseAttributes(reader: DerReader): Attributes {
  let found: Attributes = {};
  while (!reader.done) {
    const attribute = reader.enter(TAG.SEQUENCE, 'Attribute');
    const type = oidValue(attribute.take(TAG.OID, 'type').content, 'Attribute/type');
    const values = attribute.enter(TAG.SET, 'values');
    attribute.finish();
    const name = type === EXTENSION_REQUEST ? 'extensions' : 'challengePassword';
    if (type !== EXTENSION_REQUEST && type !== CHALLENGE_PASSWORD)
      throw malformed('CertificationRequestInfo', `expected the attribute extensionRequest, got ${type}`);
    if (found[name] !== undefined) throw malformed('CertificationRequestInfo', `expected one ${name}, got more`);
    const value = values.any('value');
    values.finish();
    found =
      name === 'extensions'
        ? { ...found, extensions: parseExtensions(value.bytes, 'extensionRequest') }
        : { ...found, challengePassword: passwordText(value) };
  }
  return found;
}

function passwordText({ tag, content }: Tlv): string {
  const known = tag === TAG.PRINTABLE || tag === TAG.UTF8 || tag === TAG.IA5;
  if (!known || content.length === 0 || content.length > 255 || content.some((octet) => octet < 0x20 || octet > 0x7e)) {
    throw malformed('challengePassword', 'expected 1 to 255 printable ASCII characters, got something else');
  }
  return String.fromCharCode(...content);
}

/** Throws {@link PkiError} `bad-signature` unless the request is signed by the key that it asks a certificate for. */
export async function verifyCsr(csr: Csr): Promise<void> {
  const scheme = parseSignatureIdentifier(csr.signatureAlgorithm, 'CertificationRequest/signatureAlgorithm');
  if (await verifySignature(csr.publicKey, scheme, csr.info, csr.signature)) return;
  throw new PkiError(
    'bad-signature',
    `verify request of ${nameText(csr.subject)}: expected proof of possession, got a bad signature`,
  );
}

/** What {@link issueFromCsr} issues with. */
export interface IssueOptions {
  /** The kind of certificate; it alone decides what is in it. */
  readonly profile: CertificateProfile;
  /** Who signs. */
  readonly issuer: Issuer;
  /** First second of validity; now without it. */
  readonly notBefore?: Date;
}

/** A request that passed every check, as the input of {@link createCertificate}. */
export interface CheckedCsr {
  /** The subject, attribute by attribute. */
  readonly subject: NameInput;
  /** The alternative names. */
  readonly subjectAltName: AlternativeNames;
  /** SubjectPublicKeyInfo DER, whose owner signed the request. */
  readonly publicKey: Uint8Array;
}

/**
 * Checks a request against a profile: its signature, the kind of its key, and every field. What it asks for beyond the profile is a
 * refusal, not an omission; so is a challengePassword that is not the one of `options`.
 * Throws {@link PkiError}: `malformed`, `bad-signature`, `not-allowed`, `unsupported`.
 */
export async function checkCsr(
  request: Uint8Array | Csr,
  profile: CertificateProfile,
  options: { readonly challengePassword?: string } = {},
): Promise<CheckedCsr> {
  const csr = request instanceof Uint8Array ? parseCsr(request) : request;
  if (csr.challengePassword !== undefined && options.challengePassword !== csr.challengePassword) {
    throw new PkiError(
      'not-allowed',
      `use profile ${profile.name}: expected no or the right challengePassword, got another`,
    );
  }
  assertKeyKind(profile, csr.publicKey);
  await verifyCsr(csr);
  assertRequestedExtensions(csr, profile);
  const subject = requestedSubject(csr, profile);
  const subjectAltName = requestedNames(csr.subjectAltName ?? [], profile);
  assertSubject(profile, subject);
  assertAlternativeNames(profile, subjectAltName);
  return { subject, subjectAltName, publicKey: csr.publicKey };
}

/**
 * Issues a certificate for a request after {@link checkCsr}; the certificate is built anew from the profile, nothing is copied that
 * the profile does not name. Throws what {@link checkCsr} and {@link createCertificate} throw.
 */
export async function issueFromCsr(request: Uint8Array | Csr, options: IssueOptions): Promise<Uint8Array> {
  const checked = await checkCsr(request, options.profile);
  const start = options.notBefore === undefined ? {} : { notBefore: options.notBefore };
  return createCertificate({ profile: options.profile, issuer: options.issuer, ...checked, ...start });
}

function assertRequestedExtensions(csr: Csr, profile: CertificateProfile): void {
  for (const { oid: dotted } of csr.extensions) {
    const problem = extensionProblem(dotted, csr, profile);
    if (problem !== undefined) throw new PkiError('not-allowed', `use profile ${profile.name}: ${problem}`);
  }
}

/** What asks for exactly what the profile gives anyway is harmless; all else is named and refused. */
function extensionProblem(dotted: string, csr: Csr, profile: CertificateProfile): string | undefined {
  switch (dotted) {
    case EXTENSION.subjectAltName:
      return undefined;
    case EXTENSION.keyUsage: {
      const extra = [...(csr.keyUsage ?? [])].filter((usage) => !profile.keyUsage.includes(usage));
      return extra.length === 0 ? undefined : `expected no request for key usage ${extra.join(', ')}, got one`;
    }
    case EXTENSION.extKeyUsage: {
      const given = (profile.extendedKeyUsage ?? []).map(extendedKeyUsageOid);
      const extra = (csr.extendedKeyUsage ?? []).filter((usage) => !given.includes(usage));
      return extra.length === 0 ? undefined : `expected no request for extended key usage ${extra.join(', ')}, got one`;
    }
    case EXTENSION.basicConstraints:
      return csr.basicConstraints?.ca === (profile.ca !== undefined) && csr.basicConstraints?.pathLength === undefined
        ? undefined
        : 'expected no request for other basic constraints than the profile has, got one';
    default:
      return `expected no request for the extension ${dotted}, got one`;
  }
}

function requestedSubject(csr: Csr, profile: CertificateProfile): NameInput {
  const subject: { -readonly [K in NameAttributeType]?: string } = {};
  for (const relative of csr.subject.relativeNames) {
    const [attribute, ...more] = relative;
    const type = attribute === undefined ? undefined : attributeName(attribute.type);
    if (attribute === undefined || type === undefined || more.length > 0 || subject[type] !== undefined) {
      const got = relative.map((each) => each.type).join('+');
      throw new PkiError(
        'not-allowed',
        `use profile ${profile.name}: expected single known subject attributes, got ${got}`,
      );
    }
    subject[type] = attribute.value;
  }
  return subject;
}

function attributeName(dotted: string): NameAttributeType | undefined {
  return subjectAttributes.find((name) => ATTRIBUTE_TYPE[name] === dotted);
}

const subjectAttributes = [
  'countryName',
  'stateOrProvinceName',
  'localityName',
  'organizationName',
  'organizationalUnitName',
  'serialNumber',
  'commonName',
] as const satisfies readonly NameAttributeType[];

function requestedNames(names: readonly GeneralName[], profile: CertificateProfile): AlternativeNames {
  const found: { -readonly [K in AlternativeNameType]: string[] } = {
    ...{ dns: [], email: [], uri: [], ip: [] },
    ...{ permanentIdentifier: [], hardwareModule: [], tpm: [] },
  };
  for (const name of names) {
    const device = parseDeviceName(name);
    if (device !== undefined) found[device.type].push(device.value);
    else if (name.type === 'directory' || name.type === 'other') {
      throw new PkiError(
        'not-allowed',
        `use profile ${profile.name}: expected no alternative name of type ${name.type}, got one`,
      );
    } else found[name.type].push(name.type === 'ip' ? ipText(name.value) : name.value);
  }
  return found;
}

/** Text that reads back as the same address; not the shortest form. */
function ipText(value: Uint8Array): string {
  if (value.length === 4) return value.join('.');
  if (value.length !== 16)
    throw malformed('subjectAltName', `expected an address of 4 or 16 bytes, got ${value.length}`);
  return Array.from({ length: 8 }, (_, i) => (((value[2 * i] ?? 0) << 8) | (value[2 * i + 1] ?? 0)).toString(16)).join(
    ':',
  );
}
