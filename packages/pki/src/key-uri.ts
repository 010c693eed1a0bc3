/** Keys wherever they live, by URI: `file:`, `pkcs12:`, `tpm:`, `tpmkey:`, `pkcs11:` (RFC 7512). */
import { readFile } from 'node:fs/promises';
import {
  keyFilePolicy,
  loadKeyFile,
  openObject,
  PCR_BANKS,
  type PcrBank,
  type PcrIndexes,
  type Policy,
  parseKeyFile,
  readPcrs,
  satisfyPolicy,
  startSession,
  TPM_RC,
  Tpm,
  TpmError,
  type TpmObject,
  type TpmTransport,
  tpmSigner,
} from '@casemate/tpm';
import { type SignatureAlgorithm, schemeOf } from './algorithm.js';
import { equalBytes } from './bytes.js';
import { parseCertificate } from './certificate.js';
import { decryptKey } from './encrypted-key.js';
import { PkiError } from './error.js';
import { importKey, type Signer, type SoftwareKey } from './key.js';
import type { Passphrase } from './pbes2.js';
import { type PemBlock, parsePem } from './pem.js';
import { type LegacyCiphers, parsePkcs12 } from './pkcs12.js';

/** Which secret is asked for. */
export interface SecretRequest {
  /** What the secret opens: a key file, a PKCS#12 file, an object in a TPM, a token. */
  readonly kind: 'file' | 'pkcs12' | 'tpm' | 'pkcs11';
  /** The path, handle or token, without any secret that the URI may hold. */
  readonly name: string;
}

/** How a key is opened. */
export interface OpenKeyOptions {
  /** Asked only where a secret is needed. A result as bytes is wiped after use. `undefined` means that there is none. */
  readonly secret?: (request: SecretRequest) => Promise<Passphrase | undefined>;
  /** How the key signs, where its kind leaves it open; before `algorithm=` in the URI. */
  readonly algorithm?: SignatureAlgorithm;
  /** Connects to the TPM that `tpm=` names; without it devices, swtpm and mssim are known: `device:PATH`, `swtpm:host=…,port=…`, … */
  readonly connectTpm?: (address: string) => Promise<TpmTransport>;
  /**
   * The policy of a key in a TPM, satisfied anew for each signature; before that in the key file or in the URI. A key that asks for
   * signed or NV policies is opened so.
   */
  readonly policy?: Policy;
  /** The file of the PKCS#11 module, where the URI names none. */
  readonly pkcs11Module?: string;
  /** Admits old PKCS#12 ciphers. */
  readonly legacy?: LegacyCiphers;
}

/** An open key. */
export interface OpenedKey extends Signer, AsyncDisposable {
  /** What it was opened from, without secrets. */
  readonly name: string;
  /** The certificates that stand with it, its own first where there are any, DER. */
  readonly chain: readonly Uint8Array[];
  /** The key itself, where it is in this process. */
  readonly software?: SoftwareKey;
  /** Gives up what it holds: a session, a slot in the TPM, a connection. */
  close(): Promise<void>;
}

const MAX_FILE = 1 << 24;

/**
 * Opens a key:
 *
 * - `file:PATH`: PKCS#8 as PEM or DER, encrypted or not, with certificates beside it or not; a TSS2 PRIVATE KEY is opened in a TPM
 * - `pkcs12:PATH?name=FRIENDLY-NAME`
 * - `tpm:HANDLE?tpm=ADDRESS`: a persistent object, `tpm:0x81010001`; `pcrs=sha256:0,7` for one that signs only while these PCRs are as
 *   they are now, `auth=policy` for one whose policy asks for its secret too (PolicyAuthValue)
 * - `tpmkey:PATH?tpm=ADDRESS`: a TSS2 PRIVATE KEY file, with the policy that stands in it
 * - `pkcs11:…`: see `openPkcs11Key` of @casemate/pki/pkcs11
 *
 * A secret of a key in a TPM is proved by a session and never sent. Each but `pkcs11:` takes `algorithm=`, for RSA keys. ADDRESS is `device:/dev/tpmrm0` without it. A text without a scheme is a path.
 * Throws {@link PkiError}: `bad-input` for the URI, `not-found`, `malformed`, `unsupported`, `wrong-passphrase`, `key-mismatch`,
 * `not-allowed` where the policy of a key in a TPM is not met,
 * `key-store` where a TPM or token refuses. No text of an error holds a secret.
 */
