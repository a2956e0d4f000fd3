// Copies of images that others share, or of one's own.
import { copyImage, findByImageToken, type ImageCopied } from '../../../db/copied-images.ts';
import type { ImageRow } from '../../../db/images.ts';
import { visibleSnapshots, type SnapshotCopy } from '../../../db/snapshots.ts';
import { tagsOf, type TagText } from '../../../db/tags.ts';
import { newId } from '../../../lib/ids.ts';
import { action, fail, type Call, type InputOf } from '../action.ts';
import { visibleImage } from '../image-access.ts';
import { checkDescription, checkName, emptyRow } from '../image-request.ts';
import { checkClientToken, requestDigest } from '../launch-request.ts';
import { admitWork } from '../notify.ts';
import { tagsFor } from '../tag-specifications.ts';
import { requireRelease } from '../upgrading.ts';
import { refuseEncryption } from '../volume-request.ts';

const copyTimeoutMs = 30 * 60_000;
/** AWS's: a time within which the snapshots are to be copied. Here they are at once. */
const completionMinutes = { min: 15, max: 2_880 };

export const copyImageAction = action({
  name: 'CopyImage',
  doc: 'A private image of one\'s own, with the content of an image that one may launch; its snapshots, which one must be permitted to use, are copied with '
    + 'it. Neither depends on the source any more. There is one region. Repeating it with the same ClientToken makes nothing again.',
  roles: ['projectmanager', 'sysadmin'],
  errors: [
    'IdempotentParameterMismatch', 'InvalidAMIID.Malformed', 'InvalidAMIID.NotFound', 'InvalidAMIID.Unavailable', 'InvalidAMIName.Duplicate',
    'InvalidAMIName.Malformed', 'InvalidParameterValue', 'InvalidRequest', 'InvalidSnapshot.NotFound', 'MissingParameter', 'ResourceLimitExceeded',
    'ServiceUnavailable', 'SnapshotLimitExceeded', 'TagLimitExceeded', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    checkPlaces(call, input);
    const name = checkName(input.Name ?? '');
    const description = checkDescription(input.Description);
    const { projectId, userId } = call.principal;
    const token = { projectId, clientToken: checkClientToken(input.ClientToken), requestDigest: requestDigest(input) };
    const earlier = await findByImageToken(call.db, token);
    if (earlier !== undefined) return answer(earlier, '', name);
    const given = { image: tagsFor(input.TagSpecifications, 'image', ['snapshot']), snapshot: tagsFor(input.TagSpecifications, 'snapshot', ['image']) };
    const source = await visibleImage(call, input.SourceImageId ?? '');
    if (source.state !== 'available') return call.fail('InvalidAMIID.Unavailable', `The image ID '${source.id}' is not available`);
    await requireRelease(call, 'objectstore', '0.3.0');
    admitWork(call, 'objectstore');
    const { architecture, rootDeviceName, virtualizationType, kernelId, ramdiskId } = source;
    const { devices, copies } = await copiedDevices(call, source);
    const row = {
      ...emptyRow(call, source.type), ...token, architecture, rootDeviceName, virtualizationType, kernelId, ramdiskId, devices, name, description,
      location: `${projectId}/${name}`, sourceImageId: source.id,
    };
    const deadline = new Date(call.clock.now() + copyTimeoutMs);
    const made = await copyImage(call.db, {
      row, tags: input.CopyImageTags === true ? await withTagsOf(call, source.id, given.image) : given.image, quota: call.imagesPerProjectMax,
      snapshots: copies.map((copy) => ({
        ...copy, projectId, userId, tags: given.snapshot, quota: call.snapshotsPerProjectMax,
        description: `Copied for DestinationAmi ${row.id} from SourceAmi ${source.id} for SourceSnapshot ${copy.sourceId}.`,
      })),
      operation: {
        kind: 'image.copy', resourceId: row.id, projectId, userId, requestId: call.requestId, owner: 'objectstore', deadline,
        input: { sourceImageId: source.id, snapshotIds: copies.map(({ id }) => id) },
      },
    }, call.clock.date());
    if (made.outcome === 'inserted') call.relay.kick();
    return answer(made, row.id, name);
  },
});

