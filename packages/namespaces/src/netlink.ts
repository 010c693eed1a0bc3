/** Requests to the kernel's routing socket: rtnetlink(7), netlink(7), linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h. */
import type { IpAddress, IpPrefix } from './addresses.js';

/** A request whose numbers that only the launcher can know are still open. */
export interface NetlinkRequest {
  /** What it does, for people and for error messages. */
  readonly what: string;
  /** The bytes of the message, in the byte order of the machine (all that we build for are little-endian). */
  readonly message: Uint8Array;
  /** Where the launcher writes a 32-bit number: the index of the named link, or for an empty name the sandbox's process id. */
  readonly references: readonly { readonly at: number; readonly link: string }[];
}

/** One end of a new link. */
export interface LinkEndRequest {
  /** Its name. */
  readonly name: string;
  /** Hardware address. */
  readonly mac?: Uint8Array | undefined;
  /** Largest packet. */
  readonly mtu?: number | undefined;
}

/** A number that the launcher fills in. */
interface Reference {
  readonly link: string;
}

type Value = Uint8Array | Reference | readonly Attribute[];

interface Attribute {
  readonly type: number;
  readonly value: Value;
}

const SANDBOX: Reference = { link: '' };

/** Makes a pair of ends, the first one here and up, the second one in the sandbox and down: the kernel has no cable yet to set it up. */
export function createVeth(
  here: LinkEndRequest & { readonly bridge?: string | undefined },
  there: LinkEndRequest,
): NetlinkRequest {
  const peer = new Builder();
  peer.bytes(linkHeader(0));
  peer.attributes([...endAttributes(there), { type: IFLA.NET_NS_PID, value: SANDBOX }]);
  const data: readonly Attribute[] = [{ type: VETH_INFO_PEER, value: peer.finish() }];
  const request = new Builder();
  request.bytes(linkHeader(UP));
  request.attributes([
    ...endAttributes(here),
    ...(here.bridge === undefined ? [] : [{ type: IFLA.MASTER, value: { link: here.bridge } }]),
  ]);
  // The peer's references lie inside an attribute that is already bytes: they are moved along.
  request.kind('veth', data, peer.references);
  return request.request(`create link ${here.name}`, RTM.NEWLINK, CREATE);
}

/** Makes a macvlan link on `parent` in the sandbox. */
export function createMacvlan(
  parent: string,
  mode: 'private' | 'vepa' | 'bridge',
  there: LinkEndRequest,
): NetlinkRequest {
  const request = new Builder();
  request.bytes(linkHeader(0));
  request.attributes([
    ...endAttributes(there),
    { type: IFLA.LINK, value: { link: parent } },
    { type: IFLA.NET_NS_PID, value: SANDBOX },
  ]);
  request.kind('macvlan', [{ type: IFLA_MACVLAN_MODE, value: u32(MACVLAN_MODES[mode]) }], []);
  return request.request(`create link ${there.name}`, RTM.NEWLINK, CREATE);
}

/** Moves a link into the sandbox, under another name if one is given. */
export function moveLink(source: string, name: string | undefined): NetlinkRequest {
  const request = new Builder();
  request.bytes(linkHeader(0));
  request.reference(LINK_INDEX, source);
  request.attributes([
    { type: IFLA.NET_NS_PID, value: SANDBOX },
    ...(name === undefined ? [] : [{ type: IFLA.IFNAME, value: text(name) }]),
  ]);
  return request.request(`move link ${source}`, RTM.NEWLINK, 0);
}

/** Sets a link up, with a hardware address and size if they are given. */
export function setLink({ name, mac, mtu }: LinkEndRequest): NetlinkRequest {
  const request = new Builder();
  request.bytes(linkHeader(UP));
  request.reference(LINK_INDEX, name);
  request.attributes([
    ...(mac ? [{ type: IFLA.ADDRESS, value: mac }] : []),
    ...(mtu === undefined ? [] : [{ type: IFLA.MTU, value: u32(mtu) }]),
  ]);
  return request.request(`set up link ${name}`, RTM.NEWLINK, 0);
}

/** Gives a link an address, usable at once. */
export function addAddress(link: string, { version, bytes, length }: IpPrefix): NetlinkRequest {
  const request = new Builder();
  request.bytes(Uint8Array.of(FAMILY[version], length, version === 6 ? IFA_F_NODAD : 0, 0, 0, 0, 0, 0));
  request.reference(4, link);
  request.attributes([
    { type: IFA_LOCAL, value: bytes },
    { type: IFA_ADDRESS, value: bytes },
  ]);
  return request.request(`add address to ${link}`, RTM.NEWADDR, CREATE);
}

/** A route: everything that RTM_NEWROUTE takes here. */
export interface RouteRequest {
  /** As the caller wrote it. */
  readonly to: string;
  /** Where to; undefined is everywhere. */
  readonly prefix: IpPrefix | undefined;
  /** Gateway. */
  readonly via: IpAddress | undefined;
  /** Link. */
  readonly link: string | undefined;
  /** Whether the gateway is on the link whatever the addresses say. */
  readonly onLink: boolean;
  /** Source address of what takes it. */
  readonly source: IpAddress | undefined;
  /** Lower is preferred. */
  readonly metric: number | undefined;
  /** 4 or 6. */
  readonly version: 4 | 6;
}

