// Kinds of resources that clients ask for and of which there are none: a list of them is truly empty, and an id is of nothing. Making one is
// answered with UnsupportedOperation, as every action that is not here.
import type { ActionName, AnyAction } from '../action.ts';
import { describe, type DescribeInput } from '../describe.ts';
import type { ErrorCode } from '../errors.ts';
import { page } from '../vpc-access.ts';

interface Absent {
  readonly name: ActionName;
  /** What there are none of, in words. */
  readonly kind: string;
  /** The member of the answer, and that of the request which names some. */
  readonly list: string;
  readonly ids: string;
  readonly notFound: ErrorCode;
  /** As those, where a request may also name some by their names. */
  readonly names?: { readonly member: string; readonly notFound: ErrorCode };
  /** The filters that clients use. */
  readonly filters: readonly string[];
}

/** Not by `action()`: the types of all these shapes at once cost the compiler minutes, and of an empty list they say nothing. */
const absent = ({ name, kind, list, ids, notFound, names, filters }: Absent): AnyAction => ({
  name,
  doc: `An empty list: there are no ${kind} here.`,
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue', notFound, ...(names === undefined ? [] : [names.notFound])],
  filters,
  handle(_call, input) {
    const given = input as DescribeInput & Readonly<Record<string, readonly string[] | undefined>>;
    // Some of AWS's shapes call it Filter.
    const asked = { ...given, Filters: given.Filters ?? (given['Filter'] as DescribeInput['Filters']) };
    const message = (missing: readonly string[]): string => `There are no ${kind}: '${missing.join(', ').slice(0, 255)}' does not exist`;
    const found = describe<never>({
      input: asked,
      items: [],
      id: () => '',
      ids: [
        { values: given[ids], notFound: { code: notFound, message } },
        ...(names === undefined ? [] : [{ values: given[names.member], notFound: { code: names.notFound, message } }]),
      ],
      filters: Object.fromEntries(filters.map((filter) => [filter, () => undefined])),
      tags: () => [],
      page,
    });
    return { [list]: found.items };
  },
});

const ofVpc = ['vpc-id', 'state'] as const;

