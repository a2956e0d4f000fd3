// ?lifecycle of a bucket: the rules. What they say is done by the objectstore's sweeper.
import { randomBytes } from 'node:crypto';
import { findBucketSetting, putBucketSetting, removeBucketSetting } from '../../../db/buckets.ts';
import type { LifecycleRule } from '../../../db/lifecycle.ts';
import { requireBucket } from '../access.ts';
import type { Operation } from '../call.ts';
import { fail } from '../errors.ts';
import { lifecycleXml, parseLifecycle } from '../lifecycle.ts';
import { document, parseXml } from '../xml.ts';

const bodyBytesMax = 1024 * 1024;

export const getBucketLifecycle: Operation = async (call) => {
  await requireBucket(call, 's3:GetLifecycleConfiguration');
  const rules = await findBucketSetting(call.db, call.bucket, 'lifecycle');
  if (rules === undefined) return fail('NoSuchLifecycleConfiguration', 'The lifecycle configuration does not exist');
  return { body: document('LifecycleConfiguration', lifecycleXml(rules as LifecycleRule[])) };
};

export const putBucketLifecycle: Operation = async (call) => {
  await requireBucket(call, 's3:PutLifecycleConfiguration');
  const configuration = await parseXml(await call.content.read(bodyBytesMax), 'LifecycleConfiguration');
  await putBucketSetting(call.db, call.bucket, 'lifecycle', parseLifecycle(configuration, () => randomBytes(18).toString('hex')));
  return {};
};

export const deleteBucketLifecycle: Operation = async (call) => {
  await requireBucket(call, 's3:PutLifecycleConfiguration');
  await removeBucketSetting(call.db, call.bucket, 'lifecycle');
  return { status: 204 };
};
