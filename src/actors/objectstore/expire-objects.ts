// Does what the lifecycle rules of buckets say. It takes no input but rules, objects and the time, so that it can run at any time, twice, or
// be killed half way; and it deletes an object only if it still is the one that it found.
import {
  bucketsWithRules, expiredObjects, expiredUploads, expiredVersions, loneMarkers, type BucketRules, type Expiring, type LifecycleRule,
} from '../../db/lifecycle.ts';
import { abortUpload } from '../../db/multipart.ts';
import { expireCurrent, expireVersion } from '../../db/versions.ts';
import type { Db } from '../../db/db.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';

export interface ExpireDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Expired {
  readonly objects: number;
  readonly versions: number;
  readonly markers: number;
  readonly uploads: number;
}

const dayMs = 86_400_000;
const bucketsMax = 100;
const batchMax = 500;
/** Of one rule and one run; the next run goes on. */
const batchesMax = 200;

const nothing: Expired = { objects: 0, versions: 0, markers: 0, uploads: 0 };

export async function expireObjects(deps: ExpireDeps): Promise<Expired> {
  let total = nothing;
  let after = '';
  for (;;) {
    const found = await bucketsWithRules(deps.db, after, bucketsMax);
    for (const bucket of found) total = sum(total, await expireIn(deps, bucket));
    after = found.at(-1)?.bucket ?? after;
    if (found.length < bucketsMax) break;
  }
  if (Object.values(total).some((count) => count > 0)) deps.log.info(total, 'lifecycle rules let objects expire');
  return total;
}

async function expireIn(deps: ExpireDeps, { bucket, rules }: BucketRules): Promise<Expired> {
  let total = nothing;
  for (const rule of rules) if (rule.isEnabled) total = sum(total, await applyRule(deps, bucket, rule));
  return total;
}

async function applyRule(deps: ExpireDeps, bucket: string, rule: LifecycleRule): Promise<Expired> {
  const { db, clock } = deps;
  const removeVersions = async (found: readonly Expiring[]) => {
    let expired = 0;
    for (const { key, ...version } of found) expired += Number(await expireVersion(db, { bucket, key }, { ...version, now: clock.date() }));
    return expired;
  };
  const olderThan = (days: number) => ({ bucket, rule, before: cutoff(clock, days) });
  const current = currentCutoff(rule, clock);
  return {
    objects: current === undefined ? 0 : await inBatches(() => expiredObjects(db, { bucket, rule, before: current }, batchMax), async (found) => {
      let expired = 0;
      for (const { key, modifiedAt } of found) expired += Number(await expireCurrent(db, { bucket, key }, { modifiedAt, now: clock.date() }));
      return expired;
    }),
    versions: rule.noncurrentDays === undefined ? 0
      : await inBatches(() => expiredVersions(db, olderThan(rule.noncurrentDays ?? 0), batchMax), removeVersions),
    // A rule with days lets lone markers of that age expire as well.
    markers: rule.removesLoneMarkers !== true && rule.days === undefined ? 0
      : await inBatches(() => loneMarkers(db, olderThan(rule.days ?? 0), batchMax), removeVersions),
    uploads: rule.abortDays === undefined ? 0 : await inBatches(() => expiredUploads(db, olderThan(rule.abortDays ?? 0), batchMax), async (found) => {
      for (const uploadId of found) await abortUpload(db, uploadId, clock.date());
      return found.length;
    }),
  };
}

/** What is as old as that many days by the last midnight: AWS counts up to the midnight that follows. */
const cutoff = (clock: Clock, days: number): Date => new Date(Math.floor(clock.now() / dayMs) * dayMs - days * dayMs);

function currentCutoff(rule: LifecycleRule, clock: Clock): Date | undefined {
  if (rule.days !== undefined) return cutoff(clock, rule.days);
  return rule.date !== undefined && Date.parse(rule.date) <= clock.now() ? clock.date() : undefined;
}

/** Until nothing more is found, or nothing of what is found can be done, or for now it is enough. */
async function inBatches<T>(find: () => Promise<readonly T[]>, act: (found: readonly T[]) => Promise<number>): Promise<number> {
  let done = 0;
  for (let batch = 0; batch < batchesMax; batch += 1) {
    const found = await find();
    const count = found.length === 0 ? 0 : await act(found);
    done += count;
    if (count === 0 || found.length < batchMax) break;
  }
  return done;
}

const sum = (one: Expired, other: Expired): Expired => ({
  objects: one.objects + other.objects, versions: one.versions + other.versions, markers: one.markers + other.markers, uploads: one.uploads + other.uploads,
});
