// Who may do what to a bucket and its objects. The project that owns the bucket may all that its policy does not deny, an administrator may
// all; a policy and ACLs open it to others. Objects belong to the bucket's project, whoever put them (AWS's "bucket owner enforced"); the
// project that put one may read it too.
import type { Principal } from '../../auth/principal.ts';
import type { Bucket } from '../../db/buckets.ts';
import { findInBucket } from '../../db/find-in-bucket.ts';
import type { Tags } from '../../db/schema/objects.ts';
import { isMarker, isVersionId, type DeleteMarker, type StoredObject } from '../../db/versions.ts';
import { aclAllows, type Permission } from './acl.ts';
import { header, type Requester, type S3Call } from './call.ts';
import { fail, S3Failure } from './errors.ts';
import { evaluatePolicy, type Verdict } from './policy/evaluate-policy.ts';
import { parsePolicy, type Policy } from './policy/policy-document.ts';

/** Actions on a bucket, with the permission of its ACL that lets others do it. Undefined: no ACL does. */
const bucketActions = {
  's3:ListBucket': 'READ', 's3:ListBucketVersions': 'READ', 's3:ListBucketMultipartUploads': 'READ',
  's3:GetBucketAcl': 'READ_ACP', 's3:PutBucketAcl': 'WRITE_ACP',
  's3:DeleteBucket': undefined, 's3:GetBucketLocation': undefined, 's3:GetBucketTagging': undefined, 's3:PutBucketTagging': undefined,
  's3:GetBucketVersioning': undefined, 's3:PutBucketVersioning': undefined, 's3:GetBucketCORS': undefined, 's3:PutBucketCORS': undefined,
  's3:GetLifecycleConfiguration': undefined, 's3:PutLifecycleConfiguration': undefined, 's3:GetBucketPolicy': undefined,
  's3:PutBucketPolicy': undefined, 's3:DeleteBucketPolicy': undefined, 's3:GetBucketPolicyStatus': undefined, 's3:GetBucketConfiguration': undefined,
  's3:GetEncryptionConfiguration': undefined, 's3:PutEncryptionConfiguration': undefined,
} as const satisfies Readonly<Record<string, Permission | undefined>>;

/** Actions on a key, with the permission of the bucket's ACL. */
const keyActions = {
  's3:PutObject': 'WRITE', 's3:DeleteObject': 'WRITE', 's3:DeleteObjectVersion': undefined, 's3:AbortMultipartUpload': 'WRITE',
  's3:ListMultipartUploadParts': 'WRITE',
} as const satisfies Readonly<Record<string, Permission | undefined>>;

/** Actions on an object that is there, with the permission of the object's own ACL. */
const objectActions = {
  's3:GetObject': 'READ', 's3:GetObjectVersion': 'READ', 's3:GetObjectAttributes': 'READ', 's3:GetObjectAcl': 'READ_ACP', 's3:PutObjectAcl': 'WRITE_ACP',
  's3:GetObjectTagging': undefined, 's3:PutObjectTagging': undefined, 's3:DeleteObjectTagging': undefined,
} as const satisfies Readonly<Record<string, Permission | undefined>>;

/** What policies may name. */
export const policyActions: readonly string[] = [bucketActions, keyActions, objectActions].flatMap((table) => Object.keys(table))
  .filter((action) => action !== 's3:GetBucketConfiguration').toSorted();

export type BucketAction = keyof typeof bucketActions;
export type KeyAction = keyof typeof keyActions;
export type ObjectAction = keyof typeof objectActions;

/** A bucket's owner must be able to take back a policy that shuts everybody out. */
const neverDeniedToOwner: readonly string[] = ['s3:GetBucketPolicy', 's3:PutBucketPolicy', 's3:DeleteBucketPolicy'];

/** The bucket, or NoSuchBucket, or AccessDenied. */
export async function requireBucket(call: S3Call, action: BucketAction | KeyAction, name: string = call.bucket): Promise<Bucket> {
  const bucket = await existing(call, name);
  if (!mayUseBucket(call, bucket, action, call.key)) return accessDenied();
  return bucket;
}

/** For what is asked of several keys of one bucket at once: each key is asked for by itself. */
export async function requireExistingBucket(call: S3Call): Promise<Bucket> {
  return existing(call, call.bucket);
}

async function existing(call: S3Call, name: string): Promise<Bucket> {
  return expected(call, await call.findBucket(name));
}

/** It belongs to whom the client takes for its owner, if the client says so: a name may have come into other hands. */
function expected(call: S3Call, bucket: Bucket | undefined, ownerHeader = 'x-amz-expected-bucket-owner'): Bucket {
  if (bucket === undefined) return noSuchBucket();
  const owner = header(call, ownerHeader);
  return owner === undefined || owner === bucket.projectId ? bucket : accessDenied();
}

export function mayUseBucket(call: Requester, bucket: Bucket, action: BucketAction | KeyAction, key: string): boolean {
  const permission = action in keyActions ? keyActions[action as KeyAction] : bucketActions[action as BucketAction];
  const resource = action in keyActions ? `${bucket.name}/${key}` : bucket.name;
  return isAllowed(call, bucket, { action, resource }, permission !== undefined && aclAllows(bucket.acl, permission, call.principal));
}

