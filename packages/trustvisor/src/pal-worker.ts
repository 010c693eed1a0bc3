/**
 * The thread of one PAL: it performs the PAL's services, and where the PAL is WebAssembly it runs that too. What keeps the two apart is
 * WebAssembly's own wall, whichever thread the services have; so a service costs no switch of threads.
 */
import { Socket } from 'node:net';
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { faultError, localService } from './engine.js';
import type { HostCall } from './host-services.js';
import {
  decodeLaneCall,
  encodeLaneFailed,
  encodeLaneFailure,
  encodeLaneReturn,
  type LaneCall,
  LaneFrames,
} from './lane.js';
import { serveMachine } from './machine-services.js';
import { PalServices } from './pal-services.js';
import type { ServiceCall, ServiceReply } from './service-plan.js';
import { WasmInstance, type WasmOutcome, type WasmRun } from './wasm-instance.js';
import { type FromWorker, type HostAnswer, SHARED, type ToWorker, type WorkerStart } from './worker-messages.js';

const NOTHING = new Uint8Array(0);
const port = parentPort as MessagePort; // this file is only ever started as a worker

let prints = 0;
let pal: Loaded | undefined;

/** What is to be done, one after another. */
const tasks: (() => Promise<void>)[] = [];
let isAtWork = false;
// The first message is what it starts with, the others are what is to be done: pal-thread.ts sends nothing else.
port.once('message', (start: WorkerStart) => {
  port.on('message', (message: ToWorker) => enqueue(() => handle(message)));
  enqueue(() => load(start));
});

function send(message: FromWorker): void {
  port.postMessage(message);
}

function print(text: string): void {
  prints++;
  send({ kind: 'print', text });
}

interface Loaded {
  readonly services: PalServices;
  /** Absent where the PAL has a machine of its own. */
  readonly instance: WasmInstance | undefined;
}

async function load(start: WorkerStart): Promise<void> {
  const { program } = start;
  try {
    const services = await PalServices.open(start.services, hostAt(start));
    const perform = (call: ServiceCall) => services.perform(call);
    const instance = program && new WasmInstance(program, { perform, print });
    pal = { services, instance };
    send({ kind: 'ready', identity: services.identity });
    if (program?.lane !== undefined) openLane(start, program.lane);
  } catch (error) {
    send({ kind: 'refused', problem: describe(error), outOfMemory: error instanceof RangeError });
  }
}

function enqueue(task: () => Promise<void>): void {
  tasks.push(task);
  if (!isAtWork) void work();
}

async function work(): Promise<void> {
  isAtWork = true;
  await takeTasks();
  isAtWork = false;
}

async function handle(message: ToWorker): Promise<void> {
  try {
    if (pal === undefined) throw new Error('the PAL did not load');
    const answer = await answerTo(message, pal);
    if (answer !== undefined) send(answer);
  } catch (error) {
    if (message.kind === 'reset' || message.kind === 'serve') throw error; // nobody waits for an answer: it ends the thread
    send({ kind: 'failed', problem: describe(error) });
  }
}

async function answerTo(message: ToWorker, { services, instance }: Loaded): Promise<FromWorker | undefined> {
  switch (message.kind) {
    case 'run':
      if (message.randomness !== undefined) await services.reset(message.randomness);
      return run(message);
    case 'reset':
      await services.reset(message.randomness);
      return undefined;
    case 'serve':
      await serveMachine(message.fd, performForMachine, takeMessages);
      return undefined;
    case 'service':
      return { kind: 'served', reply: services.perform(message.call) };
    case 'quote':
      return { kind: 'quoted', quote: services.quote(message.nonce, message.mask) };
    case 'wipe':
      instance?.wipe();
      await services.wipe();
      return { kind: 'wiped' };
  }
}

/** Runs it; after a fault nothing of the run is left, in the services neither, which takes a while. */
function run(given: WasmRun): WasmOutcome | Promise<WasmOutcome> {
  if (pal?.instance === undefined) throw new Error('expected WebAssembly to run');
  const outcome = pal.instance.run(given);
  return outcome.kind === 'returned' && !pal.services.isBroken ? outcome : recover(pal.instance, pal.services, outcome);
}

