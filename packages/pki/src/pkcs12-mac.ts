/** Keys and MACs of PKCS#12 from a passphrase (RFC 7292 appendix B, RFC 9579 for PBMAC1). */
import { hmac } from '@noble/hashes/hmac.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { pbkdf2Async } from '@noble/hashes/pbkdf2.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { algorithmOid } from './algorithm.js';
import { concat, equalBytes, randomBytes } from './bytes.js';
import {
  type DerReader,
  integer,
  nul,
  octetString,
  oid,
  oidValue,
  openDer,
  sequence,
  smallInteger,
  TAG,
} from './der.js';
import { malformed, PkiError } from './error.js';
import { ALGORITHM, OCSP } from './oid.js';

const HASHES = { sha1, sha256, sha384, sha512 } as const;
type MacHash = keyof typeof HASHES;
const HASH_OF: Readonly<Record<string, MacHash>> = {
  [OCSP.sha1]: 'sha1',
  [ALGORITHM.sha256]: 'sha256',
  [ALGORITHM.sha384]: 'sha384',
  [ALGORITHM.sha512]: 'sha512',
};
const HMAC_OF: Readonly<Record<string, MacHash>> = {
  [ALGORITHM.hmacWithSha1]: 'sha1',
  [ALGORITHM.hmacWithSha256]: 'sha256',
  [ALGORITHM.hmacWithSha384]: 'sha384',
  [ALGORITHM.hmacWithSha512]: 'sha512',
};
const PBMAC1 = '1.2.840.113549.1.5.14';
/** The number is the sender's, the time is ours; this derivation runs in JavaScript. */
const MAX_ITERATIONS = 2_000_000;
const MAX_SALT = 1024;

/** What a derived key is for (RFC 7292 appendix B.3). */
export const PURPOSE = { key: 1, iv: 2, mac: 3 } as const;

/** A passphrase as the derivation of PKCS#12 wants it: UTF-16 with two zero bytes behind it. */
export function bmpPassphrase(text: string): Uint8Array {
  const bytes = new Uint8Array(2 * text.length + 2);
  for (let i = 0; i < text.length; i++) {
    bytes[2 * i] = text.charCodeAt(i) >> 8;
    bytes[2 * i + 1] = text.charCodeAt(i) & 0xff;
  }
  return bytes;
}

/** The derivation of appendix B.2: `length` bytes for a purpose. */
export function derivePkcs12(
  hash: MacHash,
  passphrase: Uint8Array,
  { salt, iterations, purpose, length }: { salt: Uint8Array; iterations: number; purpose: number; length: number },
): Uint8Array {
  const { blockLen } = HASHES[hash];
  const diversifier = new Uint8Array(blockLen).fill(purpose);
  const input = concat(repeated(salt, blockLen), repeated(passphrase, blockLen));
  const output = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    let block: Uint8Array = HASHES[hash](concat(diversifier, input));
    for (let i = 1; i < iterations; i++) block = HASHES[hash](block);
    output.set(block.subarray(0, length - done), done);
    done += block.length;
    for (let start = 0; start < input.length; start += blockLen) {
      addPlusOne(input.subarray(start, start + blockLen), repeated(block, blockLen));
    }
  }
  input.fill(0);
  return output;
}

/** `bytes` over and over up to the next multiple of `block`. */
function repeated(bytes: Uint8Array, block: number): Uint8Array {
  const length = bytes.length === 0 ? 0 : block * Math.ceil(bytes.length / block);
  return Uint8Array.from({ length }, (_, i) => bytes[i % bytes.length] ?? 0);
}

/** target = target + addend + 1, as big-endian numbers. */
function addPlusOne(target: Uint8Array, addend: Uint8Array): void {
  let carry = 1;
  for (let i = target.length - 1; i >= 0; i--) {
    carry += (target[i] ?? 0) + (addend[i] ?? 0);
    target[i] = carry & 0xff;
    carry >>= 8;
  }
}

/** MacData DER over `content`: HMAC-SHA-256 with a key of appendix B. */
export function buildMac(content: Uint8Array, passphrase: string, iterations: number): Uint8Array {
  const salt = randomBytes(16);
  const key = derivePkcs12('sha256', bmpPassphrase(passphrase), { salt, iterations, purpose: PURPOSE.mac, length: 32 });
  const digest = hmac(sha256, key, content);
  key.fill(0);
  const identifier = sequence(oid(ALGORITHM.sha256), nul());
  return sequence(sequence(identifier, octetString(digest)), octetString(salt), integer(iterations));
}

/** MacData DER over `content` as PBMAC1: PBKDF2 and HMAC, both with SHA-256 (RFC 9579). */
export async function buildPbmac1(content: Uint8Array, passphrase: string, iterations: number): Promise<Uint8Array> {
  const salt = randomBytes(16);
  const key = await pbkdf2Async(sha256, passphrase, salt, { c: iterations, dkLen: 32 });
  const digest = hmac(sha256, key, content);
  key.fill(0);
  const prf = sequence(oid(ALGORITHM.hmacWithSha256), nul());
  const derivation = sequence(
    oid(ALGORITHM.pbkdf2),
    sequence(octetString(salt), integer(iterations), integer(32), prf),
  );
  const identifier = sequence(oid(PBMAC1), sequence(derivation, prf));
  // RFC 9579 section 5: the fields of the older MAC are there and mean nothing.
  return sequence(
    sequence(identifier, octetString(digest)),
    octetString(new TextEncoder().encode('NOT USED')),
    integer(1),
  );
}

