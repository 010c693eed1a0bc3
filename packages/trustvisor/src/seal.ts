/** Keys derived from the master secret (HKDF, RFC 5869) and blobs sealed under them (AES-256-GCM, NIST SP 800-38D). */
import { createCipheriv, createDecipheriv, createHmac, hash, hkdfSync } from 'node:crypto';
import {
  bytes,
  type Codec,
  constant,
  decode,
  encode,
  type Infer,
  oneOf,
  rest,
  struct,
  u8,
  u32,
  WireError,
} from '@casemate/wire';
import { equal, sha256 } from './digest.js';
import { TrustvisorError } from './error.js';

/** What a key is for; each label gives keys that have nothing to do with those of the others. */
export type KeyLabel =
  | 'utpm endorsement seed'
  | 'utpm owner seed'
  | 'utpm platform seed'
  | 'sealed data'
  | 'sealed data of a signer'
  | 'classic data of a PAL'
  | 'classic data under uPCRs'
  | 'rsa key'
  | 'state'
  | 'history authorization'
  | 'registry'
  | 'registry authorization';

/** Derives 32 bytes from `secret` for `label` and `context`. */
export function deriveKey(secret: Uint8Array, label: KeyLabel, context: Uint8Array): Uint8Array {
  const info = Uint8Array.of(...new TextEncoder().encode(label), 0, ...context);
  return new Uint8Array(hkdfSync('sha256', secret, SALT, info, 32));
}

const SALT = new TextEncoder().encode('casemate trustvisor 1');
const BLOB_LABEL = new TextEncoder().encode('blob\0');
const BLOB_SALT = 32;
/** Bytes of a block of SHA-256. */
const BLOCK = 64;
const TAG = 16;
const NOTHING: Uint8Array = new Uint8Array(0);
/** The largest sealed content, in bytes. */
export const MAX_SEALED = 4 * 1024 * 1024;

/** The first four bytes of a {@link StateBlob}. */
export const STATE_MAGIC = 0x43535431;

/** The first four bytes of a {@link DataBlob}. */
export const DATA_MAGIC = 0x43534431;

/** What a blob of state holds. */
export const STATE_KIND = { SNAPSHOT: 1, REQUEST: 2, REGISTRY: 3, RSA_IDENTITY: 4, RSA_CLASSIC: 5 } as const;

/** A blob of the isolate's own state; `owner` is the PAL's measurement (zeros for the registry). All of it is authenticated. */
export const StateBlob = struct('STATE_BLOB', {
  magic: constant('STATE_MAGIC', u32, STATE_MAGIC),
  kind: oneOf('STATE_KIND', u8, [1, 2, 3, 4, 5]),
  owner: bytes('OWNER', 32),
  salt: bytes('SALT', 32),
  sealed: rest('SEALED', MAX_SEALED),
});

/** The value of the codec of the same name. */
export type StateBlob = Infer<typeof StateBlob>;

/** A blob that a PAL sealed: the uPCRs that must have the digest at release, and the PAL (SHA-256 of uPCR 0) that made it. */
export const DataBlob = struct('DATA_BLOB', {
  magic: constant('DATA_MAGIC', u32, DATA_MAGIC),
  mask: oneOfMasks(),
  release: bytes('DIGEST_AT_RELEASE', 32),
  creation: bytes('DIGEST_AT_CREATION', 32),
  salt: bytes('SALT', 32),
  sealed: rest('SEALED', MAX_SEALED),
});

/** The first four bytes of a {@link PolicyBlob}. */
export const POLICY_MAGIC = 0x43534432;

/**
 * A blob that a PAL sealed under a policy of its own choice: the uPCRs that must have the digest at release, or with `kind` 4 the
 * signer; `securityVersion` is that of the PAL that sealed. What else was given is authenticated too, but not stored.
 */
export const PolicyBlob = struct('POLICY_BLOB', {
  magic: constant('POLICY_MAGIC', u32, POLICY_MAGIC),
  kind: oneOf('POLICY_KIND', u32, [0, 1, 2, 3, 4]),
  mask: u8,
  release: bytes('DIGEST_AT_RELEASE', 32),
  version: u32,
  securityVersion: u32,
  label: bytes('LABEL', 32),
  creation: bytes('DIGEST_AT_CREATION', 32),
  salt: bytes('SALT', 32),
  sealed: rest('SEALED', MAX_SEALED),
});

