/** Addresses and link names for many sandboxes, none of which two of them ever have at once. */
import { existsSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { addressAt, formatAddress, type IpPrefix, parsePrefix, sizeOf } from './addresses.js';
import { bad } from './error.js';
import { leaseDirectory, takeLease } from './leases.js';
import type { NetworkSpec } from './network-spec.js';

/** What a {@link NetworkPool} gives out of. */
export interface NetworkPoolOptions {
  /** IPv4 network. Default `10.213.0.0/16` if no IPv6 network is given either, else none. */
  readonly ipv4?: string;
  /** IPv6 network. Default: none. */
  readonly ipv6?: string;
  /**
   * Name of an existing bridge whose addresses are the first of the networks; each sandbox becomes a port with an address of its own.
   * Without one each sandbox has a cable of its own to the outside, with four addresses of each network: `/30` and `/126`.
   */
  readonly bridge?: string;
  /** How link names outside begin, at most 9 letters and digits. Default `cm`. */
  readonly linkPrefix?: string;
  /** Largest packet of the links. Default: the kernel's. */
  readonly mtu?: number;
  /** Where leases are written; pools of the same networks must share it. Default: a directory of this user in memory. */
  readonly directory?: string;
}

/** What one sandbox has of a pool. */
export interface NetworkLease extends AsyncDisposable {
  /** Its number in the pool. */
  readonly index: number;
  /** The addresses inside, without prefix length, in the order IPv4, IPv6. */
  readonly addresses: readonly string[];
  /** The addresses outside that the sandbox sends to: of its cable, or of the bridge. */
  readonly gateways: readonly string[];
  /** For `SandboxSpec.network`: one link and a default route for each IP version. More can be added to a copy. */
  readonly network: NetworkSpec;
  /** Gives everything back. Wait for the end of the sandbox before: its link is gone only then. */
  release(): Promise<void>;
}

/** Gives out addresses and link names; safe among processes, and what a killed process had is free again. */
export class NetworkPool {
  readonly #options: NetworkPoolOptions;
  readonly #networks: readonly IpPrefix[];
  readonly #count: number;

  /** Throws `NamespaceError` `bad-spec`. */
  constructor(options: NetworkPoolOptions = {}) {
    const ipv4 = options.ipv4 ?? (options.ipv6 === undefined ? '10.213.0.0/16' : undefined);
    this.#options = options;
    this.#networks = [ipv4, options.ipv6].flatMap((text) => (text === undefined ? [] : [parsePrefix(text)]));
    this.#count = Math.min(MAX_LEASES, ...this.#networks.map((network) => this.#room(network)));
    if (!/^[A-Za-z][A-Za-z0-9]{0,8}$/.test(this.#prefix)) {
      throw bad(`expected a link prefix of at most 9 letters and digits, got ${JSON.stringify(this.#prefix)}`);
    }
    if (this.#networks[0]?.version === 6 && ipv4 !== undefined) throw bad(`expected an IPv4 network, got ${ipv4}`);
    if (this.#networks.at(-1)?.version === 4 && options.ipv6)
      throw bad(`expected an IPv6 network, got ${options.ipv6}`);
    if (this.#count < 1) throw bad('expected networks with room for a sandbox, got smaller ones');
  }

  /** How many sandboxes have room at once. */
  get size(): number {
    return this.#count;
  }

  /** Takes what one sandbox needs; its link inside is called `name`. Throws `NamespaceError` `used-up` and `bad-spec`. */
  async lease(name = 'eth0'): Promise<NetworkLease> {
    const directory = this.#options.directory ?? leaseDirectory();
    const namespace = /\d+/.exec(await readlink('/proc/self/ns/net'))?.[0] ?? '0';
    const isUsable = (index: number): boolean => !existsSync(`/sys/class/net/${this.#linkName(index)}`);
    const kind = `net-${namespace}-${this.#prefix.toLowerCase()}`;
    const { index, release } = await takeLease(directory, { kind, count: this.#count, isUsable });
    return { ...this.#describe(index, name), release, [Symbol.asyncDispose]: release };
  }

  #describe(index: number, name: string): Omit<NetworkLease, 'release' | typeof Symbol.asyncDispose> {
    const { bridge, mtu } = this.#options;
    const places = this.#networks.map((network) => this.#place(network, index));
    const outside = {
      name: this.#linkName(index),
      ...(bridge === undefined ? { addresses: places.map((p) => `${p.gateway}/${p.length}`) } : { bridge }),
    };
    const addresses = places.map((p) => `${p.address}/${p.length}`);
    const link = { type: 'veth', name, addresses, outside, ...(mtu !== undefined && { mtu }) } as const;
    const routes = places.map((p) => ({ to: 'default', via: p.gateway }));
    return {
      index,
      addresses: places.map((p) => p.address),
      gateways: places.map((p) => p.gateway),
      network: { links: [link], routes },
    };
  }

  #place(
    network: IpPrefix,
    index: number,
  ): { readonly gateway: string; readonly address: string; readonly length: number } {
    const at = (offset: bigint): string => formatAddress(addressAt(network, offset));
    if (this.#options.bridge !== undefined) {
      return { gateway: at(1n), address: at(BigInt(index) + 2n), length: network.length };
    }
    const block = BigInt(index) * BLOCK;
    return { gateway: at(block + 1n), address: at(block + 2n), length: network.bytes.length * 8 - 2 };
  }

  // The first address names the network, the last one is for broadcasts, and the bridge has one.
  #room(network: IpPrefix): number {
    const rooms = this.#options.bridge === undefined ? sizeOf(network) / BLOCK : sizeOf(network) - 3n;
    return Number(rooms > BigInt(MAX_LEASES) ? BigInt(MAX_LEASES) : rooms);
  }

  #linkName(index: number): string {
    return `${this.#prefix}${index.toString(36)}`;
  }

  get #prefix(): string {
    return this.#options.linkPrefix ?? 'cm';
  }
}

const BLOCK = 4n;
const MAX_LEASES = 0x1_0000;
