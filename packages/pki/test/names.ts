/** Distinguished names with one common name of any string type. */
import { oid, sequence, setOf, tlv } from '../src/der.js';
import { nameText, parseName, sameName } from '../src/name.js';

const name = (tag: string, text: string) =>
  parseName(sequence(setOf(sequence(oid('2.5.4.3'), tlv(Number.parseInt(tag, 16), octets(tag, text))))));

/** UniversalString (1c) has four bytes a character. */
function octets(tag: string, text: string): Uint8Array {
  if (tag !== '1c') return new TextEncoder().encode(text);
  const bytes = new DataView(new ArrayBuffer([...text].length * 4));
  for (const [i, character] of [...text].entries()) bytes.setUint32(i * 4, character.codePointAt(0) ?? 0);
  return new Uint8Array(bytes.buffer);
}

/** Whether two common names, each with the hexadecimal tag of its type, are the same name. */
export function sameCommonName(a: readonly [string, string], b: readonly [string, string]): boolean {
  return sameName(name(...a), name(...b));
}

/** A common name as text for people. */
export function commonNameText(tag: string, text: string): string {
  return nameText(name(tag, text));
}
