// The acceptance of volumes over iSCSI, with guests on networks of the manager vxlan. `spec/clients/volumes.spec.ts` has more of the API on one
// host; here volumes cross hosts, and every role is a process of its own that is killed by itself.
import { seedVolumes } from '../support/seed-volumes.ts';
import { startHosts } from '../support/three-hosts.ts';

seedVolumes({
  manager: 'vxlan',
  start: () => startHosts('nvseedv', {
    count: 2, volumes: true,
    settings: { NOVACT_NETWORK_MANAGER: 'vxlan', NOVACT_VOLUME_DRIVER: 'iscsi', NOVACT_VOLUME_ALLOCATION: 'thin', NOVACT_SERVICE_DOWN_SECONDS: '10' },
  }),
});
