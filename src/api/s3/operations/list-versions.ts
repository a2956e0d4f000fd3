// ListObjectVersions: every version and delete marker. In a bucket without versions each object has the one version `null`.
import { listVersions, type ListedVersion } from '../../../db/list-versions.ts';
import { requireBucket } from '../access.ts';
import { xmlTime, type Operation } from '../call.ts';
import { fail } from '../errors.ts';
import { document, element, type Xml } from '../xml.ts';
import { details, listQuery, markerOf, owner, prefixes, type ListQuery } from './list-objects.ts';

export const listObjectVersions: Operation = async (call) => {
  await requireBucket(call, 's3:ListBucketVersions');
  const query = listQuery(call, 'max-keys');
  const keyMarker = markerOf(call, 'key-marker');
  const versionIdMarker = markerOf(call, 'version-id-marker');
  if (versionIdMarker !== '' && keyMarker === '') fail('InvalidArgument', 'A version-id marker cannot be specified without a key marker.');
  const page = await listVersions(call.db, { bucket: call.bucket, keyMarker, versionIdMarker, ...query });
  return {
    body: document('ListVersionsResult', [
      element('Name', call.bucket),
      element('Prefix', query.show(query.prefix)),
      element('KeyMarker', query.show(keyMarker)),
      element('VersionIdMarker', versionIdMarker),
      element('MaxKeys', query.limit),
      query.delimiter === '' ? undefined : element('Delimiter', query.show(query.delimiter)),
      query.encoding,
      element('IsTruncated', page.next !== undefined),
      page.next === undefined ? undefined : element('NextKeyMarker', query.show(page.next.key)),
      page.next === undefined || page.next.versionId === '' ? undefined : element('NextVersionIdMarker', page.next.versionId),
      ...page.versions.map((version) => versionXml(version, query)),
      ...prefixes(page.commonPrefixes, query),
    ]),
  };
};

function versionXml(version: ListedVersion, query: ListQuery): Xml {
  return element(version.isDeleteMarker ? 'DeleteMarker' : 'Version', [
    element('Key', query.show(version.key)), element('VersionId', version.versionId), element('IsLatest', version.isLatest),
    ...(version.isDeleteMarker ? [element('LastModified', xmlTime(version.modifiedAt))] : details(version)),
    owner(version.projectId),
  ]);
}
