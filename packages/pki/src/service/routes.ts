/** The routes that are no protocol of their own: OCSP (RFC 6960 appendix A, RFC 5019), CRLs, CA certificates, TPM enrolment. */

import { sha256 } from '@noble/hashes/sha2.js';
import { fromBase64, toHex } from '../bytes.js';
import { asCertificate } from '../certificate.js';
import { PkiError } from '../error.js';
import { parseOcspRequest } from '../ocsp-request.js';
import { ocspError } from '../ocsp-response.js';
import type { CertificateAuthority, OcspAnswer } from './authority.js';
import { type HttpRequest, type HttpResponse, type HttpRoute, mediaType, notAllowed, plain } from './http.js';
import type { TpmEnrolment } from './tpm-enrolment.js';

/** RFC 5019 section 5: a question in a path is at most so long. */
const MAX_GET = 4096;
/** A list is made anew at most so many milliseconds before it runs out when somebody asks for it. */
const OCSP_TYPE = 'application/ocsp-response';

/** OCSP under `/ocsp/AUTHORITY`, by POST and by GET. */
export function ocspRoute(authority: CertificateAuthority): HttpRoute {
  return async (request) => {
    const [, name, encoded] = /^\/ocsp\/([a-z0-9-]+)(?:\/(.*))?$/.exec(request.path) ?? [];
    if (name === undefined) return undefined;
    if (!authority.authorities.has(name)) return plain(404, 'not found');
    if (request.method === 'POST' && encoded === undefined) {
      if (mediaType(request) !== 'application/ocsp-request') return plain(415, 'expected application/ocsp-request');
      return answerOcsp(authority, name, request.body, false);
    }
    if (request.method !== 'GET' || encoded === undefined) return notAllowed('GET', 'POST');
    const question = encoded.length > MAX_GET ? undefined : pathBytes(encoded);
    return question === undefined
      ? { status: 200, headers: { 'content-type': OCSP_TYPE }, body: ocspError('malformedRequest') }
      : answerOcsp(authority, name, question, true);
  };
}

function pathBytes(encoded: string): Uint8Array | undefined {
  try {
    return fromBase64(decodeURIComponent(encoded), 'OCSP request');
  } catch (error) {
    if (error instanceof PkiError || error instanceof URIError) return undefined;
    throw error;
  }
}

async function answerOcsp(
  authority: CertificateAuthority,
  name: string,
  question: Uint8Array,
  isGet: boolean,
): Promise<HttpResponse> {
  let answer: OcspAnswer;
  try {
    answer = await authority.answerOcsp(name, question);
  } catch {
    // RFC 6960 2.3: who asks is told to come back, and nothing of what went wrong.
    return { status: 200, headers: { 'content-type': OCSP_TYPE }, body: ocspError('tryLater') };
  }
  const headers =
    isGet && isCacheable(question) ? cacheHeaders(answer, authority.now()) : { 'cache-control': 'no-store' };
  return { status: 200, headers: { 'content-type': OCSP_TYPE, ...headers }, body: answer.response };
}

/** An answer with a nonce is for one asker. */
function isCacheable(question: Uint8Array): boolean {
  try {
    return parseOcspRequest(question).nonce === undefined;
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}

/** RFC 5019 section 6.2. */
function cacheHeaders(answer: OcspAnswer, now: Date): Readonly<Record<string, string>> {
  const seconds = Math.max(0, Math.floor((answer.nextUpdate.getTime() - now.getTime()) / 1000));
  return {
    'cache-control': `max-age=${seconds}, public, no-transform, must-revalidate`,
    'last-modified': answer.thisUpdate.toUTCString(),
    expires: answer.nextUpdate.toUTCString(),
    etag: `"${toHex(sha256(answer.response)).slice(0, 40)}"`,
  };
}

/** `/crl/AUTHORITY.crl` and `/crl/AUTHORITY-delta.crl`, and the CA's certificate under `/ca/AUTHORITY.cer`. */
export function publicationRoute(authority: CertificateAuthority): HttpRoute {
  return async (request) => {
    const [, kind, name, delta] = /^\/(crl|ca)\/([a-z0-9-]+?)(-delta)?\.(?:crl|cer)$/.exec(request.path) ?? [];
    const entry = name === undefined ? undefined : authority.authorities.get(name);
    if (entry === undefined) return undefined;
    if (request.method !== 'GET' && request.method !== 'HEAD') return notAllowed('GET', 'HEAD');
    if (kind === 'ca') {
      const headers = { 'content-type': 'application/pkix-cert', 'cache-control': 'max-age=86400, public' };
      return { status: 200, headers, body: asCertificate(entry.issuer.certificate).der };
    }
    const list = await authority.store.newestCrl(entry.name, delta === undefined ? 'complete' : 'delta');
    if (list === undefined) return plain(404, 'no list has been published yet');
    const seconds = Math.max(0, Math.floor((list.nextUpdate.getTime() - authority.now().getTime()) / 2000));
    const headers = {
      'content-type': 'application/pkix-crl',
      // For half of its life: who has it in a cache still gets the next one in time.
      'cache-control': `max-age=${seconds}, public`,
      'last-modified': list.thisUpdate.toUTCString(),
      etag: `"${list.number}"`,
    };
    if (request.headers['if-none-match'] === headers.etag) return { status: 304, headers };
    return { status: 200, headers, body: list.der };
  };
}

const TPM_TYPE = 'application/octet-stream';

/** TPM enrolment: a request to `/tpm/challenge`, the answer to `/tpm/complete`, both by POST over TLS. */
export function tpmRoute(enrolment: TpmEnrolment, insecureAllowHttp = false): HttpRoute {
  return async (request) => {
    if (request.path !== '/tpm/challenge' && request.path !== '/tpm/complete') return undefined;
    if (request.method !== 'POST') return notAllowed('POST');
    if (!request.connection.isSecure && !insecureAllowHttp) return plain(403, 'expected TLS');
    if (mediaType(request) !== TPM_TYPE) return plain(415, `expected ${TPM_TYPE}`);
    const body = await tpmStep(enrolment, request);
    return { status: 200, headers: { 'content-type': TPM_TYPE, 'cache-control': 'no-store' }, body };
  };
}

function tpmStep(enrolment: TpmEnrolment, { path, body }: HttpRequest): Promise<Uint8Array> {
  return path === '/tpm/challenge' ? enrolment.challenge(body) : enrolment.complete(body);
}
