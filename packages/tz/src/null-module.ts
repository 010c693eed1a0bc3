/** PAL images on the null device: the same module as on a real device, run in this process with services that protect nothing. */
import { createHash, randomFillSync } from 'node:crypto';
import {
  measurePal,
  PAL_BUFFER_HEADER,
  PAL_FLAGS,
  PAL_KIND,
  PAL_SECTION,
  PAL_SERVICE_MODULE,
  PAL_STATUS,
  type PalImage,
  type PalSection,
  type PalServiceName,
  unsignedPal,
} from '@casemate/pal-linker';
import type { LentMemory, ServiceReply } from './driver.js';
import { TzError } from './error.js';
import { encodeFailure, HEADER_SIZE, turnBuffer, writeHeader } from './marshal.js';
import { TZ_MEM } from './return-code.js';
import { WASM_PAGE, type WasmInstance, type WasmMemory, type WasmModule, webAssembly } from './web-assembly.js';

/** A PAL that can be called in this process. */
export interface NullModule {
  /** The PAL's measurement. */
  readonly measurement: Uint8Array;
  /** Bytes of records that its input may hold. */
  readonly capacity: number;
  /** Calls the entry. */
  call(command: number, input: Uint8Array, lend: readonly LentMemory[]): ServiceReply;
}

/**
 * Compiles `pal`, which `image` holds. Throws TzError `TZ_ERROR_NOT_IMPLEMENTED` for an image that is not WebAssembly, and
 * `TZ_ERROR_ACCESS_DENIED` for one that does not compile.
 */
export async function loadModule(pal: PalImage, image: Uint8Array, print: (text: string) => void): Promise<NullModule> {
  if (pal.kind !== PAL_KIND.WASM)
    throw new TzError(
      'TZ_ERROR_NOT_IMPLEMENTED',
      'device',
      `download a service: expected WebAssembly, got an image of kind ${pal.kind}`,
    );
  const module = await compile(section(pal, PAL_SECTION.CODE).content);
  const measurement = measurePal(image);
  const layout = planLayout(pal);
  const replayProtected = (pal.flags & PAL_FLAGS.replayProtected) !== 0;
  const memory = new Services(
    { sha256: measurement, sha1: createHash('sha1').update(unsignedPal(image)).digest() },
    replayProtected,
    print,
  );
  let kept: WasmInstance | undefined;
  return {
    measurement,
    capacity: layout.inputCapacity,
    call: (command, input, lend) => {
      // A replay-protected PAL starts from fresh memory each time: what it keeps is in its state alone.
      const instance = replayProtected || !kept ? memory.instantiate(module) : kept;
      kept = instance;
      try {
        return callEntry(instance, layout, { command, input, lend }, memory);
      } catch (error) {
        // As in an isolate: after a crash memory and uPCRs are fresh.
        kept = undefined;
        memory.reset();
        throw error;
      }
    },
  };
}

interface Layout {
  /** Behind everything that the PAL has itself. */
  readonly end: number;
  readonly returnValue: number;
  readonly input: number;
  readonly inputCapacity: number;
  readonly output: number;
  readonly outputCapacity: number;
}

function planLayout(pal: PalImage): Layout {
  const { address, memorySize } = section(pal, PAL_SECTION.PARAM);
  const base = Number(address);
  const [inputCapacity, outputCapacity] = [pal.parameters[1], pal.parameters[2]].map(
    (p) => (p?.size ?? 0) - PAL_BUFFER_HEADER,
  );
  if (inputCapacity === undefined || outputCapacity === undefined || inputCapacity < 0 || outputCapacity < 0) {
    throw noService('expected an entry with an input and an output buffer');
  }
  const input = base + 16;
  const output = input + HEADER_SIZE + Math.ceil(inputCapacity / 8) * 8;
  return { returnValue: base, input, inputCapacity, output, outputCapacity, end: base + memorySize };
}

function callEntry(
  instance: WasmInstance,
  layout: Layout,
  {
    command,
    input,
    lend,
  }: { readonly command: number; readonly input: Uint8Array; readonly lend: readonly LentMemory[] },
  services: Services,
): ServiceReply {
  if (input.length > HEADER_SIZE + layout.inputCapacity)
    throw encodeFailure('TZ_ERROR_ENCODE_MEMORY', layout.inputCapacity);
  const { memory, pal } = instance.exports;
  if (!(memory instanceof webAssembly.Memory) || typeof pal !== 'function')
    throw noService('expected exports memory and pal');
  const { returnValue, output, outputCapacity } = layout;
  const window = openWindow(memory, layout, lend);
  const view = new DataView(memory.buffer);
  const bytes = new Uint8Array(memory.buffer);
  view.setUint32(returnValue, 0, true);
  bytes.set(input, layout.input);
  writeHeader(bytes.subarray(output), { returnValue: 0, size: outputCapacity, offset: 0, sizeUsed: 0 });
  services.run(memory, window, () => pal(command, layout.input, output, returnValue));
  closeWindow(bytes, window);
  return {
    returnCode: view.getUint32(returnValue, true),
    output: turnBuffer(bytes.slice(output, output + HEADER_SIZE + outputCapacity)),
  };
}

/** A lent range with its place in the PAL's memory. */
interface Placed extends LentMemory {
  readonly address: number;
}

/** Copies what is lent behind everything that the PAL itself has; each range as far from a multiple of 8 as it is in its block. */
function openWindow(memory: WasmMemory, layout: Layout, lend: readonly LentMemory[]): readonly Placed[] {
  if (lend.length === 0) return [];
  let end = layout.end;
  const placed = lend.map((range) => {
    const address = Math.ceil(end / 8) * 8 + (range.offset % 8);
    end = address + range.length;
    return { ...range, address };
  });
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) growMemory(memory, Math.ceil(missing / WASM_PAGE));
  const bytes = new Uint8Array(memory.buffer);
  for (const { memory: block, address, offset, length, flags } of placed) {
    if (flags & TZ_MEM.SERVICE_RO) bytes.set(block.read(offset, length), address);
  }
  return placed;
}

