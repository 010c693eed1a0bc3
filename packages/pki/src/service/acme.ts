/**
 * ACME (RFC 8555), with addresses (RFC 8738), tls-alpn-01 (RFC 8737), renewal information (RFC 9773) and devices that attest their keys (draft-ietf-acme-device-attest).
 * Accounts, orders, authorizations and nonces are in the authority's store: any of several processes answers, and a killed one loses
 * nothing that it answered.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { equalBytes, toHex } from '../bytes.js';
import { asCertificate, type Certificate, parseCertificate } from '../certificate.js';
import { CRL_REASONS, type CrlReason } from '../crl-entries.js';
import { type CheckedCsr, parseCsr } from '../csr.js';
import { PkiError } from '../error.js';
import { isDnsName } from '../extension.js';
import { parseIpAddress } from '../general-name.js';
import { encodePem } from '../pem.js';
import { type NetworkView, validateChallenge } from './acme-challenge.js';
import { AcmeProblem, problemResponse } from './acme-problem.js';
import { type AttestationTrust, parseAttestationObject, verifyTpmStatement } from './attestation-object.js';
import type { CertificateAuthority, Issued } from './authority.js';
import { type CertificateRecord, type Change, type StoredDocument, serialText } from './authority-store.js';
import { type HttpRequest, type HttpResponse, type HttpRoute, mediaType } from './http.js';
import { isObject, type JsonObject, parseJsonObject } from './json.js';
import {
  type AccountKey,
  fromBase64url,
  isBoundBy,
  type Jws,
  jwsOf,
  openJwk,
  parseJws,
  toBase64url,
  verifyJws,
} from './jws.js';
import { type RateLimit, rateLimiter } from './rate-limit.js';
import { heldBy, isRevokedKey, keyOfOwner } from './tpm-enrolment.js';

/** What an order is for. */
export interface AcmeIdentifier {
  /** The kind of name. */
  readonly type: 'dns' | 'ip' | 'permanent-identifier' | 'hardware-module';
  /** The name; `hardware-module` as `OID/hexadecimal`. */
  readonly value: string;
}

/** Options of {@link acmeRoute}. */
export interface AcmeOptions {
  /** The engine. */
  readonly authority: CertificateAuthority;
  /** The CA that issues. */
  readonly issuer: string;
  /** The profile by the kind of names in an order; kinds that are not here are refused. An order has names of one profile. */
  readonly profiles: Readonly<Partial<Record<AcmeIdentifier['type'], string>>>;
  /** How clients reach this service, `https://ca.example`; what they say in Host without it. */
  readonly baseUrl?: string;
  /** The first part of the paths; `/acme` without it. */
  readonly path?: string;
  /** Where the terms of service are; clients must agree to them. */
  readonly termsOfService?: string;
  /** The MAC keys of external accounts by identifier; with it nobody gets an account without one. */
  readonly externalAccount?: (keyIdentifier: string) => Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Whether an account may order these names, asked for every order; everybody may without it. */
  readonly authorize?: (account: string, identifiers: readonly AcmeIdentifier[]) => boolean | Promise<boolean>;
  /** How names are reached. */
  readonly network?: NetworkView;
  /** Whose attestation keys are believed; without it no device is. */
  readonly attestation?: AttestationTrust;
  /** How often an account may order; 100 at once and 1 per second without it. */
  readonly orderLimit?: RateLimit;
  /** How often an address may make accounts; 20 at once and one in 10 seconds without it. */
  readonly accountLimit?: RateLimit;
  /** Seconds until an order is void; a week without it. */
  readonly orderLifetime?: number;
  /** When a certificate is to be renewed; in the sixth of its life that begins when two thirds of it are over without it. */
  readonly renewal?: (certificate: CertificateRecord) => RenewalWindow | undefined | Promise<RenewalWindow | undefined>;
}

/** When a client is to renew a certificate: at a random moment between `start` and `end` (RFC 9773 section 4.2). */
export interface RenewalWindow {
  /** Its beginning; in the past where the certificate is to be renewed at once. */
  readonly start: Date;
  /** Its end, after the beginning. */
  readonly end: Date;
  /** A page for people that says why. */
  readonly explanationUrl?: string;
}

interface Account {
  readonly status: 'valid' | 'deactivated';
  readonly jwk: JsonObject;
  readonly contact: readonly string[];
  readonly external?: string;
}

interface Challenge {
  readonly type: 'http-01' | 'dns-01' | 'tls-alpn-01' | 'device-attest-01';
  readonly token: string;
  readonly status: 'pending' | 'processing' | 'valid' | 'invalid';
  readonly validated?: string;
  readonly error?: JsonObject;
  /** When the look began, in milliseconds; a process that was killed meanwhile is not waited for. */
  readonly started?: number;
}

interface Authorization {
  readonly status: 'pending' | 'valid' | 'invalid' | 'deactivated';
  readonly identifier: AcmeIdentifier;
  readonly wildcard?: true;
  readonly expires: string;
  readonly challenges: readonly Challenge[];
  /** Of an attested device: SHA-256 of its key, hexadecimal. */
  readonly key?: string;
  /** Its endorsement key, where its attestation key was enrolled here. */
  readonly ek?: string;
}

interface Order {
  readonly status: 'pending' | 'valid' | 'invalid';
  readonly identifiers: readonly AcmeIdentifier[];
  readonly authorizations: readonly string[];
  readonly expires: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  /** The certificate's serial number. */
  readonly serial?: string;
  /** The certificate that this one takes the place of: its identifier (RFC 9773 section 4.1), and its serial number. */
  readonly replaces?: { readonly id: string; readonly serial: string };
}

/** A document with its meaning. */
interface Kept<T> {
  readonly id: string;
  readonly owner: string;
  readonly version: number;
  readonly value: T;
}

/** A request whose signature was checked. */
interface Signed {
  readonly jws: Jws;
  readonly key: AccountKey;
  readonly account: Kept<Account> | undefined;
  readonly base: string;
  readonly request: HttpRequest;
}

const KIND = {
  account: 'acme-account',
  key: 'acme-key',
  order: 'acme-order',
  authorization: 'acme-authorization',
  nonce: 'acme-nonce',
  secret: 'acme-secret',
  external: 'acme-external',
  replaced: 'acme-replaced',
} as const;
const NONCE_LIFETIME = 3600;
const STALE = 60_000;
const RETRIES = [0, 1000, 3000] as const;
/** Seconds until a client asks again when it is to renew. */
const RENEWAL_RETRY = 21_600;

