// Which operation a request means: by method, by whether it names a bucket and a key, and by the sub-resource in its query. What is
// S3's and not built is NotImplemented, so that nothing is ever taken for something else.
import type { Operation, S3Call } from './call.ts';
import { fail } from './errors.ts';
import { getBucketAcl, getObjectAcl, putBucketAcl, putObjectAcl } from './operations/acl.ts';
import { deleteBucketCors, getBucketCors, preflight, putBucketCors } from './operations/cors.ts';
import { deleteBucketLifecycle, getBucketLifecycle, putBucketLifecycle } from './operations/lifecycle.ts';
import { createBucket, deleteBucketOperation, getBucketLocation, headBucket, listBucketsOperation } from './operations/buckets.ts';
import { completeMultipartUpload } from './operations/complete-upload.ts';
import { copyObject } from './operations/copy.ts';
import { deleteBucketEncryption, getBucketEncryption, putBucketEncryption } from './operations/encryption.ts';
import { getImage, internalBucket, putImage } from './operations/images.ts';
import { deleteObject, deleteObjectsOperation } from './operations/delete-objects.ts';
import { listObjectsV1, listObjectsV2 } from './operations/list-objects.ts';
import { listObjectVersions } from './operations/list-versions.ts';
import { abortMultipartUpload, createMultipartUpload, listMultipartUploads, listPartsOperation, uploadPart, uploadPartCopy } from './operations/multipart.ts';
import { getObjectAttributes } from './operations/object-attributes.ts';
import { getObject, putObjectOperation } from './operations/objects.ts';
import { postObject } from './operations/post-object.ts';
import { deleteBucketPolicy, getBucketPolicy, getBucketPolicyStatus, putBucketPolicy } from './operations/policy.ts';
import { subResourceOperation } from './operations/sub-resources.ts';
import {
  deleteBucketTagging, deleteObjectTagging, getBucketTagging, getObjectTagging, putBucketTagging, putObjectTagging,
} from './operations/tagging.ts';
import { getBucketVersioning, putBucketVersioning } from './operations/versioning.ts';

export interface Route {
  /** AWS's name of the operation, for the log. */
  readonly name: string;
  readonly operation: Operation;
}

/** Query parameters that choose another operation; all others only modify one. */
export const subResources: ReadonlySet<string> = new Set([
  'accelerate', 'acl', 'analytics', 'attributes', 'cors', 'delete', 'encryption', 'intelligent-tiering', 'inventory', 'legal-hold', 'lifecycle', 'location',
  'logging', 'metadataConfiguration', 'metadataTable', 'metrics', 'notification', 'object-lock', 'ownershipControls', 'policy', 'policyStatus',
  'publicAccessBlock', 'renameObject', 'replication', 'requestPayment', 'restore', 'retention', 'select', 'session', 'tagging', 'torrent',
  'uploadId', 'uploads', 'versioning', 'versions', 'website', 'append',
]);

type Asked = Pick<S3Call, 'method' | 'bucket' | 'key' | 'query' | 'headers'>;

/** `METHOD` or `METHOD sub-resource` → operation. */
type Table = Readonly<Record<string, Route>>;

const bucketRoutes: Table = {
  GET: { name: 'ListObjects', operation: listObjectsV1 },
  HEAD: { name: 'HeadBucket', operation: headBucket },
  PUT: { name: 'CreateBucket', operation: createBucket },
  POST: { name: 'PostObject', operation: postObject },
  DELETE: { name: 'DeleteBucket', operation: deleteBucketOperation },
  'GET acl': { name: 'GetBucketAcl', operation: getBucketAcl },
  'PUT acl': { name: 'PutBucketAcl', operation: putBucketAcl },
  'GET cors': { name: 'GetBucketCors', operation: getBucketCors },
  'PUT cors': { name: 'PutBucketCors', operation: putBucketCors },
  'DELETE cors': { name: 'DeleteBucketCors', operation: deleteBucketCors },
  'GET encryption': { name: 'GetBucketEncryption', operation: getBucketEncryption },
  'PUT encryption': { name: 'PutBucketEncryption', operation: putBucketEncryption },
  'DELETE encryption': { name: 'DeleteBucketEncryption', operation: deleteBucketEncryption },
  'GET lifecycle': { name: 'GetBucketLifecycleConfiguration', operation: getBucketLifecycle },
  'PUT lifecycle': { name: 'PutBucketLifecycleConfiguration', operation: putBucketLifecycle },
  'DELETE lifecycle': { name: 'DeleteBucketLifecycle', operation: deleteBucketLifecycle },
  'GET location': { name: 'GetBucketLocation', operation: getBucketLocation },
  'GET policy': { name: 'GetBucketPolicy', operation: getBucketPolicy },
  'PUT policy': { name: 'PutBucketPolicy', operation: putBucketPolicy },
  'DELETE policy': { name: 'DeleteBucketPolicy', operation: deleteBucketPolicy },
  'GET policyStatus': { name: 'GetBucketPolicyStatus', operation: getBucketPolicyStatus },
  'GET tagging': { name: 'GetBucketTagging', operation: getBucketTagging },
  'PUT tagging': { name: 'PutBucketTagging', operation: putBucketTagging },
  'DELETE tagging': { name: 'DeleteBucketTagging', operation: deleteBucketTagging },
  'GET uploads': { name: 'ListMultipartUploads', operation: listMultipartUploads },
  'GET versioning': { name: 'GetBucketVersioning', operation: getBucketVersioning },
  'PUT versioning': { name: 'PutBucketVersioning', operation: putBucketVersioning },
  'GET versions': { name: 'ListObjectVersions', operation: listObjectVersions },
  'POST delete': { name: 'DeleteObjects', operation: deleteObjectsOperation },
};

