// Elastic addresses: taken from the operator's pools, led to instances, given back. Clients of today name them by allocation and association, those
// of Nova's age by the address itself; both forms work for every address.
import { isIPv4 } from 'node:net';
import {
  allocateFloating, associateFloating, defaultPool, disassociateFloating, loadFloating, releaseFloating, type FullAddress, type NamedAddress,
} from '../../../db/addresses.ts';
import { poolsOf } from '../../../db/address-pools.ts';
import { addressesOfInstances } from '../../../db/networks.ts';
import { tagsOf, type TagText } from '../../../db/tags.ts';
import { derivedId } from '../../../lib/ids.ts';
import { addressText } from '../../../lib/ipv4.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { checkForm, describe, doesNotExist, idForm } from '../describe.ts';
import { instanceForm } from '../instance-filters.ts';
import { tagsFor } from '../tag-specifications.ts';

/** Nova's table gives these to netadmin alone. */
const changers = ['netadmin'] as const;
/** What AWS calls the pool of those who bring no addresses of their own. */
const commonPool = 'amazon';

interface TaggedAddress extends FullAddress {
  readonly tags: readonly TagText[];
}

const namedErrors = ['AuthFailure', 'InvalidAddress.Malformed', 'InvalidAllocationID.NotFound', 'InvalidParameterCombination', 'MissingParameter'] as const;

const filters: Filters<TaggedAddress> = {
  'allocation-id': (one) => one.allocationId,
  'association-id': (one) => associationOf(one),
  domain: (one) => one.domain,
  'instance-id': (one) => one.instanceId,
  'network-border-group': () => undefined,
  'network-interface-id': (one) => (one.instanceId === null ? undefined : derivedId('eni', one.instanceId)),
  'network-interface-owner-id': (one) => (one.instanceId === null ? undefined : one.projectId),
  'private-ip-address': (one) => one.fixed,
  'public-ip': (one) => one.address,
};

const associationOf = ({ instanceId, associationId }: FullAddress): string | undefined => (instanceId === null ? undefined : (associationId ?? undefined));
const shownPool = (pool: string): string => (pool === defaultPool ? commonPool : pool);

const allocate = action({
  name: 'AllocateAddress',
  doc: 'Takes a free address of a pool, the operator\'s default one or that of PublicIpv4Pool, or the one that is named.',
  roles: changers,
  errors: [
    'AddressLimitExceeded', 'InsufficientAddressCapacity', 'InvalidAddress.Malformed', 'InvalidAddress.NotFound', 'InvalidParameterValue',
    'InvalidPublicIpv4PoolID.NotFound', 'TagLimitExceeded', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const { Domain: domain, Address: address } = input;
    if (domain !== undefined && domain !== 'vpc' && domain !== 'standard') {
      return call.fail('InvalidParameterValue', `Value (${String(domain).slice(0, 60)}) for parameter domain is invalid. Valid values: vpc, standard.`);
    }
    if ((input.CustomerOwnedIpv4Pool ?? input.IpamPoolId ?? '') !== '') {
      return call.fail('UnsupportedOperation', 'The pools of this cloud are named by PublicIpv4Pool.');
    }
    if (address !== undefined && address !== '') checkPublicIp(address);
    const given = input.PublicIpv4Pool ?? '';
    const pool = given === '' || given === commonPool ? defaultPool : given;
    const result = await allocateFloating(call.db, {
      projectId: call.principal.projectId, quota: call.addressesPerProjectMax, pool, address: address === '' ? undefined : address, domain: domain ?? 'vpc',
      tags: tagsFor(input.TagSpecifications, 'elastic-ip'), now: call.clock.date(),
    });
    if (result.outcome === 'overQuota') return call.fail('AddressLimitExceeded', `The maximum number of addresses (${result.limit}) has been reached.`);
    if (result.outcome === 'allocated') {
      const { row } = result;
      return { PublicIp: row.address, AllocationId: row.allocationId ?? undefined, PublicIpv4Pool: shownPool(row.pool), Domain: row.domain };
    }
    if (address !== undefined && address !== '') return call.fail('InvalidAddress.NotFound', `Address '${address}' is not free to be allocated`);
    if (result.outcome === 'noPool' && pool !== defaultPool) {
      return call.fail('InvalidPublicIpv4PoolID.NotFound', doesNotExist('public IPv4 pool ID')([pool]));
    }
    return call.fail('InsufficientAddressCapacity', 'There are not enough free addresses to fulfill your request.');
  },
});

