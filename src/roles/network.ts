// Starts the network role of this host: the actors that own its bridges, DHCP and rules, and the metadata service on each gateway.
import { hkdfSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { NetworkHost } from '../actors/network/host.ts';
import { networkSpecOf } from '../actors/network/network-spec.ts';
import { nextTicket } from '../actors/network/coalesce.ts';
import { startNetworkActors } from '../actors/network/start.ts';
import { vpnActor } from '../actors/vpn/ensure-vpns.ts';
import { watchWaking } from '../actors/operations/watch-waking.ts';
import { createTeller } from '../actors/network/teller.ts';
import { createMetadataServer } from '../api/metadata/server.ts';
import { networkDriverOf } from '../config/settings.ts';
import { takeEpoch } from '../db/hosts.ts';
import { claimHostAddress, createNetwork, listNetworks, sharedNetworkName } from '../db/networks.ts';
import type { NetworkDriver, NetworkSpec } from '../drivers/network/driver.ts';
import { networkDrivers } from '../drivers/network/index.ts';
import type { VpnDriver } from '../drivers/vpn/driver.ts';
import { vpnDrivers } from '../drivers/vpn/index.ts';
import { networkProtocol } from '../messages/network.ts';
import { keep, serviceOf, type Foundation } from './foundation.ts';
import { startListener } from './listener.ts';

const reconcileIntervalMs = 30_000;
const leaseSeconds = 3_600;

export function createNetworkDriver(foundation: Foundation): NetworkDriver {
  const { settings, paths, clock, run } = foundation;
  const log = foundation.log.child({ role: 'network' });
  const tools = { run, log, clock, stateDirectory: paths.networks };
  return networkDriverOf(settings) === 'fake' ? networkDrivers.fake.create(tools, {}) : networkDrivers.linux.create(tools, {});
}

/** Where nothing is plumbed, no VPN leads anywhere either. */
export function createVpnDriver({ run, clock, paths }: Foundation, { info }: NetworkDriver): VpnDriver {
  const tools = { run, clock, stateDirectory: paths.vpn };
  return info.plumbs ? vpnDrivers.openvpn.create(tools) : vpnDrivers.fake.create(tools);
}

/** The networks that the database knows, as this host plumbs them. */
export async function networkSpecs({ db, settings }: Foundation): Promise<NetworkSpec[]> {
  const { host, dnsDomain, flatInterface, address } = settings;
  return (await listNetworks(db)).map((row) => networkSpecOf(row, { host, dnsDomain, leaseSeconds, flatInterface, address }));
}

/** On a network that joins hosts, this one has an address of its own. */
async function claimHostAddresses({ db, settings, clock }: Foundation, networks: readonly NetworkSpec[]): Promise<NetworkSpec[]> {
  return Promise.all(networks.map(async (network) => {
    if (network.flatInterface === undefined) return network;
    return { ...network, hostAddress: await claimHostAddress(db, { networkId: network.id, host: settings.host, now: clock.date() }) };
  }));
}

/** The networks of the cloud, the one of the settings among them. */
export async function ensureDefaultNetwork(foundation: Foundation): Promise<NetworkSpec[]> {
  const { networkManager: manager, fixedRange: cidr, bridge, mtu } = foundation.settings;
  await createNetwork(foundation.db, { name: sharedNetworkName, manager, cidr, bridge, mtu }, foundation.clock.date());
  return networkSpecs(foundation);
}

/** Bridge, DHCP and rules are there when this resolves. */
export async function startNetwork(foundation: Foundation, driver: NetworkDriver): Promise<void> {
  const { settings, system, transport, db, clock } = foundation;
  const log = foundation.log.child({ role: 'network' });
  await driver.probe();
  const networks = await claimHostAddresses(foundation, await ensureDefaultNetwork(foundation));
  const tellHosts = createTeller({
    clock,
    tell: (name, groupIds) => void transport.tell({ role: 'network', host: name }, networkProtocol, 'refreshFirewall', { groupIds: [...groupIds] })
      .catch((error: unknown) => log.debug({ host: name, err: error }, 'a host was not told of changed groups')),
  });
  const { metadataPort } = settings;
  const host: NetworkHost = { name: settings.host, db, clock, log, system, driver, networks, metadataPort, reconcileIntervalMs, tellHosts };
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
  await startMetadata(foundation, driver, networks);
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

/** One listener per gateway: the address at which a request arrives tells its network. */
async function startMetadata(foundation: Foundation, driver: NetworkDriver, networks: readonly NetworkSpec[]): Promise<void> {
  const { settings, paths, system, db, clock } = foundation;
  const log = foundation.log.child({ role: 'metadata' });
  for (const network of networks) {
    const tokenKey = await metadataTokenKey(paths.masterKey);
    const server = createMetadataServer({ db, clock, log, tokenKey, region: settings.region, dnsDomain: settings.dnsDomain });
    // Without plumbing there is no gateway to listen on: the service is still there to be asked on this machine.
    const host = driver.info.plumbs ? network.gateway : settings.bind.replace(/^(0\.0\.0\.0|::)$/, '127.0.0.1');
    await startListener(system, `metadata-${network.id}`, { server, host, port: settings.metadataPort });
  }
}

/** Derived, so that a token holds across restarts, and on every host that has the cloud's key. */
async function metadataTokenKey(masterKeyFile: string): Promise<Buffer> {
  return Buffer.from(hkdfSync('sha256', await readFile(masterKeyFile), '', 'metadata tokens', 32));
}
