/** The server: listening sockets, and which protocol a client speaks. */
import { createServer, type Server, type Socket } from 'node:net';
import { UtpmError } from '../error.js';
import { nodeUtpmCrypto } from '../node-crypto.js';
import type { UtpmOptions } from '../options.js';
import { openerWith } from '../utpm.js';
import { type Protocol, serveConnection } from './connection.js';
import { controlChannel } from './control-channel.js';
import { dataChannel } from './data-channel.js';
import { mssim } from './mssim.js';
import { openPlatform, type Platform } from './platform.js';

/**
 * Where to listen: TCP (port 0 picks a free one; the host is 127.0.0.1 unless given), a Unix socket, or an open file descriptor of a
 * listening socket.
 */
export type ListenAddress =
  | { readonly type: 'tcp'; readonly port: number; readonly host?: string }
  | { readonly type: 'unix'; readonly path: string }
  | { readonly type: 'fd'; readonly fd: number };

/** Which protocols are answered: both, told apart by what a client sends first, or one. */
export type ServerProtocol = 'auto' | 'swtpm' | 'mssim';

/** What `serve` takes: the options of `openUtpm`, and these. */
export interface ServeOptions extends UtpmOptions {
  /** Where commands come in: swtpm's data channel, mssim's command port. */
  readonly data: ListenAddress;
  /** Where control comes in: swtpm's control channel, mssim's platform port. Whoever reaches it controls the platform. */
  readonly control?: ListenAddress;
  /** `auto` unless given. On a Unix socket only swtpm's protocol is spoken. */
  readonly protocol?: ServerProtocol;
  /** Must a client power the TPM on before commands are run? `false` unless given. */
  readonly waitForInit?: boolean;
  /** Refuse locality 4 on the control channel. */
  readonly rejectLocality4?: boolean;
  /** End the server when the data connection ends. */
  readonly endOnDisconnect?: boolean;
}

/** A running server. It owns its TPM and the state of it. */
export interface UtpmServer extends AsyncDisposable {
  /** Where it listens for commands, with the port that was picked. */
  readonly data: ListenAddress;
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
  const tpm = await openerWith(nodeUtpmCrypto)(options);
  const platform = openPlatform(tpm, options.waitForInit !== true);
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= shut(servers, sockets, () => tpm.close()).then(end);
    return closing;
  };
  const onShutdown = (): void => void close();
  const detectors = detectorsOf(platform, options, sockets, onShutdown);
  try {
    const data = await listen(options.data, servers, (socket) => {
      if (options.endOnDisconnect === true) socket.once('close', onShutdown);
      accept(socket, sockets, detectors.data(options.data));
    });
    const control =
      options.control === undefined
        ? undefined
        : await listen(options.control, servers, (socket) =>
            accept(socket, sockets, detectors.control(options.control)),
          );
    return { data, control, ended, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

function accept(socket: Socket, sockets: Set<Socket>, detect: (head: Uint8Array) => Protocol | undefined): void {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
  serveConnection(socket, detect);
}

async function shut(
  servers: readonly Server[],
  sockets: ReadonlySet<Socket>,
  closeTpm: () => Promise<void>,
): Promise<void> {
  const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
  for (const socket of sockets) socket.destroy();
  await Promise.all(closed);
  await closeTpm();
}

function listen(
  address: ListenAddress,
  servers: Server[],
  onConnection: (socket: Socket) => void,
): Promise<ListenAddress> {
  const server = createServer(onConnection);
  const where =
    address.type === 'tcp'
      ? { port: address.port, host: address.host ?? '127.0.0.1' }
      : address.type === 'unix'
        ? { path: address.path }
        : { fd: address.fd };
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new UtpmError('listen-failed', `listen on ${JSON.stringify(where)}: ${cause.message}`, { cause })),
    );
    server.listen(where, () => {
      servers.push(server);
      const bound = server.address();
      const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
      resolve(address.type === 'tcp' ? { ...address, port } : address);
    });
  });
}

interface Detectors {
  data(address: ListenAddress): (head: Uint8Array) => Protocol | undefined;
  control(address: ListenAddress | undefined): (head: Uint8Array) => Protocol | undefined;
}

// On the data port the first four bytes tell: a TPM command starts with its tag, a simulator signal is a small number. On the control
// port both protocols start with small numbers. A simulator client opens its command connection first and sends on the platform
// connection before any command; a client that only asks swtpm's control channel has no data connection that waits.
function detectorsOf(
  platform: Platform,
  options: ServeOptions,
  sockets: Set<Socket>,
  onShutdown: () => void,
): Detectors {
  const protocol = options.protocol ?? 'auto';
  const swtpmData = (): Protocol => dataChannel(platform);
  const simulator = (): Protocol => mssim(platform, onShutdown);
  const swtpmControl = (): Protocol =>
    controlChannel(platform, { onShutdown, rejectLocality4: options.rejectLocality4 === true });
  const isSimulatorWaiting = (): boolean => [...sockets].some((socket) => socket.bytesRead === 0);
  const isFixed = (address: ListenAddress | undefined): boolean => address?.type !== 'tcp' || protocol === 'swtpm';
  return {
    data: (address) => (head) => {
      if (isFixed(address)) return swtpmData();
      return isSignal(head) || protocol === 'mssim' ? simulator() : swtpmData();
    },
    control: (address) => (head) => {
      if (isFixed(address)) return swtpmControl();
      if (protocol === 'mssim') return simulator();
      return head[3] === POWER_ON && isSimulatorWaiting() ? simulator() : swtpmControl();
    },
  };
}

const POWER_ON = 1;

function isSignal(head: Uint8Array): boolean {
  return head[0] === 0 && head[1] === 0 && head[2] === 0;
}
