// Names of the links that a project's network is made of, and the checks of what they are made from: used by what makes the links and by what
// renders rules for them.
import { DriverError } from '../../../lib/errors.ts';
import type { NetworkSpec, Segment } from '../driver.ts';
import { checkAddress, checkInteger, checkLinkName } from './names.ts';

/** The namespace's end of the link to the host. */
export const uplinkName = 'uplink';
/** How the host's ends of links to routers begin. */
export const routerLinkPrefix = 'nvt';
/** Two addresses for each router of a host, which no one else ever sees: they are link-local. */
export const transitRange = '169.254.64.0/18';
/** `x5000`, `l100`: what the names of a network's links end with. */
export const segmentSuffix = (segment: Pick<Segment, 'kind' | 'id'>): string => `${segment.kind === 'vxlan' ? 'x' : 'l'}${segment.id}`;

/** The link to the other hosts. */
export const segmentLink = (segment: Pick<Segment, 'kind' | 'id'>): string => `nvs${segmentSuffix(segment)}`;

/** Of a network with a router; checked, for it becomes part of names, rules and command lines. */
export function segmentOf({ id, segment }: Pick<NetworkSpec, 'id' | 'segment'>): Segment {
  if (segment === undefined) throw new DriverError('failed', `the network ${id} has a router but no segment`);
  if (segment.kind === 'vlan') {
    checkInteger(segment.id, { kind: 'the number of a VLAN', min: 1, max: 4094 });
    if (segment.interface !== undefined) checkLinkName(segment.interface);
    return segment;
  }
  // The number is that of the connections of its guests as well (nft-routed.ts), which has 16 bits.
  checkInteger(segment.id, { kind: 'the number of a VXLAN', min: 1, max: 65_535 });
  checkInteger(segment.port, { kind: 'a port', min: 1, max: 65_535 });
  for (const address of [segment.local, ...segment.peers]) if (address !== undefined) checkAddress(address);
  return segment;
}

/** The bridge's end of a router's link into a network. */
export const routerPort = (network: Pick<NetworkSpec, 'id' | 'segment'>): string => `nvp${segmentSuffix(segmentOf(network))}`;
