/** Signed documents: detached CMS signatures over a file (RFC 5652, RFC 5035 for the certificate that is signed along). */
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';
import {
  algorithmOid,
  type HashName,
  hashIdentifier,
  hashOfOid,
  parseSignatureIdentifier,
  type SignatureScheme,
  signatureIdentifier,
  WEB_HASH,
} from './algorithm.js';
import { equalBytes } from './bytes.js';
import { asCertificate, type Certificate, type CertificateInput } from './certificate.js';
import { type CmsSignedData, type CmsSigner, encodeSignedData, ID_DATA, parseSignedData } from './cms.js';
import {
  DerReader,
  integer,
  octetString,
  oid,
  oidValue,
  openDer,
  readDer,
  sequence,
  setOf,
  TAG,
  time,
  timeValue,
} from './der.js';
import { PkiError } from './error.js';
import { assertSignerOf, type Signer, signChecked, signerScheme } from './key.js';
import { nameText, parseName, sameName } from './name.js';
import { ALGORITHM } from './oid.js';
import { type PathOptions, validatePath } from './path.js';
import type { PathProblem } from './path-problem.js';
import type { Purpose } from './purpose.js';
import { verifySignature } from './signature.js';

const ATTRIBUTE = {
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  signingCertificate: '1.2.840.113549.1.9.16.2.12',
  signingCertificateV2: '1.2.840.113549.1.9.16.2.47',
} as const;

/** Who signs a document. */
export interface DocumentSigner {
  /** The key. */
  readonly signer: Signer;
  /** Its certificate first, then the intermediates; the root need not be there. */
  readonly chain: readonly CertificateInput[];
  /** The claimed time of signing; now without it. */
  readonly time?: Date;
}

/** What a signature must be good for. */
export interface DocumentOptions extends Omit<PathOptions, 'purpose' | 'name'> {
  /** Roots that the verifier trusts already. */
  readonly anchors: readonly CertificateInput[];
  /** What the signer's key must be for; `code-signing` without it. */
  readonly purpose?: Purpose;
  /** Further certificates for building the path. */
  readonly intermediates?: readonly CertificateInput[];
}

/**
 * Why a document is not accepted.
 *
 * - `malformed`: the signature file is no detached CMS with one signer and signed attributes
 * - `unsupported`: it uses an algorithm that is unknown or too weak
 * - `content`: the content is not what was signed
 * - `certificate`: the signer's certificate is not in it, or another one was signed for
 * - `signature`: the signature does not verify
 * - `path`: the signer's certificate is not acceptable; `path` says why
 */
export type DocumentProblemCode = 'malformed' | 'unsupported' | 'content' | 'certificate' | 'signature' | 'path';

/** The refusal of a document. */
export interface DocumentProblem {
  /** Which check failed. */
  readonly code: DocumentProblemCode;
  /** One sentence. */
  readonly message: string;
  /** For `path`: the rule that the certificate or its path broke. */
  readonly path?: PathProblem;
}

/** The answer about a signed document. */
export type DocumentResult =
  | {
      readonly ok: true;
      /** Whose key signed. */
      readonly signer: Certificate;
      /** From the signer to the anchor. */
      readonly path: readonly Certificate[];
      /** When the signer says that it signed; nobody vouches for it. */
      readonly claimedTime?: Date;
    }
  | { readonly ok: false; readonly problem: DocumentProblem };

/**
 * Signs `content` and returns a detached CMS SignedData, DER, with the chain inside. The digest is the one of the signer's
 * algorithm (SHA-512 for Ed25519 and ML-DSA, RFC 8419 and RFC 9882).
 * Throws {@link PkiError}: `bad-input` without a chain, `key-mismatch` where the chain is another key's, `bad-signature`.
 */
export async function signDocument(content: Uint8Array, options: DocumentSigner): Promise<Uint8Array> {
  const chain = options.chain.map(asCertificate);
  const [own] = chain;
  if (own === undefined)
    throw new PkiError('bad-input', 'sign document: expected a chain with the signer first, got none');
  assertSignerOf(options.signer, own.publicKey, nameText(own.subject));
  const scheme = signerScheme(options.signer);
  const attributes = signedAttributes(await digest(documentHash(scheme), content), own, options.time ?? new Date());
  const signature = await signChecked(options.signer, setOf(...attributes), 'document');
  return encodeSignedData({
    issuer: own.issuer.der,
    serialNumber: own.serialNumber,
    digestAlgorithm: hashIdentifier(documentHash(scheme)),
    signatureAlgorithm: signatureIdentifier(scheme),
    attributes,
    certificates: chain.map((each) => each.der),
    signature,
  });
}

function documentHash(scheme: SignatureScheme): HashName {
  return 'hash' in scheme ? scheme.hash : 'sha512';
}

/** A digest by its name. */
export async function digest(hash: HashName, content: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await globalThis.crypto.subtle.digest(WEB_HASH[hash], content.slice()));
}

