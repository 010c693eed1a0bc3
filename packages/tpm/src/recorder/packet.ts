/** TPM traffic as IPv4 and TCP packets, the form in which pcap files carry it (RFC 791, RFC 9293). */
import { concat, u16Bytes, u32Bytes } from '../bytes.js';

/** What one packet carries of a TCP connection. */
export interface Segment {
  /** Address and port of the sender. */
  readonly from: string;
  /** Address and port of the receiver. */
  readonly to: string;
  /** The number of the first byte of `payload` in the stream. */
  readonly sequence: number;
  /** The bytes. */
  readonly payload: Uint8Array;
}

/** Link types of pcap files (https://www.tcpdump.org/linktypes.html) and how many bytes stand before the IP header. */
const LINK_HEADERS: Readonly<Record<number, number>> = {
  0: 4,
  1: 14,
  12: 0,
  101: 0,
  108: 4,
  113: 16,
  228: 0,
  229: 0,
  276: 20,
};

/** The link type of bare IPv4 packets. */
export const LINKTYPE_IPV4 = 228;

/** Addresses and ports of the packets that {@link tcpPacket} makes; 2321 is the port of TPM simulators. */
const CLIENT = { address: Uint8Array.of(127, 0, 0, 1), port: 50000 };
const SERVER = { address: Uint8Array.of(127, 0, 0, 2), port: 2321 };

/** The TCP segment in a captured packet, or `undefined` where there is none. Whoever made the file controls every byte. */
export function parseSegment(linkType: number, packet: Uint8Array): Segment | undefined {
  const start = LINK_HEADERS[linkType];
  if (start === undefined || packet.length < start + 40) return undefined;
  const ip = packet.subarray(start);
  const version = (ip[0] ?? 0) >>> 4;
  if (version === 4) return parseIpv4(ip);
  return version === 6 ? parseIpv6(ip) : undefined;
}

/** One packet of TPM bytes between the two ends of a recording; `sequence` counts the bytes in its direction. */
export function tcpPacket(toServer: boolean, sequence: number, acknowledged: number, payload: Uint8Array): Uint8Array {
  const [from, to] = toServer ? [CLIENT, SERVER] : [SERVER, CLIENT];
  const length = IPV4_HEADER + TCP_HEADER + payload.length;
  const ip = concat(Uint8Array.of(0x45, 0), u16Bytes(length), u32Bytes(DONT_FRAGMENT), Uint8Array.of(64, TCP, 0, 0));
  const header = concat(ip, from.address, to.address);
  const checksum = ipChecksum(header);
  header.set(u16Bytes(checksum), 10);
  const ports = concat(u16Bytes(from.port), u16Bytes(to.port));
  const numbers = concat(u32Bytes(sequence), u32Bytes(acknowledged));
  // Header of five words; PSH and ACK; the whole window; the checksum that stands for "not computed".
  const flags = Uint8Array.of(0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0);
  return concat(header, ports, numbers, flags, payload);
}

function parseIpv4(ip: Uint8Array): Segment | undefined {
  const headerLength = ((ip[0] ?? 0) & 0x0f) * 4;
  const total = ((ip[2] ?? 0) << 8) | (ip[3] ?? 0);
  if (ip[9] !== TCP || headerLength < IPV4_HEADER || total > ip.length) return undefined;
  // A length of 0 is left to the network card by some captures.
  const end = total === 0 ? ip.length : total;
  return parseTcp(ip.subarray(headerLength, end), address(ip.subarray(12, 16)), address(ip.subarray(16, 20)));
}

function parseIpv6(ip: Uint8Array): Segment | undefined {
  const length = ((ip[4] ?? 0) << 8) | (ip[5] ?? 0);
  if (ip[6] !== TCP || 40 + length > ip.length) return undefined;
  return parseTcp(ip.subarray(40, 40 + length), address(ip.subarray(8, 24)), address(ip.subarray(24, 40)));
}

function parseTcp(tcp: Uint8Array, from: string, to: string): Segment | undefined {
  if (tcp.length < TCP_HEADER) return undefined;
  const view = new DataView(tcp.buffer, tcp.byteOffset, tcp.length);
  const headerLength = (view.getUint8(12) >>> 4) * 4;
  if (headerLength < TCP_HEADER || headerLength > tcp.length) return undefined;
  return {
    from: `${from}:${view.getUint16(0)}`,
    to: `${to}:${view.getUint16(2)}`,
    sequence: view.getUint32(4),
    payload: tcp.subarray(headerLength),
  };
}

function address(bytes: Uint8Array): string {
  return [...bytes].join('.');
}

function ipChecksum(header: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += ((header[i] ?? 0) << 8) | (header[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const TCP = 6;
const IPV4_HEADER = 20;
const TCP_HEADER = 20;
const DONT_FRAGMENT = 0x4000;
