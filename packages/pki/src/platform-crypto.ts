/** The platform's own crypto, where it has one: Node's OpenSSL, which signs and verifies several times faster than WebCrypto. */
import { type PublicKeyInfo, plainRsa, type SignatureScheme } from './algorithm.js';
import { malformed } from './error.js';
import type { WebKey } from './signature.js';

type NodeCrypto = typeof import('node:crypto');
type NodeKey = import('node:crypto').KeyObject;
type NodeBytes = Extract<import('node:crypto').PublicKeyInput['key'], Uint8Array>;

/** Node's crypto module, found without an import: a browser's bundle has no trace of it. */
const node: NodeCrypto | undefined = globalThis.process?.getBuiltinModule?.('node:crypto');

/** Whether a signature verifies; `undefined` where the platform has WebCrypto alone. Throws {@link PkiError} `malformed` for a bad key. */
export function verifyNow(
  spki: Uint8Array,
  key: PublicKeyInfo,
  scheme: SignatureScheme,
  data: Uint8Array,
  signature: Uint8Array,
): boolean | undefined {
  if (node === undefined) return undefined;
  return node.verify(
    digestOf(scheme),
    data,
    { key: publicKeyOf(node, spki, key), ...optionsOf(node, scheme) },
    signature,
  );
}

/**
 * A function that signs with a key of WebCrypto, ECDSA as DER; `undefined` where the platform has WebCrypto alone. An RSA signature takes
 * as long as everything else of a certificate ten times over, so it is made on another thread, and several at once; an elliptic one takes
 * less time than the way there and back.
 */
export function platformSigner(
  key: WebKey,
  scheme: SignatureScheme,
): ((data: Uint8Array) => Uint8Array | Promise<Uint8Array>) | undefined {
  if (node === undefined) return undefined;
  const { sign } = node;
  const options = { key: node.KeyObject.from(key), ...optionsOf(node, scheme) };
  if (!('saltLength' in scheme) && scheme.kind !== 'rsassa') {
    return (data) => new Uint8Array(sign(digestOf(scheme), data, options));
  }
  return (data) =>
    new Promise((resolve, reject) => {
      sign(digestOf(scheme), data, options, (error, signature) =>
        error === null ? resolve(new Uint8Array(signature)) : reject(error),
      );
    });
}

function digestOf(scheme: SignatureScheme): string | null {
  return 'hash' in scheme ? scheme.hash : null;
}

function optionsOf({ constants }: NodeCrypto, scheme: SignatureScheme): import('node:crypto').SigningOptions {
  if (scheme.kind === 'ecdsa') return { dsaEncoding: 'der' };
  if (scheme.kind === 'rsassa') return { padding: constants.RSA_PKCS1_PADDING };
  if (scheme.kind === 'rsapss') return { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: scheme.saltLength };
  return {};
}

/** Keys of CAs come again with every certificate, and decoding one costs as much as half a verification. */
const MAX_KEYS = 256;
const keys = new Map<string, NodeKey>();

function publicKeyOf({ createPublicKey }: NodeCrypto, spki: Uint8Array, key: PublicKeyInfo): NodeKey {
  const name = String.fromCharCode(...spki);
  const known = keys.get(name);
  if (known !== undefined) return known;
  const der = key.kind === 'rsa' ? plainRsa(spki) : spki;
  let opened: NodeKey;
  try {
    // Any view will do; only the declaration asks for Node's own.
    opened = createPublicKey({ key: der as NodeBytes, format: 'der', type: 'spki' });
  } catch (cause) {
    throw malformed('SubjectPublicKeyInfo', `expected a valid ${key.kind} key, got one that is refused`, cause);
  }
  const [oldest] = keys.keys();
  if (keys.size >= MAX_KEYS && oldest !== undefined) keys.delete(oldest);
  keys.set(name, opened);
  return opened;
}