/** ACME under `options.path`; the directory is at `…/directory`. */
export function acmeRoute(options: AcmeOptions): HttpRoute {
  const service = new AcmeService(options);
  return (request) => service.answer(request);
}

class AcmeService {
  readonly #options: AcmeOptions;
  readonly #path: string;
  readonly #orderLimit: (who: string) => number;
  readonly #accountLimit: (who: string) => number;
  #secret: Promise<Uint8Array> | undefined;

  constructor(options: AcmeOptions) {
    this.#options = options;
    this.#path = options.path ?? '/acme';
    this.#orderLimit = rateLimiter(options.orderLimit ?? { burst: 100, perSecond: 1 });
    this.#accountLimit = rateLimiter(options.accountLimit ?? { burst: 20, perSecond: 0.1 });
  }

  async answer(request: HttpRequest): Promise<HttpResponse | undefined> {
    if (!request.path.startsWith(`${this.#path}/`)) return undefined;
    const base = `${this.#options.baseUrl ?? `http${request.connection.isSecure ? 's' : ''}://${request.headers.host ?? ''}`}${this.#path}`;
    const [, operation = '', id = '', sub = ''] =
      /^\/([a-z-]+)(?:\/([A-Za-z0-9_.-]+))?(?:\/([a-z0-9-]+))?$/.exec(request.path.slice(this.#path.length)) ?? [];
    const headers = { link: `<${base}/directory>;rel="index"`, 'cache-control': 'no-store' };
    if (operation === 'directory') return this.#directory(base);
    if (operation === 'new-nonce' && (request.method === 'GET' || request.method === 'HEAD')) {
      return {
        status: request.method === 'HEAD' ? 200 : 204,
        headers: { ...headers, 'replay-nonce': await this.#newNonce() },
      };
    }
    if (operation === 'renewal-info' && request.method === 'GET') return await this.#renewalInfo(id);
    const response = await this.#post(request, base, operation, id, sub);
    return { ...response, headers: { ...headers, 'replay-nonce': await this.#newNonce(), ...response.headers } };
  }

  #directory(base: string): HttpResponse {
    const { termsOfService, externalAccount } = this.#options;
    const meta = {
      ...(termsOfService === undefined ? {} : { termsOfService }),
      ...(externalAccount === undefined ? {} : { externalAccountRequired: true }),
    };
    const names = {
      newNonce: 'new-nonce',
      newAccount: 'new-account',
      newOrder: 'new-order',
      revokeCert: 'revoke-cert',
      keyChange: 'key-change',
      renewalInfo: 'renewal-info',
    };
    const urls = Object.fromEntries(Object.entries(names).map(([name, path]) => [name, `${base}/${path}`]));
    return json(200, { ...urls, meta });
  }

  async #post(request: HttpRequest, base: string, operation: string, id: string, sub: string): Promise<HttpResponse> {
    try {
      if (request.method !== 'POST') throw new AcmeProblem('malformed', 'expected POST', {}, 405);
      if (mediaType(request) !== 'application/jose+json')
        throw new AcmeProblem('malformed', 'expected application/jose+json', {}, 415);
      const signed = await this.#open(request, base);
      return await this.#act(signed, operation, id, sub);
    } catch (error) {
      return problemResponse(problemOf(error));
    }
  }

  #act(signed: Signed, operation: string, id: string, sub: string): Promise<HttpResponse> {
    switch (operation) {
      case 'new-account':
        return this.#newAccount(signed);
      case 'account':
        return sub === 'orders' ? this.#orders(signed, id) : this.#account(signed, id);
      case 'key-change':
        return this.#keyChange(signed);
      case 'new-order':
        return this.#newOrder(signed);
      case 'order':
        return sub === 'finalize' ? this.#finalize(signed, id) : this.#order(signed, id);
      case 'authz':
        return this.#authorization(signed, id);
      case 'challenge':
        return this.#challenge(signed, id, sub);
      case 'cert':
        return this.#certificate(signed, id);
      case 'revoke-cert':
        return this.#revoke(signed);
      default:
        throw new AcmeProblem('malformed', 'expected a resource of this server', {}, 404);
    }
  }

  // Requests (RFC 8555 section 6)

  async #open(request: HttpRequest, base: string): Promise<Signed> {
    const jws = parseJws(request.body);
    const { nonce, url, kid, jwk } = jws.header;
    if (url !== `${base.slice(0, -this.#path.length)}${request.path}`) {
      throw new AcmeProblem('unauthorized', 'expected the URL of this request in the header, got another');
    }
    if ((kid === undefined) === (jwk === undefined))
      throw new AcmeProblem('malformed', 'expected either jwk or kid in the header');
    const account = kid === undefined ? undefined : await this.#accountOf(kid, base);
    const key = openJwk(account?.value.jwk ?? jwk);
    verifyJws(jws, key);
    // After the signature: nobody else uses up a nonce.
    await this.#useNonce(nonce);
    return { jws, key, account, base, request };
  }

  async #accountOf(kid: unknown, base: string): Promise<Kept<Account>> {
    const prefix = `${base}/account/`;
    const id = typeof kid === 'string' && kid.startsWith(prefix) ? kid.slice(prefix.length) : '';
    const account = await this.#read<Account>(KIND.account, id);
    if (account === undefined) throw new AcmeProblem('accountDoesNotExist', 'expected an account of this server');
    if (account.value.status !== 'valid')
      throw new AcmeProblem('unauthorized', 'expected an account that is not deactivated', {}, 401);
    return account;
  }

