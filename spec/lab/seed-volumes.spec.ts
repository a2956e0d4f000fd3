// The acceptance of volumes with guests on networks of the manager vlan: virtual machines in emulated hosts. By vxlan:
// spec/clients/seed-volumes.spec.ts.
import { startLabHosts, trunk } from '../support/lab-hosts.ts';
import { seedVolumes } from '../support/seed-volumes.ts';

seedVolumes({
  manager: 'vlan',
  slowness: 8,
  start: () => startLabHosts('lab-seedv', {
    guests: 'machines',
    settings: {
      NOVACT_NETWORK_MANAGER: 'vlan', NOVACT_VLAN_INTERFACE: trunk, NOVACT_VOLUME_DRIVER: 'iscsi', NOVACT_VOLUME_ALLOCATION: 'thin',
    },
  }),
});
