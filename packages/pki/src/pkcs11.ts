/** Keys on tokens: PKCS#11 2.40 and 3.0 for Ed25519, through the optional package pkcs11js, addressed by RFC 7512 URIs. */
import { readFile } from 'node:fs/promises';
import {
  ALGORITHM_OF_CURVE,
  ecdsaToDer,
  type HashName,
  parsePublicKey,
  type SignatureAlgorithm,
  type SignatureScheme,
  schemeOf,
} from './algorithm.js';
import { toHex } from './bytes.js';
import { asCertificate } from './certificate.js';
import { bitString, integer, nul, oid, readDer, sequence, TAG } from './der.js';
import { PkiError } from './error.js';
import type { Signer } from './key.js';
import { ALGORITHM } from './oid.js';
import {
  type Attribute,
  type Cryptoki,
  codeOf,
  type Handle,
  type Mechanism,
  moduleError,
  openModule,
} from './pkcs11-module.js';
import { type Pkcs11Uri, parsePkcs11Uri } from './pkcs11-uri.js';

export { encodePkcs11Uri, type Pkcs11Uri, parsePkcs11Uri } from './pkcs11-uri.js';

/** How to get at a key on a token. */
export interface Pkcs11Options {
  /** The PIN, where the URI has no `pin-source` and no `pin-value`; `undefined` opens no login. */
  readonly pin?: string | (() => Promise<string | undefined>);
  /** The file of the module, where the URI names none. */
  readonly modulePath?: string;
  /** How the key signs; by its type without it: ECDSA with the digest of the curve's size, RSA PKCS#1 v1.5 with SHA-256, Ed25519. */
  readonly algorithm?: SignatureAlgorithm;
}

/** A key that stays on its token. */
export interface Pkcs11Key extends Signer, AsyncDisposable {
  /** How it signs. */
  readonly algorithm: SignatureAlgorithm;
  /** The certificates on the token with the same CKA_ID, DER. */
  readonly chain: readonly Uint8Array[];
  /** Ends the session. */
  close(): Promise<void>;
}

const CKF = { RW_SESSION: 2, SERIAL_SESSION: 4 } as const;
const CKO = { CERTIFICATE: 1, PUBLIC_KEY: 2, PRIVATE_KEY: 3 } as const;
const CKK = { RSA: 0, EC: 3, EDWARDS: 0x40 } as const;
const CKA = {
  CLASS: 0,
  TOKEN: 1,
  PRIVATE: 2,
  LABEL: 3,
  VALUE: 0x11,
  KEY_TYPE: 0x100,
  ID: 0x102,
  SENSITIVE: 0x103,
  SIGN: 0x108,
  VERIFY: 0x10a,
  MODULUS: 0x120,
  MODULUS_BITS: 0x121,
  PUBLIC_EXPONENT: 0x122,
  EXTRACTABLE: 0x162,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
} as const;
const CKM = {
  RSA_KEY_PAIR_GEN: 0,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  EDWARDS_KEY_PAIR_GEN: 0x1055,
  EDDSA: 0x1057,
} as const;
const RSA_MECHANISM = {
  rsassa: { sha256: 0x40, sha384: 0x41, sha512: 0x42 },
  rsapss: { sha256: 0x43, sha384: 0x44, sha512: 0x45 },
} as const;
const CKM_HASH = { sha256: 0x250, sha384: 0x260, sha512: 0x270 } as const;
const CKG_MGF1 = { sha256: 2, sha384: 3, sha512: 4 } as const;
/** pkcs11js' number for the parameter structure of PSS. */
const PARAMS_RSA_PSS = 5;
const CKU_USER = 1;
const CKR_ALREADY_LOGGED_IN = 0x100;
const MAX_SIGNATURE = 1024;
const MAX_OBJECTS = 100;
const ED25519_CURVES = ['06032b6570', '130c656477617264733235353139'];

/**
 * Opens the private key that a URI names. It must be exactly one.
 * Throws {@link PkiError}: `malformed` for the URI, `unsupported` without pkcs11js or for other keys, `not-found` where no token or
 * key, or more than one, matches, `wrong-passphrase`, `key-store` where the module refuses. No text of an error holds a PIN.
 */
export async function openPkcs11Key(uri: string | Pkcs11Uri, options: Pkcs11Options = {}): Promise<Pkcs11Key> {
  return withSession(uri, options, CKF.SERIAL_SESSION, async (session, wanted) => {
    const key = findKey(session, wanted);
    const publicKey = publicKeyOf(session, key);
    const algorithm = options.algorithm ?? defaultAlgorithm(publicKey);
    const { scheme } = schemeOf(algorithm);
    assertFits(algorithm, publicKey);
    const chain = certificatesOf(session, key);
    return keyOf({ algorithm, publicKey, chain }, session, (data) => signOn(session, key, scheme, data));
  });
}

