// Putting and reading objects. A put stores the blob first and then makes it the object's in one transaction, so that a torn upload
// leaves the old object.
import type { Bucket } from '../../../db/buckets.ts';
import { putObject, type NewObject, type PutCondition, type PutOutcome, type Stored, type StoredObject } from '../../../db/objects.ts';
import type { ObjectPart } from '../../../db/schema/objects.ts';
import { DriverError } from '../../../lib/errors.ts';
import { noSuchKey, requireBucket, requireObject, type Found } from '../access.ts';
import { headerAcl } from '../acl.ts';
import { header, type Operation, type S3Call, type S3Result } from '../call.ts';
import { checkConditions, preconditionFailed, putCondition, rangeOf, type ByteRange } from '../conditions.ts';
import { encryptionAnswer, refuseEncryptionHeaders, wantsEncryption } from '../encryption.ts';
import { fail } from '../errors.ts';
import { checksumHeaders, checksumTypeOf, contentHeaders, headersOf, refuseUnbuiltHeaders, responseOverrides, userMetadata } from '../object-headers.ts';
import { askedTags, tagCountHeader } from '../tags.ts';

/** Of one put, one part or one copy: 5 GiB. */
export const objectBytesMax = 5 * 1024 ** 3;

export const putObjectOperation: Operation = async (call) => {
  refuseUnbuiltHeaders(call);
  const condition = putCondition(call.headers);
  const headers = contentHeaders(call);
  const metadata = userMetadata(call);
  const tags = await askedTags(call);
  const bucket = await requireBucket(call, 's3:PutObject');
  const acl = (await headerAcl(call, bucket.projectId)) ?? 'private';
  const isEncrypted = await wantsEncryption(call, bucket);
  const written = await call.content.storeIn(call.store, objectBytesMax, { isEncrypted });
  const object: NewObject = {
    bucket: call.bucket, key: call.key, blobId: written.blobId, sizeBytes: written.sizeBytes, etag: written.md5, headers, metadata, tags, parts: null,
    checksums: { ...written.checksums }, projectId: call.principal?.projectId ?? bucket.projectId, acl, modifiedAt: call.clock.date(),
  };
  const stored = await storeObject(call, object, condition);
  return { headers: { etag: `"${object.etag}"`, ...checksumHeaders(written.checksums), ...encryptionAnswer(isEncrypted), ...storedHeader(stored) } };
};

/** Writes the row; a blob that did not become an object is removed at once. */
export function storeObject(call: S3Call, object: NewObject, condition: PutCondition): Promise<Stored> {
  return keepOrRemove(call, object.blobId, () => putObject(call.db, object, { ...condition, bytesMax: call.quotas.bytes }));
}

export async function keepOrRemove(call: S3Call, blobId: string, commit: () => Promise<PutOutcome | 'noUpload'>): Promise<Stored> {
  let outcome: PutOutcome | 'noUpload';
  try {
    outcome = await commit();
  } catch (error) {
    // The commit may have happened although its answer was lost: then the blob is in use. The sweeper knows better, later.
    call.log.warn({ err: error, blobId, requestId: call.requestId }, 's3: could not record a blob; the sweeper decides about it');
    throw error;
  }
  if (typeof outcome === 'object') return outcome;
  await call.store.remove(blobId);
  if (outcome === 'noBucket') fail('NoSuchBucket', 'The specified bucket does not exist');
  if (outcome === 'overQuota') failOverQuota();
  if (outcome === 'noObject') noSuchKey();
  if (outcome === 'noUpload') fail('NoSuchUpload', noSuchUploadMessage);
  return preconditionFailed();
}

export const failOverQuota = (): never => fail('QuotaExceeded', 'The project that owns the bucket may not store so many bytes.');

export const noSuchUploadMessage = 'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.';

/** Which version it is; buckets that never had versions say nothing. */
export const versionHeader = (bucket: Bucket, versionId: string): Record<string, string> =>
  (bucket.versioning === null ? {} : { 'x-amz-version-id': versionId });

/** Which version a put has made. */
export const storedHeader = ({ versionId }: Stored): Record<string, string> => (versionId === undefined ? {} : { 'x-amz-version-id': versionId });

