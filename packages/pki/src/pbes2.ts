/** Encryption under a passphrase: PBES2 with PBKDF2 or scrypt and AES (RFC 8018 section 6.2, RFC 7914 section 7, RFC 5084). */
import { scryptAsync } from '@noble/hashes/scrypt.js';
import { algorithmOid } from './algorithm.js';
import { randomBytes } from './bytes.js';
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
import { ALGORITHM } from './oid.js';

/** How secrets are encrypted under a passphrase. */
export interface EncryptionOptions {
  /** How the passphrase becomes a key; `pbkdf2` (HMAC-SHA-256) without it. */
  readonly derivation?: 'pbkdf2' | 'scrypt';
  /** `aes-256-cbc` without it, which everything opens; `aes-256-gcm` also tells tampering, but OpenSSL 3.0 does not open it. */
  readonly cipher?: 'aes-256-cbc' | 'aes-256-gcm';
  /** Rounds of PBKDF2; 600,000 without it. */
  readonly iterations?: number;
}

/** A passphrase as text, or as its bytes in UTF-8, which the caller can wipe. */
export type Passphrase = string | Uint8Array;

/** The work factor of new files, as OWASP advised for PBKDF2 with HMAC-SHA-256 in 2023. */
const ITERATIONS = 600_000;
/** A file that asks for more is refused: the number is the sender's, the time is ours. */
const MAX_ITERATIONS = 10_000_000;
/** The same advice for scrypt, in the form with the least memory: OpenSSL gives a key of a file at most 32 MB. */
const SCRYPT = { N: 1 << 14, r: 8, p: 5 } as const;
/** Bytes of memory (256 MiB and what goes with them), and rounds over all of it, that a file may ask for. */
const MAX_SCRYPT_MEMORY = (1 << 28) + (1 << 20);
const MAX_SCRYPT_WORK = 1 << 24;

const PRF: Readonly<Record<string, string>> = {
  // HMAC is sound with SHA-1, and it is the default of the standard; new files have SHA-256.
  [ALGORITHM.hmacWithSha1]: 'SHA-1',
  [ALGORITHM.hmacWithSha256]: 'SHA-256',
  [ALGORITHM.hmacWithSha384]: 'SHA-384',
  [ALGORITHM.hmacWithSha512]: 'SHA-512',
};
const CIPHERS: Readonly<Record<string, { readonly name: 'AES-CBC' | 'AES-GCM'; readonly keyLength: number }>> = {
  [ALGORITHM.aes128Cbc]: { name: 'AES-CBC', keyLength: 16 },
  [ALGORITHM.aes192Cbc]: { name: 'AES-CBC', keyLength: 24 },
  [ALGORITHM.aes256Cbc]: { name: 'AES-CBC', keyLength: 32 },
  [ALGORITHM.aes128Gcm]: { name: 'AES-GCM', keyLength: 16 },
  [ALGORITHM.aes192Gcm]: { name: 'AES-GCM', keyLength: 24 },
  [ALGORITHM.aes256Gcm]: { name: 'AES-GCM', keyLength: 32 },
};

type Derivation =
  | { readonly kind: 'pbkdf2'; readonly salt: Uint8Array; readonly iterations: number; readonly prf: string }
  | { readonly kind: 'scrypt'; readonly salt: Uint8Array; readonly N: number; readonly r: number; readonly p: number };

interface Cipher {
  readonly name: 'AES-CBC' | 'AES-GCM';
  readonly keyLength: number;
  readonly iv: Uint8Array;
  /** Bytes of GCM's tag. */
  readonly tagLength: number;
}

/** What was encrypted, with the AlgorithmIdentifier (DER) that says how. */
export interface Encrypted {
  /** AlgorithmIdentifier DER: id-PBES2 with its parameters. */
  readonly identifier: Uint8Array;
  /** The encrypted bytes. */
  readonly data: Uint8Array;
}

/** Encrypts under a passphrase. Throws {@link PkiError} `bad-input` for an empty passphrase or too little work. */
export async function encryptPbes2(
  plain: Uint8Array,
  passphrase: Passphrase,
  options: EncryptionOptions = {},
): Promise<Encrypted> {
  if (passphrase.length === 0) throw new PkiError('bad-input', 'encrypt: expected a passphrase, got an empty one');
  const derivation = newDerivation(options);
  const isGcm = options.cipher === 'aes-256-gcm';
  const cipher = isGcm
    ? ({ name: 'AES-GCM', keyLength: 32, iv: randomBytes(12), tagLength: 16 } as const)
    : ({ name: 'AES-CBC', keyLength: 32, iv: randomBytes(16), tagLength: 0 } as const);
  const key = await deriveKey(passphrase, derivation, cipher, 'encrypt');
  const data = await globalThis.crypto.subtle.encrypt(parametersOf(cipher), key, plain.slice());
  return { identifier: encodeIdentifier(derivation, cipher), data: new Uint8Array(data) };
}

