// RunInstances: everything is checked, then the reservation, its instances and their operations are written at once, and the
// schedulers are told. What happens to an instance after that is seen in DescribeInstances.
import { findVisibleImage, type ImageRow } from '../../../db/images.ts';
import { loadInstances } from '../../../db/instances.ts';
import { findKeyPair } from '../../../db/key-pairs.ts';
import { findByToken, findInstanceType, launchInstances, zoneHasHosts, type InstanceType, type LaunchResult,
  type NewInstance } from '../../../db/reservations.ts';
import { hostIsInZone } from '../../../db/zones.ts';
import { newId } from '../../../lib/ids.ts';
import { action, fail, type Call, type OutputOf } from '../action.ts';
import { launchDisks, type LaunchDisks } from '../block-devices.ts';
import { checkForm } from '../describe.ts';
import { groupIdsOf } from '../instance-groups.ts';
import { failOverLaunchQuota } from '../launch-quota.ts';
import { launchNetwork, networkAsked } from '../launch-network.ts';
import { imageNotFound, visibleImage, imageForm } from '../image-access.ts';
import {
  checkClientToken, checkCounts, checkShutdownBehavior, checkUserData, launchTags, refuseUnsupported, requestDigest, type LaunchInput,
} from '../launch-request.ts';
import { admitWork } from '../notify.ts';
import { showReservation } from '../show-instance.ts';
import { readMetadataOptions } from '../metadata-options.ts';
import { requireRelease } from '../upgrading.ts';
import { failOverQuota, quotaOf, volumeTimeoutMs } from '../volume-request.ts';

export const launchTimeoutMs = 10 * 60_000;
const typeDefault = 'm1.small';

export const runInstances = action({
  name: 'RunInstances',
  doc: 'Launches instances of an image: MinCount at least, MaxCount at most. Repeating it with the same ClientToken launches nothing again.',
  roles: ['projectmanager', 'sysadmin'],
  errors: [
    'AttachmentLimitExceeded', 'IdempotentParameterMismatch', 'IncorrectState', 'InstanceLimitExceeded', 'InvalidAMIID.Malformed', 'InvalidAMIID.NotFound',
    'InvalidAMIID.Unavailable',
    'InvalidBlockDeviceMapping', 'InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'InvalidIPAddress.InUse', 'InvalidKeyPair.NotFound',
    'InvalidNetworkInterfaceID.NotFound', 'InvalidParameter', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidSnapshot.NotFound',
    'InvalidSnapshotID.Malformed', 'InvalidSubnetID.NotFound', 'InvalidSubnetId.Malformed', 'InvalidUserData.Malformed', 'MissingParameter',
    'ResourceLimitExceeded', 'TagLimitExceeded', 'UnknownVolumeType', 'UnsupportedOperation', 'VcpuLimitExceeded', 'VolumeLimitExceeded', 'VpcLimitExceeded',
  ],
  async handle(call, input) {
    const { projectId, userId } = call.principal;
    const reservation = {
      id: newId('r'), projectId, userId, clientToken: checkClientToken(input.ClientToken), requestDigest: requestDigest(input), createdAt: call.clock.date(),
    };
    const earlier = await findByToken(call.db, reservation);
    if (earlier !== undefined) return answer(call, earlier);
    admitWork(call, 'scheduler');
    refuseUnsupported(input);
    const counts = checkCounts(input);
    const tags = launchTags(input);
    const asked = networkAsked(input);
    const { place, wish, subnetId, hasPublicAddress, networkId, zone: zoneOfSubnet } = await launchNetwork(call, asked, counts.countMax);
    const { zone, host } = await placementOf(call, input.Placement?.AvailabilityZone, zoneOfSubnet);
    const wishedAddress = wish?.address ?? null;
    const { row, disks } = await instanceOf(call, input, reservation);
    if (disks.volumes.length > 0) await Promise.all((['scheduler', 'compute'] as const).map((role) => requireRelease(call, role, '0.3.0')));
    const instance = { ...row, zone, subnetId, networkId, hasPublicAddress, wishedAddress };
    const groupIds = await groupIdsOf(call, asked.groups, place);
    const result = await launchInstances(call.db, {
      reservation,
      instance,
      groupIds,
      wish,
      tags: tags.instance,
      interfaceTags: tags.interface,
      disks: { volumes: disks.volumes, tags: tags.volume, quota: quotaOf(call), deadline: new Date(call.clock.now() + volumeTimeoutMs) },
      ...counts,
      quota: { instances: call.instancesPerProjectMax, cores: call.coresPerProjectMax, memoryMiB: call.memoryMiBPerProjectMax },
      newInstanceId: () => newId('i'),
      operation: {
        kind: 'instance.run', projectId, userId, requestId: call.requestId, owner: 'scheduler', deadline: new Date(call.clock.now() + launchTimeoutMs),
        ...(host === undefined ? {} : { input: { host } }),
      },
    });
    return answer(call, result);
  },
});