function oneOfMasks(): Codec<number> {
  return oneOf('UPCR_MASK', u8, [...Array(256).keys()].slice(1));
}

interface Sealed {
  readonly salt: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Bytes that sealing adds to the content of a {@link DataBlob}. */
export const DATA_BLOB_OVERHEAD = 4 + 1 + 32 + 32 + 32 + TAG;

/**
 * What makes the keys of blobs, ready for use: HKDF's pseudorandom key, as the blocks that HMAC under it begins with. To read it in
 * again for each blob would take as long as all the rest of sealing.
 */
export class BlobSecret {
  readonly #inner = new Uint8Array(BLOCK + BLOB_LABEL.length + BLOB_SALT + 1);
  readonly #outer = new Uint8Array(BLOCK + 32);

  /** From 32 bytes, which are not kept. */
  constructor(key: Uint8Array) {
    const extracted = createHmac('sha256', SALT).update(key).digest();
    for (let i = 0; i < BLOCK; i++) {
      this.#inner[i] = (extracted[i] ?? 0) ^ 0x36;
      this.#outer[i] = (extracted[i] ?? 0) ^ 0x5c;
    }
    extracted.fill(0);
    this.#inner.set(BLOB_LABEL, BLOCK);
    this.#inner[this.#inner.length - 1] = 1;
  }

