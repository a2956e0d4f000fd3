// Routes of route tables: made, turned and deleted. They lead to internet gateways; what else they could lead to is not there, and is refused.
import { deleteRoute, setRoute, type RouteSetting } from '../../../db/route-tables.ts';
import { routeTablesOf } from '../../../db/vpcs.ts';
import { rangeOfCidr } from '../../../lib/ipv4.ts';
import { action, fail, type Call, type InputOf } from '../action.ts';
import { checkedId, failNotFound } from '../resource-kinds.ts';
import { changeOf, networkChangers, projectNetworks } from '../vpc-access.ts';
import { checkCidr } from '../vpc-range.ts';

const routesPerTableMax = 50;

type RouteInput = InputOf<'CreateRoute'> | InputOf<'ReplaceRoute'>;

const routeErrors = [
  'InvalidInternetGatewayID.NotFound', 'InvalidInternetGatewayId.Malformed', 'InvalidParameterCombination', 'InvalidParameterValue',
  'InvalidRouteTableID.NotFound', 'InvalidRouteTableId.Malformed', 'MissingParameter', 'UnsupportedOperation',
] as const;

const create = action({
  name: 'CreateRoute',
  doc: 'Leads a range of addresses to the internet gateway of the VPC. Other targets are refused.',
  roles: networkChangers,
  errors: [...routeErrors, 'RouteAlreadyExists', 'RouteLimitExceeded'],
  async handle(call, input) {
    await set(call, input, false);
    return { Return: true };
  },
});

const replace = action({
  name: 'ReplaceRoute',
  doc: 'Leads a range that has a route to another gateway.',
  roles: networkChangers,
  errors: routeErrors,
  async handle(call, input) {
    if ('LocalTarget' in input && input.LocalTarget === true) fail('UnsupportedOperation', 'The local route of a VPC always leads to the VPC.');
    await set(call, input, true);
    return {};
  },
});

async function set(call: Call, input: RouteInput, replaces: boolean): Promise<void> {
  await projectNetworks(call);
  const tableId = checkedId('rtb', input.RouteTableId);
  const destination = checkDestination(input);
  const gatewayId = targetOf(input);
  await checkNotLocal(call, tableId, destination);
  const outcome = await setRoute(call.db, { ...changeOf(call), tableId, destination, gatewayId, replaces, countMax: routesPerTableMax });
  if (outcome !== 'set') return failSetting(outcome, { tableId, destination, gatewayId });
  call.relay.kick();
}

function failSetting(
  outcome: Exclude<RouteSetting, 'set'>, { tableId, destination, gatewayId }: { tableId: string; destination: string; gatewayId: string },
): never {
  switch (outcome) {
    case 'noTable': return failNotFound('rtb', tableId);
    case 'noGateway': return failNotFound('igw', gatewayId);
    case 'elsewhere': return fail('InvalidParameterValue', `route table ${tableId} and network gateway ${gatewayId} belong to different networks`);
    case 'exists': return fail('RouteAlreadyExists', `The route identified by ${destination} already exists.`);
    case 'absent':
      return fail('InvalidParameterValue', `There is no route defined for '${destination}' in the route table. Use CreateRoute instead.`);
    case 'tooMany': return fail('RouteLimitExceeded', 'The maximum number of routes of a route table has been reached.');
  }
}

function checkDestination(input: RouteInput | InputOf<'DeleteRoute'>): string {
  if ((input.DestinationIpv6CidrBlock ?? input.DestinationPrefixListId ?? '') !== '') {
    fail('UnsupportedOperation', 'Routes are IPv4, to a range of addresses.');
  }
  return checkCidr(input.DestinationCidrBlock, 'destinationCidrBlock');
}

/** Every other target by the name of its parameter. */
const noTargets = [
  'CarrierGatewayId', 'CoreNetworkArn', 'EgressOnlyInternetGatewayId', 'InstanceId', 'LocalGatewayId', 'NatGatewayId', 'NetworkInterfaceId',
  'OdbNetworkArn', 'TransitGatewayId', 'VpcEndpointId', 'VpcPeeringConnectionId',
];

function targetOf(input: RouteInput): string {
  const others = Object.entries(input).filter(([name, value]) => noTargets.includes(name) && typeof value === 'string' && value !== '');
  const [other] = others;
  if (others.length + ((input.GatewayId ?? '') === '' ? 0 : 1) > 1) fail('InvalidParameterCombination', 'A route has one target.');
  if (other !== undefined) fail('UnsupportedOperation', `Routes lead to internet gateways only: ${other[0]} cannot be served.`);
  if ((input.GatewayId ?? '') === '') fail('MissingParameter', 'The request must contain the parameter gatewayId');
  return checkedId('igw', input.GatewayId);
}

/** What is in the VPC stays there. */
async function checkNotLocal(call: Call, tableId: string, destination: string): Promise<void> {
  const table = (await routeTablesOf(call.db, call.principal.projectId)).find((each) => each.id === tableId);
  if (table === undefined) return failNotFound('rtb', tableId);
  const [own, asked] = [rangeOfCidr(table.cidr), rangeOfCidr(destination)];
  if (asked.first < own.first || asked.last > own.last) return;
  fail('InvalidParameterValue', `The destination CIDR block ${destination} is equal to or more specific than one of this VPC's CIDR blocks. `
    + 'This route can target only an interface or an instance.');
}

const remove = action({
  name: 'DeleteRoute',
  doc: 'Deletes a route. The one to the VPC itself stays.',
  roles: networkChangers,
  errors: [
    'InvalidParameterValue', 'InvalidRoute.NotFound', 'InvalidRouteTableID.NotFound', 'InvalidRouteTableId.Malformed', 'MissingParameter',
    'UnsupportedOperation',
  ],
  async handle(call, input) {
    await projectNetworks(call);
    const tableId = checkedId('rtb', input.RouteTableId);
    const destination = checkDestination(input);
    const table = (await routeTablesOf(call.db, call.principal.projectId)).find((each) => each.id === tableId);
    if (table?.cidr === destination) return call.fail('InvalidParameterValue', `cannot remove local route ${destination} in route table ${tableId}`);
    const outcome = await deleteRoute(call.db, { ...changeOf(call), tableId, destination });
    if (outcome === 'noTable') return failNotFound('rtb', tableId);
    if (outcome === 'absent') return call.fail('InvalidRoute.NotFound', `no route with destination-cidr-block ${destination} in route table ${tableId}`);
    call.relay.kick();
    return {};
  },
});

export const routeActions = [create, replace, remove] as const;
