/** Textual encodings of keys, certificates and documents (RFC 7468). */
import { fromBase64, toBase64 } from './bytes.js';
import { malformed } from './error.js';

/** One block of a PEM file: the words of its BEGIN line and the bytes inside. */
export interface PemBlock {
  /** For example `CERTIFICATE`, `CERTIFICATE REQUEST`, `PRIVATE KEY`, `CMS`. */
  readonly label: string;
  /** The DER bytes. */
  readonly der: Uint8Array;
}

/** Wraps `der` in BEGIN and END lines with 64 characters a line and a final newline (RFC 7468 section 2). */
export function encodePem(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/**
 * Every block of a PEM text in order, at most 1000; text between blocks is ignored.
 * Throws {@link PkiError} `malformed` where a block does not end or is not base64.
 */
export function parsePem(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  const begin = /-----BEGIN ([A-Z0-9 ]{1,64})-----\s/g;
  for (let match = begin.exec(text); match !== null; match = begin.exec(text)) {
    if (blocks.length === 1000) throw malformed('PEM', 'expected at most 1000 blocks, got more');
    const [, label = ''] = match;
    const end = text.indexOf(`-----END ${label}-----`, begin.lastIndex);
    if (end < 0) throw malformed('PEM', `expected END ${label}, got the end of the text`);
    blocks.push({ label, der: fromBase64(text.slice(begin.lastIndex, end).replace(/\s/g, ''), `PEM ${label}`) });
    begin.lastIndex = end;
  }
  return blocks;
}

/**
 * The bytes of the first block with `label`.
 * Throws {@link PkiError} `malformed` where the text has none.
 */
export function decodePem(label: string, text: string): Uint8Array {
  const block = parsePem(text).find((candidate) => candidate.label === label);
  if (block === undefined) throw malformed('PEM', `expected a ${label} block, got none`);
  return block.der;
}
