/** The PAL: built from C, run over a software TPM and a directory that keep what must outlive the program, and called by the TZ API. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPal } from '@casemate/pal-linker/build';
import { directoryStore, openTrustvisor } from '@casemate/trustvisor';
import { openDevice, type Session } from '@casemate/tz';
import { openUtpm } from '@casemate/utpm';
import { directoryState } from '@casemate/utpm/node';

/** What is built, and where it runs. */
export interface ServiceOptions {
  /** A virtual machine, or WebAssembly. */
  readonly engine: 'kvm' | 'wasm';
  /** A directory with another pals.c that has the same commands, such as the TEE-SDK's own; that of this example without it. */
  readonly sources?: string | undefined;
  /** The directory that keeps the TPM and what is sealed. */
  readonly state: string;
}

const PROJECT = fileURLToPath(new URL('..', import.meta.url));

/** The image; the same bytes each time, as what is sealed is for this PAL alone. Throws PalLinkerError with what the compiler says. */
export async function buildService(options: Pick<ServiceOptions, 'engine' | 'sources'>): Promise<Uint8Array> {
  const { image } = await buildPal({
    sources: [join(resolve(options.sources ?? join(PROJECT, 'pal')), 'pals.c')],
    baseDirectory: PROJECT,
    engine: options.engine,
    name: 'pals',
    version: '1.0.0',
    entry: 'pals',
    compilerOptions: ['-Wall', '-Wextra', '-Werror'],
  });
  return image;
}

/** Opens a session to the PAL for `work`. */
export async function withService<T>(
  image: Uint8Array,
  { engine, state }: ServiceOptions,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  await mkdir(state, { recursive: true });
  const tpm = await openUtpm({ state: await directoryState(join(state, 'tpm')), startup: true });
  try {
    const store = directoryStore(join(state, 'store'));
    await using trustvisor = await openTrustvisor({
      tpm,
      store,
      engine,
      onPrint: (_, text) => void process.stdout.write(text),
    });
    await using device = await openDevice({ trustvisor });
    await using manager = await device.openManager();
    await using session = await device.openSession(await manager.downloadService(image));
    return await work(session);
  } finally {
    await tpm.close();
  }
}
