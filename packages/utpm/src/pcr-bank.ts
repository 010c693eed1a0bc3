/** Platform configuration registers: Part 1, chapter 17, with the attributes of the PC Client Platform TPM Profile, section 4.6. */

/** Registers in a bank. */
export const PCR_COUNT = 24;

/** What may be done to a register from which locality; bit n of a mask stands for locality n. */
export interface PcrAttributes {
  /** Is the value kept over TPM2_Shutdown(STATE)? */
  readonly stateSaved: boolean;
  /** Localities that may reset it. */
  readonly reset: number;
  /** Localities that may extend it. */
  readonly extend: number;
  /** Do its changes leave the update counter alone? */
  readonly noIncrement: boolean;
  /** Is it reset by a dynamic launch, and all ones until then? */
  readonly drtm: boolean;
}

const STATIC: PcrAttributes = { stateSaved: true, reset: 0, extend: 0x1f, noIncrement: false, drtm: false };
const FREE: PcrAttributes = { stateSaved: false, reset: 0x0f, extend: 0x1f, noIncrement: true, drtm: false };

/** Does the register belong to the one group that has an authorization value and a policy (Part 1, 17.6)? libtpms chose these. */
export function isAuthorizedPcr(index: number): boolean {
  return index >= 20 && index <= 22;
}

/** The attributes of each register, by number. */
export const PCR_ATTRIBUTES: readonly PcrAttributes[] = [
  ...Array.from({ length: 16 }, () => STATIC),
  FREE,
  dynamic(0x10, 0x1c, false),
  dynamic(0x10, 0x1c, false),
  dynamic(0x10, 0x0c, false),
  dynamic(0x14, 0x0e, false),
  dynamic(0x14, 0x04, true),
  dynamic(0x14, 0x04, true),
  FREE,
];

function dynamic(reset: number, extend: number, noIncrement: boolean): PcrAttributes {
  return { stateSaved: false, reset, extend, noIncrement, drtm: true };
}

/** Registers of one hash algorithm. */
export interface PcrBank {
  /** The TPM_ALG_ID of the bank. */
  readonly alg: number;
  /** The value of each register; each is replaced, never changed in place. */
  readonly values: Uint8Array[];
}

/** A bank as it is after TPM2_Startup(CLEAR) from `locality`: PCR 0 tells the locality, the dynamic registers are all ones. */
export function resetBank(alg: number, digestLength: number, locality: number): PcrBank {
  const values = PCR_ATTRIBUTES.map((attributes) => new Uint8Array(digestLength).fill(attributes.drtm ? 0xff : 0));
  const first = values[0];
  if (first) first[digestLength - 1] = locality;
  return { alg, values };
}

/** Does the selection bitmap `select` (TPMS_PCR_SELECT, least significant bit first) name register `index`? */
export function isSelected(select: Uint8Array, index: number): boolean {
  return (((select[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;
}

/** The registers that a selection bitmap names, ascending; those above the last register are left out. */
export function selectedIndexes(select: Uint8Array): number[] {
  const indexes: number[] = [];
  for (let index = 0; index < PCR_COUNT; index++) if (isSelected(select, index)) indexes.push(index);
  return indexes;
}

/** The bitmap, three bytes, of the registers for which `holds` is true. */
export function selectionOf(holds: (index: number, attributes: PcrAttributes) => boolean): Uint8Array {
  const select = new Uint8Array(3);
  PCR_ATTRIBUTES.forEach((attributes, index) => {
    if (holds(index, attributes)) select[index >> 3] = (select[index >> 3] ?? 0) | (1 << (index & 7));
  });
  return select;
}

/** May `locality` do what `mask` governs? Localities above 4 (extended) have no bit in the profile. */
export function isAllowedFrom(mask: number, locality: number): boolean {
  return locality <= 4 && ((mask >> locality) & 1) === 1;
}
