// instance.migrate: from the host that performs it to another. Live, the guest goes on running; cold, it is stopped, and starts there.
//   claim    choose the other host, with room for it                       − the room free, its network without the port
//   prepare  images, folder and, for live, an empty overlay there          − nothing of it there
//   port     bridge, DHCP and rules there; the address stays               (with the claim)
//   stop     cold: the guest ends, shown as pending                        − runs here again
//   move     cold: the disk is copied; live: memory and disk go over       − if it went over after all, the row follows
//   switch   one transaction: it lives there; this host is to clean up     (the last step: it is done or it is not)
import { claimTarget, pauseForMove, releaseTarget, switchHost, targetsOf, type MigrationClaim } from '../../../db/migrate-work.ts';
import { volumesThatStay } from '../../../db/volume-hosts.ts';
import { loadInstance, settle } from '../../../db/instance-work.ts';
import { DriverError, messageOf } from '../../../lib/errors.ts';
import { FlowInterrupted, type Flow, type StepOutputs } from '../../../lib/flow.ts';
import { networkProtocol } from '../../../messages/network.ts';
import { instanceDirectory, type HostMoves } from '../host.ts';
import { incomingState, type IncomingPlace } from '../incoming.ts';
import { askUntil, isStopped, type InstanceContext } from './instance-context.ts';
import { askTarget, isUp, leavePort } from './move-target.ts';

export const migrateInstance: Flow<InstanceContext> = {
  name: 'instance.migrate',
  steps: [
    { name: 'claim', do: claim, undo: unclaim },
    { name: 'prepare', do: prepare, undo: forget },
    { name: 'port', do: makePort },
    { name: 'stop', do: stopGuest, undo: startAgain },
    { name: 'move', do: move, undo: unmove },
    { name: 'switch', do: giveOver },
  ],
};

const portMs = 30_000;
const stateMs = 60_000;
const forgetMs = 60_000;
/** For the guest to start there, and for this host to clean up. */
const afterwardsMs = 10 * 60_000;

const isLive = ({ input }: InstanceContext): boolean => input['live'] === true;
const claimOf = (outputs: StepOutputs): MigrationClaim => outputs['claim'] as MigrationClaim;

async function claim(context: InstanceContext): Promise<MigrationClaim> {
  const { host, instance } = context;
  const moves = movesOf(context);
  const stays = await volumesThatStay(host.db, { instanceId: instance.id, live: isLive(context) });
  if (stays !== undefined) throw new DriverError('unsupported', stays);
  const target = context.input['target'] as string | undefined;
  const up = new Set(await host.transport.hosts('compute'));
  const hypervisor = isLive(context) ? host.hypervisor.info.kind : undefined;
  const found = await targetsOf(host.db, { zone: instance.zone, source: host.name, target, hypervisor });
  const candidates = found.filter((name) => up.has(name));
  const outcome = await claimTarget(host.db, { instance, source: host.name, candidates, overcommit: moves.overcommit });
  if ('refusal' in outcome) throw new Error(outcome.refusal);
  return outcome.claim;
}

/** Throws for what this host cannot do, before anything is touched. */
function movesOf({ host, input }: Pick<InstanceContext, 'host' | 'input'>): HostMoves {
  const { info, migrator } = host.hypervisor;
  if (host.moves === undefined) throw new DriverError('unsupported', `${host.name} is alone: set its address`);
  if (input['live'] === true && migrator === undefined) throw notWhileRunning(info.liveMigrationNotice);
  if (!info.bootsKernels && !host.moves.instancesShared) throw new DriverError('unsupported', 'the files of a container are only moved on a shared folder');
  return host.moves;
}

const notWhileRunning = (why: string | null | undefined) => new DriverError('unsupported', `not while it runs: ${why ?? 'its hypervisor cannot'}`);

async function unclaim(context: InstanceContext): Promise<void> {
  const { host, instance } = context;
  const target = await releaseTarget(host.db, instance, host.name);
  if (target !== undefined) await leavePort(context, target);
}

async function prepare(context: InstanceContext, outputs: StepOutputs): Promise<IncomingPlace> {
  const { host, instance, operationId } = context;
  const { target } = claimOf(outputs);
  const from = movesOf(context).address;
  const body = { instanceId: instance.id, operationId, from, live: isLive(context) };
  const place = await askTarget(context, target, 'prepareIncoming', { body, limitMs: host.limits.imageFetchMs + stateMs });
  if (isLive(context) && place.liveMigrationNotice !== null) throw notWhileRunning(place.liveMigrationNotice);
  if (place.bootsKernels !== host.hypervisor.info.bootsKernels) throw new DriverError('unsupported', `${target} runs other guests (${place.hypervisor})`);
  return place;
}

/** A target that is down removes what it has when it returns: the row does not name it any more. */
async function forget(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  const { instance, host, operationId } = context;
  const target = (outputs['claim'] as MigrationClaim | undefined)?.target;
  if (target === undefined || !(await livesHere(context))) return;
  try {
    await askTarget(context, target, 'forgetIncoming', { body: { instanceId: instance.id, operationId }, limitMs: forgetMs });
  } catch (error) {
    if (await isUp(context, target)) throw error;
    host.log.warn({ instance: instance.id, host: target, error: messageOf(error) }, 'the other host is down: it will clean up when it returns');
  }
}

