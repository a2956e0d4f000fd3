// Decides which hosts get the instances that have none, and claims their room there: a whole batch at once, reading a few hosts of however
// many. What fits nowhere ends at once, with its reason.
import type { Db } from '../../db/db.ts';
import type { Overcommit } from '../../db/hosts.ts';
import { endUnplaced } from '../../db/instance-work.ts';
import {
  candidatePages, fits, placeInstances, unplacedWork, withClaim, type Candidate, type CandidateWish, type Placement, type Unplaced,
} from '../../db/placement.ts';
import type { Operation } from '../../db/operations.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import { groupBy } from '../../lib/group-by.ts';
import type { Log } from '../../lib/log.ts';
import type { Directory, ServiceRecord } from '../../transport/directory.ts';
import type { Relay } from '../../transport/transport.ts';
import type { Policy } from './policies/policy.ts';

export interface SchedulerDeps {
  readonly db: Db;
  readonly directory: Directory;
  /** Kicked when instances were given to hosts. */
  readonly relay: Relay;
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: Policy;
  readonly overcommit: Overcommit;
  readonly random: () => number;
  /** Hosts tried for one instance before it is given up. */
  readonly placementsMax: number;
}

/** A launch that waits for a host. */
interface Waiting extends Unplaced {
  readonly run: Operation;
}

/** With the request that it goes back to, for the log. */
interface Planned extends Placement {
  readonly requestId: string;
}

interface Reason {
  readonly code: string;
  readonly message: string;
}

/** Settles instances that have no host: places them, ends them, or leaves those that are not the scheduler's. Repeating is harmless. */
export async function settleUnplaced(deps: SchedulerDeps, ids: readonly string[]): Promise<void> {
  const waiting: Waiting[] = [];
  for (const { run, ...unplaced } of await unplacedWork(deps.db, ids)) {
    const { instance } = unplaced;
    if (instance.state === 'shutting-down') await end(deps, instance.id, undefined);
    else if (instance.state === 'pending' && run !== undefined) {
      const reason = reasonToEnd(deps, { ...unplaced, run });
      if (reason === undefined) waiting.push({ ...unplaced, run });
      else await end(deps, instance.id, reason);
    }
  }
  for (const alike of groupBy(waiting, wishKey).values()) await placeAlike(deps, alike);
}

function reasonToEnd(deps: SchedulerDeps, { instance, run }: Waiting): Reason | undefined {
  if (deps.clock.now() > run.deadline.getTime()) {
    return { code: 'Server.InternalError', message: 'Server.InternalError: the instance was not placed within its time' };
  }
  if (instance.placements < deps.placementsMax) return undefined;
  return { code: 'Server.InternalError', message: `Server.InternalError: failed on ${instance.placements} hosts, last: ${run.error ?? 'unknown'}` };
}

/** Those with the same key can be served from the same hosts. */
const wishKey = ({ instance, run, claim }: Waiting): string => JSON.stringify([instance.zone, hostAsked(run), instance.failedHosts, claim]);

/** `Placement.AvailabilityZone=zone:host`, which administrators may ask for. */
const hostAsked = (run: Operation): string | undefined => (typeof run.input['host'] === 'string' ? run.input['host'] : undefined);

const pageSizeMin = 16;
const pageSizeMax = 64;

async function placeAlike(deps: SchedulerDeps, alike: readonly Waiting[]): Promise<void> {
  const [first] = alike;
  if (first === undefined) return;
  const wish: CandidateWish = {
    zone: first.instance.zone, room: first.claim, overcommit: deps.overcommit, except: first.instance.failedHosts, only: hostAsked(first.run),
    order: deps.policy.reads === 'load' ? 'load' : { lot: deps.random() }, pageSize: Math.min(pageSizeMax, Math.max(pageSizeMin, alike.length)),
  };
  const heard = await heardHosts(deps);
  let waiting = alike;
  // Hosts that are silent, but not for so long that they count as down, keep what is sent to them: better than nothing, as while a role is restarted.
  for (const want of heard === undefined ? [undefined] : [true, false]) {
    for await (const page of candidatePages(deps.db, wish)) {
      waiting = await placeOn(deps, page.filter(({ name }) => want === undefined || heard?.has(name) === want), waiting);
      if (waiting.length === 0) return;
    }
  }
  for (const { instance, run } of waiting) await end(deps, instance.id, noRoom(instance.failedHosts.length > 0, run, wish.only));
}

