// Internet gateways: the way out of a VPC, by the addresses of the hosts.
import { gatewaysOf, type InternetGateway } from '../../../db/vpcs.ts';
import { action, type Filters } from '../action.ts';
import { describe } from '../describe.ts';
import { wantedIds } from '../resource-kinds.ts';
import { loadTagged, page, type Tagged } from '../vpc-access.ts';

type Gateway = Tagged<InternetGateway>;

const filters: Filters<Gateway> = {
  'attachment.state': (gateway) => (gateway.vpcId === null ? undefined : 'available'),
  'attachment.vpc-id': (gateway) => gateway.vpcId,
  'internet-gateway-id': (gateway) => gateway.id,
  'owner-id': (gateway) => gateway.projectId,
};

const showGateway = (gateway: Gateway) => ({
  InternetGatewayId: gateway.id,
  OwnerId: gateway.projectId,
  // AWS says `available` of an attachment that stands.
  Attachments: gateway.vpcId === null ? [] : [{ VpcId: gateway.vpcId, State: 'available' as 'attached' }],
  Tags: [...gateway.tags],
});

const describeGateways = action({
  name: 'DescribeInternetGateways',
  doc: 'The internet gateways of the project. The default VPC has one.',
  roles: 'anyMember',
  errors: [
    'InvalidInternetGatewayID.NotFound', 'InvalidInternetGatewayId.Malformed', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue',
  ],
  filters: Object.keys(filters),
  async handle(call, input) {
    const items = await loadTagged(call, (projectId) => gatewaysOf(call.db, projectId));
    const found = describe<Gateway>({
      input, items, id: (gateway) => gateway.id, ids: wantedIds('igw', input.InternetGatewayIds), filters, tags: (gateway) => gateway.tags, page,
    });
    return { InternetGateways: found.items.map(showGateway), NextToken: found.NextToken };
  },
});

export const internetGatewayActions = [describeGateways] as const;