/**
 * Makes a key pair on a token, not extractable, with the label and id of the URI, and opens it.
 * Throws {@link PkiError}: `bad-input` where the URI names no object, `exists` where there is such a key, and as {@link openPkcs11Key}.
 */
export async function generatePkcs11Key(
  uri: string | Pkcs11Uri,
  algorithm: SignatureAlgorithm,
  options: Omit<Pkcs11Options, 'algorithm'> = {},
): Promise<Pkcs11Key> {
  const wanted = typeof uri === 'string' ? parsePkcs11Uri(uri) : uri;
  const { object, id } = wanted;
  if (object === undefined || id === undefined)
    throw new PkiError('bad-input', 'generate key: expected object and id in the URI, got less');
  await withSession(wanted, options, CKF.SERIAL_SESSION | CKF.RW_SESSION, async (session) => {
    if (find(session, keyTemplate(wanted)).length > 0)
      throw new PkiError('exists', 'generate key: expected no key of this name, got one');
    const common = [
      { type: CKA.TOKEN, value: true },
      { type: CKA.LABEL, value: object },
      { type: CKA.ID, value: Buffer.from(id) },
    ];
    const { mechanism, parameters } = generation(algorithm);
    const publicTemplate = [...common, { type: CKA.VERIFY, value: true }, ...parameters];
    const privateTemplate = [
      ...common,
      { type: CKA.PRIVATE, value: true },
      { type: CKA.SENSITIVE, value: true },
      { type: CKA.EXTRACTABLE, value: false },
      { type: CKA.SIGN, value: true },
    ];
    await attempt('generate key', () =>
      session.cryptoki.C_GenerateKeyPairAsync(session.handle, { mechanism }, publicTemplate, privateTemplate),
    );
    session.end();
  });
  return openPkcs11Key(wanted, { ...options, algorithm });
}

function generation(algorithm: SignatureAlgorithm): {
  readonly mechanism: number;
  readonly parameters: readonly Attribute[];
} {
  const { key } = schemeOf(algorithm);
  switch (key.kind) {
    case 'rsa':
      return {
        mechanism: CKM.RSA_KEY_PAIR_GEN,
        parameters: [
          { type: CKA.MODULUS_BITS, value: key.bits },
          { type: CKA.PUBLIC_EXPONENT, value: Buffer.of(1, 0, 1) },
        ],
      };
    case 'ec':
      return {
        mechanism: CKM.EC_KEY_PAIR_GEN,
        parameters: [{ type: CKA.EC_PARAMS, value: Buffer.from(oid(ALGORITHM_OF_CURVE[key.curve])) }],
      };
    case 'ed25519':
      return {
        mechanism: CKM.EDWARDS_KEY_PAIR_GEN,
        parameters: [{ type: CKA.EC_PARAMS, value: Buffer.from(ED25519_CURVES[1] ?? '', 'hex') }],
      };
    case 'ml-dsa':
      throw new PkiError('unsupported', 'generate key: expected EC, RSA or Ed25519 on a token, got ML-DSA');
  }
}

interface Session {
  readonly cryptoki: Cryptoki;
  readonly handle: Handle;
  /** Logs out of nothing: closes the session and gives up the module. */
  readonly end: () => void;
}

/** Opens a session and keeps it where `work` does not fail. */
async function withSession<T>(
  uri: string | Pkcs11Uri,
  options: Pkcs11Options,
  flags: number,
  work: (session: Session, wanted: Pkcs11Uri) => Promise<T>,
): Promise<T> {
  const wanted = typeof uri === 'string' ? parsePkcs11Uri(uri) : uri;
  const modulePath = wanted.modulePath ?? options.modulePath;
  if (modulePath === undefined)
    throw new PkiError('bad-input', 'open PKCS#11 key: expected module-path in the URI or an option, got neither');
  const module = await openModule(modulePath);
  const { cryptoki } = module;
  let handle: Handle | undefined;
  const end = () => {
    if (handle !== undefined) cryptoki.C_CloseSession(handle);
    handle = undefined;
    module[Symbol.dispose]();
  };
  try {
    const slot = await attempt('find token', async () => findSlot(cryptoki, wanted));
    handle = await attempt('open session', async () => cryptoki.C_OpenSession(slot, flags));
    await login(cryptoki, handle, await pinOf(wanted, options));
    return await work({ cryptoki, handle, end }, wanted);
  } catch (error) {
    end();
    throw error;
  }
}

async function attempt<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw moduleError(what, error);
  }
}