const associate = action({
  name: 'AssociateAddress',
  doc: 'Leads an address to an instance, running or stopped; from another, unless AllowReassociation is false. Repeating it changes nothing.',
  roles: changers,
  errors: [
    ...namedErrors, 'Gateway.NotAttached', 'InvalidInstanceID', 'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound',
    'InvalidNetworkInterfaceID.NotFound', 'InvalidParameterValue', 'Resource.AlreadyAssociated',
  ],
  async handle(call, input) {
    const by = namedBy(input);
    const instanceId = await targetOf(call, input);
    const { projectId } = call.principal;
    const result = await associateFloating(call.db, {
      projectId, by, instanceId, mayMove: input.AllowReassociation !== false, requestId: call.requestId, now: call.clock.date(),
    });
    if (result.outcome === 'noAddress') return failNotOurs(by);
    if (result.outcome === 'noInstance') return failNoInstance(input.NetworkInterfaceId, instanceId);
    if (result.outcome === 'notReady') {
      return call.fail('InvalidInstanceID', `The ${result.instance.state} instance '${instanceId}' is not in a valid state for this operation.`);
    }
    if (result.outcome === 'noGateway') return call.fail('Gateway.NotAttached', `Network ${result.vpcId} is not attached to any internet gateway`);
    if (result.outcome === 'taken') {
      const { address, associationId } = result.by;
      return call.fail('Resource.AlreadyAssociated', `resource ${address} is already associated with associate-id ${associationId}`);
    }
    call.relay.kick();
    return { AssociationId: result.associationId };
  },
});

const disassociate = action({
  name: 'DisassociateAddress',
  doc: 'The address leads nowhere any more, and stays the project\'s. Of an address that leads nowhere already it is no error.',
  roles: changers,
  errors: ['AuthFailure', 'InvalidAddress.Malformed', 'InvalidAssociationID.NotFound', 'InvalidParameterCombination', 'MissingParameter'],
  async handle(call, input) {
    const [associationId, address] = [input.AssociationId ?? '', input.PublicIp ?? ''];
    if (associationId !== '' && address !== '') return failBoth('associationId');
    if (associationId === '' && address === '') return fail('MissingParameter', 'Either public IP or association id must be specified');
    const by: NamedAddress = associationId === '' ? { address: checkPublicIp(address) } : { associationId };
    const found = await disassociateFloating(call.db, { projectId: call.principal.projectId, by, requestId: call.requestId, now: call.clock.date() });
    if (!found && associationId !== '') return call.fail('InvalidAssociationID.NotFound', doesNotExist('association ID')([associationId]));
    if (!found) return failNotOurs(by);
    call.relay.kick();
    return {};
  },
});

const release = action({
  name: 'ReleaseAddress',
  doc: 'Gives the address back. It must lead nowhere, unless it was allocated with the domain standard.',
  roles: changers,
  errors: [...namedErrors, 'InvalidIPAddress.InUse'],
  async handle(call, input) {
    const by = namedBy(input);
    const released = await releaseFloating(call.db, { projectId: call.principal.projectId, by, requestId: call.requestId, now: call.clock.date() });
    if (released === 'absent') return failNotOurs(by);
    if (released === 'inUse') return call.fail('InvalidIPAddress.InUse', `Address ${'address' in by ? by.address : input.AllocationId} is in use.`);
    call.relay.kick();
    return {};
  },
});

