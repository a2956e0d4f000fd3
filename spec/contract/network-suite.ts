// What every network driver must do, whatever it plumbs. The harness says what of the driver's world can be seen.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DhcpHost, FirewallSpec, NetworkDriver, NetworkSpec, PortSpec } from '../../src/drivers/network/driver.ts';

export interface NetworkHarness {
  readonly driver: NetworkDriver;
  /** How many DHCP servers run for the network. */
  servers(network: NetworkSpec): Promise<number>;
  /** Whom they serve: MAC and address. */
  served(network: NetworkSpec): Promise<string[]>;
  killDhcp(network: NetworkSpec): Promise<void>;
  /** The addresses of the ports in force; undefined: there are no rules. */
  ports(): Promise<string[] | undefined>;
  down(): Promise<void>;
}

const network: NetworkSpec = {
  id: 'net-00000000000000001', bridge: 'novact7', cidr: '10.47.0.0/24', gateway: '10.47.0.1', dnsDomain: 'novalocal', mtu: 1500, leaseSeconds: 3600,
};
const host = (n: number): DhcpHost => ({ mac: `02:16:3e:00:00:0${n}`, address: `10.47.0.${n}`, hostname: `i-${n}` });
const port = (n: number): PortSpec => {
  const { mac, address, hostname } = host(n);
  return { instanceId: hostname, tap: `nvtap${n}`, bridge: network.bridge, mac, address, ingress: [] };
};
const firewall = (...numbers: number[]): FirewallSpec => ({ networks: [network], metadataPort: 8775, ports: numbers.map(port) });

export function networkDriverSuite(name: string, make: () => Promise<NetworkHarness>): void {
  describe(`network driver ${name}`, () => {
    let harness: NetworkHarness;
    let driver: NetworkDriver;
    beforeEach(async () => {
      harness = await make();
      driver = harness.driver;
      await driver.probe();
    });
    afterEach(async () => {
      await harness.down();
    });

    it('ensuring a network, also twice and by two at once, gives one server that serves just these hosts', async () => {
      await Promise.all([driver.ensureNetwork(network, [host(2)]), driver.ensureNetwork(network, [host(2), host(3)])]);
      await driver.ensureNetwork(network, [host(3), host(4)]);
      expect(await harness.servers(network)).toBe(1);
      expect(await harness.served(network)).toEqual([`${host(3).mac} ${host(3).address}`, `${host(4).mac} ${host(4).address}`]);
    });

    it('the rules are exactly those of the last wish', async () => {
      await driver.ensureNetwork(network, []);
      await driver.applyFirewall(firewall(2, 3));
      await driver.applyFirewall(firewall(3, 4));
      await driver.applyFirewall(firewall(3, 4));
      expect(await harness.ports()).toEqual([host(3).address, host(4).address]);
      await driver.applyFirewall(firewall());
      expect(await harness.ports()).toEqual([]);
    });

    it('what is not well-formed is refused, and what was in force stays', async () => {
      await driver.ensureNetwork(network, [host(2)]);
      await driver.applyFirewall(firewall(2));
      await expect(driver.applyFirewall({ ...firewall(3), metadataPort: -1 })).rejects.toMatchObject({ name: 'DriverError' });
      await expect(driver.ensureNetwork({ ...network, gateway: 'x' }, [])).rejects.toMatchObject({ name: 'DriverError' });
      await expect(driver.ensureNetwork(network, [{ ...host(3), hostname: 'a,b' }])).rejects.toMatchObject({ name: 'DriverError' });
      await expect(driver.releaseLease(network, { ...host(3), mac: 'x' })).rejects.toMatchObject({ name: 'DriverError' });
      expect(await harness.ports()).toEqual([host(2).address]);
      expect(await harness.served(network)).toEqual([`${host(2).mac} ${host(2).address}`]);
    });

    it('neighbours are not served, and what is not well-formed of a joined network is refused', async () => {
      await driver.ensureNetwork(network, [host(2)], [{ address: host(3).address, hostname: 'i-3' }]);
      expect(await harness.served(network)).toEqual([`${host(2).mac} ${host(2).address}`]);
      await expect(driver.ensureNetwork(network, [], [{ address: host(3).address, hostname: 'a b' }])).rejects.toMatchObject({ name: 'DriverError' });
      for (const wrong of [{ flatInterface: 'a b' }, { flatInterface: 'up0', hostAddress: 'x' }]) {
        const spec = { ...network, ...wrong };
        await expect(driver.ensureNetwork(spec, [])).rejects.toMatchObject({ name: 'DriverError' });
        await expect(driver.applyFirewall({ ...firewall(2), networks: [spec] })).rejects.toMatchObject({ name: 'DriverError' });
      }
    });

    it('ending a lease that is not there is no error', async () => {
      await driver.ensureNetwork(network, [host(2)]);
      await driver.releaseLease(network, host(2));
      await driver.releaseLease(network, host(9));
    });

    it('N13: a server that dies runs again by itself, which is told once to all who listen; ensuring makes no second', async () => {
      await driver.ensureNetwork(network, []);
      const deaths: string[] = [];
      const left = driver.subscribe(() => deaths.push('left too early'));
      left();
      left();
      const told = new Promise<void>((resolve) => {
        driver.subscribe((event) => {
          deaths.push(event.networkId);
          resolve();
        });
      });
      await harness.killDhcp(network);
      await told;
      expect(await harness.servers(network)).toBe(1);
      await driver.ensureNetwork(network, []);
      expect(await harness.servers(network)).toBe(1);
      expect(deaths).toEqual([network.id]);
    });

    it('N2: of a network without DHCP nobody serves anything, also when it had DHCP before, and it can have it again', async () => {
      const flat: NetworkSpec = { ...network, dhcp: false };
      await driver.ensureNetwork(network, [host(2)]);
      await driver.ensureNetwork(flat, [host(2), host(3)]);
      expect(await harness.servers(network)).toBe(0);
      await driver.applyFirewall({ ...firewall(2, 3), networks: [flat] });
      expect(await harness.ports()).toEqual([host(2).address, host(3).address]);
      await driver.releaseLease(flat, host(3));
      await driver.ensureNetwork(network, [host(2)]);
      expect(await harness.servers(network)).toBe(1);
    });

    it('removing all leaves nothing, also twice, and all can be made again', async () => {
      await driver.ensureNetwork(network, [host(2)]);
      await driver.applyFirewall(firewall(2));
      await driver.removeAll([network]);
      await driver.removeAll([network]);
      expect(await harness.servers(network)).toBe(0);
      expect(await harness.ports()).toBeUndefined();
      await driver.ensureNetwork(network, [host(2)]);
      await driver.applyFirewall(firewall(2));
      expect(await harness.ports()).toEqual([host(2).address]);
    });

    it('closing leaves servers and rules as they are', async () => {
      await driver.ensureNetwork(network, [host(2)]);
      await driver.applyFirewall(firewall(2));
      await driver.close();
      await driver.close();
      expect(await harness.servers(network)).toBe(1);
      expect(await harness.ports()).toEqual([host(2).address]);
    });
  });
}
