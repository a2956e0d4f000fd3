// GetObjectAttributes: what a client wants to know of an object without its content.
import type { StoredObject } from '../../../db/objects.ts';
import { requireObject } from '../access.ts';
import { header, type Operation, type S3Call } from '../call.ts';
import { fail } from '../errors.ts';
import { checksumXml, objectChecksumXml } from '../upload-checksums.ts';
import { document, element, type Xml } from '../xml.ts';
import { partsOf, versionHeader } from './objects.ts';

const known = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const;
const partsShownMax = 1000;

export const getObjectAttributes: Operation = async (call) => {
  const asked = (header(call, 'x-amz-object-attributes') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '');
  if (asked.length === 0) fail('InvalidRequest', 'The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty');
  if (!asked.every((name) => known.some((one) => one === name))) fail('InvalidArgument', 'Invalid attribute name specified.');
  const { bucket, object } = await requireObject(call, 's3:GetObjectAttributes');
  const shown = known.filter((name) => asked.includes(name)).map((name) => attribute(call, object, name));
  return {
    headers: { 'last-modified': object.modifiedAt.toUTCString(), ...versionHeader(bucket, object.versionId) },
    body: document('GetObjectAttributesResponse', shown),
  };
};

function attribute(call: S3Call, object: StoredObject, name: (typeof known)[number]): Xml | undefined {
  switch (name) {
    case 'ETag': return element('ETag', object.etag);
    case 'StorageClass': return element('StorageClass', 'STANDARD');
    case 'ObjectSize': return element('ObjectSize', object.sizeBytes);
    case 'Checksum': return checksum(object.checksums);
    case 'ObjectParts': return object.parts === null ? undefined : objectParts(call, object);
  }
}

function checksum(checksums: Readonly<Record<string, string>>): Xml | undefined {
  const shown = objectChecksumXml(checksums);
  return shown.length === 0 ? undefined : element('Checksum', shown);
}

function objectParts(call: S3Call, object: StoredObject): Xml {
  const parts = partsOf(object);
  const limit = Math.min(numberOf(call, 'x-amz-max-parts', partsShownMax), partsShownMax);
  const marker = numberOf(call, 'x-amz-part-number-marker', 0);
  const shown = parts.filter((part) => part.partNumber > marker).slice(0, limit);
  const last = shown.at(-1)?.partNumber ?? marker;
  return element('ObjectParts', [
    element('PartsCount', parts.length), element('PartNumberMarker', marker), element('NextPartNumberMarker', last), element('MaxParts', limit),
    element('IsTruncated', parts.some((part) => part.partNumber > last)),
    ...shown.map((part) => element('Part', [element('PartNumber', part.partNumber), element('Size', part.sizeBytes), ...checksumXml(part.checksums)])),
  ]);
}

function numberOf(call: S3Call, name: string, fallback: number): number {
  const text = header(call, name);
  if (text === undefined) return fallback;
  return /^\d{1,5}$/.test(text) ? Number(text) : fail('InvalidArgument', `${name} must be a whole number.`);
}
