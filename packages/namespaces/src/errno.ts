/** Error numbers by name: errno(3). */
import { constants } from 'node:os';

/** The name of an error number (`EPERM` …) as the kernel has it, or the number as text where it has none. */
export function errnoName(number: number): string {
  const found = Object.entries(constants.errno).find(([name, value]) => value === number && !ALIASES.has(name));
  return found?.[0] ?? OTHERS[number] ?? `errno ${number}`;
}

// Second names that the C library gives: EOPNOTSUPP, EAGAIN
const ALIASES: ReadonlySet<string> = new Set(['ENOTSUP', 'EWOULDBLOCK']);

// asm-generic/errno.h: what mounts and links fail with beside the numbers that Node names
const OTHERS: Readonly<Record<number, string>> = { 15: 'ENOTBLK', 49: 'EUNATCH', 117: 'EUCLEAN', 126: 'ENOKEY' };
