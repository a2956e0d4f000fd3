// Images: registered from an object of the objectstore or a snapshot, seen, launched by others, and given up. A kernel is registered with
// KernelId=true and a ramdisk with RamdiskId=true, as Nova and Eucalyptus had it.
import {
  deregisteredSince, deregisterImage, findVisibleImage, imagesById, insertImage, launchPermissionsOf, visibleImages, type ImageInsertion, type ImageRow,
  type NewImage,
} from '../../../db/images.ts';
import { tagsOf, type TagText } from '../../../db/tags.ts';
import { groupBy } from '../../../lib/group-by.ts';
import { mayReadObject } from '../../s3/access.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { imageDevices } from '../block-devices.ts';
import { bundleAt, isManifest, type ObjectPlace } from '../bundles.ts';
import { checkForm, describe } from '../describe.ts';
import { imageForm, imageNotFound, ownedImage } from '../image-access.ts';
import { checkDescription, checkName, emptyRow } from '../image-request.ts';
import { admitWork } from '../notify.ts';
import { tagsFor } from '../tag-specifications.ts';
import { deviceMappings, showImage } from '../show-image.ts';
import { copyImageAction } from './copy-image.ts';
import { createImageAction } from './create-image.ts';
import { imageAttributeActions } from './image-attributes.ts';
import { importActions } from './import-image.ts';

const changers = ['projectmanager', 'sysadmin'] as const;
const registerTimeoutMs = 30 * 60_000;
const goneShownMs = 3_600_000;
const rootDeviceNameDefault = '/dev/vda';
const architectures: ReadonlySet<string> = new Set(['i386', 'x86_64', 'arm64']);

interface FullImage extends ImageRow {
  readonly tags: readonly TagText[];
  /** Projects that were permitted to launch it, shown to nobody but used by ExecutableBy. */
  readonly permitted: readonly string[];
}

const filters: Filters<FullImage> = {
  architecture: (image) => image.architecture,
  'creation-date': (image) => image.createdAt,
  description: (image) => image.description,
  'image-id': (image) => image.id,
  'image-type': (image) => image.type,
  'is-public': (image) => image.isPublic,
  'kernel-id': (image) => image.kernelId,
  'manifest-location': (image) => image.location,
  name: (image) => image.name,
  'owner-alias': () => undefined,
  'owner-id': (image) => image.projectId,
  platform: () => undefined,
  'ramdisk-id': (image) => image.ramdiskId,
  'root-device-name': (image) => (image.type === 'machine' ? image.rootDeviceName : undefined),
  'root-device-type': (image) => (image.type === 'machine' ? 'ebs' : 'instance-store'),
  'source-image-id': (image) => image.sourceImageId,
  state: (image) => image.state,
  'state-reason-code': (image) => image.stateReasonCode,
  'state-reason-message': (image) => image.stateReason,
  'virtualization-type': (image) => image.virtualizationType,
  'block-device-mapping.device-name': (image) => deviceMappings(image).map(({ DeviceName }) => DeviceName),
  'block-device-mapping.delete-on-termination': (image) => deviceMappings(image).map(({ Ebs }) => Ebs?.DeleteOnTermination),
  'block-device-mapping.snapshot-id': (image) => deviceMappings(image).map(({ Ebs }) => Ebs?.SnapshotId),
  'block-device-mapping.volume-size': (image) => deviceMappings(image).map(({ Ebs }) => Ebs?.VolumeSize),
  'block-device-mapping.volume-type': (image) => deviceMappings(image).map(({ Ebs }) => Ebs?.VolumeType),
};

