/** The thread that runs one PAL's WebAssembly. It holds the PAL's memory and nothing else: keys stay in the control thread. */
import { Socket } from 'node:net';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import {
  PAL_BUFFER_HEADER,
  PAL_SERVICE_MODULE,
  PAL_SERVICES,
  type PalServiceName,
  type PalStatus,
} from '@casemate/pal-linker';
import { type Lent, localService, writeBufferHeader } from './engine.js';
import { type PalFault, TrustvisorError } from './error.js';
import { decodeLaneCall, encodeLaneFailed, encodeLaneReturn, type LaneCall, LaneFrames } from './lane.js';
import { decodeReply, encodeCall } from './service-codec.js';
import { callService, type ServiceCall, type ServiceReply } from './service-plan.js';
import { readFully, writeFully } from './shared-memory.js';
import { type PalExports, palExports, type WasmModule, WebAssembly } from './web-assembly.js';
import {
  type FromWorker,
  MAILBOX,
  type MarshalledCall,
  type ParameterLayout,
  type ToWorker,
  type WorkerStart,
} from './worker-messages.js';

const HEADER = PAL_BUFFER_HEADER;
const NOTHING = new Uint8Array(0);
const port = parentPort as MessagePort; // this file is only ever started as a worker
const start = workerData as WorkerStart; // made by wasm-engine.ts
const words = new Int32Array(start.mailbox);
const mailbox = new Uint8Array(start.mailbox, MAILBOX.CONTENT);

let module: WasmModule | undefined;
let current: PalExports | undefined;
let running = false;
let prints = 0;
/** The state of the run, where there is one, and the way out for text. */
const local: Parameters<typeof localService>[1] = {
  state: undefined,
  lent: [],
  print: (text) => {
    prints++;
    send({ kind: 'print', text });
  },
};

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'run':
      send(run(message));
      return;
    case 'wipe':
      wipe();
      send({ kind: 'wiped' });
      return;
    case 'service-reply':
    case 'lane-reply':
      return;
  }
});
if (load() && start.lane !== undefined) openLane(start.lane);

function send(message: FromWorker): void {
  port.postMessage(message);
}

function load(): boolean {
  try {
    module = new WebAssembly.Module(start.code);
    if (!start.stateful) current = instantiate(module);
    send({ kind: 'ready' });
    return true;
  } catch (error) {
    send({ kind: 'refused', problem: describe(error), outOfMemory: error instanceof RangeError });
    return false;
  }
}

/** Calls of the application itself. One that breaks the frames has its lane closed. */
function openLane(fd: number): void {
  const frames = new LaneFrames();
  const receive = (size: number, buffer: Uint8Array) => {
    try {
      frames.push(buffer.subarray(0, size), (content) => stream.write(answerLane(decodeLaneCall(content))));
    } catch {
      stream.destroy();
    }
    return true;
  };
  const options = { readable: true, writable: true, onread: { buffer: new Uint8Array(65536), callback: receive } };
  const stream = new Socket({ fd, ...options });
  stream.on('error', () => undefined);
}

function answerLane({ command, input }: LaneCall): Uint8Array {
  if (input.length > (start.layout?.inputCapacity ?? 0)) throw new Error('the input does not fit');
  prints = 0;
  Atomics.store(words, MAILBOX.BUSY, 1);
  try {
    const end = run({ kind: 'run', command, input, state: NOTHING, lent: [], call: undefined });
    if (end.kind === 'returned') return encodeLaneReturn(prints, end.returnCode, end.output);
    const message = end.kind === 'fault' ? askAside({ ...end, kind: 'lane-fault' }) : undefined;
    if (message?.kind !== 'lane-reply') throw new Error('the fault was not answered');
    return encodeLaneFailed(prints, message.failure);
  } finally {
    Atomics.store(words, MAILBOX.BUSY, 0);
  }
}

function instantiate(compiled: WasmModule): PalExports {
  const names = Object.keys(PAL_SERVICES) as PalServiceName[]; // the keys of a Record of that type
  const services = Object.fromEntries(names.map((name) => [name, (...given: number[]) => service(name, given)]));
  const exports = palExports(new WebAssembly.Instance(compiled, { [PAL_SERVICE_MODULE]: services }).exports);
  if (exports === undefined) throw new Error('expected the exports pal and memory');
  return exports;
}

function run({ command, input, state, lent, call }: Extract<ToWorker, { readonly kind: 'run' }>): FromWorker {
  if (module === undefined) return { kind: 'fault', fault: 'other', problem: 'the module did not load' };
  try {
    if (start.stateful || current === undefined) current = instantiate(module);
    local.state = start.stateful ? state : undefined;
    const window = openWindow(current, lent);
    local.lent = window;
    const finish = () => closeWindow(current ?? fail(), window);
    running = true;
    return call ? callWith(current, call, finish) : callBuffers(current, { command, input }, finish);
  } catch (error) {
    return endWithFault(error);
  } finally {
    running = false;
    local.lent = [];
    if (start.stateful) wipe();
  }
}

/** A PAL that faulted is not gone on with: its memory may be in any state. */
function endWithFault(error: unknown): FromWorker {
  wipe();
  return { kind: 'fault', fault: faultOf(error), problem: describe(error) };
}

function fail(): never {
  throw new Error('the PAL is gone');
}

type Finish = () => readonly Uint8Array[];