function findSlot(cryptoki: Cryptoki, wanted: Pkcs11Uri): Handle {
  const slots = cryptoki.C_GetSlotList(true).filter((slot) => {
    const info = cryptoki.C_GetTokenInfo(slot);
    return (
      matches(wanted.token, info.label) &&
      matches(wanted.manufacturer, info.manufacturerID) &&
      matches(wanted.model, info.model) &&
      matches(wanted.serial, info.serialNumber) &&
      (wanted.slotId === undefined || BigInt(wanted.slotId) === slot.readBigUInt64LE())
    );
  });
  const [found, ...more] = slots;
  if (found !== undefined && more.length === 0) return found;
  throw new PkiError('not-found', `find token: expected one that matches the URI, got ${slots.length}`);
}

/** Fields of tokens are padded with spaces. */
function matches(wanted: string | undefined, actual: string): boolean {
  return wanted === undefined || wanted === actual.replace(/[ \0]+$/, '');
}

async function pinOf(wanted: Pkcs11Uri, options: Pkcs11Options): Promise<string | undefined> {
  if (wanted.pinValue !== undefined) return wanted.pinValue;
  if (wanted.pinSource === undefined) return typeof options.pin === 'function' ? options.pin() : options.pin;
  const path = wanted.pinSource.replace(/^file:(\/\/)?/, '');
  try {
    return (await readFile(path, 'utf8')).replace(/\r?\n$/, '');
  } catch (cause) {
    throw new PkiError('key-store', `open PKCS#11 key: expected a PIN in ${path}, got no file that can be read`, cause);
  }
}

async function login(cryptoki: Cryptoki, session: Handle, pin: string | undefined): Promise<void> {
  if (pin === undefined) return;
  try {
    cryptoki.C_Login(session, CKU_USER, pin);
  } catch (error) {
    // The login is the token's, shared by all sessions of the process.
    if (codeOf(error) !== CKR_ALREADY_LOGGED_IN) throw moduleError('log in', error);
  }
}

function find(session: Session, template: readonly Attribute[]): readonly Handle[] {
  const { cryptoki, handle } = session;
  try {
    cryptoki.C_FindObjectsInit(handle, template);
    const found = cryptoki.C_FindObjects(handle, MAX_OBJECTS);
    cryptoki.C_FindObjectsFinal(handle);
    return found;
  } catch (error) {
    throw moduleError('find objects', error);
  }
}

