// What operators look at: counts by state, and the story of one resource.
import { and, eq, or, sql } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import type { Queryable } from './db.ts';
import { attachmentOf } from './attachments.ts';
import { findHost, inhabitants } from './host-work.ts';
import { hostStateOf } from './hosts.ts';
import type { Instance } from './instance-work.ts';
import { operationsOf, type Operation } from './operations.ts';
import { images } from './schema/images.ts';
import { instances } from './schema/instances.ts';
import { operations } from './schema/operations.ts';
import { snapshots, volumes } from './schema/volumes.ts';
import { loadSnapshot } from './snapshot-work.ts';
import { loadVolume } from './volume-work.ts';

export type Counts = Readonly<Record<string, number>>;

async function countBy(db: Queryable, table: PgTable, column: PgColumn): Promise<Counts> {
  const rows = await db.select({ state: column, count: sql<number>`count(*)::int` }).from(table).groupBy(column);
  return Object.fromEntries(rows.map((row) => [String(row.state), row.count]));
}

export async function overview(db: Queryable): Promise<{ instances: Counts; images: Counts; volumes: Counts; snapshots: Counts; operations: Counts }> {
  return {
    instances: await countBy(db, instances, instances.state),
    images: await countBy(db, images, images.state),
    volumes: await countBy(db, volumes, volumes.state),
    snapshots: await countBy(db, snapshots, snapshots.state),
    operations: await countBy(db, operations, operations.state),
  };
}

export interface Story {
  readonly id: string;
  readonly kind: 'instance' | 'image' | 'volume' | 'snapshot' | 'host';
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
    const { state, stateChangedAt: since, host } = instance;
    return { id, kind: 'instance', state, since, host: host ?? undefined, reason: await reasonOf(db, instance), operations: history };
  }
  const kept = id.startsWith('vol-') ? await volumeStory(db, id, history) : id.startsWith('snap-') ? await snapshotStory(db, id) : undefined;
  if (kept !== undefined) return kept;
  const [image] = await db.select().from(images).where(eq(images.id, id));
  if (image === undefined) return hostStory(db, id, history);
  const { state, stateChangedAt: since, stateReason } = image;
  return { id, kind: 'image', state, since, host: undefined, reason: stateReason ?? undefined, operations: history };
}

async function volumeStory(db: Queryable, id: string, history: readonly Operation[]): Promise<Story | undefined> {
  const volume = await loadVolume(db, id);
  if (volume === undefined) return undefined;
  const attachment = await attachmentOf(db, id);
  const said = [
    volume.stateReason,
    attachment === undefined ? null : `${attachment.state} ${attachment.released ? 'from' : 'to'} ${attachment.instanceId} as ${attachment.device}`,
  ].filter((text) => text !== null);
  const { state, stateChangedAt: since, host } = volume;
  return { id, kind: 'volume', state, since, host: host ?? undefined, reason: said.join('; ') || undefined, operations: history };
}

/** What made it is work on its volume. */
async function snapshotStory(db: Queryable, id: string): Promise<Story | undefined> {
  const snapshot = await loadSnapshot(db, id);
  if (snapshot === undefined) return undefined;
  const history = await db.select().from(operations).where(or(eq(operations.resourceId, id), and(
    eq(operations.resourceId, snapshot.volumeId), eq(sql`${operations.input} ->> 'snapshotId'`, id),
  ))).orderBy(sql`${operations.sequence} desc`).limit(operationsShown);
  const { state, startedAt, completedAt, host, stateReason } = snapshot;
  return { id, kind: 'snapshot', state, since: completedAt ?? startedAt, host, reason: stateReason ?? undefined, operations: history };
}

/** What the row says, and what it cannot know: that its host is gone. */
async function reasonOf(db: Queryable, { host, hostLost, stateReasonMessage, migratingTo }: Instance): Promise<string | undefined> {
  const downSince = host === null ? undefined : (await findHost(db, host))?.downSince;
  const said = [
    stateReasonMessage,
    downSince === undefined || downSince === null || hostLost
      ? undefined
      : `its host ${host} is down since ${downSince.toISOString()}: nothing can be done with it until that returns`,
    hostLost ? 'it ran when its host was lost: wait for the host, or evacuate it (novact manage host evacuate)' : undefined,
    migratingTo === null ? undefined : `it is on its way to ${migratingTo}`,
  ].filter((text) => text !== null && text !== undefined);
  return said.length === 0 ? undefined : said.join('; ');
}

const counted = (count: number): string => `${count} ${count === 1 ? 'instance' : 'instances'}`;

async function hostStory(db: Queryable, name: string, history: readonly Operation[]): Promise<Story | undefined> {
  const host = await findHost(db, name);
  if (host === undefined) return undefined;
  const rows = await inhabitants(db, name);
  const lost = rows.filter((row) => row.hostLost).length;
  const said = [
    host.downSince === null ? undefined : `not heard of since ${host.downSince.toISOString()}`,
    lost === 0 ? undefined : `${counted(lost)} ran there: to go on when it returns, or elsewhere after novact manage host evacuate ${name}`,
    host.enabled ? undefined : `takes no new instances: ${host.disabledReason ?? 'disabled'}`,
    counted(rows.length),
  ].filter((text) => text !== undefined);
  const since = host.downSince ?? host.updatedAt;
  return { id: name, kind: 'host', state: hostStateOf(host), since, host: name, reason: said.join('; '), operations: history };
}