function signedAttributes(messageDigest: Uint8Array, own: Certificate, signingTime: Date): readonly Uint8Array[] {
  const attribute = (type: string, value: Uint8Array) => sequence(oid(type), setOf(value));
  // ESSCertIDv2 with its default SHA-256 pins the certificate, so that none with the same key can take its place.
  const certificateId = sequence(sequence(sequence(octetString(sha256(own.der)))));
  return [
    attribute(ATTRIBUTE.contentType, oid(ID_DATA)),
    attribute(ATTRIBUTE.signingTime, time(signingTime)),
    attribute(ATTRIBUTE.messageDigest, octetString(messageDigest)),
    attribute(ATTRIBUTE.signingCertificateV2, certificateId),
  ];
}

/**
 * Verifies a detached CMS signature over `content` and the signer's path. A document that is not acceptable is an answer, not an
 * exception. Throws {@link PkiError} only where the options are unusable (as `validatePath` does).
 */
export async function verifyDocument(
  content: Uint8Array,
  cms: Uint8Array,
  options: DocumentOptions,
): Promise<DocumentResult> {
  const opened = await attempt(() => openDocument(content, cms));
  if (!opened.ok) return opened;
  const { signer, certificates, claimedTime } = opened;
  const { anchors, purpose = 'code-signing', intermediates = [], ...rest } = options;
  const result = await validatePath(signer, [...certificates, ...intermediates], anchors, { ...rest, purpose });
  if (!result.ok) {
    return { ok: false, problem: { code: 'path', message: result.problem.message, path: result.problem } };
  }
  return { ok: true, signer, path: result.path, ...(claimedTime === undefined ? {} : { claimedTime }) };
}

/** A signature that verifies; whether its certificate is to be trusted comes after. */
export interface OpenedDocument {
  readonly ok: true;
  readonly signer: Certificate;
  readonly certificates: readonly Uint8Array[];
  /** Whether a signed attribute names the certificate. */
  readonly hasSigningCertificate: boolean;
  readonly claimedTime?: Date;
}

/** Carries a refusal out of the steps below. */
class Refusal extends Error {
  constructor(readonly problem: DocumentProblem) {
    super(problem.message);
  }
}

/** A refusal to throw inside {@link attempt}. */
export function refuse(code: DocumentProblemCode, message: string): Refusal {
  return new Refusal({ code, message: `verify document: ${message}` });
}

/** The refusals of `open` as answers. */
export async function attempt<T>(open: () => Promise<T>): Promise<T | Extract<DocumentResult, { ok: false }>> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, problem: error.problem };
    if (!(error instanceof PkiError)) throw error;
    const code = error.code === 'unsupported' ? 'unsupported' : 'malformed';
    return { ok: false, problem: { code, message: error.message } };
  }
}

/** Whether the certificate is to be trusted comes after. */
async function openDocument(content: Uint8Array, cms: Uint8Array): Promise<OpenedDocument> {
  const data = parseSignedData(cms);
  if (data.content !== undefined) {
    throw refuse('malformed', 'expected a detached signature, got one with content inside');
  }
  return openSignature(data, content);
}

/** Content, signer's certificate and signature belong together. Throws a refusal, which {@link attempt} makes an answer. */
export async function openSignature(data: CmsSignedData, content: Uint8Array): Promise<OpenedDocument> {
  const signerInfo = onlySigner(data);
  const signer = signerCertificate(signerInfo, data.certificates);
  const hash = hashOfOid(signerInfo.digest);
  if (hash === undefined)
    throw refuse('unsupported', `expected SHA-256, -384 or -512, got digest ${signerInfo.digest}`);
  if (!data.digests.includes(signerInfo.digest))
    throw refuse('malformed', 'expected the digest to be announced, got another');
  assertContentType(signerInfo, data.contentType);
  if (!equalBytes(messageDigest(signerInfo), await digest(hash, content))) {
    throw refuse('content', 'expected the content that was signed, got another');
  }
  const hasSigningCertificate = await assertSigningCertificate(signerInfo, signer);
  await assertSignature(signerInfo, signer, hash);
  const claimedTime = signingTime(signerInfo);
  return {
    ok: true,
    signer,
    certificates: data.certificates,
    hasSigningCertificate,
    ...(claimedTime === undefined ? {} : { claimedTime }),
  };
}

function onlySigner(data: CmsSignedData): CmsSigner {
  const [signer, ...more] = data.signers;
  if (signer === undefined || more.length > 0)
    throw refuse('malformed', `expected one signer, got ${data.signers.length}`);
  return signer;
}

function signerCertificate(signer: CmsSigner, certificates: readonly Uint8Array[]): Certificate {
  const found = certificates.map(asCertificate).find((each) => isIdentified(each, signer.identifier));
  if (found === undefined) throw refuse('certificate', "expected the signer's certificate inside, got none");
  return found;
}

