// Most protocols the hypervisor speaks itself: nothing has to be done on the host. For the others the kernel of the host makes a device.
import { DriverError } from '../../lib/errors.ts';
import type { DiskSource } from '../hypervisor/driver.ts';
import type { AoeInitiator } from './aoe-initiator.ts';
import type { Connection, VolumeAccess, VolumeConnector } from './driver.ts';

/** Without `aoe`, for hosts that reach no volumes by it. */
export function createVolumeConnector(aoe?: AoeInitiator): VolumeConnector {
  return {
    async ensureConnected(connection, access) {
      if (connection.protocol !== 'aoe') return sourceOf(connection, access);
      if (aoe === undefined) throw new DriverError('unsupported', 'this host reaches no volumes by ATA over Ethernet');
      return { type: 'block', path: await aoe.ensureConnected(connection) };
    },
    async ensureDisconnected(connection) {
      if (connection.protocol === 'aoe') await aoe?.ensureDisconnected(connection);
    },
  };
}

function sourceOf(connection: Exclude<Connection, { protocol: 'aoe' }>, { initiatorName, secret }: VolumeAccess): DiskSource {
  switch (connection.protocol) {
    case 'file':
      return { type: 'file', path: connection.path, format: 'raw' };
    case 'block':
      return { type: 'block', path: connection.path };
    case 'iscsi': {
      const { address, port, target, lun, user } = connection;
      return { type: 'iscsi', address, port, target, lun, initiator: initiatorName, user, secret };
    }
    case 'nbd': {
      const { address, port, exportName } = connection;
      return { type: 'nbd', address, port, exportName };
    }
  }
}
