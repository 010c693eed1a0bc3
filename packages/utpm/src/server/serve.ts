/** The server: a TPM, the addresses where it is reached, and the protocols that are spoken there. */
import type { Socket } from 'node:net';
import type { TpmTransport } from '@casemate/tpm';
import { UtpmError } from '../error.js';
import { nodeUtpmCrypto } from '../node-crypto.js';
import type { UtpmOptions } from '../options.js';
import { PROFILES } from '../profiles.js';
import { isVolatileStore } from '../state.js';
import { type DirectTpm, openerWith } from '../utpm.js';
import { openConnection, type PendingConnection } from './connection.js';
import { type ControlOptions, controlChannel } from './control-channel.js';
import { dataChannel } from './data-channel.js';
import { receiveDescriptors } from './descriptor.js';
import { type ListenAddress, type Listener, listen } from './listen.js';
import { mssim } from './mssim.js';
import { withOneBuffer } from './one-buffer.js';
import { openPlatform, type Platform } from './platform.js';
import { detectCommands, detectControl, type ServerProtocol } from './protocols.js';
import type { BlobKeys } from './state-blob.js';
import { allAtOnce, oneAtATime, type Turns } from './turns.js';

/** What `serve` takes: the options of `openUtpm`, and these. */
export interface ServeOptions extends UtpmOptions {
  /**
   * Where commands come in: swtpm's data channel, mssim's command port. Without it they come over the connection that a client of the
   * control channel sends with SET_DATAFD, as QEMU does.
   */
  readonly data?: ListenAddress;
  /** Where control comes in: swtpm's control channel, mssim's platform port. Whoever reaches it controls the platform. */
  readonly control?: ListenAddress;
  /** `auto` unless given. */
  readonly protocol?: ServerProtocol;
  /** Must a client power the TPM on before commands are run? `false` unless given. */
  readonly waitForInit?: boolean;
  /** Which TPM2_Startup `startup` runs; `clear` unless given. */
  readonly startupType?: 'clear' | 'state';
  /** Refuse locality 4. */
  readonly rejectLocality4?: boolean;
  /** Serve one client at a time, as swtpm does, on each of the addresses; without it all at once, their commands one after another. */
  readonly oneClient?: boolean;
  /** Answer one command on a data connection, then end it. */
  readonly endAfterAnswer?: boolean;
  /** End the server when the data connection ends. */
  readonly endOnDisconnect?: boolean;
  /** End the server when the control connection ends. */
  readonly endOnControlDisconnect?: boolean;
  /** Leave out the TPM2_Shutdown that the control channel's INIT, STOP and SHUTDOWN run where the client has not. */
  readonly disableAutoShutdown?: boolean;
  /** The keys of the state blobs that the control channel hands out and takes. */
  readonly keys?: BlobKeys;
}

/** A running server. It owns its TPM and the state of it. */
export interface UtpmServer extends AsyncDisposable {
  /** The TPM that is served: what is sent to it comes between the commands of the clients, from locality 0. */
  readonly tpm: Pick<TpmTransport, 'send'>;
  /** Where it listens for commands, with the port that was picked, if it does. */
  readonly data: ListenAddress | undefined;
  /** Where it listens for control, if it does. */
  readonly control: ListenAddress | undefined;
  /** Resolves when the server has ended: by `close`, or because a client asked for it. */
  readonly ended: Promise<void>;
  /** Stops listening, drops the connections, and shuts the TPM down in order. */
  close(): Promise<void>;
}

/**
 * Opens a TPM and serves it until `close`. A client of the data channel is as trusted as the owner of a computer's TPM device.
 * Throws what `openUtpm` throws, and `UtpmError` `listen-failed`.
 */
export async function serve(options: ServeOptions): Promise<UtpmServer> {
  if (options.data === undefined && options.control === undefined) {
    throw new UtpmError('bad-option', 'serve a TPM: expected an address for commands or for control, got neither');
  }
  const tpm = await openerWith(nodeUtpmCrypto, PROFILES)({ ...options, startup: false });
  const server = new TpmServer(tpm, options);
  try {
    await server.open();
    return server;
  } catch (error) {
    await server.close();
    throw error;
  }
}

