/** The entries of a CRL, read once and indexed by serial number, so that a list of a hundred thousand stays small (RFC 5280 section 5.3). */
import { DerReader, integerValue, readDer, smallInteger, TAG, timeValue } from './der.js';
import { malformed } from './error.js';
import { parseExtensions } from './extension.js';
import { EXTENSION } from './oid.js';

/** Why a certificate was revoked, in the order of CRLReason's numbers, of which 7 is not used (RFC 5280 5.3.1). */
export const CRL_REASONS = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'certificateHold',
  undefined,
  'removeFromCRL',
  'privilegeWithdrawn',
  'aACompromise',
] as const;

/** Why a certificate was revoked, by the names of RFC 5280 5.3.1. `removeFromCRL` is only in delta CRLs. */
export type CrlReason = NonNullable<(typeof CRL_REASONS)[number]>;

/** One certificate on a CRL. */
export interface CrlEntry {
  /** The certificate's serial number. */
  readonly serialNumber: bigint;
  /** Since when. */
  readonly revocationDate: Date;
  /** Why; absent where the list does not say, which means `unspecified`. */
  readonly reason?: CrlReason;
  /** When the key is known or suspected to have become bad, which may be earlier. */
  readonly invalidityDate?: Date;
}

/** The certificates on a CRL. Iterating gives them in the order of the list. */
export interface CrlEntries extends Iterable<CrlEntry> {
  /** How many there are. */
  readonly size: number;
  /** Whether an entry has a critical extension that this reader does not apply, such as certificateIssuer. */
  readonly hasUnknownCritical: boolean;
  /** The entry of a serial number, the first where there are several. */
  get(serialNumber: bigint): CrlEntry | undefined;
}

/** The entries of a list that has none. */
export const noEntries: CrlEntries = {
  size: 0,
  hasUnknownCritical: false,
  get: () => undefined,
  *[Symbol.iterator]() {},
};

/** Reads the contents of revokedCertificates; every entry is checked now. Throws {@link PkiError} `malformed`. */
export function entriesOf(content: Uint8Array): CrlEntries {
  const offsets = entryOffsets(content);
  const index = indexOf(content, offsets);
  let hasUnknownCritical = false;
  for (const offset of offsets) hasUnknownCritical = readEntry(content, offset).isUnknownCritical || hasUnknownCritical;
  return {
    size: offsets.length,
    hasUnknownCritical,
    get(serialNumber) {
      const offset = index(serialContent(serialNumber));
      return offset === undefined ? undefined : readEntry(content, offset).entry;
    },
    *[Symbol.iterator]() {
      for (const offset of offsets) yield readEntry(content, offset).entry;
    },
  };
}

function entryOffsets(content: Uint8Array): Uint32Array {
  const offsets: number[] = [];
  const reader = new DerReader(content, 'revokedCertificates');
  for (let offset = 0; !reader.done; ) {
    offsets.push(offset);
    offset += reader.take(TAG.SEQUENCE, 'entry').bytes.length;
  }
  return Uint32Array.from(offsets);
}

/** A hash table with open addressing from the INTEGER contents of a serial number to the offset of its entry. */
function indexOf(content: Uint8Array, offsets: Uint32Array): (serial: Uint8Array) => number | undefined {
  const slots = new Uint32Array(2 ** Math.ceil(Math.log2(offsets.length * 2 + 1)));
  const mask = slots.length - 1;
  const slotOf = (serial: Uint8Array): number => {
    for (let slot = hash(serial) & mask; ; slot = (slot + 1) & mask) {
      const number = slots[slot] ?? 0;
      if (number === 0 || isSame(serial, serialAt(content, offsets[number - 1] ?? 0))) return slot;
    }
  };
  for (const [i, offset] of offsets.entries()) {
    const slot = slotOf(serialAt(content, offset));
    if (slots[slot] === 0) slots[slot] = i + 1;
  }
  return (serial) => {
    const number = slots[slotOf(serial)] ?? 0;
    return number === 0 ? undefined : offsets[number - 1];
  };
}

function serialAt(content: Uint8Array, offset: number): Uint8Array {
  return entryAt(content, offset).take(TAG.INTEGER, 'userCertificate').content;
}

function entryAt(content: Uint8Array, offset: number): DerReader {
  return new DerReader(content.subarray(offset), 'revokedCertificates').enter(TAG.SEQUENCE, 'entry');
}

// A serial number is the issuer's choice, and random in its upper bytes at every issuer that follows the rules.
function hash(serial: Uint8Array): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < serial.length; i++) value = Math.imul(value ^ (serial[i] ?? 0), 0x01000193);
  return (value ^ (value >>> 15)) >>> 0;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function readEntry(content: Uint8Array, offset: number): { entry: CrlEntry; isUnknownCritical: boolean } {
  const reader = entryAt(content, offset);
  const serialNumber = integerValue(reader.take(TAG.INTEGER, 'userCertificate').content, 'userCertificate');
  const revocationDate = timeValue(reader.any('revocationDate'), 'revocationDate');
  const extensions = reader.optional(TAG.SEQUENCE, 'crlEntryExtensions');
  reader.finish();
  if (extensions === undefined) return { entry: { serialNumber, revocationDate }, isUnknownCritical: false };
  const { isUnknownCritical, ...values } = readEntryExtensions(extensions.bytes);
  return { entry: { serialNumber, revocationDate, ...values }, isUnknownCritical };
}

function readEntryExtensions(
  der: Uint8Array,
): Pick<CrlEntry, 'reason' | 'invalidityDate'> & { isUnknownCritical: boolean } {
  const values: { reason?: CrlReason; invalidityDate?: Date; isUnknownCritical: boolean } = {
    isUnknownCritical: false,
  };
  for (const { oid, critical, value } of parseExtensions(der, 'crlEntryExtensions')) {
    if (oid === EXTENSION.reasonCode) values.reason = readReason(value);
    else if (oid === EXTENSION.invalidityDate) values.invalidityDate = readInvalidityDate(value);
    else if (critical) values.isUnknownCritical = true;
  }
  return values;
}

function readReason(value: Uint8Array): CrlReason {
  const number = smallInteger(readDer(value, TAG.ENUMERATED, 'reasonCode'), 'reasonCode');
  const reason = CRL_REASONS[number];
  if (reason === undefined) throw malformed('reasonCode', `expected 0 to 6 or 8 to 10, got ${number}`);
  return reason;
}

function readInvalidityDate(value: Uint8Array): Date {
  const reader = new DerReader(value, 'invalidityDate');
  // RFC 5280 5.3.2: GeneralizedTime whatever the year.
  const date = timeValue(reader.take(TAG.GENERALIZED_TIME, ''), 'invalidityDate', { anyYear: true });
  reader.finish();
  return date;
}

/** The contents of the INTEGER of a serial number. */
function serialContent(serial: bigint): Uint8Array {
  const digits = serial.toString(16);
  const even = digits.length % 2 === 0 ? digits : `0${digits}`;
  const hex = Number.parseInt(even.slice(0, 2), 16) & 0x80 ? `00${even}` : even;
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
