// Putting, reading and deleting objects. A put stores the blob first and then makes it the object's in one transaction, so that a
// torn upload leaves the old object.
import { deleteObjects, putObject, type PutCondition, type PutOutcome, type StoredObject } from '../../../db/objects.ts';
import { DriverError } from '../../../lib/errors.ts';
import { aclOf, requireBucket, requireObject } from '../access.ts';
import { checkKey } from '../address.ts';
import { header, type Operation, type S3Call, type S3Result } from '../call.ts';
import { checkConditions, preconditionFailed, putCondition, rangeOf } from '../conditions.ts';
import { fail } from '../errors.ts';
import { contentHeaders, headersOf, refuseUnbuiltHeaders, responseOverrides, userMetadata } from '../object-headers.ts';
import { document, element, malformed, parseXml } from '../xml.ts';

/** Of one put, one part or one copy: 5 GiB. */
export const objectBytesMax = 5 * 1024 ** 3;

const deleteKeysMax = 1000;
const deleteBodyBytesMax = 2 * 1024 * 1024;

export const putObjectOperation: Operation = async (call) => {
  refuseUnbuiltHeaders(call);
  const acl = aclOf(call);
  const condition = putCondition(call.headers);
  const headers = contentHeaders(call);
  const metadata = userMetadata(call);
  const bucket = await requireBucket(call, 'write');
  const written = await call.content.storeIn(call.store, objectBytesMax);
  const object: StoredObject = {
    bucket: call.bucket, key: call.key, blobId: written.blobId, sizeBytes: written.sizeBytes, etag: written.md5, headers, metadata,
    checksums: { ...written.checksums }, projectId: call.principal?.projectId ?? bucket.projectId, acl, modifiedAt: call.clock.date(),
  };
  await storeObject(call, object, condition);
  return { headers: { etag: `"${object.etag}"`, ...checksumHeaders(written.checksums) } };
};

/** Writes the row; a blob that did not become an object is removed at once. */
export async function storeObject(call: S3Call, object: StoredObject, condition: PutCondition): Promise<void> {
  await keepOrRemove(call, object.blobId, () => putObject(call.db, object, condition));
}

export async function keepOrRemove(call: S3Call, blobId: string, commit: () => Promise<PutOutcome | 'noUpload'>): Promise<void> {
  let outcome: PutOutcome | 'noUpload';
  try {
    outcome = await commit();
  } catch (error) {
    // The commit may have happened although its answer was lost: then the blob is in use. The sweeper knows better, later.
    call.log.warn({ err: error, blobId, requestId: call.requestId }, 's3: could not record a blob; the sweeper decides about it');
    throw error;
  }
  if (outcome === 'stored') return;
  await call.store.remove(blobId);
  if (outcome === 'noBucket') fail('NoSuchBucket', 'The specified bucket does not exist');
  if (outcome === 'noObject') fail('NoSuchKey', 'The specified key does not exist.');
  if (outcome === 'noUpload') fail('NoSuchUpload', noSuchUploadMessage);
  preconditionFailed();
}

export const noSuchUploadMessage = 'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.';

export const checksumHeaders = (checksums: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(checksums).map(([name, value]) => [`x-amz-checksum-${name}`, value]));

/** GET and HEAD. */
export const getObject: Operation = async (call) => {
  refuseVersions(call);
  if (call.query.has('partNumber')) fail('NotImplemented', 'Reading one part of an object is not implemented.');
  const first = await requireObject(call);
  const overrides = responseOverrides(call);
  if (!checkConditions(call.headers, first)) return { status: 304, headers: { etag: `"${first.etag}"`, 'last-modified': first.modifiedAt.toUTCString() } };
  if (call.method === 'HEAD') return describe(call, first, overrides);
  try {
    return await open(call, first, overrides);
  } catch (error) {
    // Replaced since the row was read, and swept already: read the row again.
    if (!(error instanceof DriverError && error.kind === 'notFound')) throw error;
    const second = await requireObject(call);
    if (second.blobId === first.blobId) throw error;
    return open(call, second, overrides);
  }
};

async function open(call: S3Call, object: StoredObject, overrides: Record<string, string>): Promise<S3Result> {
  const described = describe(call, object, overrides);
  const range = rangeOf(header(call, 'range'), object.sizeBytes);
  return { ...described, body: await call.store.read(object.blobId, range) };
}

function describe(call: S3Call, object: StoredObject, overrides: Record<string, string>): S3Result {
  const range = rangeOf(header(call, 'range'), object.sizeBytes);
  const checksums = range === undefined && header(call, 'x-amz-checksum-mode')?.toUpperCase() === 'ENABLED';
  const headers = { ...headersOf(object, { checksums }), ...overrides };
  if (range === undefined) return { headers, lengthBytes: object.sizeBytes };
  return {
    status: 206,
    headers: { ...headers, 'content-range': `bytes ${range.first}-${range.last}/${object.sizeBytes}` },
    lengthBytes: range.last - range.first + 1,
  };
}

/** Deleting what is not there is no error. */
export const deleteObject: Operation = async (call) => {
  refuseVersions(call);
  await requireBucket(call, 'write');
  await deleteObjects(call.db, call.bucket, [call.key], call.clock.date());
  return { status: 204 };
};

/** Buckets have no versions: `null` is the only one there is. */
export function refuseVersions(call: S3Call): void {
  const versionId = call.query.get('versionId');
  if (versionId !== undefined && versionId !== 'null') fail('InvalidArgument', 'Invalid version id specified');
}

/** POST ?delete: up to 1000 keys, each reported. */
export const deleteObjectsOperation: Operation = async (call) => {
  await requireBucket(call, 'write');
  const request = await parseXml(await call.content.read(deleteBodyBytesMax), 'Delete');
  const items = request.all('Object');
  if (items.length === 0 || items.length > deleteKeysMax) malformed();
  const quiet = request.textOf('Quiet')?.trim() === 'true';
  const wanted = items.map((item) => ({ key: item.textOf('Key') ?? malformed(), versionId: item.textOf('VersionId') ?? 'null' }));
  const good = wanted.filter((item) => item.versionId === 'null' && isKey(item.key));
  if (good.length > 0) await deleteObjects(call.db, call.bucket, good.map((item) => item.key), call.clock.date());
  const deleted = quiet ? [] : good.map((item) => element('Deleted', [element('Key', item.key)]));
  const errors = wanted.filter((item) => !good.includes(item)).map((item) => element('Error', [
    element('Key', item.key),
    item.versionId === 'null' ? undefined : element('VersionId', item.versionId),
    element('Code', item.versionId === 'null' ? 'InvalidArgument' : 'NoSuchVersion'),
    element('Message', item.versionId === 'null' ? 'That is no key.' : 'The specified version does not exist.'),
  ]));
  return { body: document('DeleteResult', [...deleted, ...errors]) };
};

function isKey(key: string): boolean {
  try {
    checkKey(key);
    return key !== '';
  } catch {
    return false;
  }
}
