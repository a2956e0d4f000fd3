// Protocols that the hypervisor speaks itself: nothing has to be done on the host.
import { DriverError } from '../../lib/errors.ts';
import type { DiskSource } from '../hypervisor/driver.ts';
import type { Connection, VolumeAccess, VolumeConnector } from './driver.ts';

export function createVolumeConnector(): VolumeConnector {
  return { ensureConnected: async (connection, access) => sourceOf(connection, access), ensureDisconnected: async () => undefined };
}

function sourceOf(connection: Connection, { initiatorName, secret }: VolumeAccess): DiskSource {
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
    case 'aoe':
      throw new DriverError('unsupported', 'ATA over Ethernet needs the kernel module aoe on the host of the instance');
  }
}
