// How DescribeInstances' filters read an instance: AWS's names, as far as this cloud has what they ask about.
import type { FullInstance } from '../../db/instances.ts';
import type { Filters } from './action.ts';
import { idForm } from './describe.ts';
import { showState, showStateReason, transitionReason } from './instance-states.ts';
import { showMetadataOptions } from './metadata-options.ts';
import { privateName, publicName, reachableAddress } from './instance-names.ts';
import { attachmentIdOf, attachmentStatusOf, interfaceIdOf } from './show-interface.ts';

const groupIds = (instance: FullInstance): string[] => instance.groups.map((group) => group.id);
const groupNames = (instance: FullInstance): string[] => instance.groups.map((group) => group.name);
const nothing = () => undefined;

const deviceFilters: Filters<FullInstance> = {
  'block-device-mapping.attach-time': (instance) => instance.volumes.map(({ attachedAt }) => attachedAt),
  'block-device-mapping.delete-on-termination': (instance) => instance.volumes.map(({ deleteOnTermination }) => deleteOnTermination),
  'block-device-mapping.device-name': (instance) => instance.volumes.map(({ device }) => device),
  'block-device-mapping.status': (instance) => instance.volumes.map(({ state }) => state),
  'block-device-mapping.volume-id': (instance) => instance.volumes.map(({ volumeId }) => volumeId),
};

/** Most of them of what no instance has, or all have alike. */
const constantFilters: Filters<FullInstance> = {
  affinity: nothing,
  'boot-mode': nothing,
  'capacity-reservation-id': nothing,
  'enclave-options.enabled': () => false,
  'hibernation-options.configured': () => false,
  'host-id': nothing,
  'iam-instance-profile.arn': nothing,
  'iam-instance-profile.id': nothing,
  'iam-instance-profile.name': nothing,
  'instance-lifecycle': nothing,
  'metadata-options.http-endpoint': (instance) => showMetadataOptions(instance).HttpEndpoint,
  'metadata-options.http-protocol-ipv6': (instance) => showMetadataOptions(instance).HttpProtocolIpv6,
  'metadata-options.http-put-response-hop-limit': (instance) => showMetadataOptions(instance).HttpPutResponseHopLimit,
  'metadata-options.http-tokens': (instance) => showMetadataOptions(instance).HttpTokens,
  'metadata-options.instance-metadata-tags': (instance) => showMetadataOptions(instance).InstanceMetadataTags,
  'metadata-options.state': (instance) => showMetadataOptions(instance).State,
  'monitoring-state': () => 'disabled',
  'outpost-arn': nothing,
  'placement-group-name': nothing,
  'platform-details': () => 'Linux/UNIX',
  platform: nothing,
  'product-code': nothing,
  'requester-id': nothing,
  'root-device-type': () => 'ebs',
  'source-dest-check': (instance) => (instance.place === undefined ? undefined : true),
  'spot-instance-request-id': nothing,
  tenancy: () => 'default',
  'usage-operation': () => 'RunInstances',
};

export const instanceFilters = (dnsDomain: string): Filters<FullInstance> => ({
  architecture: (instance) => instance.architecture,
  'availability-zone': (instance) => instance.zone,
  ...constantFilters,
  ...deviceFilters,
  'client-token': (instance) => instance.reservation.clientToken,
  'dns-name': publicName,
  'group-id': groupIds,
  'group-name': groupNames,
  'image-id': (instance) => instance.imageId,
  'instance-id': (instance) => instance.id,
  'instance-state-code': (instance) => showState(instance.state).Code,
  'instance-state-name': (instance) => instance.state,
  'instance-type': (instance) => instance.instanceType,
  'instance.group-id': groupIds,
  'instance.group-name': groupNames,
  'ip-address': reachableAddress,
  'kernel-id': (instance) => instance.kernelId,
  'key-name': (instance) => instance.keyName,
  'launch-index': (instance) => instance.launchIndex,
  'launch-time': (instance) => instance.launchedAt,
  'network-interface.addresses.primary': (instance) => (instance.place === undefined ? undefined : true),
  'network-interface.addresses.private-ip-address': (instance) => instance.address,
  'network-interface.attachment.attachment-id': (instance) => attachmentIdOf(instance),
  'network-interface.attachment.delete-on-termination': (instance) => (instance.place === undefined ? undefined : true),
  'network-interface.attachment.device-index': (instance) => (instance.place === undefined ? undefined : 0),
  'network-interface.attachment.instance-id': (instance) => (instance.place === undefined ? undefined : instance.id),
  'network-interface.attachment.status': attachmentStatusOf,
  'network-interface.availability-zone': (instance) => instance.zone,
  'network-interface.group-id': groupIds,
  'network-interface.group-name': groupNames,
  'network-interface.mac-address': (instance) => (instance.place === undefined ? undefined : instance.mac),
  'network-interface.network-interface-id': (instance) => interfaceIdOf(instance),
  'network-interface.owner-id': (instance) => instance.projectId,
  'network-interface.private-dns-name': (instance) => privateName(instance, dnsDomain),
  'network-interface.status': (instance) => (instance.place === undefined ? undefined : 'in-use'),
  'network-interface.subnet-id': (instance) => instance.place?.subnetId,
  'network-interface.vpc-id': (instance) => instance.place?.vpcId,
  'owner-id': (instance) => instance.projectId,
  'private-dns-name': (instance) => privateName(instance, dnsDomain),
  'ipv6-address': (instance) => instance.ipv6Address,
  'private-ip-address': (instance) => instance.address,
  'ramdisk-id': (instance) => instance.ramdiskId,
  reason: (instance) => transitionReason(instance),
  'reservation-id': (instance) => instance.reservation.id,
  'root-device-name': (instance) => instance.rootDeviceName,
  'state-reason-code': (instance) => showStateReason(instance)?.Code,
  'state-reason-message': (instance) => showStateReason(instance)?.Message,
  'subnet-id': (instance) => instance.place?.subnetId,
  'virtualization-type': (instance) => instance.virtualizationType,
  'vpc-id': (instance) => instance.place?.vpcId,
});

export const instanceForm = { pattern: idForm('i'), code: 'InvalidInstanceID.Malformed' } as const;

/** The order of the answer: by launch, then by place in it. */
export const launchOrder = (instance: FullInstance): string =>
  `${instance.reservation.createdAt.toISOString()} ${instance.reservation.id} ${String(instance.launchIndex).padStart(5, '0')} ${instance.id}`;