export interface ObjectAddress {
  readonly bucket: string;
  readonly key: string;
  /** Undefined: the current version. */
  readonly versionId?: string | undefined;
}

/** The object that the request's path and `versionId` name. */
export const addressed = (call: S3Call): ObjectAddress => ({ bucket: call.bucket, key: call.key, versionId: askedVersion(call) });

export function askedVersion(call: S3Call): string | undefined {
  const versionId = call.query.get('versionId');
  if (versionId !== undefined && !isVersionId(versionId)) fail('InvalidArgument', 'Invalid version id specified');
  return versionId;
}

export interface Found {
  readonly bucket: Bucket;
  readonly object: StoredObject;
}

/** The object, or the source of a copy. Whoever may not list the bucket does not learn whether the key exists. */
export async function requireObject(call: S3Call, action: ObjectAction, source?: ObjectAddress, requestTags?: Tags): Promise<Found> {
  const at = source ?? addressed(call);
  const inBucket = await call.findInBucket(at, at.versionId);
  const bucket = expected(call, inBucket?.bucket, source === undefined ? undefined : 'x-amz-source-expected-bucket-owner');
  const found = inBucket?.object;
  if (found === undefined || isMarker(found)) {
    const mayKnow = mayUseBucket(call, bucket, 's3:ListBucket', '');
    return mayKnow ? absent(at, found) : accessDenied();
  }
  return mayUseObject(call, { bucket, object: found }, action, requestTags) ? { bucket, object: found } : accessDenied();
}

function mayUseObject(call: Requester, { bucket, object }: Found, action: ObjectAction, requestTags?: Tags): boolean {
  const permission = objectActions[action];
  const isOpen = action.startsWith('s3:GetObject') && call.principal?.projectId === object.projectId
    || permission !== undefined && aclAllows(object.acl, permission, call.principal);
  return isAllowed(call, bucket, { action, resource: `${bucket.name}/${object.key}`, existingTags: object.tags, requestTags }, isOpen);
}

/** For those who read an object otherwise than by S3, as an image is made of one. False also when there is no such object. */
export async function mayReadObject(asker: Pick<S3Call, 'db' | 'clock' | 'principal'>, at: ObjectAddress): Promise<boolean> {
  const { bucket, object } = (await findInBucket(asker.db, at, at.versionId)) ?? {};
  if (bucket === undefined || object === undefined || isMarker(object)) return false;
  // Of its own request S3 knows nothing: what a policy asks of an address or a header, it does not have.
  const requester: Requester = { principal: asker.principal, clock: asker.clock, headers: {}, query: new Map(), remoteAddress: '', isSecure: false };
  return mayUseObject(requester, { bucket, object }, 's3:GetObject');
}

/** A delete marker says that it is one; asked for by its id, it is no object that could be read. */
function absent(at: ObjectAddress, marker: DeleteMarker | undefined): never {
  if (marker === undefined) {
    if (at.versionId !== undefined) fail('NoSuchVersion', 'The specified version does not exist.');
    return noSuchKey();
  }
  const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': marker.versionId };
  if (at.versionId === undefined) throw new S3Failure('NoSuchKey', noSuchKeyMessage, headers);
  throw new S3Failure('MethodNotAllowed', 'The specified method is not allowed against this resource.',
    { ...headers, allow: 'DELETE', 'last-modified': marker.modifiedAt.toUTCString() });
}

interface Wanted {
  readonly action: string;
  /** `bucket` or `bucket/key`. */
  readonly resource: string;
  readonly existingTags?: Tags | undefined;
  readonly requestTags?: Tags | undefined;
}

function isAllowed(call: Requester, bucket: Bucket, wanted: Wanted, isOpen: boolean): boolean {
  const { principal } = call;
  if (principal !== undefined && isAdministrator(principal)) return true;
  const owns = principal?.projectId === bucket.projectId;
  if (owns && neverDeniedToOwner.includes(wanted.action)) return true;
  const verdict = policyVerdict(call, bucket, wanted);
  return verdict !== 'deny' && (owns || verdict === 'allow' || isOpen);
}

const policyVerdict = (call: Requester, bucket: Bucket, wanted: Wanted): Verdict =>
  (bucket.policy === null ? 'silent' : evaluatePolicy(policyOf(bucket, bucket.policy), { call, ...wanted }));

/** A request that is about a thousand keys reads the policy of its bucket once. */
const policiesRead = new WeakMap<Bucket, Policy>();

function policyOf(bucket: Bucket, text: string): Policy {
  const policy = policiesRead.get(bucket) ?? parsePolicy(text, bucket.name);
  policiesRead.set(bucket, policy);
  return policy;
}

export const isAdministrator = (principal: Principal): boolean => principal.isSuperuser || principal.isAdmin;

/** For operations that need somebody. */
export function requirePrincipal(call: S3Call): Principal {
  return call.principal ?? accessDenied();
}

export const accessDenied = (): never => fail('AccessDenied', 'Access Denied');

const noSuchBucket = (): never => fail('NoSuchBucket', 'The specified bucket does not exist');

const noSuchKeyMessage = 'The specified key does not exist.';
export const noSuchKey = (): never => fail('NoSuchKey', noSuchKeyMessage);
