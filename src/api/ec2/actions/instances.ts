// Instances: launched, seen, and their consoles read. Their life cycle and attributes have files of their own.
import { findInstance, loadInstances, type FullInstance } from '../../../db/instances.ts';
import type { InstanceState } from '../../../db/schema/instances.ts';
import { messageOf } from '../../../lib/errors.ts';
import { computeProtocol } from '../../../messages/compute.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { checkForm, describe, doesNotExist } from '../describe.ts';
import { instanceFilters, instanceForm, launchOrder } from '../instance-filters.ts';
import { showState } from '../instance-states.ts';
import { showReservations } from '../show-instance.ts';
import { defaultVpcOf } from '../vpc-access.ts';
import { instanceAttributeActions } from './instance-attributes.ts';
import { lifecycleActions } from './instance-lifecycle.ts';
import { runInstances } from './run-instances.ts';

const consoleTimeoutMs = 10_000;

const notFound = { code: 'InvalidInstanceID.NotFound', message: doesNotExist('instance ID') } as const;

/** Named instances are looked for by their ids. Whoever looks sees them in a VPC, as old as they may be. */
async function loadAsked(call: Call, ids: readonly string[] | undefined): Promise<FullInstance[]> {
  const wanted = ids ?? [];
  for (const id of wanted) checkForm(id, instanceForm);
  await defaultVpcOf(call);
  return loadInstances(call.db, call.principal.projectId, wanted.length === 0 ? {} : { ids: wanted });
}

const describeInstances = action({
  name: 'DescribeInstances',
  doc: 'The instances of the project by launch. Terminated ones are shown for an hour.',
  roles: 'anyMember',
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue'],
  filters: Object.keys(instanceFilters('')),
  async handle(call, input) {
    const page = describe<FullInstance>({
      input,
      items: await loadAsked(call, input.InstanceIds),
      id: (instance) => instance.id,
      cursor: launchOrder,
      ids: { values: input.InstanceIds, form: instanceForm, notFound },
      filters: instanceFilters(call.dnsDomain),
      tags: (instance) => instance.tags,
      page: { min: 5, max: 1000, excludesIds: true },
    });
    return { Reservations: showReservations(call, page.items), NextToken: page.NextToken };
  },
});

/** A running instance has its virtual machine running: that much is known of it. */
const statusOf: Readonly<Record<InstanceState, 'ok' | 'initializing' | 'not-applicable'>> = {
  running: 'ok', pending: 'initializing', stopping: 'not-applicable', stopped: 'not-applicable', 'shutting-down': 'not-applicable',
    terminated: 'not-applicable',
};
const reachabilityOf = (instance: FullInstance): 'passed' | 'initializing' | undefined =>
  instance.state === 'running' ? 'passed' : instance.state === 'pending' ? 'initializing' : undefined;

const statusFilters: Filters<FullInstance> = {
  'availability-zone': (instance) => instance.zone,
  'instance-state-code': (instance) => showState(instance.state).Code,
  'instance-state-name': (instance) => instance.state,
  'instance-status.reachability': reachabilityOf,
  'instance-status.status': (instance) => statusOf[instance.state],
  'system-status.reachability': reachabilityOf,
  'system-status.status': (instance) => statusOf[instance.state],
};

/** Not a name that a client would send. */
const shownFilter = 'novact:shown';

function showStatus(instance: FullInstance) {
  const status = statusOf[instance.state];
  const reachability = reachabilityOf(instance);
  const summary = { Status: status, Details: reachability === undefined ? [] : [{ Name: 'reachability' as const, Status: reachability }] };
  return {
    InstanceId: instance.id,
    AvailabilityZone: instance.zone,
    InstanceState: showState(instance.state),
    InstanceStatus: summary,
    SystemStatus: summary,
    Events: [],
  };
}

const describeStatus = action({
  name: 'DescribeInstanceStatus',
  doc: 'The status of running instances, or of all with IncludeAllInstances.',
  roles: 'anyMember',
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue'],
  filters: Object.keys(statusFilters),
  async handle(call, input) {
    const page = describe<FullInstance>({
      input: { ...input, Filters: [...(input.Filters ?? []), { Name: shownFilter, Values: ['true'] }] },
      items: await loadAsked(call, input.InstanceIds),
      id: (instance) => instance.id,
      ids: { values: input.InstanceIds, form: instanceForm, notFound },
      // Which states are shown is a filter like the others, so that pages count only what is shown.
      filters: { ...statusFilters, [shownFilter]: (instance) => input.IncludeAllInstances === true || instance.state === 'running' },
      page: { min: 5, max: 1000, excludesIds: true },
    });
    return { InstanceStatuses: page.items.map(showStatus), NextToken: page.NextToken };
  },
});

const consoleOutput = action({
  name: 'GetConsoleOutput',
  doc: 'The last 64 KiB that the guest wrote to its serial console.',
  roles: ['projectmanager', 'sysadmin'],
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'Unavailable'],
  async handle(call, input) {
    const InstanceId = input.InstanceId ?? '';
    checkForm(InstanceId, instanceForm);
    const instance = await findInstance(call.db, call.principal.projectId, InstanceId);
    if (instance === undefined) return call.fail('InvalidInstanceID.NotFound', notFound.message([InstanceId]));
    if (instance.host === null) return { InstanceId, Output: '', Timestamp: call.clock.date() };
    const read = await readConsole(call, { host: instance.host, instanceId: InstanceId });
    return { InstanceId, Output: read.output, Timestamp: new Date(read.timestamp) };
  },
});

const passwordData = action({
  name: 'GetPasswordData',
  doc: 'Empty, as of every guest that is no Windows: nobody has written an encrypted password.',
  roles: ['projectmanager', 'sysadmin'],
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound'],
  async handle(call, input) {
    const InstanceId = input.InstanceId ?? '';
    checkForm(InstanceId, instanceForm);
    const instance = await findInstance(call.db, call.principal.projectId, InstanceId);
    if (instance === undefined) return call.fail('InvalidInstanceID.NotFound', notFound.message([InstanceId]));
    return { InstanceId, PasswordData: '', Timestamp: call.clock.date() };
  },
});

async function readConsole(call: Call, which: { host: string; instanceId: string }): Promise<{ output: string; timestamp: string }> {
  try {
    const to = { role: 'compute', host: which.host } as const;
    return await call.transport.ask(to, computeProtocol, 'readConsole', { instanceId: which.instanceId },
      { timeoutMs: consoleTimeoutMs, requestId: call.requestId });
  } catch (error) {
    call.log.warn({ requestId: call.requestId, instanceId: which.instanceId, host: which.host, error: messageOf(error) }, 'the console could not be read');
    return fail('Unavailable', 'The host of the instance does not answer. Please try again.');
  }
}

export const instanceActions = [
  runInstances, describeInstances, describeStatus, consoleOutput, passwordData, ...lifecycleActions, ...instanceAttributeActions,
] as const;
