/** A classic BPF assembler that writes a program from its end to its start: linux/filter.h, bpf(4). */
import { bad } from './error.js';

/** A place in the program: how many instructions lie from it to the end. */
export type Label = number & { readonly label: true };

/** The comparisons that classic BPF has. */
export type Comparison = 'eq' | 'gt' | 'ge';

/**
 * Classic BPF jumps forwards only. So the program is emitted backwards: every target is known when a jump to it is emitted, and a
 * jump too far for its 8 bits gets a stepping stone on the way.
 */
export class BpfAssembler {
  readonly #backwards: { code: number; jt: number; jf: number; k: number }[] = [];
  readonly #littleEndian: boolean;

  /** `bigEndian` says in which byte order the machine reads its program. */
  constructor({ bigEndian = false }: { readonly bigEndian?: boolean } = {}) {
    this.#littleEndian = !bigEndian;
  }

  /** Ends the program with `value`. */
  ret(value: number): Label {
    return this.#emit(BPF.ret, 0, 0, value);
  }

  /** Loads 32 bits of `seccomp_data` from `offset` into the accumulator. */
  load(offset: number): Label {
    return this.#emit(BPF.load, 0, 0, offset);
  }

  /** Keeps the bits of `mask` in the accumulator. */
  and(mask: number): Label {
    return this.#emit(BPF.and, 0, 0, mask);
  }

  /** Compares the accumulator with `value` and goes on at one of two places. */
  jump(comparison: Comparison, value: number, yes: Label, no: Label): Label {
    const far = this.#reach(no, 1);
    const near = this.#reach(yes, 0);
    const code = { eq: BPF.jumpEq, gt: BPF.jumpGt, ge: BPF.jumpGe }[comparison];
    return this.#emit(code, this.#distance(near), this.#distance(far), value);
  }

  /** Makes `target` the instruction that comes next, by a jump unless it does anyway. */
  goto(target: Label): Label {
    return target === this.here ? target : this.#emit(BPF.jumpAlways, 0, 0, this.#distance(target));
  }

  /** The place that was emitted last. */
  get here(): Label {
    return this.#backwards.length as Label; // labels are made here and in #emit only
  }

  /** The program as `struct sock_filter[]`. */
  assemble(): Uint8Array {
    const program = this.#backwards.toReversed();
    const view = new DataView(new ArrayBuffer(program.length * 8));
    program.forEach(({ code, jt, jf, k }, i) => {
      view.setUint16(i * 8, code, this.#littleEndian);
      view.setUint8(i * 8 + 2, jt);
      view.setUint8(i * 8 + 3, jf);
      view.setUint32(i * 8 + 4, k, this.#littleEndian);
    });
    return new Uint8Array(view.buffer);
  }

  // `ahead` stepping stones may still come between.
  #reach(target: Label, ahead: number): Label {
    const distance = this.#distance(target);
    if (distance + ahead <= MAX_JUMP) return target;
    return this.#emit(BPF.jumpAlways, 0, 0, distance);
  }

  #distance(target: Label): number {
    return this.#backwards.length - target;
  }

  #emit(code: number, jt: number, jf: number, k: number): Label {
    if (this.#backwards.length >= MAX_INSTRUCTIONS) {
      throw bad(
        `expected a seccomp program of at most ${MAX_INSTRUCTIONS} instructions, got more: use fewer argument tests`,
      );
    }
    this.#backwards.push({ code, jt, jf, k: k >>> 0 });
    return this.here;
  }
}

const MAX_JUMP = 255;
const MAX_INSTRUCTIONS = 4096; // BPF_MAXINSNS

const BPF = {
  load: 0x20, // BPF_LD | BPF_W | BPF_ABS
  and: 0x54, // BPF_ALU | BPF_AND | BPF_K
  jumpAlways: 0x05, // BPF_JMP | BPF_JA
  jumpEq: 0x15, // BPF_JMP | BPF_JEQ | BPF_K
  jumpGt: 0x25, // BPF_JMP | BPF_JGT | BPF_K
  jumpGe: 0x35, // BPF_JMP | BPF_JGE | BPF_K
  ret: 0x06, // BPF_RET | BPF_K
} as const;
