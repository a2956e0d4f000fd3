// Multipart uploads up to their completion: begin, parts, listings, abort.
import { randomBytes } from 'node:crypto';
import { abortUpload, findUpload, insertUpload, listParts, listUploads, putPart, type MultipartUpload } from '../../../db/multipart.ts';
import type { BlobWritten } from '../../../drivers/objectstore/driver.ts';
import { requireBucket, type KeyAction } from '../access.ts';
import { headerAcl } from '../acl.ts';
import { xmlTime, type Operation, type S3Call } from '../call.ts';
import type { Checksums } from '../checksums.ts';
import { encryptionAnswer, refuseEncryptionHeaders, wantsEncryption } from '../encryption.ts';
import { fail } from '../errors.ts';
import { checksumHeaders, contentHeaders, refuseUnbuiltHeaders, userMetadata } from '../object-headers.ts';
import { askedTags } from '../tags.ts';
import { checksumAnswer, checksumKind, checksumsAsked, checksumXml, digestOf, partChecksum } from '../upload-checksums.ts';
import { document, element } from '../xml.ts';
import { partSource, sourceTooLargeMessage } from './copy.ts';
import { listQuery, markerOf, owner, prefixes } from './list-objects.ts';
import { failOverQuota, noSuchUploadMessage, objectBytesMax } from './objects.ts';

const partNumberMax = 10_000;
const shownMax = 1000;

export const createMultipartUpload: Operation = async (call) => {
  refuseUnbuiltHeaders(call);
  const tags = await askedTags(call);
  const bucket = await requireBucket(call, 's3:PutObject');
  const acl = (await headerAcl(call, bucket.projectId)) ?? 'private';
  const upload: MultipartUpload = {
    id: randomBytes(24).toString('hex'), bucket: call.bucket, key: call.key, headers: contentHeaders(call), metadata: userMetadata(call), acl, tags,
    ...checksumsAsked(call), encryption: (await wantsEncryption(call, bucket)) ? 'AES256' : null,
    projectId: call.principal?.projectId ?? bucket.projectId, initiatedAt: call.clock.date(),
  };
  if (!(await insertUpload(call.db, upload))) fail('NoSuchBucket', 'The specified bucket does not exist');
  return {
    headers: { ...checksumAnswer(upload), ...encryptionAnswer(upload.encryption !== null) },
    body: document('InitiateMultipartUploadResult', [element('Bucket', call.bucket), element('Key', call.key), element('UploadId', upload.id)]),
  };
};

/** The upload of this bucket and key; writing to the bucket is what it takes to go on with it. */
export async function requireUpload(call: S3Call, action: KeyAction = 's3:PutObject'): Promise<MultipartUpload> {
  await requireBucket(call, action);
  const upload = await findUpload(call.db, { id: call.query.get('uploadId') ?? '', bucket: call.bucket, key: call.key });
  return upload ?? fail('NoSuchUpload', noSuchUploadMessage);
}

export const uploadPart: Operation = async (call) => {
  refuseEncryptionHeaders(call);
  const partNumber = partNumberOf(call);
  const upload = await requireUpload(call);
  const isEncrypted = upload.encryption !== null;
  const written = await call.content.storeIn(call.store, objectBytesMax, { alsoChecksum: partChecksum(upload), isEncrypted });
  await keepPart(call, partNumber, written);
  const { 'x-amz-checksum-type': _ofWhole, ...checksums } = checksumHeaders(written.checksums);
  return { headers: { etag: `"${written.md5}"`, ...checksums, ...encryptionAnswer(isEncrypted) } };
};

export const uploadPartCopy: Operation = async (call) => {
  refuseEncryptionHeaders(call);
  const partNumber = partNumberOf(call);
  const upload = await requireUpload(call);
  const { source, range } = await partSource(call);
  const sizeBytes = range === undefined ? source.sizeBytes : range.last - range.first + 1;
  if (sizeBytes > objectBytesMax) fail('InvalidRequest', sourceTooLargeMessage);
  const isEncrypted = upload.encryption !== null;
  const written = await call.store.write(await call.store.read(source.blobId, range), { isEncrypted });
  const algorithm = partChecksum(upload);
  const checksums: Checksums = algorithm === undefined ? {} : { [algorithm]: await digestOf(call, algorithm, written.blobId) };
  const modifiedAt = await keepPart(call, partNumber, { ...written, checksums });
  return {
    headers: encryptionAnswer(isEncrypted),
    body: document('CopyPartResult', [element('LastModified', xmlTime(modifiedAt)), element('ETag', `"${written.md5}"`), ...checksumXml(checksums)]),
  };
};

async function keepPart(call: S3Call, partNumber: number, written: BlobWritten & { checksums: Checksums }): Promise<Date> {
  const modifiedAt = call.clock.date();
  const { blobId, sizeBytes, md5, checksums } = written;
  const uploadId = call.query.get('uploadId') ?? '';
  const part = { uploadId, partNumber, blobId, sizeBytes, md5, modifiedAt, checksums: { ...checksums } };
  const outcome = await putPart(call.db, part, { bucket: call.bucket, bytesMax: call.quotas.bytes });
  if (outcome === 'stored') return modifiedAt;
  await call.store.remove(blobId);
  return outcome === 'overQuota' ? failOverQuota() : fail('NoSuchUpload', noSuchUploadMessage);
}

function partNumberOf(call: S3Call): number {
  const text = call.query.get('partNumber') ?? '';
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > partNumberMax) {
    fail('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
  }
  return Number(text);
}

export const abortMultipartUpload: Operation = async (call) => {
  const upload = await requireUpload(call, 's3:AbortMultipartUpload');
  if (!(await abortUpload(call.db, upload.id, call.clock.date()))) fail('NoSuchUpload', noSuchUploadMessage);
  return { status: 204 };
};

export const listPartsOperation: Operation = async (call) => {
  const upload = await requireUpload(call, 's3:ListMultipartUploadParts');
  const limit = numberOf(call, 'max-parts', shownMax);
  const after = numberOf(call, 'part-number-marker', 2 ** 31 - 1, 0);
  const found = await listParts(call.db, upload.id, { after, limit: limit + 1 });
  const shown = found.slice(0, limit);
  return {
    body: document('ListPartsResult', [
      element('Bucket', call.bucket), element('Key', call.key), element('UploadId', upload.id),
      owner(upload.projectId, 'Initiator'), owner(upload.projectId), element('StorageClass', 'STANDARD'), ...checksumKind(upload),
      element('PartNumberMarker', after), element('NextPartNumberMarker', shown.at(-1)?.partNumber ?? 0),
      element('MaxParts', limit), element('IsTruncated', limit > 0 && found.length > limit),
      ...shown.map((part) => element('Part', [
        element('PartNumber', part.partNumber), element('LastModified', xmlTime(part.modifiedAt)),
        element('ETag', `"${part.md5}"`), element('Size', part.sizeBytes), ...checksumXml(part.checksums),
      ])),
    ]),
  };
};

export const listMultipartUploads: Operation = async (call) => {
  await requireBucket(call, 's3:ListBucketMultipartUploads');
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
