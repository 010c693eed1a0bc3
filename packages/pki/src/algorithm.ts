/** Signature and key algorithms and their AlgorithmIdentifiers (RFC 5480, RFC 4055, RFC 5758, RFC 8410, RFC 9881). */
import { concat, equalBytes } from './bytes.js';
import {
  constructed,
  DerReader,
  integer,
  integerValue,
  nul,
  octetsOfBitString,
  oid,
  oidValue,
  openDer,
  sequence,
  smallInteger,
  TAG,
  type Tlv,
  tlv,
} from './der.js';
import { malformed, PkiError } from './error.js';
import { ALGORITHM } from './oid.js';
import type { MlDsaSet } from './post-quantum.js';

/** Digests that a signature may be made over. */
export type HashName = 'sha256' | 'sha384' | 'sha512';

/** The modulus lengths that this package makes keys of. */
export type RsaBits = 2048 | 3072 | 4096;

/** A key type with the one way in which the key signs: family, size, digest. ML-DSA needs `enableMlDsa` of @casemate/pki/ml-dsa. */
export type SignatureAlgorithm =
  | `ecdsa-${'p256' | 'p384' | 'p521'}-${HashName}`
  | 'ed25519'
  | `rsassa-${RsaBits}-${HashName}`
  | `rsapss-${RsaBits}-${HashName}`
  | `ml-dsa-${MlDsaSet}`;

/** How a signature was made, from an AlgorithmIdentifier. */
export type SignatureScheme =
  | { readonly kind: 'ecdsa' | 'rsassa'; readonly hash: HashName }
  | { readonly kind: 'rsapss'; readonly hash: HashName; readonly saltLength: number }
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'ml-dsa'; readonly set: MlDsaSet };

/** Named curves that a certificate's key may lie on. */
export type CurveName = 'P-256' | 'P-384' | 'P-521';

/** What kind of key a SubjectPublicKeyInfo holds. */
export type PublicKeyInfo =
  | { readonly kind: 'ec'; readonly curve: CurveName }
  | { readonly kind: 'rsa'; readonly bits: number; readonly scheme?: SignatureScheme }
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'ml-dsa'; readonly set: MlDsaSet };

const HASH_OID: Readonly<Record<HashName, string>> = {
  sha256: ALGORITHM.sha256,
  sha384: ALGORITHM.sha384,
  sha512: ALGORITHM.sha512,
};
const RSA_OID: Readonly<Record<HashName, string>> = {
  sha256: ALGORITHM.sha256WithRsa,
  sha384: ALGORITHM.sha384WithRsa,
  sha512: ALGORITHM.sha512WithRsa,
};
const ECDSA_OID: Readonly<Record<HashName, string>> = {
  sha256: ALGORITHM.ecdsaWithSha256,
  sha384: ALGORITHM.ecdsaWithSha384,
  sha512: ALGORITHM.ecdsaWithSha512,
};
/** The identifiers of the curves. */
export const ALGORITHM_OF_CURVE: Readonly<Record<CurveName, string>> = {
  'P-256': ALGORITHM.p256,
  'P-384': ALGORITHM.p384,
  'P-521': ALGORITHM.p521,
};
/** The identifiers of ML-DSA, for keys and signatures alike (RFC 9881 section 2). */
export const ALGORITHM_OF_ML_DSA: Readonly<Record<MlDsaSet, string>> = {
  44: ALGORITHM.mlDsa44,
  65: ALGORITHM.mlDsa65,
  87: ALGORITHM.mlDsa87,
};
/** The bytes of a public key (FIPS 204 table 2). */
const ML_DSA_KEY: Readonly<Record<MlDsaSet, number>> = { 44: 1312, 65: 1952, 87: 2592 };
const CURVES = { p256: 'P-256', p384: 'P-384', p521: 'P-521' } as const;
const HASH_LENGTH: Readonly<Record<HashName, number>> = { sha256: 32, sha384: 48, sha512: 64 };
/** Bytes in one coordinate of a point. */
export const COORDINATE_LENGTH: Readonly<Record<CurveName, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };
/** The names that WebCrypto has for the digests. */
export const WEB_HASH: Readonly<Record<HashName, string>> = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' };