function checkPlaces(call: Call, input: InputOf<'CopyImage'>): void {
  for (const name of ['SourceImageId', 'SourceRegion', 'Name'] as const) {
    if ((input[name] ?? '') === '') fail('MissingParameter', `The request must contain the parameter ${name}`);
  }
  if (input.SourceRegion !== call.region) fail('InvalidParameterValue', `Invalid source region: '${(input.SourceRegion ?? '').slice(0, 60)}'`);
  refuseEncryption(input);
  const elsewhere = [input.DestinationOutpostArn, input.DestinationAvailabilityZone, input.DestinationAvailabilityZoneId];
  if (elsewhere.some((place) => (place ?? '') !== '')) fail('UnsupportedOperation', 'Outposts and local zones are not supported.');
  const minutes = input.SnapshotCopyCompletionDurationMinutes;
  if (minutes !== undefined && (minutes < completionMinutes.min || minutes > completionMinutes.max || minutes % completionMinutes.min !== 0)) {
    fail('InvalidParameterValue', `Value (${minutes}) for parameter snapshotCopyCompletionDurationMinutes is invalid. `
      + `It must be a multiple of ${completionMinutes.min} up to ${completionMinutes.max}.`);
  }
}

interface CopiedDevices {
  readonly devices: ImageRow['devices'];
  readonly copies: readonly Pick<SnapshotCopy, 'id' | 'sourceId'>[];
}

/** Who may launch an image need not be permitted to use its snapshots; who copies it must. */
async function copiedDevices(call: Call, source: ImageRow): Promise<CopiedDevices> {
  const wanted = [...new Set(source.devices.flatMap(({ snapshotId }) => snapshotId ?? []))];
  const usable = wanted.length === 0 ? [] : await visibleSnapshots(call.db, call.principal.projectId, wanted);
  if (usable.length < wanted.length) fail('InvalidRequest', 'You do not have permission to access the storage of this ami');
  const ids = new Map(wanted.map((sourceId) => [sourceId, newId('snap')]));
  return {
    devices: source.devices.map((device) => {
      const snapshotId = ids.get(device.snapshotId ?? '');
      return snapshotId === undefined ? device : { ...device, snapshotId };
    }),
    copies: [...ids].map(([sourceId, id]) => ({ sourceId, id })),
  };
}

/** The caller's own tags of the source: what others hang on it, nobody sees. Those of the request go before them. */
async function withTagsOf(call: Call, sourceId: string, given: readonly TagText[]): Promise<TagText[]> {
  const own = (await tagsOf(call.db, call.principal.projectId, [sourceId])).get(sourceId) ?? [];
  const all = [...new Map([...own, ...given].map((tag) => [tag.Key, tag])).values()];
  return tagsFor([{ ResourceType: 'image', Tags: all }], 'image');
}

function answer(made: ImageCopied, imageId: string, name: string): { ImageId: string } {
  switch (made.outcome) {
    case 'inserted': return { ImageId: imageId };
    case 'repeated': return { ImageId: made.imageId };
    case 'mismatch': return fail('IdempotentParameterMismatch',
      'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).');
    case 'duplicate': return fail('InvalidAMIName.Duplicate', `AMI name ${name} is already in use by AMI ${made.usedBy}`);
    case 'overQuota': return made.of === 'images'
      ? fail('ResourceLimitExceeded', `You have reached the maximum number of images (${made.limit}).`)
      : fail('SnapshotLimitExceeded', `You have reached your maximum of ${made.limit} snapshots.`);
    case 'snapshotGone': return fail('InvalidSnapshot.NotFound', 'A snapshot of the source image was deleted meanwhile');
    case 'sourceGone': return fail('InvalidAMIID.NotFound', 'The source image was deregistered meanwhile');
  }
}
