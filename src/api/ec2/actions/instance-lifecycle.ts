// Start, stop, reboot, terminate: for each instance a state change and an operation for its owner, all of the request in one
// transaction. An instance that is on its way to what is asked, or there, is left alone.
import { rootless } from '../../../db/attach-volume.ts';
import { transitionInstances, type InstanceRow, type Transition, type Transitioned } from '../../../db/instances.ts';
import type { NewOperation } from '../../../db/operations.ts';
import { action, fail, type Call } from '../action.ts';
import { checkForm, doesNotExist } from '../describe.ts';
import { instanceForm } from '../instance-filters.ts';
import { showState, userShutdown } from '../instance-states.ts';
import { admitWork } from '../notify.ts';

const roles = ['projectmanager', 'sysadmin'] as const;
const operationTimeoutMs = 5 * 60_000;
const idsMax = 1000;

const start = action({
  name: 'StartInstances',
  doc: 'Starts stopped instances, each on the host that has its disk.',
  roles,
  errors: ['IncorrectInstanceState', 'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'MissingParameter', 'InvalidParameterValue'],
  async handle(call, input) {
    const [rootlessOne] = await rootless(call.db, call.principal.projectId, input.InstanceIds ?? []);
    const changed = await transition(call, input.InstanceIds, (row) => {
      if (row.id === rootlessOne?.id) {
        fail('IncorrectInstanceState', `Instance '${row.id}' does not have a volume attached at root (${row.rootDeviceName})`);
      }
      if (row.state === 'running' || row.state === 'pending') return undefined;
      if (row.state !== 'stopped') return failState(row, 'started');
      const times = timesOf(call);
      return {
        set: { state: 'pending', stateReasonCode: null, stateReasonMessage: null, stateChangedAt: times.now, stateDeadline: times.deadline,
          launchedAt: times.now },
        operation: operationOf(call, row, 'instance.start'),
      };
    });
    return { StartingInstances: changed.map(showChange) };
  },
});

const stop = action({
  name: 'StopInstances',
  doc: 'Stops running instances; they keep their disks and addresses. Force does not wait for the guest.',
  roles,
  errors: ['IncorrectInstanceState', 'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'MissingParameter', 'InvalidParameterValue',
    'UnsupportedOperation'],
  async handle(call, input) {
    if (input.Hibernate === true) return call.fail('UnsupportedOperation', 'Hibernation is not supported.');
    const changed = await transition(call, input.InstanceIds, (row) => {
      if (row.state === 'stopped' && row.hostLost) return stopLost(call, row);
      if (row.state === 'stopping' || row.state === 'stopped') return undefined;
      if (row.state !== 'running') return failState(row, 'stopped');
      return { set: endingState(call, 'stopping'), operation: operationOf(call, row, 'instance.stop', { force: input.Force === true }) };
    });
    return { StoppingInstances: changed.map(showChange) };
  },
});

const reboot = action({
  name: 'RebootInstances',
  doc: 'Restarts the guest; the instance stays running all the time.',
  roles,
  errors: ['IncorrectInstanceState', 'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'MissingParameter', 'InvalidParameterValue'],
  async handle(call, input) {
    await transition(call, input.InstanceIds, (row) => {
      if (row.state !== 'running') return failState(row, 'rebooted');
      const operation = operationOf(call, row, 'instance.reboot');
      // The one wish that no state bounds: it can be repeated for ever.
      if (operation.owner !== null) admitWork(call, operation.owner);
      return { operation };
    });
    return {};
  },
});

const terminate = action({
  name: 'TerminateInstances',
  doc: 'Ends instances for good: guest, disk and address. Repeating it is no error while the instance is still shown.',
  roles,
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'MissingParameter', 'InvalidParameterValue', 'OperationNotPermitted'],
  async handle(call, input) {
    const changed = await transition(call, input.InstanceIds, (row) => {
      if (row.state === 'shutting-down' || row.state === 'terminated') return undefined;
      if (row.disableApiTermination) {
        fail('OperationNotPermitted', `The instance '${row.id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.`);
      }
      return { set: endingState(call, 'shutting-down'), operation: operationOf(call, row, 'instance.terminate') };
    });
    return { TerminatingInstances: changed.map(showChange) };
  },
});

export const lifecycleActions = [start, stop, reboot, terminate] as const;

function timesOf(call: Call): { now: Date; deadline: Date } {
  const now = call.clock.date();
  return { now, deadline: new Date(now.getTime() + operationTimeoutMs) };
}

function endingState(call: Call, state: 'stopping' | 'shutting-down'): NonNullable<Transition['set']> {
  const { now, deadline } = timesOf(call);
  return { state, stateReasonCode: userShutdown.code, stateReasonMessage: userShutdown.message, stateChangedAt: now, stateDeadline: deadline };
}

const lostStopTimeoutMs = 30 * 24 * 3_600_000;

/** Its host is lost, where it may run on, and would start it again when it returns: it is stopped for good as soon as the host is back. */
function stopLost(call: Call, row: InstanceRow): Transition {
  const { code, message } = userShutdown;
  return {
    set: { hostLost: false, stateReasonCode: code, stateReasonMessage: message },
    operation: { ...operationOf(call, row, 'instance.stop', { force: true }), deadline: new Date(call.clock.now() + lostStopTimeoutMs) },
  };
}

/** The host's compute role, or the schedulers for an instance that no host has. */
function operationOf(call: Call, row: InstanceRow, kind: string, input: Record<string, unknown> = {}): NewOperation {
  return {
    kind,
    resourceId: row.id,
    projectId: row.projectId,
    userId: call.principal.userId,
    requestId: call.requestId,
    input,
    owner: row.host === null ? 'scheduler' : `compute@${row.host}`,
    deadline: timesOf(call).deadline,
  };
}

const failState = (row: InstanceRow, done: string): never =>
  fail('IncorrectInstanceState', `The instance '${row.id}' is not in a state from which it can be ${done}.`);

async function transition(call: Call, ids: readonly string[] | undefined, each: (row: InstanceRow) => Transition | undefined): Promise<Transitioned[]> {
  if (ids === undefined || ids.length === 0) return fail('MissingParameter', 'The request must contain the parameter InstanceId');
  if (ids.length > idsMax) fail('InvalidParameterValue', `A request may name at most ${idsMax} instances`);
  for (const id of ids) checkForm(id, instanceForm);
  const changed = await transitionInstances(
    call.db,
    { projectId: call.principal.projectId, ids, now: call.clock.date() },
    { each, missing: (missing) => fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')(missing)) },
  );
  if (changed.some(({ operation }) => operation !== undefined)) call.relay.kick();
  return changed;
}

const showChange = ({ before, after }: Transitioned) => ({
  InstanceId: after.id,
  CurrentState: showState(after.state),
  PreviousState: showState(before.state),
});
