/** A device's side of ACME: a certificate for a key in its TPM by `device-attest-01` (RFC 8555, draft-ietf-acme-device-attest). */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { certify, TPM_ALG, type Tpm, type TpmObject, TpmtPublic, tpmSigner } from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { buildCsr } from '../csr.js';
import { PkiError } from '../error.js';
import { parsePem } from '../pem.js';
import type { AcmeIdentifier } from './acme.js';
import { encodeAttestationObject } from './attestation-object.js';
import { isObject, type JsonObject, parseJsonObject } from './json.js';
import { toBase64url } from './jws.js';

/** Sends a request; header names of the answer are in lower case. */
export type AcmeTransport = (
  method: 'GET' | 'HEAD' | 'POST',
  url: string,
  body?: string,
) => Promise<{
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
}>;

/** What {@link orderDeviceCertificate} needs. */
export interface DeviceOrder {
  /** The URL of the directory. */
  readonly directory: string;
  /** Sends the requests; `fetch` without it. */
  readonly transport?: AcmeTransport;
  /** The attestation key, loaded. */
  readonly ak: TpmObject;
  /** Its certificate and those above it, DER. */
  readonly akChain: readonly Uint8Array[];
  /** The key to certify, loaded in the same TPM. */
  readonly deviceKey: TpmObject;
  /** The name to order. */
  readonly identifier: AcmeIdentifier & { readonly type: 'permanent-identifier' | 'hardware-module' };
  /** The account's key, P-256; a fresh one without it. */
  readonly accountKey?: KeyObject;
}

/**
 * Makes an account, orders, attests the key, and gives the certificate with its chain, DER.
 * Throws {@link PkiError} `not-allowed` with the server's words where it refuses, and what the TPM refuses with.
 */
export async function orderDeviceCertificate(tpm: Tpm, order: DeviceOrder): Promise<readonly Uint8Array[]> {
  const session = await openSession(order);
  await session.post(session.url('newAccount'), { termsOfServiceAgreed: true });
  const created = await session.post(session.url('newOrder'), { identifiers: [order.identifier] });
  for (const url of texts(created.body.authorizations)) await attest(tpm, session, url, order);
  const { type, value } = order.identifier;
  const names = type === 'hardware-module' ? { hardwareModule: [value] } : { permanentIdentifier: [value] };
  const csr = await buildCsr(tpmSigner(tpm, order.deviceKey), { subject: {}, subjectAltName: names });
  const finished = await session.post(text(created.body.finalize), { csr: toBase64url(csr) });
  const { raw } = await session.post(text(finished.body.certificate), undefined);
  return parsePem(new TextDecoder().decode(raw)).map(({ der }) => der);
}

async function attest(tpm: Tpm, session: Session, url: string, { ak, akChain, deviceKey }: DeviceOrder): Promise<void> {
  const { body } = await session.post(url, undefined);
  const challenges = Array.isArray(body.challenges) ? body.challenges.filter(isObject) : [];
  const challenge = challenges.find((each) => each.type === 'device-attest-01');
  if (challenge === undefined)
    throw new PkiError('not-allowed', 'attest: expected a challenge device-attest-01, got others');
  const authorization = `${text(challenge.token)}.${session.thumbprint}`;
  const nonce = new Uint8Array(createHash('sha256').update(authorization).digest());
  const { certified, signature } = await certify(tpm, { object: deviceKey, signer: ak, nonce });
  const attObj = encodeAttestationObject({
    algorithm: ak.public.type === TPM_ALG.RSA ? -257 : -7,
    chain: akChain,
    signature,
    certInfo: certified,
    publicArea: encode(TpmtPublic, deviceKey.public),
  });
  const answer = await session.post(text(challenge.url), { attObj: toBase64url(attObj) });
  if (answer.body.status === 'valid') return;
  const detail = isObject(answer.body.error) ? String(answer.body.error.detail) : 'no reason';
  throw new PkiError('not-allowed', `attest: expected a valid challenge, got ${String(answer.body.status)}: ${detail}`);
}

interface Answer {
  readonly body: JsonObject;
  readonly raw: Uint8Array;
}

interface Session {
  readonly thumbprint: string;
  url(resource: string): string;
  /** Without a payload it is a POST-as-GET. */
  post(url: string, payload: JsonObject | undefined): Promise<Answer>;
}

async function openSession(order: DeviceOrder): Promise<Session> {
  const { transport = fetchTransport } = order;
  const key = order.accountKey ?? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const { crv, kty, x, y } = createPublicKey(key).export({ format: 'jwk' });
  const jwk = { crv, kty, x, y };
  const directory = parseJsonObject((await transport('GET', order.directory)).body);
  let account: string | undefined;
  let nonce: string | undefined;
  const send = async (url: string, payload: JsonObject | undefined, retries: number): Promise<Answer> => {
    nonce ??= (await transport('HEAD', text(directory.newNonce))).headers['replay-nonce'];
    const head = { alg: 'ES256', nonce, url, ...(account === undefined ? { jwk } : { kid: account }) };
    const response = await transport('POST', url, signed(key, head, payload));
    nonce = response.headers['replay-nonce'];
    const isText = response.headers['content-type']?.includes('json') !== true;
    const body = isText ? {} : parseJsonObject(response.body);
    if (response.status < 300) {
      account ??= response.headers.location;
      return { body, raw: response.body };
    }
    if (body.type === 'urn:ietf:params:acme:error:badNonce' && retries > 0) return send(url, payload, retries - 1);
    throw new PkiError(
      'not-allowed',
      `ask ${url}: expected success, got ${response.status}: ${String(body.detail ?? '')}`,
    );
  };
  return {
    thumbprint: createHash('sha256').update(JSON.stringify(jwk)).digest('base64url'),
    url: (resource) => text(directory[resource]),
    post: (url, payload) => send(url, payload, 3),
  };
}

function signed(key: KeyObject, head: JsonObject, payload: JsonObject | undefined): string {
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const parts = { protected: encoded(head), payload: payload === undefined ? '' : encoded(payload) };
  const data = Buffer.from(`${parts.protected}.${parts.payload}`);
  const signature = sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
  return JSON.stringify({ ...parts, signature });
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new PkiError('malformed', 'read ACME answer: expected a text, got something else');
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(text) : [];
}

const fetchTransport: AcmeTransport = async (method, url, body) => {
  const headers = { 'content-type': 'application/jose+json' };
  const response = await fetch(url, { method, ...(body === undefined ? {} : { body, headers }) });
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: new Uint8Array(await response.arrayBuffer()),
  };
};
