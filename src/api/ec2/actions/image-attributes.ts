// What can be seen and changed of one image: who may launch it, and its description.
import { changeImage, existingProjects, launchPermissionsOf, type ImageChange } from '../../../db/images.ts';
import type { ImageRow } from '../../../db/images.ts';
import { action, fail, type Call } from '../action.ts';
import { ownedImage } from '../image-access.ts';
import { checkDescription } from '../image-request.ts';
import { deviceMappings } from '../show-image.ts';

const changers = ['projectmanager', 'sysadmin'] as const;
const permissionsMax = 500;

const describeAttribute = action({
  name: 'DescribeImageAttribute',
  doc: 'One attribute of an image of the project.',
  roles: 'anyMember',
  errors: ['AuthFailure', 'InvalidAMIID.Malformed', 'InvalidAMIID.NotFound', 'InvalidParameterValue', 'MissingParameter'],
  async handle(call, input) {
    const attribute = attributeOf(input);
    const image = await ownedImage(call, input.ImageId ?? '');
    const ImageId = image.id;
    switch (attribute) {
      case 'launchPermission': {
        const permissions = await launchPermissionsOf(call.db, [image.id]);
        const users = permissions.map((permission) => ({ UserId: permission.projectId }));
        return { ImageId, LaunchPermissions: image.isPublic ? [{ Group: 'all' as const }, ...users] : users };
      }
      case 'description': return { ImageId, Description: { Value: image.description } };
      case 'kernel': return { ImageId, KernelId: { Value: image.kernelId ?? undefined } };
      case 'ramdisk': return { ImageId, RamdiskId: { Value: image.ramdiskId ?? undefined } };
      case 'blockDeviceMapping': return { ImageId, BlockDeviceMappings: deviceMappings(image) };
      case 'productCodes': return { ImageId, ProductCodes: [] };
      // No image has any of these.
      case 'sriovNetSupport': case 'bootMode': case 'tpmSupport': case 'uefiData': case 'imdsSupport': return { ImageId };
      case 'deregistrationProtection': return { ImageId, DeregistrationProtection: { Value: 'disabled' } };
      default: return call.fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid. Unknown attribute.`);
    }
  },
});

const modifyAttribute = action({
  name: 'ModifyImageAttribute',
  doc: 'Lets projects, or all, launch an image, or takes that back; changes its description.',
  roles: changers,
  errors: [
    'AuthFailure', 'InvalidAMIAttributeItemValue', 'InvalidAMIID.Malformed', 'InvalidAMIID.NotFound', 'InvalidAMIID.Unavailable',
    'InvalidParameterCombination', 'InvalidParameterValue', 'MissingParameter', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const image = await ownedImage(call, input.ImageId ?? '');
    if ((input.ProductCodes?.length ?? 0) > 0 || (input.OrganizationArns?.length ?? 0) > 0 || (input.OrganizationalUnitArns?.length ?? 0) > 0) {
      return call.fail('UnsupportedOperation', 'Product codes and organizations are not supported.');
    }
    if (input.ImdsSupport !== undefined) return call.fail('UnsupportedOperation', 'The attribute imdsSupport is not supported.');
    checkAttribute(input.Attribute);
    const description = input.Description?.Value ?? (input.Attribute === 'description' ? input.Value : undefined);
    const permission = permissionChange(input);
    if (permission === undefined && description === undefined) return call.fail('MissingParameter', 'No attributes specified.');
    if (description !== undefined) checkDescription(description);
    if (permission !== undefined && description !== undefined) {
      return call.fail('InvalidParameterCombination', 'Fields for multiple attribute types specified: description, launchPermission');
    }
    requireAvailable(image);
    await checkProjects(call, permission?.permit ?? []);
    await changeImage(call.db, image.id, { ...permission, ...(description === undefined ? {} : { description }) });
    return {};
  },
});

const resetAttribute = action({
  name: 'ResetImageAttribute',
  doc: 'Makes an image private again.',
  roles: changers,
  errors: ['AuthFailure', 'InvalidAMIID.Malformed', 'InvalidAMIID.NotFound', 'InvalidAMIID.Unavailable', 'InvalidParameterValue', 'MissingParameter'],
  async handle(call, input) {
    const attribute = attributeOf(input);
    if (attribute !== 'launchPermission') return call.fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid.`);
    const image = await ownedImage(call, input.ImageId ?? '');
    requireAvailable(image);
    await changeImage(call.db, image.id, { isPublic: false, reset: true });
    return {};
  },
});