async function makePort(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  const { host, instance, requestId } = context;
  const { target } = claimOf(outputs);
  await host.transport.ask({ role: 'network', host: target }, networkProtocol, 'ensurePort', { instanceId: instance.id }, { timeoutMs: portMs, requestId });
}

async function stopGuest(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  if (isLive(context) || !claimOf(outputs).running) return;
  const { host, instance } = context;
  const deadline = new Date(host.clock.now() + movesOf(context).moveMs + afterwardsMs);
  const paused = await pauseForMove(host.db, instance, { reason: 'the instance is moved to other hardware', deadline }, host.clock.date());
  if (!paused) throw new Error('its user wants something else of it');
  await askUntil(context, host.limits.shutdownMs, () => host.hypervisor.requestShutdown(instance.id), () => isStopped(context));
  context.signal.throwIfAborted();
  await host.hypervisor.ensureStopped(instance.id);
}

/** Unless its user has ended it meanwhile. */
async function startAgain(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  if (isLive(context) || !claimOf(outputs).running) return;
  const { host, instance } = context;
  const row = await loadInstance(host.db, instance.id);
  if (row?.host !== host.name || row.fence !== instance.fence || row.state !== 'pending') return;
  await host.hypervisor.ensureRunning(instance.id);
  await settle(host.db, instance, ['pending'], { state: 'running', reasonCode: null, reason: null }, host.clock.date());
}

async function move(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  const moves = movesOf(context);
  if (isLive(context)) return moveLive(context, outputs, moves);
  if (moves.instancesShared) return;
  const { instance, operationId } = context;
  const body = { instanceId: instance.id, operationId, from: moves.address };
  await askTarget(context, claimOf(outputs).target, 'receiveIncoming', { body, limitMs: moves.moveMs });
}

/** Where the guest is decides: it may have gone over in an earlier try that nobody saw the end of. */
async function moveLive(context: InstanceContext, outputs: StepOutputs, moves: HostMoves): Promise<void> {
  const { host, instance } = context;
  const { target } = claimOf(outputs);
  const place = outputs['prepare'] as IncomingPlace;
  if (await wentOver(context, target)) return;
  const startedAt = host.clock.now();
  const migrating = host.hypervisor.migrator?.migrate({
    instanceId: instance.id, uri: place.migrationUri, address: place.address, disksShared: moves.instancesShared, timeoutMs: moves.moveMs,
    paths: [
      [instanceDirectory(host, instance.id), place.directory], [host.paths.images, place.images],
      [host.volumes.access.initiatorName(host.name), host.volumes.access.initiatorName(target)],
    ],
    onProgress: (progress) => host.log.debug({ instance: instance.id, ...progress }, 'on its way'),
  }, context.hurry);
  try {
    await unlessStopping(context, migrating ?? Promise.reject(new DriverError('unsupported', 'no live migration')));
  } catch (error) {
    context.signal.throwIfAborted();
    if (!(await wentOver(context, target))) throw error;
  }
  if (!(await wentOver(context, target))) throw new DriverError('failed', `the guest did not arrive on ${target}`);
  host.log.info({ instance: instance.id, to: target, ms: host.clock.now() - startedAt }, 'guest moved while it ran');
}

/** A stopping process leaves the move to the daemons: its next start joins it, or finds the guest there. */
function unlessStopping({ signal }: InstanceContext, work: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new FlowInterrupted('the process is stopping'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** Not here any more, and known there. Throws while the other host does not say. */
async function wentOver(context: InstanceContext, target: string): Promise<boolean> {
  const { host, instance } = context;
  if (await isHere(context)) return false;
  const { state } = await askTarget(context, target, 'incomingState', { body: { instanceId: instance.id }, limitMs: stateMs });
  return state !== 'absent' && state !== 'paused' && !(await isHere({ host, instance }));
}

async function isHere({ host, instance }: Pick<InstanceContext, 'host' | 'instance'>): Promise<boolean> {
  const state = await incomingState(host, instance.id);
  return state === 'running' || state === 'paused';
}

/** A live guest that has gone over cannot be called back: the row follows it, and only the operation fails. */
async function unmove(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  const { host, instance } = context;
  if (!isLive(context) || !(await livesHere(context))) return;
  await host.hypervisor.migrator?.cancel(instance.id);
  if (!(await wentOver(context, claimOf(outputs).target))) return;
  host.log.warn({ instance: instance.id }, 'the guest had gone over before its move was given up: its row follows it');
  await giveOver(context, outputs);
}

async function livesHere({ host, instance }: InstanceContext): Promise<boolean> {
  const row = await loadInstance(host.db, instance.id);
  return row?.host === host.name && row.fence === instance.fence;
}

/** Never half done, and never not known: without an answer of the database it is tried again, not undone. */
async function giveOver(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  const { host, instance, operationId, requestId } = context;
  const deadline = new Date(host.clock.now() + afterwardsMs);
  const change = { instanceId: instance.id, source: host.name, claim: claimOf(outputs), operationId, requestId, deadline };
  const given = await switchHost(host.db, change, host.clock.date()).catch((cause: unknown) => {
    throw new FlowInterrupted(`giving ${instance.id} over: ${messageOf(cause)}`, { cause });
  });
  if (!given) throw new Error('the instance was taken elsewhere meanwhile');
  host.relay.kick();
}
