/** swtpm's control channel (its `tpm_ioctl.h` over a socket): big-endian u32 command and body, answered by u32 result and body. */
import type { Socket } from 'node:net';
import { concat } from '../bytes.js';
import { UtpmError } from '../error.js';
import type { Protocol } from './connection.js';
import { informationText } from './information.js';
import { BUFFER_SIZE, type Platform } from './platform.js';
import { BLOB, type BlobKeys, buildBlob, openBlob } from './state-blob.js';

/** The requests of the control channel. */
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
  STORE_VOLATILE: 0x0a,
  RESET_TPMESTABLISHED: 0x0b,
  GET_STATEBLOB: 0x0c,
  SET_STATEBLOB: 0x0d,
  STOP: 0x0e,
  GET_CONFIG: 0x0f,
  SET_DATAFD: 0x10,
  SET_BUFFERSIZE: 0x11,
  GET_INFO: 0x12,
  LOCK_STORAGE: 0x13,
} as const;

// TPM 1.2 result codes, which swtpm answers with.
const SUCCESS = 0;
const BAD_PARAMETER = 0x03;
const FAIL = 0x09;
const BAD_ORDINAL = 0x0a;
const IO_ERROR = 0x1f;
const BAD_LOCALITY = 0x3d;
const RETRY = 0x800;

/** Bits 0 to 16 of PTM_CAP: everything; bit 12 is SET_DATAFD. */
const CAPABILITIES = 0x1ffff;
const CAP_SET_DATAFD = 0x1000;

const DELETE_VOLATILE = 1;
const STATE_DECRYPTED = 1;
const STATE_ENCRYPTED = 2;
const CONFIG_FILE_KEY = 1;
const CONFIG_MIGRATION_KEY = 2;
const MAX_BLOB = 512 * 1024;
const MAX_INFORMATION = 3 * 1024;

/** What the control channel may do besides driving the platform. */
export interface ControlOptions {
  /** Called after SHUTDOWN was answered: the server is to end. */
  readonly onShutdown: () => void;
  /** Refuse locality 4, which belongs to the dynamic launch. */
  readonly rejectLocality4: boolean;
  /** The keys of state blobs. */
  readonly keys: BlobKeys;
  /** Takes a data connection that the client sends; undefined where this connection cannot bring one. */
  readonly descriptors: DescriptorOptions | undefined;
}

/** Where data connections come from and go to. */
interface DescriptorOptions {
  /** The connection that came with the request, if any. */
  take(): Socket | undefined;
  /** Serves it. */
  serve(socket: Socket): void;
  /** Is there a data connection, or a place that listens for one? */
  isTaken(): boolean;
}

/** The control channel of `platform`, for one connection. */
export function controlChannel(platform: Platform, options: ControlOptions): Protocol {
  const channel = { platform, options };
  return { measure, answer: (request) => control(channel, new Uint8Array(request)), patience: 500 };
}

interface Channel {
  readonly platform: Platform;
  readonly options: ControlOptions;
}

/** How many bytes the body of a request has at least. */
const BODY: Readonly<Record<number, number>> = {
  [CONTROL.INIT]: 4,
  [CONTROL.SET_LOCALITY]: 1,
  [CONTROL.HASH_DATA]: 4,
  [CONTROL.RESET_TPMESTABLISHED]: 1,
  [CONTROL.GET_STATEBLOB]: 12,
  [CONTROL.SET_STATEBLOB]: 12,
};

// As in swtpm, everything that has come is one request once it is long enough: there is nothing that separates two of them, and one-byte
// bodies are sent padded to four bytes by some clients and not by others. A client that does not wait for its answer is refused.
function measure(bytes: Uint8Array): number {
  const needed = neededBytes(bytes);
  if (needed === undefined || bytes.length < needed) return 0;
  return bytes.length;
}

function neededBytes(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const code = view.getUint32(0);
  const least = 4 + (BODY[code] ?? 0);
  if (bytes.length < least) return undefined;
  if (code === CONTROL.HASH_DATA) return least + view.getUint32(4);
  // A blob that is too long is refused before it has come.
  if (code === CONTROL.SET_STATEBLOB) return view.getUint32(12) > MAX_BLOB ? least : least + view.getUint32(12);
  return least;
}

