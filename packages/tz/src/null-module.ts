/** PAL images on the null device: the same module as on a real device, run in this process with services that protect nothing. */
import { createHash, randomFillSync } from 'node:crypto';
import {
  measurePal,
  PAL_BUFFER_HEADER,
  PAL_FLAGS,
  PAL_SECTION,
  PAL_SERVICE_MODULE,
  PAL_STATUS,
  type PalImage,
  PalLinkerError,
  type PalSection,
  type PalServiceName,
  parsePalImage,
} from '@casemate/pal-linker';
import { encode } from '@casemate/wire';
import type { ServiceReply } from './driver.js';
import { TzError } from './error.js';
import { EncodeBufferHeader, encodeFailure, HEADER_SIZE, turnBuffer } from './marshal.js';
import { type WasmInstance, type WasmModule, webAssembly } from './web-assembly.js';

/** A PAL that can be called in this process. */
export interface NullModule {
  /** The PAL's measurement. */
  readonly measurement: Uint8Array;
  /** Bytes of records that its input may hold. */
  readonly capacity: number;
  /** Calls the entry. */
  call(command: number, input: Uint8Array): ServiceReply;
}

/** Compiles the PAL of `image`. Throws TzError `TZ_ERROR_ILLEGAL_ARGUMENT` for what is no image of a WebAssembly PAL. */
export async function loadModule(image: Uint8Array, print: (text: string) => void): Promise<NullModule> {
  const pal = parseImage(image);
  const module = await compile(section(pal, PAL_SECTION.CODE).content);
  const measurement = measurePal(image);
  const layout = planLayout(pal);
  const replayProtected = (pal.flags & PAL_FLAGS.replayProtected) !== 0;
  const memory = new Services(measurement, replayProtected, print);
  let kept: WasmInstance | undefined;
  return {
    measurement,
    capacity: layout.inputCapacity,
    call: (command, input) => {
      // A replay-protected PAL starts from fresh memory each time: what it keeps is in its state alone.
      const instance = replayProtected || !kept ? memory.instantiate(module) : kept;
      kept = instance;
      return callEntry(instance, layout, command, input, memory);
    },
  };
}

interface Layout {
  readonly returnValue: number;
  readonly input: number;
  readonly inputCapacity: number;
  readonly output: number;
  readonly outputCapacity: number;
}

function planLayout(pal: PalImage): Layout {
  const base = Number(section(pal, PAL_SECTION.PARAM).address);
  const [inputCapacity, outputCapacity] = [pal.parameters[1], pal.parameters[2]].map(
    (p) => (p?.size ?? 0) - PAL_BUFFER_HEADER,
  );
  if (inputCapacity === undefined || outputCapacity === undefined || inputCapacity < 0 || outputCapacity < 0) {
    throw noService('expected an entry with an input and an output buffer');
  }
  const input = base + 16;
  const output = input + HEADER_SIZE + Math.ceil(inputCapacity / 8) * 8;
  return { returnValue: base, input, inputCapacity, output, outputCapacity };
}

function callEntry(
  instance: WasmInstance,
  layout: Layout,
  command: number,
  input: Uint8Array,
  services: Services,
): ServiceReply {
  if (input.length > HEADER_SIZE + layout.inputCapacity)
    throw encodeFailure('TZ_ERROR_ENCODE_MEMORY', layout.inputCapacity);
  const { memory, pal } = instance.exports;
  if (!(memory instanceof webAssembly.Memory) || typeof pal !== 'function')
    throw noService('expected exports memory and pal');
  const view = new DataView(memory.buffer);
  const bytes = new Uint8Array(memory.buffer);
  const { returnValue, output, outputCapacity } = layout;
  view.setUint32(returnValue, 0, true);
  bytes.set(input, layout.input);
  bytes.set(encode(EncodeBufferHeader, { returnValue: 0, size: outputCapacity, offset: 0, sizeUsed: 0 }), output);
  services.run(() => pal(command, layout.input, output, returnValue));
  return {
    returnCode: view.getUint32(returnValue, true),
    output: turnBuffer(bytes.slice(output, output + HEADER_SIZE + outputCapacity)),
  };
}

/** The services of one PAL: uPCRs and state in plain memory. What would need a key is UNAVAILABLE. */
class Services {
  readonly #pcrs = Array.from({ length: 8 }, () => new Uint8Array(32));
  readonly #replayProtected: boolean;
  readonly #print: (text: string) => void;
  readonly #started = performance.now();
  #state: Uint8Array = new Uint8Array(0);
  #written: Uint8Array | undefined;
  #memory = new Uint8Array(0);

  constructor(measurement: Uint8Array, replayProtected: boolean, print: (text: string) => void) {
    this.#extend(0, measurement);
    this.#replayProtected = replayProtected;
    this.#print = print;
  }

