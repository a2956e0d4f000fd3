// Decides which host gets an instance, claims its room there, and tells the host. What fits nowhere ends at once, with its reason.
import type { Db } from '../../db/db.ts';
import { candidateHosts, type Overcommit } from '../../db/hosts.ts';
import { endUnplaced, loadInstance, placeInstance as claimPlace, type Instance } from '../../db/instance-work.ts';
import { unfinishedOperations, type Operation } from '../../db/operations.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Relay, Transport } from '../../transport/transport.ts';
import type { Policy } from './policies/policy.ts';

export interface SchedulerDeps {
  readonly db: Db;
  readonly transport: Transport;
  /** Kicked when an instance was given to a host. */
  readonly relay: Relay;
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: Policy;
  readonly overcommit: Overcommit;
  readonly random: () => number;
  /** Hosts tried for one instance before it is given up. */
  readonly placementsMax: number;
}

/** Settles one instance that has no host: places it, ends it, or leaves it if it is not the scheduler's. Repeating is harmless. */
export async function settleUnplaced(deps: SchedulerDeps, instanceId: string): Promise<void> {
  const instance = await loadInstance(deps.db, instanceId);
  if (instance === undefined || instance.host !== null) return;
  const mine = (await unfinishedOperations(deps.db, instanceId)).filter((operation) => operation.owner === 'scheduler');
  const run = mine.find((operation) => operation.kind === 'instance.run');
  if (instance.state === 'shutting-down') return end(deps, instance, undefined);
  if (instance.state !== 'pending' || run === undefined) return;
  if (deps.clock.now() > run.deadline.getTime()) {
    return end(deps, instance, { code: 'Server.InternalError', message: 'Server.InternalError: the instance was not placed within its time' });
  }
  if (instance.placements >= deps.placementsMax) {
    const message = `Server.InternalError: failed on ${instance.placements} hosts, last: ${run.error ?? 'unknown'}`;
    return end(deps, instance, { code: 'Server.InternalError', message });
  }
  await place(deps, instance, run);
}

async function place(deps: SchedulerDeps, instance: Instance, run: Operation): Promise<void> {
  const up = new Set(await deps.transport.hosts('compute'));
  const candidates = (await candidateHosts(deps.db, instance.zone, instance.failedHosts)).filter((host) => up.has(host.name));
  for (const host of deps.policy(candidates, deps.random)) {
    const placed = await claimPlace(deps.db, { instance, operationId: run.id, host: host.name, overcommit: deps.overcommit, now: deps.clock.date() });
    if (!placed) continue;
    deps.log.info({ instance: instance.id, host: host.name, requestId: run.requestId }, 'instance placed');
    deps.relay.kick();
    return;
  }
  const tried = instance.failedHosts.length > 0;
  await end(deps, instance, tried
    ? { code: 'Server.InternalError', message: `Server.InternalError: ${run.error ?? 'the launch failed'}` }
    : { code: 'Server.InsufficientInstanceCapacity', message: 'Server.InsufficientInstanceCapacity: no host has room for this instance' });
}

/** The instance ends here: nothing of it exists on any host. */
async function end(deps: SchedulerDeps, instance: Instance, reason: { code: string; message: string } | undefined): Promise<void> {
  if (!(await endUnplaced(deps.db, instance.id, reason, deps.clock.date()))) return;
  deps.log.info({ instance: instance.id, reason: reason?.code }, 'instance ended without a host');
}