const register = action({
  name: 'RegisterImage',
  doc: 'Makes an image: of an object in a bucket (`ImageLocation=bucket/key`), whose content is copied so that the object may go; of a bundle, by its '
    + 'manifest (`bucket/name.manifest.xml`); or of a snapshot, mapped to the root device, of which each instance gets a volume to boot from. Further '
    + 'mappings are volumes that instances get beside it.',
  roles: changers,
  errors: [
    'IncorrectState', 'InvalidAMIID.Malformed', 'InvalidAMIID.NotFound', 'InvalidAMIID.Unavailable', 'InvalidAMIName.Duplicate', 'InvalidAMIName.Malformed',
    'InvalidBlockDeviceMapping', 'InvalidManifest', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidSnapshot.NotFound',
    'InvalidSnapshotID.Malformed', 'MissingParameter', 'ResourceLimitExceeded', 'TagLimitExceeded', 'Unavailable', 'UnknownVolumeType', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const location = input.ImageLocation?.replace(/^\/+/, '') ?? '';
    const hasContent = location !== '';
    if (!hasContent && (input.BlockDeviceMappings?.length ?? 0) === 0) {
      return call.fail('MissingParameter', 'The request must contain the parameter ImageLocation');
    }
    if (input.BootMode === 'uefi') return call.fail('UnsupportedOperation', 'Instances boot by BIOS: BootMode=uefi is not supported.');
    const tags = tagsFor(input.TagSpecifications, 'image');
    const name = input.Name === undefined || input.Name === '' ? undefined : checkName(input.Name);
    if (name === undefined && !hasContent) return call.fail('MissingParameter', 'The request must contain the parameter Name');
    const manifest = isManifest(location) ? await readableObject(call, location) : undefined;
    const given = manifest === undefined ? input : await bundleAt(call, manifest, input);
    const type = given.KernelId === 'true' ? 'kernel' : given.RamdiskId === 'true' ? 'ramdisk' : 'machine';
    const properties = await propertiesOf(call, given, type);
    const devices = await imageDevices(call, input.BlockDeviceMappings, { rootDeviceName: properties.rootDeviceName, hasContent });
    if (type !== 'machine' && devices.length > 0) return call.fail('InvalidParameterCombination', `An image of a ${type} has no devices.`);
    const row = { ...emptyRow(call, type), ...properties, devices, location, name: name ?? nameOf(location) };
    const at = manifest ?? (hasContent ? await readableObject(call, location) : undefined);
    const result = at !== undefined ? await registerObject(call, row, { at, tags, mayRename: name === undefined }) : await insertImage(call.db, {
      row: { ...row, state: 'available', location: `${row.projectId}/${row.name}` }, tags, mayRename: false, operation: null, quota: call.imagesPerProjectMax,
    });
    if (result.outcome === 'duplicate') return call.fail('InvalidAMIName.Duplicate', `AMI name ${row.name} is already in use by AMI ${result.usedBy}`);
    if (result.outcome === 'overQuota') return call.fail('ResourceLimitExceeded', `You have reached the maximum number of images (${result.limit}).`);
    if (result.outcome === 'snapshotGone') return call.fail('InvalidSnapshot.NotFound', 'A snapshot of the request was deleted meanwhile');
    call.relay.kick();
    return { ImageId: row.id };
  },
});

async function registerObject(
  call: Call, row: ImageRow, { at, tags, mayRename }: Pick<NewImage, 'tags' | 'mayRename'> & { readonly at: ObjectPlace },
): Promise<ImageInsertion> {
  admitWork(call, 'objectstore');
  const { projectId, userId } = call.principal;
  const operation = {
    kind: isManifest(at.key) ? 'image.unbundle' : 'image.register', resourceId: row.id, projectId, userId, requestId: call.requestId,
    input: { ...at }, owner: 'objectstore',
    deadline: new Date(call.clock.now() + registerTimeoutMs),
  };
  return insertImage(call.db, { row, tags, mayRename, operation, quota: call.imagesPerProjectMax });
}

