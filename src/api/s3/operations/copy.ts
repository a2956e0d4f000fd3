// Server-side copies: the blob is linked, so that a copy of an object costs no bytes; a part copied by range is read and written.
import type { StoredObject } from '../../../db/objects.ts';
import { aclOf, requireBucket, requireObject } from '../access.ts';
import { checkKey, decode } from '../address.ts';
import { header, xmlTime, type Operation, type S3Call } from '../call.ts';
import { checkConditions, putCondition, rangeOf, type ByteRange } from '../conditions.ts';
import { fail } from '../errors.ts';
import { contentHeaders, refuseUnbuiltHeaders, userMetadata } from '../object-headers.ts';
import { document, element } from '../xml.ts';
import { objectBytesMax, storeObject } from './objects.ts';

export const sourceTooLargeMessage = `The specified copy source is larger than the maximum allowable size for a copy source: ${objectBytesMax}`;

export const copyObject: Operation = async (call) => {
  refuseUnbuiltHeaders(call);
  const acl = aclOf(call);
  const replaces = directive(call) === 'REPLACE';
  const target = await requireBucket(call, 'write');
  const at = copySource(call);
  if (at.bucket === call.bucket && at.key === call.key && !replaces) {
    fail('InvalidRequest', 'This copy request is illegal because it is trying to copy an object to itself without changing the object\'s metadata.');
  }
  const source = await requireObject(call, at);
  checkConditions(call.headers, source, 'x-amz-copy-source-');
  if (source.sizeBytes > objectBytesMax) fail('InvalidRequest', sourceTooLargeMessage);
  const described = replaces ? { headers: contentHeaders(call), metadata: userMetadata(call) } : { headers: source.headers, metadata: source.metadata };
  const object: StoredObject = {
    ...source, ...described, bucket: call.bucket, key: call.key, acl, blobId: await call.store.link(source.blobId),
    etag: source.etag, projectId: call.principal?.projectId ?? target.projectId, modifiedAt: call.clock.date(),
  };
  await storeObject(call, object, putCondition(call.headers));
  return { body: document('CopyObjectResult', [element('LastModified', xmlTime(object.modifiedAt)), element('ETag', `"${object.etag}"`)]) };
};

function directive(call: S3Call): 'COPY' | 'REPLACE' {
  const tagging = call.headers['x-amz-tagging-directive'];
  if (tagging !== undefined && tagging !== 'COPY') fail('NotImplemented', 'Object tags are not implemented.');
  const value = header(call, 'x-amz-metadata-directive') ?? 'COPY';
  if (value !== 'COPY' && value !== 'REPLACE') return fail('InvalidArgument', 'Unknown metadata directive.');
  return value;
}

/** `bucket/key` or `/bucket/key`, percent-encoded once, perhaps with `?versionId=null`. */
function copySource(call: S3Call): { bucket: string; key: string } {
  const [rawPath = '', version] = (header(call, 'x-amz-copy-source') ?? '').split('?versionId=');
  if (version !== undefined && version !== 'null') fail('InvalidArgument', 'Invalid version id specified');
  const path = decode(rawPath).replace(/^\//, '');
  const slash = path.indexOf('/');
  if (slash <= 0 || slash === path.length - 1) fail('InvalidArgument', 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey');
  const key = path.slice(slash + 1);
  checkKey(key);
  return { bucket: path.slice(0, slash), key };
}

/** The object that a part is copied from, and which bytes of it. */
export async function partSource(call: S3Call): Promise<{ source: StoredObject; range: ByteRange | undefined }> {
  const source = await requireObject(call, copySource(call));
  checkConditions(call.headers, source, 'x-amz-copy-source-');
  const asked = header(call, 'x-amz-copy-source-range');
  if (asked === undefined) return { source, range: undefined };
  if (!/^bytes=\d+-\d+$/.test(asked)) fail('InvalidArgument', 'The x-amz-copy-source-range value must be of the form bytes=first-last');
  const range = rangeOf(asked, source.sizeBytes);
  const last = Number(asked.split('-')[1]);
  if (range === undefined || last >= source.sizeBytes) {
    return fail('InvalidArgument', `Range specified is not valid for source object of size: ${source.sizeBytes}`);
  }
  return { source, range };
}
