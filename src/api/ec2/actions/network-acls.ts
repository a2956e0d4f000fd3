// Network ACLs and DHCP options: each VPC has the ones it was made with, which say what is so and cannot be changed.
import { dhcpOptionsOf, networkAclsOf, type FullAcl } from '../../../db/vpcs.ts';
import { derivedId } from '../../../lib/ids.ts';
import { action, type Filters } from '../action.ts';
import { describe } from '../describe.ts';
import { wantedIds } from '../resource-kinds.ts';
import { loadTagged, page, type Tagged } from '../vpc-access.ts';

type Acl = Tagged<FullAcl>;

const entries = [true, false].flatMap((isEgress) => [
  { RuleNumber: 100, Protocol: '-1', RuleAction: 'allow' as const, Egress: isEgress, CidrBlock: '0.0.0.0/0' },
  { RuleNumber: 32_767, Protocol: '-1', RuleAction: 'deny' as const, Egress: isEgress, CidrBlock: '0.0.0.0/0' },
]);

const associationsOf = (acl: Acl) => acl.subnetIds.map((SubnetId) => (
  { NetworkAclAssociationId: derivedId('aclassoc', SubnetId), NetworkAclId: acl.id, SubnetId }));

const aclFilters: Filters<Acl> = {
  'association.association-id': (acl) => associationsOf(acl).map((each) => each.NetworkAclAssociationId),
  'association.network-acl-id': (acl) => associationsOf(acl).map((each) => each.NetworkAclId),
  'association.subnet-id': (acl) => acl.subnetIds,
  default: () => true,
  'entry.cidr': () => entries.map((entry) => entry.CidrBlock),
  'entry.egress': () => entries.map((entry) => entry.Egress),
  'entry.protocol': () => entries.map((entry) => entry.Protocol),
  'entry.rule-action': () => entries.map((entry) => entry.RuleAction),
  'entry.rule-number': () => entries.map((entry) => entry.RuleNumber),
  'network-acl-id': (acl) => acl.id,
  'owner-id': (acl) => acl.projectId,
  'vpc-id': (acl) => acl.vpcId,
};

const showAcl = (acl: Acl) => ({
  NetworkAclId: acl.id,
  VpcId: acl.vpcId,
  OwnerId: acl.projectId,
  IsDefault: true,
  Entries: entries,
  Associations: associationsOf(acl),
  Tags: [...acl.tags],
});

const describeAcls = action({
  name: 'DescribeNetworkAcls',
  doc: 'The network ACL of each VPC, which lets everything pass. There are no others: security groups filter.',
  roles: 'anyMember',
  errors: ['InvalidNetworkAclID.NotFound', 'InvalidNetworkAclId.Malformed', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue'],
  filters: Object.keys(aclFilters),
  async handle(call, input) {
    const items = await loadTagged(call, (projectId) => networkAclsOf(call.db, projectId));
    const found = describe<Acl>({
      input, items, id: (acl) => acl.id, ids: wantedIds('acl', input.NetworkAclIds), filters: aclFilters, tags: (acl) => acl.tags, page,
    });
    return { NetworkAcls: found.items.map(showAcl), NextToken: found.NextToken };
  },
});

interface Options {
  readonly id: string;
  readonly projectId: string;
  readonly configurations: readonly { readonly key: string; readonly value: string }[];
}

const optionFilters: Filters<Tagged<Options>> = {
  'dhcp-options-id': (options) => options.id,
  key: (options) => options.configurations.map(({ key }) => key),
  'owner-id': (options) => options.projectId,
  value: (options) => options.configurations.map(({ value }) => value),
};

const describeOptions = action({
  name: 'DescribeDhcpOptions',
  doc: 'What DHCP says in all VPCs of the project: the domain of the instances\' names, and the network\'s own DNS.',
  roles: 'anyMember',
  errors: ['InvalidDhcpOptionID.NotFound', 'InvalidDhcpOptionsId.Malformed', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue'],
  filters: Object.keys(optionFilters),
  async handle(call, input) {
    // The DNS of the network has AWS's name for it.
    const configurations = [{ key: 'domain-name', value: call.dnsDomain }, { key: 'domain-name-servers', value: 'AmazonProvidedDNS' }];
    const items = await loadTagged<Options>(call, async (projectId) => {
      const id = await dhcpOptionsOf(call.db, projectId);
      return id === undefined ? [] : [{ id, projectId, configurations }];
    });
    const found = describe<Tagged<Options>>({
      input, items, id: (options) => options.id, ids: wantedIds('dopt', input.DhcpOptionsIds), filters: optionFilters, tags: (options) => options.tags, page,
    });
    return {
      DhcpOptions: found.items.map((options) => ({
        DhcpOptionsId: options.id,
        OwnerId: options.projectId,
        DhcpConfigurations: options.configurations.map(({ key, value }) => ({ Key: key, Values: [{ Value: value }] })),
        Tags: [...options.tags],
      })),
      NextToken: found.NextToken,
    };
  },
});

export const networkAclActions = [describeAcls, describeOptions] as const;