export async function openKey(uri: string, options: OpenKeyOptions = {}): Promise<OpenedKey> {
  if (uri.startsWith('pkcs11:')) return openToken(uri, options);
  const { scheme, path, query } = parseKeyUri(uri);
  const algorithm = options.algorithm ?? algorithmOf(query.algorithm);
  switch (scheme) {
    case 'file':
      return openFile(path, query, { ...options, ...(algorithm === undefined ? {} : { algorithm }) });
    case 'pkcs12':
      return openPkcs12(path, query.name, { ...options, ...(algorithm === undefined ? {} : { algorithm }) });
    case 'tpm':
      return openTpm(query.tpm, options, (tpm) => openHandle(tpm, path, query, options), `tpm:${path}`, algorithm);
    case 'tpmkey':
      return openKeyFile(path, await readText(path), query.tpm, options, algorithm);
    default:
      throw new PkiError('bad-input', `open key: expected file:, pkcs12:, tpm:, tpmkey: or pkcs11:, got ${scheme}:`);
  }
}

interface KeyUri {
  readonly scheme: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
}

const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  file: ['algorithm', 'tpm'],
  pkcs12: ['algorithm', 'name'],
  tpm: ['algorithm', 'tpm', 'pcrs', 'auth'],
  tpmkey: ['algorithm', 'tpm'],
};

function parseKeyUri(uri: string): KeyUri {
  const [, scheme = 'file', rest = ''] = /^(?:([a-z][a-z0-9]*):)?(.*)$/s.exec(uri) ?? [];
  const at = rest.indexOf('?');
  const path = decodedPath(at < 0 ? rest : rest.slice(0, at)).replace(/^\/\/(?=\/)/, '');
  const query = at < 0 ? {} : Object.fromEntries(new URLSearchParams(rest.slice(at + 1)));
  const known = Object.hasOwn(PARAMETERS, scheme) ? PARAMETERS[scheme] : undefined;
  const unknown = known && Object.keys(query).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new PkiError('bad-input', `open key: expected ${known?.join(' or ')} after "?", got "${unknown}"`);
  if (path === '') throw new PkiError('bad-input', `open key: expected something after ${scheme}:, got nothing`);
  return { scheme, path, query };
}

function decodedPath(text: string): string {
  try {
    return decodeURI(text);
  } catch (cause) {
    throw new PkiError('bad-input', 'open key: expected "%" with two hexadecimal digits of UTF-8, got others', cause);
  }
}

function algorithmOf(word: string | undefined): SignatureAlgorithm | undefined {
  if (word === undefined) return undefined;
  schemeOf(word);
  // schemeOf throws for every other word.
  return word as SignatureAlgorithm;
}

async function readBytes(path: string): Promise<Uint8Array> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new PkiError('not-found', `open key: expected a file that can be read at ${path}, got none`, cause);
  }
  if (bytes.length <= MAX_FILE) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  throw new PkiError('malformed', `open key: expected at most ${MAX_FILE} bytes in ${path}, got ${bytes.length}`);
}

async function readText(path: string): Promise<string> {
  const bytes = await readBytes(path);
  try {
    return new TextDecoder().decode(bytes);
  } finally {
    bytes.fill(0);
  }
}

/** Asks for a secret and wipes it after `use`. */
async function withSecret<T>(
  request: SecretRequest,
  options: OpenKeyOptions,
  use: (secret: Passphrase) => Promise<T>,
): Promise<T> {
  const secret = await options.secret?.(request);
  if (secret === undefined)
    throw new PkiError('wrong-passphrase', `open ${request.name}: expected a passphrase, got none`);
  try {
    return await use(secret);
  } finally {
    if (typeof secret !== 'string') secret.fill(0);
  }
}