async function control(channel: Channel, request: Uint8Array): Promise<Uint8Array> {
  const code = new DataView(request.buffer, request.byteOffset).getUint32(0);
  const handler = HANDLERS[code];
  if (handler === undefined) return words(BAD_ORDINAL);
  const body = request.subarray(4);
  if (handler.needs === 'on' && !channel.platform.isOn) return words(BAD_ORDINAL);
  if (handler.needs === 'off' && channel.platform.isOn) return words(BAD_ORDINAL);
  if (handler.isExact === true && body.length !== handler.length) return words(BAD_PARAMETER);
  if (body.length < handler.length) return words(BAD_PARAMETER);
  return handler.run(channel, new DataView(body.buffer, body.byteOffset, body.byteLength), body);
}

interface ControlHandler {
  /** Does it need the TPM on or off? */
  readonly needs?: 'on' | 'off';
  /** The least length of the body. */
  readonly length: number;
  /** Is a longer body refused? */
  readonly isExact?: boolean;
  readonly run: (channel: Channel, view: DataView, body: Uint8Array) => Promise<Uint8Array> | Uint8Array;
}

const HANDLERS: Readonly<Record<number, ControlHandler>> = {
  [CONTROL.GET_CAPABILITY]: {
    length: 0,
    run: ({ options }) =>
      words(SUCCESS, options.descriptors === undefined ? CAPABILITIES & ~CAP_SET_DATAFD : CAPABILITIES),
  },
  [CONTROL.INIT]: { length: 4, isExact: true, run: initialise },
  [CONTROL.STOP]: {
    length: 0,
    isExact: true,
    run: async ({ platform }) => {
      await platform.stop();
      return words(SUCCESS);
    },
  },
  [CONTROL.SHUTDOWN]: {
    length: 0,
    isExact: true,
    run: async ({ platform, options }) => {
      await platform.stop();
      setImmediate(options.onShutdown);
      return words(SUCCESS);
    },
  },
  [CONTROL.GET_TPMESTABLISHED]: {
    needs: 'on',
    length: 0,
    isExact: true,
    run: ({ platform }) => words(SUCCESS, Number(platform.tpm.established) << 24),
  },
  [CONTROL.RESET_TPMESTABLISHED]: { needs: 'on', length: 1, run: resetEstablished },
  [CONTROL.SET_LOCALITY]: { length: 1, run: setLocality },
  [CONTROL.HASH_START]: {
    needs: 'on',
    length: 0,
    isExact: true,
    run: ({ platform }) => {
      platform.hashStart();
      return words(SUCCESS);
    },
  },
  [CONTROL.HASH_DATA]: {
    needs: 'on',
    length: 4,
    run: ({ platform }, view, body) => {
      if (view.getUint32(0) !== body.length - 4) return words(BAD_PARAMETER);
      return words(platform.hashData(body.subarray(4)) ? SUCCESS : FAIL);
    },
  },
  [CONTROL.HASH_END]: {
    needs: 'on',
    length: 0,
    isExact: true,
    run: async ({ platform }) => {
      await platform.hashEnd();
      return words(SUCCESS);
    },
  },
  // A command runs to its end before this is read, so there is never one to cancel.
  [CONTROL.CANCEL_TPM_CMD]: { needs: 'on', length: 0, isExact: true, run: () => words(SUCCESS) },
  [CONTROL.STORE_VOLATILE]: {
    needs: 'on',
    length: 0,
    isExact: true,
    run: async ({ platform }) => words(await resultOf(platform.storeVolatile())),
  },
  [CONTROL.GET_STATEBLOB]: { needs: 'on', length: 12, run: getStateBlob },
  [CONTROL.SET_STATEBLOB]: { needs: 'off', length: 12, run: setStateBlob },
  [CONTROL.GET_CONFIG]: {
    length: 0,
    isExact: true,
    run: ({ options: { keys } }) =>
      words(SUCCESS, (keys.file ? CONFIG_FILE_KEY : 0) | (keys.migration ? CONFIG_MIGRATION_KEY : 0)),
  },
  [CONTROL.SET_DATAFD]: { length: 0, run: setDataDescriptor },
  [CONTROL.SET_BUFFERSIZE]: { length: 4, run: setBufferSize },
  [CONTROL.GET_INFO]: { length: 16, run: getInformation },
  // The state has been locked since it was opened.
  [CONTROL.LOCK_STORAGE]: { length: 4, run: () => words(SUCCESS) },
};

