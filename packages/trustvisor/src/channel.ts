/** One end of the stream between application and isolate: frames, request numbers, replies. */
import type { Duplex } from 'node:stream';
import { decode, encode, WireError } from '@casemate/wire';
import { PAL_FAULTS, TRUSTVISOR_ERROR_CODES, TrustvisorError } from './error.js';
import { MAX_FRAME, MESSAGE, Message, type MessageOf } from './protocol.js';

/** A message without its number. */
export type Outgoing = Message extends infer M ? (M extends Message ? Omit<M, 'id'> : never) : never;

/** How one end takes part. */
export interface ChannelRole {
  /** The types that the other end may ask for. */
  readonly accepts: ReadonlySet<Message['type']>;
  /** Answers a request; what it throws is sent as a failure. `undefined` answers nothing. */
  readonly handle: (message: Message) => Promise<Outgoing | undefined>;
  /** Called once, when the stream ended or the other end broke the protocol. */
  readonly closed: (error: TrustvisorError) => void;
}

interface Pending {
  readonly resolve: (message: Message) => void;
  readonly reject: (error: unknown) => void;
}

const FIRST_REPLY = 32;
const MAX_OUTSTANDING = 1024;

/** Frames are a u32 length and that many bytes. Whoever is at the other end controls everything that arrives. */
export class Channel {
  readonly #stream: Duplex;
  readonly #role: ChannelRole;
  readonly #pending = new Map<number, Pending>();
  readonly #frames = new FrameReader();
  #nextId = 1;
  #handling = 0;
  #ended: TrustvisorError | undefined;

  /** Listens at once. */
  constructor(stream: Duplex, role: ChannelRole) {
    this.#stream = stream;
    this.#role = role;
    stream.on('data', (chunk: Uint8Array) => this.#receive(chunk));
    stream.on('error', (error) =>
      this.#end(new TrustvisorError('closed', `use stream: ${error.message}`, { cause: error })),
    );
    const gone = () => this.#end(new TrustvisorError('closed', 'use stream: the other end is gone'));
    for (const event of ['close', 'end']) stream.on(event, gone);
    // One that has ended already says so no more.
    if (stream.destroyed || stream.readableEnded) queueMicrotask(gone);
  }

  /** Whether the stream has ended, for whatever reason. */
  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  /**
   * Sends a request and waits for its reply, which must be of type `expected`. Throws what the other end failed with, and `input`
   * where the request does not fit a message.
   */
  async request<T extends Message['type']>(message: Outgoing, expected: T): Promise<MessageOf<T>> {
    return this.start(message, expected).reply;
  }

  /** Like {@link Channel.request}, and tells the request's number, by which it can be aborted. */
  start<T extends Message['type']>(message: Outgoing, expected: T): { id: number; reply: Promise<MessageOf<T>> } {
    const id = this.#takeId();
    const frame = frameOf({ ...message, id });
    const reply = new Promise<Message>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#pending.set(id, { resolve, reject });
      this.#stream.write(frame);
    });
    return { id, reply: reply.then((answer) => this.#expect(answer, expected)) };
  }

  /** Sends a message that has no reply. */
  notify(message: Outgoing): void {
    if (!this.#ended) this.#stream.write(frameOf({ ...message, id: 0 }));
  }

  /** Ends the stream; requests under way fail with `closed`. */
  close(): void {
    this.#end(new TrustvisorError('closed', 'use stream: it was closed'));
  }

  #takeId(): number {
    if (this.#pending.size >= MAX_OUTSTANDING) {
      throw new TrustvisorError('busy', `send request: expected fewer than ${MAX_OUTSTANDING} outstanding ones`);
    }
    const id = this.#nextId;
    this.#nextId = (id % 0xffffffff) + 1;
    return this.#pending.has(id) ? this.#takeId() : id;
  }

  #expect<T extends Message['type']>(answer: Message, expected: T): MessageOf<T> {
    if (answer.type === expected) return answer as MessageOf<T>; // the type was just compared
    throw this.#violation(`expected a reply of type ${expected}, got ${answer.type}`);
  }

