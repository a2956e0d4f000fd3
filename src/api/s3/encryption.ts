// Encryption at rest, SSE-S3: what a put asks for, what its bucket has set for those that ask for nothing, and what answers say of it.
import type { Bucket } from '../../db/buckets.ts';
import { isEncrypted } from '../../drivers/objectstore/driver.ts';
import { header, requireRelease, type S3Call } from './call.ts';
import { fail } from './errors.ts';

const name = 'x-amz-server-side-encryption';
const ofKms = [`${name}-aws-kms-key-id`, `${name}-context`];
/** Keys that the client brings, for what it puts and for what it copies. */
const ofClient = [`${name}-customer-`, 'x-amz-copy-source-server-side-encryption-customer-'];
const customerAlgorithm = `${name}-customer-algorithm`;
const kms = ['aws:kms', 'aws:kms:dsse'];

const encryptionRelease = '0.3.0';

/** What is S3's and not built is refused, and what is none of S3's. */
function checkHeaders({ headers }: Pick<S3Call, 'headers'>): void {
  const said = Object.keys(headers).filter((found) => found.includes('server-side-encryption'));
  if (said.length === 0) return;
  const value = header({ headers }, name);
  const client = said.find((found) => ofClient.some((prefix) => found.startsWith(prefix)));
  if (client?.startsWith(name) === true && value !== undefined) {
    fail('InvalidArgument', 'Server Side Encryption with Customer provided key is incompatible with the encryption method specified');
  }
  if (client !== undefined) notBuilt(client);
  if (value !== undefined && kms.includes(value)) notBuilt(`${name}: ${value}`);
  if (value !== undefined && value !== 'AES256') fail('InvalidArgument', 'The encryption method specified is not supported');
  if (said.some((found) => ofKms.includes(found))) {
    fail('InvalidArgument', `Server Side Encryption with AWS KMS managed key requires HTTP header ${name} : aws:kms`);
  }
}

const notBuilt = (what: string): never => fail('NotImplemented', `A header you provided implies functionality that is not implemented: ${what}`);

/** Whether what is put into that bucket is encrypted: asked after it is clear that the client may put. An older release could not read it. */
export async function wantsEncryption(call: S3Call, bucket: Bucket): Promise<boolean> {
  checkHeaders(call);
  if (header(call, name) === undefined && bucket.encryption === null) return false;
  await requireEncryption(call);
  return true;
}

/** Of requests that have no say in it: to read an object, or to bring a part of an upload that was begun. */
export function refuseEncryptionHeaders({ headers }: Pick<S3Call, 'headers'>): void {
  if (headers[name] !== undefined) fail('InvalidArgument', `${name} header is not supported for this operation.`);
  if (headers[customerAlgorithm] !== undefined) fail('InvalidRequest', 'The encryption parameters are not applicable to this object.');
}

export const requireEncryption = (call: S3Call): Promise<void> => requireRelease(call, encryptionRelease);

/** A copy onto itself may change it. */
export const namesEncryption = (call: S3Call): boolean => header(call, name) !== undefined;

export const encryptionAnswer = (encrypted: boolean): Record<string, string> => (encrypted ? { [name]: 'AES256' } : {});

export const encryptionHeader = ({ blobId }: { readonly blobId: string }): Record<string, string> => encryptionAnswer(isEncrypted(blobId));
