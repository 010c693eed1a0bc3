/** Relocations that stay in an object: what each refers to afterwards, when nothing but sections and one table of addresses is left. */
import { R_AARCH64, R_X86_64 } from './constants.js';
import type { ElfMachine } from './object.js';
import type { Relocation } from './relocate.js';
import { ARM_NOP, relocateArm } from './relocate-aarch64.js';
import { relaxed, relocateX86 } from './relocate-x86-64.js';

/** A relocation to be settled or kept; addresses are those of the plan, in which sections lie far apart. */
interface OpenRelocation extends Relocation {
  /** The target is a number, not a place: an absolute symbol, or one that is weak and that nobody defines. */
  readonly isFixed: boolean;
  /** Whether an address moves together with the place that is relocated. */
  readonly isNear: (address: number) => boolean;
}

/** A relocation that the application's linker applies. */
interface KeptRelocation {
  /** R_*, of the machine. */
  readonly type: number;
  /** By how many bytes its place moves. */
  readonly shift: number;
  /** The address it refers to, or the number. */
  readonly target: number;
  /** An address in the section that `target` belongs to. */
  readonly home: number;
  /** Whether `target` is a number. */
  readonly isFixed: boolean;
  /** What is added. */
  readonly addend: number;
}

/** Applies a relocation where its value is known, and gives the one that has to be kept where it is not. */
export type Retarget = (relocation: OpenRelocation) => KeptRelocation | undefined;

/** The rules of a machine. */
export function retargetOf(machine: ElfMachine): Retarget {
  return machine === 'x86-64' ? retargetX86 : retargetArm;
}

const X86_ABSOLUTE: readonly number[] = [
  R_X86_64[64],
  R_X86_64[32],
  R_X86_64['32S'],
  R_X86_64[16],
  R_X86_64[8],
  R_X86_64.SIZE32,
  R_X86_64.SIZE64,
];
const X86_RELATIVE: readonly number[] = [R_X86_64.PC32, R_X86_64.PLT32, R_X86_64.PC64, R_X86_64.PC16, R_X86_64.PC8];
const X86_SIZES: readonly number[] = [R_X86_64.SIZE32, R_X86_64.SIZE64];

/** Of x86-64; the base of the table of addresses is taken to be where the code begins, whose distance from code is known. */
function retargetX86(relocation: OpenRelocation): KeptRelocation | undefined {
  const { type, target, isFixed, isNear, put } = relocation;
  if (type === R_X86_64.NONE) return undefined;
  if (X86_ABSOLUTE.includes(type)) {
    if (!isFixed && !X86_SIZES.includes(type)) return keep(relocation, type, target.symbol);
    return settle(relocation, relocateX86);
  }
  if (X86_RELATIVE.includes(type)) return relativeX86(relocation);
  switch (type) {
    case R_X86_64.GOTPCRELX:
    case R_X86_64.REX_GOTPCRELX:
      return isFixed ? slotX86(relocation) : relaxedX86(relocation);
    case R_X86_64.GOTPCREL:
      return slotX86(relocation);
    case R_X86_64.GOTPCREL64:
      return keep(relocation, R_X86_64.PC64, target.got());
    case R_X86_64.GOT64:
      return fromBase(relocation, target.got());
    case R_X86_64.GOTOFF64:
    case R_X86_64.PLTOFF64:
      if (isFixed) return noCall(relocation);
      return isNear(target.home())
        ? settle(relocation, relocateX86)
        : fromBase(relocation, target.symbol, target.home());
    case R_X86_64.GOTPC32:
    case R_X86_64.GOTPC64:
      assertInCode(relocation);
      return settle(relocation, relocateX86);
    default:
      throw put.unsupported();
  }
}

function relativeX86(relocation: OpenRelocation): KeptRelocation | undefined {
  const { type, target, isFixed, isNear } = relocation;
  if (!isFixed && isNear(target.home())) return settle(relocation, relocateX86);
  if (type === R_X86_64.PLT32 && isFixed && target.symbol === 0) return noCall(relocation);
  return keep(relocation, type === R_X86_64.PLT32 ? R_X86_64.PC32 : type, target.symbol);
}

/** A call of what nobody defines is never made: its distance may be any. */
function noCall({ type, target, put }: OpenRelocation): undefined {
  if (target.symbol !== 0 || type === R_X86_64.GOTOFF64)
    throw put.refuse('expected a symbol in a section, got one that is a number');
  put.number(type === R_X86_64.PLT32 ? 'signed32' : 'bits64', 0);
}

