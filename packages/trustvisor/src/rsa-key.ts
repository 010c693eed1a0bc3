/** RSA-2048 keys of a PAL: made when they are first wanted, and kept sealed in the untrusted store. */
import { createPrivateKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { akTemplate, nameOf, TPM_ALG, TPM_RH, TpmsAttest, TpmtPublic, TpmtSignature } from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { decode, encode, u32 } from '@casemate/wire';
import { sha256 } from './digest.js';
import type { PalQuote } from './options.js';
import { deriveKey, openBlob, parseBlob, STATE_KIND, STATE_MAGIC, StateBlob, sealBlob } from './seal.js';
import type { BlobStore } from './store.js';

/** What the key is for: each purpose has one of its own. */
export type RsaPurpose = 'identity' | 'classic';

/** Where keys are kept. */
export interface RsaKeyHost {
  readonly master: Uint8Array;
  /** Absent where nothing outlives the isolate. */
  readonly store: BlobStore | undefined;
  /** Whose they are: the measurement of a PAL, or what PALs with one identity share. */
  readonly owner: Uint8Array;
  readonly random: (length: number) => Uint8Array;
}

const KIND = { identity: STATE_KIND.RSA_IDENTITY, classic: STATE_KIND.RSA_CLASSIC } as const;
const EXPONENT = 65537;
const makeKeyPair = promisify(generateKeyPair);

/** The keys of one PAL. A key that vanishes from the store is replaced by another; one that is damaged is refused. */
export class RsaKeys {
  readonly #host: RsaKeyHost;
  readonly #keys = new Map<RsaPurpose, Promise<KeyObject>>();

  /** Nothing is made or read before the first use. */
  constructor(host: RsaKeyHost) {
    this.#host = host;
  }

  /** The key. Throws {@link TrustvisorError} with code `sealed-state` or `store`. */
  get(purpose: RsaPurpose): Promise<KeyObject> {
    const known = this.#keys.get(purpose);
    if (known !== undefined) return known;
    const key = this.#open(purpose);
    this.#keys.set(purpose, key);
    key.catch(() => this.#keys.delete(purpose)); // the next use tries again
    return key;
  }

  async #open(purpose: RsaPurpose): Promise<KeyObject> {
    const { store, owner, master } = this.#host;
    const name = `${Buffer.from(owner).toString('hex')}.rsa-${purpose}`;
    const sealRoot = deriveKey(master, 'rsa key', owner);
    const stored = await store?.get(name);
    if (stored !== undefined) return keyOf(openBlob(StateBlob, sealRoot, ownBlob(stored, KIND[purpose], owner)));
    const { privateKey } = await makeKeyPair('rsa', { modulusLength: 2048, publicExponent: EXPONENT });
    const content = new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }));
    const header = { magic: STATE_MAGIC, kind: KIND[purpose], owner, salt: this.#host.random(32) } as const;
    await store?.put(name, sealBlob(StateBlob, sealRoot, header, content));
    content.fill(0);
    return privateKey;
  }
}

/** With the header that it must have: one that was sealed with another does not authenticate. */
function ownBlob(content: Uint8Array, kind: StateBlob['kind'], owner: Uint8Array): StateBlob {
  return { ...parseBlob(StateBlob, content), kind, owner };
}

function keyOf(content: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(content), format: 'der', type: 'pkcs8' });
  } finally {
    content.fill(0);
  }
}

/** The modulus, 256 bytes. */
function modulusOf(key: KeyObject): Uint8Array {
  const { n = '' } = key.export({ format: 'jwk' });
  return new Uint8Array(Buffer.from(n, 'base64url'));
}

/** DER RSAPublicKey (PKCS #1). */
export function rsaPublicKeyDer(key: KeyObject): Uint8Array {
  const n = modulusOf(key);
  const integer = (bytes: Uint8Array) => {
    const body = (bytes[0] ?? 0) & 0x80 ? Uint8Array.of(0, ...bytes) : bytes;
    return der(0x02, body);
  };
  return der(0x30, Uint8Array.of(...integer(n), ...integer(Uint8Array.of(1, 0, 1))));
}

function der(tag: number, body: Uint8Array): Uint8Array {
  const { length } = body;
  const header = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Uint8Array.of(tag, ...header, ...body);
}

/** An identity that signs quotes by RSA: its public area, and what it makes of a quote by the micro-TPM. */
export interface RsaIdentity {
  /** TPMT_PUBLIC. */
  readonly public: Uint8Array;
  /** The same statement with this key as signer (TPMS_ATTEST.qualifiedSigner), signed by it. */
  sign(quoted: Uint8Array): PalQuote;
}

/** RSASSA with SHA-256, as a restricted signing key of a TPM 2.0. */
export function rsaIdentity(key: KeyObject): RsaIdentity {
  const area = { ...akTemplate('rsa-2048'), unique: modulusOf(key) } as TpmtPublic; // an RSA template has an RSA unique
  const qualifiedSigner = qualifiedNameOf(nameOf(area, nodeCrypto));
  return {
    public: encode(TpmtPublic, area),
    sign: (quoted) => {
      const attest = encode(TpmsAttest, { ...decode(TpmsAttest, quoted), qualifiedSigner });
      const sig = new Uint8Array(sign('sha256', attest, key));
      const signature = { sigAlg: TPM_ALG.RSASSA, signature: { hash: TPM_ALG.SHA256, sig } } as const;
      return { quoted: attest, signature: encode(TpmtSignature, signature) };
    },
  };
}

/** Of a primary key of the endorsement hierarchy (Part 1, section 16). */
function qualifiedNameOf(name: Uint8Array): Uint8Array {
  return Uint8Array.of(TPM_ALG.SHA256 >> 8, TPM_ALG.SHA256 & 0xff, ...sha256(encode(u32, TPM_RH.ENDORSEMENT), name));
}
