/** The extensions of certificates: their values, strict readers and writers (RFC 5280 section 4.2). */
import {
  bitsString,
  boolean,
  booleanValue,
  constructed,
  DerReader,
  integer,
  integerValue,
  namedBits,
  octetString,
  oid,
  oidValue,
  openDer,
  primitive,
  readDer,
  sequence,
  smallInteger,
  TAG,
  type Tlv,
  tlv,
} from './der.js';
import { malformed, PkiError } from './error.js';
import {
  encodeGeneralName,
  encodeGeneralNames,
  type GeneralName,
  parseGeneralName,
  parseGeneralNames,
} from './general-name.js';
import { EXTENSION, extendedKeyUsageOid } from './oid.js';

/** One extension as it stands in a certificate or request. */
export interface Extension {
  /** The dotted object identifier. */
  readonly oid: string;
  /** Whether a reader that does not know it must refuse the certificate. */
  readonly critical: boolean;
  /** The DER inside extnValue. */
  readonly value: Uint8Array;
}

/** The bits of KeyUsage in their order (RFC 5280 4.2.1.3). */
export const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;

/** The name of a KeyUsage bit. */
export type KeyUsage = (typeof KEY_USAGES)[number];

/** BasicConstraints (RFC 5280 4.2.1.9). */
export interface BasicConstraints {
  /** Whether the key may sign certificates. */
  readonly ca: boolean;
  /** How many CA certificates may follow, not counting self-issued ones. */
  readonly pathLength?: number;
}

/** NameConstraints (RFC 5280 4.2.1.10). */
export interface NameConstraints {
  /** Subtrees of which a name of the same type must lie in one. */
  readonly permitted: readonly GeneralName[];
  /** Subtrees in which no name may lie. */
  readonly excluded: readonly GeneralName[];
}

/** AuthorityKeyIdentifier (RFC 5280 4.2.1.1). */
export interface AuthorityKeyIdentifier {
  /** The subjectKeyIdentifier of the issuer. */
  readonly keyIdentifier?: Uint8Array;
  /** Whether the other form, issuer name or serial number, is there as well. */
  readonly hasIssuer: boolean;
}

/** PolicyMappings: a policy of the issuer's domain with the one that it equals in the subject's (RFC 5280 4.2.1.5). */
export interface PolicyMapping {
  /** The identifier in the issuer's domain. */
  readonly issuerDomainPolicy: string;
  /** The identifier in the subject's domain. */
  readonly subjectDomainPolicy: string;
}

/** PolicyConstraints (RFC 5280 4.2.1.11): after how many more certificates something holds. */
export interface PolicyConstraints {
  /** From then on a policy must be there. */
  readonly requireExplicitPolicy?: number;
  /** From then on policies are not mapped. */
  readonly inhibitPolicyMapping?: number;
}

/** The decoded values of the extensions that this package acts on; absent where the certificate has none. */
export interface ExtensionValues {
  /** Absent where the certificate has none. */
  readonly basicConstraints?: BasicConstraints;
  /** The allowed uses of the key. */
  readonly keyUsage?: ReadonlySet<KeyUsage>;
  /** Dotted object identifiers. */
  readonly extendedKeyUsage?: readonly string[];
  /** Alternative names of the subject. */
  readonly subjectAltName?: readonly GeneralName[];
  /** Only in CA certificates. */
  readonly nameConstraints?: NameConstraints;
  /** Usually 20 bytes. */
  readonly subjectKeyIdentifier?: Uint8Array;
  /** Which key of the issuer signed. */
  readonly authorityKeyIdentifier?: AuthorityKeyIdentifier;
  /** Dotted identifiers of the policies; qualifiers are not read. */
  readonly certificatePolicies?: readonly string[];
  /** Only in CA certificates. */
  readonly policyMappings?: readonly PolicyMapping[];
  /** Only in CA certificates. */
  readonly policyConstraints?: PolicyConstraints;
  /** After how many more certificates anyPolicy means nothing. */
  readonly inhibitAnyPolicy?: number;
}