function keyTemplate(wanted: Pkcs11Uri): readonly Attribute[] {
  return [
    { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
    ...(wanted.object === undefined ? [] : [{ type: CKA.LABEL, value: wanted.object }]),
    ...(wanted.id === undefined ? [] : [{ type: CKA.ID, value: Buffer.from(wanted.id) }]),
  ];
}

function findKey(session: Session, wanted: Pkcs11Uri): Handle {
  const found = find(session, keyTemplate(wanted));
  const [key, ...more] = found;
  if (key !== undefined && more.length === 0) return key;
  throw new PkiError('not-found', `find key: expected one private key that matches the URI, got ${found.length}`);
}

function attribute(session: Session, object: Handle, type: number): Buffer {
  try {
    const [found] = session.cryptoki.C_GetAttributeValue(session.handle, object, [{ type }]);
    return found?.value ?? Buffer.alloc(0);
  } catch (error) {
    throw moduleError('read attribute', error);
  }
}

/** The public key from the public object with the same id; of RSA it stands with the private one, too. */
function publicKeyOf(session: Session, key: Handle): Uint8Array {
  const type = attribute(session, key, CKA.KEY_TYPE).readUInt32LE();
  const id = attribute(session, key, CKA.ID);
  const [publicObject = key] = find(session, [
    { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
    { type: CKA.ID, value: id },
  ]);
  switch (type) {
    case CKK.RSA:
      return rsaSpki(
        attribute(session, publicObject, CKA.MODULUS),
        attribute(session, publicObject, CKA.PUBLIC_EXPONENT),
      );
    case CKK.EC:
    case CKK.EDWARDS:
      return pointSpki(attribute(session, publicObject, CKA.EC_PARAMS), attribute(session, publicObject, CKA.EC_POINT));
    default:
      throw new PkiError(
        'unsupported',
        `open PKCS#11 key: expected an EC, RSA or Ed25519 key, got CKK 0x${type.toString(16)}`,
      );
  }
}

function rsaSpki(modulus: Buffer, exponent: Buffer): Uint8Array {
  const number = (bytes: Buffer) => integer(BigInt(`0x${bytes.toString('hex') || '0'}`));
  return sequence(
    sequence(oid(ALGORITHM.rsaEncryption), nul()),
    bitString(sequence(number(modulus), number(exponent))),
  );
}

/** CKA_EC_POINT is the point inside an OCTET STRING; some modules leave the OCTET STRING out. */
function pointSpki(parameters: Buffer, point: Buffer): Uint8Array {
  const wrapped = point[0] === TAG.OCTET_STRING && point[1] === point.length - 2;
  const raw = wrapped ? readDer(point, TAG.OCTET_STRING, 'CKA_EC_POINT') : new Uint8Array(point);
  const identifier = ED25519_CURVES.includes(toHex(parameters))
    ? sequence(oid(ALGORITHM.ed25519))
    : sequence(oid(ALGORITHM.ecPublicKey), new Uint8Array(parameters));
  const spki = sequence(identifier, bitString(raw));
  parsePublicKey(spki, 'CKA_EC_POINT');
  return spki;
}

function certificatesOf(session: Session, key: Handle): readonly Uint8Array[] {
  const id = attribute(session, key, CKA.ID);
  if (id.length === 0) return [];
  const found = find(session, [
    { type: CKA.CLASS, value: CKO.CERTIFICATE },
    { type: CKA.ID, value: id },
  ]);
  return found.map((object) => asCertificate(new Uint8Array(attribute(session, object, CKA.VALUE))).der);
}

function defaultAlgorithm(publicKey: Uint8Array): SignatureAlgorithm {
  const key = parsePublicKey(publicKey);
  if (key.kind === 'ed25519') return 'ed25519';
  if (key.kind === 'ec') return CURVE_ALGORITHM[key.curve];
  if (key.kind === 'rsa' && (key.bits === 2048 || key.bits === 3072 || key.bits === 4096))
    return `rsassa-${key.bits}-sha256`;
  throw new PkiError(
    'unsupported',
    'open PKCS#11 key: expected P-256, P-384, P-521, Ed25519 or RSA with 2048, 3072 or 4096 bits, got another',
  );
}

const CURVE_ALGORITHM = {
  'P-256': 'ecdsa-p256-sha256',
  'P-384': 'ecdsa-p384-sha384',
  'P-521': 'ecdsa-p521-sha512',
} as const;

function assertFits(algorithm: SignatureAlgorithm, publicKey: Uint8Array): void {
  const { key: wanted } = schemeOf(algorithm);
  const actual = parsePublicKey(publicKey);
  const fits =
    wanted.kind === actual.kind &&
    (wanted.kind !== 'ec' || (actual.kind === 'ec' && wanted.curve === actual.curve)) &&
    (wanted.kind !== 'rsa' || (actual.kind === 'rsa' && wanted.bits === actual.bits));
  if (!fits)
    throw new PkiError('key-mismatch', `open PKCS#11 key: expected a key for ${algorithm}, got one of another kind`);
}

function keyOf(
  parts: Pick<Pkcs11Key, 'algorithm' | 'publicKey' | 'chain'>,
  session: Session,
  signNow: (data: Uint8Array) => Promise<Uint8Array>,
): Pkcs11Key {
  // A session does one thing at a time.
  let last: Promise<unknown> = Promise.resolve();
  let isOpen = true;
  const close = async () => {
    await last;
    if (isOpen) session.end();
    isOpen = false;
  };
  return {
    ...parts,
    sign(data) {
      if (!isOpen) return Promise.reject(new PkiError('key-store', 'sign: expected an open key, got a closed one'));
      const result = last.then(() => attempt('sign', () => signNow(data)));
      last = result.catch(() => undefined);
      return result;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function signOn(session: Session, key: Handle, scheme: SignatureScheme, data: Uint8Array): Promise<Uint8Array> {
  const { cryptoki, handle } = session;
  // Every token signs a digest with ECDSA; those that also hash are fewer.
  const input = scheme.kind === 'ecdsa' ? await digest(scheme.hash, data) : Buffer.from(data);
  cryptoki.C_SignInit(handle, mechanismOf(scheme), key);
  const signature = new Uint8Array(await cryptoki.C_SignAsync(handle, input, Buffer.alloc(MAX_SIGNATURE)));
  return scheme.kind === 'ecdsa' ? ecdsaToDer(signature) : signature;
}

async function digest(hash: HashName, data: Uint8Array): Promise<Buffer> {
  const { createHash } = await import('node:crypto');
  return createHash(hash).update(data).digest();
}

function mechanismOf(scheme: SignatureScheme): Mechanism {
  switch (scheme.kind) {
    case 'ecdsa':
      return { mechanism: CKM.ECDSA };
    case 'ed25519':
      return { mechanism: CKM.EDDSA };
    case 'rsassa':
      return { mechanism: RSA_MECHANISM.rsassa[scheme.hash] };
    case 'rsapss': {
      const parameter = {
        type: PARAMS_RSA_PSS,
        hashAlg: CKM_HASH[scheme.hash],
        mgf: CKG_MGF1[scheme.hash],
        saltLen: scheme.saltLength,
      };
      return { mechanism: RSA_MECHANISM.rsapss[scheme.hash], parameter };
    }
    case 'ml-dsa':
      throw new PkiError('unsupported', 'sign: expected EC, RSA or Ed25519 on a token, got ML-DSA');
  }
}
