/** Enrolment over Secure Transport (RFC 7030, with the clarifications of RFC 8951), and a TPM as a way to authorise. */

import type { SignatureAlgorithm } from '../algorithm.js';
import { fromBase64, toBase64 } from '../bytes.js';
import { asCertificate, type Certificate } from '../certificate.js';
import { ID_DATA } from '../cms.js';
import { buildCsr, type CheckedCsr, type Csr, checkCsr, parseCsr } from '../csr.js';
import { constructed, integer, oid, sequence, setOf, tlv } from '../der.js';
import { PkiError } from '../error.js';
import { generateKey } from '../key.js';
import { ALGORITHM } from '../oid.js';
import type { CertificateProfile } from '../profile.js';
import type { CertificateAuthority, Issued } from './authority.js';
import type { Change } from './authority-store.js';
import { type HttpRequest, type HttpResponse, type HttpRoute, mediaType, notAllowed, plain } from './http.js';
import { refusalOf } from './server.js';
import type { TpmEnrolment } from './tpm-enrolment.js';

/** Who asks over EST, after the proof. */
export type EstIdentity =
  | { readonly kind: 'basic'; readonly user: string }
  | { readonly kind: 'certificate'; readonly certificate: Certificate }
  /** The request is by a key in the TPM of this EK, shown by credential activation. */
  | { readonly kind: 'tpm'; readonly ekDigest: string };

/** What a service under one label does. */
export interface EstService {
  /** Which CA issues. */
  readonly authority: string;
  /** With which profile. */
  readonly profile: string;
  /**
   * Whether an identity may have a certificate for this request. `retryAfter` (seconds) tells the client to come again, as where a
   * person has to look first. Renewal does not ask: the client has that certificate already.
   */
  readonly authorize: (
    identity: EstIdentity,
    request: CheckedCsr,
  ) => boolean | { readonly retryAfter: number } | Promise<boolean | { readonly retryAfter: number }>;
  /** Whether a password is a user's; without it no password is taken. Compare in constant time. */
  readonly basic?: (user: string, password: string) => boolean | Promise<boolean>;
  /** Takes the answer to a TPM challenge (`Authorization: TPM BASE64`) for the same request. */
  readonly tpm?: TpmEnrolment;
  /** Whether a request must be tied to its TLS connection by its challengePassword (RFC 7030 section 3.5). */
  readonly requireBinding?: boolean;
  /** Makes keys for clients that cannot (RFC 7030 section 4.4); without it that is refused. */
  readonly serverKeys?: SignatureAlgorithm;
}

/** Options of {@link estRoute}. */
export interface EstOptions {
  /** The engine. */
  readonly authority: CertificateAuthority;
  /** The services by label; the one under the empty text needs none in its path. */
  readonly services: Readonly<Record<string, EstService>>;
}

const CERTS = 'application/pkcs7-mime; smime-type=certs-only';
const SIGNED_DATA = '1.2.840.113549.1.7.2';
const CHALLENGE_PASSWORD = '1.2.840.113549.1.9.7';

/** EST under `/.well-known/est`. Everything but TLS is refused. */
export function estRoute(options: EstOptions): HttpRoute {
  return async (request) => {
    const [, label = '', operation] =
      /^\/\.well-known\/est\/(?:([A-Za-z0-9_.~-]+)\/)?([a-z]+)$/.exec(request.path) ?? [];
    if (operation === undefined) return undefined;
    if (!request.connection.isSecure) return plain(403, 'expected TLS');
    const service = Object.hasOwn(options.services, label) ? options.services[label] : undefined;
    if (service === undefined) return plain(404, 'no such label');
    const act = OPERATIONS[operation];
    if (act === undefined) return operation === 'fullcmc' ? plain(501, 'not implemented') : plain(404, 'not found');
    if (request.method !== act.method) return notAllowed(act.method);
    try {
      return await act.run(request, service, options.authority);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      return refusalOf(error);
    }
  };
}

interface Operation {
  readonly method: 'GET' | 'POST';
  readonly run: (request: HttpRequest, service: EstService, authority: CertificateAuthority) => Promise<HttpResponse>;
}

const OPERATIONS: Readonly<Partial<Record<string, Operation>>> = {
  cacerts: { method: 'GET', run: cacerts },
  csrattrs: { method: 'GET', run: csrattrs },
  simpleenroll: { method: 'POST', run: simpleenroll },
  simplereenroll: { method: 'POST', run: simplereenroll },
  serverkeygen: { method: 'POST', run: serverkeygen },
};

async function cacerts(_: HttpRequest, service: EstService, authority: CertificateAuthority): Promise<HttpResponse> {
  const { chain, root } = authority.get(service.authority);
  return base64Response(CERTS, certsOnly([...chain, root]));
}

/** What a request should have (RFC 7030 section 4.5.2): the kinds of keys, and a challengePassword where it must have one. */
async function csrattrs(_: HttpRequest, service: EstService, authority: CertificateAuthority): Promise<HttpResponse> {
  const profile = authority.profile(service.authority, service.profile);
  const attributes = [...(service.requireBinding === true ? [oid(CHALLENGE_PASSWORD)] : []), ...keyAttributes(profile)];
  return attributes.length === 0 ? { status: 204 } : base64Response('application/csrattrs', sequence(...attributes));
}