/** Writes one Extension. */
export function encodeExtension(extension: Extension): Uint8Array {
  const critical = extension.critical ? [boolean(true)] : [];
  return sequence(oid(extension.oid), ...critical, octetString(extension.value));
}

/** Reads Extensions: 1 to 64, none twice (RFC 5280 4.2). Throws {@link PkiError} `malformed`. */
export function parseExtensions(der: Uint8Array, what: string): readonly Extension[] {
  const reader = openDer(der, TAG.SEQUENCE, what);
  const extensions: Extension[] = [];
  const seen = new Set<string>();
  while (!reader.done) {
    const extension = parseExtension(reader.enter(TAG.SEQUENCE, 'Extension'), what);
    if (seen.has(extension.oid)) throw malformed(what, `expected each extension once, got ${extension.oid} twice`);
    if (seen.size === 64) throw malformed(what, 'expected at most 64 extensions, got more');
    seen.add(extension.oid);
    extensions.push(extension);
  }
  if (extensions.length === 0) throw malformed(what, 'expected at least one extension, got none');
  return extensions;
}

function parseExtension(reader: DerReader, what: string): Extension {
  const dotted = oidValue(reader.take(TAG.OID, 'extnID').content, what);
  const flag = reader.optional(TAG.BOOLEAN, 'critical');
  const critical = flag !== undefined && booleanValue(flag.content, what);
  if (flag !== undefined && !critical) throw malformed(what, `expected no encoded default in ${dotted}, got FALSE`);
  const value = reader.take(TAG.OCTET_STRING, 'extnValue').content;
  reader.finish();
  return { oid: dotted, critical, value };
}

/** Decodes the extensions that this package acts on. Throws {@link PkiError} `malformed`. */
export function extensionValues(extensions: readonly Extension[]): ExtensionValues {
  const values: { -readonly [K in keyof ExtensionValues]: ExtensionValues[K] } = {};
  for (const { oid: dotted, value } of extensions) {
    switch (dotted) {
      case EXTENSION.basicConstraints:
        values.basicConstraints = parseBasicConstraints(value);
        break;
      case EXTENSION.keyUsage:
        values.keyUsage = parseKeyUsage(value);
        break;
      case EXTENSION.extKeyUsage:
        values.extendedKeyUsage = parseExtendedKeyUsage(value);
        break;
      case EXTENSION.subjectAltName:
        values.subjectAltName = parseGeneralNames(openDer(value, TAG.SEQUENCE, 'subjectAltName'), 'subjectAltName');
        break;
      case EXTENSION.nameConstraints:
        values.nameConstraints = parseNameConstraints(value);
        break;
      case EXTENSION.subjectKeyIdentifier:
        values.subjectKeyIdentifier = readDer(value, TAG.OCTET_STRING, 'subjectKeyIdentifier');
        break;
      case EXTENSION.authorityKeyIdentifier:
        values.authorityKeyIdentifier = parseAuthorityKeyIdentifier(value);
        break;
      case EXTENSION.authorityInfoAccess:
        assertAccessDescriptions(value);
        break;
      case EXTENSION.certificatePolicies:
        values.certificatePolicies = parsePolicies(value);
        break;
      case EXTENSION.policyMappings:
        values.policyMappings = parsePolicyMappings(value);
        break;
      case EXTENSION.policyConstraints:
        values.policyConstraints = parsePolicyConstraints(value);
        break;
      case EXTENSION.inhibitAnyPolicy:
        values.inhibitAnyPolicy = smallInteger(readDer(value, TAG.INTEGER, 'inhibitAnyPolicy'), 'inhibitAnyPolicy');
        break;
    }
  }
  return values;
}

function parseBasicConstraints(value: Uint8Array): BasicConstraints {
  const what = 'basicConstraints';
  const reader = openDer(value, TAG.SEQUENCE, what);
  const flag = reader.optional(TAG.BOOLEAN, 'cA');
  const ca = flag !== undefined && booleanValue(flag.content, what);
  const length = reader.optional(TAG.INTEGER, 'pathLenConstraint');
  reader.finish();
  if (flag !== undefined && !ca) throw malformed(what, 'expected no encoded default, got cA FALSE');
  if (length === undefined) return { ca };
  if (!ca) throw malformed(what, 'expected pathLenConstraint only with cA TRUE, got it without');
  return { ca, pathLength: smallInteger(length.content, what) };
}