function newDerivation({ derivation = 'pbkdf2', iterations = ITERATIONS }: EncryptionOptions): Derivation {
  const salt = randomBytes(16);
  if (derivation === 'scrypt') return { kind: 'scrypt', salt, ...SCRYPT };
  if (Number.isInteger(iterations) && iterations >= 10_000 && iterations <= MAX_ITERATIONS) {
    return { kind: 'pbkdf2', salt, iterations, prf: 'SHA-256' };
  }
  throw new PkiError('bad-input', `encrypt: expected 10000 to ${MAX_ITERATIONS} rounds, got ${iterations}`);
}

/**
 * Decrypts what {@link encryptPbes2} and other software encrypted.
 * Throws {@link PkiError}: `malformed`, `unsupported` for other schemes and for too much work, `wrong-passphrase`.
 */
export async function decryptPbes2({ identifier, data }: Encrypted, passphrase: Passphrase): Promise<Uint8Array> {
  const { derivation, cipher } = parseIdentifier(identifier);
  const key = await deriveKey(passphrase, derivation, cipher, 'decrypt');
  try {
    return new Uint8Array(await globalThis.crypto.subtle.decrypt(parametersOf(cipher), key, data.slice()));
  } catch (cause) {
    throw new PkiError(
      'wrong-passphrase',
      'decrypt: expected the passphrase that it was encrypted under, got another',
      cause,
    );
  }
}

function parametersOf({ name, iv, tagLength }: Cipher) {
  return name === 'AES-CBC' ? { name, iv: iv.slice() } : { name, iv: iv.slice(), tagLength: tagLength * 8 };
}

async function deriveKey(passphrase: Passphrase, derivation: Derivation, cipher: Cipher, use: 'encrypt' | 'decrypt') {
  const bytes = typeof passphrase === 'string' ? new TextEncoder().encode(passphrase) : passphrase.slice();
  let secret: Uint8Array<ArrayBuffer> | undefined;
  try {
    secret = await derive(bytes, derivation, cipher.keyLength);
    return await globalThis.crypto.subtle.importKey('raw', secret, cipher.name, false, [use]);
  } finally {
    bytes.fill(0);
    secret?.fill(0);
  }
}

async function derive(
  passphrase: Uint8Array<ArrayBuffer>,
  derivation: Derivation,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  if (derivation.kind === 'scrypt') {
    const { N, r, p, salt } = derivation;
    return (await scryptAsync(passphrase, salt, { N, r, p, dkLen: length, maxmem: MAX_SCRYPT_MEMORY })).slice();
  }
  const { subtle } = globalThis.crypto;
  const secret = await subtle.importKey('raw', passphrase, 'PBKDF2', false, ['deriveBits']);
  const { iterations, prf, salt } = derivation;
  const parameters = { name: 'PBKDF2', salt: salt.slice(), iterations, hash: prf };
  return new Uint8Array(await subtle.deriveBits(parameters, secret, length * 8));
}

function encodeIdentifier(derivation: Derivation, cipher: Cipher): Uint8Array {
  const parameters =
    cipher.name === 'AES-CBC'
      ? sequence(oid(ALGORITHM.aes256Cbc), octetString(cipher.iv))
      : sequence(oid(ALGORITHM.aes256Gcm), sequence(octetString(cipher.iv), integer(cipher.tagLength)));
  return sequence(oid(ALGORITHM.pbes2), sequence(encodeDerivation(derivation), parameters));
}

function encodeDerivation(derivation: Derivation): Uint8Array {
  if (derivation.kind === 'scrypt') {
    const { salt, N, r, p } = derivation;
    return sequence(oid(ALGORITHM.scrypt), sequence(octetString(salt), integer(N), integer(r), integer(p)));
  }
  const prf = sequence(oid(ALGORITHM.hmacWithSha256), nul());
  return sequence(oid(ALGORITHM.pbkdf2), sequence(octetString(derivation.salt), integer(derivation.iterations), prf));
}

