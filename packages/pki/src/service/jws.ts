/** Signed requests of ACME: flattened JSON Web Signatures (RFC 7515, RFC 8555 section 6.2) and the keys in them (RFC 7517, RFC 7638). */
import { createHash, createHmac, createPublicKey, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import { AcmeProblem } from './acme-problem.js';
import { isObject, type JsonObject, parseJsonObject } from './json.js';

/** A JWS that was read; nobody has checked its signature. */
export interface Jws {
  /** The protected header. */
  readonly header: JsonObject;
  /** The payload's bytes; none in a POST-as-GET. */
  readonly payload: Uint8Array;
  /** What the signature is over. */
  readonly signedText: string;
  /** The signature's bytes. */
  readonly signature: Uint8Array;
}

/** A public key that signs requests. */
export interface AccountKey {
  /** The members that make the key, and no others. */
  readonly jwk: JsonObject;
  /** SHA-256 of the canonical JWK, base64url (RFC 7638). */
  readonly thumbprint: string;
  /** For node:crypto. */
  readonly key: KeyObject;
}

/** The signature algorithms that are taken. */
const JWS_ALGORITHMS = ['ES256', 'ES384', 'ES512', 'EdDSA', 'RS256'] as const;

const MAX_JWS = 128 << 10;

/** Reads a flattened JWS of at most 128 KiB. Throws {@link AcmeProblem} `malformed`. */
export function parseJws(body: Uint8Array): Jws {
  if (body.length > MAX_JWS) throw new AcmeProblem('malformed', `expected a JWS of at most ${MAX_JWS} bytes`);
  return jwsOf(parseJsonObject(body));
}

/** A JWS inside another's payload. Throws {@link AcmeProblem} `malformed`. */
export function jwsOf(value: unknown): Jws {
  if (!isObject(value)) throw new AcmeProblem('malformed', 'expected a JWS object');
  // RFC 8555 6.2: no unprotected header, no more signatures than one.
  if ('header' in value || 'signatures' in value) {
    throw new AcmeProblem('malformed', 'expected a flattened JWS with a protected header alone');
  }
  const { protected: head, payload, signature } = value;
  if (typeof head !== 'string' || typeof payload !== 'string' || typeof signature !== 'string') {
    throw new AcmeProblem('malformed', 'expected protected, payload and signature');
  }
  const header = parseJsonObject(fromBase64url(head));
  if ('crit' in header || 'b64' in header)
    throw new AcmeProblem('malformed', 'expected no crit and no b64 in the header');
  return {
    header,
    payload: fromBase64url(payload),
    signedText: `${head}.${payload}`,
    signature: fromBase64url(signature),
  };
}

/** Bytes of base64url without padding. Throws {@link AcmeProblem} `malformed`. */
export function fromBase64url(text: string): Uint8Array {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) {
    throw new AcmeProblem('malformed', 'expected base64url without padding');
  }
  const bytes = Buffer.from(text, 'base64url');
  // The last character may have bits that belong to no byte: there would be several texts for the same bytes.
  if (bytes.toString('base64url') !== text) throw new AcmeProblem('malformed', 'expected canonical base64url');
  return new Uint8Array(bytes);
}

/** Base64url without padding. */
export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

/** Opens a JWK. Throws {@link AcmeProblem} `badPublicKey` for a key of another kind, a private or a weak one. */
export function openJwk(value: unknown): AccountKey {
  if (!isObject(value)) throw new AcmeProblem('malformed', 'expected a JWK object');
  const names = typeof value.kty === 'string' && Object.hasOwn(MEMBERS, value.kty) ? MEMBERS[value.kty] : undefined;
  if (names === undefined) throw new AcmeProblem('badPublicKey', 'expected an EC, OKP or RSA key');
  if ('d' in value || 'k' in value) throw new AcmeProblem('badPublicKey', 'expected a public key, got a private one');
  const pairs = names.map((name): [string, unknown] => [name, value[name]]);
  if (pairs.some(([, member]) => typeof member !== 'string'))
    throw new AcmeProblem('badPublicKey', `expected ${names.join(', ')}`);
  const jwk = Object.fromEntries(pairs);
  const key = keyObject(jwk);
  // A number has one text here: a key with a leading zero, or with bits that belong to no byte, would be another account's.
  const canonical: JsonObject = { ...key.export({ format: 'jwk' }) };
  if (names.some((name) => canonical[name] !== jwk[name]))
    throw new AcmeProblem('badPublicKey', 'expected numbers in their shortest form and canonical base64url');
  const thumbprint = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
  return { jwk, thumbprint, key };
}

/** The members of each kind in the order of RFC 7638. */
const MEMBERS: Readonly<Partial<Record<string, readonly string[]>>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
};

function keyObject(jwk: JsonObject): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    throw new AcmeProblem('badPublicKey', 'expected a valid key');
  }
  const { modulusLength = 2048 } = key.asymmetricKeyDetails ?? {};
  if (modulusLength < 2048 || modulusLength > 8192) {
    throw new AcmeProblem('badPublicKey', `expected an RSA key of 2048 to 8192 bits, got ${modulusLength}`);
  }
  if (!Object.values(KEY_TYPE).some((each) => isOfType(key, each)))
    throw new AcmeProblem('badPublicKey', 'expected a known curve');
  return key;
}

interface KeyType {
  readonly type: string;
  readonly curve?: string;
  readonly hash: string | null;
}

const KEY_TYPE: Readonly<Record<(typeof JWS_ALGORITHMS)[number], KeyType>> = {
  ES256: { type: 'ec', curve: 'prime256v1', hash: 'sha256' },
  ES384: { type: 'ec', curve: 'secp384r1', hash: 'sha384' },
  ES512: { type: 'ec', curve: 'secp521r1', hash: 'sha512' },
  EdDSA: { type: 'ed25519', hash: null },
  RS256: { type: 'rsa', hash: 'sha256' },
};

function isOfType(key: KeyObject, { type, curve }: KeyType): boolean {
  return key.asymmetricKeyType === type && (curve === undefined || key.asymmetricKeyDetails?.namedCurve === curve);
}

/** Checks a signature. Throws {@link AcmeProblem} `badSignatureAlgorithm`, or `malformed` where it does not verify. */
export function verifyJws(jws: Jws, { key }: AccountKey): void {
  const name = JWS_ALGORITHMS.find((each) => each === jws.header.alg);
  if (name === undefined) {
    throw new AcmeProblem('badSignatureAlgorithm', `expected one of ${JWS_ALGORITHMS.join(', ')}`, {
      algorithms: JWS_ALGORITHMS,
    });
  }
  const type = KEY_TYPE[name];
  const data = Buffer.from(jws.signedText);
  const isGood = isOfType(key, type) && verify(type.hash, data, { key, dsaEncoding: 'ieee-p1363' }, jws.signature);
  if (!isGood) throw new AcmeProblem('malformed', 'expected a signature that verifies', {}, 400);
}

/** Checks the MAC of an external account binding (RFC 8555 section 7.3.4). */
export function isBoundBy(jws: Jws, macKey: Uint8Array): boolean {
  const expected = createHmac('sha256', macKey).update(jws.signedText).digest();
  return (
    jws.header.alg === 'HS256' && expected.length === jws.signature.length && timingSafeEqual(expected, jws.signature)
  );
}
