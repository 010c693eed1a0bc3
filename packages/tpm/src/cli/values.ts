/** Values on the command line: numbers, handles, bytes, PCR selections. */
import { usage } from '@casemate/command-line';
import type { PcrBank, PcrIndexes } from '../pcr.js';

/** A whole number, decimal or hexadecimal with `0x`. */
export function parseNumber(text: string, what: string, range: { readonly min: number; readonly max: number }): number {
  const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return value;
  throw usage(`${what}: expected a number from ${range.min} to ${range.max}, got "${text}"`);
}

/** A handle; digits without `0x` count as hexadecimal where there are eight of them. */
export function parseHandle(text: string, what: string): number {
  const value = /^[0-9a-f]{8}$/i.test(text) ? Number(`0x${text}`) : Number(text);
  if (text !== '' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw usage(`${what}: expected a handle such as 0x81000001, got "${text}"`);
}

/** Hexadecimal bytes; `0x` and separators are left out. */
export function parseHex(text: string, what: string): Uint8Array {
  const digits = text.replace(/^0x/i, '').replace(/[\s:]/g, '');
  if (digits.length % 2 === 0 && /^[0-9a-f]*$/i.test(digits)) {
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  }
  throw usage(`${what}: expected hexadecimal digits, got "${text}"`);
}

/** Which banks are meant by a word. */
export const BANKS: readonly PcrBank[] = ['sha1', 'sha256', 'sha384', 'sha512'];

/**
 * PCRs as tpm2-tools write them, `sha256:0,7+sha1:all`, and with ranges, `sha256:0-7`. Without a bank it is sha256; without
 * indexes, all.
 */
export function parsePcrs(texts: readonly string[], what: string): PcrIndexes {
  const chosen: Partial<Record<PcrBank, number[]>> = {};
  for (const part of texts.flatMap((text) => text.split('+'))) {
    const [bank, list] = splitBank(part, what);
    const indexes = chosen[bank] ?? [];
    chosen[bank] = [...new Set([...indexes, ...parseIndexes(list, what)])].sort((a, b) => a - b);
  }
  return chosen;
}

/** PCRs as {@link parsePcrs} reads them. */
export function pcrsText(indexes: PcrIndexes): string {
  return BANKS.filter((bank) => indexes[bank]?.length)
    .map((bank) => `${bank}:${indexes[bank]?.join(',')}`)
    .join('+');
}

function splitBank(part: string, what: string): readonly [PcrBank, string] {
  const [first = '', second] = part.split(':', 2);
  const bank = BANKS.find((name) => name === first.toLowerCase());
  if (bank) return [bank, second ?? 'all'];
  if (second === undefined && /^(all|[\d,-]+)$/.test(first)) return ['sha256', first];
  throw usage(`${what}: expected PCRs such as sha256:0,7, got "${part}"`);
}

function parseIndexes(list: string, what: string): readonly number[] {
  if (list === 'all') return ALL;
  if (list === '') return [];
  return list.split(',').flatMap((item) => {
    const [first = '', last = first] = item.split('-', 2);
    const range = { min: 0, max: 23 };
    const from = parseNumber(first, what, range);
    const to = parseNumber(last, what, range);
    return ALL.filter((index) => index >= from && index <= to);
  });
}

const ALL: readonly number[] = Array.from({ length: 24 }, (_, index) => index);
