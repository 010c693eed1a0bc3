/** The network of a sandbox as operations: links from outside, addresses and routes inside, and the files that name hosts. */
import { formatAddress, type IpPrefix, parseAddress, parseMac, parsePrefix } from './addresses.js';
import type { Caller } from './caller.js';
import { bad } from './error.js';
import type { FileMount } from './mount-spec.js';
import {
  addAddress,
  addRoute,
  createMacvlan,
  createVeth,
  type LinkEndRequest,
  moveLink,
  type NetlinkRequest,
  setLink,
} from './netlink.js';
import type { DnsSpec, LinkEnd, LinkSpec, RouteSpec, VethLink } from './network-spec.js';
import { type Operation, shared } from './operations.js';
import type { NamespaceKind, SandboxSpec } from './spec.js';

/** What the network of a sandbox takes. */
export interface NetworkPlan {
  /** Performed outside, in the caller's network namespace. */
  readonly outside: readonly Operation[];
  /** Performed inside. */
  readonly inside: readonly Operation[];
  /** Files to lay into the root. */
  readonly files: readonly FileMount[];
}

/** Plans the network. Throws `NamespaceError` `bad-spec`. */
export function planNetwork(spec: SandboxSpec, kinds: ReadonlySet<NamespaceKind>, caller: Caller): NetworkPlan {
  const network = spec.network ?? {};
  if (!kinds.has('net')) return noNetwork(spec);
  const links = (network.links ?? []).map((link, i) => nameOutside(link, i, caller));
  checkLinks(links, caller);
  const prefixes = links.flatMap((link) => link.addresses ?? []).map(parsePrefix);
  return {
    outside: links.flatMap(planOutside),
    inside: [
      ...(network.loopback === false ? [] : [LOOPBACK_UP]),
      ...links.flatMap(planInside),
      ...(network.routes ?? []).map((route) => planRoute(route, links)),
    ],
    files: planFiles(spec, prefixes),
  };
}

function noNetwork({ network, ...spec }: SandboxSpec): NetworkPlan {
  if (network?.links?.length || network?.routes?.length || network?.loopback !== undefined) {
    throw bad('expected the net namespace beside links, routes and loopback, got none');
  }
  return { outside: [], inside: [], files: network ? planFiles({ ...spec, network }, []) : [] };
}

// 15 bytes at most: the caller's prefix has 13, and there are at most 64 links.
function nameOutside(link: LinkSpec, index: number, caller: Caller): LinkSpec {
  if (link.type !== 'veth' || link.outside?.name !== undefined) return link;
  const prefix = caller.linkPrefix ?? `ve${caller.shiftedBase.toString(36)}`;
  return { ...link, outside: { ...link.outside, name: `${prefix}${index.toString(36)}` } };
}

function checkLinks(links: readonly LinkSpec[], caller: Caller): void {
  if (links.length === 0) return;
  if (links.length > 64) throw bad(`expected at most 64 links, got ${links.length}`);
  if (!mayAdministerNetwork(caller)) {
    throw bad('expected CAP_NET_ADMIN in the network namespace outside beside links, got none', NET_ADMIN_REMEDY);
  }
  const inside = links.map(nameInside);
  const outside = links.flatMap((link) => (link.type === 'veth' ? (link.outside?.name ?? []) : []));
  const names = links.flatMap((link) =>
    link.type === 'move' ? link.source : link.type === 'macvlan' ? link.parent : [],
  );
  for (const name of [...inside, ...outside, ...names]) checkName(name);
  if (inside.includes('lo')) throw bad('expected another name for a link than "lo", got "lo"');
  const twice = [inside, outside].flatMap((list) => list.filter((name, i) => list.indexOf(name) !== i))[0];
  if (twice !== undefined) throw bad(`expected each link to have a name of its own, got "${twice}" twice`);
}

function mayAdministerNetwork({ uid, capabilities }: Caller): boolean {
  return capabilities === undefined ? uid === 0 : ((capabilities >> CAP_NET_ADMIN) & 1n) === 1n;
}

function nameInside(link: LinkSpec): string {
  return link.type === 'move' ? (link.name ?? link.source) : link.name;
}

// dev_valid_name() in net/core/dev.c; and a percent sign would make the kernel choose a number.
function checkName(name: string): void {
  const length = new TextEncoder().encode(name).length;
  if (length >= 1 && length <= 15 && name !== '.' && name !== '..' && !/[/:%\s\0]/.test(name)) return;
  throw bad(`expected the name of a link: 1 … 15 bytes without "/", ":", "%" and spaces, got ${JSON.stringify(name)}`);
}

function planOutside(link: LinkSpec): readonly Operation[] {
  switch (link.type) {
    case 'move':
      return [outer(moveLink(link.source, link.name))];
    case 'macvlan':
      return [outer(createMacvlan(link.parent, link.mode ?? 'bridge', endOf(link)))];
    case 'veth':
      return planVeth(link);
  }
}