  async #newNonce(): Promise<string> {
    const body = Buffer.alloc(22);
    randomBytes(16).copy(body);
    body.writeUIntBE(Math.floor(this.#now().getTime() / 1000), 16, 6);
    return toBase64url(Buffer.concat([body, await this.#mac(body)]));
  }

  async #useNonce(nonce: unknown): Promise<void> {
    const bytes =
      typeof nonce === 'string' && /^[A-Za-z0-9_-]{51}$/.test(nonce) ? Buffer.from(nonce, 'base64url') : undefined;
    const body = bytes?.subarray(0, 22);
    const age = body === undefined ? Number.NaN : this.#now().getTime() / 1000 - body.readUIntBE(16, 6);
    const isOurs =
      bytes !== undefined && body !== undefined && timingSafeEqual(bytes.subarray(22), await this.#mac(body));
    if (!isOurs || !(age < NONCE_LIFETIME)) throw new AcmeProblem('badNonce', 'expected a fresh nonce of this server');
    const expires = new Date(this.#now().getTime() + (NONCE_LIFETIME + 60) * 1000);
    try {
      await this.#commit([
        {
          change: 'put',
          kind: KIND.nonce,
          id: toBase64url(bytes.subarray(0, 16)),
          owner: '',
          body: '',
          expires,
          version: 0,
        },
      ]);
    } catch (error) {
      if (error instanceof PkiError && error.code === 'exists')
        throw new AcmeProblem('badNonce', 'expected a nonce that was not used before');
      throw error;
    }
  }

  async #mac(body: Uint8Array): Promise<Buffer> {
    this.#secret ??= this.#loadSecret();
    return createHmac('sha256', await this.#secret)
      .update(body)
      .digest()
      .subarray(0, 16);
  }

  /** All processes of a store take each other's nonces. */
  async #loadSecret(): Promise<Uint8Array> {
    const body = toBase64url(randomBytes(32));
    try {
      await this.#commit([{ change: 'put', kind: KIND.secret, id: 'nonce', owner: '', body, version: 0 }]);
    } catch (error) {
      if (!(error instanceof PkiError) || error.code !== 'exists') throw error;
    }
    const kept = await this.#options.authority.store.document(KIND.secret, 'nonce');
    return fromBase64url(kept?.body ?? body);
  }

  // Accounts (section 7.3)

  async #newAccount({ jws, key, account, base, request }: Signed): Promise<HttpResponse> {
    if (account !== undefined) throw new AcmeProblem('malformed', 'expected jwk in the header');
    const payload = parseJsonObject(jws.payload);
    const known = await this.#accountByKey(key);
    if (known !== undefined) {
      if (known.value.status !== 'valid')
        throw new AcmeProblem('unauthorized', 'expected an account that is not deactivated', {}, 401);
      return accountResponse(200, known, base);
    }
    if (payload.onlyReturnExisting === true)
      throw new AcmeProblem('accountDoesNotExist', 'expected a key that has an account');
    assertRate(this.#accountLimit(request.connection.address));
    if (this.#options.termsOfService !== undefined && payload.termsOfServiceAgreed !== true) {
      throw new AcmeProblem('userActionRequired', 'expected agreement to the terms of service', {}, 403, {
        link: `<${this.#options.termsOfService}>;rel="terms-of-service"`,
      });
    }
    const external = await this.#externalAccount(payload.externalAccountBinding, key, jws);
    const value: Account = {
      status: 'valid',
      jwk: key.jwk,
      contact: contactsOf(payload.contact),
      ...(external && { external }),
    };
    const id = toBase64url(randomBytes(16));
    await this.#commit([
      put(KIND.account, id, '', value, 0),
      put(KIND.key, key.thumbprint, id, {}, 0),
      ...(external === undefined ? [] : [put(KIND.external, external, id, {}, 0)]),
      this.#options.authority.auditChange({
        event: 'acme-account',
        account: id,
        key: key.thumbprint,
        ...(external && { external }),
      }),
    ]);
    return accountResponse(201, { id, owner: '', version: 1, value }, base);
  }

  async #accountByKey(key: AccountKey): Promise<Kept<Account> | undefined> {
    const owner = (await this.#options.authority.store.document(KIND.key, key.thumbprint))?.owner;
    return owner === undefined ? undefined : this.#read<Account>(KIND.account, owner);
  }

  /** RFC 8555 section 7.3.4: the MAC key of somebody whom the authority knows, over the account's key. */
  async #externalAccount(binding: unknown, key: AccountKey, outer: Jws): Promise<string | undefined> {
    const { externalAccount } = this.#options;
    if (externalAccount === undefined) return undefined;
    if (binding === undefined) throw new AcmeProblem('externalAccountRequired', 'expected an external account binding');
    const inner = jwsOf(binding);
    const { kid, url } = inner.header;
    if (typeof kid !== 'string' || url !== outer.header.url || 'nonce' in inner.header) {
      throw new AcmeProblem('malformed', 'expected kid and the URL of this request in the binding, and no nonce');
    }
    const macKey = await externalAccount(kid);
    const isBound =
      macKey !== undefined &&
      isBoundBy(inner, macKey) &&
      openJwk(parseJsonObject(inner.payload)).thumbprint === key.thumbprint;
    if (!isBound) throw new AcmeProblem('unauthorized', 'expected a binding by a known external account');
    if ((await this.#options.authority.store.document(KIND.external, kid)) !== undefined) {
      throw new AcmeProblem('unauthorized', 'expected an external account that has no other account yet');
    }
    return kid;
  }

  async #account(signed: Signed, id: string): Promise<HttpResponse> {
    const account = owned(signed, id);
    if (signed.jws.payload.length === 0) return accountResponse(200, account, signed.base);
    const payload = parseJsonObject(signed.jws.payload);
    const status = payload.status === 'deactivated' ? 'deactivated' : account.value.status;
    const contact = payload.contact === undefined ? account.value.contact : contactsOf(payload.contact);
    const value: Account = { ...account.value, status, contact };
    await this.#commit([put(KIND.account, id, '', value, account.version)]);
    return accountResponse(200, { ...account, value }, signed.base);
  }

  async #orders(signed: Signed, id: string): Promise<HttpResponse> {
    owned(signed, id);
    const orders = await this.#options.authority.store.documents(KIND.order, id);
    return json(200, { orders: orders.map((each) => `${signed.base}/order/${each.id}`) });
  }

  /** Section 7.3.5: the inner signature is the new key's, the outer one the old key's. */
  async #keyChange(signed: Signed): Promise<HttpResponse> {
    const account = required(signed);
    const inner = jwsOf(parseJsonObject(signed.jws.payload));
    const key = openJwk(inner.header.jwk);
    verifyJws(inner, key);
    const payload = parseJsonObject(inner.payload);
    const isSame =
      inner.header.url === signed.jws.header.url && payload.account === `${signed.base}/account/${account.id}`;
    if (!isSame || 'nonce' in inner.header || openJwk(payload.oldKey).thumbprint !== signed.key.thumbprint) {
      throw new AcmeProblem('malformed', 'expected account, oldKey and the same URL inside, and no nonce');
    }
    const taken = await this.#accountByKey(key);
    if (taken !== undefined) {
      throw new AcmeProblem('malformed', 'expected a key that has no account', {}, 409, {
        location: `${signed.base}/account/${taken.id}`,
      });
    }
    const value = { ...account.value, jwk: key.jwk };
    await this.#commit([
      put(KIND.account, account.id, '', value, account.version),
      put(KIND.key, key.thumbprint, account.id, {}, 0),
      { change: 'delete', kind: KIND.key, id: signed.key.thumbprint },
      this.#options.authority.auditChange({ event: 'acme-key-change', account: account.id, key: key.thumbprint }),
    ]);
    return accountResponse(200, { ...account, value }, signed.base);
  }

  // Orders (section 7.4)

  async #newOrder(signed: Signed): Promise<HttpResponse> {
    const account = required(signed);
    assertRate(this.#orderLimit(account.id));
    const payload = parseJsonObject(signed.jws.payload);
    const identifiers = identifiersOf(payload.identifiers, this.#options);
    const replaces = await this.#replaced(account, payload.replaces, identifiers);
    if ((await this.#options.authorize?.(account.id, identifiers)) === false) {
      throw new AcmeProblem('rejectedIdentifier', 'expected names that this account may have');
    }
    const expires = new Date(this.#now().getTime() + (this.#options.orderLifetime ?? 604_800) * 1000);
    const times = { ...timeOf(payload, 'notBefore'), ...timeOf(payload, 'notAfter') };
    const authorizations = identifiers.map(
      (each) => [toBase64url(randomBytes(16)), this.#authorizationFor(each, expires)] as const,
    );
    const id = toBase64url(randomBytes(16));
    const value: Order = {
      ...{ status: 'pending', identifiers, authorizations: authorizations.map(([each]) => each) },
      ...{ expires: expires.toISOString(), ...times },
      ...(replaces && { replaces }),
    };
    await this.#commit([
      put(KIND.order, id, account.id, value, 0, expires),
      ...authorizations.map(([each, authorization]) =>
        put(KIND.authorization, each, account.id, authorization, 0, expires),
      ),
    ]);
    const body = this.#orderBody({ id, owner: account.id, version: 1, value }, 'pending', signed.base);
    return { ...body, status: 201, headers: { ...body.headers, location: `${signed.base}/order/${id}` } };
  }

  #authorizationFor({ type, value }: AcmeIdentifier, expires: Date): Authorization {
    const isWildcard = value.startsWith('*.');
    const challenges = challengeTypes(type, isWildcard).map(
      (each): Challenge => ({ type: each, token: toBase64url(randomBytes(32)), status: 'pending' }),
    );
    const identifier = { type, value: isWildcard ? value.slice(2) : value };
    return {
      status: 'pending',
      identifier,
      ...(isWildcard && { wildcard: true }),
      expires: expires.toISOString(),
      challenges,
    };
  }

  async #order(signed: Signed, id: string): Promise<HttpResponse> {
    const order = await this.#own<Order>(signed, KIND.order, id);
    return this.#orderBody(order, await this.#orderStatus(order), signed.base);
  }

  async #orderStatus({ value }: Kept<Order>): Promise<'pending' | 'ready' | 'valid' | 'invalid'> {
    if (value.status !== 'pending') return value.status;
    if (new Date(value.expires) < this.#now()) return 'invalid';
    const states = await this.#authorizations(value);
    if (states.some((each) => each === undefined || each.status === 'invalid' || each.status === 'deactivated'))
      return 'invalid';
    return states.every((each) => each?.status === 'valid') ? 'ready' : 'pending';
  }

  async #authorizations(order: Order): Promise<readonly (Authorization | undefined)[]> {
    const kept = await Promise.all(
      order.authorizations.map((each) => this.#read<Authorization>(KIND.authorization, each)),
    );
    return kept.map((each) => each?.value);
  }

  #orderBody({ id, value }: Kept<Order>, status: string, base: string): HttpResponse {
    const { identifiers, expires, notBefore, notAfter, serial, replaces } = value;
    return json(200, {
      ...{ status, identifiers, expires, notBefore, notAfter },
      authorizations: value.authorizations.map((each) => `${base}/authz/${each}`),
      finalize: `${base}/order/${id}/finalize`,
      ...(serial === undefined ? {} : { certificate: `${base}/cert/${serial}` }),
      ...(replaces && { replaces: replaces.id }),
    });
  }

  async #finalize(signed: Signed, id: string): Promise<HttpResponse> {
    const { authority, issuer, profiles } = this.#options;
    const order = await this.#own<Order>(signed, KIND.order, id);
    if ((await this.#orderStatus(order)) !== 'ready')
      throw new AcmeProblem('orderNotReady', 'expected an order that is ready');
    const { csr } = parseJsonObject(signed.jws.payload);
    if (typeof csr !== 'string') throw new AcmeProblem('malformed', 'expected a csr');
    const authorizations = await this.#authorizations(order.value);
    const keys = authorizations.flatMap((each) => each?.key ?? []);
    const endorsementKeys = [...new Set(authorizations.flatMap((each) => each?.ek ?? []))];
    await this.#assertKeys(endorsementKeys);
    const { identifiers, notBefore, notAfter, expires, replaces } = order.value;
    const profile = profiles[identifiers[0]?.type ?? 'dns'] ?? '';
    let serial = '';
    try {
      const input = { authority: issuer, profile, csr: parseCsr(fromBase64url(csr)), owner: `acme:${order.owner}` };
      const times = {
        ...(notBefore && { notBefore: new Date(notBefore) }),
        ...(notAfter && { notAfter: new Date(notAfter) }),
      };
      const authorize = (checked: CheckedCsr): void => {
        assertNames(checked, identifiers);
        assertKeys(checked, keys, signed.key);
      };
      const also = (issued: Issued): readonly Change[] => {
        serial = issued.serial;
        return [
          ...endorsementKeys.map((each) => heldBy(each, issuer, issued)),
          put(
            KIND.order,
            id,
            order.owner,
            { ...order.value, status: 'valid', serial },
            order.version,
            new Date(expires),
          ),
          ...(replaces === undefined ? [] : [put(KIND.replaced, replaces.serial, order.owner, {}, 0)]),
        ];
      };
      await authority.issue({ ...input, ...times, authorize, also });
    } catch (error) {
      if (error instanceof PkiError && error.code === 'conflict')
        throw new AcmeProblem('orderNotReady', 'expected an order that nobody finalizes meanwhile');
      if (replaces !== undefined && (await this.#isReplaced(replaces.serial))) throw alreadyReplaced();
      if (error instanceof PkiError) throw new AcmeProblem('badCSR', error.message);
      throw error;
    }
    await this.#assertStillInForce(endorsementKeys, serial);
    return this.#orderBody({ ...order, value: { ...order.value, serial } }, 'valid', signed.base);
  }

  /** Who revoked the TPM while its certificate was made could not know of that: it goes the same way. */
  async #assertStillInForce(keys: readonly string[], serial: string): Promise<void> {
    const { authority, issuer } = this.#options;
    try {
      await this.#assertKeys(keys);
    } catch (error) {
      const kept = await authority.store.revocation(issuer, serial);
      const input = {
        authority: issuer,
        serial,
        reason: 'privilegeWithdrawn',
        requester: 'its endorsement key',
      } as const;
      if (kept === undefined) await authority.revoke(input);
      throw error;
    }
  }

  async #certificate(signed: Signed, serial: string): Promise<HttpResponse> {
    const { authority, issuer } = this.#options;
    const account = required(signed);
    const kept = /^[0-9a-f]{40}$/.test(serial) ? await authority.store.certificate(issuer, serial) : undefined;
    if (kept === undefined || kept.owner !== `acme:${account.id}`)
      throw new AcmeProblem('malformed', 'expected a certificate of this account', {}, 404);
    const chain = [kept.der, ...authority.get(issuer).chain];
    const headers = { 'content-type': 'application/pem-certificate-chain' };
    return { status: 200, headers, body: chain.map((each) => encodePem('CERTIFICATE', each)).join('') };
  }

  // Authorizations and challenges (sections 7.5 and 8)

  async #authorization(signed: Signed, id: string): Promise<HttpResponse> {
    let kept = await this.#own<Authorization>(signed, KIND.authorization, id);
    const payload = signed.jws.payload.length === 0 ? {} : parseJsonObject(signed.jws.payload);
    if (payload.status === 'deactivated') kept = await this.#update(kept, { ...kept.value, status: 'deactivated' });
    this.#resume(kept, signed);
    return this.#authorizationBody(kept, signed.base);
  }

  #authorizationBody({ id, value }: Kept<Authorization>, base: string): HttpResponse {
    const { status, identifier, wildcard, expires } = value;
    // Once one is valid, the others are of no interest (section 7.1.6).
    const shown = value.challenges.filter((each) => status !== 'valid' || each.status === 'valid');
    const challenges = shown.map((each) => challengeBody(each, id, base));
    return json(200, { status, identifier, expires, challenges, ...(wildcard && { wildcard }) });
  }

  async #challenge(signed: Signed, id: string, type: string): Promise<HttpResponse> {
    let kept = await this.#own<Authorization>(signed, KIND.authorization, id);
    const challenge = kept.value.challenges.find((each) => each.type === type);
    if (challenge === undefined)
      throw new AcmeProblem('malformed', 'expected a challenge of this authorization', {}, 404);
    const isAnswer = signed.jws.payload.length > 0 && challenge.status === 'pending' && kept.value.status === 'pending';
    if (isAnswer && new Date(kept.value.expires) >= this.#now()) {
      kept =
        type === 'device-attest-01' ? await this.#attest(signed, kept, challenge) : await this.#begin(kept, challenge);
    }
    this.#resume(kept, signed);
    const now = kept.value.challenges.find((each) => each.type === type) ?? challenge;
    const body = challengeBody(now, id, signed.base);
    return {
      ...json(200, body),
      headers: { 'content-type': 'application/json', link: `<${signed.base}/authz/${id}>;rel="up"` },
    };
  }

  #begin(kept: Kept<Authorization>, challenge: Challenge): Promise<Kept<Authorization>> {
    return this.#update(
      kept,
      withChallenge(kept.value, { ...challenge, status: 'processing', started: this.#now().getTime() - STALE }),
    );
  }

  /** Looks at a challenge in the background where nobody does: it is new, or the process that looked was killed. */
  #resume(kept: Kept<Authorization>, { key }: Signed): void {
    const challenge = kept.value.challenges.find((each) => each.status === 'processing');
    const isWaiting = challenge !== undefined && this.#now().getTime() - (challenge.started ?? 0) >= STALE;
    if (!isWaiting || kept.value.status !== 'pending') return;
    void this.#look(kept, challenge, key).catch(() => undefined);
  }

  async #look(kept: Kept<Authorization>, challenge: Challenge, key: AccountKey): Promise<void> {
    // Who changes the document first looks; another process, or another request, sees a conflict and leaves it.
    const claimed = await this.#update(
      kept,
      withChallenge(kept.value, { ...challenge, started: this.#now().getTime() }),
    );
    const { type, token } = challenge;
    const { identifier } = kept.value;
    if (type === 'device-attest-01' || (identifier.type !== 'dns' && identifier.type !== 'ip')) return;
    const task = {
      type,
      token,
      identifier: { type: identifier.type, value: identifier.value },
      keyAuthorization: `${token}.${key.thumbprint}`,
    };
    let problem: AcmeProblem | undefined;
    for (const pause of RETRIES) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      problem = await validateChallenge(task, this.#options.network ?? {}).then(() => undefined, problemOf);
      if (problem === undefined) break;
    }
    await this.#update(claimed, decided(claimed.value, challenge, problem, this.#now()));
  }

  async #attest(signed: Signed, kept: Kept<Authorization>, challenge: Challenge): Promise<Kept<Authorization>> {
    try {
      const attested = await this.#attestedKey(signed, kept.value.identifier, challenge);
      return await this.#update(kept, { ...decided(kept.value, challenge, undefined, this.#now()), ...attested });
    } catch (error) {
      if (!(error instanceof AcmeProblem)) throw error;
      return this.#update(kept, decided(kept.value, challenge, error, this.#now()));
    }
  }

  /** SHA-256 of the key that the device's TPM vouches for, and which TPM that is. */
  async #attestedKey(
    signed: Signed,
    identifier: AcmeIdentifier,
    challenge: Challenge,
  ): Promise<Pick<Authorization, 'key' | 'ek'>> {
    const { attestation, authority } = this.#options;
    if (attestation === undefined)
      throw new AcmeProblem('badAttestationStatement', 'this service believes no attestation');
    const { attObj } = parseJsonObject(signed.jws.payload);
    if (typeof attObj !== 'string') throw new AcmeProblem('badAttestationStatement', 'expected an attObj');
    try {
      const statement = parseAttestationObject(fromBase64url(attObj));
      const attested = await verifyTpmStatement(
        statement,
        `${challenge.token}.${signed.key.thumbprint}`,
        attestation,
        authority.now(),
      );
      const ek = await this.#keyInForce(attested.akCertificate);
      const names = identifier.type === 'hardware-module' ? attested.hardwareModules : attested.permanentIdentifiers;
      if (!names.includes(identifier.value)) {
        throw new AcmeProblem(
          'badAttestationStatement',
          `expected an attestation of ${identifier.value}, got one of ${names.join(', ') || 'no name'}`,
        );
      }
      const key = createHash('sha256').update(attested.publicKey).digest('hex');
      return { key, ...(ek === undefined ? {} : { ek }) };
    } catch (error) {
      if (error instanceof PkiError) throw new AcmeProblem('badAttestationStatement', error.message);
      throw error;
    }
  }

  /**
   * An AK certificate of our own must not be revoked, nor the endorsement key that it was issued to, which is given; those of others
   * are checked by CRLs.
   */
  async #keyInForce({ issuer: name, serialNumber, der }: Certificate): Promise<string | undefined> {
    const { authority } = this.#options;
    for (const each of authority.authorities.values()) {
      if (!equalBytes(asCertificate(each.issuer.certificate).subject.der, name.der)) continue;
      const kept = await authority.store.certificate(each.name, serialText(serialNumber));
      const status = await authority.statusOf(each.name, serialNumber);
      if (kept === undefined || !equalBytes(kept.der, der) || status.status !== 'good') {
        throw new AcmeProblem(
          'badAttestationStatement',
          'expected an attestation key certificate in force, got one that is revoked or unknown',
        );
      }
      const ek = keyOfOwner(kept);
      await this.#assertKeys(ek === undefined ? [] : [ek]);
      return ek;
    }
    return undefined;
  }

  async #assertKeys(keys: readonly string[]): Promise<void> {
    for (const each of keys) {
      if (await isRevokedKey(this.#options.authority.store, each))
        throw new AcmeProblem('unauthorized', 'expected an endorsement key in force, got one that is revoked');
    }
  }

  // Revocation (section 7.6)

  async #revoke(signed: Signed): Promise<HttpResponse> {
    const { authority, issuer } = this.#options;
    const payload = parseJsonObject(signed.jws.payload);
    const certificate = revokedCertificate(payload.certificate);
    const serial = serialText(certificate.serialNumber);
    const kept = await authority.store.certificate(issuer, serial);
    if (kept === undefined || !equalBytes(kept.der, certificate.der))
      throw new AcmeProblem('malformed', 'expected a certificate of this server', {}, 404);
    const spki = new Uint8Array(signed.key.key.export({ format: 'der', type: 'spki' }));
    const isOwn =
      signed.account === undefined
        ? equalBytes(spki, certificate.publicKey)
        : kept.owner === `acme:${signed.account.id}`;
    if (!isOwn) throw new AcmeProblem('unauthorized', "expected the certificate's account or its key");
    const reason = reasonOf(payload.reason);
    try {
      await authority.revoke({
        authority: issuer,
        serial,
        reason,
        requester: signed.account === undefined ? 'its key' : kept.owner,
      });
    } catch (error) {
      if (error instanceof PkiError && error.code === 'conflict')
        throw new AcmeProblem('alreadyRevoked', 'expected a certificate in force');
      throw error;
    }
    return { status: 200 };
  }

  // Renewal (RFC 9773)

  /** Asked by anybody, without a signature: when a certificate is to be renewed. */
  async #renewalInfo(id: string): Promise<HttpResponse> {
    const found = await this.#certificateBy(id);
    if (found === undefined)
      return problemResponse(new AcmeProblem('malformed', 'expected a certificate of this server', {}, 404));
    const { start, end, explanationUrl } = await this.#window(found);
    const body = {
      suggestedWindow: { start: start.toISOString(), end: end.toISOString() },
      ...(explanationUrl === undefined ? {} : { explanationURL: explanationUrl }),
    };
    const headers = { 'content-type': 'application/json', 'retry-after': String(RENEWAL_RETRY) };
    return { ...json(200, body), headers };
  }

  async #window(kept: CertificateRecord): Promise<RenewalWindow> {
    const { authority, renewal } = this.#options;
    const { notBefore, notAfter, serialNumber } = parseCertificate(kept.der);
    const status = await authority.statusOf(kept.issuer, serialNumber);
    // In the past: at once.
    if (status.status === 'revoked')
      return { start: notBefore, end: status.since > notBefore ? status.since : notAfter };
    const life = notAfter.getTime() - notBefore.getTime();
    const start = new Date(notBefore.getTime() + (life * 2) / 3);
    return (await renewal?.(kept)) ?? { start, end: new Date(start.getTime() + life / 6) };
  }

  /** By the key identifier of its issuer and its serial number, each in base64url (section 4.1). */
  async #certificateBy(id: string): Promise<CertificateRecord | undefined> {
    const { authority, issuer } = this.#options;
    const [, key = '', number = ''] = /^([A-Za-z0-9_-]{1,86})\.([A-Za-z0-9_-]{1,28})$/.exec(id) ?? [];
    const own = asCertificate(authority.get(issuer).issuer.certificate).subjectKeyIdentifier;
    // One text for the same bytes: any other is no identifier.
    if (own === undefined || number === '' || key !== toBase64url(own)) return undefined;
    const octets = new Uint8Array(Buffer.from(number, 'base64url'));
    if (toBase64url(octets) !== number) return undefined;
    // The DER of an INTEGER above 0: no more octets than it takes.
    const isMinimal = octets[0] !== undefined && octets[0] < 0x80 && (octets[0] !== 0 || (octets[1] ?? 0) >= 0x80);
    return isMinimal
      ? authority.store.certificate(issuer, toHex(octets).replace(/^00/, '').padStart(40, '0'))
      : undefined;
  }

  /** Section 5: a certificate of this account with a name of the order, that no other has taken the place of. */
  async #replaced(
    account: Kept<Account>,
    id: unknown,
    identifiers: readonly AcmeIdentifier[],
  ): Promise<Order['replaces']> {
    if (id === undefined) return undefined;
    const found = typeof id === 'string' ? await this.#certificateBy(id) : undefined;
    if (found === undefined || typeof id !== 'string')
      throw new AcmeProblem('malformed', 'expected a certificate of this server to replace', {}, 404);
    if (found.owner !== `acme:${account.id}`)
      throw new AcmeProblem('unauthorized', 'expected a certificate of this account to replace');
    if (!hasNameOf(parseCertificate(found.der), identifiers))
      throw new AcmeProblem('malformed', 'expected a certificate with a name of this order to replace');
    if (await this.#isReplaced(found.serial)) throw alreadyReplaced();
    return { id, serial: found.serial };
  }

  async #isReplaced(serial: string): Promise<boolean> {
    return (await this.#options.authority.store.document(KIND.replaced, serial)) !== undefined;
  }

  // The store

  #now(): Date {
    return this.#options.authority.now();
  }

  #commit(changes: readonly Change[]): Promise<void> {
    return this.#options.authority.store.commit(changes);
  }

  async #read<T>(kind: string, id: string): Promise<Kept<T> | undefined> {
    const found = await this.#options.authority.store.document(kind, id);
    return found === undefined ? undefined : keptOf<T>(found);
  }

  /** A document of the account that asks; another's is as if it were not there. */
  async #own<T>(signed: Signed, kind: string, id: string): Promise<Kept<T>> {
    const account = required(signed);
    const found = await this.#read<T>(kind, id);
    if (found?.owner === account.id) return found;
    throw new AcmeProblem('malformed', 'expected a resource of this account', {}, 404);
  }

  async #update(kept: Kept<Authorization>, value: Authorization): Promise<Kept<Authorization>> {
    await this.#commit([put(KIND.authorization, kept.id, kept.owner, value, kept.version, new Date(value.expires))]);
    return { ...kept, value, version: kept.version + 1 };
  }
}