const describeAddresses = action({
  name: 'DescribeAddresses',
  doc: 'The addresses of the project, and where they lead.',
  roles: 'anyMember',
  errors: ['InvalidAddress.NotFound', 'InvalidAllocationID.NotFound', 'InvalidParameterValue'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const page = describe<TaggedAddress>({
      input,
      items: await loadTagged(call),
      id: (one) => one.address,
      cursor: (one) => String(one.position).padStart(10, '0'),
      ids: [
        { values: input.AllocationIds, of: (one) => one.allocationId ?? '', notFound: noAllocation },
        { values: input.PublicIps, notFound: { code: 'InvalidAddress.NotFound', message: (missing) => `Address '${missing[0]?.slice(0, 60)}' not found.` } },
      ],
      filters,
      tags: (one) => one.tags,
    });
    return { Addresses: page.items.map(showAddress) };
  },
});

const describeAttribute = action({
  name: 'DescribeAddressesAttribute',
  doc: 'The attributes of addresses. The only one, domain-name, is the reverse name, which no address of this cloud has.',
  roles: 'anyMember',
  errors: ['InvalidAllocationID.NotFound', 'InvalidNextToken', 'InvalidParameterValue'],
  async handle(call, input) {
    checkAttribute(input.Attribute);
    const page = describe<FullAddress>({
      input,
      items: await loadFloating(call.db, call.principal.projectId),
      id: (one) => one.allocationId ?? '',
      ids: { values: input.AllocationIds, notFound: noAllocation },
      page: { min: 1, max: 1000 },
    });
    return { Addresses: page.items.map(showAttribute), NextToken: page.NextToken };
  },
});

const modifyAttribute = action({
  name: 'ModifyAddressAttribute',
  doc: 'Refused: novact serves no reverse names for public addresses.',
  roles: changers,
  errors: ['InvalidAllocationID.NotFound', 'MissingParameter', 'UnsupportedOperation'],
  async handle(call, input) {
    await allocated(call, input.AllocationId);
    return call.fail('UnsupportedOperation', 'The reverse names of public addresses are served by whoever leads the addresses to this cloud.');
  },
});

const resetAttribute = action({
  name: 'ResetAddressAttribute',
  doc: 'After it the address has no reverse name, as before it.',
  roles: changers,
  errors: ['InvalidAllocationID.NotFound', 'InvalidParameterValue', 'MissingParameter'],
  async handle(call, input) {
    checkAttribute(input.Attribute);
    return { Address: showAttribute(await allocated(call, input.AllocationId)) };
  },
});

const describePools = action({
  name: 'DescribePublicIpv4Pools',
  doc: 'The pools that the operators made, and how many addresses of each are free. The default pool is not among them, as Amazon\'s own is not.',
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterValue', 'InvalidPublicIpv4PoolID.NotFound'],
  async handle(call, input) {
    const page = describe({
      input,
      items: (await poolsOf(call.db)).filter(({ pool }) => pool !== defaultPool),
      id: ({ pool }) => pool,
      ids: { values: input.PoolIds, notFound: { code: 'InvalidPublicIpv4PoolID.NotFound', message: doesNotExist('public IPv4 pool ID') } },
      tags: () => [],
      page: { min: 1, max: 10 },
    });
    const PublicIpv4Pools = page.items.map(({ pool, total, free, ranges }) => ({
      PoolId: pool, Description: '', TotalAddressCount: total, TotalAvailableAddressCount: free, Tags: [],
      PoolAddressRanges: ranges.map(({ first, last, free: available }) => ({
        FirstAddress: addressText(first), LastAddress: addressText(last), AddressCount: last - first + 1, AvailableAddressCount: available,
      })),
    }));
    return { PublicIpv4Pools, NextToken: page.NextToken };
  },
});

export const addressActions = [
  allocate, associate, disassociate, release, describeAddresses, describeAttribute, modifyAttribute, resetAttribute, describePools,
] as const;

const noAllocation = { code: 'InvalidAllocationID.NotFound', message: doesNotExist('allocation ID') } as const;

function checkPublicIp(text: string): string {
  if (!isIPv4(text)) fail('InvalidAddress.Malformed', `Invalid address: "${text.slice(0, 60)}"`);
  return text;
}

const failBoth = (id: 'allocationId' | 'associationId'): never =>
  fail('InvalidParameterCombination', `You may specify public IP or ${id}, but not both in the same call`);

