// POST of a form: how a browser puts an object without a key of its own, by a policy that somebody signed for it, or into a bucket that is open
// to all. Its fields stand for the headers of a put.
import type { IncomingHttpHeaders } from 'node:http';
import { Transform, type Readable } from 'node:stream';
import type { NewObject } from '../../../db/objects.ts';
import type { Tags } from '../../../db/schema/objects.ts';
import type { BlobWritten } from '../../../drivers/objectstore/driver.ts';
import { ApiError } from '../../../lib/errors.ts';
import { requireBucket } from '../access.ts';
import { headerAcl } from '../acl.ts';
import { checkKey } from '../address.ts';
import { header, type Operation, type S3Call, type S3Result } from '../call.ts';
import { checksumsIn, createDigester, type ChecksumName, type Checksums, type Digester } from '../checksums.ts';
import { encryptionAnswer, wantsEncryption } from '../encryption.ts';
import { fail } from '../errors.ts';
import { boundaryOf, readForm, type Form } from '../form-data.ts';
import { checkFormPolicy, type SizeRange } from '../form-policy.ts';
import { formPrincipal, missingField } from '../form-signature.ts';
import { checksumHeaders, contentHeaders, refuseUnbuiltHeaders, userMetadata } from '../object-headers.ts';
import { askedTags, objectTagsMax, xmlTags } from '../tags.ts';
import { element } from '../xml.ts';
import { objectBytesMax, storedHeader, storeObject } from './objects.ts';

export const postObject: Operation = async (call) => {
  const boundary = boundaryOf(header(call, 'content-type'));
  if (boundary === undefined) return fail('PreconditionFailed', 'Bucket POST must be of the enclosure-type multipart/form-data');
  if (call.content.lengthBytes === undefined) fail('MissingContentLength', 'You must provide the Content-Length HTTP header.');
  const body = await call.content.open();
  try {
    return await putForm(call, await readForm(body.stream, boundary));
  } finally {
    await body.close();
  }
};

async function putForm(call: S3Call, form: Form): Promise<S3Result> {
  const fields = new Map([...form.fields].map(([name, value]) => [name, name === 'key' ? value.replaceAll('${filename}', () => form.file.name) : value]));
  const key = fields.get('key') ?? '';
  if (key === '') missingField('key');
  checkKey(key);
  call.foundOut({ key });
  const { principal, range } = await vouchedFor(call, form, fields);
  call.foundOut({ principal, key });
  return put({ ...call, principal, key, headers: await headersOf(call, fields) }, form.file.content, range, fields);
}

async function vouchedFor(call: S3Call, form: Form, fields: ReadonlyMap<string, string>): Promise<{ principal: S3Call['principal']; range: SizeRange }> {
  const policy = fields.get('policy');
  const isSigned = ['signature', 'x-amz-signature', 'awsaccesskeyid', 'x-amz-credential'].some((name) => fields.has(name));
  if (policy === undefined && !isSigned) return { principal: call.principal, range: { min: 0, max: objectBytesMax } };
  const auth = call.authority ?? fail('NotImplemented', 'Signed forms are not implemented here.');
  const principal = await formPrincipal(fields, { auth, clock: call.clock });
  // The policy is about the key as the form has it.
  const said = new Map([...form.fields, ['bucket', call.bucket], ['key', fields.get('key') ?? '']]);
  return { principal, range: checkFormPolicy(policy ?? '', said, call.clock.now()) };
}

const headerFields: ReadonlySet<string> = new Set(['content-type', 'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires']);

/** The fields that a put has as headers. */
async function headersOf(call: S3Call, fields: ReadonlyMap<string, string>): Promise<IncomingHttpHeaders> {
  const headers: IncomingHttpHeaders = { 'user-agent': call.headers['user-agent'], referer: call.headers.referer, host: call.headers.host };
  for (const [name, value] of fields) {
    if (!headerFields.has(name) && !name.startsWith('x-amz-')) continue;
    if (/[\r\n\0]/.test(value)) fail('InvalidArgument', `The field ${name} has a character that no header may have.`);
    // As node gives headers: one character for each byte.
    headers[name] = Buffer.from(value, 'utf8').toString('latin1');
  }
  const acl = fields.get('acl');
  if (acl !== undefined) headers['x-amz-acl'] = acl;
  const tagging = fields.get('tagging');
  if (tagging !== undefined) headers['x-amz-tagging'] = queryOf(await xmlTags(Buffer.from(tagging), objectTagsMax));
  return headers;
}

