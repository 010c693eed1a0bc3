/** EFI_GUID: sixteen bytes, the first three fields little-endian. UEFI 2.10, appendix A. */
import { bytes, type Codec, WireError } from '@casemate/wire';

const ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
const TEXT = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const raw = bytes('EFI_GUID', 16);

/** A GUID as its lower-case text, `8be4df61-93ca-11d2-aa0d-00e098032b8c`. */
export const EfiGuid: Codec<string> = {
  name: 'EFI_GUID',
  read: (r) => format(raw.read(r)),
  write(w, value) {
    if (!TEXT.test(value))
      throw new WireError('bad-input', 'encode EFI_GUID', `expected a GUID, got "${value}"`, w.offset);
    const digits = value.replaceAll('-', '');
    const shown = Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
    raw.write(w, reorder(shown));
  },
};

function format(value: Uint8Array): string {
  const digits = Array.from(reorder(value), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Wire order to text order and back: the permutation is its own inverse. */
function reorder(value: Uint8Array): Uint8Array {
  return Uint8Array.from(ORDER, (from) => value[from] ?? 0);
}
