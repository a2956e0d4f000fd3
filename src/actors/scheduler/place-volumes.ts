// Decides which hosts keep the volumes that have none: those with the most room first, and of a snapshot its own. What fits nowhere is in error
// at once, with its reason.
import { endOverdueSnapshots, hostOfContent } from '../../db/snapshot-work.ts';
import { settleStray, strayAttachments } from '../../db/stray-attachments.ts';
import { placeVolume, unplacedVolume, volumeCandidates, type VolumePlaceWish } from '../../db/volume-hosts.ts';
import { endOverdue, failUnplaced, overdueVolumes, type Volume } from '../../db/volume-work.ts';
import type { Operation } from '../../db/operations.ts';
import { heardHosts, type SchedulerDeps } from './place-instances.ts';

/** Settles a volume that has no host: places it, or gives it up. Repeating is harmless. */
export async function settleUnplacedVolume(deps: SchedulerDeps, id: string): Promise<void> {
  const { db, clock, log } = deps;
  const unplaced = await unplacedVolume(db, id);
  if (unplaced?.create === undefined) return;
  const { volume, create } = unplaced;
  const refusal = reasonToEnd(deps, volume, create) ?? (await place(deps, volume, create));
  if (refusal === undefined) return;
  const isEnded = await failUnplaced(db, { volumeId: id, operationId: create.id, reason: refusal }, clock.date());
  if (isEnded) log.warn({ volume: id, reason: refusal }, 'volume not placed');
}

function reasonToEnd(deps: SchedulerDeps, volume: Volume, create: Operation): string | undefined {
  if (deps.clock.now() > create.deadline.getTime()) return 'the volume was not placed within its time';
  return volume.placements < deps.placementsMax ? undefined : `failed on ${volume.placements} hosts, last: ${create.error ?? 'unknown'}`;
}

/** The reason when there is no host for it. */
async function place(deps: SchedulerDeps, volume: Volume, create: Operation): Promise<string | undefined> {
  const { db, relay, clock, log } = deps;
  const wish: VolumePlaceWish = {
    zone: volume.zone, sizeGiB: volume.sizeGiB, except: volume.failedHosts,
    only: volume.contentId === null ? undefined : await hostOfContent(db, volume.contentId),
    near: typeof create.input['near'] === 'string' ? create.input['near'] : undefined,
  };
  const names = await volumeCandidates(db, wish);
  const heard = await heardHosts(deps, 'volume');
  // Hosts that are silent keep what is sent to them: better than nothing, as while a role is restarted.
  const ordered = heard === undefined ? names : [...names.filter((name) => heard.has(name)), ...names.filter((name) => !heard.has(name))];
  for (const host of ordered) {
    const placement = await placeVolume(db, { volumeId: volume.id, operationId: create.id, host }, clock.date());
    if (placement === 'full') continue;
    if (placement === 'placed') {
      relay.kick();
      log.info({ volume: volume.id, host, operation: create.id, requestId: create.requestId }, 'volume placed');
    }
    return undefined;
  }
  if (volume.failedHosts.length > 0) return create.error ?? 'the volume could not be made';
  const where = wish.only === undefined ? `no volume host of the zone ${volume.zone} has` : `the host of the snapshot, ${wish.only}, has not`;
  return `${where} room for ${volume.sizeGiB} GiB`;
}

/** What was not left in its time, is left. */
export async function endOverdueStates({ db, clock, log, relay }: SchedulerDeps): Promise<void> {
  const now = clock.date();
  for (const volume of await overdueVolumes(db, now)) {
    if (await endOverdue(db, volume, now)) log.warn({ volume: volume.id, state: volume.state }, 'volume was not done within its time');
  }
  const ended = await endOverdueSnapshots(db, now);
  if (ended.length > 0) log.warn({ snapshots: ended }, 'snapshots were not done within their time');
  for (const stray of await strayAttachments(db)) {
    if (!(await settleStray(db, stray, now))) continue;
    relay.kick();
    const { volumeId: volume, instanceId: instance, host, downSince, state: was } = stray;
    log.warn({ volume, instance, host, downSince, was }, 'nobody attaches or detaches a volume any more');
  }
}