function planVeth(link: VethLink): readonly Operation[] {
  const { name = '', bridge, mac, addresses = [] } = link.outside ?? {};
  if (bridge !== undefined) checkName(bridge);
  if (bridge !== undefined && addresses.length > 0) {
    throw bad('expected the addresses on the bridge itself, got some on one of its ports');
  }
  const here = { name, bridge, mac: mac === undefined ? undefined : parseMac(mac), mtu: mtuOf(link.mtu) };
  return [
    outer(createVeth(here, endOf(link)), name),
    ...addresses.map((address) => outer(addAddress(name, parsePrefix(address)))),
  ];
}

function planInside(link: LinkSpec): readonly Operation[] {
  const name = nameInside(link);
  const up = link.type === 'veth' ? setLink({ name }) : setLink(endOf({ ...link, name }));
  return [inner(up), ...(link.addresses ?? []).map((address) => inner(addAddress(name, parsePrefix(address))))];
}

function endOf({ name, mac, mtu }: LinkEnd): LinkEndRequest {
  return { name, mac: mac === undefined ? undefined : parseMac(mac), mtu: mtuOf(mtu) };
}

function mtuOf(mtu: number | undefined): number | undefined {
  if (mtu !== undefined && (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535)) {
    throw bad(`expected an MTU of 68 … 65535, got ${mtu}`);
  }
  return mtu;
}

function planRoute(route: RouteSpec, links: readonly LinkSpec[]): Operation {
  const prefix = route.to === 'default' ? undefined : networkOf(route.to);
  const via = route.via === undefined ? undefined : parseAddress(route.via);
  const source = route.source === undefined ? undefined : parseAddress(route.source);
  const versions = [prefix, via, source].flatMap((part) => (part ? part.version : []));
  const [version = 4] = versions;
  if (versions.some((other) => other !== version))
    throw bad(`expected one IP version in the route to ${route.to}, got two`);
  if (!via && route.link === undefined)
    throw bad(`expected a gateway or a link for the route to ${route.to}, got none`);
  if (route.onLink && (!via || route.link === undefined)) {
    throw bad(`expected a gateway and a link for the route to ${route.to} that is onLink, got one of them`);
  }
  const names = [...links.map(nameInside), 'lo'];
  if (route.link !== undefined && !names.includes(route.link)) {
    throw bad(`expected the route to ${route.to} on one of ${names.join(', ')}, got "${route.link}"`);
  }
  const metric = route.metric;
  if (metric !== undefined && (!Number.isInteger(metric) || metric < 0 || metric > 0xffff_ffff)) {
    throw bad(`expected a metric of 0 … 4294967295, got ${metric}`);
  }
  return inner(
    addRoute({ ...{ to: route.to, prefix, via, source, metric, version }, link: route.link, onLink: !!route.onLink }),
  );
}

// The kernel refuses a destination with bits behind its prefix, without saying why.
function networkOf(text: string): IpPrefix {
  const prefix = parsePrefix(text);
  const stray = prefix.bytes.some((byte, i) => {
    const kept = Math.min(8, Math.max(0, prefix.length - i * 8));
    return (byte & (0xff >> kept)) !== 0;
  });
  if (stray) throw bad(`expected a network as the destination of a route, got the host ${text}`);
  return prefix;
}

function outer(request: NetlinkRequest, link = ''): Operation {
  return { op: 'netlink-outside', ...request, link };
}

function inner(request: NetlinkRequest): Operation {
  return { op: 'netlink', ...request };
}

function planFiles(spec: SandboxSpec, prefixes: readonly IpPrefix[]): readonly FileMount[] {
  const { dns, hosts } = spec.network ?? {};
  return [
    ...(dns ? [{ type: 'file', target: '/etc/resolv.conf', content: resolvConf(dns) } as const] : []),
    ...(hosts ? [{ type: 'file', target: '/etc/hosts', content: hostsFile(spec, hosts, prefixes) } as const] : []),
  ];
}

function resolvConf({ servers, search = [], options = [] }: DnsSpec): string {
  for (const word of [...search, ...options]) {
    if (!/^[^\s#;\0]{1,253}$/.test(word)) throw bad(`expected a word for resolv.conf, got ${JSON.stringify(word)}`);
  }
  return [
    ...servers.map((server) => `nameserver ${formatAddress(parseAddress(server))}\n`),
    ...(search.length > 0 ? [`search ${search.join(' ')}\n`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}\n`] : []),
  ].join('');
}

function hostsFile(
  { hostname }: SandboxSpec,
  hosts: Readonly<Record<string, string>>,
  [own]: readonly IpPrefix[],
): string {
  for (const name of Object.keys(hosts)) {
    if (!/^[^\s#\0]{1,253}$/.test(name)) throw bad(`expected the name of a host, got ${JSON.stringify(name)}`);
  }
  return [
    '127.0.0.1 localhost\n::1 localhost\n',
    ...(own ? [`${formatAddress(own)} ${hostname ?? 'sandbox'}\n`] : []),
    ...Object.entries(hosts).map(([name, address]) => `${formatAddress(parseAddress(address))} ${name}\n`),
  ].join('');
}

const LOOPBACK_UP = shared({ op: 'loopback-up' });
const CAP_NET_ADMIN = 12n;

/** What gives a program the right to make links. */
export const NET_ADMIN_REMEDY =
  'run as root; or, as an ordinary user, start the program in a user and network namespace of its own (unshare --user --map-root-user ' +
  '--net), which then owns both ends';
