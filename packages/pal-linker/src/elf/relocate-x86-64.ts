/** Relocations of x86-64. System V psABI, sections 4.4 (relocation types) and B.2 (relaxing the use of the GOT). */
import { R_X86_64 } from './constants.js';
import type { NumberForm, Relocation } from './relocate.js';

/** Whether it needs a slot in the global offset table: not where the instruction can do with the address itself. */
export function needsGotX86(type: number, content: Uint8Array, offset: number): boolean {
  if (!isRelaxable(type)) return isSlotType(type);
  return relaxed(content, offset) === undefined && immediate(type, content, offset) === undefined;
}

/** The same where addresses are not known yet, but only distances: an address cannot stand in an instruction. */
export function needsMovableGotX86(type: number, content: Uint8Array, offset: number): boolean {
  return isRelaxable(type) ? relaxed(content, offset) === undefined : isSlotType(type);
}

/** Whether a slot is what it refers to, unless the instruction can be another one. */
export function refersToSlotX86(type: number): boolean {
  return isRelaxable(type) || isSlotType(type);
}

function isRelaxable(type: number): boolean {
  return type === R_X86_64.GOTPCRELX || type === R_X86_64.REX_GOTPCRELX;
}

function isSlotType(type: number): boolean {
  return type === R_X86_64.GOTPCREL || type === R_X86_64.GOT64 || type === R_X86_64.GOTPCREL64;
}

type Formula = (relocation: Relocation) => number;

/** S + A */
const absolute: Formula = ({ target }) => target.symbol + target.addend;
/** S + A - P */
const relative: Formula = ({ target, place }) => target.symbol + target.addend - place;
/** Z + A */
const size: Formula = ({ target }) => target.size + target.addend;
/** S + A - GOT */
const fromGot: Formula = ({ target }) => target.symbol + target.addend - target.gotBase;
/** GOT + A - P */
const gotRelative: Formula = ({ target, place }) => target.gotBase + target.addend - place;
/** G + A */
const slot: Formula = ({ target }) => target.got() - target.gotBase + target.addend;
/** G + GOT + A - P */
const slotRelative: Formula = ({ target, place }) => target.got() + target.addend - place;

/** psABI, table 4.10: what is written, and how. */
const FORMULAS: ReadonlyMap<number, readonly [NumberForm, Formula]> = new Map([
  [R_X86_64[64], ['bits64', absolute]],
  [R_X86_64.PC32, ['signed32', relative]],
  [R_X86_64.PLT32, ['signed32', relative]],
  [R_X86_64[32], ['unsigned32', absolute]],
  [R_X86_64['32S'], ['signed32', absolute]],
  [R_X86_64[16], ['either16', absolute]],
  [R_X86_64.PC16, ['signed16', relative]],
  [R_X86_64[8], ['either8', absolute]],
  [R_X86_64.PC8, ['signed8', relative]],
  [R_X86_64.PC64, ['bits64', relative]],
  [R_X86_64.SIZE32, ['unsigned32', size]],
  [R_X86_64.SIZE64, ['bits64', size]],
  [R_X86_64.GOTPCREL, ['signed32', slotRelative]],
  [R_X86_64.GOTPCREL64, ['bits64', slotRelative]],
  [R_X86_64.GOT64, ['bits64', slot]],
  [R_X86_64.GOTOFF64, ['bits64', fromGot]],
  [R_X86_64.PLTOFF64, ['bits64', fromGot]],
  [R_X86_64.GOTPC32, ['signed32', gotRelative]],
  [R_X86_64.GOTPC64, ['bits64', gotRelative]],
] as const);

/** Applies one relocation. */
export function relocateX86(relocation: Relocation): void {
  const { type, put } = relocation;
  if (type === R_X86_64.NONE) return;
  if (isRelaxable(type)) {
    relax(relocation);
    return;
  }
  const known = FORMULAS.get(type);
  if (known === undefined) throw put.unsupported();
  put.number(known[0], known[1](relocation));
}

/** The two octets in front of the displacement, as they are and as they become. */
interface Relaxed {
  readonly octets: readonly [number, number];
  /** Bytes by which the displacement moves back: `jmp` becomes shorter than its slot. */
  readonly back: 0 | 1;
}

/**
 * `mov name@GOTPCREL(%rip), %reg` becomes `lea name(%rip), %reg`; `call *name@GOTPCREL(%rip)` becomes `addr32 call name`, and
 * `jmp *name@GOTPCREL(%rip)` `jmp name; nop`. Others keep their slot.
 */
export function relaxed(content: Uint8Array, offset: number): Relaxed | undefined {
  const opcode = content[offset - 2];
  const modRm = content[offset - 1];
  if (opcode === 0x8b && modRm !== undefined) return { octets: [0x8d, modRm], back: 0 };
  if (opcode === 0xff && modRm === 0x15) return { octets: [0x67, 0xe8], back: 0 };
  if (opcode === 0xff && modRm === 0x25) return { octets: [0xe9, 0], back: 1 };
  return undefined;
}

/** Counted from its end, a distance is that much less than from its start; an address in its place is not. */
const DISPLACEMENT = 4;
/** `add`, `or`, `adc`, `sbb`, `and`, `sub`, `xor`, `cmp` of memory and a register: 8 times their number, and 3. */
const ARITHMETIC_END = 0x3b;

/**
 * `cmp name@GOTPCREL(%rip), %reg` becomes `cmp $name, %reg`, and so do `test` and what computes; gives the octets in front of the
 * constant. Only with a REX prefix: these are the ones of 64 bits. psABI, B.2; all addresses of a PAL are below 2 GiB.
 */
function immediate(type: number, content: Uint8Array, offset: number): readonly number[] | undefined {
  const [prefix = 0, opcode = 0, modRm = 0] = [content[offset - 3], content[offset - 2], content[offset - 1]];
  if (type !== R_X86_64.REX_GOTPCRELX || offset < 3 || (prefix & 0xf8) !== 0x48) return undefined;
  const register = (modRm >> 3) & 7;
  const rex = (prefix & ~4) | ((prefix & 4) >> 2); // the register moves from the field R extends to the one B extends
  if (opcode === 0x85) return [rex, 0xf7, 0xc0 | register];
  const isArithmetic = opcode <= ARITHMETIC_END && (opcode & 7) === 3;
  return isArithmetic ? [rex, 0x81, 0xc0 | (opcode & 0x38) | register] : undefined;
}

function relax(relocation: Relocation): void {
  const { type, target, place, put, content, offset } = relocation;
  const change = relaxed(content, offset);
  const constant = change === undefined ? immediate(type, content, offset) : undefined;
  if (constant !== undefined) {
    content.set(constant, offset - constant.length);
    put.number('signed32', target.symbol + target.addend + DISPLACEMENT);
    return;
  }
  if (change === undefined) {
    put.number('signed32', slotRelative(relocation));
    return;
  }
  const { octets, back } = change;
  content[offset - 2] = octets[0];
  if (back === 0) content[offset - 1] = octets[1];
  // Counted from the end of the displacement, which moves with it.
  put.number('signed32', target.symbol + target.addend - place + back, -back);
  if (back === 1) content[offset + 3] = NOP;
}

const NOP = 0x90;