async function openFile(path: string, query: KeyUri['query'], options: OpenKeyOptions): Promise<OpenedKey> {
  const bytes = await readBytes(path);
  // DER begins with the tag of a SEQUENCE, which is "0" and no beginning of a PEM file.
  if (bytes[0] === 0x30) return software(path, await importDer(path, bytes, options), []);
  const text = new TextDecoder().decode(bytes);
  bytes.fill(0);
  const blocks = parsePem(text);
  if (blocks.some(({ label }) => label === 'TSS2 PRIVATE KEY')) {
    return openKeyFile(path, text, query.tpm, options, options.algorithm);
  }
  // A store's file names the algorithm before its blocks.
  const named = options.algorithm ?? algorithmOf(/^algorithm: (\S+)$/m.exec(text)?.[1]);
  const key = await importBlock(path, blocks, { ...options, ...(named === undefined ? {} : { algorithm: named }) });
  return software(path, key, certificatesIn(blocks));
}

async function importDer(path: string, bytes: Uint8Array, options: OpenKeyOptions): Promise<SoftwareKey> {
  // EncryptedPrivateKeyInfo begins with a SEQUENCE, PrivateKeyInfo with a version.
  return isSequenceFirst(bytes) ? importEncrypted(path, bytes, options) : importKey(bytes, options.algorithm);
}

function isSequenceFirst(bytes: Uint8Array): boolean {
  const length = bytes[1] ?? 0;
  return bytes[length < 0x80 ? 2 : 2 + (length & 0x7f)] === 0x30;
}

async function importBlock(path: string, blocks: readonly PemBlock[], options: OpenKeyOptions): Promise<SoftwareKey> {
  const plain = blocks.find(({ label }) => label === 'PRIVATE KEY');
  if (plain !== undefined) return importKey(plain.der, options.algorithm);
  const encrypted = blocks.find(({ label }) => label === 'ENCRYPTED PRIVATE KEY');
  if (encrypted !== undefined) return importEncrypted(path, encrypted.der, options);
  const other = blocks.find(({ label }) => label.endsWith('PRIVATE KEY'))?.label;
  if (other === undefined) throw new PkiError('malformed', `open ${path}: expected a private key, got none`);
  throw new PkiError('unsupported', `open ${path}: expected PKCS#8 ("openssl pkcs8 -topk8" makes it), got ${other}`);
}

async function importEncrypted(path: string, der: Uint8Array, options: OpenKeyOptions): Promise<SoftwareKey> {
  return withSecret({ kind: 'file', name: path }, options, async (secret) => {
    const pkcs8 = await decryptKey(der, secret);
    try {
      return await importKey(pkcs8, options.algorithm);
    } finally {
      pkcs8.fill(0);
    }
  });
}

function certificatesIn(blocks: readonly PemBlock[]): readonly Uint8Array[] {
  return blocks.filter(({ label }) => label === 'CERTIFICATE').map(({ der }) => der);
}