function keyAttributes({ keys = [] }: CertificateProfile): readonly Uint8Array[] {
  const curves = { 'P-256': ALGORITHM.p256, 'P-384': ALGORITHM.p384, 'P-521': ALGORITHM.p521 } as const;
  return keys.map((kind) => {
    if (kind in curves) {
      // `kind` is one of the names in `curves`.
      return sequence(oid(ALGORITHM.ecPublicKey), setOf(oid(curves[kind as keyof typeof curves])));
    }
    return oid(kind === 'rsa' ? ALGORITHM.rsaEncryption : ALGORITHM.ed25519);
  });
}

async function simpleenroll(
  request: HttpRequest,
  service: EstService,
  authority: CertificateAuthority,
): Promise<HttpResponse> {
  const csr = requestOf(request);
  const identity = await identify(request, service, authority, csr);
  if (identity === undefined) return unauthorized(service);
  return issue(request, service, authority, csr, identity);
}

async function issue(
  request: HttpRequest,
  service: EstService,
  authority: CertificateAuthority,
  csr: Csr,
  identity: EstIdentity,
): Promise<HttpResponse> {
  const { authority: name, profile } = service;
  const binding = bindingOf(request, service, csr);
  const checked = await checkCsr(csr, authority.profile(name, profile), binding);
  const verdict = await service.authorize(identity, checked);
  if (typeof verdict === 'object') return plain(202, 'come again', { 'retry-after': String(verdict.retryAfter) });
  if (!verdict) return plain(403, 'this identity may not have these names');
  const input = { authority: name, profile, csr, owner: ownerOf(identity), ...binding };
  const issued = await issueTo(identity, checked, service, (also) => authority.issue({ ...input, also: () => also }));
  return base64Response(CERTS, certsOnly([issued.certificate]));
}

/** What a TPM is given over EST is its own from then on, as if it had enrolled without EST. */
function issueTo(
  identity: EstIdentity,
  { subject, subjectAltName }: CheckedCsr,
  { tpm }: EstService,
  commit: (also: readonly Change[]) => Promise<Issued>,
): Promise<Issued> {
  if (identity.kind !== 'tpm' || tpm === undefined) return commit([]);
  return tpm.claim({ ekDigest: identity.ekDigest, subject, subjectAltName }, commit);
}

function ownerOf(identity: EstIdentity): string {
  switch (identity.kind) {
    case 'basic':
      return `basic:${identity.user}`;
    case 'certificate':
      return `certificate:${identity.certificate.serialNumber.toString(16)}`;
    case 'tpm':
      return `ek:${identity.ekDigest}`;
  }
}

/** RFC 7030 section 3.3.2: who has a certificate of ours renews it; subject and alternative names stay as they are. */
async function simplereenroll(
  request: HttpRequest,
  service: EstService,
  authority: CertificateAuthority,
): Promise<HttpResponse> {
  const csr = requestOf(request);
  const previous = await clientCertificate(request, authority);
  if (previous === undefined) return plain(403, 'expected the certificate that is to be renewed as client certificate');
  const { authority: name, profile } = service;
  const kept = await authority.store.certificate(name, previous.serialNumber.toString(16).padStart(40, '0'));
  const owner = kept?.owner ?? ownerOf({ kind: 'certificate', certificate: previous });
  const issued = await authority.renew({
    authority: name,
    profile,
    csr,
    previous,
    owner,
    ...bindingOf(request, service, csr),
  });
  return base64Response(CERTS, certsOnly([issued.certificate]));
}

/**
 * RFC 7030 section 4.4: the request says which names, and its signature that it was not changed; the key is made here, goes to the
 * client over TLS, and is forgotten.
 */
async function serverkeygen(
  request: HttpRequest,
  service: EstService,
  authority: CertificateAuthority,
): Promise<HttpResponse> {
  const { serverKeys, authority: name, profile } = service;
  if (serverKeys === undefined) return plain(403, 'this service makes no keys');
  const csr = requestOf(request);
  const identity = await identify(request, service, authority, csr);
  if (identity === undefined) return unauthorized(service);
  const checked = await checkCsr(csr, authority.profile(name, profile), bindingOf(request, service, csr));
  const verdict = await service.authorize(identity, checked);
  if (verdict !== true) return plain(403, 'this identity may not have these names');
  const key = await generateKey(serverKeys);
  const own = await buildCsr(key, { subject: checked.subject, subjectAltName: checked.subjectAltName });
  const input = { authority: name, profile, csr: own, owner: ownerOf(identity) };
  const issued = await issueTo(identity, checked, service, (also) => authority.issue({ ...input, also: () => also }));
  const pkcs8 = await key.unsafeExportKey();
  try {
    return multipart(pkcs8, issued);
  } finally {
    pkcs8.fill(0);
  }
}

