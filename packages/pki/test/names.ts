/** Distinguished names with one common name of any string type. */
import { oid, sequence, setOf, tlv } from '../src/der.js';
import { parseName, sameName } from '../src/name.js';

const name = (tag: string, text: string) =>
  parseName(sequence(setOf(sequence(oid('2.5.4.3'), tlv(Number.parseInt(tag, 16), new TextEncoder().encode(text))))));

/** Whether two common names, each with the hexadecimal tag of its type, are the same name. */
export function sameCommonName(a: readonly [string, string], b: readonly [string, string]): boolean {
  return sameName(name(...a), name(...b));
}
