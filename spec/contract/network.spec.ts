// The contract of network drivers over the one in memory. Over the real one: spec/host/network-contract.spec.ts.
import { createFakeNetwork } from '../../src/drivers/network/fake.ts';
import { networkDriverSuite } from './network-suite.ts';

networkDriverSuite('fake', async () => {
  const driver = createFakeNetwork();
  const entryOf = (id: string) => driver.host.networks.get(id);
  return {
    driver,
    servers: async (network) => (entryOf(network.id)?.dhcpAlive ? 1 : 0),
    served: async (network) => (entryOf(network.id)?.hosts ?? []).map((host) => `${host.mac} ${host.address}`),
    killDhcp: async (network) => driver.killDhcp(network.id),
    ports: async () => driver.host.firewall?.ports.map((port) => port.address),
    down: () => driver.close(),
  };
});
