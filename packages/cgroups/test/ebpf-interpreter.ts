/** An interpreter for the eBPF instructions of device programs, to judge the compiler by: instruction-set.rst. */

/** What is asked of a device. */
export interface DeviceRequest {
  readonly type: 'char' | 'block';
  readonly major: number;
  readonly minor: number;
  readonly access: string;
}

/** Runs a program on `struct bpf_cgroup_dev_ctx`; true if it allows. Throws for an instruction that it does not know. */
export function runDeviceProgram(program: Uint8Array, { type, major, minor, access }: DeviceRequest): boolean {
  const bits = [...access].reduce((sum, letter) => sum | ({ m: 1, r: 2, w: 4 }[letter] ?? 0), 0);
  const context = [(bits << 16) | (type === 'block' ? 1 : 2), major, minor];
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const registers = new Array<number>(11).fill(0);
  for (let at = 0; at < program.length / 8; at++) {
    const operation = code.getUint8(at * 8);
    const destination = code.getUint8(at * 8 + 1) & 15;
    const source = code.getUint8(at * 8 + 1) >> 4;
    const offset = code.getInt16(at * 8 + 2, true);
    const immediate = code.getInt32(at * 8 + 4, true);
    const value = registers[destination] ?? 0;
    switch (operation) {
      case 0x61:
        if (source !== 1 || offset % 4 !== 0) throw new Error('a load that is not from the context');
        registers[destination] = context[offset / 4] ?? Number.NaN;
        break;
      case 0xbc:
        registers[destination] = (registers[source] ?? 0) >>> 0;
        break;
      case 0xb7:
        registers[destination] = immediate;
        break;
      case 0x74:
        registers[destination] = value >>> immediate;
        break;
      case 0x54:
        registers[destination] = (value & immediate) >>> 0;
        break;
      case 0x05:
        at += offset;
        break;
      case 0x16:
        if (value === immediate) at += offset;
        break;
      case 0x56:
        if (value !== immediate) at += offset;
        break;
      case 0x46:
        if (value & immediate) at += offset;
        break;
      case 0x95:
        return registers[0] === 1;
      default:
        throw new Error(`unknown instruction 0x${operation.toString(16)}`);
    }
  }
  throw new Error('ran past the end');
}
