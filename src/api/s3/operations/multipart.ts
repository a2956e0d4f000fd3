// Multipart uploads up to their completion: begin, parts, listings, abort.
import { randomBytes } from 'node:crypto';
import { abortUpload, findUpload, insertUpload, listParts, listUploads, putPart, type MultipartUpload } from '../../../db/multipart.ts';
import type { BlobWritten } from '../../../drivers/objectstore/driver.ts';
import { aclOf, requireBucket } from '../access.ts';
import { xmlTime, type Operation, type S3Call } from '../call.ts';
import type { Checksums } from '../checksums.ts';
import { fail } from '../errors.ts';
import { contentHeaders, refuseUnbuiltHeaders, userMetadata } from '../object-headers.ts';
import { document, element } from '../xml.ts';
import { partSource, sourceTooLargeMessage } from './copy.ts';
import { listQuery, markerOf, owner, prefixes } from './list-objects.ts';
import { checksumHeaders, noSuchUploadMessage, objectBytesMax } from './objects.ts';

const partNumberMax = 10_000;
const shownMax = 1000;

export const createMultipartUpload: Operation = async (call) => {
  refuseUnbuiltHeaders(call);
  const acl = aclOf(call);
  const upload: MultipartUpload = {
    id: randomBytes(24).toString('hex'), bucket: call.bucket, key: call.key, headers: contentHeaders(call), metadata: userMetadata(call), acl,
    projectId: (await requireBucket(call, 'write')).projectId, initiatedAt: call.clock.date(),
  };
  const mine = { ...upload, projectId: call.principal?.projectId ?? upload.projectId };
  if (!(await insertUpload(call.db, mine))) fail('NoSuchBucket', 'The specified bucket does not exist');
  return {
    body: document('InitiateMultipartUploadResult', [element('Bucket', call.bucket), element('Key', call.key), element('UploadId', upload.id)]),
  };
};

/** The upload of this bucket and key; writing to the bucket is what it takes to go on with it. */
export async function requireUpload(call: S3Call): Promise<MultipartUpload> {
  await requireBucket(call, 'write');
  const upload = await findUpload(call.db, { id: call.query.get('uploadId') ?? '', bucket: call.bucket, key: call.key });
  return upload ?? fail('NoSuchUpload', noSuchUploadMessage);
}

export const uploadPart: Operation = async (call) => {
  const partNumber = partNumberOf(call);
  await requireUpload(call);
  const written = await call.content.storeIn(call.store, objectBytesMax);
  await keepPart(call, partNumber, written);
  return { headers: { etag: `"${written.md5}"`, ...checksumHeaders(written.checksums) } };
};

export const uploadPartCopy: Operation = async (call) => {
  const partNumber = partNumberOf(call);
  await requireUpload(call);
  const { source, range } = await partSource(call);
  const sizeBytes = range === undefined ? source.sizeBytes : range.last - range.first + 1;
  if (sizeBytes > objectBytesMax) fail('InvalidRequest', sourceTooLargeMessage);
  const written = await call.store.write(await call.store.read(source.blobId, range));
  const modifiedAt = await keepPart(call, partNumber, { ...written, checksums: {} });
  return { body: document('CopyPartResult', [element('LastModified', xmlTime(modifiedAt)), element('ETag', `"${written.md5}"`)]) };
};

async function keepPart(call: S3Call, partNumber: number, written: BlobWritten & { checksums: Checksums }): Promise<Date> {
  const modifiedAt = call.clock.date();
  const { blobId, sizeBytes, md5 } = written;
  const kept = await putPart(call.db, { uploadId: call.query.get('uploadId') ?? '', partNumber, blobId, sizeBytes, md5, modifiedAt });
  if (kept) return modifiedAt;
  await call.store.remove(blobId);
  return fail('NoSuchUpload', noSuchUploadMessage);
}

function partNumberOf(call: S3Call): number {
  const text = call.query.get('partNumber') ?? '';
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > partNumberMax) {
    fail('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
  }
  return Number(text);
}

export const abortMultipartUpload: Operation = async (call) => {
  const upload = await requireUpload(call);
  if (!(await abortUpload(call.db, upload.id, call.clock.date()))) fail('NoSuchUpload', noSuchUploadMessage);
  return { status: 204 };
};

export const listPartsOperation: Operation = async (call) => {
  const upload = await requireUpload(call);
  const limit = numberOf(call, 'max-parts', shownMax);
  const after = numberOf(call, 'part-number-marker', 2 ** 31 - 1, 0);
  const found = await listParts(call.db, upload.id, { after, limit: limit + 1 });
  const shown = found.slice(0, limit);
  return {
    body: document('ListPartsResult', [
      element('Bucket', call.bucket), element('Key', call.key), element('UploadId', upload.id),
      owner(upload.projectId, 'Initiator'), owner(upload.projectId), element('StorageClass', 'STANDARD'),
      element('PartNumberMarker', after), element('NextPartNumberMarker', shown.at(-1)?.partNumber ?? 0),
      element('MaxParts', limit), element('IsTruncated', limit > 0 && found.length > limit),
      ...shown.map((part) => element('Part', [
        element('PartNumber', part.partNumber), element('LastModified', xmlTime(part.modifiedAt)),
        element('ETag', `"${part.md5}"`), element('Size', part.sizeBytes),
      ])),
    ]),
  };
};

export const listMultipartUploads: Operation = async (call) => {
  await requireBucket(call, 'read');
  const query = listQuery(call, 'max-uploads');
  const keyMarker = markerOf(call, 'key-marker');
  const uploadIdMarker = keyMarker === '' ? '' : markerOf(call, 'upload-id-marker');
  const page = await listUploads(call.db, { bucket: call.bucket, keyMarker, uploadIdMarker, ...query });
  return {
    body: document('ListMultipartUploadsResult', [
      element('Bucket', call.bucket), element('KeyMarker', query.show(keyMarker)), element('UploadIdMarker', uploadIdMarker),
      page.next === undefined ? undefined : element('NextKeyMarker', query.show(page.next.key)),
      page.next === undefined ? undefined : element('NextUploadIdMarker', page.next.uploadId),
      element('Prefix', query.show(query.prefix)),
      query.delimiter === '' ? undefined : element('Delimiter', query.show(query.delimiter)),
      query.encoding,
      element('MaxUploads', query.limit), element('IsTruncated', page.next !== undefined),
      ...page.uploads.map((upload) => element('Upload', [
        element('Key', query.show(upload.key)), element('UploadId', upload.id), owner(upload.projectId, 'Initiator'), owner(upload.projectId),
        element('StorageClass', 'STANDARD'), element('Initiated', xmlTime(upload.initiatedAt)),
      ])),
      ...prefixes(page.commonPrefixes, query),
    ]),
  };
};

function numberOf(call: S3Call, name: string, max: number, fallback = max): number {
  const text = call.query.get(name) ?? '';
  if (text === '') return fallback;
  if (!/^\d{1,10}$/.test(text)) fail('InvalidArgument', `${name} must be a whole number.`);
  return Math.min(Number(text), max);
}