function multipart(pkcs8: Uint8Array, issued: Issued): HttpResponse {
  const boundary = 'casemate-est-serverkeygen';
  const part = (type: string, bytes: Uint8Array) =>
    `--${boundary}\r\nContent-Type: ${type}\r\nContent-Transfer-Encoding: base64\r\n\r\n${lines(bytes)}\r\n`;
  const body = `${part('application/pkcs8', pkcs8)}${part(CERTS, certsOnly([issued.certificate]))}--${boundary}--\r\n`;
  return {
    status: 200,
    headers: { 'content-type': `multipart/mixed; boundary=${boundary}`, 'cache-control': 'no-store' },
    body,
  };
}

/** The body: a PKCS#10 in base64, as RFC 8951 section 3.1 has it whatever the transfer encoding says. */
function requestOf(request: HttpRequest): Csr {
  if (mediaType(request) !== 'application/pkcs10') {
    throw new PkiError('malformed', 'read EST request: expected application/pkcs10, got another type');
  }
  const text = Array.from(request.body, (octet) => String.fromCharCode(octet))
    .join('')
    .replace(/[\r\n\t ]/g, '');
  return parseCsr(fromBase64(text, 'EST request'));
}

/** The challengePassword that ties the request to this connection. Throws {@link PkiError} `not-allowed` for another one. */
function bindingOf(request: HttpRequest, service: EstService, csr: Csr): { challengePassword?: string } {
  const { challengePassword } = csr;
  if (challengePassword === undefined) {
    if (service.requireBinding !== true) return {};
    throw new PkiError(
      'not-allowed',
      'check EST request: expected a challengePassword that ties it to its connection, got none',
    );
  }
  const texts = (request.connection.bindings ?? []).map(toBase64);
  if (texts.includes(challengePassword)) return { challengePassword };
  throw new PkiError(
    'not-allowed',
    'check EST request: expected a request tied to this connection, got one for another',
  );
}

/** Undefined where nothing was shown that counts. */
async function identify(
  request: HttpRequest,
  service: EstService,
  authority: CertificateAuthority,
  csr: Csr,
): Promise<EstIdentity | undefined> {
  const [, scheme = '', credentials = ''] =
    /^([A-Za-z]+) +([A-Za-z0-9+/=]+)$/.exec(request.headers.authorization ?? '') ?? [];
  switch (scheme.toLowerCase()) {
    case 'basic':
      return basicIdentity(service, credentials);
    case 'tpm':
      return tpmIdentity(service, credentials, csr);
    case '': {
      const certificate = await clientCertificate(request, authority);
      return certificate === undefined ? undefined : { kind: 'certificate', certificate };
    }
    default:
      return undefined;
  }
}

async function basicIdentity(service: EstService, credentials: string): Promise<EstIdentity | undefined> {
  const text = new TextDecoder().decode(fromBase64(credentials, 'Authorization'));
  const at = text.indexOf(':');
  if (at < 0 || (await service.basic?.(text.slice(0, at), text.slice(at + 1))) !== true) return undefined;
  return { kind: 'basic', user: text.slice(0, at) };
}

async function tpmIdentity({ tpm }: EstService, credentials: string, csr: Csr): Promise<EstIdentity | undefined> {
  if (tpm === undefined) return undefined;
  const verified = await tpm.verify(fromBase64(credentials, 'Authorization'));
  // The challenge was for one request; the answer is good for that alone.
  if (toBase64(verified.csr) !== toBase64(csr.der)) return undefined;
  return { kind: 'tpm', ekDigest: verified.ekDigest };
}

async function clientCertificate(
  { connection }: HttpRequest,
  authority: CertificateAuthority,
): Promise<Certificate | undefined> {
  if (connection.clientCertificate === undefined) return undefined;
  const result = await authority.authenticate(connection.clientCertificate, connection.intermediates ?? []);
  return result.ok ? asCertificate(connection.clientCertificate) : undefined;
}

function unauthorized(service: EstService): HttpResponse {
  const schemes = [
    ...(service.basic === undefined ? [] : ['Basic realm="est", charset="UTF-8"']),
    ...(service.tpm === undefined ? [] : ['TPM realm="est"']),
  ];
  if (schemes.length === 0) return plain(403, 'expected a client certificate of ours');
  return plain(401, 'expected an identity', { 'www-authenticate': schemes.join(', ') });
}

/** A CMS SignedData that signs nothing and carries certificates (RFC 5272 section 4.1). */
function certsOnly(certificates: readonly Uint8Array[]): Uint8Array {
  const data = sequence(integer(1), setOf(), sequence(oid(ID_DATA)), tlv(constructed(0), ...certificates), setOf());
  return sequence(oid(SIGNED_DATA), tlv(constructed(0), data));
}

function base64Response(type: string, bytes: Uint8Array): HttpResponse {
  return { status: 200, headers: { 'content-type': type, 'content-transfer-encoding': 'base64' }, body: lines(bytes) };
}

function lines(bytes: Uint8Array): string {
  return (toBase64(bytes).match(/.{1,64}/g) ?? []).map((line) => `${line}\r\n`).join('');
}
