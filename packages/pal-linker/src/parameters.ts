/** The parameters of a PAL's entry, and the options that limit them: the same for every kind of image. */
import { PalLinkerError } from './error.js';
import { PAL_ACCESS, PAL_FLAGS, PAL_PARAMETER, type PalParameter } from './image.js';

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
  /**
   * The entry's own parameters, 1 to 10, instead of `pal(command, in, out, rv)`: the entry is then a function of these that may return
   * a u32. An integer is of 4 or 8 bytes; a pointer leads to `size` bytes that are copied in, out, or both ways.
   */
  readonly parameters?: readonly PalParameter[];
}

/** The same, checked and complete. */
export type PalLimits = Required<PalLimitOptions>;

const MAX_CAPACITY = 1024 * 1024;
const MAX_PARAMETERS = 10;

/** Completes the options. Throws {@link PalLinkerError} with code `input`. */
export function readLimits(options: PalLimitOptions): PalLimits {
  return {
    replayProtected: options.replayProtected ?? false,
    inputCapacity: integerWithin('inputCapacity', options.inputCapacity ?? 16384, MAX_CAPACITY),
    outputCapacity: integerWithin('outputCapacity', options.outputCapacity ?? 16384, MAX_CAPACITY),
    parameters: readParameters(options.parameters),
  };
}

function readParameters(parameters: readonly PalParameter[] | undefined): readonly PalParameter[] {
  if (parameters === undefined) return [];
  integerWithin('parameters', parameters.length, MAX_PARAMETERS, 1);
  parameters.forEach(assertParameter);
  integerWithin('size of all parameters', marshalledBytes(parameters), MAX_CAPACITY);
  return parameters.map(({ type, access, size }) => ({ type, access, size }));
}

function assertParameter({ type, access, size }: PalParameter, index: number): void {
  const isInteger = type === PAL_PARAMETER.INTEGER && access === PAL_ACCESS.IN && (size === 4 || size === 8);
  if (isInteger) return;
  if (type === PAL_PARAMETER.POINTER && [1, 2, 3].includes(access)) {
    integerWithin(`parameter ${index}`, size, MAX_CAPACITY, 1);
    return;
  }
  const problem = 'expected an integer that goes in, of 4 or 8 bytes, or a pointer';
  throw new PalLinkerError('input', `link PAL: parameter ${index}: ${problem}, got ${type}, ${access}, ${size}`);
}

/** The image's flags that follow from these. */
export function limitFlags(limits: PalLimits): number {
  const isMarshalled = limits.parameters.length > 0;
  return (limits.replayProtected ? PAL_FLAGS.replayProtected : 0) | (isMarshalled ? PAL_FLAGS.marshalled : 0);
}

/** Checks an option that is a number. Throws {@link PalLinkerError} with code `input`. */
export function integerWithin(name: string, value: number, maximum: number, minimum = 0): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
  const problem = `link PAL: ${name}: expected an integer from ${minimum} to ${maximum}, got ${value}`;
  throw new PalLinkerError('input', problem);
}

/** The parameters of the entry: its own, or the four of `pal(command, in, out, rv)`. */
export function palParameters(limits: PalLimits): readonly PalParameter[] {
  if (limits.parameters.length > 0) return limits.parameters;
  const { INTEGER, POINTER } = PAL_PARAMETER;
  return [
    { type: INTEGER, access: PAL_ACCESS.IN, size: 4 },
    { type: POINTER, access: PAL_ACCESS.IN, size: PAL_BUFFER_HEADER + limits.inputCapacity },
    { type: POINTER, access: PAL_ACCESS.OUT, size: PAL_BUFFER_HEADER + limits.outputCapacity },
    { type: POINTER, access: PAL_ACCESS.OUT, size: 4 },
  ];
}

/** Bytes that both buffers and the return code need, each on a multiple of 8, or what pointers lead to, each on one of 16. */
export function parameterBytes(limits: PalLimits): number {
  if (limits.parameters.length > 0) return marshalledBytes(limits.parameters);
  return 16 + 2 * PAL_BUFFER_HEADER + align8(limits.inputCapacity) + align8(limits.outputCapacity);
}

function marshalledBytes(parameters: readonly PalParameter[]): number {
  const pointers = parameters.filter(({ type }) => type === PAL_PARAMETER.POINTER);
  return pointers.reduce((sum, { size }) => sum + Math.ceil(size / 16) * 16, 16);
}

function align8(length: number): number {
  return (length + 7) & ~7;
}
