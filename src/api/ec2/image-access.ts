// Which images a caller may see and change, with AWS's answers to who may not.
import { findVisibleImage, imagesById, type ImageRow } from '../../db/images.ts';
import { fail, type Call } from './action.ts';
import { checkForm } from './describe.ts';

/** Machine, kernel and ramdisk images. */
export const imageForm = { pattern: /^a[mkr]i-([0-9a-f]{8}|[0-9a-f]{17})$/, code: 'InvalidAMIID.Malformed' } as const;

export const imageNotFound = {
  code: 'InvalidAMIID.NotFound',
  message: (missing: readonly string[]): string =>
    `The image id${missing.length === 1 ? '' : 's'} '[${missing.join(', ').slice(0, 500)}]' do${missing.length === 1 ? 'es' : ''} not exist`,
} as const;

/** An image that the caller may launch. */
export async function visibleImage(call: Call, id: string): Promise<ImageRow> {
  checkForm(id, imageForm);
  const image = call.principal.isSuperuser ? (await imagesById(call.db, [id]))[0] : await findVisibleImage(call.db, call.principal.projectId, id);
  return image ?? fail(imageNotFound.code, imageNotFound.message([id]));
}

/** An image that the caller may change: his project's, or anybody's for a superuser. */
export async function ownedImage(call: Call, id: string): Promise<ImageRow> {
  const image = await visibleImage(call, id);
  if (image.projectId !== call.principal.projectId && !call.principal.isSuperuser) fail('AuthFailure', `Not authorized for image:${id}`);
  return image;
}
