// Instances as operators see them: of all projects, by host.
import { and, asc, eq, ne, or } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { instances } from './schema/instances.ts';

export type OperatorView = typeof instances.$inferSelect;

/** By id; those of a host with those on their way to it. */
export function instancesForOperator(
  db: Queryable, choice: { id?: string | undefined; host?: string | undefined; terminated: boolean; countMax: number },
): Promise<OperatorView[]> {
  return db.select().from(instances).where(and(
    choice.id === undefined ? undefined : eq(instances.id, choice.id),
    choice.host === undefined ? undefined : or(eq(instances.host, choice.host), eq(instances.migratingTo, choice.host)),
    choice.terminated ? undefined : ne(instances.state, 'terminated'),
  )).orderBy(asc(instances.id)).limit(choice.countMax);
}
