/** How each PAL service takes its parameters from the PAL's memory and gives its results back, as data. */
import { PAL_STATUS, type PalServiceName, type PalStatus } from '@casemate/pal-linker';
import { TrustvisorError } from './error.js';
import { MAX_DATA } from './protocol.js';

/**
 * One parameter or pair of parameters:
 * - `value`: a number
 * - `input`: pointer and length, at most `max`; or a pointer to exactly `size` bytes
 * - `fill`: pointer and length of an output that is filled completely, at most `max`
 * - `output`: pointer, and pointer to the u32 capacity that becomes the length; or a pointer to exactly `size` bytes, which
 *   may be 0 where `optional`
 */
export type Slot =
  | { readonly kind: 'value' }
  | { readonly kind: 'input'; readonly max: number }
  | { readonly kind: 'fixed-input'; readonly size: number }
  | { readonly kind: 'fill'; readonly max: number }
  | { readonly kind: 'output' }
  | { readonly kind: 'fixed-output'; readonly size: number; readonly optional: boolean };

const value: Slot = { kind: 'value' };
const output: Slot = { kind: 'output' };
const input = (max: number): Slot => ({ kind: 'input', max });
const given = (size: number): Slot => ({ kind: 'fixed-input', size });
const exactly = (size: number): Slot => ({ kind: 'fixed-output', size, optional: false });
const perhaps = (size: number): Slot => ({ kind: 'fixed-output', size, optional: true });

/** The slots of each service in order; the parameters of `PAL_SERVICES` are these, pairs counted twice. */
export const SERVICE_SLOTS: Readonly<Record<PalServiceName, readonly Slot[]>> = {
  utpm_pcr_read: [value, exactly(32)],
  utpm_pcr_extend: [value, given(32)],
  utpm_seal: [input(MAX_DATA / 2), input(36), output],
  utpm_unseal: [input(MAX_DATA), output, perhaps(32)],
  utpm_quote: [input(64), value, output, output],
  utpm_rand: [{ kind: 'fill', max: 4096 }],
  utpm_id_getpub: [output],
  time_elapsed: [perhaps(8), exactly(8)],
  print: [input(4096)],
  state_read: [output],
  state_write: [input(MAX_DATA)],
  memory_lent: [value, exactly(24)],
  tv_pcr_read: [value, exactly(20)],
  tv_pcr_extend: [value, given(20)],
  tv_seal: [input(MAX_DATA / 2), input(43), output],
  tv_unseal: [input(MAX_DATA), output, perhaps(20)],
  tv_quote: [input(3), given(20), output, output],
  tv_id_getpub: [output],
  counter_read: [exactly(8)],
  counter_increment: [exactly(8)],
  tpmnvram_getsize: [exactly(4)],
  tpmnvram_readall: [exactly(32)],
  tpmnvram_writeall: [given(32)],
  seal_data: [given(80), input(MAX_DATA / 2), input(4096), output],
  unseal_data: [input(MAX_DATA), input(4096), output, perhaps(80)],
};

/** A service call without pointers: what crosses the wall. `values` holds numbers, and the lengths of `fill` outputs. */
export interface ServiceCall {
  readonly name: PalServiceName;
  readonly values: readonly number[];
  readonly inputs: readonly Uint8Array[];
}

/** What the service gives back: a status, and with success one byte string for each output slot. */
export interface ServiceReply {
  readonly status: PalStatus;
  readonly outputs: readonly Uint8Array[];
}

/** A reply without outputs. */
export function statusOnly(status: PalStatus): ServiceReply {
  return { status, outputs: [] };
}

/** What is said of an error: REFUSED for what is not authentic, ERR for all else. */
export function statusOfError(error: unknown): ServiceReply {
  const isForged = error instanceof TrustvisorError && error.code === 'sealed-state';
  return statusOnly(isForged ? PAL_STATUS.REFUSED : PAL_STATUS.ERR);
}

/** Where one output goes, and where its length goes. */
interface Target {
  readonly pointer: number;
  readonly capacity: number;
  readonly lengthAt: number | undefined;
}

