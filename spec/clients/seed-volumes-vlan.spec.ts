// The acceptance of volumes over iSCSI, with guests on networks of the manager vlan, whose frames Open vSwitch tags. By vxlan: seed-volumes.spec.ts.
import { seedVolumes } from '../support/seed-volumes.ts';
import { startHosts } from '../support/three-hosts.ts';

seedVolumes({
  manager: 'vlan',
  start: () => startHosts('nvseedu', {
    count: 2, volumes: true, switched: true,
    settings: { NOVACT_NETWORK_MANAGER: 'vlan', NOVACT_VOLUME_DRIVER: 'iscsi', NOVACT_VOLUME_ALLOCATION: 'thin', NOVACT_SERVICE_DOWN_SECONDS: '10' },
  }),
});
