/** Timestamps of an authority over data or over a document's signature (RFC 3161, RFC 5816): requests, responses, verification. */
import { algorithmOid, type HashName, hashIdentifier, hashOfOid } from './algorithm.js';
import { equalBytes, randomBytes } from './bytes.js';
import type { Certificate, CertificateInput } from './certificate.js';
import { addUnsignedAttribute, type CmsSignedData, parseSignedData } from './cms.js';
import {
  boolean,
  constructed,
  type DerReader,
  integer,
  integerValue,
  octetString,
  oid,
  oidValue,
  openDer,
  primitive,
  sequence,
  smallInteger,
  TAG,
  tlv,
} from './der.js';
import { attempt, digest, openSignature, refuse } from './document.js';
import { malformed, PkiError } from './error.js';
import { parseExtensions } from './extension.js';
import { EXTENDED_KEY_USAGE, EXTENSION } from './oid.js';
import { type PathOptions, validatePath } from './path.js';
import type { PathProblem } from './path-problem.js';

const ID_TST_INFO = '1.2.840.113549.1.9.16.1.4';
const ID_TIMESTAMP_TOKEN = '1.2.840.113549.1.9.16.2.14';
const MAX_RESPONSE = 1 << 20;

/** What a token says. Nobody has verified it yet. */
export interface TimestampInfo {
  /** The authority's policy, dotted. */
  readonly policy: string;
  /** The digest that the timestamp is over. */
  readonly hash: HashName;
  /** Its value. */
  readonly imprint: Uint8Array;
  /** The authority's number for the token. */
  readonly serialNumber: bigint;
  /** When the authority saw the digest; fractions of a second below a millisecond are cut off. */
  readonly time: Date;
  /** How far off the time may be, in milliseconds (microseconds are rounded up). */
  readonly accuracy?: number;
  /** Whether two tokens of the authority can be ordered by their times alone. */
  readonly ordering: boolean;
  /** The number from the request. */
  readonly nonce?: bigint;
}

/** A request and what it has to be answered with. */
export interface TimestampRequest {
  /** TimeStampReq DER, for a POST as `application/timestamp-query`. */
  readonly der: Uint8Array;
  /** The number that the answer repeats. */
  readonly nonce: bigint;
}

/** What a request asks for. */
export interface TimestampRequestOptions {
  /** The digest; `sha256` without it. */
  readonly hash?: HashName;
  /** The policy to stamp under, dotted; the authority's own without it. */
  readonly policy?: string;
}

/** Asks for a timestamp over `data`, with a fresh nonce and the authority's certificate in the answer. */
export async function buildTimestampRequest(
  data: Uint8Array,
  options: TimestampRequestOptions = {},
): Promise<TimestampRequest> {
  const { hash = 'sha256', policy } = options;
  const nonce = randomBytes(16).reduce((value, octet) => (value << 8n) | BigInt(octet), 0n) | 1n;
  const imprint = sequence(hashIdentifier(hash), octetString(await digest(hash, data)));
  const fields = [integer(1), imprint, ...(policy === undefined ? [] : [oid(policy)]), integer(nonce), boolean(true)];
  return { der: sequence(...fields), nonce };
}

/**
 * The token (ContentInfo DER) out of an authority's answer, TimeStampResp DER of at most 1 MiB.
 * Throws {@link PkiError}: `malformed`; `not-allowed` where the authority refused, with its words in the text.
 */
export function parseTimestampResponse(der: Uint8Array): Uint8Array {
  if (der.length > MAX_RESPONSE)
    throw malformed('TimeStampResp', `expected at most ${MAX_RESPONSE} bytes, got ${der.length}`);
  const reader = openDer(der, TAG.SEQUENCE, 'TimeStampResp');
  const info = reader.enter(TAG.SEQUENCE, 'status');
  const status = smallInteger(info.take(TAG.INTEGER, 'status').content, 'status');
  const words = info.tag === TAG.SEQUENCE ? statusText(info.enter(TAG.SEQUENCE, 'statusString')) : '';
  info.optional(TAG.BIT_STRING, 'failInfo');
  info.finish();
  // 0 is granted, 1 granted with modifications, which the token shows (RFC 3161 section 2.4.2).
  if (status > 1)
    throw new PkiError(
      'not-allowed',
      `get timestamp: expected it granted, got status ${status}${words === '' ? '' : ` (${words})`}`,
    );
  const token = reader.take(TAG.SEQUENCE, 'timeStampToken').bytes;
  reader.finish();
  return token.slice();
}

/** At most 200 printable characters: they are the authority's. */
function statusText(strings: DerReader): string {
  const words: string[] = [];
  while (!strings.done) words.push(new TextDecoder().decode(strings.take(TAG.UTF8, 'text').content));
  return words
    .join(' ')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 200);
}

/** Reads what a token (ContentInfo DER) says. Throws {@link PkiError} `malformed`, `unsupported` for other digests than SHA-2. */
export function parseTimestamp(token: Uint8Array): TimestampInfo {
  return infoOf(parseSignedData(token));
}

