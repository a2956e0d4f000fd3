// What changes network ACLs, interfaces and default VPCs, and cannot be honoured: refused with the reason in words, where an action that is
// not here is only said to be unsupported. Nothing is answered as if it had been done.
import type { ActionName, AnyAction, Call } from '../action.ts';
import type { ErrorCode } from '../errors.ts';
import { defaultVpcOf, networkChangers } from '../vpc-access.ts';

type Reason = (call: Call) => Promise<{ readonly code: ErrorCode; readonly text: string }>;

const because = (text: string): Reason => async () => ({ code: 'UnsupportedOperation', text });

const oneAcl = because('Network ACLs filter nothing here: each VPC has the one that lets all pass, and security groups filter.');
const oneInterface = because('Instances have one network interface, which begins and ends with them.');

/** What is there, or cannot be made by asking for it. */
const isThere = (code: ErrorCode, what: string): Reason => async (call) => {
  const found = await defaultVpcOf(call);
  if (found === undefined) return { code: 'UnsupportedOperation', text: 'The cloud has no network yet.' };
  return { code, text: `A ${what} already exists for this account.` };
};

const reasons: readonly (readonly [ActionName, string, Reason])[] = [
  ['CreateDefaultVpc', 'Refused: the default VPC is made by looking.', isThere('DefaultVpcAlreadyExists', 'default VPC')],
  [
    'CreateDefaultSubnet', 'Refused: the default subnet is made by looking.',
    isThere('DefaultSubnetAlreadyExistsInAvailabilityZone', 'default subnet, which serves every zone,'),
  ],
  ['CreateNetworkAcl', 'Refused: security groups filter.', oneAcl],
  ['DeleteNetworkAcl', 'Refused: security groups filter.', oneAcl],
  ['CreateNetworkAclEntry', 'Refused: security groups filter.', oneAcl],
  ['ReplaceNetworkAclEntry', 'Refused: security groups filter.', oneAcl],
  ['DeleteNetworkAclEntry', 'Refused: security groups filter.', oneAcl],
  ['ReplaceNetworkAclAssociation', 'Refused: security groups filter.', oneAcl],
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
