/** CMS SignedData (RFC 5652 section 5): a strict DER reader, and a writer for detached signatures. */
import { algorithmOid } from './algorithm.js';
import { concat } from './bytes.js';
import {
  constructed,
  DerReader,
  integer,
  octetString,
  oid,
  oidValue,
  openDer,
  primitive,
  readDer,
  sequence,
  setOf,
  smallInteger,
  TAG,
  tlv,
} from './der.js';
import { malformed } from './error.js';

/** SignedData as plain bytes. Nothing in it has been verified. */
export interface CmsSignedData {
  /** The digest algorithms that the message announces, dotted. */
  readonly digests: readonly string[];
  /** Type of the content, dotted. */
  readonly contentType: string;
  /** The content's octets, where they are inside. */
  readonly content?: Uint8Array;
  /** The certificates inside, DER, in their order. */
  readonly certificates: readonly Uint8Array[];
  /** One for each signature. */
  readonly signers: readonly CmsSigner[];
}

/** SignerInfo as plain bytes. */
export interface CmsSigner {
  /** Which certificate is the signer's: issuer Name DER and INTEGER contents, or subjectKeyIdentifier. */
  readonly identifier:
    | { readonly issuer: Uint8Array; readonly serialNumber: Uint8Array }
    | { readonly keyIdentifier: Uint8Array };
  /** The digest algorithm, dotted. */
  readonly digest: string;
  /** AlgorithmIdentifier DER. */
  readonly signatureAlgorithm: Uint8Array;
  /** The signed attributes with the values of each as DER. */
  readonly attributes: readonly { readonly type: string; readonly values: readonly Uint8Array[] }[];
  /** The encoding of the signed attributes as SET OF, which is what the signature covers; absent without attributes. */
  readonly signedBytes?: Uint8Array;
  /** The signature's bytes. */
  readonly signature: Uint8Array;
  /** Attributes that the signature does not cover, such as a timestamp over it. */
  readonly unsignedAttributes: readonly { readonly type: string; readonly values: readonly Uint8Array[] }[];
}

/** What {@link encodeSignedData} writes. */
export interface SignedDataParts {
  /** Name DER of the issuer of the signer's certificate. */
  readonly issuer: Uint8Array;
  /** Serial number of the signer's certificate. */
  readonly serialNumber: bigint;
  /** AlgorithmIdentifier DER of the digest. */
  readonly digestAlgorithm: Uint8Array;
  /** AlgorithmIdentifier DER of the signature. */
  readonly signatureAlgorithm: Uint8Array;
  /** Attributes, DER each. */
  readonly attributes: readonly Uint8Array[];
  /** Certificates, DER each. */
  readonly certificates: readonly Uint8Array[];
  /** Over the attributes as SET OF. */
  readonly signature: Uint8Array;
}

/** The content type of plain bytes. */
export const ID_DATA = '1.2.840.113549.1.7.1';
const ID_SIGNED_DATA = '1.2.840.113549.1.7.2';
const MAX_CMS = 1 << 20;

/** Writes a ContentInfo with detached SignedData of one signer, DER. */
export function encodeSignedData(parts: SignedDataParts): Uint8Array {
  const signerInfo = sequence(
    integer(1),
    sequence(parts.issuer, integer(parts.serialNumber)),
    parts.digestAlgorithm,
    implicitSet(0, parts.attributes),
    parts.signatureAlgorithm,
    octetString(parts.signature),
  );
  const signedData = sequence(
    integer(1),
    setOf(parts.digestAlgorithm),
    sequence(oid(ID_DATA)),
    implicitSet(0, parts.certificates),
    setOf(signerInfo),
  );
  return sequence(oid(ID_SIGNED_DATA), tlv(constructed(0), signedData));
}

function implicitSet(number: number, members: readonly Uint8Array[]): Uint8Array {
  return tlv(constructed(number), readDer(setOf(...members), TAG.SET, 'SET'));
}

/** Reads a ContentInfo with SignedData of at most 1 MiB, DER only. Throws {@link PkiError} `malformed`. */
export function parseSignedData(der: Uint8Array): CmsSignedData {
  if (der.length > MAX_CMS) throw malformed('SignedData', `expected at most ${MAX_CMS} bytes, got ${der.length}`);
  const info = openDer(der.slice(), TAG.SEQUENCE, 'ContentInfo');
  const type = oidValue(info.take(TAG.OID, 'contentType').content, 'ContentInfo/contentType');
  if (type !== ID_SIGNED_DATA) throw malformed('ContentInfo', `expected SignedData, got ${type}`);
  const explicit = info.enter(constructed(0), 'content');
  info.finish();
  const data = explicit.enter(TAG.SEQUENCE, 'SignedData');
  explicit.finish();
  return parseFields(data);
}

function parseFields(data: DerReader): CmsSignedData {
  assertVersion(data, [1, 3], 'SignedData');
  const digests = elements(data.take(TAG.SET, 'digestAlgorithms').content, TAG.SEQUENCE, 'digestAlgorithms');
  const content = data.enter(TAG.SEQUENCE, 'encapContentInfo');
  const contentType = oidValue(content.take(TAG.OID, 'eContentType').content, 'eContentType');
  const inside = content.done ? undefined : content.enter(constructed(0), 'eContent');
  content.finish();
  const octets = inside?.take(TAG.OCTET_STRING, 'eContent').content;
  inside?.finish();
  const certificates = data.optional(constructed(0), 'certificates');
  data.optional(constructed(1), 'crls');
  const signers = elements(data.take(TAG.SET, 'signerInfos').content, TAG.SEQUENCE, 'signerInfos');
  data.finish();
  return {
    digests: digests.map((each) => algorithmOid(each, 'digestAlgorithms')),
    contentType,
    ...(octets === undefined ? {} : { content: octets }),
    certificates: certificates === undefined ? [] : elements(certificates.content, TAG.SEQUENCE, 'certificates'),
    signers: signers.map((each) => parseSigner(openDer(each, TAG.SEQUENCE, 'SignerInfo'))),
  };
}

