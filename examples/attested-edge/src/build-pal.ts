/** Builds a PAL: AssemblyScript source, through its compiler and the PAL linker, to a measured image. */
import { main } from 'assemblyscript/asc';
import { BASE, linkModule, type PalSource } from './counter-pal.js';

/** Compiles and links a PAL. Throws with the compiler's messages, or PalLinkerError. */
export async function buildPal(pal: PalSource): Promise<Uint8Array> {
  return linkModule(pal, await compileAssembly(pal.source));
}

/** Compiles a source below the example's directory to WebAssembly. Throws with the compiler's messages. */
export async function compileAssembly(source: string): Promise<Uint8Array> {
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
