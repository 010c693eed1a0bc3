/** A classic BPF machine, written against linux/filter.h and bpf(4), that judges what the compiler makes. */

/** One system call as the kernel shows it to a filter (`struct seccomp_data`). */
export interface Call {
  readonly nr: number;
  readonly arch: number;
  readonly args: readonly bigint[];
}

/** Runs `program` on `call`, counting its steps; throws where the kernel's verifier would have refused the program. */
export function interpret(program: Uint8Array, call: Call, { bigEndian = false, steps = { count: 0 } } = {}): number {
  const little = !bigEndian;
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const data = seccompData(call, little);
  const length = program.length / 8;
  let a = 0;
  for (let pc = 0; ; pc++) {
    steps.count++;
    if (pc >= length) throw new Error(`ran off the end at ${pc}`);
    const [op, jt, jf, k] = [
      code.getUint16(pc * 8, little),
      code.getUint8(pc * 8 + 2),
      code.getUint8(pc * 8 + 3),
      code.getUint32(pc * 8 + 4, little),
    ];
    switch (op) {
      case 0x20:
        if (k % 4 !== 0 || k > 60) throw new Error(`load at ${k}`);
        a = data.getUint32(k, little);
        break;
      case 0x54:
        a = (a & k) >>> 0;
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        pc += a === k ? jt : jf;
        break;
      case 0x25:
        pc += a > k ? jt : jf;
        break;
      case 0x35:
        pc += a >= k ? jt : jf;
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`instruction 0x${op.toString(16)}`);
    }
  }
}

function seccompData({ nr, arch, args }: Call, little: boolean): DataView {
  const view = new DataView(new ArrayBuffer(64));
  view.setUint32(0, nr, little);
  view.setUint32(4, arch, little);
  args.forEach((arg, i) => {
    view.setBigUint64(16 + 8 * i, arg, little);
  });
  return view;
}
