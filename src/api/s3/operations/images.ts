// The way of compute hosts to the content of images, and of what they make of instances to the objectstore: GET and PUT of
// `/_novact/images/IMAGE-ID`, signed like any request, for novact's own principal only. No bucket can have that name.
import type { ImageBlob } from '../../../db/blobs.ts';
import { accessDenied } from '../access.ts';
import { header, type Operation, type S3Call } from '../call.ts';
import { checkConditions, rangeOf } from '../conditions.ts';
import { fail } from '../errors.ts';

/** The first path segment, where other requests have the bucket. */
export const internalBucket = '_novact';

export const getImage: Operation = async (call) => {
  if (call.principal?.isSuperuser !== true) return accessDenied();
  const imageId = imageIdOf(call);
  const image = imageId === undefined ? undefined : await call.findImage(imageId);
  if (image === undefined) return fail('NoSuchKey', 'There is no available image of that id.');
  const etagHeader = { etag: `"${image.sha256}"`, 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream' };
  const ifNoneMatch = call.headers['if-none-match'];
  const isNew = ifNoneMatch === undefined || checkConditions({ 'if-none-match': ifNoneMatch }, { etag: image.sha256, modifiedAt: call.clock.date() });
  if (!isNew) return { status: 304, headers: etagHeader };
  const sizeBytes = await call.store.size(image.blobId);
  const range = rangeOf(header(call, 'range'), sizeBytes);
  const lengthBytes = range === undefined ? sizeBytes : range.last - range.first + 1;
  const rangeHeader = range === undefined ? undefined : { 'content-range': `bytes ${range.first}-${range.last}/${sizeBytes}` };
  return {
    status: range === undefined ? 200 : 206, headers: { ...etagHeader, ...rangeHeader }, lengthBytes,
    ...(call.method === 'HEAD' ? {} : { body: await call.store.read(image.blobId, range) }),
  };
};

/** Of any size: an instance was let have that disk. Its checksum is signed, and what does not match it is not kept. */
export const putImage: Operation = async (call) => {
  if (call.principal?.isSuperuser !== true) return accessDenied();
  const imageId = imageIdOf(call);
  const sha256 = header(call, 'x-amz-content-sha256') ?? '';
  if (imageId === undefined) return fail('NoSuchKey', 'There is no image of that id.');
  if (!/^[0-9a-f]{64}$/.test(sha256)) return fail('InvalidArgument', 'The content of an image is signed with its checksum.');
  const { blobId } = await call.content.storeIn(call.store, Number.MAX_SAFE_INTEGER);
  if ((await receive(call, imageId, { blobId, sha256 })) === 'received') return {};
  return fail('NoSuchKey', 'No pending image of that id waits for content.');
};

async function receive(call: S3Call, imageId: string, content: ImageBlob): Promise<'received' | 'unwanted'> {
  try {
    const outcome = await call.receiveImage(imageId, content);
    if (outcome === 'unwanted') await call.store.remove(content.blobId);
    return outcome;
  } catch (error) {
    await call.store.remove(content.blobId);
    throw error;
  }
}

const imageIdOf = ({ key }: S3Call): string | undefined => /^images\/([a-z]+-[0-9a-f]+)$/.exec(key)?.[1];
