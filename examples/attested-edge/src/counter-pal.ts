/** The counter PAL as its parts know it: what it is made from, the commands that it answers, and its image. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linkPal } from '@casemate/pal-linker';

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

/** The directory of this example, seen from `src` and from `dist`. */
export const BASE = fileURLToPath(new URL('..', import.meta.url));

/** The counter as WebAssembly. The build of this example compiles it: the compiler takes longer than all steps of the main job. */
export const COUNTER_MODULE = join(BASE, 'dist', 'counter.wasm');

/** Links the compiled counter. `alter` changes the module before it is linked, as an attacker with a linker would. Throws PalLinkerError. */
export async function linkCounter(alter = (module: Uint8Array) => module): Promise<Uint8Array> {
  return linkModule(COUNTER, alter(new Uint8Array(await readFile(COUNTER_MODULE))));
}

/** Links what a PAL's source was compiled to. Throws PalLinkerError. */
export function linkModule({ name, version, replayProtected }: PalSource, module: Uint8Array): Uint8Array {
  return linkPal({ module, name, version, replayProtected });
}