function parseKeyUsage(value: Uint8Array): ReadonlySet<KeyUsage> {
  const bits = namedBits(readDer(value, TAG.BIT_STRING, 'keyUsage'), 'keyUsage');
  if (bits.size === 0) throw malformed('keyUsage', 'expected at least one bit, got none');
  return new Set(KEY_USAGES.filter((_, bit) => bits.has(bit)));
}

function parseExtendedKeyUsage(value: Uint8Array): readonly string[] {
  const reader = openDer(value, TAG.SEQUENCE, 'extKeyUsage');
  const usages: string[] = [];
  while (!reader.done) {
    if (usages.length === 64) throw malformed('extKeyUsage', 'expected at most 64 usages, got more');
    usages.push(oidValue(reader.take(TAG.OID, 'KeyPurposeId').content, 'extKeyUsage'));
  }
  if (usages.length === 0) throw malformed('extKeyUsage', 'expected at least one usage, got none');
  return usages;
}

function parseNameConstraints(value: Uint8Array): NameConstraints {
  const reader = openDer(value, TAG.SEQUENCE, 'nameConstraints');
  const permitted = reader.optional(constructed(0), 'permittedSubtrees');
  const excluded = reader.optional(constructed(1), 'excludedSubtrees');
  reader.finish();
  if (permitted === undefined && excluded === undefined) {
    throw malformed('nameConstraints', 'expected permitted or excluded subtrees, got neither');
  }
  return { permitted: parseSubtrees(permitted?.content), excluded: parseSubtrees(excluded?.content) };
}

function parseSubtrees(content: Uint8Array | undefined): readonly GeneralName[] {
  if (content === undefined) return [];
  const reader = new DerReader(content, 'nameConstraints');
  const subtrees: GeneralName[] = [];
  do {
    if (subtrees.length === 10_000) throw malformed('nameConstraints', 'expected at most 10000 subtrees, got more');
    const subtree = reader.enter(TAG.SEQUENCE, 'GeneralSubtree');
    subtrees.push(parseConstraint(subtree.any('base')));
    // minimum 0 is the default and maximum must be absent (RFC 5280 4.2.1.10).
    subtree.finish();
  } while (!reader.done);
  return subtrees;
}

function parseConstraint(element: Tlv): GeneralName {
  const name = parseGeneralName(element, 'nameConstraints');
  const problem = constraintProblem(name);
  if (problem !== undefined) throw malformed('nameConstraints', problem);
  return name;
}

function constraintProblem(name: GeneralName): string | undefined {
  switch (name.type) {
    case 'dns':
      return isDnsName(name.value) || name.value === '' ? undefined : `expected a domain, got "${name.value}"`;
    case 'ip':
      return isAddressRange(name.value) ? undefined : `expected address and mask, got ${name.value.length} bytes`;
    case 'email':
      return isEmailConstraint(name.value) ? undefined : `expected a mailbox, host or domain, got "${name.value}"`;
    case 'uri':
      return isDnsName(name.value.replace(/^\./, '')) ? undefined : `expected a host or domain, got "${name.value}"`;
    default:
      return undefined;
  }
}

