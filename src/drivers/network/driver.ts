// What the network role needs of a host: bridges, DHCP, a firewall. Each method takes the whole wanted state and ensures it;
// nothing that is not novact's own is ever touched.

export interface NetworkInfo {
  readonly name: string;
  /** False: nothing is plumbed (`fake`). */
  readonly plumbs: boolean;
}

/** What carries a project's network from host to host, apart from all others. */
export type Segment =
  | { readonly kind: 'vlan'; readonly id: number; readonly interface: string | undefined }
  /** `local` and `peers`: addresses of the hosts that have members. Without a `local` one there are members on this host only. */
  | { readonly kind: 'vxlan'; readonly id: number; readonly port: number; readonly local: string | undefined; readonly peers: readonly string[] };

/** A router of a project: a network namespace on every host that has members of its networks. */
export interface RouterSpec {
  /** The VPC's. */
  readonly id: string;
  /** Name of the namespace, and of the host's end of the link to it (at most 15 characters). */
  readonly namespace: string;
  readonly link: string;
  /** Of this host alone: what it crosses to other hosts with, where the gateways' own, the same on each host, must not be seen. */
  readonly mac: string;
}

export interface NetworkSpec {
  readonly id: string;
  /** At most 15 characters. */
  readonly bridge: string;
  /** `10.45.0.0/20`. */
  readonly cidr: string;
  readonly gateway: string;
  /**
   * `fd00:45::/64`: guests make addresses of it for themselves (SLAAC), beside those of IPv4, and speak with no others. Only where the host is the
   * gateway and no other host is joined. Undefined: no IPv6.
   */
  readonly ipv6?: string | undefined;
  readonly dnsDomain: string;
  readonly mtu: number;
  readonly leaseSeconds: number;
  /** False: guests are told their addresses otherwise, and no server runs. */
  readonly dhcp?: boolean | undefined;
  /**
   * The interface by which the bridges of all hosts are joined. The gateway has the same address and the same MAC on each of them and stays
   * local, as do DHCP and metadata: no host is needed by another's guests. Undefined: guests of this host only.
   */
  readonly flatInterface?: string | undefined;
  /** Of a network of a project; without it the host is the gateway, and the bridge has its address. */
  readonly router?: RouterSpec | undefined;
  /** With a router only: where its guests may go beside the networks of that router, and who may come from there. Undefined: everywhere. */
  readonly outside?: readonly string[] | undefined;
  /** With a router only. */
  readonly segment?: Segment | undefined;
  /** This host's own address on a joined network, by which it speaks with guests of other hosts. Undefined: it does not. */
  readonly hostAddress?: string | undefined;
}

export interface DhcpHost {
  readonly mac: string;
  readonly address: string;
  /** The instance id. */
  readonly hostname: string;
}

/** An instance of the network on another host: known by name, served there. */
export type Neighbour = Pick<DhcpHost, 'address' | 'hostname'>;

/** What a guest may receive, or send. */
export interface TrafficRule {
  /** `-1`: all protocols. Numbers as text otherwise for others than these. */
  readonly protocol: 'tcp' | 'udp' | 'icmp' | '-1' | `${number}`;
  /** Ports; for icmp the type and code; −1 or undefined: any. */
  readonly fromPort: number | undefined;
  readonly toPort: number | undefined;
  /** From whom, or to whom: `0.0.0.0/0`, `10.0.0.7/32`. */
  readonly cidrs: readonly string[];
}

export interface PortSpec {
  readonly instanceId: string;
  readonly tap: string;
  readonly bridge: string;
  readonly mac: string;
  readonly address: string;
  /** On its way from one host to another: its frames may come by a tap and from the other host at the same time. */
  readonly isMoving?: boolean | undefined;
  /** Of all its groups together. Empty: nothing comes in. */
  readonly ingress: readonly TrafficRule[];
  /** As above, of what goes out. Undefined: all does. What its gateway serves (DHCP, names, metadata) is always reached. */
  readonly egress?: readonly TrafficRule[] | undefined;
}

/** A public address, and the guest of this host that it leads to. */
export interface FloatingAddress {
  readonly address: string;
  readonly fixed: string;
  readonly bridge: string;
}

export interface FirewallSpec {
  readonly networks: readonly NetworkSpec[];
  readonly ports: readonly PortSpec[];
  /** Undefined: none. */
  readonly floating?: readonly FloatingAddress[] | undefined;
  /** Where the metadata service listens, reached through each network's gateway as 169.254.169.254:80. */
  readonly metadataPort: number;
}

/** What is to join the bridges of hosts; of VLANs, the interface that carries them. */
export type ProbedSegments = { readonly kind: 'vxlan' } | { readonly kind: 'vlan'; readonly interface: string | undefined };

/** Errors: DriverError `unsupported` (a kernel part or command is missing; the message names it), `failed`, `timeout`. */
export interface NetworkDriver {
  readonly info: NetworkInfo;
  /** Throws `unsupported` with what is missing and the command that mends it; of segments only what is to be used. */
  probe(segments?: ProbedSegments): Promise<void>;
  /**
   * After: the bridge is up with the gateway's address, forwarding is on, and exactly one DHCP and DNS server serves just these hosts on it, with
   * leases of no others; the names of the neighbours resolve too. An unchanged server is adopted, not restarted. With a `flatInterface`, that is
   * part of the bridge; one that is missing, carries an address or belongs to another bridge is refused with the remedy.
   */
  ensureNetwork(network: NetworkSpec, hosts: readonly DhcpHost[], neighbours?: readonly Neighbour[]): Promise<void>;
  /** Ends leases at once, so that the address can be used again. No error if there is none. */
  releaseLease(network: NetworkSpec, host: DhcpHost): Promise<void>;
  /**
   * After: novact's rules are exactly these, applied atomically; rules of others are as they were. Open connections go on, but for those by a floating
   * address that leads elsewhere now. This host answers by its floating addresses and by no others of novact's, and its neighbours know.
   */
  applyFirewall(firewall: FirewallSpec): Promise<void>;
  /** Calls back when a DHCP server that it started or adopted has died. It runs again by then, as it was, unless that failed. */
  subscribe(listener: (event: { readonly type: 'dhcpDied'; readonly networkId: string }) => void): () => void;
  /** What was ensured on this host and not removed since, by this process or an earlier one. */
  plumbed(): Promise<readonly NetworkSpec[]>;
  /** After: the network's bridge, server and router are gone from this host; guests that were on it have no network. Safe to repeat. */
  removeNetwork(network: NetworkSpec): Promise<void>;
  /** For `down --purge`: bridges, servers, rules and files of novact are gone. */
  removeAll(networks: readonly NetworkSpec[]): Promise<void>;
  /** Stops watching; servers and rules stay, guests go on. */
  close(): Promise<void>;
}
