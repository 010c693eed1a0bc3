/** One client connection: requests cut off a byte stream, answered one after another. */
import type { Socket } from 'node:net';
import { concat, EMPTY } from '../bytes.js';
import { onBytes } from './one-buffer.js';

/** How requests are told apart and answered. */
export interface Protocol {
  /**
   * The length in bytes of the first request in `bytes`, which may hold less or more than one: 0 where more bytes are needed to tell or
   * to complete it, -1 where no request can start so. The client controls every byte.
   */
  measure(bytes: Uint8Array): number;
  /** Runs one request; `undefined` ends the connection without an answer. */
  answer(request: Uint8Array): Promise<Uint8Array | undefined>;
  /** Milliseconds that a client has for a whole request, from its first byte on; without it, as long as it likes. */
  readonly patience?: number;
}

/** Chooses the protocol of a request by its first four bytes. */
export type Detect = (head: Uint8Array) => Protocol | undefined;

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
  readonly #detect: Detect;
  readonly #endsAfterAnswer: boolean;
  #buffered: Uint8Array = EMPTY;
  /** Is a request being answered, or is it not this connection's turn yet? */
  #isBusy = true;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket, detect: Detect, endsAfterAnswer: boolean) {
    this.#socket = socket;
    this.#detect = detect;
    this.#endsAfterAnswer = endsAfterAnswer;
    socket.setNoDelay?.(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => clearTimeout(this.#timer));
    onBytes(socket, (bytes) => this.#take(bytes));
  }

  start(): void {
    void this.#pump();
  }

  #take(bytes: Uint8Array): void {
    // What is answered at once need not be copied, and that is nearly all.
    const isWhole = this.#buffered.length === 0 && !this.#isBusy;
    this.#buffered = isWhole ? bytes : concat(this.#buffered, bytes);
    if (this.#buffered.length > MAX_BUFFERED) this.#socket.destroy();
    else if (!this.#isBusy) void this.#pump();
    if (isWhole && this.#buffered.length > 0) this.#buffered = new Uint8Array(this.#buffered);
  }

  async #pump(): Promise<void> {
    this.#isBusy = true;
    try {
      while (this.#buffered.length >= 4 && !this.#socket.destroyed) {
        if (!(await this.#serveOne())) break;
      }
      this.#expectRest();
    } catch {
      // An answer that could not be made (the TPM was closed meanwhile): the client sees the connection end.
      this.#socket.destroy();
    } finally {
      this.#isBusy = false;
    }
  }

  /** Answers one request; `false` where there is none to answer. */
  async #serveOne(): Promise<boolean> {
    const protocol = this.#detect(this.#buffered.subarray(0, 4));
    const length = protocol?.measure(this.#buffered) ?? -1;
    if (length < 0 || length > MAX_BUFFERED) {
      this.#socket.destroy();
      return false;
    }
    if (length === 0 || length > this.#buffered.length) return false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const request = new Uint8Array(this.#buffered.subarray(0, length));
    this.#buffered = this.#buffered.subarray(length);
    const answer = await protocol?.answer(request);
    if (answer !== undefined && answer.length > 0 && !this.#socket.write(answer)) await this.#drained();
    if (answer === undefined || this.#endsAfterAnswer) this.#socket.end();
    return answer !== undefined && !this.#endsAfterAnswer;
  }

  // A client that does not read its answers gets no further ones: they are not collected here.
  async #drained(): Promise<void> {
    const socket = this.#socket;
    socket.pause();
    await new Promise<void>((resolve) => {
      socket.once('drain', resolve);
      socket.once('close', resolve);
    });
    socket.resume();
  }

  #expectRest(): void {
    if (this.#buffered.length === 0 || this.#timer !== undefined || this.#socket.destroyed) return;
    const patience = this.#buffered.length < 4 ? PATIENCE : this.#detect(this.#buffered.subarray(0, 4))?.patience;
    if (patience !== undefined) this.#timer = setTimeout(() => this.#socket.destroy(), patience);
  }
}

const PATIENCE = 500;
