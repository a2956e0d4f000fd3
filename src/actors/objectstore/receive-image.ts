// Content that a compute host has made of an instance: looked at, and given to the image that waits for it.
import { keepContent, loadImage, type Image } from '../../db/image-work.ts';
import { inspectBlob, type ImageContext } from './register-image.ts';

export type Receiving = Pick<ImageContext, 'db' | 'clock' | 'store' | 'disk' | 'limits'>;

/** Of any size: an instance was let have it. The same content comes again when the answer was lost: then the first one stays. */
export async function receiveImage(receiving: Receiving, imageId: string, content: { blobId: string; sha256: string }): Promise<'received' | 'unwanted'> {
  const { db, store } = receiving;
  const image = await loadImage(db, imageId);
  if (image?.state !== 'pending' || image.type !== 'machine') return 'unwanted';
  if (image.blobId === null) {
    const facts = await inspectBlob({ ...receiving, image, limits: { ...receiving.limits, virtualSizeBytesMax: Number.MAX_SAFE_INTEGER } }, content.blobId);
    if (await keepContent(db, imageId, { ...facts, blobId: content.blobId })) return 'received';
  }
  const now: Image | undefined = await loadImage(db, imageId);
  if (now?.state !== 'pending' || now.sha256 !== content.sha256) return 'unwanted';
  await store.remove(content.blobId);
  return 'received';
}