/** The parts of a {@link SignatureAlgorithm}. Throws {@link PkiError} `unsupported` for any other text. */
export function schemeOf(algorithm: string): { readonly scheme: SignatureScheme; readonly key: PublicKeyInfo } {
  if (algorithm === 'ed25519') return { scheme: { kind: 'ed25519' }, key: { kind: 'ed25519' } };
  const set = mlDsaSets.find((each) => algorithm === `ml-dsa-${each}`);
  if (set !== undefined) return { scheme: { kind: 'ml-dsa', set }, key: { kind: 'ml-dsa', set } };
  const elliptic = /^ecdsa-(p256|p384|p521)-(sha256|sha384|sha512)$/.exec(algorithm);
  if (elliptic !== null) {
    // The pattern admits only these words.
    const [, curve, hash] = elliptic as unknown as [string, keyof typeof CURVES, HashName];
    return ecdsa(CURVES[curve], hash);
  }
  const match = /^(rsassa|rsapss)-(2048|3072|4096)-(sha256|sha384|sha512)$/.exec(algorithm);
  if (match === null)
    throw new PkiError('unsupported', `use key: expected a known signature algorithm, got ${algorithm}`);
  // The pattern admits only these words.
  const [, kind, bits, hash] = match as unknown as [string, 'rsassa' | 'rsapss', string, HashName];
  const scheme = kind === 'rsapss' ? { kind, hash, saltLength: HASH_LENGTH[hash] } : { kind, hash };
  return { scheme, key: { kind: 'rsa', bits: Number(bits) } };
}

function ecdsa(curve: CurveName, hash: HashName): { scheme: SignatureScheme; key: PublicKeyInfo } {
  return { scheme: { kind: 'ecdsa', hash }, key: { kind: 'ec', curve } };
}

/** The AlgorithmIdentifier of a digest, with absent parameters (RFC 5754 section 2). */
export function hashIdentifier(hash: HashName): Uint8Array {
  return sequence(oid(HASH_OID[hash]));
}

/** The digest that an object identifier names, if it is one of ours. */
export function hashOfOid(dotted: string): HashName | undefined {
  return hashNames.find((hash) => HASH_OID[hash] === dotted);
}

/** The AlgorithmIdentifier of a signature. */
export function signatureIdentifier(scheme: SignatureScheme): Uint8Array {
  switch (scheme.kind) {
    case 'ed25519':
      return sequence(oid(ALGORITHM.ed25519));
    case 'ml-dsa':
      return sequence(oid(ALGORITHM_OF_ML_DSA[scheme.set]));
    case 'ecdsa':
      return sequence(oid(ECDSA_OID[scheme.hash]));
    case 'rsassa':
      return sequence(oid(RSA_OID[scheme.hash]), nul());
    case 'rsapss':
      return pssIdentifier(scheme.hash, scheme.saltLength);
  }
}

/** The AlgorithmIdentifier id-RSASSA-PSS with its parameters (RFC 4055 section 3.1). */
function pssIdentifier(hash: HashName, saltLength: number): Uint8Array {
  // RFC 4055 2.1 wants NULL here; X.509 readers accept both, some only this.
  const digest = sequence(oid(HASH_OID[hash]), nul());
  const parameters = sequence(
    tlv(constructed(0), digest),
    tlv(constructed(1), sequence(oid(ALGORITHM.mgf1), digest)),
    tlv(constructed(2), integer(saltLength)),
  );
  return sequence(oid(ALGORITHM.rsassaPss), parameters);
}

/**
 * Reads the AlgorithmIdentifier of a signature.
 * Throws {@link PkiError} `unsupported` for algorithms that are unknown or too weak (MD5, SHA-1, DSA), `malformed` otherwise.
 */
export function parseSignatureIdentifier(der: Uint8Array, what: string): SignatureScheme {
  const reader = openDer(der, TAG.SEQUENCE, what);
  const dotted = oidValue(reader.take(TAG.OID, 'algorithm').content, what);
  if (dotted === ALGORITHM.rsassaPss) return parsePssParameters(reader, what);
  if (dotted === ALGORITHM.ed25519) {
    reader.finish();
    return { kind: 'ed25519' };
  }
  const set = mlDsaSetOf(dotted);
  if (set !== undefined) {
    reader.finish();
    return { kind: 'ml-dsa', set };
  }
  for (const hash of hashNames) {
    if (dotted === ECDSA_OID[hash]) {
      reader.finish();
      return { kind: 'ecdsa', hash };
    }
    if (dotted === RSA_OID[hash]) {
      assertNull(reader, what);
      return { kind: 'rsassa', hash };
    }
  }
  throw new PkiError('unsupported', `decode ${what}: expected an accepted signature algorithm, got ${dotted}`);
}

function assertNull(reader: DerReader, what: string): void {
  const parameters = reader.take(TAG.NULL, 'parameters');
  if (parameters.content.length > 0) throw malformed(what, 'expected NULL without contents');
  reader.finish();
}

