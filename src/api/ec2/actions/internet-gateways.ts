// Internet gateways: the way out of a VPC, by the addresses of the hosts, for the subnets whose routes lead to it.
import { attachGateway, createGateway, deleteGateway, detachGateway } from '../../../db/internet-gateways.ts';
import { gatewaysOf, type InternetGateway } from '../../../db/vpcs.ts';
import { action, type Call, type Filters } from '../action.ts';
import { describe } from '../describe.ts';
import { checkedId, failNotFound, wantedIds } from '../resource-kinds.ts';
import { tagsFor } from '../tag-specifications.ts';
import { changeOf, checkDeleted, loadTagged, networkChangers, page, projectNetworks, type Tagged } from '../vpc-access.ts';

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

const create = action({
  name: 'CreateInternetGateway',
  doc: 'Makes a gateway, to be attached to a VPC. Where all projects share one network it is refused.',
  roles: networkChangers,
  errors: ['InternetGatewayLimitExceeded', 'InvalidParameterValue', 'TagLimitExceeded', 'UnsupportedOperation'],
  async handle(call, input) {
    await projectNetworks(call);
    const tags = tagsFor(input.TagSpecifications, 'internet-gateway');
    const made = await createGateway(call.db, { ...changeOf(call), tags, countMax: call.vpcsPerProjectMax });
    if (made === undefined) return call.fail('InternetGatewayLimitExceeded', 'The maximum number of internet gateways has been reached.');
    return { InternetGateway: showGateway({ ...made, tags }) };
  },
});

/** The ids of both, in their form. */
const pairOf = (input: { InternetGatewayId?: string | undefined; VpcId?: string | undefined }) =>
  ({ gatewayId: checkedId('igw', input.InternetGatewayId), vpcId: checkedId('vpc', input.VpcId) });

const pairErrors = [
  'InvalidInternetGatewayID.NotFound', 'InvalidInternetGatewayId.Malformed', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'UnsupportedOperation',
] as const;

const attach = action({
  name: 'AttachInternetGateway',
  doc: 'Attaches a gateway to a VPC that has none. Subnets take it by a route.',
  roles: networkChangers,
  errors: [...pairErrors, 'InvalidParameterValue', 'Resource.AlreadyAssociated'],
  async handle(call, input) {
    await projectNetworks(call);
    const pair = pairOf(input);
    const outcome = await attachGateway(call.db, { ...changeOf(call), ...pair });
    if (outcome === 'hasAnother') return call.fail('InvalidParameterValue', `Network ${pair.vpcId} already has an internet gateway attached`);
    if (typeof outcome === 'object') {
      return call.fail('Resource.AlreadyAssociated', `resource ${pair.gatewayId} is already attached to network ${outcome.attachedTo}`);
    }
    return settled(call, outcome, pair);
  },
});

const detach = action({
  name: 'DetachInternetGateway',
  doc: 'Detaches a gateway from its VPC. Floating addresses that lead into the VPC keep it.',
  roles: networkChangers,
  errors: [...pairErrors, 'DependencyViolation', 'Gateway.NotAttached'],
  async handle(call, input) {
    await projectNetworks(call);
    const pair = pairOf(input);
    const outcome = await detachGateway(call.db, { ...changeOf(call), ...pair });
    if (outcome === 'notAttached') return call.fail('Gateway.NotAttached', `resource ${pair.gatewayId} is not attached to network ${pair.vpcId}`);
    if (outcome === 'inUse') {
      return call.fail('DependencyViolation',
        `Network ${pair.vpcId} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.`);
    }
    return settled(call, outcome, pair);
  },
});

function settled(call: Call, outcome: 'attached' | 'detached' | 'noGateway' | 'noVpc', { gatewayId, vpcId }: ReturnType<typeof pairOf>) {
  if (outcome === 'noGateway') return failNotFound('igw', gatewayId);
  if (outcome === 'noVpc') return failNotFound('vpc', vpcId);
  call.relay.kick();
  return {};
}

const remove = action({
  name: 'DeleteInternetGateway',
  doc: 'Deletes a gateway that is attached to nothing.',
  roles: networkChangers,
  errors: ['DependencyViolation', 'InvalidInternetGatewayID.NotFound', 'InvalidInternetGatewayId.Malformed', 'UnsupportedOperation'],
  async handle(call, input) {
    await projectNetworks(call);
    const gatewayId = checkedId('igw', input.InternetGatewayId);
    checkDeleted(await deleteGateway(call.db, { projectId: call.principal.projectId, gatewayId }), 'igw', gatewayId);
    return {};
  },
});

export const internetGatewayActions = [create, remove, attach, detach, describeGateways] as const;