/** Adds a route. */
export function addRoute({ to, prefix, via, link, onLink, source, metric, version }: RouteRequest): NetlinkRequest {
  const request = new Builder();
  const scope = version === 4 && !via ? RT_SCOPE_LINK : 0;
  const family = FAMILY[version];
  request.bytes(Uint8Array.of(family, prefix?.length ?? 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST));
  request.bytes(u32(onLink ? RTNH_F_ONLINK : 0));
  request.attributes([
    ...(prefix ? [{ type: RTA.DST, value: prefix.bytes }] : []),
    ...(via ? [{ type: RTA.GATEWAY, value: via.bytes }] : []),
    ...(link === undefined ? [] : [{ type: RTA.OIF, value: { link } }]),
    ...(source ? [{ type: RTA.PREFSRC, value: source.bytes }] : []),
    ...(metric === undefined ? [] : [{ type: RTA.PRIORITY, value: u32(metric) }]),
  ]);
  return request.request(`add route to ${to}`, RTM.NEWROUTE, CREATE);
}

function endAttributes({ name, mac, mtu }: LinkEndRequest): readonly Attribute[] {
  return [
    { type: IFLA.IFNAME, value: text(name) },
    ...(mac ? [{ type: IFLA.ADDRESS, value: mac }] : []),
    ...(mtu === undefined ? [] : [{ type: IFLA.MTU, value: u32(mtu) }]),
  ];
}

// struct ifinfomsg: family, padding, type, index, flags, which flags change
function linkHeader(flags: number): Uint8Array {
  const header = new Uint8Array(16);
  new DataView(header.buffer).setUint32(8, flags, true);
  new DataView(header.buffer).setUint32(12, flags, true);
  return header;
}

/** Grows the part of a message behind its header, and remembers what is still open in it. */
class Builder {
  readonly #bytes: number[] = [];
  readonly references: { at: number; link: string }[] = [];

  bytes(bytes: Uint8Array): void {
    this.#bytes.push(...bytes);
  }

  reference(at: number, link: string): void {
    this.references.push({ at, link });
  }

  attributes(attributes: readonly Attribute[]): void {
    for (const { type, value } of attributes) this.#attribute(type, () => this.#value(value));
  }

  kind(
    name: string,
    data: readonly Attribute[],
    inData: readonly { readonly at: number; readonly link: string }[],
  ): void {
    this.#attribute(IFLA.LINKINFO | NESTED, () => {
      this.attributes([{ type: IFLA_INFO_KIND, value: text(name) }]);
      this.#attribute(IFLA_INFO_DATA | NESTED, () => {
        const start = this.#bytes.length + ATTRIBUTE_HEADER;
        this.attributes(data);
        for (const { at, link } of inData) this.reference(start + at, link);
      });
    });
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  request(what: string, type: number, flags: number): NetlinkRequest {
    const message = new Uint8Array(MESSAGE_HEADER + this.#bytes.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, message.length, true);
    view.setUint16(4, type, true);
    view.setUint16(6, NLM_F_REQUEST | NLM_F_ACK | flags, true);
    message.set(this.#bytes, MESSAGE_HEADER);
    const references = this.references.map(({ at, link }) => ({ at: at + MESSAGE_HEADER, link }));
    return { what, message, references };
  }

  #attribute(type: number, write: () => void): void {
    const start = this.#bytes.length;
    this.#bytes.push(0, 0, type & 0xff, type >> 8);
    write();
    const length = this.#bytes.length - start;
    this.#bytes[start] = length & 0xff;
    this.#bytes[start + 1] = length >> 8;
    while (this.#bytes.length % 4 !== 0) this.#bytes.push(0);
  }

  #value(value: Value): void {
    if (value instanceof Uint8Array) this.bytes(value);
    else if ('link' in value) {
      this.reference(this.#bytes.length, value.link);
      this.bytes(u32(0));
    } else this.attributes(value);
  }
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

const MESSAGE_HEADER = 16;
const ATTRIBUTE_HEADER = 4;
const LINK_INDEX = 4; // in struct ifinfomsg
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const CREATE = 0x600; // NLM_F_CREATE | NLM_F_EXCL
const NESTED = 0x8000;
const UP = 1;

const RTM = { NEWLINK: 16, NEWADDR: 20, NEWROUTE: 24 } as const;
const FAMILY = { 4: 2, 6: 10 } as const;

// linux/if_link.h
const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, LINK: 5, MASTER: 10, LINKINFO: 18, NET_NS_PID: 19 } as const;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_MACVLAN_MODE = 1;
const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4 } as const;

// linux/if_addr.h
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_F_NODAD = 2;

// linux/rtnetlink.h
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7 } as const;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;
const RTNH_F_ONLINK = 4;
