// What a resource id is by its prefix, and what AWS says when there is none such.
import { ApiError } from '../../lib/errors.ts';
import { checkForm, doesNotExist, idForm, type Wanted } from './describe.ts';
import type { ErrorCode } from './errors.ts';

export interface ResourceKind {
  /** As AWS names the type in tags. */
  readonly type: string;
  readonly notFound: ErrorCode;
  readonly malformed: ErrorCode;
  readonly message: (missing: readonly string[]) => string;
}

const imageKind: ResourceKind = {
  type: 'image', notFound: 'InvalidAMIID.NotFound', malformed: 'InvalidAMIID.Malformed', message: (ids) => `The image id '[${ids.join(', ')}]' does not exist`,
};

const kinds = {
  i: { type: 'instance', notFound: 'InvalidInstanceID.NotFound', malformed: 'InvalidInstanceID.Malformed', message: doesNotExist('instance ID') },
  ami: imageKind,
  aki: imageKind,
  ari: imageKind,
  'import-ami': {
    type: 'import-image-task', notFound: 'InvalidConversionTaskId', malformed: 'InvalidConversionTaskId.Malformed', message: doesNotExist('import task'),
  },
  sg: { type: 'security-group', notFound: 'InvalidGroup.NotFound', malformed: 'InvalidGroupId.Malformed', message: doesNotExist('security group') },
  sgr: {
    type: 'security-group-rule', notFound: 'InvalidSecurityGroupRuleId.NotFound', malformed: 'InvalidSecurityGroupRuleId.Malformed',
    message: doesNotExist('security group rule ID'),
  },
  key: { type: 'key-pair', notFound: 'InvalidKeyPair.NotFound', malformed: 'InvalidKeyPair.NotFound', message: doesNotExist('key pair') },
  eipalloc: {
    type: 'elastic-ip', notFound: 'InvalidAllocationID.NotFound', malformed: 'InvalidAllocationID.NotFound', message: doesNotExist('allocation ID'),
  },
  vol: { type: 'volume', notFound: 'InvalidVolume.NotFound', malformed: 'InvalidVolumeID.Malformed', message: doesNotExist('volume') },
  snap: { type: 'snapshot', notFound: 'InvalidSnapshot.NotFound', malformed: 'InvalidSnapshotID.Malformed', message: doesNotExist('snapshot') },
  vpc: { type: 'vpc', notFound: 'InvalidVpcID.NotFound', malformed: 'InvalidVpcId.Malformed', message: doesNotExist('vpc ID') },
  subnet: { type: 'subnet', notFound: 'InvalidSubnetID.NotFound', malformed: 'InvalidSubnetId.Malformed', message: doesNotExist('subnet ID') },
  igw: {
    type: 'internet-gateway', notFound: 'InvalidInternetGatewayID.NotFound', malformed: 'InvalidInternetGatewayId.Malformed',
    message: doesNotExist('internetGateway ID'),
  },
  rtb: { type: 'route-table', notFound: 'InvalidRouteTableID.NotFound', malformed: 'InvalidRouteTableId.Malformed', message: doesNotExist('routeTable ID') },
  acl: { type: 'network-acl', notFound: 'InvalidNetworkAclID.NotFound', malformed: 'InvalidNetworkAclId.Malformed', message: doesNotExist('networkAcl ID') },
  dopt: {
    type: 'dhcp-options', notFound: 'InvalidDhcpOptionID.NotFound', malformed: 'InvalidDhcpOptionsId.Malformed', message: doesNotExist('dhcpOption ID'),
  },
  eni: {
    type: 'network-interface', notFound: 'InvalidNetworkInterfaceID.NotFound', malformed: 'InvalidNetworkInterfaceId.Malformed',
    message: doesNotExist('networkInterface ID'),
  },
} satisfies Readonly<Record<string, ResourceKind>>;

const byPrefix: Readonly<Record<string, ResourceKind>> = kinds;

/** Throws InvalidID for a prefix that no resource of ours has. */
export function resourceKind(id: string): ResourceKind {
  const prefix = /^(import-ami|[a-z]+)-/.exec(id)?.[1] ?? '';
  const kind = Object.hasOwn(byPrefix, prefix) ? byPrefix[prefix] : undefined;
  if (kind === undefined) throw new ApiError('InvalidID', `The ID '${id.slice(0, 60)}' is not valid`);
  return kind;
}

/** The ids of a kind that a Describe action was asked for. */
export function wantedIds<Item>(prefix: keyof typeof kinds, values: readonly string[] | undefined): Wanted<Item> {
  const kind: ResourceKind = kinds[prefix];
  return { values, form: { pattern: idForm(prefix), code: kind.malformed }, notFound: { code: kind.notFound, message: kind.message } };
}

/** The id of the one resource that an action is about, in its form. */
export function checkedId(prefix: keyof typeof kinds, id: string | undefined): string {
  const given = id ?? '';
  checkForm(given, { pattern: idForm(prefix), code: kinds[prefix].malformed });
  return given;
}

export function failNotFound(prefix: keyof typeof kinds, id: string): never {
  const kind: ResourceKind = kinds[prefix];
  throw new ApiError(kind.notFound, kind.message([id]));
}