/** The elements of a set, at most 32, each with `tag`. */
function elements(content: Uint8Array, tag: number, what: string): readonly Uint8Array[] {
  const reader = new DerReader(content, what);
  const found: Uint8Array[] = [];
  while (!reader.done) {
    if (found.length === 32) throw malformed(what, 'expected at most 32 elements, got more');
    found.push(reader.take(tag, 'element').bytes);
  }
  return found;
}

function assertVersion(reader: DerReader, allowed: readonly number[], what: string): void {
  const version = smallInteger(reader.take(TAG.INTEGER, 'version').content, what);
  if (!allowed.includes(version)) throw malformed(what, `expected version ${allowed.join(' or ')}, got ${version}`);
}

function parseSigner(reader: DerReader): CmsSigner {
  assertVersion(reader, [1, 3], 'SignerInfo');
  const identifier = parseIdentifier(reader);
  const digest = algorithmOid(reader.take(TAG.SEQUENCE, 'digestAlgorithm').bytes, 'digestAlgorithm');
  const signed = reader.optional(constructed(0), 'signedAttrs');
  const signatureAlgorithm = reader.take(TAG.SEQUENCE, 'signatureAlgorithm').bytes;
  const signature = reader.take(TAG.OCTET_STRING, 'signature').content;
  const unsigned = reader.optional(constructed(1), 'unsignedAttrs');
  reader.finish();
  const unsignedAttributes =
    unsigned === undefined ? [] : elements(unsigned.content, TAG.SEQUENCE, 'unsignedAttrs').map(parseAttribute);
  const fields = { identifier, digest, signatureAlgorithm, signature, unsignedAttributes };
  if (signed === undefined) return { ...fields, attributes: [] };
  // RFC 5652 5.4: the signature covers the attributes under the tag of SET OF instead of [0].
  const signedBytes = concat(Uint8Array.of(TAG.SET), signed.bytes.subarray(1));
  return {
    ...fields,
    signedBytes,
    attributes: elements(signed.content, TAG.SEQUENCE, 'signedAttrs').map(parseAttribute),
  };
}

function parseIdentifier(reader: DerReader): CmsSigner['identifier'] {
  const key = reader.optional(primitive(0), 'subjectKeyIdentifier');
  if (key !== undefined) return { keyIdentifier: key.content };
  const both = reader.enter(TAG.SEQUENCE, 'issuerAndSerialNumber');
  const issuer = both.take(TAG.SEQUENCE, 'issuer').bytes;
  const serialNumber = both.take(TAG.INTEGER, 'serialNumber').content;
  both.finish();
  return { issuer, serialNumber };
}

function parseAttribute(der: Uint8Array): CmsSigner['attributes'][number] {
  const reader = openDer(der, TAG.SEQUENCE, 'Attribute');
  const type = oidValue(reader.take(TAG.OID, 'attrType').content, 'Attribute/attrType');
  const values = reader.enter(TAG.SET, 'attrValues');
  reader.finish();
  const found: Uint8Array[] = [];
  while (!values.done) found.push(values.any('value').bytes);
  return { type, values: found };
}

/**
 * The same ContentInfo with one more unsigned attribute of its only signer. The bytes that are signed stay as they are.
 * Throws {@link PkiError} `malformed` where there is not exactly one signer.
 */
export function addUnsignedAttribute(der: Uint8Array, type: string, value: Uint8Array): Uint8Array {
  parseSignedData(der);
  const info = openDer(der, TAG.SEQUENCE, 'ContentInfo');
  const infoType = info.take(TAG.OID, 'contentType').bytes;
  const data = info.enter(constructed(0), 'content').enter(TAG.SEQUENCE, 'SignedData');
  const fields: Uint8Array[] = [];
  let last = data.any('field');
  for (; !data.done; last = data.any('field')) fields.push(last.bytes);
  const [signer, ...more] = elements(last.content, TAG.SEQUENCE, 'signerInfos');
  if (signer === undefined || more.length > 0) throw malformed('SignedData', 'expected one signer, got others');
  const signers = setOf(signerWith(signer, sequence(oid(type), setOf(value))));
  return sequence(infoType, tlv(constructed(0), sequence(...fields, signers)));
}

function signerWith(der: Uint8Array, attribute: Uint8Array): Uint8Array {
  const reader = openDer(der, TAG.SEQUENCE, 'SignerInfo');
  const fields: Uint8Array[] = [];
  let unsigned: readonly Uint8Array[] = [];
  while (!reader.done) {
    // Before the signature [0] holds other things, [1] comes only behind it.
    const field = reader.any('field');
    if (field.tag === constructed(1)) unsigned = elements(field.content, TAG.SEQUENCE, 'unsignedAttrs');
    else fields.push(field.bytes);
  }
  return sequence(...fields, implicitSet(1, [...unsigned, attribute]));
}
