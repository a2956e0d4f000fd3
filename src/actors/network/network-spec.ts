// A network's row as one host plumbs it: what carries it to other hosts, and where its router is.
import type { Network } from '../../db/networks.ts';
import type { NetworkSpec, RouterSpec, Segment } from '../../drivers/network/driver.ts';
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

/** `peers`: the addresses of the other hosts that plumb networks of its router. */
export function networkSpecOf(row: Network, plumbing: Plumbing, peers: readonly string[] = []): NetworkSpec {
  const { id, bridge, cidr, gateway, mtu, projectId } = row;
  const { dnsDomain, leaseSeconds, flatInterface } = plumbing;
  const common = { id, bridge, cidr, gateway, mtu, dnsDomain, leaseSeconds };
  if (projectId === null) return { ...common, flatInterface };
  return { ...common, router: routerOf(row, plumbing), segment: segmentOf(row, plumbing, peers) };
}

/** Names of namespaces are those of a machine, on which specs have several hosts. */
function routerOf({ id, routerId }: Network, { host }: Plumbing): RouterSpec {
  if (routerId === null) throw new DriverError('failed', `the network ${id} of a project has no router`);
  return { id: routerId, namespace: `novact-${host}-${routerId}`, link: `nvt${routerId.replace(/^vpc-/, '').slice(0, 12)}` };
}

function segmentOf({ id, manager, segment }: Network, plumbing: Plumbing, peers: readonly string[]): Segment {
  if (segment === null) throw new DriverError('failed', `the network ${id} of a project has no segment`);
  if (manager === 'vxlan') return { kind: 'vxlan', id: segment, port: plumbing.vxlanPort ?? vxlanPortDefault, local: plumbing.address, peers };
  if (plumbing.vlanInterface === undefined) {
    throw new DriverError('unsupported', `the network ${id} is VLAN ${segment}, and this host has no interface for it; set vlan_interface`);
  }
  return { kind: 'vlan', id: segment, interface: plumbing.vlanInterface };
}
