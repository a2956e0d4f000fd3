// Removes what nothing names any more: garbage blobs, orphans of crashes, torn uploads, and multipart uploads that nobody
// completed. It takes no input but the stored state, so that it can run at any time, twice, or be killed half way.
import { forgetGarbage, knownBlobs, oldGarbage } from '../../db/blobs.ts';
import type { Db } from '../../db/db.ts';
import { abortUpload, staleUploads } from '../../db/multipart.ts';
import type { ObjectStoreDriver } from '../../drivers/objectstore/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';

export interface SweepDeps {
  readonly db: Db;
  readonly store: ObjectStoreDriver;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Swept {
  readonly garbage: number;
  readonly orphans: number;
  readonly temporaryFiles: number;
  readonly uploads: number;
}

/** A reader may have looked up the blob just before it was let go of. */
const garbageAgeMs = 60_000;
/** A blob is written before its row: an upload of that long must have ended. */
const orphanAgeMs = 24 * 3_600_000;
const uploadAgeMs = 7 * 24 * 3_600_000;

const batchMax = 1_000;
/** Each batch of candidates costs one pass over the objects, so it is large. */
const orphanBatchMax = 10_000;
/** Of one sweep; the next one goes on. */
const batchesMax = 100;

/** What the database knows to be free: costs what there is to remove, and may run every minute. */
export async function sweepReleased(deps: SweepDeps): Promise<Pick<Swept, 'garbage' | 'uploads'>> {
  const uploads = await sweepUploads(deps);
  return { uploads, garbage: await sweepGarbage(deps) };
}

/** Everything. Looks at every blob there is, so once an hour is often enough. */
export async function sweepBlobs(deps: SweepDeps): Promise<Swept> {
  const { uploads, garbage } = await sweepReleased(deps);
  const orphans = await sweepOrphans(deps);
  const temporaryFiles = await deps.store.sweep({ changedBefore: before(deps, orphanAgeMs) });
  const swept = { garbage, orphans, temporaryFiles, uploads };
  if (Object.values(swept).some((count) => count > 0)) deps.log.info(swept, 'swept the object store');
  return swept;
}

async function sweepUploads({ db, clock }: SweepDeps): Promise<number> {
  let aborted = 0;
  for (const uploadId of await staleUploads(db, new Date(clock.now() - uploadAgeMs), batchMax)) {
    if (await abortUpload(db, uploadId, clock.date())) aborted += 1;
  }
  return aborted;
}

/** The file first, then the row: killed in between, the next sweep removes a file that is gone already. */
async function sweepGarbage(deps: SweepDeps): Promise<number> {
  let removed = 0;
  for (let batch = 0; batch < batchesMax; batch += 1) {
    const blobIds = await oldGarbage(deps.db, before(deps, garbageAgeMs), batchMax);
    for (const blobId of blobIds) await deps.store.remove(blobId);
    await forgetGarbage(deps.db, blobIds);
    removed += blobIds.length;
    if (blobIds.length < batchMax) break;
  }
  return removed;
}

async function sweepOrphans(deps: SweepDeps): Promise<number> {
  let removed = 0;
  let candidates: string[] = [];
  const removeOrphans = async () => {
    const known = await knownBlobs(deps.db, candidates);
    for (const blobId of candidates) {
      if (known.has(blobId)) continue;
      await deps.store.remove(blobId);
      removed += 1;
    }
    candidates = [];
  };
  for await (const blobId of deps.store.list({ changedBefore: before(deps, orphanAgeMs) })) {
    candidates.push(blobId);
    if (candidates.length >= orphanBatchMax) await removeOrphans();
  }
  await removeOrphans();
  return removed;
}

const before = ({ clock }: SweepDeps, ageMs: number): Date => new Date(clock.now() - ageMs);