function parsePssParameters(outer: DerReader, what: string): SignatureScheme {
  const reader = outer.enter(TAG.SEQUENCE, 'parameters');
  outer.finish();
  const hash = parseHash(reader.optional(constructed(0), 'hashAlgorithm')?.content, what);
  const mask = reader.optional(constructed(1), 'maskGenAlgorithm')?.content;
  const salt = reader.optional(constructed(2), 'saltLength')?.content;
  const trailer = reader.optional(constructed(3), 'trailerField')?.content;
  reader.finish();
  if (mask === undefined || parseMask(mask, what) !== hash) {
    throw new PkiError('unsupported', `decode ${what}: expected MGF1 with the digest of the message, got another mask`);
  }
  if (trailer !== undefined && !equalBytes(trailer, integer(1))) {
    throw new PkiError('unsupported', `decode ${what}: expected trailer field 1, got another`);
  }
  const saltLength = salt === undefined ? 20 : smallInteger(inner(salt, TAG.INTEGER, what), what);
  return { kind: 'rsapss', hash, saltLength };
}

function parseHash(content: Uint8Array | undefined, what: string): HashName {
  // The default of RFC 4055 is SHA-1, which is refused.
  const dotted = content === undefined ? 'SHA-1' : algorithmOid(content, what);
  const hash = hashOfOid(dotted);
  if (hash === undefined)
    throw new PkiError('unsupported', `decode ${what}: expected SHA-256, -384 or -512, got ${dotted}`);
  return hash;
}

function parseMask(content: Uint8Array, what: string): HashName {
  const reader = openDer(content, TAG.SEQUENCE, what);
  const dotted = oidValue(reader.take(TAG.OID, 'maskGenAlgorithm').content, what);
  if (dotted !== ALGORITHM.mgf1) throw new PkiError('unsupported', `decode ${what}: expected MGF1, got ${dotted}`);
  const hash = parseHash(reader.take(TAG.SEQUENCE, 'hashAlgorithm').bytes, what);
  reader.finish();
  return hash;
}

/** The object identifier of an AlgorithmIdentifier whose parameters are absent or NULL. */
export function algorithmOid(der: Uint8Array, what: string): string {
  const reader = openDer(der, TAG.SEQUENCE, what);
  const dotted = oidValue(reader.take(TAG.OID, 'algorithm').content, what);
  if (!reader.done) assertNull(reader, what);
  return dotted;
}

function inner(der: Uint8Array, tag: number, what: string): Uint8Array {
  const reader = new DerReader(der, what);
  const { content } = reader.take(tag, '');
  reader.finish();
  return content;
}

/**
 * Reads a SubjectPublicKeyInfo.
 * Throws {@link PkiError} `unsupported` for other algorithms, for curves that are not named, and for RSA keys under 2048 or over
 * 8192 bits or of a length that is no multiple of eight; `malformed` where it is no SubjectPublicKeyInfo.
 */
export function parsePublicKey(spki: Uint8Array, what = 'SubjectPublicKeyInfo'): PublicKeyInfo {
  const reader = openDer(spki, TAG.SEQUENCE, what);
  const algorithm = reader.take(TAG.SEQUENCE, 'algorithm');
  const key = octetsOfBitString(reader.take(TAG.BIT_STRING, 'subjectPublicKey').content, what);
  reader.finish();
  const parameters = new DerReader(algorithm.content, what);
  const dotted = oidValue(parameters.take(TAG.OID, 'algorithm').content, what);
  switch (dotted) {
    case ALGORITHM.ecPublicKey:
      return { kind: 'ec', curve: namedCurve(parameters, key, what) };
    case ALGORITHM.rsaEncryption:
      assertNull(parameters, what);
      return { kind: 'rsa', bits: rsaBits(key, what) };
    case ALGORITHM.rsassaPss:
      return { kind: 'rsa', bits: rsaBits(key, what), ...pssRestriction(algorithm.bytes, parameters, what) };
    case ALGORITHM.ed25519:
      parameters.finish();
      if (key.length !== 32) throw malformed(what, `expected 32 bytes of an Ed25519 key, got ${key.length}`);
      return { kind: 'ed25519' };
    default:
      return mlDsaKey(dotted, parameters, key, what);
  }
}

