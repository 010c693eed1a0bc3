/** A walk over the instructions of a function body (WebAssembly Core Specification, section 5.4). */
import type { Reader } from '@casemate/wire';
import { readVars33, skipSigned, varu32 } from './leb128.js';
import { VALUE_TYPES } from './module-section.js';

/** What a walk reports about one instruction; offsets are from the start of the reader's bytes. */
export interface Instruction {
  /** The first byte. */
  readonly opcode: number;
  /** The number behind a prefix byte 0xfc or 0xfd, else 0. */
  readonly sub: number;
  /** Where the instruction begins. */
  readonly start: number;
  /** Where the next one begins. */
  readonly end: number;
}

/** Called with the offset and name of something that a PAL may not use; it throws. */
export type Refuse = (start: number, what: string) => never;

/** Reads one instruction. Throws `WireError` where the bytes are short, and whatever `refuse` throws. */
export function readInstruction(reader: Reader, refuse: Refuse): Instruction {
  const start = reader.offset;
  const opcode = reader.u8('opcode');
  const sub = opcode === 0xfc || opcode === 0xfd ? varu32.read(reader) : 0;
  const problem = skipImmediates(reader, opcode, sub);
  return problem === undefined ? { opcode, sub, start, end: reader.offset } : refuse(start, problem);
}

/** Whether the instruction computes with floating-point numbers or vectors, so that NaN payloads can show. */
export function isFloatingPoint({ opcode, sub }: Instruction): boolean {
  if (opcode === 0xfd) return true;
  if (opcode === 0xfc) return sub < 8;
  return (
    opcode === 0x2a ||
    opcode === 0x2b ||
    opcode === 0x38 ||
    opcode === 0x39 ||
    opcode === 0x43 ||
    opcode === 0x44 ||
    (opcode >= 0x5b && opcode <= 0x66) ||
    (opcode >= 0x8b && opcode <= 0xa6) ||
    (opcode >= 0xa8 && opcode <= 0xab) ||
    (opcode >= 0xae && opcode <= 0xbf)
  );
}

/** Skips what follows the opcode; returns what is wrong with it, if it is not allowed. */
function skipImmediates(r: Reader, opcode: number, sub: number): string | undefined {
  if (opcode === 0xfc) return skipBulk(r, sub);
  if (opcode === 0xfd) return skipVector(r, sub);
  if (opcode >= 0x45 && opcode <= 0xc4) return undefined;
  if (opcode >= 0x28 && opcode <= 0x3e) return skipMemoryArgument(r);
  const shape = IMMEDIATES[opcode];
  if (shape === undefined) return FORBIDDEN[opcode] ?? `the unknown opcode 0x${opcode.toString(16)}`;
  return shape(r);
}

type Skip = (r: Reader) => string | undefined;

const none: Skip = () => undefined;
const index: Skip = (r) => {
  varu32.read(r);
  return undefined;
};
const twoIndexes: Skip = (r) => {
  varu32.read(r);
  varu32.read(r);
  return undefined;
};
/** None, one value type, or the number of a type. Of others a linker does not know where they end. */
const blockType: Skip = (r) => {
  const first = r.offset;
  const value = readVars33(r);
  const isKnown = value >= 0 || (r.offset === first + 1 && (value === NO_VALUE || VALUE_TYPES.has(value & 0x7f)));
  return isKnown ? undefined : otherType(value & 0x7f);
};
const NO_VALUE = -0x40;
const branchTable: Skip = (r) => {
  for (let left = varu32.read(r); left > 0; left--) varu32.read(r);
  varu32.read(r);
  return undefined;
};
const typedSelect: Skip = (r) => {
  for (let left = varu32.read(r); left > 0; left--) {
    const type = r.u8('valtype');
    if (!VALUE_TYPES.has(type)) return otherType(type);
  }
  return undefined;
};
const heapType: Skip = (r) => {
  const type = r.u8('heap type');
  return type === FUNCTION || type === EXTERNAL ? undefined : otherType(type);
};
const FUNCTION = 0x70;
const EXTERNAL = 0x6f;

function otherType(type: number): string {
  return `the type 0x${type.toString(16)}`;
}
const memoryIndex: Skip = (r) => (r.u8('memidx') === 0 ? undefined : 'an access to a second memory');
const raw =
  (length: number): Skip =>
  (r) => {
    r.take(length, 'constant');
    return undefined;
  };
const signed =
  (bits: number): Skip =>
  (r) => {
    skipSigned(r, bits);
    return undefined;
  };

function skipMemoryArgument(r: Reader): string | undefined {
  const alignment = varu32.read(r);
  varu32.read(r);
  return alignment < 32 ? undefined : 'an access to a second memory';
}

function skipBulk(r: Reader, sub: number): string | undefined {
  const shape = BULK[sub];
  if (sub === 15) return 'table.grow, whose failure is not deterministic';
  return shape === undefined ? `the unknown instruction 0xfc ${sub}` : shape(r);
}

function skipVector(r: Reader, sub: number): string | undefined {
  if (sub >= 0x100) return 'relaxed SIMD, whose results differ between processors';
  if (sub <= 11 || sub === 92 || sub === 93) return skipMemoryArgument(r);
  if (sub === 12 || sub === 13) return raw(16)(r);
  if (sub >= 21 && sub <= 34) return raw(1)(r);
  if (sub >= 84 && sub <= 91) return skipMemoryArgument(r) ?? raw(1)(r);
  return undefined;
}

const BULK: Readonly<Record<number, Skip>> = {
  0: none,
  1: none,
  2: none,
  3: none,
  4: none,
  5: none,
  6: none,
  7: none,
  8: (r) => index(r) ?? memoryIndex(r),
  9: index,
  10: (r) => memoryIndex(r) ?? memoryIndex(r),
  11: memoryIndex,
  12: twoIndexes,
  13: index,
  14: twoIndexes,
  16: index,
  17: index,
};

const IMMEDIATES: Readonly<Record<number, Skip>> = {
  0: none,
  1: none,
  2: blockType,
  3: blockType,
  4: blockType,
  5: none,
  11: none,
  12: index,
  13: index,
  14: branchTable,
  15: none,
  16: index,
  17: twoIndexes,
  26: none,
  27: none,
  28: typedSelect,
  32: index,
  33: index,
  34: index,
  35: index,
  36: index,
  37: index,
  38: index,
  63: memoryIndex,
  64: memoryIndex,
  65: signed(32),
  66: signed(64),
  67: raw(4),
  68: raw(8),
  208: heapType,
  209: none,
  210: index,
};

const FORBIDDEN: Readonly<Record<number, string>> = {
  6: 'exception handling',
  7: 'exception handling',
  8: 'exception handling',
  9: 'exception handling',
  10: 'exception handling',
  18: 'a tail call',
  19: 'a tail call',
  20: 'a typed function reference',
  21: 'a typed function reference',
  24: 'exception handling',
  25: 'exception handling',
  31: 'exception handling',
  251: 'garbage-collected references',
  254: 'threads',
};