function slotX86(relocation: OpenRelocation): KeptRelocation {
  return { ...keep(relocation, R_X86_64.PC32, relocation.target.got()), isFixed: false };
}

function relaxedX86(relocation: OpenRelocation): KeptRelocation | undefined {
  const { content, offset, target, isNear } = relocation;
  const change = relaxed(content, offset);
  if (change === undefined) return slotX86(relocation);
  if (isNear(target.home())) return settle(relocation, relocateX86);
  content[offset - 2] = change.octets[0];
  if (change.back === 0) content[offset - 1] = change.octets[1];
  else content[offset + 3] = NOP;
  return { ...keep(relocation, R_X86_64.PC32, target.symbol), shift: -change.back };
}

const NOP = 0x90;

/** S + A - GOT, as a distance from the place: the base is as far from the place as it will ever be. */
function fromBase(relocation: OpenRelocation, address: number, home = address): KeptRelocation {
  assertInCode(relocation);
  const { place, target } = relocation;
  const addend = target.addend + place - target.gotBase;
  return { type: R_X86_64.PC64, shift: 0, target: address, home, isFixed: false, addend };
}

function assertInCode({ isNear, target, put }: OpenRelocation): void {
  if (!isNear(target.gotBase))
    throw put.refuse('expected a distance from the table of addresses in code, got one in data');
}

const ARM_RELATIVE: readonly number[] = [
  R_AARCH64.PREL64,
  R_AARCH64.PREL32,
  R_AARCH64.PREL16,
  R_AARCH64.PLT32,
  R_AARCH64.CALL26,
  R_AARCH64.JUMP26,
  R_AARCH64.CONDBR19,
  R_AARCH64.TSTBR14,
  R_AARCH64.LD_PREL_LO19,
  R_AARCH64.ADR_PREL_LO21,
];
const ARM_BRANCHES: readonly number[] = [R_AARCH64.CALL26, R_AARCH64.JUMP26];
const ARM_PAGES: readonly number[] = [R_AARCH64.ADR_PREL_PG_HI21, R_AARCH64.ADR_PREL_PG_HI21_NC];
/** From a slot that the linker finds to an address that is known. */
const ARM_SLOTS: ReadonlyMap<number, number> = new Map([
  [R_AARCH64.ADR_GOT_PAGE, R_AARCH64.ADR_PREL_PG_HI21],
  [R_AARCH64.LD64_GOT_LO12_NC, R_AARCH64.LDST64_ABS_LO12_NC],
  [R_AARCH64.GOT_LD_PREL19, R_AARCH64.LD_PREL_LO19],
] as const);

function retargetArm(relocation: OpenRelocation): KeptRelocation | undefined {
  const { type, target, isFixed, isNear, put } = relocation;
  if (type === R_AARCH64.NONE || type === R_AARCH64.NONE_ALTERNATIVE) return undefined;
  const slotType = ARM_SLOTS.get(type);
  if (slotType !== undefined) return { ...keep(relocation, slotType, target.got()), isFixed: false };
  // The table begins on a page, in the plan as in the application.
  if (type === R_AARCH64.LD64_GOTPAGE_LO15) return settle(relocation, relocateArm);
  if (ARM_BRANCHES.includes(type) && isFixed && target.symbol === 0) {
    put.instruction(-1, ARM_NOP);
    return undefined;
  }
  if (ARM_RELATIVE.includes(type) && !isFixed && isNear(target.home())) return settle(relocation, relocateArm);
  const isDistance = ARM_RELATIVE.includes(type) || ARM_PAGES.includes(type);
  if (isFixed && !isDistance) return settle(relocation, relocateArm);
  if (!KNOWN_ARM.has(type)) throw put.unsupported();
  return keep(relocation, type, target.symbol);
}

const KNOWN_ARM: ReadonlySet<number> = new Set(Object.values(R_AARCH64));

function settle(relocation: OpenRelocation, apply: (relocation: Relocation) => void): undefined {
  apply(relocation);
  return undefined;
}

function keep({ target, isFixed }: OpenRelocation, type: number, address: number): KeptRelocation {
  const home = address === target.symbol ? target.home() : address;
  return { type, shift: 0, target: address, home, isFixed, addend: target.addend };
}