function infoOf(data: CmsSignedData): TimestampInfo {
  if (data.contentType !== ID_TST_INFO || data.content === undefined) {
    throw malformed('timestamp', `expected TSTInfo inside, got ${data.contentType}`);
  }
  const reader = openDer(data.content, TAG.SEQUENCE, 'TSTInfo');
  const version = smallInteger(reader.take(TAG.INTEGER, 'version').content, 'TSTInfo/version');
  if (version !== 1) throw malformed('TSTInfo', `expected version 1, got ${version}`);
  const policy = oidValue(reader.take(TAG.OID, 'policy').content, 'TSTInfo/policy');
  const imprint = parseImprint(reader.enter(TAG.SEQUENCE, 'messageImprint'));
  const serialNumber = integerValue(reader.take(TAG.INTEGER, 'serialNumber').content, 'TSTInfo/serialNumber');
  const time = generalTime(reader.take(TAG.GENERALIZED_TIME, 'genTime').content);
  const accuracy = reader.tag === TAG.SEQUENCE ? parseAccuracy(reader.enter(TAG.SEQUENCE, 'accuracy')) : undefined;
  const ordering = reader.optional(TAG.BOOLEAN, 'ordering')?.content[0] === 0xff;
  const nonce = reader.optional(TAG.INTEGER, 'nonce')?.content;
  reader.optional(constructed(0), 'tsa');
  const extensions = reader.optional(constructed(1), 'extensions')?.content;
  reader.finish();
  assertNoCritical(extensions);
  return {
    policy,
    ...imprint,
    serialNumber,
    time,
    ordering,
    ...(accuracy === undefined ? {} : { accuracy }),
    ...(nonce === undefined ? {} : { nonce: integerValue(nonce, 'TSTInfo/nonce') }),
  };
}

/** No extension of a token is known here; one that must be understood may change what it says (RFC 3161 section 2.4.2). */
function assertNoCritical(content: Uint8Array | undefined): void {
  if (content === undefined) return;
  const critical = parseExtensions(tlv(TAG.SEQUENCE, content), 'TSTInfo/extensions').find((each) => each.critical);
  if (critical !== undefined)
    throw new PkiError('unsupported', `read timestamp: expected known critical extensions, got ${critical.oid}`);
}

function parseImprint(reader: DerReader): Pick<TimestampInfo, 'hash' | 'imprint'> {
  const dotted = algorithmOid(reader.take(TAG.SEQUENCE, 'hashAlgorithm').bytes, 'messageImprint');
  const imprint = reader.take(TAG.OCTET_STRING, 'hashedMessage').content;
  reader.finish();
  const hash = hashOfOid(dotted);
  if (hash === undefined)
    throw new PkiError('unsupported', `read timestamp: expected SHA-256, -384 or -512, got ${dotted}`);
  return { hash, imprint };
}

