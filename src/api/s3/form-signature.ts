// Who signed the policy of a form: version 4 (a signing key over the encoded policy) or version 2 (HMAC-SHA1 of it).
import { createHmac } from 'node:crypto';
import { claimedBy, proven, type AuthenticateDeps, type Authority } from '../../auth/authenticate.ts';
import type { Credential } from '../../auth/credentials.ts';
import { equalSignatures } from '../../auth/compare.ts';
import type { Principal } from '../../auth/principal.ts';
import { Refusal, refusalToApiError } from '../../auth/refusal.ts';
import { securityTokenHeader } from '../../auth/request.ts';
import { hmacSha256 } from '../../auth/signing-keys.ts';
import { parseAmzDate } from '../../auth/timestamps.ts';
import { fail } from './errors.ts';

type Fields = ReadonlyMap<string, string>;

/** Throws ApiError. The policy itself says until when the signature is good. */
export async function formPrincipal(fields: Fields, deps: AuthenticateDeps): Promise<Principal> {
  try {
    return fields.has('x-amz-signature') || fields.has('x-amz-algorithm') ? await signedV4(fields, deps) : await signedV2(fields, deps);
  } catch (error) {
    throw error instanceof Refusal ? refusalToApiError(error, 's3') : error;
  }
}

const field = (fields: Fields, name: string): string =>
  fields.get(name.toLowerCase()) ?? missingField(name);

/** In AWS's words. */
export const missingField = (name: string): never =>
  fail('InvalidArgument', `Bucket POST must contain a field named '${name}'.  If it is specified, please check the order of the fields.`);

async function signedV4(fields: Fields, deps: AuthenticateDeps): Promise<Principal> {
  const policy = field(fields, 'policy');
  if (field(fields, 'X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256') fail('InvalidArgument', 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"');
  if (parseAmzDate(field(fields, 'X-Amz-Date')) === undefined) fail('AccessDenied', 'Invalid X-Amz-Date.');
  const [, accessKeyId = '', date = '', region = '', service = ''] = /^(.+)\/(\d{8})\/([^/]*)\/([^/]*)\/aws4_request$/.exec(field(fields, 'X-Amz-Credential'))
    ?? fail('InvalidArgument', 'The X-Amz-Credential is malformed.');
  const { auth } = deps;
  const credential = await credentialOf(fields, accessKeyId, deps);
  const scope = { date, region, service };
  const key = auth.signingKeys.find(credential.accessKeyId, credential.secret, scope);
  const signature = field(fields, 'X-Amz-Signature');
  await proven(deps, credential, () => mustEqual(hmacSha256(key, policy).toString('hex'), signature));
  auth.signingKeys.keep(credential.accessKeyId, credential.secret, scope, key);
  return principalOf(auth, credential);
}

async function signedV2(fields: Fields, deps: AuthenticateDeps): Promise<Principal> {
  const policy = field(fields, 'policy');
  const accessKeyId = field(fields, 'AWSAccessKeyId');
  const signature = field(fields, 'signature');
  const credential = await credentialOf(fields, accessKeyId, deps);
  await proven(deps, credential, () => mustEqual(createHmac('sha1', credential.secret).update(policy, 'utf8').digest('base64'), signature));
  return principalOf(deps.auth, credential);
}

function mustEqual(wanted: string, given: string): void {
  if (!equalSignatures(wanted, given)) throw new Refusal('mismatch');
}

/** The keys of a session are known together with its token. */
async function credentialOf(fields: Fields, accessKeyId: string, { auth, clock }: AuthenticateDeps): Promise<Credential> {
  const token = fields.get(securityTokenHeader);
  const credential = await auth.findCredential(accessKeyId, token === undefined ? undefined : { token, now: clock.now() });
  if (credential === undefined) throw new Refusal('unknownKey');
  return credential;
}

async function principalOf(auth: Authority, credential: Credential): Promise<Principal> {
  const principal = await auth.principalOf(credential);
  if (principal === undefined) throw new Refusal('notMember', '', claimedBy(credential));
  return principal;
}
