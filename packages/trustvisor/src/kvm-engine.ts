/** The engine `kvm`: for each PAL a virtual machine without an operating system, kept by a small native monitor process. */
import { constants } from 'node:os';
import { PAL_BUFFER_HEADER, PAL_FLAGS, PAL_KIND, PAL_SECTION, type PalImage } from '@casemate/pal-linker';
import {
  type EngineHost,
  type EnginePal,
  faultError,
  type Lent,
  localService,
  planLayout,
  QUOTE_TIME,
  type Run,
  type RunOutcome,
} from './engine.js';
import { type PalFault, TrustvisorError } from './error.js';
import {
  ACCESS,
  encodeLoad,
  encodeRun,
  FAULT_KINDS,
  type LoadRequest,
  type MonitorAnswer,
  type MonitorFault,
  type RunRequest,
} from './kvm-protocol.js';
import { Machine, type MachinePrograms } from './machine.js';
import { isMarshalled, type MarshalPlan, type PreparedCall, planMarshalling } from './marshal.js';
import type { PalQuote } from './options.js';
import { MAX_DATA, PAGE } from './protocol.js';
import type { ParameterLayout } from './worker-messages.js';

const SECTION_ACCESS: Readonly<Record<number, number>> = {
  [PAL_SECTION.CODE]: ACCESS.READ | ACCESS.EXECUTE,
  [PAL_SECTION.RODATA]: ACCESS.READ,
  [PAL_SECTION.DATA]: ACCESS.READ | ACCESS.WRITE,
  [PAL_SECTION.BSS]: ACCESS.READ | ACCESS.WRITE,
  [PAL_SECTION.STACK]: ACCESS.READ | ACCESS.WRITE,
  [PAL_SECTION.PARAM]: ACCESS.READ | ACCESS.WRITE,
};

type Returned = Extract<MonitorAnswer, { readonly type: 'returned' }>;

const NOTHING = new Uint8Array(0);

/** How long the monitor may take beyond the PAL's own time, in milliseconds: then it is ended. */
const PATIENCE = 1000;

/** A PAL in a machine of its own. The machine is made at the first need, and anew after it had to be ended. */
export class KvmPal implements EnginePal {
  readonly inputCapacity: number;
  readonly #image: PalImage;
  readonly #programs: MachinePrograms;
  readonly #host: EngineHost;
  /** Where the entry takes buffers. */
  readonly #layout: ParameterLayout | undefined;
  /** Where it takes parameters of its own. */
  readonly #plan: MarshalPlan | undefined;
  readonly #isStateful: boolean;
  #machine: Machine | undefined;
  /** What its services work with, as far as they are not those of its thread. */
  #local: Local;

  /** Throws {@link TrustvisorError} with code `unsupported-engine` or `refused`. */
  constructor(image: PalImage, programs: MachinePrograms, host: EngineHost) {
    if (image.kind !== PAL_KIND.ELF_X86_64 || process.arch !== 'x64') {
      const problem = `the engine kvm runs images for x86-64 on such a processor, not kind ${image.kind} on ${process.arch}`;
      throw new TrustvisorError('unsupported-engine', `load PAL ${image.name}: ${problem}`);
    }
    this.#image = image;
    this.#programs = programs;
    this.#host = host;
    this.#layout = isMarshalled(image) ? undefined : planLayout(image);
    this.#plan = isMarshalled(image) ? planMarshalling(image) : undefined;
    this.inputCapacity = this.#layout?.inputCapacity ?? MAX_DATA;
    this.#isStateful = (image.flags & PAL_FLAGS.replayProtected) !== 0;
    this.#local = this.#localOf(undefined);
  }

