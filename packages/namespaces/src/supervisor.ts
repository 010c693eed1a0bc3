/** The outer side of waiting system calls: asks the callback, and passes its answers to the launcher (native/notify.c). */
import { constants } from 'node:os';
import { encode, sizedBytes, struct, u32le, u64le } from '@casemate/wire';
import { errnoName } from './errno.js';
import { NamespaceError } from './error.js';
import { cText } from './operations.js';
import type { CommandName, LauncherEvent } from './protocol.js';
import { ARCHITECTURES, isSeccompArch, type SeccompArch } from './seccomp-architectures.js';
import { syscallName } from './syscalls.js';
import type { SystemCall, SystemCallAnswer, SystemCallCallback } from './system-call.js';

type Tell = (command: CommandName, ticket: number, body: Uint8Array) => void;

interface Command {
  readonly name: CommandName;
  readonly body: Uint8Array;
  readonly done: (event: LauncherEvent | undefined) => void;
}

/** Serves the waiting calls of one sandbox. */
export class Supervisor {
  readonly #callback: SystemCallCallback;
  readonly #timeLimit: number;
  readonly #tell: Tell;
  readonly #waiting: Command[] = [];
  readonly #sent = new Map<number, Command>();
  readonly #open = new Set<AbortController>();
  #next = 1;
  #isClosed = false;

  constructor(callback: SystemCallCallback, timeLimit: number, tell: Tell) {
    this.#callback = callback;
    this.#timeLimit = timeLimit;
    this.#tell = tell;
  }

  /** A call that waits. */
  call(event: LauncherEvent): void {
    if (!this.#isClosed) void this.#serve(event.data).catch(() => undefined); // the sandbox has ended in between
  }

  /** The launcher has done what it was told. */
  done(event: LauncherEvent): void {
    const command = this.#sent.get(event.a);
    this.#sent.delete(event.a);
    this.#sendMore();
    command?.done(event);
  }

  /** The sandbox has ended: nothing waits any more. */
  close(): void {
    this.#isClosed = true;
    for (const controller of this.#open) controller.abort();
    const left = [...this.#sent.values(), ...this.#waiting.splice(0)];
    this.#sent.clear();
    for (const command of left) command.done(undefined);
  }

  async #serve(data: Uint8Array): Promise<void> {
    const controller = new AbortController();
    this.#open.add(controller);
    const call = new WaitingCall(data, controller.signal, (name, body) => this.#ask(name, body));
    const timer = setTimeout(() => controller.abort(), this.#timeLimit);
    try {
      const answer = await Promise.race([this.#decide(call), aborted(controller.signal)]);
      await this.#give(call, answer);
    } finally {
      clearTimeout(timer);
      controller.abort();
      this.#open.delete(controller);
    }
  }

  async #decide(call: SystemCall): Promise<SystemCallAnswer> {
    try {
      return await this.#callback(call);
    } catch {
      return DENIED; // whatever went wrong, nothing was allowed
    }
  }

  // What cannot be opened or added fails the call in its place. All else fails only for a call that has been given up.
  async #give(call: WaitingCall, answer: SystemCallAnswer): Promise<void> {
    const command = commandFor(call.id, answer) ?? commandFor(call.id, DENIED); // no answer at all is a denial too
    if (!command) return;
    const error = (await this.#ask(...command))?.b ?? 0;
    if (error === 0 || !(answer.type === 'open' || answer.type === 'descriptor')) return;
    const failure = commandFor(call.id, { type: 'errno', errno: error });
    if (failure) await this.#ask(...failure);
  }

  #ask(name: CommandName, body: Uint8Array): Promise<LauncherEvent | undefined> {
    if (this.#isClosed) return Promise.resolve(undefined);
    return new Promise((done) => {
      this.#waiting.push({ name, body, done });
      this.#sendMore();
    });
  }

  // The launcher's packet socket holds a few hundred, and drops what is above.
  #sendMore(): void {
    while (this.#sent.size < MAX_SENT) {
      const command = this.#waiting.shift();
      if (!command) return;
      const ticket = this.#next;
      this.#next = (this.#next % 0xffff_ffff) + 1;
      this.#sent.set(ticket, command);
      this.#tell(command.name, ticket, command.body);
    }
  }
}

type Ask = (name: CommandName, body: Uint8Array) => Promise<LauncherEvent | undefined>;

class WaitingCall implements SystemCall {
  readonly id: bigint;
  readonly pid: number;
  readonly name: string | undefined;
  readonly number: number;
  readonly architecture: SeccompArch | undefined;
  readonly args: readonly bigint[];
  readonly instructionPointer: bigint;
  readonly signal: AbortSignal;
  readonly #ask: Ask;

  constructor(data: Uint8Array, signal: AbortSignal, ask: Ask) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const word = (index: number): bigint => view.getBigUint64(index * 8, true);
    this.id = word(0);
    this.pid = Number(word(1));
    this.number = Number(word(3));
    this.architecture = architectureOf(Number(word(4)), this.number);
    this.name = this.architecture && syscallName(this.number, this.architecture);
    this.instructionPointer = word(5);
    this.args = [6, 7, 8, 9, 10, 11].map(word);
    this.signal = signal;
    this.#ask = ask;
  }

  async read(address: bigint, length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let at = 0; at < length; ) {
      const size = Math.min(length - at, MAX_MEMORY);
      const part = await this.#readPart(address + BigInt(at), size, at === 0);
      parts.push(part);
      at += part.length;
      if (part.length < size) break;
    }
    return join(parts);
  }

  async readString(argument: number, { max = 4096 }: { readonly max?: number } = {}): Promise<string> {
    const address = this.args[argument];
    if (address === undefined) throw failed('read text', `an argument 0 … 5`, String(argument), constants.errno.EINVAL);
    const parts: Uint8Array[] = [];
    for (let at = 0; at < max; ) {
      // Up to the next page, so that text at the end of what is mapped can be read.
      const here = address + BigInt(at);
      const size = Math.min(max - at, Number(PAGE - (here % PAGE)));
      const part = await this.#readPart(here, size, true);
      const end = part.indexOf(0);
      parts.push(end < 0 ? part : part.subarray(0, end));
      if (end >= 0) return new TextDecoder().decode(join(parts));
      if (part.length < size) throw failed('read text', 'a zero byte', 'the end of the memory', constants.errno.EFAULT);
      at += size;
    }
    throw failed('read text', `at most ${max} bytes`, 'more', constants.errno.ENAMETOOLONG);
  }

  async write(address: bigint, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += MAX_MEMORY) {
      const part = bytes.subarray(at, at + MAX_MEMORY);
      this.#check(
        'write memory',
        await this.#ask(
          'write-memory',
          encode(WriteBody, { id: this.id, pid: this.pid, address: address + BigInt(at), part }),
        ),
      );
    }
  }

  async #readPart(address: bigint, length: number, isNeeded: boolean): Promise<Uint8Array> {
    const body = encode(ReadBody, { id: this.id, pid: this.pid, address, length });
    const event = await this.#ask('read-memory', body);
    if (!isNeeded && event?.b === constants.errno.EFAULT) return new Uint8Array();
    return this.#check('read memory', event).data;
  }

  #check(what: string, event: LauncherEvent | undefined): LauncherEvent {
    if (event?.b === 0) return event;
    throw failed(
      what,
      'it to succeed',
      errnoName(event?.b ?? constants.errno.ENOENT),
      event?.b ?? constants.errno.ENOENT,
    );
  }
}

