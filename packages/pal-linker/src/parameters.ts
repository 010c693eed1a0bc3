/** The parameters of a PAL's entry, and the options that limit them: the same for every kind of image. */
import { PalLinkerError } from './error.js';
import { PAL_ACCESS, PAL_PARAMETER, type PalParameter } from './image.js';

/** Bytes in front of the records of an input or output buffer (tzi_encode_buffer_t: return value, size, offset, size used). */
export const PAL_BUFFER_HEADER = 16;

/** The options that say how much a call may carry. */
export interface PalLimitOptions {
  /** Whether the PAL's state is protected against replay; false unless given. */
  readonly replayProtected?: boolean;
  /** The largest input, in bytes; 16,384 unless given. */
  readonly inputCapacity?: number;
  /** The largest output, in bytes; 16,384 unless given. */
  readonly outputCapacity?: number;
}

/** The same, checked and complete. */
export type PalLimits = Required<PalLimitOptions>;

const MAX_CAPACITY = 1024 * 1024;

/** Completes the options. Throws {@link PalLinkerError} with code `input`. */
export function readLimits(options: PalLimitOptions): PalLimits {
  return {
    replayProtected: options.replayProtected ?? false,
    inputCapacity: integerWithin('inputCapacity', options.inputCapacity ?? 16384, MAX_CAPACITY),
    outputCapacity: integerWithin('outputCapacity', options.outputCapacity ?? 16384, MAX_CAPACITY),
  };
}

/** Checks an option that is a number. Throws {@link PalLinkerError} with code `input`. */
export function integerWithin(name: string, value: number, maximum: number, minimum = 0): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
  const problem = `link PAL: ${name}: expected an integer from ${minimum} to ${maximum}, got ${value}`;
  throw new PalLinkerError('input', problem);
}

/** The four parameters of `pal(command, in, out, rv)`. */
export function palParameters(limits: PalLimits): readonly PalParameter[] {
  const { INTEGER, POINTER } = PAL_PARAMETER;
  return [
    { type: INTEGER, access: PAL_ACCESS.IN, size: 4 },
    { type: POINTER, access: PAL_ACCESS.IN, size: PAL_BUFFER_HEADER + limits.inputCapacity },
    { type: POINTER, access: PAL_ACCESS.OUT, size: PAL_BUFFER_HEADER + limits.outputCapacity },
    { type: POINTER, access: PAL_ACCESS.OUT, size: 4 },
  ];
}

/** Bytes that both buffers and the return code need, each on a multiple of 8. */
export function parameterBytes(limits: PalLimits): number {
  return 16 + 2 * PAL_BUFFER_HEADER + align8(limits.inputCapacity) + align8(limits.outputCapacity);
}

function align8(length: number): number {
  return (length + 7) & ~7;
}