class TpmServer implements UtpmServer {
  readonly tpm: UtpmServer['tpm'];
  data: ListenAddress | undefined;
  control: ListenAddress | undefined;
  readonly ended: Promise<void>;
  readonly #tpm: DirectTpm;
  readonly #options: ServeOptions;
  readonly #platform: Platform;
  readonly #sockets = new Set<Socket>();
  readonly #listeners: Listener[] = [];
  readonly #dataTurns: Turns;
  readonly #controlTurns: Turns;
  #end: () => void = () => undefined;
  #closing: Promise<void> | undefined;
  #sentSocket: Socket | undefined;

  constructor(tpm: DirectTpm, options: ServeOptions) {
    this.#tpm = tpm;
    this.tpm = { send: (command, sendOptions) => tpm.send(command, sendOptions) };
    this.#options = options;
    const { state, disableAutoShutdown = false } = options;
    const store = state !== undefined && isVolatileStore(state) ? { store: state } : {};
    this.#platform = openPlatform(tpm, { ...store, disableAutoShutdown });
    this.#dataTurns = options.oneClient === true ? oneAtATime() : allAtOnce;
    this.#controlTurns = options.oneClient === true ? oneAtATime() : allAtOnce;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  async open(): Promise<void> {
    const { waitForInit, startup, startupType = 'clear', data, control } = this.#options;
    if (waitForInit !== true) await this.#platform.initialise();
    if (startup === true) await this.#platform.startUp(startupType);
    if (data !== undefined) this.data = await this.#listen(data, (socket) => this.#acceptData(socket));
    if (control !== undefined) this.control = await this.#listen(control, (socket) => this.#acceptControl(socket));
  }

  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #shut(): Promise<void> {
    const closed = this.#listeners.map((listener) => listener.close());
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
    try {
      if (this.#platform.isOn) await this.#platform.stop();
    } finally {
      await this.#tpm.close();
      this.#end();
    }
  }

  async #listen(address: ListenAddress, onConnection: (socket: Socket) => void): Promise<ListenAddress> {
    const listener = await listen(address, onConnection);
    this.#listeners.push(listener);
    return listener.address;
  }

  #acceptData(accepted: Socket): void {
    const socket = withOneBuffer(accepted);
    this.#keep(socket);
    const { endOnDisconnect, data } = this.#options;
    if (endOnDisconnect === true || data?.type === 'connection') socket.once('close', () => void this.close());
    const connection = this.#openData(socket);
    this.#dataTurns(socket, () => connection.start());
  }

  #acceptControl(accepted: Socket): void {
    // A connection of TCP, or one that this Node cannot take descriptors from, is served without SET_DATAFD.
    const receiver = this.control?.type === 'tcp' ? undefined : receiveDescriptors(accepted);
    const socket = receiver?.socket ?? accepted;
    this.#keep(socket);
    if (this.#options.endOnControlDisconnect === true) socket.once('close', () => void this.close());
    const descriptors = receiver && {
      take: receiver.take,
      isTaken: () => this.#options.data !== undefined || this.#sentSocket !== undefined,
      serve: (sent: Socket) => this.#serveSent(sent),
    };
    const connection = this.#openControl(socket, descriptors);
    this.#controlTurns(socket, () => connection.start());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #serveSent(socket: Socket): void {
    this.#sentSocket = socket;
    socket.once('close', () => {
      this.#sentSocket = undefined;
    });
    this.#keep(socket);
    this.#openData(socket).start();
  }

  #openData(socket: Socket): PendingConnection {
    const { protocol = 'auto', endAfterAnswer = false } = this.#options;
    const detect = detectCommands(protocol, dataChannel(this.#platform), this.#simulator());
    return openConnection(socket, detect, { endAfterAnswer });
  }

  #openControl(socket: Socket, descriptors: ControlOptions['descriptors']): PendingConnection {
    const { protocol = 'auto', rejectLocality4 = false, keys = {} } = this.#options;
    const onShutdown = (): void => void this.close();
    const control = controlChannel(this.#platform, { onShutdown, rejectLocality4, keys, descriptors });
    return openConnection(socket, detectControl(protocol, control, this.#simulator(), this.#sockets));
  }

  #simulator(): ReturnType<typeof mssim> {
    const { rejectLocality4 = false } = this.#options;
    return mssim(this.#platform, { onStop: () => void this.close(), rejectLocality4 });
  }
}
