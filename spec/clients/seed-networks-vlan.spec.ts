// The acceptance of networks by the manager vlan, whose frames Open vSwitch tags. Tagged by the kernel: spec/lab/seed-networks.spec.ts.
import { seedNetworks } from '../support/seed-networks.ts';
import { startHosts } from '../support/three-hosts.ts';

seedNetworks({
  manager: 'vlan',
  start: () => startHosts('nvseedt', {
    guests: 'lxc', count: 2, switched: true, settings: { NOVACT_NETWORK_MANAGER: 'vlan', NOVACT_SERVICE_DOWN_SECONDS: '10' },
  }),
});
