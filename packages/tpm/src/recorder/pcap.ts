/**
 * Packet capture files: pcapng (draft-ietf-opsawg-pcapng), which this package writes too, and the older pcap
 * (draft-ietf-opsawg-pcap).
 */
import { concat } from '../bytes.js';
import { TpmError } from '../response-code.js';
import { LINKTYPE_IPV4 } from './packet.js';

/** One packet of a capture. */
export interface Packet {
  /** Microseconds since 1970. */
  readonly time: number | undefined;
  /** Which section and interface it was captured on; addresses of different ones have nothing to do with each other. */
  readonly section: number;
  /** The link type: what kind of header comes first. */
  readonly linkType: number;
  /** The bytes. */
  readonly bytes: Uint8Array;
  /** The comments on it. */
  readonly comments: readonly string[];
}

/** The packets of a capture file, and what was left out. */
export interface Capture {
  /** Which kind of file. */
  readonly format: 'pcapng' | 'pcap';
  /** The packets in file order. */
  readonly packets: readonly Packet[];
  /** What could not be read. */
  readonly problems: readonly string[];
  /** How many bytes from the start are whole blocks. */
  readonly whole: number;
}

/** Whether the bytes start as a capture file does. */
export function isCapture(bytes: Uint8Array): boolean {
  const magic = bytes.length < 4 ? 0 : viewOf(bytes).getUint32(0);
  return magic === BLOCK.SECTION || PCAP_MAGICS.has(magic);
}

/**
 * Reads a capture file up to where it breaks off. Whoever made the file controls every byte.
 * Throws `TpmError` `decode` where it is no capture file.
 */
export function parseCapture(bytes: Uint8Array): Capture {
  if (bytes.length >= 4 && viewOf(bytes).getUint32(0) === BLOCK.SECTION) return parsePcapng(bytes);
  if (isCapture(bytes)) return parsePcap(bytes);
  throw new TpmError('decode', 'read capture: expected a pcapng or pcap file, got another one');
}

/** The blocks that a pcapng file of bare IPv4 packets starts with. */
export function pcapngHeader(application: string): Uint8Array {
  const versions = concat(u32le(BYTE_ORDER), u16le(1), u16le(0), new Uint8Array(8).fill(0xff));
  const section = block(BLOCK.SECTION, concat(versions, option(OPTION.APPLICATION, application), END_OF_OPTIONS));
  const network = block(BLOCK.INTERFACE, concat(u16le(LINKTYPE_IPV4), u16le(0), u32le(0)));
  return concat(section, network);
}

/** A packet as a block; `time` in microseconds since 1970. */
export function pcapngPacket(time: number, packet: Uint8Array, comment?: string): Uint8Array {
  const high = Math.floor(time / 2 ** 32);
  const low = Math.floor(time) % 2 ** 32;
  const sizes = concat(u32le(0), u32le(high), u32le(low), u32le(packet.length), u32le(packet.length));
  const options = comment === undefined ? NONE : concat(option(OPTION.COMMENT, comment), END_OF_OPTIONS);
  return block(BLOCK.PACKET, concat(sizes, padded(packet), options));
}

interface Section {
  readonly little: boolean;
  readonly number: number;
  readonly interfaces: { readonly linkType: number; readonly unitsPerSecond: number }[];
}

function parsePcapng(bytes: Uint8Array): Capture {
  const packets: Packet[] = [];
  const problems: string[] = [];
  const view = viewOf(bytes);
  let section: Section = { little: true, number: 0, interfaces: [] };
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    if (left < 12) break;
    const isSection = view.getUint32(offset) === BLOCK.SECTION;
    if (isSection) {
      const order = view.getUint32(offset + 8, true);
      section = { little: order === BYTE_ORDER, number: section.number + 1, interfaces: [] };
      if (order !== BYTE_ORDER && order !== SWAPPED_ORDER) break;
    }
    const length = view.getUint32(offset + 4, section.little);
    if (length < 12 || length % 4 !== 0 || length > MAX_BLOCK) {
      problems.push(`the block at offset ${offset} says that it has ${length} bytes; the rest is left out`);
      return { format: 'pcapng', packets, problems, whole: offset };
    }
    if (length > left) break;
    const type = view.getUint32(offset, section.little);
    const body = bytes.subarray(offset + 8, offset + length - 4);
    if (type === BLOCK.INTERFACE && section.interfaces.length < MAX_INTERFACES) addInterface(section, body);
    if (type === BLOCK.PACKET) packets.push(...packetIn(section, body, offset, problems));
    offset += length;
  }
  if (offset < bytes.length) problems.push(`the file breaks off in the block at offset ${offset}`);
  return { format: 'pcapng', packets, problems, whole: offset };
}

function addInterface(section: Section, body: Uint8Array): void {
  if (body.length < 8) return;
  const linkType = viewOf(body).getUint16(0, section.little);
  const resolution = optionsIn(body.subarray(8), section.little).find(({ code }) => code === OPTION.RESOLUTION);
  section.interfaces.push({ linkType, unitsPerSecond: unitsOf(resolution?.value[0] ?? 6) });
}