function mlDsaKey(dotted: string, parameters: DerReader, key: Uint8Array, what: string): PublicKeyInfo {
  const set = mlDsaSetOf(dotted);
  if (set === undefined) {
    throw new PkiError('unsupported', `decode ${what}: expected an EC, RSA, Ed25519 or ML-DSA key, got ${dotted}`);
  }
  parameters.finish();
  if (key.length === ML_DSA_KEY[set]) return { kind: 'ml-dsa', set };
  throw malformed(what, `expected ${ML_DSA_KEY[set]} bytes of an ML-DSA-${set} key, got ${key.length}`);
}

function mlDsaSetOf(dotted: string): MlDsaSet | undefined {
  return mlDsaSets.find((set) => ALGORITHM_OF_ML_DSA[set] === dotted);
}

function namedCurve(parameters: DerReader, point: Uint8Array, what: string): CurveName {
  if (parameters.tag !== TAG.OID)
    throw new PkiError('unsupported', `decode ${what}: expected a named curve, got another form`);
  const dotted = oidValue(parameters.take(TAG.OID, 'namedCurve').content, what);
  parameters.finish();
  const curve = curveNames.find((name) => ALGORITHM_OF_CURVE[name] === dotted);
  if (curve === undefined)
    throw new PkiError('unsupported', `decode ${what}: expected P-256, P-384 or P-521, got ${dotted}`);
  if (point[0] !== 4 || point.length !== 1 + 2 * COORDINATE_LENGTH[curve]) {
    throw new PkiError('unsupported', `decode ${what}: expected an uncompressed point on ${curve}, got another form`);
  }
  return curve;
}

function rsaBits(key: Uint8Array, what: string): number {
  const reader = openDer(key, TAG.SEQUENCE, what);
  const modulus = integerValue(reader.take(TAG.INTEGER, 'modulus').content, what);
  const exponent = integerValue(reader.take(TAG.INTEGER, 'publicExponent').content, what);
  reader.finish();
  const bits = modulus > 0n ? modulus.toString(2).length : 0;
  if (bits < 2048 || bits > 8192 || bits % 8 !== 0) {
    throw new PkiError(
      'unsupported',
      `decode ${what}: expected an RSA modulus of 2048 to 8192 bits, a multiple of 8, got ${bits}`,
    );
  }
  // A small or even exponent is either weak or not RSA; a huge one only costs the verifier time.
  if (exponent < 3n || exponent % 2n === 0n || exponent > 1n << 64n) {
    throw new PkiError('unsupported', `decode ${what}: expected an odd RSA exponent of 3 to 2^64, got ${exponent}`);
  }
  return bits;
}

function pssRestriction(identifier: Uint8Array, parameters: DerReader, what: string): { scheme?: SignatureScheme } {
  return parameters.done ? {} : { scheme: parseSignatureIdentifier(identifier, what) };
}

/** The same RSA key under the identifier rsaEncryption, which is the one that WebCrypto imports. */
export function plainRsa(spki: Uint8Array): Uint8Array {
  const reader = openDer(spki, TAG.SEQUENCE, 'SubjectPublicKeyInfo');
  reader.take(TAG.SEQUENCE, 'algorithm');
  return sequence(sequence(oid(ALGORITHM.rsaEncryption), nul()), reader.take(TAG.BIT_STRING, 'subjectPublicKey').bytes);
}

/** The key kind in a PKCS#8 PrivateKeyInfo, and the scheme that its identifier implies. Throws {@link PkiError}. */
export function importKind(pkcs8: Uint8Array): { readonly key: PublicKeyInfo; readonly scheme: SignatureScheme } {
  const what = 'PrivateKeyInfo';
  const { identifier } = openPkcs8(pkcs8);
  const reader = new DerReader(identifier.content, what);
  const dotted = oidValue(reader.take(TAG.OID, 'algorithm').content, what);
  switch (dotted) {
    case ALGORITHM.ed25519:
      return { key: { kind: 'ed25519' }, scheme: { kind: 'ed25519' } };
    case ALGORITHM.rsaEncryption:
      return { key: { kind: 'rsa', bits: 0 }, scheme: { kind: 'rsassa', hash: 'sha256' } };
    case ALGORITHM.rsassaPss:
      return { key: { kind: 'rsa', bits: 0 }, scheme: pssOfKey(identifier.bytes, reader) };
    case ALGORITHM.ecPublicKey:
      return ecPrivateKind(oidValue(reader.take(TAG.OID, 'namedCurve').content, what));
    default: {
      const set = mlDsaSetOf(dotted);
      if (set !== undefined) return { key: { kind: 'ml-dsa', set }, scheme: { kind: 'ml-dsa', set } };
      throw new PkiError('unsupported', `decode ${what}: expected an EC, RSA, Ed25519 or ML-DSA key, got ${dotted}`);
    }
  }
}