async function answer(call: Call, result: LaunchResult): Promise<OutputOf<'RunInstances'>> {
  if (result.outcome === 'mismatch') return fail('IdempotentParameterMismatch',
    'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).');
  if (result.outcome === 'networkGone') return fail('InvalidSubnetID.NotFound', 'The subnet of the request was deleted meanwhile');
  if (result.outcome === 'groupGone') return fail('InvalidGroup.NotFound', 'A security group of the request was deleted meanwhile');
  if (result.outcome === 'addressTaken') return fail('InvalidIPAddress.InUse', `Address ${result.address} is in use.`);
  if (result.outcome === 'overQuota') return failOverLaunchQuota(result);
  if (result.outcome === 'overVolumeQuota') return failOverQuota(result.of);
  if (result.outcome === 'snapshotGone') return fail('InvalidSnapshot.NotFound', 'A snapshot of the request was deleted meanwhile');
  if (result.outcome === 'launched') call.relay.kick();
  const launched = await loadInstances(call.db, call.principal.projectId, { reservationId: result.reservationId });
  return showReservation(call, launched);
}

/** Without where it is to be. */
type Unplaced = Omit<NewInstance, 'zone' | 'subnetId' | 'networkId' | 'hasPublicAddress' | 'wishedAddress'>;

/** The row that all instances of the launch have in common. */
async function instanceOf(
  call: Call, input: LaunchInput, reservation: { id: string; createdAt: Date },
): Promise<{ row: Unplaced; disks: LaunchDisks }> {
  const image = await bootableImage(call, input.ImageId);
  const type = await typeOf(call, input.InstanceType);
  const key = await publicKeyOf(call, input.KeyName);
  const virtualGiB = Math.ceil((image.virtualSizeBytes ?? 0) / 2 ** 30);
  const disks = await launchDisks(call, input.BlockDeviceMappings, { ...image, virtualGiB });
  const row: Unplaced = {
    reservationId: reservation.id,
    projectId: call.principal.projectId,
    userId: call.principal.userId,
    imageId: image.id,
    ...(await bootOf(call, input, image)),
    instanceType: type.name,
    cores: type.cores,
    memoryMiB: type.memoryMiB,
    // A root disk that is a volume takes no room of the compute host.
    rootGiB: disks.bootsFromVolume ? 0 : (disks.rootGiB ?? rootGiBOf(type, virtualGiB)),
    bootsFromVolume: disks.bootsFromVolume,
    architecture: image.architecture,
    rootDeviceName: image.rootDeviceName,
    ...key,
    userData: checkUserData(input.UserData) ?? null,
    disableApiTermination: input.DisableApiTermination ?? false,
    shutdownBehavior: checkShutdownBehavior(input.InstanceInitiatedShutdownBehavior),
    ...(await readMetadataOptions(call, input.MetadataOptions)),
    state: 'pending',
    stateChangedAt: reservation.createdAt,
    stateDeadline: new Date(reservation.createdAt.getTime() + launchTimeoutMs),
    launchedAt: reservation.createdAt,
  };
  return { row, disks };
}

/** A disk never gets smaller than its image. 0 stays: as large as the image. */
const rootGiBOf = (type: InstanceType, virtualGiB: number): number => (type.rootGiB === 0 ? 0 : Math.max(type.rootGiB, virtualGiB));

async function bootableImage(call: Call, id: string | undefined): Promise<ImageRow> {
  if (id === undefined || id === '') return fail('MissingParameter', 'The request must contain the parameter ImageId');
  const image = await visibleImage(call, id);
  if (image.type !== 'machine') return fail('InvalidParameterValue', `The image ${id} is a ${image.type} and cannot be launched`);
  checkAvailable(image);
  return image;
}