function growMemory(memory: WasmMemory, pages: number): void {
  try {
    memory.grow(pages);
  } catch (cause) {
    const problem = `lend memory: expected room for ${pages} more pages, got none`;
    throw new TzError('TZ_ERROR_MEMORY', 'device', problem, { cause });
  }
}

/** Copies back what could be written, and leaves zeros. */
function closeWindow(bytes: Uint8Array, window: readonly Placed[]): void {
  for (const { memory, address, offset, length, flags } of window) {
    const range = bytes.subarray(address, address + length);
    if (flags & TZ_MEM.SERVICE_WO) memory.write(offset, range);
    range.fill(0);
  }
}

/** The services of one PAL: uPCRs and state in plain memory. What would need a key is UNAVAILABLE. */
class Services {
  #pcrs = { sha256: zeros(32), sha1: zeros(20) };
  readonly #identities: { readonly sha256: Uint8Array; readonly sha1: Uint8Array };
  readonly #replayProtected: boolean;
  readonly #print: (text: string) => void;
  readonly #started = performance.now();
  #state: Uint8Array = new Uint8Array(0);
  #written: Uint8Array | undefined;
  #nvram: Uint8Array = new Uint8Array(32).fill(0xff);
  #counter = 0n;
  #memory = new Uint8Array(0);
  #lent: readonly Placed[] = [];

  constructor(
    identities: { readonly sha256: Uint8Array; readonly sha1: Uint8Array },
    replayProtected: boolean,
    print: (text: string) => void,
  ) {
    this.#identities = identities;
    this.reset();
    this.#replayProtected = replayProtected;
    this.#print = print;
  }

  /** The uPCRs as they are at registration. */
  reset(): void {
    this.#pcrs = { sha256: zeros(32), sha1: zeros(20) };
    this.#extend('sha256', 0, this.#identities.sha256);
    this.#extend('sha1', 0, this.#identities.sha1);
  }

  instantiate(module: WasmModule): WasmInstance {
    return new webAssembly.Instance(module, { [PAL_SERVICE_MODULE]: this.#imports() });
  }

  /** Runs one call; the state that it wrote counts only if it comes to its end. */
  run(memory: WasmMemory, lent: readonly Placed[], call: () => void): void {
    this.#written = undefined;
    this.#memory = new Uint8Array(memory.buffer); // the linked module itself never grows it
    this.#lent = lent;
    call();
    this.#state = this.#written ?? this.#state;
  }

  #imports(): Record<PalServiceName, (...parameters: number[]) => number> {
    const unavailable = () => PAL_STATUS.UNAVAILABLE;
    return {
      utpm_pcr_read: (index = 8, digest = 0) => this.#read('sha256', index, digest),
      utpm_pcr_extend: (index = 8, digest = 0) => this.#extendBy('sha256', index, digest),
      tv_pcr_read: (index = 8, digest = 0) => this.#read('sha1', index, digest),
      tv_pcr_extend: (index = 8, digest = 0) => this.#extendBy('sha1', index, digest),
      memory_lent: (index = 0, info = 0) => this.#lentAt(index >>> 0, info),
      counter_read: (value = 0) => this.#put(value, u64(this.#counter)),
      counter_increment: (value = 0) => this.#put(value, u64(++this.#counter)),
      tpmnvram_getsize: (size = 0) => this.#put(size, Uint8Array.of(this.#nvram.length, 0, 0, 0)),
      tpmnvram_readall: (data = 0) => this.#put(data, this.#nvram),
      tpmnvram_writeall: (data = 0) =>
        this.#take(data, this.#nvram.length, (bytes) => {
          this.#nvram = bytes.slice();
        }),
      tv_seal: unavailable,
      tv_unseal: unavailable,
      tv_quote: unavailable,
      tv_id_getpub: unavailable,
      seal_data: unavailable,
      unseal_data: unavailable,
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

  #read(bank: Bank, index: number, digest: number): number {
    const pcr = this.#pcrs[bank][index];
    return pcr ? this.#put(digest, pcr) : PAL_STATUS.PCR_OUT_OF_RANGE;
  }

  #extendBy(bank: Bank, index: number, digest: number): number {
    const pcr = this.#pcrs[bank][index];
    if (!pcr) return PAL_STATUS.PCR_OUT_OF_RANGE;
    return this.#take(digest, pcr.length, (bytes) => this.#extend(bank, index, bytes));
  }

  #extend(bank: Bank, index: number, digest: Uint8Array): void {
    const old = this.#pcrs[bank][index];
    if (old) this.#pcrs[bank][index] = createHash(bank).update(old).update(digest).digest();
  }

  #lentAt(index: number, info: number): number {
    const range = this.#lent[index];
    if (!range) return PAL_STATUS.BAD_PARAM;
    const words = new Uint8Array(24);
    const view = new DataView(words.buffer);
    view.setBigUint64(0, BigInt(range.address), true);
    view.setBigUint64(8, BigInt(range.length), true);
    view.setUint32(16, range.flags, true);
    return this.#put(info, words);
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

/** One of the two sets of uPCRs. */
type Bank = 'sha256' | 'sha1';

function zeros(size: number): Uint8Array[] {
  return Array.from({ length: 8 }, () => new Uint8Array(size));
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
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
  return new TzError('TZ_ERROR_ACCESS_DENIED', 'device', `download a service: ${problem}`, { cause });
}