function parseIdentifier(identifier: Uint8Array): { readonly derivation: Derivation; readonly cipher: Cipher } {
  const reader = openDer(identifier, TAG.SEQUENCE, 'encryptionAlgorithm');
  const dotted = takeOid(reader);
  if (dotted !== ALGORITHM.pbes2) throw new PkiError('unsupported', `decrypt: expected PBES2, got ${dotted}`);
  const parameters = reader.enter(TAG.SEQUENCE, 'PBES2-params');
  reader.finish();
  const derivation = parseDerivation(parameters.enter(TAG.SEQUENCE, 'keyDerivationFunc'));
  const cipher = parseCipher(parameters.enter(TAG.SEQUENCE, 'encryptionScheme'));
  parameters.finish();
  return { derivation, cipher };
}

function takeOid(reader: DerReader): string {
  return oidValue(reader.take(TAG.OID, 'algorithm').content, 'algorithm');
}

function parseDerivation(reader: DerReader): Derivation {
  const dotted = takeOid(reader);
  const parameters = reader.enter(TAG.SEQUENCE, 'parameters');
  reader.finish();
  if (dotted === ALGORITHM.pbkdf2) return parsePbkdf2(parameters);
  if (dotted === ALGORITHM.scrypt) return parseScrypt(parameters);
  throw new PkiError('unsupported', `decrypt: expected PBKDF2 or scrypt, got ${dotted}`);
}

function parsePbkdf2(parameters: DerReader): Derivation {
  const salt = parameters.take(TAG.OCTET_STRING, 'salt').content;
  const iterations = takeNumber(parameters, 'iterationCount');
  parameters.optional(TAG.INTEGER, 'keyLength');
  const identifier = parameters.optional(TAG.SEQUENCE, 'prf')?.bytes;
  parameters.finish();
  if (iterations < 1 || iterations > MAX_ITERATIONS) {
    throw new PkiError('unsupported', `decrypt: expected 1 to ${MAX_ITERATIONS} rounds, got ${iterations}`);
  }
  const dotted = identifier === undefined ? ALGORITHM.hmacWithSha1 : algorithmOid(identifier, 'prf');
  const prf = PRF[dotted];
  if (prf === undefined) throw new PkiError('unsupported', `decrypt: expected HMAC with SHA, got ${dotted}`);
  return { kind: 'pbkdf2', salt, iterations, prf };
}

function parseScrypt(parameters: DerReader): Derivation {
  const salt = parameters.take(TAG.OCTET_STRING, 'salt').content;
  const N = takeNumber(parameters, 'costParameter');
  const r = takeNumber(parameters, 'blockSize');
  const p = takeNumber(parameters, 'parallelizationParameter');
  parameters.optional(TAG.INTEGER, 'keyLength');
  parameters.finish();
  if (N < 2 || !Number.isInteger(Math.log2(N)) || r < 1 || p < 1) {
    throw malformed('scrypt-params', `expected a power of two and counts, got N ${N}, r ${r}, p ${p}`);
  }
  if ((N + p + 1) * r * 128 > MAX_SCRYPT_MEMORY || N * r * p > MAX_SCRYPT_WORK) {
    throw new PkiError('unsupported', `decrypt: expected at most 256 MiB of scrypt, got N ${N}, r ${r}, p ${p}`);
  }
  return { kind: 'scrypt', salt, N, r, p };
}

function parseCipher(reader: DerReader): Cipher {
  const dotted = takeOid(reader);
  const found = CIPHERS[dotted];
  if (found === undefined) throw new PkiError('unsupported', `decrypt: expected AES-CBC or AES-GCM, got ${dotted}`);
  if (found.name === 'AES-GCM') return { ...found, ...parseGcm(reader) };
  const iv = reader.take(TAG.OCTET_STRING, 'iv').content;
  reader.finish();
  if (iv.length !== 16) throw malformed('encryptionScheme', `expected 16 bytes of IV, got ${iv.length}`);
  return { ...found, iv, tagLength: 0 };
}

/** GCMParameters (RFC 5084 section 3.2), with the nonce that everybody uses. */
function parseGcm(reader: DerReader): Pick<Cipher, 'iv' | 'tagLength'> {
  const parameters = reader.enter(TAG.SEQUENCE, 'GCMParameters');
  reader.finish();
  const iv = parameters.take(TAG.OCTET_STRING, 'nonce').content;
  const tagLength = parameters.done ? 12 : takeNumber(parameters, 'icvLen');
  parameters.finish();
  if (iv.length === 12 && tagLength >= 12 && tagLength <= 16) return { iv, tagLength };
  throw new PkiError(
    'unsupported',
    `decrypt: expected a nonce of 12 and a tag of 12 to 16 bytes, got ${iv.length} and ${tagLength}`,
  );
}

function takeNumber(reader: DerReader, field: string): number {
  return smallInteger(reader.take(TAG.INTEGER, field).content, field);
}
