// How instances come to this host and leave it: what other hosts are told of it, and the server from which they fetch the disks of instances
// that move to them. A host without an address is alone, and listens for nobody.
import { hkdfSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:https';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { HostMoves } from '../actors/compute/host.ts';
import type { Settings } from '../config/settings.ts';
import { isGoingOver } from '../db/migrate-work.ts';
import { createTransferServer } from '../drivers/disk/transfer-server.ts';
import { createDiskTransfer } from '../drivers/disk/transfer.ts';
import type { Foundation } from './foundation.ts';
import { startListener, type HttpServer } from './listener.ts';
import { overcommitOf } from './overcommit.ts';

const stallMs = 60_000;
/** Ten gigabytes over a slow network, and the memory of a busy guest. */
const moveMs = 2 * 3_600_000;

/** The server listens when this resolves. */
export async function startMoves(foundation: Foundation): Promise<HostMoves | undefined> {
  const { settings, clock, system, db, paths } = foundation;
  const { address, transferPort: port, host: source } = settings;
  if (address === undefined) return undefined;
  const log = foundation.log.child({ role: 'compute' });
  // The same on every host that has the cloud's key.
  const secret = Buffer.from(hkdfSync('sha256', await readFile(paths.masterKey), '', 'disk transfers', 32));
  const server = createTransferServer({
    secret, log,
    authorise: async (move) => ((await isGoingOver(db, { ...move, source })) ? join(paths.instances, move.instanceId) : undefined),
  });
  await startListener(system, 'disk-transfers', { server: asListener(server), host: address, port });
  return {
    address, moveMs, migrationUri: migrationUriOf(settings, address), instancesShared: settings.instancesShared === 'yes',
    transfer: createDiskTransfer({ clock, secret, port, stallMs }), overcommit: overcommitOf(settings),
  };
}

export function migrationUriOf({ migrationUri, host }: Pick<Settings, 'migrationUri' | 'host'>, address: string): string {
  return migrationUri.replaceAll('{address}', isIPv6(address) ? `[${address}]` : address).replaceAll('{host}', host);
}

/** A listener is started anew when it died. Transfers in hand break off at the end: their other side resumes them. */
const asListener = (server: Server): HttpServer => ({
  listen: (host, port) => new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve(undefined);
    });
  }),
  close: () => new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  }),
});
