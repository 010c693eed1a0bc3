/** Verifying a GuestOS: is this, byte for byte, what somebody whom we trust has signed? */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type Certificate, type CertificateInput, type DocumentProblem, verifyDocument } from '@casemate/pki';
import { type GuestOsConfig, parseGuestOsConfig } from './config.js';
import { ContainerError, isErrno, messageOf } from './error.js';
import type { GuestOsId, GuestOsStore } from './store.js';

/** Whom the caller trusts, and when. */
export interface TrustOptions {
  /** Roots of software signing; DER. */
  readonly anchors: readonly CertificateInput[];
  /** The moment for which certificates must be valid; now unless given. */
  readonly time?: Date;
  /** CRLs, DER. Where there is one of an issuer, it decides. */
  readonly crls?: readonly Uint8Array[];
}

/** A GuestOS whose configuration is authentic, with the very bytes that were judged. */
export interface VerifiedConfiguration {
  /** The configuration. */
  readonly config: GuestOsConfig;
  /** Its bytes. */
  readonly configBytes: Uint8Array;
  /** SHA-256 of them. */
  readonly configDigest: Uint8Array;
  /** The detached CMS signature over them, DER. */
  readonly signature: Uint8Array;
  /** Whose key signed. */
  readonly signer: Certificate;
}

/**
 * Verifies a GuestOS of the store: the signature and its chain, the configuration, and the digest of every byte of the image.
 * Throws {@link ContainerError}: `signature`, `certificate`, `config`, `image` say which evidence is at fault; `not-found`.
 *
 * What lies in the store may change afterwards; {@link startContainer} verifies what it starts by itself.
 */
export async function verifyGuestOs(
  store: GuestOsStore,
  name: string,
  version: number,
  trust: TrustOptions,
): Promise<VerifiedConfiguration> {
  const verified = await verifyConfiguration(store, { name, version }, trust);
  await using image = await openImage(store, verified.config);
  await image.verify();
  return verified;
}

/** The part of {@link verifyGuestOs} that does without the image. Throws as it does. */
export async function verifyConfiguration(
  store: GuestOsStore,
  id: GuestOsId,
  trust: TrustOptions,
): Promise<VerifiedConfiguration> {
  const { config: configBytes, signature } = await store.read(id);
  const { anchors, time = new Date(), crls = [] } = trust;
  const result = await verifyDocument(configBytes, signature, { anchors, time, crls, purpose: 'code-signing' });
  if (!result.ok) throw refusal(id, result.problem);
  const config = parseGuestOsConfig(configBytes);
  // A signed configuration under another name would let an old or different GuestOS take this one's place.
  if (config.name !== id.name || config.version !== id.version) {
    const got = `${config.name}-${config.version}`;
    throw new ContainerError(
      'config',
      `verify GuestOS ${id.name}-${id.version}: expected its configuration, got that of ${got}`,
    );
  }
  const configDigest = new Uint8Array(createHash('sha256').update(configBytes).digest());
  return { config, configBytes, configDigest, signature, signer: result.signer };
}

function refusal(id: GuestOsId, problem: DocumentProblem): ContainerError {
  return new ContainerError(CODES[problem.code], `verify GuestOS ${id.name}-${id.version}: ${problem.message}`);
}

const CODES: Readonly<Record<DocumentProblem['code'], 'config' | 'signature' | 'certificate'>> = {
  content: 'config',
  signature: 'signature',
  malformed: 'signature',
  unsupported: 'signature',
  certificate: 'certificate',
  path: 'certificate',
};

/** An open image file. Every pass over it is hashed; the file may be swapped or changed between passes, never within one's result. */
export class ImageFile implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #config: GuestOsConfig;

  /** Made by {@link openImage}. */
  constructor(file: FileHandle, config: GuestOsConfig) {
    this.#file = file;
    this.#config = config;
  }

  /** Hashes every byte. Throws {@link ContainerError} `image` where they are not those that the configuration names. */
  async verify(): Promise<void> {
    await this.pass(async (chunks) => {
      for await (const _ of chunks);
    });
  }

  /**
   * Runs `use` on the bytes from first to last and then compares the digest of exactly the bytes that it was given. Whatever
   * `use` has made counts only if this resolves. Throws {@link ContainerError} `image`, and what `use` throws.
   */
  async pass(use: (chunks: AsyncIterable<Uint8Array>) => Promise<void>): Promise<void> {
    const hash = createHash('sha256');
    const counter = { size: 0 };
    await use(this.#chunks(hash, counter));
    const digest = hash.digest('hex');
    const { size, sha256 } = this.#config.image;
    if (counter.size === size && digest === sha256) return;
    throw imageError(this.#config, `expected ${size} bytes with SHA-256 ${sha256}, got ${counter.size} with ${digest}`);
  }

  /** Closes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async *#chunks(hash: ReturnType<typeof createHash>, counter: { size: number }): AsyncIterable<Uint8Array> {
    const limit = this.#config.image.size;
    for (let position = 0; ; ) {
      const chunk = new Uint8Array(CHUNK);
      const { bytesRead } = await this.#file.read(chunk, 0, CHUNK, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      counter.size += bytesRead;
      // The signed size bounds what an image can cost before it is refused.
      if (counter.size > limit) throw imageError(this.#config, `expected ${limit} bytes, got more`);
      const part = chunk.subarray(0, bytesRead);
      hash.update(part);
      yield part;
    }
  }
}

/** Opens the image that `config` names. Throws {@link ContainerError} `image` where it cannot be opened. */
export async function openImage(store: GuestOsStore, config: GuestOsConfig): Promise<ImageFile> {
  try {
    // Not blocking: what lies in the store may be a pipe that nobody writes to.
    const file = await open(store.imagePath(config), constants.O_RDONLY | constants.O_NONBLOCK);
    return new ImageFile(file, config);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw imageError(config, messageOf(error), error);
    throw imageError(config, 'expected an image, got none', error);
  }
}

function imageError(config: GuestOsConfig, problem: string, cause?: unknown): ContainerError {
  return new ContainerError('image', `verify image of ${config.name}-${config.version}: ${problem}`, { cause });
}

const CHUNK = 1024 * 1024;
