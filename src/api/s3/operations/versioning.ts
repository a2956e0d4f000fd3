// ?versioning: whether a bucket keeps what is replaced and deleted. Once asked for it can be suspended, and never undone.
import { setVersioning } from '../../../db/buckets.ts';
import { requireBucket } from '../access.ts';
import { requireRelease, type Operation } from '../call.ts';
import { fail } from '../errors.ts';
import { document, element, malformed, parseXml } from '../xml.ts';

const bodyBytesMax = 4 * 1024;

/** Since this release there are versions; an earlier one would write over them, and take their content for orphans. */
const versioningRelease = '0.3.0';

export const getBucketVersioning: Operation = async (call) => {
  const { versioning } = await requireBucket(call, 's3:GetBucketVersioning');
  return { body: document('VersioningConfiguration', versioning === null ? '' : [element('Status', versioning)]) };
};

export const putBucketVersioning: Operation = async (call) => {
  await requireBucket(call, 's3:PutBucketVersioning');
  const configuration = await parseXml(await call.content.read(bodyBytesMax), 'VersioningConfiguration');
  const status = configuration.textOf('Status')?.trim();
  if (status !== 'Enabled' && status !== 'Suspended') return malformed();
  if (configuration.textOf('MfaDelete')?.trim() === 'Enabled') fail('NotImplemented', 'MFA delete is not implemented.');
  await requireRelease(call, versioningRelease);
  if (!(await setVersioning(call.db, call.bucket, status))) fail('NoSuchBucket', 'The specified bucket does not exist');
  return {};
};