function software(name: string, key: SoftwareKey, chain: readonly Uint8Array[]): OpenedKey {
  const close = async () => undefined;
  return {
    name,
    algorithm: key.algorithm,
    publicKey: key.publicKey,
    chain: ownFirst(chain, key.publicKey),
    software: key,
    sign: (data) => key.sign(data),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The key's own certificate first; the others as they stand. */
function ownFirst(chain: readonly Uint8Array[], publicKey: Uint8Array): readonly Uint8Array[] {
  const own = chain.find((der) => equalBytes(parseCertificate(der).publicKey, publicKey));
  return own === undefined ? [] : [own, ...chain.filter((der) => der !== own)];
}

async function openPkcs12(path: string, wanted: string | undefined, options: OpenKeyOptions): Promise<OpenedKey> {
  const bytes = await readBytes(path);
  return withSecret({ kind: 'pkcs12', name: path }, options, async (secret) => {
    const { keys } = await parsePkcs12(bytes, secret, options.legacy === undefined ? {} : { legacy: options.legacy });
    const found = keys.filter(({ friendlyName }) => wanted === undefined || friendlyName === wanted);
    const [key, ...more] = found;
    if (key === undefined || more.length > 0) {
      throw new PkiError(
        'not-found',
        `open ${path}: expected one key${wanted === undefined ? '' : ` "${wanted}"`}, got ${found.length}`,
      );
    }
    return software(path, await importKey(key.pkcs8, options.algorithm), key.chain);
  });
}

async function openToken(uri: string, options: OpenKeyOptions): Promise<OpenedKey> {
  const { openPkcs11Key, parsePkcs11Uri } = await import('./pkcs11.js');
  const parsed = parsePkcs11Uri(uri);
  const name = parsed.token ?? parsed.serial ?? 'token';
  const pin = async () => {
    const secret = await options.secret?.({ kind: 'pkcs11', name });
    return typeof secret === 'object' ? new TextDecoder().decode(secret) : secret;
  };
  const key = await openPkcs11Key(parsed, {
    pin,
    ...(options.pkcs11Module === undefined ? {} : { modulePath: options.pkcs11Module }),
    ...(options.algorithm === undefined ? {} : { algorithm: options.algorithm }),
  });
  return { ...key, name, chain: ownFirst(key.chain, key.publicKey) };
}

function openKeyFile(
  path: string,
  text: string,
  address: string | undefined,
  options: OpenKeyOptions,
  algorithm: SignatureAlgorithm | undefined,
): Promise<OpenedKey> {
  return openTpm(address, options, (tpm) => loadFile(tpm, path, text, options), path, algorithm);
}

/** A loaded key, and what its use takes. */
interface KeyInTpm {
  readonly object: TpmObject;
  /** Satisfied anew for each signature. */
  readonly policy: Policy | undefined;
}

async function loadFile(tpm: Tpm, path: string, text: string, options: OpenKeyOptions): Promise<KeyInTpm> {
  const file = parseKeyFile(text);
  const load = (auth: Passphrase) => loadKeyFile(tpm, file, { auth });
  const object = await (file.emptyAuth === true ? load('') : withSecret({ kind: 'tpm', name: path }, options, load));
  return { object, policy: options.policy ?? keyFilePolicy(file) };
}

async function openHandle(tpm: Tpm, text: string, query: KeyUri['query'], options: OpenKeyOptions): Promise<KeyInTpm> {
  const handle = Number(text);
  if (!Number.isInteger(handle) || handle >>> 24 !== 0x81) {
    throw new PkiError('bad-input', `open key: expected a persistent handle such as 0x81010001, got "${text}"`);
  }
  const policy = options.policy ?? (await policyIn(tpm, query));
  const needsSecret = policy === undefined || policy.some(({ type }) => type === 'auth-value' || type === 'password');
  const auth = needsSecret ? ((await options.secret?.({ kind: 'tpm', name: text })) ?? '') : '';
  return { object: await openObject(tpm, handle, { auth }), policy };
}

async function policyIn(tpm: Tpm, { pcrs, auth }: KeyUri['query']): Promise<Policy | undefined> {
  if (auth !== undefined && auth !== 'policy')
    throw new PkiError('bad-input', `open key: expected auth=policy, got "${auth}"`);
  const secret = auth === undefined ? [] : [{ type: 'auth-value' } as const];
  if (pcrs === undefined) return auth === undefined ? undefined : secret;
  return [{ type: 'pcr', values: await readPcrs(tpm, pcrsIn(pcrs)) }, ...secret];
}

function pcrsIn(text: string): PcrIndexes {
  const [, bank = '', list = ''] = /^(sha1|sha256|sha384|sha512):(\d{1,2}(?:,\d{1,2})*)$/.exec(text) ?? [];
  const indexes = list === '' ? [] : list.split(',').map(Number);
  if (indexes.length > 0 && indexes.every((index) => index < 24)) return { [bank]: indexes };
  throw new PkiError('bad-input', `open key: expected PCRs such as sha256:0,7, got "${text}"`);
}

async function openTpm(
  address = 'device:/dev/tpmrm0',
  options: OpenKeyOptions,
  open: (tpm: Tpm) => Promise<KeyInTpm>,
  name: string,
  algorithm: SignatureAlgorithm | undefined,
): Promise<OpenedKey> {
  const tpm = new Tpm(await (options.connectTpm ?? connect)(address));
  const guarded = <T>(work: () => Promise<T>) => guard(name, work);
  try {
    const key = await guarded(() => open(tpm));
    const { object } = key;
    const { publicKey, algorithm: own } = await guarded(async () => tpmSigner(tpm, object, signOptions(algorithm)));
    const close = async () => {
      await guarded(() => object.flush());
      await tpm.close();
    };
    return {
      name,
      algorithm: own,
      publicKey,
      chain: [],
      sign: (data) => guarded(() => signOnce(tpm, key, data, algorithm)),
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await tpm.close();
    throw error;
  }
}

/** A policy session is good for one use, and an HMAC session shows the TPM that the secret is known without telling it. */
async function signOnce(
  tpm: Tpm,
  { object, policy }: KeyInTpm,
  data: Uint8Array,
  algorithm: SignatureAlgorithm | undefined,
): Promise<Uint8Array> {
  const options = signOptions(algorithm);
  if (policy === undefined && object.authValue?.length === 0) return tpmSigner(tpm, object, options).sign(data);
  // The digest of a policy is made with the hash of the object's Name.
  const hash = BANKS.find((bank) => PCR_BANKS[bank] === object.public.nameAlg) ?? 'sha256';
  await using session = await startSession(tpm, { type: policy === undefined ? 'hmac' : 'policy', hash });
  if (policy !== undefined) await satisfyPolicy(tpm, session, policy);
  return await tpmSigner(tpm, { ...object, auth: session }, options).sign(data);
}

const BANKS: readonly PcrBank[] = ['sha1', 'sha256', 'sha384', 'sha512'];

function signOptions(algorithm: SignatureAlgorithm | undefined) {
  if (algorithm === undefined) return {};
  const { scheme } = schemeOf(algorithm);
  if (!('hash' in scheme))
    throw new PkiError('unsupported', `open key: expected ECDSA or RSA in a TPM, got ${algorithm}`);
  return { hash: scheme.hash, ...(scheme.kind === 'ecdsa' ? {} : { scheme: scheme.kind }) };
}

/** Errors of the TPM as ours. */
async function guard<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof TpmError)) throw cause;
    const isAuth = cause.response !== undefined && WRONG_AUTH.has(cause.response.number);
    const number = cause.response?.number;
    const isPolicy = number !== undefined && POLICY.has(number);
    const refused = isPolicy || (number === TPM_RC.VALUE && cause.message.startsWith('TPM2_PolicyPCR'));
    const other = cause.code === 'usage' ? 'unsupported' : 'key-store';
    const code = isAuth ? 'wrong-passphrase' : refused ? 'not-allowed' : other;
    throw new PkiError(code, `use ${name}: ${cause.message}`, cause);
  }
}