/** The option if_tsresol: a power of ten, or of two where the highest bit is set. */
function unitsOf(resolution: number): number {
  return resolution < 0x80 ? 10 ** Math.min(resolution, 15) : 2 ** Math.min(resolution & 0x7f, 50);
}

function packetIn(section: Section, body: Uint8Array, offset: number, problems: string[]): Packet[] {
  const view = viewOf(body);
  const network = body.length < 20 ? undefined : section.interfaces[view.getUint32(0, section.little)];
  const size = body.length < 20 ? 0 : view.getUint32(12, section.little);
  if (network === undefined || size > body.length - 20) {
    problems.push(`the packet at offset ${offset} is malformed`);
    return [];
  }
  const ticks = view.getUint32(4, section.little) * 2 ** 32 + view.getUint32(8, section.little);
  const time = network.unitsPerSecond === 1e6 ? ticks : Math.round((ticks / network.unitsPerSecond) * 1e6);
  const options = optionsIn(body.subarray(20 + roundUp(size)), section.little);
  const comments = options.filter(({ code }) => code === OPTION.COMMENT).map(({ value }) => textOf(value));
  const bytes = body.subarray(20, 20 + size);
  return [{ time, section: section.number, linkType: network.linkType, bytes, comments }];
}

function optionsIn(bytes: Uint8Array, little: boolean): { readonly code: number; readonly value: Uint8Array }[] {
  const view = viewOf(bytes);
  const options: { readonly code: number; readonly value: Uint8Array }[] = [];
  for (let offset = 0; offset + 4 <= bytes.length && options.length < MAX_OPTIONS; ) {
    const code = view.getUint16(offset, little);
    const length = view.getUint16(offset + 2, little);
    if (code === 0 || offset + 4 + length > bytes.length) break;
    options.push({ code, value: bytes.subarray(offset + 4, offset + 4 + length) });
    offset += 4 + roundUp(length);
  }
  return options;
}

function parsePcap(bytes: Uint8Array): Capture {
  const packets: Packet[] = [];
  if (bytes.length < 24) return { format: 'pcap', packets, problems: ['the file breaks off in its header'], whole: 0 };
  const view = viewOf(bytes);
  const { little, perMicrosecond } = PCAP_MAGICS.get(view.getUint32(0)) ?? { little: false, perMicrosecond: 1 };
  const linkType = view.getUint32(20, little) & 0xffff;
  let offset = 24;
  while (offset + 16 <= bytes.length) {
    const size = view.getUint32(offset + 8, little);
    if (size > bytes.length - offset - 16) break;
    const time = view.getUint32(offset, little) * 1e6 + view.getUint32(offset + 4, little) / perMicrosecond;
    const packet = bytes.subarray(offset + 16, offset + 16 + size);
    packets.push({ time: Math.floor(time), section: 0, linkType, bytes: packet, comments: [] });
    offset += 16 + size;
  }
  const problems = offset < bytes.length ? [`the file breaks off in the packet at offset ${offset}`] : [];
  return { format: 'pcap', packets, problems, whole: offset };
}

function block(type: number, body: Uint8Array): Uint8Array {
  const content = padded(body);
  const length = u32le(content.length + 12);
  return concat(u32le(type), length, content, length);
}

function option(code: number, text: string): Uint8Array {
  const value = new TextEncoder().encode(text);
  return concat(u16le(code), u16le(value.length), padded(value));
}

function padded(bytes: Uint8Array): Uint8Array {
  return bytes.length % 4 === 0 ? bytes : concat(bytes, new Uint8Array(roundUp(bytes.length) - bytes.length));
}

function roundUp(length: number): number {
  return Math.ceil(length / 4) * 4;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function u16le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >>> 8);
}

function u32le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

const NONE = new Uint8Array(0);
const END_OF_OPTIONS = new Uint8Array(4);
/** The type of a section header is the same in both byte orders. */
const BLOCK = { SECTION: 0x0a0d0d0a, INTERFACE: 1, PACKET: 6 } as const;
const OPTION = { COMMENT: 1, APPLICATION: 4, RESOLUTION: 9 } as const;
const BYTE_ORDER = 0x1a2b3c4d;
const SWAPPED_ORDER = 0x4d3c2b1a;
const MAX_BLOCK = 0x1000000;
const MAX_INTERFACES = 1024;
const MAX_OPTIONS = 64;
const PCAP_MAGICS: ReadonlyMap<number, { readonly little: boolean; readonly perMicrosecond: number }> = new Map([
  [0xa1b2c3d4, { little: false, perMicrosecond: 1 }],
  [0xd4c3b2a1, { little: true, perMicrosecond: 1 }],
  [0xa1b23c4d, { little: false, perMicrosecond: 1000 }],
  [0x4d3cb2a1, { little: true, perMicrosecond: 1000 }],
]);