  /** The key of the blob with this salt of 32 bytes: HKDF with "blob", 0 and the salt. Whoever gets it wipes it. */
  keyOf(salt: Uint8Array): Uint8Array {
    this.#inner.set(salt, BLOCK + BLOB_LABEL.length);
    // A string costs a third of a Buffer, but cannot be wiped: without the outer block this one is worth nothing.
    const first = hash('sha256', this.#inner, 'binary');
    for (let i = 0; i < first.length; i++) this.#outer[BLOCK + i] = first.charCodeAt(i);
    return hash('sha256', this.#outer, 'buffer');
  }

  /** Overwrites it. */
  wipe(): void {
    this.#inner.fill(0);
    this.#outer.fill(0);
  }
}

interface RecentSecret {
  readonly label: KeyLabel;
  readonly context: readonly Uint8Array[];
  readonly secret: BlobSecret;
}

/** A PAL that seals mostly does so under one policy or two; and it must not fill the isolate's memory with policies. */
const MAX_RECENT = 8;

/** What makes the keys of all that one PAL seals; the secrets that were used last are kept. */
export class SealingKeys {
  readonly #root: Uint8Array;
  #recent: readonly RecentSecret[] = [];

  /** `root` belongs to it from now on. */
  constructor(root: Uint8Array) {
    this.#root = root;
  }

  /** The secret for `label` and SHA-256 over the parts of `context`; it may be wiped as soon as another one is asked for. */
  under(label: KeyLabel, ...context: readonly Uint8Array[]): BlobSecret {
    const [latest] = this.#recent;
    if (latest !== undefined && isFor(latest, label, context)) return latest.secret;
    const known = this.#recent.find((recent) => isFor(recent, label, context)) ?? this.#make(label, context);
    const others = this.#recent.filter((recent) => recent !== known);
    this.#recent = [known, ...others.slice(0, MAX_RECENT - 1)];
    for (const old of others.slice(MAX_RECENT - 1)) old.secret.wipe();
    return known.secret;
  }

  /** Overwrites all of them. */
  wipe(): void {
    this.#root.fill(0);
    this.forget();
  }

  /** Overwrites those that were used last; they are made again. */
  forget(): void {
    for (const { secret } of this.#recent) secret.wipe();
    this.#recent = [];
  }

  #make(label: KeyLabel, context: readonly Uint8Array[]): RecentSecret {
    const key = deriveKey(this.#root, label, sha256(...context));
    try {
      return { label, context: context.map((part) => part.slice()), secret: new BlobSecret(key) };
    } finally {
      key.fill(0);
    }
  }
}

function isFor(recent: RecentSecret, label: KeyLabel, context: readonly Uint8Array[]): boolean {
  if (recent.label !== label || recent.context.length !== context.length) return false;
  return recent.context.every((part, i) => equal(part, context[i] ?? NOTHING));
}

/**
 * Seals `content` under a key made from `key` and `header.salt`, which must never come back with other content, and
 * authenticates the header, and `extra`, which is not stored.
 */
export function sealBlob<T extends Sealed>(
  codec: Codec<T>,
  key: Uint8Array | BlobSecret,
  header: Omit<T, 'sealed'>,
  content: Uint8Array,
  extra: Uint8Array = NOTHING,
): Uint8Array {
  // The codec's value is its header and `sealed`; TypeScript cannot put a generic type together again.
  const whole = { ...header, sealed: NOTHING } as unknown as T;
  const head = encode(codec, whole);
  const blobKey = blobKeyOf(key, whole.salt);
  try {
    const cipher = createCipheriv('aes-256-gcm', blobKey, IV, { authTagLength: TAG });
    cipher.setAAD(join(head, extra));
    const body = cipher.update(content);
    cipher.final();
    return join(head, body, cipher.getAuthTag());
  } finally {
    blobKey.fill(0);
  }
}

/**
 * Opens what {@link sealBlob} made; `content` are the bytes that `blob` was parsed from, where the caller has them. Throws
 * {@link TrustvisorError} with code `sealed-state` where it is damaged or forged.
 */
export function openBlob<T extends Sealed>(
  codec: Codec<T>,
  key: Uint8Array | BlobSecret,
  blob: T,
  {
    extra = NOTHING,
    content = encode(codec, blob),
  }: { readonly extra?: Uint8Array; readonly content?: Uint8Array } = {},
): Uint8Array {
  const split = blob.sealed.length - TAG;
  if (split < 0) throw forged(codec.name, `expected at least ${TAG} sealed bytes, got ${blob.sealed.length}`);
  const blobKey = blobKeyOf(key, blob.salt);
  try {
    const decipher = createDecipheriv('aes-256-gcm', blobKey, IV, { authTagLength: TAG });
    decipher.setAAD(join(content.subarray(0, content.length - blob.sealed.length), extra));
    decipher.setAuthTag(blob.sealed.subarray(split));
    const { buffer, byteOffset, length } = decipher.update(blob.sealed.subarray(0, split));
    decipher.final();
    return new Uint8Array(buffer, byteOffset, length);
  } catch (error) {
    throw forged(codec.name, 'it is not authentic', error);
  } finally {
    blobKey.fill(0);
  }
}

/** Each key is used once. */
const IV = new Uint8Array(12);

function blobKeyOf(key: Uint8Array | BlobSecret, salt: Uint8Array): Uint8Array {
  if (key instanceof BlobSecret) return key.keyOf(salt);
  const secret = new BlobSecret(key);
  try {
    return secret.keyOf(salt);
  } finally {
    secret.wipe();
  }
}

/** Decodes a blob. Throws {@link TrustvisorError} with code `sealed-state` where it has another form. */
export function parseBlob<T>(codec: Codec<T>, content: Uint8Array): T {
  try {
    return decode(codec, content);
  } catch (error) {
    if (error instanceof WireError) throw forged(codec.name, error.message, error);
    throw error;
  }
}

/** An endless stream of bytes that `key` and `context` fix: HMAC-SHA-256 in counter mode. */
export function deterministicRandom(key: Uint8Array, context: Uint8Array): (length: number) => Uint8Array {
  let counter = 0;
  return (length) => {
    const out = new Uint8Array(length);
    for (let at = 0; at < length; at += 32) {
      const block = Uint8Array.of(0, 0, 0, 0);
      new DataView(block.buffer).setUint32(0, counter++);
      const bytesOfBlock = createHmac('sha256', key).update(context).update(block).digest();
      out.set(bytesOfBlock.subarray(0, Math.min(32, length - at)), at);
    }
    return out;
  };
}

function join(first: Uint8Array, second: Uint8Array, third: Uint8Array = NOTHING): Uint8Array {
  if (second.length + third.length === 0) return first;
  const out = new Uint8Array(first.length + second.length + third.length);
  out.set(first);
  out.set(second, first.length);
  out.set(third, first.length + second.length);
  return out;
}

function forged(what: string, problem: string, cause?: unknown): TrustvisorError {
  return new TrustvisorError('sealed-state', `open ${what}: ${problem}`, { cause });
}
