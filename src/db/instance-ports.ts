// The address of an instance, claimed and given back by the host that has it. Messages come late and twice: each change first makes sure, under the
// row's lock, that the instance is still where the asker thought it was.
import { eq } from 'drizzle-orm';
import type { Db, Tx } from './db.ts';
import { claimAddress, releaseAddress } from './networks.ts';
import { instances, type InstanceState } from './schema/instances.ts';

export interface PortOnHost {
  readonly instanceId: string;
  readonly host: string;
  readonly now: Date;
}

/** `elsewhere`: the instance is not this host's, or is to end, and gets nothing. Undefined: the network is full. */
export function claimPort(db: Db, claim: PortOnHost & { readonly networkId: string }): Promise<{ address: string } | 'elsewhere' | undefined> {
  return db.transaction(async (tx) => {
    const row = await lockPlace(tx, claim.instanceId);
    const isHere = row !== undefined && (row.host === claim.host || row.migratingTo === claim.host);
    if (!isHere || isEnding(row.state)) return 'elsewhere';
    return claimAddress(tx, claim);
  });
}

/** Gives the address back, unless the instance lives on another host, where it is in use, or is to live and has it by its own wish. */
export function releasePort(db: Db, { instanceId, host, now }: PortOnHost): Promise<void> {
  return db.transaction(async (tx) => {
    const row = await lockPlace(tx, instanceId);
    if (row !== undefined && row.state !== 'terminated' && row.host !== null && row.host !== host) return;
    if (row !== undefined && row.wishedAddress !== null && !isEnding(row.state)) return;
    await releaseAddress(tx, instanceId, now);
  });
}

const isEnding = (state: InstanceState): boolean => state === 'shutting-down' || state === 'terminated';

async function lockPlace(tx: Tx, instanceId: string) {
  const { host, migratingTo, state, wishedAddress } = instances;
  const [row] = await tx.select({ host, migratingTo, state, wishedAddress }).from(instances).where(eq(instances.id, instanceId)).for('update');
  return row;
}
