// What ordinary tools ask of a bucket or an object even when they do not use it. Each gets the answer of a bucket on which nothing
// is set; setting any of it is refused as not implemented, never accepted in silence.
import { requireBucket, requireObject } from '../access.ts';
import type { Operation } from '../call.ts';
import { fail, type S3ErrorCode } from '../errors.ts';
import { document, element, type Xml } from '../xml.ts';

type Unset = { readonly root: string; readonly content?: readonly Xml[] } | { readonly code: S3ErrorCode; readonly message: string };

const ofBucket: Readonly<Record<string, Unset>> = {
  accelerate: { root: 'AccelerateConfiguration' },
  logging: { root: 'BucketLoggingStatus' },
  notification: { root: 'NotificationConfiguration' },
  'object-lock': { code: 'ObjectLockConfigurationNotFoundError', message: 'Object Lock configuration does not exist for this bucket' },
  ownershipControls: { code: 'OwnershipControlsNotFoundError', message: 'The bucket ownership controls were not found' },
  publicAccessBlock: { code: 'NoSuchPublicAccessBlockConfiguration', message: 'The public access block configuration was not found' },
  replication: { code: 'ReplicationConfigurationNotFoundError', message: 'The replication configuration was not found' },
  requestPayment: { root: 'RequestPaymentConfiguration', content: [element('Payer', 'BucketOwner')] },
  website: { code: 'NoSuchWebsiteConfiguration', message: 'The specified bucket does not have a website configuration' },
};

const ofObject: Readonly<Record<string, Unset>> = {
  retention: { code: 'NoSuchObjectLockConfiguration', message: 'The specified object does not have a ObjectLock configuration' },
  'legal-hold': { code: 'NoSuchObjectLockConfiguration', message: 'The specified object does not have a ObjectLock configuration' },
};

/** Removing what is not set is no error in AWS either. */
const removable = ['ownershipControls', 'publicAccessBlock', 'replication', 'website'];

/** The operation, or undefined when this sub-resource is not known in that form. */
export function subResourceOperation(name: string, method: string, ofKey: boolean): Operation | undefined {
  if (method === 'GET') {
    const unset = ofKey ? ofObject[name] : ofBucket[name];
    return unset === undefined ? undefined : readUnset(unset, ofKey);
  }
  if (method === 'DELETE' && !ofKey && removable.includes(name)) {
    return async (call) => {
      await requireBucket(call, 's3:GetBucketConfiguration');
      return { status: 204 };
    };
  }
  return undefined;
}

function readUnset(unset: Unset, ofKey: boolean): Operation {
  return async (call) => {
    if (ofKey) await requireObject(call, 's3:GetObject');
    else await requireBucket(call, 's3:GetBucketConfiguration');
    if ('code' in unset) return fail(unset.code, unset.message);
    return { body: document(unset.root, unset.content) };
  };
}
