/** One PAL's WebAssembly in its thread: its memory, its runs, and its traps. */
import {
  PAL_BUFFER_HEADER,
  PAL_SERVICE_MODULE,
  PAL_SERVICES,
  type PalServiceName,
  type PalStatus,
} from '@casemate/pal-linker';
import { type Lent, localService, writeBufferHeader } from './engine.js';
import { type PalFault, TrustvisorError } from './error.js';
import { callService, type ServiceCall, type ServiceReply } from './service-plan.js';
import { readFully, writeFully } from './shared-memory.js';
import { type PalExports, palExports, type WasmModule, WebAssembly } from './web-assembly.js';
import type { FromWorker, MarshalledCall, ParameterLayout, ToWorker, WasmProgram } from './worker-messages.js';

const HEADER = PAL_BUFFER_HEADER;
const NOTHING = new Uint8Array(0);

/** How a run ended. */
export type WasmOutcome = Extract<FromWorker, { readonly kind: 'returned' | 'fault' }>;

/** What a run is given. */
export type WasmRun = Pick<
  Extract<ToWorker, { readonly kind: 'run' }>,
  'command' | 'input' | 'state' | 'lent' | 'call'
>;

/** What a PAL asks for. */
export interface WasmHost {
  /** Performs a service. */
  readonly perform: (call: ServiceCall) => ServiceReply;
  /** Passes on a text. */
  readonly print: (text: string) => void;
}

/** A lent range with its place in the PAL's memory. */
interface Placed extends Lent {
  readonly address: number;
}

type Finish = () => readonly Uint8Array[];

/** The PAL, which lives from its first run until it is wiped or faults; then the next run makes it anew. */
export class WasmInstance {
  readonly #program: WasmProgram;
  readonly #module: WasmModule;
  readonly #host: WasmHost;
  /** The state of the run, where there is one, and the way out for text. */
  readonly #local: Parameters<typeof localService>[1];
  #current: PalExports | undefined;
  #isRunning = false;

  /** Throws what V8 finds wrong with the module, a RangeError where there is no memory for it. */
  constructor(program: WasmProgram, host: WasmHost) {
    this.#program = program;
    this.#host = host;
    this.#local = { state: undefined, lent: [], print: host.print };
    this.#module = new WebAssembly.Module(program.code);
    if (!program.stateful) this.#current = this.#instantiate();
  }

