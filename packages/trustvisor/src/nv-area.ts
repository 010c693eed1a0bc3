/** What a PAL keeps that cannot be rolled back: a counter and 32 bytes, as TrustVisor's TPM NV area; with services to use them. */
import { PAL_STATUS, type PalServiceName } from '@casemate/pal-linker';
import { bytes, decode, encode, type Infer, struct, u64 } from '@casemate/wire';
import { type ServiceCall, type ServiceReply, statusOnly } from './service-plan.js';

/** Bytes of a PAL's NV area, as TrustVisor has them. */
export const NV_SIZE = 32;

/** What a PAL has: zeros until it writes. */
export const NvArea = struct('NV_AREA', { counter: u64, data: bytes('NV_DATA', NV_SIZE) });
/** The value of the codec of the same name. */
export type NvArea = Infer<typeof NvArea>;

/** Encoded bytes of an {@link NvArea}. */
export const NV_AREA_SIZE = 8 + NV_SIZE;

/** A new PAL's area. */
export const EMPTY_AREA: NvArea = { counter: 0n, data: new Uint8Array(NV_SIZE) };

/** How to read and change an area; `undefined` where the PAL has none. */
export interface NvAccess {
  /** The area as it is. */
  read(): Promise<NvArea>;
  /** Changes it; gives what it is then. */
  write(change: (area: NvArea) => NvArea): Promise<NvArea>;
}

type NvChange = (area: NvArea) => NvArea;

/** What a service of the area does: the change that it makes, if any, and what it gives. `undefined` for other services. */
function nvService(
  call: ServiceCall,
): { readonly change?: NvChange; readonly outputs: (area: NvArea) => readonly Uint8Array[] } | undefined {
  const [given = new Uint8Array(0)] = call.inputs;
  switch (call.name) {
    case 'counter_read':
      return { outputs: ({ counter }) => [u64Bytes(counter)] };
    case 'counter_increment':
      return { change: incremented, outputs: ({ counter }) => [u64Bytes(counter)] };
    case 'tpmnvram_getsize':
      return { outputs: () => [Uint8Array.of(NV_SIZE, 0, 0, 0)] };
    case 'tpmnvram_readall':
      return { outputs: ({ data }) => [data] };
    case 'tpmnvram_writeall':
      return { change: (area) => ({ ...area, data: given }), outputs: () => [] };
    default:
      return undefined;
  }
}

function incremented(area: NvArea): NvArea {
  return { ...area, counter: BigInt.asUintN(64, area.counter + 1n) };
}

function u64Bytes(value: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, value, true);
  return out;
}

/** The state of a replay-protected PAL: its area, and what it wrote itself; empty before both. */
export interface ProtectedState {
  readonly area: NvArea;
  readonly own: Uint8Array;
}

/** Takes a state apart. */
export function splitState(state: Uint8Array): ProtectedState {
  if (state.length === 0) return { area: EMPTY_AREA, own: state };
  return { area: decode(NvArea, state.subarray(0, NV_AREA_SIZE)), own: state.subarray(NV_AREA_SIZE) };
}

/** Puts a state together. */
export function joinState({ area, own }: ProtectedState): Uint8Array {
  const state = new Uint8Array(NV_AREA_SIZE + own.length);
  state.set(encode(NvArea, area));
  state.set(own, NV_AREA_SIZE);
  return state;
}

/** A service of the area of a replay-protected PAL, where it is part of the state: what it gives, and the state after it. */
export function nvServiceOf(
  state: Uint8Array,
  call: ServiceCall,
): { readonly reply: ServiceReply; readonly state: Uint8Array } | undefined {
  const service = nvService(call);
  if (service === undefined) return undefined;
  const { area, own } = splitState(state);
  const next = service.change ? service.change(area) : area;
  const reply = { status: PAL_STATUS.SUCCESS, outputs: service.outputs(next) };
  return { reply, state: service.change ? joinState({ area: next, own }) : state };
}

/** Whether {@link performNv} answers it. */
export function isNvService(name: PalServiceName): boolean {
  return nvService({ name, values: [], inputs: [] }) !== undefined;
}

/** The same for other PALs. */
export async function performNv(call: ServiceCall, access: NvAccess | undefined): Promise<ServiceReply> {
  const service = nvService(call);
  if (service === undefined || access === undefined) return statusOnly(PAL_STATUS.UNAVAILABLE);
  const area = await (service.change ? access.write(service.change) : access.read());
  return { status: PAL_STATUS.SUCCESS, outputs: service.outputs(area) };
}