const deregister = action({
  name: 'DeregisterImage',
  doc: 'Gives an image up: nothing is launched from it any more. Instances that stand on it go on.',
  roles: changers,
  errors: ['AuthFailure', 'InvalidAMIID.Malformed', 'InvalidAMIID.NotFound', 'InvalidAMIID.Unavailable'],
  async handle(call, input) {
    const image = await ownedImage(call, input.ImageId ?? '');
    const { principal } = call;
    const operationId = await deregisterImage(call.db, image.id, {
      kind: 'image.deregister', resourceId: image.id, projectId: principal.projectId, userId: principal.userId, requestId: call.requestId,
      owner: 'objectstore', deadline: new Date(call.clock.now() + registerTimeoutMs),
    }, call.clock.date());
    if (operationId === undefined) return call.fail('InvalidAMIID.Unavailable', `The image ID '${image.id}' is no longer available`);
    call.relay.kick();
    return { Return: true };
  },
});

const describeImages = action({
  name: 'DescribeImages',
  doc: 'Images that the project may launch: its own, public ones and those it was permitted. For an hour after its end, the id of one of its own is no '
    + 'error, and shows nothing.',
  roles: 'anyMember',
  errors: ['InvalidAMIID.Malformed', 'InvalidAMIID.NotFound', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue',
    'InvalidUserID.Malformed'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const loaded = await loadImages(call, input.ImageIds);
    const page = describe<FullImage>({
      input,
      // Ids that exist are no error, though the owner asked for is another.
      items: loaded,
      id: (image) => image.id,
      ids: { values: input.ImageIds, form: imageForm, notFound: imageNotFound, gone: await goneLately(call, loaded, input.ImageIds) },
      filters: { ...filters },
      tags: (image) => image.tags,
    });
    const owns = ownerTest(call, input.Owners);
    const runs = executableTest(call, input.ExecutableUsers);
    const chosen = page.items.filter((image) => owns(image) && runs(image));
    const shown = describe<FullImage>({
      input: { MaxResults: input.MaxResults, NextToken: input.NextToken },
      items: chosen,
      id: (image) => image.id,
      page: { min: 1, max: 1000 },
    });
    return { Images: shown.items.map((image) => showImage(image, image.tags, call.region)), NextToken: shown.NextToken };
  },
});

export const imageActions = [register, copyImageAction, createImageAction, deregister, describeImages, ...imageAttributeActions, ...importActions] as const;

async function loadImages(call: Call, ids: readonly string[] | undefined): Promise<FullImage[]> {
  const { projectId, isSuperuser } = call.principal;
  for (const id of ids ?? []) checkForm(id, imageForm);
  // A superuser sees foreign private images when he names them, but they do not get between his own.
  const rows = isSuperuser && ids !== undefined && ids.length > 0 ? await imagesById(call.db, ids) : await visibleImages(call.db, projectId);
  const known = rows.map((row) => row.id);
  const tags = await tagsOf(call.db, projectId, known);
  const permissions = groupBy(await launchPermissionsOf(call.db, known), (permission) => permission.imageId);
  return rows.map((row) => ({ ...row, tags: tags.get(row.id) ?? [], permitted: (permissions.get(row.id) ?? []).map((permission) => permission.projectId) }));
}

/** Clients wait for the end of an image until nothing is shown any more (Ansible's ec2_ami), which AWS says before it says that there is no such id. */
async function goneLately(call: Call, loaded: readonly FullImage[], ids: readonly string[] = []): Promise<readonly string[]> {
  const known = new Set(loaded.map((image) => image.id));
  const missing = ids.filter((id) => !known.has(id));
  if (missing.length === 0) return [];
  return deregisteredSince(call.db, { projectId: call.principal.projectId, ids: missing, since: new Date(call.clock.now() - goneShownMs) });
}

function ownerTest(call: Call, owners: readonly string[] | undefined): (image: FullImage) => boolean {
  if (owners === undefined || owners.length === 0) return () => true;
  const wanted = new Set(owners.map((owner) => (owner === 'self' ? call.principal.projectId : owner)));
  for (const owner of wanted) if (!/^[\w-]{1,64}$/.test(owner)) fail('InvalidUserID.Malformed', `Invalid user id: "${owner.slice(0, 64)}"`);
  return (image) => wanted.has(image.projectId);
}