function alreadyReplaced(): AcmeProblem {
  return new AcmeProblem('alreadyReplaced', 'expected a certificate that no other has taken the place of');
}

function hasNameOf({ subjectAltName = [] }: Certificate, identifiers: readonly AcmeIdentifier[]): boolean {
  return identifiers.some(({ type, value }) =>
    subjectAltName.some((name) => {
      if (name.type === 'dns') return type === 'dns' && name.value.toLowerCase() === value;
      if (name.type === 'ip') return type === 'ip' && equalBytes(name.value, parseIpAddress(value));
      // Devices are named in otherName, whose text is part of it.
      return name.type === 'other' && type !== 'dns' && type !== 'ip';
    }),
  );
}

function keptOf<T>({ id, owner, version, body }: StoredDocument): Kept<T> {
  // Only this file writes documents of these kinds.
  return { id, owner, version, value: JSON.parse(body) as T };
}

function put(kind: string, id: string, owner: string, value: unknown, version: number, expires?: Date): Change {
  return {
    change: 'put',
    kind,
    id,
    owner,
    body: JSON.stringify(value),
    version,
    ...(expires === undefined ? {} : { expires }),
  };
}

function json(status: number, value: unknown): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

function problemOf(error: unknown): AcmeProblem {
  if (error instanceof AcmeProblem) return error;
  if (error instanceof PkiError && error.code === 'conflict')
    return new AcmeProblem('malformed', 'expected no other request meanwhile', {}, 409);
  if (error instanceof PkiError && error.code !== 'bad-input') return new AcmeProblem('malformed', error.message);
  throw error;
}

