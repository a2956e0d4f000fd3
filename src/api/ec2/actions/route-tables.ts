// Route tables: where a subnet sends what is not for itself.
import { routeTablesOf, type FullRouteTable } from '../../../db/vpcs.ts';
import { action, type Filters } from '../action.ts';
import { describe } from '../describe.ts';
import { wantedIds } from '../resource-kinds.ts';
import { loadTagged, page, type Tagged } from '../vpc-access.ts';

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

const describeTables = action({
  name: 'DescribeRouteTables',
  doc: 'The route tables of the project.',
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidRouteTableID.NotFound', 'InvalidRouteTableId.Malformed'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const items = await loadTagged(call, (projectId) => routeTablesOf(call.db, projectId));
    const found = describe<Table>({
      input, items, id: (table) => table.id, ids: wantedIds('rtb', input.RouteTableIds), filters, tags: (table) => table.tags, page,
    });
    return { RouteTables: found.items.map(showTable), NextToken: found.NextToken };
  },
});

export const routeTableActions = [describeTables] as const;
