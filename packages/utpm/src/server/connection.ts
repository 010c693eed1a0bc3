/** One client connection: requests cut off a byte stream, answered one after another. */
import type { Socket } from 'node:net';
import { concat, EMPTY } from '../bytes.js';
import { onBytes, type Send, senderOf } from './one-buffer.js';

/** How requests are told apart and answered. */
export interface Protocol {
  /**
   * The length in bytes of the first request in `bytes`, which may hold less or more than one: 0 where more bytes are needed to tell or
   * to complete it, -1 where no request can start so. The client controls every byte.
   */
  measure(bytes: Uint8Array): number;
  /**
   * Runs one request; `undefined` ends the connection without an answer. The request is overwritten when this has returned: who needs it
   * when a promise goes on copies it.
   */
  answer(request: Uint8Array): Promise<Uint8Array | undefined> | Uint8Array | undefined;
  /** Milliseconds that a client has for a whole request, from its first byte on; without it, as long as it likes. */
  readonly patience?: number;
}

/** Chooses the protocol of a request by its first four bytes, which are there. */
export type Detect = (request: Uint8Array) => Protocol | undefined;

/** What can be chosen for a connection. */
export interface ConnectionOptions {
  /** End it after one answer. */
  readonly endAfterAnswer?: boolean;
}

// No request of any of the protocols is longer: a state blob is the longest.
const MAX_BUFFERED = 1 << 20;

/** A connection that is read but not answered yet. */
export interface PendingConnection {
  /** Begins to answer. */
  start(): void;
}

/** Reads `socket` and, once started, serves it until it ends; a malformed request ends it. */
export function openConnection(socket: Socket, detect: Detect, options: ConnectionOptions = {}): PendingConnection {
  return new Connection(socket, detect, options.endAfterAnswer === true);
}

class Connection implements PendingConnection {
  readonly #socket: Socket;
  readonly #send: Send;
  readonly #detect: Detect;
  readonly #endsAfterAnswer: boolean;
  #buffered: Uint8Array = EMPTY;
  /** Is a request being answered, or is it not this connection's turn yet? */
  #isBusy = true;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket, detect: Detect, endsAfterAnswer: boolean) {
    this.#socket = socket;
    this.#send = senderOf(socket);
    this.#detect = detect;
    this.#endsAfterAnswer = endsAfterAnswer;
    socket.setNoDelay?.(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => clearTimeout(this.#timer));
    onBytes(socket, (bytes) => this.#take(bytes));
  }

  start(): void {
    this.#isBusy = false;
    this.#serve();
  }

  #take(bytes: Uint8Array): void {
    // What is answered at once need not be copied, and that is nearly all.
    const isFirst = this.#buffered.length === 0;
    this.#buffered = isFirst ? bytes : concat(this.#buffered, bytes);
    if (this.#buffered.length > MAX_BUFFERED) this.#socket.destroy();
    else if (!this.#isBusy) this.#serve();
    if (isFirst && this.#buffered.length > 0) this.#buffered = new Uint8Array(this.#buffered);
  }

  /** Answers what has come, until something has to be waited for. Most answers are there at once, and no promise delays them. */
  #serve(): void {
    try {
      let isAnswered = true;
      while (isAnswered && !this.#isBusy) isAnswered = this.#serveOne();
      if (!this.#isBusy) this.#expectRest();
    } catch {
      // An answer that could not be made (the TPM was closed meanwhile): the client sees the connection end.
      this.#socket.destroy();
    }
  }

  /** Answers one request, or begins to; `false` where there is none to answer. */
  #serveOne(): boolean {
    if (this.#buffered.length < 4 || this.#socket.destroyed) return false;
    const protocol = this.#detect(this.#buffered);
    const length = protocol?.measure(this.#buffered) ?? -1;
    if (length < 0 || length > MAX_BUFFERED) {
      this.#socket.destroy();
      return false;
    }
    if (length === 0 || length > this.#buffered.length) return false;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    const answer = protocol?.answer(this.#takeRequest(length));
    const rest = answer instanceof Promise ? answer.then((late) => this.#deliver(late)) : this.#deliver(answer);
    if (rest !== undefined) void this.#wait(rest);
    return true;
  }

  #takeRequest(length: number): Uint8Array {
    const bytes = this.#buffered;
    const isAll = length === bytes.length;
    this.#buffered = isAll ? EMPTY : bytes.subarray(length);
    return isAll ? bytes : bytes.subarray(0, length);
  }

  /** Sends an answer; what it returns has to happen before the next request is looked at. */
  #deliver(answer: Uint8Array | undefined): Promise<void> | undefined {
    const isTaken = answer === undefined || answer.length === 0 || this.#send(answer);
    if (answer === undefined || this.#endsAfterAnswer) {
      this.#socket.end();
      return this.#closed();
    }
    return isTaken ? undefined : this.#drained();
  }

  /** Answers nothing until `event` has happened. */
  async #wait(event: Promise<void>): Promise<void> {
    this.#isBusy = true;
    try {
      await event;
    } catch {
      this.#socket.destroy();
    }
    this.#isBusy = false;
    this.#serve();
  }

  #closed(): Promise<void> {
    return new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  // A client that does not read its answers gets no further ones: they are not collected here.
  async #drained(): Promise<void> {
    const socket = this.#socket;
    socket.pause();
    await new Promise<void>((resolve) => {
      const goOn = (): void => {
        socket.off('drain', goOn);
        socket.off('close', goOn);
        resolve();
      };
      socket.on('drain', goOn);
      socket.on('close', goOn);
    });
    socket.resume();
  }

  #expectRest(): void {
    if (this.#buffered.length === 0 || this.#timer !== undefined || this.#socket.destroyed) return;
    const patience = this.#buffered.length < 4 ? PATIENCE : this.#detect(this.#buffered)?.patience;
    if (patience !== undefined) this.#timer = setTimeout(() => this.#socket.destroy(), patience);
  }
}

const PATIENCE = 500;
