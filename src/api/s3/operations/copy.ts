// Server-side copies: the blob is linked, so that a copy of an object costs no bytes, unless only one of the two is encrypted at rest; a part
// copied by range is read and written.
import type { NewObject, StoredObject } from '../../../db/objects.ts';
import { isVersionId } from '../../../db/versions.ts';
import { copyBlob } from '../../../drivers/objectstore/driver.ts';
import { requireBucket, requireObject, type Found, type ObjectAddress } from '../access.ts';
import { headerAcl } from '../acl.ts';
import { checkKey, decode } from '../address.ts';
import { header, xmlTime, type Operation, type S3Call } from '../call.ts';
import { checkConditions, putCondition, rangeOf, type ByteRange } from '../conditions.ts';
import { encryptionAnswer, namesEncryption, wantsEncryption } from '../encryption.ts';
import { fail } from '../errors.ts';
import { contentHeaders, refuseUnbuiltHeaders, userMetadata } from '../object-headers.ts';
import { askedTags } from '../tags.ts';
import { objectChecksumXml } from '../upload-checksums.ts';
import { document, element } from '../xml.ts';
import { objectBytesMax, storedHeader, storeObject } from './objects.ts';

export const sourceTooLargeMessage = `The specified copy source is larger than the maximum allowable size for a copy source: ${objectBytesMax}`;

export const copyObject: Operation = async (call) => {
  refuseUnbuiltHeaders(call);
  const replaces = directive(call, 'metadata') === 'REPLACE';
  const retags = directive(call, 'tagging') === 'REPLACE';
  const target = await requireBucket(call, 's3:PutObject');
  const isEncrypted = await wantsEncryption(call, target);
  const acl = (await headerAcl(call, target.projectId)) ?? 'private';
  const at = copySource(call);
  // With a version it is how an old one is made current again.
  if (at.bucket === call.bucket && at.key === call.key && at.versionId === undefined && !replaces && !retags && !namesEncryption(call)) {
    fail('InvalidRequest', 'This copy request is illegal because it is trying to copy an object to itself without changing the object\'s metadata.');
  }
  const { bucket: sourceBucket, object: source } = await requireSource(call, at);
  checkConditions(call.headers, source, 'x-amz-copy-source-');
  if (source.sizeBytes > objectBytesMax) fail('InvalidRequest', sourceTooLargeMessage);
  const described = replaces ? { headers: contentHeaders(call), metadata: userMetadata(call) } : { headers: source.headers, metadata: source.metadata };
  const tags = retags ? await askedTags(call) : source.tags;
  // Who may read an object does not see its tags for that.
  if (!retags && Object.keys(tags).length > 0) await requireObject(call, 's3:GetObjectTagging', at);
  const { versionId: sourceVersion, ...copied } = source;
  const object: NewObject = {
    ...copied, ...described, tags, bucket: call.bucket, key: call.key, acl, blobId: await copyBlob(call.store, source.blobId, { isEncrypted }),
    projectId: call.principal?.projectId ?? target.projectId, modifiedAt: call.clock.date(),
  };
  const stored = await storeObject(call, object, putCondition(call.headers));
  const ofSource = sourceBucket.versioning === null ? {} : { 'x-amz-copy-source-version-id': sourceVersion };
  return {
    headers: { ...encryptionAnswer(isEncrypted), ...storedHeader(stored), ...ofSource },
    body: document('CopyObjectResult', [
      element('LastModified', xmlTime(object.modifiedAt)), element('ETag', `"${object.etag}"`),
      ...objectChecksumXml(object.checksums),
    ]),
  };
};

const requireSource = (call: S3Call, at: ObjectAddress): Promise<Found> =>
  requireObject(call, at.versionId === undefined ? 's3:GetObject' : 's3:GetObjectVersion', at);

function directive(call: S3Call, of: 'metadata' | 'tagging'): 'COPY' | 'REPLACE' {
  const value = header(call, `x-amz-${of}-directive`) ?? 'COPY';
  return value === 'COPY' || value === 'REPLACE' ? value : fail('InvalidArgument', `Unknown ${of} directive.`);
}

/** `bucket/key` or `/bucket/key`, percent-encoded once, perhaps with `?versionId=…`. */
function copySource(call: S3Call): ObjectAddress {
  const [rawPath = '', versionId] = (header(call, 'x-amz-copy-source') ?? '').split('?versionId=');
  if (versionId !== undefined && !isVersionId(versionId)) fail('InvalidArgument', 'Invalid version id specified');
  const path = decode(rawPath).replace(/^\//, '');
  const slash = path.indexOf('/');
  if (slash <= 0 || slash === path.length - 1) fail('InvalidArgument', 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey');
  const key = path.slice(slash + 1);
  checkKey(key);
  return { bucket: path.slice(0, slash), key, versionId };
}

/** The object that a part is copied from, and which bytes of it. */
export async function partSource(call: S3Call): Promise<{ source: StoredObject; range: ByteRange | undefined }> {
  const { object: source } = await requireSource(call, copySource(call));
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