const queryOf = (tags: Tags): string => Object.entries(tags).map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`).join('&');

async function put(call: S3Call, file: Readable, range: SizeRange, fields: ReadonlyMap<string, string>): Promise<S3Result> {
  refuseUnbuiltHeaders(call);
  const [headers, metadata, tags] = [contentHeaders(call), userMetadata(call), await askedTags(call)];
  const bucket = await requireBucket(call, 's3:PutObject');
  const acl = (await headerAcl(call, bucket.projectId)) ?? 'private';
  const isEncrypted = await wantsEncryption(call, bucket);
  const { written, checksums } = await store(call, file, { range, isEncrypted });
  const object: NewObject = {
    bucket: call.bucket, key: call.key, blobId: written.blobId, sizeBytes: written.sizeBytes, etag: written.md5, headers, metadata, tags,
    checksums: { ...checksums }, projectId: call.principal?.projectId ?? bucket.projectId, acl, modifiedAt: call.clock.date(),
  };
  const stored = await storeObject(call, object, {});
  return answer(call, fields, object.etag, { ...checksumHeaders(checksums), ...encryptionAnswer(isEncrypted), ...storedHeader(stored) });
}

interface Wanted {
  readonly range: SizeRange;
  readonly isEncrypted: boolean;
}

async function store(call: S3Call, file: Readable, { range, isEncrypted }: Wanted): Promise<{ written: BlobWritten; checksums: Checksums }> {
  const promised = checksumsIn(Object.entries(call.headers));
  const digesters = new Map<ChecksumName, Digester>();
  for (const name of Object.keys(promised) as ChecksumName[]) digesters.set(name, await createDigester(name));
  const written = await call.store.write(measured(file, Math.min(range.max, objectBytesMax), [...digesters.values()]), { isEncrypted });
  try {
    if (written.sizeBytes < range.min) fail('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size');
    for (const [name, digester] of digesters) {
      if (digester.digest() !== promised[name]) fail('BadDigest', `The ${name.toUpperCase()} you specified did not match the calculated checksum.`);
    }
  } catch (error) {
    await call.store.remove(written.blobId);
    throw error;
  }
  return { written, checksums: promised };
}

/** Fails as soon as there is more than that. */
function measured(file: Readable, bytesMax: number, digesters: readonly Digester[]): Readable {
  let size = 0;
  const gate = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > bytesMax) return done(new ApiError('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size', 400));
      for (const digester of digesters) digester.update(chunk);
      done(null, chunk);
    },
  });
  gate.on('error', () => undefined); // whoever reads it learns of it, even when that begins later
  gate.once('close', () => file.destroy());
  file.on('error', (error) => gate.destroy(error));
  return file.pipe(gate);
}

function answer(call: S3Call, fields: ReadonlyMap<string, string>, etag: string, more: Record<string, string>): S3Result {
  const path = `/${call.bucket}/${call.key.split('/').map(encodeURIComponent).join('/')}`;
  const location = `${call.isSecure ? 'https' : 'http'}://${header(call, 'host') ?? ''}${path}`;
  const headers = { etag: `"${etag}"`, location, ...more };
  const redirect = redirectOf(fields.get('success_action_redirect') ?? fields.get('redirect'));
  if (redirect !== undefined) {
    for (const [name, value] of [['bucket', call.bucket], ['key', call.key], ['etag', `"${etag}"`]] as const) redirect.searchParams.append(name, value);
    return { status: 303, headers: { ...headers, location: redirect.href } };
  }
  const status = fields.get('success_action_status');
  if (status !== '201') return { status: status === '200' ? 200 : 204, headers };
  const content = [element('Location', location), element('Bucket', call.bucket), element('Key', call.key), element('ETag', `"${etag}"`)];
  // Like errors, it has no namespace.
  return { status: 201, headers, body: `<?xml version="1.0" encoding="UTF-8"?>\n${element('PostResponse', content).markup}` };
}

/** What is no URL is ignored, as at AWS. */
const redirectOf = (text: string | undefined): URL | undefined =>
  (text !== undefined && /^https?:\/\//i.test(text) && URL.canParse(text) ? new URL(text) : undefined);
