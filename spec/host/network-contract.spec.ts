// The contract of network drivers over the Linux one, in a network namespace. Root only.
import { readFile } from 'node:fs/promises';
import { findProcesses } from '../../src/lib/processes.ts';
import { networkDriverSuite } from '../contract/network-suite.ts';
import { networkLab } from '../support/network-lab.ts';
import type { NetworkSpec } from '../../src/drivers/network/driver.ts';

networkDriverSuite('linux', async () => {
  const lab = await networkLab('network-contract');
  const folder = (network: NetworkSpec) => `${lab.stateDirectory}/network/${network.bridge}`;
  const find = (network: NetworkSpec) => findProcesses((args) => args.includes(`--pid-file=${folder(network)}/dnsmasq.pid`));
  return {
    driver: lab.driver,
    servers: async (network) => (await find(network)).length,
    async served(network) {
      const lines = (await readFile(`${folder(network)}/dhcp-hosts`, 'utf8')).split('\n').filter((line) => line !== '');
      return lines.map((line) => line.split(',').slice(0, 2).join(' '));
    },
    async killDhcp(network) {
      for (const server of await find(network)) process.kill(server.pid, 'SIGKILL');
    },
    async ports() {
      const { code, stdout } = await lab.run('nft', ['-j', 'list', 'set', 'bridge', 'novact', 'addresses'], { okCodes: [0, 1] });
      if (code !== 0) return undefined;
      const { nftables } = JSON.parse(stdout) as { nftables: { set?: { elem?: { concat: [string, string] }[] } }[] };
      return nftables.flatMap((entry) => entry.set?.elem ?? []).map((element) => element.concat[1]).toSorted();
    },
    down: () => lab.down(),
  };
});
