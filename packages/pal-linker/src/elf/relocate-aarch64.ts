/** Relocations of AArch64. ELF for the Arm 64-bit Architecture, sections 5.7.3 to 5.7.9. */
import { R_AARCH64 } from './constants.js';
import type { NumberForm, Relocation } from './relocate.js';

/** Whether it needs a slot in the global offset table. */
export function needsGotArm(type: number): boolean {
  return GOT_TYPES.includes(type);
}

const GOT_TYPES: readonly number[] = [
  R_AARCH64.GOT_LD_PREL19,
  R_AARCH64.ADR_GOT_PAGE,
  R_AARCH64.LD64_GOT_LO12_NC,
  R_AARCH64.LD64_GOTPAGE_LO15,
];

/** The instruction that does nothing. */
export const ARM_NOP = 0xd503201f | 0;

/** By how many bits the offset of a load or store is scaled. */
const SCALES: Readonly<Record<number, number>> = {
  [R_AARCH64.LDST8_ABS_LO12_NC]: 0,
  [R_AARCH64.LDST16_ABS_LO12_NC]: 1,
  [R_AARCH64.LDST32_ABS_LO12_NC]: 2,
  [R_AARCH64.LDST64_ABS_LO12_NC]: 3,
  [R_AARCH64.LDST128_ABS_LO12_NC]: 4,
};

/** Which 16 bits of an address a MOVZ or MOVK takes. */
const GROUPS: Readonly<Record<number, number>> = {
  [R_AARCH64.MOVW_UABS_G0]: 0,
  [R_AARCH64.MOVW_UABS_G0_NC]: 0,
  [R_AARCH64.MOVW_UABS_G1]: 1,
  [R_AARCH64.MOVW_UABS_G1_NC]: 1,
  [R_AARCH64.MOVW_UABS_G2]: 2,
  [R_AARCH64.MOVW_UABS_G2_NC]: 2,
  [R_AARCH64.MOVW_UABS_G3]: 3,
};
/** Those that must hold the whole rest of the address. */
const CHECKED_GROUPS: readonly number[] = [R_AARCH64.MOVW_UABS_G0, R_AARCH64.MOVW_UABS_G1, R_AARCH64.MOVW_UABS_G2];

type Apply = (relocation: Relocation, value: number) => void;

/** A number of its own, not in an instruction. */
function data(form: NumberForm, isRelative: boolean): Apply {
  return ({ put, place }, value) => put.number(form, isRelative ? value - place : value);
}

const none: Apply = () => undefined;
const pageOf: Apply = (relocation, value) => pageDistance(relocation, value);
const branchOf =
  (bits: number, at: number): Apply =>
  (relocation, value) =>
    branch(relocation, value - relocation.place, { bits, at });

/** A call of what is weak and absent goes on behind itself, as the ABI has it. */
const callOf: Apply = (relocation, value) => {
  if (relocation.target.symbol === 0) relocation.put.instruction(-1, ARM_NOP);
  else branchOf(26, 0)(relocation, value);
};