  /** Calls the entry. Never throws. */
  run({ command, input, state, lent, call }: WasmRun): WasmOutcome {
    const { stateful } = this.#program;
    try {
      if (stateful || this.#current === undefined) this.#current = this.#instantiate();
      const current = this.#current;
      this.#local.state = stateful ? state : undefined;
      const window = this.#openWindow(current, lent);
      this.#local.lent = window;
      const finish = () => this.#closeWindow(current, window);
      this.#isRunning = true;
      return call ? this.#callWith(current, call, finish) : this.#callBuffers(current, { command, input }, finish);
    } catch (error) {
      // A PAL that faulted is not gone on with: its memory may be in any state.
      this.wipe();
      return { kind: 'fault', fault: faultOf(error), problem: describe(error) };
    } finally {
      this.#isRunning = false;
      this.#local.lent = [];
      if (stateful) this.wipe();
    }
  }

  /** Overwrites the PAL's memory, and lets go of it. */
  wipe(): void {
    if (this.#current !== undefined) new Uint8Array(this.#current.memory.buffer).fill(0);
    this.#current = undefined;
    this.#local.state = undefined;
  }

  #instantiate(): PalExports {
    const names = Object.keys(PAL_SERVICES) as PalServiceName[]; // the keys of a Record of that type
    const services = Object.fromEntries(
      names.map((name) => [name, (...given: number[]) => this.#service(name, given)]),
    );
    const { exports } = new WebAssembly.Instance(this.#module, { [PAL_SERVICE_MODULE]: services });
    const found = palExports(exports);
    if (found === undefined) throw new Error('expected the exports pal and memory');
    return found;
  }

  #service(name: PalServiceName, parameters: readonly number[]): PalStatus {
    if (this.#current === undefined || !this.#isRunning) throw new ServiceFault(`${name} was called outside a run`);
    const perform = (call: ServiceCall) => localService(call, this.#local) ?? this.#host.perform(call);
    return callService(new Uint8Array(this.#current.memory.buffer), name, parameters, perform);
  }

  /** `pal(command, in, out, rv)`. */
  #callBuffers(
    exports: PalExports,
    { command, input }: { readonly command: number; readonly input: Uint8Array },
    finish: Finish,
  ): WasmOutcome {
    const { layout } = this.#program;
    if (layout === undefined) throw new Error('expected values for the parameters');
    writeInput(exports, layout, input);
    exports.pal(command | 0, layout.input, layout.output, layout.returnCode);
    const view = new DataView(exports.memory.buffer);
    const length = view.getUint32(layout.output + 8, true);
    if (length > layout.outputCapacity) {
      this.wipe();
      const problem = `expected an output of at most ${layout.outputCapacity} bytes, got ${length}`;
      return { kind: 'fault', fault: 'malformed-output', problem };
    }
    const from = layout.output + HEADER;
    const output = new Uint8Array(exports.memory.buffer).slice(from, from + length);
    const returnCode = view.getUint32(layout.returnCode, true);
    return { kind: 'returned', returnCode, output, state: this.#local.state ?? NOTHING, written: finish() };
  }

  /** An entry with parameters of its own. */
  #callWith(exports: PalExports, call: MarshalledCall, finish: Finish): WasmOutcome {
    const { base } = this.#program.section;
    new Uint8Array(exports.memory.buffer).set(call.area, base);
    const returnCode = (exports.pal(...call.arguments) ?? 0) >>> 0;
    const output = new Uint8Array(exports.memory.buffer).slice(base, base + call.area.length);
    return { kind: 'returned', returnCode, output, state: this.#local.state ?? NOTHING, written: finish() };
  }

  /** Copies what is lent into memory above the parameters, which the PAL's own memory manager does not reach. */
  #openWindow({ memory }: PalExports, lent: readonly Lent[]): readonly Placed[] {
    if (lent.length === 0) return [];
    let address = this.#program.section.end;
    const placed = lent.map((range) => {
      const here = { ...range, address };
      address += align16(range.length);
      return here;
    });
    const missing = address - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    for (const range of placed) if ((range.access & 1) !== 0) this.#fill(bytesOf(memory, range), range);
    return placed;
  }

  #fill(target: Uint8Array, { at, content: [content] }: Lent): void {
    const { arena } = this.#program;
    if (content !== undefined) target.set(content);
    else if (arena !== undefined) readFully(arena, at, target);
  }

  /** Copies what could be written back, and leaves zeros. */
  #closeWindow({ memory }: PalExports, placed: readonly Placed[]): readonly Uint8Array[] {
    const { arena } = this.#program;
    const written: Uint8Array[] = [];
    for (const range of placed) {
      const bytes = bytesOf(memory, range);
      if ((range.access & 2) !== 0) {
        if (range.content.length > 0) written.push(bytes.slice());
        else if (arena !== undefined) writeFully(arena, range.at, bytes);
      }
      bytes.fill(0);
    }
    return written;
  }
}

function writeInput({ memory }: PalExports, layout: ParameterLayout, input: Uint8Array): void {
  const view = new DataView(memory.buffer);
  writeBufferHeader(view, layout.input, layout.inputCapacity, input.length);
  new Uint8Array(memory.buffer).set(input, layout.input + HEADER);
  writeBufferHeader(view, layout.output, layout.outputCapacity, 0);
  view.setUint32(layout.returnCode, 0, true);
}

function bytesOf(memory: PalExports['memory'], { address, length }: Placed): Uint8Array {
  return new Uint8Array(memory.buffer, address, length);
}

function align16(length: number): number {
  return Math.ceil(length / 16) * 16;
}

class ServiceFault extends Error {}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function faultOf(error: unknown): PalFault {
  if (error instanceof ServiceFault) return 'service';
  if (error instanceof TrustvisorError) return 'other';
  if (error instanceof RangeError) return /call stack/.test(error.message) ? 'stack-overflow' : 'other';
  const text = describe(error);
  return FAULT_TEXTS.find(([pattern]) => pattern.test(text))?.[1] ?? 'other';
}

/** The words of V8's traps. */
const FAULT_TEXTS: readonly (readonly [RegExp, PalFault])[] = [
  [/unreachable/, 'unreachable'],
  [/divide|remainder/, 'division'],
  [/table index|signature|null function/, 'indirect-call'],
  [/float|unrepresentable/, 'conversion'],
  [/out of bounds/, 'out-of-bounds'],
];
