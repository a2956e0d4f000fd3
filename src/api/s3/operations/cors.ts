// ?cors of a bucket, and the preflight with which a browser asks before it lets a script of another origin act.
import { putBucketSetting, removeBucketSetting } from '../../../db/buckets.ts';
import { requireBucket } from '../access.ts';
import { header, type Operation } from '../call.ts';
import { corsRules, corsXml, crossOriginHeaders, parseCors } from '../cors.ts';
import { fail } from '../errors.ts';
import { document, parseXml } from '../xml.ts';

const bodyBytesMax = 64 * 1024;

export const getBucketCors: Operation = async (call) => {
  await requireBucket(call, 's3:GetBucketCORS');
  const rules = await corsRules(call);
  if (rules === undefined) return fail('NoSuchCORSConfiguration', 'The CORS configuration does not exist');
  return { body: document('CORSConfiguration', corsXml(rules)) };
};

export const putBucketCors: Operation = async (call) => {
  await requireBucket(call, 's3:PutBucketCORS');
  const rules = parseCors(await parseXml(await call.content.read(bodyBytesMax), 'CORSConfiguration'));
  await putBucketSetting(call.db, call.bucket, 'cors', rules);
  return {};
};

export const deleteBucketCors: Operation = async (call) => {
  await requireBucket(call, 's3:PutBucketCORS');
  await removeBucketSetting(call.db, call.bucket, 'cors');
  return { status: 204 };
};

/** Browsers send it without a signature: whoever asks learns what the rules say of that origin and nothing else. */
export const preflight: Operation = async (call) => {
  const origin = header(call, 'origin');
  const method = header(call, 'access-control-request-method');
  if (origin === undefined) return fail('BadRequest', 'Insufficient information. Origin request header needed.');
  if (method === undefined) return fail('BadRequest', 'Invalid Access-Control-Request-Method: null');
  const rules = call.bucket === '' ? undefined : await corsRules(call);
  if (rules === undefined) return fail('AccessForbidden', 'CORSResponse: CORS is not enabled for this bucket.');
  const names = (header(call, 'access-control-request-headers') ?? '').split(',').map((name) => name.trim().toLowerCase()).filter((name) => name !== '');
  const headers = crossOriginHeaders(rules, { origin, method, headers: names });
  if (headers === undefined) {
    return fail('AccessForbidden', 'CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / '
      + 'Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource\'s CORS spec.');
  }
  return { headers };
};