/** What is done for each type with S + A. */
const RULES: ReadonlyMap<number, Apply> = new Map<number, Apply>([
  [R_AARCH64.NONE, none],
  [R_AARCH64.NONE_ALTERNATIVE, none],
  [R_AARCH64.ABS64, data('bits64', false)],
  [R_AARCH64.ABS32, data('either32', false)],
  [R_AARCH64.ABS16, data('either16', false)],
  [R_AARCH64.PREL64, data('bits64', true)],
  [R_AARCH64.PREL32, data('signed32', true)],
  [R_AARCH64.PLT32, data('signed32', true)],
  [R_AARCH64.PREL16, data('signed16', true)],
  [R_AARCH64.ADR_PREL_PG_HI21, pageOf],
  [R_AARCH64.ADR_PREL_PG_HI21_NC, pageOf],
  [R_AARCH64.ADR_GOT_PAGE, (relocation) => pageDistance(relocation, relocation.target.got())],
  [R_AARCH64.LD64_GOT_LO12_NC, (relocation) => lowBits(relocation, relocation.target.got(), 3)],
  [R_AARCH64.LD64_GOTPAGE_LO15, (relocation) => gotPageOffset(relocation)],
  [R_AARCH64.GOT_LD_PREL19, (r) => branch(r, r.target.got() - r.place, { bits: 19, at: 5 })],
  [R_AARCH64.ADD_ABS_LO12_NC, (relocation, value) => lowBits(relocation, value, 0)],
  [R_AARCH64.ADR_PREL_LO21, (r, value) => splitImmediate(r, inRange(r, value - r.place, 21))],
  [R_AARCH64.CALL26, callOf],
  [R_AARCH64.JUMP26, callOf],
  [R_AARCH64.CONDBR19, branchOf(19, 5)],
  [R_AARCH64.LD_PREL_LO19, branchOf(19, 5)],
  [R_AARCH64.TSTBR14, branchOf(14, 5)],
  ...Object.entries(SCALES).map(([type, scale]): [number, Apply] => [Number(type), (r, v) => lowBits(r, v, scale)]),
  ...Object.entries(GROUPS).map(([type, group]): [number, Apply] => [Number(type), (r, v) => moveWide(r, v, group)]),
]);

/** Applies one relocation. */
export function relocateArm(relocation: Relocation): void {
  const { type, target, put } = relocation;
  const rule = RULES.get(type);
  if (rule === undefined) throw put.unsupported();
  rule(relocation, target.symbol + target.addend);
}

/** The low 12 bits, scaled, into bits 10 to 21. */
function lowBits({ put }: Relocation, value: number, scale: number): void {
  const low = ((value % 4096) + 4096) % 4096; // what is weak and absent lies at 0, and its neighbours below
  if (low % (1 << scale) !== 0) throw put.overflow(`a multiple of ${1 << scale}`, value);
  put.instruction(0xfff << 10, (low >> scale) << 10);
}

/** A slot from the page on which the table begins, in units of 8, 12 bits. */
function gotPageOffset({ put, target }: Relocation): void {
  const distance = target.got() - Math.floor(target.gotBase / 4096) * 4096;
  if (distance >= 1 << 15) throw put.overflow('15 bits', distance);
  put.instruction(0xfff << 10, (distance >> 3) << 10);
}

function moveWide({ type, put }: Relocation, value: number, group: number): void {
  const rest = Math.floor(value / 2 ** (16 * group));
  if (value < 0 || (CHECKED_GROUPS.includes(type) && rest > 0xffff))
    throw put.overflow(`${16 * (group + 1)} bits`, value);
  put.instruction(0xffff << 5, (rest % 0x1_0000) << 5);
}

function pageDistance(relocation: Relocation, value: number): void {
  const pages = Math.floor(value / 4096) - Math.floor(relocation.place / 4096);
  splitImmediate(relocation, inRange(relocation, pages, 21));
}

/** ADR and ADRP: two low bits at 29, nineteen at 5. */
function splitImmediate({ put }: Relocation, value: number): void {
  put.instruction((3 << 29) | (0x7ffff << 5), ((value & 3) << 29) | (((value >> 2) & 0x7ffff) << 5));
}

function branch(relocation: Relocation, distance: number, { bits, at }: { bits: number; at: number }): void {
  if (distance % 4 !== 0) throw relocation.put.overflow('a multiple of 4', distance);
  const mask = 2 ** bits - 1;
  relocation.put.instruction((mask << at) >>> 0, ((inRange(relocation, distance / 4, bits) & mask) << at) >>> 0);
}

function inRange({ put }: Relocation, value: number, bits: number): number {
  if (value >= -(2 ** (bits - 1)) && value < 2 ** (bits - 1)) return value;
  throw put.overflow(`${bits} bits with a sign`, value);
}