function checkAvailable(image: ImageRow): void {
  if (image.state !== 'available') fail('InvalidAMIID.Unavailable', `The image ID '${image.id}' is not available: its state is ${image.state}`);
}

const chosen = (asked: string | undefined, own: string | null): string | null => (asked === undefined || asked === '' ? own : asked);

/** Kernel and ramdisk of the request, else of the image. Nova's `nokernel` boots the disk itself. */
async function bootOf(call: Call, input: LaunchInput, image: ImageRow): Promise<{ kernelId: string | null; ramdiskId: string | null }> {
  const kernelId = chosen(input.KernelId, image.kernelId);
  if (kernelId === null || kernelId === 'nokernel') {
    if (input.RamdiskId !== undefined && input.RamdiskId !== '') fail('InvalidParameterCombination',
      'A ramdisk needs a kernel: the image has none, and the request names none.');
    return { kernelId: null, ramdiskId: null };
  }
  await checkCompanion(call, kernelId, { image, type: 'kernel' });
  const ramdiskId = chosen(input.RamdiskId, image.ramdiskId);
  if (ramdiskId !== null) await checkCompanion(call, ramdiskId, { image, type: 'ramdisk' });
  return { kernelId, ramdiskId };
}

/** What the image's owner built it with needs no permission of its own, as long as the owner may use it. */
async function checkCompanion(call: Call, id: string, expected: { image: ImageRow; type: 'kernel' | 'ramdisk' }): Promise<void> {
  checkForm(id, imageForm);
  const { image, type } = expected;
  const isOwn = id === image.kernelId || id === image.ramdiskId;
  const companion = isOwn ? await findVisibleImage(call.db, image.projectId, id) : await visibleImage(call, id);
  if (companion === undefined) return fail(imageNotFound.code, imageNotFound.message([id]));
  if (companion.type !== type) fail('InvalidParameterValue', `The image ${id} is not a ${type} image`);
  checkAvailable(companion);
}

async function typeOf(call: Call, name: string | undefined): Promise<InstanceType> {
  const wanted = name === undefined || name === '' ? typeDefault : name;
  return (await findInstanceType(call.db, wanted)) ?? fail('InvalidParameterValue', `Invalid value '${wanted.slice(0, 60)}' for InstanceType.`);
}

async function publicKeyOf(call: Call, name: string | undefined): Promise<{ keyName: string | null; publicKey: string | null }> {
  if (name === undefined || name === '') return { keyName: null, publicKey: null };
  const key = await findKeyPair(call.db, call.principal.projectId, name);
  if (key === undefined) return fail('InvalidKeyPair.NotFound', `The key pair '${name.slice(0, 255)}' does not exist`);
  return { keyName: key.name, publicKey: key.publicKey };
}

/** A zone; of administrators also `zone:host`, as in Nova. A subnet beside the default one has a zone of its own, which must not be contradicted. */
async function placementOf(call: Call, asked: string | undefined, zoneOfSubnet: string | undefined): Promise<{ zone: string; host?: string }> {
  const placement = await zoneAsked(call, asked ?? '', zoneOfSubnet ?? call.zone);
  if (zoneOfSubnet === undefined || placement.zone === zoneOfSubnet) return placement;
  return fail('InvalidParameterValue', `The availability zone '${placement.zone}' is not that of the subnet, which is in '${zoneOfSubnet}'.`);
}

async function zoneAsked(call: Call, asked: string, standard: string): Promise<{ zone: string; host?: string }> {
  if (asked === '') return { zone: standard };
  if (asked === call.zone) return { zone: call.zone };
  const invalid = (): never => fail('InvalidParameterValue', `Invalid availability zone: [${asked.slice(0, 60)}]`);
  const colon = asked.indexOf(':');
  if (colon >= 0 && call.principal.isAdmin) {
    const [zone, host] = [asked.slice(0, colon) || call.zone, asked.slice(colon + 1)];
    return (await hostIsInZone(call.db, host, zone)) ? { zone, host } : invalid();
  }
  return (await zoneHasHosts(call.db, asked)) ? { zone: asked } : invalid();
}
