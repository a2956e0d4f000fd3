// Route tables: where a subnet sends what is not for itself. Their routes have a file of their own.
import {
  associateTable, createTable, deleteTable, disassociateTable, replaceAssociation, type Association,
} from '../../../db/route-tables.ts';
import { routeTablesOf, type FullRouteTable } from '../../../db/vpcs.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { checkForm, describe, doesNotExist, idForm } from '../describe.ts';
import { checkedId, failNotFound, wantedIds } from '../resource-kinds.ts';
import { tagsFor } from '../tag-specifications.ts';
import { changeOf, checkDeleted, loadTagged, networkChangers, page, projectNetworks, type Tagged } from '../vpc-access.ts';
import { routeActions } from './routes.ts';

type Table = Tagged<FullRouteTable>;

/** Its routes as they are shown: first the one to the VPC itself. */
const shownRoutes = (table: Table) => [
  { DestinationCidrBlock: table.cidr, GatewayId: 'local', Origin: 'CreateRouteTable' as const, State: 'active' as const },
  ...table.routes.map((route) => ({
    DestinationCidrBlock: route.destination, GatewayId: route.gatewayId, Origin: 'CreateRoute' as const,
    State: route.isActive ? ('active' as const) : ('blackhole' as const),
  })),
];

const filters: Filters<Table> = {
  'association.main': (table) => table.associations.map((each) => each.subnetId === null),
  'association.route-table-association-id': (table) => table.associations.map((each) => each.id),
  'association.route-table-id': (table) => table.associations.map((each) => each.routeTableId),
  'association.subnet-id': (table) => table.associations.map((each) => each.subnetId),
  'owner-id': (table) => table.projectId,
  'route-table-id': (table) => table.id,
  'route.destination-cidr-block': (table) => shownRoutes(table).map((route) => route.DestinationCidrBlock),
  'route.gateway-id': (table) => shownRoutes(table).map((route) => route.GatewayId),
  'route.origin': (table) => shownRoutes(table).map((route) => route.Origin),
  'route.state': (table) => shownRoutes(table).map((route) => route.State),
  'vpc-id': (table) => table.vpcId,
};

const showTable = (table: Table) => ({
  RouteTableId: table.id,
  VpcId: table.vpcId,
  OwnerId: table.projectId,
  Associations: table.associations.map((each) => ({
    RouteTableAssociationId: each.id,
    RouteTableId: each.routeTableId,
    Main: each.subnetId === null,
    SubnetId: each.subnetId ?? undefined,
    AssociationState: { State: 'associated' as const },
  })),
  PropagatingVgws: [],
  Routes: shownRoutes(table),
  Tags: [...table.tags],
});

const load = (call: Call): Promise<Table[]> => loadTagged(call, (projectId) => routeTablesOf(call.db, projectId));

const describeTables = action({
  name: 'DescribeRouteTables',
  doc: 'The route tables of the project.',
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidRouteTableID.NotFound', 'InvalidRouteTableId.Malformed'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const items = await load(call);
    const found = describe<Table>({
      input, items, id: (table) => table.id, ids: wantedIds('rtb', input.RouteTableIds), filters, tags: (table) => table.tags, page,
    });
    return { RouteTables: found.items.map(showTable), NextToken: found.NextToken };
  },
});

const tablesPerVpcMax = 50;

const create = action({
  name: 'CreateRouteTable',
  doc: 'Makes a route table, which leads to its VPC only. Where all projects share one network it is refused.',
  roles: networkChangers,
  errors: ['InvalidParameterValue', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'RouteTableLimitExceeded', 'TagLimitExceeded', 'UnsupportedOperation'],
  async handle(call, input) {
    await projectNetworks(call);
    const vpcId = checkedId('vpc', input.VpcId);
    const tags = tagsFor(input.TagSpecifications, 'route-table');
    const made = await createTable(call.db, { ...changeOf(call), vpcId, tags, countMax: tablesPerVpcMax });
    if (made === 'noVpc') return failNotFound('vpc', vpcId);
    if (made === 'tooMany') return call.fail('RouteTableLimitExceeded', 'The maximum number of route tables has been reached.');
    const shown = (await load(call)).find((table) => table.id === made.id) ?? failNotFound('rtb', made.id);
    return { RouteTable: showTable(shown) };
  },
});

