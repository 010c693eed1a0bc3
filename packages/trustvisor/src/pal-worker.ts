/** The thread that runs one PAL's WebAssembly. It holds the PAL's memory and nothing else: keys stay in the control thread. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import {
  PAL_BUFFER_HEADER,
  PAL_SERVICE_MODULE,
  PAL_SERVICES,
  type PalServiceName,
  type PalStatus,
} from '@casemate/pal-linker';
import { localService, writeBufferHeader } from './engine.js';
import type { PalFault } from './error.js';
import { callService, type ServiceCall, type ServiceReply } from './service-plan.js';
import { type PalExports, palExports, type WasmModule, WebAssembly } from './web-assembly.js';
import type { FromWorker, ToWorker, WorkerStart } from './worker-messages.js';

const HEADER = PAL_BUFFER_HEADER;
const NOTHING = new Uint8Array(0);
const port = parentPort as MessagePort; // this file is only ever started as a worker
const start = workerData as WorkerStart; // made by wasm-engine.ts

let module: WasmModule | undefined;
let current: PalExports | undefined;
let running = false;
/** The state of the run, where there is one, and the way out for text. */
const local: Parameters<typeof localService>[1] = { state: undefined, print: (text) => send({ kind: 'print', text }) };

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'run':
      send(run(message.command, message.input, message.state));
      return;
    case 'wipe':
      wipe();
      send({ kind: 'wiped' });
      return;
    case 'service-reply':
      return;
  }
});
load();

function send(message: FromWorker): void {
  port.postMessage(message);
}

function load(): void {
  try {
    module = new WebAssembly.Module(start.code);
    if (!start.stateful) current = instantiate(module);
    send({ kind: 'ready' });
  } catch (error) {
    send({ kind: 'refused', problem: describe(error), outOfMemory: error instanceof RangeError });
  }
}

function instantiate(compiled: WasmModule): PalExports {
  const names = Object.keys(PAL_SERVICES) as PalServiceName[]; // the keys of a Record of that type
  const services = Object.fromEntries(names.map((name) => [name, (...given: number[]) => service(name, given)]));
  const exports = palExports(new WebAssembly.Instance(compiled, { [PAL_SERVICE_MODULE]: services }).exports);
  if (exports === undefined) throw new Error('expected the exports pal and memory');
  return exports;
}

function run(command: number, input: Uint8Array, given: Uint8Array): FromWorker {
  if (module === undefined) return { kind: 'fault', fault: 'other', problem: 'the module did not load' };
  try {
    if (start.stateful || current === undefined) current = instantiate(module);
    local.state = start.stateful ? given : undefined;
    writeInput(current, input);
    running = true;
    const { layout } = start;
    current.pal(command | 0, layout.input, layout.output, layout.returnCode);
    return readOutput(current);
  } catch (error) {
    return endWithFault(error);
  } finally {
    running = false;
    if (start.stateful) wipe();
  }
}

/** A PAL that faulted is not gone on with: its memory may be in any state. */
function endWithFault(error: unknown): FromWorker {
  wipe();
  return { kind: 'fault', fault: faultOf(error), problem: describe(error) };
}

function writeInput({ memory }: PalExports, input: Uint8Array): void {
  const { layout } = start;
  const view = new DataView(memory.buffer);
  writeBufferHeader(view, layout.input, layout.inputCapacity, input.length);
  new Uint8Array(memory.buffer).set(input, layout.input + HEADER);
  writeBufferHeader(view, layout.output, layout.outputCapacity, 0);
  view.setUint32(layout.returnCode, 0, true);
}

function readOutput({ memory }: PalExports): FromWorker {
  const { layout } = start;
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
  };
}

function service(name: PalServiceName, parameters: readonly number[]): PalStatus {
  if (current === undefined || !running) throw new ServiceFault(`${name} was called outside a run`);
  return callService(new Uint8Array(current.memory.buffer), name, parameters, perform);
}

function perform(call: ServiceCall): ServiceReply {
  return localService(call, local) ?? ask(call);
}

/** Asks the control thread and sleeps until it has answered: WebAssembly imports are synchronous. */
function ask(call: ServiceCall): ServiceReply {
  Atomics.store(start.signal, 0, 0);
  send({ kind: 'service', call });
  Atomics.wait(start.signal, 0, 0);
  const received = receiveMessageOnPort(port);
  const message = received?.message as ToWorker | undefined; // the control thread sends nothing else
  if (message?.kind === 'service-reply') return message.reply;
  throw new ServiceFault(`${call.name} was not answered`);
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
