/** A readable description of a PAL image, for people and for reports. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { openPalFile, PAL_FLAGS, type PalImage, type PalParameter, type PalSection } from './image.js';
import type { PalSignatureBlock } from './signature-block.js';

/** One section of {@link PalDescription}. */
export interface SectionDescription {
  /** `CODE`, `DATA`, `PARAM`, `STACK`, `RODATA` or `BSS`. */
  readonly type: string;
  /** Where it lies in the PAL's memory, hexadecimal. */
  readonly address: string;
  /** Bytes in memory. */
  readonly memorySize: number;
  /** Bytes in the image. */
  readonly contentSize: number;
  /** SHA-256 of its content, hexadecimal. */
  readonly digest: string;
}

/** The signature block of {@link PalDescription}. */
export interface SignatureDescription {
  /** The key type and scheme, for example `ecdsa-p256-sha256`. */
  readonly algorithm: string;
  /** SHA-256 of the signer's public key (SubjectPublicKeyInfo), hexadecimal. */
  readonly signer: string;
  /** The security version. */
  readonly securityVersion: number;
}

/** What {@link inspectPal} returns; it can be printed as JSON. */
export interface PalDescription {
  /** `wasm`, `elf-x86-64` or `elf-aarch64`. */
  readonly kind: 'wasm' | 'elf-x86-64' | 'elf-aarch64';
  /** The PAL's name. */
  readonly name: string;
  /** The PAL's version. */
  readonly version: string;
  /** SHA-256 of the whole image without its signature block, hexadecimal. */
  readonly measurement: string;
  /** Bytes of the image without its signature block. */
  readonly size: number;
  /** What its signature block claims, which nobody has verified here; `null` where it has none. */
  readonly signature: SignatureDescription | null;
  /** The entry's name and its address (for WebAssembly its function index). */
  readonly entry: { readonly name: string; readonly address: string };
  /** The entry's parameters in order; sizes in bytes. */
  readonly parameters: readonly { readonly type: string; readonly access: string; readonly size: number }[];
  /** The PAL's own memory in bytes, at the start and at most. */
  readonly memory: { readonly initialBytes: number; readonly maximumBytes: number };
  /** Whether its state is protected against replay. */
  readonly replayProtected: boolean;
  /** What a reviewer should know. */
  readonly notes: readonly string[];
  /** The sections in order. */
  readonly sections: readonly SectionDescription[];
}

/** Describes an image. Throws {@link PalLinkerError} with code `image`, or `signature` where its block is malformed. */
export function inspectPal(file: Uint8Array): PalDescription {
  const { value, image, block } = openPalFile(file);
  return {
    kind: KINDS[value.kind],
    name: value.name,
    version: value.version,
    measurement: bytesToHex(sha256(image)),
    size: image.length,
    signature: block ? describeSignature(block) : null,
    entry: { name: value.entry, address: hex(value.entryAddress) },
    parameters: value.parameters.map(describeParameter),
    memory: value.memory,
    replayProtected: (value.flags & PAL_FLAGS.replayProtected) !== 0,
    notes: notesOn(value),
    sections: value.sections.map(describeSection),
  };
}

const KINDS = { 1: 'wasm', 2: 'elf-x86-64', 3: 'elf-aarch64' } as const;
const SECTIONS = { 1: 'CODE', 2: 'DATA', 3: 'PARAM', 4: 'STACK', 8: 'RODATA', 9: 'BSS' } as const;
const PARAMETERS = { 1: 'integer', 2: 'pointer' } as const;
const ACCESS = { 1: 'in', 2: 'out', 3: 'inout' } as const;

function describeParameter(parameter: PalParameter): PalDescription['parameters'][number] {
  return { type: PARAMETERS[parameter.type], access: ACCESS[parameter.access], size: parameter.size };
}

function describeSignature({ algorithm, publicKey, securityVersion }: PalSignatureBlock): SignatureDescription {
  return { algorithm, signer: bytesToHex(sha256(publicKey)), securityVersion };
}

function describeSection(section: PalSection): SectionDescription {
  return {
    type: SECTIONS[section.type],
    address: hex(section.address),
    memorySize: section.memorySize,
    contentSize: section.content.length,
    digest: bytesToHex(section.digest),
  };
}

function notesOn(image: PalImage): readonly string[] {
  const floating = 'computes with floating-point numbers: NaN payloads may differ between processors';
  return (image.flags & PAL_FLAGS.floatingPoint) === 0 ? [] : [floating];
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