export const imageAttributeActions = [describeAttribute, modifyAttribute, resetAttribute] as const;

/** Not by the enumerations of the model: clients send what they like. */
function attributeOf({ Attribute }: { readonly Attribute?: string | undefined }): string {
  const attribute = Attribute ?? '';
  return attribute === '' ? fail('MissingParameter', 'The request must contain the parameter attribute') : attribute;
}

/** What old clients name with `OperationType` or `Value`: the others of an image never change. */
function checkAttribute(attribute: string | undefined): void {
  if (attribute === undefined || attribute === '' || ['launchPermission', 'description', 'productCodes'].includes(attribute)) return;
  fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid. It cannot be modified.`);
}

/** AWS's: no attributes are changed of an image that cannot be launched. */
function requireAvailable({ id, state }: ImageRow): void {
  if (state !== 'available') fail('InvalidAMIID.Unavailable', `The image ID '${id}' is not available`);
}

interface GivenPermission {
  readonly UserId?: string | undefined;
  readonly Group?: string | undefined;
}

interface GivenChange {
  readonly Attribute?: string | undefined;
  readonly OperationType?: string | undefined;
  readonly UserIds?: readonly string[] | undefined;
  readonly UserGroups?: readonly string[] | undefined;
  readonly LaunchPermission?: { readonly Add?: readonly GivenPermission[] | undefined; readonly Remove?: readonly GivenPermission[] | undefined } | undefined;
}

/** Both forms: `LaunchPermission.Add.1.UserId` of today, and `OperationType=add&UserId.1=…` of old clients. */
function permissionChange(input: GivenChange): ImageChange | undefined {
  const users = input.UserIds ?? [];
  const groups = input.UserGroups ?? [];
  const flat: GivenPermission[] = [...users.map((UserId) => ({ UserId })), ...groups.map((Group) => ({ Group }))];
  let add = [...(input.LaunchPermission?.Add ?? [])];
  let remove = [...(input.LaunchPermission?.Remove ?? [])];
  if (flat.length > 0) {
    if (input.OperationType === 'add') add = [...add, ...flat];
    else if (input.OperationType === 'remove') remove = [...remove, ...flat];
    else fail('InvalidParameterCombination', "The parameter OperationType must be 'add' or 'remove' with user ids or groups");
  }
  if (add.length + remove.length === 0) return undefined;
  if (add.length + remove.length > permissionsMax) fail('InvalidParameterValue', `A request may change at most ${permissionsMax} launch permissions`);
  for (const { Group } of [...add, ...remove]) {
    if (Group !== undefined && Group !== 'all') fail('InvalidAMIAttributeItemValue',
      `Invalid attribute item value "${Group.slice(0, 60)}" for group item type.`);
  }
  const isPublic = add.some((item) => item.Group === 'all') ? true : remove.some((item) => item.Group === 'all') ? false : undefined;
  return { ...(isPublic === undefined ? {} : { isPublic }), permit: usersOf(add), forbid: usersOf(remove) };
}

const usersOf = (items: readonly GivenPermission[]): string[] => [...new Set(items.map((item) => item.UserId).filter((id) => id !== undefined))];

async function checkProjects(call: Call, ids: readonly string[]): Promise<void> {
  const existing = await existingProjects(call.db, ids);
  const unknown = ids.find((id) => !existing.has(id));
  if (unknown !== undefined) fail('InvalidAMIAttributeItemValue', `Invalid attribute item value "${unknown.slice(0, 60)}" for userId item type.`);
}