async function initialise({ platform }: Channel, view: DataView): Promise<Uint8Array> {
  const deleteVolatile = (view.getUint32(0) & DELETE_VOLATILE) !== 0;
  return words(await resultOf(platform.initialise({ deleteVolatile })));
}

async function resultOf(work: Promise<void>): Promise<number> {
  try {
    await work;
    return SUCCESS;
  } catch (error) {
    if (error instanceof UtpmError) return FAIL;
    throw error;
  }
}

function setLocality({ platform, options }: Channel, view: DataView): Uint8Array {
  const locality = view.getUint8(0);
  if (locality > 4 || (locality === 4 && options.rejectLocality4)) return words(BAD_LOCALITY);
  platform.locality = locality;
  return words(SUCCESS);
}

function resetEstablished({ platform }: Channel, view: DataView): Uint8Array {
  const locality = view.getUint8(0);
  if (locality < 3 || locality > 4) return words(BAD_LOCALITY);
  platform.tpm.established = false;
  return words(SUCCESS);
}

async function getStateBlob({ platform, options }: Channel, view: DataView): Promise<Uint8Array> {
  const [flags, type, offset] = [view.getUint32(0), view.getUint32(4), view.getUint32(8)];
  const kind = type === BLOB.PERMANENT ? 'permanent' : type === BLOB.VOLATILE ? 'volatile' : undefined;
  // A TPM 2.0 has no third blob; swtpm says of it, and of unknown ones, that there is none.
  if (kind === undefined) return words(RETRY, 0, 0, 0);
  const state = await platform.getBlob(kind);
  const { blob, isEncrypted } = buildBlob(state, options.keys, (flags & STATE_DECRYPTED) !== 0);
  state.fill(0);
  const rest = blob.subarray(Math.min(offset, blob.length));
  return concat(words(SUCCESS, isEncrypted ? STATE_ENCRYPTED : 0, rest.length, rest.length), rest);
}

function setStateBlob({ platform, options }: Channel, view: DataView, body: Uint8Array): Uint8Array {
  const [flags, type, length] = [view.getUint32(0), view.getUint32(4), view.getUint32(8)];
  if (length > MAX_BLOB) return words(FAIL);
  if (length !== body.length - 12) return words(BAD_PARAMETER);
  const kind = type === BLOB.PERMANENT ? 'permanent' : type === BLOB.VOLATILE ? 'volatile' : undefined;
  if (kind === undefined && type !== BLOB.SAVESTATE) return words(BAD_PARAMETER);
  const opened = openBlob(body.subarray(12), options.keys, (flags & STATE_ENCRYPTED) !== 0);
  if (opened.kind === 'refused') return words(opened.code);
  if (kind === undefined) return words(opened.kind === 'nothing' ? SUCCESS : FAIL);
  return words(platform.setBlob(kind, opened.kind === 'state' ? opened.state : undefined) ? SUCCESS : FAIL);
}

function setDataDescriptor({ options: { descriptors } }: Channel): Uint8Array {
  if (descriptors === undefined) return words(BAD_ORDINAL);
  if (descriptors.isTaken()) {
    descriptors.take()?.destroy();
    return words(IO_ERROR);
  }
  const socket = descriptors.take();
  if (socket === undefined) return words(BAD_PARAMETER);
  descriptors.serve(socket);
  return words(SUCCESS);
}

function setBufferSize({ platform }: Channel, view: DataView): Uint8Array {
  const { min, max } = BUFFER_SIZE;
  const wanted = view.getUint32(0);
  if (wanted > 0 && platform.isOn) return words(BAD_ORDINAL);
  if (wanted > 0) platform.tpm.commandSize = Math.min(Math.max(wanted, min), max);
  return words(SUCCESS, platform.tpm.commandSize, min, max);
}

function getInformation(_: Channel, view: DataView): Uint8Array {
  const text = new TextEncoder().encode(`${informationText(view.getBigUint64(0))}\0`);
  const offset = view.getUint32(8);
  if (offset >= text.length - 1) return words(BAD_PARAMETER);
  const part = text.subarray(offset, offset + MAX_INFORMATION);
  return concat(words(SUCCESS, text.length, part.length), part);
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
