/** From sources to a PAL for an application's own ELF: the classic way of the TEE-SDK. */
import { resolve } from 'node:path';
import { type ClassicPal, linkClassic } from '../elf/classic.js';
import type { ObjectFile } from '../elf/symbols.js';
import { type PalDiagnostic, PalLinkerError } from '../error.js';
import { collectObjects, type ObjectOptions } from './objects.js';
import { planSources } from './sources.js';
import { inTemporaryDirectory } from './tools.js';

/** What {@link buildClassicPal} builds. */
export interface BuildClassicOptions extends ObjectOptions {
  /** C (`.c`), C++ (`.cc`, `.cpp`, `.cxx`), assembler (`.s`, `.S`), objects (`.o`) and archives (`.a`). */
  readonly sources: readonly string[];
  /** The PAL's name. */
  readonly name: string;
  /** The PAL's function; `pal` unless given. */
  readonly entry?: string;
  /** The name that the application calls it by; that of the function unless given. */
  readonly symbol?: string;
  /** Bytes between `__pal_heap_start` and `__pal_heap_end`; 0 unless given. */
  readonly heapBytes?: number;
}

/** A PAL for an application's ELF and how it came about. */
export interface BuiltClassicPal extends ClassicPal {
  /** Every file that it was made from, absolute. */
  readonly dependencies: readonly string[];
  /** What compilers warned of. */
  readonly warnings: readonly PalDiagnostic[];
}

/** Compiles and links with {@link linkClassic}. Throws {@link PalLinkerError} as `buildPal` does. */
export async function buildClassicPal(options: BuildClassicOptions): Promise<BuiltClassicPal> {
  const base = resolve(options.baseDirectory ?? '.');
  const plan = planSources(options.sources.map((path) => resolve(base, path)));
  if (plan.kind === 'module') {
    throw new PalLinkerError('input', 'build PAL: expected C or objects for the classic way, got a module');
  }
  return await inTemporaryDirectory(async (temporary) => {
    const job = { ...options, base, temporary, target: 'x86-64', isMovable: true } as const;
    const { objects, dependencies, diagnostics, library } = await collectObjects(job, plan);
    options.onStep?.('link');
    const linked = await linkWithLibrary(options, objects, library);
    return { ...linked, dependencies, warnings: diagnostics };
  });
}

async function linkWithLibrary(
  { name, entry, symbol, heapBytes }: BuildClassicOptions,
  objects: readonly ObjectFile[],
  library: () => Promise<readonly ObjectFile[]>,
): Promise<ClassicPal> {
  const how = {
    name,
    ...(entry && { entry }),
    ...(symbol && { symbol }),
    ...(heapBytes !== undefined && { heapBytes }),
  };
  try {
    return linkClassic({ ...how, objects });
  } catch (error) {
    if (!(error instanceof PalLinkerError) || error.code !== 'undefined-symbol') throw error;
    return linkClassic({ ...how, objects: [...objects, ...(await library())] });
  }
}
