/** Network addresses as text: IPv4 (RFC 6943 section 3.1.1, the strict form), IPv6 (RFC 4291 section 2.2), prefixes and hardware addresses. */
import { bad } from './error.js';

/** An address of a network. */
export interface IpAddress {
  /** 4 or 6. */
  readonly version: 4 | 6;
  /** 4 or 16 bytes. */
  readonly bytes: Uint8Array;
}

/** An address and how many of its leading bits name the network. */
export interface IpPrefix extends IpAddress {
  /** 0 … 32 or 0 … 128. */
  readonly length: number;
}

/** Parses an address. Throws `NamespaceError` `bad-spec`. */
export function parseAddress(text: string): IpAddress {
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  if (!bytes) throw bad(`expected an IP address, got ${JSON.stringify(text)}`);
  return { version: bytes.length === 4 ? 4 : 6, bytes };
}

/** Parses an address with its prefix length, as `10.0.0.2/24`. Throws `NamespaceError` `bad-spec`. */
export function parsePrefix(text: string): IpPrefix {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  if (!match)
    throw bad(`expected an IP address with a prefix length, such as 10.0.0.2/24, got ${JSON.stringify(text)}`);
  const address = parseAddress(match[1] ?? '');
  const length = Number(match[2]);
  if (length > address.bytes.length * 8) {
    throw bad(`expected a prefix length of at most ${address.bytes.length * 8}, got ${JSON.stringify(text)}`);
  }
  return { ...address, length };
}

/** Parses a hardware address that a link can have: six bytes, not of a group. Throws `NamespaceError` `bad-spec`. */
export function parseMac(text: string): Uint8Array {
  const bytes = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)
    ? Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16))
    : undefined;
  const isGroup = ((bytes?.[0] ?? 1) & 1) === 1;
  if (!bytes || isGroup || bytes.every((byte) => byte === 0)) {
    throw bad(`expected a hardware address of one link, such as 02:00:00:00:00:01, got ${JSON.stringify(text)}`);
  }
  return bytes;
}

/** The address as text, IPv6 in the form of RFC 5952. */
export function formatAddress({ version, bytes }: IpAddress): string {
  if (version === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0));
  const { start, length } = longestZeros(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  return length < 2 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/** The address that lies `offset` after the first one of the prefix's network. */
export function addressAt(prefix: IpPrefix, offset: bigint): IpAddress {
  const bits = BigInt(prefix.bytes.length * 8);
  const all = prefix.bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const host = bits - BigInt(prefix.length);
  const value = ((all >> host) << host) + offset;
  const bytes = prefix.bytes.map((_, i) => Number((value >> (bits - 8n - BigInt(i) * 8n)) & 0xffn));
  return { version: prefix.version, bytes };
}

/** How many addresses a prefix has. */
export function sizeOf(prefix: IpPrefix): bigint {
  return 1n << BigInt(prefix.bytes.length * 8 - prefix.length);
}

function parseIpv4(text: string): Uint8Array | undefined {
  // No leading zero: some readers take it for octal.
  if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(text)) return undefined;
  const parts = text.split('.').map(Number);
  return parts.every((part) => part < 256) ? Uint8Array.from(parts) : undefined;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const last = tail ? parseIpv4(tail[2] ?? '') : undefined;
  if (tail && !last) return undefined;
  const plain = last ? `${tail?.[1]}${hexPair(last, 0)}:${hexPair(last, 2)}` : text;
  const halves = plain.split('::');
  if (halves.length > 2) return undefined;
  const [left = [], right = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - left.length - right.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...left, ...Array.from({ length: missing }, () => '0'), ...right];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return Uint8Array.from(
    groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]),
  );
}

function hexPair(bytes: Uint8Array, at: number): string {
  return (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16);
}

function longestZeros(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [i, group] of groups.entries()) {
    if (group !== 0) start = i + 1;
    else if (i + 1 - start > best.length) best = { start, length: i + 1 - start };
  }
  return best;
}
