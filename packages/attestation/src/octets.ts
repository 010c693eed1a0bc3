/** Bytes as hexadecimal digits and as base64, and comparison of public bytes. Nothing here handles a secret. */
import { bytesToHex } from '@noble/hashes/utils.js';

/** Whether `a` and `b` hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Lower-case hexadecimal digits. */
export function hex(value: Uint8Array): string {
  return bytesToHex(value);
}

/** Base64 with padding, RFC 4648 section 4. */
export function toBase64(value: Uint8Array): string {
  let binary = '';
  // A call takes a limited number of arguments, so the bytes go through in pieces.
  for (let i = 0; i < value.length; i += 8192) binary += String.fromCharCode(...value.subarray(i, i + 8192));
  return btoa(binary);
}

/** The bytes of canonical base64, or `undefined` for any other text (white space, missing padding, stray bits). */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const binary = atob(text);
  const value = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return toBase64(value) === text ? value : undefined;
}
