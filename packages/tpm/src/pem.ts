/** Textual encodings of keys (RFC 7468). */
import { TpmError } from './response-code.js';

/** Wraps `der` in BEGIN and END lines, 64 characters a line, with a newline at the end. */
export function encodePem(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/** The first block of a PEM text whose label is one of `labels`. Throws `TpmError` `decode` where there is none. */
export function decodePem(
  text: string,
  labels: readonly string[],
): { readonly label: string; readonly der: Uint8Array } {
  const begin = /-----BEGIN ([A-Z0-9 ]{1,64})-----\s/g;
  for (let match = begin.exec(text); match; match = begin.exec(text)) {
    const label = match[1] ?? '';
    const end = text.indexOf(`-----END ${label}-----`, begin.lastIndex);
    if (end === -1) throw new TpmError('decode', `parse PEM: expected END ${label}, got the end of the text`);
    if (labels.includes(label)) return { label, der: fromBase64(text.slice(begin.lastIndex, end)) };
    begin.lastIndex = end;
  }
  throw new TpmError('decode', `parse PEM: expected a block ${labels.join(' or ')}, got none`);
}

/** Base64 with padding (RFC 4648, section 4). */
export function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

/** Base64 without padding in the alphabet for URLs (RFC 4648, section 5). */
export function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

function fromBase64(text: string): Uint8Array {
  const digits = text.replace(/\s/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(digits) || digits.length % 4 !== 0) {
    throw new TpmError('decode', 'parse PEM: expected base64 with padding between the BEGIN and END lines');
  }
  return Uint8Array.from(atob(digits), (character) => character.charCodeAt(0));
}
