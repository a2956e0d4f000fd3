// Instance types as the table has them, in AWS's shape.
import type * as ec2 from '@aws-sdk/client-ec2';
import { listInstanceTypes, type InstanceType } from '../../../db/instance-types.ts';
import { visibleResources } from '../../../db/tags.ts';
import { zonesOfHosts } from '../../../db/zones.ts';
import { action } from '../action.ts';
import { checkForm, describe, doesNotExist, idForm } from '../describe.ts';

type TypeName = 't2.nano';

/** No bursting, no instance store, no bare metal. AWS's word for a hypervisor made of KVM is `nitro`. */
function describeType(type: InstanceType) {
  return {
    // AWS's list of names is closed for the compiler only: Nova's own m1.tiny is not in it.
    InstanceType: type.name as TypeName,
    CurrentGeneration: true,
    FreeTierEligible: false,
    SupportedUsageClasses: ['on-demand' as const],
    SupportedRootDeviceTypes: ['ebs' as const],
    SupportedVirtualizationTypes: ['hvm' as const],
    BareMetal: false,
    Hypervisor: 'nitro' as const,
    ProcessorInfo: { SupportedArchitectures: ['x86_64' as const, 'i386' as const] },
    VCpuInfo: { DefaultVCpus: type.cores, DefaultCores: type.cores, DefaultThreadsPerCore: 1, ValidCores: [type.cores], ValidThreadsPerCore: [1] },
    MemoryInfo: { SizeInMiB: type.memoryMiB },
    InstanceStorageSupported: false,
    EbsInfo: { EbsOptimizedSupport: 'unsupported' as const, EncryptionSupport: 'unsupported' as const, NvmeSupport: 'unsupported' as const },
    NetworkInfo: {
      NetworkPerformance: 'Up to 10 Gigabit',
      MaximumNetworkInterfaces: 1,
      MaximumNetworkCards: 1,
      DefaultNetworkCardIndex: 0,
      NetworkCards: [{ NetworkCardIndex: 0, NetworkPerformance: 'Up to 10 Gigabit', MaximumNetworkInterfaces: 1 }],
      Ipv4AddressesPerInterface: 1,
      Ipv6AddressesPerInterface: 0,
      Ipv6Supported: false,
      EnaSupport: 'unsupported' as const,
      EfaSupported: false,
    },
    HibernationSupported: false,
    BurstablePerformanceSupported: false,
    DedicatedHostsSupported: false,
    AutoRecoverySupported: false,
    SupportedBootModes: ['legacy-bios' as const],
  };
}

const filters = {
  'auto-recovery-supported': (type) => type.AutoRecoverySupported,
  'bare-metal': (type) => type.BareMetal,
  'burstable-performance-supported': (type) => type.BurstablePerformanceSupported,
  'current-generation': (type) => type.CurrentGeneration,
  'dedicated-hosts-supported': (type) => type.DedicatedHostsSupported,
  'free-tier-eligible': (type) => type.FreeTierEligible,
  'hibernation-supported': (type) => type.HibernationSupported,
  hypervisor: (type) => type.Hypervisor,
  'instance-storage-supported': (type) => type.InstanceStorageSupported,
  'instance-type': (type) => type.InstanceType,
  'memory-info.size-in-mib': (type) => type.MemoryInfo.SizeInMiB,
  'network-info.maximum-network-interfaces': (type) => type.NetworkInfo.MaximumNetworkInterfaces,
  'processor-info.supported-architecture': (type) => type.ProcessorInfo.SupportedArchitectures,
  'supported-boot-mode': (type) => type.SupportedBootModes,
  'supported-root-device-type': (type) => type.SupportedRootDeviceTypes,
  'supported-usage-class': (type) => type.SupportedUsageClasses,
  'supported-virtualization-type': (type) => type.SupportedVirtualizationTypes,
  'vcpu-info.default-cores': (type) => type.VCpuInfo.DefaultCores,
  'vcpu-info.default-threads-per-core': (type) => type.VCpuInfo.DefaultThreadsPerCore,
  'vcpu-info.default-vcpus': (type) => type.VCpuInfo.DefaultVCpus,
} satisfies Record<string, (type: ReturnType<typeof describeType>) => unknown>;

const describeInstanceTypes = action({
  name: 'DescribeInstanceTypes',
  doc: 'The sizes of instance that can be run.',
  roles: 'anyMember',
  errors: ['InvalidInstanceType', 'InvalidParameterValue', 'InvalidNextToken'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const types = (await listInstanceTypes(call.db)).map((type) => describeType(type));
    const page = describe({
      input,
      items: types,
      id: (type) => type.InstanceType,
      ids: {
        values: input.InstanceTypes,
        notFound: {
          code: 'InvalidInstanceType', message: (missing) => `The following supplied instance types do not exist: [${missing.join(', ').slice(0, 200)}]`,
        },
      },
      filters,
      page: { min: 5, max: 100 },
    });
    return { InstanceTypes: [...page.items], NextToken: page.NextToken };
  },
});

const offeringFilters = {
  'instance-type': (offering) => offering.InstanceType,
  location: (offering) => offering.Location,
} satisfies Record<string, (offering: ReturnType<typeof offeringsOf>[number]) => unknown>;

/** Every zone has every type; a zone's name is its id, too. */
const offeringsOf = (types: readonly InstanceType[], locations: readonly string[], locationType: ec2.LocationType) =>
  types.flatMap((type) => locations.map((Location) => ({ InstanceType: type.name as TypeName, LocationType: locationType, Location })));

const locationTypes: readonly string[] = ['region', 'availability-zone', 'availability-zone-id'] satisfies ec2.LocationType[];

const describeInstanceTypeOfferings = action({
  name: 'DescribeInstanceTypeOfferings',
  doc: 'Where each type can be run: in the region, or in each zone.',
  roles: 'anyMember',
  errors: ['InvalidParameterValue', 'InvalidNextToken'],
  filters: Object.keys(offeringFilters),
  async handle(call, input) {
    const locationType = input.LocationType ?? 'region';
    if (!locationTypes.includes(locationType)) {
      return call.fail('InvalidParameterValue', `Value (${locationType.slice(0, 60)}) for parameter locationType is invalid.`);
    }
    const locations = locationType === 'region' ? [call.region] : [...new Set([call.zone, ...(await zonesOfHosts(call.db)).keys()])];
    const page = describe({
      input,
      items: offeringsOf(await listInstanceTypes(call.db), locations, locationType),
      id: (offering) => `${offering.InstanceType} ${offering.Location}`,
      filters: offeringFilters,
      page: { min: 5, max: 1000 },
    });
    return { InstanceTypeOfferings: [...page.items], NextToken: page.NextToken };
  },
});

const describeInstanceCreditSpecifications = action({
  name: 'DescribeInstanceCreditSpecifications',
  doc: 'None: no instance type of this cloud is burstable. Terraform asks.',
  roles: 'anyMember',
  errors: ['InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound'],
  async handle(call, input) {
    const ids = input.InstanceIds ?? [];
    for (const id of ids) checkForm(id, { pattern: idForm('i'), code: 'InvalidInstanceID.Malformed' });
    const visible = await visibleResources(call.db, call.principal.projectId, ids);
    const missing = ids.filter((id) => !visible.has(id));
    if (missing.length > 0) call.fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')(missing));
    return { InstanceCreditSpecifications: [] };
  },
});

export const instanceTypeActions = [describeInstanceTypes, describeInstanceTypeOfferings, describeInstanceCreditSpecifications];
