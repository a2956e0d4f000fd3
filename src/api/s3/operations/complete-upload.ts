// Completing a multipart upload: the parts named by the client are joined into one blob, which then becomes the object and ends
// the upload in one transaction. Saying it twice gives the same answer twice.
import { createHash } from 'node:crypto';
import type { Bucket } from '../../../db/buckets.ts';
import { findObject, type NewObject, type StoredObject } from '../../../db/objects.ts';
import { completeUpload, findUpload, listParts, type MultipartPart, type MultipartUpload } from '../../../db/multipart.ts';
import { copyBlob, type BlobWritten } from '../../../drivers/objectstore/driver.ts';
import { DriverError } from '../../../lib/errors.ts';
import { requireBucket } from '../access.ts';
import type { Operation, S3Call, S3Result } from '../call.ts';
import type { Checksums } from '../checksums.ts';
import { putCondition } from '../conditions.ts';
import { encryptionHeader } from '../encryption.ts';
import { fail } from '../errors.ts';
import { objectChecksumXml, partMatches, wholeChecksums } from '../upload-checksums.ts';
import { document, element, malformed, parseXml, type XmlElement } from '../xml.ts';
import { keepOrRemove, noSuchUploadMessage, storedHeader, versionHeader } from './objects.ts';

/** 10 000 parts, each with a checksum, are 1.4 MB. */
const bodyBytesMax = 2 * 1024 * 1024;
const partsMax = 10_000;
/** Every part but the last. */
const partBytesMin = 5 * 1024 * 1024;

const invalidPartMessage = 'One or more of the specified parts could not be found. '
  + 'The part may not have been uploaded, or the specified entity tag may not match the part\'s entity tag.';

interface NamedPart {
  readonly partNumber: number;
  /** Without quotes. */
  readonly etag: string;
  /** With the checksums that it names. */
  readonly said: XmlElement;
}

export const completeMultipartUpload: Operation = async (call) => {
  const bucket = await requireBucket(call, 's3:PutObject');
  const condition = putCondition(call.headers);
  const named = await namedParts(call);
  const etag = etagOf(named);
  const uploadId = call.query.get('uploadId') ?? '';
  const upload = await findUpload(call.db, { id: uploadId, bucket: call.bucket, key: call.key });
  if (upload === undefined) return repeated(call, bucket, etag);
  const parts = chooseParts(named, await listParts(call.db, upload.id, { after: 0, limit: partsMax }));
  const joined = await join(call, parts, { isEncrypted: upload.encryption !== null });
  const object = objectOf(call, upload, { joined, parts, etag, checksums: await verified(call, upload, parts, joined) });
  const stored = await keepOrRemove(call, joined.blobId, () => completeUpload(call.db, upload.id, object, condition));
  return answer(call, object, storedHeader(stored));
};

async function namedParts(call: S3Call): Promise<NamedPart[]> {
  const request = await parseXml(await call.content.read(bodyBytesMax, { ofBody: false }), 'CompleteMultipartUpload');
  const named = request.all('Part').map((part) => {
    const text = part.textOf('PartNumber')?.trim() ?? '';
    const etag = part.textOf('ETag')?.trim().replaceAll('"', '').toLowerCase() ?? '';
    if (!/^\d{1,5}$/.test(text) || etag === '') malformed();
    // It is no MD5, and so that of no part.
    if (!/^[0-9a-f]{32}$/.test(etag)) fail('InvalidPart', invalidPartMessage);
    return { partNumber: Number(text), etag, said: part };
  });
  if (named.length === 0 || named.length > partsMax) malformed();
  if (named.some((part, index) => index > 0 && part.partNumber <= (named[index - 1]?.partNumber ?? 0))) {
    fail('InvalidPartOrder', 'The list of parts was not in ascending order. Parts must be ordered by part number.');
  }
  return named;
}

function chooseParts(named: readonly NamedPart[], stored: readonly MultipartPart[]): MultipartPart[] {
  const byNumber = new Map(stored.map((part) => [part.partNumber, part]));
  return named.map((wanted, index) => {
    const part = byNumber.get(wanted.partNumber);
    if (part === undefined || part.md5 !== wanted.etag || !partMatches(wanted.said, part)) {
      return fail('InvalidPart', invalidPartMessage);
    }
    if (index < named.length - 1 && part.sizeBytes < partBytesMin) fail('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size');
    return part;
  });
}

/** One part needs no copy: its blob is linked. */
async function join(call: S3Call, parts: readonly MultipartPart[], wanted: { isEncrypted: boolean }): Promise<BlobWritten> {
  const [only] = parts;
  try {
    if (only !== undefined && parts.length === 1) {
      return { blobId: await copyBlob(call.store, only.blobId, wanted), sizeBytes: only.sizeBytes, md5: only.md5 };
    }
    return await call.store.concat(parts.map((part) => part.blobId), wanted);
  } catch (error) {
    // Aborted, or completed by another request, while the parts were being joined.
    if (error instanceof DriverError && error.kind === 'notFound') return fail('NoSuchUpload', noSuchUploadMessage);
    throw error;
  }
}

/** A checksum that does not match leaves the upload as it is. */
async function verified(call: S3Call, upload: MultipartUpload, parts: readonly MultipartPart[], joined: BlobWritten): Promise<Checksums> {
  try {
    return await wholeChecksums(call, upload, parts, joined);
  } catch (error) {
    await call.store.remove(joined.blobId);
    throw error;
  }
}

interface Completed {
  readonly joined: BlobWritten;
  readonly parts: readonly MultipartPart[];
  readonly etag: string;
  readonly checksums: Checksums;
}

function objectOf(call: S3Call, upload: MultipartUpload, { joined, parts, etag, checksums }: Completed): NewObject {
  const { bucket, key, headers, metadata, acl, projectId, tags } = upload;
  return {
    bucket, key, headers, metadata, acl, projectId, tags, etag, checksums: { ...checksums },
    parts: parts.map((part, index) => ({ partNumber: index + 1, sizeBytes: part.sizeBytes, checksums: part.checksums })),
    blobId: joined.blobId, sizeBytes: joined.sizeBytes, modifiedAt: call.clock.date(),
  };
}

/** A client that lost our answer asks again: the object is there, made of these very parts. */
async function repeated(call: S3Call, bucket: Bucket, etag: string): Promise<S3Result> {
  const object = await findObject(call.db, call.bucket, call.key);
  return object?.etag === etag ? answer(call, object, versionHeader(bucket, object.versionId)) : fail('NoSuchUpload', noSuchUploadMessage);
}

/** The MD5 of the parts' MD5s, and how many they were. */
function etagOf(named: readonly NamedPart[]): string {
  const hash = createHash('md5');
  for (const part of named) hash.update(part.etag, 'hex');
  return `${hash.digest('hex')}-${named.length}`;
}

const answer = (call: S3Call, object: Pick<StoredObject, 'etag' | 'checksums' | 'blobId'>, headers: Record<string, string>): S3Result => ({
  headers: { ...headers, ...encryptionHeader(object) },
  body: document('CompleteMultipartUploadResult', [
    element('Location', `/${call.bucket}/${call.key}`), element('Bucket', call.bucket), element('Key', call.key), element('ETag', `"${object.etag}"`),
    ...objectChecksumXml(object.checksums),
  ]),
});