const remove = action({
  name: 'DeleteRouteTable',
  doc: 'Deletes a route table that no subnet follows. The main one of a VPC stays.',
  roles: networkChangers,
  errors: ['DependencyViolation', 'InvalidRouteTableID.NotFound', 'InvalidRouteTableId.Malformed', 'UnsupportedOperation'],
  async handle(call, input) {
    await projectNetworks(call);
    const tableId = checkedId('rtb', input.RouteTableId);
    checkDeleted(await deleteTable(call.db, { projectId: call.principal.projectId, tableId }), 'rtb', tableId);
    return {};
  },
});

const associationErrors = [
  'InvalidAssociationID.NotFound', 'InvalidParameterValue', 'InvalidRouteTableID.NotFound', 'InvalidRouteTableId.Malformed', 'InvalidSubnetID.NotFound',
  'InvalidSubnetId.Malformed', 'MissingParameter', 'Resource.AlreadyAssociated', 'UnsupportedOperation',
] as const;

const associated = { State: 'associated' as const };

const associate = action({
  name: 'AssociateRouteTable',
  doc: 'Lets a subnet follow a route table of its VPC instead of the main one.',
  roles: networkChangers,
  errors: associationErrors,
  async handle(call, input) {
    await projectNetworks(call);
    if ((input.GatewayId ?? input.PublicIpv4Pool ?? '') !== '') fail('UnsupportedOperation', 'Only subnets follow route tables.');
    const [tableId, subnetId] = [checkedId('rtb', input.RouteTableId), checkedId('subnet', input.SubnetId)];
    const outcome = await associateTable(call.db, { ...changeOf(call), tableId, subnetId });
    return { AssociationId: followed(call, outcome, { tableId, follower: `subnet ${subnetId}`, subnetId, associationId: '' }), AssociationState: associated };
  },
});

const replace = action({
  name: 'ReplaceRouteTableAssociation',
  doc: 'Lets a subnet follow another route table; with the association of the main table, another becomes the main one.',
  roles: networkChangers,
  errors: associationErrors,
  async handle(call, input) {
    await projectNetworks(call);
    const [tableId, associationId] = [checkedId('rtb', input.RouteTableId), checkAssociationId(input.AssociationId)];
    const outcome = await replaceAssociation(call.db, { ...changeOf(call), tableId, associationId });
    const named = { tableId, associationId, subnetId: '', follower: `association ${associationId}` };
    return { NewAssociationId: followed(call, outcome, named), AssociationState: associated };
  },
});

interface Follower {
  readonly tableId: string;
  readonly subnetId: string;
  readonly associationId: string;
  readonly follower: string;
}

function followed(call: Call, outcome: Association, { tableId, subnetId, associationId, follower }: Follower): string {
  switch (outcome) {
    case 'noTable': return failNotFound('rtb', tableId);
    case 'noSubnet': return failNotFound('subnet', subnetId);
    case 'noAssociation': return failNoAssociation(associationId);
    case 'elsewhere': return fail('InvalidParameterValue', `route table ${tableId} and ${follower} belong to different networks`);
    case 'taken':
      return fail('Resource.AlreadyAssociated', `the specified association for route table ${tableId} conflicts with an existing association`);
    default: {
      call.relay.kick();
      return outcome.id;
    }
  }
}

const disassociate = action({
  name: 'DisassociateRouteTable',
  doc: 'Lets a subnet follow the main route table of its VPC again.',
  roles: networkChangers,
  errors: ['InvalidAssociationID.NotFound', 'InvalidParameterValue', 'MissingParameter', 'UnsupportedOperation'],
  async handle(call, input) {
    await projectNetworks(call);
    const associationId = checkAssociationId(input.AssociationId);
    const outcome = await disassociateTable(call.db, { ...changeOf(call), associationId });
    if (outcome === 'absent') return failNoAssociation(associationId);
    if (outcome === 'isMain') return call.fail('InvalidParameterValue', `cannot disassociate the main route table association ${associationId}`);
    call.relay.kick();
    return {};
  },
});

const failNoAssociation = (id: string): never => fail('InvalidAssociationID.NotFound', doesNotExist('association ID')([id]));

function checkAssociationId(given: string | undefined): string {
  if (given === undefined || given === '') return fail('MissingParameter', 'The request must contain the parameter associationId');
  checkForm(given, { pattern: idForm('rtbassoc'), code: 'InvalidAssociationID.NotFound' });
  return given;
}

export const routeTableActions = [create, remove, associate, replace, disassociate, describeTables, ...routeActions] as const;
