// Deleting one object or version, or up to a thousand of them at once. In a bucket with versions what is deleted without naming a
// version gets a delete marker on top.
import { deleteObjects } from '../../../db/objects.ts';
import { deleteVersion, isVersionId, nullVersion, type Deletion } from '../../../db/versions.ts';
import { accessDenied, askedVersion, mayUseBucket, requireBucket, requireExistingBucket } from '../access.ts';
import { checkKey } from '../address.ts';
import type { Operation, S3Call, S3Result } from '../call.ts';
import { document, element, malformed, parseXml, type Xml, type XmlElement } from '../xml.ts';

const keysMax = 1000;
const bodyBytesMax = 2 * 1024 * 1024;

/** Deleting what is not there is no error. */
export const deleteObject: Operation = async (call) => {
  const versionId = askedVersion(call);
  const bucket = await requireBucket(call, versionId === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion');
  if (bucket.versioning === null && (await deleteUnversioned(call, [{ key: call.key, versionId }]))) return { status: 204 };
  return { status: 204, headers: deletionHeaders(await deleteOne(call, { key: call.key, versionId })) };
};

function deletionHeaders({ versionId, isDeleteMarker }: Deletion): NonNullable<S3Result['headers']> {
  return { ...(versionId === undefined ? {} : { 'x-amz-version-id': versionId }), ...(isDeleteMarker ? { 'x-amz-delete-marker': 'true' } : {}) };
}

interface Item {
  readonly key: string;
  readonly versionId: string | undefined;
}

function deleteOne(call: S3Call, { key, versionId }: Item): Promise<Deletion> {
  const marker = { versionId, projectId: call.principal?.projectId ?? '', now: call.clock.date() };
  return deleteVersion(call.db, { bucket: call.bucket, key }, marker);
}

/** Of a bucket without versions, in one go: the null version is the only one there is. False: it has got versions meanwhile. */
async function deleteUnversioned(call: S3Call, items: readonly Item[]): Promise<boolean> {
  const keys = items.filter(({ versionId }) => versionId === undefined || versionId === nullVersion).map(({ key }) => key);
  return keys.length === 0 || deleteObjects(call.db, call.bucket, keys, call.clock.date());
}

/** POST ?delete: each key is reported. */
export const deleteObjectsOperation: Operation = async (call) => {
  const bucket = await requireExistingBucket(call);
  // Without a policy one answer holds for all keys: who may delete nothing here is told so before the body is read.
  if (bucket.policy === null && !mayUseBucket(call, bucket, 's3:DeleteObject', '')) accessDenied();
  const request = await parseXml(await call.content.read(bodyBytesMax), 'Delete');
  const items = request.all('Object').map(itemOf);
  if (items.length === 0 || items.length > keysMax) malformed();
  const judged = items.map((item) => {
    const action = item.versionId === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion';
    return { item, refusal: refusalOf(item) ?? (mayUseBucket(call, bucket, action, item.key) ? undefined : denied) };
  });
  const good = judged.filter(({ refusal }) => refusal === undefined).map(({ item }) => item);
  const deleted = await deleteAll(call, good, bucket.versioning !== null);
  const quiet = request.textOf('Quiet')?.trim() === 'true';
  const errors = judged.flatMap(({ item, refusal }) => (refusal === undefined ? [] : [errorXml(item, refusal)]));
  return { body: document('DeleteResult', [...(quiet ? [] : deleted), ...errors]) };
};

const itemOf = (item: XmlElement): Item => ({ key: item.textOf('Key') ?? malformed(), versionId: item.textOf('VersionId') });

async function deleteAll(call: S3Call, items: readonly Item[], hasVersions: boolean): Promise<Xml[]> {
  if (items.length === 0) return [];
  if (!hasVersions && (await deleteUnversioned(call, items))) return items.map((item) => deletedXml(item, { versionId: undefined, isDeleteMarker: false }));
  const deleted: Xml[] = [];
  for (const item of items) deleted.push(deletedXml(item, await deleteOne(call, item)));
  return deleted;
}

const deletedXml = (item: Item, { versionId, isDeleteMarker }: Deletion): Xml => element('Deleted', [
  element('Key', item.key),
  item.versionId === undefined ? undefined : element('VersionId', item.versionId),
  isDeleteMarker ? element('DeleteMarker', true) : undefined,
  isDeleteMarker && versionId !== undefined ? element('DeleteMarkerVersionId', versionId) : undefined,
]);

interface Refused {
  readonly code: string;
  readonly message: string;
}

const denied: Refused = { code: 'AccessDenied', message: 'Access Denied' };

function refusalOf({ key, versionId }: Item): Refused | undefined {
  if (!isKey(key)) return { code: 'InvalidArgument', message: 'That is no key.' };
  if (versionId !== undefined && !isVersionId(versionId)) return { code: 'NoSuchVersion', message: 'The specified version does not exist.' };
  return undefined;
}

function errorXml({ key, versionId }: Item, { code, message }: Refused): Xml {
  return element('Error', [
    element('Key', key), versionId === undefined ? undefined : element('VersionId', versionId), element('Code', code), element('Message', message),
  ]);
}

function isKey(key: string): boolean {
  try {
    checkKey(key);
    return key !== '';
  } catch {
    return false;
  }
}
