/** A transport that writes down what passes through it. */
import { TpmError } from '../response-code.js';
import type { SwtpmControl, SwtpmTransport } from '../swtpm.js';
import type { TpmTransport } from '../transport.js';
import { type Note, noteComment } from './note.js';
import { tcpPacket } from './packet.js';
import { pcapngHeader, pcapngPacket } from './pcap.js';

/** Where a recording goes, piece by piece; every piece is a whole number of blocks. */
export interface RecordingSink {
  /** Takes the next piece. Until it has, the traffic waits. */
  write(piece: Uint8Array): void | Promise<void>;
  /** Ends the recording. */
  close?(): void | Promise<void>;
}

/** How to record. */
export interface RecordOptions {
  /** The time in microseconds since 1970. Default: the clock of the system. */
  readonly now?: () => number;
}

/**
 * A transport that does what `transport` does and writes commands, responses, errors and times to `sink` as pcapng, which
 * Wireshark and {@link parseRecording} read. A command is written before it is sent, so that a crash leaves it on record.
 * A command that cannot be recorded is not sent; where recording its response fails, the response is given all the same and the next
 * command is refused. Throws what `transport` throws, and `TpmError` `transport` where `sink` fails.
 *
 * A recording has every secret in it that passed unencrypted: authorization values, sealed data, random numbers.
 */
export function record(transport: SwtpmTransport, sink: RecordingSink, options?: RecordOptions): SwtpmTransport;
/** The same for a transport without a control channel. */
export function record(transport: TpmTransport, sink: RecordingSink, options?: RecordOptions): TpmTransport;
export function record(
  transport: TpmTransport & { readonly control?: SwtpmControl },
  sink: RecordingSink,
  options: RecordOptions = {},
): TpmTransport {
  const tape = new Tape(sink, options.now ?? systemMicroseconds);
  const recorded: TpmTransport = {
    send: (command, sendOptions) => sendRecorded(transport, tape, command, sendOptions),
    async close() {
      await transport.close();
      await tape.end();
    },
  };
  if (!transport.control) return recorded;
  const controlled: SwtpmTransport = { ...recorded, control: recordedControl(transport.control, tape) };
  return controlled;
}

async function sendRecorded(
  transport: TpmTransport,
  tape: Tape,
  command: Uint8Array,
  options: { readonly signal?: AbortSignal; readonly locality?: number } | undefined,
): Promise<Uint8Array> {
  const { locality } = options ?? {};
  await tape.write(true, command, locality === undefined ? undefined : { type: 'locality', locality });
  try {
    const response = await transport.send(command, options);
    await tape.note(() => tape.write(false, response));
    return response;
  } catch (error) {
    await tape.note(() => tape.write(false, NOTHING, errorNote(error)));
    throw error;
  }
}

/** The sink as a tape: pieces are written one after another, and none after one that failed. */
class Tape {
  readonly #sink: RecordingSink;
  readonly #now: () => number;
  readonly #sent = { toServer: 1, toClient: 1 };
  #last: Promise<void>;
  #ended = false;

  constructor(sink: RecordingSink, now: () => number) {
    this.#sink = sink;
    this.#now = now;
    this.#last = this.#put(pcapngHeader(APPLICATION));
    this.#last.catch(ignore);
  }

  /** Writes one packet. Throws `TpmError` `transport` where the sink fails or has failed. */
  write(toTpm: boolean, bytes: Uint8Array, note?: Note): Promise<void> {
    const time = this.#now();
    const { toServer, toClient } = this.#sent;
    const [sequence, acknowledged] = toTpm ? [toServer, toClient] : [toClient, toServer];
    this.#sent[toTpm ? 'toServer' : 'toClient'] += bytes.length;
    const packet = tcpPacket(toTpm, sequence >>> 0, acknowledged >>> 0, bytes);
    const piece = pcapngPacket(time, packet, note && noteComment(note));
    this.#last = this.#last.then(() => this.#put(piece));
    this.#last.catch(ignore);
    return this.#last;
  }

  /** Runs a write whose failure must not cost the caller a response; the next `write` throws it. */
  async note(write: () => Promise<void>): Promise<void> {
    await write().catch(ignore);
  }

  /** Notes the end and closes the sink, once. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.note(() => this.write(true, NOTHING, { type: 'control', action: 'close' }));
    await this.#sink.close?.();
  }

  async #put(piece: Uint8Array): Promise<void> {
    try {
      await this.#sink.write(piece);
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause);
      throw new TpmError('transport', `record: ${problem}`, { cause });
    }
  }
}

function recordedControl(control: SwtpmControl, tape: Tape): SwtpmControl {
  const noted = async (work: Promise<void>, action: string, argument?: number): Promise<void> => {
    await work;
    await tape.write(true, NOTHING, { type: 'control', action, ...(argument !== undefined && { argument }) });
  };
  return {
    initialize: (options) => noted(control.initialize(options), 'initialize', options?.deleteVolatile ? 1 : 0),
    setLocality: (locality) => noted(control.setLocality(locality), 'set-locality', locality),
    cancel: () => noted(control.cancel(), 'cancel'),
    stop: () => noted(control.stop(), 'stop'),
    shutdown: () => noted(control.shutdown(), 'shutdown'),
  };
}

function errorNote(error: unknown): Note {
  if (error instanceof TpmError) return { type: 'error', code: error.code, message: error.message };
  const message = error instanceof Error ? error.message : String(error);
  return { type: 'error', code: 'aborted', message };
}

function systemMicroseconds(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

function ignore(): void {
  // The next write throws it.
}

const NOTHING = new Uint8Array(0);
const APPLICATION = '@casemate/tpm';
