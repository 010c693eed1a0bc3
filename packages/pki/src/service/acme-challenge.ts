/** How an authority looks for itself: http-01 and dns-01 (RFC 8555 section 8), tls-alpn-01 (RFC 8737). */
import { createHash } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { request } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { connect } from 'node:tls';
import { equalBytes } from '../bytes.js';
import { parseCertificate } from '../certificate.js';
import { readDer, TAG } from '../der.js';
import { PkiError } from '../error.js';
import { parseIpAddress } from '../general-name.js';
import { AcmeProblem } from './acme-problem.js';

/** How an authority reaches the names that it validates. */
export interface NetworkView {
  /** DNS servers as `address` or `address:port`; the system's without it. */
  readonly dnsServers?: readonly string[];
  /** The port of http-01; 80 without it, and RFC 8555 knows no other. */
  readonly httpPort?: number;
  /** The port of tls-alpn-01; 443 without it, and RFC 8737 knows no other. */
  readonly tlsPort?: number;
  /**
   * Lets names lead to loopback, link-local and private addresses: an authority inside a network needs it, and there a client can make
   * the authority ask any server in that network for `/.well-known/acme-challenge/`.
   */
  readonly insecureAllowPrivateAddresses?: boolean;
  /** Milliseconds for one look; 10,000 without it. */
  readonly timeout?: number;
}

/** What is looked for. */
export interface ChallengeTask {
  readonly type: 'http-01' | 'dns-01' | 'tls-alpn-01';
  readonly identifier: { readonly type: 'dns' | 'ip'; readonly value: string };
  readonly token: string;
  readonly keyAuthorization: string;
}

/** Resolves where the challenge is fulfilled. Throws {@link AcmeProblem} `dns`, `connection`, `tls`, `unauthorized` or `incorrectResponse`. */
export async function validateChallenge(task: ChallengeTask, view: NetworkView): Promise<void> {
  if (task.type === 'dns-01') return validateDns(task, view);
  const address = await addressOf(task.identifier, view);
  return task.type === 'http-01' ? validateHttp(task, address, view) : validateTls(task, address, view);
}

