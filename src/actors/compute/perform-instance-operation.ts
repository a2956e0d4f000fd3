// Performs an operation on an instance of this host, and settles the row when it fails: the next host, or a lasting state with its reason.
import { endInstance, leaveHost, loadInstance, settle, type Instance, type InstanceOperationKind } from '../../db/instance-work.ts';
import { finishOperation, restartOperation, unfinishedOperations, type Operation } from '../../db/operations.ts';
import type { Flow } from '../../lib/flow.ts';
import { performOperation, type Ending } from '../operations/perform-operation.ts';
import { afterFailedAttach, attachVolume } from './flows/attach-volume.ts';
import { afterFailedImage, createImage } from './flows/create-image.ts';
import { afterFailedDetach, detachVolume } from './flows/detach-volume.ts';
import type { InstanceContext } from './flows/instance-context.ts';
import { leaveHost as leaveHostFlow } from './flows/leave-host.ts';
import { migrateInstance } from './flows/migrate-instance.ts';
import { rebootInstance } from './flows/reboot-instance.ts';
import { runInstance } from './flows/run-instance.ts';
import { startInstance } from './flows/start-instance.ts';
import { stopInstance } from './flows/stop-instance.ts';
import { terminateInstance } from './flows/terminate-instance.ts';
import { ownWish, type ComputeHost } from './host.ts';

export const instanceFlows: Readonly<Record<InstanceOperationKind, Flow<InstanceContext>>> = {
  'instance.run': runInstance,
  'instance.start': startInstance,
  'instance.stop': stopInstance,
  'instance.reboot': rebootInstance,
  'instance.terminate': terminateInstance,
  'instance.migrate': migrateInstance,
  'instance.leave': leaveHostFlow,
  'instance.attachVolume': attachVolume,
  'instance.detachVolume': detachVolume,
  'instance.createImage': createImage,
};

export interface PerformDeps {
  readonly host: ComputeHost;
  readonly fetchImage: (imageId: string) => Promise<string>;
}

/** What goes on here although the instance lives elsewhere already. */
const outlivesHost: readonly string[] = ['instance.migrate', 'instance.leave'];
/** What is done to the end although the user has ended the instance. */
const outlivesInstance: readonly string[] = ['instance.terminate', 'instance.leave'];

export async function performInstanceOperation(deps: PerformDeps, operation: Operation, signals: { signal: AbortSignal; hurry: AbortSignal }): Promise<Ending> {
  const { host } = deps;
  const instance = await loadInstance(host.db, operation.resourceId);
  const flow = instanceFlows[operation.kind as InstanceOperationKind];
  if (instance === undefined || flow === undefined || (instance.host !== host.name && !outlivesHost.includes(operation.kind))) {
    await finishOperation(host.db, operation.id, { state: 'failed', error: 'the instance is not on this host' }, host.clock.date());
    return 'failed';
  }
  return performOperation({
    db: host.db, clock: host.clock, log: host.log, owner: host.owner, relay: host.relay, operation, flow,
    context: { host, instance, operationId: operation.id, requestId: operation.requestId, input: operation.input, fetchImage: deps.fetchImage, ...signals },
    signal: signals.signal,
    ...(outlivesInstance.includes(operation.kind) ? {} : { whenEnding: 'the user ended the instance' }),
    onFailed: (error) => afterFailure(host, instance, operation, error),
  });
}

/** True: the operation goes on, here or elsewhere. */
async function afterFailure(host: ComputeHost, instance: Instance, operation: Operation, error: string): Promise<boolean> {
  switch (operation.kind as InstanceOperationKind) {
    case 'instance.run':
      return afterFailedRun(host, instance, operation, error);
    case 'instance.start':
      return afterFailedStart(host, instance, operation, error);
    case 'instance.stop':
      return afterFailedStop(host, instance, error);
    case 'instance.terminate':
      return afterFailedTermination(host, instance, operation, error);
    case 'instance.migrate':
      return afterFailedMove(host, instance, error);
    case 'instance.attachVolume':
      await afterFailedAttach({ host, ...operation }, error);
      return false;
    case 'instance.detachVolume':
      await afterFailedDetach({ host, ...operation }, error);
      return false;
    case 'instance.createImage':
      await afterFailedImage({ host, ...operation }, error);
      return false;
    case 'instance.reboot':
    case 'instance.leave':
      return false;
  }
}

/** Another host is tried, unless the user has ended the instance: then its termination, which waits here, does the rest. */
async function afterFailedRun(host: ComputeHost, instance: Instance, operation: Operation, error: string): Promise<boolean> {
  if (!(await leaveHost(host.db, { instance, operationId: operation.id, error, now: host.clock.date() }))) return false;
  host.log.warn({ instance: instance.id, host: host.name, error }, 'instance leaves this host');
  host.relay.kick();
  return true;
}

/** The cloud's own wish, because the guest ran when its machine went down, is tried again: the network may not be up yet. What a user wishes comes first. */
async function afterFailedStart(host: ComputeHost, instance: Instance, operation: Operation, error: string): Promise<boolean> {
  if (operation.userId === ownWish && (await unfinishedOperations(host.db, instance.id)).length === 1) await tryAgain(host, operation, error);
  const change = { state: 'stopped', reasonCode: 'Server.InternalError', reason: `Server.InternalError: ${error}` } as const;
  await settle(host.db, instance, ['pending'], change, host.clock.date());
  return false;
}

/** Shown as it truly is. */
async function afterFailedStop(host: ComputeHost, instance: Instance, error: string): Promise<boolean> {
  const domains = await host.hypervisor.list(host.cloudId);
  const running = domains.some((domain) => domain.instanceId === instance.id && domain.state === 'running');
  // `stopped` already, while its guest runs: its host was lost in the middle of the stop, and has returned.
  await settle(host.db, instance, running ? ['stopping', 'stopped'] : ['stopping'], {
    state: running ? 'running' : 'stopped', reasonCode: 'Server.InternalError', reason: `Server.InternalError: ${error}`,
  }, host.clock.date());
  return false;
}

/** All is as before, unless the guest could not be started again: then it is stopped, and says why. */
async function afterFailedMove(host: ComputeHost, instance: Instance, error: string): Promise<boolean> {
  const reason = { state: 'stopped', reasonCode: 'Server.InternalError', reason: `Server.InternalError: ${error}` } as const;
  if (instance.host === host.name) await settle(host.db, instance, ['pending'], reason, host.clock.date());
  return false;
}

/** Until the deadline; then the client's view ends and the reaper is left with the rest. */
async function afterFailedTermination(host: ComputeHost, instance: Instance, operation: Operation, error: string): Promise<boolean> {
  await tryAgain(host, operation, error);
  await host.db.transaction((tx) => endInstance(tx, instance, { code: 'Server.InternalError', message: `Server.InternalError: ${error}` }, host.clock.date()));
  return false;
}

/** Until its deadline, an operation begins anew with growing pauses (the worker's restarts): then it does not return. */
async function tryAgain(host: ComputeHost, operation: Operation, error: string): Promise<void> {
  if (host.clock.now() > operation.deadline.getTime()) return;
  await restartOperation(host.db, { id: operation.id, owner: host.owner.name, epoch: host.owner.epoch }, error, host.clock.date());
  throw new Error(`${operation.kind} of ${operation.resourceId}: ${error}`);
}