interface Taken {
  readonly call: ServiceCall;
  readonly targets: readonly Target[];
}

/**
 * Reads the parameters of a service call, calls `perform`, and writes its results. Everything here comes from the PAL:
 * each pointer and length is checked against the memory before it is used, and nothing is written past a capacity.
 */
export function callService(
  memory: Uint8Array,
  name: PalServiceName,
  parameters: readonly number[],
  perform: (call: ServiceCall) => ServiceReply,
): PalStatus {
  const taken = takeParameters(memory, name, parameters);
  if (taken === undefined) return PAL_STATUS.BAD_PARAM;
  const reply = perform(taken.call);
  return reply.status === PAL_STATUS.SUCCESS ? giveOutputs(memory, taken.targets, reply.outputs) : reply.status;
}

function takeParameters(memory: Uint8Array, name: PalServiceName, parameters: readonly number[]): Taken | undefined {
  const values: number[] = [];
  const inputs: Uint8Array[] = [];
  const targets: Target[] = [];
  let at = 0;
  const next = (): number => (parameters[at++] ?? 0) >>> 0; // i32 arrives signed
  for (const slot of SERVICE_SLOTS[name]) {
    switch (slot.kind) {
      case 'value':
        values.push(next());
        break;
      case 'input': {
        const taken = slice(memory, next(), next(), slot.max);
        if (taken === undefined) return undefined;
        inputs.push(taken);
        break;
      }
      case 'fixed-input': {
        const taken = slice(memory, next(), slot.size, slot.size);
        if (taken === undefined) return undefined;
        inputs.push(taken);
        break;
      }
      case 'fill': {
        const pointer = next();
        const capacity = next();
        if (capacity > slot.max || !fits(memory, pointer, capacity)) return undefined;
        values.push(capacity);
        targets.push({ pointer, capacity, lengthAt: undefined });
        break;
      }
      case 'output': {
        const target = sizedTarget(memory, next(), next());
        if (target === undefined) return undefined;
        targets.push(target);
        break;
      }
      case 'fixed-output': {
        const pointer = next();
        const absent = slot.optional && pointer === 0;
        if (!absent && !fits(memory, pointer, slot.size)) return undefined;
        targets.push({ pointer, capacity: absent ? 0 : slot.size, lengthAt: undefined });
        break;
      }
    }
  }
  return { call: { name, values, inputs }, targets };
}

function fits(memory: Uint8Array, pointer: number, length: number): boolean {
  return pointer <= memory.length && length <= memory.length - pointer;
}

/** A copy, so that what was checked is what is used. */
function slice(memory: Uint8Array, pointer: number, length: number, max: number): Uint8Array | undefined {
  if (length > max || !fits(memory, pointer, length)) return undefined;
  return memory.slice(pointer, pointer + length);
}

function sizedTarget(memory: Uint8Array, pointer: number, lengthAt: number): Target | undefined {
  if (!fits(memory, lengthAt, 4)) return undefined;
  const capacity = view(memory).getUint32(lengthAt, true);
  return fits(memory, pointer, capacity) ? { pointer, capacity, lengthAt } : undefined;
}

/** Writes all outputs, or, where one does not fit, the lengths alone. */
function giveOutputs(memory: Uint8Array, targets: readonly Target[], outputs: readonly Uint8Array[]): PalStatus {
  const short = targets.some(
    (target, i) => target.lengthAt !== undefined && (outputs[i]?.length ?? 0) > target.capacity,
  );
  targets.forEach((target, i) => {
    const content = outputs[i] ?? new Uint8Array(0);
    if (target.lengthAt !== undefined) view(memory).setUint32(target.lengthAt, content.length, true);
    if (!short) memory.set(content.subarray(0, target.capacity), target.pointer);
  });
  return short ? PAL_STATUS.SHORT_BUFFER : PAL_STATUS.SUCCESS;
}

function view(memory: Uint8Array): DataView {
  return new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
}