/** An IPv4 address inside an IPv6 one is compared with the IPv4 networks; a rule for ::ffff:0:0/96 would hold for every IPv4 address. */
const PRIVATE = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const) {
  PRIVATE.addSubnet(net, prefix, 'ipv4');
}
for (const [net, prefix] of [
  ['::', 127],
  ['64:ff9b::', 96],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  PRIVATE.addSubnet(net, prefix, 'ipv6');
}

async function addressOf({ type, value }: ChallengeTask['identifier'], view: NetworkView): Promise<string> {
  const addresses = type === 'ip' ? [value] : await resolveHost(value, view);
  const allowed = addresses.find((each) => view.insecureAllowPrivateAddresses === true || !isPrivate(each));
  if (allowed !== undefined) return allowed;
  throw new AcmeProblem('dns', `expected a public address of ${value}, got ${addresses.join(', ') || 'none'}`);
}

function isPrivate(address: string): boolean {
  return PRIVATE.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function resolverOf({ dnsServers, timeout = 10_000 }: NetworkView): Resolver {
  const resolver = new Resolver({ timeout: Math.ceil(timeout / 2), tries: 2 });
  if (dnsServers !== undefined) resolver.setServers(dnsServers);
  return resolver;
}

async function resolveHost(host: string, view: NetworkView): Promise<readonly string[]> {
  const resolver = resolverOf(view);
  const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
  return answers.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
}

async function validateDns({ identifier, keyAuthorization }: ChallengeTask, view: NetworkView): Promise<void> {
  const name = `_acme-challenge.${identifier.value}`;
  const expected = createHash('sha256').update(keyAuthorization).digest('base64url');
  let records: readonly (readonly string[])[];
  try {
    records = await resolverOf(view).resolveTxt(name);
  } catch {
    throw new AcmeProblem('dns', `expected a TXT record at ${name}, got none`);
  }
  if (records.some((parts) => parts.join('') === expected)) return;
  throw new AcmeProblem(
    'incorrectResponse',
    `expected the digest of the key authorization at ${name}, got other records`,
  );
}

const MAX_RESPONSE = 1024;

/** No redirects are followed: RFC 8555 8.3 allows it, and an authority that does asks whatever server it is sent to. */
async function validateHttp(
  { identifier, token, keyAuthorization }: ChallengeTask,
  address: string,
  view: NetworkView,
): Promise<void> {
  const { httpPort = 80, timeout = 10_000 } = view;
  const body = await new Promise<string>((resolve, reject) => {
    const host = isIP(identifier.value) === 6 ? `[${identifier.value}]` : identifier.value;
    const headers = {
      host: httpPort === 80 ? host : `${host}:${httpPort}`,
      'user-agent': 'casemate-pki',
      connection: 'close',
    };
    const path = `/.well-known/acme-challenge/${token}`;
    const fail = (error: Error) =>
      reject(asProblem(error, 'connection', `reach ${identifier.value} on port ${httpPort}`));
    const asked = request(
      { host: address, port: httpPort, path, headers, timeout, signal: AbortSignal.timeout(timeout) },
      (response) => {
        if (response.statusCode !== 200) {
          asked.destroy(new AcmeProblem('unauthorized', `expected 200 of ${path}, got ${response.statusCode}`));
          return;
        }
        let text = '';
        response.setEncoding('latin1');
        response.on('data', (part: string) => {
          text += part;
          if (text.length > MAX_RESPONSE)
            asked.destroy(new AcmeProblem('incorrectResponse', `expected at most ${MAX_RESPONSE} bytes`));
        });
        response.on('end', () => resolve(text));
        response.on('error', fail);
      },
    );
    asked.on('error', fail);
    asked.end();
  });
  if (body.trimEnd() === keyAuthorization) return;
  throw new AcmeProblem('incorrectResponse', 'expected the key authorization, got other text');
}

function asProblem(error: Error, type: 'connection' | 'tls', what: string): AcmeProblem {
  return error instanceof AcmeProblem ? error : new AcmeProblem(type, `expected to ${what}, got ${error.message}`);
}

const ACME_IDENTIFIER = '1.3.6.1.5.5.7.1.31';

/** RFC 8737 section 3: a self-signed certificate for this one name with the digest of the key authorization in it. */
async function validateTls(
  { identifier, keyAuthorization }: ChallengeTask,
  address: string,
  view: NetworkView,
): Promise<void> {
  const { tlsPort = 443, timeout = 10_000 } = view;
  const der = await new Promise<Uint8Array>((resolve, reject) => {
    const servername = identifier.type === 'dns' ? identifier.value : reverseName(identifier.value);
    const socket = connect({
      ...{ host: address, port: tlsPort, servername, ALPNProtocols: ['acme-tls/1'], minVersion: 'TLSv1.2', timeout },
      // The certificate is self-signed by what the challenge is; its contents are what counts.
      rejectUnauthorized: false,
    });
    socket.on('secureConnect', () => {
      const { raw } = socket.getPeerCertificate();
      if (socket.alpnProtocol !== 'acme-tls/1')
        socket.destroy(new AcmeProblem('tls', 'expected the protocol acme-tls/1, got another'));
      else if (raw === undefined) socket.destroy(new AcmeProblem('tls', 'expected a certificate, got none'));
      else {
        resolve(new Uint8Array(raw));
        socket.destroy();
      }
    });
    socket.on('timeout', () => socket.destroy(new AcmeProblem('connection', 'expected an answer in time')));
    socket.on('error', (error) => reject(asProblem(error, 'tls', `reach ${identifier.value} on port ${tlsPort}`)));
  });
  if (isAlpnCertificate(der, identifier, createHash('sha256').update(keyAuthorization).digest())) return;
  throw new AcmeProblem('incorrectResponse', 'expected a certificate for this name and challenge, got another');
}

function isAlpnCertificate(der: Uint8Array, identifier: ChallengeTask['identifier'], digest: Uint8Array): boolean {
  try {
    const { extensions, subjectAltName = [] } = parseCertificate(der);
    const [name, ...more] = subjectAltName;
    const found = extensions.find((each) => each.oid === ACME_IDENTIFIER && each.critical);
    if (name === undefined || more.length > 0 || found === undefined) return false;
    const isNamed =
      identifier.type === 'dns'
        ? name.type === 'dns' && name.value.toLowerCase() === identifier.value
        : name.type === 'ip' && equalBytes(name.value, parseIpAddress(identifier.value));
    return isNamed && equalBytes(readDer(found.value, TAG.OCTET_STRING, 'acmeIdentifier'), digest);
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}

/** RFC 8738 section 6: the name under in-addr.arpa or ip6.arpa. */
function reverseName(address: string): string {
  const bytes = [...parseIpAddress(address)];
  if (bytes.length === 4) return `${bytes.reverse().join('.')}.in-addr.arpa`;
  const nibbles = bytes.flatMap((octet) => [octet >> 4, octet & 15]).reverse();
  return `${nibbles.map((each) => each.toString(16)).join('.')}.ip6.arpa`;
}