  instantiate(module: WasmModule): WasmInstance {
    const instance = new webAssembly.Instance(module, { [PAL_SERVICE_MODULE]: this.#imports() });
    const { memory } = instance.exports;
    // The linked module's memory never grows, so this view stays valid.
    if (memory instanceof webAssembly.Memory) this.#memory = new Uint8Array(memory.buffer);
    return instance;
  }

  /** Runs one call; the state that it wrote counts only if it comes to its end. */
  run(call: () => void): void {
    this.#written = undefined;
    call();
    this.#state = this.#written ?? this.#state;
  }

  #imports(): Record<PalServiceName, (...parameters: number[]) => number> {
    const unavailable = () => PAL_STATUS.UNAVAILABLE;
    return {
      utpm_pcr_read: (index = 8, digest = 0) => this.#pcr(index, (pcr) => this.#put(digest, pcr)),
      utpm_pcr_extend: (index = 8, digest = 0) =>
        this.#pcr(index, () => this.#take(digest, 32, (bytes) => this.#extend(index, bytes))),
      utpm_seal: unavailable,
      utpm_unseal: unavailable,
      utpm_quote: unavailable,
      utpm_id_getpub: unavailable,
      utpm_rand: (out = 0, length = 0) =>
        length >>> 0 > 4096 ? PAL_STATUS.BAD_PARAM : this.#take(out, length, (bytes) => void randomFillSync(bytes)),
      time_elapsed: (epoch = 0, micros = 0) => this.#time(epoch, micros),
      print: (text = 0, length = 0) =>
        this.#take(text, length, (bytes) => this.#print(new TextDecoder().decode(bytes.slice(0, 4096)))),
      state_read: (out = 0, length = 0) => this.#readState(out, length),
      state_write: (data = 0, length = 0) => {
        if (!this.#replayProtected) return PAL_STATUS.UNAVAILABLE;
        return this.#take(data, length, (bytes) => {
          this.#written = bytes.slice();
        });
      },
    };
  }

  #pcr(index: number, use: (pcr: Uint8Array) => number): number {
    const pcr = this.#pcrs[index];
    return pcr ? use(pcr) : PAL_STATUS.PCR_OUT_OF_RANGE;
  }

  #extend(index: number, digest: Uint8Array): void {
    const old = this.#pcrs[index];
    if (old) this.#pcrs[index] = createHash('sha256').update(old).update(digest).digest();
  }

  #time(epoch: number, micros: number): number {
    if (this.#replayProtected) return PAL_STATUS.UNAVAILABLE;
    const elapsed = new Uint8Array(8);
    new DataView(elapsed.buffer).setBigUint64(0, BigInt(Math.floor((performance.now() - this.#started) * 1000)), true);
    const first = epoch === 0 ? PAL_STATUS.SUCCESS : this.#put(epoch, new Uint8Array(8));
    return first === PAL_STATUS.SUCCESS ? this.#put(micros, elapsed) : first;
  }

  #readState(out: number, length: number): number {
    if (!this.#replayProtected) return PAL_STATUS.UNAVAILABLE;
    const state = this.#written ?? this.#state;
    let capacity = 0;
    const status = this.#take(length, 4, (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, 4);
      capacity = view.getUint32(0, true);
      view.setUint32(0, state.length, true);
    });
    if (status !== PAL_STATUS.SUCCESS) return status;
    return capacity < state.length ? PAL_STATUS.SHORT_BUFFER : this.#put(out, state);
  }

  #put(at: number, bytes: Uint8Array): number {
    return this.#take(at, bytes.length, (target) => target.set(bytes));
  }

  /** Hands `use` the PAL's own memory at an address that the PAL chose. */
  #take(at: number, length: number, use: (bytes: Uint8Array) => void): number {
    const [start, size] = [at >>> 0, length >>> 0];
    if (start + size > this.#memory.length) return PAL_STATUS.BAD_PARAM;
    use(this.#memory.subarray(start, start + size));
    return PAL_STATUS.SUCCESS;
  }
}

function parseImage(image: Uint8Array): PalImage {
  try {
    return parsePalImage(image);
  } catch (error) {
    if (!(error instanceof PalLinkerError)) throw error;
    throw noService(error.message, error);
  }
}

async function compile(code: Uint8Array): Promise<WasmModule> {
  try {
    return await webAssembly.compile(code.slice());
  } catch (error) {
    throw noService(error instanceof Error ? error.message : String(error), error);
  }
}

function section(pal: PalImage, type: number): PalSection {
  const found = pal.sections.find((candidate) => candidate.type === type);
  if (found) return found;
  throw noService(`expected a section of type ${type}`);
}

function noService(problem: string, cause?: unknown): TzError {
  return new TzError('TZ_ERROR_ILLEGAL_ARGUMENT', 'device', `download a service: ${problem}`, { cause });
}
