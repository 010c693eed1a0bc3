/** Builds the PAL: AssemblyScript source, through its compiler and the PAL linker, to a measured image. */
import { fileURLToPath } from 'node:url';
import { linkPal } from '@casemate/pal-linker';
import { main } from 'assemblyscript/asc';

/** What to build; `source` is a path below the example's directory. */
export interface PalSource {
  readonly source: string;
  readonly name: string;
  readonly version: string;
  readonly replayProtected: boolean;
}

/** The counter of this example: its value is replay-protected state. */
export const COUNTER: PalSource = {
  source: 'assembly/counter.pal.ts',
  name: 'counter',
  version: '1.0.0',
  replayProtected: true,
};

/** The commands that the counter answers. */
export const COUNTER_COMMAND = { INCREMENT: 1, READ: 2 } as const;

/**
 * Compiles and links a PAL. `alter` changes the compiled module before it is linked, as an attacker with a linker would. Throws with
 * the compiler's messages, or PalLinkerError.
 */
export async function buildPal(pal: PalSource, alter = (module: Uint8Array) => module): Promise<Uint8Array> {
  const module = alter(await compileAssembly(pal.source));
  return linkPal({ module, name: pal.name, version: pal.version, replayProtected: pal.replayProtected });
}

async function compileAssembly(source: string): Promise<Uint8Array> {
  const output: { bytes?: Uint8Array } = {};
  const { error, stderr } = await main(
    // No runtime but an allocator: the memory of a replay-protected PAL lasts for one call. An assertion traps.
    [source, '--baseDir', BASE, '--outFile', 'pal.wasm', '--runtime', 'stub', '--use', 'abort=', '-O2', '--noColors'],
    { writeFile: (name, contents) => keepWasm(output, name, contents) },
  );
  if (error) throw new Error(`compile ${source}: ${stderr.toString() || error.message}`);
  if (!output.bytes) throw new Error(`compile ${source}: expected a module, got nothing`);
  return output.bytes;
}

function keepWasm(output: { bytes?: Uint8Array }, name: string, contents: Uint8Array | string): void {
  if (name === 'pal.wasm' && typeof contents !== 'string') output.bytes = contents;
}

/** The directory of this example, seen from `src` and from `dist`. */
const BASE = fileURLToPath(new URL('..', import.meta.url));
