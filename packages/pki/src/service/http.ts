/** HTTP as the services see it: a request with its body read and bounded, a response as data. */

/** What is known of the connection that a request came over. */
export interface HttpConnection {
  /** The peer's address. */
  readonly address: string;
  /** Whether it is TLS. */
  readonly isSecure: boolean;
  /** The certificate that the peer proved to hold, DER; nobody has validated it. */
  readonly clientCertificate?: Uint8Array;
  /** Certificates that came with it, DER. */
  readonly intermediates?: readonly Uint8Array[];
  /** Channel bindings that a request may be tied to: tls-unique (RFC 5929) under TLS 1.2, tls-exporter (RFC 9266) from 1.3 on. */
  readonly bindings?: readonly Uint8Array[];
}

/** A request. Whoever sent it controls every field but `connection`. */
export interface HttpRequest {
  /** Upper case. */
  readonly method: string;
  /** The path without query, still percent-encoded. */
  readonly path: string;
  /** Header values by lower-case name. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The body, bounded by the server. */
  readonly body: Uint8Array;
  /** Where it came from. */
  readonly connection: HttpConnection;
}

/** A response. */
export interface HttpResponse {
  /** The status code. */
  readonly status: number;
  /** Header values by name. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The body. */
  readonly body?: Uint8Array | string;
}

/** A part of the server; undefined where a path is not its own. */
export type HttpRoute = (request: HttpRequest) => Promise<HttpResponse | undefined>;

/** A refusal in plain text. */
export function plain(status: number, text: string, headers: Readonly<Record<string, string>> = {}): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body: `${text}\n` };
}

/** The answer to another method than those of a path. */
export function notAllowed(...methods: readonly string[]): HttpResponse {
  return plain(405, 'method not allowed', { allow: methods.join(', ') });
}

/** The media type of a request, in lower case and without parameters. */
export function mediaType(request: HttpRequest): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}