const noRoom = (hasTried: boolean, run: Operation, only: string | undefined): Reason => (hasTried
  ? { code: 'Server.InternalError', message: `Server.InternalError: ${run.error ?? 'the launch failed'}` }
  : {
    code: 'Server.InsufficientInstanceCapacity',
    message: `Server.InsufficientInstanceCapacity: ${only === undefined ? 'no host has' : `host ${only} is not up or has no`} room for this instance`,
  });

/** Plans on a view of the hosts, and claims. Who lost a race for room is planned again on what then is left. Returns those not placed. */
async function placeOn(deps: SchedulerDeps, page: readonly Candidate[], wanted: readonly Waiting[]): Promise<readonly Waiting[]> {
  let hosts = page;
  let waiting = wanted;
  for (let tries = 0; tries < triesMax && hosts.length > 0 && waiting.length > 0; tries += 1) {
    const { placements, after } = plan(deps, hosts, waiting);
    if (placements.length === 0) return waiting;
    const { placed, gone } = await placeInstances(deps.db, placements, deps.overcommit, deps.clock.date());
    if (placed.size > 0) tell(deps, placements.filter(({ instanceId }) => placed.has(instanceId)));
    waiting = waiting.filter(({ instance }) => !placed.has(instance.id) && !gone.has(instance.id));
    const refused = new Set(placements.flatMap(({ instanceId, host }) => (placed.has(instanceId) || gone.has(instanceId) ? [] : [host])));
    hosts = after.filter(({ name }) => !refused.has(name));
  }
  return waiting;
}

/** Views of hosts age while others claim; after so many refusals the next page is read. */
const triesMax = 8;

function plan(deps: SchedulerDeps, hosts: readonly Candidate[], waiting: readonly Waiting[]): { placements: Planned[]; after: Candidate[] } {
  const after = new Map(hosts.map((host) => [host.name, host]));
  const placements: Planned[] = [];
  for (const { instance, run, claim } of waiting) {
    const chosen = deps.policy.order([...after.values()], deps.random).find((host) => fits(host, claim, deps.overcommit));
    if (chosen === undefined) break; // they are alike
    after.set(chosen.name, withClaim(chosen, claim));
    placements.push({ instanceId: instance.id, operationId: run.id, host: chosen.name, claim, requestId: run.requestId });
  }
  return { placements, after: [...after.values()] };
}

function tell(deps: SchedulerDeps, placements: readonly Planned[]): void {
  deps.relay.kick();
  for (const { instanceId, host, operationId, requestId } of placements) {
    deps.log.info({ instance: instanceId, host, operation: operationId, requestId }, 'instance placed');
  }
}

const heardSets = new WeakMap<readonly ServiceRecord[], ReadonlySet<string>>();

/** The hosts whose role holds its lease. Undefined: the directory does not answer, and the database alone knows who is up. */
export async function heardHosts(deps: SchedulerDeps, role: 'compute' | 'volume' = 'compute'): Promise<ReadonlySet<string> | undefined> {
  try {
    const services = await deps.directory.services(role);
    const known = heardSets.get(services) ?? new Set(services.map(({ host }) => host));
    heardSets.set(services, known);
    return known;
  } catch (error) {
    deps.log.warn({ error: messageOf(error) }, 'the directory does not answer: hosts are chosen by the database alone');
    return undefined;
  }
}

/** The instance ends here: nothing of it exists on any host. */
async function end(deps: SchedulerDeps, instanceId: string, reason: Reason | undefined): Promise<void> {
  if (!(await endUnplaced(deps.db, instanceId, reason, deps.clock.date()))) return;
  deps.log.info({ instance: instanceId, reason: reason?.code }, 'instance ended without a host');
}
