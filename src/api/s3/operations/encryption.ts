// ?encryption of a bucket: whether objects that are put without a word of it are encrypted at rest.
import { describeBucket } from '../../../db/buckets.ts';
import { requireBucket } from '../access.ts';
import type { Operation } from '../call.ts';
import { requireEncryption } from '../encryption.ts';
import { fail } from '../errors.ts';
import { document, element, malformed, parseXml, type XmlElement } from '../xml.ts';

const bodyBytesMax = 64 * 1024;
const root = 'ServerSideEncryptionConfiguration';

export const getBucketEncryption: Operation = async (call) => {
  const { encryption } = await requireBucket(call, 's3:GetEncryptionConfiguration');
  if (encryption === null) return fail('ServerSideEncryptionConfigurationNotFoundError', 'The server side encryption configuration was not found');
  const byDefault = element('ApplyServerSideEncryptionByDefault', [element('SSEAlgorithm', encryption)]);
  return { body: document(root, [element('Rule', [byDefault, element('BucketKeyEnabled', false)])]) };
};

export const putBucketEncryption: Operation = async (call) => {
  await requireBucket(call, 's3:PutEncryptionConfiguration');
  const encryption = algorithmIn(await parseXml(await call.content.read(bodyBytesMax), root));
  await requireEncryption(call);
  await describeBucket(call.db, call.bucket, { encryption });
  return {};
};

export const deleteBucketEncryption: Operation = async (call) => {
  await requireBucket(call, 's3:PutEncryptionConfiguration');
  await describeBucket(call.db, call.bucket, { encryption: null });
  return { status: 204 };
};

/** BucketKeyEnabled is about keys of KMS, and of no effect with AES256, as at AWS. */
function algorithmIn(configuration: XmlElement): 'AES256' {
  const [rule, ...others] = configuration.all('Rule');
  const [byDefault, ...more] = rule?.all('ApplyServerSideEncryptionByDefault') ?? [];
  if (byDefault === undefined || others.length + more.length > 0) return malformed();
  const algorithm = byDefault.textOf('SSEAlgorithm')?.trim();
  if (algorithm === 'aws:kms' || algorithm === 'aws:kms:dsse') {
    fail('NotImplemented', `A request you provided implies functionality that is not implemented: SSEAlgorithm ${algorithm}.`);
  }
  if (algorithm !== 'AES256') return malformed();
  if (byDefault.textOf('KMSMasterKeyID') !== undefined) {
    fail('InvalidArgument', 'a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse');
  }
  return algorithm;
}