const WRONG_AUTH: ReadonlySet<number> = new Set([TPM_RC.AUTH_FAIL, TPM_RC.BAD_AUTH, TPM_RC.LOCKOUT]);
/** The policy is not met: other PCRs, or no policy where there must be one. */
const POLICY: ReadonlySet<number> = new Set([
  TPM_RC.POLICY_FAIL,
  TPM_RC.PCR_CHANGED,
  TPM_RC.AUTH_UNAVAILABLE,
  TPM_RC.AUTH_TYPE,
]);

async function connect(address: string): Promise<TpmTransport> {
  const [, kind = 'device', rest = ''] = /^(?:(device|swtpm|mssim):)?(.*)$/.exec(address) ?? [];
  const given = Object.fromEntries(rest.split(',').map((pair) => pair.split('=', 2)));
  const server = { host: given.host ?? '127.0.0.1', port: Number(given.port ?? 2321) };
  return guard(address, async () => {
    if (kind === 'swtpm') {
      const { connectSwtpm } = await import('@casemate/tpm/swtpm');
      return connectSwtpm(given.path === undefined ? server : { path: given.path });
    }
    if (kind === 'mssim') {
      const { connectMssim } = await import('@casemate/tpm/mssim');
      return connectMssim(server);
    }
    const { openDevice } = await import('@casemate/tpm/device');
    return openDevice(rest === '' ? '/dev/tpmrm0' : rest);
  });
}
