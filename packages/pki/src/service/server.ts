/** The HTTPS server around the services: bounded bodies and times, client certificates where they come, routes in turn. */
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { PkiError } from '../error.js';
import { type HttpConnection, type HttpRequest, type HttpResponse, type HttpRoute, plain } from './http.js';
import { type RateLimit, rateLimiter } from './rate-limit.js';

/** Options of {@link startServer}. */
export interface ServerOptions {
  /** What answers; the first route that does. */
  readonly routes: readonly HttpRoute[];
  /** The server's certificate and key; without it the server speaks plain HTTP, which CRLs and OCSP need. */
  readonly tls?: {
    /** The chain in PEM, leaf first. */
    readonly certificate: string;
    /** The key in PEM (PKCS#8). */
    readonly key: string;
    /** Roots of client certificates in PEM, told to clients; the services validate for themselves. */
    readonly clientRoots?: string;
    /** The lowest version; TLS 1.2 without it. */
    readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  };
  /** The address to listen on; 127.0.0.1 without it. */
  readonly host?: string;
  /** The port; any that is free without it. */
  readonly port?: number;
  /** Bytes of a body; 256 KiB without it. */
  readonly maxBody?: number;
  /** Requests of one address; unbounded without it. */
  readonly rateLimit?: RateLimit;
  /** Told of errors that no client is to blame for; the client sees no more than a 500. */
  readonly onError?: (error: unknown) => void;
}

/** A running server; disposing of it closes it. */
export interface RunningServer extends AsyncDisposable {
  /** `https://127.0.0.1:8443`, without a slash at the end. */
  readonly url: string;
  /** The port. */
  readonly port: number;
  /** Stops listening, lets requests under way finish for a second, and closes every connection. */
  close(): Promise<void>;
}

const MAX_BODY = 256 << 10;

/** Starts a server. Throws what the system refuses to listen with. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { tls, host = '127.0.0.1', port = 0 } = options;
  const limit = options.rateLimit === undefined ? undefined : rateLimiter(options.rateLimit);
  const listener = (message: IncomingMessage, response: ServerResponse): void => {
    void handle(message, response, options, limit).catch((error: unknown) => {
      options.onError?.(error);
      response.destroy();
    });
  };
  const bounds = { maxHeaderSize: 16_384, requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 5_000 };
  const server =
    tls === undefined
      ? createHttp(bounds, listener)
      : createHttps(
          {
            ...bounds,
            cert: tls.certificate,
            key: tls.key,
            minVersion: tls.minVersion ?? 'TLSv1.2',
            requestCert: true,
            // A client without a certificate may still enrol; one with a bad certificate is refused by the service that looks.
            rejectUnauthorized: false,
            ...(tls.clientRoots === undefined ? {} : { ca: tls.clientRoots }),
          },
          listener,
        );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port: bound } = server.address() as AddressInfo; // listening on TCP
  const close = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeIdleConnections();
    const timer = setTimeout(() => server.closeAllConnections(), 1000);
    await closed;
    clearTimeout(timer);
  };
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http${tls === undefined ? '' : 's'}://${name}:${bound}`,
    port: bound,
    close,
    [Symbol.asyncDispose]: close,
  };
}

type Limiter = ReturnType<typeof rateLimiter>;

async function handle(
  message: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
  limit: Limiter | undefined,
): Promise<void> {
  const connection = connectionOf(message.socket);
  const wait = limit?.(connection.address) ?? 0;
  if (wait > 0)
    return send(response, plain(429, 'too many requests', { 'retry-after': String(Math.ceil(wait / 1000)) }));
  const body = await readBody(message, options.maxBody ?? MAX_BODY);
  if (body === undefined) return send(response, plain(413, 'the body is too large', { connection: 'close' }));
  const request: HttpRequest = {
    method: message.method ?? 'GET',
    path: (message.url ?? '/').split('?')[0] ?? '/',
    headers: headersOf(message),
    body,
    connection,
  };
  send(response, await answer(request, options));
}

async function answer(request: HttpRequest, { routes, onError }: ServerOptions): Promise<HttpResponse> {
  try {
    for (const route of routes) {
      const response = await route(request);
      if (response !== undefined) return response;
    }
    return plain(404, 'not found');
  } catch (error) {
    if (error instanceof PkiError) return refusalOf(error);
    onError?.(error);
    return plain(500, 'internal error');
  }
}

/** What a refusal of the library means over HTTP. Its message says what was expected and got, and nothing secret. */
export function refusalOf(error: PkiError): HttpResponse {
  return plain(STATUS[error.code] ?? 400, error.message);
}

const STATUS: Readonly<Partial<Record<PkiError['code'], number>>> = {
  'not-allowed': 403,
  untrusted: 403,
  'not-found': 404,
  exists: 409,
  conflict: 409,
  replayed: 410,
  locked: 503,
};

function headersOf({ headers }: IncomingMessage): Readonly<Record<string, string>> {
  const pairs = Object.entries(headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : []));
  return Object.fromEntries(pairs);
}

/** Undefined where it is too long; the rest is not read. */
async function readBody(message: IncomingMessage, max: number): Promise<Uint8Array | undefined> {
  if (Number(message.headers['content-length'] ?? 0) > max) return undefined;
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of message) {
    length += part.length;
    if (length > max) return undefined;
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function connectionOf(socket: Socket): HttpConnection {
  const address = socket.remoteAddress ?? '';
  if (!(socket instanceof TLSSocket)) return { address, isSecure: false };
  const peer = socket.getPeerCertificate(true);
  const chain = peerChain(peer);
  const [clientCertificate, ...intermediates] = chain;
  return {
    address,
    isSecure: true,
    ...(clientCertificate === undefined ? {} : { clientCertificate, intermediates }),
    bindings: bindingsOf(socket),
  };
}

function peerChain(peer: ReturnType<TLSSocket['getPeerCertificate']> | undefined): readonly Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let each = peer; each?.raw !== undefined && found.length < 8; ) {
    found.push(new Uint8Array(each.raw));
    const next = 'issuerCertificate' in each ? (each.issuerCertificate as typeof peer) : undefined;
    if (next === each) break;
    each = next;
  }
  return found;
}

/** tls-unique is the first Finished message: the client's, or the server's where a session was resumed (RFC 5929 section 3). */
function bindingsOf(socket: TLSSocket): readonly Uint8Array[] {
  try {
    if (socket.getProtocol() === 'TLSv1.3') {
      return [new Uint8Array(socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)))];
    }
    const finished = socket.isSessionReused() ? socket.getFinished() : socket.getPeerFinished();
    return finished === undefined ? [] : [new Uint8Array(finished)];
  } catch {
    // The connection is being closed: then it has no binding.
    return [];
  }
}

function send(response: ServerResponse, { status, headers = {}, body = '' }: HttpResponse): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  response.writeHead(status, { 'x-content-type-options': 'nosniff', ...headers, 'content-length': bytes.length });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}
