// The acceptance of networks by the manager vxlan, which needs nothing of a switch. Under vlan, whose links this machine's kernel may lack, it is
// the same in the nested guest.
import { seedNetworks } from '../support/seed-networks.ts';
import { startHosts } from '../support/three-hosts.ts';

seedNetworks({
  manager: 'vxlan',
  start: () => startHosts('nvseedn', { guests: 'lxc', count: 2, settings: { NOVACT_NETWORK_MANAGER: 'vxlan', NOVACT_SERVICE_DOWN_SECONDS: '10' } }),
});
