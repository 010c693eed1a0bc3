/**
 * Signed tree heads as checkpoints: a few lines of text that say how long a log is and what its Merkle root is, and a signature
 * (C2SP tlog-checkpoint and signed-note; the tree head of RFC 9162 section 4.10).
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { parsePublicKey, schemeOf } from './algorithm.js';
import { concat, equalBytes, fromBase64, toBase64 } from './bytes.js';
import { malformed, PkiError } from './error.js';
import { type Signer, signChecked } from './key.js';
import { verifySignature } from './signature.js';

/** How long a log is, and the hash over all of it. */
export interface TreeHead {
  /** How many entries it has. */
  readonly size: number;
  /** The Merkle root over them, 32 bytes. */
  readonly root: Uint8Array;
}

/** What a checkpoint says; nobody has checked its signature yet. */
export interface Checkpoint extends TreeHead {
  /** The name of the log, without white space: `maker.example/pki`. */
  readonly origin: string;
  /** When it was signed, in whole milliseconds. */
  readonly time: Date;
  /** The {@link SignatureAlgorithm} that it is signed with. */
  readonly algorithm: string;
  /** The first four bytes of the hash that names the key. */
  readonly keyId: Uint8Array;
  /** The signature over everything before it. */
  readonly signature: Uint8Array;
  /** The bytes that are signed. */
  readonly signedBytes: Uint8Array;
}

/** A checkpoint has five lines and a signature; the largest signature, ML-DSA-87, takes 6 KB in base64. */
const MAX_TEXT = 16_384;
const ORIGIN = /^[\x21-\x2a\x2c-\x7e]{1,128}$/;

/**
 * Signs a tree head: the lines origin, size, root in base64, `time …`, `algorithm …`, an empty one, and `— ORIGIN SIGNATURE`.
 * Ed25519 keys are named as signed notes name them, all others by the hash of their SubjectPublicKeyInfo.
 * Throws {@link PkiError}: `bad-input`, `unsupported`, `bad-signature`.
 */
export async function signCheckpoint(
  head: TreeHead & { readonly origin: string; readonly time: Date },
  signer: Signer,
): Promise<string> {
  const { origin, size, root, time } = head;
  assertOrigin(origin);
  const lines = [origin, size, toBase64(root), `time ${time.toISOString()}`, `algorithm ${signer.algorithm}`];
  const text = `${lines.join('\n')}\n`;
  const signature = await signChecked(signer, new TextEncoder().encode(text), 'checkpoint');
  return `${text}\n— ${origin} ${toBase64(concat(keyId(origin, signer.publicKey), signature))}\n`;
}

/** Throws {@link PkiError} `bad-input` for a name that a checkpoint cannot carry. */
export function assertOrigin(origin: string): void {
  if (ORIGIN.test(origin)) return;
  throw new PkiError(
    'bad-input',
    `name log: expected 1 to 128 printable characters without space and "+", got "${origin}"`,
  );
}

/** Reads a checkpoint as text; the text is anybody's. Throws {@link PkiError} `malformed`. */
export function parseCheckpoint(text: string): Checkpoint {
  const what = 'checkpoint';
  if (text.length > MAX_TEXT) throw malformed(what, `expected at most ${MAX_TEXT} characters, got ${text.length}`);
  const match =
    /^(\S+)\n(0|[1-9]\d{0,15})\n([^\n]{44})\ntime (\S{24})\nalgorithm ([a-z0-9-]{1,40})\n\n— (\S+) (\S+)\n$/.exec(text);
  if (match === null)
    throw malformed(what, 'expected origin, size, root, time, algorithm and one signature, got other lines');
  const [, origin = '', size = '', root = '', time = '', algorithm = '', name = '', note = ''] = match;
  if (name !== origin || !ORIGIN.test(origin))
    throw malformed(what, 'expected the log to sign in its own name, got another');
  const signed = fromBase64(note, what);
  if (signed.length < 5) throw malformed(what, 'expected a key name and a signature, got less');
  const head = { size: Number(size), root: fromBase64(root, what), time: new Date(time) };
  if (!Number.isSafeInteger(head.size) || head.root.length !== 32 || !isIso(head.time, time)) {
    throw malformed(what, 'expected a size, a root of 32 bytes and a time, got others');
  }
  const signedBytes = new TextEncoder().encode(text.slice(0, text.indexOf('\n\n') + 1));
  return { ...head, origin, algorithm, keyId: signed.slice(0, 4), signature: signed.slice(4), signedBytes };
}

function isIso(date: Date, text: string): boolean {
  return !Number.isNaN(date.getTime()) && date.toISOString() === text;
}

/**
 * Whether the key in `publicKey` (SubjectPublicKeyInfo DER) signed the checkpoint of the log `origin`.
 * Throws {@link PkiError} `unsupported` for a key of an unknown or weak kind.
 */
export async function verifyCheckpoint(
  checkpoint: Checkpoint,
  expected: { readonly origin: string; readonly publicKey: Uint8Array },
): Promise<boolean> {
  const { origin, publicKey } = expected;
  if (checkpoint.origin !== origin || !equalBytes(checkpoint.keyId, keyId(origin, publicKey))) return false;
  const scheme = schemeOfText(checkpoint.algorithm);
  return scheme !== undefined && verifySignature(publicKey, scheme, checkpoint.signedBytes, checkpoint.signature);
}

function schemeOfText(algorithm: string) {
  try {
    return schemeOf(algorithm).scheme;
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

/** Signed notes name an Ed25519 key by its name, its type and its 32 bytes; of other keys the hash of the whole key is used. */
function keyId(origin: string, publicKey: Uint8Array): Uint8Array {
  const bytes =
    parsePublicKey(publicKey).kind === 'ed25519'
      ? concat(new TextEncoder().encode(`${origin}\n`), Uint8Array.of(1), publicKey.subarray(-32))
      : publicKey;
  return sha256(bytes).slice(0, 4);
}
