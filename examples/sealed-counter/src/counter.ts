/** The application's side of the counter: builds the PAL, runs it over a TPM and a directory, and calls it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPal } from '@casemate/pal-linker/build';
import type { TpmTransport } from '@casemate/tpm';
import { openDevice } from '@casemate/tpm/device';
import { directoryStore, openTrustvisor, TrustvisorError } from '@casemate/trustvisor';
import { openDevice as openTzDevice, TzError } from '@casemate/tz';
import { openUtpm } from '@casemate/utpm';
import { directoryState } from '@casemate/utpm/node';

/** Where things are. */
export interface CounterOptions {
  /** The directory of this example: `sealed` is the untrusted storage, `tpm` the software TPM. */
  readonly state: string;
  /** A TPM device such as `/dev/tpmrm0`; a software TPM without it. */
  readonly tpm?: string | undefined;
}

/** A counter at work. */
export interface Counter {
  /** Adds a number above 0 and gives the new value. */
  add(amount: number): Promise<bigint>;
  /** Gives the value. */
  read(): Promise<bigint>;
}

const COMMAND = { ADD: 1, READ: 2 } as const;
const PROJECT = fileURLToPath(new URL('..', import.meta.url));

/** The image; the same bytes each time, so that its measurement is its name. */
export async function buildCounter(): Promise<Uint8Array> {
  const source = { sources: ['assembly/counter.pal.ts'], baseDirectory: PROJECT, engine: 'wasm' } as const;
  const { image } = await buildPal({ ...source, name: 'sealed-counter', version: '1.0.0', replayProtected: true });
  return image;
}

/**
 * Works with the counter. Throws TzError, whose cause is a TrustvisorError `replay` or `sealed-state` where the storage is not the newest, or
 * not ours.
 */
export async function withCounter<T>(
  image: Uint8Array,
  options: CounterOptions,
  work: (counter: Counter) => Promise<T>,
): Promise<T> {
  await mkdir(options.state, { recursive: true });
  const tpm = await openTpm(options);
  try {
    await using trustvisor = await openTrustvisor({ tpm, store: directoryStore(storageOf(options.state)) });
    await using device = await openTzDevice({ trustvisor });
    await using manager = await device.openManager();
    await using session = await device.openSession(await manager.downloadService(image));
    return await work({
      add: async (amount) => counterValue(await session.invoke(COMMAND.ADD, [amount])),
      read: async () => counterValue(await session.invoke(COMMAND.READ)),
    });
  } finally {
    await tpm.close();
  }
}

function counterValue([low, high]: readonly unknown[]): bigint {
  return (BigInt(Number(high)) << 32n) | BigInt(Number(low));
}

/** Why the Trustvisor refused, in a line; `undefined` for any other error. */
export function refusalOf(error: unknown): string | undefined {
  const cause = error instanceof TzError ? error.cause : error;
  return cause instanceof TrustvisorError ? `refused (${cause.code}): ${cause.message}` : undefined;
}

/** What an attacker on the machine can copy and put back. */
export function storageOf(state: string): string {
  return join(state, 'sealed');
}

async function openTpm({ state, tpm }: CounterOptions): Promise<TpmTransport> {
  if (tpm !== undefined) return openDevice(tpm);
  return openUtpm({ state: await directoryState(join(state, 'tpm')), startup: true });
}
