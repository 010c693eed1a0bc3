/** What a recording holds: the traffic of one or several connections to TPMs, event by event. */

/** Something that passed between a program and a TPM. */
export type RecordedEvent = RecordedCommand | RecordedResponse | RecordedError | RecordedControl;

interface Recorded {
  /** Microseconds since 1970, or `undefined` where the source has no times. */
  readonly time: number | undefined;
  /** Which connection, counted from 0: a response belongs to the command before it on the same one. */
  readonly connection: number;
}

/** A command on its way to the TPM. */
export interface RecordedCommand extends Recorded {
  /** Tag. */
  readonly type: 'command';
  /** The whole command, header included. */
  readonly bytes: Uint8Array;
  /** The locality it was sent from, where that is known. */
  readonly locality?: number | undefined;
}

/** A response of the TPM. */
export interface RecordedResponse extends Recorded {
  /** Tag. */
  readonly type: 'response';
  /** The whole response, header included. */
  readonly bytes: Uint8Array;
}

/** A command that got no response. */
export interface RecordedError extends Recorded {
  /** Tag. */
  readonly type: 'error';
  /** `TpmErrorCode` of the failure; `aborted` where the caller gave the command up. */
  readonly code: string;
  /** The message of the failure. */
  readonly message: string;
}

/** Something beside commands: a reset, another locality, a closed connection. */
export interface RecordedControl extends Recorded {
  /** Tag. */
  readonly type: 'control';
  /** What was done: `initialize`, `set-locality`, `cancel`, `stop`, `shutdown`, `close`, … */
  readonly action: string;
  /** Its argument, where it has one. */
  readonly argument?: number | undefined;
}

/** The events of a recording, in the order in which they happened. */
export interface Recording {
  /** Where they were read from. */
  readonly format: 'pcapng' | 'pcap' | 'binary' | 'hex';
  /** The events. */
  readonly events: readonly RecordedEvent[];
  /** What could not be read and was left out, in words; empty where everything was read. */
  readonly problems: readonly string[];
}

/** The longest command or response that is taken for one; none of a known TPM is longer than 4096 bytes. */
export const MAX_FRAME = 0x4000;

/** How long the command or response at the start of `bytes` says it is; `undefined` where it is none. */
export function frameLength(bytes: Uint8Array): number | undefined {
  if (bytes.length < 6 || !isFrameTag(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0))) return undefined;
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(2);
  return size >= 10 && size <= MAX_FRAME ? size : undefined;
}

/** Tags of TPM 2.0 commands and responses, and those of TPM 1.2 (0x00c1 to 0x00c6). */
function isFrameTag(tag: number): boolean {
  return tag === 0x8001 || tag === 0x8002 || (tag >= 0x00c1 && tag <= 0x00c6);
}
