/** `serve`: the authority over HTTPS: TPM enrolment, EST, ACME, OCSP, CRLs. */
import { once } from 'node:events';
import { createSecureContext } from 'node:tls';
import { EXIT, Failure, readInputFile, usage } from '@casemate/command-line';
import { parseCertificate } from '../../certificate.js';
import { encodePem } from '../../pem.js';
import { type CertificateProfile, PROFILES } from '../../profile.js';
import { type AcmeIdentifier, acmeRoute } from '../../service/acme.js';
import type { CertificateAuthority } from '../../service/authority.js';
import { estRoute } from '../../service/est.js';
import type { HttpRoute } from '../../service/http.js';
import { ocspRoute, publicationRoute, tpmRoute } from '../../service/routes.js';
import { type RunningServer, type ServerOptions, startServer } from '../../service/server.js';
import { openTpmEnrolment } from '../../service/tpm-enrolment.js';
import type { CommandDefinition, Context } from '../definition.js';
import { profileNamed, readBlocks } from '../input.js';
import { DATABASE_OPTIONS, openService } from '../service.js';

const MINUTE = 60_000;

/** `serve`. */
export const serveCommand: CommandDefinition = {
  name: 'serve',
  summary: 'serve TPM enrolment, EST, ACME, OCSP and CRLs until it is stopped',
  details:
    'device-ca certifies device keys and attestation-ca attestation keys. A TPM is believed where its EK certificate leads to one of --ek-anchor, or where it is a --trusted-ek. Everything that is issued is in the database before it is answered; what "issue" and "revoke" left in the directory is taken over. SIGTERM and SIGINT finish what is under way.',
  options: {
    store: { type: 'string', short: 's', value: 'DIRECTORY', help: 'the authority; default $CASEMATE_PKI, else ./pki' },
    passphrase: { type: 'string', value: 'SOURCE', help: 'what its keys are encrypted under' },
    ...DATABASE_OPTIONS,
    'tls-certificate': { type: 'string', value: 'FILE', help: "the server's chain, PEM" },
    'tls-key': { type: 'string', value: 'FILE', help: "the server's key, PEM" },
    host: { type: 'string', value: 'ADDRESS', help: 'where to listen; 127.0.0.1 without it' },
    port: { type: 'string', short: 'p', value: 'PORT', help: 'where to listen; 8443 without it, 0 for any' },
    'http-port': {
      type: 'string',
      value: 'PORT',
      help: 'serve OCSP, CRLs and CA certificates over plain HTTP as well, as certificates name them',
    },
    'ek-anchor': {
      type: 'string',
      multiple: true,
      value: 'FILE',
      help: 'root of a maker of TPMs; may come more than once',
    },
    'ek-intermediate': { type: 'string', multiple: true, value: 'FILE', help: 'CA between such a root and its TPMs' },
    'trusted-ek': { type: 'string', multiple: true, value: 'DIGEST', help: 'a TPM that is believed by its EK alone' },
    acme: {
      type: 'string',
      value: 'CA:PROFILE',
      help: 'serve ACME: which CA issues, with which profile (or JSON file), for the names that the profile has',
    },
    'acme-account': {
      type: 'string',
      multiple: true,
      value: 'KID=FILE',
      help: 'only for external accounts: identifier and file with the MAC key in base64url',
    },
    'acme-dns': { type: 'string', multiple: true, value: 'ADDRESS[:PORT]', help: 'DNS server to ask about names' },
    'acme-private': {
      type: 'boolean',
      help: 'names may lead to private addresses; clients can then make this server ask any host in its network',
    },
    'public-url': { type: 'string', value: 'URL', help: 'how clients reach this server, where something is in front' },
  },
  examples: [
    'casemate-pki serve --tls-certificate tls.pem --tls-key tls.key --ek-anchor maker.pem --passphrase file:secret',
    'casemate-pki serve … --acme backend-ca:backend --acme-private --http-port 80',
  ],
  async run(context) {
    const tls = await readTls(context);
    const [port, httpPort] = [portOf(context, 'port') ?? 8443, portOf(context, 'http-port')];
    const acme = await acmeOf(context);
    const trust = await trustOf(context);
    await using service = await openService(context, {
      'device-ca': [PROFILES.device],
      'attestation-ca': [PROFILES.attestationKey],
      ...(acme && { [acme.issuer]: [...(acme.issuer === 'device-ca' ? [PROFILES.device] : []), acme.profile] }),
    });
    const { authority } = service;
    const enrolment = openTpmEnrolment({
      authority,
      trust,
      attestation: { authority: 'attestation-ca', profile: PROFILES.attestationKey.name },
      device: { authority: 'device-ca', profile: PROFILES.device.name },
    });
    // Names are given out by enrolment alone; over EST a device renews what it has.
    const est = { authority: 'device-ca', profile: PROFILES.device.name, authorize: () => false, tpm: enrolment };
    const published = [ocspRoute(authority), publicationRoute(authority)];
    const routes: readonly HttpRoute[] = [
      tpmRoute(enrolment),
      estRoute({ authority, services: { '': est } }),
      ...(acme === undefined ? [] : [acmeRouteOf(context, authority, acme)]),
      ...published,
    ];
    await authority.maintain();
    const stop = stopSignal();
    const onError = (error: unknown) => context.surroundings.err(`${messageOf(error)}\n`);
    const host = context.text('host') ?? '127.0.0.1';
    const clientRoots = [...authority.authorities.values()].map(({ root }) => encodePem('CERTIFICATE', root)).join('');
    await using server = await listen({ routes, tls: { ...tls, clientRoots }, host, port, onError });
    await using plain =
      httpPort === undefined ? undefined : await listen({ routes: published, host, port: httpPort, onError });
    context.surroundings.err(`${[server, plain].flatMap((each) => (each ? [each.url] : [])).join('\n')}\n`);
    const timer = setInterval(() => void authority.maintain().catch(onError), MINUTE);
    await stop;
    clearInterval(timer);
    // Listening ends and requests under way finish before the engine and its database are closed.
    await Promise.all([server.close(), plain?.close()]);
    return { json: { url: server.url }, text: 'stopped' };
  },
};