function assertRate(wait: number): void {
  if (wait === 0) return;
  throw new AcmeProblem('rateLimited', 'expected fewer requests', {}, 429, {
    'retry-after': String(Math.ceil(wait / 1000)),
  });
}

function required({ account }: Signed): Kept<Account> {
  if (account !== undefined) return account;
  throw new AcmeProblem('malformed', 'expected kid in the header');
}

function owned(signed: Signed, id: string): Kept<Account> {
  const account = required(signed);
  if (account.id === id) return account;
  throw new AcmeProblem('unauthorized', "expected one's own account");
}

function accountResponse(status: number, { id, value }: Kept<Account>, base: string): HttpResponse {
  const url = `${base}/account/${id}`;
  const body = { status: value.status, contact: value.contact, orders: `${url}/orders` };
  return { ...json(status, body), headers: { 'content-type': 'application/json', location: url } };
}

function contactsOf(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > 10) throw new AcmeProblem('malformed', 'expected at most 10 contacts');
  return value.map((each: unknown) => {
    if (typeof each !== 'string') throw new AcmeProblem('malformed', 'expected contacts of text');
    if (!each.startsWith('mailto:')) throw new AcmeProblem('unsupportedContact', 'expected contacts with mailto:');
    if (!/^mailto:[^\s@,?]{1,64}@[A-Za-z0-9.-]{1,190}$/.test(each))
      throw new AcmeProblem('invalidContact', 'expected one address without header fields');
    return each;
  });
}

