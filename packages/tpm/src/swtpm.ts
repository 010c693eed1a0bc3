/** Transport to swtpm: bare TPM bytes on the data channel, and its control channel (swtpm, man page swtpm_ioctls(3)). */
import { concat, u32At, u32Bytes } from './bytes.js';
import { TpmError } from './response-code.js';
import { responseLength } from './response-length.js';
import { describe, isUnix, Stream, type StreamAddress } from './stream.js';
import type { TpmTransport } from './transport.js';

/** Where swtpm's data channel is, and its control channel where that is not the usual place beside it. */
export type SwtpmAddress = StreamAddress & {
  /** Default: the next TCP port, or the socket's path with `.ctrl`. It is opened only when it is used. */
  readonly control?: StreamAddress;
};

/** A connection to swtpm. */
export interface SwtpmTransport extends TpmTransport {
  /** What swtpm does beside TPM commands. */
  readonly control: SwtpmControl;
}

/**
 * swtpm's control channel. Each call is a connection of its own, because swtpm serves one client at a time there.
 * All throw `TpmError`: `closed` where nobody answers, `transport` where swtpm refuses.
 */
export interface SwtpmControl {
  /** CMD_INIT: resets the TPM, as power off and on do. `deleteVolatile` forgets saved volatile state. */
  initialize(options?: { readonly deleteVolatile?: boolean }): Promise<void>;
  /** CMD_SET_LOCALITY: the locality (0 to 4) of the commands that follow. */
  setLocality(locality: number): Promise<void>;
  /** CMD_CANCEL_TPM_CMD: asks the TPM to give up the command under way. */
  cancel(): Promise<void>;
  /** CMD_STOP: stops the TPM, but not swtpm; `initialize` starts it again. */
  stop(): Promise<void>;
  /** CMD_SHUTDOWN: ends swtpm. */
  shutdown(): Promise<void>;
}

/** Connects to swtpm's data channel. Throws `TpmError` `closed` where nobody answers. */
export async function connectSwtpm(address: SwtpmAddress): Promise<SwtpmTransport> {
  const stream = new Stream(address);
  await stream.open();
  return {
    send: (command, options) => stream.exchange(command, responseLength, options?.signal),
    close: () => stream.close(),
    control: controlOf(address.control ?? besides(address)),
  };
}

function controlOf(address: StreamAddress): SwtpmControl {
  const run = (command: number, body?: Uint8Array) => runControl(address, command, body);
  return {
    initialize: ({ deleteVolatile = false } = {}) => run(COMMAND.INIT, u32Bytes(deleteVolatile ? 1 : 0)),
    setLocality: (locality) => run(COMMAND.SET_LOCALITY, Uint8Array.of(locality)),
    cancel: () => run(COMMAND.CANCEL_TPM_CMD),
    stop: () => run(COMMAND.STOP),
    shutdown: () => run(COMMAND.SHUTDOWN),
  };
}

async function runControl(
  address: StreamAddress,
  command: number,
  body: Uint8Array = new Uint8Array(0),
): Promise<void> {
  const stream = new Stream(address);
  try {
    const reply = await stream.exchange(concat(u32Bytes(command), body), () => 4);
    const result = u32At(reply, 0);
    if (result === 0) return;
    throw new TpmError(
      'transport',
      `control swtpm at ${describe(address)}: command ${command} gave result 0x${result.toString(16)}`,
    );
  } finally {
    await stream.close();
  }
}

function besides(address: StreamAddress): StreamAddress {
  if (isUnix(address)) return { path: `${address.path}.ctrl` };
  return { ...(address.host === undefined ? {} : { host: address.host }), port: address.port + 1 };
}

const COMMAND = { INIT: 2, SHUTDOWN: 3, SET_LOCALITY: 5, CANCEL_TPM_CMD: 9, STOP: 14 } as const;
