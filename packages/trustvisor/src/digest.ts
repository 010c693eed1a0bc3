/** SHA-256, and whether two byte strings are the same. */
import { createHash, hash } from 'node:crypto';

/** SHA-256 over the parts, none of which is a secret, one after another. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return digestOf(only);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length <= JOINED) return digestOf(Buffer.concat(parts, length));
  const running = createHash('sha256');
  for (const part of parts) running.update(part);
  return new Uint8Array(running.digest());
}

/** To join more than this takes longer than the calls into OpenSSL that it saves. */
const JOINED = 4096;

/** As a string a digest costs a third of what it costs as a Buffer, whose memory is allocated and collected apart. */
function digestOf(bytes: Uint8Array): Uint8Array {
  const text = hash('sha256', bytes, 'binary');
  const digest = new Uint8Array(32);
  for (let i = 0; i < digest.length; i++) digest[i] = text.charCodeAt(i);
  return digest;
}

/** Whether two public byte strings are the same. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
