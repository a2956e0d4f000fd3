// Single attributes of an instance, as Terraform and old clients read and change them one at a time.
import { changeInstance, findInstance, loadInstances, type AttributeChange, type FullInstance, type InstanceRow } from '../../../db/instances.ts';
import { changeAttachment } from '../../../db/attach-volume.ts';
import { resizeInstance } from '../../../db/resize-instance.ts';
import { action, fail, type Call, type InputOf, type OutputOf } from '../action.ts';
import { checkForm, doesNotExist } from '../describe.ts';
import { changeGroups } from '../instance-groups.ts';
import { instanceForm } from '../instance-filters.ts';
import { failOverLaunchQuota } from '../launch-quota.ts';
import { checkShutdownBehavior, checkUserData } from '../launch-request.ts';
import { readMetadataOptions, showMetadataOptions } from '../metadata-options.ts';
import { showDevice } from '../show-volume.ts';

type Described = OutputOf<'DescribeInstanceAttribute'>;

const noSuchAttribute = (attribute: string): never =>
  fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid. Unknown attribute.`);
const failNotFound = (id: string): never => fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')([id]));

/** What each attribute is; absent from an answer is an attribute that has no value. */
const described: Readonly<Record<string, (instance: FullInstance) => Described>> = {
  blockDeviceMapping: (instance) => ({ BlockDeviceMappings: instance.volumes.map(showDevice) }),
  disableApiStop: () => ({ DisableApiStop: { Value: false } }),
  disableApiTermination: (instance) => ({ DisableApiTermination: { Value: instance.disableApiTermination } }),
  ebsOptimized: () => ({ EbsOptimized: { Value: false } }),
  enaSupport: () => ({ EnaSupport: { Value: false } }),
  enclaveOptions: () => ({ EnclaveOptions: { Enabled: false } }),
  groupSet: (instance) => ({ Groups: instance.groups.map((group) => ({ GroupId: group.id, GroupName: group.name })) }),
  instanceInitiatedShutdownBehavior: (instance) => ({ InstanceInitiatedShutdownBehavior: { Value: instance.shutdownBehavior } }),
  instanceType: (instance) => ({ InstanceType: { Value: instance.instanceType } }),
  kernel: (instance) => ({ KernelId: { Value: instance.kernelId ?? undefined } }),
  productCodes: () => ({ ProductCodes: [] }),
  ramdisk: (instance) => ({ RamdiskId: { Value: instance.ramdiskId ?? undefined } }),
  rootDeviceName: (instance) => ({ RootDeviceName: { Value: instance.rootDeviceName } }),
  sourceDestCheck: () => ({ SourceDestCheck: { Value: true } }),
  sriovNetSupport: () => ({}),
  userData: (instance) => ({ UserData: { Value: instance.userData ?? undefined } }),
};

const describeAttribute = action({
  name: 'DescribeInstanceAttribute',
  doc: 'One attribute of an instance.',
  roles: 'anyMember',
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidParameterValue'],
  async handle(call, input) {
    const id = input.InstanceId ?? '';
    checkForm(id, instanceForm);
    const attribute: string = input.Attribute ?? '';
    const describes = Object.hasOwn(described, attribute) ? described[attribute] : undefined;
    if (describes === undefined) return noSuchAttribute(attribute);
    const [instance] = await loadInstances(call.db, call.principal.projectId, { ids: [id] });
    return instance === undefined ? failNotFound(id) : { InstanceId: id, ...describes(instance) };
  },
});

const modifyAttribute = action({
  name: 'ModifyInstanceAttribute',
  doc: 'Changes an attribute of an instance: protection from termination, what its own shutdown means, its groups, whether volumes go with it, and, '
    + 'while it is stopped, its user data and its type, for which the host that has its disk must have the room; the disk stays as large as it is.',
  roles: ['projectmanager', 'sysadmin'],
  errors: [
    'IncorrectInstanceState', 'InsufficientInstanceCapacity', 'InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'InvalidInstanceAttributeValue',
    'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidUserData.Malformed',
    'MissingParameter', 'ResourceLimitExceeded', 'UnsupportedOperation', 'VcpuLimitExceeded',
  ],
  async handle(call, input) {
    const id = input.InstanceId ?? '';
    checkForm(id, instanceForm);
    const which = { projectId: call.principal.projectId, id };
    if ((input.BlockDeviceMappings?.length ?? 0) > 0) {
      await changeDevices(call, id, input.BlockDeviceMappings ?? []);
      return {};
    }
    const wanted = attributesOf(input);
    const asked = Object.keys(wanted);
    if (asked.length === 0 && (input.Groups?.length ?? 0) === 0) return call.fail('MissingParameter', 'No attributes specified.');
    if (asked.length > 1) return call.fail('InvalidParameterCombination', 'Fields for multiple attribute types specified');
    if ((input.Groups?.length ?? 0) > 0) {
      if (asked.length > 0) return call.fail('InvalidParameterCombination', 'Fields for multiple attribute types specified');
      await changeGroups(call, id, input.Groups ?? []);
      return {};
    }
    const row = await findInstance(call.db, which.projectId, id);
    if (row === undefined) return failNotFound(id);
    const [[name, value] = ['', '']] = Object.entries(wanted);
    if (name === 'instanceType') {
      await changeType(call, row, value);
      return {};
    }
    const changes = Object.hasOwn(changers, name) ? changers[name] : undefined;
    if (changes === undefined) return refuse(name, value, row);
    const change = changes(value);
    if (!(await changeInstance(call.db, which, change))) return failNotFound(id);
    return {};
  },
});

const modifyMetadataOptions = action({
  name: 'ModifyInstanceMetadataOptions',
  doc: 'Whether the metadata service answers an instance, and whether only with a token of a session.',
  roles: ['projectmanager', 'sysadmin'],
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidParameterValue', 'UnsupportedOperation'],
  async handle(call, input) {
    const id = input.InstanceId ?? '';
    checkForm(id, instanceForm);
    const { projectId } = call.principal;
    const row = await findInstance(call.db, projectId, id);
    if (row === undefined) return failNotFound(id);
    const set = await readMetadataOptions(call, input);
    if (!(await changeInstance(call.db, { projectId, id }, { set, check: always }))) return failNotFound(id);
    return { InstanceId: id, InstanceMetadataOptions: showMetadataOptions({ ...row, ...set }) };
  },
});

export const instanceAttributeActions = [describeAttribute, modifyAttribute, modifyMetadataOptions] as const;

/** The attributes that a request names, in its two forms, as text: `DisableApiTermination.Value=true`, and `Attribute=disableApiTermination&Value=true`. */
function attributesOf(input: InputOf<'ModifyInstanceAttribute'>): Record<string, string> {
  const { UserData: userData } = input;
  const structured: Record<string, string | boolean | undefined> = {
    disableApiStop: input.DisableApiStop?.Value,
    disableApiTermination: input.DisableApiTermination?.Value,
    ebsOptimized: input.EbsOptimized?.Value,
    enaSupport: input.EnaSupport?.Value,
    instanceInitiatedShutdownBehavior: input.InstanceInitiatedShutdownBehavior?.Value,
    instanceType: input.InstanceType?.Value,
    kernel: input.Kernel?.Value,
    ramdisk: input.Ramdisk?.Value,
    sourceDestCheck: input.SourceDestCheck?.Value,
    sriovNetSupport: input.SriovNetSupport?.Value,
    userData: userData === undefined ? undefined : Buffer.from(userData.Value ?? []).toString('base64'),
  };
  const wanted: Record<string, string> = {};
  for (const [name, value] of Object.entries(structured)) if (value !== undefined) wanted[name] = String(value);
  if (input.Attribute !== undefined && input.Value !== undefined) wanted[input.Attribute] = input.Value;
  return wanted;
}

interface Change {
  readonly set: AttributeChange;
  readonly check: (row: InstanceRow) => void;
}

const always = (): void => undefined;

const changers: Readonly<Record<string, (value: string) => Change>> = {
  disableApiTermination: (value) => ({ set: { disableApiTermination: booleanOf(value) }, check: always }),
  instanceInitiatedShutdownBehavior: (value) => ({ set: { shutdownBehavior: checkShutdownBehavior(value) }, check: always }),
  userData: (value) => ({ set: { userData: checkUserData(value) ?? null }, check: checkStopped }),
};

function checkStopped(row: InstanceRow): void {
  if (row.state !== 'stopped') fail('IncorrectInstanceState', `The instance '${row.id}' is not in the 'stopped' state.`);
}

function booleanOf(text: string): boolean {
  const lower = text.toLowerCase();
  if (lower === 'true' || lower === '1') return true;
  if (lower === 'false' || lower === '0') return false;
  return fail('InvalidParameterValue', `Value (${text.slice(0, 60)}) for parameter value is invalid. Expecting true or false.`);
}

/** Attributes that cannot be changed. To ask for what is so already is no error. */
function refuse(name: string, value: string, row: InstanceRow): Record<string, never> {
  const current: Readonly<Record<string, string | null>> = {
    disableApiStop: 'false', ebsOptimized: 'false', enaSupport: 'false', sourceDestCheck: 'true', kernel: row.kernelId, ramdisk: row.ramdiskId,
    sriovNetSupport: null, blockDeviceMapping: null, rootDeviceName: row.rootDeviceName,
  };
  if (!Object.hasOwn(current, name)) return noSuchAttribute(name);
  if (current[name] === value) return {};
  if (name === 'kernel' || name === 'ramdisk') checkStopped(row);
  return fail('UnsupportedOperation', `The attribute ${name} of an instance cannot be changed.`);
}

/** To ask for the type that it has is no error, whatever its state. */
async function changeType(call: Call, { id, instanceType }: InstanceRow, type: string): Promise<void> {
  if (type === instanceType) return;
  const resized = await resizeInstance(call.db, { projectId: call.principal.projectId, id }, {
    type, quota: { cores: call.coresPerProjectMax, memoryMiB: call.memoryMiBPerProjectMax }, overcommit: call.overcommit, check: checkAtRest,
  });
  switch (resized.outcome) {
    case 'resized': return;
    case 'absent': return failNotFound(id);
    case 'noSuchType': return fail('InvalidInstanceAttributeValue', `Invalid value '${type.slice(0, 60)}' for InstanceType.`);
    case 'noRoom': return fail('InsufficientInstanceCapacity', 'The host that has the disk of the instance has no room for that type.');
    case 'overQuota': return failOverLaunchQuota({ ...resized, asked: 1 });
  }
}

/** Stopped, and neither on its way to another host nor to be started again when its lost host returns. */
function checkAtRest(row: InstanceRow): void {
  checkStopped(row);
  if (row.migratingTo !== null || row.hostLost) fail('IncorrectInstanceState', `The instance '${row.id}' is being moved, or its host does not answer.`);
}

/** Whether volumes go with the instance: the one thing of a mapping that can be changed. */
async function changeDevices(call: Call, instanceId: string, mappings: NonNullable<InputOf<'ModifyInstanceAttribute'>['BlockDeviceMappings']>): Promise<void> {
  const { projectId } = call.principal;
  const row = await findInstance(call.db, projectId, instanceId);
  if (row === undefined) return failNotFound(instanceId);
  const changes = mappings.map(({ DeviceName: device = '', Ebs, NoDevice, VirtualName }) => {
    if (NoDevice !== undefined || VirtualName !== undefined) {
      return fail('UnsupportedOperation', 'Volumes are attached and detached by AttachVolume and DetachVolume.');
    }
    const deleteOnTermination = Ebs?.DeleteOnTermination;
    if (deleteOnTermination === undefined) return fail('MissingParameter', 'The request must contain the parameter Ebs.DeleteOnTermination');
    return { projectId, instanceId, device, deleteOnTermination };
  });
  for (const change of changes) {
    if (change.device === row.rootDeviceName && !row.bootsFromVolume) {
      if (!change.deleteOnTermination) fail('UnsupportedOperation', 'The root disk of this instance ends with it: it is not a volume.');
      continue;
    }
    if (!(await changeAttachment(call.db, change))) fail('InvalidInstanceAttributeValue', `No device is currently mapped at ${change.device.slice(0, 60)}`);
  }
}
