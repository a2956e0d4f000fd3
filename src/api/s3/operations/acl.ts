// ?acl: canned ACLs and explicit grants, in headers or as XML. The owner may read and change an ACL whatever it says.
import { describeBucket } from '../../../db/buckets.ts';
import { describeVersion } from '../../../db/versions.ts';
import { noSuchKey, requireBucket, requireObject } from '../access.ts';
import { grantsOf, grantXml, headerAcl, xmlAcl } from '../acl.ts';
import type { Operation, S3Call, S3Result } from '../call.ts';
import { fail } from '../errors.ts';
import { document, element, parseXml } from '../xml.ts';
import { owner } from './list-objects.ts';
import { versionHeader } from './objects.ts';

const bodyBytesMax = 64 * 1024;

export const getBucketAcl: Operation = async (call) => {
  const bucket = await requireBucket(call, 's3:GetBucketAcl');
  return aclDocument(bucket.acl, bucket.projectId);
};

export const getObjectAcl: Operation = async (call) => {
  const { bucket, object } = await requireObject(call, 's3:GetObjectAcl');
  return { ...aclDocument(object.acl, bucket.projectId), headers: versionHeader(bucket, object.versionId) };
};

function aclDocument(acl: string, ownerId: string): S3Result {
  const grants = grantsOf(acl, ownerId).map(grantXml);
  return { body: document('AccessControlPolicy', [owner(ownerId), element('AccessControlList', grants)]) };
}

export const putBucketAcl: Operation = async (call) => {
  const bucket = await requireBucket(call, 's3:PutBucketAcl');
  await describeBucket(call.db, call.bucket, { acl: await askedAcl(call, bucket.projectId) });
  return {};
};

export const putObjectAcl: Operation = async (call) => {
  const { bucket, object } = await requireObject(call, 's3:PutObjectAcl');
  const acl = await askedAcl(call, bucket.projectId);
  if (!(await describeVersion(call.db, { bucket: call.bucket, key: call.key, versionId: object.versionId }, { acl }))) noSuchKey();
  return { headers: versionHeader(bucket, object.versionId) };
};

async function askedAcl(call: S3Call, ownerId: string): Promise<string> {
  const inHeaders = await headerAcl(call, ownerId);
  const body = await call.content.read(bodyBytesMax);
  if (body.length === 0) return inHeaders ?? fail('MissingSecurityHeader', 'Your request was missing a required header');
  if (inHeaders !== undefined) fail('UnexpectedContent', 'This request does not support content');
  return xmlAcl(call, await parseXml(body, 'AccessControlPolicy'), ownerId);
}
