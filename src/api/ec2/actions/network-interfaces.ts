// Network interfaces: each instance has the one that it was launched with, and none is without an instance.
import { loadInstances, type FullInstance } from '../../../db/instances.ts';
import { tagsOf } from '../../../db/tags.ts';
import { derivedId } from '../../../lib/ids.ts';
import { action, fail, type Call, type Filters, type OutputOf } from '../action.ts';
import { describe } from '../describe.ts';
import { changeGroups } from '../instance-groups.ts';
import { privateName, publicName, reachableAddress } from '../instance-names.ts';
import { checkedId, failNotFound, wantedIds } from '../resource-kinds.ts';
import { attachmentIdOf, attachmentStatusOf, interfaceIdOf, interfaceOf } from '../show-interface.ts';
import { defaultVpcOf, networkChangers, page, type Tagged } from '../vpc-access.ts';

/** `tags` are those of the interface. */
type Interface = Tagged<FullInstance>;

const idOf = (each: FullInstance): string => interfaceIdOf(each) ?? '';

const filters = (dnsDomain: string): Filters<Interface> => ({
  'addresses.association.public-ip': reachableAddress,
  'addresses.primary': () => true,
  'addresses.private-ip-address': (each) => each.address,
  'association.public-dns-name': publicName,
  'association.public-ip': reachableAddress,
  'attachment.attachment-id': (each) => attachmentIdOf(each),
  'attachment.delete-on-termination': () => true,
  'attachment.device-index': () => 0,
  'attachment.instance-id': (each) => each.id,
  'attachment.instance-owner-id': (each) => each.projectId,
  'attachment.status': attachmentStatusOf,
  'availability-zone': (each) => each.zone,
  description: () => '',
  'group-id': (each) => each.groups.map((group) => group.id),
  'group-name': (each) => each.groups.map((group) => group.name),
  'interface-type': () => 'interface',
  'mac-address': (each) => each.mac,
  'network-interface-id': idOf,
  'owner-id': (each) => each.projectId,
  'private-dns-name': (each) => privateName(each, dnsDomain),
  'ipv6-addresses.ipv6-address': (each) => each.ipv6Address,
  'private-ip-address': (each) => each.address,
  'requester-id': () => undefined,
  'requester-managed': () => false,
  'source-dest-check': () => true,
  status: () => 'in-use',
  'subnet-id': (each) => each.place?.subnetId,
  'vpc-id': (each) => each.place?.vpcId,
});

async function loadInterfaces(call: Call, ids?: readonly string[]): Promise<Interface[]> {
  const { projectId } = call.principal;
  await defaultVpcOf(call);
  const instanceIds = ids?.map((id) => derivedId('i', id));
  const instances = await loadInstances(call.db, projectId, instanceIds === undefined || instanceIds.length === 0 ? {} : { ids: instanceIds });
  const alive = instances.filter((instance) => instance.place !== undefined);
  const tags = await tagsOf(call.db, projectId, alive.map(idOf));
  return alive.map((instance) => ({ ...instance, tags: tags.get(idOf(instance)) ?? [] }));
}

const showInterface = (each: Interface, dnsDomain: string) => {
  const shown = interfaceOf(each, dnsDomain);
  return {
    ...shown,
    AvailabilityZone: each.zone,
    RequesterManaged: false,
    DenyAllIgwTraffic: false,
    Attachment: { ...shown.Attachment, InstanceId: each.id, InstanceOwnerId: each.projectId },
    TagSet: [...each.tags],
  };
};

const describeInterfaces = action({
  name: 'DescribeNetworkInterfaces',
  doc: 'The network interfaces of the project: one for each instance that has not ended.',
  roles: 'anyMember',
  errors: [
    'InvalidNetworkInterfaceID.NotFound', 'InvalidNetworkInterfaceId.Malformed', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue',
  ],
  filters: Object.keys(filters('')),
  async handle(call, input) {
    const ids = wantedIds<Interface>('eni', input.NetworkInterfaceIds);
    for (const id of input.NetworkInterfaceIds ?? []) checkedId('eni', id);
    const found = describe<Interface>({
      input, items: await loadInterfaces(call, input.NetworkInterfaceIds), id: idOf, ids, filters: filters(call.dnsDomain), tags: (each) => each.tags, page,
    });
    return { NetworkInterfaces: found.items.map((each) => showInterface(each, call.dnsDomain)), NextToken: found.NextToken };
  },
});

async function interfaceNamed(call: Call, given: string | undefined): Promise<Interface> {
  const id = checkedId('eni', given);
  const [found] = await loadInterfaces(call, [id]);
  return found ?? failNotFound('eni', id);
}

type Described = Omit<OutputOf<'DescribeNetworkInterfaceAttribute'>, 'NetworkInterfaceId'>;

const described: Readonly<Record<string, (each: Interface) => Described>> = {
  description: () => ({ Description: { Value: '' } }),
  groupSet: (each) => ({ Groups: each.groups.map((group) => ({ GroupId: group.id, GroupName: group.name })) }),
  sourceDestCheck: () => ({ SourceDestCheck: { Value: true } }),
  attachment: (each) => ({ Attachment: showInterface(each, '').Attachment }),
};

const describeAttribute = action({
  name: 'DescribeNetworkInterfaceAttribute',
  doc: 'One attribute of a network interface.',
  roles: 'anyMember',
  errors: ['InvalidNetworkInterfaceID.NotFound', 'InvalidNetworkInterfaceId.Malformed', 'InvalidParameterValue', 'MissingParameter'],
  async handle(call, input) {
    const attribute: string = input.Attribute ?? '';
    const describes = Object.hasOwn(described, attribute) ? described[attribute] : undefined;
    if (describes === undefined) return call.fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid.`);
    const found = await interfaceNamed(call, input.NetworkInterfaceId);
    return { NetworkInterfaceId: idOf(found), ...describes(found) };
  },
});

const modifyAttribute = action({
  name: 'ModifyNetworkInterfaceAttribute',
  doc: 'Changes the security groups of an interface, which are those of its instance. What cannot be otherwise is refused, unless asked for as it is.',
  roles: networkChangers,
  errors: [
    'InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'InvalidNetworkInterfaceID.NotFound', 'InvalidNetworkInterfaceId.Malformed', 'InvalidParameter',
    'InvalidParameterValue', 'MissingParameter', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const found = await interfaceNamed(call, input.NetworkInterfaceId);
    if (input.SourceDestCheck?.Value === false) {
      fail('UnsupportedOperation', 'An instance sends and receives only as itself: the check cannot be switched off.');
    }
    if ((input.Description?.Value ?? '') !== '') fail('UnsupportedOperation', 'Network interfaces have no description of their own.');
    if (input.Attachment?.DeleteOnTermination === false) fail('UnsupportedOperation', 'The network interface of an instance ends with it.');
    const groups = input.Groups ?? [];
    if (groups.length > 0) await changeGroups(call, found.id, groups);
    return {};
  },
});

export const networkInterfaceActions = [describeInterfaces, describeAttribute, modifyAttribute] as const;
