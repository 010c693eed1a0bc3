/** An assembler for the few eBPF instructions that a device program needs: kernel docs bpf/standardization/instruction-set.rst. */

/** A place in a program, to jump to. */
export interface EbpfLabel {
  /** Index of the instruction at that place; undefined until it is placed. */
  at: number | undefined;
}

interface Instruction {
  readonly code: number;
  readonly destination: number;
  readonly source: number;
  readonly immediate: number;
  readonly offset: number | EbpfLabel;
}

/** Collects instructions; jumps go forwards to labels that are placed later. Words are 32 bits, registers r0 … r10. */
export class EbpfAssembler {
  readonly #instructions: Instruction[] = [];

  /** A label that is not placed yet. */
  label(): EbpfLabel {
    return { at: undefined };
  }

  /** Places `label` before the next instruction. */
  place(label: EbpfLabel): void {
    label.at = this.#instructions.length;
  }

  /** `to = *(u32 *)(base + offset)`. */
  loadWord(to: number, base: number, offset: number): void {
    this.#emit({ code: CODE.loadWord, destination: to, source: base, offset });
  }

  /** `to = from`, the low 32 bits. */
  move(to: number, from: number): void {
    this.#emit({ code: CODE.move, destination: to, source: from });
  }

  /** `register = value`. */
  setImmediate(register: number, value: number): void {
    this.#emit({ code: CODE.set, destination: register, immediate: value });
  }

  /** `register >>= bits`, filling with zeros. */
  shiftRight(register: number, bits: number): void {
    this.#emit({ code: CODE.shiftRight, destination: register, immediate: bits });
  }

  /** `register &= mask`. */
  and(register: number, mask: number): void {
    this.#emit({ code: CODE.and, destination: register, immediate: mask });
  }

  /** Goes on at `target` if the register holds `value`. */
  jumpIfEqual(register: number, value: number, target: EbpfLabel): void {
    this.#emit({ code: CODE.jumpEqual, destination: register, immediate: value, offset: target });
  }

  /** Goes on at `target` unless the register holds `value`. */
  jumpUnlessEqual(register: number, value: number, target: EbpfLabel): void {
    this.#emit({ code: CODE.jumpNotEqual, destination: register, immediate: value, offset: target });
  }

  /** Goes on at `target` unless the register has one of the bits of `mask`. */
  jumpUnlessAny(register: number, mask: number, target: EbpfLabel): void {
    const hit = this.label();
    this.#emit({ code: CODE.jumpAny, destination: register, immediate: mask, offset: hit });
    this.#emit({ code: CODE.jump, offset: target });
    this.place(hit);
  }

  /** Ends the program with r0. */
  exit(): void {
    this.#emit({ code: CODE.exit });
  }

  /** The program as `struct bpf_insn[]`, little-endian. Throws `RangeError` for a label that was never placed or is too far. */
  assemble(): Uint8Array {
    const view = new DataView(new ArrayBuffer(this.#instructions.length * 8));
    this.#instructions.forEach(({ code, destination, source, offset, immediate }, index) => {
      view.setUint8(index * 8, code);
      view.setUint8(index * 8 + 1, (source << 4) | destination);
      view.setInt16(index * 8 + 2, typeof offset === 'number' ? offset : distance(offset, index), true);
      view.setInt32(index * 8 + 4, immediate, true);
    });
    return new Uint8Array(view.buffer);
  }

  #emit(instruction: Partial<Instruction> & { readonly code: number }): void {
    this.#instructions.push({ destination: 0, source: 0, immediate: 0, offset: 0, ...instruction });
  }
}

function distance({ at }: EbpfLabel, from: number): number {
  const steps = (at ?? Number.NaN) - from - 1;
  if (steps >= 0 && steps <= 0x7fff) return steps;
  throw new RangeError(`assemble eBPF: expected a label at most 32767 instructions ahead, got ${steps}`);
}

const CODE = {
  loadWord: 0x61, // LDX | MEM | W
  move: 0xbc, // ALU | MOV | X
  set: 0xb7, // ALU64 | MOV | K
  shiftRight: 0x74, // ALU | RSH | K
  and: 0x54, // ALU | AND | K
  jump: 0x05, // JMP | JA
  jumpEqual: 0x16, // JMP32 | JEQ | K
  jumpNotEqual: 0x56, // JMP32 | JNE | K
  jumpAny: 0x46, // JMP32 | JSET | K
  exit: 0x95, // JMP | EXIT
} as const;