function isIdentified(certificate: Certificate, identifier: CmsSigner['identifier']): boolean {
  if ('keyIdentifier' in identifier) {
    const own = certificate.subjectKeyIdentifier;
    return own !== undefined && equalBytes(own, identifier.keyIdentifier);
  }
  const serial = readDer(integer(certificate.serialNumber), TAG.INTEGER, 'serialNumber');
  return (
    equalBytes(serial, identifier.serialNumber) && sameName(certificate.issuer, parseName(identifier.issuer, 'issuer'))
  );
}

/** The one value of a signed attribute; undefined where the attribute is not there. */
function attributeValue(signer: CmsSigner, type: string): Uint8Array | undefined {
  const [found, ...more] = signer.attributes.filter((each) => each.type === type);
  if (found === undefined) return undefined;
  const [value, ...others] = found.values;
  if (value === undefined || others.length > 0 || more.length > 0)
    throw refuse('malformed', `expected one value of ${type}, got more`);
  return value;
}

function assertContentType(signer: CmsSigner, contentType: string): void {
  const value = attributeValue(signer, ATTRIBUTE.contentType);
  if (value === undefined || oidValue(readDer(value, TAG.OID, 'contentType'), 'contentType') !== contentType) {
    throw refuse(
      'malformed',
      'expected the signed attribute contentType to be that of the content, got another or none',
    );
  }
}

function messageDigest(signer: CmsSigner): Uint8Array {
  const value = attributeValue(signer, ATTRIBUTE.messageDigest);
  if (value === undefined) throw refuse('malformed', 'expected the signed attribute messageDigest, got none');
  return readDer(value, TAG.OCTET_STRING, 'messageDigest');
}

function signingTime(signer: CmsSigner): Date | undefined {
  const value = attributeValue(signer, ATTRIBUTE.signingTime);
  return value === undefined ? undefined : timeValue(new DerReader(value, 'signingTime').any('Time'), 'signingTime');
}

/** Signs along a certificate: `true` where an attribute names this one, `false` where there is none (RFC 5035 sections 3 and 4). */
async function assertSigningCertificate(signer: CmsSigner, certificate: Certificate): Promise<boolean> {
  const [older, newer] = [ATTRIBUTE.signingCertificate, ATTRIBUTE.signingCertificateV2].map((type) =>
    attributeValue(signer, type),
  );
  if (newer !== undefined) await assertCertificateId(newer, certificate, 'SigningCertificateV2');
  if (older !== undefined) await assertCertificateId(older, certificate, 'SigningCertificate');
  return newer !== undefined || older !== undefined;
}

async function assertCertificateId(value: Uint8Array, certificate: Certificate, what: string): Promise<void> {
  const attribute = openDer(value, TAG.SEQUENCE, what);
  const certs = attribute.enter(TAG.SEQUENCE, 'certs');
  const id = certs.enter(TAG.SEQUENCE, 'ESSCertID');
  const wanted = what === 'SigningCertificate' ? sha1(certificate.der) : await digestOfId(id, certificate.der);
  if (!equalBytes(id.take(TAG.OCTET_STRING, 'certHash').content, wanted)) {
    throw refuse('certificate', 'expected the certificate that was signed along, got another');
  }
}

/** ESSCertIDv2 leaves its digest out where it is SHA-256. */
async function digestOfId(id: DerReader, der: Uint8Array): Promise<Uint8Array> {
  if (id.tag !== TAG.SEQUENCE) return sha256(der);
  const dotted = algorithmOid(id.take(TAG.SEQUENCE, 'hashAlgorithm').bytes, 'ESSCertIDv2');
  const hash = hashOfOid(dotted);
  if (hash === undefined) throw refuse('unsupported', `expected SHA-256, -384 or -512, got digest ${dotted}`);
  return digest(hash, der);
}

async function assertSignature(signer: CmsSigner, certificate: Certificate, hash: HashName): Promise<void> {
  if (signer.signedBytes === undefined) throw refuse('malformed', 'expected signed attributes, got none');
  const scheme = schemeOfSigner(signer, hash);
  if (await verifySignature(certificate.publicKey, scheme, signer.signedBytes, signer.signature)) return;
  throw refuse('signature', `expected a signature of ${nameText(certificate.subject)}, got one that does not verify`);
}

/** RFC 3370 3.2: rsaEncryption as signature algorithm takes its digest from the digest algorithm. */
function schemeOfSigner(signer: CmsSigner, hash: HashName): SignatureScheme {
  const reader = openDer(signer.signatureAlgorithm, TAG.SEQUENCE, 'signatureAlgorithm');
  const dotted = oidValue(reader.take(TAG.OID, 'algorithm').content, 'signatureAlgorithm');
  if (dotted === ALGORITHM.rsaEncryption) return { kind: 'rsassa', hash };
  const scheme = parseSignatureIdentifier(signer.signatureAlgorithm, 'signatureAlgorithm');
  if (documentHash(scheme) !== hash)
    throw refuse('unsupported', 'expected one digest for content and signature, got two');
  return scheme;
}