const objectRoutes: Table = {
  GET: { name: 'GetObject', operation: getObject },
  HEAD: { name: 'HeadObject', operation: getObject },
  PUT: { name: 'PutObject', operation: putObjectOperation },
  DELETE: { name: 'DeleteObject', operation: deleteObject },
  'GET acl': { name: 'GetObjectAcl', operation: getObjectAcl },
  'PUT acl': { name: 'PutObjectAcl', operation: putObjectAcl },
  'GET attributes': { name: 'GetObjectAttributes', operation: getObjectAttributes },
  'GET tagging': { name: 'GetObjectTagging', operation: getObjectTagging },
  'PUT tagging': { name: 'PutObjectTagging', operation: putObjectTagging },
  'DELETE tagging': { name: 'DeleteObjectTagging', operation: deleteObjectTagging },
  'POST uploads': { name: 'CreateMultipartUpload', operation: createMultipartUpload },
  'PUT uploadId': { name: 'UploadPart', operation: uploadPart },
  'GET uploadId': { name: 'ListParts', operation: listPartsOperation },
  'POST uploadId': { name: 'CompleteMultipartUpload', operation: completeMultipartUpload },
  'DELETE uploadId': { name: 'AbortMultipartUpload', operation: abortMultipartUpload },
};

/** Of compute hosts. */
const internalRoutes: Table = {
  GET: { name: 'GetImage', operation: getImage },
  HEAD: { name: 'GetImage', operation: getImage },
  PUT: { name: 'PutImage', operation: putImage },
};

export function routeOf(asked: Asked): Route {
  const { method, bucket, key, query } = asked;
  if (!['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS'].includes(method)) methodNotAllowed();
  if (method === 'OPTIONS') return { name: 'Preflight', operation: preflight };
  if (bucket === internalBucket) return internalRoutes[method] ?? methodNotAllowed();
  if (bucket === '') return method === 'GET' ? { name: 'ListBuckets', operation: listBucketsOperation } : methodNotAllowed();
  const chosen = [...query.keys()].filter((name) => subResources.has(name));
  if (chosen.length > 1) return fail('InvalidArgument', `Conflicting query string parameters: ${chosen.join(', ')}`);
  const [sub] = chosen;
  return special(asked, sub) ?? found(asked, sub) ?? notImplemented(method, sub, key);
}

/** A request that means an operation. */
export interface OperationSample {
  readonly name: string;
  readonly method: string;
  readonly of: 'service' | 'bucket' | 'object';
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Every operation that is built, each with a request that means it: for the reference, and for specs that leave none out. */
export function builtOperations(): OperationSample[] {
  const byTable = (of: 'bucket' | 'object', table: Table) => Object.entries(table).map(([request, { name }]) => {
    const [method = '', query = ''] = request.split(' ');
    return { name, method, of, query, headers: {} };
  });
  const copying = { 'x-amz-copy-source': 'bucket/key' };
  return [
    { name: 'ListBuckets', method: 'GET', of: 'service', query: '', headers: {} },
    ...byTable('bucket', bucketRoutes),
    { name: 'ListObjectsV2', method: 'GET', of: 'bucket', query: 'list-type=2', headers: {} },
    ...byTable('object', objectRoutes),
    { name: 'CopyObject', method: 'PUT', of: 'object', query: '', headers: copying },
    { name: 'UploadPartCopy', method: 'PUT', of: 'object', query: 'uploadId', headers: copying },
    { name: 'Preflight', method: 'OPTIONS', of: 'object', query: '', headers: {} },
  ];
}

/** Where a header or a parameter decides. */
function special({ method, key, query, headers }: Asked, sub: string | undefined): Route | undefined {
  if (key === '' && method === 'GET' && sub === undefined && query.get('list-type') === '2') return { name: 'ListObjectsV2', operation: listObjectsV2 };
  if (key === '' || method !== 'PUT' || headers['x-amz-copy-source'] === undefined) return undefined;
  if (sub === undefined) return { name: 'CopyObject', operation: copyObject };
  return sub === 'uploadId' ? { name: 'UploadPartCopy', operation: uploadPartCopy } : undefined;
}

function found({ method, key }: Asked, sub: string | undefined): Route | undefined {
  const table = key === '' ? bucketRoutes : objectRoutes;
  const name = sub === undefined ? method : `${method} ${sub}`;
  if (Object.hasOwn(table, name)) return table[name];
  const operation = sub === undefined ? undefined : subResourceOperation(sub, method, key !== '');
  return operation === undefined ? undefined : { name, operation };
}

function notImplemented(method: string, sub: string | undefined, key: string): never {
  const what = `${method} of ${key === '' ? 'a bucket' : 'an object'}${sub === undefined ? '' : ` with ?${sub}`}`;
  return fail('NotImplemented', `A request you provided implies functionality that is not implemented: ${what}.`);
}

const methodNotAllowed = (): never => fail('MethodNotAllowed', 'The specified method is not allowed against this resource.');
