// Instances that nobody works on: what an event of a hypervisor may be about, apart from what an operation does itself.
import { and, eq, inArray, notExists, sql } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import type { Instance } from './instance-work.ts';
import { unfinished } from './operations.ts';
import { instances } from './schema/instances.ts';
import { operations } from './schema/operations.ts';

/** Those of the instances that no unfinished operation is about. */
export function idleInstances(db: Queryable, ids: readonly string[]): Promise<Instance[]> {
  const work = db.select({ one: sql`1` }).from(operations)
    .where(and(eq(operations.resourceId, instances.id), inArray(operations.state, [...unfinished])));
  return db.select().from(instances).where(and(inArray(instances.id, [...ids]), notExists(work)));
}
