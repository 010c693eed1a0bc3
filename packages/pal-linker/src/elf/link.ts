/** Linking for the processor: relocatable objects and archives in, a measured PAL image with W^X sections out. */
import { PalLinkerError } from '../error.js';
import { buildPalImage, PAL_KIND, PAL_SECTION, type PalSection } from '../image.js';
import {
  integerWithin,
  limitFlags,
  type PalLimitOptions,
  type PalLimits,
  palParameters,
  parameterBytes,
  readLimits,
} from '../parameters.js';
import { isProvidedName, keptSections, type Layout, MAX_REGION, PAGE, planLayout } from './layout.js';
import { findLive } from './liveness.js';
import { type MapEntry, mapOf } from './map.js';
import { planMerges } from './merges.js';
import type { ElfMachine } from './object.js';
import { fillSection, planGot, sharedAddress, slotRuleOf } from './relocate.js';
import { type Linkage, machineOf, type ObjectFile, openLinkage, sharedSymbol } from './symbols.js';

export type { MapEntry } from './map.js';

/** What {@link linkElfPal} makes an image from. */
export interface LinkElfPalOptions extends PalLimitOptions {
  /** Relocatable objects and archives, ELF64, little-endian. Members of archives are taken as they are needed. */
  readonly objects: readonly ObjectFile[];
  /** Letters, digits and `._+-`, at most 64 bytes. */
  readonly name: string;
  /** Letters, digits and `._+-`, at most 64 bytes. */
  readonly version: string;
  /** The service's function, `void pal(uint32_t command, in *, out *, rv *)`; `pal` unless given. */
  readonly entry?: string;
  /** Code that runs in the entry's place and calls it, such as one that runs constructors first; none unless given. */
  readonly start?: string;
  /** Bytes of the stack; 65,536 unless given. It lies between two unmapped pages. */
  readonly stackBytes?: number;
  /** Bytes between `__pal_heap_start` and `__pal_heap_end`; 0 unless given. */
  readonly heapBytes?: number;
}

/** An image and how it came about. */
export interface LinkedElfPal {
  /** The image. */
  readonly image: Uint8Array;
  /** What went where: every function and object that was kept, in the order of addresses. */
  readonly map: readonly MapEntry[];
}

/** Where PALs lie in their own address space: above the first pages, so that a null pointer leads nowhere. */
export const PAL_BASE = 0x40_0000;

const KINDS: Readonly<Record<ElfMachine, 2 | 3>> = { 'x86-64': PAL_KIND.ELF_X86_64, aarch64: PAL_KIND.ELF_AARCH64 };
const TYPES = {
  CODE: PAL_SECTION.CODE,
  RODATA: PAL_SECTION.RODATA,
  DATA: PAL_SECTION.DATA,
  BSS: PAL_SECTION.BSS,
} as const;

/**
 * Links objects for x86-64 or AArch64 into a PAL image. Resolves names over all objects, takes members from archives on
 * demand, drops every section that the entry does not reach, and places the rest at fixed addresses: code that can only be
 * executed and read, constants, data, zeroed memory, a stack between unmapped pages, and the parameters. Nothing but the entry
 * is visible, nothing is left to relocate, and the same inputs give the same bytes.
 *
 * Throws {@link PalLinkerError}; it names object, section and symbol.
 */
export function linkElfPal(options: LinkElfPalOptions): LinkedElfPal {
  const limits = readLimits(options);
  const sizes = readSizes(options, limits);
  const entry = options.entry ?? 'pal';
  const roots = options.start === undefined ? [entry] : [options.start, entry];
  const linkage = openLinkage(options.objects, { roots, isProvided: isProvidedName });
  const machine = machineOf(linkage);
  if (machine === undefined) throw new PalLinkerError('input', 'link PAL: expected an object, got none');
  const merges = planMerges(findLive(linkage, { roots, isProvided: isProvidedName }), machine);
  const got = planGot(keptSections(merges.live), slotRuleOf(machine));
  const layout = planLayout(merges, { ...sizes, gotSlots: got.owners.length });
  const sections = layout.merged.map((section): Omit<PalSection, 'digest'> => {
    const content = section.name === 'BSS' ? NOTHING : fillSection(section, layout, got, machine);
    return { type: TYPES[section.name], address: BigInt(section.address), memorySize: pages(section.size), content };
  });
  const entryAddress = codeAddress(linkage, layout, roots[0] ?? entry);
  const image = buildPalImage({
    kind: KINDS[machine],
    flags: limitFlags(limits),
    name: options.name,
    version: options.version,
    entry,
    entryAddress: BigInt(entryAddress),
    parameters: palParameters(limits),
    memory: memoryOf(layout),
    sections: [...sections, ...regions(layout)],
  });
  return { image, map: mapOf(layout) };
}

const NOTHING = new Uint8Array(0);

function readSizes(options: LinkElfPalOptions, limits: PalLimits) {
  return {
    base: PAL_BASE,
    stackBytes: integerWithin('stackBytes', options.stackBytes ?? 65536, MAX_REGION, PAGE),
    heapBytes: integerWithin('heapBytes', options.heapBytes ?? 0, MAX_REGION),
    parameterBytes: parameterBytes(limits),
  };
}

function pages(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE;
}

/** The entry must be code: an address elsewhere could only fault. */
function codeAddress(linkage: Linkage, layout: Layout, name: string): number {
  const address = sharedAddress(layout, sharedSymbol(linkage, name));
  const code = layout.merged.find((section) => section.name === 'CODE');
  if (code && address >= code.address && address < code.address + code.size) return address;
  throw new PalLinkerError('entry', `link PAL: expected a function, got ${name} outside of the code`, { symbol: name });
}

function regions({ stack, parameters }: Layout): readonly Omit<PalSection, 'digest'>[] {
  return [
    { type: PAL_SECTION.STACK, address: BigInt(stack.address), memorySize: stack.size, content: NOTHING },
    { type: PAL_SECTION.PARAM, address: BigInt(parameters.address), memorySize: parameters.size, content: NOTHING },
  ];
}

function memoryOf({ merged, stack, parameters }: Layout): { initialBytes: number; maximumBytes: number } {
  const sections = merged.reduce((sum, { size }) => sum + pages(size), 0);
  const bytes = sections + stack.size + parameters.size;
  return { initialBytes: bytes, maximumBytes: bytes };
}
