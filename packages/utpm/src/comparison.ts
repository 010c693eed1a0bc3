/** The comparisons of TPM2_PolicyNV and TPM2_PolicyCounterTimer: Part 2, 6.8. */
import { TPM_EO } from '@casemate/tpm';
import { toInteger } from './integer.js';

/** Is "`a` operation `b`" true? Both have the same length; the first bit of a signed operand is its sign. */
export function compare(operation: number, a: Uint8Array, b: Uint8Array): boolean {
  const unsigned = order(toInteger(a), toInteger(b));
  const signed = signedOrder(a, b, unsigned);
  switch (operation) {
    case TPM_EO.EQ:
      return unsigned === 0;
    case TPM_EO.NEQ:
      return unsigned !== 0;
    case TPM_EO.SIGNED_GT:
      return signed > 0;
    case TPM_EO.UNSIGNED_GT:
      return unsigned > 0;
    case TPM_EO.SIGNED_LT:
      return signed < 0;
    case TPM_EO.UNSIGNED_LT:
      return unsigned < 0;
    case TPM_EO.SIGNED_GE:
      return signed >= 0;
    case TPM_EO.UNSIGNED_GE:
      return unsigned >= 0;
    case TPM_EO.SIGNED_LE:
      return signed <= 0;
    case TPM_EO.UNSIGNED_LE:
      return unsigned <= 0;
    case TPM_EO.BITSET:
      return b.every((bits, i) => ((a[i] ?? 0) & bits) === bits);
    case TPM_EO.BITCLEAR:
      return b.every((bits, i) => ((a[i] ?? 0) & bits) === 0);
    default:
      return false;
  }
}

function order(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a > b ? 1 : -1;
}

/** The reference implementation reverses the order of two negative operands, as if the sign stood before a magnitude. */
function signedOrder(a: Uint8Array, b: Uint8Array, unsigned: number): number {
  const isNegative = (bytes: Uint8Array) => ((bytes[0] ?? 0) & 0x80) !== 0;
  if (isNegative(a) !== isNegative(b)) return isNegative(a) ? -1 : 1;
  return isNegative(a) ? -unsigned : unsigned;
}
