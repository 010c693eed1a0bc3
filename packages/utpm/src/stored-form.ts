/** The form of every stored blob: magic, version, SHA-256 checksum, payload. */
import { bytes, type Codec, decode, encode, rest, struct, u16, WireError } from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import { isEqual } from './bytes.js';
import { UtpmError } from './error.js';

const MAX_PAYLOAD = 1 << 22;

/** A kind of blob, and how its payload is read and written. */
export interface StoredForm<T> {
  /** What the blob is, for messages. */
  readonly what: string;
  /** What it starts with; the same length for every kind. */
  readonly magic: Uint8Array;
  /** The version that is written, and the only one that is read. */
  readonly version: number;
  /** The payload. */
  readonly codec: Codec<T>;
}

/** 14 bytes that start a blob. */
export function magicOf(text: string): Uint8Array {
  return new TextEncoder().encode(text.padEnd(14, '\0')).subarray(0, 14);
}

const Frame = struct('stored blob', {
  magic: bytes('magic', 14),
  version: u16,
  checksum: bytes('checksum', 32),
  payload: rest('payload', MAX_PAYLOAD),
});

/** Writes a blob. */
export function encodeStored<T>({ magic, version, codec }: StoredForm<T>, value: T): Uint8Array {
  const payload = encode(codec, value);
  const whole = encode(Frame, { magic, version, checksum: sha256(payload), payload });
  payload.fill(0);
  return whole;
}

/** Reads a blob. Throws `UtpmError` `state-damaged` or `state-version`. Whoever can write the store controls the blob. */
export function decodeStored<T>({ what, magic, version, codec }: StoredForm<T>, stored: Uint8Array): T {
  try {
    const frame = decode(Frame, stored);
    if (!isEqual(frame.magic, magic)) throw damaged(what, 'it does not start as one');
    if (frame.version !== version) {
      throw new UtpmError('state-version', `read ${what}: expected version ${version}, got ${frame.version}`);
    }
    if (!isEqual(frame.checksum, sha256(frame.payload))) throw damaged(what, 'its checksum does not match');
    return decode(codec, frame.payload);
  } catch (error) {
    if (error instanceof WireError) throw damaged(what, error.message, error);
    throw error;
  }
}

/** The error for a blob that cannot be read. */
export function damaged(what: string, why: string, cause?: unknown): UtpmError {
  return new UtpmError('state-damaged', `read ${what}: expected a stored state, but ${why}; it was left as it is`, {
    cause,
  });
}
