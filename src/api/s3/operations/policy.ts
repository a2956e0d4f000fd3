// ?policy and ?policyStatus of a bucket.
import { describeBucket } from '../../../db/buckets.ts';
import { requireBucket } from '../access.ts';
import { requireRelease, type Operation } from '../call.ts';
import { fail } from '../errors.ts';
import { isPublicPolicy } from '../policy/evaluate-policy.ts';
import { parsePolicy, policyBytesMax } from '../policy/policy-document.ts';
import { document, element } from '../xml.ts';

/** Since this release policies are obeyed; an earlier one would let in whom a policy shuts out. */
const policyRelease = '0.3.0';

const noPolicy = (): never => fail('NoSuchBucketPolicy', 'The bucket policy does not exist');

export const getBucketPolicy: Operation = async (call) => {
  const { policy } = await requireBucket(call, 's3:GetBucketPolicy');
  return policy === null ? noPolicy() : { body: policy, headers: { 'content-type': 'application/json' } };
};

export const putBucketPolicy: Operation = async (call) => {
  await requireBucket(call, 's3:PutBucketPolicy');
  const policy = (await call.content.read(policyBytesMax)).toString('utf8');
  parsePolicy(policy, call.bucket);
  await requireRelease(call, policyRelease);
  await describeBucket(call.db, call.bucket, { policy });
  return { status: 204 };
};

export const deleteBucketPolicy: Operation = async (call) => {
  await requireBucket(call, 's3:DeleteBucketPolicy');
  await describeBucket(call.db, call.bucket, { policy: null });
  return { status: 204 };
};

export const getBucketPolicyStatus: Operation = async (call) => {
  const { policy } = await requireBucket(call, 's3:GetBucketPolicyStatus');
  if (policy === null) return noPolicy();
  return { body: document('PolicyStatus', [element('IsPublic', isPublicPolicy(parsePolicy(policy, call.bucket)))]) };
};
