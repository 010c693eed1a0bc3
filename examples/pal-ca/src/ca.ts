/** Keys in the PAL as keys of `@casemate/pki`. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Signer } from '@casemate/pki';
import { openDevice } from '@casemate/tpm/device';
import { directoryStore, openTrustvisor } from '@casemate/trustvisor';
import { openDevice as openTzDevice, type Session } from '@casemate/tz';
import { openUtpm } from '@casemate/utpm';
import { directoryState } from '@casemate/utpm/node';

/** Where things are. */
export interface CaOptions {
  /** The directory of this example: sealed keys, certificates, the software TPM. */
  readonly state: string;
  /** A TPM device such as `/dev/tpmrm0`; a software TPM without it. */
  readonly tpm?: string | undefined;
}

/** The PAL at work. */
export interface KeyKeeper {
  /** The key of this name, made where there is none. */
  key(name: string): Promise<Signer>;
  /** How many signatures the PAL has ever made, by all keys; the TPM keeps the number. */
  signatures(): Promise<number>;
}

const COMMAND = { CREATE: 0, SIGN: 1, COUNT: 2 } as const;

/** Works with the PAL. Throws TrustvisorError and TzError. */
export async function withKeys<T>(
  image: Uint8Array,
  { state, tpm: path }: CaOptions,
  work: (keys: KeyKeeper) => Promise<T>,
): Promise<T> {
  await mkdir(state, { recursive: true });
  const tpm =
    path === undefined
      ? await openUtpm({ state: await directoryState(join(state, 'tpm')), startup: true })
      : await openDevice(path);
  try {
    const store = directoryStore(join(state, 'pals'));
    await using trustvisor = await openTrustvisor({ tpm, store, engine: 'kvm' });
    await using device = await openTzDevice({ trustvisor });
    await using manager = await device.openManager();
    await using session = await device.openSession(await manager.downloadService(image));
    return await work({
      key: (name) => keyNamed(session, join(state, `${name}.sealed-key`)),
      signatures: async () => Number((await session.invoke(COMMAND.COUNT))[0]),
    });
  } finally {
    await tpm.close();
  }
}

async function keyNamed(session: Session, file: string): Promise<Signer> {
  const kept = await readIfThere(file);
  if (kept !== undefined) return signerOf(session, kept.subarray(POINT), kept.subarray(0, POINT));
  const [sealed, point] = bytesOf(await session.invoke(COMMAND.CREATE));
  if (sealed === undefined || point?.length !== POINT) throw new Error('the PAL made no key');
  await writeWhole(file, Buffer.concat([point, sealed]));
  return signerOf(session, sealed, point);
}

function signerOf(session: Session, sealed: Uint8Array, point: Uint8Array): Signer {
  return {
    algorithm: 'ecdsa-p256-sha256',
    publicKey: new Uint8Array(Buffer.concat([P256_SPKI, point])),
    async sign(data) {
      const [signature] = bytesOf(await session.invoke(COMMAND.SIGN, [new Uint8Array(sealed), data]));
      if (signature === undefined) throw new Error('the PAL gave no signature');
      return signature;
    },
  };
}

function bytesOf(values: readonly unknown[]): readonly Uint8Array[] {
  return values.filter((value): value is Uint8Array => value instanceof Uint8Array);
}

/** The bytes of a file, or `undefined` where there is none. One that is there and cannot be read must not be taken for missing and replaced. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** What is half written would be lost: a key for ever. */
export async function writeWhole(path: string, bytes: Uint8Array | string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  const file = await open(draft, 'wx', 0o600);
  await file.writeFile(bytes);
  await file.sync();
  await file.close();
  await rename(draft, path);
}

const POINT = 65;
/** SubjectPublicKeyInfo of id-ecPublicKey on P-256 (RFC 5480), up to the point. */
const P256_SPKI = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');
