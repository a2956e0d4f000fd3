// The service and its buckets: list, create, look at, delete, say where.
import { createBucketOf, deleteBucket, findBucket, listBuckets } from '../../../db/buckets.ts';
import { isAdministrator, requireBucket, requirePrincipal } from '../access.ts';
import { headerAcl } from '../acl.ts';
import { isBucketName } from '../address.ts';
import { xmlTime, type Operation, type S3Call } from '../call.ts';
import { fail } from '../errors.ts';
import { document, element, parseXml } from '../xml.ts';

const configurationBytesMax = 64 * 1024;
const bucketsShownMax = 10_000;

/** Those of the caller's project; an administrator sees all. */
export const listBucketsOperation: Operation = async (call) => {
  const principal = requirePrincipal(call);
  const limit = limitOf(call);
  const found = await listBuckets(call.db, {
    projectId: isAdministrator(principal) ? undefined : principal.projectId,
    prefix: call.query.get('prefix') ?? '',
    after: Buffer.from(call.query.get('continuation-token') ?? '', 'base64url').toString('utf8'),
    limit: limit + 1,
  });
  const shown = found.slice(0, limit);
  const last = shown.at(-1);
  return {
    body: document('ListAllMyBucketsResult', [
      element('Owner', [element('ID', principal.projectId), element('DisplayName', principal.projectName)]),
      element('Buckets', shown.map((bucket) => element('Bucket', [element('Name', bucket.name), element('CreationDate', xmlTime(bucket.createdAt))]))),
      found.length > limit && last !== undefined ? element('ContinuationToken', Buffer.from(last.name).toString('base64url')) : undefined,
    ]),
  };
};

function limitOf(call: S3Call): number {
  const text = call.query.get('max-buckets');
  if (text === undefined) return bucketsShownMax;
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > bucketsShownMax) fail('InvalidArgument', 'max-buckets must be between 1 and 10000.');
  return Number(text);
}

/**
 * A bucket that the caller's project owns already is `BucketAlreadyOwnedByYou` (409), as in every region of AWS but us-east-1.
 * Any LocationConstraint is accepted: clients name the region they were set up with, and there is one place only.
 */
export const createBucket: Operation = async (call) => {
  const principal = requirePrincipal(call);
  if (!isBucketName(call.bucket)) fail('InvalidBucketName', 'The specified bucket is not valid.');
  if (call.headers['x-amz-bucket-object-lock-enabled'] === 'true') fail('NotImplemented', 'Object lock is not implemented.');
  const acl = (await headerAcl(call, principal.projectId)) ?? 'private';
  const body = await call.content.read(configurationBytesMax);
  if (body.length > 0) await parseXml(body, 'CreateBucketConfiguration');
  const row = { name: call.bucket, projectId: principal.projectId, acl, createdAt: call.clock.date() };
  const outcome = await createBucketOf(call.db, row, call.quotas.buckets);
  if (outcome === 'overQuota') fail('TooManyBuckets', 'You have attempted to create more buckets than allowed');
  if (outcome === 'inserted') return { headers: { location: `/${call.bucket}` } };
  const owner = (await findBucket(call.db, call.bucket))?.projectId;
  if (owner === principal.projectId) fail('BucketAlreadyOwnedByYou', 'Your previous request to create the named bucket succeeded and you already own it.');
  return fail('BucketAlreadyExists', 'The requested bucket name is not available. Please select a different name and try again.');
};

export const headBucket: Operation = async (call) => {
  await requireBucket(call, 's3:ListBucket');
  return { headers: { 'x-amz-bucket-region': call.region } };
};

export const deleteBucketOperation: Operation = async (call) => {
  await requireBucket(call, 's3:DeleteBucket');
  const outcome = await deleteBucket(call.db, call.bucket, call.clock.date());
  if (outcome === 'notEmpty') fail('BucketNotEmpty', 'The bucket you tried to delete is not empty');
  if (outcome === 'notFound') fail('NoSuchBucket', 'The specified bucket does not exist');
  return { status: 204 };
};

/** us-east-1 is spelt as nothing. */
export const getBucketLocation: Operation = async (call) => {
  await requireBucket(call, 's3:GetBucketLocation');
  return { body: document('LocationConstraint', call.region === 'us-east-1' ? '' : call.region) };
};