/** `pal(command, in, out, rv)`. */
function callBuffers(exports: PalExports, given: { command: number; input: Uint8Array }, finish: Finish): FromWorker {
  const { layout } = start;
  if (layout === undefined) throw new Error('expected values for the parameters');
  writeInput(exports, layout, given.input);
  exports.pal(given.command | 0, layout.input, layout.output, layout.returnCode);
  const outcome = readOutput(exports, layout);
  return outcome.kind === 'returned' ? { ...outcome, written: finish() } : outcome;
}

/** An entry with parameters of its own. */
function callWith(exports: PalExports, call: MarshalledCall, finish: Finish): FromWorker {
  const { base } = start.section;
  new Uint8Array(exports.memory.buffer).set(call.area, base);
  const returnCode = (exports.pal(...call.arguments) ?? 0) >>> 0;
  const output = new Uint8Array(exports.memory.buffer).slice(base, base + call.area.length);
  return { kind: 'returned', returnCode, output, state: local.state ?? NOTHING, written: finish() };
}

function writeInput({ memory }: PalExports, layout: ParameterLayout, input: Uint8Array): void {
  const view = new DataView(memory.buffer);
  writeBufferHeader(view, layout.input, layout.inputCapacity, input.length);
  new Uint8Array(memory.buffer).set(input, layout.input + HEADER);
  writeBufferHeader(view, layout.output, layout.outputCapacity, 0);
  view.setUint32(layout.returnCode, 0, true);
}

/** A lent range with its place in the PAL's memory. */
interface Placed extends Lent {
  readonly address: number;
}

/** Copies what is lent into memory above the parameters, which the PAL's own memory manager does not reach. */
function openWindow({ memory }: PalExports, lent: readonly Lent[]): readonly Placed[] {
  if (lent.length === 0) return [];
  let address = start.section.end;
  const placed = lent.map((range) => {
    const here = { ...range, address };
    address += align16(range.length);
    return here;
  });
  const missing = address - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  for (const range of placed) if ((range.access & 1) !== 0) fill(bytesOf(memory, range), range);
  return placed;
}

function fill(target: Uint8Array, { at, content: [content] }: Lent): void {
  if (content !== undefined) target.set(content);
  else if (start.arena !== undefined) readFully(start.arena, at, target);
}

/** Copies what could be written back, and leaves zeros. */
function closeWindow({ memory }: PalExports, placed: readonly Placed[]): readonly Uint8Array[] {
  const written: Uint8Array[] = [];
  for (const range of placed) {
    const bytes = bytesOf(memory, range);
    if ((range.access & 2) !== 0) {
      if (range.content.length > 0) written.push(bytes.slice());
      else if (start.arena !== undefined) writeFully(start.arena, range.at, bytes);
    }
    bytes.fill(0);
  }
  return written;
}

function bytesOf(memory: PalExports['memory'], { address, length }: Placed): Uint8Array {
  return new Uint8Array(memory.buffer, address, length);
}

function align16(length: number): number {
  return Math.ceil(length / 16) * 16;
}

function readOutput({ memory }: PalExports, layout: ParameterLayout): FromWorker {
  const view = new DataView(memory.buffer);
  const length = view.getUint32(layout.output + 8, true);
  if (length > layout.outputCapacity) {
    const problem = `expected an output of at most ${layout.outputCapacity} bytes, got ${length}`;
    wipe();
    return { kind: 'fault', fault: 'malformed-output', problem };
  }
  const from = layout.output + HEADER;
  const output = new Uint8Array(memory.buffer).slice(from, from + length);
  return {
    kind: 'returned',
    returnCode: view.getUint32(layout.returnCode, true),
    output,
    state: local.state ?? NOTHING,
    written: [],
  };
}

function service(name: PalServiceName, parameters: readonly number[]): PalStatus {
  if (current === undefined || !running) throw new ServiceFault(`${name} was called outside a run`);
  return callService(new Uint8Array(current.memory.buffer), name, parameters, perform);
}

function perform(call: ServiceCall): ServiceReply {
  return localService(call, local) ?? ask(call);
}

function ask(call: ServiceCall): ServiceReply {
  const length = encodeCall(call, mailbox);
  words[MAILBOX.LENGTH] = length ?? 0;
  const message = askAside(length === undefined ? { kind: 'service', call } : undefined);
  if (message === undefined) return decodeReply(mailbox.subarray(0, words[MAILBOX.LENGTH]));
  if (message.kind === 'service-reply') return message.reply;
  throw new ServiceFault(`${call.name} was not answered`);
}

/**
 * Asks the control thread and sleeps until it has answered: WebAssembly imports are synchronous. `undefined` where the question or the
 * answer is in the mailbox.
 */
function askAside(question: FromWorker | undefined): ToWorker | undefined {
  Atomics.store(words, MAILBOX.ANSWERED, 0);
  if (question !== undefined) send(question);
  else {
    Atomics.store(words, MAILBOX.ASKED, 1);
    Atomics.notify(words, MAILBOX.ASKED);
  }
  // The wake-up for the answer before this one may come late, when that answer has long been taken.
  while (Atomics.load(words, MAILBOX.ANSWERED) === 0) Atomics.wait(words, MAILBOX.ANSWERED, 0);
  if (words[MAILBOX.LENGTH] !== 0) return undefined;
  return receiveMessageOnPort(port)?.message as ToWorker | undefined; // the control thread sends nothing else
}

function wipe(): void {
  if (current !== undefined) new Uint8Array(current.memory.buffer).fill(0);
  current = undefined;
  local.state = undefined;
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