/** The address that a request names, in either form. */
function namedBy(input: { readonly AllocationId?: string | undefined; readonly PublicIp?: string | undefined }): NamedAddress {
  const [allocationId, address] = [input.AllocationId ?? '', input.PublicIp ?? ''];
  if (allocationId !== '' && address !== '') return failBoth('allocationId');
  if (allocationId !== '') return { allocationId };
  if (address === '') return fail('MissingParameter', 'Either public IP or allocation id must be specified');
  return { address: checkPublicIp(address) };
}

/** Whether it is another project's, or nobody's, is not told. */
function failNotOurs(by: NamedAddress): never {
  if ('allocationId' in by) return fail('InvalidAllocationID.NotFound', noAllocation.message([by.allocationId]));
  return fail('AuthFailure', `The address '${'address' in by ? by.address : ''}' does not belong to you.`);
}

const failNoInstance = (interfaceId: string | undefined, instanceId: string): never => (interfaceId === undefined || interfaceId === ''
  ? fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')([instanceId]))
  : fail('InvalidNetworkInterfaceID.NotFound', doesNotExist('networkInterface ID')([interfaceId])));

interface Target {
  readonly InstanceId?: string | undefined;
  readonly NetworkInterfaceId?: string | undefined;
  readonly PrivateIpAddress?: string | undefined;
}

/** The instance that a request names, by itself or by its interface, and whose private address it says if it says one. */
async function targetOf(call: Call, { InstanceId: given = '', NetworkInterfaceId: interfaceId = '', PrivateIpAddress: fixed = '' }: Target): Promise<string> {
  if (given !== '' && interfaceId !== '') return fail('InvalidParameterCombination', 'You may specify instance id or network interface id, but not both');
  if (given === '' && interfaceId === '') return fail('MissingParameter', 'Either instance id or network interface id must be specified');
  if (given !== '') checkForm(given, instanceForm);
  const instanceId = given === '' ? instanceOfInterface(interfaceId) : given;
  if (fixed !== '' && (await addressesOfInstances(call.db, [instanceId])).get(instanceId) !== fixed) {
    return fail('InvalidParameterValue', `Value (${fixed.slice(0, 60)}) for parameter privateIpAddress is invalid. It is not an address of the interface.`);
  }
  return instanceId;
}

const instanceOfInterface = (id: string): string => (idForm('eni').test(id) ? derivedId('i', id) : failNoInstance(id, ''));

async function loadTagged(call: Call): Promise<TaggedAddress[]> {
  const rows = await loadFloating(call.db, call.principal.projectId);
  const tags = await tagsOf(call.db, call.principal.projectId, rows.map((row) => row.allocationId ?? ''));
  return rows.map((row) => ({ ...row, tags: tags.get(row.allocationId ?? '') ?? [] }));
}

const showAddress = (one: TaggedAddress) => ({
  PublicIp: one.address,
  AllocationId: one.allocationId ?? undefined,
  AssociationId: associationOf(one),
  Domain: one.domain,
  // Nova's clients print what stands here, and an absent element as "None".
  InstanceId: one.instanceId ?? '',
  NetworkInterfaceId: one.instanceId === null ? undefined : derivedId('eni', one.instanceId),
  NetworkInterfaceOwnerId: one.instanceId === null ? undefined : (one.projectId ?? undefined),
  PrivateIpAddress: one.fixed,
  PublicIpv4Pool: shownPool(one.pool),
  Tags: [...one.tags],
});

const showAttribute = (one: FullAddress) => ({ PublicIp: one.address, AllocationId: one.allocationId ?? undefined });

function checkAttribute(attribute: string | undefined): void {
  if (attribute === undefined || attribute === 'domain-name') return;
  fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid. Valid values: domain-name.`);
}

async function allocated(call: Call, id: string | undefined): Promise<FullAddress> {
  if (id === undefined || id === '') return fail('MissingParameter', 'The request must contain the parameter AllocationId');
  const rows = await loadFloating(call.db, call.principal.projectId);
  return rows.find((row) => row.allocationId === id) ?? fail('InvalidAllocationID.NotFound', noAllocation.message([id]));
}
