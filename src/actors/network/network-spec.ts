// A network's row as one host plumbs it: what carries it to other hosts, and where its router is.
import { createHash } from 'node:crypto';
import type { Db } from '../../db/db.ts';
import { claimHostAddress, type Network } from '../../db/networks.ts';
import { networksOfHost, peersOfRouters } from '../../db/project-networks.ts';
import { waysOut } from '../../db/route-tables.ts';
import { everywhere } from '../../db/vpcs.ts';
import type { NetworkSpec, RouterSpec, Segment } from '../../drivers/network/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';

/** What the settings of a host say of networks. */
export interface Plumbing {
  /** The host's name. */
  readonly host: string;
  readonly dnsDomain: string;
  readonly leaseSeconds: number;
  /** Joins the bridges of all hosts of the network that all projects share. */
  readonly flatInterface?: string | undefined;
  /** Carries the tagged frames of VLANs. */
  readonly vlanInterface?: string | undefined;
  /** Where other hosts reach this one with VXLAN frames. */
  readonly address?: string | undefined;
  readonly vxlanPort?: number | undefined;
}

const vxlanPortDefault = 4789;

/** What the network of a project is to this host. */
export interface Around {
  /** The addresses of the other hosts that plumb networks of its router. */
  readonly peers?: readonly string[] | undefined;
  /** Where its routes lead to, beside the networks of its router. Undefined: it is in no VPC yet, whose first one leads everywhere. */
  readonly ways?: readonly string[] | undefined;
}

export function networkSpecOf(row: Network, plumbing: Plumbing, { peers = [], ways = [everywhere] }: Around = {}): NetworkSpec {
  const { id, bridge, cidr, gateway, mtu, projectId, ipv6Cidr } = row;
  const { dnsDomain, leaseSeconds, flatInterface } = plumbing;
  const differing = { ...(row.manager === 'flat' ? { dhcp: false } : {}), ...(ipv6Cidr === null ? {} : { ipv6: ipv6Cidr }) };
  const common = { id, bridge, cidr, gateway, mtu, dnsDomain, leaseSeconds, ...differing };
  if (projectId === null) return { ...common, flatInterface };
  const outside = ways.includes(everywhere) ? {} : { outside: ways };
  return { ...common, ...outside, router: routerOf(row, plumbing), segment: segmentOf(row, plumbing, peers) };
}

/** Names of namespaces are those of a machine, on which specs have several hosts. */
function routerOf({ id, routerId }: Network, { host }: Plumbing): RouterSpec {
  if (routerId === null) throw new DriverError('failed', `the network ${id} of a project has no router`);
  const digest = createHash('sha256').update(`${host} ${routerId}`).digest('hex');
  return {
    id: routerId, namespace: `novact-${host}-${routerId}`, link: `nvt${routerId.replace(/^vpc-/, '').slice(0, 12)}`,
    mac: ['02', '16', '3d', digest.slice(0, 2), digest.slice(2, 4), digest.slice(4, 6)].join(':'),
  };
}

function segmentOf({ id, manager, segment }: Network, plumbing: Plumbing, peers: readonly string[]): Segment {
  if (segment === null) throw new DriverError('failed', `the network ${id} of a project has no segment`);
  if (manager === 'vxlan') return { kind: 'vxlan', id: segment, port: plumbing.vxlanPort ?? vxlanPortDefault, local: plumbing.address, peers };
  return { kind: 'vlan', id: segment, interface: plumbing.vlanInterface };
}

/** What a host has to plumb now. On a network that joins hosts, it claims an address of its own once. */
export function networksToPlumb({ db, clock }: { db: Db; clock: Clock }, plumbing: Plumbing): () => Promise<NetworkSpec[]> {
  const own = new Map<string, string | undefined>();
  return async () => {
    const rows = await networksOfHost(db, plumbing.host);
    const routed = rows.filter((row) => row.routerId !== null);
    const [peers, ways] = await Promise.all([
      peersOfRouters(db, { host: plumbing.host, routerIds: routed.flatMap((row) => row.routerId ?? []) }), waysOut(db, routed.map((row) => row.id)),
    ]);
    return Promise.all(rows.map(async (row) => {
      const network = networkSpecOf(row, plumbing, { peers: peers.get(row.routerId ?? ''), ways: ways.get(row.id) });
      if (network.flatInterface === undefined) return network;
      if (own.get(network.id) === undefined) own.set(network.id, await claimHostAddress(db, { networkId: network.id, host: plumbing.host, now: clock.date() }));
      return { ...network, hostAddress: own.get(network.id) };
    }));
  };
}