function pssOfKey(identifier: Uint8Array, parameters: DerReader): SignatureScheme {
  return parameters.done
    ? { kind: 'rsapss', hash: 'sha256', saltLength: 32 }
    : parseSignatureIdentifier(identifier, 'PrivateKeyInfo');
}

function ecPrivateKind(dotted: string): { key: PublicKeyInfo; scheme: SignatureScheme } {
  if (dotted === ALGORITHM.p256) return ecdsa('P-256', 'sha256');
  if (dotted === ALGORITHM.p384) return ecdsa('P-384', 'sha384');
  if (dotted === ALGORITHM.p521) return ecdsa('P-521', 'sha512');
  throw new PkiError('unsupported', `decode PrivateKeyInfo: expected P-256, P-384 or P-521, got ${dotted}`);
}

/** PrivateKeyInfo as WebCrypto takes it: id-RSASSA-PSS becomes rsaEncryption. */
export function pkcs8ForImport(pkcs8: Uint8Array): Uint8Array {
  const { identifier, privateKey } = openPkcs8(pkcs8);
  const reader = new DerReader(identifier.content, 'PrivateKeyInfo');
  if (oidValue(reader.take(TAG.OID, 'algorithm').content, 'PrivateKeyInfo') !== ALGORITHM.rsassaPss) return pkcs8;
  return sequence(integer(0), sequence(oid(ALGORITHM.rsaEncryption), nul()), privateKey);
}

/** Returns `pkcs8` where it is a PrivateKeyInfo. Throws {@link PkiError} `malformed`. */
export function parsePkcs8(pkcs8: Uint8Array): Uint8Array {
  openPkcs8(pkcs8);
  return pkcs8;
}

function openPkcs8(pkcs8: Uint8Array): { identifier: Tlv; privateKey: Uint8Array } {
  const reader = openDer(pkcs8, TAG.SEQUENCE, 'PrivateKeyInfo');
  smallInteger(reader.take(TAG.INTEGER, 'version').content, 'PrivateKeyInfo/version');
  const identifier = reader.take(TAG.SEQUENCE, 'privateKeyAlgorithm');
  return { identifier, privateKey: reader.take(TAG.OCTET_STRING, 'privateKey').bytes };
}

/** ECDSA-Sig-Value from the two numbers side by side that WebCrypto gives. */
export function ecdsaToDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  return sequence(unsigned(raw.subarray(0, half)), unsigned(raw.subarray(half)));
}

function unsigned(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((octet) => octet !== 0);
  const digits = start < 0 ? Uint8Array.of(0) : bytes.subarray(start);
  return tlv(TAG.INTEGER, (digits[0] ?? 0) & 0x80 ? concat(Uint8Array.of(0), digits) : digits);
}

/** The two numbers side by side, each `length` bytes, from an ECDSA-Sig-Value; undefined where they do not fit. */
export function ecdsaFromDer(der: Uint8Array, length: number): Uint8Array | undefined {
  const reader = openDer(der, TAG.SEQUENCE, 'ECDSA-Sig-Value');
  const numbers = [reader.take(TAG.INTEGER, 'r').content, reader.take(TAG.INTEGER, 's').content];
  reader.finish();
  const raw = new Uint8Array(2 * length);
  for (const [i, content] of numbers.entries()) {
    if (integerValue(content, 'ECDSA-Sig-Value') <= 0n) return undefined;
    const digits = content[0] === 0 ? content.subarray(1) : content;
    if (digits.length > length) return undefined;
    raw.set(digits, (i + 1) * length - digits.length);
  }
  return raw;
}

const hashNames = ['sha256', 'sha384', 'sha512'] as const satisfies readonly HashName[];
const mlDsaSets = [44, 65, 87] as const satisfies readonly MlDsaSet[];
const curveNames = ['P-256', 'P-384', 'P-521'] as const satisfies readonly CurveName[];

/** The raw key of an ML-DSA SubjectPublicKeyInfo that {@link parsePublicKey} accepted. */
export function rawPublicKey(spki: Uint8Array): Uint8Array {
  const reader = openDer(spki, TAG.SEQUENCE, 'SubjectPublicKeyInfo');
  reader.take(TAG.SEQUENCE, 'algorithm');
  return octetsOfBitString(reader.take(TAG.BIT_STRING, 'subjectPublicKey').content, 'SubjectPublicKeyInfo');
}
