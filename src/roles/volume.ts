// Starts the volume role of this host: its driver, and the actors that keep its volumes, snapshots and exports.
import { sweepIntervalMs } from '../actors/operations/sweep-work.ts';
import { watchWaking } from '../actors/operations/watch-waking.ts';
import { volumeActor, volumeHandlers } from '../actors/volume/actor.ts';
import type { VolumeHost } from '../actors/volume/host.ts';
import { volumeDriverOf } from '../config/settings.ts';
import { takeEpoch } from '../db/hosts.ts';
import { reportVolumeHost } from '../db/volume-hosts.ts';
import type { VolumeDriver } from '../drivers/volume/driver.ts';
import { createVolumes } from '../drivers/volume/index.ts';
import { volumeProtocol } from '../messages/volume.ts';
import { attachmentAccess } from './attachment-access.ts';
import { keep, serviceOf, type Foundation } from './foundation.ts';

const limits = { reconcileIntervalMs: 30_000, sweepIntervalMs: sweepIntervalMs.owned, deletedKeptMs: 3_600_000, placementsMax: 3 };
const reportIntervalMs = 60_000;

/** What the settings name, not yet probed. */
export function openVolumes({ settings, run, log, clock }: Pick<Foundation, 'settings' | 'run' | 'log' | 'clock'>): VolumeDriver {
  const { volumeFolder: folder, volumeAllocation: allocation, volumeStore: store, volumeGroup, volumeShelf: shelf } = settings;
  const context = { run, clock, log: log.child({ role: 'volume' }), stateDirectory: settings.state };
  const where = settings.address === undefined ? {} : { address: settings.address };
  return createVolumes(volumeDriverOf(settings), { folder, allocation, store, volumeGroup, shelf }, { ...context, ...where });
}

/** Everything that was exported is exported again soon after this resolves. */
export async function startVolume(foundation: Foundation, driver: VolumeDriver): Promise<void> {
  const { settings, system, transport, relay, db, clock } = foundation;
  const log = foundation.log.child({ role: 'volume' });
  await driver.probe();
  await report(foundation, driver);
  const epoch = await takeEpoch(db, { host: settings.host, role: 'volume' }, clock.date());
  const host: VolumeHost = {
    name: settings.host, db, clock, log, system, transport, relay, driver, limits,
    owner: { name: `volume@${settings.host}`, epoch },
    access: await attachmentAccess(foundation),
  };
  const ref = system.spawn(volumeActor, 'volume', host);
  const mailbox = { role: 'volume', host: settings.host } as const;
  const subscription = await keep(foundation, transport.serve(mailbox, volumeProtocol, volumeHandlers(host, ref), { service: serviceOf(foundation, epoch) }));
  watchWaking(system, 'volume-waking', { clock, isHeld: () => subscription.isHeld(), onWoken: () => system.tell(ref, { type: 'lookAtAll' }) });
  system.spawn<null, 'report', undefined>({
    kind: 'volume-report',
    init(context) {
      context.every(reportIntervalMs, 'report');
      return null;
    },
    handle: () => report(foundation, driver),
    onError: () => 'resume',
  }, 'volume-report', undefined);
}

/** What this host can carry, less what is kept back. What volumes already have of the store is counted as claimed, and so is no loss. */
async function report({ settings, db, clock }: Foundation, driver: VolumeDriver): Promise<void> {
  const { name, capabilities } = driver.info;
  const { freeBytes } = await driver.capacity();
  const stored = (await driver.listVolumes()).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  await reportVolumeHost(db, {
    name: settings.host, zone: settings.zone, driver: name, isRemote: capabilities.remote, movesLive: capabilities.liveMigration,
    sizeGiB: Math.max(0, Math.floor((freeBytes + stored) / 2 ** 30) - settings.volumeReservedGiB),
  }, clock.date());
}
