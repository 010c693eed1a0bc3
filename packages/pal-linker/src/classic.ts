/** The classic way of TrustVisor's TEE-SDK: PALs inside an application's own ELF. */
export { type ClassicPal, classicScript, type LinkClassicOptions, linkClassic } from './elf/classic.js';
export type { MapEntry } from './elf/map.js';
export type { ElfMachine } from './elf/object.js';
export type { ObjectFile } from './elf/symbols.js';
