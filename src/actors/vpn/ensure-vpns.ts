// The VPN end points of a host, made from the database by an actor of its own: again and again, and at once when somebody says that they changed.
import { vpnClients, vpnDevice, vpnsOfHost, type PlacedVpn } from '../../db/vpns.ts';
import type { Db } from '../../db/db.ts';
import type { VpnDriver, VpnEndpoint } from '../../drivers/vpn/driver.ts';
import type { Sealer } from '../../lib/sealed.ts';
import type { ActorDefinition } from '../runtime/actor.ts';
import { defineEnsurer, type EnsureMessage } from '../network/coalesce.ts';

export interface VpnHost {
  readonly name: string;
  readonly db: Db;
  readonly driver: VpnDriver;
  readonly sealer: Sealer;
  /** Where a router's gateways are on this host. */
  readonly namespaceOf: (routerId: string) => string;
}

/** A server that died is started again within this time. */
const intervalMs = 5_000;

export const vpnActor = (host: VpnHost): ActorDefinition<{ servedUpTo: number }, EnsureMessage> =>
  defineEnsurer('vpn', intervalMs, () => ensureVpns(host));

export async function ensureVpns(host: VpnHost): Promise<void> {
  const placed = await vpnsOfHost(host.db, host.name);
  // A host that is to have none needs nothing for it.
  if (placed.length > 0) await host.driver.probe();
  await host.driver.ensureEndpoints(placed.map((each) => endpointOf(each, host)));
}

/** The context that binds a sealed text to what it is of. */
export const sealedPart = (vpnId: string, part: 'authority' | 'server' | 'control'): string => `vpn ${vpnId} ${part}`;

/** With its keys opened. */
export function endpointOf({ vpn, network, revokedNames }: PlacedVpn, { sealer, namespaceOf }: VpnHost): VpnEndpoint {
  return {
    id: vpn.id,
    device: vpnDevice(vpn),
    port: vpn.port,
    clients: vpnClients(vpn),
    network: { cidr: network.cidr, bridge: network.bridge },
    namespace: network.routerId === null ? undefined : namespaceOf(network.routerId),
    authorities: vpn.authority,
    certificate: vpn.certificate,
    key: sealer.open(vpn.sealedKey, sealedPart(vpn.id, 'server')),
    controlKey: sealer.open(vpn.sealedControlKey, sealedPart(vpn.id, 'control')),
    revocations: vpn.revocations,
    revokedNames,
  };
}
