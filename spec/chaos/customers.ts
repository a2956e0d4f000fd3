// Those who use the cloud while its parts die: each runs instances through their whole lives by boto3, asks again when nobody answers, and
// notes what must never happen. A call that fails is no fault; what was promised and not kept is one.
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { ClientError, type Boto3 } from '../support/clients.ts';
import type { Seeded } from './seeded.ts';

export interface Tally {
  launched: number;
  ran: number;
  /** Ended by the cloud with a reason, as when no host was up. */
  refused: number;
  terminated: number;
  callsFailed: number;
  calls: number;
  readonly launchToRunningMs: number[];
  /** What must not be. */
  readonly faults: string[];
}

export const newTally = (): Tally =>
  ({ launched: 0, ran: 0, refused: 0, terminated: 0, callsFailed: 0, calls: 0, launchToRunningMs: [], faults: [] });

interface Instance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly StateReason?: { readonly Code?: string; readonly Message?: string };
}

export interface CustomerOptions {
  readonly boto3: Boto3;
  readonly imageId: string;
  readonly random: Seeded;
  readonly tally: Tally;
  /** No new life is begun after it. */
  readonly until: number;
  /** How long anything may take: longer than every pause and outage that is made, with what may follow one another of them. */
  readonly patienceMs: number;
}

/** Answers of a cloud that is being killed: the call is to be made again. */
const isPassing = (error: unknown): boolean => error instanceof ClientError && (error.status === 0 || error.status >= 500);

/** Resolves when the last of this customer's instances is gone, or was given up as stuck. */
export async function customer(options: CustomerOptions): Promise<void> {
  while (performance.now() < options.until) await oneLife(options);
}

async function oneLife(options: CustomerOptions): Promise<void> {
  const { tally, random, imageId } = options;
  const startedAt = performance.now();
  const ClientToken = randomUUID();
  const count = random.between(1, 2);
  const parameters = { ImageId: imageId, InstanceType: 'm1.tiny', MinCount: count, MaxCount: count, ClientToken };
  const answer = await insist<{ Instances: Instance[] }>(options, 'run_instances', parameters);
  if (answer === undefined) return fault(tally, `a launch was not answered within ${options.patienceMs} ms`);
  const ids = answer.Instances.map(({ InstanceId }) => InstanceId);
  tally.launched += ids.length;
  if (ids.length !== count) fault(tally, `${count} were asked for, ${ids.length} came: ${ids.join(', ')}`);
  const again = await insist<{ Instances: Instance[] }>(options, 'run_instances', parameters);
  const same = again?.Instances.map(({ InstanceId }) => InstanceId).toSorted().join() === ids.toSorted().join();
  if (again !== undefined && !same) fault(tally, `the token ${ClientToken} launched twice: ${ids.join(', ')}`);
  const running = await settle(options, ids, ['running'], 'to run');
  if (running.length > 0) tally.launchToRunningMs.push(Math.round(performance.now() - startedAt));
  tally.ran += running.length;
  if (running.length > 0) await oneWish(options, running);
  if ((await insist(options, 'terminate_instances', { InstanceIds: ids })) === undefined) fault(tally, `nobody took the end of ${ids.join(', ')}`);
  const gone = await settle(options, ids, ['terminated'], 'to end');
  tally.terminated += gone.length;
}

/** A reboot, or a stop and a start. */
async function oneWish(options: CustomerOptions, ids: readonly string[]): Promise<void> {
  const { random } = options;
  const which = random.next();
  if (which < 0.3) return;
  if (which < 0.5) {
    await insist(options, 'reboot_instances', { InstanceIds: ids });
    await settle(options, ids, ['running'], 'to run after a reboot');
    return;
  }
  await insist(options, 'stop_instances', { InstanceIds: ids, Force: true });
  await settle(options, ids, ['stopped'], 'to stop');
  await insist(options, 'start_instances', { InstanceIds: ids });
  await settle(options, ids, ['running'], 'to run again');
}

/** Waits until each is in one of the states, or terminated with a reason. Returns those in the states. */
async function settle(options: CustomerOptions, ids: readonly string[], states: readonly string[], what: string): Promise<string[]> {
  const { tally } = options;
  const endsAt = performance.now() + options.patienceMs;
  let seen: readonly Instance[] = [];
  while (performance.now() < endsAt) {
    seen = await describe(options, ids) ?? seen;
    if (seen.length === ids.length && seen.every(({ State }) => states.includes(State.Name) || State.Name === 'terminated')) break;
    await pause(300);
  }
  const there = seen.filter(({ State }) => states.includes(State.Name)).map(({ InstanceId }) => InstanceId);
  for (const { InstanceId, State, StateReason } of seen) {
    if (there.includes(InstanceId)) continue;
    if (State.Name !== 'terminated') fault(tally, `stuck: ${InstanceId} was ${what}, and is ${State.Name} (${StateReason?.Message ?? 'no reason'})`);
    else if ((StateReason?.Message ?? '') === '') fault(tally, `${InstanceId} was ${what}, and ended without a reason`);
    else tally.refused += 1;
  }
  if (seen.length < ids.length) fault(tally, `lost: of ${ids.join(', ')} only ${seen.length} are known`);
  return there;
}

async function describe(options: CustomerOptions, ids: readonly string[]): Promise<readonly Instance[] | undefined> {
  const answer = await call<{ Reservations: { Instances: Instance[] }[] }>(options, 'describe_instances', { InstanceIds: ids });
  return answer === undefined ? undefined : answer.Reservations.flatMap((reservation) => reservation.Instances);
}

/** Until it is answered. A refusal that no repetition changes is noted; undefined then, and when the patience is over. */
async function insist<T = unknown>(options: CustomerOptions, method: string, parameters: Record<string, unknown>): Promise<T | undefined> {
  const endsAt = performance.now() + options.patienceMs;
  while (performance.now() < endsAt) {
    const answer = await call<T>(options, method, parameters);
    if (answer !== undefined) return answer;
    await pause(500);
  }
  return undefined;
}

/** Undefined: not now. Wrong moments (a stop of what has just been stopped by a dying host) are no faults: the next look decides. */
async function call<T>(options: CustomerOptions, method: string, parameters: Record<string, unknown>): Promise<T | undefined> {
  const { tally, boto3 } = options;
  tally.calls += 1;
  try {
    return await boto3.call<T>('ec2', method, parameters);
  } catch (error) {
    tally.callsFailed += 1;
    if (isPassing(error)) return undefined;
    if (error instanceof ClientError && error.code === 'IncorrectInstanceState') {
      await pause(1_000);
      return method === 'describe_instances' ? undefined : ({} as T);
    }
    fault(tally, `${method} was refused: ${String(error)}`);
    return undefined;
  }
}

function fault(tally: Tally, what: string): void {
  tally.faults.push(what);
}