const MAX_IDENTIFIERS = 100;

function identifiersOf(value: unknown, options: AcmeOptions): readonly AcmeIdentifier[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_IDENTIFIERS) {
    throw new AcmeProblem('malformed', `expected 1 to ${MAX_IDENTIFIERS} identifiers`);
  }
  const found = value.map((each) => identifierOf(each, options));
  const texts = new Set(found.map(({ type, value: name }) => `${type}:${name}`));
  const profiles = new Set(found.map(({ type }) => options.profiles[type]));
  if (texts.size !== found.length) throw new AcmeProblem('malformed', 'expected each identifier once');
  if (profiles.size !== 1) throw new AcmeProblem('rejectedIdentifier', 'expected names of one profile');
  return found;
}

function identifierOf(input: unknown, { profiles, attestation }: AcmeOptions): AcmeIdentifier {
  const { type, value } = isObject(input) ? input : {};
  if (typeof type !== 'string' || typeof value !== 'string')
    throw new AcmeProblem('malformed', 'expected type and value');
  const known = (['dns', 'ip', 'permanent-identifier', 'hardware-module'] as const).find((each) => each === type);
  const isDevice = known === 'permanent-identifier' || known === 'hardware-module';
  if (known === undefined || profiles[known] === undefined || (isDevice && attestation === undefined)) {
    throw new AcmeProblem('unsupportedIdentifier', `expected ${Object.keys(profiles).join(', ')}, got ${type}`);
  }
  if (!isValue(known, value))
    throw new AcmeProblem('rejectedIdentifier', `expected a name of type ${type}, got another text`);
  return { type: known, value: known === 'dns' ? value.toLowerCase() : value };
}

