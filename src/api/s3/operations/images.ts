// The way of compute hosts to the content of images: `GET /_novact/images/IMAGE-ID`, signed like any request, for novact's own
// principal only. No bucket can have that name.
import { accessDenied } from '../access.ts';
import { header, type Operation } from '../call.ts';
import { checkConditions, rangeOf } from '../conditions.ts';
import { fail } from '../errors.ts';

/** The first path segment, where other requests have the bucket. */
export const internalBucket = '_novact';

export const getImage: Operation = async (call) => {
  if (call.principal?.isSuperuser !== true) return accessDenied();
  const imageId = /^images\/([a-z]+-[0-9a-f]+)$/.exec(call.key)?.[1];
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
