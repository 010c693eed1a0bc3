/** Error numbers by name: errno(3). */
import { constants } from 'node:os';

/** The name of an error number (`EPERM` …), or the number as text where it has none. */
export function errnoName(number: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === number);
  return found?.[0] ?? `errno ${number}`;
}