function isValue(type: AcmeIdentifier['type'], value: string): boolean {
  switch (type) {
    case 'dns':
      return value.length <= 253 && isDnsName(value.replace(/^\*\./, '')) && value.includes('.') && isIP(value) === 0;
    case 'ip':
      return isAddress(value);
    case 'permanent-identifier':
      return value.length > 0 && value.length <= 256;
    case 'hardware-module':
      return /^[012](\.\d+)+\/([0-9a-f]{2}){1,64}$/.test(value);
  }
}

/** Without a zone, and without IPv4 inside IPv6, which is an address of IPv4. */
function isAddress(value: string): boolean {
  return isIP(value) === 4 || (isIP(value) === 6 && /^[0-9a-fA-F:]+$/.test(value));
}

function challengeTypes(type: AcmeIdentifier['type'], isWildcard: boolean): readonly Challenge['type'][] {
  if (type === 'ip') return ['http-01', 'tls-alpn-01'];
  if (type !== 'dns') return ['device-attest-01'];
  return isWildcard ? ['dns-01'] : ['http-01', 'dns-01', 'tls-alpn-01'];
}

function timeOf(payload: JsonObject, name: 'notBefore' | 'notAfter'): JsonObject {
  const value = payload[name];
  if (value === undefined) return {};
  const date = typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? new Date(value) : new Date(Number.NaN);
  if (Number.isNaN(date.getTime())) throw new AcmeProblem('malformed', `expected a time (RFC 3339) as ${name}`);
  return { [name]: date.toISOString() };
}

