/** JSON that strangers send: read with bounds, and looked at member by member. */
import { AcmeProblem } from './acme-problem.js';

/** An object of JSON. */
export type JsonObject = { readonly [name: string]: unknown };

const MAX_DEPTH = 16;

/** Whether a value of JSON is an object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads an object. Throws {@link AcmeProblem} `malformed`. */
export function parseJsonObject(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new AcmeProblem('malformed', 'expected JSON in UTF-8');
  }
  if (!isObject(value)) throw new AcmeProblem('malformed', 'expected a JSON object');
  if (depth(value, 0) > MAX_DEPTH) throw new AcmeProblem('malformed', `expected at most ${MAX_DEPTH} levels of JSON`);
  return value;
}

function depth(value: unknown, above: number): number {
  if (typeof value !== 'object' || value === null || above > MAX_DEPTH) return above;
  return Math.max(above + 1, ...Object.values(value).map((each) => depth(each, above + 1)));
}