export const absentActions: readonly AnyAction[] = [
  absent({
    name: 'DescribeNatGateways', kind: 'NAT gateways', list: 'NatGateways', ids: 'NatGatewayIds', notFound: 'NatGatewayNotFound',
    filters: [...ofVpc, 'nat-gateway-id', 'subnet-id'],
  }),
  absent({
    name: 'DescribeEgressOnlyInternetGateways', kind: 'egress-only internet gateways', list: 'EgressOnlyInternetGateways',
    ids: 'EgressOnlyInternetGatewayIds', notFound: 'InvalidGatewayID.NotFound', filters: [],
  }),
  absent({
    name: 'DescribeVpcEndpoints', kind: 'VPC endpoints', list: 'VpcEndpoints', ids: 'VpcEndpointIds', notFound: 'InvalidVpcEndpointId.NotFound',
    filters: ['vpc-id', 'service-name', 'vpc-endpoint-id', 'vpc-endpoint-state', 'vpc-endpoint-type'],
  }),
  absent({
    name: 'DescribeVpcPeeringConnections', kind: 'VPC peering connections', list: 'VpcPeeringConnections', ids: 'VpcPeeringConnectionIds',
    notFound: 'InvalidVpcPeeringConnectionID.NotFound',
    filters: ['accepter-vpc-info.vpc-id', 'requester-vpc-info.vpc-id', 'status-code', 'vpc-peering-connection-id'],
  }),
  absent({
    name: 'DescribeVpnGateways', kind: 'virtual private gateways', list: 'VpnGateways', ids: 'VpnGatewayIds', notFound: 'InvalidVpnGatewayID.NotFound',
    filters: ['attachment.state', 'attachment.vpc-id', 'availability-zone', 'state', 'type', 'vpn-gateway-id'],
  }),
  absent({
    name: 'DescribeVpnConnections', kind: 'VPN connections', list: 'VpnConnections', ids: 'VpnConnectionIds', notFound: 'InvalidVpnConnectionID.NotFound',
    filters: ['customer-gateway-id', 'state', 'vpn-connection-id', 'vpn-gateway-id'],
  }),
  absent({
    name: 'DescribeCustomerGateways', kind: 'customer gateways', list: 'CustomerGateways', ids: 'CustomerGatewayIds',
    notFound: 'InvalidCustomerGatewayID.NotFound', filters: ['customer-gateway-id', 'ip-address', 'state', 'type'],
  }),
  absent({
    name: 'DescribeCarrierGateways', kind: 'carrier gateways', list: 'CarrierGateways', ids: 'CarrierGatewayIds',
    notFound: 'InvalidCarrierGatewayID.NotFound', filters: [...ofVpc, 'carrier-gateway-id', 'owner-id'],
  }),
  absent({
    name: 'DescribeManagedPrefixLists', kind: 'prefix lists', list: 'PrefixLists', ids: 'PrefixListIds', notFound: 'InvalidPrefixListID.NotFound',
    filters: ['owner-id', 'prefix-list-id', 'prefix-list-name'],
  }),
  absent({
    name: 'DescribePrefixLists', kind: 'prefix lists', list: 'PrefixLists', ids: 'PrefixListIds', notFound: 'InvalidPrefixListID.NotFound',
    filters: ['prefix-list-id', 'prefix-list-name'],
  }),
  absent({
    name: 'DescribeFlowLogs', kind: 'flow logs', list: 'FlowLogs', ids: 'FlowLogIds', notFound: 'InvalidFlowLogId.NotFound',
    filters: ['flow-log-id', 'resource-id', 'traffic-type'],
  }),
  absent({
    name: 'DescribeTransitGateways', kind: 'transit gateways', list: 'TransitGateways', ids: 'TransitGatewayIds',
    notFound: 'InvalidTransitGatewayID.NotFound', filters: ['owner-id', 'state', 'transit-gateway-id'],
  }),
  absent({
    name: 'DescribeTransitGatewayVpcAttachments', kind: 'transit gateway attachments', list: 'TransitGatewayVpcAttachments',
    ids: 'TransitGatewayAttachmentIds', notFound: 'InvalidTransitGatewayAttachmentID.NotFound',
    filters: [...ofVpc, 'transit-gateway-attachment-id', 'transit-gateway-id'],
  }),
  absent({
    name: 'DescribePlacementGroups', kind: 'placement groups', list: 'PlacementGroups', ids: 'GroupIds', notFound: 'InvalidPlacementGroup.Unknown',
    names: { member: 'GroupNames', notFound: 'InvalidPlacementGroup.Unknown' }, filters: ['group-name', 'state', 'strategy'],
  }),
  absent({
    name: 'DescribeLaunchTemplates', kind: 'launch templates', list: 'LaunchTemplates', ids: 'LaunchTemplateIds',
    notFound: 'InvalidLaunchTemplateId.NotFound', names: { member: 'LaunchTemplateNames', notFound: 'InvalidLaunchTemplateName.NotFoundException' },
    filters: ['create-time', 'launch-template-name'],
  }),
  absent({
    name: 'DescribeSpotInstanceRequests', kind: 'spot instance requests', list: 'SpotInstanceRequests', ids: 'SpotInstanceRequestIds',
    notFound: 'InvalidSpotInstanceRequestID.NotFound', filters: ['instance-id', 'spot-instance-request-id', 'state', 'status-code', 'type'],
  }),
  absent({
    name: 'DescribeReservedInstances', kind: 'reserved instances', list: 'ReservedInstances', ids: 'ReservedInstancesIds',
    notFound: 'InvalidReservedInstancesID', filters: ['availability-zone', 'instance-type', 'reserved-instances-id', 'scope', 'state'],
  }),
  absent({
    name: 'DescribeHosts', kind: 'dedicated hosts', list: 'Hosts', ids: 'HostIds', notFound: 'InvalidHostID.NotFound',
    filters: ['auto-placement', 'availability-zone', 'instance-type', 'state'],
  }),
  absent({
    name: 'DescribeCapacityReservations', kind: 'capacity reservations', list: 'CapacityReservations', ids: 'CapacityReservationIds',
    notFound: 'InvalidCapacityReservationId.NotFound', filters: ['availability-zone', 'instance-type', 'state'],
  }),
  absent({
    name: 'DescribeIamInstanceProfileAssociations', kind: 'instance profiles', list: 'IamInstanceProfileAssociations', ids: 'AssociationIds',
    notFound: 'InvalidAssociationID.NotFound', filters: ['instance-id', 'state'],
  }),
  absent({
    name: 'DescribeBundleTasks', kind: 'bundle tasks', list: 'BundleTasks', ids: 'BundleIds', notFound: 'InvalidBundleID.NotFound',
    filters: ['bundle-id', 'instance-id', 'state'],
  }),
  absent({
    name: 'DescribeConversionTasks', kind: 'conversion tasks', list: 'ConversionTasks', ids: 'ConversionTaskIds', notFound: 'InvalidConversionTaskId',
    filters: [],
  }),
  absent({
    name: 'DescribeExportTasks', kind: 'export tasks', list: 'ExportTasks', ids: 'ExportTaskIds', notFound: 'InvalidExportTaskID.NotFound', filters: [],
  }),
];
