// Facts about the account, that is the project.
import { ownLimits, type Quotas } from '../../../db/quotas.ts';
import { action } from '../action.ts';
import { defaultVpcOf } from '../vpc-access.ts';

/** What this cloud can say of an account. `none` is AWS's word for no default VPC. */
const attributesOf = ({ instances, addresses }: Pick<Quotas, 'instances' | 'addresses'>, defaultVpcId: string | undefined) => ({
  'supported-platforms': ['VPC'],
  'default-vpc': [defaultVpcId ?? 'none'],
  'max-instances': [String(instances)],
  'vpc-max-security-groups-per-interface': ['5'],
  'max-elastic-ips': [String(addresses)],
  'vpc-max-elastic-ips': [String(addresses)],
});

export const accountActions = [
  action({
    name: 'DescribeAccountAttributes',
    doc: 'The limits and platforms of the account.',
    roles: 'anyMember',
    errors: ['InvalidParameterValue'],
    async handle(call, input) {
      const own = await ownLimits(call.db, call.principal.projectId);
      const limits = { instances: call.instancesPerProjectMax, addresses: call.addressesPerProjectMax, ...own };
      const attributes = attributesOf(limits, (await defaultVpcOf(call))?.vpc.id);
      const wanted: readonly string[] = input.AttributeNames ?? [];
      const unknown = wanted.find((name) => !Object.hasOwn(attributes, name));
      if (unknown !== undefined) call.fail('InvalidParameterValue', `Value (${unknown.slice(0, 60)}) for parameter attributeName is invalid.`);
      const chosen = Object.entries(attributes).filter(([name]) => wanted.length === 0 || wanted.includes(name));
      return {
        AccountAttributes: chosen.map(([AttributeName, values]) => ({ AttributeName, AttributeValues: values.map((AttributeValue) => ({ AttributeValue })) })),
      };
    },
  }),
  action({
    name: 'GetEbsEncryptionByDefault',
    doc: 'No: volumes are not encrypted.',
    roles: 'anyMember',
    errors: [],
    handle: () => ({ EbsEncryptionByDefault: false, SseType: 'none' as const }),
  }),
  action({
    name: 'GetSerialConsoleAccessStatus',
    doc: 'No: the serial console is read by GetConsoleOutput, and not written to.',
    roles: 'anyMember',
    errors: [],
    handle: () => ({ SerialConsoleAccessEnabled: false }),
  }),
  action({
    name: 'GetInstanceMetadataDefaults',
    doc: 'None: the options of the metadata service are the same for all instances.',
    roles: 'anyMember',
    errors: [],
    handle: () => ({ AccountLevel: {} }),
  }),
];
