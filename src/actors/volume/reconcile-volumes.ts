// Compares what the database says of this host's volumes with what its driver has and serves, and mends the difference. Without input: a notice
// only makes it look earlier. What it does not know it reports and leaves alone; what it knows to be deleted goes.
import { wantedExports } from '../../db/attachments.ts';
import { resourcesWithWork } from '../../db/operations.ts';
import { knownContents } from '../../db/snapshot-work.ts';
import { purgeDeletedVolumes, volumesById, volumesOfHost } from '../../db/volume-work.ts';
import { messageOf } from '../../lib/errors.ts';
import type { VolumeHost } from './host.ts';

export interface ReconcileDeps {
  readonly host: VolumeHost;
  readonly settle: (volumeId: string) => Promise<unknown>;
}

export async function reconcileVolumes(deps: ReconcileDeps): Promise<void> {
  const { host } = deps;
  await settleAll(deps);
  const busy = new Set(await resourcesWithWork(host.db, host.owner.name));
  await removeDeleted(host, busy);
  await removeContents(host);
  await purgeDeletedVolumes(host.db, host.name, new Date(host.clock.now() - host.limits.deletedKeptMs));
}

/** Every export that is wanted, and every one that there is. One that cannot be settled must not hold up the others. */
async function settleAll({ host, settle }: ReconcileDeps): Promise<void> {
  const wanted = await wantedExports(host.db, host.name);
  const served = await host.driver.listExports();
  for (const volumeId of new Set([...wanted, ...served].map((one) => one.volumeId))) {
    try {
      await settle(volumeId);
    } catch (error) {
      host.log.warn({ volume: volumeId, error: messageOf(error) }, 'the exports of a volume are not as they should be');
    }
  }
}

async function removeDeleted(host: VolumeHost, busy: ReadonlySet<string>): Promise<void> {
  const stored = (await host.driver.listVolumes()).map(({ id }) => id);
  const rows = new Map((await volumesById(host.db, stored)).map((row) => [row.id, row]));
  const unknown: string[] = [];
  for (const id of stored) {
    const row = rows.get(id);
    if (row === undefined) unknown.push(id);
    else if (!busy.has(id) && (row.state === 'deleted' || row.host !== host.name)) {
      host.log.warn({ volume: id, state: row.state, host: row.host }, 'what was left of a volume that is not here any more is removed');
      await host.driver.ensureVolumeAbsent(id);
    }
  }
  if (unknown.length > 0) host.log.warn({ unknown }, 'volumes that no row explains; left as they are');
  const lost = (await volumesOfHost(host.db, host.name)).filter(({ id, state }) => (state === 'available' || state === 'in-use') && !stored.includes(id));
  if (lost.length > 0) host.log.error({ lost: lost.map(({ id }) => id) }, 'volumes that should be here are not: is the folder or device of the store there?');
}

async function removeContents(host: VolumeHost): Promise<void> {
  if (!host.driver.info.capabilities.snapshots) return;
  // The rows last: a snapshot that is being made has its row before its content.
  const stored = await host.driver.listSnapshots();
  const known = await knownContents(host.db, host.name);
  for (const { id } of stored) {
    const isLiving = known.get(id);
    if (isLiving === false) await host.driver.ensureSnapshotAbsent(id);
    else if (isLiving === undefined) host.log.warn({ unknown: id }, 'a snapshot that no row explains; left as it is');
  }
}
