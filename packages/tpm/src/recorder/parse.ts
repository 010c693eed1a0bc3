/** Reads recordings in whatever form they come: capture files, TPM bytes one after another, hexadecimal text. */
import { TpmError } from '../response-code.js';
import { isCapture } from './pcap.js';
import { frameLength, type RecordedEvent, type Recording } from './recording.js';
import { isCommand, parseTraffic } from './traffic.js';

/**
 * Reads a recording: what {@link record} wrote, any pcapng or pcap file with TPM traffic over TCP (such as that of
 * libtss2's tcti-pcap), commands and responses one after another, or the same in hexadecimal text. A recording that
 * breaks off is read up to there. Whoever made the bytes controls them all.
 * Throws `TpmError` `decode` where they are none of these.
 */
export function parseRecording(bytes: Uint8Array): Recording {
  if (isCapture(bytes)) return parseTraffic(bytes);
  if (bytes[0] === 0x80 || bytes[0] === 0x00) return framesIn(bytes, 'binary');
  return framesIn(bytesOfHex(new TextDecoder().decode(bytes)), 'hex');
}

/** Text as bytes: comments behind `#`, separators, `0x` and marks of direction are left out. */
function bytesOfHex(text: string): Uint8Array {
  const digits = text
    .replace(/#.*$/gm, '')
    .replace(/0x/gi, '')
    .replace(/[\s,:;<>|-]+/g, '');
  if (digits.length % 2 === 0 && /^[0-9a-f]*$/i.test(digits)) {
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  }
  throw new TpmError(
    'decode',
    'read recording: expected a capture file, TPM bytes or hexadecimal text, got other text',
  );
}

function framesIn(bytes: Uint8Array, format: 'binary' | 'hex'): Recording {
  const events: RecordedEvent[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.subarray(offset);
    const length = frameLength(left);
    if (length === undefined || length > left.length) break;
    const isAnswer = events.at(-1)?.type === 'command' || !isCommand(left.subarray(0, length));
    const frame = { time: undefined, connection: 0, bytes: left.slice(0, length) };
    events.push({ type: isAnswer ? 'response' : 'command', ...frame });
    offset += length;
  }
  if (offset === bytes.length && events.length > 0) return { format, events, problems: [] };
  const problem = `the ${bytes.length - offset} bytes from offset ${offset} are no whole command or response`;
  if (events.length > 0) return { format, events, problems: [problem] };
  throw new TpmError('decode', `read recording: expected commands and responses, but ${problem}`);
}
