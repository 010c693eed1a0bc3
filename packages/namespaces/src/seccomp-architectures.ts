/** Architectures that a filter can tell apart: linux/audit.h (AUDIT_ARCH_*), and where each keeps its call numbers and arguments. */

/** What a compiler has to know of an architecture. */
export interface ArchitectureFacts {
  /** The value of `seccomp_data.arch`. */
  readonly audit: number;
  /** What the architecture's call numbers start from. */
  readonly base: number;
  /** Its column in the table of calls. */
  readonly column: number;
  /**
   * What the kernel shows of an argument: all 64 bits, 32 bits with a zero upper half, or 32 bits with an upper half that repeats
   * the sign and says nothing.
   */
  readonly argument: 'wide' | 'narrow' | 'sign-extended';
  /** Whether the lower half of an argument comes second. */
  readonly bigEndian: boolean;
  /** Whether the calls of sockets and of System V IPC can also be made through socketcall(2) and ipc(2). */
  readonly multiplexed: boolean;
}

const facts = (
  audit: number,
  column: number,
  { base = 0, argument = 'wide', bigEndian = false, multiplexed = false }: Partial<ArchitectureFacts> = {},
): ArchitectureFacts => ({ audit, column, base, argument, bigEndian, multiplexed });

/** The architectures by the names that libseccomp gives them. */
export const ARCHITECTURES = {
  x86_64: facts(0xc000_003e, 0),
  // Shares its audit value with x86_64; its arguments come in the same 64-bit registers.
  x32: facts(0xc000_003e, 1, { base: 0x4000_0000 }),
  x86: facts(0x4000_0003, 2, { argument: 'narrow', multiplexed: true }),
  aarch64: facts(0xc000_00b7, 3),
  riscv64: facts(0xc000_00f3, 4),
  loongarch64: facts(0xc000_0102, 5),
  arm: facts(0x4000_0028, 6, { argument: 'narrow' }),
  s390x: facts(0x8000_0016, 7, { bigEndian: true, multiplexed: true }),
  s390: facts(0x0000_0016, 8, { bigEndian: true, argument: 'narrow', multiplexed: true }),
  ppc64le: facts(0xc000_0015, 9, { multiplexed: true }),
  ppc64: facts(0x8000_0015, 9, { bigEndian: true, multiplexed: true }),
  ppc: facts(0x0000_0014, 10, { bigEndian: true, argument: 'narrow', multiplexed: true }),
  mips64: facts(0x8000_0008, 11, { base: 5000, bigEndian: true }),
  mipsel64: facts(0xc000_0008, 11, { base: 5000 }),
  mips64n32: facts(0xa000_0008, 12, { base: 6000, bigEndian: true, argument: 'sign-extended' }),
  mipsel64n32: facts(0xe000_0008, 12, { base: 6000, argument: 'sign-extended' }),
  mips: facts(0x0000_0008, 13, { base: 4000, bigEndian: true, argument: 'narrow', multiplexed: true }),
  mipsel: facts(0x4000_0008, 13, { base: 4000, argument: 'narrow', multiplexed: true }),
} as const satisfies Readonly<Record<string, ArchitectureFacts>>;

/** An architecture that filters can be made for. */
export type SeccompArch = keyof typeof ARCHITECTURES;

/** Whether `name` is an architecture that filters can be made for. */
export function isSeccompArch(name: string): name is SeccompArch {
  return Object.hasOwn(ARCHITECTURES, name);
}

/** The architecture of this machine. */
export function hostArchitecture(): SeccompArch {
  const found = HOSTS[process.arch];
  return found ?? 'x86_64';
}

// process.arch of Node. An unknown one has no launcher either.
const HOSTS: Readonly<Record<string, SeccompArch>> = {
  x64: 'x86_64',
  arm64: 'aarch64',
  arm: 'arm',
  ia32: 'x86',
  riscv64: 'riscv64',
  loong64: 'loongarch64',
  s390x: 's390x',
  ppc64: 'ppc64le',
};
