/** The simulator protocol of the TPM reference code: a command port and a platform port, frames of big-endian u32. */
import { TPM_RC } from '@casemate/tpm';
import { EMPTY, readU32 } from '../bytes.js';
import type { Protocol } from './connection.js';
import { words } from './control-channel.js';
import { type Platform, responseOf } from './platform.js';

/** The signals of `TpmTcpProtocol.h` that are answered here. */
const SIGNAL = {
  POWER_ON: 1,
  POWER_OFF: 2,
  PHYS_PRES_ON: 3,
  PHYS_PRES_OFF: 4,
  HASH_START: 5,
  HASH_DATA: 6,
  HASH_END: 7,
  SEND_COMMAND: 8,
  CANCEL_ON: 9,
  CANCEL_OFF: 10,
  NV_ON: 11,
  NV_OFF: 12,
  KEY_CACHE_ON: 13,
  KEY_CACHE_OFF: 14,
  REMOTE_HANDSHAKE: 15,
  SET_ALTERNATIVE_RESULT: 16,
  RESET: 17,
  RESTART: 18,
  SESSION_END: 20,
  STOP: 21,
} as const;

const SERVER_VERSION = 1;
// The bits of TpmEndPointInfo: a platform port is there, and it takes physical presence.
const ENDPOINT = 0x1 | 0x8;
const MAX_COMMAND = 4096;
const ACK = words(0);

/** What the simulator protocol may do besides driving the platform. */
export interface SimulatorOptions {
  /** Called on STOP: the server is to end. */
  readonly onStop: () => void;
  /** Refuse locality 4, which belongs to the dynamic launch. */
  readonly rejectLocality4: boolean;
}

/** Both ports: the reference code splits the signals between two, and clients keep to that, but nothing needs it. */
export function mssim(platform: Platform, options: SimulatorOptions): Protocol {
  return {
    measure,
    answer: (request) =>
      readU32(request, 0) === SIGNAL.SEND_COMMAND
        ? send(platform, options, request)
        : signal(platform, options, new Uint8Array(request)),
  };
}

function measure(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (view.getUint32(0)) {
    case SIGNAL.SEND_COMMAND:
      if (bytes.length < 9) return 0;
      return view.getUint32(5) > MAX_COMMAND ? -1 : 9 + view.getUint32(5);
    case SIGNAL.HASH_DATA:
      if (bytes.length < 9) return 0;
      return view.getUint32(5) > MAX_COMMAND ? -1 : 9 + view.getUint32(5);
    case SIGNAL.REMOTE_HANDSHAKE:
    case SIGNAL.SET_ALTERNATIVE_RESULT:
      return 8;
    default:
      return 4;
  }
}

async function signal(
  platform: Platform,
  options: SimulatorOptions,
  request: Uint8Array,
): Promise<Uint8Array | undefined> {
  const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
  switch (view.getUint32(0)) {
    case SIGNAL.REMOTE_HANDSHAKE:
      return words(SERVER_VERSION, ENDPOINT, 0);
    case SIGNAL.POWER_ON:
      await platform.powerOn();
      return ACK;
    case SIGNAL.POWER_OFF:
      await platform.powerOff();
      return ACK;
    case SIGNAL.RESET:
    case SIGNAL.RESTART:
      await platform.reset();
      return ACK;
    case SIGNAL.HASH_START:
      platform.hashStart();
      return ACK;
    case SIGNAL.HASH_DATA:
      return platform.hashData(request.subarray(9)) ? ACK : undefined;
    case SIGNAL.HASH_END:
      await platform.hashEnd();
      return ACK;
    case SIGNAL.SESSION_END:
      return undefined;
    case SIGNAL.STOP:
      setImmediate(options.onStop);
      return undefined;
    case SIGNAL.PHYS_PRES_ON:
    case SIGNAL.PHYS_PRES_OFF:
    case SIGNAL.CANCEL_ON:
    case SIGNAL.CANCEL_OFF:
    case SIGNAL.NV_ON:
    case SIGNAL.NV_OFF:
    case SIGNAL.KEY_CACHE_ON:
    case SIGNAL.KEY_CACHE_OFF:
      return ACK;
    default:
      return undefined;
  }
}

// A TPM without power answers nothing: the frame is empty.
function send(platform: Platform, options: SimulatorOptions, request: Uint8Array): Promise<Uint8Array> | Uint8Array {
  const locality = localityOf(request[4] ?? 0);
  const isRefused = locality === 4 && options.rejectLocality4;
  const response = isRefused ? responseOf(TPM_RC.LOCALITY) : platform.run(request.subarray(9), locality);
  return response instanceof Promise ? response.then(frame) : frame(response ?? EMPTY);
}

// As in the reference code: 0 to 4, and the extended ones from 32 on.
function localityOf(byte: number): number {
  return byte > 4 && byte < 32 ? 0 : byte;
}

function frame(response: Uint8Array): Uint8Array {
  const whole = new Uint8Array(8 + response.length);
  whole.set(words(response.length));
  whole.set(response, 4);
  return whole;
}
