/** Refusals of ACME as problem documents (RFC 7807, RFC 8555 section 6.7). */
import type { HttpResponse } from './http.js';

/** The error types with their status codes. */
const STATUS = {
  accountDoesNotExist: 400,
  alreadyReplaced: 409,
  alreadyRevoked: 400,
  badAttestationStatement: 400,
  badCSR: 400,
  badNonce: 400,
  badPublicKey: 400,
  badRevocationReason: 400,
  badSignatureAlgorithm: 400,
  connection: 400,
  dns: 400,
  externalAccountRequired: 403,
  incorrectResponse: 403,
  invalidContact: 400,
  malformed: 400,
  orderNotReady: 403,
  rateLimited: 429,
  rejectedIdentifier: 400,
  serverInternal: 500,
  tls: 400,
  unauthorized: 403,
  unsupportedContact: 400,
  unsupportedIdentifier: 400,
  userActionRequired: 403,
} as const;

/** The last part of an error type. */
export type AcmeErrorType = keyof typeof STATUS;

/** A refusal on its way to the client. */
export class AcmeProblem extends Error {
  /** Always `AcmeProblem`. */
  override readonly name = 'AcmeProblem';
  /** The last part of the error type. */
  readonly type: AcmeErrorType;
  /** The status code. */
  readonly status: number;
  /** Further members of the document. */
  readonly members: Readonly<Record<string, unknown>>;
  /** Header values. */
  readonly headers: Readonly<Record<string, string>>;

  /** `detail` is for people. */
  constructor(
    type: AcmeErrorType,
    detail: string,
    members: Readonly<Record<string, unknown>> = {},
    status: number = STATUS[type],
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
    this.type = type;
    this.status = status;
    this.members = members;
    this.headers = headers;
  }

  /** The document. */
  toJSON(): Readonly<Record<string, unknown>> {
    const type = `urn:ietf:params:acme:error:${this.type}`;
    return { type, detail: this.message, status: this.status, ...this.members };
  }
}

/** A problem as a response. */
export function problemResponse(problem: AcmeProblem): HttpResponse {
  const headers = { 'content-type': 'application/problem+json', ...problem.headers };
  return { status: problem.status, headers, body: JSON.stringify(problem) };
}