  #receive(chunk: Uint8Array): void {
    try {
      this.#frames.push(chunk, (frame) => this.#dispatch(decode(Message, frame)));
    } catch (error) {
      if (error instanceof WireError) this.#violation(error.message, error);
      else if (error instanceof TrustvisorError) this.#violation(error.message, error);
      else throw error;
    }
  }

  #dispatch(message: Message): void {
    if (this.#ended) return;
    if (message.type >= FIRST_REPLY) this.#settle(message);
    else if (this.#role.accepts.has(message.type)) void this.#answer(message);
    else this.#violation(`message type ${message.type} does not go this way`);
  }

  #settle(message: Message): void {
    const pending = this.#pending.get(message.id);
    if (pending === undefined) {
      this.#violation(`reply to request ${message.id}, which is not outstanding`);
      return;
    }
    this.#pending.delete(message.id);
    if (message.type === MESSAGE.FAILED) pending.reject(failureOf(message));
    else pending.resolve(message);
  }

  async #answer(request: Message): Promise<void> {
    if (this.#handling >= MAX_OUTSTANDING) {
      this.#violation(`more than ${MAX_OUTSTANDING} requests at once`);
      return;
    }
    this.#handling++;
    const answer = await this.#role.handle(request).catch(failed);
    this.#handling--;
    // What asks for no reply gets none, not even that it failed.
    if (answer === undefined || request.id === 0 || this.#ended) return;
    this.#stream.write(replyFrame({ ...answer, id: request.id }));
  }

  #violation(problem: string, cause?: unknown): TrustvisorError {
    const error = new TrustvisorError('protocol', `read message: ${problem}`, { cause });
    this.#end(error);
    return error;
  }

  #end(error: TrustvisorError): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.#stream.destroy();
    this.#role.closed(error);
  }
}

/** Throws {@link TrustvisorError} with code `input` where the message is too large, or not one. */
function frameOf(message: Message): Uint8Array {
  const content = encodeOrRefuse(message);
  if (content.length > MAX_FRAME) {
    throw new TrustvisorError('input', `send message: expected at most ${MAX_FRAME} bytes, got ${content.length}`);
  }
  const frame = new Uint8Array(4 + content.length);
  new DataView(frame.buffer).setUint32(0, content.length);
  frame.set(content, 4);
  return frame;
}

function encodeOrRefuse(message: Message): Uint8Array {
  try {
    return encode(Message, message);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new TrustvisorError('input', `send message: ${problem}`, { cause: error });
  }
}

/** An answer that does not fit, as what a PAL or a store gave may be, is a failure of this one request. */
function replyFrame(message: Message): Uint8Array {
  try {
    return frameOf(message);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return frameOf({ ...failed(new TrustvisorError('memory', `answer request: ${problem}`)), id: message.id });
  }
}

/** A failure as a message. An error that is not ours is named, not described: its text may hold anything. */
function failed(error: unknown): Outgoing {
  const known =
    error instanceof TrustvisorError ? error : new TrustvisorError('refused', `answer request: ${String(error)}`);
  return {
    type: MESSAGE.FAILED,
    body: {
      code: TRUSTVISOR_ERROR_CODES.indexOf(known.code),
      fault: known.fault === undefined ? 0xff : PAL_FAULTS.indexOf(known.fault),
      message: known.message.slice(0, 4096),
    },
  };
}

function failureOf({ body }: MessageOf<38>): TrustvisorError {
  const code = TRUSTVISOR_ERROR_CODES[body.code] ?? 'protocol';
  return new TrustvisorError(code, body.message, { fault: PAL_FAULTS[body.fault] });
}

/** Cuts a stream of chunks into frames; allocates a frame only as its bytes arrive. */
class FrameReader {
  #chunks: Uint8Array[] = [];
  #length = 0;

  push(chunk: Uint8Array, frame: (bytes: Uint8Array) => void): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    for (;;) {
      const size = this.#frameSize();
      if (size === undefined || this.#length < 4 + size) return;
      frame(this.#take(4 + size).subarray(4));
    }
  }

  #frameSize(): number | undefined {
    if (this.#length < 4) return undefined;
    if ((this.#chunks[0]?.length ?? 0) < 4) this.#chunks = [this.#join()];
    const first = this.#chunks[0] ?? new Uint8Array(0);
    const size = new DataView(first.buffer, first.byteOffset).getUint32(0);
    if (size <= MAX_FRAME) return size;
    throw new TrustvisorError('protocol', `expected a frame of at most ${MAX_FRAME} bytes, got ${size}`);
  }

  #take(length: number): Uint8Array {
    const all = this.#join();
    const left = all.subarray(length);
    this.#chunks = left.length > 0 ? [left] : [];
    this.#length = left.length;
    return all.subarray(0, length);
  }

  #join(): Uint8Array {
    const [only] = this.#chunks;
    if (only !== undefined && this.#chunks.length === 1) return only;
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }
}