async function recover(instance: WasmInstance, services: PalServices, outcome: WasmOutcome): Promise<WasmOutcome> {
  instance.wipe();
  await services.reset(undefined);
  if (outcome.kind === 'fault') return outcome;
  return { kind: 'fault', fault: 'stack-overflow', problem: 'it left no room on the stack for a service' };
}

/** Calls of the application itself. One that breaks the frames has its lane closed. */
function openLane(start: WorkerStart, fd: number): void {
  const frames = new LaneFrames();
  const write = (answer: Uint8Array) => void stream.write(answer);
  const broken = () => void stream.destroy();
  const take = (call: LaneCall) => {
    if (isAtWork) {
      const later = { ...call, input: call.input.slice() };
      enqueue(async () => answerLater(start, later).then(write, broken));
      return;
    }
    // Mostly there is nothing else to do, and promises would cost a tenth of a call.
    const answer = answerLane(start, call);
    if (answer instanceof Promise) enqueue(() => answer.then(write, broken));
    else write(answer);
  };
  const receive = (size: number, buffer: Uint8Array) => {
    try {
      frames.push(buffer.subarray(0, size), (content) => take(decodeLaneCall(content)));
    } catch {
      stream.destroy();
    }
    return true;
  };
  const options = { readable: true, writable: true, onread: { buffer: new Uint8Array(65536), callback: receive } };
  const stream = new Socket({ fd, ...options });
  stream.on('error', () => undefined);
}

async function answerLater(start: WorkerStart, call: LaneCall): Promise<Uint8Array> {
  return answerLane(start, call);
}

/** At once where the PAL returns. Throws where the input does not fit. */
function answerLane(
  { program, services: { name }, shared }: WorkerStart,
  { command, input }: LaneCall,
): Uint8Array | Promise<Uint8Array> {
  if (input.length > (program?.layout?.inputCapacity ?? 0)) throw new Error('the input does not fit');
  const words = new Int32Array(shared);
  prints = 0;
  Atomics.store(words, SHARED.BUSY, 1);
  const answerTo = (end: WasmOutcome) => {
    Atomics.store(words, SHARED.BUSY, 0);
    if (end.kind === 'returned') return encodeLaneReturn(prints, end.returnCode, end.output);
    return encodeLaneFailed(prints, encodeLaneFailure(faultError(name, end)));
  };
  const end = run({ command, input, state: NOTHING, lent: [], call: undefined });
  return end instanceof Promise ? end.then(answerTo) : answerTo(end);
}

function performForMachine(call: ServiceCall): ServiceReply {
  if (pal === undefined) throw new Error('the PAL did not load');
  return localService(call, { state: undefined, lent: [], print }) ?? pal.services.perform(call);
}

/** What the main thread said while this one waited for the machine; `undefined` where it said nothing. */
function takeMessages(): Promise<void> | undefined {
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
    const message = next.message as ToWorker; // it sends nothing else
    tasks.push(() => handle(message));
  }
  return tasks.length === 0 ? undefined : takeTasks();
}

async function takeTasks(): Promise<void> {
  for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) await task();
}

/**
 * Asks the main thread and sleeps until it has answered. The answer to a question that broke off, where the stack was full, may come
 * before.
 */
function hostAt({ host, shared }: WorkerStart): (call: HostCall) => ServiceReply {
  const words = new Int32Array(shared);
  let asked = 0;
  return (call) => {
    const id = ++asked;
    host.postMessage({ id, call });
    for (;;) {
      while (Atomics.exchange(words, SHARED.ANSWERED, 0) === 0) Atomics.wait(words, SHARED.ANSWERED, 0);
      for (let next = receiveMessageOnPort(host); next !== undefined; next = receiveMessageOnPort(host)) {
        const answer = next.message as HostAnswer; // as above
        if (answer.id === id) return answer.reply;
      }
    }
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
