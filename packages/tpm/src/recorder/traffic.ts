/** From the packets of a capture to TPM commands and responses: streams put together, and cut into frames. */
import { concat } from '../bytes.js';
import { commandByCode } from '../commands/table.js';
import { noteOf } from './note.js';
import { parseSegment, type Segment } from './packet.js';
import { type Packet, parseCapture } from './pcap.js';
import { frameLength, MAX_FRAME, type RecordedEvent, type Recording } from './recording.js';

/** The TPM traffic in a pcapng or pcap file; other connections in it are left out. Throws `TpmError` `decode`. */
export function parseTraffic(bytes: Uint8Array): Recording {
  const { format, packets, problems } = parseCapture(bytes);
  const connections = new Map<string, Connection>();
  const events = packets.flatMap((packet) => eventsOf(packet, connections));
  return { format, events, problems };
}

/** One TCP connection as far as it has been read. */
class Connection {
  readonly number: number;
  /** Who sends the commands. */
  #client: string | undefined;
  readonly #streams = new Map<string, Stream>();

  constructor(number: number) {
    this.number = number;
  }

  /** Takes a segment and gives the frames that it completes. */
  take(segment: Segment): { readonly toTpm: boolean; readonly frames: readonly Uint8Array[] } {
    const stream = this.#streams.get(segment.from) ?? new Stream();
    this.#streams.set(segment.from, stream);
    const frames = stream.take(segment);
    const first = frames[0];
    if (this.#client === undefined && first) this.#client = isCommand(first) ? segment.from : segment.to;
    return { toTpm: segment.from === this.#client, frames };
  }
}

/** One direction of a connection. */
class Stream {
  #pending: Uint8Array = new Uint8Array(0);
  #next: number | undefined;

  take({ sequence, payload }: Segment): readonly Uint8Array[] {
    const repeated = this.#next === undefined ? 0 : (this.#next - sequence) | 0;
    // What was sent again is there already; after a gap the stream starts afresh.
    if (repeated >= payload.length && repeated > 0) return [];
    if (repeated < 0) this.#pending = new Uint8Array(0);
    const fresh = repeated > 0 ? payload.subarray(repeated) : payload;
    this.#next = (sequence + payload.length) >>> 0;
    this.#pending = this.#pending.length === 0 ? fresh : concat(this.#pending, fresh);
    return this.#cut();
  }

  #cut(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (;;) {
      const envelope = envelopeLength(this.#pending);
      const bytes = this.#pending.subarray(envelope);
      const length = frameLength(bytes);
      if (length === undefined) {
        // Too little to tell is kept; what is no TPM traffic is dropped.
        if (bytes.length >= 6) this.#pending = new Uint8Array(0);
        return frames;
      }
      if (bytes.length < length) return frames;
      frames.push(bytes.slice(0, length));
      this.#pending = bytes.slice(length);
    }
  }
}

/**
 * What the simulator protocol puts around a frame: SEND_COMMAND (8), locality and length before a command, the length
 * before a response, and an acknowledgement (0) behind it.
 */
function envelopeLength(bytes: Uint8Array): number {
  let at = 0;
  while (isWord(bytes, at, 0)) at += 4;
  if (isWord(bytes, at, 8) && bytes.length >= at + 9) return at + 9;
  const size = wordAt(bytes, at);
  return size !== undefined && size <= MAX_FRAME && frameLength(bytes.subarray(at + 4)) === size ? at + 4 : at;
}

function eventsOf(packet: Packet, connections: Map<string, Connection>): RecordedEvent[] {
  const segment = parseSegment(packet.linkType, packet.bytes);
  if (!segment) return [];
  const key = `${packet.section} ${[segment.from, segment.to].sort().join(' ')}`;
  const connection = connections.get(key) ?? new Connection(connections.size);
  connections.set(key, connection);
  const at = { time: packet.time, connection: connection.number };
  const note = noteOf(packet.comments);
  const { toTpm, frames } = connection.take(segment);
  const passed = frames.map((bytes): RecordedEvent => {
    if (!toTpm) return { type: 'response', ...at, bytes };
    return { type: 'command', ...at, bytes, ...(note?.type === 'locality' && { locality: note.locality }) };
  });
  if (note?.type === 'error') passed.push({ ...note, ...at });
  if (note?.type === 'control') passed.push({ ...note, ...at });
  return passed;
}

/** Whether a frame that starts a connection is a command; response codes and command codes hardly overlap. */
export function isCommand(frame: Uint8Array): boolean {
  const tag = ((frame[0] ?? 0) << 8) | (frame[1] ?? 0);
  if (tag < 0x8000) return tag >= 0x00c1 && tag <= 0x00c3;
  const code = wordAt(frame, 6) ?? 0;
  const command = commandByCode.get(code);
  if (!command) return (code & VENDOR_COMMAND) !== 0;
  // A failure is a bare header, and so are only those commands that have neither handles nor parameters.
  return frame.length > 10 || (command.handles.length === 0 && Object.keys(command.parameters.fields).length === 0);
}

function isWord(bytes: Uint8Array, at: number, word: number): boolean {
  return wordAt(bytes, at) === word;
}

function wordAt(bytes: Uint8Array, at: number): number | undefined {
  if (bytes.length < at + 4) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
}

const VENDOR_COMMAND = 0x20000000;
