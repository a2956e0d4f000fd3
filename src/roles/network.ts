// Starts the network role of this host: the actors that own its bridges, DHCP, routers and rules, and the metadata service of each network.
import { hkdfSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { NetworkHost } from '../actors/network/host.ts';
import { nextTicket } from '../actors/network/coalesce.ts';
import { networksToPlumb, type Plumbing } from '../actors/network/network-spec.ts';
import { startNetworkActors } from '../actors/network/start.ts';
import { vpnActor } from '../actors/vpn/ensure-vpns.ts';
import { watchWaking } from '../actors/operations/watch-waking.ts';
import { createTeller } from '../actors/network/teller.ts';
import { networkDriverOf, projectNetworksOf } from '../config/settings.ts';
import { takeEpoch } from '../db/hosts.ts';
import { createNetwork, setIPv6, sharedNetworkName } from '../db/networks.ts';
import type { NetworkDriver } from '../drivers/network/driver.ts';
import { networkDrivers } from '../drivers/network/index.ts';
import type { VpnDriver } from '../drivers/vpn/driver.ts';
import { vpnDrivers } from '../drivers/vpn/index.ts';
import { SetupError } from '../lib/errors.ts';
import { createRun } from '../lib/exec.ts';
import { networkProtocol } from '../messages/network.ts';
import { keep, serviceOf, type Foundation } from './foundation.ts';
import { serveMetadata } from './metadata.ts';

const reconcileIntervalMs = 30_000;
const leaseSeconds = 3_600;

export function createNetworkDriver(foundation: Foundation): NetworkDriver {
  const { settings, paths, clock, run } = foundation;
  const log = foundation.log.child({ role: 'network' });
  const tools = { run, machine: createRun({ log }), log, clock, stateDirectory: paths.networks };
  return networkDriverOf(settings) === 'fake' ? networkDrivers.fake.create(tools, {}) : networkDrivers.linux.create(tools, {});
}

/** Where nothing is plumbed, no VPN leads anywhere either. */
export function createVpnDriver({ run, clock, paths }: Foundation, { info }: NetworkDriver): VpnDriver {
  const tools = { run, clock, stateDirectory: paths.vpn };
  return info.plumbs ? vpnDrivers.openvpn.create(tools) : vpnDrivers.fake.create(tools);
}

/** How this host plumbs networks, by its settings. */
export function plumbingOf({ host, dnsDomain, flatInterface, vlanInterface, address, vxlanPort }: Foundation['settings']): Plumbing {
  return { host, dnsDomain, leaseSeconds, flatInterface, vlanInterface, address, vxlanPort };
}

/** The network that all projects share, if the settings want one. Those of projects are made when they are first asked for. */
export async function ensureSharedNetwork({ db, settings, clock }: Pick<Foundation, 'db' | 'settings' | 'clock'>): Promise<void> {
  const { networkManager: manager, fixedRange: cidr, bridge, mtu, ipv6Range: ipv6Cidr } = settings;
  checkIPv6(settings);
  if (projectNetworksOf(settings) !== undefined) return;
  const made = await createNetwork(db, { name: sharedNetworkName, manager, cidr, bridge, mtu, ipv6Cidr }, clock.date());
  if (ipv6Cidr !== undefined && made.ipv6Cidr !== ipv6Cidr) await setIPv6(db, made.id, ipv6Cidr);
  if (made.manager === manager) return;
  throw new SetupError(`the network of this cloud is ${made.manager}: its guests would not hear of ${manager}`, `Set NOVACT_NETWORK_MANAGER=${made.manager}.`);
}

/** What is not plumbed is not promised. */
function checkIPv6({ ipv6Range, networkManager, flatInterface }: Foundation['settings']): void {
  if (ipv6Range === undefined || (networkManager === 'flat-dhcp' && flatInterface === undefined)) return;
  const where = networkManager === 'flat-dhcp' ? 'between joined hosts' : `with the network manager ${networkManager}`;
  throw new SetupError(`there is no IPv6 ${where}`, 'Unset NOVACT_IPV6_RANGE.');
}

/** Bridges, DHCP and rules of the networks that this host needs now are there when this resolves. */
export async function startNetwork(foundation: Foundation, driver: NetworkDriver): Promise<void> {
  const { settings, system, transport, db, clock } = foundation;
  const log = foundation.log.child({ role: 'network' });
  const { networkManager: manager, metadataPort } = settings;
  if (manager === 'vlan' && settings.vlanInterface === undefined) {
    throw new SetupError('the network manager vlan has no interface for its tagged frames', 'Set NOVACT_VLAN_INTERFACE (ip -br link shows all).');
  }
  await driver.probe(manager === 'vlan' ? { kind: manager, interface: settings.vlanInterface } : manager === 'vxlan' ? { kind: manager } : undefined);
  await ensureSharedNetwork(foundation);
  const tellHosts = createTeller({
    clock,
    tell: (name, groupIds) => void transport.tell({ role: 'network', host: name }, networkProtocol, 'refreshFirewall', { groupIds: [...groupIds] })
      .catch((error: unknown) => log.debug({ host: name, err: error }, 'a host was not told of changed groups')),
  });
  const metadata = serveMetadata(foundation, driver, await metadataTokenKey(foundation.paths.masterKey));
  const host: NetworkHost = {
    name: settings.host, db, clock, log, system, driver, networks: networksToPlumb(foundation, plumbingOf(settings)), metadataPort, reconcileIntervalMs,
    tellHosts, ...metadata,
  };
  const { ref, handlers } = await startNetworkActors(host);
  const epoch = await takeEpoch(db, { host: settings.host, role: 'network' }, clock.date());
  const vpn = startVpn(foundation, driver);
  const refreshFirewall: typeof handlers.refreshFirewall = (body, context) => {
    vpn();
    return handlers.refreshFirewall(body, context);
  };
  const subscription = await keep(foundation, transport.serve({ role: 'network', host: settings.host }, networkProtocol, { ...handlers, refreshFirewall }, {
    service: serviceOf(foundation, epoch),
  }));
  const onWoken = () => system.tell(ref, { type: 'ensureAll' });
  watchWaking(system, 'network-waking', { clock, isHeld: () => subscription.isHeld(), onWoken });
}

/** The VPN end points of this host. What is returned says that they may have changed. */
function startVpn(foundation: Foundation, network: NetworkDriver): () => void {
  const { settings, system, db, sealer } = foundation;
  const driver = createVpnDriver(foundation, network);
  const namespaceOf = (routerId: string): string => `novact-${settings.host}-${routerId}`;
  const ref = system.spawn(vpnActor({ name: settings.host, db, driver, sealer, namespaceOf }), 'vpn', undefined);
  const ensure = () => system.tell(ref, { type: 'ensure', ticket: nextTicket() });
  ensure();
  return ensure;
}

/** Derived, so that a token holds across restarts, and on every host that has the cloud's key. */
async function metadataTokenKey(masterKeyFile: string): Promise<Buffer> {
  return Buffer.from(hkdfSync('sha256', await readFile(masterKeyFile), '', 'metadata tokens', 32));
}
