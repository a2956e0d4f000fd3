// What changes VPCs, subnets, gateways, routes and interfaces, and cannot be honoured: refused with the reason in words, where an action that is
// not here is only said to be unsupported. Nothing is answered as if it had been done.
import { findSharedNetwork } from '../../../db/networks.ts';
import type { ActionName, AnyAction, Call } from '../action.ts';
import type { ErrorCode } from '../errors.ts';
import { defaultVpcOf, networkChangers } from '../vpc-access.ts';

type Reason = (call: Call) => Promise<{ readonly code: ErrorCode; readonly text: string }>;

const because = (text: string): Reason => async () => ({ code: 'UnsupportedOperation', text });

/** Why there is no other network for a project. */
const oneNetwork: Reason = async (call) => {
  const manager = (await findSharedNetwork(call.db))?.manager;
  const text = manager === undefined || !manager.startsWith('flat')
    ? 'A project has the one network of its default VPC: others are not built yet.'
    : `The network manager is ${manager}, with one network for all projects: there are no VPCs and subnets beside the default ones.`;
  return { code: 'UnsupportedOperation', text };
};

const fixedRoutes = because('The routes of a VPC are fixed: to the VPC itself, and by its internet gateway to everywhere else.');
const oneInterface = because('Instances have one network interface, which begins and ends with them.');
const keptDefault = because('The default VPC is the network of the project: it cannot be deleted, and neither can its subnet or its internet gateway.');

/** What is there, or cannot be made by asking for it. */
const isThere = (code: ErrorCode, what: string): Reason => async (call) => {
  const found = await defaultVpcOf(call);
  if (found === undefined) return { code: 'UnsupportedOperation', text: 'The cloud has no network yet.' };
  return { code, text: `A ${what} already exists for this account.` };
};

const reasons: readonly (readonly [ActionName, string, Reason])[] = [
  ['CreateVpc', 'Refused: a project has its default VPC.', oneNetwork],
  ['DeleteVpc', 'Refused: the default VPC stays.', keptDefault],
  ['CreateDefaultVpc', 'Refused: the default VPC is made by looking.', isThere('DefaultVpcAlreadyExists', 'default VPC')],
  ['CreateSubnet', 'Refused: a project has its default subnet.', oneNetwork],
  ['DeleteSubnet', 'Refused: the default subnet stays.', keptDefault],
  [
    'CreateDefaultSubnet', 'Refused: the default subnet is made by looking.',
    isThere('DefaultSubnetAlreadyExistsInAvailabilityZone', 'default subnet, which serves every zone,'),
  ],
  ['CreateInternetGateway', 'Refused: the default VPC has one, and there is no other VPC.', oneNetwork],
  ['AttachInternetGateway', 'Refused: the default VPC has one, and there is no other VPC.', oneNetwork],
  ['DetachInternetGateway', 'Refused: the way out of the default VPC stays.', keptDefault],
  ['DeleteInternetGateway', 'Refused: the way out of the default VPC stays.', keptDefault],
  ['CreateRouteTable', 'Refused: routes are fixed.', fixedRoutes],
  ['DeleteRouteTable', 'Refused: routes are fixed.', fixedRoutes],
  ['CreateRoute', 'Refused: routes are fixed.', fixedRoutes],
  ['ReplaceRoute', 'Refused: routes are fixed.', fixedRoutes],
  ['DeleteRoute', 'Refused: routes are fixed.', fixedRoutes],
  ['AssociateRouteTable', 'Refused: routes are fixed.', fixedRoutes],
  ['DisassociateRouteTable', 'Refused: routes are fixed.', fixedRoutes],
  ['CreateNetworkInterface', 'Refused: an instance has one interface.', oneInterface],
  ['AttachNetworkInterface', 'Refused: an instance has one interface.', oneInterface],
  ['DetachNetworkInterface', 'Refused: an instance has one interface.', oneInterface],
  ['DeleteNetworkInterface', 'Refused: an instance has one interface.', oneInterface],
];

const codesOf = (name: string): readonly ErrorCode[] =>
  name === 'CreateDefaultVpc' ? ['DefaultVpcAlreadyExists', 'UnsupportedOperation']
    : name === 'CreateDefaultSubnet' ? ['DefaultSubnetAlreadyExistsInAvailabilityZone', 'UnsupportedOperation'] : ['UnsupportedOperation'];

export const refusedActions: readonly AnyAction[] = reasons.map(([name, doc, reason]) => ({
  name,
  doc,
  roles: networkChangers,
  errors: codesOf(name),
  async handle(call) {
    const { code, text } = await reason(call);
    return call.fail(code, text);
  },
}));
