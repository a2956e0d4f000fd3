// Ends pending images on which nobody works any more: no state is without an end.
import type { Db } from '../../db/db.ts';
import { sweepImports } from '../../db/imports.ts';
import { failAbandonedImages } from '../../db/instance-images.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';

export async function sweepImages({ db, clock, log }: { db: Db; clock: Clock; log: Log }): Promise<void> {
  const failed = await failAbandonedImages(db, clock.date());
  if (failed.length > 0) log.warn({ images: failed }, 'images failed: nobody works on them any more');
  const ended = await sweepImports(db, clock.date());
  if (ended.length > 0) log.warn({ imports: ended }, 'imports failed: nobody works on them any more');
}
