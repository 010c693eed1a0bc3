/** Relocations of x86-64. System V psABI, sections 4.4 (relocation types) and B.2 (relaxing the use of the GOT). */
import { R_X86_64 } from './constants.js';
import type { NumberForm, Relocation } from './relocate.js';

/** Whether it needs a slot in the global offset table: not where the instruction can do with the address itself. */
export function needsGotX86(type: number, content: Uint8Array, offset: number): boolean {
  if (type === R_X86_64.GOTPCRELX || type === R_X86_64.REX_GOTPCRELX) return relaxed(content, offset) === undefined;
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
  if (type === R_X86_64.GOTPCRELX || type === R_X86_64.REX_GOTPCRELX) {
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

function relax(relocation: Relocation): void {
  const { target, place, put, content, offset } = relocation;
  const change = relaxed(content, offset);
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