function challengeBody({ type, token, status, validated, error }: Challenge, id: string, base: string): JsonObject {
  return {
    type,
    token,
    status,
    url: `${base}/challenge/${id}/${type}`,
    ...(validated && { validated }),
    ...(error && { error }),
  };
}

function withChallenge(value: Authorization, challenge: Challenge): Authorization {
  return { ...value, challenges: value.challenges.map((each) => (each.type === challenge.type ? challenge : each)) };
}

function decided(
  value: Authorization,
  challenge: Challenge,
  problem: AcmeProblem | undefined,
  now: Date,
): Authorization {
  const { started: _, ...rest } = challenge;
  const result: Challenge =
    problem === undefined
      ? { ...rest, status: 'valid', validated: now.toISOString() }
      : { ...rest, status: 'invalid', error: problem.toJSON() };
  return { ...withChallenge(value, result), status: problem === undefined ? 'valid' : 'invalid' };
}

/** Section 7.4: a request is for exactly the names of its order, in its alternative names or its common name. */
function assertNames({ subject, subjectAltName }: CheckedCsr, identifiers: readonly AcmeIdentifier[]): void {
  const { dns = [], ip = [], permanentIdentifier = [], hardwareModule = [], ...others } = subjectAltName;
  const asked = new Set([
    ...dns.map((each) => `dns:${each.toLowerCase()}`),
    ...ip.map((each) => `ip:${toHex(parseIpAddress(each))}`),
    ...permanentIdentifier.map((each) => `permanent-identifier:${each}`),
    ...hardwareModule.map((each) => `hardware-module:${each}`),
  ]);
  const ordered = new Set(
    identifiers.map(({ type, value }) => `${type}:${type === 'ip' ? toHex(parseIpAddress(value)) : value}`),
  );
  const isSame = asked.size === ordered.size && [...asked].every((each) => ordered.has(each));
  const rest = Object.values(others).flat();
  if (!isSame || rest.length > 0)
    throw new AcmeProblem('badCSR', 'expected a request for exactly the names of the order');
  const name = subject.commonName;
  if (name !== undefined && !identifiers.some(({ value }) => value === name.toLowerCase() || value === name)) {
    throw new AcmeProblem('badCSR', 'expected one of the names of the order as common name');
  }
  // A serial number names a device, and nobody has looked whether it is this one.
  if (subject.serialNumber !== undefined && !identifiers.some(({ value }) => value === subject.serialNumber)) {
    throw new AcmeProblem('badCSR', 'expected one of the names of the order as serial number');
  }
}

function assertKeys({ publicKey }: CheckedCsr, attested: readonly string[], account: AccountKey): void {
  const digest = createHash('sha256').update(publicKey).digest('hex');
  if (attested.some((each) => each !== digest)) throw new AcmeProblem('badCSR', 'expected the key that was attested');
  // Section 11.1: the account's key is not to be a certificate's.
  if (equalBytes(publicKey, new Uint8Array(account.key.export({ format: 'der', type: 'spki' })))) {
    throw new AcmeProblem('badCSR', "expected another key than the account's");
  }
}

function revokedCertificate(value: unknown): ReturnType<typeof parseCertificate> {
  if (typeof value !== 'string') throw new AcmeProblem('malformed', 'expected a certificate');
  return parseCertificate(fromBase64url(value));
}

function reasonOf(value: unknown): Exclude<CrlReason, 'removeFromCRL'> {
  if (value === undefined) return 'unspecified';
  const found = typeof value === 'number' ? CRL_REASONS[value] : undefined;
  // A client may not put its certificate on hold: nobody could lift it.
  if (
    found === undefined ||
    found === 'removeFromCRL' ||
    found === 'certificateHold' ||
    found === 'cACompromise' ||
    found === 'aACompromise'
  ) {
    throw new AcmeProblem('badRevocationReason', 'expected one of the reasons 0, 1, 3, 4, 5 and 9');
  }
  return found;
}
