// What all changes of a VPC have in common: they hold its row, so that what was checked is still so when they are done, and they tell the hosts that
// have members of its networks, whose router follows the rows.
import { and, eq } from 'drizzle-orm';
import { announceRules } from '../messages/announcements.ts';
import type { Tx } from './db.ts';
import { insertOutbox } from './outbox.ts';
import { hostsOfRouter } from './project-networks.ts';
import { vpcs } from './schema/vpcs.ts';
import type { Vpc } from './vpcs.ts';

/** Whose change it is, and when. */
export interface VpcChange {
  readonly projectId: string;
  readonly requestId: string;
  readonly now: Date;
}

/** Undefined: the project has no such VPC. */
export async function lockVpc(tx: Tx, projectId: string, vpcId: string): Promise<Vpc | undefined> {
  const [row] = await tx.select().from(vpcs).where(and(eq(vpcs.projectId, projectId), eq(vpcs.id, vpcId))).for('update');
  return row;
}

/** The hosts look at the database again as soon as this transaction is done. */
export async function tellRouter(tx: Tx, vpcId: string, { requestId, now }: VpcChange): Promise<void> {
  const hosts = await hostsOfRouter(tx, vpcId);
  await insertOutbox(tx, hosts.map((host) => announceRules(host, requestId)), now);
}
