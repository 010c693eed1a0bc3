/** Builds the PAL from its sources, and calls it. */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPal } from '@casemate/pal-linker/build';
import { memoryStore, openTrustvisor } from '@casemate/trustvisor';
import { openDevice } from '@casemate/tz';

/** What is built, and where it runs. */
export interface HelloOptions {
  /** A virtual machine, or WebAssembly. */
  readonly engine: 'kvm' | 'wasm';
  /** A directory with another hellopal.c and what belongs to it, such as the TEE-SDK's own; that of this example without it. */
  readonly sources?: string | undefined;
}

const PROJECT = fileURLToPath(new URL('..', import.meta.url));

/** The image. Throws PalLinkerError with what the compiler says. */
export async function buildHello({ engine, sources }: HelloOptions): Promise<Uint8Array> {
  const directory = resolve(sources ?? join(PROJECT, 'pal'));
  // The original has its application beside the PAL.
  const files = readdirSync(directory).filter((name) => name.endsWith('.c') && name !== 'hello.c');
  const { image } = await buildPal({
    sources: files.map((name) => join(directory, name)),
    baseDirectory: PROJECT,
    engine,
    name: 'hellopal',
    version: '1.0.0',
    entry: 'hellopal',
    compilerOptions: ['-Wall'],
  });
  return image;
}

/** Calls the PAL with each of `texts`, without one first, and hands on what it prints. */
export async function sayHello(
  image: Uint8Array,
  texts: readonly string[],
  { engine }: Pick<HelloOptions, 'engine'>,
  print: (text: string) => void,
): Promise<void> {
  await using trustvisor = await openTrustvisor({
    store: memoryStore(),
    engine,
    insecureAllowEphemeral: true, // it keeps nothing, so it needs no TPM
    onPrint: (_name, text) => print(text),
  });
  await using device = await openDevice({ trustvisor });
  await using manager = await device.openManager();
  await using session = await device.openSession(await manager.downloadService(image));
  await session.invoke(0);
  for (const text of texts) await session.invoke(0, [text]);
}
