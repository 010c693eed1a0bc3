/** The network of a sandbox as data: links, addresses, routes, names. */

/** What the network namespace of a sandbox holds; it needs the net namespace. */
export interface NetworkSpec {
  /** Whether the loopback link is up. Default true. */
  readonly loopback?: boolean;
  /** Links beside the loopback, made or moved in before the command starts; they vanish with the sandbox. */
  readonly links?: readonly LinkSpec[];
  /** Routes, added in this order after the addresses. */
  readonly routes?: readonly RouteSpec[];
  /** Content of /etc/resolv.conf. Default: the file of the root stays. */
  readonly dns?: DnsSpec;
  /**
   * Names for /etc/hosts, each with its address. The file then also has `localhost`, and the host name with the first address of the
   * sandbox. Default: the file of the root stays.
   */
  readonly hosts?: Readonly<Record<string, string>>;
}

/** A link of a sandbox. */
export type LinkSpec = VethLink | MacvlanLink | MovedLink;

/** What a link has inside. */
export interface LinkEnd {
  /** Name inside, at most 15 bytes. */
  readonly name: string;
  /** Addresses with prefix length, such as `10.0.0.2/24` or `fd00::2/64`; usable at once, without duplicate address detection. */
  readonly addresses?: readonly string[];
  /** Largest packet in bytes, 68 … 65535. Default: the kernel's. */
  readonly mtu?: number;
  /** Hardware address as six hexadecimal bytes with colons. Default: the kernel's choice. */
  readonly mac?: string;
}

/** A cable from the sandbox to the caller's network namespace: veth(4). */
export interface VethLink extends LinkEnd {
  /** Tag. */
  readonly type: 'veth';
  /** The end that stays outside. */
  readonly outside?: {
    /** Name, at most 15 bytes. Default: one that nobody else has. */
    readonly name?: string;
    /** Name of an existing bridge that it becomes a port of. */
    readonly bridge?: string;
    /** Addresses with prefix length; the sandbox's gateway if there is no bridge. */
    readonly addresses?: readonly string[];
    /** Hardware address. */
    readonly mac?: string;
  };
}

/** A link of its own with a hardware address of its own on a network card of the outside. */
export interface MacvlanLink extends LinkEnd {
  /** Tag. */
  readonly type: 'macvlan';
  /** Name of the link outside. */
  readonly parent: string;
  /** Whether links of the same parent hear each other: `bridge` yes, `private` no, `vepa` through the switch outside. Default `bridge`. */
  readonly mode?: 'bridge' | 'private' | 'vepa';
}

/**
 * A link of the outside that moves in. When the sandbox ends, hardware returns to the machine's first network namespace under the name
 * that it had inside; a virtual link is deleted.
 */
export interface MovedLink extends Partial<LinkEnd> {
  /** Tag. */
  readonly type: 'move';
  /** Name outside; it keeps it unless `name` says otherwise. */
  readonly source: string;
}

/** A route. */
export interface RouteSpec {
  /** Where to, with prefix length, or `default`. */
  readonly to: string;
  /** Address of the gateway; without one the destination is on the link. */
  readonly via?: string;
  /** Name inside of the link. Default: the one that the gateway is reached by. */
  readonly link?: string;
  /** Whether the gateway is on the link though no address says so. Default false. */
  readonly onLink?: boolean;
  /** The source address of what takes this route. */
  readonly source?: string;
  /** Lower is preferred. Default: the kernel's. */
  readonly metric?: number;
}

/** Name resolution: resolv.conf(5). */
export interface DnsSpec {
  /** Addresses of the servers, asked in this order. */
  readonly servers: readonly string[];
  /** Domains in which short names are looked up. */
  readonly search?: readonly string[];
  /** Options, such as `ndots:2`. */
  readonly options?: readonly string[];
}