/**
 * Checks MacData. SHA-1 is accepted only where `legacy` is true.
 * Throws {@link PkiError}: `malformed`, `unsupported`, `wrong-passphrase`.
 */
export async function checkMac(
  macData: DerReader,
  content: Uint8Array,
  passphrase: string,
  legacy: boolean,
): Promise<void> {
  const digestInfo = macData.enter(TAG.SEQUENCE, 'mac');
  const identifier = digestInfo.take(TAG.SEQUENCE, 'digestAlgorithm').bytes;
  const digest = digestInfo.take(TAG.OCTET_STRING, 'digest').content;
  digestInfo.finish();
  const salt = macData.take(TAG.OCTET_STRING, 'macSalt').content;
  const iterations = macData.done ? 1 : smallInteger(macData.take(TAG.INTEGER, 'iterations').content, 'iterations');
  macData.finish();
  const expected = await macOf(identifier, { salt, iterations }, content, passphrase, legacy);
  if (equalBytes(digest, expected)) return;
  throw new PkiError(
    'wrong-passphrase',
    'open PKCS#12: expected the passphrase of its MAC, got another, or changed contents',
  );
}

async function macOf(
  identifier: Uint8Array,
  older: { readonly salt: Uint8Array; readonly iterations: number },
  content: Uint8Array,
  passphrase: string,
  legacy: boolean,
): Promise<Uint8Array> {
  const reader = openDer(identifier, TAG.SEQUENCE, 'digestAlgorithm');
  if (oidValue(reader.take(TAG.OID, 'algorithm').content, 'digestAlgorithm') === PBMAC1) {
    const parameters = reader.enter(TAG.SEQUENCE, 'PBMAC1-params');
    reader.finish();
    return pbmac1(parameters, content, passphrase);
  }
  const hash = HASH_OF[algorithmOid(identifier, 'digestAlgorithm')];
  if (hash === undefined) throw new PkiError('unsupported', 'open PKCS#12: expected a MAC with SHA-2, got another');
  if (hash === 'sha1' && !legacy) throw needsLegacy('a MAC with SHA-1');
  assertWork(older.iterations, older.salt);
  const length = HASHES[hash].outputLen;
  const key = derivePkcs12(hash, bmpPassphrase(passphrase), { ...older, purpose: PURPOSE.mac, length });
  return hmac(HASHES[hash], key, content);
}

async function pbmac1(parameters: DerReader, content: Uint8Array, passphrase: string): Promise<Uint8Array> {
  const derivation = parameters.enter(TAG.SEQUENCE, 'keyDerivationFunc');
  const mac = parameters.take(TAG.SEQUENCE, 'messageAuthScheme').bytes;
  parameters.finish();
  if (oidValue(derivation.take(TAG.OID, 'algorithm').content, 'keyDerivationFunc') !== ALGORITHM.pbkdf2) {
    throw new PkiError('unsupported', 'open PKCS#12: expected PBMAC1 with PBKDF2, got another derivation');
  }
  const pbkdf2 = derivation.enter(TAG.SEQUENCE, 'PBKDF2-params');
  derivation.finish();
  const salt = pbkdf2.take(TAG.OCTET_STRING, 'salt').content;
  const iterations = smallInteger(pbkdf2.take(TAG.INTEGER, 'iterationCount').content, 'iterationCount');
  const dkLen = smallInteger(pbkdf2.take(TAG.INTEGER, 'keyLength').content, 'keyLength');
  const prf = HMAC_OF[algorithmOid(pbkdf2.take(TAG.SEQUENCE, 'prf').bytes, 'prf')];
  pbkdf2.finish();
  const hash = HMAC_OF[algorithmOid(mac, 'messageAuthScheme')];
  assertWork(iterations, salt);
  if (hash === undefined || prf === undefined)
    throw new PkiError('unsupported', 'open PKCS#12: expected HMAC with SHA, got another');
  if (dkLen < 20 || dkLen > 64) throw malformed('PBMAC1-params', `expected a key of 20 to 64 bytes, got ${dkLen}`);
  return hmac(HASHES[hash], await pbkdf2Async(HASHES[prf], passphrase, salt, { c: iterations, dkLen }), content);
}

/** Bounds what a file may cost. Throws {@link PkiError} `unsupported`. */
export function assertWork(iterations: number, salt: Uint8Array): void {
  if (iterations >= 1 && iterations <= MAX_ITERATIONS && salt.length <= MAX_SALT) return;
  throw new PkiError('unsupported', `open PKCS#12: expected 1 to ${MAX_ITERATIONS} rounds, got ${iterations}`);
}

/** The refusal of something that was good once. */
export function needsLegacy(what: string): PkiError {
  return new PkiError('unsupported', `open PKCS#12: expected no ${what}, which only the option legacy admits`);
}
