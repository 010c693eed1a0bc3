/** The classic way of TrustVisor's TEE-SDK: PALs inside an application's own ELF. */
export { type ClassicPal, classicScript, type LinkClassicOptions, linkClassic } from './elf/classic.js';
