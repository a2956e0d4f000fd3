// The address of an instance, claimed and given back by the host that has it. Messages come late and twice: each change first makes sure, under the
// row's lock, that the instance is still where the asker thought it was.
import { eq } from 'drizzle-orm';
import type { Db, Tx } from './db.ts';
import { claimAddress, releaseAddress, sharedNetworkId } from './networks.ts';
import { instances, type InstanceState } from './schema/instances.ts';

export interface PortOnHost {
  readonly instanceId: string;
  readonly host: string;
  readonly now: Date;
}

export type ClaimedPort = { readonly networkId: string; readonly address: string };

/**
 * An address on the network of the instance. `elsewhere`: it is not this host's, or is to end, and gets nothing. `noNetwork`: it is to be on the
 * network that all projects share, and there is none. `full`: no address is free.
 */
export function claimPort(db: Db, claim: PortOnHost): Promise<ClaimedPort | 'elsewhere' | 'noNetwork' | 'full'> {
  return db.transaction(async (tx) => {
    const row = await lockPlace(tx, claim.instanceId);
    const isHere = row !== undefined && (row.host === claim.host || row.migratingTo === claim.host);
    if (!isHere || isEnding(row.state)) return 'elsewhere';
    const networkId = row.networkId ?? (await sharedNetworkId(tx));
    if (networkId === undefined) return 'noNetwork';
    const claimed = await claimAddress(tx, { ...claim, networkId });
    return claimed === undefined ? 'full' : { ...claimed, networkId };
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
  const { host, migratingTo, state, networkId, wishedAddress } = instances;
  const [row] = await tx.select({ host, migratingTo, state, networkId, wishedAddress }).from(instances).where(eq(instances.id, instanceId)).for('update');
  return row;
}