/** RFC 3161 section 2.4.2: in UTC, with seconds, and with a fraction that has no zero at its end. */
function generalTime(content: Uint8Array): Date {
  const text = String.fromCharCode(...content.subarray(0, 40));
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{0,20}[1-9]))?Z$/.exec(text);
  if (match === null || content.length > 40)
    throw malformed('genTime', 'expected YYYYMMDDhhmmss[.s]Z, got another form');
  const [, year, month, day, hour, minute, second, fraction = ''] = match;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.${fraction.slice(0, 3).padEnd(3, '0')}Z`;
  const time = new Date(iso);
  if (Number.isNaN(time.getTime()) || time.toISOString() !== iso)
    throw malformed('genTime', 'expected a moment that exists, got another');
  return time;
}

function parseAccuracy(reader: DerReader): number {
  const number = (tag: number, field: string, most: number): number => {
    const content = reader.optional(tag, field)?.content;
    const value = content === undefined ? 0 : smallInteger(content, field);
    if (value < 0 || value > most) throw malformed('accuracy', `expected ${field} of at most ${most}, got ${value}`);
    return value;
  };
  const seconds = number(TAG.INTEGER, 'seconds', 1_000_000_000);
  const milliseconds = number(primitive(0), 'millis', 999);
  const microseconds = number(primitive(1), 'micros', 999);
  reader.finish();
  return seconds * 1000 + milliseconds + Math.ceil(microseconds / 1000);
}

/** What a timestamp must be good for. */
export interface TimestampOptions extends Omit<PathOptions, 'purpose' | 'name' | 'time'> {
  /** Roots of timestamp authorities that the verifier trusts already. */
  readonly anchors: readonly CertificateInput[];
  /** Further certificates for building the path: the authority's, where the token has none. */
  readonly intermediates?: readonly CertificateInput[];
  /** The number from the request; where it is given, the token must repeat it. */
  readonly nonce?: bigint;
  /** Policies of which one must be the token's, dotted; any without it. */
  readonly policies?: readonly string[];
  /** When the authority's certificate must be valid; the token's own time without it. */
  readonly time?: Date;
}

/**
 * Why a timestamp is not accepted.
 *
 * - `malformed`: it is no token with one signer
 * - `unsupported`: it uses an algorithm that is unknown or too weak
 * - `content`: it is over other data
 * - `nonce`: it does not answer this request
 * - `policy`: it was made under another policy
 * - `certificate`: the authority's certificate is not there, is not signed along, or is not for timestamps alone
 * - `signature`: the signature does not verify
 * - `path`: the authority's certificate is not acceptable; `path` says why
 */
export type TimestampProblemCode =
  | 'malformed'
  | 'unsupported'
  | 'content'
  | 'nonce'
  | 'policy'
  | 'certificate'
  | 'signature'
  | 'path';

/** The answer about a timestamp. */
export type TimestampResult =
  | {
      readonly ok: true;
      /** What it says. */
      readonly info: TimestampInfo;
      /** The authority's certificate. */
      readonly signer: Certificate;
      /** From the authority to the anchor. */
      readonly path: readonly Certificate[];
    }
  | {
      readonly ok: false;
      readonly problem: { readonly code: TimestampProblemCode; readonly message: string; readonly path?: PathProblem };
    };

/**
 * Verifies a token (ContentInfo DER) over `data` and the authority's path. A timestamp that is not acceptable is an answer, not an
 * exception. Throws {@link PkiError} only where the options are unusable.
 */
export async function verifyTimestamp(
  data: Uint8Array,
  token: Uint8Array,
  options: TimestampOptions,
): Promise<TimestampResult> {
  const opened = await attempt(() => openToken(data, token));
  if (!opened.ok) return opened;
  const { info, signer, certificates } = opened;
  const refused = (code: TimestampProblemCode, expected: string): TimestampResult => ({
    ok: false,
    problem: { code, message: `verify timestamp: ${expected}` },
  });
  const { anchors, intermediates = [], nonce, policies, time = info.time, ...rest } = options;
  if (nonce !== undefined && info.nonce !== nonce)
    return refused('nonce', 'expected the nonce of the request, got another or none');
  if (policies !== undefined && !policies.includes(info.policy))
    return refused('policy', `expected ${policies.join(' or ')}, got ${info.policy}`);
  if (!isForTimestampsAlone(signer))
    return refused(
      'certificate',
      'expected a certificate whose critical extended key usage is timeStamping alone, got another',
    );
  const result = await validatePath(signer, [...certificates, ...intermediates], anchors, {
    ...rest,
    time,
    purpose: 'time-stamping',
  });
  if (!result.ok)
    return { ok: false, problem: { code: 'path', message: result.problem.message, path: result.problem } };
  return { ok: true, info, signer, path: result.path };
}

async function openToken(data: Uint8Array, token: Uint8Array) {
  const signed = parseSignedData(token);
  const info = infoOf(signed);
  const opened = await openSignature(signed, signed.content ?? new Uint8Array());
  if (!opened.hasSigningCertificate)
    throw refuse('certificate', "expected the authority's certificate to be signed along, got none");
  if (!equalBytes(info.imprint, await digest(info.hash, data)))
    throw refuse('content', 'expected a timestamp over these data, got one over others');
  return { ...opened, info };
}

/** RFC 3161 section 2.3. */
function isForTimestampsAlone(certificate: Certificate): boolean {
  const { extendedKeyUsage = [] } = certificate;
  const isCritical = certificate.extensions.some((each) => each.oid === EXTENSION.extKeyUsage && each.critical);
  return isCritical && extendedKeyUsage.length === 1 && extendedKeyUsage[0] === EXTENDED_KEY_USAGE.timeStamping;
}

/**
 * Puts a token over a document's signature into the document (RFC 3161 appendix A): CMS DER in, CMS DER out. What to ask the
 * authority about is {@link signatureOf}. Throws {@link PkiError} `malformed`, `bad-input` where the token is over something else.
 */
export async function attachTimestamp(cms: Uint8Array, token: Uint8Array): Promise<Uint8Array> {
  const { hash, imprint } = parseTimestamp(token);
  if (!equalBytes(imprint, await digest(hash, signatureOf(cms)))) {
    throw new PkiError(
      'bad-input',
      'attach timestamp: expected a timestamp over the signature of the document, got one over something else',
    );
  }
  return addUnsignedAttribute(cms, ID_TIMESTAMP_TOKEN, token);
}

/** The bytes of the one signature in a document, over which its timestamp is. Throws {@link PkiError} `malformed`. */
export function signatureOf(cms: Uint8Array): Uint8Array {
  return onlySigner(cms).signature;
}

/** The token over a document's signature; `undefined` where it has none. Throws {@link PkiError} `malformed`. */
export function timestampOf(cms: Uint8Array): Uint8Array | undefined {
  const found = onlySigner(cms).unsignedAttributes.filter(({ type }) => type === ID_TIMESTAMP_TOKEN);
  const values = found.flatMap((attribute) => attribute.values);
  if (values.length > 1) throw malformed('SignerInfo', `expected one timestamp, got ${values.length}`);
  return values[0];
}

function onlySigner(cms: Uint8Array) {
  const { signers } = parseSignedData(cms);
  const [signer, ...more] = signers;
  if (signer === undefined || more.length > 0)
    throw malformed('SignedData', `expected one signer, got ${signers.length}`);
  return signer;
}