/** `self`: permitted to me by name. `all`: public. An id: permitted to it by name, which only the owner learns. */
function executableTest(call: Call, users: readonly string[] | undefined): (image: FullImage) => boolean {
  if (users === undefined || users.length === 0) return () => true;
  const { projectId } = call.principal;
  return (image) => users.some((user) => {
    if (user === 'all') return image.isPublic;
    const wanted = user === 'self' ? projectId : user;
    return (wanted === projectId || image.projectId === projectId) && image.permitted.includes(wanted);
  });
}

interface GivenProperties {
  readonly Description?: string | undefined;
  readonly Architecture?: string | undefined;
  readonly VirtualizationType?: string | undefined;
  readonly RootDeviceName?: string | undefined;
  readonly KernelId?: string | undefined;
  readonly RamdiskId?: string | undefined;
}

async function propertiesOf(call: Call, input: GivenProperties, type: ImageRow['type']) {
  const { Description = '', Architecture = 'x86_64', VirtualizationType = 'hvm', RootDeviceName = rootDeviceNameDefault } = input;
  if (!architectures.has(Architecture)) fail('InvalidParameterValue', `Value (${Architecture.slice(0, 60)}) for parameter architecture is invalid.`);
  if (VirtualizationType !== 'hvm' && VirtualizationType !== 'paravirtual') {
    fail('InvalidParameterValue', `Value (${VirtualizationType.slice(0, 60)}) for parameter virtualizationType is invalid. Valid values: hvm, paravirtual.`);
  }
  if (!/^\/dev\/[a-z0-9]{1,26}$/.test(RootDeviceName)) fail('InvalidParameterValue',
    `Value (${RootDeviceName.slice(0, 60)}) for parameter rootDeviceName is invalid.`);
  const isMachine = type === 'machine';
  return {
    description: checkDescription(Description),
    architecture: Architecture,
    virtualizationType: VirtualizationType,
    rootDeviceName: RootDeviceName,
    kernelId: isMachine ? await companionOf(call, input.KernelId, 'kernel') : null,
    ramdiskId: isMachine ? await companionOf(call, input.RamdiskId, 'ramdisk') : null,
  };
}

/** The kernel or ramdisk that a machine image is to boot with. Nova's word `nokernel` says that there is none. */
async function companionOf(call: Call, id: string | undefined, type: 'kernel' | 'ramdisk'): Promise<string | null> {
  if (id === undefined || id === '' || id === 'nokernel') return null;
  checkForm(id, imageForm);
  const image = await findVisibleImage(call.db, call.principal.projectId, id);
  if (image === undefined) return fail(imageNotFound.code, imageNotFound.message([id]));
  if (image.type !== type) fail('InvalidParameterValue', `The image ${id} is not a ${type} image`);
  return id;
}

async function readableObject(call: Call, location: string): Promise<ObjectPlace> {
  const slash = location.indexOf('/');
  const at = { bucket: location.slice(0, Math.max(0, slash)), key: location.slice(slash + 1) };
  if (at.bucket === '' || at.key === '') fail('InvalidManifest', `The image location '${location.slice(0, 255)}' is not of the form bucket/key.`);
  // Missing and forbidden look the same, so that nobody learns what foreign buckets hold.
  if (!(await mayReadObject(call, at))) {
    fail('InvalidManifest', `HTTP 404 (Not Found) response for '${location.slice(0, 255)}': check that the object exists and that your project may read it.`);
  }
  return at;
}

/** A name of the location, for clients that give none. */
const nameOf = (location: string): string => location.replaceAll(/[^\w ()[\]./'@-]/g, '-').slice(0, 128).padEnd(3, '-');
