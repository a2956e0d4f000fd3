// The checksum of an object that is uploaded in parts: which one was asked for when the upload began, and what it is in the end, of the
// whole content or of the parts' checksums.
import type { MultipartPart, MultipartUpload } from '../../db/multipart.ts';
import type { BlobWritten } from '../../drivers/objectstore/driver.ts';
import { header, type S3Call } from './call.ts';
import { checksumNames, checksumsIn, createDigester, isChecksumName, type ChecksumName, type Checksums } from './checksums.ts';
import { fail } from './errors.ts';
import { checksumTypeOf } from './object-headers.ts';
import { element, type Xml, type XmlElement } from './xml.ts';

type Asked = Pick<MultipartUpload, 'checksumAlgorithm' | 'checksumType'>;

const composable: readonly string[] = ['crc32', 'crc32c', 'sha1', 'sha256'];
const linear: readonly string[] = ['crc32', 'crc32c', 'crc64nvme'];

/** What CreateMultipartUpload asks for. */
export function checksumsAsked(call: S3Call): Asked {
  const type = header(call, 'x-amz-checksum-type')?.toUpperCase();
  const algorithm = header(call, 'x-amz-checksum-algorithm')?.toLowerCase();
  if (type !== undefined && type !== 'COMPOSITE' && type !== 'FULL_OBJECT') return fail('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.');
  if (algorithm === undefined) {
    if (type !== undefined) fail('InvalidRequest', 'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.');
    return { checksumAlgorithm: null, checksumType: null };
  }
  if (!isChecksumName(algorithm)) {
    const known = checksumNames.map((name) => name.toUpperCase()).join(', ');
    return fail('InvalidRequest', `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${known}]`);
  }
  const checksumType = type ?? (composable.includes(algorithm) ? 'COMPOSITE' : 'FULL_OBJECT');
  if (!(checksumType === 'COMPOSITE' ? composable : linear).includes(algorithm)) {
    fail('InvalidRequest', `The ${checksumType} checksum type cannot be used with the ${algorithm} checksum algorithm.`);
  }
  return { checksumAlgorithm: algorithm, checksumType };
}

/** As the answer to CreateMultipartUpload repeats it. */
export const checksumAnswer = ({ checksumAlgorithm, checksumType }: Asked): Record<string, string> => (checksumAlgorithm === null ? {} : {
  'x-amz-checksum-algorithm': checksumAlgorithm.toUpperCase(), ...(checksumType === null ? {} : { 'x-amz-checksum-type': checksumType }),
});

/** As listings tell it. */
export const checksumKind = ({ checksumAlgorithm, checksumType }: Asked): Xml[] => (checksumAlgorithm === null ? [] : [
  element('ChecksumAlgorithm', checksumAlgorithm.toUpperCase()), ...(checksumType === null ? [] : [element('ChecksumType', checksumType)]),
]);

/** What parts must have. */
export const partChecksum = ({ checksumAlgorithm }: Asked): ChecksumName | undefined =>
  (checksumAlgorithm !== null && isChecksumName(checksumAlgorithm) ? checksumAlgorithm : undefined);

/** In listings and answers: `ChecksumCRC32` and its like. */
export const checksumXml = (checksums: Readonly<Record<string, string>>): Xml[] =>
  Object.entries(checksums).map(([name, value]) => element(`Checksum${name.toUpperCase()}`, value));

/** An object's, with the kind that they are of. */
export const objectChecksumXml = (checksums: Readonly<Record<string, string>>): Xml[] =>
  (Object.keys(checksums).length === 0 ? [] : [...checksumXml(checksums), element('ChecksumType', checksumTypeOf(checksums))]);

/** The checksums that a `Part` of CompleteMultipartUpload names are those that the part was uploaded with. */
export function partMatches(named: XmlElement, part: MultipartPart): boolean {
  return checksumNames.every((name) => {
    const said = named.textOf(`Checksum${name.toUpperCase()}`)?.trim();
    return said === undefined || part.checksums[name] === undefined || said === part.checksums[name];
  });
}

/** The object's checksum. One that the client sends along must be the same; without an upload's own it is taken when it proves right. */
export async function wholeChecksums(call: S3Call, upload: Asked, parts: readonly MultipartPart[], joined: BlobWritten): Promise<Checksums> {
  const isWhole = (upload.checksumType ?? header(call, 'x-amz-checksum-type')) === 'FULL_OBJECT';
  const algorithm = partChecksum(upload);
  const promised = promisedChecksums(call);
  if (algorithm !== undefined && !isWhole) {
    const value = await compositeOf(algorithm, parts);
    if (promised[algorithm] !== undefined && promised[algorithm] !== value) badDigest(algorithm);
    return { [algorithm]: value };
  }
  if (!isWhole) return {};
  const names = algorithm === undefined ? (Object.keys(checksumsIn(Object.entries(call.headers))) as ChecksumName[]) : [algorithm];
  const found: Checksums = {};
  for (const name of names) {
    const value = await digestOf(call, name, joined.blobId);
    if (promised[name] !== undefined && promised[name] !== value) badDigest(name);
    found[name] = value;
  }
  return found;
}

/** As sent: a checksum of parts has their number at its end. */
function promisedChecksums(call: S3Call): Checksums {
  const found: Checksums = {};
  for (const name of checksumNames) {
    const value = header(call, `x-amz-checksum-${name}`);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

async function compositeOf(name: ChecksumName, parts: readonly MultipartPart[]): Promise<string> {
  const digester = await createDigester(name);
  for (const part of parts) digester.update(Buffer.from(part.checksums[name] ?? '', 'base64'));
  return `${digester.digest()}-${parts.length}`;
}

/** Of a blob that is there already. */
export async function digestOf(call: S3Call, name: ChecksumName, blobId: string): Promise<string> {
  const digester = await createDigester(name);
  for await (const chunk of (await call.store.read(blobId)) as AsyncIterable<Buffer>) digester.update(chunk);
  return digester.digest();
}

const badDigest = (name: ChecksumName): never => fail('BadDigest', `The ${name.toUpperCase()} you specified did not match the calculated checksum.`);