function failed(what: string, expected: string, got: string, errno: number): NamespaceError {
  return new NamespaceError('call-failed', `${what} of a system call: expected ${expected}, got ${got}`, {
    errno: errnoName(errno),
  });
}

function architectureOf(audit: number, number: number): SeccompArch | undefined {
  const isX32 = audit === ARCHITECTURES.x32.audit && number >= ARCHITECTURES.x32.base;
  if (isX32) return 'x32';
  return Object.keys(ARCHITECTURES)
    .filter(isSeccompArch)
    .find((arch) => ARCHITECTURES[arch].audit === audit);
}

// Undefined for what is no answer: the callback may be plain JavaScript.
function commandFor(id: bigint, answer: SystemCallAnswer): readonly [CommandName, Uint8Array] | undefined {
  switch (answer?.type) {
    case 'errno':
      if (!isNumber(answer.errno, 4095) || answer.errno === 0) return undefined;
      return ['answer', encode(AnswerBody, { id, flags: 0, error: answer.errno, value: 0n })];
    case 'value':
      if (typeof answer.value !== 'bigint' && !Number.isSafeInteger(answer.value)) return undefined;
      return [
        'answer',
        encode(AnswerBody, { id, flags: 0, error: 0, value: BigInt.asUintN(64, BigInt(answer.value)) }),
      ];
    case 'unsafe-continue':
      return ['answer', encode(AnswerBody, { id, flags: CONTINUE, error: 0, value: 0n })];
    case 'open': {
      const { path, flags = READ_ONLY, mode = 0o600, closeOnExec = true } = answer;
      if (
        typeof path !== 'string' ||
        !path.startsWith('/') ||
        path.includes('\0') ||
        path.length > MAX_PATH ||
        !isNumber(flags, 0x7fff_ffff)
      )
        return undefined;
      if (!isNumber(mode, 0o7777)) return undefined;
      return ['add-file', encode(FileBody, { id, flags: closeBit(flags, closeOnExec), mode, path })];
    }
    case 'descriptor': {
      const { fd, closeOnExec = true } = answer;
      if (!isNumber(fd, 0x7fff_ffff)) return undefined;
      return ['add-descriptor', encode(DescriptorBody, { id, flags: closeBit(0, closeOnExec), pid: process.pid, fd })];
    }
    default:
      return undefined;
  }
}

function closeBit(flags: number, closeOnExec: boolean): number {
  return (closeOnExec ? flags | O_CLOEXEC : flags & ~O_CLOEXEC) >>> 0;
}

function isNumber(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

function aborted(signal: AbortSignal): Promise<SystemCallAnswer> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(DENIED), { once: true });
  });
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const DENIED: SystemCallAnswer = { type: 'errno', errno: constants.errno.EPERM };
const MAX_SENT = 32;
const MAX_MEMORY = 4096;
const MAX_PATH = 1024; // characters, of up to four bytes
const PAGE = 4096n;
const CONTINUE = 1;
const READ_ONLY = 0;
const O_CLOEXEC = 0o2000000; // the same on x86_64 and aarch64

const ReadBody = struct('ReadMemory', { id: u64le, pid: u32le, address: u64le, length: u32le });
const WriteBody = struct('WriteMemory', {
  id: u64le,
  pid: u32le,
  address: u64le,
  part: sizedBytes('part', u32le, { max: MAX_MEMORY }),
});
const AnswerBody = struct('Answer', { id: u64le, flags: u32le, error: u32le, value: u64le });
const FileBody = struct('AddFile', { id: u64le, flags: u32le, mode: u32le, path: cText });
const DescriptorBody = struct('AddDescriptor', { id: u64le, flags: u32le, pid: u32le, fd: u32le });
