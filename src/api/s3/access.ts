// Who may do what to a bucket and its objects: the project that owns the bucket may all, an administrator may all, and a canned
// ACL opens reading or writing to others. Objects belong to the bucket's project, whoever put them (AWS's "bucket owner enforced");
// the project that put one may read it too.
import type { Principal } from '../../auth/principal.ts';
import { findBucket, type Bucket } from '../../db/buckets.ts';
import { findObject, type StoredObject } from '../../db/objects.ts';
import type { S3Call } from './call.ts';
import { fail } from './errors.ts';

/** `own`: for the owner only, whatever the ACL says. */
export type Access = 'read' | 'write' | 'own';

/** AWS's canned ACLs. Those that only say something about a foreign owner mean `private` here. */
export const cannedAcls = [
  'private', 'public-read', 'public-read-write', 'authenticated-read', 'aws-exec-read', 'bucket-owner-read', 'bucket-owner-full-control', 'log-delivery-write',
] as const;
export type CannedAcl = (typeof cannedAcls)[number];

/** The bucket, or NoSuchBucket, or AccessDenied. */
export async function requireBucket(call: S3Call, access: Access, name: string = call.bucket): Promise<Bucket> {
  const bucket = await findBucket(call.db, name);
  if (bucket === undefined) return fail('NoSuchBucket', 'The specified bucket does not exist');
  if (!mayUseBucket(call.principal, bucket, access)) return accessDenied();
  return bucket;
}

/** The object for reading. Whoever may not list the bucket does not learn whether the key exists. */
export async function requireObject(call: S3Call, at: { bucket: string; key: string } = call): Promise<StoredObject> {
  const bucket = await findBucket(call.db, at.bucket);
  if (bucket === undefined) return fail('NoSuchBucket', 'The specified bucket does not exist');
  const object = await findObject(call.db, at.bucket, at.key);
  if (object === undefined) return mayUseBucket(call.principal, bucket, 'read') ? fail('NoSuchKey', 'The specified key does not exist.') : accessDenied();
  const owns = mayUseBucket(call.principal, bucket, 'own') || call.principal?.projectId === object.projectId;
  if (!owns && !isOpen(object.acl, 'read', call.principal)) return accessDenied();
  return object;
}

export function mayUseBucket(principal: Principal | undefined, bucket: Bucket, access: Access): boolean {
  if (principal !== undefined && (isAdministrator(principal) || principal.projectId === bucket.projectId)) return true;
  return access !== 'own' && isOpen(bucket.acl, access, principal);
}

export const isAdministrator = (principal: Principal): boolean => principal.isSuperuser || principal.isAdmin;

/** For operations that need somebody. */
export function requirePrincipal(call: S3Call): Principal {
  return call.principal ?? accessDenied();
}

export const accessDenied = (): never => fail('AccessDenied', 'Access Denied');

function isOpen(acl: string, access: 'read' | 'write', principal: Principal | undefined): boolean {
  if (acl === 'public-read-write') return true;
  if (access === 'write') return false;
  return acl === 'public-read' || (acl === 'authenticated-read' && principal !== undefined);
}

/** The ACL that the request asks for. Grants in headers are not built. */
export function aclOf(call: S3Call): CannedAcl {
  if (Object.keys(call.headers).some((name) => name.startsWith('x-amz-grant-'))) {
    fail('NotImplemented', 'Grants in headers are not implemented; use a canned ACL in x-amz-acl.');
  }
  const asked = call.headers['x-amz-acl'];
  if (asked === undefined) return 'private';
  return cannedAcls.find((acl) => acl === asked) ?? fail('InvalidArgument', 'x-amz-acl must name a canned ACL.');
}
