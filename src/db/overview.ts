// What operators look at: counts by state, and the story of one resource.
import { eq, sql } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import type { Queryable } from './db.ts';
import { operationsOf, type Operation } from './operations.ts';
import { images } from './schema/images.ts';
import { instances } from './schema/instances.ts';
import { operations } from './schema/operations.ts';

export type Counts = Readonly<Record<string, number>>;

async function countBy(db: Queryable, table: PgTable, column: PgColumn): Promise<Counts> {
  const rows = await db.select({ state: column, count: sql<number>`count(*)::int` }).from(table).groupBy(column);
  return Object.fromEntries(rows.map((row) => [String(row.state), row.count]));
}

export async function overview(db: Queryable): Promise<{ instances: Counts; images: Counts; operations: Counts }> {
  return {
    instances: await countBy(db, instances, instances.state),
    images: await countBy(db, images, images.state),
    operations: await countBy(db, operations, operations.state),
  };
}

export interface Story {
  readonly id: string;
  readonly kind: 'instance' | 'image';
  readonly state: string;
  readonly since: Date;
  readonly host: string | undefined;
  readonly reason: string | undefined;
  /** Newest first. */
  readonly operations: readonly Operation[];
}

const operationsShown = 5;

/** Undefined: nothing of that id, or of a kind that has no story. */
export async function storyOf(db: Queryable, id: string): Promise<Story | undefined> {
  const [instance] = await db.select().from(instances).where(eq(instances.id, id));
  const history = await operationsOf(db, id, operationsShown);
  if (instance !== undefined) {
    const { state, stateChangedAt: since, host, stateReasonMessage } = instance;
    return { id, kind: 'instance', state, since, host: host ?? undefined, reason: stateReasonMessage ?? undefined, operations: history };
  }
  const [image] = await db.select().from(images).where(eq(images.id, id));
  if (image === undefined) return undefined;
  const { state, stateChangedAt: since, stateReason } = image;
  return { id, kind: 'image', state, since, host: undefined, reason: stateReason ?? undefined, operations: history };
}
