// The acceptance of networks by the manager vlan, on two hosts whose kernel tags frames. By vxlan: spec/clients/seed-networks.spec.ts.
import { startLabHosts, trunk } from '../support/lab-hosts.ts';
import { seedNetworks } from '../support/seed-networks.ts';

seedNetworks({
  manager: 'vlan',
  slowness: 8,
  start: () => startLabHosts('lab-seed', { settings: { NOVACT_NETWORK_MANAGER: 'vlan', NOVACT_VLAN_INTERFACE: trunk } }),
});