  async load(timeLimit: number): Promise<Uint8Array> {
    if (this.#machine?.error) this.#machine = undefined;
    if (this.#machine !== undefined) return this.#machine.identity();
    const hasLane = this.#layout !== undefined && !this.#isStateful;
    const machine = new Machine(
      this.#programs,
      { hasLane, hasState: this.#isStateful },
      {
        ...this.#host,
        local: (call) => localService(call, this.#local),
        describe: (fault) => this.#laneFailure(fault),
      },
    );
    this.#machine = machine;
    const place = { arena: this.#programs.arena, lane: machine.lane?.fd };
    const loaded = machine.ask(encodeLoad(machineOf(this.#image, this.#layout, place)));
    const answer = await this.#limited(machine, { timeLimit }, loaded);
    if (answer.type !== 'ready') {
      this.#drop(machine);
      throw answer.type === 'failed' ? machineError(this.#image.name, answer) : this.#unexpected(answer);
    }
    const identity = await this.#limited(machine, { timeLimit }, machine.identity());
    if (machine.lane !== undefined) this.#host.lane(machine.lane.number, this.inputCapacity);
    return identity;
  }

  async run(run: Run): Promise<RunOutcome> {
    if (run.signal?.aborted) throw this.#aborted();
    const call = this.#plan?.prepare(run.input);
    const machine = await this.#loaded(run.timeLimit);
    if (run.signal?.aborted) throw this.#aborted();
    if (run.randomness !== undefined) machine.reset(run.randomness);
    const local = this.#localOf(this.#isStateful ? run.state : undefined);
    this.#local = local;
    try {
      const answer = await this.#limited(machine, run, machine.ask(encodeRun(this.#runRequest(run, call))));
      if (answer.type === 'returned') return this.#returned(answer, call, local.state);
      if (answer.type !== 'fault') throw this.#unexpected(answer);
      machine.reset(undefined);
      return this.#faulted(answer.fault, run.timeLimit);
    } finally {
      this.#local = this.#localOf(undefined);
    }
  }

  async quote(nonce: Uint8Array, mask: number): Promise<PalQuote> {
    return (await this.#loaded(QUOTE_TIME)).quote(nonce, mask);
  }

  async #loaded(timeLimit: number): Promise<Machine> {
    await this.load(timeLimit);
    if (this.#machine === undefined) throw this.#aborted();
    return this.#machine;
  }

  stop(): TrustvisorError | undefined {
    const machine = this.#machine;
    const error = machine?.error;
    if (machine !== undefined) this.#drop(machine, this.#aborted());
    return error;
  }

  async close(): Promise<void> {
    const machine = this.#machine;
    this.#machine = undefined;
    await machine?.wipeAndEnd();
  }

  #localOf(state: Uint8Array | undefined): Local {
    return { state, lent: [], print: this.#host.print };
  }

  #runRequest({ command, input, timeLimit, lent }: Run, call: PreparedCall | undefined): RunRequest {
    return {
      timeLimit,
      isFresh: this.#isStateful ? 1 : 0,
      command: command >>> 0,
      arguments: call?.arguments ?? [],
      lent: this.#programs.arena === undefined ? placed(lent) : lent.map(inArena),
      content: call?.area ?? input,
    };
  }

  #returned(
    { result, content, written }: Returned,
    call: PreparedCall | undefined,
    state: Uint8Array = NOTHING,
  ): RunOutcome {
    if (call !== undefined) {
      const returnCode = Number(BigInt.asUintN(32, result));
      return { kind: 'returned', returnCode, output: call.output(content), state, written };
    }
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    const length = view.getUint32(12, true);
    const from = 4 + PAL_BUFFER_HEADER;
    if (length > content.length - from) return this.#malformed(length);
    const output = content.slice(from, from + length);
    return { kind: 'returned', returnCode: view.getUint32(0, true), output, state, written };
  }

  #malformed(length: number): Faulted {
    const problem = `expected an output of at most ${this.#layout?.outputCapacity} bytes, got ${length}`;
    return { kind: 'fault', fault: 'malformed-output', problem };
  }

  #laneFailure(given: MonitorFault): TrustvisorError {
    const { name } = this.#image;
    // The application said how long it may take: it knows.
    if (FAULT_KINDS[given.kind] === 'time')
      return new TrustvisorError('timeout', `run PAL ${name}: expected an end within its time limit`);
    return faultError(name, this.#describe(given));
  }

  #faulted(fault: MonitorFault, timeLimit: number): Faulted {
    if (FAULT_KINDS[fault.kind] === 'time') throw this.#late(timeLimit);
    return this.#describe(fault);
  }

  #describe(fault: MonitorFault): Faulted {
    const kind = FAULT_KINDS[fault.kind] ?? 'machine';
    if (kind === 'output') return this.#malformed(Number(fault.address));
    const trap = trapOf(kind, fault);
    if (trap !== undefined)
      return { kind: 'fault', fault: trap, problem: `it trapped (${describeFault(kind, fault)})` };
    return { kind: 'fault', fault: FAULTS[kind], problem: describeFault(kind, fault) };
  }

  /** Waits for an answer, but ends the machine when its time is up twice over, or the caller gives up. */
  async #limited<T>(
    machine: Machine,
    { timeLimit, signal }: Pick<Run, 'timeLimit' | 'signal'>,
    answer: Promise<T>,
  ): Promise<T> {
    const timer = setTimeout(() => this.#drop(machine, this.#late(timeLimit)), timeLimit + PATIENCE);
    const given = () => this.#drop(machine, this.#aborted());
    signal?.addEventListener('abort', given, { once: true });
    try {
      return await answer;
    } catch (error) {
      this.#drop(machine);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', given);
    }
  }

  #drop(machine: Machine, error?: TrustvisorError): void {
    if (this.#machine === machine) {
      this.#machine = undefined;
      // The end of its lane comes when the process has died: the application must know it before the next call.
      this.#host.lane(undefined, 0);
    }
    void machine.end(error);
  }

  #late(timeLimit: number): TrustvisorError {
    return new TrustvisorError('timeout', `run PAL ${this.#image.name}: expected an end within ${timeLimit} ms`);
  }

  #aborted(): TrustvisorError {
    return new TrustvisorError('aborted', `run PAL ${this.#image.name}: the caller gave it up`);
  }

  #unexpected({ type }: MonitorAnswer): TrustvisorError {
    return new TrustvisorError('protocol', `run PAL ${this.#image.name}: the monitor answered ${type}`);
  }
}

/** Where everything lies in the machine of a PAL whose entry takes buffers (`layout`) or parameters of its own. */
export function machineOf(
  { name, sections, entryAddress }: PalImage,
  layout: ParameterLayout | undefined,
  { arena, lane }: { readonly arena: number | undefined; readonly lane: number | undefined },
): LoadRequest {
  const stack = sections.find(({ type }) => type === PAL_SECTION.STACK);
  const parameters = sections.find(({ type }) => type === PAL_SECTION.PARAM);
  if (stack === undefined || parameters === undefined)
    throw new TrustvisorError('refused', `load PAL ${name}: expected the sections STACK and PARAM`);
  return {
    entry: entryAddress,
    stackStart: stack.address,
    stackEnd: stack.address + BigInt(stack.memorySize),
    parameters: parameters.address,
    parameterSize: parameters.memorySize,
    ...bufferPlaces(layout),
    hasArena: arena === undefined ? 0 : 1,
    hasLane: lane === undefined ? 0 : 1,
    sections: sections.map(({ type, address, memorySize, content }) => {
      return { address, size: memorySize, access: SECTION_ACCESS[type] ?? 0, content };
    }),
  };
}

function bufferPlaces(layout: ParameterLayout | undefined) {
  if (layout === undefined) return { isMarshalled: 1, inputOffset: 0, inputSize: 0, outputOffset: 0, outputSize: 0 };
  return {
    isMarshalled: 0,
    inputOffset: layout.input - layout.returnCode,
    inputSize: PAL_BUFFER_HEADER + layout.inputCapacity,
    outputOffset: layout.output - layout.returnCode,
    outputSize: PAL_BUFFER_HEADER + layout.outputCapacity,
  };
}

type Faulted = Extract<RunOutcome, { readonly kind: 'fault' }>;
type Local = Parameters<typeof localService>[1];

function inArena({ access, at, length }: Lent): RunRequest['lent'][number] {
  return { access, at: BigInt(at), length: BigInt(length), content: [] };
}

/** Where application and monitor share nothing: the bytes, each on pages of their own in the monitor's memory. */
function placed(lent: readonly Lent[]): RunRequest['lent'] {
  let next = 0;
  return lent.map(({ access, length, content }) => {
    const at = next;
    next += Math.ceil(length / PAGE) * PAGE;
    return { access, at: BigInt(at), length: BigInt(length), content };
  });
}

/** WebAssembly that was translated marks the traps that no fault of the processor tells apart (native/wasm2c/wasm-rt.c of pal-linker). */
function trapOf(kind: (typeof FAULT_KINDS)[number], { registers }: MonitorFault): PalFault | undefined {
  if (kind !== 'illegal' || registers.rax >> 32n !== TRAP_MARK) return undefined;
  return TRAPS.get(Number(registers.rax & 0xffffffffn));
}

const TRAP_MARK = 0x7761736dn;
const TRAPS: ReadonlyMap<number, PalFault> = new Map([
  [1, 'out-of-bounds'],
  [4, 'conversion'],
  [6, 'indirect-call'],
]);

const FAULTS: Readonly<Record<(typeof FAULT_KINDS)[number], PalFault>> = {
  none: 'other',
  page: 'out-of-bounds',
  stack: 'stack-overflow',
  illegal: 'unreachable',
  divide: 'division',
  privileged: 'privileged',
  time: 'other',
  port: 'privileged',
  machine: 'other',
  service: 'service',
  output: 'malformed-output',
};

const PROBLEMS: Readonly<Record<(typeof FAULT_KINDS)[number], string>> = {
  none: 'it ended without a reason',
  page: 'it touched memory that it may not touch so',
  stack: 'its stack is full',
  illegal: 'it came upon an illegal instruction',
  divide: 'it divided by zero, or the quotient does not fit',
  privileged: 'it executed an instruction that it may not execute',
  time: 'its time was up',
  port: 'it used an I/O port',
  machine: 'the virtual machine could not go on',
  service: 'it called a service that there is not',
  output: 'its output does not fit',
};

/** With the place and the registers: a PAL has no debugger. */
function describeFault(kind: (typeof FAULT_KINDS)[number], { address, registers }: MonitorFault): string {
  const all = Object.entries(registers).map(([name, value]) => `${name} ${hex(value)}`);
  const where = kind === 'page' || kind === 'stack' ? ` at ${hex(address)}` : '';
  return `${PROBLEMS[kind]}${where}, instruction at ${hex(registers.rip)} (${all.join(', ')})`;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function machineError(
  name: string,
  { errno, step }: { readonly errno: number; readonly step: string },
): TrustvisorError {
  const symbol = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
  if (step !== 'open /dev/kvm')
    return new TrustvisorError('refused', `load PAL ${name}: expected a virtual machine, got ${symbol} from ${step}`);
  const hint =
    symbol === 'EACCES'
      ? 'this user may not use it: usually a member of the group kvm may'
      : 'it is not there: the processor has no virtualisation, or it is switched off, or the kernel lacks it';
  return new TrustvisorError('unsupported-engine', `load PAL ${name}: expected /dev/kvm, got ${symbol}; ${hint}`);
}
