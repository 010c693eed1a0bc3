/** Parameters of an entry that is a function of its own: integers and pointers, copied both ways (TrustVisor's scode.c marshalling). */
import {
  PAL_ACCESS,
  PAL_FLAGS,
  PAL_PARAMETER,
  PAL_SECTION,
  type PalImage,
  type PalParameter,
} from '@casemate/pal-linker';
import { array, decode, encode, sizedBytes, struct, u8, u32, u64, WireError } from '@casemate/wire';
import { TrustvisorError } from './error.js';
import { MAX_DATA } from './protocol.js';

/** A value for a parameter: a number, the bytes behind a pointer, or `null` for the null pointer. */
export type PalValue = number | bigint | Uint8Array | null;

/** The values of a call in the order of integers and of pointers; a pointer without bytes is null. */
const Values = struct('VALUES', {
  integers: array('INTEGERS', u8, u64, { max: 10 }),
  pointers: array('POINTERS', u8, array('POINTER', u8, sizedBytes('BYTES', u32, { max: MAX_DATA }), { max: 1 }), {
    max: 10,
  }),
});

/** Whether the image's entry takes parameters of its own. */
export function isMarshalled(image: PalImage): boolean {
  return (image.flags & PAL_FLAGS.marshalled) !== 0;
}

/** The input of a call, from its values. Throws {@link TrustvisorError} with code `input`. */
export function encodeValues(parameters: readonly PalParameter[], values: readonly PalValue[]): Uint8Array {
  if (values.length !== parameters.length) {
    throw input(`expected ${parameters.length} values, got ${values.length}`);
  }
  const integers: bigint[] = [];
  const pointers: (readonly Uint8Array[])[] = [];
  parameters.forEach((parameter, i) => {
    if (parameter.type === PAL_PARAMETER.INTEGER) integers.push(integerOf(parameter, values[i], i));
    else pointers.push(bytesOf(parameter, values[i], i));
  });
  return encode(Values, { integers, pointers });
}

function integerOf({ size }: PalParameter, value: PalValue | undefined, index: number): bigint {
  const bits = 8 * size;
  const isNumber = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value));
  const number = isNumber ? BigInt(value) : undefined;
  if (number === undefined || number < -(1n << BigInt(bits - 1)) || number >= 1n << BigInt(bits)) {
    throw input(`expected value ${index} to be an integer of ${bits} bits, got ${describe(value)}`);
  }
  return BigInt.asUintN(bits, number);
}

/** What only comes out needs no bytes: an empty array stands for the pointer itself. */
function bytesOf({ size }: PalParameter, value: PalValue | undefined, index: number): readonly Uint8Array[] {
  if (value === null) return [];
  const most = Math.min(size, MAX_DATA);
  if (value instanceof Uint8Array && value.length <= most) return [value];
  throw input(`expected value ${index} to be at most ${most} bytes or null, got ${describe(value)}`);
}

function describe(value: PalValue | undefined): string {
  return value instanceof Uint8Array ? `${value.length} bytes` : String(value);
}

/**
 * The bytes behind each pointer after the call; `undefined` for integers, null pointers and what only goes in. Throws
 * {@link TrustvisorError} with code `protocol` where the isolate gave more or fewer bytes than that.
 */
export function splitOutput(
  parameters: readonly PalParameter[],
  values: readonly PalValue[],
  output: Uint8Array,
): readonly (Uint8Array | undefined)[] {
  let at = 0;
  const ranges = parameters.map((parameter, i) => {
    if (!comesOut(parameter) || values[i] === null) return undefined;
    at += parameter.size;
    return { begin: at - parameter.size, end: at };
  });
  if (output.length !== at) {
    const problem = `expected ${at} bytes behind its pointers, got ${output.length}`;
    throw new TrustvisorError('protocol', `call PAL with parameters: ${problem}`);
  }
  return ranges.map((range) => range && output.slice(range.begin, range.end));
}

/** Where the parameters lie, and how a call is made of its input. */
export interface MarshalPlan {
  /** Throws {@link TrustvisorError} with code `input`. */
  prepare(input: Uint8Array): PreparedCall;
}

/** A call: what the registers hold, and what lies from the beginning of the section PARAM on. */
export interface PreparedCall {
  /** Integers, and addresses of what pointers lead to; unsigned. */
  readonly arguments: readonly bigint[];
  readonly area: Uint8Array;
  /** The output of the call, from the area after it. */
  readonly output: (area: Uint8Array) => Uint8Array;
}

/** Throws {@link TrustvisorError} with code `refused` where the parameters do not fit the section. */
export function planMarshalling(image: PalImage): MarshalPlan {
  const section = image.sections.find(({ type }) => type === PAL_SECTION.PARAM);
  const base = Number(section?.address ?? 0);
  const { slots, size } = placeParameters(image.parameters);
  if (section === undefined || slots.length === 0 || size > section.memorySize) {
    throw new TrustvisorError('refused', `load PAL ${image.name}: expected parameters that fit the PARAM section`);
  }
  return { prepare: (given) => prepare(slots, { base, size }, given) };
}

interface Slot extends PalParameter {
  /** From the beginning of the section. */
  readonly at: number;
}

function placeParameters(parameters: readonly PalParameter[]): { slots: readonly Slot[]; size: number } {
  let at = 0;
  const slots = parameters.map((parameter) => {
    const slot = { ...parameter, at };
    if (parameter.type === PAL_PARAMETER.POINTER) at += Math.ceil(parameter.size / 16) * 16;
    return slot;
  });
  return { slots, size: at };
}

/** The application controls the input. */
function prepare(slots: readonly Slot[], place: { base: number; size: number }, given: Uint8Array): PreparedCall {
  const { integers, pointers } = decodeValues(given);
  const wanted = slots.filter(({ type }) => type === PAL_PARAMETER.INTEGER).length;
  if (integers.length !== wanted || pointers.length !== slots.length - wanted) {
    throw input(`expected ${wanted} integers and ${slots.length - wanted} pointers`);
  }
  const area = new Uint8Array(place.size);
  const [nextInteger, nextPointer] = [integers.values(), pointers.values()];
  const out: Slot[] = [];
  const values = slots.map((slot) => {
    if (slot.type === PAL_PARAMETER.INTEGER) return BigInt.asUintN(8 * slot.size, nextInteger.next().value ?? 0n);
    const [bytes] = nextPointer.next().value ?? [];
    if (bytes === undefined) return 0n;
    if (bytes.length > slot.size)
      throw input(`expected at most ${slot.size} bytes behind a pointer, got ${bytes.length}`);
    if ((slot.access & PAL_ACCESS.IN) !== 0) area.set(bytes, slot.at);
    if (comesOut(slot)) out.push(slot);
    return BigInt(place.base + slot.at);
  });
  return { arguments: values, area, output: (after) => gather(out, after) };
}

function decodeValues(given: Uint8Array) {
  try {
    return decode(Values, given);
  } catch (error) {
    if (error instanceof WireError) throw input(error.message);
    throw error;
  }
}

function gather(slots: readonly Slot[], area: Uint8Array): Uint8Array {
  const output = new Uint8Array(slots.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const slot of slots) {
    output.set(area.subarray(slot.at, slot.at + slot.size), at);
    at += slot.size;
  }
  return output;
}

function comesOut({ type, access }: PalParameter): boolean {
  return type === PAL_PARAMETER.POINTER && (access & PAL_ACCESS.OUT) !== 0;
}

function input(problem: string): TrustvisorError {
  return new TrustvisorError('input', `call PAL with parameters: ${problem}`);
}
