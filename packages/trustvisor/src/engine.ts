/** What engines have in common: how a PAL is loaded, run and ended, and where its parameters lie. */
import { PAL_BUFFER_HEADER, PAL_SECTION, PAL_STATUS, type PalImage } from '@casemate/pal-linker';
import { type PalFault, TrustvisorError } from './error.js';
import { joinState, nvServiceOf, splitState } from './nv-area.js';
import type { PalQuote } from './options.js';
import type { Randomness, ServicesStart } from './pal-services.js';
import type { ThreadHost } from './pal-thread.js';
import type { Body } from './protocol.js';
import { type ServiceCall, type ServiceReply, statusOnly } from './service-plan.js';
import type { StopSignal } from './stop.js';
import type { ParameterLayout } from './worker-messages.js';

/** How a run ended on its own. */
export type RunOutcome =
  | {
      readonly kind: 'returned';
      readonly returnCode: number;
      readonly output: Uint8Array;
      readonly state: Uint8Array;
      /** The bytes of the lent ranges that came with their bytes and could be written. */
      readonly written: readonly Uint8Array[];
    }
  | { readonly kind: 'fault'; readonly fault: PalFault; readonly problem: string };

/** What the engine asks of the isolate. */
export interface EngineHost extends ThreadHost {
  /** What the PAL's thread performs its services with; the secrets are for this thread alone. */
  readonly services: () => ServicesStart;
  /** Tells the application which lane (lane.ts) leads to the PAL from now on: `undefined` for none. */
  readonly lane: (lane: number | undefined, inputCapacity: number) => void;
}

/** Memory lent for one run: of the arena from `at` on, or bytes of its own. `access`: 1 read, 2 write. */
export type Lent = Body<3>['lent'][number];

/** One request to the entry. */
export interface Run {
  readonly command: number;
  readonly input: Uint8Array;
  /** Its references 0, 1, 2… */
  readonly lent: readonly Lent[];
  /** The PAL's state, for a replay-protected one. */
  readonly state: Uint8Array;
  /** For such a one, what fixes its randomness: all but its state is then as newly registered. */
  readonly randomness?: Randomness | undefined;
  /** Milliseconds. */
  readonly timeLimit: number;
  readonly signal?: StopSignal | undefined;
}

/**
 * A PAL ready to run; one run at a time. After a fault, a stop or an error nothing of the run is left, in the memory and in the services.
 * What an engine of another kind offers too.
 */
export interface EnginePal {
  /** Largest input in bytes. */
  readonly inputCapacity: number;
  /** Loads the code where it is not loaded; gives TPMT_PUBLIC of the identity. Throws `refused`, `memory`, `timeout`. */
  load(timeLimit: number): Promise<Uint8Array>;
  /** Ends what runs, if anything does; gives why it ended by itself, if it has. */
  stop(): TrustvisorError | undefined;
  /** Runs the entry. Throws `timeout`, `aborted`, `memory`, `closed`. */
  run(run: Run): Promise<RunOutcome>;
  /** A quote by the identity. Throws `tpm`, and as {@link EnginePal.load}. */
  quote(nonce: Uint8Array, mask: number): Promise<PalQuote>;
  /** Wipes the memory and ends. */
  close(): Promise<void>;
}

/** What a caller gets for a run that broke off. */
export function faultError(
  name: string,
  { problem, fault }: { readonly problem: string; readonly fault: PalFault },
): TrustvisorError {
  return new TrustvisorError('fault', `run PAL ${name}: ${problem}`, { fault });
}

/** How long a PAL that had to be ended may take to be loaded for a quote, in milliseconds. */
export const QUOTE_TIME = 30_000;

/** Plans where the parameters lie: in the section PARAM, which the PAL's own memory does not reach. */
export function planLayout(image: PalImage): ParameterLayout {
  const section = image.sections.find(({ type }) => type === PAL_SECTION.PARAM);
  const [, input, output] = image.parameters;
  if (section === undefined || input === undefined || output === undefined) {
    throw new TrustvisorError('refused', `load PAL ${image.name}: expected a PARAM section and four parameters`);
  }
  const base = Number(section.address);
  const inputAt = base + 16;
  const outputAt = inputAt + align8(input.size);
  if (outputAt + output.size > base + section.memorySize || Math.min(input.size, output.size) < PAL_BUFFER_HEADER) {
    throw new TrustvisorError('refused', `load PAL ${image.name}: expected parameters that fit the PARAM section`);
  }
  return {
    returnCode: base,
    input: inputAt,
    inputCapacity: input.size - PAL_BUFFER_HEADER,
    output: outputAt,
    outputCapacity: output.size - PAL_BUFFER_HEADER,
  };
}

/** Where the section PARAM begins and ends. */
export function parameterSection(image: PalImage): { readonly base: number; readonly end: number } {
  const section = image.sections.find(({ type }) => type === PAL_SECTION.PARAM);
  const base = Number(section?.address ?? 0);
  return { base, end: base + (section?.memorySize ?? 0) };
}

function align8(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/** The services that are answered beside the PAL itself: its state, and what it prints. `undefined` for all others. */
export function localService(
  call: ServiceCall,
  local: {
    state: Uint8Array | undefined;
    lent: readonly { readonly address: number; readonly length: number; readonly access: number }[];
    readonly print: (text: string) => void;
  },
): ServiceReply | undefined {
  const [first = new Uint8Array(0)] = call.inputs;
  switch (call.name) {
    case 'memory_lent': {
      const range = local.lent[call.values[0] ?? 0];
      return range ? { status: PAL_STATUS.SUCCESS, outputs: [memoryInfo(range)] } : statusOnly(PAL_STATUS.BAD_PARAM);
    }
    case 'state_read':
      if (local.state === undefined) return statusOnly(PAL_STATUS.UNAVAILABLE);
      return { status: PAL_STATUS.SUCCESS, outputs: [splitState(local.state).own] };
    case 'state_write':
      if (local.state === undefined) return statusOnly(PAL_STATUS.UNAVAILABLE);
      local.state = joinState({ area: splitState(local.state).area, own: first });
      return statusOnly(PAL_STATUS.SUCCESS);
    case 'print':
      local.print(new TextDecoder().decode(first));
      return statusOnly(PAL_STATUS.SUCCESS);
    default:
      return (
        local.state &&
        stateService(local.state, call, (state) => {
          local.state = state;
        })
      );
  }
}

/** The counter and the bytes of a replay-protected PAL are part of its state, so that a request that is repeated counts once. */
function stateService(
  state: Uint8Array,
  call: ServiceCall,
  put: (state: Uint8Array) => void,
): ServiceReply | undefined {
  const done = nvServiceOf(state, call);
  if (done !== undefined) put(done.state);
  return done?.reply;
}

/** u64 address, u64 length, u32 access, u32 0. */
function memoryInfo({ address, length, access }: Parameters<typeof localService>[1]['lent'][number]): Uint8Array {
  const info = new Uint8Array(24);
  const view = new DataView(info.buffer);
  view.setBigUint64(0, BigInt(address), true);
  view.setBigUint64(8, BigInt(length), true);
  view.setUint32(16, access, true);
  return info;
}

/** tzi_encode_buffer_t: return value, size, offset, size used. */
export function writeBufferHeader(view: DataView, at: number, capacity: number, used: number): void {
  for (const [i, word] of [0, capacity, 0, used].entries()) view.setUint32(at + 4 * i, word, true);
}
