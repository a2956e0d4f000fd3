// Instance types: Nova's five, and today's small names, so that examples of either age run as they are.
import { asc, eq, max } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { instanceTypes } from './schema/instances.ts';

export type InstanceType = typeof instanceTypes.$inferSelect;

/** Root size 0: as large as the image. */
const seeds: readonly (readonly [name: string, cores: number, memoryMiB: number, rootGiB: number])[] = [
  ['m1.tiny', 1, 512, 0],
  ['m1.small', 1, 2048, 20],
  ['m1.medium', 2, 4096, 40],
  ['m1.large', 4, 8192, 80],
  ['m1.xlarge', 8, 16_384, 160],
  ['t2.nano', 1, 512, 0],
  ['t2.micro', 1, 1024, 0],
  ['t2.small', 1, 2048, 0],
  ['t3.nano', 2, 512, 0],
  ['t3.micro', 2, 1024, 0],
  ['t3.small', 2, 2048, 0],
];

/** Adds the types that are not there; those that an operator changed stay as they are. Repeating it is harmless. */
export async function seedInstanceTypes(db: Queryable): Promise<void> {
  const rows = seeds.map(([name, cores, memoryMiB, rootGiB], index) => ({ name, cores, memoryMiB, rootGiB, sortOrder: (index + 1) * 10 }));
  await db.insert(instanceTypes).values(rows).onConflictDoNothing();
}

/** All types, in their order. */
export function listInstanceTypes(db: Queryable): Promise<InstanceType[]> {
  return db.select().from(instanceTypes).orderBy(asc(instanceTypes.sortOrder), asc(instanceTypes.name));
}

/** After the others, in their order. False: there is one of that name. */
export async function insertInstanceType(db: Queryable, type: Omit<InstanceType, 'sortOrder'>): Promise<boolean> {
  const [last] = await db.select({ sortOrder: max(instanceTypes.sortOrder) }).from(instanceTypes);
  const rows = await db.insert(instanceTypes).values({ ...type, sortOrder: (last?.sortOrder ?? 0) + 10 }).onConflictDoNothing()
    .returning({ name: instanceTypes.name });
  return rows.length > 0;
}

/** Instances of it go on: they know their own size. False: there is none of that name. */
export async function deleteInstanceType(db: Queryable, name: string): Promise<boolean> {
  return (await db.delete(instanceTypes).where(eq(instanceTypes.name, name)).returning({ name: instanceTypes.name })).length > 0;
}

/** Comes with novact, and back at its next start. */
export const isSeeded = (name: string): boolean => seeds.some(([seed]) => seed === name);