/** GET and HEAD. */
export const getObject: Operation = async (call) => {
  refuseEncryptionHeaders(call);
  const first = await readable(call);
  const overrides = responseOverrides(call);
  const { bucket, object } = first;
  if (!checkConditions(call.headers, object)) {
    return { status: 304, headers: { etag: `"${object.etag}"`, 'last-modified': object.modifiedAt.toUTCString(), ...versionHeader(bucket, object.versionId) } };
  }
  if (call.method === 'HEAD') return describe(call, first, overrides);
  try {
    return await open(call, first, overrides);
  } catch (error) {
    // Replaced since the row was read, and swept already: read the row again.
    if (!(error instanceof DriverError && error.kind === 'notFound')) throw error;
    const second = await readable(call);
    if (second.object.blobId === object.blobId) throw error;
    return open(call, second, overrides);
  }
};

const readable = (call: S3Call): Promise<Found> => requireObject(call, call.query.has('versionId') ? 's3:GetObjectVersion' : 's3:GetObject');

async function open(call: S3Call, found: Found, overrides: Record<string, string>): Promise<S3Result> {
  const described = describe(call, found, overrides);
  const { blobId, sizeBytes } = found.object;
  const range = wantedRange(call, found.object);
  const { first, last } = range ?? { first: 0, last: sizeBytes - 1 };
  if (last < first) return { ...described, body: await call.store.read(blobId) };
  const isSmall = last - first < smallBytesMax;
  return { ...described, body: await (isSmall ? call.store.bytes(blobId, { first, last }) : call.store.pieces(blobId, { first, last })) };
}

/** Up to here it is no more memory than a stream would take. */
const smallBytesMax = 64 * 1024;

function describe(call: S3Call, { bucket, object }: Found, overrides: Record<string, string>): S3Result {
  const range = wantedRange(call, object);
  const headers = Object.assign(
    headersOf(object), shownChecksums(call, object), versionHeader(bucket, object.versionId), tagCountHeader(object.tags), partsCount(call, object), overrides,
  );
  if (range === undefined) return { headers, lengthBytes: object.sizeBytes };
  return {
    status: 206,
    headers: { ...headers, 'content-range': `bytes ${range.first}-${range.last}/${object.sizeBytes}` },
    lengthBytes: range.last - range.first + 1,
  };
}

/** Of the header, or of the part that `partNumber` names. */
function wantedRange(call: S3Call, object: StoredObject): ByteRange | undefined {
  const part = wantedPart(call, object);
  if (part === undefined) return rangeOf(header(call, 'range'), object.sizeBytes);
  const first = partsOf(object).slice(0, part.partNumber - 1).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return part.sizeBytes === 0 ? undefined : { first, last: first + part.sizeBytes - 1 };
}

/** An object that was put whole has the part 1. */
function wantedPart(call: S3Call, object: StoredObject): ObjectPart | undefined {
  const text = call.query.get('partNumber');
  if (text === undefined) return undefined;
  if (header(call, 'range') !== undefined) fail('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter');
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > 10_000) {
    fail('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
  }
  return partsOf(object)[Number(text) - 1] ?? fail('InvalidPartNumber', 'The requested partnumber is not satisfiable');
}

/** Of the whole, or of the part that is asked for: a client holds what it gets against them. */
function shownChecksums(call: S3Call, object: StoredObject): Record<string, string> {
  if (header(call, 'range') !== undefined || header(call, 'x-amz-checksum-mode')?.toUpperCase() !== 'ENABLED') return {};
  const part = wantedPart(call, object);
  return checksumHeaders(part?.checksums ?? object.checksums, checksumTypeOf(object.checksums));
}

/** In order. What an earlier release wrote over an object in parts still has those parts beside it, and is not made of them. */
export const partsOf = (object: StoredObject): readonly ObjectPart[] =>
  (isInParts(object) ? (object.parts ?? []) : [{ partNumber: 1, sizeBytes: object.sizeBytes, checksums: object.checksums }]);

const isInParts = ({ parts, etag, sizeBytes }: StoredObject): boolean =>
  parts !== null && etag.endsWith(`-${parts.length}`) && parts.reduce((sum, part) => sum + part.sizeBytes, 0) === sizeBytes;

const partsCount = (call: S3Call, object: StoredObject): Record<string, string> =>
  (call.query.has('partNumber') && isInParts(object) ? { 'x-amz-mp-parts-count': String(partsOf(object).length) } : {});
