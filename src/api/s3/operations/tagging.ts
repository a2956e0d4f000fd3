// ?tagging of buckets and of objects and their versions.
import { findBucketSetting, putBucketSetting, removeBucketSetting } from '../../../db/buckets.ts';
import type { Tags } from '../../../db/schema/objects.ts';
import { describeVersion } from '../../../db/versions.ts';
import { noSuchKey, requireBucket, requireObject, type Found } from '../access.ts';
import { requireRelease, type Operation, type S3Call } from '../call.ts';
import { fail } from '../errors.ts';
import { bucketTagsMax, objectTagsMax, taggingDocument, taggingRelease, tagsBytesMax, xmlTags } from '../tags.ts';
import { versionHeader } from './objects.ts';

export const getBucketTagging: Operation = async (call) => {
  await requireBucket(call, 's3:GetBucketTagging');
  const tags = await findBucketSetting(call.db, call.bucket, 'tagging');
  return tags === undefined ? fail('NoSuchTagSet', 'The TagSet does not exist') : { body: taggingDocument(tags as Tags) };
};

export const putBucketTagging: Operation = async (call) => {
  await requireBucket(call, 's3:PutBucketTagging');
  const tags = await xmlTags(await call.content.read(tagsBytesMax), bucketTagsMax);
  await putBucketSetting(call.db, call.bucket, 'tagging', tags);
  return { status: 204 };
};

export const deleteBucketTagging: Operation = async (call) => {
  await requireBucket(call, 's3:PutBucketTagging');
  await removeBucketSetting(call.db, call.bucket, 'tagging');
  return { status: 204 };
};

export const getObjectTagging: Operation = async (call) => {
  const { bucket, object } = await requireObject(call, 's3:GetObjectTagging');
  return { body: taggingDocument(object.tags), headers: versionHeader(bucket, object.versionId) };
};

export const putObjectTagging: Operation = async (call) => {
  await requireRelease(call, taggingRelease);
  const tags = await xmlTags(await call.content.read(tagsBytesMax), objectTagsMax);
  return { headers: await tagObject(call, await requireObject(call, 's3:PutObjectTagging', undefined, tags), tags) };
};

export const deleteObjectTagging: Operation = async (call) =>
  ({ status: 204, headers: await tagObject(call, await requireObject(call, 's3:DeleteObjectTagging'), {}) });

async function tagObject(call: S3Call, { bucket, object }: Found, tags: Tags): Promise<Record<string, string>> {
  if (!(await describeVersion(call.db, { bucket: call.bucket, key: call.key, versionId: object.versionId }, { tags }))) noSuchKey();
  return versionHeader(bucket, object.versionId);
}
