/** Byte strings: concatenation, comparison, hexadecimal and base64 text, without any platform's own buffer type. */
import { PkiError } from './error.js';

/** All `parts` in one fresh array. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Whether two byte strings are equal; the time taken depends on their lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

/** Lower-case hexadecimal text. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += HEX[bytes[i] ?? 0];
  return text;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Standard base64 with padding (RFC 4648 section 4). */
export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x6000) text += btoa(String.fromCharCode(...bytes.subarray(i, i + 0x6000)));
  return text;
}

/** The bytes of strict base64 text without white space; throws {@link PkiError} `malformed`. */
export function fromBase64(text: string, what: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new PkiError('malformed', `decode ${what}: expected base64, got other characters or a wrong length`);
  }
  const binary = atob(text);
  // The last character may have bits that belong to no byte: there would be several texts for the same bytes (RFC 4648 section 3.5).
  if (btoa(binary.slice(Math.floor((binary.length - 1) / 3) * 3)) !== text.slice(-4)) {
    throw new PkiError('malformed', `decode ${what}: expected base64 in its one form, got another`);
  }
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** `length` random bytes from the platform's generator. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return globalThis.crypto.getRandomValues(new Uint8Array(length));
}
