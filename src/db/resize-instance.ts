// Another type for a stopped instance: what its project may have, the room on the host that has its disk, and its size, all in one transaction. The
// disk stays as it is.
import { eq } from 'drizzle-orm';
import type { Db, Tx } from './db.ts';
import { claimRoom, releaseRoom, type Claim, type Overcommit } from './hosts.ts';
import { lockProject } from './images.ts';
import { lockInstances, type InstanceRow } from './instances.ts';
import { instancesUsed, ownLimits } from './quotas.ts';
import { findInstanceType, type LaunchQuota } from './reservations.ts';
import { instances } from './schema/instances.ts';

type Sizes = Omit<LaunchQuota, 'instances'>;

export interface Resizing {
  readonly type: string;
  /** What a project may have at once, unless it was given limits of its own. */
  readonly quota: Sizes;
  readonly overcommit: Overcommit;
  /** Throws unless the locked row may be resized now. */
  readonly check: (row: InstanceRow) => void;
}

export type Resized =
  | { readonly outcome: 'resized' | 'absent' | 'noSuchType' | 'noRoom' }
  | { readonly outcome: 'overQuota'; readonly of: keyof Sizes; readonly limit: number };

export function resizeInstance(db: Db, which: { readonly projectId: string; readonly id: string }, wish: Resizing): Promise<Resized> {
  return db.transaction(async (tx): Promise<Resized> => {
    // The order of a launch: the project, instances, hosts.
    await lockProject(tx, which.projectId);
    const [row] = await lockInstances(tx, which.projectId, [which.id]);
    if (row === undefined) return { outcome: 'absent' };
    wish.check(row);
    const type = await findInstanceType(tx, wish.type);
    if (type === undefined) return { outcome: 'noSuchType' };
    const more = { cores: type.cores - row.cores, memoryMiB: type.memoryMiB - row.memoryMiB };
    const [used, own] = [await instancesUsed(tx, which.projectId), await ownLimits(tx, which.projectId)];
    const limits = { ...wish.quota, ...own };
    for (const of of ['cores', 'memoryMiB'] as const) {
      if (more[of] > 0 && used[of] + more[of] > limits[of]) return { outcome: 'overQuota', of, limit: limits[of] };
    }
    if (row.host !== null && !(await changeRoom(tx, row.host, { ...more, diskGiB: 0 }, wish.overcommit))) return { outcome: 'noRoom' };
    await tx.update(instances).set({ instanceType: type.name, cores: type.cores, memoryMiB: type.memoryMiB }).where(eq(instances.id, row.id));
    return { outcome: 'resized' };
  });
}

/** Who needs less needs nobody's leave, however full or unwell the host is. */
async function changeRoom(tx: Tx, host: string, more: Claim, overcommit: Overcommit): Promise<boolean> {
  if (more.cores > 0 || more.memoryMiB > 0) return claimRoom(tx, host, more, overcommit);
  await releaseRoom(tx, host, { cores: -more.cores, memoryMiB: -more.memoryMiB, diskGiB: 0 });
  return true;
}