/** The first signal asks to finish; the second finds nobody who catches it, and ends the process. */
async function stopSignal(): Promise<void> {
  const other = new AbortController();
  const { signal } = other;
  await Promise.race([once(process, 'SIGINT', { signal }), once(process, 'SIGTERM', { signal })]);
  other.abort();
}

async function readTls(context: Context): Promise<{ readonly certificate: string; readonly key: string }> {
  const read = async (name: string) => {
    const file = context.text(name);
    if (file === undefined) throw usage('serve: expected --tls-certificate and --tls-key');
    return new TextDecoder().decode(await readInputFile(file, context.surroundings));
  };
  const tls = { certificate: await read('tls-certificate'), key: await read('tls-key') };
  try {
    createSecureContext({ cert: tls.certificate, key: tls.key });
  } catch (cause) {
    throw new Failure(EXIT.MALFORMED, `--tls-certificate and --tls-key: ${messageOf(cause)}`, undefined, cause);
  }
  return tls;
}

function portOf(context: Context, name: string): number | undefined {
  const text = context.text(name);
  if (text === undefined) return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port >= 0 && port <= 65_535) return port;
  throw usage(`--${name}: expected a number from 0 to 65535, got "${text}"`);
}

async function trustOf(context: Context) {
  const read = async (name: string) => {
    const files = context.texts(name).map((file) => readBlocks(file, 'CERTIFICATE', context));
    return (await Promise.all(files)).flat().map((der) => parseCertificate(der).der);
  };
  const wrong = context.texts('trusted-ek').find((digest) => !/^[0-9a-f]{64}$/.test(digest));
  if (wrong !== undefined)
    throw usage(`--trusted-ek: expected the SHA-256 of an EK as 64 hexadecimal digits, got "${wrong}"`);
  const anchors = await read('ek-anchor');
  return { anchors, intermediates: await read('ek-intermediate'), trustedEks: context.texts('trusted-ek') };
}

interface AcmeService {
  readonly issuer: string;
  readonly profile: CertificateProfile;
  readonly accounts: ReadonlyMap<string, Uint8Array>;
}

async function acmeOf(context: Context): Promise<AcmeService | undefined> {
  const text = context.text('acme');
  if (text === undefined) return undefined;
  const [, issuer = '', word = ''] = /^([a-z0-9-]+):(.+)$/.exec(text) ?? [];
  if (word === '') throw usage(`--acme: expected CA:PROFILE, such as backend-ca:backend, got "${text}"`);
  const accounts = context.texts('acme-account').map(async (account) => {
    const [, kid = '', file = ''] = /^([^=]+)=(.+)$/.exec(account) ?? [];
    if (file === '') throw usage(`--acme-account: expected KID=FILE, got "${account}"`);
    return [kid, macKey(new TextDecoder().decode(await readInputFile(file, context.surroundings)), file)] as const;
  });
  return {
    issuer,
    profile: await profileNamed(word, 'acme', context),
    accounts: new Map(await Promise.all(accounts)),
  };
}

function macKey(text: string, file: string): Uint8Array {
  const digits = text.trim();
  const key = /^[A-Za-z0-9_-]+$/.test(digits) ? new Uint8Array(Buffer.from(digits, 'base64url')) : new Uint8Array();
  if (key.length >= 16) return key;
  throw new Failure(EXIT.MALFORMED, `${file}: expected a MAC key of 16 bytes or more in base64url`);
}

function acmeRouteOf(
  context: Context,
  authority: CertificateAuthority,
  { issuer, profile, accounts }: AcmeService,
): HttpRoute {
  const { dns, ip, permanentIdentifier, hardwareModule } = profile.subjectAltName ?? {};
  const kinds: Partial<Record<AcmeIdentifier['type'], unknown>> = {
    dns,
    ip,
    'permanent-identifier': permanentIdentifier,
    'hardware-module': hardwareModule,
  };
  const profiles = Object.fromEntries(
    Object.entries(kinds).flatMap(([kind, rule]) => (rule === undefined ? [] : [[kind, profile.name]])),
  );
  const attestation = authority.get('attestation-ca');
  const baseUrl = context.text('public-url')?.replace(/\/$/, '');
  const dnsServers = context.texts('acme-dns');
  return acmeRoute({
    authority,
    issuer,
    profiles,
    ...(baseUrl === undefined ? {} : { baseUrl }),
    ...(accounts.size === 0 ? {} : { externalAccount: (kid: string) => accounts.get(kid) }),
    network: {
      ...(dnsServers.length === 0 ? {} : { dnsServers }),
      insecureAllowPrivateAddresses: context.has('acme-private'),
    },
    attestation: { anchors: [attestation.root], intermediates: [...attestation.chain] },
  });
}

async function listen(options: ServerOptions): Promise<RunningServer> {
  try {
    return await startServer(options);
  } catch (cause) {
    const where = `${options.host}:${options.port}`;
    throw new Failure(EXIT.UNREACHABLE, `cannot listen on ${where}: ${messageOf(cause)}`, undefined, cause);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