function isAddressRange(value: Uint8Array): boolean {
  if (value.length !== 8 && value.length !== 32) return false;
  // A mask is ones, then zeros (CIDR).
  const mask = Array.from(value.subarray(value.length / 2), (octet) => octet.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(mask);
}

function isEmailConstraint(value: string): boolean {
  return value.includes('@') ? isMailbox(value) : isDnsName(value.replace(/^\./, ''));
}

/** Whether `value` is one local part, one at sign and a domain. */
export function isMailbox(value: string): boolean {
  const parts = value.split('@');
  return parts.length === 2 && parts[0] !== '' && isDnsName(parts[1] ?? '');
}

/** Whether `value` is a name in preferred syntax: labels of 1 to 63 letters, digits and inner hyphens (RFC 1034 3.5). */
export function isDnsName(value: string): boolean {
  if (value.length > 253 || /^[0-9.]+$/.test(value)) return false;
  return value.split('.').every((label) => /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/.test(label));
}

function parseAuthorityKeyIdentifier(value: Uint8Array): AuthorityKeyIdentifier {
  const reader = openDer(value, TAG.SEQUENCE, 'authorityKeyIdentifier');
  const key = reader.optional(primitive(0), 'keyIdentifier');
  const issuer = reader.optional(constructed(1), 'authorityCertIssuer');
  const serial = reader.optional(primitive(2), 'authorityCertSerialNumber');
  reader.finish();
  const hasIssuer = issuer !== undefined || serial !== undefined;
  return key === undefined ? { hasIssuer } : { keyIdentifier: key.content, hasIssuer };
}

function assertAccessDescriptions(value: Uint8Array): void {
  const reader = openDer(value, TAG.SEQUENCE, 'authorityInfoAccess');
  do {
    const description = reader.enter(TAG.SEQUENCE, 'AccessDescription');
    oidValue(description.take(TAG.OID, 'accessMethod').content, 'authorityInfoAccess');
    parseGeneralName(description.any('accessLocation'), 'authorityInfoAccess');
    description.finish();
  } while (!reader.done);
}

function parsePolicies(value: Uint8Array): readonly string[] {
  const what = 'certificatePolicies';
  const reader = openDer(value, TAG.SEQUENCE, what);
  const policies = new Set<string>();
  do {
    if (policies.size === MAX_POLICIES) throw malformed(what, `expected at most ${MAX_POLICIES} policies, got more`);
    const policy = reader.enter(TAG.SEQUENCE, 'PolicyInformation');
    const dotted = oidValue(policy.take(TAG.OID, 'policyIdentifier').content, what);
    policy.optional(TAG.SEQUENCE, 'policyQualifiers');
    policy.finish();
    if (policies.has(dotted)) throw malformed(what, `expected each policy once, got ${dotted} twice`);
    policies.add(dotted);
  } while (!reader.done);
  return [...policies];
}

function parsePolicyMappings(value: Uint8Array): readonly PolicyMapping[] {
  const what = 'policyMappings';
  const reader = openDer(value, TAG.SEQUENCE, what);
  const mappings: PolicyMapping[] = [];
  do {
    if (mappings.length === MAX_POLICIES) throw malformed(what, `expected at most ${MAX_POLICIES} mappings, got more`);
    const pair = reader.enter(TAG.SEQUENCE, 'mapping');
    const issuerDomainPolicy = oidValue(pair.take(TAG.OID, 'issuerDomainPolicy').content, what);
    const subjectDomainPolicy = oidValue(pair.take(TAG.OID, 'subjectDomainPolicy').content, what);
    pair.finish();
    mappings.push({ issuerDomainPolicy, subjectDomainPolicy });
  } while (!reader.done);
  return mappings;
}

function parsePolicyConstraints(value: Uint8Array): PolicyConstraints {
  const what = 'policyConstraints';
  const reader = openDer(value, TAG.SEQUENCE, what);
  const explicit = reader.optional(primitive(0), 'requireExplicitPolicy');
  const mapping = reader.optional(primitive(1), 'inhibitPolicyMapping');
  reader.finish();
  if (explicit === undefined && mapping === undefined) throw malformed(what, 'expected a constraint, got none');
  return {
    ...(explicit && { requireExplicitPolicy: smallInteger(explicit.content, what) }),
    ...(mapping && { inhibitPolicyMapping: smallInteger(mapping.content, what) }),
  };
}

const MAX_POLICIES = 64;

/** certificatePolicies without qualifiers. */
export function certificatePolicies(policies: readonly string[]): Extension {
  const value = sequence(...policies.map((policy) => sequence(oid(policy))));
  return { oid: EXTENSION.certificatePolicies, critical: false, value };
}

/** basicConstraints, critical. */
export function basicConstraints(constraints: BasicConstraints): Extension {
  const length = constraints.pathLength === undefined ? [] : [integer(constraints.pathLength)];
  const value = constraints.ca ? sequence(boolean(true), ...length) : sequence();
  return { oid: EXTENSION.basicConstraints, critical: true, value };
}

/** keyUsage, critical. */
export function keyUsage(usages: Iterable<KeyUsage>): Extension {
  const bits = [...usages].map((usage) => KEY_USAGES.indexOf(usage));
  return { oid: EXTENSION.keyUsage, critical: true, value: bitsString(bits) };
}

/** extKeyUsage from names or dotted identifiers. */
export function extendedKeyUsage(usages: readonly string[], critical = false): Extension {
  return {
    oid: EXTENSION.extKeyUsage,
    critical,
    value: sequence(...usages.map((usage) => oid(extendedKeyUsageOid(usage)))),
  };
}

/** subjectAltName; critical exactly where the subject is empty (RFC 5280 4.2.1.6). */
export function subjectAltName(names: readonly GeneralName[], critical: boolean): Extension {
  return { oid: EXTENSION.subjectAltName, critical, value: encodeGeneralNames(names) };
}

/** nameConstraints, critical. Throws {@link PkiError} `bad-input` for a base that no reader could apply. */
export function nameConstraints(constraints: NameConstraints): Extension {
  const subtrees = (number: number, names: readonly GeneralName[]) =>
    names.length === 0 ? [] : [tlv(constructed(number), ...names.map(encodeSubtree))];
  const value = sequence(...subtrees(0, constraints.permitted), ...subtrees(1, constraints.excluded));
  return { oid: EXTENSION.nameConstraints, critical: true, value };
}

function encodeSubtree(name: GeneralName): Uint8Array {
  const problem = constraintProblem(name);
  if (problem !== undefined) throw new PkiError('bad-input', `encode nameConstraints: ${problem}`);
  return sequence(encodeGeneralName(name));
}

/** subjectKeyIdentifier. */
export function subjectKeyIdentifier(identifier: Uint8Array): Extension {
  return { oid: EXTENSION.subjectKeyIdentifier, critical: false, value: octetString(identifier) };
}

/** authorityKeyIdentifier with a key identifier alone. */
export function authorityKeyIdentifier(identifier: Uint8Array): Extension {
  return { oid: EXTENSION.authorityKeyIdentifier, critical: false, value: sequence(tlv(primitive(0), identifier)) };
}

/** cRLDistributionPoints with one location of the whole list. */
export function crlDistributionPoint(uri: string): Extension {
  return { oid: EXTENSION.cRLDistributionPoints, critical: false, value: crlDistributionPointValue(uri) };
}

/** CRLDistributionPoints with one location, as freshestCRL has it too. */
export function crlDistributionPointValue(uri: string): Uint8Array {
  const fullName = tlv(constructed(0), encodeGeneralName({ type: 'uri', value: uri }));
  return sequence(sequence(tlv(constructed(0), fullName)));
}

/** authorityInfoAccess with where to fetch the issuer's certificate and where to ask for the status; none without either. */
export function authorityInfoAccess(places: {
  readonly caIssuers: string | undefined;
  readonly ocsp: string | undefined;
}): readonly Extension[] {
  const describe = (method: string, uri: string | undefined) =>
    uri === undefined ? [] : [sequence(oid(method), encodeGeneralName({ type: 'uri', value: uri }))];
  const descriptions = [
    ...describe(ACCESS_METHOD.ocsp, places.ocsp),
    ...describe(ACCESS_METHOD.caIssuers, places.caIssuers),
  ];
  if (descriptions.length === 0) return [];
  return [{ oid: EXTENSION.authorityInfoAccess, critical: false, value: sequence(...descriptions) }];
}

const ACCESS_METHOD = { ocsp: '1.3.6.1.5.5.7.48.1', caIssuers: '1.3.6.1.5.5.7.48.2' } as const;

/** The number in a cRLNumber or deltaCRLIndicator value. */
export function crlNumberValue(value: Uint8Array): bigint {
  return integerValue(readDer(value, TAG.INTEGER, 'cRLNumber'), 'cRLNumber');
}
