/** swtpm's control channel (its `tpm_ioctl.h` over a socket): big-endian u32 command and body, answered by u32 result and body. */
import type { Protocol } from './connection.js';
import type { Platform } from './platform.js';

/** The requests of the control channel that are answered here. */
const CONTROL = {
  GET_CAPABILITY: 0x01,
  INIT: 0x02,
  SHUTDOWN: 0x03,
  GET_TPMESTABLISHED: 0x04,
  SET_LOCALITY: 0x05,
  HASH_START: 0x06,
  HASH_DATA: 0x07,
  HASH_END: 0x08,
  CANCEL_TPM_CMD: 0x09,
  RESET_TPMESTABLISHED: 0x0b,
  STOP: 0x0e,
  GET_CONFIG: 0x0f,
  SET_BUFFERSIZE: 0x11,
} as const;

// TPM 1.2 result codes, which swtpm answers with.
const SUCCESS = 0;
const BAD_PARAMETER = 3;
const FAIL = 9;
const BAD_ORDINAL = 10;
const BAD_LOCALITY = 0x3d;

// Bits: INIT, SHUTDOWN, GET_TPMESTABLISHED, SET_LOCALITY, HASHING, CANCEL, RESET_TPMESTABLISHED, STOP, GET_CONFIG, SET_BUFFERSIZE.
const CAPABILITIES = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x80 | 0x400 | 0x800 | 0x2000;
const BUFFER_SIZE = { current: 0x1000, min: 0xaf8, max: 0x1000 };

/** The bytes behind the command code; HASH_DATA has a length of its own. */
const BODY: Readonly<Record<number, number>> = {
  [CONTROL.INIT]: 4,
  [CONTROL.SET_LOCALITY]: 1,
  [CONTROL.RESET_TPMESTABLISHED]: 1,
  [CONTROL.SET_BUFFERSIZE]: 4,
};

/** What the control channel may do besides driving the platform. */
export interface ControlOptions {
  /** Called after SHUTDOWN was answered: the server is to end. */
  readonly onShutdown: () => void;
  /** Refuse locality 4, which belongs to the dynamic launch. */
  readonly rejectLocality4: boolean;
}

/** The control channel of `platform`. */
export function controlChannel(platform: Platform, options: ControlOptions): Protocol {
  return { measure, answer: (request) => control(platform, options, request) };
}

function measure(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const code = view.getUint32(0);
  if (code === CONTROL.HASH_DATA) return bytes.length < 8 ? 0 : 8 + view.getUint32(4);
  const length = 4 + (BODY[code] ?? 0);
  // QEMU sends the one-byte bodies padded to four.
  const padded = BODY[code] === 1 && bytes.length === 8 && bytes[5] === 0 && bytes[6] === 0 && bytes[7] === 0;
  // Of a request that is not known the length is not known either: all that came is dropped, as swtpm does.
  if (!isKnown(code)) return bytes.length;
  return padded ? 8 : length;
}

function isKnown(code: number): boolean {
  return Object.values<number>(CONTROL).includes(code);
}

async function control(platform: Platform, options: ControlOptions, request: Uint8Array): Promise<Uint8Array> {
  const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
  switch (view.getUint32(0)) {
    case CONTROL.GET_CAPABILITY:
      return words(SUCCESS, CAPABILITIES);
    case CONTROL.INIT:
      await platform.reset();
      return words(SUCCESS);
    case CONTROL.SHUTDOWN:
      await platform.powerOff();
      setImmediate(options.onShutdown);
      return words(SUCCESS);
    case CONTROL.STOP:
      await platform.powerOff();
      return words(SUCCESS);
    case CONTROL.GET_TPMESTABLISHED:
      return words(SUCCESS, Number(platform.established) << 24);
    case CONTROL.SET_LOCALITY:
      return setLocality(platform, options, request[4] ?? 0);
    case CONTROL.HASH_START:
      if (!platform.isOn) return words(FAIL);
      platform.hashStart();
      return words(SUCCESS);
    case CONTROL.HASH_DATA:
      return words(platform.hashData(request.subarray(8)) ? SUCCESS : BAD_PARAMETER);
    case CONTROL.HASH_END:
      return words((await platform.hashEnd()) ? SUCCESS : BAD_PARAMETER);
    case CONTROL.CANCEL_TPM_CMD:
      return words(SUCCESS);
    case CONTROL.RESET_TPMESTABLISHED:
      return resetEstablished(platform, request[4] ?? 0);
    case CONTROL.GET_CONFIG:
      return words(SUCCESS, 0);
    case CONTROL.SET_BUFFERSIZE:
      return words(SUCCESS, BUFFER_SIZE.current, BUFFER_SIZE.min, BUFFER_SIZE.max);
    default:
      return words(BAD_ORDINAL);
  }
}

function setLocality(platform: Platform, options: ControlOptions, locality: number): Uint8Array {
  if (locality > 4 || (locality === 4 && options.rejectLocality4)) return words(BAD_LOCALITY);
  platform.locality = locality;
  return words(SUCCESS);
}

function resetEstablished(platform: Platform, locality: number): Uint8Array {
  if (locality < 3 || locality > 4) return words(BAD_LOCALITY);
  platform.resetEstablished();
  return words(SUCCESS);
}

/** `values` as big-endian u32. */
export function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setUint32(4 * i, value >>> 0);
  });
  return bytes;
}
